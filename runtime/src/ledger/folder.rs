//! The ledger as a whole: append, look up, rebuild.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use proofmark_packager::Digest;
use serde::Serialize;

use super::batch::{self, Fault, RECORDS};
use super::entry::{LedgerEntry, LedgerLine, Origin, id_of};
use super::index::{Index, Place};
use super::{Filter, LedgerError, Row, RunRow};
use crate::record::Record;
use crate::toolchain::DataFolder;

/// The ledger's folder in the data folder.
const FOLDER: &str = "ledger";
/// Held by who removes records or moves a champion.
const LOCK: &str = "lock";
/// Lines of one batch, in bytes: larger ones are several batches.
const BATCH_BYTES: usize = 64 << 20;

/// What an append did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Appended {
    /// Entries that were not there before.
    pub new: u64,
    /// Entries that were.
    pub known: u64,
}

/// A ledger that is open. Several processes may have it open at once.
#[derive(Debug)]
pub struct Ledger {
    folder: PathBuf,
    index: Index,
    faults: Vec<Fault>,
}

/// Nobody else removes records or moves a champion while this is held.
#[derive(Debug)]
#[must_use]
pub struct LedgerLock(#[expect(dead_code, reason = "the lock ends with the file")] File);

impl Ledger {
    /// Where the ledger is: as named, else where variables of the environment say.
    pub fn place(named: Option<&Path>, variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
        if let Some(path) = named {
            return Some(path.to_owned());
        }
        let data = DataFolder::from_environment(
            variable("PROOFMARK_DATA"),
            variable("XDG_DATA_HOME"),
            variable("HOME"),
        );
        Some(data?.path().join(FOLDER))
    }

    /// Opens a ledger; a folder that is not there becomes an empty one.
    pub fn open(folder: &Path) -> Result<Self, LedgerError> {
        let records = folder.join(RECORDS);
        if !records.is_dir() {
            fs::create_dir_all(&records).map_err(LedgerError::file("make", &records))?;
        }
        let (index, faults) = Index::open(folder)?;
        Ok(Self { folder: folder.to_owned(), index, faults })
    }

    /// Whether a folder holds a ledger.
    pub fn is_at(folder: &Path) -> bool {
        folder.join(RECORDS).is_dir()
    }

    /// A ledger that is not there yet, to look things up in: nothing is made.
    pub fn of_nothing(folder: &Path) -> Result<Self, LedgerError> {
        Ok(Self { folder: folder.to_owned(), index: Index::of_nothing(folder)?, faults: Vec::new() })
    }

    /// Reads every record again and makes the index anew.
    pub fn rebuild(folder: &Path) -> Result<Self, LedgerError> {
        let (index, faults) = Index::rebuild(folder)?;
        Ok(Self { folder: folder.to_owned(), index, faults })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Batches that are not believed, and why.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// How many entries and runs there are.
    pub fn counts(&self) -> Result<(u64, u64), LedgerError> {
        self.index.counts()
    }

    /// Adds lines, on the disk when this returns. Those that are there already are not written again.
    pub fn append_lines(&mut self, origin: &Origin, lines: &[String]) -> Result<Appended, LedgerError> {
        let mut appended = Appended::default();
        let mut new: Vec<String> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for line in lines {
            let id = id_of(line);
            if !seen.insert(id) || self.index.knows(id)? {
                appended.known += 1;
            } else {
                appended.new += 1;
                new.push(line.clone());
            }
        }
        let mut rest = new.as_slice();
        while !rest.is_empty() {
            let mut bytes = 0;
            let more = rest.iter().take_while(|line| {
                let fits = bytes == 0 || bytes + line.len() <= BATCH_BYTES;
                bytes += line.len();
                fits
            });
            let (batch, later) = rest.split_at(more.count());
            batch::write(&self.folder, origin, batch)?;
            rest = later;
        }
        // What the index lacks now, it takes in when it is opened next: the records are there.
        if appended.new > 0 {
            self.faults = self.index.catch_up(&self.folder)?;
        }
        Ok(appended)
    }

    /// Adds what was measured here.
    pub fn append_records(&mut self, records: &[Record]) -> Result<Appended, LedgerError> {
        let lines: Vec<String> = records.iter().map(Record::to_line).collect::<Result<_, _>>()?;
        self.append_lines(&Origin::Measured, &lines)
    }

    /// Adds a line of the ledger's own; gives its name.
    pub fn append_own(&mut self, line: &LedgerLine) -> Result<Digest, LedgerError> {
        let line = line.to_line()?;
        let id = id_of(&line);
        self.append_lines(&Origin::Measured, &[line])?;
        Ok(id)
    }

    /// The entries that a filter leaves.
    pub fn rows(&self, filter: &Filter) -> Result<Vec<Row>, LedgerError> {
        self.index.rows(filter)
    }

    /// The runs that a filter leaves.
    pub fn runs(&self, filter: &Filter) -> Result<Vec<RunRow>, LedgerError> {
        self.index.runs(filter)
    }

    /// The rows of one batch.
    pub(super) fn rows_of_file(&self, file: &str) -> Result<Vec<Row>, LedgerError> {
        self.index.rows_of_file(file)
    }

    /// An entry and its line.
    pub fn entry(&self, id: Digest) -> Result<(String, LedgerEntry), LedgerError> {
        self.entry_of_prefix(&id.to_string())?.ok_or_else(|| LedgerError::Stale { id: id.to_string() })
    }

    /// The one entry whose name begins so, and its line; `None` where none does.
    pub fn entry_of_prefix(&self, prefix: &str) -> Result<Option<(String, LedgerEntry)>, LedgerError> {
        match self.index.places(prefix)?.as_slice() {
            [] => Ok(None),
            [place] => self.line(place).map(Some),
            several => Err(LedgerError::Ambiguous { prefix: prefix.to_owned(), found: several.len() }),
        }
    }

    /// The line at a place, which must still be the one that it was.
    fn line(&self, place: &Place) -> Result<(String, LedgerEntry), LedgerError> {
        let stale = || LedgerError::Stale { id: place.id.to_string() };
        let path = self.folder.join(RECORDS).join(&place.file);
        let mut bytes = Vec::new();
        let mut file = crate::regular_file::open(&path, File::options().read(true))
            .map_err(LedgerError::file("open", &path))?;
        file.seek(SeekFrom::Start(place.offset)).map_err(LedgerError::file("read", &path))?;
        file.take(place.length.min(batch::LARGEST_BYTES))
            .read_to_end(&mut bytes)
            .map_err(LedgerError::file("read", &path))?;
        if Digest::of_bytes(&bytes) != place.id {
            return Err(stale());
        }
        let line = String::from_utf8(bytes).map_err(|_| stale())?;
        let entry = LedgerEntry::from_line(&line)?;
        Ok((line, entry))
    }

    /// Waits until nobody else removes records or moves a champion, and sees what they did.
    pub fn lock(&mut self) -> Result<LedgerLock, LedgerError> {
        let path = self.folder.join(LOCK);
        let file = File::options().create(true).append(true).open(&path);
        let file = file.map_err(LedgerError::file("open", &path))?;
        file.lock().map_err(LedgerError::file("lock", &path))?;
        self.faults = self.index.catch_up(&self.folder)?;
        Ok(LedgerLock(file))
    }

    /// Takes in what others wrote meanwhile.
    pub fn refresh(&mut self) -> Result<(), LedgerError> {
        self.faults = self.index.catch_up(&self.folder)?;
        Ok(())
    }
}
