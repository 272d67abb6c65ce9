//! `ledger show`: a run as `bench` shows it, an entry as it stands, or all that is known of an artifact.

use proofmark_packager::{Digest, escape};
use serde_json::{Value, json};

use crate::cli::console::Console;
use crate::cli::exit_code::ExitCode;
use crate::cli::failure::Failure;
use crate::cli::ledger_folder::explain;
use crate::ledger::{Filter, Ledger, LedgerEntry, LedgerError, LedgerKind, LedgerLine, Row, RunRow};
use crate::measure::WorkloadFinding;
use crate::measure::statistics::medians_in_order;
use crate::record::BenchReport;
use crate::record::{Record, WorkloadRecord};
use crate::report::bench_table::bench_table;
use crate::report::comparison_table::comparison_table;
use crate::report::figures::{tolerance_lines, tolerances};
use crate::report::history::History;
use crate::report::ledger_table::{entry_table, run_table};
use crate::report::sparkline::trend;

/// Fewer digits name nothing for certain.
const LEAST_DIGITS: usize = 4;

/// Shows what begins so.
pub(super) fn run(ledger: &Ledger, name: &str, console: &Console) -> Result<ExitCode, Failure> {
    if name.len() < LEAST_DIGITS {
        return Err(Failure::request(format!(
            "{name:?} is too short: expected {LEAST_DIGITS} digits or more"
        )));
    }
    let runs = ledger.runs(&Filter { run: Some(name.to_owned()), ..Filter::default() }).map_err(explain)?;
    let entry = ledger.entry_of_prefix(name).map_err(explain)?;
    match (runs.as_slice(), entry) {
        ([run], None) => show_run(ledger, run, console),
        ([], Some((line, entry))) => show_entry(&line, &entry, console),
        ([], None) => show_artifact(ledger, name, console),
        (runs, entry) => {
            let found = runs.len() + usize::from(entry.is_some());
            Err(explain(LedgerError::Ambiguous { prefix: name.to_owned(), found }))
        }
    }
}

fn show_run(ledger: &Ledger, run: &RunRow, console: &Console) -> Result<ExitCode, Failure> {
    let filter = Filter { run: Some(run.run.clone()), oldest_first: true, ..Filter::default() };
    let rows = ledger.rows(&filter).map_err(explain)?;
    let mut records: Vec<WorkloadRecord> = Vec::new();
    let mut documents: Vec<Value> = Vec::new();
    for row in rows.iter().filter(|row| matches!(row.kind, LedgerKind::Workload | LedgerKind::Trace)) {
        let (line, entry) = ledger.entry(row.id).map_err(explain)?;
        documents.push(document_of(&line)?);
        if let LedgerEntry::Record(record) = entry
            && let Record::Workload(record) = *record
        {
            records.push(*record);
        }
    }
    console.print(format!("run {}, {}, {} here", run.run, run.time, run.origin))?;
    match records.last() {
        Some(last) => console.print(run_text(last, &records))?,
        None => console.print(entry_table(&rows))?,
    }
    console.document("proofmark.ledger-show", 1, &json!({ "run": run, "entries": documents }))?;
    Ok(ExitCode::Yes)
}

fn run_text(last: &WorkloadRecord, records: &[WorkloadRecord]) -> String {
    let mut uuids: Vec<&str> = records.iter().map(|record| record.finding.workload.uuid()).collect();
    uuids.sort_unstable();
    uuids.dedup();
    let findings = records.iter().map(|record| &record.finding);
    let table = bench_table(&BenchReport::new(&last.context, None, findings, uuids.len()));
    let allowed = tolerance_lines(&tolerances(records.iter().map(|record| record.tolerance)));
    let allowed = allowed.iter().map(|line| format!("\noutputs could be off by {line}"));
    allowed.fold(table.trim_end().to_owned(), |text, line| text + &line)
}

fn show_entry(line: &str, entry: &LedgerEntry, console: &Console) -> Result<ExitCode, Failure> {
    let text = match entry {
        LedgerEntry::Record(record) => match &**record {
            Record::Workload(record) => {
                run_text(record, std::slice::from_ref(record)) + &readings(&record.finding)
            }
            Record::Comparison(record) => {
                let (a, b) = (&record.a.solution, &record.b.solution);
                comparison_table(a, b, &record.report, &record.trust).trim_end().to_owned()
            }
        },
        LedgerEntry::Own(own) => match &**own {
            LedgerLine::Challenge(one) => format!(
                "{}: {} by {} for {}\n{}",
                one.answer.name(),
                escape::line(&one.solution),
                escape::line(&one.author),
                escape::line(&one.slot.to_string()),
                one.reason
            ),
            _ => escape::json(
                &serde_json::to_string_pretty(&document_of(line)?).map_err(Failure::could_not_judge)?,
            ),
        },
    };
    console.print(text)?;
    console.document("proofmark.ledger-show", 1, &json!({ "run": null, "entries": [document_of(line)?] }))?;
    Ok(ExitCode::Yes)
}

/// How the samples went in the order in which they were taken.
fn readings(finding: &WorkloadFinding) -> String {
    const MOST: usize = 120;
    let Some(clock) = finding.measurements.first().filter(|_| finding.latency_ns().is_some()) else {
        return String::new();
    };
    format!("\nin time  {}", trend(&medians_in_order(&clock.samples_ns, MOST)))
}

fn show_artifact(ledger: &Ledger, name: &str, console: &Console) -> Result<ExitCode, Failure> {
    let of = Filter { artifact: Some(name.to_owned()), ..Filter::default() };
    let runs = ledger.runs(&of).map_err(explain)?;
    let all = ledger.rows(&of).map_err(explain)?;
    let rows: Vec<Row> = all.into_iter().filter(|row| row.kind != LedgerKind::Workload).collect();
    let mut artifacts: Vec<Digest> = runs
        .iter()
        .filter_map(|run| run.artifact)
        .chain(rows.iter().filter_map(|row| row.artifact))
        .collect();
    artifacts.sort_unstable();
    artifacts.dedup();
    if artifacts.len() != 1 {
        return Err(explain(LedgerError::Ambiguous { prefix: name.to_owned(), found: artifacts.len() }));
    }
    console.print(format!("artifact {}", artifacts[0]))?;
    for text in [run_table(&runs), entry_table(&rows)] {
        console.print(text)?;
    }
    for line in histories(ledger, &runs)? {
        console.print(line)?;
    }
    let mut documents = Vec::new();
    for row in &rows {
        documents.push(document_of(&ledger.entry(row.id).map_err(explain)?.0)?);
    }
    console.document("proofmark.ledger-show", 1, &json!({ "run": null, "entries": documents }))?;
    Ok(ExitCode::Yes)
}

/// How the means of its definitions went, where it was measured.
fn histories(ledger: &Ledger, runs: &[RunRow]) -> Result<Vec<String>, Failure> {
    let mut definitions: Vec<&str> = runs.iter().map(|run| run.definition.as_str()).collect();
    definitions.sort_unstable();
    definitions.dedup();
    let mut lines = Vec::new();
    for definition in definitions {
        let all = Filter { definition: Some(definition.to_owned()), literal: true, ..Filter::default() };
        let all = ledger.runs(&all).map_err(explain)?;
        for ((definition, arch, device, trust), history) in History::of(&all) {
            let is_here =
                |run: &RunRow| run.arch.as_deref() == Some(&arch) && run.device.as_deref() == Some(&device);
            if runs.iter().any(|run| is_here(run) && run.trust == trust) {
                lines.push(format!(
                    "history of {definition}, {arch}, {device}, {trust}\n  {}",
                    history.line()
                ));
            }
        }
    }
    Ok(lines)
}

fn document_of(line: &str) -> Result<Value, Failure> {
    serde_json::from_str(line).map_err(Failure::could_not_judge)
}
