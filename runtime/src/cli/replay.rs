//! `proofmark replay`: does a sealed artifact still give the same build?

use std::path::PathBuf;

use clap::Args;
use proofmark_packager::Artifact;
use serde_json::{Value, json};

use super::console::Console;
use super::exit_code::ExitCode;
use super::failure::Failure;
use super::measuring::Measuring;
use super::speed::{self, Speed};
use super::{input, line};
use crate::evidence::{Comparison, Sameness};
use crate::pipeline::{Built, ProvenBuild};
use crate::record::WorkloadRecord;
use crate::replay::{self, ReplayError};

/// Rebuild a sealed artifact, prove it again, and compare with its evidence.
///
/// Says one of: identical; the same device code in another library, where another host compiler
/// explains it; or what differs and why it may. Exit code 0 for the first two, 1 for the last.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  proofmark replay out.zip
  proofmark replay out.zip --fresh                 never from the cache
  proofmark replay out.zip --json | jq .identical")]
pub struct Arguments {
    /// A sealed artifact.
    path: PathBuf,
    /// Do not measure, even where there is a GPU.
    #[arg(long)]
    no_measure: bool,
    #[command(flatten)]
    measuring: Measuring,
}

/// Runs the verb.
pub fn run(arguments: &Arguments, console: &Console) -> Result<ExitCode, Failure> {
    let opened = input::open_one(&arguments.path, console)?;
    let artifact = &opened.bundle.artifact;
    let sealed = replay::read(&opened.bundle).map_err(explain)?;
    let arch = sealed.build.gencode.real_arch;
    if let Some(other) = arguments.measuring.line.arch.filter(|other| *other != arch) {
        return Err(Failure::request(format!("sealed for {arch}: cannot be replayed for {other}"))
            .hint("`proofmark build --arch` builds an artifact for another architecture"));
    }
    let build = match arguments.measuring.line.build(artifact, arch, console)? {
        Built::Proven(build) => build,
        Built::Finding(finding) => return line::report_finding("proofmark.replay", &finding, console),
    };
    let comparison = replay::compare(artifact.digest(), &sealed, &build).map_err(explain)?;
    console.print(line::describe_proof(&build))?;
    console.print(describe(&comparison))?;
    if comparison.sameness != Sameness::Identical {
        let (before, now) = (sealed.build.library.sha256, build.proof.library_digest());
        console.print(format!("  library    {before} sealed\n             {now} now"))?;
    }
    let mut body = line::document(&build);
    let speed_holds = if sealed.measurements.is_empty() || arguments.no_measure {
        true
    } else {
        replay_speed(arguments, artifact, &build, &sealed.measurements, &mut body, console)?
    };
    body["digest"] = json!(artifact.digest());
    body["identical"] = json!(comparison.sameness == Sameness::Identical);
    body["device_code_identical"] =
        json!(comparison.lost_images.is_empty() && comparison.new_images.is_empty());
    body["sealed_library_sha256"] = json!(sealed.build.library.sha256);
    body["comparison"] = json!(comparison);
    console.document("proofmark.replay", 1, &body)?;
    let stands = comparison.sameness != Sameness::Different && speed_holds;
    Ok(if stands { ExitCode::Yes } else { ExitCode::No })
}

/// Measures again what was sealed with measurements; false if the speed does not hold.
fn replay_speed(
    arguments: &Arguments,
    artifact: &Artifact,
    build: &ProvenBuild,
    sealed: &[WorkloadRecord],
    body: &mut Value,
    console: &Console,
) -> Result<bool, Failure> {
    let measuring = &arguments.measuring;
    match speed::measure_if_possible(measuring, &arguments.path, artifact, build, console)? {
        Speed::Skipped(reason) => {
            body["speed"] = json!({ "skipped": reason });
            console.print(format!("speed        skipped: {reason}"))?;
            Ok(true)
        }
        Speed::Measured(measured) => {
            let Some(comparison) = speed::compare(sealed, &measured) else {
                body["speed"] = json!({ "holds": false, "reason": "no workload passed both times" });
                console.print("speed        does not hold: no workload passed both times")?;
                return Ok(false);
            };
            console.print(comparison.describe())?;
            body["speed"] = json!(comparison);
            Ok(comparison.holds())
        }
    }
}

fn describe(comparison: &Comparison) -> String {
    let causes = comparison.causes.iter().fold(String::new(), |text, cause| text + "\n  " + cause);
    let because = |text: &str| {
        if causes.is_empty() {
            format!("{text}, and nothing that was recorded explains it")
        } else {
            format!("{text}; what changed:{causes}")
        }
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
