//! Everything that is known when a comparison has ended.

use serde::{Deserialize, Serialize};

use super::comparison::{ArmSamples, Comparison};
use super::finding::{Decision, Reason};
use super::protocol::Protocol;
use super::session::Session;
use crate::measure::seed::Seed;
use crate::measure::statistics::{Interval, Summary};

/// One session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionReport {
    /// What it found.
    pub finding: Decision,
    /// Processes that count.
    pub processes: usize,
    /// Processes that died or lost a whole workload.
    pub lost_processes: usize,
    /// Blocks that were dropped.
    pub dropped_blocks: usize,
    /// Blocks that were measured.
    pub block_count: usize,
    /// B over A, all workloads weighing the same.
    pub ratio: Option<Interval>,
    /// The same in clock cycles, where the clock was known throughout.
    pub cycles_ratio: Option<Interval>,
    /// A′ over A, which are the same bytes.
    pub control_ratio: Option<Interval>,
}

/// One workload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkloadReport {
    /// The workload's uuid.
    pub uuid: String,
    /// What is known about it alone; the error rate is shared with the other workloads.
    pub decision: Decision,
    /// B over A.
    pub ratio: Option<Interval>,
    /// A's samples, all processes together, in nanoseconds.
    pub a: Option<Summary>,
    /// B's samples, all processes together, in nanoseconds.
    pub b: Option<Summary>,
}

/// The end of a comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The answer.
    #[serde(flatten)]
    pub decision: Decision,
    /// B over A, all workloads weighing the same: the mean of the sessions, with the hull of their
    /// intervals.
    pub ratio: Option<Interval>,
    /// The sum of B's medians over the sum of A's: long workloads weigh more.
    pub arithmetic_mean_ratio: Option<f64>,
    /// The sessions in order.
    pub sessions: Vec<SessionReport>,
    /// The workloads in the order of the request.
    pub workloads: Vec<WorkloadReport>,
    /// How it was run and judged.
    pub protocol: Protocol,
    /// Decided every order.
    pub seed: Seed,
}

impl Comparison {
    /// Everything that is known; `None` before [`super::Step::Finished`].
    pub fn report(&self) -> Option<Report> {
        Some(Report::new(self, self.decision.clone()?))
    }
}

impl Report {
    fn new(comparison: &Comparison, decision: Decision) -> Self {
        let alpha = comparison.protocol.alpha_per_look();
        let sessions: Vec<SessionReport> =
            comparison.sessions.iter().filter_map(|session| SessionReport::new(session, alpha)).collect();
        let workloads: Vec<WorkloadReport> =
            (0..comparison.workloads.len()).map(|index| WorkloadReport::new(comparison, index)).collect();
        Self {
            decision,
            ratio: hull(sessions.iter().filter_map(|session| session.ratio)),
            arithmetic_mean_ratio: sum_of_medians(&workloads, |workload| workload.b)
                .zip(sum_of_medians(&workloads, |workload| workload.a))
                .map(|(b, a)| b / a),
            sessions,
            workloads,
            protocol: comparison.protocol.clone(),
            seed: Seed(comparison.seed),
        }
    }
}

impl SessionReport {
    fn new(session: &Session, alpha: f64) -> Option<Self> {
        let (dropped_blocks, block_count) = session.blocks();
        let ratio = |interval: Option<Interval>| interval.map(|interval| interval.exp());
        Some(Self {
            finding: session.finding.clone()?,
            processes: session.processes.len(),
            lost_processes: session.lost_processes,
            dropped_blocks,
            block_count,
            ratio: ratio(session.effect(alpha)),
            cycles_ratio: ratio(session.cycles(alpha)),
            control_ratio: ratio(session.control(alpha)),
        })
    }
}

impl WorkloadReport {
    #[expect(clippy::cast_precision_loss, reason = "a count of workloads")]
    fn new(comparison: &Comparison, index: usize) -> Self {
        let protocol = &comparison.protocol;
        let alpha = protocol.alpha_per_look() / comparison.workloads.len() as f64;
        let intervals: Vec<Interval> =
            comparison.sessions.iter().filter_map(|session| session.workload(index, alpha)).collect();
        let ArmSamples { a, b } = &comparison.samples[index];
        Self {
            uuid: comparison.workloads[index].clone(),
            decision: alone(comparison, &intervals),
            ratio: hull(intervals.iter().map(Interval::exp)),
            a: Summary::of(a),
            b: Summary::of(b),
        }
    }
}

/// What a workload's own intervals say. Where a guard made the whole comparison undecided, no
/// single workload is heard either.
fn alone(comparison: &Comparison, intervals: &[Interval]) -> Decision {
    let protocol = &comparison.protocol;
    let guard = comparison.sessions.iter().find_map(|session| match &session.finding {
        Some(Decision::Undecided { reason: Reason::NotPrecise { .. } }) | None => None,
        Some(Decision::Undecided { reason }) => Some(reason.clone()),
        Some(_) => None,
    });
    if let Some(reason) = guard {
        return Decision::Undecided { reason };
    }
    let findings: Vec<Decision> =
        intervals.iter().map(|interval| Decision::of_interval(interval, protocol)).collect();
    let undecided = |reason| Decision::Undecided { reason };
    let Some(first) = findings.first() else {
        return undecided(Reason::NotPrecise { half_width: None });
    };
    match findings.iter().find(|finding| finding.is_undecided()) {
        Some(unknown) => unknown.clone(),
        None if findings.iter().any(|finding| finding != first) => undecided(Reason::SessionsDisagree),
        None if first.is_difference() && findings.len() < protocol.sessions => undecided(Reason::Unconfirmed),
        None => first.clone(),
    }
}

fn sum_of_medians(
    workloads: &[WorkloadReport],
    arm: impl Fn(&WorkloadReport) -> Option<Summary>,
) -> Option<f64> {
    workloads.iter().map(|workload| arm(workload).map(|summary| summary.median)).sum()
}

/// The mean of the means between the outermost bounds.
#[expect(clippy::cast_precision_loss, reason = "a handful of sessions")]
fn hull(intervals: impl Iterator<Item = Interval>) -> Option<Interval> {
    let all: Vec<Interval> = intervals.collect();
    let first = all.first()?;
    Some(Interval {
        low: all.iter().fold(first.low, |low, interval| low.min(interval.low)),
        mean: all.iter().map(|interval| interval.mean).sum::<f64>() / all.len() as f64,
        high: all.iter().fold(first.high, |high, interval| high.max(interval.high)),
    })
}
