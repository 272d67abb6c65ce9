//! Raw samples of one workload and how they were taken. Summaries are computed, never stored.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::statistics::{StopReason, Summary};

/// How one sample was timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// First start to last end of the kernels, copies and fills of one call, as CUPTI saw them:
    /// what the contest scores.
    CuptiSpan,
    /// An event pair around one call, queued behind a blocking kernel; includes the pair's own
    /// floor of a few microseconds.
    EventPair,
    /// A graph of many calls over a run of buffers larger than the L2, divided by their number.
    GraphRing,
    /// Many launches over such a run, divided by their number.
    BatchRing,
}

impl fmt::Display for Method {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::CuptiSpan => "CUPTI span",
            Self::EventPair => "event pair",
            Self::GraphRing => "graph run",
            Self::BatchRing => "batch ring",
        })
    }
}

/// Whether the call found its inputs in the L2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum L2State {
    /// The L2 was overwritten before each call.
    Cold,
    /// It was left as the previous call left it.
    Warm,
}

impl fmt::Display for L2State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Cold => "cold",
            Self::Warm => "warm",
        })
    }
}

/// The SM clock while the samples were taken.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ClockRange {
    /// Lowest clock seen, in MHz.
    pub sm_low_mhz: f64,
    /// Highest clock seen, in MHz.
    pub sm_high_mhz: f64,
}

/// A group of samples that was thrown away, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DroppedBlock {
    /// How many samples it held.
    pub sample_count: usize,
    /// What disturbed it: a clock change, another process, a throttle reason.
    pub reason: String,
}

/// The samples of one workload under one clock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// How each sample was timed.
    pub method: Method,
    /// What each call found in the L2.
    pub l2_state: L2State,
    /// Calls before the first sample.
    pub warmup_count: usize,
    /// Every kept sample in the order in which it was taken, in nanoseconds.
    pub samples_ns: Vec<f64>,
    /// What was thrown away.
    pub dropped: Vec<DroppedBlock>,
    /// Why sampling ended.
    pub stop_reason: StopReason,
    /// The SM clock, where it could be read.
    pub clocks: Option<ClockRange>,
    /// What this clock reads around nothing, in nanoseconds; printed, never subtracted.
    pub floor_ns: Option<f64>,
}

impl Measurement {
    /// The order statistics of the kept samples; `None` without samples, or where one is not a
    /// positive finite time.
    pub fn summary(&self) -> Option<Summary> {
        let believable = self.samples_ns.iter().all(|sample| sample.is_finite() && *sample > 0.0);
        believable.then(|| Summary::of(&self.samples_ns)).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yields_no_summary_where_a_sample_is_no_time() {
        let with = |samples_ns: Vec<f64>| Measurement {
            method: Method::CuptiSpan,
            l2_state: L2State::Cold,
            warmup_count: 0,
            samples_ns,
            dropped: Vec::new(),
            stop_reason: StopReason::BudgetSpent,
            clocks: None,
            floor_ns: None,
        };
        for samples in [vec![], vec![1.0, 0.0], vec![-1.0], vec![f64::NAN], vec![f64::INFINITY]] {
            assert_eq!(with(samples.clone()).summary(), None, "{samples:?}");
        }
        assert!(with(vec![3.0]).summary().is_some());
    }
}
