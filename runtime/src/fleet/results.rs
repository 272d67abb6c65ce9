//! The folder where results meet: claims, attempts, outcomes.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use proofmark_packager::Digest;
use proofmark_packager::json::{self, Budget};
use serde_json::Value;

use super::answer;
use super::attempt::{self, Attempt, AttemptEnd, AttemptOutcome, AttemptStart};
use crate::job::outcome;
use crate::regular_file;

/// The folder of outcomes.
const OUTCOMES: &str = "outcomes";
/// The folder of attempts.
const ATTEMPTS: &str = "attempts";
/// The folder of finished workloads.
const RECORDS: &str = "records";
/// The folder of scripts for a cluster.
const SLURM: &str = "slurm";
/// How the name of an outcome starts that is being written.
const PARTIAL_PREFIX: &str = ".partial-";
/// Largest outcome, in bytes: raw samples of a thousand workloads are half of it, and as many values as are read of
/// one take less.
const LARGEST_OUTCOME_BYTES: u64 = 64 << 20;
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
    /// A part of the folder is a link, or no folder: what is written there would come to lie elsewhere.
    #[error("cannot use {}", path.display())]
    Folder {
        /// The part.
        path: PathBuf,
        /// What stands there.
        source: io::Error,
    },
    /// The outcome is larger than any that is read.
    #[error("the outcome takes {found_bytes} bytes: at most {LARGEST_OUTCOME_BYTES} are kept")]
    TooLarge {
        /// How large it is.
        found_bytes: usize,
    },
}

/// What stands in a shard's place and counts for nothing, in words that name the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} {reason}", path.display())]
pub struct Fault {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// How far a shard is.
#[derive(Debug, Clone, PartialEq)]
pub enum ShardState {
    /// There is an outcome of its job.
    Finished(Box<Value>),
    /// What stands in the place of its outcome or of its attempts counts for nothing, and is never done over
    /// silently.
    Invalid(Fault),
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
        let results = Self::look(folder)?;
        for name in [OUTCOMES, ATTEMPTS, RECORDS] {
            let path = folder.join(name);
            fs::create_dir_all(&path).map_err(failed("make", &path))?;
        }
        Ok(results)
    }

    /// Looks at a folder that may not be there.
    pub fn look(folder: &Path) -> Result<Self, ResultsError> {
        for name in [OUTCOMES, ATTEMPTS, RECORDS, SLURM] {
            let path = folder.join(name);
            if let Err(source) = regular_file::require_folder(&path) {
                return Err(ResultsError::Folder { path, source });
            }
        }
        Ok(Self { folder: folder.to_owned() })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the finished workloads of a shard are kept until it has an outcome.
    pub fn record(&self, shard: Digest) -> Result<PathBuf, ResultsError> {
        let path = self.record_path(shard);
        match regular_file::open(&path, File::options().read(true)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("open", &path)(error)),
            _ => Ok(path),
        }
    }

    /// Where what attempts say is kept.
    pub fn talk(&self, shard: Digest) -> Result<File, ResultsError> {
        let path = self.folder.join(ATTEMPTS).join(format!("{shard}.log"));
        let opened = regular_file::open_own(&path, File::options().create(true).append(true));
        opened.map_err(failed("open", &path))
    }

    fn record_path(&self, shard: Digest) -> PathBuf {
        self.folder.join(RECORDS).join(format!("{shard}.jsonl"))
    }

    /// Where the outcome of a shard stands.
    pub(super) fn outcome_path(&self, shard: Digest) -> PathBuf {
        self.folder.join(OUTCOMES).join(format!("{shard}.json"))
    }

    pub(super) fn attempts_path(&self, shard: Digest) -> PathBuf {
        self.folder.join(ATTEMPTS).join(format!("{shard}.jsonl"))
    }

    /// The outcome of a shard, if it has one: a document of its job, as an attempt at it wrote it.
    fn outcome(&self, shard: Digest) -> Result<Option<Value>, Fault> {
        let path = self.outcome_path(shard);
        let no = |reason: String| Fault { path: path.clone(), reason: format!("is no outcome: {reason}") };
        let bytes = match regular_file::read(&path, LARGEST_OUTCOME_BYTES) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(no(error.to_string())),
        };
        let digest = Digest::of_bytes(&bytes);
        let text = String::from_utf8(bytes).map_err(|error| no(error.to_string()))?;
        json::check(text.as_bytes(), Budget::SAMPLES).map_err(|error| no(error.to_string()))?;
        json::check_names(&text).map_err(|error| no(error.to_string()))?;
        let document: Value = serde_json::from_str(&text).map_err(|error| no(error.to_string()))?;
        if document["schema"] != outcome::SCHEMA || document["schema_version"] != outcome::VERSION {
            let (schema, version) = (outcome::SCHEMA, outcome::VERSION);
            return Err(no(format!("its schema is another: expected `{schema}`, version {version}")));
        }
        if answer::job_of(&document) != Some(shard) {
            return Err(no("it answers another job".to_owned()));
        }
        if self.attempts(shard)?.iter().any(|one| one.outcome == Some(digest)) {
            return Ok(Some(document));
        }
        Err(no(format!("no attempt wrote it; {} names those that did", self.attempts_path(shard).display())))
    }

    /// Whether anything stands in the place of a shard's outcome.
    pub fn has_outcome(&self, shard: Digest) -> bool {
        self.outcome_path(shard).symlink_metadata().is_ok()
    }

    /// How far a shard is.
    pub fn state(&self, shard: Digest) -> ShardState {
        self.find_state(shard).unwrap_or_else(ShardState::Invalid)
    }

    fn find_state(&self, shard: Digest) -> Result<ShardState, Fault> {
        if let Some(outcome) = self.outcome(shard)? {
            return Ok(ShardState::Finished(Box::new(outcome)));
        }
        match self.open_attempts(shard)? {
            None => return Ok(ShardState::Untried),
            Some(file) if matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)) => {
                return Ok(ShardState::Running);
            }
            Some(_) => {}
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
    pub fn attempts(&self, shard: Digest) -> Result<Vec<Attempt>, Fault> {
        let path = self.attempts_path(shard);
        match regular_file::read(&path, LARGEST_ATTEMPTS_BYTES) {
            Ok(bytes) => Ok(attempt::read(&String::from_utf8_lossy(&bytes))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(no_attempts(path, &error)),
        }
    }

    fn open_attempts(&self, shard: Digest) -> Result<Option<File>, Fault> {
        let path = self.attempts_path(shard);
        match regular_file::open(&path, File::options().read(true)) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(no_attempts(path, &error)),
        }
    }

    /// Takes a shard, unless somebody else has it.
    pub fn claim(&self, shard: Digest) -> Result<Option<ShardClaim<'_>>, ResultsError> {
        let path = self.attempts_path(shard);
        let mut options = File::options();
        let file = regular_file::open_own(&path, options.read(true).append(true).create(true));
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

    /// Writes down which outcome it is about to publish.
    fn announce(&mut self, document: &[u8]) -> Result<(), ResultsError> {
        self.append(&AttemptOutcome { outcome_sha256: Digest::of_bytes(document) }.to_line())
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
    /// another. The attempt names it first: what stands there then and is no outcome of an attempt is found.
    pub fn publish(&mut self, document: &[u8]) -> Result<Published, ResultsError> {
        if document.len() as u64 > LARGEST_OUTCOME_BYTES {
            return Err(ResultsError::TooLarge { found_bytes: document.len() });
        }
        if self.results.has_outcome(self.shard) {
            return Ok(Published::Known);
        }
        self.announce(document)?;
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
        let _ = fs::remove_file(self.results.record_path(self.shard));
        Ok(published)
    }
}

fn no_attempts(path: PathBuf, error: &io::Error) -> Fault {
    Fault { path, reason: format!("is no file of attempts: {error}") }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ResultsError {
    let path = path.to_owned();
    move |source| ResultsError::File { action, path, source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::process::Command;

    use super::*;

    fn shard() -> Digest {
        Digest::of_bytes(b"shard")
    }

    fn begun() -> AttemptStart {
        AttemptStart::now(None)
    }

    fn outcome(text: &str) -> Vec<u8> {
        let job = shard();
        format!(r#"{{"schema":"proofmark.outcome","schema_version":1,"job":"{job}","verdict":"{text}"}}"#)
            .into_bytes()
    }

    fn finished(results: &Results) -> ShardClaim<'_> {
        let mut claim = results.claim(shard()).unwrap().unwrap();
        claim.begin(&begun()).unwrap();
        assert_eq!(claim.publish(&outcome("first")).unwrap(), Published::New);
        claim
    }

    #[test]
    fn an_outcome_stands_once_and_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let results = Results::open(folder.path()).unwrap();
        assert_eq!(results.state(shard()), ShardState::Untried);
        let mut claim = finished(&results);
        assert_eq!(claim.publish(&outcome("second")).unwrap(), Published::Known);
        drop(claim);
        // The second attempt announced another one, and the first one's stands.
        let mut claim = results.claim(shard()).unwrap().unwrap();
        claim.begin(&begun()).unwrap();
        assert_eq!(claim.publish(&outcome("third")).unwrap(), Published::Known);
        drop(claim);
        assert_eq!(fs::read(results.outcome_path(shard())).unwrap(), outcome("first"));
        assert_eq!(fs::read_dir(folder.path().join(OUTCOMES)).unwrap().count(), 1, "nothing is left beside");
    }

    #[test]
    fn a_shard_has_one_worker_and_whoever_dies_gives_it_back() {
        let folder = tempfile::tempdir().unwrap();
        let results = Results::open(folder.path()).unwrap();
        let mut claim = results.claim(shard()).unwrap().unwrap();
        claim.begin(&begun()).unwrap();
        assert!(results.claim(shard()).unwrap().is_none());
        assert_eq!(results.state(shard()), ShardState::Running);
        drop(claim);
        assert_eq!(results.state(shard()), ShardState::Lost);
        let mut claim = results.claim(shard()).unwrap().unwrap();
        claim.begin(&begun()).unwrap();
        let ended = AttemptEnd::now(1.0, 3, Some("no GPU".to_owned()));
        claim.end(&ended).unwrap();
        drop(claim);
        assert_eq!(results.state(shard()), ShardState::Ended(ended));
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
    fn whatever_is_no_outcome_of_an_attempt_at_this_job_is_named_and_not_done_over() {
        let text = String::from_utf8(outcome("first")).unwrap();
        let other = Digest::of_bytes(b"another shard").to_string();
        for (content, said) in [
            (String::new(), "EOF"),
            ("{".to_owned(), "EOF"),
            (r#"{"schema": "proofmark.error"}"#.to_owned(), "its schema is another"),
            (text.replace("\"schema_version\":1", "\"schema_version\":2"), "its schema is another"),
            (text.replace(&shard().to_string(), &other), "it answers another job"),
            (text.replace("first", "forged"), "no attempt wrote it"),
            (text.replace("{\"schema\"", "{\"verdict\":\"x\",\"schema\""), "twice"),
            ("\u{ff}".to_owned(), "expected value"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let results = Results::open(folder.path()).unwrap();
            drop(finished(&results));
            assert!(matches!(results.state(shard()), ShardState::Finished(_)));
            fs::write(results.outcome_path(shard()), &content).unwrap();
            let ShardState::Invalid(fault) = results.state(shard()) else { panic!("{content}") };
            assert!(fault.to_string().contains("is no outcome") && fault.reason.contains(said), "{fault}");
        }
    }

    #[test]
    fn pipes_links_and_folders_in_any_file_s_place_hold_nobody_up() {
        type Place = fn(&Results) -> PathBuf;
        type Plant = fn(&Path);
        let places: [(&str, Place); 2] = [
            ("outcome", |results| results.outcome_path(shard())),
            ("attempts", |results| results.attempts_path(shard())),
        ];
        let plants: [(&str, Plant); 3] = [
            ("pipe", |path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success())),
            ("link", |path| symlink("/dev/zero", path).unwrap()),
            ("folder", |path| fs::create_dir(path).unwrap()),
        ];
        for (what, place) in places {
            for (kind, plant) in plants {
                let folder = tempfile::tempdir().unwrap();
                let results = Results::open(folder.path()).unwrap();
                drop(finished(&results));
                let path = place(&results);
                fs::remove_file(&path).unwrap();
                plant(&path);
                let ShardState::Invalid(fault) = results.state(shard()) else { panic!("{what}: {kind}") };
                assert_eq!(fault.path, path, "{what}: {kind}: {fault}");
                assert_eq!(results.claim(shard()).is_err(), what == "attempts", "{what}: {kind}");
            }
        }
        for (kind, plant) in plants {
            let folder = tempfile::tempdir().unwrap();
            let results = Results::open(folder.path()).unwrap();
            plant(&results.record_path(shard()));
            plant(&folder.path().join(ATTEMPTS).join(format!("{}.log", shard())));
            assert!(results.record(shard()).is_err() && results.talk(shard()).is_err(), "{kind}");
        }
    }

    #[test]
    fn a_part_that_is_a_link_is_refused_and_nothing_is_written_where_it_leads() {
        for part in [OUTCOMES, ATTEMPTS, RECORDS, SLURM] {
            let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            symlink(elsewhere.path(), folder.path().join(part)).unwrap();
            let refused = Results::open(folder.path()).unwrap_err();
            assert!(matches!(refused, ResultsError::Folder { .. }), "{part}: {refused}");
            assert!(Results::look(folder.path()).is_err());
            assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0, "{part}");
        }
    }
}
