//! The folder where results meet: claims, attempts, outcomes.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use proofmark_packager::Digest;
use proofmark_packager::json::{self, Budget};
use serde_json::Value;

use super::attempt::{self, Attempt, AttemptEnd, AttemptStart};
use crate::regular_file;

/// The folder of outcomes.
const OUTCOMES: &str = "outcomes";
/// The folder of attempts.
const ATTEMPTS: &str = "attempts";
/// The folder of finished workloads.
const RECORDS: &str = "records";
/// How the name of an outcome starts that is being written.
const PARTIAL_PREFIX: &str = ".partial-";
/// Largest outcome, in bytes: raw samples of a thousand workloads are a tenth of it.
const LARGEST_OUTCOME_BYTES: u64 = 256 << 20;
/// Largest file of attempts, in bytes: a line takes 300.
const LARGEST_ATTEMPTS_BYTES: u64 = 16 << 20;

/// Why results cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ResultsError {
    /// The system refused.
    #[error("cannot {action} {}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file stands where an outcome does, and is none.
    #[error("{} is no outcome: {reason}", path.display())]
    NoOutcome {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// How far a shard is.
#[derive(Debug, Clone, PartialEq)]
pub enum ShardState {
    /// There is an outcome.
    Finished(Box<Value>),
    /// Somebody does it now.
    Running,
    /// The last attempt ended without an outcome.
    Ended(AttemptEnd),
    /// The last attempt was killed, or its machine died.
    Lost,
    /// Nobody tried.
    Untried,
}

/// A folder of results.
#[derive(Debug, Clone)]
pub struct Results {
    folder: PathBuf,
}

/// The right to do a shard: nobody else has it while this lives.
#[derive(Debug)]
#[must_use]
pub struct ShardClaim<'a> {
    results: &'a Results,
    shard: Digest,
    file: File,
}

/// What became of an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// It stands there now.
    New,
    /// Another stood there before, and stays.
    Known,
}

impl Results {
    /// Opens a folder; one that is not there is made.
    pub fn open(folder: &Path) -> Result<Self, ResultsError> {
        for name in [OUTCOMES, ATTEMPTS, RECORDS] {
            let path = folder.join(name);
            fs::create_dir_all(&path).map_err(failed("make", &path))?;
        }
        Ok(Self::look(folder))
    }

    /// Looks at a folder that may not be there.
    pub fn look(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the finished workloads of a shard are kept until it has an outcome.
    pub fn record(&self, shard: Digest) -> PathBuf {
        self.folder.join(RECORDS).join(format!("{shard}.jsonl"))
    }

    /// Where what attempts say is kept.
    pub fn talk(&self, shard: Digest) -> PathBuf {
        self.folder.join(ATTEMPTS).join(format!("{shard}.log"))
    }

    /// Where the outcome of a shard stands.
    pub(super) fn outcome_path(&self, shard: Digest) -> PathBuf {
        self.folder.join(OUTCOMES).join(format!("{shard}.json"))
    }

    fn attempts_path(&self, shard: Digest) -> PathBuf {
        self.folder.join(ATTEMPTS).join(format!("{shard}.jsonl"))
    }

    /// Whether a shard has an outcome; one that does not read is an error, and never done over silently.
    pub fn outcome(&self, shard: Digest) -> Result<Option<Value>, ResultsError> {
        let path = self.outcome_path(shard);
        let bytes = match regular_file::read(&path, LARGEST_OUTCOME_BYTES) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(failed("read", &path)(source)),
        };
        let no = |reason: String| ResultsError::NoOutcome { path: path.clone(), reason };
        let text = String::from_utf8(bytes).map_err(|error| no(error.to_string()))?;
        let document: Value = json::parse(&text, Budget::SAMPLES).map_err(|error| no(error.to_string()))?;
        match document["schema"].as_str() {
            Some("proofmark.outcome") => Ok(Some(document)),
            _ => Err(no(format!("schema is {}", document["schema"]))),
        }
    }

    /// How far a shard is.
    pub fn state(&self, shard: Digest) -> Result<ShardState, ResultsError> {
        if let Some(outcome) = self.outcome(shard)? {
            return Ok(ShardState::Finished(Box::new(outcome)));
        }
        let path = self.attempts_path(shard);
        match regular_file::open(&path, File::options().read(true)) {
            Ok(file) if matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)) => {
                return Ok(ShardState::Running);
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(ShardState::Untried),
            Err(source) => return Err(failed("open", &path)(source)),
        }
        // Whoever had it may have finished in between.
        if let Some(outcome) = self.outcome(shard)? {
            return Ok(ShardState::Finished(Box::new(outcome)));
        }
        Ok(match self.attempts(shard)?.pop() {
            None => ShardState::Untried,
            Some(Attempt { ended: Some(ended), .. }) => ShardState::Ended(ended),
            Some(Attempt { ended: None, .. }) => ShardState::Lost,
        })
    }

    /// Every attempt at a shard, the first one first.
    pub fn attempts(&self, shard: Digest) -> Result<Vec<Attempt>, ResultsError> {
        let path = self.attempts_path(shard);
        match regular_file::read(&path, LARGEST_ATTEMPTS_BYTES) {
            Ok(bytes) => Ok(attempt::read(&String::from_utf8_lossy(&bytes))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(source) => Err(failed("read", &path)(source)),
        }
    }

    /// Takes a shard, unless somebody else has it.
    pub fn claim(&self, shard: Digest) -> Result<Option<ShardClaim<'_>>, ResultsError> {
        let path = self.attempts_path(shard);
        let mut options = File::options();
        let file = regular_file::open(&path, options.read(true).append(true).create(true));
        let file = file.map_err(failed("open", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(ShardClaim { results: self, shard, file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(source)) => Err(failed("lock", &path)(source)),
        }
    }
}

impl ShardClaim<'_> {
    /// Writes down that an attempt begins, on the disk when this returns.
    pub fn begin(&mut self, begun: &AttemptStart) -> Result<(), ResultsError> {
        self.append(&begun.to_line())
    }

    /// Writes down how it ended.
    pub fn end(&mut self, ended: &AttemptEnd) -> Result<(), ResultsError> {
        self.append(&ended.to_line())
    }

    fn append(&mut self, line: &str) -> Result<(), ResultsError> {
        let path = self.results.attempts_path(self.shard);
        let mut write = || {
            // A line that was torn by a full disk or a dead machine ends here, and counts for nothing.
            let length = self.file.seek(SeekFrom::End(0))?;
            let mut last = [b'\n'];
            if length > 0 {
                self.file.seek(SeekFrom::End(-1))?;
                self.file.read_exact(&mut last)?;
            }
            let start = if last == [b'\n'] { "" } else { "\n" };
            self.file.write_all(format!("{start}{line}\n").as_bytes())?;
            self.file.sync_data()
        };
        write().map_err(failed("write", &path))
    }

    /// Puts an outcome where everybody finds it: whole, on the disk when this returns, and never instead of
    /// another.
    pub fn publish(&self, document: &[u8]) -> Result<Published, ResultsError> {
        let path = self.results.outcome_path(self.shard);
        let folder = self.results.folder.join(OUTCOMES);
        let write = || {
            let mut file = tempfile::Builder::new().prefix(PARTIAL_PREFIX).tempfile_in(&folder)?;
            file.write_all(document)?;
            file.as_file().sync_all()?;
            let published = match file.persist_noclobber(&path) {
                Ok(_) => Published::New,
                Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Published::Known,
                Err(error) => return Err(error.error),
            };
            File::open(&folder)?.sync_all()?;
            Ok(published)
        };
        let published = write().map_err(failed("write", &path))?;
        // The outcome holds all of it.
        let _ = fs::remove_file(self.results.record(self.shard));
        Ok(published)
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ResultsError {
    let path = path.to_owned();
    move |source| ResultsError::File { action, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard() -> Digest {
        Digest::of_bytes(b"shard")
    }

    fn begun() -> AttemptStart {
        AttemptStart::now(None)
    }

    fn outcome(text: &str) -> Vec<u8> {
        format!(r#"{{"schema": "proofmark.outcome", "verdict": "{text}"}}"#).into_bytes()
    }

    #[test]
    fn an_outcome_stands_once_and_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let results = Results::open(folder.path()).unwrap();
        assert_eq!(results.state(shard()).unwrap(), ShardState::Untried);
        let mut claim = results.claim(shard()).unwrap().unwrap();
        claim.begin(&begun()).unwrap();
        assert_eq!(claim.publish(&outcome("first")).unwrap(), Published::New);
        assert_eq!(claim.publish(&outcome("second")).unwrap(), Published::Known);
        drop(claim);
        let ShardState::Finished(found) = results.state(shard()).unwrap() else { panic!("it is finished") };
        assert_eq!(found["verdict"], "first");
        assert_eq!(fs::read_dir(folder.path().join(OUTCOMES)).unwrap().count(), 1, "nothing is left beside");
    }

    #[test]
    fn a_shard_has_one_worker_and_whoever_dies_gives_it_back() {
        let folder = tempfile::tempdir().unwrap();
        let results = Results::open(folder.path()).unwrap();
        let mut claim = results.claim(shard()).unwrap().unwrap();
        claim.begin(&begun()).unwrap();
        assert!(results.claim(shard()).unwrap().is_none());
        assert_eq!(results.state(shard()).unwrap(), ShardState::Running);
        drop(claim);
        assert_eq!(results.state(shard()).unwrap(), ShardState::Lost);
        let mut claim = results.claim(shard()).unwrap().unwrap();
        claim.begin(&begun()).unwrap();
        let ended = AttemptEnd::now(1.0, 3, Some("no GPU".to_owned()));
        claim.end(&ended).unwrap();
        drop(claim);
        assert_eq!(results.state(shard()).unwrap(), ShardState::Ended(ended));
        assert_eq!(results.attempts(shard()).unwrap().len(), 2);
    }

    #[test]
    fn a_torn_line_counts_for_nothing_and_costs_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let results = Results::open(folder.path()).unwrap();
        results.claim(shard()).unwrap().unwrap().begin(&begun()).unwrap();
        let path = results.attempts_path(shard());
        let whole = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{whole}{}", &whole[..whole.len() / 2])).unwrap();
        let mut claim = results.claim(shard()).unwrap().unwrap();
        claim.begin(&begun()).unwrap();
        claim.end(&AttemptEnd::now(0.5, 0, None)).unwrap();
        drop(claim);
        let attempts = results.attempts(shard()).unwrap();
        assert_eq!(attempts.iter().map(|one| one.ended.is_some()).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn a_file_that_is_no_outcome_is_named_and_not_done_over() {
        let folder = tempfile::tempdir().unwrap();
        let results = Results::open(folder.path()).unwrap();
        for text in ["", "{", "{}", r#"{"schema": "proofmark.error"}"#] {
            fs::write(results.outcome_path(shard()), text).unwrap();
            let refused = results.state(shard()).unwrap_err().to_string();
            assert!(refused.contains("is no outcome"), "{refused}");
        }
    }
}
