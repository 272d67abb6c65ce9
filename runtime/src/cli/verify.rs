//! `proofmark verify`: which architectures do these bytes contain?

use std::path::PathBuf;

use clap::Args;

use super::console::Console;
use super::exit_code::ExitCode;
use super::failure::Failure;

/// Tell from bytes alone which GPU architectures a build contains.
#[derive(Debug, Args)]
pub struct Arguments {
    /// A build output: cubin, fatbin, object, archive, library, wheel or folder.
    path: PathBuf,
}

/// Runs the verb.
pub fn run(arguments: &Arguments, _console: &Console) -> Result<ExitCode, Failure> {
    Err(Failure::request(format!("{}: not written yet", arguments.path.display())))
}
