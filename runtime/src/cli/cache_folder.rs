//! Where the build cache is, and what its troubles mean for the caller.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::Args;

use super::failure::Failure;
use crate::cache::{CacheError, Store};

/// The way out where the cache cannot be written.
pub(super) const WRITABLE_FOLDER: &str =
    "name a folder that you can write with `--cache-dir` or PROOFMARK_CACHE";

/// Where the cache is.
#[derive(Debug, Clone, Args)]
pub struct CacheFolder {
    /// The cache folder [default: $PROOFMARK_CACHE, $XDG_CACHE_HOME/proofmark, ~/.cache/proofmark].
    #[arg(long, value_name = "DIR", global = true)]
    pub cache_dir: Option<PathBuf>,
}

impl CacheFolder {
    /// The folder, which need not exist yet.
    pub fn folder(&self) -> Result<PathBuf, Failure> {
        let folder = self.named()?;
        require_folder(&folder)?;
        Ok(folder)
    }

    /// The place of the folder, whatever stands there.
    pub(super) fn named(&self) -> Result<PathBuf, Failure> {
        Store::place(self.cache_dir.as_deref(), |name| std::env::var_os(name)).map_err(explain)
    }

    /// Looks at what is there, without making a cache.
    pub(super) fn look(&self) -> Result<Store, Failure> {
        let store = Store::look(&self.folder()?);
        store.require_listable().map_err(explain)?;
        Ok(store)
    }
}

/// Refuses a path at which something else than a folder stands.
fn require_folder(path: &Path) -> Result<(), Failure> {
    let what = match std::fs::metadata(path) {
        Ok(found) if !found.is_dir() => "is no folder",
        Err(error) if error.kind() == ErrorKind::NotADirectory => "lies below what is no folder",
        _ => return Ok(()),
    };
    let text = format!("{} {what}: expected the folder of the build cache, or a new one", path.display());
    Err(Failure::request(text).hint(WRITABLE_FOLDER))
}

/// Says what a cache failure means for the caller.
pub(super) fn explain(error: CacheError) -> Failure {
    let way_out = match &error {
        CacheError::Shared { path, .. } => {
            format!("`chmod go-w {}` if it is yours, or name another with `--cache-dir`", path.display())
        }
        CacheError::Linked { .. } => "remove the link, or name another cache with `--cache-dir`".to_owned(),
        CacheError::Busy { .. } => "allow more with --timeout".to_owned(),
        CacheError::NoPlace | CacheError::Io { .. } => WRITABLE_FOLDER.to_owned(),
    };
    Failure::could_not_judge(error).hint(way_out)
}
