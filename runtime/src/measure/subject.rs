//! What is measured, against what, and how.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use proofmark_packager::interop::flashinfer::Definition;
use proofmark_packager::{Arch, Digest};
use serde::{Deserialize, Serialize};

use super::judge::tolerance::Tolerance;
use super::seed::Seed;
use super::statistics::StoppingRule;
use super::strides::Strides;
use crate::python::{PythonDocument, PythonHome};
use crate::recording::CheckedRecording;
use proofmark_player::device::DeviceError;
use proofmark_player::{PlayerEnd, Refusals};

/// What holds an entry point.
#[derive(Debug, Clone)]
pub enum Host {
    /// A built library.
    Compiled,
    /// A submission in Python.
    Python(Box<PythonHome>),
    /// A definition's own reference, which is trusted as the definition is.
    Definition(Box<PythonHome>),
    /// Nothing: what it launched when it was sealed is launched again, by workload.
    Sealed(BTreeMap<String, CheckedRecording>),
}

impl Host {
    /// Where Python code lives; `None` for a library.
    pub fn python(&self) -> Option<&PythonHome> {
        match self {
            Self::Compiled | Self::Sealed(_) => None,
            Self::Python(home) | Self::Definition(home) => Some(home),
        }
    }
}

/// What is run, and its entry.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Words for people: the solution's name.
    pub name: String,
    /// The library's bytes, as they were proven; for Python, the document that says what is loaded.
    pub library: Vec<u8>,
    /// The entry's name: the exported symbol without TVM-FFI's prefix, or a function of a module.
    pub symbol: String,
    /// What holds the entry.
    pub host: Host,
    /// The architecture that it was proven for.
    pub arch: Arch,
    /// Digests of the device images that the proof found; empty when there is no proof.
    pub images: Vec<Digest>,
}

impl Subject {
    /// A definition's own reference.
    pub fn of_definition(definition: &Definition, home: PythonHome, arch: Arch) -> Self {
        Self {
            name: format!("the reference of {}", definition.name()),
            symbol: "run".to_owned(),
            arch,
            images: Vec::new(),
            library: PythonDocument::of_definition(definition).bytes(),
            host: Host::Definition(Box::new(home)),
        }
    }
}

/// Where tensors live during a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TensorHome {
    /// Device IPC where it works, copies elsewhere.
    Auto,
    /// Copies through host memory, always.
    Copies,
}

/// What other processes that use the same GPU mean for a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Neighbours {
    /// Nothing: whoever measures knows them.
    #[default]
    Tolerated,
    /// It is dropped, and counted.
    Disturb,
}

/// What is measured live: in the process that runs the submission's host code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Live {
    /// Nothing: what cannot be recorded has no number.
    #[default]
    Never,
    /// What cannot be recorded.
    WhereNeeded,
    /// Everything: nothing is recorded.
    Always,
}

impl Live {
    /// What records say that were written before there were recordings.
    pub fn before_recordings() -> Self {
        Self::Always
    }
}

/// How to measure.
#[derive(Debug, Clone)]
pub struct Options {
    /// The program to start players from.
    pub program: PathBuf,
    /// Absolute path of `libtvm_ffi.so`, where anything is called through it.
    pub tvm_ffi: Option<PathBuf>,
    /// Where CUPTI is; `None` looks for it.
    pub cupti: Option<PathBuf>,
    /// The run's secret, from which the workloads' seeds follow; it is revealed afterwards.
    pub seed: Seed,
    /// How far outputs may be off.
    pub tolerance: Tolerance,
    /// When to stop sampling.
    pub stopping: StoppingRule,
    /// How long one call may take.
    pub call_limit: Duration,
    /// The folder that the paths of captured tensors start from.
    pub data_root: PathBuf,
    /// Where tensors live.
    pub sharing: TensorHome,
    /// What is measured live.
    pub live: Live,
    /// Whether the subject's tensors have gaps.
    pub strides: Strides,
    /// What becomes of system calls that players refuse.
    pub refusals: Refusals,
    /// What other processes on the same GPU mean.
    pub neighbours: Neighbours,
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
    /// A comparison that cannot be run as asked.
    #[error("the comparison cannot be run: {detail}")]
    Protocol {
        /// Why.
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

/// The inputs of a definition that kernels may change: those marked `"mutable": true`.
pub fn mutable_inputs(definition: &Definition) -> impl Iterator<Item = &str> {
    let is_mutable =
        |value: Option<&serde_json::Value>| value.and_then(serde_json::Value::as_bool) == Some(true);
    definition
        .inputs()
        .iter()
        .filter(move |(_, spec)| is_mutable(spec.unknown.get("mutable")))
        .map(|(name, _)| name)
}
