//! What is measured, against what, and how.

use std::path::PathBuf;
use std::time::Duration;

use packager::interop::flashinfer::{Definition, Workload};
use packager::{Arch, Digest};
use serde::{Deserialize, Serialize};

use super::environment::Reading;
use super::judge::comparison::Comparison;
use super::judge::tolerance::Tolerance;
use super::measurement::Measurement;
use super::player::PlayerEnd;
use super::statistics::StoppingRule;
use super::verdict::Verdict;
use crate::device::DeviceError;

/// A built library and its entry.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Words for people: the solution's name.
    pub name: String,
    /// The library's bytes, as they were proven.
    pub library: Vec<u8>,
    /// The exported symbol, without TVM-FFI's prefix.
    pub symbol: String,
    /// The architecture that it was proven for.
    pub arch: Arch,
    /// Digests of the device images that the proof found; empty when there is no proof.
    pub images: Vec<Digest>,
}

/// Where tensors live during a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Device IPC where it works, copies elsewhere.
    Auto,
    /// Copies through host memory, always.
    Copies,
}

/// How to measure.
#[derive(Debug, Clone)]
pub struct Options {
    /// The program to start players from.
    pub program: PathBuf,
    /// Absolute path of `libtvm_ffi.so`.
    pub tvm_ffi: PathBuf,
    /// Where CUPTI is; `None` looks for it.
    pub cupti: Option<PathBuf>,
    /// The secret from which inputs and their order are made. It stands in the record afterwards.
    pub seed: u64,
    /// How far outputs may be off; `None` takes the definition's.
    pub tolerance: Option<Tolerance>,
    /// When to stop sampling.
    pub stopping: StoppingRule,
    /// How long one call may take.
    pub call_limit: Duration,
    /// Where the data set's captured tensors lie.
    pub data_root: Option<PathBuf>,
    /// Where tensors live.
    pub sharing: Sharing,
}

/// Why we could not measure at all.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The device.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// A player could not be started.
    #[error("cannot start a player")]
    Start {
        /// What the system said.
        source: std::io::Error,
    },
    /// The reference failed: it is ours, so nothing can be said about the subject.
    #[error("the reference failed on workload {workload}: {end}")]
    Reference {
        /// The workload's uuid.
        workload: String,
        /// How it failed.
        end: PlayerEnd,
    },
    /// A workload does not fit its definition.
    #[error("workload {workload} does not fit the definition: {detail}")]
    Workload {
        /// The workload's uuid.
        workload: String,
        /// What does not fit.
        detail: String,
    },
    /// A captured input could not be read.
    #[error("workload {workload}: {detail}")]
    Captured {
        /// The workload's uuid.
        workload: String,
        /// What is wrong.
        detail: String,
    },
    /// Memory shared with the player could not be used.
    #[error("cannot reach memory shared with the player")]
    Shared {
        /// What the system said.
        #[from]
        source: std::io::Error,
    },
}

/// What one workload showed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkloadFinding {
    /// The workload.
    pub workload: Workload,
    /// The verdict; absent where the workload cannot judge, and then `refusal` says why.
    pub verdict: Option<Verdict>,
    /// Why this workload cannot judge: a null output would pass.
    pub refusal: Option<String>,
    /// Raw samples of every clock.
    pub measurements: Vec<Measurement>,
    /// Each output of the first checked call, in full.
    pub comparisons: Vec<(String, Comparison)>,
    /// Calls whose outputs were checked, all of them right unless the verdict says otherwise.
    pub checked_calls: u64,
    /// Kernels, copies and fills of one call.
    pub launches: Option<Launches>,
    /// Bytes that a perfect kernel reads and writes once.
    pub traffic_bytes: u64,
    /// Median of the reference's event clock in nanoseconds.
    pub reference_ns: Option<f64>,
    /// Median host time of one call in nanoseconds: from the call to the kernel's return.
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
    pub(super) fn new(workload: Workload, traffic_bytes: u64) -> Self {
        Self {
            workload,
            verdict: None,
            refusal: None,
            measurements: Vec::new(),
            comparisons: Vec::new(),
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
    pub fn latency_ns(&self) -> Option<f64> {
        self.verdict.as_ref().filter(|verdict| verdict.is_passed())?;
        self.measurements.first()?.summary().map(|summary| summary.median)
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

/// What happens while measuring, for progress bars.
#[derive(Debug, Clone)]
pub enum Progress<'a> {
    /// A workload begins.
    Begun {
        /// Its place in the list, from zero.
        index: usize,
        /// The workload.
        workload: &'a Workload,
    },
    /// A workload ended.
    Ended {
        /// Its place in the list, from zero.
        index: usize,
        /// What it showed.
        finding: &'a WorkloadFinding,
    },
    /// Something to tell the user once.
    Note(String),
}

/// The inputs of a definition that kernels may change: those marked `"mutable": true`.
pub fn mutable_inputs(definition: &Definition) -> impl Iterator<Item = &str> {
    let is_mutable = |value: Option<&serde_json::Value>| value.and_then(serde_json::Value::as_bool) == Some(true);
    definition
        .inputs()
        .iter()
        .filter(move |(_, spec)| is_mutable(spec.unknown.get("mutable")))
        .map(|(name, _)| name)
}
