//! `proofmark fleet reduce`: what came of a plan, in one table, one ledger, one page.

use std::path::PathBuf;

use clap::Args;
use proofmark_packager::escape;
use serde_json::json;

use super::{ResultsFolder, explain_plan, explain_results};
use crate::cli::console::Console;
use crate::cli::exit_code::ExitCode;
use crate::cli::failure::Failure;
use crate::cli::ledger::{self, LedgerFolder};
use crate::cli::output;
use crate::fleet::plan::PassedOver;
use crate::fleet::summary::{FleetSummary, Standing};
use crate::fleet::table::table;
use crate::fleet::{FleetPlan, Results};
use crate::path_text;
use crate::report::page::{Exhibit, PageContent, exhibit, page};

/// Put together what came of a plan, and name what is missing.
///
/// Nothing is averaged away: a shard without an outcome stands in the table with its reason, and the exit code
/// says so. Done twice it changes nothing: a ledger knows a record by its content.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  proofmark fleet reduce plan.jsonl
  proofmark fleet reduce plan.jsonl --ledger contest --report contest.html

Exit code 0: every shard has an outcome, and every one is positive. 1: every shard has an answer, and one is
negative, or an entry was left out. 3: something is missing; `fleet run` does the rest.")]
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

/// Runs the verb.
pub(super) fn run(arguments: &ReduceArguments, console: &Console) -> Result<ExitCode, Failure> {
    let plan = FleetPlan::read(&arguments.plan).map_err(explain_plan)?;
    let results = Results::look(&arguments.results.results);
    let summary = FleetSummary::read(&plan, &results).map_err(explain_results)?;
    let appended = match arguments.ledger.open_named(console)? {
        Some(mut ledger) => Some(ledger.append_records(&summary.records).map_err(ledger::explain)?),
        None => None,
    };
    if let Some(path) = &arguments.report {
        write_report(path, &summary)?;
    }
    let is_shown = |answer: Option<u64>| !arguments.only_negative || answer != Some(0);
    let shown: Vec<_> = summary
        .shards
        .iter()
        .filter(|shard| is_shown(shard.answer.as_ref().map(|answer| answer.exit_code)))
        .collect();
    if !shown.is_empty() {
        console.print(table(&shown))?;
    }
    for one in &plan.passed_over {
        let word = if one.is_left_out() { "left out" } else { "passed over" };
        console.print(format!("{word:13}{}: {}", escape::line(&one.path), escape::line(&one.reason)))?;
    }
    let (finished, refused) = (summary.count(Standing::Finished), summary.count(Standing::Refused));
    console.print(format!(
        "{:13}{finished} of {} shards have an outcome, {refused} are refused, {} are missing; {} were passed over",
        if summary.missing() == 0 { "complete" } else { "incomplete" },
        summary.shards.len(),
        summary.missing(),
        plan.passed_over.len()
    ))?;
    if let Some(appended) = appended {
        console.print(format!("ledger       {} new entries, {} known", appended.new, appended.known))?;
    }
    let body = json!({
        "plan": path_text::text(&arguments.plan), "results": path_text::text(results.folder()),
        "complete": summary.missing() == 0, "finished": finished, "refused": refused,
        "missing": summary.missing(), "shards": summary.shards, "passed_over": plan.passed_over,
        "ledger": appended, "report": arguments.report.as_ref().map(path_text::text),
    });
    console.document("proofmark.fleet-reduce", 1, &body)?;
    let left_out = plan.passed_over.iter().any(PassedOver::is_left_out);
    Ok(match (summary.missing(), summary.is_positive() && !left_out) {
        (0, true) => ExitCode::Yes,
        (0, false) => ExitCode::No,
        _ => ExitCode::CouldNotJudge,
    })
}

fn write_report(path: &std::path::Path, summary: &FleetSummary) -> Result<(), Failure> {
    let (runs, comparisons) = exhibit::sort_records(summary.records.clone());
    let exhibits = runs.into_iter().filter_map(|run| {
        let source = run.last().and_then(|record| record.context.run_id).map(|run| run.to_string());
        Exhibit::of_run(run, source.unwrap_or_default())
    });
    let content = PageContent { exhibits: exhibits.collect(), comparisons, history: Vec::new() };
    if content.exhibits.is_empty() && content.comparisons.is_empty() {
        return Err(Failure::request("nothing was measured that a report could show")
            .hint("`fleet plan --verb bench` or `--verb compare` measures"));
    }
    output::write_to(path, page(&content).as_bytes())
}
