//! `proofmark completions`: tab completion for a shell.

use clap::Args;
use clap_complete::Shell;

use super::command;
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
    clap_complete::generate(arguments.shell, &mut command::shown(), "proofmark", &mut text);
    write_out(&text)?;
    Ok(ExitCode::Yes)
}
