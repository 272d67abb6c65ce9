//! Who registers device code, and which address it hands to the runtime.
//!
//! The stub that nvcc and clang make of each source calls `__cudaRegisterFatBinary` with the address of a wrapper
//! in `.nvFatBinSegment`. Whoever calls it with another address registers what no look at that section shows.
//! So every call of it must be such a one, and nothing else may take the function's address:
//!
//! | file | the function is |
//! |---|---|
//! | object | what relocations of its code and data name |
//! | linked against the shared runtime | what a slot of the dynamic table holds, and the stubs that jump there |
//! | with the static runtime | what its symbols name, or where it is stripped, what honest calls call |
//!
//! Honest calls in 60 libraries of 15 wheels (GCC, clang; with and without optimisation) load the address right
//! before, with at most `movq $0, …` or `sub $…, %rsp` between. Only for x86-64; a call through an address that
//! the program computes is seen by no look at its calls.

use std::collections::BTreeSet;

use memchr::memmem;

use super::dynamic::Dynamic;
use super::elf::{Elf, Kind, Section, UNDEFINED};
use super::wrapper::{SECTION, WRAPPER_BYTES};
use crate::proof::bytes::{u32_at, u64_at};
use crate::proof::problem::Problem;

/// `e_machine` of x86-64.
const X86_64: u16 = 62;
/// The function, as string tables hold its name.
const FUNCTION: &[u8] = b"__cudaRegisterFatBinary\0";
/// `SHT_SYMTAB`, `SHT_RELA` and `SHT_DYNSYM`.
const SYMTAB: u32 = 2;
const RELA: u32 = 4;
const DYNSYM: u32 = 11;
/// Size of a symbol and of a relocation, in bytes.
const SYMBOL_BYTES: usize = 24;
const RELOCATION_BYTES: usize = 24;
/// `R_X86_64_GLOB_DAT` and `R_X86_64_JUMP_SLOT`.
const SLOTS: [u32; 2] = [6, 7];
/// Bytes before a call within which its argument is loaded.
const ARGUMENT_REACH: usize = 64;
/// Most calls that are reported.
const PROBLEMS_LIMIT: usize = 16;

/// Reports every registration of something else than a wrapper of this file.
/// Where the function has no name, what is called like it is a doubt.
pub(super) fn check(
    elf: &Elf<'_>,
    dynamic: Option<&Dynamic>,
    problems: &mut Vec<Problem>,
    doubts: &mut Vec<Problem>,
) {
    if elf.machine != X86_64
        || memmem::find(elf.bytes, &FUNCTION[..FUNCTION.len() - 1]).is_none() && !has_wrappers(elf)
    {
        return;
    }
    let (mut found, is_named) = match elf.kind {
        Kind::Relocatable => (in_object(elf), true),
        _ => in_linked(elf, dynamic),
    };
    found.truncate(PROBLEMS_LIMIT);
    if is_named { problems.append(&mut found) } else { doubts.append(&mut found) }
}

fn has_wrappers(elf: &Elf<'_>) -> bool {
    elf.sections.iter().any(|section| section.name == SECTION)
}

const COMPUTED: &str = "a call registers device code at an address that is no wrapper of this file";
const TAKEN: &str =
    "the address of the function that registers device code is taken, to call it with what no look tells";

/// Sections of code.
fn code<'e, 'a>(elf: &'e Elf<'a>) -> impl Iterator<Item = (&'e Section, &'a [u8])> {
    elf.sections
        .iter()
        .filter(|section| section.is_executable() && section.has_bytes())
        .map(|section| (section, elf.content(section)))
}

/// The numbers of the symbols of this name in a table.
fn symbols_named(elf: &Elf<'_>, table: &Section) -> BTreeSet<u32> {
    let names = usize::try_from(table.link).ok().and_then(|index| elf.sections.get(index));
    let names = names.map(|names| elf.content(names)).unwrap_or_default();
    let offsets: Vec<u32> =
        memmem::find_iter(names, FUNCTION).filter_map(|at| u32::try_from(at).ok()).collect();
    if offsets.is_empty() {
        return BTreeSet::new();
    }
    let symbols = elf.content(table).chunks_exact(SYMBOL_BYTES).enumerate();
    let wanted = symbols.filter(|(_, symbol)| u32_at(symbol, 0).is_some_and(|name| offsets.contains(&name)));
    wanted.filter_map(|(index, _)| u32::try_from(index).ok()).collect()
}

/// Where the 4-byte operand that ends an instruction leads, in whatever terms the file has.
trait Operands {
    /// Whether the operand at an offset of a section's code is the address of a wrapper.
    fn is_wrapper(&self, at: usize) -> bool;
}

/// Whether the code before a call loads a wrapper's address as its argument, with nothing between that could
/// change it.
fn loads_wrapper(code: &[u8], call: usize, operands: &impl Operands) -> bool {
    let mut end = call;
    while call - end <= ARGUMENT_REACH {
        let before = &code[..end];
        end -= match before {
            // `lea …(%rip), %rdi` and `mov $…, %rdi`.
            [.., 0x48, 0x8D, 0x3D, _, _, _, _] | [.., 0x48, 0xC7, 0xC7, _, _, _, _] => {
                return operands.is_wrapper(end - 4);
            }
            // `lea …(%rip), %rax` before `mov %rax, %rdi`.
            [.., 0x48, 0x8D, 0x05, _, _, _, _, 0x48, 0x89, 0xC7] => return operands.is_wrapper(end - 7),
            // `mov $…, %eax` before the same.
            [.., 0xB8, _, _, _, _, 0x48, 0x89, 0xC7] if operands.is_wrapper(end - 7) => return true,
            // `movq $…, …(%rip)`.
            [.., 0x48, 0xC7, 0x05, _, _, _, _, _, _, _, _] => 11,
            // `mov $…, %edi`, where addresses have 32 bits.
            [.., 0xBF, _, _, _, _] if operands.is_wrapper(end - 4) => return true,
            // `sub $…, %rsp`.
            [.., 0x48, 0x83, 0xEC, _] => 4,
            // `push %rax` and `nop`, to align the stack and the call.
            [.., 0x50 | 0x90] => 1,
            _ => return false,
        };
    }
    false
}

/// A linked file's code: operands are distances from the instruction's end, or addresses of 32 bits.
struct Linked<'a> {
    code: &'a [u8],
    address: u64,
    wrappers: &'a [(u64, u64)],
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

/// The address at a distance that ends an instruction.
fn target(code: &[u8], address: u64, at: usize) -> Option<u64> {
    let distance = i32::from_le_bytes(code.get(at..at + 4)?.try_into().ok()?);
    Some(address.wrapping_add(at as u64 + 4).wrapping_add_signed(distance.into()))
}

/// What is wrong in a linked file, and whether the function is known by its name.
fn in_linked(elf: &Elf<'_>, dynamic: Option<&Dynamic>) -> (Vec<Problem>, bool) {
    let mut problems = Vec::new();
    let wrappers: Vec<(u64, u64)> = elf
        .sections
        .iter()
        .filter(|section| section.name == SECTION && section.has_bytes())
        .map(|section| (section.address, section.address.saturating_add(section.size)))
        .collect();
    let mut functions: BTreeSet<u64> = BTreeSet::new();
    for table in elf.sections.iter().filter(|section| matches!(section.kind, SYMTAB | DYNSYM)) {
        let named = symbols_named(elf, table);
        let symbols = named.iter().filter_map(|&index| {
            let at = usize::try_from(index).ok()?.checked_mul(SYMBOL_BYTES)?;
            super::elf::symbol_in(elf.content(table).get(at..)?)
        });
        functions.extend(symbols.filter(|symbol| symbol.section != UNDEFINED).map(|symbol| symbol.value));
    }
    let mut slots = BTreeSet::new();
    for (place, kind) in dynamic.map(|dynamic| dynamic.relocations_of(elf, FUNCTION)).unwrap_or_default() {
        if SLOTS.contains(&kind) {
            slots.insert(place);
        } else {
            problems.push(Problem::at(elf.file_offset(place).unwrap_or(place), TAKEN));
        }
    }
    for (section, code) in code(elf) {
        functions.extend(stubs(section, code, &slots));
    }
    let is_named = !functions.is_empty() || !slots.is_empty();
    if !is_named {
        functions = called_with_wrappers(elf, &wrappers);
    }
    if functions.is_empty() && slots.is_empty() {
        return (problems, true);
    }
    for (section, code) in code(elf) {
        let linked = Linked { code, address: section.address, wrappers: &wrappers };
        let mut report = |at: usize, reason| problems.push(Problem::at(section.offset + at as u64, reason));
        for at in memchr::memchr2_iter(0xE8, 0xE9, code) {
            let is_it =
                target(code, section.address, at + 1).is_some_and(|target| functions.contains(&target));
            if is_it && !loads_wrapper(code, at, &linked) {
                report(at, COMPUTED);
            }
        }
        for (at, place) in near_operands(code, section.address, &functions, &slots) {
            match code[at - 2..at] {
                [0xFF, 0x25] if section.name.starts_with(".plt") => {}
                [0xFF, 0x15 | 0x25] if slots.contains(&place) && loads_wrapper(code, at - 2, &linked) => {}
                [0xFF, 0x15 | 0x25] if slots.contains(&place) => report(at - 2, COMPUTED),
                [0x8B | 0x8D | 0xFF, _] => report(at - 2, TAKEN),
                _ => {}
            }
        }
    }
    (problems, is_named)
}

/// Operands relative to the instruction (`mod` 0, `r/m` 5) that lead to one of the places: offset and place.
fn near_operands(
    code: &[u8],
    address: u64,
    functions: &BTreeSet<u64>,
    slots: &BTreeSet<u64>,
) -> Vec<(usize, u64)> {
    let places: Vec<u64> = functions.iter().chain(slots).copied().collect();
    let (Some(&first), Some(&last)) = (places.iter().min(), places.iter().max()) else { return Vec::new() };
    let mut found = Vec::new();
    for (index, window) in code.windows(5).enumerate().skip(1) {
        if window[0] & 0xC7 != 5 {
            continue;
        }
        let distance = i32::from_le_bytes([window[1], window[2], window[3], window[4]]);
        let place = address.wrapping_add(index as u64 + 5).wrapping_add_signed(distance.into());
        if (first..=last).contains(&place) && places.contains(&place) {
            found.push((index + 1, place));
        }
    }
    found
}

/// Where stubs stand that jump to what a slot holds: `jmp *slot(%rip)`, behind a mark for indirect jumps or not.
fn stubs(section: &Section, code: &[u8], slots: &BTreeSet<u64>) -> Vec<u64> {
    if slots.is_empty() || !section.name.starts_with(".plt") {
        return Vec::new();
    }
    let jumps = memmem::find_iter(code, b"\xFF\x25")
        .filter(|at| target(code, section.address, at + 2).is_some_and(|target| slots.contains(&target)));
    jumps
        .flat_map(|at| [0, 1, 4, 5].map(|back| section.address.wrapping_add(at as u64).wrapping_sub(back)))
        .collect()
}

/// What the calls right behind the address of a wrapper call: the function in a stripped file, where at least one
/// call in two is of it.
fn called_with_wrappers(elf: &Elf<'_>, wrappers: &[(u64, u64)]) -> BTreeSet<u64> {
    let mut called: Vec<u64> = Vec::new();
    for (section, code) in code(elf) {
        let linked = Linked { code, address: section.address, wrappers };
        let calls = memmem::find_iter(code, b"\x48\x8D\x3D").map(|at| at + 7);
        let calls = calls.filter(|&at| code.get(at) == Some(&0xE8) && linked.is_wrapper(at - 4));
        called.extend(calls.filter_map(|at| target(code, section.address, at + 1)));
    }
    called.sort_unstable();
    let most = called.chunk_by(|one, other| one == other).max_by_key(|same| same.len());
    most.filter(|same| same.len() * 2 >= called.len()).map(|same| same[0]).into_iter().collect()
}

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

fn in_object(elf: &Elf<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
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
