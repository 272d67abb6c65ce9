//! The pieces that the reading of a file falls into, none of which needs another's result.
//!
//! Payloads, texts and the scan form one list, so that no core waits at the end of one kind of work
//! for the next to begin, and the list's order decides the order of the findings, whichever core
//! comes first.

use std::ops::Range;

use super::allotment::{KERNEL_BYTES, Kept};
use super::coverage::overlaps;
use super::depth::Depth;
use super::embedded::{self, Budget, Embedded};
use super::examination::Entry;
use super::image::{self, PayloadJob};
use super::mapped;
use super::problem::Problem;
use super::runtime_jit::{self, RuntimeJit, Word, Words};
use super::scan::{self, Packed, Sighting};

/// One piece of work.
pub(super) enum ReadingTask<'a> {
    /// Read a payload.
    Read(Box<PayloadJob<'a>>),
    /// Look for Python that makes device code at run time.
    Python(Range<usize>),
    /// Look at every byte offset for device code.
    Scan(Range<usize>, Packed),
    /// The same, and for words in data and texts.
    ScanText(Range<usize>, Packed),
    /// Look for device code in other forms, in a part of the file up to an end.
    Unpack(Range<usize>, usize),
}

/// What came of it.
pub(super) enum TaskOutcome {
    /// From a payload.
    Entries(Vec<Entry>),
    /// From Python.
    Signs(Vec<RuntimeJit>),
    /// From the scan, by offset in the file.
    Sightings(Vec<Sighting>, Words),
    /// From other forms, by offset in the file.
    Embedded(Embedded),
}

impl ReadingTask<'_> {
    /// Where in the file its turn is. What lies side by side is read at the same time, so that its bytes come from
    /// memory once: a payload that is stored as it is before the scan of the pieces that it lies in, which give
    /// back the memory behind it.
    pub(super) fn turn(&self) -> usize {
        match self {
            Self::Read(job) => usize::try_from(job.raw.payload_offset).unwrap_or(usize::MAX),
            Self::Python(range) | Self::Unpack(range, _) => range.start,
            Self::Scan(range, _) | Self::ScanText(range, _) => range.end,
        }
    }

    /// Does it. Ranges end inside `file`.
    pub(super) fn run(self, file: &[u8], depth: Depth, kept: &Kept, budget: &Budget) -> TaskOutcome {
        let (outcome, used) = match self {
            Self::Read(job) => {
                let is_scanned = job.raw.header.is_legible() && !job.place.loose;
                let used = if is_scanned { &[][..] } else { job.raw.payload };
                let mut entries = image::read(*job, depth);
                for entry in &mut entries {
                    keep(entry, kept);
                }
                (TaskOutcome::Entries(entries), used)
            }
            Self::Python(range) => {
                let signs = runtime_jit::python_signs(with_reach(file, &range));
                (TaskOutcome::Signs(signs), &file[range])
            }
            Self::Scan(range, packed) => {
                let found = scan::scan_range(file, &range, packed);
                (TaskOutcome::Sightings(found, Words::default()), &file[range])
            }
            Self::ScanText(range, packed) => {
                let (found, words) = scan::scan_text(file, &range, packed);
                (TaskOutcome::Sightings(found, words), &file[range])
            }
            Self::Unpack(range, end) => {
                let found = embedded::find(&file[..end], range.clone(), budget);
                (TaskOutcome::Embedded(found), &file[range])
            }
        };
        if file.len() >= LARGE_BYTES {
            mapped::release(used);
        }
        outcome
    }
}

/// From this size on, in bytes, a mapped file gives back the memory behind what was read; mapping it once more for
/// the next look costs as much as reading it. Less than what one file may take beside [`allotment`](super::allotment).
const LARGE_BYTES: usize = 512 << 20;

/// Keeps the kernels of an entry, as long as those of one file together stay within bounds.
pub(super) fn keep(entry: &mut Entry, kept: &Kept) {
    let cubin = entry.cubin.iter_mut().map(|cubin| {
        let names = cubin.kernels.iter().map(|kernel| KERNEL_BYTES + kernel.name.len() as u64);
        names.sum::<u64>()
    });
    let ptx =
        entry.ptx.iter().flat_map(|ptx| ptx.kernels.iter().map(|name| KERNEL_BYTES + name.len() as u64));
    if kept.take(cubin.sum::<u64>() + ptx.sum::<u64>()) {
        return;
    }
    if let Some(cubin) = &mut entry.cubin {
        cubin.kernels = Vec::new();
    }
    if let Some(ptx) = &mut entry.ptx {
        ptx.kernels = Vec::new();
    }
    let reason = "the names of its kernels take more memory than those of any honest library";
    entry.problems.push(Problem::at(entry.offset, reason));
}

/// A range with what may belong to a word that starts in it.
fn with_reach<'a>(file: &'a [u8], range: &Range<usize>) -> &'a [u8] {
    &file[range.start..file.len().min(range.end.saturating_add(runtime_jit::REACH_BYTES))]
}

/// Whether a piece looks like text, which may be Python.
pub(super) fn is_text(file: &[u8], piece: &Range<usize>) -> bool {
    runtime_jit::is_text(with_reach(file, piece))
}

/// The words in some parts of a file, each in order of offset, of those that the scan saw; where it saw too many, each
/// once for a piece.
pub(super) fn words_in(file: &[u8], parts: &[(u64, u64)], seen: &Words) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    for &(start, end) in parts {
        words.extend(runtime_jit::between(&seen.found, start, end));
    }
    for piece in chunks(file, &overlaps(&seen.crowded, parts)) {
        words.extend(runtime_jit::distinct(file, &piece));
    }
    words.sort_by_key(|word| word.offset);
    words
}

/// Bytes of one piece: what stays in a core's own cache, and thousands of times what it costs to
/// hand a piece out.
const CHUNK_BYTES: usize = 1 << 20;

/// Cuts parts of the file into pieces; what lies beyond its end is left out.
pub(super) fn chunks(file: &[u8], parts: &[(u64, u64)]) -> Vec<Range<usize>> {
    let mut chunks = Vec::new();
    for &(start, end) in parts {
        let end = usize::try_from(end).unwrap_or(usize::MAX).min(file.len());
        let Ok(start) = usize::try_from(start) else { continue };
        chunks.extend((start..end).step_by(CHUNK_BYTES).map(|at| at..end.min(at + CHUNK_BYTES)));
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fatbin::CONTAINER_MAGIC;

    #[test]
    fn a_pattern_across_two_pieces_is_seen_once() {
        for overlap in 0..=4 {
            let mut file = vec![0; 3 * CHUNK_BYTES];
            let at = 2 * CHUNK_BYTES - overlap;
            file[at..at + 4].copy_from_slice(&CONTAINER_MAGIC.to_le_bytes());
            let pieces = chunks(&file, &[(0, file.len() as u64)]);
            assert_eq!(pieces.len(), 3);
            let seen: Vec<u64> = pieces
                .into_iter()
                .flat_map(|piece| scan::scan_range(&file, &piece, Packed::Scanned))
                .map(|one| one.offset)
                .collect();
            assert_eq!(seen, [at as u64]);
        }
    }

    #[test]
    fn prose_across_two_pieces_is_prose() {
        let mut file = vec![b' '; 2 * CHUNK_BYTES];
        for (word, seen) in [(&b"requires"[..], 0), (b"\n", 1)] {
            file[CHUNK_BYTES - 20..CHUNK_BYTES - 20 + word.len()].copy_from_slice(word);
            file[CHUNK_BYTES..CHUNK_BYTES + 13].copy_from_slice(b".target sm_60");
            let pieces = chunks(&file, &[(0, file.len() as u64)]);
            assert_eq!(
                pieces.into_iter().flat_map(|piece| scan::scan_range(&file, &piece, Packed::Scanned)).count(),
                seen
            );
            file.fill(b' ');
        }
    }

    #[test]
    fn a_text_across_two_pieces_is_a_sign() {
        let mut file = vec![b' '; 2 * CHUNK_BYTES];
        let name = b"nvrtcCompileProgram";
        let at = CHUNK_BYTES - 5;
        file[at..at + name.len()].copy_from_slice(name);
        let mut seen = Words::default();
        for piece in chunks(&file, &[(0, file.len() as u64)]) {
            seen.extend(scan::scan_text(&file, &piece, Packed::Scanned).1);
        }
        let whole = [(0, file.len() as u64)];
        let [word] = words_in(&file, &whole, &seen)[..] else { panic!("{seen:?}") };
        assert_eq!(word.offset, at as u64);
        assert!(words_in(&file, &[(0, at as u64), (at as u64 + 1, 2 << 20)], &seen).is_empty());
    }

    #[test]
    fn one_word_is_known_behind_very_many_others() {
        let mut file = b"nvcc -".repeat(CHUNK_BYTES / 6);
        file.extend_from_slice(b"libnvvm.so");
        let whole = [(0, file.len() as u64)];
        let seen = scan::scan_text(&file, &(0..file.len()), Packed::Scanned).1;
        assert_eq!(words_in(&file, &whole, &seen).len(), 2);
        let end = file.len() as u64;
        assert_eq!(words_in(&file, &[(end - 10, end)], &seen).len(), 1);
    }

    #[test]
    fn pieces_never_leave_the_file() {
        assert_eq!(chunks(&[0; 8], &[(2, 6), (7, u64::MAX), (9, 12)]), [2..6, 7..8]);
    }
}
