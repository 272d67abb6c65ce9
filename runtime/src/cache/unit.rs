//! Keeps object files, so that one changed source of eight compiles one.
//!
//! ```text
//! units/<u2>/<unit>
//!   line 1    SHA-256 of everything behind it
//!   line 2    JSON: format, version, key, what the compiler read and said, the object's size
//!   then      the object file
//! ```
//!
//! One file a unit: the last one that was compiled. It is replaced by a rename, re-hashed whenever it
//! is used, and used only where every file that it read is as it was. A damaged one is as good as none.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::time::SystemTime;

use proofmark_packager::Digest;
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use super::error::CacheError;
use super::gc::{SweepLimits, UNITS_NAME, walk};
use super::key::UnitKey;
use super::store::{Store, sharded};
use crate::build::{Dependencies, Unit};
use crate::regular_file;

/// No object is larger: a build may not write larger files.
const MOST_BYTES: u64 = 2 << 30;

const FORMAT: &str = "proofmark.cache-unit";
const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    format: String,
    version: u32,
    key: Digest,
    reads: Dependencies,
    log: String,
    size_bytes: usize,
}

impl Store {
    /// Finds a unit that would be compiled to the same object now. `current` gives a file's digest of
    /// today by its label, `None` if it is gone.
    pub fn unit(&self, key: UnitKey, current: impl FnMut(&str) -> Option<Digest>) -> Option<Unit> {
        let path = self.unit_path(key);
        let unit = read(&regular_file::read(&path, MOST_BYTES).ok()?, key)?;
        if !is_current(&unit.reads, current) {
            return None;
        }
        // Remembers the use for `gc`.
        if let Ok(file) = regular_file::open(&path, fs::File::options().read(true)) {
            let _ = file.set_modified(SystemTime::now());
        }
        Some(unit)
    }

    /// Keeps a unit that was just compiled. Not synced: what a crash leaves is found out by its digest.
    pub fn keep_unit(&self, key: UnitKey, unit: &Unit) -> Result<(), CacheError> {
        let path = self.unit_path(key);
        let folder = path.parent().unwrap_or(self.root());
        fs::create_dir_all(folder).map_err(CacheError::io("create", folder))?;
        let staging = self.staging_root();
        fs::create_dir_all(&staging).map_err(CacheError::io("create", &staging))?;
        let mut file =
            NamedTempFile::new_in(&staging).map_err(CacheError::io("create a file in", &staging))?;
        file.write_all(&written(key, unit)).map_err(CacheError::io("write", file.path()))?;
        match file.persist(&path) {
            Ok(_) => Ok(()),
            Err(error) => Err(CacheError::io("write", &path)(error.error)),
        }
    }

    /// How many units there are, and their size in bytes.
    pub(super) fn count_units(&self) -> (usize, u64) {
        let kept = self.kept_units();
        (kept.len(), kept.iter().map(|(_, size_bytes, _)| size_bytes).sum())
    }

    /// Removes units that were not used for too long, and the least recently used of them where they
    /// take more than whole builds leave of the limit. Gives how many.
    pub(super) fn sweep_units(
        &self,
        limits: SweepLimits,
        builds_bytes: u64,
        now: SystemTime,
    ) -> Result<usize, CacheError> {
        let mut kept = self.kept_units();
        kept.sort_by_key(|(used, ..)| *used);
        let mut kept_bytes: u64 =
            builds_bytes + kept.iter().map(|(_, size_bytes, _)| size_bytes).sum::<u64>();
        let mut removed = 0;
        for (used, size_bytes, path) in kept {
            let age = now.duration_since(used).unwrap_or_default();
            let too_old = limits.max_age.is_some_and(|most| age > most);
            let too_much = limits.max_size_bytes.is_some_and(|most| kept_bytes > most);
            if too_old || too_much {
                kept_bytes -= size_bytes;
                removed += 1;
                match fs::remove_file(&path) {
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                    outcome => outcome.map_err(CacheError::io("remove", &path))?,
                }
            }
        }
        Ok(removed)
    }

    /// Last use, size and place of every unit.
    fn kept_units(&self) -> Vec<(SystemTime, u64, PathBuf)> {
        let found = walk(&self.root().join(UNITS_NAME));
        let unit = |entry: walkdir::DirEntry| {
            let metadata = entry.metadata().ok().filter(fs::Metadata::is_file)?;
            Some((metadata.modified().ok()?, metadata.len(), entry.into_path()))
        };
        found.into_iter().filter_map(Result::ok).filter_map(unit).collect()
    }

    fn unit_path(&self, key: UnitKey) -> PathBuf {
        sharded(&self.root().join(UNITS_NAME), &key.0.to_string(), "")
    }
}

fn is_current(reads: &Dependencies, mut current: impl FnMut(&str) -> Option<Digest>) -> bool {
    reads.iter().all(|(label, then)| current(label) == Some(*then))
}

fn written(key: UnitKey, unit: &Unit) -> Vec<u8> {
    let Unit { reads, log, object } = unit;
    let description = Description {
        format: FORMAT.to_owned(),
        version: VERSION,
        key: key.0,
        reads: reads.clone(),
        log: log.clone(),
        size_bytes: object.len(),
    };
    let mut body = serde_json::to_vec(&description).expect("texts and digests always serialise");
    body.push(b'\n');
    body.extend_from_slice(object);
    let mut whole = format!("{}\n", Digest::of_bytes(&body)).into_bytes();
    whole.append(&mut body);
    whole
}

fn read(whole: &[u8], key: UnitKey) -> Option<Unit> {
    let split = |bytes: &[u8]| bytes.iter().position(|&one| one == b'\n');
    let (sum, body) = whole.split_at_checked(split(whole)?)?;
    let body = body.get(1..)?;
    if sum != Digest::of_bytes(body).to_string().as_bytes() {
        return None;
    }
    let (head, object) = body.split_at_checked(split(body)?)?;
    let object = object.get(1..)?;
    let Description { format, version, key: found, reads, log, size_bytes } =
        serde_json::from_slice(head).ok()?;
    let is_ours = format == FORMAT && version == VERSION && found == key.0 && size_bytes == object.len();
    is_ours.then(|| Unit { reads, log, object: object.to_vec() })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::key::tests::ingredients;
    use super::*;

    fn unit() -> Unit {
        let reads = [("<source>/k.cu", "k"), ("<cuda>/include/a.h", "a")]
            .map(|(label, text)| (label.to_owned(), Digest::of_bytes(text.as_bytes())));
        Unit { reads: reads.into(), log: "words\n".to_owned(), object: b"\x7fELF\n\0\n".to_vec() }
    }

    fn key(command: &str) -> UnitKey {
        ingredients().unit_key("k.cu", command)
    }

    fn current(label: &str) -> Option<Digest> {
        unit().reads.get(label).copied()
    }

    #[test]
    fn a_unit_is_used_while_everything_it_read_is_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(store.unit(key("nvcc"), current), None);
        store.keep_unit(key("nvcc"), &unit()).unwrap();
        assert_eq!(store.unit(key("nvcc"), current), Some(unit()));
        assert_eq!(store.unit(key("nvcc -O3"), current), None);
        for changed in ["<source>/k.cu", "<cuda>/include/a.h"] {
            let other = |label: &str| {
                if label == changed { Some(Digest::of_bytes(b"other")) } else { current(label) }
            };
            assert_eq!(store.unit(key("nvcc"), other), None, "{changed}");
            let gone = |label: &str| current(label).filter(|_| label != changed);
            assert_eq!(store.unit(key("nvcc"), gone), None, "{changed}");
        }
    }

    #[test]
    fn a_cache_that_others_fill_is_cleared_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let ends = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for writer in 0..3 {
                let (store, ends) = (&store, &ends);
                scope.spawn(move || {
                    let mut count = 0;
                    while !ends.load(std::sync::atomic::Ordering::Relaxed) {
                        // What is taken away while it is written is not kept, which costs a compilation.
                        let _ = store.keep_unit(key(&format!("nvcc {writer} {}", count % 8)), &unit());
                        count += 1;
                    }
                });
            }
            let cleared: Vec<_> = (0..20).map(|_| store.clear(SystemTime::now()).map(drop)).collect();
            ends.store(true, std::sync::atomic::Ordering::Relaxed);
            for outcome in cleared {
                outcome.unwrap();
            }
        });
        store.clear(SystemTime::now()).unwrap();
        assert_eq!(store.count_units(), (0, 0));
    }

    #[test]
    fn a_unit_with_a_flipped_bit_or_cut_off_or_of_another_name_is_none() {
        let whole = written(key("nvcc"), &unit());
        assert_eq!(read(&whole, key("nvcc")), Some(unit()));
        assert_eq!(read(&whole, key("nvcc -O3")), None);
        for at in 0..whole.len() {
            let mut bad = whole.clone();
            bad[at] ^= 1;
            assert_eq!(read(&bad, key("nvcc")), None, "flipped at {at}");
            assert_eq!(read(&whole[..at], key("nvcc")), None, "cut at {at}");
        }
    }

    #[test]
    fn units_that_are_old_or_too_many_go() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let now = SystemTime::now();
        for (index, command) in ["old", "middle", "young"].into_iter().enumerate() {
            store.keep_unit(key(command), &unit()).unwrap();
            let file = fs::File::open(store.unit_path(key(command))).unwrap();
            file.set_modified(now - Duration::from_secs(3000 - 1000 * index as u64)).unwrap();
        }
        let (count, bytes) = store.count_units();
        assert_eq!(count, 3);
        let sweep = |limits, builds_bytes| store.sweep_units(limits, builds_bytes, now).unwrap();
        assert_eq!(sweep(SweepLimits::default(), 0), 0);
        assert_eq!(
            sweep(SweepLimits { max_age: Some(Duration::from_secs(2500)), max_size_bytes: None }, 0),
            1
        );
        assert_eq!(sweep(SweepLimits { max_size_bytes: Some(bytes / 3 + 10), max_age: None }, 10), 1);
        assert!(store.unit(key("young"), current).is_some());
        assert_eq!(sweep(SweepLimits { max_size_bytes: Some(bytes), max_age: None }, bytes), 1);
        assert_eq!(store.count_units().0, 0);
    }
}
