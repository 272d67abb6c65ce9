//! Why the cache could not be used at all.

use std::io;
use std::path::{Path, PathBuf};

/// The file system refused, or no place is known.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// Neither an option nor the environment says where the cache is.
    #[error("no place for the cache: neither PROOFMARK_CACHE, XDG_CACHE_HOME nor HOME is set")]
    NoPlace,
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
