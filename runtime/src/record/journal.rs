//! A record file: appended line by line, whole lines only, by one process at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::line::{LineError, Record};
use crate::regular_file;

/// Largest record file that is read, in bytes: all of it is in memory while it is. A run over 54 workloads
/// writes one MiB.
const LARGEST_BYTES: u64 = 192 << 20;

/// Most values in a record file: each takes up to sixty bytes of memory, and a run over 54 workloads holds
/// 40,000.
const MOST_VALUES: usize = 4_000_000;

/// Why a record file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// It could not be opened, read or written.
    #[error("cannot {action} `{}`", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is larger than anything we read.
    #[error(
        "`{}` is larger than {} MiB or {MOST_VALUES} values: start another one",
        path.display(),
        LARGEST_BYTES >> 20
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Another process writes it.
    #[error("`{}` is being written by another process", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// What stands behind the last whole line is no torn record: it is somebody else's.
    #[error(
        "`{}` ends in text that is no record: it is left as it is; name a file of records, or a new one",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A whole line is no record.
    #[error("`{}`, line {line}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from one.
        line: usize,
        /// What is wrong.
        source: LineError,
    },
    /// A record cannot be written so that it reads back.
    #[error("a record does not read back")]
    Unwritable(#[from] LineError),
}

/// A last line without its line feed: its writer was interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TornLine {
    /// Where it begins in the file, in bytes.
    pub offset_bytes: u64,
    /// How long it is, in bytes.
    pub length_bytes: u64,
}

/// What a record file holds.
#[derive(Debug, Default)]
pub struct Contents {
    /// Its records in order.
    pub records: Vec<Record>,
    /// A torn last line, which counts for nothing.
    pub torn: Option<TornLine>,
}

/// Reads a record file without writing to it; one that is not there is empty.
pub fn read(path: &Path) -> Result<Contents, JournalError> {
    match regular_file::open_through_links(path, OpenOptions::new().read(true)) {
        Ok(file) => contents(path, file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Contents::default()),
        Err(source) => Err(JournalError::File { action: "open", path: path.to_owned(), source }),
    }
}

/// How every line of a record file begins.
const RECORD_HEAD: &[u8] = br#"{"schema":"proofmark.record""#;

/// Reads a file that must be there.
fn contents(path: &Path, file: impl Read) -> Result<Contents, JournalError> {
    let mut bytes = Vec::new();
    file.take(LARGEST_BYTES + 1).read_to_end(&mut bytes).map_err(|source| JournalError::File {
        action: "read",
        path: path.to_owned(),
        source,
    })?;
    let is_too_much = || bytes.iter().filter(|byte| **byte == b',').nth(MOST_VALUES).is_some();
    if bytes.len() as u64 > LARGEST_BYTES || is_too_much() {
        return Err(JournalError::TooLarge { path: path.to_owned() });
    }
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    let rest = &bytes[whole..];
    // Only what began as a record can be a torn one.
    if !rest.starts_with(RECORD_HEAD) && !RECORD_HEAD.starts_with(rest) {
        return Err(JournalError::Foreign { path: path.to_owned() });
    }
    let torn = (whole < bytes.len())
        .then(|| TornLine { offset_bytes: whole as u64, length_bytes: (bytes.len() - whole) as u64 });
    let mut records = Vec::new();
    for (index, line) in bytes[..whole].split(|byte| *byte == b'\n').enumerate() {
        if !line.trim_ascii().is_empty() {
            // Text that is no UTF-8 is no JSON either; the parser words it.
            let text = String::from_utf8_lossy(line);
            let record = Record::from_line(&text).map_err(|source| JournalError::Line {
                path: path.to_owned(),
                line: index + 1,
                source,
            })?;
            records.push(record);
        }
    }
    Ok(Contents { records, torn })
}

/// A record file that is open for appending; no other process can open it so.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// Opens or creates a record file and reads it. A torn last line is cut off, so that the next
    /// one starts clean; the contents say that it was there.
    pub fn open(path: &Path) -> Result<(Self, Contents), JournalError> {
        let failed = |action| move |source| JournalError::File { action, path: path.to_owned(), source };
        let mut options = OpenOptions::new();
        let file = regular_file::open_through_links(path, options.read(true).append(true).create(true));
        let mut file = file.map_err(failed("open"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(JournalError::Busy { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(failed("lock")(source)),
        }
        let contents = contents(path, &mut file)?;
        if let Some(torn) = contents.torn {
            file.set_len(torn.offset_bytes).map_err(failed("repair"))?;
            file.seek(SeekFrom::End(0)).map_err(failed("repair"))?;
        }
        Ok((Self { path: path.to_owned(), file }, contents))
    }

    /// Appends one record: one write of one whole line, on the disk when this returns.
    pub fn append(&mut self, record: &Record) -> Result<(), JournalError> {
        let line = record.to_line()? + "\n";
        let failed = |source| JournalError::File { action: "write", path: self.path.clone(), source };
        self.file.write_all(line.as_bytes()).map_err(failed)?;
        self.file.sync_data().map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::line::tests::record;
    use super::*;

    fn workload(uuid: &str) -> Record {
        Record::Workload(Box::new(record(uuid)))
    }

    fn journal(lines: &[&str]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("records.jsonl");
        let (mut journal, _) = Journal::open(&path).unwrap();
        for uuid in lines {
            journal.append(&workload(uuid)).unwrap();
        }
        (folder, path)
    }

    #[test]
    fn a_file_of_somebody_else_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("solution.json");
        let text = r#"{"name": "mine"}"#;
        std::fs::write(&path, text).unwrap();
        let refused = Journal::open(&path).unwrap_err();
        assert!(matches!(refused, JournalError::Foreign { .. }), "{refused}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }

    #[test]
    fn an_interrupted_run_loses_no_finished_workload() {
        let (_folder, path) = journal(&["a", "b"]);
        let bytes = fs::read(&path).unwrap();
        let first_line = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        // Wherever the second line is torn, the first counts, and the next append starts clean.
        for cut in [first_line + 1, first_line + 40, bytes.len() - 1] {
            fs::write(&path, &bytes[..cut]).unwrap();
            let (mut journal, contents) = Journal::open(&path).unwrap();
            let offset_bytes = first_line as u64;
            assert_eq!(
                contents.torn,
                Some(TornLine { offset_bytes, length_bytes: (cut - first_line) as u64 })
            );
            assert_eq!(contents.records, [workload("a")]);
            journal.append(&workload("c")).unwrap();
            let again = read(&path).unwrap();
            assert_eq!(again.torn, None);
            assert_eq!(again.records, [workload("a"), workload("c")]);
        }
    }

    #[test]
    fn a_damaged_line_in_the_middle_is_an_error_with_its_number() {
        let (_folder, path) = journal(&["a"]);
        let mut bytes = fs::read(&path).unwrap();
        bytes.extend_from_slice(b"{\"schema\": \"proofmark.record\"}\n\xff\xfe\n");
        fs::write(&path, &bytes).unwrap();
        assert!(matches!(read(&path), Err(JournalError::Line { line: 2, .. })));
        assert!(matches!(Journal::open(&path), Err(JournalError::Line { line: 2, .. })));
    }

    #[test]
    fn two_writers_never_share_a_file() {
        let (_folder, path) = journal(&["a"]);
        let (_first, _) = Journal::open(&path).unwrap();
        assert!(matches!(Journal::open(&path), Err(JournalError::Busy { .. })));
        assert_eq!(read(&path).unwrap().records.len(), 1, "reading needs no lock");
    }

    #[test]
    fn what_would_take_the_machines_memory_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("large.jsonl");
        File::create(&path).unwrap().set_len(1 << 30).unwrap();
        assert!(matches!(read(&path), Err(JournalError::TooLarge { .. })));
        fs::write(&path, format!("[{}0]\n", "0,".repeat(MOST_VALUES + 1))).unwrap();
        assert!(matches!(read(&path), Err(JournalError::TooLarge { .. })));
        fs::write(&path, format!("{}\n", "[".repeat(5_000_000))).unwrap();
        assert!(matches!(read(&path), Err(JournalError::Line { .. })));
    }

    #[test]
    fn a_file_that_is_not_there_is_empty() {
        let folder = tempfile::tempdir().unwrap();
        assert!(read(&folder.path().join("none.jsonl")).unwrap().records.is_empty());
        assert!(matches!(read(folder.path()), Err(JournalError::File { .. })));
    }
}
