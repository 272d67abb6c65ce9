//! The numbers of a run, computed from the raw samples of its records.

use proofmark_packager::Digest;
use serde::Serialize;

use super::{Context, WorkloadRecord};
use crate::measure::finding::WorkloadFinding;
use crate::measure::judge::tolerance::Tolerance;
use crate::measure::measurement::{L2State, Measurement, Method};
use crate::measure::statistics::{Overall, StopReason, Summary, overall};
use crate::measure::verdict::Verdict;
use crate::recording::{LaunchedCode, Trust};

/// One clock's numbers on one workload; times in nanoseconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClockReport {
    /// How samples were timed.
    pub method: Method,
    /// What each call found in the L2.
    pub l2_state: L2State,
    /// The order statistics; absent where the samples are no times.
    pub summary: Option<Summary>,
    /// Blocks that were dropped.
    pub dropped_blocks: usize,
    /// Why sampling ended.
    pub stop_reason: StopReason,
    /// What the clock reads around nothing, in nanoseconds; not subtracted.
    pub floor_ns: Option<f64>,
    /// Its samples, in nanoseconds.
    #[serde(skip)]
    pub samples_ns: Vec<f64>,
}

impl ClockReport {
    fn new(measurement: &Measurement) -> Self {
        Self {
            method: measurement.method,
            l2_state: measurement.l2_state,
            summary: measurement.summary(),
            dropped_blocks: measurement.dropped.len(),
            stop_reason: measurement.stop_reason,
            floor_ns: measurement.floor_ns,
            samples_ns: measurement.samples_ns.clone(),
        }
    }
}

/// One workload.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WorkloadRow {
    /// The workload's uuid.
    pub uuid: String,
    /// Its axes, such as `batch_size=64`.
    pub axes: String,
    /// How the submission did; absent where the workload cannot judge.
    pub verdict: Option<Verdict>,
    /// Why the workload cannot judge.
    pub refusal: Option<String>,
    /// Whether the numbers rest on a recording.
    pub trust: Trust,
    /// The number that is scored, in nanoseconds; absent unless it passed.
    pub latency_ns: Option<f64>,
    /// Every clock; the first is the one that is scored.
    pub clocks: Vec<ClockReport>,
    /// Bytes that a perfect kernel reads and writes once.
    pub traffic_bytes: u64,
    /// Time of a plain device copy of as many bytes, in nanoseconds.
    pub roofline_ns: Option<f64>,
    /// The roofline over the latency: 1 is as fast as a copy. It may exceed 1, where written bytes
    /// are still in the L2 when the kernel ends.
    pub copy_share: Option<f64>,
    /// The reference's time over ours, both by event pairs where we have them: the reference is not
    /// timed by any other clock.
    pub speedup: Option<f64>,
    /// Largest relative norm error of any output.
    pub norm_error: Option<f64>,
    /// The largest relative norm error that the definition's own precision has; absent for another reference.
    #[serde(skip)]
    pub rounding_error: Option<f64>,
    /// What was launched of code that was compiled at run time.
    #[serde(skip)]
    pub launched_code: Vec<LaunchedCode>,
    /// What was seen and changes no verdict.
    pub notes: Vec<String>,
}

impl WorkloadRow {
    fn new(finding: &WorkloadFinding, copy_bytes_per_second: Option<f64>) -> Self {
        let axes: Vec<String> =
            finding.workload.axes().iter().map(|(name, value)| format!("{name}={value}")).collect();
        let latency_ns = finding.latency_ns();
        #[expect(clippy::cast_precision_loss, reason = "traffic is far below 2^53 bytes")]
        let roofline = |speed: f64| 1e9 * finding.traffic_bytes as f64 / speed;
        let speed = copy_bytes_per_second.filter(|speed| speed.is_finite() && *speed > 0.0);
        let roofline_ns = speed.map(roofline);
        let events = finding.measurements.iter().find(|clock| clock.method == Method::EventPair);
        let event_ns = events.and_then(Measurement::summary).map(|summary| summary.median);
        let errors = finding.comparisons.iter().map(|(_, comparison)| comparison.norm_error);
        Self {
            uuid: finding.workload.uuid().to_owned(),
            axes: axes.join(" "),
            verdict: finding.verdict.clone(),
            refusal: finding.refusal.clone(),
            trust: finding.trust.clone(),
            latency_ns,
            clocks: finding.measurements.iter().map(ClockReport::new).collect(),
            traffic_bytes: finding.traffic_bytes,
            roofline_ns,
            copy_share: roofline_ns.zip(latency_ns).map(|(roofline, latency)| roofline / latency),
            speedup: finding
                .reference_ns
                .zip(event_ns.or(latency_ns))
                .filter(|_| latency_ns.is_some())
                .map(|(reference, ours)| reference / ours),
            norm_error: errors.reduce(f64::max),
            rounding_error: finding
                .rounding
                .iter()
                .map(|(_, comparison)| comparison.norm_error)
                .reduce(f64::max),
            launched_code: finding.launched_code.clone(),
            notes: finding.notes.clone(),
        }
    }

    /// The scored clock's order statistics, where the workload passed.
    pub fn summary(&self) -> Option<&Summary> {
        self.latency_ns?;
        self.clocks.first()?.summary.as_ref()
    }
}

/// A whole run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BenchReport {
    /// The solution's name.
    pub solution: String,
    /// The definition's name.
    pub definition: String,
    /// The definition's digest; absent in old records.
    pub definition_digest: Option<Digest>,
    /// What outputs were held against, by digest; absent in old records.
    pub reference: Option<Digest>,
    /// How far outputs could be off, where no workload says otherwise; absent where nothing was measured.
    pub tolerance: Option<Tolerance>,
    /// The device's name.
    pub device: String,
    /// The workloads in order; of a workload that was measured again, the last time counts.
    pub workloads: Vec<WorkloadRow>,
    /// How many workloads passed.
    pub passed: usize,
    /// How many workloads there should be.
    pub expected: usize,
    /// The means over all workloads.
    pub overall: Option<Overall>,
    /// Why there are no means.
    pub no_overall: Option<String>,
    /// Speed of a plain device copy in the same run.
    pub copy_bytes_per_second: Option<f64>,
}

impl BenchReport {
    /// Computes a run's numbers; `expected` is how many workloads were asked for.
    pub fn new<'a>(
        context: &Context,
        tolerance: Option<Tolerance>,
        findings: impl IntoIterator<Item = &'a WorkloadFinding>,
        expected: usize,
    ) -> Self {
        let copy_bytes_per_second = context.copy_bytes_per_second;
        let mut workloads: Vec<WorkloadRow> = Vec::new();
        for row in findings.into_iter().map(|finding| WorkloadRow::new(finding, copy_bytes_per_second)) {
            match workloads.iter_mut().find(|known| known.uuid == row.uuid) {
                Some(known) => *known = row,
                None => workloads.push(row),
            }
        }
        let latencies: Vec<f64> = workloads.iter().filter_map(|row| row.latency_ns).collect();
        let means = overall(&latencies, expected).map_err(|error| error.to_string());
        let measured = || workloads.iter().filter(|row| row.latency_ns.is_some());
        let hermetic = measured().filter(|row| row.trust.is_hermetic()).count();
        let means = match measured().count() - hermetic {
            live if live > 0 && hermetic > 0 => {
                Err(format!("{hermetic} latencies are hermetic and {live} live, which are not averaged"))
            }
            _ => means,
        };
        let passed =
            workloads.iter().filter(|row| row.verdict.as_ref().is_some_and(Verdict::is_passed)).count();
        Self {
            solution: context.solution.clone(),
            definition: context.definition.clone(),
            definition_digest: context.definition_digest,
            reference: context.reference,
            tolerance,
            device: context.environment.device.clone(),
            passed,
            expected,
            no_overall: means.as_ref().err().cloned(),
            overall: means.ok(),
            copy_bytes_per_second,
            workloads,
        }
    }

    /// The numbers of records that stand one a workload, as a seal has them; `None` without any.
    pub fn of_records(records: &[WorkloadRecord]) -> Option<Self> {
        let last = records.last()?;
        let findings = records.iter().map(|record| &record.finding);
        Some(Self::new(&last.context, Some(last.tolerance), findings, records.len()))
    }

    /// The arithmetic mean over all workloads, in microseconds.
    pub fn mean_us(&self) -> Option<f64> {
        self.overall.map(|means| means.arithmetic_mean_ns / 1e3)
    }

    /// Whether every workload that was asked for passed.
    pub fn is_complete(&self) -> bool {
        self.expected > 0 && self.passed == self.expected
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::record::line::tests::record;

    pub(crate) fn run(failing: Option<&str>) -> Vec<WorkloadFinding> {
        let mut findings: Vec<_> = ["a", "b", "c"].map(|uuid| record(uuid).finding).into();
        for finding in &mut findings {
            if Some(finding.workload.uuid()) == failing {
                finding.verdict = Some(Verdict::Timeout { reason: "no answer after 300 s".to_owned() });
            }
        }
        findings
    }

    pub(crate) fn report(findings: &[WorkloadFinding], expected: usize) -> BenchReport {
        let one = record("x");
        BenchReport::new(&one.context, Some(one.tolerance), findings, expected)
    }

    #[test]
    fn computes_shares_and_means_from_raw_samples() {
        let report = report(&run(None), 3);
        let row = &report.workloads[0];
        assert_eq!(row.latency_ns, Some(3712.0));
        // 4096 bytes at 4.25 TB/s.
        assert!((row.roofline_ns.unwrap() - 0.963_76).abs() < 1e-4);
        assert!((row.speedup.unwrap() - 75_500.5 / 3712.0).abs() < 1e-9);
        assert!((report.overall.unwrap().arithmetic_mean_ns - 3712.0).abs() < 1e-9);
        assert!(report.is_complete());
    }

    #[test]
    fn a_failed_or_missing_workload_leaves_no_mean() {
        let failed = report(&run(Some("b")), 3);
        assert_eq!((failed.passed, failed.overall), (2, None));
        assert_eq!(failed.no_overall.as_deref(), Some("2 latencies for 3 workloads"));
        assert_eq!(failed.workloads[1].latency_ns, None, "a failure has no latency, whatever was sampled");
        let missing = report(&run(None), 54);
        assert!(missing.overall.is_none() && !missing.is_complete());
        let nothing = report(&[], 0);
        assert!(nothing.overall.is_none() && !nothing.is_complete());
    }

    #[test]
    fn hermetic_and_live_latencies_are_not_averaged() {
        let mut findings = run(None);
        findings[1].trust = Trust::Live { reason: "it waits".to_owned() };
        let mixed = report(&findings, 3);
        assert_eq!(mixed.overall, None);
        assert_eq!(
            mixed.no_overall.as_deref(),
            Some("2 latencies are hermetic and 1 live, which are not averaged")
        );
        for finding in &mut findings {
            finding.trust = Trust::before_recordings();
        }
        assert!(report(&findings, 3).overall.is_some());
    }

    #[test]
    fn of_a_workload_that_was_measured_again_the_last_time_counts() {
        let mut findings = run(Some("b"));
        findings.push(record("b").finding);
        let report = report(&findings, 3);
        assert_eq!(report.workloads.iter().map(|row| row.uuid.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
        assert!(report.is_complete());
    }

    #[test]
    fn without_the_speed_of_a_copy_there_is_no_share() {
        let mut context = record("x").context;
        for speed in [None, Some(0.0), Some(f64::NAN)] {
            context.copy_bytes_per_second = speed;
            assert_eq!(BenchReport::new(&context, None, &run(None), 3).workloads[0].copy_share, None);
        }
    }
}
