//! One run: a row for each workload with its distribution, and what else is known of it.

use maud::{Markup, html};

use super::distribution::{box_chart, cumulative, shared_scale};
use super::{Exhibit, provenance, text, trust_mark};
use crate::measure::verdict::Verdict;
use crate::record::WorkloadRow;
use crate::report::figures::{NONE, factor, microseconds, or_none, percent, tolerance_lines, tolerances};

/// Digits of a uuid that tell workloads apart.
const UUID_LENGTH: usize = 8;

/// One run.
pub(super) fn section(index: usize, exhibit: &Exhibit) -> Markup {
    html! {
        section id=(format!("run-{index}")) {
            h2 {
                (text(&exhibit.solution)) " " small { "by " (text(&exhibit.author)) ", " (text(&exhibit.definition)) ", " (exhibit.arch) }
                " " (trust_mark(exhibit.trust()))
            }
            @if let Some(report) = &exhibit.report {
                (table(index, exhibit, &report.workloads))
                (allowed(exhibit))
                (failures(&report.workloads))
                (cumulative(&exhibit.records))
                (notes(&report.workloads))
            } @else {
                p { "Nothing was measured when this was sealed." }
            }
            (provenance::section(exhibit))
        }
    }
}

/// How far outputs could be off, as the records say.
fn allowed(exhibit: &Exhibit) -> Markup {
    let lines = tolerance_lines(&tolerances(exhibit.records.iter().map(|record| record.tolerance)));
    html! {
        @for line in lines { p { "Outputs could be off by " (line) "." } }
    }
}

fn table(index: usize, exhibit: &Exhibit, rows: &[WorkloadRow]) -> Markup {
    let scale = shared_scale(rows.iter().filter_map(WorkloadRow::summary));
    html! {
        div.wide {
            table {
                caption {
                    "Medians of the scored clock, in microseconds, on " (text(exhibit.device())) ". Boxes show each workload over its own median, on one axis."
                }
                thead {
                    tr {
                        th scope="col" { "workload" } th scope="col" { "axes" } th scope="col" { "verdict" }
                        th.number scope="col" { "median" } th scope="col" { "distribution" }
                        th.number scope="col" { "min" } th.number scope="col" { "Q3" } th.number scope="col" { "n" }
                        th.number scope="col" { "noise" } th.number scope="col" { "of copy" } th.number scope="col" { "speedup" }
                        th.samples scope="col" { "samples" }
                    }
                }
                tbody {
                    @for (place, row) in rows.iter().enumerate() { (workload(index, place, row, &scale)) }
                }
            }
        }
    }
}

fn workload(index: usize, place: usize, row: &WorkloadRow, scale: &super::svg::Scale) -> Markup {
    let verdict = row.verdict.as_ref().map_or("cannot judge", Verdict::name);
    let class = if row.verdict.as_ref().is_some_and(Verdict::is_passed) { "good" } else { "bad" };
    let short: String = text(&row.uuid).chars().take(UUID_LENGTH).collect();
    let summary = row.summary();
    html! {
        tr {
            th scope="row" title=(text(&row.uuid)) { code { (short) } }
            td { (text(&row.axes)) }
            td {
                span class=(class) { (verdict) }
                @if row.latency_ns.is_some() { " " (trust_mark(row.trust.name())) }
            }
            td.number { strong { (or_none(summary.map(|one| microseconds(one.median)))) } }
            td { @match summary { Some(one) => (box_chart(one, scale)), None => (NONE) } }
            td.number { (or_none(summary.map(|one| microseconds(one.min)))) }
            td.number { (or_none(summary.map(|one| microseconds(one.third_quartile)))) }
            td.number { (or_none(summary.map(|one| one.count.to_string()))) }
            td.number { (or_none(summary.map(|one| percent(one.noise)))) }
            td.number { (or_none(row.copy_share.map(percent))) }
            td.number { (or_none(row.speedup.map(factor))) }
            td.samples {
                @if !row.clocks.is_empty() {
                    button type="button" hidden aria-expanded="false" aria-label=(format!("samples of workload {short}"))
                        data-run=(index) data-workload=(place) { "show" }
                }
            }
        }
    }
}

/// Why a workload did not pass.
fn failures(rows: &[WorkloadRow]) -> Markup {
    let reason = |row: &WorkloadRow| {
        let reason = row.refusal.as_deref().or_else(|| row.verdict.as_ref()?.reason())?;
        Some(format!("{}: {}", text(&row.uuid), text(reason)))
    };
    let reasons: Vec<String> = rows.iter().filter_map(reason).collect();
    html! {
        @if !reasons.is_empty() {
            h3 { "What did not pass" }
            ul { @for reason in reasons { li { (reason) } } }
        }
    }
}

/// What was seen and changes no verdict; what all workloads say is said once.
fn notes(rows: &[WorkloadRow]) -> Markup {
    let mut notes: Vec<(String, usize)> = Vec::new();
    for note in rows.iter().flat_map(|row| &row.notes) {
        match notes.iter_mut().find(|(known, _)| known == note) {
            Some((_, count)) => *count += 1,
            None => notes.push((note.clone(), 1)),
        }
    }
    html! {
        @if !notes.is_empty() {
            details {
                summary { "Notes (" (notes.len()) ")" }
                ul { @for (note, count) in &notes { li { (text(note)) " (" (count) " workloads)" } } }
            }
        }
    }
}
