//! The machine that a measurement ran on, before and after. What could not be read is absent,
//! never guessed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The device and what surrounds it; constant during a run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Environment {
    /// The device's name, such as `NVIDIA H200`.
    pub device: String,
    /// The device's UUID.
    pub uuid: Option<String>,
    /// The compute capability as an architecture, such as `sm_90`.
    pub compute_capability: Option<String>,
    /// Number of streaming multiprocessors.
    pub multiprocessor_count: Option<u32>,
    /// Size of the L2 in bytes.
    pub l2_bytes: Option<u64>,
    /// The driver's version, such as `580.159.04`.
    pub driver: Option<String>,
    /// CUPTI's version; absent where it could not be loaded.
    pub cupti: Option<String>,
    /// Whether the device is a slice of a larger one.
    pub mig: Option<bool>,
    /// Our own version.
    pub proofmark: String,
    /// Versions of the Python that ran the submission and of its packages, by name; absent for a library.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub python: Option<BTreeMap<String, String>>,
    /// The same of the Python that ran the definition's own reference; absent for another reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference_python: Option<BTreeMap<String, String>>,
}

/// What changes while a device works.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Reading {
    /// The SM clock in MHz.
    pub sm_mhz: Option<u32>,
    /// The memory clock in MHz.
    pub memory_mhz: Option<u32>,
    /// Temperature of the device in degrees Celsius.
    pub temperature_celsius: Option<u32>,
    /// Power draw in watts.
    pub power_watts: Option<f64>,
    /// Active throttle reasons by name; an idle clock counts as none.
    pub throttle_reasons: Vec<String>,
    /// Process ids of others that use the device.
    pub other_processes: Vec<u32>,
}

/// What a whole run showed beside its workloads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunFacts {
    /// The machine.
    pub environment: Environment,
    /// Bytes a second that a device copy moves, reads and writes counted.
    pub copy_bandwidth: f64,
    /// Why there are no activity spans; the fallback is event pairs.
    pub cupti_problem: Option<String>,
    /// Which protections of the player could not be had.
    pub confinement_problem: Option<String>,
    /// Whether tensors travelled as copies through host memory.
    pub copies: bool,
}

impl RunFacts {
    /// What the user must hear before the first number.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if let Some(problem) = &self.cupti_problem {
            warnings.push(format!("no CUPTI ({problem}): latencies are event pairs, which add about 3 µs"));
        }
        if let Some(problem) = &self.confinement_problem {
            warnings.push(format!("the player is less confined than it should be: {problem}"));
        }
        if self.copies {
            warnings.push("no device IPC here: tensors travel as copies".to_owned());
        }
        warnings
    }
}
