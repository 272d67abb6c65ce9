//! Calls of the function and other uses of its address in an object, by its relocations.

use std::collections::BTreeSet;

use memchr::memmem;

use super::argument::{Operands, is_added_up, linked_wrapper_load, wrapper_load};
use super::instruction::ends_before;
use super::reference::Guarded;
use super::site::{Site, Sites};
use super::{
    ADDED_UP, COMPUTED, ENTERED, PLACED, REACHED, STARTED, TAKEN, is_table_of_functions, symbols_named,
};
use crate::bytes::{u32_at, u64_at};
use crate::host::{self, Role};
use crate::loader::elf::{Elf, Section};
use crate::loader::wrapper::{SECTION, WRAPPER_BYTES};
use crate::problem::Problem;

/// `SHT_RELA` and `SHT_REL`.
const RELA: u32 = 4;
const REL: u32 = 9;
/// Size of a relocation, in bytes.
const RELOCATION_BYTES: usize = 24;
/// How names of wrappers begin that separate compilation hands on, and of the functions that it hands them to: each
/// linked file gets one for each of its objects.
const LINKED_WRAPPER: &[u8] = b"__fatbinwrap";
const LINKED_FUNCTION: &[u8] = b"__cudaRegisterLinkedBinary";
/// `R_X86_64_64`, and the two forms of 32 bits: addresses, and no distances.
const ADDRESSES: [u32; 3] = [1, 10, 11];
/// `R_X86_64_PC32` and `R_X86_64_PLT32`: distances.
const DISTANCES: [u32; 2] = [2, 4];
/// `R_X86_64_GOTPCREL` and its two forms that linkers relax: distances to a table of addresses.
const SLOTS: [u32; 3] = [9, 41, 42];

/// One relocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    place: u64,
    symbol: u32,
    addend: u64,
    kind: u32,
}

/// A section of an object and what relocations say of it.
struct Relocated<'a, 'b> {
    elf: &'b Elf<'a>,
    section: &'b Section,
    /// By place.
    entries: Vec<Entry>,
    symbols: usize,
}

impl Operands for Relocated<'_, '_> {
    fn is_wrapper(&self, at: usize) -> bool {
        let Ok(found) = self.entries.binary_search_by_key(&(at as u64), |one| one.place) else {
            return false;
        };
        let Entry { symbol, addend, kind, .. } = self.entries[found];
        let Some(symbol) = self.elf.symbol(self.symbols, symbol) else { return false };
        let section = self.elf.sections.get(usize::from(symbol.section));
        let code = self.elf.content(self.section);
        // What is written must be what the instruction takes; a distance counts from the operand's end.
        let (kinds, behind): (&[u32], _) = match code.get(..at) {
            Some([.., 0x8D, modifiers]) if modifiers & 0xC7 == 5 => (&DISTANCES, 4),
            Some([.., 0x8B, modifiers]) if modifiers & 0xC7 == 5 => (&SLOTS, 4),
            _ => (&ADDRESSES, 0),
        };
        let place = symbol.value.wrapping_add(addend).wrapping_add(behind);
        kinds.contains(&kind)
            && section.is_some_and(|section| {
                section.name == SECTION && place < section.size && place.is_multiple_of(WRAPPER_BYTES)
            })
    }
}

impl<'a, 'b> Relocated<'a, 'b> {
    /// Of a table, where what it changes is mapped.
    fn read(elf: &'b Elf<'a>, table: &Section) -> Option<Self> {
        let symbols = usize::try_from(table.link).ok().filter(|&link| link < elf.sections.len())?;
        let section = usize::try_from(table.info).ok().and_then(|index| elf.sections.get(index));
        let section = section.filter(|section| section.is_allocated())?;
        let entry = |entry: &[u8]| {
            let (place, kind) = (u64_at(entry, 0)?, u32_at(entry, 8)?);
            Some(Entry { place, kind, symbol: u32_at(entry, 12)?, addend: u64_at(entry, 16)? })
        };
        let entries = elf.content(table).chunks_exact(RELOCATION_BYTES);
        let mut entries: Vec<Entry> = entries.filter_map(entry).collect();
        entries.sort_unstable();
        Some(Self { elf, section, entries, symbols })
    }

    /// Whether a relocation writes at a place of the code.
    fn is_written(&self, at: usize) -> bool {
        self.entries.binary_search_by_key(&(at as u64), |one| one.place).is_ok()
    }

    /// The section that an entry leads to, and where in it: instructions count distances from their end.
    fn target(&self, entry: &Entry) -> Option<(u16, u64)> {
        let symbol = self.elf.symbol(self.symbols, entry.symbol)?;
        let counted = self.section.is_executable() && !ADDRESSES.contains(&entry.kind);
        let behind = symbol.value.wrapping_add(entry.addend).wrapping_add(if counted { 4 } else { 0 });
        Some((symbol.section, behind))
    }

    fn problem(&self, entry: &Entry, reason: &str) -> Problem {
        Problem::at(self.section.offset.saturating_add(entry.place), reason)
    }
}

/// What is wrong in an object.
pub(super) fn check(elf: &Elf<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for table in elf.sections.iter().filter(|section| section.kind == REL) {
        let reason = "relocations in a form that no 64-bit toolchain writes";
        problems.push(Problem::over(table.offset, table.size, reason));
    }
    let tables = elf.sections.iter().filter(|section| section.kind == RELA);
    let relocated: Vec<Relocated<'_, '_>> = tables.filter_map(|table| Relocated::read(elf, table)).collect();
    let starts = constructors(&relocated);
    let mut sites: Vec<(usize, Sites)> = Vec::new();
    for one in &relocated {
        let index = elf.sections.iter().position(|section| std::ptr::eq(section, one.section));
        let section_starts: Vec<u64> = starts
            .iter()
            .filter(|(section, _)| Some(usize::from(*section)) == index)
            .map(|&(_, start)| start)
            .collect();
        let found = calls(one, &section_starts, &mut problems);
        sites.extend(index.filter(|_| !found.is_empty()).map(|index| (index, found)));
    }
    for one in &relocated {
        let linked = symbols_beginning(elf, one.symbols, LINKED_WRAPPER);
        problems.extend(one.entries.iter().filter_map(|entry| reference(one, entry, &sites, &linked)));
    }
    // A distance within a section is in its code already.
    for (index, sites) in &sites {
        let section = &elf.sections[*index];
        let code = elf.content(section);
        let of_section = relocated.iter().filter(|one| std::ptr::eq(one.section, section));
        let of_section: Vec<_> = of_section.collect();
        let is_plain = |at: usize| !of_section.iter().any(|one| one.is_written(at));
        let guarded =
            Guarded { sites, wrappers: &[], linked_wrappers: &[], containers: &[], is_fixed: false };
        let found = guarded.references(code, 0, 0..code.len(), is_plain);
        problems
            .extend(found.into_iter().map(|(at, reason)| Problem::at(section.offset + at as u64, reason)));
    }
    problems
}

/// Where functions begin that are called when the object's file is loaded: section and offset, in order.
fn constructors(relocated: &[Relocated<'_, '_>]) -> Vec<(u16, u64)> {
    let tables = relocated.iter().filter(|one| is_table_of_functions(&one.section.name));
    let mut found: Vec<_> =
        tables.flat_map(|one| one.entries.iter().filter_map(|entry| one.target(entry))).collect();
    found.sort_unstable();
    found
}

/// Calls of the function with wrappers in a section; all else that is done with it is a problem.
fn calls(one: &Relocated<'_, '_>, constructors: &[u64], problems: &mut Vec<Problem>) -> Sites {
    let functions = symbols_named(one.elf, &one.elf.sections[one.symbols]);
    let linked = symbols_beginning(one.elf, one.symbols, LINKED_FUNCTION);
    let code = one.elf.content(one.section);
    let mut sites = Vec::new();
    let is_named = |entry: &&Entry| functions.contains(&entry.symbol) || linked.contains(&entry.symbol);
    for entry in one.entries.iter().filter(is_named) {
        let at = usize::try_from(entry.place).ok().filter(|&at| at <= code.len()).unwrap_or_default();
        let call = match code[..at] {
            _ if !one.section.is_executable() => None,
            [.., 0xFF, 0x15 | 0x25] => Some(at - 2),
            [.., 0xE8 | 0xE9] => Some(at - 1),
            _ => None,
        };
        let is_first = functions.contains(&entry.symbol);
        let load = |call| {
            if is_first { wrapper_load(code, call, one) } else { linked_wrapper_load(code, call, one) }
        };
        match call.map(|call| (call, load(call))) {
            None if one.section.is_executable() && is_added_up(code, at) => {
                problems.push(one.problem(entry, ADDED_UP));
            }
            None => problems.push(one.problem(entry, TAKEN)),
            Some((_, None)) => problems.push(one.problem(entry, COMPUTED)),
            Some((call, Some(load))) => {
                let size = (at + 4 - call) as u64;
                let ends_before = |start, load| ends_before(code, 0, start, load);
                sites.push(Site::new(load as u64, call as u64, size, constructors, ends_before));
            }
        }
    }
    Sites::new(sites, [])
}

/// The symbols whose names begin so.
fn symbols_beginning(elf: &Elf<'_>, symbols: usize, start: &[u8]) -> BTreeSet<u32> {
    let Some(table) = elf.sections.get(symbols) else { return BTreeSet::new() };
    let names = usize::try_from(table.link).ok().and_then(|index| elf.sections.get(index));
    let is_named = names.is_some_and(|names| memmem::find(elf.content(names), start).is_some());
    if !is_named {
        return BTreeSet::new();
    }
    let found = (0..).zip(elf.symbols(table)).filter(|(_, (_, name))| name.starts_with(start));
    found.map(|(index, _)| index).collect()
}

/// What is wrong with what one relocation leads to, if anything.
fn reference(
    one: &Relocated<'_, '_>,
    entry: &Entry,
    sites: &[(usize, Sites)],
    linked: &BTreeSet<u32>,
) -> Option<Problem> {
    let (section, place) = one.target(entry)?;
    let index = usize::from(section);
    let target = one.elf.sections.get(index).filter(|_| section != 0)?;
    let of_wrappers = one.section.name == SECTION;
    let reason = match host::role_of(&target.name) {
        Some(Role::Wrappers) => {
            let is_load = [1, 2, 3].iter().any(|before| {
                let load = entry.place.checked_sub(*before);
                let own = sites.iter().find(|(index, _)| {
                    one.elf.sections.get(*index).is_some_and(|section| std::ptr::eq(section, one.section))
                });
                own.zip(load).is_some_and(|((_, sites), load)| sites.is_load(load))
            });
            let is_handed_on = one.section.is_executable() && linked.contains(&entry.symbol);
            (!is_load && !is_handed_on).then_some(REACHED)
        }
        Some(Role::Fatbin) => (!of_wrappers).then_some(PLACED),
        None => {
            let (_, sites) = sites.iter().find(|(site, _)| *site == index)?;
            let is_own = std::ptr::eq(target, one.section);
            let from = if is_own { entry.place } else { u64::MAX };
            let is_call =
                match usize::try_from(entry.place).ok().and_then(|at| one.elf.content(one.section).get(..at))
                {
                    Some([.., 0xE8 | 0xE9] | [.., 0x0F, 0x80..=0x8F]) => one.section.is_executable(),
                    _ => false,
                };
            if sites.is_inside(place) {
                Some(ENTERED)
            } else if sites.is_function(place, from) && !is_call && !is_table_of_functions(&one.section.name)
            {
                Some(STARTED)
            } else {
                None
            }
        }
    };
    reason.map(|reason| one.problem(entry, reason))
}
