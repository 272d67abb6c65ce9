//! What parts of a page that stand side by side need of each run and comparison. Their samples are on the page by then.

use super::exhibit::Exhibit;
use crate::measure::decision::Decision;
use crate::measure::statistics::{Interval, Overall};
use crate::record::ComparisonRecord;

/// A point of the roofline: bytes that a perfect kernel moves, and bytes a second that this one moved.
pub(super) type Point = (f64, f64);

/// One run, or one artifact that was sealed without measurements.
#[derive(Debug)]
pub(super) struct ExhibitSummary {
    pub(super) solution: String,
    pub(super) author: String,
    pub(super) definition: String,
    pub(super) arch: String,
    pub(super) source: String,
    /// Empty where nothing was measured.
    pub(super) device: String,
    /// `hermetic`, `live` or `mixed`, over the workloads that have a latency.
    pub(super) trust: &'static str,
    /// What was measured, if anything was.
    pub(super) run: Option<RunSummary>,
    /// A point for each workload that has a latency.
    pub(super) points: Vec<Point>,
}

/// What a run came to.
#[derive(Debug)]
pub(super) struct RunSummary {
    pub(super) passed: usize,
    pub(super) expected: usize,
    /// Every workload passed.
    pub(super) is_complete: bool,
    pub(super) overall: Option<Overall>,
    /// Why there are no means.
    pub(super) no_overall: Option<String>,
    pub(super) copy_bytes_per_second: Option<f64>,
}

/// One comparison.
#[derive(Debug)]
pub(super) struct ComparisonSummary {
    /// The solution that stood.
    pub(super) a: String,
    /// The solution that was compared with it.
    pub(super) b: String,
    pub(super) decision: Decision,
    pub(super) ratio: Option<Interval>,
    pub(super) trust: &'static str,
}

impl ExhibitSummary {
    pub(super) fn of(exhibit: &Exhibit) -> Self {
        let run = exhibit.report.as_ref().map(|report| RunSummary {
            passed: report.passed,
            expected: report.expected,
            is_complete: report.is_complete(),
            overall: report.overall,
            no_overall: report.no_overall.clone(),
            copy_bytes_per_second: report.copy_bytes_per_second,
        });
        Self {
            solution: exhibit.solution.clone(),
            author: exhibit.author.clone(),
            definition: exhibit.definition.clone(),
            arch: exhibit.arch.clone(),
            source: exhibit.source.clone(),
            device: exhibit.device().to_owned(),
            trust: exhibit.trust(),
            run,
            points: points(exhibit),
        }
    }

    /// The mean of the medians, unless a workload has none or they are of two kinds of trust.
    pub(super) fn mean_ns(&self) -> Option<f64> {
        Some(self.run.as_ref()?.overall?.arithmetic_mean_ns)
    }
}

impl ComparisonSummary {
    pub(super) fn of(comparison: &ComparisonRecord) -> Self {
        Self {
            a: comparison.a.solution.clone(),
            b: comparison.b.solution.clone(),
            decision: comparison.report.decision.clone(),
            ratio: comparison.report.ratio,
            trust: comparison.trust.name(),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "traffic is far below 2^53 bytes")]
fn points(exhibit: &Exhibit) -> Vec<Point> {
    let findings = exhibit.records.iter().map(|record| &record.finding);
    findings
        .filter_map(|finding| {
            let bytes = finding.traffic_bytes as f64;
            Some((bytes, 1e9 * bytes / finding.latency_ns()?))
        })
        .filter(|(bytes, speed)| *bytes > 0.0 && speed.is_finite())
        .collect()
}
