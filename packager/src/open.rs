//! Opens whatever a user points at: an artifact, a `solution.json` or a submission folder.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::Evidence;
use crate::artifact::Artifact;
use crate::bundle::{self, Bundle, BundleError};
use crate::escape;
use crate::format::LARGEST_SOLUTION_BYTES;
use crate::interop::Invalid;
use crate::interop::flashinfer::solution::{self, SolutionError};
use crate::interop::solexec;
use crate::submission::{self, FolderContents, Note, SubmissionError, Violations};

/// What the path turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum InputKind {
    /// A zip that Proofmark wrote.
    Artifact,
    /// A `solution.json` of FlashInfer-Bench or of SOL-ExecBench.
    SolutionJson,
    /// A folder with a `config.toml`.
    Submission,
}

/// An opened input: a validated artifact, whatever it came from.
#[derive(Debug, Clone)]
pub struct Opened {
    /// What the path was.
    pub origin: InputKind,
    /// The artifact and, if it was sealed, its evidence.
    pub bundle: Bundle,
    /// What the packer did on the way in.
    pub notes: Vec<Note>,
}

/// Why a path could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file system refused.
    #[error("cannot read {}", path.display())]
    Io {
        /// The path as given.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A pipe, socket or device.
    #[error("{} is neither a file nor a folder", path.display())]
    Special {
        /// The path as given.
        path: PathBuf,
    },
    /// A file of another kind.
    #[error("{} is none of: an artifact (zip), a solution.json, a submission folder", path.display())]
    Unknown {
        /// The path as given.
        path: PathBuf,
    },
    /// A file that is larger than anything we read.
    #[error("{} is {found_bytes} bytes: expected at most {most_bytes}", path.display())]
    TooLarge {
        /// The path as given.
        path: PathBuf,
        /// Its size in bytes.
        found_bytes: u64,
        /// The limit in bytes.
        most_bytes: u64,
    },
    /// A folder of several submissions, and none was named.
    #[error("{} holds {} submissions: {}", path.display(), found.len(), found.join(", "))]
    Several {
        /// The path as given.
        path: PathBuf,
        /// The sub-folders' names.
        found: Vec<String>,
    },
    /// The artifact is not valid.
    #[error("{}", path.display())]
    Bundle {
        /// The path as given.
        path: PathBuf,
        /// What is wrong.
        source: BundleError,
    },
    /// The `solution.json` is not valid.
    #[error("{}", path.display())]
    Solution {
        /// The path as given.
        path: PathBuf,
        /// What is wrong.
        source: SolutionError,
    },
    /// The `solution.json` of SOL-ExecBench is not valid.
    #[error("{}", path.display())]
    SolExecBench {
        /// The path as given.
        path: PathBuf,
        /// Every violation.
        source: Invalid,
    },
    /// The folder is not a valid submission.
    #[error(transparent)]
    Submission(#[from] SubmissionError),
}

/// Opens one input.
pub fn open(path: &Path) -> Result<Opened, OpenError> {
    let metadata = fs::metadata(path).map_err(|source| OpenError::Io { path: path.to_owned(), source })?;
    if metadata.is_dir() {
        return match submission::find(path)?.as_slice() {
            [one] => open_folder(one),
            several => Err(OpenError::Several { path: path.to_owned(), found: names_of(several) }),
        };
    }
    if !metadata.is_file() {
        return Err(OpenError::Special { path: path.to_owned() });
    }
    open_file(path)
}

/// Reads the submission in one folder.
fn open_folder(folder: &Path) -> Result<Opened, OpenError> {
    let FolderContents { submission, notes } = submission::read(folder)?;
    let artifact = Artifact::pack(submission).map_err(|violations: Violations| SubmissionError::Invalid {
        folder: folder.to_owned(),
        violations,
    })?;
    Ok(Opened { origin: InputKind::Submission, bundle: bare(artifact), notes })
}

fn open_file(path: &Path) -> Result<Opened, OpenError> {
    let bytes = read_bounded(path)?;
    if bytes.starts_with(b"PK") {
        let bundle =
            bundle::read(&bytes).map_err(|source| OpenError::Bundle { path: path.to_owned(), source })?;
        return Ok(Opened { origin: InputKind::Artifact, bundle, notes: Vec::new() });
    }
    let text = String::from_utf8(bytes).map_err(|_| OpenError::Unknown { path: path.to_owned() })?;
    if !text.trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']).starts_with('{') {
        return Err(OpenError::Unknown { path: path.to_owned() });
    }
    if solexec::solution::is_one(&text) {
        let read = solexec::solution::read(&text);
        let solexec::solution::ReadSolution { artifact, notes } =
            read.map_err(|source| OpenError::SolExecBench { path: path.to_owned(), source })?;
        let read_as = "read as a solution of NVIDIA SOL-ExecBench".to_owned();
        let notes = noted(path, std::iter::once(read_as).chain(notes));
        return Ok(Opened { origin: InputKind::SolutionJson, bundle: bare(artifact), notes });
    }
    let artifact =
        solution::read(&text).map_err(|source| OpenError::Solution { path: path.to_owned(), source })?;
    let notes = noted(path, solution::unread(&artifact).into_iter());
    Ok(Opened { origin: InputKind::SolutionJson, bundle: bare(artifact), notes })
}

/// Notes about a file, by its own name.
fn noted(path: &Path, what: impl Iterator<Item = String>) -> Vec<Note> {
    let name = escape::line(&path.file_name().unwrap_or_default().to_string_lossy());
    what.map(|what| Note { path: name.clone(), what }).collect()
}

fn bare(artifact: Artifact) -> Bundle {
    Bundle { artifact, evidence: Evidence::default() }
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, OpenError> {
    let unreadable = |source| OpenError::Io { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(unreadable)?;
    let mut head = [0; 2];
    let head_bytes = file.read(&mut head).map_err(unreadable)?;
    let most_bytes = if &head == b"PK" { bundle::LARGEST_ARCHIVE_BYTES } else { LARGEST_SOLUTION_BYTES };
    let found_bytes = file.metadata().map_err(unreadable)?.len();
    if found_bytes > most_bytes {
        return Err(OpenError::TooLarge { path: path.to_owned(), found_bytes, most_bytes });
    }
    let mut bytes = head[..head_bytes].to_vec();
    file.take(most_bytes).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

fn names_of(folders: &[PathBuf]) -> Vec<String> {
    let name = |folder: &PathBuf| escape::line(&folder.file_name().unwrap_or_default().to_string_lossy());
    folders.iter().map(name).collect()
}
