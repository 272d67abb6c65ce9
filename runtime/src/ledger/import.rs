//! Records, sealed artifacts and traces on their way in.

use std::path::{Path, PathBuf};

use proofmark_packager::format::MEASUREMENTS_EVIDENCE;
use proofmark_packager::open;
use proofmark_packager::{Bundle, Digest};
use serde::Serialize;

use super::batch::{self, chain};
use super::entry::{LedgerEntry, LedgerLine, Origin, SealLine, id_of};
use super::trace::{Board, TraceError, TraceLine};
use super::{Appended, Ledger, LedgerError};
use crate::evidence::sealed;
use crate::regular_file;

/// What one file brought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// The file.
    pub file: String,
    /// Entries that were new and known.
    #[serde(flatten)]
    pub appended: Appended,
    /// What should be known about it.
    pub note: Option<String>,
}

/// The files below a path that may hold something, sorted: artifacts and lines. A file is itself.
pub fn files(path: &Path) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.to_owned()];
    }
    let is_ours = |path: &Path| path.extension().is_some_and(|end| end == "zip" || end == "jsonl");
    let walk = walkdir::WalkDir::new(path).sort_by_file_name().into_iter().filter_map(Result::ok);
    walk.filter(|entry| entry.file_type().is_file() && is_ours(entry.path()))
        .map(walkdir::DirEntry::into_path)
        .collect()
}

/// Takes a file's entries in, all of them or none.
pub fn import(ledger: &mut Ledger, path: &Path) -> Result<Imported, LedgerError> {
    let file = crate::path_text::text(path);
    let from = path.file_name().map_or_else(|| file.clone(), |name| name.to_string_lossy().into_owned());
    let (lines, note) = if path.extension().is_some_and(|end| end == "zip") {
        let foreign = |reason: String| LedgerError::Foreign { from: file.clone(), line: 0, reason };
        let opened = open::open(path).map_err(|error| foreign(words(&error)))?;
        of_artifact(&opened.bundle).map_err(foreign)?
    } else {
        let bytes = regular_file::read_through_links(path, batch::LARGEST_BYTES)
            .map_err(LedgerError::file("read", path))?;
        of_lines(&file, &bytes)?
    };
    let appended = ledger.append_lines(&Origin::Imported { from }, &lines)?;
    Ok(Imported { file, appended, note })
}

/// What an artifact was sealed with, and a line that names it.
pub fn of_artifact(bundle: &Bundle) -> Result<(Vec<String>, Option<String>), String> {
    if bundle.evidence.is_empty() {
        return Ok((Vec::new(), Some("packed, not sealed: nothing was measured".to_owned())));
    }
    let sealed = sealed::read(bundle).map_err(|error| words(&error))?;
    let text = bundle.evidence.get(MEASUREMENTS_EVIDENCE).unwrap_or_default();
    let text = std::str::from_utf8(text).map_err(|error| error.to_string())?;
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let seal = seal_line(bundle, &sealed, lines.iter().map(|line| id_of(line)).collect());
    let seal = LedgerLine::Seal(seal).to_line().map_err(|error| chain(&error))?;
    let note = lines.is_empty().then(|| "sealed without measurements".to_owned());
    lines.push(seal);
    Ok((lines, note))
}

/// The line that names a sealed artifact.
pub fn seal_line(bundle: &Bundle, sealed: &sealed::Sealed, records: Vec<Digest>) -> SealLine {
    let last = sealed.measurements.last();
    let artifact = bundle.artifact.digest();
    let solution = &bundle.artifact.manifest().solution;
    SealLine {
        timestamp: last.map(|record| record.timestamp.clone()),
        artifact,
        evidence: bundle.evidence.digest(artifact),
        library: sealed.build.library.sha256,
        solution: solution.name.clone(),
        author: solution.author.clone(),
        definition: solution.definition.clone(),
        arch: sealed.build.gencode.real_arch,
        device: last.map(|record| record.context.environment.device.clone()),
        records,
    }
}

/// Lines of records, of ledgers, or of traces; they may be mixed. A last line that was torn counts for
/// nothing, one that only lacks its line feed counts.
fn of_lines(file: &str, bytes: &[u8]) -> Result<(Vec<String>, Option<String>), LedgerError> {
    let mut found = Vec::new();
    let (mut workloads, mut note) = (0, None);
    let is_torn = !bytes.ends_with(b"\n");
    let all: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    for (index, line) in all.iter().enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        match one(line) {
            Ok(Some(line)) => found.push(line),
            Ok(None) => workloads += 1,
            Err(reason) if is_torn && index + 1 == all.len() && index > 0 => {
                note = Some(format!("its last line is torn and counts for nothing: {reason}"));
            }
            Err(reason) => {
                return Err(LedgerError::Foreign { from: file.to_owned(), line: index + 1, reason });
            }
        }
    }
    if workloads > 0 && note.is_none() {
        note = Some(format!("{workloads} workloads without an evaluation were passed over"));
    }
    // One harness writes a file: where one of its traces is of SOL-ExecBench for certain, all of them are.
    let is_sol =
        found.iter().any(|one| matches!(one, Found::Trace(TraceLine { board: Board::SolExecbench, .. })));
    let written = found.into_iter().map(|one| match one {
        Found::Kept(line) => Ok(line),
        Found::Trace(trace) => {
            let board = if is_sol { Board::SolExecbench } else { trace.board };
            LedgerLine::Trace(TraceLine { board, ..trace }).to_line()
        }
    });
    let lines = written.collect::<Result<Vec<String>, _>>();
    let lines = lines.map_err(|error| LedgerError::Foreign {
        from: file.to_owned(),
        line: 0,
        reason: chain(&error),
    })?;
    Ok((lines, note))
}

/// What a line holds.
enum Found {
    /// A line as the ledger keeps it.
    Kept(String),
    /// A trace of another harness.
    Trace(TraceLine),
}

/// What one line holds; `None` where that is no result.
fn one(line: &[u8]) -> Result<Option<Found>, String> {
    let text = std::str::from_utf8(line.trim_ascii()).map_err(|error| error.to_string())?;
    match LedgerEntry::from_line(text) {
        // Where lines came from is said anew: somebody else's word for it counts for nothing here.
        Ok(LedgerEntry::Own(own)) if matches!(*own, LedgerLine::Batch(_)) => Ok(None),
        Ok(_) => Ok(Some(Found::Kept(text.to_owned()))),
        Err(error)
            if text.contains("\"schema\":\"proofmark.") || text.contains("\"schema\": \"proofmark.") =>
        {
            Err(chain(&error))
        }
        Err(_) => match TraceLine::from_json(text) {
            Ok(trace) => Ok(Some(Found::Trace(trace))),
            Err(TraceError::NotEvaluated) => Ok(None),
            Err(error) => Err(error.to_string()),
        },
    }
}

fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}
