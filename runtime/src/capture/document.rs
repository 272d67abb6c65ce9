//! What the capturing Python reports. It ran a stranger's code: nothing of it is believed, and what it names is
//! built from the texts that it gives.

use std::collections::BTreeMap;

use proofmark_packager::Digest;
use proofmark_packager::json::{self, Budget, JsonError};
use serde::{Deserialize, Serialize};

/// The version of the document that `capture.py` writes.
const VERSION: u32 = 1;

/// Everything that was found.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    version: u32,
    /// Why the entry could not be imported.
    pub error: Option<String>,
    /// What it would compile, in the order in which it asked.
    pub requests: Vec<Request>,
    /// Calls that compile and that nothing reached.
    pub unreached: Vec<Unreached>,
    /// Modules that were stood in for.
    pub stand_ins: Vec<String>,
    /// The Python's version.
    pub python: String,
}

/// One library that an entry would compile.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// By which it is asked for again.
    pub request: Digest,
    /// `tvm-ffi`, `torch`, `torch-library` for one that registers operators, or `library` for one that the entry
    /// starts nvcc for and loads by itself.
    pub interface: String,
    /// The module's name.
    pub name: String,
    /// The sources that are compiled.
    pub units: Vec<String>,
    /// Every source by its path, those included that may be included.
    pub files: BTreeMap<String, String>,
    /// Flags for the host compiler.
    pub host_flags: Vec<String>,
    /// Flags for nvcc.
    pub cuda_flags: Vec<String>,
    /// Flags for the linker.
    pub link_flags: Vec<String>,
    /// Folders of the entry to search for headers.
    pub include: Vec<String>,
    /// Folders of the machine that it would have searched.
    pub outside: Vec<String>,
    /// What variables said of the architecture.
    pub architectures: Vec<String>,
    /// Where in the entry the call stands.
    pub place: String,
}

/// A call that compiles and that nothing reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unreached {
    /// File and line.
    pub place: String,
    /// Why its arguments are not known.
    pub reason: String,
}

impl Document {
    /// Reads it; `None` within the error means another version.
    pub fn read(text: &str) -> Result<Self, JsonError> {
        let document: Self = json::parse(text, Budget::DOCUMENT)?;
        if document.version == VERSION {
            return Ok(document);
        }
        Err(JsonError::Format(serde::de::Error::custom("another version")))
    }
}
