//! What is wrong with a submission; every violation is reported at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::entry_point::{EntryPoint, EntryPointError};
use crate::sources::{
    LARGEST_SOURCE_BYTES, LARGEST_SUBMISSION_BYTES, MOST_SOURCES, SourceFile, SourcePath, SourcePathError,
};
use crate::target::ArchParseError;

/// One rule that a submission breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// `config.toml` is not TOML.
    #[error("config.toml: {message}")]
    Syntax {
        /// The parser's message with line and column.
        message: String,
    },
    /// A required key is absent.
    #[error("config.toml: `{key}` is missing: expected {expected}")]
    MissingKey {
        /// Dotted key, such as `solution.name`.
        key: &'static str,
        /// What belongs there.
        expected: &'static str,
    },
    /// An unknown key where a required one is absent.
    #[error("config.toml: `{key}` is unknown: is it a missing key, misspelt?")]
    UnknownKey {
        /// Dotted key as found, or a table's name.
        key: String,
    },
    /// A key holds the wrong kind of value.
    #[error("config.toml: `{key}` is {found}: expected {expected}")]
    WrongValue {
        /// Dotted key.
        key: &'static str,
        /// The value or its type as found.
        found: String,
        /// What belongs there.
        expected: &'static str,
    },
    /// A field of a `solution.json` or a manifest holds what it cannot hold.
    #[error("`{field}` is {found}: expected {expected}")]
    Field {
        /// The field.
        field: &'static str,
        /// The value as found, escaped.
        found: String,
        /// What belongs there.
        expected: &'static str,
    },
    /// The entry point of a `solution.json` has no usable form.
    #[error("`spec.entry_point`: {0}")]
    SpecEntryPoint(EntryPointError),
    /// A key in our own table that we do not know.
    #[error("config.toml: `target.{key}` is unknown: expected `arch` or `nvcc_flags`")]
    UnknownTargetKey {
        /// The key as found.
        key: String,
    },
    /// A key in the table of a board that we do not know.
    #[error("config.toml: `sol-execbench.{key}` is unknown: expected `languages`, `cflags` or `ld_flags`")]
    UnknownBoardKey {
        /// The key as found.
        key: String,
    },
    /// The entry point has no usable form.
    #[error("config.toml: `build.entry_point`: {0}")]
    EntryPoint(#[from] EntryPointError),
    /// The entry point lacks its file or its function, and the sources tell what is meant.
    #[error("config.toml: `build.entry_point` is `{}`: expected a file, `::` and a function: `{suggested}` is there", found.escape_debug())]
    EntryPointForm {
        /// The text as found.
        found: String,
        /// An entry point that exists.
        suggested: EntryPoint,
    },
    /// The architecture is not one.
    #[error("config.toml: `target.arch`: {0}")]
    Arch(#[from] ArchParseError),
    /// The entry file is not among the sources.
    #[error("entry file `{file}` is not among the sources: found {found}")]
    EntryFileMissing {
        /// The file named by the entry point.
        file: String,
        /// The sources that are there.
        found: String,
    },
    /// The entry file is among the sources of another language.
    #[error("entry file `{file}` is in {found}: sources are read from {expected}: `mv {first} {expected}`")]
    EntryFileElsewhere {
        /// The file named by the entry point.
        file: String,
        /// The folders that have it.
        found: String,
        /// The first of them.
        first: String,
        /// Where it is looked for.
        expected: String,
    },
    /// No source file at all.
    #[error("no source file in {folder}: expected at least one of {expected}")]
    NoSources {
        /// The folder that was searched, relative to the submission.
        folder: String,
        /// The extensions that count.
        expected: String,
    },
    /// A file name cannot be a source path.
    #[error("{0}")]
    Path(#[from] SourcePathError),
    /// A source is not text.
    #[error("{path}: byte {offset} is not UTF-8: expected UTF-8 text")]
    NotUtf8 {
        /// The file, relative to the submission.
        path: String,
        /// Offset of the first bad byte.
        offset: usize,
    },
    /// A source holds a NUL, which compilers drop or choke on.
    #[error("{path}: byte {offset} is NUL: expected text")]
    Nul {
        /// The file, relative to the submission.
        path: String,
        /// Offset of the NUL.
        offset: usize,
    },
    /// A file is larger than a source can be.
    #[error("{path}: {found_bytes} bytes: expected at most {most_bytes}")]
    TooLarge {
        /// The file, relative to the submission.
        path: String,
        /// Its size in bytes.
        found_bytes: u64,
        /// The limit in bytes.
        most_bytes: u64,
    },
    /// There are more files than a submission can have, or they are larger together.
    #[error("the sources exceed {most}: remove what the kernel does not include")]
    TooMany {
        /// The limit in words.
        most: String,
    },
    /// A link leads out of the folder.
    #[error("{path} links to {target}, outside the submission: copy the file in")]
    LinkLeavesFolder {
        /// The link, relative to the submission.
        path: String,
        /// Where it leads.
        target: String,
    },
    /// Something else has the name of a file that the packer reads.
    #[error("{path} is {found}: expected a file")]
    NotAFile {
        /// The name, relative to the submission.
        path: &'static str,
        /// What has it.
        found: &'static str,
    },
    /// An include names a file outside the folder.
    #[error("{path}:{line}: `#include \"{include}\"` leads outside the submission: copy the header in")]
    IncludeLeavesFolder {
        /// The including file.
        path: String,
        /// One-based line.
        line: usize,
        /// The name between the quotes.
        include: String,
    },
    /// Two paths that file systems without case would make one.
    #[error("`{first}` and `{second}` differ only in case: rename one, they collide on some file systems")]
    CaseCollision {
        /// The earlier path.
        first: String,
        /// The later path.
        second: String,
    },
    /// Two sources share one path.
    #[error("`{path}` appears twice among the sources")]
    DuplicatePath {
        /// The path.
        path: String,
    },
    /// One source's path is another's folder.
    #[error("`{file}` is a file and also the folder of `{inside}`")]
    FileIsFolder {
        /// The path that is a file.
        file: String,
        /// The path below it.
        inside: String,
    },
    /// The entry file is there but holds nothing.
    #[error("entry file `{file}` is empty: expected the entry function")]
    EntryFileEmpty {
        /// The file named by the entry point.
        file: String,
    },
    /// The reference is for something else.
    #[error("the reference implements `{}`: expected `{}`, as the submission does", found.escape_debug(), expected.escape_debug())]
    ReferenceOfAnother {
        /// The reference's definition.
        found: String,
        /// The submission's definition.
        expected: String,
    },
    /// The reference brings a reference.
    #[error("the reference has a reference of its own: expected none")]
    ReferenceWithReference,
    /// There is a reference but no definition to judge by.
    #[error("the submission has a reference but no definition.json: expected both or no reference")]
    ReferenceWithoutDefinition,
    /// The reference itself breaks a rule.
    #[error("in the reference: {0}")]
    InReference(Box<Violation>),
    /// `definition.json` or `workloads.jsonl` is unusable or belongs to another definition.
    #[error("{path}: {message}")]
    Attachment {
        /// The file.
        path: &'static str,
        /// What is wrong.
        message: String,
    },
}

/// Every violation of one submission, in a stable order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violations(pub Vec<Violation>);

impl fmt::Display for Violations {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, violation) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n  " };
            write!(formatter, "{separator}{violation}")?;
        }
        Ok(())
    }
}

/// Forgets what only follows from another violation: a source that was refused is not missing as well.
pub(super) fn forget_consequences(violations: &mut Vec<Violation>) {
    let refused: BTreeSet<String> = violations
        .iter()
        .filter_map(|violation| match violation {
            Violation::NotUtf8 { path, .. }
            | Violation::TooLarge { path, .. }
            | Violation::LinkLeavesFolder { path, .. } => Some(path.clone()),
            _ => None,
        })
        .collect();
    violations.retain(|violation| match violation {
        Violation::EntryFileMissing { file, .. } => !refused.contains(file),
        Violation::NoSources { .. } => refused.is_empty(),
        _ => true,
    });
}

/// The violation of more sources than a submission can have.
pub(super) fn too_many() -> Violation {
    let most = format!("{MOST_SOURCES} files or {} MiB in all", LARGEST_SUBMISSION_BYTES >> 20);
    Violation::TooMany { most }
}

/// Checks what must hold between sources, wherever they came from.
pub(crate) fn violations_among(sources: &[SourceFile], entry: &EntryPoint) -> Vec<Violation> {
    let mut violations = Vec::new();
    let total_bytes: u64 = sources.iter().map(|source| source.content.len() as u64).sum();
    if sources.len() > MOST_SOURCES || total_bytes > LARGEST_SUBMISSION_BYTES {
        violations.push(too_many());
    }
    let too_large = sources.iter().filter(|source| source.content.len() as u64 > LARGEST_SOURCE_BYTES);
    violations.extend(too_large.map(|source| Violation::TooLarge {
        path: source.path.to_string(),
        found_bytes: source.content.len() as u64,
        most_bytes: LARGEST_SOURCE_BYTES,
    }));
    let mut exact = BTreeSet::new();
    let mut folded: BTreeMap<String, &SourcePath> = BTreeMap::new();
    for SourceFile { path, .. } in sources {
        if !exact.insert(path.as_str()) {
            violations.push(Violation::DuplicatePath { path: path.to_string() });
        } else if let Some(first) = folded.insert(path.case_folded(), path) {
            let (first, second) = (first.to_string(), path.to_string());
            violations.push(Violation::CaseCollision { first, second });
        }
    }
    for inside in folded.values() {
        let spelling = inside.case_folded();
        let parents = spelling.match_indices('/').map(|(at, _)| &spelling[..at]);
        for file in parents.filter_map(|parent| folded.get(parent)) {
            let (file, inside) = (file.to_string(), inside.to_string());
            violations.push(Violation::FileIsFolder { file, inside });
        }
    }
    match sources.iter().find(|source| source.path == entry.file) {
        None => {
            let found: Vec<_> = sources.iter().take(10).map(|source| source.path.as_str()).collect();
            let found = if found.is_empty() { "no source".to_owned() } else { found.join(", ") };
            violations.push(Violation::EntryFileMissing { file: entry.file.to_string(), found });
        }
        Some(source) if source.content.trim().is_empty() => {
            violations.push(Violation::EntryFileEmpty { file: entry.file.to_string() });
        }
        Some(_) => {}
    }
    violations
}
