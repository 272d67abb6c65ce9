//! Reads a submission folder as a contest team writes it.
//!
//! ```text
//! kit layout                    beside                        several
//! ├── config.toml               ├── config.toml               ├── <definition>/config.toml …
//! ├── definition.json  optional ├── definition.json  optional └── <definition>/config.toml …
//! ├── workloads.jsonl  optional ├── workloads.jsonl  optional
//! └── solution/<language>/      ├── kernel.cu
//!     └── kernel.cu             └── tile.cuh
//! ```
//!
//! Where the folder above holds a `definition.json` of the submission's definition, it is the task
//! folder: it gives the submission what it does not have of its own, and the reference.
//!
//! ```text
//! task folder
//! ├── definition.json
//! ├── workloads.jsonl  optional
//! ├── reference/       optional: a submission too, which says what is right
//! └── <submission>/    the kit's layout, or sources beside `config.toml`
//! ```
//!
//! Top-level source files are taken exactly as the contest's packer takes them, so that
//! `solution.json` has the same bytes. Where that packer would lose or break something, this is
//! what happens instead:
//!
//! | input | contest's packer | here |
//! |---|---|---|
//! | CRLF or CR line ends | written as LF | the same, noted |
//! | byte-order mark | kept as U+FEFF | the same |
//! | empty file | refuses the folder | packed as one newline, noted; an empty entry file is refused |
//! | not UTF-8, or NUL inside | refuses / packs | refused, with the byte's offset |
//! | link to a file inside | packs its target | the same |
//! | link that leads outside | packs the foreign file | refused, for `config.toml` and the files beside it too |
//! | `#include "…"` of a file that is not there | packs | the same; noted, unless it looks like the toolchain's |
//! | hidden file | packed | the same, noted: a hidden `.cu` is compiled |
//! | header in a sub-folder, `.inl` and the like | silently ignored | packed if an `#include "…"` reaches it, or an `#include <…>` from the top folder or an `-I` flag's; else left out, with one note for all |
//! | entry file in a sub-folder | refused | its folder's sources are packed |
//! | Python package in a sub-folder | silently ignored | packed if a packed file imports it |
//! | control characters in names, lists, `description` | packed | refused; `description` may hold line feeds and tabs |
//! | names that differ only in case | packed | refused: one of them is lost on some systems |
//! | `./k.cu` or `..` in an entry point | refused or packed twice | refused |
//! | entry point without `::`, empty symbol | refused / packed | refused |
//! | sources beside `config.toml` | refused | packed; `binding`, `dependencies` and `description` are kept |
//! | `[sol-execbench]` with `languages`, `cflags`, `ld_flags` | ignored | kept for that board's solution.json |
//! | kit layout with `binding` | ignored: null, which means `tvm-ffi` | kept, noted: without it the entry is another one |
//! | kit layout with `dependencies`, `description`, `target_hardware` | ignored | ignored, noted |
//! | pipe, socket, device | ignored | the same |

mod board_table;
mod collector;
mod config;
mod config_writer;
mod folder;
mod includes;
mod kit;
mod notes;
mod part;
mod search_path;
mod spec;
mod suggestion;
mod task_folder;
mod text;
mod unknown_keys;
mod violation;

use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::sources::SourceFile;

pub use collector::CONTEST_EXTENSIONS;
pub use config::{CONFIG_NAME, target_of};
pub use config_writer::edit_target;
pub(crate) use config_writer::write_config;
pub use folder::find;
pub use includes::{Include, IncludeKind, includes_of};
pub use part::{DEFINITION_NAME, WORKLOADS_NAME, open_config};
pub use spec::{Binding, BuildSpec, Language, SolutionMeta, Target};
pub use task_folder::REFERENCE_NAME;
pub use violation::{Violation, Violations};

pub(crate) use text::violations_of_texts;
pub(crate) use violation::violations_among;

/// What the packer did that its user may want to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Note {
    /// The file or key.
    pub path: String,
    /// What was done with it.
    pub what: String,
}

/// Everything that a submission consists of, wherever it came from; [`crate::Artifact::pack`] checks
/// what must hold between the parts.
#[derive(Debug, Clone, PartialEq)]
pub struct Submission {
    /// Who made what.
    pub solution: SolutionMeta,
    /// How it is built and called.
    pub build: BuildSpec,
    /// What the build must come out as.
    pub target: Target,
    /// The files, in the order of `solution.json`: those of a folder are sorted by path.
    pub sources: Vec<SourceFile>,
    /// The text of `definition.json`, if there is one.
    pub definition: Option<String>,
    /// The text of `workloads.jsonl`, if there is one.
    pub workloads: Option<String>,
    /// The submission that says what is right, if there is one; it has none of its own.
    pub reference: Option<Box<Submission>>,
    /// Fields of an imported `solution.json` that its format does not know, and what `[sol-execbench]` says.
    pub unknown: Map<String, Value>,
}

/// What a submission folder holds.
#[derive(Debug, Clone)]
pub struct FolderContents {
    /// The submission, every rule of its files checked.
    pub submission: Submission,
    /// What was left out or changed on the way in.
    pub notes: Vec<Note>,
}

/// Why no submission could be read.
#[derive(Debug, thiserror::Error)]
pub enum SubmissionError {
    /// Rules are broken.
    #[error("{} is not a valid submission:\n  {violations}", folder.display())]
    Invalid {
        /// The folder.
        folder: PathBuf,
        /// Every broken rule.
        violations: Violations,
    },
    /// There is no `config.toml`, here or one level down.
    #[error("no config.toml in {} or in a folder directly below it", folder.display())]
    NoConfig {
        /// The folder.
        folder: PathBuf,
    },
    /// The file system refused.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// Reads the submission in one folder that has a `config.toml`.
pub fn read(folder: &Path) -> Result<FolderContents, SubmissionError> {
    folder::read(folder)
}
