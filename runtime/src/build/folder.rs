//! The folder that one build happens in.
//!
//! It holds what [`plan`](mod@super::plan) draws, is locked while the build lives, and goes away with
//! the value. What a killed process leaves is an unlocked folder, which [`sweep`] removes.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tempfile::TempDir;

use super::plan::{BuildPlan, place};
use crate::regular_file;

/// How the names of build folders start.
const PREFIX: &str = "build-";
/// Locked by the process that builds.
const LOCK: &str = ".lock";
const UNNAMED_LOCK: &str = ".lock-new";

/// A folder without a lock file is being made right now, unless it is older than this.
const NEWBORN: Duration = Duration::from_secs(60);

/// Every source has this modification time, 1980-01-01: line tables record it.
const MODIFIED: Duration = Duration::from_secs(315_532_800);

/// A folder of its own that is locked while its process uses it: what a killed one leaves, [`sweep`] removes.
#[derive(Debug)]
pub(crate) struct ScratchFolder {
    folder: TempDir,
    path: PathBuf,
    _lock: File,
}

impl ScratchFolder {
    /// Makes the folder below `scratch`.
    pub(crate) fn create(scratch: &Path) -> io::Result<Self> {
        fs::create_dir_all(scratch)?;
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(scratch)?;
        let path = folder.path().canonicalize()?;
        // Locked before it has its name: an unlocked one is nobody's.
        let unnamed = path.join(UNNAMED_LOCK);
        let lock = File::create(&unnamed)?;
        lock.lock()?;
        fs::rename(unnamed, path.join(LOCK))?;
        Ok(Self { folder, path, _lock: lock })
    }

    /// The folder, with no link in its path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// A build folder, filled with what a plan needs.
#[derive(Debug)]
pub(super) struct BuildFolder(ScratchFolder);

impl BuildFolder {
    /// Makes the folder below `scratch` and fills it.
    pub(super) fn create(scratch: &Path, plan: &BuildPlan) -> io::Result<Self> {
        let made = Self(ScratchFolder::create(scratch)?);
        made.fill(plan)?;
        Ok(made)
    }

    /// The folder, with no link in its path.
    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Removes the folder. Nothing works in it any more: every command has ended with all it started.
    pub(super) fn remove(self) -> io::Result<()> {
        self.0.folder.close()
    }

    fn fill(&self, plan: &BuildPlan) -> io::Result<()> {
        for name in [place::SOURCE, place::HOST, place::KIT, place::DRIVER, place::OBJECT, place::TEMPORARY] {
            fs::create_dir(self.path().join(name))?;
        }
        for link in &plan.links {
            symlink(&link.target, self.path().join(&link.name))?;
        }
        for source in &plan.sources {
            let path = self.path().join(place::SOURCE).join(source.path.as_str());
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            let mut file = File::create_new(path)?;
            file.write_all(source.content.as_bytes())?;
            file.set_modified(UNIX_EPOCH + MODIFIED)?;
        }
        Ok(())
    }
}

/// Removes the folders of builds whose process is gone: the sandbox ended what ran in them. Gives how
/// many there were.
pub fn sweep(scratch: &Path) -> io::Result<usize> {
    let mut removed = 0;
    for path in folders(scratch)? {
        // A link or a file under such a name is nobody's work; what a link leads to is not touched.
        let is_folder = fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir());
        let outcome = match (is_folder, is_folder && is_abandoned(&path)) {
            (false, _) => fs::remove_file(&path),
            (true, true) => fs::remove_dir_all(&path),
            (true, false) => continue,
        };
        match outcome {
            // Its builder, or another sweep, was faster.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            outcome => {
                outcome?;
                removed += 1;
            }
        }
    }
    Ok(removed)
}

/// Every build folder below `scratch`, alive or abandoned.
pub fn folders(scratch: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(scratch) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

fn is_abandoned(folder: &Path) -> bool {
    if let Ok(lock) = regular_file::open(&folder.join(LOCK), File::options().read(true)) {
        return lock.try_lock().is_ok();
    }
    let made = fs::metadata(folder).and_then(|metadata| metadata.modified());
    made.is_ok_and(|made| SystemTime::now().duration_since(made).is_ok_and(|age| age > NEWBORN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sweeps_what_nobody_holds_and_leaves_what_is_in_use() {
        let scratch = tempfile::tempdir().unwrap();
        let [held, left, newborn, other] =
            ["build-held", "build-left", "build-new", "other"].map(|name| scratch.path().join(name));
        for folder in [&held, &left, &newborn, &other] {
            fs::create_dir(folder).unwrap();
        }
        let lock = File::create(held.join(LOCK)).unwrap();
        lock.lock().unwrap();
        File::create(left.join(LOCK)).unwrap();
        assert_eq!(sweep(scratch.path()).unwrap(), 1);
        assert!(held.exists() && !left.exists() && newborn.exists() && other.exists());
        drop(lock);
        // A child that another test is just starting holds a copy of the lock until it runs its program.
        let is_swept = (0..200).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            sweep(scratch.path()).unwrap() == 1
        });
        assert!(is_swept && !held.exists());
    }
}
