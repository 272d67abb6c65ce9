//! Constants and variables of a host ELF, and the texts in them.

use std::ops::Range;
use std::sync::LazyLock;

use memchr::memmem::Finder;
use rayon::prelude::*;

use crate::prefilter::{Pair, prefilter};
use crate::task::chunks;

/// Bytes around a program's name by which it is known.
const AROUND_BYTES: usize = 2;

/// Data of a host ELF, device code left out.
pub(crate) struct HostData<'a> {
    /// The file.
    pub(crate) bytes: &'a [u8],
    /// The parts of it that are such data.
    pub(crate) parts: &'a [(u64, u64)],
}

/// Programs that compile device code, and a text that only the CUDA runtime holds.
pub(super) const PROGRAMS: [&str; 4] = ["ptxas", "nvcc", "nvlink", "cicc"];
const RUNTIME: &str = "cudaErrorInsufficientDriver";
/// Rare neighbours of which each of these holds one, and how far from its start they may stand.
const PAIRS: [Pair; 5] = [(b't', b'x'), (b'v', b'c'), (b'v', b'l'), (b'c', b'c'), (b't', b'D')];
const PAIR_REACH_BYTES: usize = 21;
/// Bytes behind a pair within which each of these ends.
const REACH_BYTES: usize = 8;

static FINDERS: LazyLock<[Finder<'static>; 5]> = LazyLock::new(|| {
    let [ptxas, nvcc, nvlink, cicc] = PROGRAMS;
    [ptxas, nvcc, nvlink, cicc, RUNTIME].map(Finder::new)
});

/// What stands in the data of a host ELF.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    /// For each of [`PROGRAMS`], whether it is named as it is to be started: behind a folder, alone, or before its
    /// options.
    pub(super) programs: [bool; 4],
    /// Whether the text stands in it that only the CUDA runtime holds.
    pub(super) runtime: bool,
}

impl Held {
    fn and(self, other: Self) -> Self {
        let mut programs = self.programs;
        for (one, other) in programs.iter_mut().zip(other.programs) {
            *one |= other;
        }
        Self { programs, runtime: self.runtime | other.runtime }
    }
}

impl HostData<'_> {
    /// Looks for all of them at once: the data may be as large as all else.
    pub(super) fn held(&self) -> Held {
        let pieces = chunks(self.bytes, self.parts).into_par_iter();
        pieces.map(|piece| self.held_by(piece)).reduce(Held::default, Held::and)
    }

    /// What starts in a piece.
    fn held_by(&self, piece: Range<usize>) -> Held {
        let mut held = Held::default();
        let from = piece.start;
        let reach = &self.bytes[from..self.bytes.len().min(piece.end + RUNTIME.len() - 1)];
        prefilter(reach, PAIRS, |start, end| {
            let start = start.saturating_sub(PAIR_REACH_BYTES);
            let near = &reach[start..reach.len().min(end + REACH_BYTES)];
            let [programs @ .., runtime] = &*FINDERS;
            for ((found, finder), name) in held.programs.iter_mut().zip(programs).zip(PROGRAMS) {
                let mut places = finder.find_iter(near).map(|at| from + start + at);
                *found = *found || places.any(|at| at < piece.end && self.starts_program(at, name));
            }
            held.runtime = held.runtime || runtime.find(near).is_some_and(|at| from + start + at < piece.end);
        });
        held
    }

    fn starts_program(&self, at: usize, name: &str) -> bool {
        let before = at.checked_sub(1).and_then(|before| self.bytes.get(before));
        let behind = self.bytes.get(at + name.len()..).unwrap_or_default();
        let behind = &behind[..behind.len().min(AROUND_BYTES)];
        matches!((before, behind), (Some(b'/' | 0), [0, ..]) | (_, b" -"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_named_where_it_would_be_started() {
        for (text, is_named) in [
            ("/usr/bin/ptxas\0", true),
            ("\0ptxas\0", true),
            ("run ptxas -v", true),
            ("the ptxas of the toolkit\0", false),
            ("xptxas\0", false),
            ("ptxas", false),
        ] {
            let data = HostData { bytes: text.as_bytes(), parts: &[(0, text.len() as u64)] };
            assert_eq!(data.held().programs[0], is_named, "{text}");
        }
    }

    #[test]
    fn every_text_holds_a_rare_pair_near_its_start() {
        for text in PROGRAMS.into_iter().chain([RUNTIME]) {
            let at = text.as_bytes().windows(2).position(|pair| PAIRS.contains(&(pair[0], pair[1]))).unwrap();
            assert!(at <= PAIR_REACH_BYTES && at + 1 + REACH_BYTES >= text.len(), "{text}");
        }
    }

    #[test]
    fn a_text_is_held_at_every_offset_across_two_pieces_too_and_not_beside_the_data() {
        let names = ["\0ptxas\0", "/nvcc\0", "nvlink -o", "x/cicc\0", RUNTIME];
        for (index, text) in names.into_iter().enumerate() {
            let around_two_pieces = [1, 5, 20, 26].map(|before| (1 << 20) - before);
            for at in (0..140).chain(around_two_pieces) {
                let mut bytes = vec![b' '; at + 100];
                bytes[at..at + text.len()].copy_from_slice(text.as_bytes());
                let mut expected = Held::default();
                match index {
                    4 => expected.runtime = true,
                    _ => expected.programs[index] = true,
                }
                let held = |parts: &[(u64, u64)]| HostData { bytes: &bytes, parts }.held();
                assert_eq!(held(&[(0, 2 << 20)]), expected, "{text} at {at}");
                assert_eq!(
                    held(&[(0, at as u64), (at as u64 + 40, 2 << 20)]),
                    Held::default(),
                    "{text} at {at}"
                );
            }
        }
    }
}
