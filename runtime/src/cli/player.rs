//! `proofmark player`: the child that runs foreign code for the judge. Internal.

use clap::Args;

use super::console::Console;
use super::exit_code::ExitCode;
use super::failure::Failure;

/// Internal: the child process in which `bench` and `compare` run a submission. It speaks a binary
/// protocol over inherited descriptors and is of no use when started by hand.
#[derive(Debug, Args)]
#[command(hide = true)]
pub(super) struct Arguments {}

/// Runs the verb.
pub(super) fn run(_arguments: &Arguments, _console: &Console) -> Result<ExitCode, Failure> {
    proofmark_player::serve().map_err(Failure::could_not_judge)?;
    Ok(ExitCode::Yes)
}
