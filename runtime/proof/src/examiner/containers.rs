//! Ranges that must consist of containers, and what lies in those.

use super::Examiner;
use crate::allotment;
use crate::bytes::slice;
use crate::coverage::Coverage;
use crate::examination::{Container, EntryPlace};
use crate::fatbin::{self, EntryKind, first_nonzero_in};
use crate::image::{self, PayloadJob};

impl<'a> Examiner<'a> {
    /// Reads a range that must consist of containers and padding.
    pub(super) fn containers(&mut self, start: u64, end: u64, place: &EntryPlace, padding: Padding) {
        let mut at = start;
        while at < end {
            if fatbin::starts_at(self.bytes, at) {
                match self.container(at, end, place) {
                    Some(next) => at = next,
                    None => return,
                }
                continue;
            }
            let next = self.next_container(at, end);
            self.gap(at, next, padding, next == end);
            at = next;
        }
    }

    /// The offset of the next container magic on the 8-byte grid, or the end.
    fn next_container(&self, at: u64, end: u64) -> u64 {
        let mut next = at.next_multiple_of(8).max(at + 1);
        while next < end && !fatbin::starts_at(self.bytes, next) {
            next += 1;
        }
        next.min(end)
    }

    fn gap(&mut self, start: u64, end: u64, padding: Padding, is_tail: bool) {
        if let Some(offset) = first_nonzero_in(self.bytes, start, end) {
            self.unaccounted(offset, "bytes in a fatbin section that belong to no container");
            return;
        }
        let allowed = match padding {
            Padding::None => 0,
            Padding::UpTo(align) => align.max(8),
        };
        if end - start >= allowed.max(1) {
            let whose = if is_tail { "behind the last container" } else { "between containers" };
            self.unaccounted(start, format!("{} zero bytes {whose}", end - start));
        }
    }

    /// Reads one container; gives the offset behind it unless it is none.
    pub(super) fn container(&mut self, at: u64, end: u64, place: &EntryPlace) -> Option<u64> {
        let entries = self.jobs.len() + self.found.entries.len();
        if self.found.containers.len().max(entries) >= allotment::ENTRIES {
            self.unaccounted(at, "more device code than any library has, which is not read");
            return None;
        }
        let raw = match fatbin::read(slice(self.bytes, 0, end)?, at) {
            Ok(raw) => raw,
            Err(reason) => {
                self.unaccounted(at, reason);
                self.coverage.mark(at, at + 4, Coverage::Header);
                return None;
            }
        };
        let index = self.found.containers.len();
        self.found.containers.push(Container { offset: at, size_bytes: raw.end - at, place: place.clone() });
        self.coverage.mark(at, at + fatbin::CONTAINER_HEADER_BYTES, Coverage::Header);
        for entry in raw.entries {
            self.queue(entry, index, place);
        }
        if let Some((offset, reason)) = raw.broken {
            self.unaccounted(offset, reason);
            self.coverage.mark(offset, raw.end, Coverage::Header);
        }
        Some(raw.end)
    }

    /// Marks an entry's coverage and leaves its payload for later, unless it stays as it is.
    fn queue(&mut self, raw: fatbin::RawEntry<'a>, container: usize, place: &EntryPlace) {
        let payload_end = raw.payload_offset + raw.payload.len() as u64;
        self.coverage.mark(raw.offset, raw.payload_offset, Coverage::Header);
        let coverage = match raw.header.kind() {
            _ if !raw.header.is_legible() => Coverage::Opaque,
            EntryKind::Ptx => Coverage::Ptx,
            _ => Coverage::Cubin,
        };
        self.coverage.mark(raw.payload_offset, payload_end, coverage);
        let rest = self.allowance.checked_sub(raw.header.uncompressed_bytes);
        self.allowance = rest.unwrap_or(self.allowance);
        let job = PayloadJob { raw, container, place: place.clone(), affordable: rest.is_some() };
        // A piece of work each would cost more than what is left to do: a library may hold tens of thousands.
        if job.stays_packed(self.depth) {
            self.found.entries.extend(image::read(job, self.depth));
        } else {
            self.jobs.push(job);
        }
    }
}

/// How many zero bytes may stand around containers.
#[derive(Clone, Copy)]
pub(super) enum Padding {
    /// None at all: a bare fatbin.
    None,
    /// Fewer than the section's alignment.
    UpTo(u64),
}
