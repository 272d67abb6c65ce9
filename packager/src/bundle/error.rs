//! Why bytes are not an artifact.

use crate::json::JsonError;
use crate::submission::Violations;

/// Why bytes are not an artifact.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Not a zip, or a damaged one.
    #[error("not an artifact: {reason}")]
    NotAnArchive {
        /// What is wrong with the archive.
        reason: String,
    },
    /// Larger than an artifact can be.
    #[error("archive exceeds a limit: {found} {what}, expected at most {most}")]
    TooLarge {
        /// What is counted.
        what: &'static str,
        /// The count as found.
        found: u64,
        /// The limit.
        most: u64,
    },
    /// An entry that an artifact cannot have.
    #[error("unexpected entry `{}` in the archive: {reason}", name.escape_debug())]
    Entry {
        /// The entry's name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An entry whose bytes are not what the archive says of them.
    #[error("entry `{}` of the archive is damaged", name.escape_debug())]
    Damaged {
        /// The entry's name.
        name: String,
        /// What the reader said.
        source: std::io::Error,
    },
    /// An entry that an artifact must have.
    #[error("no `{name}` in the archive")]
    Missing {
        /// The entry's name.
        name: String,
    },
    /// The manifest cannot be read.
    #[error("`{name}` is unreadable")]
    Json {
        /// The entry's name.
        name: String,
        /// The parser's reason.
        source: JsonError,
    },
    /// The manifest is of another format or version.
    #[error(
        "artifact format `{}` version {found_version}: this proofmark reads {readable}", found_format.escape_debug()
    )]
    Version {
        /// The format as found.
        found_format: String,
        /// The version as found.
        found_version: u64,
        /// What would be read, in words.
        readable: String,
    },
    /// Content and digest disagree.
    #[error("`{name}` was changed: expected {expected}, found {found}")]
    Digest {
        /// The entry's name, or `identity`.
        name: String,
        /// What the manifest says.
        expected: String,
        /// What the bytes say.
        found: String,
    },
    /// Rules are broken.
    #[error("not a valid submission:\n  {0}")]
    Invalid(Violations),
}
