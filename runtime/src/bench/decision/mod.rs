//! Decides which of two artifacts is faster, with a known error rate, or says why it cannot.
//!
//! Two runs of the *same* artifact easily differ by 5 %: clocks, placement and neighbours change
//! from process to process and from hour to hour, and no number of samples within one run shows
//! it. So samples are never the unit of inference here; fresh processes are.
//!
//! ```text
//! cell      samples of one arm, then its median
//! block     four cells, ABBA or BAAB by seed; d = ½(Σ ln B − Σ ln A): shared drift cancels
//! process   fresh players for A, B and A′ (A's bytes, loaded again), one workload after the other; its effect is the median of its blocks, its control that of the A/A′ blocks
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
//! described in [`simulation`]. 2000 comparisons each, in percent; the last column counts processes.
//!
//! | world and protocol | B in truth | better | worse | equal | undecided | processes |
//! |---|--:|--:|--:|--:|--:|--:|
//! | no session luck | −3 % | 99.8 | 0 | 0 | 0.2 | 13.0 |
//! | | −1 % | 78.7 | 0 | 1.3 | 20.0 | 21.4 |
//! | | same | 0 | 0 | 99.7 | 0.3 | 7.5 |
//! | | +1 % | 0 | 75.6 | 1.8 | 22.6 | 21.6 |
//! | | +3 % | 0 | 99.8 | 0 | 0.2 | 13.0 |
//! | session luck 0.5 % | −3 % | 99.8 | 0 | 0 | 0.2 | 13.0 |
//! | | −2 % | 97.5 | 0 | 0.5 | 1.9 | 13.7 |
//! | | −1 % | 40.9 | 0 | 24.2 | 34.9 | 16.4 |
//! | | same | 0.1 | 0.2 | 79.5 | 20.2 | 11.1 |
//! | | +1 % | 0 | 37.5 | 27.6 | 34.9 | 16.1 |
//! | | +2 % | 0 | 97.4 | 0.7 | 1.9 | 13.8 |
//! | | +3 % | 0 | 99.8 | 0 | 0.2 | 13.0 |
//! | the same, clock unknown | same | 0.1 | 0.2 | 79.2 | 20.4 | 11.1 |
//! | | +3 % | 0 | 99.7 | 0 | 0.3 | 13.0 |
//! | the same, five blocks as for 54 workloads | same | 0.3 | 0.4 | 76.7 | 22.6 | 11.8 |
//! | | +3 % | 0 | 99.5 | 0 | 0.5 | 14.1 |
//! | the same, one session only | same | 6.2 | 5.5 | 79.5 | 8.8 | 9.9 |
//! | session luck 1 % | −3 % | 97.0 | 0 | 0.8 | 2.1 | 13.3 |
//! | | same | 4.1 | 3.6 | 48.3 | 44.0 | 13.7 |
//! | | +3 % | 0 | 96.8 | 1.2 | 2.0 | 13.4 |
//! | the same, margin 1 % | −3 % | 91.8 | 0 | 3.1 | 5.0 | 13.6 |
//! | | same | 0.9 | 0.8 | 74.2 | 24.1 | 10.4 |
//! | | +3 % | 0 | 90.8 | 3.7 | 5.5 | 13.7 |
//!
//! Read: with two sessions, a false claim about the same artifact stays below one percent while a
//! session's luck is up to 0.5 %, and 2 % are found in more than nineteen of twenty comparisons.
//! One session alone errs about forty times as often: luck looks exactly like a difference from
//! within. The two sessions must be independent for that: another hour or another machine; two in a
//! row share their luck, and count as one. Where A/A runs on a machine show more luck than that, a
//! margin of 1 % is the way out. A session's luck also makes some true differences of 1 % look
//! equal, which no statistics within the session can know.

pub mod protocol;

pub mod schedule;

pub mod block;

pub mod session;

pub mod finding;

pub mod comparison;

pub mod report;

pub mod simulation;

pub use block::CellReading;
pub use comparison::{Comparison, ComparisonError, Event, Step};
pub use finding::{Decision, Reason};
pub use protocol::{Protocol, ProtocolError};
pub use report::{Report, SessionReport, WorkloadReport};
pub use schedule::{Arm, BlockKind, Cell, ProcessId};
