//! What a build may use.

use std::num::NonZeroUsize;
use std::time::Duration;

/// What a build may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuildLimits {
    /// Wall time of the whole build.
    pub time: Duration,
    /// How much of each command's output is kept.
    pub log_bytes: usize,
    /// How many files are compiled side by side.
    pub jobs: NonZeroUsize,
    /// Whether a sandbox that lacks a layer will do.
    pub sandbox: Demand,
}

/// What is asked of the sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand {
    /// Every layer that the machine gives; what is missing is reported.
    BestEffort,
    /// Every layer, or no build.
    Whole,
}

impl BuildLimits {
    /// How long a build may take unless said otherwise: heavily templated kernels take minutes on
    /// a slow machine, and more than ten of them are more likely a mistake.
    pub const TIME_SECONDS: u64 = 600;
}

impl Default for BuildLimits {
    /// [`Self::TIME_SECONDS`]. One MiB of log for each command: thousands of messages. As many
    /// jobs as processors.
    fn default() -> Self {
        let jobs = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self {
            time: Duration::from_secs(Self::TIME_SECONDS),
            log_bytes: 1024 * 1024,
            jobs,
            sandbox: Demand::BestEffort,
        }
    }
}
