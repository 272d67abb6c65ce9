//! `proofmark target`: what a submission's build must come out as.

use std::path::PathBuf;

use clap::Args;
use proofmark_packager::Arch;
use proofmark_packager::submission::{
    self, CONFIG_NAME, SubmissionError, Violations, edit_target, target_of,
};
use serde_json::json;

use super::console::Console;
use super::exit_code::ExitCode;
use super::failure::Failure;
use super::output;
use crate::build::Flags;

/// Show or set the architecture and nvcc flags of a submission folder.
///
/// Edits `[target]` in config.toml in place; every comment and the order of keys stay. It repairs too:
/// the old values need not be valid, nor the rest of the submission.
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
    // The table is read alone, so that a submission that cannot be packed yet can be repaired.
    let (place, text) = submission::open_config(&arguments.folder).map_err(explain)?;
    let replaces = arguments.no_nvcc_flags || !arguments.nvcc_flags.is_empty();
    let flags = replaces.then_some(arguments.nvcc_flags.as_slice());
    if let Err(refusals) = Flags::check(&arguments.nvcc_flags) {
        let all: Vec<String> = refusals.iter().map(ToString::to_string).collect();
        return Err(Failure::request(all.join("; ")));
    }
    let mut edited = text.clone();
    if arguments.arch.is_some() || flags.is_some() {
        edited = edit_target(&text, arguments.arch, flags)
            .map_err(|violation| invalid(arguments, Violations(vec![violation])))?;
    }
    let target = target_of(&edited).map_err(|violations| {
        let failure = invalid(arguments, violations);
        if edited == text {
            failure.hint("`--arch` and `--nvcc-flag` or `--no-nvcc-flags` replace what is there")
        } else {
            failure.hint("other keys of `[target]` can only be mended by hand")
        }
    })?;
    let changed = target_of(&text).ok().as_ref() != Some(&target);
    if changed {
        // The real place: a linked config.toml stays a link.
        output::write_file(&place, edited.as_bytes())?;
    }
    console.print(
        format!("arch        {}\nnvcc flags  {}", target.arch, target.nvcc_flags.join(" ")).trim_end(),
    )?;
    let config = arguments.folder.join(CONFIG_NAME);
    console.document(
        "proofmark.target",
        1,
        &json!({ "target": target, "changed": changed, "config": crate::path_text::text(config) }),
    )?;
    Ok(ExitCode::Yes)
}

fn invalid(arguments: &Arguments, violations: Violations) -> Failure {
    explain(SubmissionError::Invalid { folder: arguments.folder.clone(), violations })
}

fn explain(error: SubmissionError) -> Failure {
    match error {
        SubmissionError::Io { .. } => Failure::could_not_judge(error),
        SubmissionError::NoConfig { ref folder } => {
            let found = submission::find(folder).unwrap_or_default();
            if let Some(first) = found.first().filter(|first| *first != folder) {
                let text = format!("{} holds {} submissions: expected one", folder.display(), found.len());
                return Failure::request(text).hint(format!("name one, such as {}", first.display()));
            }
            Failure::request(error).hint("`proofmark new DEFINITION` writes a submission to start from")
        }
        SubmissionError::Invalid { .. } => Failure::request(error),
    }
}
