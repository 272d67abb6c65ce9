//! The `SQLite` index: what stands where. It holds nothing that the records do not say, so it may be lost.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proofmark_packager::Digest;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params, params_from_iter};

use super::LedgerError;
use super::batch::{self, Batch, Fault};
use super::filter::{Filter, Table};
use super::row::{LedgerKind, Row, RunRow};

/// The index's file in a ledger.
pub const INDEX: &str = "index.sqlite";

/// The layout of the tables. One with another is made again.
const LAYOUT: i64 = 2;

/// How long another process may hold the index.
const PATIENCE: Duration = Duration::from_secs(30);

const TABLES: &str = "
CREATE TABLE files (name TEXT PRIMARY KEY, bytes INTEGER, lines INTEGER, repeated INTEGER) WITHOUT ROWID;
CREATE TABLE entries (
  id TEXT PRIMARY KEY, file TEXT, offset INTEGER, length INTEGER, kind TEXT, time TEXT, run TEXT,
  definition TEXT, solution TEXT, author TEXT, artifact TEXT, library TEXT, arch TEXT, device TEXT,
  workload TEXT, verdict TEXT, trust TEXT, latency_ns REAL, origin TEXT
);
CREATE TABLE runs (
  run TEXT PRIMARY KEY, time TEXT, definition TEXT, solution TEXT, author TEXT, artifact TEXT, arch TEXT,
  device TEXT, workloads INTEGER, passed INTEGER, trust TEXT, mean_ns REAL, origin TEXT
) WITHOUT ROWID;
CREATE INDEX entries_by_time ON entries (time);
CREATE INDEX entries_by_definition ON entries (definition, time);
CREATE INDEX entries_by_place ON entries (definition, device, time);
CREATE INDEX entries_by_solution ON entries (solution, time);
CREATE INDEX entries_by_author ON entries (author, time);
CREATE INDEX entries_by_arch ON entries (arch, time);
CREATE INDEX entries_by_device ON entries (device, time);
CREATE INDEX entries_by_artifact ON entries (artifact);
CREATE INDEX entries_by_run ON entries (run);
CREATE INDEX entries_by_file ON entries (file);
CREATE INDEX entries_by_kind ON entries (kind, time);
CREATE INDEX entries_by_verdict ON entries (verdict, time);
CREATE INDEX entries_by_trust ON entries (trust, time);
CREATE INDEX entries_by_origin ON entries (origin, time);
CREATE INDEX runs_by_time ON runs (time);
";

const ROW: &str = "id, kind, time, run, definition, solution, author, artifact, library, arch, device, workload, \
    verdict, trust, latency_ns, origin";

const RUN: &str = "run, time, definition, solution, author, artifact, arch, device, workloads, passed, trust, mean_ns, origin";

/// The last line of each workload of a run, and what they come to. A run of two kinds of trust has no mean.
const SUMMARISE: &str = "
INSERT OR REPLACE INTO runs
SELECT run, max(time), max(definition), max(solution), max(author), max(artifact), max(arch), max(device),
  count(*), count(*) FILTER (WHERE verdict = 'passed'),
  CASE WHEN min(trust) = max(trust) THEN min(trust) ELSE 'mixed' END,
  CASE WHEN count(latency_ns) = count(*) AND min(trust) = max(trust) THEN avg(latency_ns) END,
  CASE WHEN min(origin) = max(origin) THEN min(origin) ELSE 'imported' END
FROM (
  SELECT *, max(time || id) FROM entries
  WHERE run = ?1 AND kind IN ('workload', 'trace') AND workload IS NOT NULL GROUP BY workload
) GROUP BY run";

/// Where a line stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The entry.
    pub id: Digest,
    /// The batch.
    pub file: String,
    /// Where the line begins, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub length: u64,
}

/// An index, brought up to what the records say.
#[derive(Debug)]
pub struct Index {
    path: PathBuf,
    connection: Connection,
}

impl Index {
    /// The index of a ledger that does not exist: in memory, and empty.
    pub fn of_nothing(ledger: &Path) -> Result<Self, LedgerError> {
        let path = ledger.join(INDEX);
        let connection = Connection::open_in_memory().map_err(failed(&path))?;
        let index = Self { path, connection };
        index.lay_out()?;
        Ok(index)
    }

    /// Opens the index of a ledger and brings it up to date. One that is damaged or of another layout is
    /// made again; where none can be written, one in memory will do.
    pub fn open(ledger: &Path) -> Result<(Self, Vec<Fault>), LedgerError> {
        let path = ledger.join(INDEX);
        let on_disk = || -> Result<Self, LedgerError> {
            let index = Self { connection: connect(&path).map_err(failed(&path))?, path: path.clone() };
            index.lay_out()?;
            Ok(index)
        };
        let mut index = match on_disk() {
            Ok(index) => index,
            Err(LedgerError::Index { source, .. }) if is_damaged(&source) => {
                remove_files(&path);
                on_disk()?
            }
            Err(_) => Self::of_nothing(ledger)?,
        };
        match index.catch_up(ledger) {
            Err(LedgerError::Index { source, .. }) if is_damaged(&source) => {
                drop(index);
                remove_files(&path);
                index = on_disk()?;
                let faults = index.catch_up(ledger)?;
                Ok((index, faults))
            }
            Ok(faults) => Ok((index, faults)),
            // A full disk, say: what the records hold can be looked up all the same.
            Err(_) => {
                let mut index = Self::of_nothing(ledger)?;
                let faults = index.catch_up(ledger)?;
                Ok((index, faults))
            }
        }
    }

    /// Throws everything away and reads all records again.
    pub fn rebuild(ledger: &Path) -> Result<(Self, Vec<Fault>), LedgerError> {
        remove_files(&ledger.join(INDEX));
        Self::open(ledger)
    }

    fn lay_out(&self) -> Result<(), LedgerError> {
        let failed = failed(&self.path);
        let begin = || -> rusqlite::Result<()> {
            let transaction = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
            let layout: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
            if layout != LAYOUT {
                transaction.execute_batch(
                    "DROP TABLE IF EXISTS files; DROP TABLE IF EXISTS entries; DROP TABLE IF EXISTS runs;",
                )?;
                transaction.execute_batch(TABLES)?;
                transaction.pragma_update(None, "user_version", LAYOUT)?;
            }
            transaction.commit()
        };
        begin().map_err(failed)
    }

    /// Takes in the batches that it does not know, and forgets those that are gone.
    pub fn catch_up(&mut self, ledger: &Path) -> Result<Vec<Fault>, LedgerError> {
        let there = batch::list(ledger)?;
        let known = self.files()?;
        if there == known.iter().map(|(name, bytes, _)| (name.clone(), *bytes)).collect::<Vec<_>>() {
            return Ok(Vec::new());
        }
        let gone: Vec<&str> = known
            .iter()
            .filter(|(name, bytes, _)| !there.contains(&(name.clone(), *bytes)))
            .map(|(name, ..)| name.as_str())
            .collect();
        let mut faults = Vec::new();
        let mut todo: Vec<(String, u64)> = Vec::new();
        for (name, bytes) in there {
            let known = known.iter().find(|(known, size, _)| *known == name && *size == bytes);
            // What another batch repeated may now be this one's alone.
            if known.is_none_or(|(.., repeated)| *repeated > 0 && !gone.is_empty()) {
                todo.push((name, bytes));
            }
        }
        let path = self.path.clone();
        let failed = failed(&path);
        self.forget(&gone).map_err(&failed)?;
        for (name, bytes) in todo {
            match batch::read(ledger, &name) {
                Ok(batch) => self.take(&name, bytes, &batch).map_err(&failed)?,
                Err(fault) => faults.push(fault),
            }
        }
        Ok(faults)
    }

    fn files(&self) -> Result<Vec<(String, u64, u64)>, LedgerError> {
        let failed = failed(&self.path);
        let read = || {
            let mut statement =
                self.connection.prepare_cached("SELECT name, bytes, repeated FROM files ORDER BY name")?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            rows.collect::<rusqlite::Result<_>>()
        };
        read().map_err(failed)
    }

    fn forget(&self, gone: &[&str]) -> rusqlite::Result<()> {
        if gone.is_empty() {
            return Ok(());
        }
        let transaction = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
        for name in gone {
            let mut runs: Vec<String> = Vec::new();
            {
                let mut statement = transaction
                    .prepare("SELECT DISTINCT run FROM entries WHERE file = ? AND run IS NOT NULL")?;
                for run in statement.query_map([name], |row| row.get(0))? {
                    runs.push(run?);
                }
            }
            transaction.execute("DELETE FROM entries WHERE file = ?", [name])?;
            transaction.execute("DELETE FROM files WHERE name = ?", [name])?;
            summarise(&transaction, &runs)?;
        }
        transaction.commit()
    }

    fn take(&self, name: &str, bytes: u64, batch: &Batch) -> rusqlite::Result<()> {
        let transaction = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
        let mut repeated = 0_u64;
        let mut runs: Vec<String> = Vec::new();
        {
            let mut insert = transaction.prepare_cached(
                "INSERT OR IGNORE INTO entries VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
            )?;
            let mut owner = transaction.prepare_cached("SELECT file FROM entries WHERE id = ?")?;
            for line in &batch.lines {
                let row = &line.row;
                let text = |digest: &Option<Digest>| digest.map(|digest| digest.to_string());
                let id = row.id.to_string();
                let new = insert.execute(params![
                    id,
                    name,
                    line.offset,
                    line.length,
                    row.kind.name(),
                    row.time,
                    row.run,
                    row.definition,
                    row.solution,
                    row.author,
                    text(&row.artifact),
                    text(&row.library),
                    row.arch,
                    row.device,
                    row.workload,
                    row.verdict,
                    row.trust,
                    row.latency_ns,
                    row.origin,
                ])?;
                if new == 0 {
                    let owner: Option<String> = owner.query_row([&id], |row| row.get(0)).optional()?;
                    repeated += u64::from(owner.as_deref() != Some(name));
                } else if let Some(run) = &row.run
                    && runs.last() != Some(run)
                {
                    runs.push(run.clone());
                }
            }
        }
        runs.sort();
        runs.dedup();
        summarise(&transaction, &runs)?;
        transaction.execute(
            "INSERT OR REPLACE INTO files VALUES (?,?,?,?)",
            params![name, bytes, batch.lines.len() as u64, repeated],
        )?;
        transaction.commit()
    }

    /// The entries that a filter leaves.
    pub fn rows(&self, filter: &Filter) -> Result<Vec<Row>, LedgerError> {
        let (clauses, values) = filter.clauses(Table::Entries);
        self.select(&format!("SELECT {ROW} FROM entries{clauses}"), values, row_of)
    }

    /// The runs that a filter leaves.
    pub fn runs(&self, filter: &Filter) -> Result<Vec<RunRow>, LedgerError> {
        let (clauses, values) = filter.clauses(Table::Runs);
        self.select(&format!("SELECT {RUN} FROM runs{clauses}"), values, run_of)
    }

    /// Where the entries stand whose name begins so.
    pub fn places(&self, prefix: &str) -> Result<Vec<Place>, LedgerError> {
        let bounds = vec![Value::Text(prefix.to_owned()), Value::Text(format!("{prefix}\u{10ffff}"))];
        let query =
            "SELECT id, file, offset, length FROM entries WHERE id >= ? AND id < ? ORDER BY id LIMIT 3";
        self.select(query, bounds, place_of)
    }

    /// Where every entry of a batch stands, with its row.
    pub fn rows_of_file(&self, file: &str) -> Result<Vec<Row>, LedgerError> {
        let query = format!("SELECT {ROW} FROM entries WHERE file = ? ORDER BY offset");
        self.select(&query, vec![Value::Text(file.to_owned())], row_of)
    }

    /// Which of these entries it knows.
    pub fn knows(&self, id: Digest) -> Result<bool, LedgerError> {
        let known = || {
            let mut statement = self.connection.prepare_cached("SELECT 1 FROM entries WHERE id = ?")?;
            statement.exists([id.to_string()])
        };
        known().map_err(failed(&self.path))
    }

    /// How many entries and runs there are.
    pub fn counts(&self) -> Result<(u64, u64), LedgerError> {
        let count = |table: &str| {
            self.connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))
        };
        let counts = || Ok((count("entries")?, count("runs")?));
        counts().map_err(failed(&self.path))
    }

    fn select<T>(
        &self,
        query: &str,
        values: Vec<Value>,
        read: fn(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, LedgerError> {
        let select = || {
            let mut statement = self.connection.prepare_cached(query)?;
            let rows = statement.query_map(params_from_iter(values), read)?;
            rows.collect::<rusqlite::Result<_>>()
        };
        select().map_err(failed(&self.path))
    }
}

fn summarise(transaction: &Transaction<'_>, runs: &[String]) -> rusqlite::Result<()> {
    let mut remove = transaction.prepare_cached("DELETE FROM runs WHERE run = ?")?;
    let mut summarise = transaction.prepare_cached(SUMMARISE)?;
    for run in runs {
        remove.execute([run])?;
        summarise.execute([run])?;
    }
    Ok(())
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(PATIENCE)?;
    // Readers do not wait for a writer. What a crash takes from the index, the records bring back.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    Ok(connection)
}

fn failed(path: &Path) -> impl Fn(rusqlite::Error) -> LedgerError {
    let path = path.to_owned();
    move |source| LedgerError::Index { path: path.clone(), source }
}

fn is_damaged(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
        || matches!(
            error,
            rusqlite::Error::FromSqlConversionFailure(..) | rusqlite::Error::InvalidColumnType(..)
        )
}

fn remove_files(path: &Path) {
    for end in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        let _ = fs::remove_file(PathBuf::from(name));
    }
}

fn digest_of(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Option<Digest>> {
    let text: Option<String> = row.get(column)?;
    Ok(text.and_then(|text| text.parse().ok()))
}

fn id_of(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Digest> {
    digest_of(row, column)?.ok_or(rusqlite::Error::InvalidColumnType(
        column,
        "id".to_owned(),
        rusqlite::types::Type::Text,
    ))
}

fn row_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    let kind: String = row.get(1)?;
    let kind = LedgerKind::of_name(&kind).ok_or(rusqlite::Error::InvalidColumnType(
        1,
        kind,
        rusqlite::types::Type::Text,
    ))?;
    Ok(Row {
        id: id_of(row, 0)?,
        kind,
        time: row.get(2)?,
        run: row.get(3)?,
        definition: row.get(4)?,
        solution: row.get(5)?,
        author: row.get(6)?,
        artifact: digest_of(row, 7)?,
        library: digest_of(row, 8)?,
        arch: row.get(9)?,
        device: row.get(10)?,
        workload: row.get(11)?,
        verdict: row.get(12)?,
        trust: row.get(13)?,
        latency_ns: row.get(14)?,
        origin: row.get(15)?,
    })
}

fn run_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<RunRow> {
    Ok(RunRow {
        run: row.get(0)?,
        time: row.get(1)?,
        definition: row.get(2)?,
        solution: row.get(3)?,
        author: row.get(4)?,
        artifact: digest_of(row, 5)?,
        arch: row.get(6)?,
        device: row.get(7)?,
        workloads: row.get(8)?,
        passed: row.get(9)?,
        trust: row.get(10)?,
        mean_ns: row.get(11)?,
        origin: row.get(12)?,
    })
}

fn place_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Place> {
    Ok(Place { id: id_of(row, 0)?, file: row.get(1)?, offset: row.get(2)?, length: row.get(3)? })
}
