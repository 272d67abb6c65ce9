//! The files of a ledger: each written once, under the name of its content.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proofmark_packager::Digest;

use super::LedgerError;
use super::entry::{BatchLine, LedgerEntry, LedgerLine, Origin, id_of};
use super::row::Row;
use crate::record::line::LineError;
use crate::regular_file;

/// The folder of the batches in a ledger.
pub const RECORDS: &str = "records";

/// How the name of a batch ends.
const ENDING: &str = ".jsonl";

/// Largest batch, in bytes: a run over 54 workloads writes one MiB, and all of it is in memory while read.
pub const LARGEST_BYTES: u64 = 192 << 20;

/// How the name of a batch starts that is being written.
const PARTIAL_PREFIX: &str = ".partial-";

/// Longer than any batch takes to be written.
const PARTIAL_GRACE: Duration = Duration::from_secs(60 * 60);

/// One batch, read and found to be what its name says.
#[derive(Debug)]
pub struct Batch {
    /// Where its lines came from.
    pub origin: Origin,
    /// Its lines but the first, with their place in the file.
    pub lines: Vec<Placed>,
}

/// A line and its place.
#[derive(Debug)]
pub struct Placed {
    /// Where it begins, in bytes.
    pub offset: u64,
    /// How long it is without its line feed, in bytes.
    pub length: u64,
    /// What the index keeps of it.
    pub row: Row,
}

/// A file of the ledger that is not believed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Fault {
    /// The file's name.
    pub file: String,
    /// Why.
    pub reason: String,
}

/// The names and sizes of all batches, sorted by name.
pub fn list(ledger: &Path) -> Result<Vec<(String, u64)>, LedgerError> {
    let folder = ledger.join(RECORDS);
    let mut found = Vec::new();
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(LedgerError::file("list", folder)(error)),
    };
    for entry in entries {
        let entry = entry.map_err(LedgerError::file("list", &folder))?;
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
        let is_batch =
            name.strip_suffix(ENDING).is_some_and(|stem| !stem.is_empty() && !stem.starts_with('.'));
        if is_batch {
            let size = entry.metadata().map_err(LedgerError::file("look at", entry.path()))?.len();
            found.push((name, size));
        }
    }
    found.sort();
    Ok(found)
}

/// Writes lines as one batch, on the disk when this returns; gives its name and size.
pub fn write(ledger: &Path, origin: &Origin, lines: &[String]) -> Result<(String, u64), LedgerError> {
    let timestamp = proofmark_packager::interop::flashinfer::Timestamp::now();
    let head = LedgerLine::Batch(BatchLine { timestamp, origin: origin.clone() }).to_line()?;
    let mut content = String::with_capacity(lines.iter().map(|line| line.len() + 1).sum::<usize>() + 256);
    for line in std::iter::once(&head).chain(lines) {
        content.push_str(line);
        content.push('\n');
    }
    let folder = ledger.join(RECORDS);
    fs::create_dir_all(&folder).map_err(LedgerError::file("make", &folder))?;
    sweep(&folder);
    let name = format!("{}{ENDING}", Digest::of_bytes(content.as_bytes()));
    let path = folder.join(&name);
    let write = || {
        let mut file = tempfile::Builder::new().prefix(PARTIAL_PREFIX).tempfile_in(&folder)?;
        file.write_all(content.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(&path).map_err(|error| error.error)?;
        File::open(&folder)?.sync_all()
    };
    write().map_err(LedgerError::file("write", &path))?;
    Ok((name, content.len() as u64))
}

/// Reads a batch, if it is one: its name is the digest of its content, and every line is an entry.
pub fn read(ledger: &Path, name: &str) -> Result<Batch, Fault> {
    let fault = |reason: String| Fault { file: name.to_owned(), reason };
    let path = ledger.join(RECORDS).join(name);
    let bytes = regular_file::read(&path, LARGEST_BYTES).map_err(|error| fault(error.to_string()))?;
    let digest = Digest::of_bytes(&bytes).to_string();
    if name.strip_suffix(ENDING) != Some(digest.as_str()) {
        return Err(fault(
            "its content is not what its name says: it was changed after it was written".to_owned(),
        ));
    }
    let text = std::str::from_utf8(&bytes).map_err(|error| fault(error.to_string()))?;
    of_text(text).map_err(fault)
}

fn of_text(text: &str) -> Result<Batch, String> {
    let mut offset = 0;
    let mut origin = None;
    let mut lines = Vec::new();
    for (index, line) in text.split_terminator('\n').enumerate() {
        let at = offset;
        offset += line.len() as u64 + 1;
        let entry =
            LedgerEntry::from_line(line).map_err(|error| format!("line {}: {}", index + 1, chain(&error)))?;
        match (&origin, entry) {
            (None, LedgerEntry::Own(own)) => match *own {
                LedgerLine::Batch(head) => origin = Some(head.origin),
                _ => return Err("its first line does not say where it came from".to_owned()),
            },
            (None, LedgerEntry::Record(_)) => {
                return Err("its first line does not say where it came from".to_owned());
            }
            (Some(origin), entry) => {
                let row = Row::of(id_of(line), &entry, origin.name());
                let row = row.ok_or_else(|| format!("line {}: a second first line", index + 1))?;
                lines.push(Placed { offset: at, length: line.len() as u64, row });
            }
        }
    }
    Ok(Batch { origin: origin.ok_or("it is empty")?, lines })
}

/// An error with its causes.
pub(super) fn chain(error: &LineError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

/// Removes a batch.
pub(super) fn remove(ledger: &Path, name: &str) -> Result<(), LedgerError> {
    let folder: PathBuf = ledger.join(RECORDS);
    let path = folder.join(name);
    fs::remove_file(&path).map_err(LedgerError::file("remove", &path))?;
    File::open(&folder).and_then(|folder| folder.sync_all()).map_err(LedgerError::file("write", folder))
}

/// Removes what earlier writers left when they were killed.
fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let is_partial = entry.file_name().to_str().is_some_and(|name| name.starts_with(PARTIAL_PREFIX));
        let age = || entry.metadata().ok()?.modified().ok()?.elapsed().ok();
        if is_partial && age().is_some_and(|age| age > PARTIAL_GRACE) {
            let _ = fs::remove_file(entry.path());
        }
    }
}
