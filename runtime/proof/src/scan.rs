//! Looks at every byte offset of a file for anything that could be device code.
//!
//! Sections and pointers say where device code should be; this scan says where it is. It looks for
//! container, wrapper and ancient magic, ELF headers for `EM_CUDA`, and PTX targets. What is
//! compressed or encrypted by something else than a fatbin cannot be seen by any scan.
//!
//! A magic that turns out to be no container is reported as unaccounted, and the file as unreadable,
//! even where people can see that it is harmless: cuDNN, cuSPARSELt and Triton hold the magic in
//! instructions that compare with it or write it, Triton also in a text by which LLVM knows files
//! (`P\xEDU\xBA` between two zero bytes). Whether a driver minds a container's version is not known, so
//! a header that we cannot read must not vanish from the answer, and a program that handles
//! containers itself can load what is in no file.
//!
//! In the data of host programs and in texts, words that mean something are seen in the same pass.

use std::ops::Range;
use std::sync::LazyLock;

use super::bytes::u16_at;
use super::cubin_reader::EM_CUDA;
use super::fatbin::{self, ANCIENT_MAGIC, CONTAINER_MAGIC, WRAPPER_MAGIC};
use super::ptx;
use super::runtime_jit::{self, Words};
use super::search::Search;

/// What was seen at an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// Container magic.
    Container,
    /// Wrapper magic.
    Wrapper,
    /// The magic of CUDA 2 and 3.
    Ancient,
    /// An ELF header for `EM_CUDA`.
    CudaElf,
    /// `.target` and `sm_`, whatever stands between.
    PtxTarget,
}

impl Mark {
    /// What to call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Container => "a container",
            Self::Wrapper => "a fatbin wrapper",
            Self::Ancient => "a container of CUDA 2 or 3",
            Self::CudaElf => "a cubin",
            Self::PtxTarget => "PTX",
        }
    }
}

/// One sighting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sighting {
    /// Offset of the pattern's first byte.
    pub(super) offset: u64,
    /// What it is.
    pub(super) mark: Mark,
}

/// The first bytes of each.
const PATTERNS: [(&[u8], Mark); 5] = [
    (&CONTAINER_MAGIC.to_le_bytes(), Mark::Container),
    (&WRAPPER_MAGIC.to_le_bytes(), Mark::Wrapper),
    (&ANCIENT_MAGIC.to_le_bytes(), Mark::Ancient),
    (b"\x7FELF", Mark::CudaElf),
    (ptx::TARGET, Mark::PtxTarget),
];

static MARKS: LazyLock<Search> = LazyLock::new(|| Search::of(&PATTERNS.map(|(bytes, _)| bytes)));
static MARKS_AND_WORDS: LazyLock<Search> = LazyLock::new(|| {
    let marks = PATTERNS.iter().map(|&(bytes, _)| bytes);
    Search::of(&marks.chain(runtime_jit::beginnings()).collect::<Vec<_>>())
});

/// What follows the magic of a cubin: 64 bits, little-endian, version 1, and the system of CUDA by either of its
/// numbers.
const IDENTS: [&[u8]; 2] = [&[2, 1, 1, 0x33], &[2, 1, 1, 0x41]];

/// Bytes from a pattern's start within which it is decided: the ELF header up to its machine, and blanks
/// and comments between a PTX directive and its target. A comment beyond that counts as seen.
pub(super) const REACH_BYTES: usize = 1024;

/// Bytes before a pattern that help to decide whether it is one.
pub(super) const LOOK_BEHIND_BYTES: usize = ptx::LOOK_BEHIND_BYTES;

/// Every sighting, in order of offset.
pub(super) fn scan(bytes: &[u8]) -> Vec<Sighting> {
    let mut sightings = Vec::new();
    MARKS.each(bytes, |at, index| sightings.extend(sighting(bytes, at, index)));
    sightings.sort_unstable_by_key(|sighting| sighting.offset);
    sightings
}

/// Whether what a container says is packed is looked at too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packed {
    /// It is.
    Scanned,
    /// It means nothing as it stands, so it is passed over.
    PassedOver,
}

/// Every sighting that starts in a range of a file, in order of offset. Reads a little around the range, so that each
/// belongs to the one range in which it starts.
pub(super) fn scan_range(file: &[u8], range: &Range<usize>, packed: Packed) -> Vec<Sighting> {
    let mut sightings = Vec::new();
    MARKS.each_but(around(file, range), |at, index| {
        let found = sighting_in(file, range, at, index);
        sightings.extend(found);
        behind(file, range, found, packed)
    });
    sightings.sort_unstable_by_key(|sighting| sighting.offset);
    sightings
}

/// The same with the words that start there.
pub(super) fn scan_text(file: &[u8], range: &Range<usize>, packed: Packed) -> (Vec<Sighting>, Words) {
    let mut sightings = Vec::new();
    let words = Words::of_piece(range, |take| {
        MARKS_AND_WORDS.each_but(around(file, range), |at, index| {
            let found = sighting_in(file, range, at, index);
            sightings.extend(found);
            let at = at + start_around(range);
            if let Some(word) = runtime_jit::word_at(&file[..end_around(file, range)], at) {
                take(word);
            }
            behind(file, range, found, packed)
        });
    });
    sightings.sort_unstable_by_key(|sighting| sighting.offset);
    (sightings, words)
}

/// Up to which offset, from where the bytes around a range start, a sighting leaves nothing to be looked at.
fn behind(file: &[u8], range: &Range<usize>, found: Option<Sighting>, packed: Packed) -> usize {
    let container = found.filter(|one| one.mark == Mark::Container && packed == Packed::PassedOver);
    let end = container.and_then(|one| fatbin::end_of_packed(file, one.offset));
    end.and_then(|end| usize::try_from(end).ok()?.checked_sub(start_around(range))).unwrap_or(0)
}

fn around<'a>(file: &'a [u8], range: &Range<usize>) -> &'a [u8] {
    &file[start_around(range)..end_around(file, range)]
}

fn start_around(range: &Range<usize>) -> usize {
    range.start.saturating_sub(LOOK_BEHIND_BYTES)
}

fn end_around(file: &[u8], range: &Range<usize>) -> usize {
    file.len().min(range.end.saturating_add(REACH_BYTES))
}

/// A sighting by its offset in the bytes around a range, if it starts in it.
fn sighting_in(file: &[u8], range: &Range<usize>, at: usize, index: usize) -> Option<Sighting> {
    let start = start_around(range);
    if !range.contains(&(start + at)) {
        return None;
    }
    let found = sighting(around(file, range), at, index)?;
    Some(Sighting { offset: found.offset + start as u64, ..found })
}

/// The sighting at an offset at which a pattern starts; none for what is no pattern.
fn sighting(bytes: &[u8], at: usize, index: usize) -> Option<Sighting> {
    let &(_, mark) = PATTERNS.get(index)?;
    is_meant(bytes, at, mark).then_some(Sighting { offset: at as u64, mark })
}

/// Whether the bytes of a pattern are more than that.
fn is_meant(bytes: &[u8], at: usize, mark: Mark) -> bool {
    let rest = &bytes[at..];
    match mark {
        // Packers that keep bytes as they are keep a cubin's first eight, its machine further on not always.
        Mark::CudaElf => {
            u16_at(rest, 18) == Some(EM_CUDA) || rest.get(4..8).is_some_and(|ident| IDENTS.contains(&ident))
        }
        Mark::PtxTarget => {
            ptx::names_target(&rest[..rest.len().min(REACH_BYTES)], true) && ptx::may_stand_at(bytes, at)
        }
        Mark::Container | Mark::Wrapper | Mark::Ancient => true,
    }
}

/// Whether the ELF at an offset is for CUDA by its machine, not only by its first bytes.
pub(super) fn names_machine(bytes: &[u8], at: u64) -> bool {
    usize::try_from(at).ok().and_then(|at| u16_at(bytes, at.checked_add(18)?)) == Some(EM_CUDA)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cuda_elf() -> Vec<u8> {
        let mut header = vec![0; 20];
        header[..4].copy_from_slice(b"\x7FELF");
        header[18] = 190;
        header
    }

    #[test]
    fn finds_every_pattern_at_every_offset() {
        let samples: [(Mark, Vec<u8>); 5] = [
            (Mark::Container, 0xBA55_ED50_u32.to_le_bytes().to_vec()),
            (Mark::Wrapper, 0x4662_43B1_u32.to_le_bytes().to_vec()),
            (Mark::Ancient, 0x1EE5_5A01_u32.to_le_bytes().to_vec()),
            (Mark::CudaElf, cuda_elf()),
            (Mark::PtxTarget, b".target sm_90".to_vec()),
        ];
        for (mark, sample) in samples {
            for offset in 0..200 {
                for tail in [0, 1, 63, 64, 65] {
                    let mut bytes = vec![0xAA; offset];
                    bytes.extend_from_slice(&sample);
                    bytes.resize(bytes.len() + tail, 0xAA);
                    assert_eq!(
                        scan(&bytes),
                        [Sighting { offset: offset as u64, mark }],
                        "{mark:?} {offset} {tail}"
                    );
                }
            }
        }
    }

    #[test]
    fn words_are_seen_along_with_marks_across_two_pieces_too() {
        let file = b".target %s, libnvrtc.so; .target sm_90 P\xEDU\xBA ptxas -v".as_slice();
        let whole = scan_text(file, &(0..file.len()), Packed::Scanned);
        let marks: Vec<_> = whole.0.iter().map(|one| one.mark).collect();
        assert_eq!(marks, [Mark::PtxTarget, Mark::Container]);
        assert_eq!(whole.1.found, runtime_jit::distinct(file, &(0..file.len())));
        for cut in 0..=file.len() {
            let (mut sightings, mut words) = scan_text(file, &(0..cut), Packed::PassedOver);
            let behind = scan_text(file, &(cut..file.len()), Packed::Scanned);
            sightings.extend(behind.0);
            words.extend(behind.1);
            assert_eq!((&sightings, &words.found), (&whole.0, &whole.1.found), "{cut}");
            let marks =
                [0..cut, cut..file.len()].map(|range| scan_range(file, &range, Packed::PassedOver)).concat();
            assert_eq!(marks, whole.0, "{cut}");
        }
    }

    #[test]
    fn what_a_container_says_is_packed_is_passed_over_on_demand_alone() {
        let container = include_bytes!("../../../tests/fixtures/proof/exact_compressed_13.0.fatbin");
        let [_, packed @ ..] = &fatbin::read(container, 0).unwrap().entries[..] else { panic!("no entry") };
        assert!(packed.is_empty(), "one entry");
        let end = fatbin::end_of_packed(container, 0).unwrap();
        assert_eq!(end, container.len() as u64);
        let mut file = [&[0; 100][..], container, b"\n.target sm_90"].concat();
        file[100 + 100..100 + 104].copy_from_slice(&CONTAINER_MAGIC.to_le_bytes());
        let marks = |packed| -> Vec<u64> {
            scan_range(&file, &(0..file.len()), packed).into_iter().map(|one| one.offset).collect()
        };
        assert_eq!(marks(Packed::Scanned), [100, 200, 101 + end]);
        assert_eq!(marks(Packed::PassedOver), [100, 101 + end]);
    }

    #[test]
    fn passes_over_elf_for_other_machines_and_cut_patterns() {
        let mut host = cuda_elf();
        host[18] = 62;
        assert!(scan(&host).is_empty());
        assert!(scan(&cuda_elf()[..19]).is_empty());
        assert!(scan(b".target sm").is_empty());
        assert!(scan(&[]).is_empty());
    }
}
