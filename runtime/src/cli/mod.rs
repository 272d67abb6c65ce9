//! The command line: one verb a file.

#![allow(
    clippy::doc_markdown,
    clippy::doc_link_with_quotes,
    reason = "these comments are help texts, where backticks would show"
)]

use std::ffi::OsString;
use std::io::{self, Write};

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

mod bench;
mod board;
mod build;
mod cache;
mod cache_folder;
mod challenge;
mod command;
mod compare;
mod completions;
pub mod console;
mod diff;
mod doctor;
mod document_schema;
pub mod exit_code;
mod explain;
pub mod failure;
mod fleet;
mod input;
mod inspect;
mod job;
mod ledger;
mod ledger_folder;
mod line;
mod man;
mod measuring;
mod new;
mod number;
mod output;
#[allow(
    rustdoc::broken_intra_doc_links,
    reason = "its help shows tables of config.toml, which look like links"
)]
mod pack;
mod player;
mod profile;
mod profiled;
mod progress;
mod protected;
mod protocol;
mod replay;
mod report;
mod schema;
mod seal;
mod sharing;
mod sign;
mod signing_key;
mod skill;
mod target;
mod task;
mod toolchain;
mod unpack;
pub mod verify;
mod verify_signature;

use console::{AnswerFormat, Console};
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
    New(new::Arguments),
    Pack(pack::Arguments),
    Build(build::Arguments),
    Verify(verify::Arguments),
    Seal(seal::Arguments),
    Replay(replay::Arguments),
    Inspect(inspect::Arguments),
    Diff(diff::Arguments),
    Unpack(unpack::Arguments),
    Target(target::Arguments),
    Cache(cache::Arguments),
    Toolchain(toolchain::Arguments),
    Doctor(doctor::Arguments),
    Completions(completions::Arguments),
    Man(man::Arguments),
    Schema(schema::Arguments),
    Skill(skill::Arguments),
    Bench(bench::Arguments),
    Compare(compare::Arguments),
    Profile(profile::Arguments),
    Challenge(challenge::Arguments),
    Ledger(ledger::Arguments),
    Report(report::Arguments),
    Sign(sign::Arguments),
    VerifySignature(verify_signature::Arguments),
    Job(job::Arguments),
    Fleet(fleet::Arguments),
    #[command(hide = true)]
    Player(player::Arguments),
    #[command(hide = true)]
    Profiled(profiled::Arguments),
}

/// Runs one command line and says how it ended.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    crate::interruption::outlive_file_limits();
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let (line, matches) = match parse(&arguments) {
        Ok(parsed) => parsed,
        Err(usage) => return explain_usage(&usage, asked_format(&arguments)),
    };
    // A job's answer is a document, whatever was asked for.
    let wants_document = line.json || matches!(line.verb, Verb::Job(_));
    let console = Console::new(if wants_document { AnswerFormat::Json } else { AnswerFormat::Human });
    if let Err(failure) = protected::guard(&matches) {
        return console.fail(&failure);
    }
    if line.json
        && protected::fills_standard_output(&matches)
        && let Err(failure) = console.require_text("what `-o -` writes")
    {
        return console.fail(&failure);
    }
    let answer = match line.verb {
        Verb::Build(arguments) => build::run(&arguments, &console),
        Verb::Seal(arguments) => seal::run(&arguments, &console),
        Verb::Replay(arguments) => replay::run(&arguments, &console),
        Verb::Toolchain(arguments) => toolchain::run(&arguments, &console),
        Verb::Doctor(arguments) => doctor::run(&arguments, &console),
        Verb::Pack(arguments) => pack::run(&arguments, &console),
        Verb::Inspect(arguments) => inspect::run(&arguments, &console),
        Verb::Unpack(arguments) => unpack::run(&arguments, &console),
        Verb::Diff(arguments) => diff::run(&arguments, &console),
        Verb::New(arguments) => new::run(&arguments, &console),
        Verb::Target(arguments) => target::run(&arguments, &console),
        Verb::Cache(arguments) => cache::run(&arguments, &console),
        Verb::Completions(arguments) => completions::run(&arguments, &console),
        Verb::Man(arguments) => man::run(&arguments, &console),
        Verb::Skill(arguments) => skill::run(&arguments, &console),
        Verb::Schema(arguments) => schema::run(&arguments, &console),
        Verb::Verify(arguments) => verify::run(&arguments, &console),
        Verb::Bench(arguments) => bench::run(&arguments, &console),
        Verb::Compare(arguments) => compare::run(&arguments, &console),
        Verb::Profile(arguments) => profile::run(&arguments, &console),
        Verb::Sign(arguments) => sign::run(&arguments, &console),
        Verb::VerifySignature(arguments) => verify_signature::run(&arguments, &console),
        Verb::Report(arguments) => report::run(&arguments, &console),
        Verb::Challenge(arguments) => challenge::run(&arguments, &console),
        Verb::Ledger(arguments) => ledger::run(&arguments, &console),
        Verb::Job(arguments) => job::run(&arguments, &console),
        Verb::Fleet(arguments) => fleet::run(&arguments, &console),
        Verb::Player(arguments) => player::run(&arguments, &console),
        Verb::Profiled(arguments) => profiled::run(&arguments),
    };
    answer.unwrap_or_else(|failure: Failure| console.fail(&failure))
}

/// A command line as typed, and what each of its options holds.
fn parse(arguments: &[OsString]) -> Result<(CommandLine, ArgMatches), clap::Error> {
    let mut command = CommandLine::command();
    let matches = command.try_get_matches_from_mut(arguments)?;
    let line = CommandLine::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
    Ok((line, matches))
}

/// The format that a command line asks for that could not be read as a whole.
fn asked_format(arguments: &[OsString]) -> AnswerFormat {
    let mut options = arguments.iter().take_while(|&argument| argument != "--");
    // A job's answer is a document, whatever was asked for.
    let is_job = arguments.iter().skip(1).find(|one| !one.as_encoded_bytes().starts_with(b"-"));
    let is_job = is_job.is_some_and(|verb| verb == "job");
    if is_job || options.any(|option| option == "--json") { AnswerFormat::Json } else { AnswerFormat::Human }
}

fn explain_usage(usage: &clap::Error, format: AnswerFormat) -> ExitCode {
    let printed = usage.print().and_then(|()| io::stdout().flush());
    let console = Console::new(format);
    // Help and version are answers; everything else is a wrong request.
    if !usage.use_stderr() {
        return match printed {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                console.fail(&Failure::could_not_judge(error))
            }
            _ => ExitCode::Yes,
        };
    }
    console.document_failure(&wrong_request(usage));
    ExitCode::Request
}

/// Clap's text as a failure: its first paragraph is the error, what follows are ways out.
fn wrong_request(usage: &clap::Error) -> Failure {
    use clap::error::ErrorKind::{DisplayHelpOnMissingArgumentOrSubcommand, MissingSubcommand};
    if matches!(usage.kind(), DisplayHelpOnMissingArgumentOrSubcommand | MissingSubcommand) {
        return Failure::request("a subcommand is missing").hint("`--help` lists them");
    }
    let one_line = |lines: &str| lines.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = usage.render().to_string();
    let mut paragraphs = text.split("\n\n").flat_map(|paragraph| paragraph.split("  tip: ")).map(one_line);
    let error = paragraphs.next().unwrap_or_default();
    let failure = Failure::request(error.trim_start_matches("error: ").to_owned());
    paragraphs.filter(|paragraph| !paragraph.is_empty()).fold(failure, Failure::hint)
}
