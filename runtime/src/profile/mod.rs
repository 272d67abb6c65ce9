//! A proven build's kernels under Nsight Compute: durations by workload, from one process.
//!
//! | file | what it holds |
//! |---|---|
//! | [`ncu`] | where Nsight Compute is, and how it is asked |
//! | [`plan`] | what the profiled process does |
//! | [`recorded`] | recordings as files, for what is written in Python |
//! | [`run`] | Nsight Compute over the profiled process, supervised |
//! | [`page`] | what Nsight Compute writes, read |
//! | [`findings`] | kernels and durations by workload |
//!
//! The profiled process loads the library that was proven, calls it a few times for each workload and launches a mark
//! before each call, by which launches are told apart. Nothing of it is judged: outputs are not looked at, host code
//! runs unconfined, and durations are those of a profiler, which is what they are good for.
//!
//! An entry point in Python is recorded first, confined and without a profiler, and what it launched is proven. The
//! profiled process then launches that: no Python runs in it.

pub mod findings;
pub mod ncu;
pub mod page;
pub mod plan;
pub mod recorded;
pub mod run;

pub use findings::{ProfileError, ProfiledKernel, ProfiledWorkload};
pub use ncu::{ClockControl, NsightCompute};
pub use page::{KernelRow, PageError};
pub use plan::{PLAN_VERB, ProfilePlan, ProfiledSubject};
pub use recorded::RecordedWorkload;
pub use run::RunError;
