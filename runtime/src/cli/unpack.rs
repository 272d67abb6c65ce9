//! `proofmark unpack`: an artifact becomes a submission folder again.

use std::path::{Path, PathBuf};

use clap::Args;
use proofmark_packager::Digest;
use proofmark_packager::unpack::{self, UnpackError, Unpacked};
use serde_json::json;

use super::console::Console;
use super::exit_code::ExitCode;
use super::failure::Failure;
use super::input;
use super::output::OTHER_FOLDER;

/// Write an artifact back as the folder that packs to it again.
///
/// A foreign solution.json may hold what no folder can, such as unknown fields; the folder then packs
/// to another digest, and the answer says why.
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
    let unpacked = unpack::unpack(&opened.bundle, &arguments.output).map_err(explain)?;
    let digest = opened.bundle.artifact.digest();
    console.print(describe(&unpacked, &arguments.output, &digest))?;
    console.document(
        "proofmark.unpack",
        1,
        &json!({
            "digest": digest,
            "output": crate::path_text::text(&arguments.output),
            "submission": crate::path_text::text(&unpacked.submission),
            "files": unpacked.files.iter().map(crate::path_text::text).collect::<Vec<_>>(),
            "packs_to_same_digest": unpacked.packs_to_same_digest(),
            "losses": unpacked.losses,
        }),
    )?;
    Ok(ExitCode::Yes)
}

fn describe(unpacked: &Unpacked, output: &Path, digest: &Digest) -> String {
    let again = match unpacked.losses.as_slice() {
        [] => "the folder packs to the same digest".to_owned(),
        losses => format!("the folder packs to another digest:\n  {}", losses.join("\n  ")),
    };
    format!("unpacked {} files to {}\ndigest   {digest}\n{again}", unpacked.files.len(), output.display())
}

fn explain(error: UnpackError) -> Failure {
    match error {
        UnpackError::Occupied { .. } => Failure::request(error).hint("name a new folder with `-o`"),
        UnpackError::Collision { .. } => Failure::request(error),
        UnpackError::Io { .. } => Failure::could_not_judge(error).hint(OTHER_FOLDER),
    }
}
