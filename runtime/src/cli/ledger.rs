//! `proofmark ledger`: every record in one place.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;

use super::console::Console;
use super::exit_code::ExitCode;
use super::failure::Failure;
use super::ledger_folder::{LedgerFolder, explain, is_too_large, say_faults};
use super::number;
use crate::ledger::champion::lineages;
use crate::ledger::retention::{self, Extent};
use crate::ledger::row::VERDICTS;
use crate::ledger::trace::REPORTED;
use crate::ledger::{Filter, Ledger, LedgerError, LedgerKind, import, moment};
use crate::path_text;
use crate::report::ledger_table::{entry_table, lineage_text, run_table};

mod show;

/// Look records up, bring them in, keep what matters.
///
/// A ledger is a folder of JSONL files that are never changed, and an index that is made again whenever it
/// is missing. `bench`, `compare` and `seal` write into it where it is named with --ledger or
/// PROOFMARK_LEDGER; `challenge` always does.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  proofmark ledger import solutions results.jsonl      sealed artifacts, records, traces of the boards
  proofmark ledger list --definition gdn_decode*       runs, the newest first
  proofmark ledger query --kind workload --verdict timeout --since 2026-11-01
  proofmark ledger show 0c1bddef06c8                   a run, an entry or an artifact, with distributions
  proofmark ledger lineage                             who was champion, and why
  proofmark ledger retain --older-than 180d --dry-run  what may go")]
pub struct Arguments {
    #[command(flatten)]
    place: LedgerFolder,
    #[command(subcommand)]
    action: LedgerAction,
}

#[derive(Debug, Subcommand)]
enum LedgerAction {
    /// List runs, the newest first.
    List(FilterOptions),
    /// List entries, the newest first: workloads, comparisons, traces, seals, challenges, promotions.
    Query {
        /// Only this kind: workload, comparison, trace, seal, challenge or promotion.
        #[arg(long, value_parser = parse_kind)]
        kind: Option<LedgerKind>,
        #[command(flatten)]
        filter: FilterOptions,
    },
    /// Show a run, an entry, or all that is known of an artifact.
    Show {
        /// How its name begins: of a run, an entry, or an artifact's digest.
        name: String,
    },
    /// Bring in records, sealed artifacts, and traces of FlashInfer-Bench and SOL-ExecBench.
    Import {
        /// JSONL files, artifacts, or folders of them.
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
    /// Read every record again and make the index anew.
    Rebuild,
    /// Drop old measurements; never one that a seal or a promotion names.
    Retain {
        /// Drop what is older than this, such as `180d`.
        #[arg(long, value_name = "AGE", value_parser = number::age)]
        older_than: Duration,
        /// Also keep what the sealed artifacts in this folder name.
        #[arg(long, value_name = "DIR")]
        shelf: Vec<PathBuf>,
        /// Say what would be dropped, and drop nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Show who was champion of what, and why.
    Lineage(FilterOptions),
}

/// A verdict, decision or answer in our spelling; a board's own, such as `REWARD_HACK`, is taken too.
fn parse_verdict(text: &str) -> Result<String, String> {
    let ours = text.to_ascii_lowercase();
    if VERDICTS.contains(&ours.as_str()) {
        return Ok(ours);
    }
    Err(format!("expected one of {}", VERDICTS.join(", ")))
}

fn parse_kind(text: &str) -> Result<LedgerKind, String> {
    LedgerKind::of_name(text).ok_or_else(|| {
        let names: Vec<&str> = LedgerKind::ALL.iter().map(|kind| kind.name()).collect();
        format!("expected one of {}", names.join(", "))
    })
}

/// Which entries are asked for.
#[derive(Debug, Clone, Args)]
pub struct FilterOptions {
    /// The definition's name; `*` stands for many.
    #[arg(long)]
    definition: Option<String>,
    /// The solution's name; `*` stands for many.
    #[arg(long)]
    solution: Option<String>,
    /// Who wrote it.
    #[arg(long)]
    author: Option<String>,
    /// How the artifact's digest begins.
    #[arg(long, value_name = "DIGEST")]
    artifact: Option<String>,
    /// What it was built for.
    #[arg(long)]
    arch: Option<String>,
    /// What it ran on, such as `NVIDIA H200`; `*` stands for many.
    #[arg(long)]
    device: Option<String>,
    /// The verdict, decision or answer, such as `passed`, `better` or `reject`.
    #[arg(long, value_parser = parse_verdict)]
    verdict: Option<String>,
    /// How it was measured; `reported` is another harness's figure.
    #[arg(long, value_parser = ["hermetic", "live", REPORTED])]
    trust: Option<String>,
    /// Where it was measured: here, or elsewhere and brought in.
    #[arg(long, value_parser = ["measured", "imported"])]
    origin: Option<String>,
    /// How the run's name begins.
    #[arg(long)]
    run: Option<String>,
    /// Not before this day or time.
    #[arg(long, value_name = "DATE", value_parser = moment::asked)]
    since: Option<String>,
    /// Before this day or time.
    #[arg(long, value_name = "DATE", value_parser = moment::asked)]
    until: Option<String>,
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = number::whole::<usize>)]
    limit: usize,
}

impl FilterOptions {
    fn filter(&self, kind: Option<LedgerKind>) -> Filter {
        let asked = self.clone();
        Filter {
            kind,
            definition: asked.definition,
            solution: asked.solution,
            author: asked.author,
            artifact: asked.artifact,
            arch: asked.arch,
            device: asked.device,
            verdict: asked.verdict,
            trust: asked.trust,
            origin: asked.origin,
            run: asked.run,
            since: asked.since,
            until: asked.until,
            limit: Some(asked.limit),
            ..Filter::default()
        }
    }
}

/// What to say where no run is as asked: what else there is.
fn no_runs(ledger: &Ledger, filter: &Filter) -> Result<String, Failure> {
    let rows = ledger.rows(&Filter { limit: None, ..filter.clone() }).map_err(explain)?;
    let count = |kind: LedgerKind| {
        let count = rows.iter().filter(|row| row.kind == kind).count();
        (count > 0).then(|| format!("{count} {}{}", kind.name(), if count == 1 { "" } else { "s" }))
    };
    let kinds: Vec<String> = LedgerKind::ALL.into_iter().filter_map(count).collect();
    if kinds.is_empty() {
        return Ok("no runs".to_owned());
    }
    Ok(format!("no runs, and {}: `proofmark ledger query` lists them", kinds.join(", ")))
}

/// Runs the verb.
pub fn run(arguments: &Arguments, console: &Console) -> Result<ExitCode, Failure> {
    if let LedgerAction::Rebuild = arguments.action {
        return rebuild(arguments, console);
    }
    let mut ledger = match &arguments.action {
        LedgerAction::Import { paths } => {
            check_imported(paths)?;
            arguments.place.open(console)?
        }
        _ => arguments.place.look(console)?,
    };
    match &arguments.action {
        LedgerAction::List(filter) => {
            let filter = filter.filter(None);
            let runs = ledger.runs(&filter).map_err(explain)?;
            let text = if runs.is_empty() { no_runs(&ledger, &filter)? } else { run_table(&runs) };
            console.print(text)?;
            console.document("proofmark.ledger-list", 1, &json!({ "runs": runs }))?;
        }
        LedgerAction::Query { kind, filter } => {
            let rows = ledger.rows(&filter.filter(*kind)).map_err(explain)?;
            console.print(if rows.is_empty() { "no entries".to_owned() } else { entry_table(&rows) })?;
            console.document("proofmark.ledger-query", 1, &json!({ "entries": rows }))?;
        }
        LedgerAction::Show { name } => return show::run(&ledger, name, console),
        LedgerAction::Import { paths } => import_all(&mut ledger, paths, console)?,
        LedgerAction::Retain { older_than, shelf, dry_run } => {
            let extent = if *dry_run { Extent::Look } else { Extent::Drop };
            let before = moment::before_now(*older_than);
            let done = retention::sweep(&mut ledger, &before, shelf, extent).map_err(explain)?;
            console.print(format!(
                "{} {} entries from before {}, {} bytes; {} stay because a seal or a promotion names them",
                if *dry_run { "would drop" } else { "dropped" },
                done.dropped,
                moment::short(&before),
                done.freed_bytes,
                done.kept_by_name
            ))?;
            let body = json!({ "before": before, "dry_run": dry_run, "swept": done });
            console.document("proofmark.ledger-retention", 1, &body)?;
        }
        LedgerAction::Lineage(filter) => {
            let all = lineages(&ledger, &filter.filter(None)).map_err(explain)?;
            console.print(if all.is_empty() { "no champions".to_owned() } else { lineage_text(&all) })?;
            console.document("proofmark.ledger-lineage", 1, &json!({ "lineages": all }))?;
        }
        LedgerAction::Rebuild => {}
    }
    Ok(if ledger.faults().is_empty() { ExitCode::Yes } else { ExitCode::No })
}

/// Refuses what is not there before a ledger is begun for it.
fn check_imported(paths: &[PathBuf]) -> Result<(), Failure> {
    for path in paths {
        std::fs::metadata(path).map_err(|error| cannot_import(path, &error))?;
    }
    Ok(())
}

fn cannot_import(path: &Path, error: &io::Error) -> Failure {
    let text = format!("cannot read {}: {error}", path.display());
    let failure = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::InvalidInput => Failure::request(text),
        _ => Failure::could_not_judge(text),
    };
    failure.hint("name JSONL files or artifacts that can be read, or folders of them")
}

fn import_all(ledger: &mut Ledger, paths: &[PathBuf], console: &Console) -> Result<(), Failure> {
    let mut all = Vec::new();
    for path in paths.iter().flat_map(|path| import::files(path)) {
        let one = import::import(ledger, &path).map_err(|error| match error {
            LedgerError::File { path: of, source, .. } if of == path && !is_too_large(&source) => {
                cannot_import(&path, &source)
            }
            error => explain(error),
        })?;
        let note = one.note.as_ref().map_or_else(String::new, |note| format!(": {note}"));
        console.print(format!(
            "{}: {} new entries, {} known{note}",
            one.file, one.appended.new, one.appended.known
        ))?;
        all.push(one);
    }
    console.document("proofmark.ledger-import", 1, &json!({ "files": all }))
}

fn rebuild(arguments: &Arguments, console: &Console) -> Result<ExitCode, Failure> {
    let folder = arguments.place.folder()?;
    let ledger = if Ledger::is_at(&folder) {
        Ledger::rebuild(&folder).map_err(explain)?
    } else {
        arguments.place.look(console)?
    };
    say_faults(&ledger, console);
    let (entries, runs) = ledger.counts().map_err(explain)?;
    console.print(format!("{entries} entries and {runs} runs in {}", ledger.folder().display()))?;
    let body = json!({
        "ledger": path_text::text(ledger.folder()), "entries": entries, "runs": runs, "faults": ledger.faults(),
    });
    console.document("proofmark.ledger-rebuild", 1, &body)?;
    Ok(if ledger.faults().is_empty() { ExitCode::Yes } else { ExitCode::No })
}
