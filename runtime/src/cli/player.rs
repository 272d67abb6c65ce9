//! `proofmark player`: the child that runs foreign code for the judge. Internal.

use clap::Args;
use proofmark_player::Refusals;

use super::console::Console;
use super::exit_code::ExitCode;
use super::failure::Failure;

/// Internal: the child process in which verbs that measure run a submission. It speaks a binary
/// protocol over inherited descriptors and is of no use when started by hand.
#[derive(Debug, Args)]
#[command(hide = true)]
pub(super) struct Arguments {
    /// Write refused system calls to standard error
    #[arg(long)]
    show_refused_calls: bool,
}

/// Runs the verb.
pub(super) fn run(arguments: &Arguments, _console: &Console) -> Result<ExitCode, Failure> {
    let refusals = if arguments.show_refused_calls { Refusals::Shown } else { Refusals::Silent };
    proofmark_player::serve(refusals).map_err(Failure::could_not_judge)?;
    Ok(ExitCode::Yes)
}
