//! Holds source files and the paths that they may have.
//!
//! A [`SourcePath`] is relative, UTF-8, forward-slashed and free of `..`: it can be joined to any
//! folder and stays inside it. A [`SourceFile`] carries the text that is packed, hashed, built and
//! written into `solution.json`; the four never differ.

use std::fmt;
use std::str::FromStr;

use crate::Digest;

/// Longest path, in bytes: below the limit of every file system that artifacts are unpacked on,
/// with room for the folder in front.
const LONGEST_PATH_BYTES: usize = 512;

/// Longest single name, in bytes: the limit of ext4, XFS, APFS and NTFS.
const LONGEST_NAME_BYTES: usize = 255;

/// Largest source, in bytes: a hundred times the largest kernel seen in the contest.
pub(crate) const LARGEST_SOURCE_BYTES: u64 = 8 << 20;

/// Largest sum of all sources, in bytes: what an organiser can still review and a diff can show.
pub(crate) const LARGEST_SUBMISSION_BYTES: u64 = 32 << 20;

/// Largest `definition.json`, in bytes: a hundred times the largest of the public data set.
pub(crate) const LARGEST_DEFINITION_BYTES: u64 = 8 << 20;

/// Largest `workloads.jsonl`, in bytes: some 40,000 workloads.
pub(crate) const LARGEST_WORKLOADS_BYTES: u64 = 16 << 20;

/// Most sources in one submission: several times the 600 headers that a contest entry may vendor.
pub(crate) const MOST_SOURCES: usize = 4096;

/// The place of a source file inside its submission, such as `kernel.cu` or `include/tile.cuh`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourcePath(String);

impl SourcePath {
    /// The path as text, with forward slashes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last component: `tile.cuh`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// The folder part, without a trailing slash; empty at the top.
    #[must_use]
    pub fn folder(&self) -> &str {
        self.0.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    /// What follows the last dot of the name, as written; empty without one.
    #[must_use]
    pub fn extension(&self) -> &str {
        self.name().rsplit_once('.').map_or("", |(_, extension)| extension)
    }

    /// The spelling under which a file system that ignores case would store this path.
    #[must_use]
    pub fn case_folded(&self) -> String {
        self.0.to_lowercase()
    }
}

impl fmt::Display for SourcePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

/// Why a text cannot be a source path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a source path: {reason}", found.escape_debug())]
pub struct SourcePathError {
    /// The text as found.
    pub found: String,
    /// What is wrong with it.
    pub reason: SourcePathFault,
}

/// What is wrong with a source path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SourcePathFault {
    /// Nothing before, between or after the slashes.
    #[error("it has an empty component")]
    EmptyComponent,
    /// It starts at the root of a file system or a drive.
    #[error("it must be relative to the submission")]
    Absolute,
    /// It has a `.` or `..` component.
    #[error("it must not contain `.` or `..` components")]
    Dots,
    /// It has a backslash, which some systems take for a separator.
    #[error("it must use forward slashes")]
    Backslash,
    /// It has a control character, NUL included.
    #[error("it contains a control character")]
    ControlCharacter,
    /// It is longer than file systems take.
    #[error("it is longer than file systems take")]
    TooLong,
}

impl FromStr for SourcePath {
    type Err = SourcePathError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match fault_of(text) {
            None => Ok(Self(text.to_owned())),
            Some(reason) => Err(SourcePathError { found: text.to_owned(), reason }),
        }
    }
}

fn fault_of(text: &str) -> Option<SourcePathFault> {
    let drive = text.as_bytes().get(1) == Some(&b':');
    if text.starts_with('/') || drive {
        Some(SourcePathFault::Absolute)
    } else if text.contains('\\') {
        Some(SourcePathFault::Backslash)
    } else if text.chars().any(char::is_control) {
        Some(SourcePathFault::ControlCharacter)
    } else if text.split('/').any(str::is_empty) {
        Some(SourcePathFault::EmptyComponent)
    } else if text.split('/').any(|component| component == "." || component == "..") {
        Some(SourcePathFault::Dots)
    } else if text.len() > LONGEST_PATH_BYTES || text.split('/').any(|name| name.len() > LONGEST_NAME_BYTES) {
        Some(SourcePathFault::TooLong)
    } else {
        None
    }
}

crate::text_form!(SourcePath);

/// One source file: its place and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Where the file stands inside the submission.
    pub path: SourcePath,
    /// The text that is packed, built and submitted: UTF-8 with LF line ends.
    pub content: String,
}

impl SourceFile {
    /// The SHA-256 of the text.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of_bytes(self.content.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_paths_that_stay_inside() {
        for text in ["kernel.cu", "a/b/c.cuh", ".hidden.h", "naïve.cu", "two words.h", "..x/y", "x..", "k.CU"]
        {
            assert_eq!(text.parse::<SourcePath>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn refuses_paths_that_could_leave_or_collide() {
        for text in [
            "",
            "/",
            "/etc/passwd",
            "../x",
            "a/../x",
            "a/..",
            "./k.cu",
            "a//b",
            "a/",
            "a\\b",
            "C:x",
            "c:\\x",
            "a\0b",
            "a\nb",
        ] {
            assert!(text.parse::<SourcePath>().is_err(), "{text:?}");
        }
        assert!("x/".repeat(400).parse::<SourcePath>().is_err());
        assert!("x".repeat(256).parse::<SourcePath>().is_err());
    }

    #[test]
    fn splits_into_folder_name_and_extension() {
        let path: SourcePath = "a/b/tile.cuh".parse().unwrap();
        assert_eq!((path.folder(), path.name(), path.extension()), ("a/b", "tile.cuh", "cuh"));
        let bare: SourcePath = "Makefile".parse().unwrap();
        assert_eq!((bare.folder(), bare.name(), bare.extension()), ("", "Makefile", ""));
    }
}
