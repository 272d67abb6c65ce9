//! `proofmark man`: the help texts as manual pages.

use std::path::PathBuf;

use clap::{Args, Command};
use clap_mangen::Man;

use super::command;
use super::console::{Console, write_out};
use super::exit_code::ExitCode;
use super::failure::Failure;
use super::output;

/// Print a manual page, or write all of them into a folder.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  proofmark man verify | man -l -
  proofmark man --into ~/.local/share/man/man1")]
pub struct Arguments {
    /// The verb; several words for a verb of a verb [default: the page of the program].
    verb: Vec<String>,
    /// Write a page for the program and for every verb here instead.
    #[arg(long, value_name = "DIR", conflicts_with = "verb")]
    into: Option<PathBuf>,
}

/// Runs the verb.
pub fn run(arguments: &Arguments, console: &Console) -> Result<ExitCode, Failure> {
    console.require_text("a manual page")?;
    let program = command::shown();
    let Some(folder) = &arguments.into else {
        let found = arguments.verb.iter().try_fold(program, |command, word| {
            command.find_subcommand(word).cloned().ok_or_else(|| {
                Failure::request(format!("no verb is called {word:?}")).hint("`proofmark --help` lists them")
            })
        })?;
        write_out(&page(&found, &arguments.verb)?)?;
        return Ok(ExitCode::Yes);
    };
    std::fs::create_dir_all(folder)
        .map_err(|error| Failure::could_not_judge(format!("cannot create {}: {error}", folder.display())))?;
    let mut written = 0;
    write_all(&program, &[], &mut |name, text| {
        written += 1;
        output::write_file(&folder.join(name), text)
    })?;
    console.print(format!("wrote {written} pages to {}", folder.display()))?;
    Ok(ExitCode::Yes)
}

/// A command's page and those of its verbs.
fn write_all(
    command: &Command,
    words: &[String],
    write: &mut impl FnMut(&str, &[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    write(&format!("{}.1", name(words)), &page(command, words)?)?;
    for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
        let words: Vec<String> = words.iter().cloned().chain([verb.get_name().to_owned()]).collect();
        write_all(verb, &words, write)?;
    }
    Ok(())
}

/// `proofmark-cache-list`.
fn name(words: &[String]) -> String {
    ["proofmark"].into_iter().chain(words.iter().map(String::as_str)).collect::<Vec<_>>().join("-")
}

fn page(command: &Command, words: &[String]) -> Result<Vec<u8>, Failure> {
    let shown = command.clone().display_name(name(words)).bin_name(name(words).replace('-', " "));
    let mut text = Vec::new();
    Man::new(shown).render(&mut text).map_err(Failure::could_not_judge)?;
    Ok(text)
}
