//! Why a data set, or a file of it, could not be used.

use std::io;
use std::path::PathBuf;

use super::DEFINITIONS;
use crate::interop::violation::Invalid;

/// Why a data set, or a file of it, could not be used.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// The folder has no `definitions/` in it.
    #[error("`{}` is no data set: it has no folder `{DEFINITIONS}`", root.display())]
    NotADataset {
        /// The folder.
        root: PathBuf,
    },
    /// A file or folder could not be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A name that should be a file's is a folder's, a pipe's or a device's.
    #[error("`{}` is not a file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// A file is larger than any of its kind.
    #[error("`{}` is too large: expected at most {most_bytes} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        most_bytes: u64,
    },
    /// A folder holds more than any data set.
    #[error("`{}` holds too many files and folders: expected at most {most}", folder.display())]
    TooMany {
        /// The folder.
        folder: PathBuf,
        /// The limit.
        most: usize,
    },
    /// A file could not be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A definition's file breaks its format.
    #[error("`{}`", path.display())]
    Definition {
        /// The file.
        path: PathBuf,
        /// Every violation.
        source: Invalid,
    },
    /// A line of a JSONL file breaks its format.
    #[error("`{}`, line {line}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from one.
        line: usize,
        /// Every violation.
        source: Invalid,
    },
    /// No file holds a definition of that name.
    #[error("no definition `{name}` in `{}`: {known} are known{}{}", root.display(), meant(nearest.as_deref()), unreadable(*.unread))]
    UnknownDefinition {
        /// The name asked for.
        name: String,
        /// The data set.
        root: PathBuf,
        /// How many definitions were read.
        known: usize,
        /// The known one whose name is most like it, if any is.
        nearest: Option<String>,
        /// How many files could not be.
        unread: usize,
    },
    /// Two files hold a definition of that name.
    #[error("definition `{name}` stands twice: in `{}` and `{}`", first.display(), second.display())]
    DuplicateDefinition {
        /// The name.
        name: String,
        /// One file.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
}

fn meant(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |nearest| format!(", the nearest is `{nearest}`"))
}

fn unreadable(unread: usize) -> String {
    if unread == 0 { String::new() } else { format!(", {unread} files could not be read") }
}
