//! `proofmark verify`: which architectures do these bytes contain?

use std::path::PathBuf;

use clap::Args;
use packager::Arch;
use serde_json::json;

use super::console::Console;
use super::exit_code::ExitCode;
use super::failure::Failure;
use crate::proof::{Policy, Verdict, examine, judge};

/// Tell from bytes alone which GPU architectures a build contains.
#[derive(Debug, Args)]
pub struct Arguments {
    /// A build output: cubin, fatbin, object, archive, library, wheel or folder.
    path: PathBuf,
    /// The architecture that must be there, and alone.
    #[arg(long, default_value = "sm_100a")]
    arch: Arch,
    /// Accept PTX beside the machine code.
    #[arg(long)]
    allow_ptx: bool,
    /// Accept machine code for these architectures as well.
    #[arg(long, value_delimiter = ',')]
    allow: Vec<Arch>,
}

/// Runs the verb.
pub fn run(arguments: &Arguments, console: &Console) -> Result<ExitCode, Failure> {
    let bytes = std::fs::read(&arguments.path).map_err(Failure::request)?;
    let policy = Policy {
        allow_ptx: arguments.allow_ptx,
        also_allowed: arguments.allow.clone(),
        ..Policy::for_file(arguments.arch)
    };
    let examination = examine(&bytes);
    let judgement = judge(&examination, None, &policy);
    console.print(format!("{:?}", judgement.verdict()))?;
    for reason in judgement.reasons() {
        console.print(reason)?;
    }
    let body = json!({
        "verdict": judgement.verdict(), "reasons": judgement.reasons(), "entries": examination.entries,
        "unaccounted": examination.unaccounted, "witnesses": judgement.witnesses(),
    });
    console.document("proofmark.verify", 1, &body)?;
    Ok(if judgement.verdict() == Verdict::Exact { ExitCode::Yes } else { ExitCode::No })
}
