//! `proofmark replay`: does a sealed artifact still give the same build?

use std::path::PathBuf;

use clap::Args;
use packager::format::{BUILD_EVIDENCE, PROOF_EVIDENCE};
use serde_json::json;

use super::console::Console;
use super::exit_code::ExitCode;
use super::failure::Failure;
use super::input;
use super::line::{self, LineOptions};
use crate::evidence::{Comparison, Sameness};
use crate::pipeline::Built;
use crate::replay::{self, ReplayError};

/// Rebuild a sealed artifact, prove it again, and compare with its evidence.
///
/// Says one of: identical; the same device code in another library, where another host compiler
/// explains it; or what differs and why it may. Exit code 0 for the first two, 1 for the last.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  proofmark replay out.zip
  proofmark replay solutions/*.zip --fresh         never from the cache
  proofmark replay out.zip --json | jq .identical")]
pub struct Arguments {
    /// A sealed artifact.
    path: PathBuf,
    #[command(flatten)]
    line: LineOptions,
}

/// Runs the verb.
pub fn run(arguments: &Arguments, console: &Console) -> Result<ExitCode, Failure> {
    let opened = input::open_one(&arguments.path, console)?;
    let (artifact, evidence) = (&opened.bundle.artifact, &opened.bundle.evidence);
    let sealed = replay::sealed_build(artifact, evidence.get(BUILD_EVIDENCE), evidence.get(PROOF_EVIDENCE))
        .map_err(explain)?;
    let arch = sealed.gencode.real_arch;
    if let Some(other) = arguments.line.arch.filter(|other| *other != arch) {
        return Err(Failure::request(format!("sealed for {arch}: cannot be replayed for {other}"))
            .hint("`proofmark build --arch` builds an artifact for another architecture"));
    }
    let build = match arguments.line.build(artifact, arch, console)? {
        Built::Proven(build) => build,
        finding => return line::report_finding("proofmark.replay", &finding, console),
    };
    let comparison = replay::compare(artifact, &sealed, &build);
    console.print(line::describe_proof(&build))?;
    console.print(describe(&comparison))?;
    let mut body = line::document(&build);
    body["digest"] = json!(artifact.digest());
    body["identical"] = json!(comparison.sameness == Sameness::Identical);
    body["device_code_identical"] = json!(
        comparison.sameness != Sameness::Different
            || comparison.lost_images.is_empty() && comparison.new_images.is_empty()
    );
    body["sealed_library_sha256"] = json!(sealed.library.sha256);
    body["comparison"] = json!(comparison);
    console.document("proofmark.replay", 1, &body)?;
    Ok(if comparison.sameness == Sameness::Different { ExitCode::No } else { ExitCode::Yes })
}

fn describe(comparison: &Comparison) -> String {
    let causes = comparison.causes.iter().fold(String::new(), |text, cause| text + "\n  " + cause);
    let because = |text: &str| {
        if causes.is_empty() { text.to_owned() } else { format!("{text}; what changed:{causes}") }
    };
    match comparison.sameness {
        Sameness::Identical if causes.is_empty() => {
            "replayed     identical: the same library, byte for byte".to_owned()
        }
        Sameness::Identical => {
            because("replayed     identical: the same library, byte for byte, although other things changed")
        }
        Sameness::SameDeviceCode => {
            because("replayed     device code identical, host code not: another host compiler or linker")
        }
        Sameness::Different if comparison.lost_images.is_empty() && comparison.new_images.is_empty() => {
            because("replayed     different: the device code is the same, the library is not")
        }
        Sameness::Different => because("replayed     different: the device code is not the same"),
    }
}

fn explain(error: ReplayError) -> Failure {
    let unsealed = error.is_unsealed();
    let failure = Failure::request(error);
    if unsealed { failure.hint("`proofmark seal` writes evidence into an artifact") } else { failure }
}
