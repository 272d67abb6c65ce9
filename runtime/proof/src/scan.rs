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
//! One pass behind a [`prefilter`](super::prefilter): only blocks that hold two neighbouring bytes of a pattern are
//! looked at byte by byte.

use super::bytes::u16_at;
use super::cubin_reader::EM_CUDA;
use super::fatbin::{ANCIENT_MAGIC, CONTAINER_MAGIC, WRAPPER_MAGIC};
use super::prefilter::{Pair, prefilter};
use super::ptx;

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

/// A pattern with the position of the neighbouring bytes by which blocks are tested.
#[derive(Clone, Copy)]
struct Pattern {
    bytes: &'static [u8],
    probe: usize,
    mark: Mark,
}

impl Pattern {
    fn pair(&self) -> Pair {
        (self.bytes[self.probe], self.bytes[self.probe + 1])
    }
}

const PATTERNS: [Pattern; 5] = [
    Pattern { bytes: &CONTAINER_MAGIC.to_le_bytes(), probe: 1, mark: Mark::Container },
    Pattern { bytes: &WRAPPER_MAGIC.to_le_bytes(), probe: 0, mark: Mark::Wrapper },
    Pattern { bytes: &ANCIENT_MAGIC.to_le_bytes(), probe: 1, mark: Mark::Ancient },
    Pattern { bytes: b"\x7FELF", probe: 0, mark: Mark::CudaElf },
    Pattern { bytes: ptx::TARGET, probe: 3, mark: Mark::PtxTarget },
];

/// The first bytes of all probes.
const PROBES: [bool; 256] = {
    let mut probes = [false; 256];
    let mut index = 0;
    while index < PATTERNS.len() {
        probes[PATTERNS[index].bytes[PATTERNS[index].probe] as usize] = true;
        index += 1;
    }
    probes
};

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
    prefilter(bytes, PATTERNS.map(|pattern| pattern.pair()), |start, end| {
        look_closely(bytes, start, end, &mut sightings);
    });
    sightings.sort_by_key(|sighting| sighting.offset);
    sightings
}

/// Collects the patterns whose probe lies in `[start, end)`.
fn look_closely(bytes: &[u8], start: usize, end: usize, sightings: &mut Vec<Sighting>) {
    for probe in (start..end).filter(|&probe| PROBES[usize::from(bytes[probe])]) {
        for pattern in PATTERNS.iter().filter(|pattern| bytes[probe] == pattern.bytes[pattern.probe]) {
            if let Some(offset) = probe.checked_sub(pattern.probe)
                && matches(bytes, offset, pattern)
            {
                sightings.push(Sighting { offset: offset as u64, mark: pattern.mark });
            }
        }
    }
}

fn matches(bytes: &[u8], offset: usize, pattern: &Pattern) -> bool {
    let rest = &bytes[offset..];
    match pattern.mark {
        Mark::CudaElf => {
            // Packers that keep bytes as they are keep a cubin's first eight, its machine further on not always.
            rest.starts_with(pattern.bytes)
                && (u16_at(rest, 18) == Some(EM_CUDA)
                    || rest.get(4..8).is_some_and(|ident| IDENTS.contains(&ident)))
        }
        Mark::PtxTarget => {
            ptx::names_target(&rest[..rest.len().min(REACH_BYTES)], true) && ptx::may_stand_at(bytes, offset)
        }
        _ => rest.starts_with(pattern.bytes),
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
    fn passes_over_elf_for_other_machines_and_cut_patterns() {
        let mut host = cuda_elf();
        host[18] = 62;
        assert!(scan(&host).is_empty());
        assert!(scan(&cuda_elf()[..19]).is_empty());
        assert!(scan(b".target sm").is_empty());
        assert!(scan(&[]).is_empty());
    }
}
