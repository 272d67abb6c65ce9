//! Every record in one place, found by an index that can always be made again.
//!
//! ```text
//! <ledger>/
//! ├── records/<sha256>.jsonl   one batch, named by its content, written once and never changed
//! ├── index.sqlite             what stands where; made again from the records whenever it is missing
//! └── lock                     held by who removes records or moves a champion
//! ```
//!
//! The batches are the truth. Each begins with a line that says where it came from; the others are lines
//! of [`crate::record`] as they were measured, or the ledger's own:
//!
//! ```text
//! {"schema": "proofmark.ledger", "version": 1, "entry": "batch",     …}   where the following lines came from
//! {"schema": "proofmark.ledger", "version": 1, "entry": "seal",      …}   an artifact that names its records
//! {"schema": "proofmark.ledger", "version": 1, "entry": "trace",     …}   a figure of another harness
//! {"schema": "proofmark.ledger", "version": 1, "entry": "challenge", …}   a candidate, and what became of it
//! {"schema": "proofmark.ledger", "version": 1, "entry": "promotion", …}   a new champion, and why
//! ```
//!
//! A batch appears by one rename, so it is there whole or not at all; one whose content is not what its
//! name says is reported and not believed. An entry is named by the SHA-256 of its line, so the same line
//! counts once, wherever it comes from.
//!
//! | file | what it holds |
//! |---|---|
//! | [`entry`] | one line, and the ledger's own kinds of it |
//! | [`trace`] | figures of other harnesses |
//! | [`row`] | what the index knows of a line |
//! | [`moment`] | times as texts that sort |
//! | [`batch`] | the files: written, listed, read |
//! | [`index`] | the `SQLite` index |
//! | [`filter`] | which entries are asked for |
//! | [`import`] | records, sealed artifacts and traces on their way in |
//! | [`retention`] | what may be dropped, and what never is |
//! | [`slot`] | what there is one champion of |
//! | [`champion`] | who holds a slot, and who held it before |
//! | [`folder`] | the ledger as a whole |

pub mod batch;
pub mod champion;
pub mod entry;
mod error;
pub mod filter;
pub mod folder;
pub mod import;
pub mod index;
pub mod moment;
pub mod retention;
pub mod row;
pub mod slot;
pub mod trace;

pub use champion::Champion;
pub use entry::{LedgerEntry, LedgerLine, Origin};
pub use error::LedgerError;
pub use filter::Filter;
pub use folder::{Appended, Ledger};
pub use row::{LedgerKind, Row, RunRow};
pub use slot::Slot;
