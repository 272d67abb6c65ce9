//! Decides which of two artifacts is faster, with a known error rate, or says why it cannot.
//!
//! Two runs of the *same* artifact easily differ by 5 %: clocks, placement and neighbours change
//! from process to process and from hour to hour, and no number of samples within one run shows
//! it. So samples are never the unit of inference here; fresh processes are.
//!
//! ```text
//! cell      samples of one arm, then its median
//! block     four cells, ABBA or BAAB by seed; d = ½(Σ ln B − Σ ln A): shared drift cancels
//! process   a fresh child with A, B and A′ (A's bytes, loaded again) and one workload after the
//!           other; its effect is the median of its blocks, its control that of the A/A′ blocks
//! session   processes until a look (after 6, 10, 16) finds a clear t interval of their effects
//! decision  what the required number of sessions agree on
//! ```
//!
//! With `m` the margin and `e` the equivalence margin, both on ln(B/A), an interval wholly below
//! −m is [`Decision::Better`], wholly above +m is [`Decision::Worse`], wholly within ±e is
//! [`Decision::Equal`]; the first two need the same finding in clock cycles where the clock is
//! known, and confirmation by a second session. Everything else is [`Decision::Undecided`], with
//! the reason. Each look spends an equal share of the error rate (Bonferroni), and a single
//! workload's finding also shares it with the other workloads.
//!
//! | file | noun |
//! |---|---|
//! | [`protocol`] | every constant, with its reason |
//! | [`schedule`] | which cell comes next |
//! | [`block`] | four cells become one effect, or are dropped |
//! | [`session`] | processes, looks, guards |
//! | [`finding`] | the words of an answer |
//! | [`comparison`] | the state machine: it says what to measure and is fed what was measured |
//! | [`report`] | everything that is known in the end |
//! | [`simulation`] | a synthetic GPU, to learn the error rates |
//!
//! # Error rates
//!
//! `cargo run --release --example decision_error_rates` prints these tables; the model is
//! described in [`simulation`].
//!
//! TABLES

pub mod protocol;

pub mod schedule;

pub mod block;

pub mod session;

pub mod finding;

pub mod comparison;

pub mod report;

pub mod simulation;

pub use block::CellReading;
pub use comparison::{Comparison, ComparisonError, Step};
pub use finding::{Decision, Reason};
pub use protocol::{Protocol, ProtocolError};
pub use report::{Report, SessionReport, WorkloadReport};
pub use schedule::{Arm, BlockKind, Cell, ProcessId};
