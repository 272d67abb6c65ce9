//! SOL-ExecBench's score beside our figures, where the speed of light and a baseline are known.

use std::collections::BTreeMap;

use proofmark_packager::interop::solexec::score;
use proofmark_packager::json::{self, Budget, JsonError};
use serde::{Deserialize, Serialize};

use crate::record::WorkloadRecord;

/// Nanoseconds in a millisecond.
const NS_PER_MS: f64 = 1e6;

/// What a workload is scored against.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct Bounds {
    /// The time that the hardware allows, in milliseconds.
    pub sol_ms: f64,
    /// The time of the baseline that scores a half, in milliseconds.
    pub baseline_ms: f64,
}

/// One line of a file of bounds.
#[derive(Debug, Deserialize)]
struct Line {
    uuid: String,
    #[serde(flatten)]
    bounds: Bounds,
}

/// Why a file holds no bounds.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: expected {{\"uuid\": …, \"sol_ms\": …, \"baseline_ms\": …}}")]
pub struct BoundsError {
    /// The line, from one.
    line: usize,
    /// What is wrong with it.
    source: JsonError,
}

/// Reads bounds by workload, one JSON document a line.
pub fn read_bounds(text: &str) -> Result<BTreeMap<String, Bounds>, BoundsError> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(index, line)| {
            let read = json::parse::<Line>(line, Budget::DOCUMENT);
            read.map(|line| (line.uuid, line.bounds))
                .map_err(|source| BoundsError { line: index + 1, source })
        })
        .collect()
}

/// The scores of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Scores {
    /// Each workload with bounds, in the order of the run; zero where it did not pass.
    pub workloads: Vec<WorkloadScore>,
    /// Their mean; absent without any.
    pub mean: Option<f64>,
}

/// The score of one workload.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WorkloadScore {
    /// The workload.
    pub uuid: String,
    /// From 0 to 1 and, where something is faster than the speed of light that was given, more.
    pub score: f64,
}

/// Scores a run by its latencies as Proofmark measured them.
#[expect(clippy::cast_precision_loss, reason = "counts of workloads are small")]
pub fn scores(records: &[WorkloadRecord], bounds: &BTreeMap<String, Bounds>) -> Scores {
    let of = |record: &WorkloadRecord| {
        let uuid = record.finding.workload.uuid().to_owned();
        let known = bounds.get(&uuid)?;
        let passed = record.finding.verdict.as_ref().is_some_and(crate::measure::verdict::Verdict::is_passed);
        let latency = record.finding.latency_ns().filter(|_| passed);
        let score = latency.map_or(0.0, |ns| score(ns / NS_PER_MS, known.sol_ms, known.baseline_ms));
        Some(WorkloadScore { uuid, score })
    };
    let workloads: Vec<_> = records.iter().filter_map(of).collect();
    let total: f64 = workloads.iter().map(|one| one.score).sum();
    let mean = (!workloads.is_empty()).then(|| total / workloads.len() as f64);
    Scores { workloads, mean }
}

impl Scores {
    /// As a terminal shows it.
    pub fn text(&self) -> String {
        let Some(mean) = self.mean else {
            return "SOL-ExecBench score   none: no workload of the run has bounds".to_owned();
        };
        let line = |one: &WorkloadScore| {
            format!("\n  {:.4}  {}", one.score, proofmark_packager::escape::line(&one.uuid))
        };
        let lines = self.workloads.iter().fold(String::new(), |lines, one| lines + &line(one));
        format!(
            "SOL-ExecBench score   {mean:.4} over {} workloads, by Proofmark's latencies{lines}",
            self.workloads.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::line::tests::record;

    #[test]
    fn a_pass_is_scored_by_its_latency_and_anything_else_is_zero() {
        let passed = record("a");
        let latency_ms = passed.finding.latency_ns().unwrap() / NS_PER_MS;
        let text = format!(
            "{{\"uuid\": \"a\", \"sol_ms\": {}, \"baseline_ms\": {latency_ms}}}\n\n{{\"uuid\": \"b\", \"sol_ms\": 1, \"baseline_ms\": 2}}\n",
            latency_ms / 2.0
        );
        let bounds = read_bounds(&text).unwrap();
        let mut failed = record("b");
        failed.finding.verdict = None;
        let found = scores(&[passed, failed, record("without bounds")], &bounds);
        assert_eq!(found.workloads.len(), 2);
        assert!((found.workloads[0].score - 0.5).abs() < 1e-9 && found.workloads[1].score == 0.0);
        assert!((found.mean.unwrap() - 0.25).abs() < 1e-9);
        assert!(found.text().contains("0.2500 over 2 workloads"));
        assert!(read_bounds("{\"uuid\": \"a\"}").unwrap_err().to_string().starts_with("line 1"));
    }
}
