//! Why a ledger could not be used.

use std::io;
use std::path::PathBuf;

use crate::record::line::LineError;

/// Why a ledger could not be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// A file or folder could not be read or written.
    #[error("cannot {action} `{}`", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The index could not be used.
    #[error("the index `{}`", path.display())]
    Index {
        /// The index.
        path: PathBuf,
        /// What `SQLite` said.
        source: rusqlite::Error,
    },
    /// What is to be kept cannot be written so that it reads back.
    #[error("an entry does not read back")]
    Unwritable(#[from] LineError),
    /// What is brought in holds something else.
    #[error("`{from}`, line {line}: {reason}")]
    Foreign {
        /// Where it comes from.
        from: String,
        /// The line, from one.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// No entry, or more than one, begins so.
    #[error("{found} entries, runs or artifacts begin with `{prefix}`, expected one")]
    Ambiguous {
        /// What was asked for.
        prefix: String,
        /// How many there are.
        found: usize,
    },
    /// The champion changed while its successor was being measured.
    #[error("the champion of {slot} is {found}, and what was beaten is {expected}")]
    ChampionMoved {
        /// Where.
        slot: String,
        /// Who holds it now.
        found: String,
        /// Who was compared with.
        expected: String,
    },
    /// An index whose batch is gone or was changed.
    #[error("the batch of entry {id} is gone or was changed")]
    Stale {
        /// The entry.
        id: String,
    },
}

impl LedgerError {
    pub(super) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }
}
