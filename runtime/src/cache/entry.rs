//! One proven build on disk, checked whenever it is read.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use proofmark_packager::Digest;
use serde::{Deserialize, Serialize};

use super::error::CacheError;
use super::fetched_from::FetchedFrom;
use super::key::{BuildName, Ingredients, Key};
use crate::build::Dependencies;
use crate::proof::{Proof, RecordedProof};
use crate::regular_file;

/// The compiled library.
pub(super) const LIBRARY_NAME: &str = "library.so";
const LOG_NAME: &str = "build.log";
const ENTRY_NAME: &str = "entry.json";
const PROOF_NAME: &str = "proof.json";
const SUMS_NAME: &str = "SHA256SUMS";

/// No file of an entry is larger: a build may not write larger ones either.
const MOST_FILE_BYTES: u64 = 1 << 30;

/// What `SHA256SUMS` covers, in its order.
const COVERED: [&str; 4] = [LOG_NAME, ENTRY_NAME, LIBRARY_NAME, PROOF_NAME];

const FORMAT: &str = "proofmark.cache-entry";
const VERSION: u32 = 2;

/// A proven build on its way into the cache.
#[derive(Debug)]
pub struct Insertion<'a> {
    /// Whose build it is.
    pub name: &'a BuildName,
    /// What went in.
    pub ingredients: &'a Ingredients,
    /// The headers that went in.
    pub dependencies: &'a Dependencies,
    /// What came out.
    pub library: &'a [u8],
    /// The compiler's words.
    pub log: &'a str,
    /// Why it is what was asked for: nothing enters without.
    pub proof: &'a Proof,
    /// Who built it, if it was not built here.
    pub fetched_from: Option<&'a FetchedFrom>,
}

/// What `entry.json` says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    format: String,
    version: u32,
    key: Key,
    first_built_as: BuildName,
    ingredients: Ingredients,
    dependencies: Dependencies,
}

/// What a reader of any version can read of `entry.json`.
#[derive(Debug, Deserialize)]
struct Head {
    #[serde(default)]
    format: String,
    #[serde(default)]
    version: u64,
}

/// A build that was re-hashed and proven again when it was read.
#[derive(Debug)]
pub struct CacheEntry {
    /// Its name in the cache.
    pub key: Key,
    /// Where the library stands.
    pub library: PathBuf,
    /// The library's bytes.
    pub library_bytes: Vec<u8>,
    /// The compiler's words.
    pub log: String,
    /// The submission that it was first built for.
    pub first_built_as: BuildName,
    /// What went into the build.
    pub ingredients: Ingredients,
    /// The headers that went into it.
    pub dependencies: Dependencies,
    /// Why the library is what was asked for.
    pub proof: Proof,
    /// Who built it, if it was not built here. An entry that is read by its key alone does not say.
    pub fetched_from: Option<FetchedFrom>,
}

/// What is wrong with an entry on disk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryFault {
    /// A file is not there or cannot be read.
    #[error("`{file}` cannot be read: {reason}")]
    Unreadable {
        /// The file's name.
        file: String,
        /// The system's or the parser's reason.
        reason: String,
    },
    /// A file does not have the digest that it had when it was written.
    #[error("`{file}` was changed: expected {expected}, found {found}")]
    Changed {
        /// The file's name.
        file: String,
        /// The digest in `SHA256SUMS`.
        expected: String,
        /// The digest of today.
        found: String,
    },
    /// Another version of this program wrote it.
    #[error("it has format `{format}` version {found}: this proofmark reads `{FORMAT}` version {VERSION}")]
    Version {
        /// The format as found.
        format: String,
        /// The version as found.
        found: u64,
    },
    /// The entry describes another build than its name says.
    #[error("it describes the build {found}")]
    Misplaced {
        /// The key that its ingredients give.
        found: String,
    },
    /// The library no longer proves what was recorded.
    #[error("its proof does not hold: {reason}")]
    Unproven {
        /// The prover's reason.
        reason: String,
    },
}

/// Writes a whole entry into an empty folder.
pub(super) fn write(folder: &Path, key: Key, build: &Insertion<'_>) -> Result<(), CacheError> {
    let Insertion { name, ingredients, dependencies, library, log, proof, fetched_from: _ } = build;
    let description = Description {
        format: FORMAT.to_owned(),
        version: VERSION,
        key,
        first_built_as: (*name).clone(),
        ingredients: (*ingredients).clone(),
        dependencies: (*dependencies).clone(),
    };
    let description = serde_json::to_vec_pretty(&description).expect("texts and digests always serialise");
    let proof = serde_json::to_vec_pretty(proof).expect("texts and digests always serialise");
    let contents: [&[u8]; 4] = [log.as_bytes(), &description, library, &proof];
    let mut sums = String::new();
    for (name, content) in COVERED.into_iter().zip(contents) {
        write_durably(&folder.join(name), content)?;
        sums.push_str(&format!("{}  {name}\n", Digest::of_bytes(content)));
    }
    write_durably(&folder.join(SUMS_NAME), sums.as_bytes())
}

/// Writes and syncs, so that the rename that follows never shows an empty file after a crash.
pub(super) fn write_durably(path: &Path, content: &[u8]) -> Result<(), CacheError> {
    fs::write(path, content).map_err(CacheError::io("write", path))?;
    let file = fs::File::open(path).map_err(CacheError::io("open", path))?;
    file.sync_all().map_err(CacheError::io("sync", path))
}

/// Reads an entry and checks every byte of it. `Ok(None)` if there is none.
pub(super) fn read(folder: &Path, key: Key) -> Result<Option<CacheEntry>, EntryFault> {
    if !folder.is_dir() {
        return Ok(None);
    }
    let mut files = checked_files(folder)?;
    let mut take = |name: &str| files.remove(name).unwrap_or_default();
    let unreadable = |file: &str| {
        let file = file.to_owned();
        move |error: serde_json::Error| EntryFault::Unreadable { file, reason: error.to_string() }
    };
    let description = take(ENTRY_NAME);
    let head: Head = serde_json::from_slice(&description).map_err(unreadable(ENTRY_NAME))?;
    if head.format != FORMAT || head.version != u64::from(VERSION) {
        return Err(EntryFault::Version { format: head.format, found: head.version });
    }
    let description: Description = serde_json::from_slice(&description).map_err(unreadable(ENTRY_NAME))?;
    let found = description.ingredients.plan_key().with(&description.dependencies);
    if found != key {
        return Err(EntryFault::Misplaced { found: found.to_string() });
    }
    let recorded: RecordedProof =
        serde_json::from_slice(&take(PROOF_NAME)).map_err(unreadable(PROOF_NAME))?;
    let library_bytes = take(LIBRARY_NAME);
    let proof = recorded
        .recheck(&library_bytes)
        .map_err(|error| EntryFault::Unproven { reason: error.to_string() })?;
    if proof.arch() != description.ingredients.gencode.real_arch {
        return Err(EntryFault::Unproven { reason: format!("it proves {}", proof.arch()) });
    }
    Ok(Some(CacheEntry {
        key,
        library: folder.join(LIBRARY_NAME),
        library_bytes,
        log: String::from_utf8_lossy(&take(LOG_NAME)).into_owned(),
        first_built_as: description.first_built_as,
        ingredients: description.ingredients,
        dependencies: description.dependencies,
        proof,
        fetched_from: None,
    }))
}

/// Reads the covered files and compares each with `SHA256SUMS`.
fn checked_files(folder: &Path) -> Result<BTreeMap<&'static str, Vec<u8>>, EntryFault> {
    let read = |name: &str| {
        let unreadable =
            |error: io::Error| EntryFault::Unreadable { file: name.to_owned(), reason: error.to_string() };
        let path = folder.join(name);
        regular_file::read(&path, MOST_FILE_BYTES).map_err(unreadable)
    };
    let mut files = BTreeMap::new();
    let mut expected_sums = String::new();
    let sums = read(SUMS_NAME)?;
    let claimed: BTreeMap<String, String> = String::from_utf8_lossy(&sums)
        .lines()
        .filter_map(|line| line.split_once("  ").map(|(sum, name)| (name.to_owned(), sum.to_owned())))
        .collect();
    for name in COVERED {
        let content = read(name)?;
        let found = Digest::of_bytes(&content).to_string();
        let expected = claimed.get(name).cloned().unwrap_or_default();
        if found != expected {
            return Err(EntryFault::Changed { file: name.to_owned(), expected, found });
        }
        expected_sums.push_str(&format!("{found}  {name}\n"));
        files.insert(name, content);
    }
    if expected_sums.as_bytes() != sums {
        let (expected, found) = (Digest::of_bytes(expected_sums.as_bytes()), Digest::of_bytes(&sums));
        return Err(EntryFault::Changed {
            file: SUMS_NAME.to_owned(),
            expected: expected.to_string(),
            found: found.to_string(),
        });
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_in_the_place_of_a_file_is_a_fault_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(SUMS_NAME), "").unwrap();
        let pipe = folder.path().join(COVERED[0]);
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let fault = checked_files(folder.path()).unwrap_err();
        assert!(matches!(&fault, EntryFault::Unreadable { file, .. } if file == COVERED[0]), "{fault}");
    }
}
