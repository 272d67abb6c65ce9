//! `proofmark report`: one HTML file of runs, comparisons, and where they came from.

use std::path::{Path, PathBuf};

use clap::Args;
use proofmark_packager::{Digest, open};
use serde_json::json;

use super::console::Console;
use super::exit_code::ExitCode;
use super::failure::Failure;
use super::ledger_folder::{self, LedgerFolder};
use super::{output, protected};
use crate::ledger::{Filter, import};
use crate::path_text;
use crate::record::journal;
use crate::report::page::{Exhibit, PageDraft, exhibit};

/// Write runs, comparisons and provenance as one HTML file that needs no network.
///
/// The page shows what records and seals say, with how far each number can be believed; it proves nothing
/// again. It opens in any browser, light or dark, and prints.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  proofmark report out.zip                             writes report.html
  proofmark report solutions -o shelf.html             a leaderboard of what was measured
  proofmark report results.jsonl comparison.jsonl -o today.html
  proofmark report out.zip --ledger ~/ledger           with the history that the ledger knows")]
pub struct Arguments {
    /// Sealed artifacts, files of records, or folders of them.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Where to write the page.
    #[arg(short, long, value_name = "FILE", default_value = "report.html")]
    output: PathBuf,
    #[command(flatten)]
    ledger: LedgerFolder,
}

/// Runs the verb.
pub fn run(arguments: &Arguments, console: &Console) -> Result<ExitCode, Failure> {
    let mut draft = PageDraft::default();
    for path in &arguments.paths {
        let files = import::files(path);
        protected::refuse(&arguments.output, &files)
            .map_err(|failure| failure.hint("name another file with `-o`"))?;
        for file in &files {
            // A shelf may hold what was only packed; a file that was named must have something to show.
            add(&mut draft, file, path.is_dir(), console)?;
        }
    }
    if draft.is_empty() {
        return Err(Failure::request("nothing there was sealed or measured")
            .hint("name a sealed artifact, or a file that `bench --record` or `compare --record` wrote"));
    }
    let mut history = Vec::new();
    if let Some(ledger) = arguments.ledger.look_named(console)? {
        for definition in draft.definitions() {
            let filter = Filter {
                definition: Some(definition.to_owned()),
                literal: true,
                oldest_first: true,
                ..Filter::default()
            };
            history.extend(ledger.runs(&filter).map_err(ledger_folder::explain)?);
        }
    }
    let (runs, comparisons) = (draft.runs(), draft.comparisons());
    let mut bytes = Vec::new();
    draft.write(&history, &mut bytes).map_err(output::unfinished_page)?;
    output::write_to(&arguments.output, &bytes)?;
    if arguments.output == Path::new("-") {
        return Ok(ExitCode::Yes);
    }
    console.print(format!(
        "report       {} ({} bytes): {runs} runs, {comparisons} comparisons",
        arguments.output.display(),
        bytes.len()
    ))?;
    let body = json!({
        "output": path_text::text(&arguments.output), "output_sha256": Digest::of_bytes(&bytes),
        "size_bytes": bytes.len(), "runs": runs, "comparisons": comparisons, "history": history.len(),
    });
    console.document("proofmark.report", 1, &body)?;
    Ok(ExitCode::Yes)
}

fn add(draft: &mut PageDraft, file: &Path, is_shelf: bool, console: &Console) -> Result<(), Failure> {
    let source = file.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    if file.extension().is_some_and(|end| end == "zip") {
        let opened = open::open(file).map_err(Failure::request)?;
        return match Exhibit::of_artifact(&opened.bundle, source) {
            Ok(exhibit) if is_shelf && exhibit.records.is_empty() => {
                console.say(format!("note: passed over {}: it was not measured", file.display()));
                Ok(())
            }
            Ok(exhibit) => draft.add_exhibit(&exhibit).map_err(output::unfinished_page),
            Err(error) if is_shelf && error.is_unsealed() => {
                console.say(format!("note: passed over {}: it is not sealed", file.display()));
                Ok(())
            }
            Err(error) => Err(Failure::request(format!("{}: {error}", file.display()))),
        };
    }
    if !file.exists() {
        return Err(Failure::request(format!("{} does not exist", file.display())));
    }
    let found = journal::read(file).map_err(Failure::request)?;
    if found.torn.is_some() {
        console.say(format!("note: the last line of {} is torn and counts for nothing", file.display()));
    }
    let (runs, comparisons) = exhibit::sort_records(found.records);
    for run in runs {
        if let Some(exhibit) = Exhibit::of_run(run, source.clone()) {
            draft.add_exhibit(&exhibit).map_err(output::unfinished_page)?;
        }
    }
    comparisons.iter().try_for_each(|one| draft.add_comparison(one)).map_err(output::unfinished_page)
}
