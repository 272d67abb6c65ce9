//! Why the cache could not be used at all.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The file system refused, or no place is known.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// Neither an option nor the environment says where the cache is.
    #[error("no place for the cache: neither PROOFMARK_CACHE, XDG_CACHE_HOME nor HOME is set")]
    NoPlace,
    /// Others can write to it, and what they write would be built with, or run.
    #[error("the cache folder {} is not used: {reason}", path.display())]
    Shared {
        /// The folder.
        path: PathBuf,
        /// Who can write to it.
        reason: String,
    },
    /// A part of it is a link.
    #[error("the cache folder {} is not used: it is a link: expected a folder", path.display())]
    Linked {
        /// The part.
        path: PathBuf,
    },
    /// Another process builds the same, for longer than was allowed.
    #[error("another process builds this since {} s and more", waited.as_secs())]
    Busy {
        /// How long was waited.
        waited: Duration,
    },
    /// A file or folder could not be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

impl CacheError {
    /// Shapes an I/O error for `map_err`.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}
