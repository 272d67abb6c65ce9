//! What the clocks said, and whether to believe it. Pure: claims in, findings out.
//!
//! | file | noun |
//! |---|---|
//! | [`mod@span`] | one call's activity records: its time, and work that does not belong |
//! | [`trust`] | all clocks of a workload against each other and against the judge's own |
//! | [`executed`] | the modules that ran against the ones that were proven |

pub mod executed;
pub mod span;
pub mod trust;

pub use span::{Least, Span, Suspicion, span};
pub use trust::{ClockReadings, LEAST_KERNEL_NS, distrust, floor_ns};
