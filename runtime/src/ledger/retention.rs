//! What may be dropped, and what never is.
//!
//! Only measurements, comparisons and traces are ever dropped. Never those that a seal or a promotion names,
//! nor any of an artifact that one names; and challenges, seals and promotions stay, so that nothing is tried
//! twice unknowingly.

use std::collections::HashSet;
use std::path::PathBuf;

use proofmark_packager::Digest;
use serde::Serialize;

use super::batch;
use super::entry::{LedgerEntry, LedgerLine, id_of};
use super::import;
use super::row::{LedgerKind, Row};
use super::{Filter, Ledger, LedgerError};

/// What a sweep did, or would do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Dropped {
    /// Entries that were dropped.
    pub dropped: u64,
    /// Entries that are old enough, and stay because a seal or a promotion names them.
    pub kept_by_name: u64,
    /// Bytes that became free.
    pub freed_bytes: u64,
}

/// Whether records are dropped or only counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Count.
    Look,
    /// Drop.
    Drop,
}

/// What is named: by itself, or by its artifact.
#[derive(Debug, Default)]
struct Named {
    entries: HashSet<Digest>,
    artifacts: HashSet<Digest>,
}

/// Drops what is older than a moment, except what is named, here or on the shelves.
pub fn sweep(
    ledger: &mut Ledger,
    before: &str,
    shelves: &[PathBuf],
    extent: Extent,
) -> Result<Dropped, LedgerError> {
    // Where there is no ledger, nothing goes, and nothing is made to hold a lock.
    if !Ledger::is_at(ledger.folder()) {
        return Ok(Dropped::default());
    }
    let _lock = ledger.lock()?;
    let named = named(ledger, shelves)?;
    let mut done = Dropped::default();
    for (name, bytes) in batch::list(ledger.folder())? {
        let rows = ledger.rows_of_file(&name)?;
        let is_old = |row: &&Row| can_go(row.kind) && row.time.as_str() < before && !row.time.is_empty();
        let old: Vec<&Row> = rows.iter().filter(is_old).collect();
        let stays = |row: &&&Row| {
            named.entries.contains(&row.id) || row.artifact.is_some_and(|one| named.artifacts.contains(&one))
        };
        done.kept_by_name += old.iter().filter(stays).count() as u64;
        let gone: HashSet<Digest> = old.iter().filter(|row| !stays(row)).map(|row| row.id).collect();
        if gone.is_empty() {
            continue;
        }
        done.dropped += gone.len() as u64;
        if extent == Extent::Look {
            continue;
        }
        // First what stays is written, then the old batch goes: whenever this is cut short, nothing is lost.
        let left = without(ledger, &name, &gone)?;
        batch::remove(ledger.folder(), &name)?;
        done.freed_bytes += bytes.saturating_sub(left);
    }
    ledger.refresh()?;
    Ok(done)
}

fn can_go(kind: LedgerKind) -> bool {
    matches!(kind, LedgerKind::Workload | LedgerKind::Comparison | LedgerKind::Trace)
}

/// Writes a batch again without some of its lines; gives the new one's size.
fn without(ledger: &Ledger, name: &str, gone: &HashSet<Digest>) -> Result<u64, LedgerError> {
    let path = ledger.folder().join(batch::RECORDS).join(name);
    let bytes = crate::regular_file::read(&path, batch::LARGEST_BYTES);
    let bytes = bytes.map_err(LedgerError::file("read", &path))?;
    let text = String::from_utf8_lossy(&bytes);
    let mut lines = text.lines();
    let head = lines.next().map(LedgerEntry::from_line).transpose()?;
    let rest: Vec<String> = lines.filter(|line| !gone.contains(&id_of(line))).map(str::to_owned).collect();
    let Some(LedgerEntry::Own(own)) = head else { return Ok(bytes.len() as u64) };
    let LedgerLine::Batch(head) = *own else { return Ok(bytes.len() as u64) };
    if rest.is_empty() {
        return Ok(0);
    }
    batch::write(ledger.folder(), &head.origin, &rest).map(|(_, bytes)| bytes)
}

fn named(ledger: &Ledger, shelves: &[PathBuf]) -> Result<Named, LedgerError> {
    let mut named = Named::default();
    for kind in [LedgerKind::Seal, LedgerKind::Promotion, LedgerKind::Challenge] {
        for row in ledger.rows(&Filter { kind: Some(kind), ..Filter::default() })? {
            let (_, entry) = ledger.entry(row.id)?;
            if let LedgerEntry::Own(line) = entry {
                named.add(&line);
            }
        }
    }
    for file in shelves.iter().flat_map(|shelf| import::files(shelf)) {
        // What is no artifact names nothing.
        let Ok(opened) = proofmark_packager::open::open(&file) else { continue };
        if let Ok((lines, _)) = import::of_artifact(&opened.bundle) {
            named.entries.extend(lines.iter().map(|line| id_of(line)));
            named.artifacts.insert(opened.bundle.artifact.digest());
        }
    }
    Ok(named)
}

impl Named {
    fn add(&mut self, line: &LedgerLine) {
        match line {
            LedgerLine::Seal(seal) => {
                self.artifacts.insert(seal.artifact);
                self.entries.extend(&seal.records);
            }
            LedgerLine::Promotion(line) => {
                self.artifacts.insert(line.artifact);
                self.entries.extend(line.comparison);
            }
            LedgerLine::Challenge(line) => self.entries.extend(line.comparison),
            LedgerLine::Batch(_) | LedgerLine::Trace(_) => {}
        }
    }
}
