//! One builder a plan: the others wait and take the hit.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::statfs;

use super::error::CacheError;
use super::use_lock::open_lock;

/// How often a held lock is tried again: soon enough beside a compiler's seconds.
const TICK: Duration = Duration::from_millis(20);

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
    /// Waits for the lock, but not for ever; `waiting` is called once if somebody else holds it.
    pub(super) fn acquire(
        path: &Path,
        patience: Duration,
        waiting: impl FnOnce(),
    ) -> Result<Self, CacheError> {
        let began = Instant::now();
        let unusable = || CacheError::io("lock", path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(unusable())?;
        }
        let file = open_lock(path)
            .ok_or_else(|| io::Error::other("it cannot be opened as a file"))
            .map_err(unusable())?;
        match file.try_lock() {
            Ok(()) => return Ok(Self { _file: Some(file) }),
            Err(TryLockError::WouldBlock) => waiting(),
            Err(TryLockError::Error(error)) if knows_no_locks(&error) => return Ok(Self { _file: None }),
            Err(TryLockError::Error(error)) => return Err(unusable()(error)),
        }
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: Some(file) }),
                Err(TryLockError::WouldBlock) if began.elapsed() < patience => std::thread::sleep(TICK),
                Err(TryLockError::WouldBlock) => return Err(CacheError::Busy { waited: began.elapsed() }),
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(TryLockError::Error(error)) => return Err(unusable()(error)),
            }
        }
    }
}

fn knows_no_locks(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(rustix::io::Errno::from_raw_os_error);
    matches!(code, Some(rustix::io::Errno::NOLCK | rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS))
}
