//! What was measured, kept so that it can be looked at years later.
//!
//! A record file is JSONL: one document a line, appended when it is complete, never changed.
//!
//! ```text
//! {"schema": "proofmark.record", "version": 2, "record": "workload",   …}   one finished workload
//! {"schema": "proofmark.record", "version": 2, "record": "comparison", …}   one finished comparison
//! ```
//!
//! Every line stands by itself: it names what was measured, on what, and when. Raw samples are
//! kept; medians and means are computed on reading. A run that was interrupted goes on by skipping
//! the workloads that have a line.
//!
//! | file | what it holds |
//! |---|---|
//! | [`run_id`] | the name of one run |
//! | [`mod@line`] | one line, its kinds and its version |
//! | `line_v1` | lines of version 1 |
//! | [`journal`] | the file: appending, reading, a torn last line |
//! | [`run_log`] | one run's lines, and what an interrupted one had finished |
//! | [`bench_report`] | the numbers of a run: per workload and overall, computed from raw samples |
//! | [`exchange`] | FlashInfer-Bench traces |

pub mod bench_report;
pub mod exchange;
pub mod journal;
pub mod line;
mod line_v1;
pub mod run_id;
pub mod run_log;

pub use bench_report::{BenchReport, ClockReport, WorkloadRow};
pub use exchange::{ExportError, to_trace};
pub use journal::{Contents, Journal, JournalError, TornLine};
pub use line::{ComparisonRecord, Context, Record, WorkloadRecord};
pub use run_id::RunId;
pub use run_log::RunLog;
