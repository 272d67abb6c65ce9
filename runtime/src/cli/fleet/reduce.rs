//! `proofmark fleet reduce`: what came of a plan, in one table, one ledger, one page.

use std::path::{Path, PathBuf};

use clap::Args;
use proofmark_packager::escape;
use serde::Serialize;

use super::{INVALID_IS_REMOVED, PLANNED_ANEW, ResultsFolder, explain_plan, explain_results, words};
use crate::cli::console::Console;
use crate::cli::exit_code::ExitCode;
use crate::cli::failure::Failure;
use crate::cli::ledger_folder::{self, LedgerFolder};
use crate::cli::output;
use crate::fleet::plan::PassedOver;
use crate::fleet::summary::{FleetSummary, ShardSummary, Standing};
use crate::fleet::table::table;
use crate::fleet::{FleetPlan, Results};
use crate::ledger::{Appended, Ledger};
use crate::record::Record;
use crate::report::page::{Exhibit, PageDraft, exhibit};
use crate::{cause_text, path_text};

/// Put together what came of a plan, and name what is missing.
///
/// Nothing is averaged away: a shard without an outcome stands in the table with its reason, and the exit code
/// says so. An outcome counts that answers the job of the plan in everything that can be held against it: what it
/// is about, its records, its figures, its exit code. Any other is named, and counts for nothing. Done twice it changes
/// nothing: a ledger knows a record by its content.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  proofmark fleet reduce plan.jsonl
  proofmark fleet reduce plan.jsonl --ledger contest --report contest.html

Exit code 0: every shard has an outcome, and every one is positive. 1: every shard has an answer, and one is
negative, or an entry was left out. 2: nothing was measured that the page could show. 3: something is missing or
invalid; `fleet run` does the rest.")]
pub(super) struct ReduceArguments {
    /// The plan.
    plan: PathBuf,
    #[command(flatten)]
    results: ResultsFolder,
    #[command(flatten)]
    ledger: LedgerFolder,
    /// Also write what was measured as one HTML file.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Show only shards that are not positive.
    #[arg(long)]
    only_negative: bool,
}

/// How many records are put into a ledger at once: what is kept of them until then, with raw samples, takes some
/// hundred megabytes.
const BATCH: usize = 4096;

/// Records on their way into a ledger and onto a page.
struct Taken<'a> {
    ledger: Option<&'a mut Ledger>,
    appended: Option<Appended>,
    waiting: Vec<Record>,
    /// The page, where one is made: what is on it is not kept besides.
    draft: Option<PageDraft>,
}

impl Taken<'_> {
    fn take(&mut self, records: Vec<Record>) -> Result<(), Failure> {
        if self.ledger.is_some() {
            self.waiting.extend(records.iter().cloned());
        }
        if let Some(draft) = &mut self.draft {
            draw(draft, records)?;
        }
        if self.waiting.len() >= BATCH { self.put() } else { Ok(()) }
    }

    fn put(&mut self) -> Result<(), Failure> {
        let Some(ledger) = self.ledger.as_deref_mut() else { return Ok(()) };
        let Appended { new, known } = ledger.append_records(&self.waiting).map_err(ledger_folder::explain)?;
        self.waiting.clear();
        let appended = self.appended.get_or_insert_default();
        appended.new += new;
        appended.known += known;
        Ok(())
    }
}

/// Runs the verb.
pub(super) fn run(arguments: &ReduceArguments, console: &Console) -> Result<ExitCode, Failure> {
    let plan = FleetPlan::read(&arguments.plan).map_err(explain_plan)?;
    let results = Results::look(&arguments.results.results).map_err(explain_results)?;
    let mut ledger = arguments.ledger.open_named(console)?;
    let draft = arguments.report.is_some().then(PageDraft::default);
    let mut taken = Taken { ledger: ledger.as_mut(), appended: None, waiting: Vec::new(), draft };
    let summary = FleetSummary::read(&plan, &results, |records| taken.take(records))?;
    taken.put()?;
    let Taken { appended, draft, .. } = taken;
    print(arguments, &plan, &summary, console)?;
    if let Some(appended) = appended {
        console.print(format!("ledger       {} new entries, {} known", appended.new, appended.known))?;
    }
    let page = arguments.report.as_deref().zip(draft);
    let written = page.map(|(path, draft)| write_report(path, draft)).transpose()?;
    if written == Some(Page::Empty) {
        console.say("note: no page was written: nothing was measured that it could show");
        console.say("hint: `fleet plan --verb bench` or `--verb compare` measures");
    }
    let misplanned = summary.shards.iter().filter(|shard| shard.is_misplanned).count();
    if misplanned > 0 {
        console.say(format!("hint: {PLANNED_ANEW}"));
    }
    if summary.count(Standing::Invalid) > misplanned {
        console.say(format!("hint: {INVALID_IS_REMOVED}"));
    }
    let report = arguments.report.as_ref().filter(|_| written == Some(Page::Written));
    let body = ReduceDocument {
        plan: path_text::text(&arguments.plan),
        results: path_text::text(results.folder()),
        complete: summary.missing() == 0,
        finished: summary.count(Standing::Finished),
        refused: summary.count(Standing::Refused),
        invalid: summary.count(Standing::Invalid),
        missing: summary.missing(),
        shards: &summary.shards,
        passed_over: &plan.passed_over,
        ledger: appended,
        report: report.map(path_text::text),
    };
    console.document("proofmark.fleet-reduce", 1, &body)?;
    let left_out = plan.passed_over.iter().any(PassedOver::is_left_out);
    Ok(match (summary.missing(), summary.is_positive() && !left_out) {
        (0, true) if written == Some(Page::Empty) => ExitCode::Request,
        (0, true) => ExitCode::Yes,
        (0, false) => ExitCode::No,
        _ => ExitCode::CouldNotJudge,
    })
}

/// The document.
#[derive(Serialize)]
struct ReduceDocument<'a> {
    plan: String,
    results: String,
    complete: bool,
    finished: usize,
    refused: usize,
    invalid: usize,
    missing: usize,
    shards: &'a [ShardSummary],
    passed_over: &'a [PassedOver],
    ledger: Option<Appended>,
    report: Option<String>,
}

fn print(
    arguments: &ReduceArguments,
    plan: &FleetPlan,
    summary: &FleetSummary,
    console: &Console,
) -> Result<(), Failure> {
    let is_shown = |shard: &&ShardSummary| {
        !arguments.only_negative || shard.answer.as_ref().is_none_or(|answer| answer.exit_code != 0)
    };
    let shown: Vec<_> = summary.shards.iter().filter(is_shown).collect();
    if !shown.is_empty() {
        console.print(table(&shown))?;
    }
    for one in &plan.passed_over {
        let word = if one.is_left_out() { "left out" } else { "passed over" };
        let reason = cause_text::one_line(&one.reason);
        console.print(format!("{word:13}{}: {}", escape::line(&one.path), escape::line(&reason)))?;
    }
    console.print(format!(
        "{:13}{} of {} have an outcome, {} are refused, {} are missing, {} of them invalid; {} were passed over",
        if summary.missing() == 0 { "complete" } else { "incomplete" },
        summary.count(Standing::Finished),
        words::shards(summary.shards.len()),
        summary.count(Standing::Refused),
        summary.missing(),
        summary.count(Standing::Invalid),
        plan.passed_over.len()
    ))
}

/// Whether there is a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Page {
    Written,
    Empty,
}

/// Draws the records of one shard.
fn draw(draft: &mut PageDraft, records: Vec<Record>) -> Result<(), Failure> {
    let (runs, comparisons) = exhibit::sort_records(records);
    for run in runs {
        let source = run.last().and_then(|record| record.context.run_id).map(|run| run.to_string());
        if let Some(exhibit) = Exhibit::of_run(run, source.unwrap_or_default()) {
            draft.add_exhibit(&exhibit).map_err(output::unfinished_page)?;
        }
    }
    comparisons.iter().try_for_each(|one| draft.add_comparison(one)).map_err(output::unfinished_page)
}

fn write_report(path: &Path, draft: PageDraft) -> Result<Page, Failure> {
    if draft.is_empty() {
        return Ok(Page::Empty);
    }
    output::write_pieces_to(path, |out| draft.write(&[], out))?;
    Ok(Page::Written)
}
