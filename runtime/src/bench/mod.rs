//! Measures a proven build on a GPU and judges what it computed.
//!
//! | room | noun |
//! |---|---|
//! | [`verdict`] | how a submission did on a workload |
//! | [`measurement`] | raw samples, and how they were taken |
//! | [`environment`] | the machine before and after |
//! | [`finding`] | what one workload showed |
//! | [`statistics`] | summaries, stopping, means |
//! | [`judge`] | inputs, comparison, null gate |
//! | [`player`] | the child that runs the submission |
//! | [`timing`] | what the clocks said, and whether to believe it |
//! | [`subject`] | what is measured, against what, and how |
//! | `show` | one workload's clocks |
//! | [`mod@measure`] | the whole: workloads in, findings out |
//! | [`mod@compare`] | two artifacts in, a decision out |
//! | [`decision`] | which of two is faster |

pub mod compare;
pub mod decision;
pub mod environment;
pub mod finding;
pub mod judge;
pub mod measure;
pub mod measurement;
pub mod player;
mod show;
pub mod statistics;
pub mod subject;
pub mod timing;
pub mod verdict;

pub use compare::{Compared, Contest, Settled, compare};
pub use finding::WorkloadFinding;
pub use measure::measure;
pub use subject::{BenchError, Options, Progress, Sharing, Subject};
