//! The skill's text: the loop as it is written down, and what the program itself says of verbs, exit codes and
//! documents.

use std::fmt::Write as _;

use crate::cli::exit_code::ExitCode;
use crate::cli::{command, document_schema};

/// What is written by hand; the tables are put in from the program.
const TEMPLATE: &str = include_str!("template.md");

/// The whole text.
pub(super) fn text() -> String {
    TEMPLATE
        .replace("{version}", env!("CARGO_PKG_VERSION"))
        .replace("{verbs}", &verbs())
        .replace("{exit_codes}", &exit_codes())
        .replace("{documents}", &documents())
}

/// Every verb with the first line of its help.
fn verbs() -> String {
    let mut table = String::new();
    for verb in command::shown().get_subcommands().filter(|verb| verb.get_name() != "help") {
        let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(table, "| `proofmark {}` | {} |", verb.get_name(), about.trim_end_matches('.'));
    }
    table
}

fn exit_codes() -> String {
    let all = [ExitCode::Yes, ExitCode::No, ExitCode::Request, ExitCode::CouldNotJudge];
    all.iter()
        .fold(String::new(), |table, code| table + &format!("| {} | {} |\n", *code as u8, code.meaning()))
}

/// Every document, by the name that `proofmark schema` takes.
fn documents() -> String {
    document_schema::names().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
