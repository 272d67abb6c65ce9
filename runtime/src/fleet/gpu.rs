//! The GPUs of this machine, one worker each, and the lock that keeps a second one away.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::device::sensors;
use crate::regular_file;

/// Where everybody on a machine finds the same lock: a folder in memory that all may write, on every Linux.
const LOCKS: &str = "/dev/shm";

/// A GPU as `CUDA_VISIBLE_DEVICES` names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuName(pub String);

/// Nobody else who asks has this GPU while this lives.
#[derive(Debug)]
#[must_use]
pub struct GpuLock(#[expect(dead_code, reason = "the lock ends with the file")] File);

/// The GPUs that may be used: as asked for, as `CUDA_VISIBLE_DEVICES` says, or all.
pub fn visible(asked: &[String], variable: Option<&str>) -> Vec<GpuName> {
    let named = |text: &str| {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        names.map(|name| GpuName(name.to_owned())).collect()
    };
    match (asked, variable) {
        ([], Some(text)) => named(text),
        ([], None) => sensors::uuids().into_iter().map(GpuName).collect(),
        (asked, _) => named(&asked.join(",")),
    }
}

/// The name that a GPU has whatever a process sees of the others.
fn identity(gpu: &GpuName) -> String {
    let uuid = gpu.0.parse().ok().and_then(|index: usize| sensors::uuids().into_iter().nth(index));
    uuid.unwrap_or_else(|| gpu.0.clone())
}

impl GpuLock {
    /// Takes the lock, unless somebody else on this machine has it.
    pub fn take(gpu: &GpuName) -> io::Result<Option<Self>> {
        Self::take_in(Path::new(LOCKS), &identity(gpu))
    }

    fn take_in(folder: &Path, identity: &str) -> io::Result<Option<Self>> {
        let plain: String =
            identity.chars().map(|one| if one.is_ascii_alphanumeric() { one } else { '-' }).collect();
        let path: PathBuf = folder.join(format!("proofmark-{plain}.lock"));
        // Another user's file may be locked by whoever can read it; only its maker may open it for writing.
        let file = match regular_file::open(&path, File::options().read(true)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                regular_file::open(&path, File::options().read(true).append(true).create(true))?
            }
            opened => opened?,
        };
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_has_one_worker_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let take = |name| GpuLock::take_in(folder.path(), name).unwrap();
        let first = take("GPU-1/../2");
        assert!(first.is_some() && take("GPU-1/../2").is_none());
        assert!(take("GPU-2").is_some());
        drop(first);
        assert!(take("GPU-1/../2").is_some());
        assert!(std::fs::read_dir(folder.path()).unwrap().flatten().count() == 2);
    }

    #[test]
    fn what_is_asked_for_goes_before_what_the_environment_says() {
        let names = |asked: &[&str], variable| -> Vec<String> {
            let asked: Vec<String> = asked.iter().map(ToString::to_string).collect();
            visible(&asked, variable).into_iter().map(|gpu| gpu.0).collect()
        };
        assert_eq!(names(&["1", "2"], Some("0")), ["1", "2"]);
        assert_eq!(names(&[], Some("0, GPU-7")), ["0", "GPU-7"]);
        assert!(names(&[], Some("")).is_empty());
    }
}
