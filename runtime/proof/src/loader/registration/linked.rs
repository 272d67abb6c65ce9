//! Calls of the function and other uses of its address in a library or program.

use std::ops::Range;

use memchr::memchr3_iter;
use rayon::prelude::*;

use super::argument::{is_added_up, operand, wrapper_load};
use super::distance::{Linked, near_operands, target};
use super::function::{Function, stub_start};
use super::instruction::ends_before;
use super::site::{Site, Sites};
use super::{ADDED_UP, COMPUTED, TAKEN, UNWINDING, code, is_table_of_functions};
use crate::bytes::{u32_at, u64_at};
use crate::coverage::overlaps;
use crate::loader::elf::{Elf, Kind, Section};
use crate::problem::Problem;

/// `SHT_PROGBITS`, and arrays of functions that are called: what is no table of linkers.
const DATA: [u32; 4] = [1, 14, 15, 16];

/// Bytes that are looked at together.
const PIECE: usize = 1 << 20;

pub(super) fn pieces(size: usize) -> rayon::vec::IntoIter<Range<usize>> {
    let starts = (0..size).step_by(PIECE);
    starts.map(|at| at..size.min(at + PIECE)).collect::<Vec<_>>().into_par_iter()
}

/// Calls of the function with wrappers, of which the constructors are the functions that are called when the file is
/// loaded; and what else code does with it.
pub(super) fn sites(
    elf: &Elf<'_>,
    function: &Function,
    wrappers: &[(u64, u64)],
    constructors: &[u64],
) -> (Sites, Vec<Problem>) {
    let (mut sites, mut registered, mut problems) = (Vec::new(), Vec::new(), Vec::new());
    for (section, code) in code(elf) {
        let linked = Linked { code, address: section.address, wrappers };
        let found: Vec<CodeUse> =
            pieces(code.len()).flat_map_iter(|range| uses(section, &linked, function, range)).collect();
        for found in found {
            match found {
                CodeUse::Call { load, call, size } => {
                    registered.extend(linked.wrapper_at(load + operand(&code[load..])));
                    let [load, call] = [load, call].map(|at| section.address.wrapping_add(at as u64));
                    let ends_before = |start, load| ends_before(code, section.address, start, load);
                    sites.push(Site::new(load, call, size, constructors, ends_before));
                }
                CodeUse::Other { at, reason } => {
                    problems.push(Problem::at(section.offset + at as u64, reason));
                }
            }
        }
    }
    (Sites::new(sites, registered), problems)
}

/// Addresses that data must not hold: of the function, between a load and its call, and of wrappers.
pub(super) struct Sought<'a> {
    pub(super) function: &'a Function,
    pub(super) sites: &'a Sites,
    pub(super) wrappers: &'a [(u64, u64)],
}

/// Addresses that stand in data, in the parts of the file that are `unknown`.
pub(super) fn stored(elf: &Elf<'_>, sought: &Sought<'_>, start: u64, unknown: &[(u64, u64)]) -> Vec<Problem> {
    let filter = Filter::of(sought);
    let mapped =
        |section: &&Section| section.is_allocated() && section.has_bytes() && DATA.contains(&section.kind);
    let words = |section: &Section| {
        let words = Words {
            address: section.address,
            is_fixed: elf.kind == Kind::Executable,
            filter: &filter,
            sought,
        };
        words.problems(elf, section, start, unknown)
    };
    elf.sections.par_iter().filter(mapped).flat_map_iter(words).collect()
}

/// Which addresses may be sought, by some of their bits.
struct Filter {
    bits: Vec<u64>,
}

/// Addresses are told apart by as many of their bits as this, from the lowest but four on.
const FILTER_BITS: u32 = 16;

impl Filter {
    fn of(sought: &Sought<'_>) -> Self {
        let mut filter = Self { bits: vec![0; 1 << (FILTER_BITS - 6)] };
        let sites = sought.sites.ranges();
        let wrappers = sought.wrappers.iter().map(|&(start, end)| start..end);
        for range in sought.function.ranges().chain(sites).chain(wrappers) {
            for place in (range.start >> 4..=range.end >> 4).take(1 << FILTER_BITS) {
                let place = place & ((1 << FILTER_BITS) - 1);
                filter.bits[usize::try_from(place >> 6).unwrap_or(0)] |= 1 << (place & 63);
            }
        }
        filter
    }

    fn may_hold(&self, address: u64) -> bool {
        let place = address >> 4;
        let word = usize::try_from(place >> 6).unwrap_or(0) & ((1 << (FILTER_BITS - 6)) - 1);
        self.bits[word] >> (place & 63) & 1 != 0
    }
}

/// Words of a section that may be addresses.
struct Words<'a> {
    address: u64,
    /// Whether the file is loaded where it says, so that addresses stand in it.
    is_fixed: bool,
    filter: &'a Filter,
    sought: &'a Sought<'a>,
}

impl Words<'_> {
    /// Addresses that stand in the section as they are, or as distances from where they stand.
    fn problems(&self, elf: &Elf<'_>, section: &Section, start: u64, unknown: &[(u64, u64)]) -> Vec<Problem> {
        let bytes = elf.content(section);
        let place = start.saturating_add(section.offset);
        let parts = overlaps(unknown, &[(place, place.saturating_add(bytes.len() as u64))]);
        let mut places: Vec<(usize, &'static str)> = Vec::new();
        for (from, to) in parts {
            let [from, to] = [from, to].map(|at| usize::try_from(at - place).unwrap_or(bytes.len()));
            let part = &bytes[from.saturating_sub(3)..to.min(bytes.len())];
            let from = from.saturating_sub(3);
            let found = pieces(part.len()).flat_map_iter(|range| {
                let suspects = range.filter(|&at| self.is_suspect(part, at, from));
                suspects.filter_map(|at| Some((from + at, self.meaning(bytes, from + at, section)?)))
            });
            places.par_extend(found);
        }
        // Each function is named once to unwinders, by a distance.
        if section.name == UNWINDING[0] && places.len() == 1 {
            places.clear();
        }
        places.into_iter().map(|(at, reason)| Problem::at(section.offset + at as u64, reason)).collect()
    }

    fn is_suspect(&self, part: &[u8], at: usize, from: usize) -> bool {
        let Some(word) = part.get(at..at + 4) else { return false };
        let word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        let here = self.address.wrapping_add((from + at) as u64);
        self.filter.may_hold(here.wrapping_add_signed(i64::from(word.cast_signed())))
            || self.is_fixed && self.filter.may_hold(word.into())
    }

    /// What a word means, if anything: a distance, an address, or the first half of a pointer.
    fn meaning(&self, bytes: &[u8], at: usize, section: &Section) -> Option<&'static str> {
        let Sought { function, sites, wrappers } = self.sought;
        let word = u32_at(bytes, at)?;
        let here = self.address.wrapping_add(at as u64);
        let far = here.wrapping_add_signed(i64::from(word.cast_signed()));
        let fixed = u64::from(word);
        let is_pointer = u64_at(bytes, at) == Some(fixed) && function.is_entered_at(fixed);
        let is_wrapper = |address: u64| wrappers.iter().any(|&(start, end)| (start..end).contains(&address));
        let is_aligned = at.is_multiple_of(4);
        if UNWINDING.contains(&section.name.as_str()) {
            return (is_aligned && function.begins_at(far)).then_some(TAKEN);
        }
        // Numbers in instructions stand anywhere and are alike.
        let is_number = section.is_executable() && (!is_aligned || self.is_in_branch(bytes, at));
        let is_distance = function.begins_at(far) && !is_number;
        // Until the loader writes there, a slot leads to the stub that asks for it.
        if function.slots.contains(&here) && function.is_entered_at(fixed) {
            return None;
        }
        if is_distance || self.is_fixed && (is_pointer || function.begins_at(fixed)) {
            return Some(TAKEN);
        }
        // What instructions refer to is looked at as such.
        if section.is_executable() {
            return None;
        }
        if sites.is_inside(far) {
            return Some(super::DISTANT);
        }
        // Shorter numbers of data are alike.
        if !self.is_fixed || u64_at(bytes, at) != Some(fixed) && !is_aligned {
            None
        } else if sites.is_inside(fixed) {
            Some(super::ENTERED)
        } else if is_wrapper(fixed) {
            Some(super::REACHED)
        } else if sites.is_function(fixed, u64::MAX) && !is_table_of_functions(&section.name) {
            Some(super::STARTED)
        } else {
            None
        }
    }

    /// Whether the word begins with the last byte of the opcode of a branch to another place of the same code: then
    /// it is no distance, whatever it reads as.
    fn is_in_branch(&self, bytes: &[u8], at: usize) -> bool {
        let is_opcode = match (at.checked_sub(1).map(|before| bytes[before]), bytes[at]) {
            (Some(0x0F), 0x80..=0x8F) => true,
            (_, opcode) => matches!(opcode, 0xE8 | 0xE9),
        };
        let code = self.address..self.address.saturating_add(bytes.len() as u64);
        is_opcode && target(bytes, self.address, at + 1).is_some_and(|to| code.contains(&to))
    }
}

/// What code does with the function.
enum CodeUse {
    /// Calls it with a wrapper: where the load begins and the call, and how long that is.
    Call { load: usize, call: usize, size: u64 },
    /// Anything else.
    Other { at: usize, reason: &'static str },
}

/// Calls of the function, and addresses of it in instructions.
fn uses(section: &Section, linked: &Linked<'_>, function: &Function, range: Range<usize>) -> Vec<CodeUse> {
    let code = linked.code;
    let call = |at: usize, size: u64| match wrapper_load(code, at, linked) {
        Some(load) => CodeUse::Call { load, call: at, size },
        None if is_added_up(code, at) => CodeUse::Other { at, reason: ADDED_UP },
        None => CodeUse::Other { at, reason: COMPUTED },
    };
    let mut found = Vec::new();
    // `call`, `jmp`, and the second byte of a jump that depends on something.
    for at in memchr3_iter(0xE8, 0xE9, 0x0F, &code[range.clone()]).map(|at| range.start + at) {
        let operand = match code[at] {
            0x0F if code.get(at + 1).is_some_and(|next| (0x80..=0x8F).contains(next)) => at + 2,
            0x0F => continue,
            _ => at + 1,
        };
        let here = section.address.wrapping_add(at as u64);
        let enters = target(code, section.address, operand)
            .is_some_and(|target| function.is_entered_at(target) && !function.is_one_of(here, target));
        if enters {
            found.push(call(at, (operand + 4 - at) as u64));
        }
    }
    let is_meant = |place| function.slots.contains(&place) || function.is_entered_at(place);
    for (at, place) in near_operands(code, section.address, &function.span(), is_meant, range) {
        let is_slot = function.slots.contains(&place);
        let reason = match code[at - 2..at] {
            [0xFF, 0x25] if section.name.starts_with(".plt") && stub_start(code, at - 2).is_some() => {
                continue;
            }
            [0xFF, 0x15 | 0x25] if is_slot => {
                found.push(call(at - 2, 6));
                continue;
            }
            // What only compares changes and takes nothing.
            [0x38..=0x3D | 0x84 | 0x85, _] | [0x80 | 0x81 | 0x83, 0x3D] => continue,
            [0x8B | 0x8D | 0xFF, _] => TAKEN,
            _ if is_slot => TAKEN,
            _ => continue,
        };
        found.push(CodeUse::Other { at: at - 2, reason });
    }
    found
}
