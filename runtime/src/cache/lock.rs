//! One builder a plan: the others wait and take the hit.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;

use rustix::fs::statfs;

use super::error::CacheError;

/// `f_type` of NFS in `statfs(2)`.
const NFS_MAGIC: i64 = 0x6969;

/// Between whom the cache's locks hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LockScope {
    /// Between all processes that see the cache.
    Machine,
    /// On a network file system: perhaps only between processes of one machine.
    Network,
}

impl LockScope {
    /// Asks the file system.
    pub(super) fn of(folder: &Path) -> Self {
        match statfs(folder) {
            #[allow(clippy::unnecessary_cast, reason = "the width of f_type differs between targets")]
            Ok(found) if found.f_type as i64 == NFS_MAGIC => Self::Network,
            _ => Self::Machine,
        }
    }
}

/// The right to build one plan; released when dropped or when the process ends, however it ends.
#[derive(Debug)]
#[must_use]
pub struct PlanLock {
    /// `None` where the file system knows no locks: then two may build, and the second takes the
    /// first's entry.
    _file: Option<File>,
}

impl PlanLock {
    /// Waits for the lock; `waiting` is called once if somebody else holds it.
    pub(super) fn acquire(path: &Path, waiting: impl FnOnce()) -> Result<Self, CacheError> {
        let unusable = || CacheError::io("lock", path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(unusable())?;
        }
        let file = File::options().create(true).write(true).truncate(false).open(path).map_err(unusable())?;
        match file.try_lock() {
            Ok(()) => return Ok(Self { _file: Some(file) }),
            Err(TryLockError::WouldBlock) => waiting(),
            Err(TryLockError::Error(error)) if knows_no_locks(&error) => return Ok(Self { _file: None }),
            Err(TryLockError::Error(error)) => return Err(unusable()(error)),
        }
        loop {
            match file.lock() {
                Ok(()) => return Ok(Self { _file: Some(file) }),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(unusable()(error)),
            }
        }
    }
}

fn knows_no_locks(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(rustix::io::Errno::from_raw_os_error);
    matches!(code, Some(rustix::io::Errno::NOLCK | rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS))
}
