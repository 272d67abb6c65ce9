//! `proofmark replay`: does a sealed artifact still give the same build?

use std::path::{Path, PathBuf};

use clap::Args;
use proofmark_packager::{Arch, Digest, Opened};
use serde_json::json;

use super::console::Console;
use super::exit_code::ExitCode;
use super::failure::Failure;
use super::input;
use super::line::{self, LineOptions};
use super::measuring::MeasuringOptions;
use crate::job::{Action, Measure, Outcome, ReplaySource};
use crate::pipeline::Settings;

mod shelf;

/// Rebuild a sealed artifact, prove it again, and compare with its evidence.
///
/// Says one of: identical, exit code 0; or what differs and why it may, exit code 1. The same device code
/// in another library differs: what the evidence says of another host compiler is not proven here.
/// With `--cached` a build that the cache has is compared as it is, and the answer says that nothing was
/// rebuilt.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
#[command(after_help = "Examples:
  proofmark replay out.zip
  proofmark replay out.zip --cached                compares the cached build, if there is one
  proofmark replay out.zip --recorded              launches what was sealed, builds nothing
  proofmark replay solutions --resume replay.jsonl  a whole shelf, one row each
  proofmark replay out.zip --json | jq .compared,.identical")]
pub struct Arguments {
    /// A sealed artifact; several, or a folder of them, give one table.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Keep finished rows of a table in this file, and do not replay again what stands in it.
    #[arg(long, value_name = "FILE")]
    resume: Option<PathBuf>,
    /// The same device code in another library is enough for exit code 0; the answer is a table.
    #[arg(long)]
    device_code_suffices: bool,
    /// Compare a build from the cache, if it has one, instead of building again.
    #[arg(long, conflicts_with = "fresh")]
    cached: bool,
    /// Launch what was sealed, as it was sealed, instead of building anything: measures without the compilers
    /// and packages that made it. Whether the sources give this machine code is not looked at.
    #[arg(long, conflicts_with_all = ["cached", "fresh", "no_measure"])]
    recorded: bool,
    /// Do not measure, even where there is a GPU.
    #[arg(long)]
    no_measure: bool,
    #[command(flatten)]
    measuring: MeasuringOptions,
}

/// Runs the verb.
pub fn run(arguments: &Arguments, console: &Console) -> Result<ExitCode, Failure> {
    match arguments.paths.as_slice() {
        [path] if is_one(path) && arguments.resume.is_none() && !arguments.device_code_suffices => {
            let request = request(input::open_one(path, console)?, path, arguments, console)?;
            let digest = request.digest;
            let Some(outcome) = request.replay(console)? else {
                return Ok(ExitCode::Yes);
            };
            line::answer("proofmark.replay", &outcome, [("digest", json!(digest))], console)
        }
        _ if arguments.measuring.line.as_job => {
            Err(Failure::request("a job is one replay").hint("name one artifact"))
        }
        _ => shelf::run(arguments, console),
    }
}

/// Whether a path is one artifact or submission, and no shelf of artifacts.
fn is_one(path: &Path) -> bool {
    !path.is_dir() || path.join("config.toml").is_file()
}

/// One replay, not done yet.
struct Request {
    digest: Digest,
    arch: Arch,
    action: Action,
    options: LineOptions,
    settings: Settings,
}

/// What to do with one artifact.
fn request(
    opened: Opened,
    path: &Path,
    arguments: &Arguments,
    console: &Console,
) -> Result<Request, Failure> {
    let measuring = &arguments.measuring;
    let artifact = &opened.bundle.artifact;
    let digest = artifact.digest();
    let arch = line::arch_of(&opened.bundle, measuring.line.arch, console);
    let measure = if arguments.no_measure {
        Measure::Not { reason: "not asked for".to_owned() }
    } else {
        measuring.measure(artifact, path, console)?
    };
    let source = if arguments.recorded { ReplaySource::Recordings } else { ReplaySource::Sources };
    let action = Action::Replay { subject: Box::new(opened.bundle), measure, source };
    let options = LineOptions { fresh: !arguments.cached, ..measuring.line.clone() };
    Ok(Request { digest, arch, action, options, settings: measuring.settings()? })
}

impl Request {
    /// Nothing comes out where only the job was asked for.
    fn replay(self, console: &Console) -> Result<Option<Outcome>, Failure> {
        self.options.run(self.arch, self.action, &self.settings, console)
    }
}
