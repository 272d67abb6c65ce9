//! The command line as clap describes it.

use clap::{Command, CommandFactory};

use super::CommandLine;

/// The command line without the verbs that are not for people.
pub(super) fn shown() -> Command {
    let full = CommandLine::command();
    Command::new("proofmark")
        .version(env!("CARGO_PKG_VERSION"))
        .about(full.get_about().cloned().unwrap_or_default())
        .propagate_version(true)
        .args(full.get_arguments().cloned())
        .subcommands(full.get_subcommands().filter(|verb| !verb.is_hide_set()).cloned())
}
