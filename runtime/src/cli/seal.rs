//! `proofmark seal`: the whole line, written into the artifact.

use std::path::{Path, PathBuf};

use clap::Args;
use proofmark_packager::format::{BUILD_EVIDENCE, MEASUREMENTS_EVIDENCE, PROOF_EVIDENCE};
use proofmark_packager::{Arch, Artifact, Bundle, Digest, Evidence, bundle};
use serde_json::{Value, json};

use super::console::Console;
use super::exit_code::ExitCode;
use super::failure::Failure;
use super::measuring::Measuring;
use super::speed::{self, Speed};
use super::{input, line, output};
use crate::evidence::BuildEvidence;
use crate::pipeline::Built;

/// Pack, rebuild, prove, and write the evidence into the artifact.
///
/// Sealed is only what is proven: a build that does not compile, or whose bytes hold anything but
/// the one architecture, writes nothing and exits with 1. Where there is a GPU that can run it, and
/// the submission brings definition.json and workloads.jsonl, it is measured as `bench` does, and
/// the raw samples become evidence too.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  proofmark seal my-kernel                         writes <name>-<digest12>.zip here
  proofmark seal my-kernel -o out.zip --arch sm_90a
  proofmark seal my-kernel -o out.zip --json | jq .proof")]
pub struct Arguments {
    /// Submission folder, artifact or solution.json.
    path: PathBuf,
    /// Where to write the sealed artifact.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Do not measure, even where there is a GPU.
    #[arg(long)]
    no_measure: bool,
    #[command(flatten)]
    measuring: Measuring,
}

/// Runs the verb.
pub fn run(arguments: &Arguments, console: &Console) -> Result<ExitCode, Failure> {
    let opened = input::open_one(&arguments.path, console)?;
    let arch = line::arch_of(&opened.bundle, arguments.measuring.line.arch, console);
    let was_measured = opened.bundle.evidence.get(MEASUREMENTS_EVIDENCE).is_some();
    let artifact = opened.bundle.artifact;
    let path = match &arguments.output {
        None => PathBuf::from(name_for(&artifact, arch)),
        Some(folder) if folder.is_dir() => folder.join(name_for(&artifact, arch)),
        Some(file) => file.clone(),
    };
    output::check(&path, &arguments.path)?;
    let build = match arguments.measuring.line.build(&artifact, arch, console)? {
        Built::Proven(build) => build,
        Built::Finding(finding) => return line::report_finding("proofmark.seal", &finding, console),
    };
    let to_json = |value: Result<Vec<u8>, serde_json::Error>| value.map_err(Failure::could_not_judge);
    let evidence = Evidence::default()
        .with(
            BUILD_EVIDENCE,
            to_json(serde_json::to_vec_pretty(&BuildEvidence::of(artifact.digest(), &build)))?,
        )
        .with(PROOF_EVIDENCE, to_json(serde_json::to_vec_pretty(&build.proof))?);
    let speed = if arguments.no_measure {
        Speed::Skipped("not asked for".to_owned())
    } else {
        speed::measure_if_possible(&arguments.measuring, &arguments.path, &artifact, &build, console)?
    };
    if let Speed::Skipped(reason) = &speed {
        let is_lost = |there: &Evidence| there.get(MEASUREMENTS_EVIDENCE).is_some();
        let why = format!("holds measurements, and this seal has none ({reason}): they would be lost");
        output::refuse_to_lose(&path, is_lost, &why)?;
        if was_measured {
            console
                .say("note: the measurements that it was sealed with belong to that seal: not carried over");
        }
    }
    let evidence = match &speed {
        Speed::Measured(measured) => evidence.with(MEASUREMENTS_EVIDENCE, measured.lines()?),
        Speed::Skipped(_) => evidence,
    };
    let evidence_digest = evidence.digest(artifact.digest());
    let digest = artifact.digest();
    let bytes = bundle::write(&Bundle { artifact, evidence });
    if arguments.output.is_some() || is_packed(&path, digest) {
        output::write_to(&path, &bytes)?;
    } else {
        output::write_unnamed(&path, &bytes)?;
    }
    let answer = if speed.passed() { ExitCode::Yes } else { ExitCode::No };
    if path == Path::new("-") {
        // Stdout belongs to the file.
        return Ok(answer);
    }
    console.print(line::describe_proof(&build))?;
    console.print(format!("sealed       {} ({} bytes)", path.display(), bytes.len()))?;
    console.print(format!("  digest     {digest}"))?;
    console.print(format!("  evidence   {evidence_digest}"))?;
    let mut body = line::document(&build);
    report_speed(&speed, &mut body, console)?;
    body["digest"] = json!(digest);
    body["evidence_digest"] = json!(evidence_digest);
    body["output"] = json!(path);
    body["output_sha256"] = json!(Digest::of_bytes(&bytes));
    console.document("proofmark.seal", 1, &body)?;
    Ok(answer)
}

/// Whether the same artifact stands there without any evidence, as `pack` writes it.
fn is_packed(path: &Path, digest: Digest) -> bool {
    output::artifact_at(path)
        .is_some_and(|there| there.artifact.digest() == digest && there.evidence.is_empty())
}

/// The artifact's name; with the architecture where it is not the submission's own.
fn name_for(artifact: &Artifact, arch: Arch) -> String {
    let name = artifact.file_name();
    if arch == artifact.manifest().target.arch {
        return name;
    }
    format!("{}-{arch}.zip", name.trim_end_matches(".zip"))
}

/// Says what was measured.
fn report_speed(speed: &Speed, body: &mut Value, console: &Console) -> Result<(), Failure> {
    let text = match speed {
        Speed::Skipped(reason) => {
            body["measured"] = json!({ "skipped": reason });
            format!("measured     skipped: {reason}")
        }
        Speed::Measured(measured) => {
            let mean_us = speed::mean_us(measured);
            body["measured"] =
                json!({ "mean_us": mean_us, "device": measured.device(), "workloads": measured.findings });
            let count = measured.findings.len();
            match mean_us {
                Some(mean) => {
                    format!("measured     {mean:.3} µs over {count} workloads on {}", measured.device())
                }
                None => "measured     not every workload passed: `proofmark bench` shows which".to_owned(),
            }
        }
    };
    console.print(text)
}
