//! Calls of the function and other uses of its address in an object, by its relocations.

use super::argument::{Operands, loads_wrapper};
use super::{COMPUTED, TAKEN, symbols_named};
use crate::proof::bytes::{u32_at, u64_at};
use crate::proof::loader::elf::Elf;
use crate::proof::loader::wrapper::{SECTION, WRAPPER_BYTES};
use crate::proof::problem::Problem;

/// `SHT_RELA` and `SHT_REL`.
const RELA: u32 = 4;
const REL: u32 = 9;
/// Size of a relocation, in bytes.
const RELOCATION_BYTES: usize = 24;

/// An object's code: operands are what relocations say.
struct Object<'a, 'b> {
    elf: &'b Elf<'a>,
    /// Relocations of the section by place: symbol and addend.
    relocations: Vec<(u64, u32, u64)>,
    symbols: usize,
}

impl Operands for Object<'_, '_> {
    fn is_wrapper(&self, at: usize) -> bool {
        let Ok(found) = self.relocations.binary_search_by_key(&(at as u64), |one| one.0) else {
            return false;
        };
        let (_, symbol, addend) = self.relocations[found];
        let Some(symbol) = self.elf.symbol(self.symbols, symbol) else { return false };
        let section = self.elf.sections.get(usize::from(symbol.section));
        // A distance counts from the operand's end, an address does not.
        let starts = [symbol.value.wrapping_add(addend), symbol.value.wrapping_add(addend).wrapping_add(4)];
        section.is_some_and(|section| {
            section.name == SECTION
                && starts.iter().any(|&at| at < section.size && at.is_multiple_of(WRAPPER_BYTES))
        })
    }
}

/// What is wrong in an object.
pub(super) fn check(elf: &Elf<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for table in elf.sections.iter().filter(|section| section.kind == REL) {
        let reason = "relocations in a form that no 64-bit toolchain writes";
        problems.push(Problem::over(table.offset, table.size, reason));
    }
    for table in elf.sections.iter().filter(|section| section.kind == RELA) {
        let Some(symbols) = usize::try_from(table.link).ok().filter(|&link| link < elf.sections.len()) else {
            continue;
        };
        let functions = symbols_named(elf, &elf.sections[symbols]);
        let section = usize::try_from(table.info).ok().and_then(|index| elf.sections.get(index));
        let Some(section) = section.filter(|section| section.is_allocated() && !functions.is_empty()) else {
            continue;
        };
        let entries = elf.content(table).chunks_exact(RELOCATION_BYTES);
        let mut relocations: Vec<(u64, u32, u64)> = entries
            .filter_map(|entry| Some((u64_at(entry, 0)?, u32_at(entry, 12)?, u64_at(entry, 16)?)))
            .collect();
        relocations.sort_unstable();
        let object = Object { elf, relocations, symbols };
        let code = elf.content(section);
        for &(place, ..) in object.relocations.iter().filter(|(_, symbol, _)| functions.contains(symbol)) {
            let at = usize::try_from(place).ok().filter(|&at| at <= code.len()).unwrap_or_default();
            let call = match code[..at] {
                _ if !section.is_executable() => None,
                [.., 0xFF, 0x15 | 0x25] => Some(at - 2),
                [.., 0xE8 | 0xE9] => Some(at - 1),
                _ => None,
            };
            let offset = section.offset.saturating_add(place);
            match call {
                None => problems.push(Problem::at(offset, TAKEN)),
                Some(call) if !loads_wrapper(code, call, &object) => {
                    problems.push(Problem::at(offset, COMPUTED));
                }
                Some(_) => {}
            }
        }
    }
    problems
}
