//! A comparison's report as text: the answer first, then what it rests on.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table, TableStyle};

use super::figures::{NONE, change, microseconds, or_none};
use crate::measure::decision::{Decision, Report, SessionReport, WorkloadReport};
use crate::measure::statistics::{Interval, Summary};
use crate::recording::Trust;

const HEADER: [&str; 6] =
    ["workload", "A µs (min Q1 Q3)", "B µs (min Q1 Q3)", "B over A", "samples", "alone"];

/// Writes a comparison of B with A.
pub fn comparison_table(a: &str, b: &str, report: &Report, trust: &Trust) -> String {
    let mut text = format!("B is {}\nA {a}\nB {b}\n", answer(&report.decision));
    // Writing to a string cannot fail.
    let _ = writeln!(text, "B over A: {}", ratio(report.ratio.as_ref()));
    let _ = match trust {
        Trust::Hermetic => writeln!(text, "both from recordings, without their host code"),
        Trust::Live { reason } => {
            writeln!(text, "both live, beside their host code, which can forge times: {reason}")
        }
    };
    if let Some(mean) = report.arithmetic_mean_ratio {
        let _ = writeln!(text, "sum of B's medians over A's: {:+.2} %", 100.0 * (mean - 1.0));
    }
    for (index, session) in report.sessions.iter().enumerate() {
        let _ = writeln!(text, "session {}: {}", index + 1, session_line(session));
    }
    let _ = writeln!(text, "{}", workloads(&report.workloads).trim_fmt());
    let protocol = &report.protocol;
    let _ = writeln!(
        text,
        "margin ±{:.1} %, equal within ±{:.1} %, error rate {:.0} % a session over {} looks, {} sessions to claim a difference, seed {}",
        100.0 * protocol.margin,
        100.0 * protocol.equivalence,
        100.0 * protocol.alpha,
        protocol.looks.len(),
        protocol.sessions,
        report.seed
    );
    text
}

fn answer(decision: &Decision) -> String {
    match decision {
        Decision::Better => "better: faster than A".to_owned(),
        Decision::Worse => "worse: slower than A".to_owned(),
        Decision::Equal => "equal to A".to_owned(),
        Decision::Undecided { reason } => format!("not decided: {reason}"),
    }
}

fn ratio(interval: Option<&Interval>) -> String {
    or_none(interval.map(change))
}

fn session_line(session: &SessionReport) -> String {
    let mut line = format!(
        "{}, {} processes, B {}, A′ {}",
        session.finding,
        session.processes,
        ratio(session.ratio.as_ref()),
        ratio(session.control_ratio.as_ref())
    );
    match &session.cycles_ratio {
        Some(cycles) => {
            let _ = write!(line, ", in cycles {}", change(cycles));
        }
        None => line += ", clock unknown",
    }
    let _ = write!(line, ", {} of {} blocks dropped", session.dropped_blocks, session.block_count);
    if session.lost_processes > 0 {
        let _ = write!(line, ", {} processes lost", session.lost_processes);
    }
    line
}

fn workloads(rows: &[WorkloadReport]) -> Table {
    let mut table = Table::new();
    table.load_style(TableStyle::new()).set_header(HEADER);
    for row in rows {
        table.add_row([
            row.uuid.clone(),
            or_none(row.a.map(quartiles)),
            or_none(row.b.map(quartiles)),
            ratio(row.ratio.as_ref()),
            or_none(row.a.zip(row.b).map(|(a, b)| (a.count + b.count).to_string())),
            alone(&row.decision).to_owned(),
        ]);
    }
    for column in table.column_iter_mut().skip(1).take(4) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn quartiles(summary: Summary) -> String {
    let [median, min, first, third] =
        [summary.median, summary.min, summary.first_quartile, summary.third_quartile].map(microseconds);
    format!("{median} ({min} {first} {third})")
}

fn alone(decision: &Decision) -> &'static str {
    match decision {
        Decision::Better => "better",
        Decision::Worse => "worse",
        Decision::Equal => "equal",
        Decision::Undecided { .. } => NONE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::decision::Protocol;
    use crate::measure::decision::simulation::{World, run};

    fn text(truth: f64) -> String {
        let protocol = Protocol { samples_per_cell: 9, blocks_per_process: 10, ..Protocol::default() };
        let comparison = run(&protocol, &World { truth, ..World::default() }, 2, 3);
        comparison_table("old", "new", &comparison.report().unwrap(), &Trust::Hermetic)
    }

    #[test]
    fn the_answer_comes_first_and_names_its_evidence() {
        let worse = text(0.05);
        assert!(worse.starts_with("B is worse: slower than A\nA old\nB new\nB over A: +"), "{worse}");
        for expected in ["session 2: worse, 6 processes", "A′ ", "in cycles", "blocks dropped", "2 sessions"]
        {
            assert!(worse.contains(expected), "{expected} in\n{worse}");
        }
        assert!(text(0.0).starts_with("B is equal to A\n"));
    }
}
