//! What a tool leaves in an ELF whose tables it moved elsewhere: patchelf, which repairs wheels.
//!
//! It gives tables that grew (names, symbols, the dynamic table, notes in the way) a segment of their own, mostly
//! behind everything else. None of what it leaves can hold device code.
//!
//! | left | known by |
//! |---|---|
//! | filling where a table stood | runs of `X` (up to version 0.18) or `Z` (0.19), with zeros between |
//! | the table of sections as it was (0.19) | each entry is one of today's, at its place or a former one |
//! | what rounds the last segment up | zeros in what is mapped of it, and one byte behind it |
//!
//! A former place must be free today: no section takes any of it.

use std::collections::HashSet;

use super::elf::{Elf, Kind};
use crate::bytes::{first_nonzero, run_of, slice, u32_at, u64_at};

/// Filling where a table stood.
const FILLING: [u8; 2] = *b"XZ";
/// How often the byte may change in one gap, in runs: each table that was moved leaves two, and there are a dozen.
const RUNS_LIMIT: usize = 64;
/// How many zeros may follow each other, in bytes: what the largest page rounds up.
const ZEROS_LIMIT: usize = 2 << 20;
/// Size of an entry of the table of sections, in bytes.
const ENTRY_BYTES: usize = 64;
/// Largest alignment of a section, in bytes.
const ALIGNMENT_LIMIT: u64 = 2 << 20;
/// Zeros that patchelf writes behind the last segment, for readers that expect the file to be longer.
const BEHIND_BYTES: u64 = 1;

/// What an entry of the table of sections keeps wherever its section is moved: name, type, flags, entry size.
type Kept = (u32, u32, u64, u64);
/// Where a section is: address, offset and size.
type Place = (u64, u64, u64);

/// An ELF whose tables may have been moved.
pub(super) struct Leftovers<'a> {
    elf: &'a Elf<'a>,
    kept: HashSet<Kept>,
    placed: HashSet<(Kept, Place)>,
    /// What sections take of the file, in order.
    taken: Vec<(u64, u64)>,
    /// No link and no other number of an entry is larger.
    largest_number: u32,
}

impl<'a> Leftovers<'a> {
    /// Knows what the tables say today.
    pub(super) fn of(elf: &'a Elf<'a>) -> Self {
        let [_, (start, end)] = elf.tables;
        let table = slice(elf.bytes, start, end.saturating_sub(start)).unwrap_or_default();
        let entries = table.chunks_exact(ENTRY_BYTES).filter(|entry| first_nonzero(entry).is_some());
        let placed: HashSet<(Kept, Place)> =
            entries.filter_map(|entry| kept(entry).zip(place(entry))).collect();
        let kept = placed.iter().map(|&(kept, _)| kept).collect();
        let with_bytes = elf.sections.iter().filter(|section| section.has_bytes());
        let mut taken: Vec<(u64, u64)> = with_bytes.map(|section| (section.offset, section.end())).collect();
        taken.sort_unstable();
        let count = u32::try_from(elf.sections.len()).unwrap_or(u32::MAX);
        let largest_number = elf.sections.iter().map(|section| section.info).fold(count, u32::max);
        Self { elf, kept, placed, taken, largest_number }
    }

    /// Whether what stands between two parts, from an offset on, is such a leftover.
    pub(super) fn explain(&self, start: u64, gap: &[u8]) -> bool {
        if self.elf.kind == Kind::Relocatable {
            return false;
        }
        let mut at = 0;
        for _ in 0..RUNS_LIMIT {
            let Some(&byte) = gap.get(at) else { return true };
            let run = run_of(byte, &gap[at..]);
            let length = match byte {
                0 if run < ZEROS_LIMIT => run,
                byte if FILLING.contains(&byte) => run,
                _ => {
                    // An entry begins with the offset of its name, whose lowest byte may be zero.
                    at -= usize::try_from(start.saturating_add(at as u64) % 4).unwrap_or(0).min(at);
                    self.former_entries(&gap[at..]) * ENTRY_BYTES
                }
            };
            if length == 0 {
                return false;
            }
            at += length;
        }
        at == gap.len()
    }

    /// Whether zeros at the end of the file are what rounds up the last segment.
    pub(super) fn explain_tail(&self, end: u64) -> bool {
        let mapped = self.elf.loads().map(|load| load.offset.saturating_add(load.file_bytes)).max();
        self.elf.kind != Kind::Relocatable
            && mapped.is_some_and(|mapped| end <= mapped.saturating_add(BEHIND_BYTES))
    }

    /// How many entries of the table of sections follow each other, as they are or as they were.
    fn former_entries(&self, bytes: &[u8]) -> usize {
        let entries = bytes.chunks_exact(ENTRY_BYTES);
        entries.take_while(|entry| self.is_former(entry).unwrap_or(false)).count()
    }

    /// Whether an entry is one of today's, but for the numbers of other sections and for a former place.
    fn is_former(&self, entry: &[u8]) -> Option<bool> {
        let (kept, place) = (kept(entry)?, place(entry)?);
        let (link, number, alignment) = (u32_at(entry, 40)?, u32_at(entry, 44)?, u64_at(entry, 48)?);
        let is_plausible = link.max(number) <= self.largest_number && alignment <= ALIGNMENT_LIMIT;
        let is_placed = self.placed.contains(&(kept, place));
        Some(is_plausible && (is_placed || (self.kept.contains(&kept) && self.is_free(place))))
    }

    /// Whether a place is mapped, and no section takes any of it.
    fn is_free(&self, (address, offset, size): Place) -> bool {
        let end = offset.saturating_add(size);
        let next = self.taken.partition_point(|&(_, taken_end)| taken_end <= offset);
        self.elf.file_offset(address) == Some(offset)
            && end <= self.elf.bytes.len() as u64
            && self.taken.get(next).is_none_or(|&(taken, _)| end <= taken)
    }
}

fn kept(entry: &[u8]) -> Option<Kept> {
    Some((u32_at(entry, 0)?, u32_at(entry, 4)?, u64_at(entry, 8)?, u64_at(entry, 56)?))
}

fn place(entry: &[u8]) -> Option<Place> {
    Some((u64_at(entry, 16)?, u64_at(entry, 24)?, u64_at(entry, 32)?))
}
