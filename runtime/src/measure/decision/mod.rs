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
//! | [`effect`] | what each block showed, drawn from a record again |
//! | [`simulation`] | a synthetic GPU, to learn the error rates |
//!
//! # Error rates
//!
//! `cargo run --release --example decision_error_rates` prints these tables; the model is
//! described in [`simulation`]. 2000 comparisons each, in percent; the last column counts processes.
//!
//! | world and protocol | B in truth | better | worse | equal | undecided | processes |
//! |---|--:|--:|--:|--:|--:|--:|
//! | no session luck | −3 % | 100.0 | 0 | 0 | 0 | 12.9 |
//! | | −2 % | 100.0 | 0 | 0 | 0 | 12.9 |
//! | | −1 % | 79.9 | 0 | 1.3 | 18.8 | 21.4 |
//! | | same | 0 | 0 | 100.0 | 0 | 7.5 |
//! | | +1 % | 0 | 77.2 | 1.9 | 20.9 | 21.6 |
//! | | +2 % | 0 | 100.0 | 0 | 0 | 13.0 |
//! | | +3 % | 0 | 100.0 | 0 | 0 | 12.9 |
//! | session luck 0.5 % | −3 % | 100.0 | 0 | 0 | 0 | 12.9 |
//! | | −2 % | 97.8 | 0 | 0.5 | 1.6 | 13.6 |
//! | | −1 % | 41.5 | 0 | 24.4 | 34.1 | 16.4 |
//! | | same | 0.1 | 0.2 | 80.0 | 19.8 | 11.0 |
//! | | +1 % | 0 | 37.5 | 27.8 | 34.7 | 16.0 |
//! | | +2 % | 0 | 97.7 | 0.7 | 1.6 | 13.7 |
//! | | +3 % | 0 | 100.0 | 0 | 0 | 12.9 |
//! | the same, clock unknown | −3 % | 100.0 | 0 | 0 | 0 | 12.9 |
//! | | same | 0.1 | 0.2 | 79.8 | 19.9 | 11.0 |
//! | | +3 % | 0 | 100.0 | 0 | 0 | 12.9 |
//! | the same, five blocks as for 54 workloads | −3 % | 99.9 | 0 | 0 | 0.1 | 14.0 |
//! | | same | 0.3 | 0.4 | 77.0 | 22.2 | 11.8 |
//! | | +3 % | 0 | 99.9 | 0 | 0.1 | 14.0 |
//! | the same, one session only | −3 % | 100.0 | 0 | 0 | 0 | 6.4 |
//! | | same | 6.2 | 5.5 | 80.0 | 8.3 | 9.8 |
//! | | +3 % | 0 | 100.0 | 0 | 0 | 6.4 |
//! | session luck 1 % | −3 % | 97.2 | 0 | 0.8 | 1.9 | 13.2 |
//! | | −1 % | 32.5 | 0.2 | 31.3 | 36.0 | 14.8 |
//! | | same | 4.2 | 3.5 | 48.7 | 43.5 | 13.6 |
//! | | +1 % | 0 | 30.4 | 33.4 | 36.2 | 14.4 |
//! | | +3 % | 0 | 97.0 | 1.2 | 1.8 | 13.3 |
//! | the same, margin 1 % | −3 % | 91.8 | 0 | 3.1 | 5.0 | 13.6 |
//! | | −1 % | 14.3 | 0.1 | 53.9 | 31.8 | 12.2 |
//! | | same | 0.9 | 0.8 | 74.2 | 24.1 | 10.3 |
//! | | +1 % | 0 | 12.6 | 56.3 | 31.1 | 12.0 |
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

pub mod effect;

pub mod simulation;

pub use block::CellReading;
pub use comparison::{Comparison, ComparisonError, Event, Step};
pub use effect::{BlockEffect, block_effects};
pub use finding::{Decision, Reason};
pub use protocol::{Protocol, ProtocolError};
pub use report::{Report, SessionReport, WorkloadReport};
pub use schedule::{Arm, BlockKind, Cell, ProcessId};
