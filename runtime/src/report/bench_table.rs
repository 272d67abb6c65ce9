//! A run's numbers as a table.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table, TableStyle};
use proofmark_packager::Digest;

use super::figures::{NONE, factor, microseconds, or_none, percent};
use super::sparkline::sparkline;
use crate::measure::judge::tolerance::Tolerance;
use crate::measure::measurement::{L2State, Method};
use crate::measure::statistics::{StopReason, Summary};
use crate::measure::verdict::Verdict;
use crate::proof::{ProofVerdict, demangle};
use crate::record::{BenchReport, ClockReport, WorkloadRow};
use crate::recording::{LaunchedCode, Trust};

/// Digits of a uuid that tell workloads apart on a screen.
const UUID_LENGTH: usize = 8;

/// Writes a run: one row a workload, then the means, then what should be known about them.
pub fn bench_table(report: &BenchReport) -> String {
    let others = other_clocks(report);
    let mut table = Table::new();
    table.load_style(TableStyle::new()).set_header(header(&others));
    for row in &report.workloads {
        table.add_row(cells(row, &others));
    }
    for column in table.column_iter_mut().skip(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let (solution, definition, device) = (&report.solution, &report.definition, &report.device);
    let mut text =
        format!("{solution} on {definition}, {device}\n{}{}\n", held_against(report), table.trim_fmt());
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{} of {} workloads passed", report.passed, report.expected);
    let _ = writeln!(text, "{}", means(report));
    let lines = failures(report).chain(trust(report)).chain(rounding(report)).chain(launched(report));
    for line in lines.chain(clocks(report)).chain(doubts(report)) {
        let _ = writeln!(text, "{line}");
    }
    text
}

/// What outputs were held against, and how far they could be off: whoever brings another definition or a laxer
/// rule shows it here.
fn held_against(report: &BenchReport) -> String {
    let short = |digest: &Option<Digest>| digest.map_or_else(|| NONE.to_owned(), |digest| digest.short());
    let mut text = format!(
        "held against definition {}, reference {}\n",
        short(&report.definition_digest),
        short(&report.reference)
    );
    if let Some(Tolerance { atol, rtol, required_matched_ratio }) = report.tolerance {
        let _ = writeln!(
            text,
            "an element is off beyond {atol} absolute and {rtol} relative; {} must match, unless a workload says otherwise",
            percent(required_matched_ratio)
        );
    }
    text
}

/// A clock's name and state, which make a column.
type Clock = (Method, L2State);

fn clock_of(clock: &ClockReport) -> Clock {
    (clock.method, clock.l2_state)
}

/// The clocks beside the scored one, in the order in which they first appear.
fn other_clocks(report: &BenchReport) -> Vec<Clock> {
    let mut others = Vec::new();
    for clock in report.workloads.iter().flat_map(|row| row.clocks.iter().skip(1)).map(clock_of) {
        if !others.contains(&clock) {
            others.push(clock);
        }
    }
    others
}

fn header(others: &[Clock]) -> Vec<String> {
    let scored =
        ["workload", "axes", "verdict", "median µs", "min", "Q1", "Q3", "n", "noise", "distribution"];
    let bounds = ["copy µs", "of copy", "speedup"];
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let others = others.iter().map(|(method, state)| format!("{method}, {state}"));
    words(&scored).into_iter().chain(others).chain(words(&bounds)).collect()
}

fn cells(row: &WorkloadRow, others: &[Clock]) -> Vec<String> {
    let summary = row.summary();
    let of = |value: fn(&Summary) -> String| or_none(summary.map(value));
    let verdict = row.verdict.as_ref().map_or("cannot judge", Verdict::name);
    let live = if row.latency_ns.is_some() && !row.trust.is_hermetic() { ", live" } else { "" };
    let mut cells = vec![
        row.uuid.chars().take(UUID_LENGTH).collect(),
        row.axes.clone(),
        format!("{verdict}{live}"),
        of(|summary| microseconds(summary.median)),
        of(|summary| microseconds(summary.min)),
        of(|summary| microseconds(summary.first_quartile)),
        of(|summary| microseconds(summary.third_quartile)),
        of(|summary| summary.count.to_string()),
        of(|summary| percent(summary.noise)),
        row.clocks
            .first()
            .filter(|_| row.latency_ns.is_some())
            .map_or_else(String::new, |clock| sparkline(&clock.samples_ns)),
    ];
    cells.extend(others.iter().map(|clock| or_none(median_by(row, *clock).map(microseconds))));
    cells.push(or_none(row.roofline_ns.map(microseconds)));
    cells.push(or_none(row.copy_share.map(percent)));
    cells.push(or_none(row.speedup.map(factor)));
    cells
}

fn median_by(row: &WorkloadRow, clock: Clock) -> Option<f64> {
    row.latency_ns?;
    let found = row.clocks.iter().find(|known| clock_of(known) == clock)?;
    found.summary.map(|summary| summary.median)
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

/// What was measured: recordings, or a process that could have forged its times.
fn trust(report: &BenchReport) -> impl Iterator<Item = String> {
    let measured = || report.workloads.iter().filter(|row| row.latency_ns.is_some());
    let mut lines = Vec::new();
    if measured().any(|row| row.trust.is_hermetic()) {
        lines.push(
            "hermetic: proven machine code, launched as recorded, without the submission's host code"
                .to_owned(),
        );
    }
    let mut reasons: Vec<&str> = Vec::new();
    for row in measured() {
        if let Trust::Live { reason } = &row.trust
            && !reasons.contains(&reason.as_str())
        {
            reasons.push(reason);
            lines.push(format!(
                "live: measured beside the submission's host code, which can forge times: {reason}"
            ));
        }
    }
    lines.into_iter()
}

/// How far outputs lie off double precision, beside how far the definition's own precision does.
fn rounding(report: &BenchReport) -> Option<String> {
    let largest =
        |of: fn(&WorkloadRow) -> Option<f64>| report.workloads.iter().filter_map(of).reduce(f64::max);
    let own = largest(|row| row.rounding_error)?;
    let found = largest(|row| row.norm_error.filter(|_| row.latency_ns.is_some()));
    let found = found.map(|found| format!(", the submission's at most {found:.1e}")).unwrap_or_default();
    Some(format!("rounding: the definition's own outputs lie at most {own:.1e} off double precision{found}"))
}

/// What was launched of code that was compiled at run time, an image a line: each is proven, or a library's own.
fn launched(report: &BenchReport) -> impl Iterator<Item = String> {
    let mut seen: Vec<&LaunchedCode> = Vec::new();
    for code in report.workloads.iter().flat_map(|row| &row.launched_code) {
        if seen.iter().all(|known| known.image != code.image) {
            seen.push(code);
        }
    }
    let (own, others): (Vec<_>, Vec<_>) = seen.into_iter().partition(|code| code.library.is_none());
    let line = |code: &LaunchedCode| {
        let arch = code.arch.map_or_else(|| NONE.to_owned(), |arch| arch.to_string());
        let kernels: Vec<String> = code.kernels.iter().map(|kernel| demangle(kernel)).collect();
        let built =
            code.built.as_ref().map(|name| format!(", of {name}, built and proven")).unwrap_or_default();
        format!(
            "launched: {} {} for {arch}: {}{built}",
            code.image.short(),
            word(code.proof),
            kernels.join(", ")
        )
    };
    let mut lines: Vec<String> = own.into_iter().map(line).collect();
    if !others.is_empty() {
        let mut libraries: Vec<&str> = others.iter().filter_map(|code| code.library.as_deref()).collect();
        libraries.sort_unstable();
        libraries.dedup();
        lines.push(format!(
            "launched: {} image(s) of {}, not the submission's",
            others.len(),
            libraries.join(", ")
        ));
    }
    lines.into_iter()
}

/// A proof's verdict as documents write it.
fn word(proof: ProofVerdict) -> String {
    let value = serde_json::to_value(proof).unwrap_or_default();
    value.as_str().unwrap_or(NONE).to_owned()
}

/// Which clock is scored, and what each reads around nothing.
fn clocks(report: &BenchReport) -> impl Iterator<Item = String> {
    let first = report.workloads.iter().find(|row| !row.clocks.is_empty());
    first.into_iter().flat_map(|row| row.clocks.iter().enumerate()).filter_map(|(index, clock)| {
        let floor = clock.floor_ns.map(|floor| format!("reads {} µs around nothing", microseconds(floor)));
        let facts: Vec<String> = (index == 0).then(|| "scored".to_owned()).into_iter().chain(floor).collect();
        let name = format!("clock: {}, {} L2", clock.method, clock.l2_state);
        (!facts.is_empty()).then(|| format!("{name}: {}", facts.join(", ")))
    })
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
    use proofmark_packager::Arch;
    use proofmark_packager::interop::flashinfer::Dtype;

    use super::*;
    use crate::measure::judge::OutputComparison;
    use crate::record::bench_report::tests::{report, run};

    #[test]
    fn shows_every_number_with_its_clock() {
        let mut findings = run(None);
        for finding in &mut findings {
            finding.notes.push("CUPTI is missing".to_owned());
            let mut event = finding.measurements[0].clone();
            event.method = Method::EventPair;
            event.floor_ns = Some(3100.0);
            event.samples_ns = vec![6500.0];
            finding.measurements.push(event);
        }
        findings[1].notes.push("two streams".to_owned());
        let rounded = OutputComparison::new(
            Dtype::Float32,
            &1.000_976_5_f32.to_le_bytes(),
            &[1.0],
            &Tolerance::default(),
        );
        findings[0].rounding.push(("y".to_owned(), rounded.unwrap()));
        let code = |text: &[u8], library: Option<&str>| LaunchedCode {
            image: Digest::of_bytes(text),
            arch: Some(Arch::SM_100A),
            kernels: vec!["_Z4minePf".to_owned()],
            proof: ProofVerdict::Exact,
            library: library.map(str::to_owned),
            built: None,
        };
        for finding in &mut findings {
            finding.launched_code = vec![code(b"own", None), code(b"torch", Some("libtorch_cuda.so"))];
        }
        let text = bench_table(&report(&findings, 3));
        for expected in [
            "mine on double, NVIDIA H200",
            "held against definition",
            "an element is off beyond 0.01 absolute and 0.01 relative; 100",
            "event pair, cold",
            "n=3",
            "3.71",
            "6.50",
            "11.6×",
            "3 of 3 workloads passed",
            "arithmetic mean 3.71 µs, geometric mean 3.71 µs, device copy 4.25 TB/s",
            "hermetic: proven machine code",
            "clock: CUPTI span, cold L2: scored",
            "clock: event pair, cold L2: reads 3.10 µs around nothing",
            "note: 3 medians were not yet precise when sampling ended",
            "note: CUPTI is missing",
            "note: b: two streams",
            "rounding: the definition's own outputs lie at most 9.8e-4 off double precision",
            " exact for sm_100a: mine(float*)\n",
            "launched: 1 image(s) of libtorch_cuda.so, not the submission's",
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
