//! What one workload showed: everything that a record keeps of it.

use proofmark_packager::interop::flashinfer::Workload;
use serde::{Deserialize, Serialize};

use super::environment::Reading;
use super::judge::comparison::OutputComparison;
use super::measurement::{DroppedBlock, Measurement};
use super::verdict::Verdict;
use crate::recording::{LaunchedCode, Trust};

/// What one workload showed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkloadFinding {
    /// The workload.
    pub workload: Workload,
    /// The verdict; absent where the workload cannot judge, and then `refusal` says why.
    pub verdict: Option<Verdict>,
    /// Why this workload cannot judge: a null output would pass.
    pub refusal: Option<String>,
    /// Whether the numbers rest on a recording.
    #[serde(default = "Trust::before_recordings")]
    pub trust: Trust,
    /// Raw samples of every clock; the first is the one that is scored.
    pub measurements: Vec<Measurement>,
    /// Each output of the first checked call, in full.
    pub comparisons: Vec<(String, OutputComparison)>,
    /// How far each output of the definition's own reference lies off the same in double precision, by which the
    /// submission is judged: the rounding of the definition's own precision. Empty for another reference.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rounding: Vec<(String, OutputComparison)>,
    /// What was launched of code that was compiled at run time, by digest; empty for a library's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub launched_code: Vec<LaunchedCode>,
    /// Calls whose outputs were checked, all of them right unless the verdict says otherwise.
    pub checked_calls: u64,
    /// Kernels, copies and fills of one call.
    pub launches: Option<Launches>,
    /// Bytes that a perfect kernel reads and writes once.
    pub traffic_bytes: u64,
    /// Median of the reference's event clock in nanoseconds.
    pub reference_ns: Option<f64>,
    /// Median host time of one call in nanoseconds, from the call to the entry point's return, as the process
    /// that runs it says.
    pub dispatch_ns: Option<f64>,
    /// The judge's own bound on one call in nanoseconds, by its own clock.
    pub wall_bound_ns: Option<f64>,
    /// What was seen and changes no verdict.
    pub notes: Vec<String>,
    /// What the player wrote, its beginning and end; kept when it failed.
    pub output: Option<String>,
    /// The device before and after.
    pub readings: Vec<Reading>,
}

impl WorkloadFinding {
    /// A workload of which nothing is known yet.
    pub fn new(workload: Workload, traffic_bytes: u64) -> Self {
        Self {
            workload,
            verdict: None,
            refusal: None,
            trust: Trust::Hermetic,
            measurements: Vec::new(),
            comparisons: Vec::new(),
            rounding: Vec::new(),
            launched_code: Vec::new(),
            checked_calls: 0,
            launches: None,
            traffic_bytes,
            reference_ns: None,
            dispatch_ns: None,
            wall_bound_ns: None,
            notes: Vec::new(),
            output: None,
            readings: Vec::new(),
        }
    }

    /// The number that is scored: the median of the first clock that measured single cold calls.
    /// `None` where the workload did not pass.
    pub fn latency_ns(&self) -> Option<f64> {
        self.verdict.as_ref().filter(|verdict| verdict.is_passed())?;
        self.measurements.first()?.summary().map(|summary| summary.median)
    }

    /// Drops what is scored, because something disturbed it.
    pub(super) fn drop_samples(&mut self, reason: &str) {
        if let Some(scored) = self.measurements.first_mut() {
            let sample_count = std::mem::take(&mut scored.samples_ns).len();
            if sample_count > 0 {
                scored.dropped.push(DroppedBlock { sample_count, reason: reason.to_owned() });
            }
        }
    }

    /// Why there is no number although samples were taken.
    pub(super) fn without_number(&self) -> Option<String> {
        let scored = self.measurements.first().filter(|scored| scored.samples_ns.is_empty())?;
        let count: usize = scored.dropped.iter().map(|dropped| dropped.sample_count).sum();
        let first = scored.dropped.first()?;
        Some(format!("no number: all of {count} samples were disturbed: {}", first.reason))
    }
}

/// What one call put on the GPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launches {
    /// Kernels.
    pub kernels: usize,
    /// Copies.
    pub copies: usize,
    /// Fills.
    pub fills: usize,
    /// The kernels' mangled names in order of start.
    pub names: Vec<String>,
}

#[cfg(test)]
mod tests {
    use crate::record::line::tests::record;

    #[test]
    fn samples_that_were_all_disturbed_leave_no_number_and_say_so() {
        let mut finding = record("a").finding;
        assert!(finding.latency_ns().is_some() && finding.without_number().is_none());
        let count = finding.measurements[0].samples_ns.len();
        finding.drop_samples("another process uses the GPU: 7");
        assert_eq!(finding.latency_ns(), None);
        let said = finding.without_number().unwrap();
        assert!(said.contains(&format!("all of {count} samples")) && said.ends_with("GPU: 7"), "{said}");
    }
}
