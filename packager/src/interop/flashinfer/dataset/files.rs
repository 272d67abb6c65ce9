//! Reads files of a data set, each within a budget.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::error::DatasetError;
use crate::interop::flashinfer::definition::Definition;
use crate::interop::flashinfer::trace::Trace;
use crate::sources::LARGEST_DEFINITION_BYTES;

/// Largest file of workloads or traces, in bytes: a trace with its log takes some kilobytes, and an author's
/// file holds thousands.
pub(super) const LARGEST_TRACES_BYTES: u64 = 256 << 20;

/// Most files and folders below one folder of a data set: the public one holds some thousand.
const MOST_ENTRIES: usize = 100_000;

/// Reads a definition from a file of its own.
pub fn read_definition(path: &Path) -> Result<Definition, DatasetError> {
    let text = read_text(path, LARGEST_DEFINITION_BYTES)?;
    Definition::from_json(&text).map_err(|source| DatasetError::Definition { path: path.to_owned(), source })
}

/// Reads every trace of a JSONL file; empty lines are skipped.
pub fn read_traces(path: &Path) -> Result<Vec<Trace>, DatasetError> {
    parse_lines(path, &read_text(path, LARGEST_TRACES_BYTES)?)
}

pub(super) fn parse_lines(path: &Path, text: &str) -> Result<Vec<Trace>, DatasetError> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let parse = |(index, line): (usize, &str)| {
        Trace::from_json(line).map_err(|source| DatasetError::Line {
            path: path.to_owned(),
            line: index + 1,
            source,
        })
    };
    lines.map(parse).collect()
}

/// Reads a file, bounded: neither a pipe nor a device nor a file without end is waited for or kept.
pub(super) fn read_text(path: &Path, most_bytes: u64) -> Result<String, DatasetError> {
    let unreadable = |source| DatasetError::Read { path: path.to_owned(), source };
    let too_large = || DatasetError::TooLarge { path: path.to_owned(), most_bytes };
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(DatasetError::NotAFile { path: path.to_owned() });
    }
    if metadata.len() > most_bytes {
        return Err(too_large());
    }
    let mut text = String::new();
    let file = File::open(path).map_err(unreadable)?;
    let read_bytes = file.take(most_bytes + 1).read_to_string(&mut text).map_err(unreadable)?;
    if read_bytes as u64 > most_bytes { Err(too_large()) } else { Ok(text) }
}

/// Every file with that extension, in the order of the paths; a folder that is not there is empty.
pub(super) fn files_under(folder: &Path, extension: &str) -> Result<Vec<PathBuf>, DatasetError> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut files = Vec::new();
    for (count, entry) in WalkDir::new(folder).sort_by_file_name().into_iter().enumerate() {
        if count >= MOST_ENTRIES {
            return Err(DatasetError::TooMany { folder: folder.to_owned(), most: MOST_ENTRIES });
        }
        let entry = entry.map_err(|error| DatasetError::Read {
            path: error.path().unwrap_or(folder).to_owned(),
            source: error.into(),
        })?;
        let matches = entry.path().extension().is_some_and(|found| found == extension);
        if matches && entry.path().is_file() {
            files.push(entry.into_path());
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn the_projects_own_definitions_resolve_at_every_workload() {
        let kernels = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernels");
        let mut resolved = 0;
        for path in files_under(&kernels, "json").unwrap() {
            if path.file_name().is_some_and(|name| name == "definition.json") {
                let definition = read_definition(&path).unwrap();
                let traces = read_traces(&path.with_file_name("workloads.jsonl")).unwrap();
                for trace in &traces {
                    assert_eq!(trace.definition(), definition.name());
                    assert!(definition.shapes(trace.workload()).unwrap().traffic_bytes() > 0);
                }
                resolved += traces.len();
            }
        }
        assert!(resolved >= 54, "{resolved}");
    }

    #[test]
    fn refuses_what_has_no_end_and_what_is_too_large_without_reading_it() {
        let folder = tempfile::tempdir().unwrap();
        let (pipe, large) = (folder.path().join("pipe"), folder.path().join("large.json"));
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for path in [Path::new("/dev/zero"), &pipe, folder.path()] {
            assert!(matches!(read_traces(path), Err(DatasetError::NotAFile { .. })), "{}", path.display());
        }
        File::create(&large).unwrap().set_len(LARGEST_DEFINITION_BYTES + 1).unwrap();
        let refused = read_definition(&large).unwrap_err();
        assert!(refused.to_string().ends_with("is too large: expected at most 8388608 bytes"), "{refused}");
        // Its length says nothing: what is read counts.
        let refused = read_text(Path::new("/proc/self/maps"), 10).unwrap_err();
        assert!(matches!(refused, DatasetError::TooLarge { .. }), "{refused}");
        assert!(matches!(read_traces(Path::new("missing")), Err(DatasetError::Read { .. })));
    }
}
