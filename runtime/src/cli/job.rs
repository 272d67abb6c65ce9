//! `proofmark job`: the seam to other machines.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use super::console::Console;
use super::exit_code::{self, ExitCode};
use super::failure::Failure;
use super::line::{self, MachineOptions};
use super::measuring::DriverOptions;
use crate::job::Job;
use crate::pipeline::Settings;
use crate::report;

/// No job document is larger: a hundred times what sources and workloads of a contest take, and little
/// enough that no document can take the machine's memory.
const LARGEST_JOB_BYTES: u64 = 32 << 20;

/// Do what a document says, and answer with a document.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  proofmark bench my-kernel --arch sm_90a --as-job > job.json
  proofmark job run job.json > outcome.json
  proofmark bench my-kernel --as-job | ssh gpu-host proofmark job run - > outcome.json

A job holds the submission's bytes, the definition, the workloads and the reference; where the toolchain,
the cache and the driver are is this machine's affair. Captured tensors do not travel: their folder must be
there.")]
pub struct Arguments {
    #[command(subcommand)]
    action: JobVerb,
}

#[derive(Debug, Subcommand)]
enum JobVerb {
    /// Do the job that a document describes.
    ///
    /// Prints one document, `proofmark.outcome`: what the verb itself would print, with the run's name and
    /// every record. The exit code is the verb's.
    Run {
        /// The document; `-` for standard input.
        job: PathBuf,
        /// Append results to this file, and skip workloads that it already holds for the same job.
        #[arg(long, value_name = "FILE")]
        record: Option<PathBuf>,
        #[command(flatten)]
        machine: MachineOptions,
        #[command(flatten)]
        driver: DriverOptions,
    },
}

/// Runs the verb.
pub fn run(arguments: &Arguments, console: &Console) -> Result<ExitCode, Failure> {
    let JobVerb::Run { job, record, machine, driver } = &arguments.action;
    let job = Job::from_document(&read(job)?).map_err(Failure::request)?;
    let settings = Settings { record: record.clone(), ..driver.settings(machine.settings()?) };
    let outcome = line::do_job(&job, &settings, console)?;
    let code = exit_code::of(&outcome);
    let mut body = report::outcome::body(&outcome);
    body["run_id"] = json!(job.run_id);
    body["exit_code"] = json!(code as u8);
    body["records"] = json!(outcome.records());
    console.document("proofmark.outcome", 1, &body)?;
    Ok(code)
}

fn read(path: &Path) -> Result<String, Failure> {
    let refuse = |error: io::Error| Failure::request(format!("cannot read {}: {error}", path.display()));
    let mut source: Box<dyn Read> = if path.as_os_str() == "-" {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(path).map_err(refuse)?)
    };
    let mut text = String::new();
    source.by_ref().take(LARGEST_JOB_BYTES + 1).read_to_string(&mut text).map_err(refuse)?;
    if text.len() as u64 > LARGEST_JOB_BYTES {
        let limit = LARGEST_JOB_BYTES >> 20;
        return Err(Failure::request(format!("{} is larger than {limit} MiB: no job is", path.display())));
    }
    Ok(text)
}
