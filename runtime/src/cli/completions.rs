//! `proofmark completions`: tab completion for a shell.

use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;

use super::CommandLine;
use super::console::{Console, write_out};
use super::exit_code::ExitCode;
use super::failure::Failure;

/// Print tab completions for a shell.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  proofmark completions bash > ~/.local/share/bash-completion/completions/proofmark
  proofmark completions fish > ~/.config/fish/completions/proofmark.fish")]
pub struct Arguments {
    /// Which shell.
    shell: Shell,
}

/// Runs the verb.
pub fn run(arguments: &Arguments, console: &Console) -> Result<ExitCode, Failure> {
    console.require_text("a shell's completions")?;
    let mut text = Vec::new();
    clap_complete::generate(arguments.shell, &mut shown(), "proofmark", &mut text);
    write_out(&text)?;
    Ok(ExitCode::Yes)
}

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
