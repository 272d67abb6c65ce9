//! Lists, checks and sweeps the cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::build;
use crate::toolchain::file_digests;

use super::entry::{self, CacheEntry, EntryFault, LIBRARY_NAME};
use super::error::CacheError;
use super::key::Key;
use super::owner;
use super::staging;
use super::store::Store;
use super::use_lock::{Use, UseLock};

/// The folder of all units.
pub(super) const UNITS_NAME: &str = "units";
/// Longer than it takes to write a file and rename it.
const TEMPORARY_GRACE: Duration = Duration::from_secs(60);

/// What earlier versions of this program called their layouts.
const OLD_LAYOUTS: [&str; 1] = ["v1"];

/// An old layout that was used within this time may be in use by an old program.
const OLD_LAYOUT_GRACE: Duration = Duration::from_secs(24 * 60 * 60);

/// What may stay.
#[derive(Debug, Clone, Copy, Default)]
pub struct SweepLimits {
    /// Entries beyond this sum go, least recently used first.
    pub max_size_bytes: Option<u64>,
    /// Entries not used for longer go.
    pub max_age: Option<Duration>,
}

/// What the cache holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Whole builds.
    pub entries: usize,
    /// Their size in bytes.
    pub entries_bytes: u64,
    /// Object files.
    pub units: usize,
    /// Their size in bytes.
    pub units_bytes: u64,
    /// Half-made or set-aside folders and files.
    pub staging: usize,
    /// Their size in bytes.
    pub staging_bytes: u64,
}

impl Stats {
    fn bytes(&self) -> u64 {
        self.entries_bytes + self.units_bytes + self.staging_bytes
    }
}

/// What a sweep removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Swept {
    /// Entries removed.
    pub entries: usize,
    /// Object files removed.
    pub units: usize,
    /// Left-overs of dead processes and damaged entries removed.
    pub staging: usize,
    /// Bytes freed.
    pub freed_bytes: u64,
    /// What is left.
    pub left: Stats,
}

/// An entry's place, size and last use, unread.
#[derive(Debug, Clone)]
struct UnreadEntry {
    key: Key,
    folder: PathBuf,
    size_bytes: u64,
    used: SystemTime,
}

impl Store {
    /// Reads and checks every entry, one at a time.
    pub fn entries(&self) -> impl Iterator<Item = (Key, Result<CacheEntry, EntryFault>)> {
        let read = |one: UnreadEntry| {
            let _use = UseLock::take(self.root(), Use::Shared);
            let entry = entry::read(&one.folder, one.key).transpose()?;
            Some((one.key, entry))
        };
        self.unread_entries().into_iter().filter_map(read)
    }

    /// Refuses a cache whose builds cannot be listed: it is not an empty one.
    pub fn require_listable(&self) -> Result<(), CacheError> {
        owner::refuse_links(self.root())?;
        let entries = self.root().join("entries");
        let shards = children(&entries).filter(|path| !path.is_symlink());
        for folder in [entries.clone()].into_iter().chain(shards) {
            match fs::read_dir(&folder) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                outcome => drop(outcome.map_err(CacheError::io("list", &folder))?),
            }
        }
        Ok(())
    }

    /// Sets aside every entry that does not hold what it claims; returns what was found.
    pub fn repair(&self) -> Result<Vec<(Key, EntryFault)>, CacheError> {
        if self.root().is_dir() {
            owner::check_parts(self.root())?;
        }
        let mut damaged = Vec::new();
        for one in self.unread_entries() {
            let read = || {
                let _use = UseLock::take(self.root(), Use::Shared);
                entry::read(&one.folder, one.key)
            };
            // Looked at again when nobody else is at work: it may just have been replaced.
            if read().is_err() {
                let _alone = UseLock::take(self.root(), Use::Alone);
                if let Err(fault) = entry::read(&one.folder, one.key) {
                    self.set_aside(one.key)?;
                    damaged.push((one.key, fault));
                }
            }
        }
        Ok(damaged)
    }

    /// Counts, without reading contents.
    pub fn stats(&self) -> Stats {
        let found = self.unread_entries();
        let staged: Vec<_> = children(&self.staging_root()).collect();
        let (units, units_bytes) = self.count_units();
        Stats {
            entries: found.len(),
            entries_bytes: found.iter().map(|one| one.size_bytes).sum(),
            units,
            units_bytes,
            staging: staged.len(),
            staging_bytes: staged.iter().map(|path| size_of(path)).sum(),
        }
    }

    /// Removes what dead processes left, what was set aside, and what exceeds the limits. Records
    /// under `plans/` and `names/` stay: they are small and explain the next miss.
    pub fn sweep(&self, limits: SweepLimits, now: SystemTime) -> Result<Swept, CacheError> {
        let mut swept = Swept::default();
        if !self.root().is_dir() {
            return Ok(swept);
        }
        owner::check_parts(self.root())?;
        let before = self.stats();
        let scratch = self.scratch();
        swept.staging += self.forget_failures(now) + self.remove_temporary(now);
        for layout in self.old_layouts(now) {
            swept.staging += 1;
            swept.freed_bytes += size_of(&layout);
            remove(&layout)?;
        }
        swept.staging += build::sweep(&scratch).map_err(CacheError::io("sweep", &scratch))?;
        for path in staging::dead(&self.staging_root(), now) {
            swept.staging += 1;
            remove(&path)?;
        }
        let mut found = self.unread_entries();
        found.sort_by_key(|one| one.used);
        let mut kept_bytes: u64 = found.iter().map(|one| one.size_bytes).sum();
        for one in found {
            let age = now.duration_since(one.used).unwrap_or_default();
            let too_old = limits.max_age.is_some_and(|most| age > most);
            let too_much = limits.max_size_bytes.is_some_and(|most| kept_bytes > most);
            if too_old || too_much {
                kept_bytes -= one.size_bytes;
                swept.entries += 1;
                let _alone = UseLock::take(self.root(), Use::Alone);
                self.take_away(&one.folder)?;
            }
        }
        swept.units = self.sweep_units(limits, kept_bytes, now)?;
        swept.left = self.stats();
        swept.freed_bytes += before.bytes().saturating_sub(swept.left.bytes());
        Ok(swept)
    }

    /// The folders of old layouts that nobody uses any more. Somebody's own folder may have such a name:
    /// ours hold entries and plans.
    fn old_layouts(&self, now: SystemTime) -> Vec<PathBuf> {
        let is_folder = |path: &Path| fs::symlink_metadata(path).is_ok_and(|found| found.is_dir());
        let is_ours = |path: &PathBuf| {
            is_folder(path) && ["entries", "plans"].iter().all(|part| is_folder(&path.join(part)))
        };
        let is_unused = |path: &PathBuf| {
            let times = walk(path).into_iter().flatten();
            let mut times = times.filter_map(|entry| entry.metadata().ok()?.modified().ok());
            times.all(|time| now.duration_since(time).is_ok_and(|age| age > OLD_LAYOUT_GRACE))
        };
        let Some(above) = self.root().parent() else { return Vec::new() };
        OLD_LAYOUTS.iter().map(|name| above.join(name)).filter(is_ours).filter(is_unused).collect()
    }

    /// Removes every entry, object file and record. Staging folders of living processes stay.
    pub fn clear(&self, now: SystemTime) -> Result<Swept, CacheError> {
        let before = self.stats();
        let mut swept = self.sweep(SweepLimits::default(), now)?;
        let _alone = UseLock::take(self.root(), Use::Alone);
        for one in self.unread_entries() {
            self.take_away(&one.folder)?;
            swept.entries += 1;
        }
        for path in children(&self.staging_root()).filter(|path| staging::is_set_aside(path)) {
            remove(&path)?;
            swept.staging += 1;
        }
        swept.units += self.count_units().0;
        for name in ["plans", "names", "failures", UNITS_NAME] {
            self.take_away(&self.root().join(name))?;
        }
        let old = swept.freed_bytes.saturating_sub(before.bytes().saturating_sub(swept.left.bytes()));
        swept.left = self.stats();
        swept.freed_bytes = old + before.bytes().saturating_sub(swept.left.bytes());
        Ok(swept)
    }

    /// Takes something away by one rename, and removes it then: no reader sees half of it, and whoever writes into it
    /// meanwhile keeps nobody from removing it.
    fn take_away(&self, path: &Path) -> Result<(), CacheError> {
        let staging = self.stage()?;
        match fs::rename(path, staging.path().join("away")) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            outcome => outcome.map_err(CacheError::io("remove", path)),
        }
    }

    /// Removes files that were to replace the remembered digests when their writer was killed.
    fn remove_temporary(&self, now: SystemTime) -> usize {
        let is_temporary = |path: &PathBuf| {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let made = fs::symlink_metadata(path).and_then(|found| found.modified()).ok();
            let age = made.and_then(|made| now.duration_since(made).ok()).unwrap_or_default();
            name.starts_with(file_digests::TEMPORARY_PREFIX) && age > TEMPORARY_GRACE
        };
        children(self.root()).filter(is_temporary).filter(|path| fs::remove_file(path).is_ok()).count()
    }

    fn unread_entries(&self) -> Vec<UnreadEntry> {
        let root = self.root().join("entries");
        let is_folder = |path: &PathBuf| fs::symlink_metadata(path).is_ok_and(|found| found.is_dir());
        let shards = children(&root).filter(is_folder);
        let folders = shards.flat_map(|shard| children(&shard).collect::<Vec<_>>());
        let mut found: Vec<_> = folders.filter_map(unread_entry).collect();
        found.sort_by_key(|one| one.key);
        found
    }
}

fn unread_entry(folder: PathBuf) -> Option<UnreadEntry> {
    let key = Key(folder.file_name()?.to_str()?.parse().ok()?);
    let used = fs::symlink_metadata(folder.join(LIBRARY_NAME)).and_then(|metadata| metadata.modified());
    // An entry without a library is damaged: the oldest of all.
    Some(UnreadEntry {
        key,
        size_bytes: size_of(&folder),
        used: used.unwrap_or(SystemTime::UNIX_EPOCH),
        folder,
    })
}

fn children(folder: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path())
}

/// Everything below a folder, and no link is followed: not even where the folder itself is one.
pub(super) fn walk(path: &Path) -> walkdir::WalkDir {
    walkdir::WalkDir::new(path).follow_links(false).follow_root_links(false)
}

fn size_of(path: &Path) -> u64 {
    let found = walk(path).into_iter().filter_map(Result::ok);
    found.filter_map(|entry| entry.metadata().ok()).filter(fs::Metadata::is_file).map(|file| file.len()).sum()
}

fn remove(path: &Path) -> Result<(), CacheError> {
    // A link is removed, never what it leads to.
    let is_folder = fs::symlink_metadata(path).is_ok_and(|found| found.is_dir());
    let outcome = if is_folder { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match outcome {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        outcome => outcome.map_err(CacheError::io("remove", path)),
    }
}
