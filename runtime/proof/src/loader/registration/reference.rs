//! What code refers to of that which registers: between a load and its call, to wrappers, into device code.
//!
//! The list of what nvcc and the files of linkers write is closed; all else is named.

use std::ops::Range;

use super::distance::{near_operands, target};
use super::instruction::has_operand_at;
use super::site::Sites;
use super::{ENTERED, PLACED, REACHED, STARTED};
use crate::bytes::u32_at;

/// What code of one section must not refer to; addresses as in [`Sites`].
pub(super) struct Guarded<'a> {
    pub(super) sites: &'a Sites,
    /// Where wrappers stand.
    pub(super) wrappers: &'a [(u64, u64)],
    /// Wrappers of separate compilation, which no code registers by themselves: their addresses are handed on.
    pub(super) linked_wrappers: &'a [u64],
    /// Where containers stand.
    pub(super) containers: &'a [(u64, u64)],
    /// Whether addresses are known when the file is linked, so that they stand in instructions.
    pub(super) is_fixed: bool,
}

impl Guarded<'_> {
    /// Every reference in a part of some code that is none of the known ones: place and reason. `is_plain` tells of an
    /// operand whether it stands in the file as it will be.
    pub(super) fn references(
        &self,
        code: &[u8],
        address: u64,
        range: Range<usize>,
        is_plain: impl Fn(usize) -> bool,
    ) -> Vec<(usize, &'static str)> {
        let mut found = self.sites.entered(code, address, range.clone(), &is_plain);
        let span = self.span();
        let span = span.start.saturating_sub(LONGEST_NUMBER)..span.end;
        let is_meant = |place| {
            (0..=LONGEST_NUMBER).any(|behind| self.is_wrapper(place + behind))
                || self.sites.is_function(place, u64::MAX)
                || self.is_container(place)
        };
        for (at, place) in near_operands(code, address, &span, is_meant, range.clone()) {
            if !is_plain(at) || !has_operand_at(code, at) {
                continue;
            }
            let place = place.wrapping_add(number_behind(&code[..at]));
            let here = address.wrapping_add(at as u64);
            let takes = code[at - 2] == 0x8D;
            let reason = if self.is_wrapper(place) {
                (!self.is_known(code, address, at, place)).then_some(REACHED)
            } else if self.is_container(place) {
                takes.then_some(PLACED)
            } else if self.sites.is_function(place, here) {
                takes.then_some(if self.sites.is_inside(place) { ENTERED } else { STARTED })
            } else {
                None
            };
            found.extend(reason.map(|reason| (at - 2, reason)));
        }
        if self.is_fixed {
            found.extend(self.absolute(code, address, range));
        }
        found
    }

    /// Addresses of 32 bits.
    fn absolute(&self, code: &[u8], address: u64, range: Range<usize>) -> Vec<(usize, &'static str)> {
        let span = self.span();
        let mut found = Vec::new();
        for (index, window) in code[range.start..code.len().min(range.end + 3)].windows(4).enumerate() {
            let word = u64::from(u32::from_le_bytes([window[0], window[1], window[2], window[3]]));
            if !span.contains(&word) {
                continue;
            }
            let at = range.start + index;
            let here = address.wrapping_add(at as u64);
            if self.sites.is_inside(word) && self.sites.is_function(word, here) {
                found.push((at, ENTERED));
            } else if self.is_wrapper(word) {
                let is_load = [1, 2, 3].iter().any(|before| self.sites.is_load(here.saturating_sub(*before)));
                let is_known = is_load || self.linked_wrappers.contains(&word) || is_end_of_data(code, at);
                found.extend((!is_known).then_some((at, REACHED)));
            }
        }
        found
    }

    /// From the first address that is guarded to the last.
    fn span(&self) -> Range<u64> {
        let parts = self.wrappers.iter().chain(self.containers).map(|&(start, end)| start..end);
        let parts = parts.chain((!self.sites.is_empty()).then(|| self.sites.span()));
        parts.reduce(|one, other| one.start.min(other.start)..one.end.max(other.end)).unwrap_or_default()
    }

    fn is_wrapper(&self, address: u64) -> bool {
        self.wrappers.iter().any(|&(start, end)| (start..end).contains(&address))
    }

    /// Inside of a section of containers: its beginning is where the data before it ends.
    fn is_container(&self, address: u64) -> bool {
        self.containers.iter().any(|&(start, end)| start < address && address < end)
    }

    /// Whether an instruction does with a wrapper what compilers write: load its address to register it, hand it on to
    /// be registered with others, read it, or take it for the end of the data before it.
    fn is_known(&self, code: &[u8], address: u64, at: usize, place: u64) -> bool {
        let begin = address.wrapping_add(at as u64).wrapping_sub(3);
        match code[..at] {
            [.., 0x48, 0x8D, _] if self.sites.is_load(begin) => true,
            [.., 0x8D, _] if self.linked_wrappers.contains(&place) => true,
            [.., 0x48, 0x8D, _] => is_end_of_data_near(code, address, at - 3),
            // `mov` to a register, `push`, `cmp`, and loads of vectors.
            [.., 0x8B | 0x63 | 0x3B | 0x39, _]
            | [.., 0xFF, 0x35]
            | [.., 0x80 | 0x81 | 0x83, 0x3D]
            | [.., 0x0F, 0x10 | 0x28 | 0x6F, _]
            | [.., 0xC5, _, 0x10 | 0x28 | 0x6F, _] => true,
            _ => false,
        }
    }
}

/// Bytes of the longest number that may stand behind an operand in memory.
const LONGEST_NUMBER: u64 = 4;

/// How many bytes of a number stand behind the operand that some code ends before: distances count from behind it.
fn number_behind(code: &[u8]) -> u64 {
    match code {
        [.., 0x66, 0xC7 | 0x81 | 0x69, _] | [.., 0x66, 0xF7, 0x05 | 0x0D] => 2,
        [.., 0xC7 | 0x81 | 0x69, _] | [.., 0xF7, 0x05 | 0x0D] => LONGEST_NUMBER,
        [.., 0xC6 | 0x80 | 0x83 | 0xC0 | 0xC1 | 0x6B, _]
        | [.., 0xF6, 0x05 | 0x0D]
        | [.., 0x0F, 0xBA | 0xA4 | 0xAC, _] => 1,
        _ => 0,
    }
}

/// `je` over the call of what may be missing, to the end of the function: `mov …(%rip), %rax; test %rax, %rax; je;
/// jmp *%rax`, as `crtbegin.o` has it.
fn is_call_of_missing(code: &[u8]) -> bool {
    let returns = |at: usize| {
        let target = code.get(at + 1).map(|&distance| at + 2 + usize::from(distance));
        target.and_then(|target| code.get(target)).is_some_and(|byte| matches!(byte, 0xC3 | 0x5D | 0xF3))
    };
    match *code {
        // The second with a frame, as compilers before GCC 5 made it.
        [0x74, _, 0x48, 0x8B, 0x05, _, _, _, _, 0x48, 0x85, 0xC0, 0x74, _, 0xFF, 0xE0, ..]
        | [0x74 | 0x76, _, 0x48, 0x8B, 0x05, _, _, _, _, 0x48, 0x85, 0xC0, 0x74, _, 0x5D, 0xFF, 0xE0, ..]
        // Where it is known to be missing: `mov $0, %rax`, as linkers make it of the first for programs that load
        // anywhere without a loader.
        | [0x74, _, 0x48, 0xC7, 0xC0, 0, 0, 0, 0, 0x48, 0x85, 0xC0, 0x74, _, 0xFF, 0xE0, ..] => {
            returns(0) && returns(12)
        }
        // The same at fixed addresses: `mov $0, %eax; test %rax, %rax; je; mov $…, %edi; jmp *%rax`.
        [0x74, _, 0xB8, 0, 0, 0, 0, 0x48, 0x85, 0xC0, 0x74, _, 0xBF, _, _, _, _, 0xFF, 0xE0, ..] => {
            returns(0) && returns(10)
        }
        _ => false,
    }
}

/// What `register_tm_clones` computes before that: half the distance, rounded.
const HALVES: [u8; 17] =
    [0x48, 0x89, 0xF0, 0x48, 0xC1, 0xEE, 0x3F, 0x48, 0xC1, 0xF8, 0x03, 0x48, 0x01, 0xC6, 0x48, 0xD1, 0xFE];

/// The same as GCC 8 makes it.
const OLDER_HALVES: [u8; 17] =
    [0x48, 0xC1, 0xFE, 0x03, 0x48, 0x89, 0xF0, 0x48, 0xC1, 0xE8, 0x3F, 0x48, 0x01, 0xC6, 0x48, 0xD1, 0xFE];

/// What stands behind that in some code which begins with it.
fn behind_halves(code: &[u8]) -> Option<&[u8]> {
    code.strip_prefix(&HALVES).or_else(|| code.strip_prefix(&OLDER_HALVES))
}

/// The same with a frame: the distance, and what is computed of it.
const FRAMED_DISTANCE: [u8; 11] = [0x55, 0x48, 0x29, 0xF8, 0x48, 0x89, 0xE5, 0x48, 0x83, 0xF8, 0x0E];
const FRAMED_HALVES: [u8; 24] = [
    0x55, 0x48, 0x29, 0xFE, 0x48, 0x89, 0xE5, 0x48, 0xC1, 0xFE, 0x03, 0x48, 0x89, 0xF0, 0x48, 0xC1, 0xE8,
    0x3F, 0x48, 0x01, 0xC6, 0x48, 0xD1, 0xFE,
];
/// How far behind the first address the second may lie where a distance of at most 14 calls nothing.
const FRAMED_STEP: u64 = 7;

/// Whether two loads, of which one begins here, are those by which `crtbegin.o` asks whether a table behind the data is
/// empty: of one address, so that it is.
fn is_end_of_data_near(code: &[u8], address: u64, begin: usize) -> bool {
    [begin, begin.wrapping_sub(7)].into_iter().any(|first| {
        let Some(pair) = code.get(first..first.saturating_add(14)) else { return false };
        let rest = &code[first + 14..];
        let (behind, step) = match pair {
            [0x48, 0x8D, 0x3D, _, _, _, _, 0x48, 0x8D, 0x05, ..] => match rest.strip_prefix(&FRAMED_DISTANCE)
            {
                // `jbe`: no other jump is taken for certain.
                Some(behind) => (Some(behind).filter(|behind| behind.starts_with(&[0x76])), FRAMED_STEP),
                None => (rest.strip_prefix(&[0x48, 0x39, 0xF8]), 0),
            },
            [0x48, 0x8D, 0x3D, _, _, _, _, 0x48, 0x8D, 0x35, ..] => {
                let halves = rest.strip_prefix(&[0x48, 0x29, 0xFE]).and_then(behind_halves);
                (halves.or_else(|| rest.strip_prefix(&FRAMED_HALVES)), 0)
            }
            _ => return false,
        };
        let second = target(code, address, first + 10);
        second.is_some()
            && target(code, address, first + 3).map(|place| place.wrapping_add(step)) == second
            && behind.is_some_and(is_call_of_missing)
    })
}

/// The same by addresses of 32 bits, of which one stands here.
fn is_end_of_data(code: &[u8], at: usize) -> bool {
    // `mov $…, %eax; cmp $…, %rax`, `mov $…, %esi; sub $…, %rsi`, and the load before the call.
    [0, 6, 7, 23, 41].into_iter().filter_map(|behind| at.checked_sub(behind)).any(|first| {
        let Some(begin) = first.checked_sub(1) else { return false };
        let Some(word) = u32_at(code, first) else { return false };
        let same = |other: usize| u32_at(code, other) == Some(word);
        match code[begin..] {
            [0xB8, _, _, _, _, 0x48, 0x3D, _, _, _, _, ref rest @ ..] => {
                same(first + 6) && is_call_of_missing(rest) && [first, first + 6, first + 23].contains(&at)
            }
            [0xBE, _, _, _, _, 0x48, 0x81, 0xEE, _, _, _, _, ref rest @ ..] => {
                let halved = behind_halves(rest).is_some_and(is_call_of_missing);
                same(first + 7) && halved && [first, first + 7, first + 41].contains(&at)
            }
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `deregister_tm_clones` as GCC 4.8 made it, behind its two loads.
    const FRAMED_CALL: [u8; 25] = [
        0x76, 0x15, 0x48, 0x8B, 0x05, 0, 0, 0, 0, 0x48, 0x85, 0xC0, 0x74, 0x09, 0x5D, 0xFF, 0xE0, 0x66, 0x0F,
        0x1F, 0x44, 0, 0, 0x5D, 0xC3,
    ];

    fn loads(register: u8, distances: [i32; 2]) -> Vec<u8> {
        let load = |register, distance: i32| [&[0x48, 0x8D, register][..], &distance.to_le_bytes()].concat();
        [load(0x3D, distances[0]), load(register, distances[1])].concat()
    }

    /// `register_tm_clones` of a program that loads anywhere without a loader: what is missing is known to be.
    #[test]
    fn a_call_of_what_is_known_to_be_missing_takes_no_address() {
        let missing = [
            0x74, 0x15, 0x48, 0xC7, 0xC0, 0, 0, 0, 0, 0x48, 0x85, 0xC0, 0x74, 0x09, 0xFF, 0xE0, 0x0F, 0x1F,
            0x80, 0, 0, 0, 0, 0xC3,
        ];
        let ends = |register: u8, between: &[u8], call: &[u8]| {
            let code = [&loads(register, [0x507, 0x500]), between, call].concat();
            [0, 7].map(|begin| is_end_of_data_near(&code, 0x1000, begin))
        };
        let (compared, halved) = ([0x48, 0x39, 0xF8], [&[0x48, 0x29, 0xFE][..], &HALVES].concat());
        assert_eq!(ends(0x05, &compared, &missing), [true, true]);
        assert_eq!(ends(0x35, &halved, &missing), [true, true]);
        // An address in place of nothing.
        let mut called = missing;
        called[5] = 1;
        assert_eq!(ends(0x05, &compared, &called), [false, false]);
        assert_eq!(ends(0x35, &halved, &called), [false, false]);
    }

    #[test]
    fn the_question_whether_a_table_is_empty_takes_no_address_however_old_the_compiler() {
        let ends = |code: &[u8]| [0, 7].map(|begin| is_end_of_data_near(code, 0x1000, begin));
        let distance = [&loads(0x05, [0x500, 0x500]), &FRAMED_DISTANCE[..], &FRAMED_CALL].concat();
        assert_eq!(ends(&distance), [true, true]);
        let halves = [&loads(0x35, [0x507, 0x500]), &FRAMED_HALVES[..], &[0x74], &FRAMED_CALL[1..]].concat();
        assert_eq!(ends(&halves), [true, true]);
        let frameless = [
            0x74, 0x14, 0x48, 0x8B, 0x05, 0, 0, 0, 0, 0x48, 0x85, 0xC0, 0x74, 0x08, 0xFF, 0xE0, 0x66, 0x0F,
            0x1F, 0x44, 0, 0, 0xC3,
        ];
        for halves in [HALVES, OLDER_HALVES] {
            let code = |distance| {
                [&loads(0x35, [distance, 0x500]), &[0x48, 0x29, 0xFE][..], &halves, &frameless].concat()
            };
            assert_eq!(ends(&code(0x507)), [true, true]);
            assert_eq!(ends(&code(0x500)), [false, false], "of two addresses");
        }
        // Farther apart, or asked by another jump: it may call with the address.
        let farther = [&loads(0x05, [0x500, 0x501]), &FRAMED_DISTANCE[..], &FRAMED_CALL].concat();
        let asked = [&loads(0x05, [0x500, 0x500]), &FRAMED_DISTANCE[..], &[0x74], &FRAMED_CALL[1..]].concat();
        let two = [&loads(0x35, [0x500, 0x500]), &FRAMED_HALVES[..], &[0x74], &FRAMED_CALL[1..]].concat();
        for code in [farther, asked, two] {
            assert_eq!(ends(&code), [false, false]);
        }
    }
}
