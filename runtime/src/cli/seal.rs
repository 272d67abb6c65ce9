//! `proofmark seal`: the whole line, written into the artifact.

use std::path::{Path, PathBuf};

use clap::Args;
use packager::format::{BUILD_EVIDENCE, PROOF_EVIDENCE};
use packager::{Bundle, Digest, Evidence, bundle};
use serde_json::json;

use super::console::Console;
use super::exit_code::ExitCode;
use super::failure::Failure;
use super::line::{self, LineOptions};
use super::{input, output};
use crate::evidence::BuildEvidence;
use crate::pipeline::Built;

/// Pack, rebuild, prove, and write the evidence into the artifact.
///
/// Sealed is only what is proven: a build that does not compile, or whose bytes hold anything but
/// the one architecture, writes nothing and exits with 1.
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
    #[command(flatten)]
    line: LineOptions,
}

/// Runs the verb.
pub fn run(arguments: &Arguments, console: &Console) -> Result<ExitCode, Failure> {
    let opened = input::open_one(&arguments.path, console)?;
    let artifact = opened.bundle.artifact;
    let arch = arguments.line.arch.unwrap_or(artifact.manifest().target.arch);
    let build = match arguments.line.build(&artifact, arch, console)? {
        Built::Proven(build) => build,
        finding => return line::report_finding("proofmark.seal", &finding, console),
    };
    let to_json = |value: Result<Vec<u8>, serde_json::Error>| value.map_err(Failure::could_not_judge);
    let evidence = Evidence::default()
        .with(
            BUILD_EVIDENCE,
            to_json(serde_json::to_vec_pretty(&BuildEvidence::of(artifact.digest(), &build)))?,
        )
        .with(PROOF_EVIDENCE, to_json(serde_json::to_vec_pretty(&build.proof))?);
    let evidence_digest = evidence.digest(artifact.digest());
    let path = match &arguments.output {
        None => PathBuf::from(artifact.file_name()),
        Some(folder) if folder.is_dir() => folder.join(artifact.file_name()),
        Some(file) => file.clone(),
    };
    let digest = artifact.digest();
    let bytes = bundle::write(&Bundle { artifact, evidence });
    output::write_to(&path, &bytes)?;
    if path == Path::new("-") {
        return Ok(ExitCode::Yes);
    }
    console.print(line::describe_proof(&build))?;
    console.print(format!("sealed       {} ({} bytes)", path.display(), bytes.len()))?;
    console.print(format!("  digest     {digest}"))?;
    console.print(format!("  evidence   {evidence_digest}"))?;
    let mut body = line::document(&build);
    body["digest"] = json!(digest);
    body["evidence_digest"] = json!(evidence_digest);
    body["output"] = json!(path);
    body["output_sha256"] = json!(Digest::of_bytes(&bytes));
    console.document("proofmark.seal", 1, &body)?;
    Ok(ExitCode::Yes)
}
