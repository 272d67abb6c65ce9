//! Whether a sealed speed still holds.

use serde::Serialize;

use crate::measure::WorkloadFinding;
use crate::measure::statistics::{Interval, overall};
use crate::record::WorkloadRecord;
use crate::recording::Trust;

/// How far a replayed mean may lie from the sealed one and still hold, as a share: what an
/// unchanged artifact moves between two devices of one model in the field's own reports (5 to 9 %).
const HOLDS_WITHIN: f64 = 0.05;

/// A sealed speed beside today's, over the workloads that passed both times.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SpeedComparison {
    /// Workloads that passed both times.
    pub workloads: usize,
    /// The sealed arithmetic mean over them, in microseconds.
    pub sealed_mean_us: f64,
    /// Today's.
    pub mean_us: f64,
    /// Today's over the sealed one.
    pub ratio: f64,
    /// Whether the ratio is within `margin` of 1.
    pub holds: bool,
    /// The margin, as a share.
    pub margin: f64,
    /// How the sealed speed was measured: `hermetic`, `live`, or `mixed`.
    pub sealed_trust: &'static str,
    /// How today's was.
    pub trust: &'static str,
    /// The device of the sealed measurement.
    pub sealed_device: String,
    /// Today's.
    pub device: String,
    /// The driver of the sealed measurement, where it was known.
    pub sealed_driver: Option<String>,
    /// Today's.
    pub driver: Option<String>,
    /// The geometric mean of the workloads' ratios with its 95 % interval; `None` for a single workload. It says
    /// how far workloads agree, not what another run would show.
    pub interval: Option<Interval>,
}

impl SpeedComparison {
    /// Compares sealed measurements with new ones; `None` where no workload passed both times.
    pub fn of(sealed: &[WorkloadRecord], now: &[WorkloadRecord]) -> Option<Self> {
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for record in sealed {
            let same =
                |other: &&WorkloadRecord| other.finding.workload.uuid() == record.finding.workload.uuid();
            let today = now.iter().find(same).map(|record| &record.finding);
            if let Some(both) = record.finding.latency_ns().zip(today.and_then(WorkloadFinding::latency_ns)) {
                before.push(both.0);
                after.push(both.1);
            }
        }
        let mean = |latencies: &[f64]| overall(latencies, latencies.len()).ok();
        let (sealed_mean, today_mean) = mean(&before).zip(mean(&after))?;
        let ratio = today_mean.arithmetic_mean_ns / sealed_mean.arithmetic_mean_ns;
        let device = |records: &[WorkloadRecord]| {
            records.last().map_or_else(String::new, |record| record.context.environment.device.clone())
        };
        let driver = |records: &[WorkloadRecord]| records.last()?.context.environment.driver.clone();
        let logs: Vec<f64> = before.iter().zip(&after).map(|(before, after)| (after / before).ln()).collect();
        Some(Self {
            sealed_driver: driver(sealed),
            driver: driver(now),
            interval: Interval::of(&logs, 0.05).map(|interval| interval.exp()),
            workloads: before.len(),
            sealed_mean_us: sealed_mean.arithmetic_mean_ns / 1e3,
            mean_us: today_mean.arithmetic_mean_ns / 1e3,
            ratio,
            holds: (ratio - 1.0).abs() <= HOLDS_WITHIN,
            margin: HOLDS_WITHIN,
            sealed_trust: trust_of(sealed),
            trust: trust_of(now),
            sealed_device: device(sealed),
            device: device(now),
        })
    }
}

/// How the workloads that passed were measured.
fn trust_of(records: &[WorkloadRecord]) -> &'static str {
    let mut names: Vec<&str> = records
        .iter()
        .filter(|record| record.finding.latency_ns().is_some())
        .map(|record| Trust::name(&record.finding.trust))
        .collect();
    names.sort_unstable();
    names.dedup();
    match names.as_slice() {
        ["hermetic"] => "hermetic",
        ["live"] => "live",
        _ => "mixed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::line::tests::record;

    fn timed(uuid: &str, microseconds: f64) -> WorkloadRecord {
        let mut record = record(uuid);
        record.finding.measurements[0].samples_ns = vec![microseconds * 1e3; 3];
        record
    }

    #[test]
    fn a_speed_holds_within_five_percent_over_the_workloads_that_passed_both_times() {
        let sealed = [timed("a", 10.0), timed("b", 20.0), timed("only sealed", 1.0)];
        let of = |a: f64, b: f64| SpeedComparison::of(&sealed, &[timed("b", b), timed("a", a)]).unwrap();
        let held = of(10.4, 20.8);
        assert!(held.holds && held.workloads == 2 && (held.ratio - 1.04).abs() < 1e-9, "{held:?}");
        assert!(!of(12.0, 24.0).holds && !of(8.0, 16.0).holds);
        assert_eq!(SpeedComparison::of(&sealed, &[timed("c", 1.0)]), None);
    }
}
