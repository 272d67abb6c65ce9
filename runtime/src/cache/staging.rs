//! Half-made things: they live here until one rename makes them whole.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::error::CacheError;
use crate::regular_file;

/// The file that its maker holds locked: an unlocked one belongs to a dead process.
const OWNER_NAME: &str = ".owner";

/// Age below which an unlocked staging folder is left alone: longer than it takes a maker to
/// create and lock its owner file.
const GRACE: Duration = Duration::from_secs(60);

/// Age after which a staging folder is swept where locks cannot tell: longer than any build.
const LOCKLESS_GRACE: Duration = Duration::from_secs(24 * 60 * 60);

/// A private folder for one build or one entry; removed when dropped.
#[derive(Debug)]
#[must_use]
pub struct Staging {
    folder: tempfile::TempDir,
    _owner: File,
}

impl Staging {
    /// Makes a folder that `gc` recognises as alive.
    pub(super) fn new(parent: &Path) -> Result<Self, CacheError> {
        fs::create_dir_all(parent).map_err(CacheError::io("create", parent))?;
        let folder = tempfile::Builder::new().prefix("s-").tempdir_in(parent);
        let folder = folder.map_err(CacheError::io("create a folder in", parent))?;
        let owner = folder.path().join(OWNER_NAME);
        let file = File::create(&owner).map_err(CacheError::io("create", &owner))?;
        // Where locks are unknown, age alone decides: see `is_dead`.
        let _ = file.lock();
        Ok(Self { folder, _owner: file })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// How the names of set-aside entries start.
pub(super) const SET_ASIDE_PREFIX: &str = "damaged-";

/// Whether a folder holds a damaged entry: nobody works in it.
pub(super) fn is_set_aside(folder: &Path) -> bool {
    folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with(SET_ASIDE_PREFIX))
}

/// Lists the folders that dead processes left.
pub(super) fn dead(parent: &Path, now: SystemTime) -> Vec<PathBuf> {
    let entries = fs::read_dir(parent).into_iter().flatten().filter_map(Result::ok);
    entries.map(|entry| entry.path()).filter(|path| is_dead(path, now)).collect()
}

fn is_dead(folder: &Path, now: SystemTime) -> bool {
    // Builds have locks of their own, and processes that must end first.
    let is_build = folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with("build-"));
    if is_build {
        return false;
    }
    let made = fs::symlink_metadata(folder).and_then(|metadata| metadata.modified());
    let age = made.ok().and_then(|made| now.duration_since(made).ok()).unwrap_or_default();
    let owner = regular_file::open(&folder.join(OWNER_NAME), File::options().write(true));
    match owner.map(|file| file.try_lock()) {
        Ok(Ok(())) | Err(_) => age > GRACE,
        Ok(Err(fs::TryLockError::WouldBlock)) => false,
        Ok(Err(fs::TryLockError::Error(_))) => age > LOCKLESS_GRACE,
    }
}
