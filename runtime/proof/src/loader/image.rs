//! The bytes after the loader has written its relocations, and what was not there before.

use super::elf::Elf;
use super::relocation::{Relocation, Value};
use crate::bytes::slice;
use crate::problem::Problem;
use crate::scan;

/// Writes that stand closer than this are looked at together, in bytes: longer than any pattern.
const NEAR_BYTES: u64 = 64;

/// Size of a pointer, in bytes.
const POINTER_BYTES: u64 = 8;

/// What the loader writes, in order of offset.
pub(super) struct Image<'a> {
    writes: &'a [Relocation],
    /// The widest of them, in bytes.
    widest: u64,
}

impl Image<'_> {
    /// The pointer that the loader writes at an offset of the file; of one that it writes in part, nothing is known.
    pub(super) fn written_at(&self, offset: u64) -> Option<Value> {
        let found = self.writes.binary_search_by_key(&offset, |write| write.offset).ok()?;
        let write = self.writes.get(found)?;
        Some(if write.width == POINTER_BYTES { write.value } else { Value::Unknown })
    }

    /// Writes that touch `[start, end)`.
    pub(super) fn touching(&self, start: u64, end: u64) -> impl Iterator<Item = &Relocation> {
        let from = self.writes.partition_point(|write| write.offset.saturating_add(self.widest) <= start);
        let before_end = self.writes[from..].iter().take_while(move |write| write.offset < end);
        before_end.filter(move |write| write.offset.saturating_add(write.width) > start)
    }
}

/// Applies the writes to copies of the bytes around them, and names what they change about device code.
pub(super) fn apply<'a>(elf: &Elf<'_>, writes: &'a [Relocation], problems: &mut Vec<Problem>) -> Image<'a> {
    let widest = writes.iter().map(|write| write.width).max().unwrap_or_default();
    let image = Image { writes, widest };
    if let Some(pair) =
        writes.windows(2).find(|pair| pair[0].offset.saturating_add(pair[0].width) > pair[1].offset)
    {
        problems.push(Problem::over(pair[1].offset, pair[1].width, "two relocations write the same bytes"));
    }
    let mut rest = writes;
    while !rest.is_empty() {
        let near = rest.windows(2).position(|pair| pair[1].offset - pair[0].offset > NEAR_BYTES);
        let (group, behind) = rest.split_at(near.map_or(rest.len(), |last| last + 1));
        look(elf.bytes, group, problems);
        rest = behind;
    }
    image
}

/// Looks at the bytes around some writes as they are after them.
fn look(bytes: &[u8], group: &[Relocation], problems: &mut Vec<Problem>) {
    let (Some(first), Some(last)) = (group.first(), group.last()) else { return };
    let start = first.offset.saturating_sub(NEAR_BYTES);
    let end = last.offset.saturating_add(last.width.min(NEAR_BYTES) + NEAR_BYTES).min(bytes.len() as u64);
    let Some(before) = end.checked_sub(start).and_then(|size| slice(bytes, start, size)) else { return };
    let mut after = before.to_vec();
    for write in group {
        let (Value::Known(value) | Value::Preemptible(value)) = write.value else { continue };
        let at = usize::try_from(write.offset - start).unwrap_or(usize::MAX);
        let width = usize::try_from(write.width.min(8)).unwrap_or(8);
        if let Some(place) = after.get_mut(at..at.saturating_add(width)) {
            place.copy_from_slice(&value.to_le_bytes()[..width]);
        }
    }
    let known = scan::scan(before);
    for sighting in scan::scan(&after).into_iter().filter(|sighting| !known.contains(sighting)) {
        let reason = format!("{} that a relocation writes when it is loaded", sighting.mark.name());
        problems.push(Problem::at(start + sighting.offset, reason));
    }
}
