//! Turns samples into statements, with nothing hidden on the way.
//!
//! | file | noun |
//! |---|---|
//! | [`summary`] | order statistics of one set of samples |
//! | [`stopping`] | when to stop sampling, and why |
//! | [`interval`] | a mean with its confidence interval |
//! | [`mod@overall`] | one number over many workloads |

pub mod summary;

pub mod stopping;

pub mod interval;

pub mod overall;

pub use interval::Interval;
pub use overall::{Overall, OverallError, overall};
pub use stopping::{StopReason, StoppingRule};
pub use summary::{Summary, median, medians_in_order, quantile};
