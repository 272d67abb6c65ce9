//! Opens whatever a user points at: an artifact, a `solution.json` or a submission folder.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use crate::Evidence;
use crate::artifact::Artifact;
use crate::bundle::{self, Bundle, BundleError};
use crate::escape;
use crate::format::LARGEST_SOLUTION_BYTES;
use crate::interop::Invalid;
use crate::interop::flashinfer::solution::{self, SolutionError};
use crate::interop::solexec;
use crate::json::{self, Budget};
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

/// What a file is that is none of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stranger {
    /// It holds nothing.
    Empty,
    /// It is text in another encoding, or no text: the offset of the first byte that is not UTF-8.
    NotUtf8(usize),
    /// A list of JSON, where one object is a solution.
    List,
    /// Text of another kind.
    Text,
}

impl fmt::Display for Stranger {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => formatter.write_str(": it is empty"),
            Self::NotUtf8(offset) => write!(formatter, ": byte {offset} is not UTF-8"),
            Self::List => formatter.write_str(": it holds a list, and a solution.json is one object"),
            Self::Text => Ok(()),
        }
    }
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
    #[error("{} is none of: an artifact (zip), a solution.json, a submission folder{found}", path.display())]
    Unknown {
        /// The path as given.
        path: PathBuf,
        /// What it is instead.
        found: Stranger,
    },
    /// A definition, which says what is to be computed and holds no kernel.
    #[error("{} is a definition: expected an artifact (zip), a solution.json or a submission folder", path.display())]
    Definition {
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

/// What a file of JSON is, for whoever looks for solutions among others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JsonFile {
    /// A solution, valid or not, of FlashInfer-Bench or of SOL-ExecBench.
    Solution,
    /// Something else.
    Other,
    /// Nobody can tell; why.
    Unknown(String),
}

/// Tells by its content what a file of JSON is: a solution has at least two of `definition`, `spec` and `sources`.
#[must_use]
pub fn json_file(path: &Path) -> JsonFile {
    let document = read_bounded(path).map_err(|error| match error {
        OpenError::TooLarge { found_bytes, most_bytes, .. } => {
            format!("it is {found_bytes} bytes: expected at most {most_bytes}")
        }
        OpenError::Io { source, .. } => format!("it cannot be read: {source}"),
        other => other.to_string(),
    });
    let document = document.and_then(|bytes| {
        let text = String::from_utf8(bytes).map_err(|_| "not JSON: it is no text".to_owned())?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        json::parse::<Value>(text, Budget::DOCUMENT).map_err(|error| error.to_string())
    });
    match document {
        Err(reason) => JsonFile::Unknown(reason),
        Ok(value) => {
            let has =
                [value["definition"].is_string(), value["spec"].is_object(), value["sources"].is_array()];
            if has.into_iter().filter(|has| *has).count() >= 2 { JsonFile::Solution } else { JsonFile::Other }
        }
    }
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
    let unknown = |found| OpenError::Unknown { path: path.to_owned(), found };
    let text = String::from_utf8(bytes)
        .map_err(|error| unknown(Stranger::NotUtf8(error.utf8_error().valid_up_to())))?;
    match text.trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']).chars().next() {
        Some('{') => {}
        Some('[') => return Err(unknown(Stranger::List)),
        Some(_) => return Err(unknown(Stranger::Text)),
        None => return Err(unknown(Stranger::Empty)),
    }
    if solexec::solution::is_one(&text) {
        let read = solexec::solution::read(&text);
        let solexec::solution::ReadSolution { artifact, notes } =
            read.map_err(|source| OpenError::SolExecBench { path: path.to_owned(), source })?;
        let read_as = "read as a solution of NVIDIA SOL-ExecBench".to_owned();
        let notes = noted(path, std::iter::once(read_as).chain(notes));
        return Ok(Opened { origin: InputKind::SolutionJson, bundle: bare(artifact), notes });
    }
    let artifact = solution::read(&text).map_err(|source| {
        let path = path.to_owned();
        if is_definition(&text) {
            OpenError::Definition { path }
        } else {
            OpenError::Solution { path, source }
        }
    })?;
    let notes = noted(path, solution::unread(&artifact).into_iter());
    Ok(Opened { origin: InputKind::SolutionJson, bundle: bare(artifact), notes })
}

/// Whether a text is a definition of either board.
fn is_definition(text: &str) -> bool {
    let value = json::parse::<Value>(text, Budget::DOCUMENT);
    value.is_ok_and(|value| {
        ["axes", "inputs", "outputs"].iter().all(|field| value[field].is_object())
            && value["sources"].is_null()
    })
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
