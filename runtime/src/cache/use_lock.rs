//! Keeps sweeps and uses apart: many may use the cache at once, one may take things away.
//!
//! Held for milliseconds: never while a compiler runs. Where a file system has no locks, or somebody
//! holds this one for too long, work goes on without: then a use may find things gone and builds again.

use std::fs::{self, File, TryLockError};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::regular_file;

/// The file that is locked.
pub(super) const FILE_NAME: &str = "in-use.lock";

/// Longer than any use or sweep of one entry takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// The right to use the cache, or alone to take things away; released when dropped.
#[derive(Debug)]
#[must_use]
pub(super) struct UseLock {
    _file: Option<File>,
}

/// How the cache is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Beside others.
    Shared,
    /// Alone.
    Alone,
}

impl UseLock {
    pub(super) fn take(root: &Path, how: Use) -> Self {
        let path = root.join(FILE_NAME);
        let Some(file) = open_lock(&path) else { return Self { _file: None } };
        let deadline = Instant::now() + PATIENCE;
        loop {
            let tried = match how {
                Use::Shared => file.try_lock_shared(),
                Use::Alone => file.try_lock(),
            };
            match tried {
                Ok(()) => return Self { _file: Some(file) },
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err(_) => return Self { _file: None },
            }
        }
    }
}

/// Opens a lock file, and puts one in the place of what is none.
pub(super) fn open_lock(path: &Path) -> Option<File> {
    let open =
        || regular_file::open(path, File::options().create(true).read(true).write(true).truncate(false));
    open().ok().or_else(|| {
        let is_other = fs::symlink_metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir());
        if is_other {
            fs::remove_file(path).ok()?;
        }
        open().ok()
    })
}
