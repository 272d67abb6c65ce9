//! A run's numbers as a table for people.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table, TableStyle};

use super::bench::{BenchReport, WorkloadRow};
use super::figures::{NONE, factor, microseconds, or_none, percent};
use crate::bench::statistics::{StopReason, Summary};

/// Digits of a uuid that tell workloads apart on a screen.
const UUID_LENGTH: usize = 8;

const HEADER: [&str; 12] = [
    "workload",
    "axes",
    "verdict",
    "median µs",
    "min",
    "Q1",
    "Q3",
    "n",
    "noise",
    "copy µs",
    "of copy",
    "speedup",
];

/// Writes a run: one row a workload, then the means, then what should be known about them.
pub fn bench_table(report: &BenchReport) -> String {
    let mut table = Table::new();
    table.load_style(TableStyle::default()).set_header(HEADER);
    for row in &report.workloads {
        table.add_row(cells(row));
    }
    for column in table.column_iter_mut().skip(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut text =
        format!("{} on {}, {}\n{}\n", report.solution, report.definition, report.device, table.trim_fmt());
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{} of {} workloads passed", report.passed, report.expected);
    let _ = writeln!(text, "{}", means(report));
    text += &clocks(report);
    for line in failures(report).chain(doubts(report)) {
        let _ = writeln!(text, "{line}");
    }
    text
}

fn cells(row: &WorkloadRow) -> [String; 12] {
    let summary = row.summary();
    let of = |value: fn(&Summary) -> String| or_none(summary.map(value));
    let verdict = row.verdict.as_ref().map_or("cannot judge", |verdict| verdict.name());
    [
        row.uuid.chars().take(UUID_LENGTH).collect(),
        row.axes.clone(),
        verdict.to_owned(),
        of(|summary| microseconds(summary.median)),
        of(|summary| microseconds(summary.min)),
        of(|summary| microseconds(summary.first_quartile)),
        of(|summary| microseconds(summary.third_quartile)),
        of(|summary| summary.count.to_string()),
        of(|summary| percent(summary.noise)),
        or_none(row.roofline_ns.map(microseconds)),
        or_none(row.copy_share.map(percent)),
        or_none(row.speedup.map(factor)),
    ]
}

fn means(report: &BenchReport) -> String {
    let Some(overall) = report.overall else {
        return format!("no mean: {}", report.no_overall.as_deref().unwrap_or(NONE));
    };
    let copy = report.copy_bytes_per_second.map(|speed| format!(", device copy {:.2} TB/s", speed / 1e12));
    format!(
        "arithmetic mean {} µs, geometric mean {} µs{}",
        microseconds(overall.arithmetic_mean_ns),
        microseconds(overall.geometric_mean_ns),
        copy.unwrap_or_default()
    )
}

/// Which clock the table shows, and what the others read on average over the same workloads.
fn clocks(report: &BenchReport) -> String {
    let Some(first) = report.workloads.iter().find(|row| !row.clocks.is_empty()) else {
        return String::new();
    };
    let mut text = String::new();
    for (index, clock) in first.clocks.iter().enumerate() {
        let same = |row: &WorkloadRow| {
            let found = row
                .clocks
                .iter()
                .find(|other| (other.method, other.l2_state) == (clock.method, clock.l2_state));
            found.and_then(|found| found.summary).map(|summary| summary.median)
        };
        let medians: Vec<f64> = report.workloads.iter().filter_map(same).collect();
        #[expect(clippy::cast_precision_loss, reason = "a count of workloads")]
        let mean = (!medians.is_empty()).then(|| medians.iter().sum::<f64>() / medians.len() as f64);
        let floor = clock.floor_ns.map(|floor| format!(", reads {} µs around nothing", microseconds(floor)));
        let role = if index == 0 { "shown above" } else { "for comparison" };
        let _ = writeln!(
            text,
            "clock: {}, {} L2 ({role}): mean {} µs{}",
            clock.method,
            clock.l2_state,
            or_none(mean.map(microseconds)),
            floor.unwrap_or_default()
        );
    }
    text
}

fn failures(report: &BenchReport) -> impl Iterator<Item = String> {
    report.workloads.iter().filter_map(|row| {
        let reason = row.refusal.as_deref().or_else(|| row.verdict.as_ref()?.reason())?;
        Some(format!(
            "{} {}: {reason}",
            row.uuid,
            row.verdict.as_ref().map_or("cannot judge", |verdict| verdict.name())
        ))
    })
}

/// What makes a number less certain: sampling that ended early, dropped blocks, notes. Notes that
/// every workload shares are printed once.
fn doubts(report: &BenchReport) -> impl Iterator<Item = String> {
    let scored = || {
        report.workloads.iter().filter(|row| row.latency_ns.is_some()).filter_map(|row| row.clocks.first())
    };
    let imprecise = scored().filter(|clock| !matches!(clock.stop_reason, StopReason::Precise { .. })).count();
    let dropped: usize = scored().map(|clock| clock.dropped_blocks).sum();
    let mut lines = Vec::new();
    if imprecise > 0 {
        lines.push(format!("note: {imprecise} medians were not yet precise when sampling ended"));
    }
    if dropped > 0 {
        lines.push(format!("note: {dropped} disturbed blocks were dropped"));
    }
    for (index, row) in report.workloads.iter().enumerate() {
        for note in &row.notes {
            let shared = report.workloads.iter().all(|other| other.notes.contains(note));
            match (shared, index) {
                (true, 0) => lines.push(format!("note: {note}")),
                (true, _) => {}
                (false, _) => lines.push(format!("note: {}: {note}", row.uuid)),
            }
        }
    }
    lines.into_iter()
}

#[cfg(test)]
mod tests {
    use super::super::bench::tests::{report, run};
    use super::*;

    #[test]
    fn shows_every_number_with_its_clock() {
        let mut records = run(None);
        for record in &mut records {
            record.finding.notes.push("CUPTI is missing".to_owned());
        }
        let text = bench_table(&report(&records, 3));
        for expected in [
            "mine on double, NVIDIA H200",
            "n=3",
            "3.71",
            "20.3×",
            "3 of 3 workloads passed",
            "arithmetic mean 3.71 µs, geometric mean 3.71 µs, device copy 4.25 TB/s",
            "clock: CUPTI span, cold L2 (shown above): mean 3.71 µs",
            "note: 3 medians were not yet precise when sampling ended",
            "note: CUPTI is missing",
        ] {
            assert!(text.contains(expected), "{expected} in\n{text}");
        }
        assert_eq!(text.matches("CUPTI is missing").count(), 1, "{text}");
    }

    #[test]
    fn a_failure_shows_its_reason_and_no_time() {
        let text = bench_table(&report(&run(Some("b")), 3));
        assert!(text.contains("2 of 3 workloads passed\nno mean: 2 latencies for 3 workloads"), "{text}");
        assert!(text.contains("b timeout: no answer after 300 s"), "{text}");
        let row = text.lines().find(|line| line.contains("timeout")).unwrap();
        assert!(!row.contains("3.71"), "{row}");
    }
}
