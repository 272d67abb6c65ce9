//! Measures a proven build on a GPU and judges what it computed.
//!
//! | file | what it holds |
//! |---|---|
//! | [`verdict`] | how a submission did on a workload |
//! | [`measurement`] | raw samples, and how they were taken |
//! | [`environment`] | the machine before and after |
//! | [`finding`] | what one workload showed |
//! | [`statistics`] | summaries, stopping, means |
//! | [`judge`] | inputs, comparison, null gate, the judge's GPU, its end of each player |
//! | [`timing`] | what the clocks said, and whether to believe it |
//! | [`subject`] | what is measured, against what, and how |
//! | [`strides`] | whether tensors lie contiguously |
//! | [`seed`] | where inputs come from, and its commitment |
//! | `run_time_builds` | what Python compiles while it runs, compiled before it is confined |
//! | [`recordings`] | what a subject launches, taken before anything is measured |
//! | `sampler` | takes one workload's samples under every clock |
//! | [`run`] | the whole: workloads in, findings out |
//! | [`mod@compare`] | two libraries in, a decision out |
//! | [`decision`] | which of two is faster |
//!
//! The process that runs the submission is in a crate of its own, [`proofmark_player`].

pub mod compare;
pub mod decision;
pub mod environment;
pub mod finding;
pub mod judge;
pub mod measurement;
pub mod recordings;
pub mod run;
mod run_time_builds;
mod sampler;
pub mod seed;
pub mod statistics;
pub mod strides;
pub mod subject;
pub mod timing;
pub mod verdict;

pub use compare::{Compared, Contest, Settled, compare};
pub use finding::WorkloadFinding;
pub use recordings::Recordings;
pub use run::BenchRun;
pub use seed::Seed;
pub use strides::Strides;
pub use subject::{BenchError, Host, Live, Neighbours, Options, Subject, TensorHome};
