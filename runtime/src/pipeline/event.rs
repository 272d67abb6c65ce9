//! What takes time while a job is done.

use proofmark_packager::Arch;
use proofmark_packager::interop::flashinfer::Workload;

use crate::cache::MissReason;
use crate::measure::WorkloadFinding;
use crate::measure::environment::RunFacts;
use crate::shared_cache::SharingNotice;
use crate::toolchain::install::Step;

/// Hears what takes time.
pub type Listener<'a> = dyn FnMut(Event<'_>) + 'a;

/// What takes time while a job is done.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// A missing toolchain is installed.
    Installing(&'a Step),
    /// A Python entry is imported to see what it compiles.
    Capturing {
        /// The solution's name.
        name: &'a str,
    },
    /// Another process builds the same plan.
    Waiting,
    /// The compiler starts.
    Building {
        /// The solution's name.
        name: &'a str,
        /// What it is built for.
        arch: Arch,
        /// Why the cache does not do.
        reason: &'a MissReason,
    },
    /// Something about the shared cache, which stops nothing.
    Sharing(&'a SharingNotice),
    /// The GPU and the reference are ready.
    Measuring {
        /// The machine, and what should be known before the first number.
        facts: &'a RunFacts,
        /// How many workloads are left to measure.
        workloads: usize,
    },
    /// Workloads whose launches were recorded so far.
    Recorded {
        /// How many.
        done: usize,
    },
    /// A workload begins.
    Begun(&'a Workload),
    /// A workload ended.
    Ended(&'a WorkloadFinding),
    /// A comparison went on.
    Cells {
        /// Cells measured in this session.
        done: usize,
        /// Cells up to its next look.
        of: usize,
    },
}
