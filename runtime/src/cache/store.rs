//! Looks builds up and puts them in.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use proofmark_packager::Digest;
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use super::entry::{self, CacheEntry, Insertion, LIBRARY_NAME};
use super::error::CacheError;
use super::fetched_from::FetchedFrom;
use super::key::{BuildName, Ingredients, Key, MissReason, PlanKey, keys_that_differ};
use super::lock::{LockScope, PlanLock};
use super::owner;
use super::staging::{SET_ASIDE_PREFIX, Staging};
use super::use_lock::{Use, UseLock};
use crate::build::Dependencies;
use crate::regular_file;

/// The folder of this layout's version.
const LAYOUT: &str = "v2";

const FOLDER_NAME: &str = "proofmark";

/// A hundred times the record of a build that reads every header of CUDA.
const MOST_RECORD_BYTES: u64 = 64 << 20;

/// What the cache says about a plan.
#[derive(Debug)]
#[must_use]
pub enum Lookup {
    /// The build is there, re-hashed and proven again.
    Hit(Box<CacheEntry>),
    /// It is not, and why.
    Miss(MissReason),
}

/// A build that is in the cache now.
#[derive(Debug)]
pub struct Inserted {
    /// The entry, read back.
    pub entry: CacheEntry,
    /// The digest of an earlier library under the same key, if it was another: the build is not
    /// reproducible, and the earlier entry was set aside.
    pub disagrees_with: Option<Digest>,
}

/// What `plans/<plan>.json` says: the headers that the last build of a plan read, and which library
/// each key of the plan stands for, so that an entry cannot be exchanged for another whole one.
#[derive(Debug, Default, Serialize, Deserialize)]
struct PlanRecord {
    dependencies: Dependencies,
    libraries: BTreeMap<String, Digest>,
    /// Whose builds of these are not from here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    fetched_from: BTreeMap<String, FetchedFrom>,
}

/// The cache in one folder.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// Where the cache belongs: the option, `PROOFMARK_CACHE`, the XDG cache folder, `~/.cache`.
    pub fn place(
        option: Option<&Path>,
        environment: impl Fn(&str) -> Option<OsString>,
    ) -> Result<PathBuf, CacheError> {
        let absolute = |name| environment(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let named = environment("PROOFMARK_CACHE").filter(|value| !value.is_empty()).map(PathBuf::from);
        option
            .map(Path::to_owned)
            .or(named)
            .or_else(|| absolute("XDG_CACHE_HOME").map(|cache| cache.join(FOLDER_NAME)))
            .or_else(|| absolute("HOME").map(|home| home.join(".cache").join(FOLDER_NAME)))
            .ok_or(CacheError::NoPlace)
    }

    /// Opens the cache in a folder, which need not exist yet.
    pub fn open(folder: &Path) -> Result<Self, CacheError> {
        let root = folder.join(LAYOUT);
        owner::claim(folder)?;
        owner::claim(&root)?;
        owner::check_parts(&root)?;
        // Compilers run elsewhere: a relative place would move with them.
        let root = root.canonicalize().map_err(CacheError::io("resolve", &root))?;
        Ok(Self { root })
    }

    /// Looks at the cache in a folder, which is not made if it is not there.
    pub fn look(folder: &Path) -> Self {
        Self { root: folder.join(LAYOUT) }
    }

    /// The folder of this layout.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Between whom the locks hold.
    pub fn lock_scope(&self) -> LockScope {
        LockScope::of(&self.root)
    }

    /// Looks a plan up. `current` gives a header's digest of today by its label, `None` if it is gone.
    pub fn look_up(
        &self,
        name: &BuildName,
        ingredients: &Ingredients,
        mut current: impl FnMut(&str) -> Option<Digest>,
    ) -> Result<Lookup, CacheError> {
        let _use = UseLock::take(&self.root, Use::Shared);
        let plan = ingredients.plan_key();
        let Some(record) = self.plan_record(plan) else {
            let last = self.last_build(name);
            return Ok(Lookup::Miss(MissReason::between(name, last.as_ref(), ingredients)));
        };
        let today: Dependencies = record
            .dependencies
            .keys()
            .filter_map(|label| current(label).map(|digest| (label.clone(), digest)))
            .collect();
        let key = plan.with(&today);
        let expected = record.libraries.get(&key.to_string());
        match entry::read(&self.entry_folder(key), key) {
            Ok(Some(entry)) if expected.is_some_and(|expected| *expected != entry.proof.library_digest()) => {
                self.set_aside(key)?;
                let fault = "it holds another library than was built under this key".to_owned();
                Ok(Lookup::Miss(MissReason::Damaged { fault }))
            }
            Ok(Some(mut entry)) => {
                self.touch(key);
                self.remember(name, ingredients);
                entry.fetched_from = record.fetched_from.get(&key.to_string()).cloned();
                Ok(Lookup::Hit(Box::new(entry)))
            }
            Ok(None) => {
                let labels = keys_that_differ(&record.dependencies, &today);
                let headers = MissReason::HeadersChanged { labels: labels.clone() };
                Ok(Lookup::Miss(if labels.is_empty() { MissReason::Removed } else { headers }))
            }
            Err(fault) => {
                self.set_aside(key)?;
                Ok(Lookup::Miss(MissReason::Damaged { fault: fault.to_string() }))
            }
        }
    }

    /// Where builds happen: below it, each makes a folder of its own.
    pub fn scratch(&self) -> PathBuf {
        self.staging_root()
    }

    /// Waits for the right to build a plan.
    pub fn lock(
        &self,
        plan: PlanKey,
        patience: Duration,
        waiting: impl FnOnce(),
    ) -> Result<PlanLock, CacheError> {
        PlanLock::acquire(&self.root.join("locks").join(format!("{plan}.lock")), patience, waiting)
    }

    /// Makes a private folder on the cache's own file system; a dead process's is swept by `gc`.
    pub(super) fn stage(&self) -> Result<Staging, CacheError> {
        Staging::new(&self.staging_root())
    }

    /// Puts a proven build in: all of it or nothing.
    pub fn insert(&self, _right: &PlanLock, build: &Insertion<'_>) -> Result<Inserted, CacheError> {
        let Insertion { name, ingredients, dependencies, proof, fetched_from, .. } = build;
        let _use = UseLock::take(&self.root, Use::Shared);
        let plan = ingredients.plan_key();
        let key = plan.with(dependencies);
        let staging = self.stage()?;
        let whole = staging.path().join("entry");
        fs::create_dir(&whole).map_err(CacheError::io("create", &whole))?;
        entry::write(&whole, key, build)?;
        let folder = self.entry_folder(key);
        let earlier = entry::read(&folder, key).ok().flatten().map(|entry| entry.proof.library_digest());
        let disagrees_with = earlier.filter(|earlier| *earlier != proof.library_digest());
        if earlier.is_none() || disagrees_with.is_some() {
            self.set_aside(key)?;
            put_in_place(&whole, &folder)?;
        }
        let mut record = self.plan_record(plan).unwrap_or_default();
        record.dependencies = (*dependencies).clone();
        record.libraries.insert(key.to_string(), proof.library_digest());
        match fetched_from {
            Some(fetched_from) => record.fetched_from.insert(key.to_string(), (*fetched_from).clone()),
            None => record.fetched_from.remove(&key.to_string()),
        };
        self.replace(&self.plan_path(plan), &record)?;
        self.replace(&self.name_path(name), ingredients)?;
        match entry::read(&folder, key) {
            Ok(Some(mut entry)) => {
                entry.fetched_from = fetched_from.cloned();
                Ok(Inserted { entry, disagrees_with })
            }
            Ok(None) | Err(_) => Err(CacheError::Io {
                action: "read back",
                path: folder,
                source: std::io::Error::other("the entry is not what was written"),
            }),
        }
    }

    /// Moves an entry out of the way, so that it can be looked at until `gc` sweeps it.
    pub(super) fn set_aside(&self, key: Key) -> Result<(), CacheError> {
        let folder = self.entry_folder(key);
        if !folder.exists() {
            return Ok(());
        }
        let staging = self.staging_root();
        fs::create_dir_all(&staging).map_err(CacheError::io("create", &staging))?;
        let aside = tempfile::Builder::new().prefix(SET_ASIDE_PREFIX).tempdir_in(&staging);
        let aside = aside.map_err(CacheError::io("create a folder in", &staging))?.keep();
        match fs::rename(&folder, aside.join("entry")) {
            // Somebody else was faster.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            outcome => outcome.map_err(CacheError::io("set aside", &folder)),
        }
    }

    /// Replaces a small file by rename.
    pub(super) fn replace(&self, path: &Path, content: &impl Serialize) -> Result<(), CacheError> {
        let folder = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(folder).map_err(CacheError::io("create", folder))?;
        let staging = self.staging_root();
        fs::create_dir_all(&staging).map_err(CacheError::io("create", &staging))?;
        let text = serde_json::to_vec_pretty(content).expect("texts and digests always serialise");
        let file = NamedTempFile::new_in(&staging).map_err(CacheError::io("create a file in", &staging))?;
        entry::write_durably(file.path(), &text)?;
        match file.persist(path) {
            Ok(_) => Ok(()),
            Err(error) => Err(CacheError::io("write", path)(error.error)),
        }
    }

    /// Remembers what was last built under a name, if that is news. A cache that cannot be written is
    /// still a cache: the next miss is explained worse.
    fn remember(&self, name: &BuildName, ingredients: &Ingredients) {
        if self.last_build(name).as_ref() != Some(ingredients) {
            let _ = self.replace(&self.name_path(name), ingredients);
        }
    }

    /// Remembers the use for `gc`. A cache that cannot be written is still a cache.
    fn touch(&self, key: Key) {
        let library = self.entry_folder(key).join(LIBRARY_NAME);
        if let Ok(file) = regular_file::open(&library, fs::File::options().read(true)) {
            let _ = file.set_modified(SystemTime::now());
        }
    }

    /// A record that cannot be read is as good as none: the build is done again.
    fn plan_record(&self, plan: PlanKey) -> Option<PlanRecord> {
        serde_json::from_slice(&regular_file::read(&self.plan_path(plan), MOST_RECORD_BYTES).ok()?).ok()
    }

    fn last_build(&self, name: &BuildName) -> Option<Ingredients> {
        serde_json::from_slice(&regular_file::read(&self.name_path(name), MOST_RECORD_BYTES).ok()?).ok()
    }

    pub(super) fn entry_folder(&self, key: Key) -> PathBuf {
        sharded(&self.root.join("entries"), &key.to_string(), "")
    }

    fn plan_path(&self, plan: PlanKey) -> PathBuf {
        sharded(&self.root.join("plans"), &plan.to_string(), ".json")
    }

    fn name_path(&self, name: &BuildName) -> PathBuf {
        sharded(&self.root.join("names"), &name.digest().to_string(), ".json")
    }

    pub(super) fn staging_root(&self) -> PathBuf {
        self.root.join("staging")
    }
}

/// Renames a whole entry into place. Where locks hold per machine only, another builder may
/// have been first: then its entry stays.
fn put_in_place(whole: &Path, folder: &Path) -> Result<(), CacheError> {
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent).map_err(CacheError::io("create", parent))?;
    }
    match fs::rename(whole, folder) {
        Err(_) if folder.join(LIBRARY_NAME).is_file() => Ok(()),
        outcome => outcome.map_err(CacheError::io("move an entry to", folder)),
    }
}

/// Spreads names over 256 folders: some file systems slow down in large ones.
pub(super) fn sharded(folder: &Path, name: &str, suffix: &str) -> PathBuf {
    folder.join(&name[..2]).join(format!("{name}{suffix}"))
}
