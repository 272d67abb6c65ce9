//! Calls of the function and other uses of its address in a library or program.

use std::ops::Range;

use memchr::memchr3_iter;
use rayon::prelude::*;

use super::argument::{Operands, loads_wrapper};
use super::function::{Function, target};
use super::{COMPUTED, TAKEN, code};
use crate::proof::bytes::{u32_at, u64_at};
use crate::proof::coverage::overlaps;
use crate::proof::loader::elf::{Elf, Kind, Section};
use crate::proof::loader::wrapper::WRAPPER_BYTES;
use crate::proof::problem::Problem;

/// Tables of unwinders, each of which names every function once.
const UNWINDING: &str = ".eh_frame";

/// A linked file's code: operands are distances from the instruction's end, or addresses of 32 bits.
pub(super) struct Linked<'a> {
    /// The bytes.
    pub(super) code: &'a [u8],
    /// Where they are loaded.
    pub(super) address: u64,
    /// Where wrappers stand.
    pub(super) wrappers: &'a [(u64, u64)],
}

impl Operands for Linked<'_> {
    fn is_wrapper(&self, at: usize) -> bool {
        let absolute = u32_at(self.code, at).map(u64::from);
        let near = target(self.code, self.address, at);
        [near, absolute].into_iter().flatten().any(|address| {
            self.wrappers.iter().any(|&(start, end)| {
                (start..end).contains(&address) && (address - start).is_multiple_of(WRAPPER_BYTES)
            })
        })
    }
}

/// Bytes of code that are looked at together.
const PIECE: usize = 1 << 20;

/// Calls of the function with anything else than a wrapper, and addresses of it in code and in data.
pub(super) fn search(
    elf: &Elf<'_>,
    function: &Function,
    wrappers: &[(u64, u64)],
    start: u64,
    unknown: &[(u64, u64)],
) -> Vec<Problem> {
    let mapped = |section: &&Section| section.is_allocated() && section.has_bytes();
    let mut problems: Vec<Problem> = elf
        .sections
        .par_iter()
        .filter(mapped)
        .flat_map_iter(|section| stored_pointers(elf, section, function, start, unknown))
        .collect();
    for (section, code) in code(elf) {
        let linked = Linked { code, address: section.address, wrappers };
        let pieces: Vec<usize> = (0..code.len()).step_by(PIECE).collect();
        let found = pieces
            .into_par_iter()
            .flat_map_iter(|at| uses(section, &linked, function, at..code.len().min(at + PIECE)));
        problems.par_extend(found);
    }
    problems
}

/// Addresses of the function that stand in a section as they are, or as distances from where they stand, on the
/// grid of four bytes on which compilers put them; as operands of instructions anywhere.
fn stored_pointers(
    elf: &Elf<'_>,
    section: &Section,
    function: &Function,
    start: u64,
    unknown: &[(u64, u64)],
) -> Vec<Problem> {
    let bytes = elf.content(section);
    let place = start.saturating_add(section.offset);
    let parts = overlaps(unknown, &[(place, place.saturating_add(bytes.len() as u64))]);
    let is_fixed = elf.kind == Kind::Executable;
    let phases = if section.is_executable() && is_fixed { 4 } else { 1 };
    let is_code = section.is_executable();
    let words = &Words { address: section.address, span: function.entered(), is_fixed, is_code };
    let parts = parts.iter().flat_map(|&(from, to)| {
        let [from, to] = [from, to].map(|at| usize::try_from(at - place).unwrap_or(bytes.len()));
        let from = from / 4 * 4;
        (0..phases).flat_map(move |phase| words.suspects(&bytes[..to], from + phase))
    });
    let mut places: Vec<usize> = parts.filter(|&at| words.means(bytes, at, function)).collect();
    // Each function is named once to unwinders, by a distance.
    if section.name == UNWINDING && places.len() == 1 {
        places.clear();
    }
    places.into_iter().map(|at| Problem::at(section.offset + at as u64, TAKEN)).collect()
}

/// Words of a section that may be addresses.
struct Words {
    address: u64,
    span: Range<u64>,
    /// Whether the file is loaded where it says, so that addresses stand in it.
    is_fixed: bool,
    is_code: bool,
}

/// Bytes that are tested together.
const BLOCK: usize = 64;

impl Words {
    /// Offsets from one on, in the blocks in which a word may lead into the span.
    fn suspects(&self, bytes: &[u8], start: usize) -> Vec<usize> {
        let Some(bytes) = bytes.get(start..) else { return Vec::new() };
        let size = u32::try_from(self.span.end - self.span.start).unwrap_or(u32::MAX);
        // Whatever is beyond 32 bits is decided by `meanings`.
        #[allow(clippy::cast_possible_truncation, reason = "addresses modulo their lower half")]
        let (entered, address) = (self.span.start as u32, self.address as u32);
        let mut found = Vec::new();
        for (number, block) in bytes.chunks(BLOCK).enumerate() {
            let first = number * BLOCK + start;
            #[allow(clippy::cast_possible_truncation, reason = "the same")]
            let here = address.wrapping_add(first as u32).wrapping_sub(entered);
            if block.len() < BLOCK || self.may_lead(block, here, entered, size) {
                found.extend((0..block.len().saturating_sub(3)).step_by(4).map(|at| first + at));
            }
        }
        found
    }

    /// Whether any word of a block leads into the span, counted from its start.
    fn may_lead(&self, block: &[u8], here: u32, entered: u32, size: u32) -> bool {
        let mut any = false;
        let mut fixed = false;
        for (word, at) in block.chunks_exact(4).zip((0_u32..).step_by(4)) {
            let word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
            any |= word.wrapping_add(here).wrapping_add(at) < size;
            fixed |= word.wrapping_sub(entered) < size;
        }
        any || self.is_fixed && fixed
    }

    /// Whether the word is a distance to the function, its address, or as a whole pointer an address in its first
    /// instructions.
    fn means(&self, bytes: &[u8], at: usize, function: &Function) -> bool {
        let Some(word) = u32_at(bytes, at) else { return false };
        let here = self.address.wrapping_add(at as u64);
        let far = here.wrapping_add_signed(i64::from(word.cast_signed()));
        let fixed = u64::from(word);
        let is_pointer = u64_at(bytes, at) == Some(fixed) && function.is_entered_at(fixed);
        at.is_multiple_of(4) && function.begins_at(far) && !self.is_in_branch(bytes, at)
            || self.is_fixed && (is_pointer || function.begins_at(fixed))
    }

    /// Whether the word begins with the last byte of the opcode of a branch to another place of the same code: then
    /// it is no distance, whatever it reads as.
    fn is_in_branch(&self, bytes: &[u8], at: usize) -> bool {
        let is_opcode = match (at.checked_sub(1).map(|before| bytes[before]), bytes[at]) {
            (Some(0x0F), 0x80..=0x8F) => true,
            (_, opcode) => matches!(opcode, 0xE8 | 0xE9),
        };
        let code = self.address..self.address.saturating_add(bytes.len() as u64);
        self.is_code && is_opcode && target(bytes, self.address, at + 1).is_some_and(|to| code.contains(&to))
    }
}

/// Calls of the function with something else than a wrapper, and addresses of it in instructions.
fn uses(section: &Section, linked: &Linked<'_>, function: &Function, range: Range<usize>) -> Vec<Problem> {
    let code = linked.code;
    let mut problems = Vec::new();
    let mut report = |at: usize, reason| problems.push(Problem::at(section.offset + at as u64, reason));
    // `call`, `jmp`, and the second byte of a jump that depends on something.
    for at in memchr3_iter(0xE8, 0xE9, 0x0F, &code[range.clone()]).map(|at| range.start + at) {
        let operand = match code[at] {
            0x0F if code.get(at + 1).is_some_and(|next| (0x80..=0x8F).contains(next)) => at + 2,
            0x0F => continue,
            _ => at + 1,
        };
        let enters =
            target(code, section.address, operand).is_some_and(|target| function.is_entered_at(target));
        if enters
            && !function.is_entered_at(section.address.wrapping_add(at as u64))
            && !loads_wrapper(code, at, linked)
        {
            report(at, COMPUTED);
        }
    }
    for (at, place) in near_operands(code, section.address, function, range) {
        let is_slot = function.slots.contains(&place);
        match code[at - 2..at] {
            [0xFF, 0x25] if section.name.starts_with(".plt") => {}
            [0xFF, 0x15 | 0x25] if is_slot && loads_wrapper(code, at - 2, linked) => {}
            [0xFF, 0x15 | 0x25] if is_slot => report(at - 2, COMPUTED),
            // What only compares changes and takes nothing.
            [0x38..=0x3D | 0x84 | 0x85, _] | [0x80 | 0x81 | 0x83, 0x3D] => {}
            [0x8B | 0x8D | 0xFF, _] => report(at - 2, TAKEN),
            _ if is_slot => report(at - 2, TAKEN),
            _ => {}
        }
    }
    problems
}

/// Operands relative to the instruction (`mod` 0, `r/m` 5) that lead to the function or a slot of it: offset and
/// place.
fn near_operands(code: &[u8], address: u64, function: &Function, range: Range<usize>) -> Vec<(usize, u64)> {
    let span = function.span();
    let mut found = Vec::new();
    // The byte before an operand stands in the range, two opcodes before that in the code.
    let start = range.start.max(1);
    for (index, window) in code[start..code.len().min(range.end + 4)].windows(5).enumerate() {
        if window[0] & 0xC7 != 5 {
            continue;
        }
        let at = start + index + 1;
        let distance = i32::from_le_bytes([window[1], window[2], window[3], window[4]]);
        let place = address.wrapping_add(at as u64 + 4).wrapping_add_signed(distance.into());
        if span.contains(&place) && (function.slots.contains(&place) || function.is_entered_at(place)) {
            found.push((at, place));
        }
    }
    found
}
