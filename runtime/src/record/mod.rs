//! What was measured, kept so that it can be looked at years later.
//!
//! A record file is JSONL: one document a line, appended when it is complete, never changed.
//!
//! ```text
//! {"schema": "proofmark.record", "version": 1, "record": "workload",   …}   one finished workload
//! {"schema": "proofmark.record", "version": 1, "record": "comparison", …}   one finished comparison
//! {"schema": "proofmark.record", "version": 1, "record": "foreign",    …}   a trace by another tool
//! ```
//!
//! Every line stands by itself: it names what was measured, on what, and when. Raw samples are
//! kept; medians and means are computed on reading. A run that was interrupted goes on by skipping
//! the workloads that have a line.
//!
//! | file | noun |
//! |---|---|
//! | [`mod@line`] | one line, its kinds and its version |
//! | [`journal`] | the file: appending, reading, a torn last line |
//! | [`exchange`] | FlashInfer-Bench traces, out and in |

pub mod line;

pub mod journal;

pub mod exchange;

pub use exchange::{ExportError, from_trace, to_trace};
pub use journal::{Contents, Journal, JournalError, TornLine};
pub use line::{ComparisonRecord, Context, ForeignRecord, Record, WorkloadRecord};
