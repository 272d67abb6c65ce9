//! `proofmark unpack`: an artifact becomes a submission folder again.

use std::path::PathBuf;

use clap::Args;
use packager::unpack::{self, UnpackError};
use serde_json::json;

use super::console::Console;
use super::exit_code::ExitCode;
use super::failure::Failure;
use super::input;

/// Write an artifact back as the folder that packs to it again.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  proofmark unpack out.zip -o my-kernel
  proofmark unpack solution.json -o theirs        a foreign solution.json works too")]
pub struct Arguments {
    /// Artifact or solution.json.
    path: PathBuf,
    /// The new folder.
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
}

/// Runs the verb.
pub fn run(arguments: &Arguments, console: &Console) -> Result<ExitCode, Failure> {
    let opened = input::open_one(&arguments.path, console)?;
    let files = unpack::unpack(&opened.bundle, &arguments.output).map_err(explain)?;
    let digest = opened.bundle.artifact.digest();
    console.print(format!(
        "unpacked {} files to {}\ndigest   {digest}",
        files.len(),
        arguments.output.display()
    ))?;
    console.document(
        "proofmark.unpack",
        1,
        &json!({ "digest": digest, "output": arguments.output, "files": files }),
    )?;
    Ok(ExitCode::Yes)
}

fn explain(error: UnpackError) -> Failure {
    match error {
        UnpackError::Occupied { .. } => Failure::request(error).hint("name a new folder with `-o`"),
        UnpackError::Collision { .. } => Failure::request(error),
        UnpackError::Io { .. } => Failure::could_not_judge(error),
    }
}
