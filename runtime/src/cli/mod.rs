//! The command line: one verb a file.

use std::ffi::OsString;

use clap::{Parser, Subcommand};

pub mod console;
pub mod exit_code;
pub mod failure;
mod player;
mod verify;

use console::{Console, Format};
use exit_code::ExitCode;
use failure::Failure;

/// Packs, rebuilds, proves, caches, measures and replays GPU kernel submissions.
#[derive(Debug, Parser)]
#[command(name = "proofmark", version, propagate_version = true)]
struct CommandLine {
    /// Print one JSON document on stdout instead of text.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    #[command(hide = true)]
    Player(player::Arguments),
    Verify(verify::Arguments),
}

/// Runs one command line and says how it ended.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let line = match CommandLine::try_parse_from(arguments) {
        Ok(line) => line,
        Err(usage) => return explain_usage(&usage),
    };
    let console = Console::new(if line.json { Format::Json } else { Format::Human });
    let answer = match line.verb {
        Verb::Player(arguments) => player::run(&arguments, &console),
        Verb::Verify(arguments) => verify::run(&arguments, &console),
    };
    answer.unwrap_or_else(|failure: Failure| console.fail(&failure))
}

fn explain_usage(usage: &clap::Error) -> ExitCode {
    // Help and version are answers; everything else is a wrong request.
    let _ = usage.print();
    if usage.use_stderr() { ExitCode::Request } else { ExitCode::Yes }
}
