//! `proofmark target`: what a submission's build must come out as.

use std::path::PathBuf;

use clap::Args;
use packager::Arch;
use packager::submission::{self, CONFIG_NAME, edit_target};
use serde_json::json;

use super::console::Console;
use super::exit_code::ExitCode;
use super::failure::Failure;
use super::output;

/// Show or set the architecture and nvcc flags of a submission folder.
///
/// Edits `[target]` in config.toml in place; every comment and the order of keys stay.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  proofmark target my-kernel                                   shows
  proofmark target my-kernel --arch sm_103a
  proofmark target my-kernel --nvcc-flag=-use_fast_math        replaces the flags
  proofmark target my-kernel --no-nvcc-flags")]
pub struct Arguments {
    /// Submission folder.
    folder: PathBuf,
    /// The one architecture.
    #[arg(long)]
    arch: Option<Arch>,
    /// A flag for nvcc; repeat for several.
    #[arg(long = "nvcc-flag", value_name = "FLAG", allow_hyphen_values = true)]
    nvcc_flags: Vec<String>,
    /// Remove every flag.
    #[arg(long, conflicts_with = "nvcc_flags")]
    no_nvcc_flags: bool,
}

/// Runs the verb.
pub fn run(arguments: &Arguments, console: &Console) -> Result<ExitCode, Failure> {
    let path = arguments.folder.join(CONFIG_NAME);
    let submission = submission::read(&arguments.folder).map_err(Failure::request)?;
    let mut target = submission.target.clone();
    target.arch = arguments.arch.unwrap_or(target.arch);
    if arguments.no_nvcc_flags || !arguments.nvcc_flags.is_empty() {
        target.nvcc_flags.clone_from(&arguments.nvcc_flags);
    }
    let changed = target != submission.target;
    if changed {
        let text = std::fs::read_to_string(&path)
            .map_err(|error| Failure::could_not_judge(format!("cannot read {}: {error}", path.display())))?;
        let edited = edit_target(&text, &target).map_err(Failure::request)?;
        output::write_file(&path, edited.as_bytes())?;
    }
    console.print(
        format!("arch        {}\nnvcc flags  {}", target.arch, target.nvcc_flags.join(" ")).trim_end(),
    )?;
    console.document(
        "proofmark.target",
        1,
        &json!({ "target": target, "changed": changed, "config": path }),
    )?;
    Ok(ExitCode::Yes)
}
