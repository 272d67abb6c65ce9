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
//! | with the static runtime | what its symbols name, and where it is stripped, what honest calls call |
//!
//! Only for x86-64; a call through an address that the program computes is seen by no look at its calls.
//!
//! | file | noun |
//! |---|---|
//! | `argument` | what a call hands over |
//! | `function` | where the function may be entered |
//! | `instruction` | where instructions begin |
//! | `linked` | calls and addresses in libraries and programs |
//! | `object` | calls and addresses in objects |

mod argument;
mod function;
mod instruction;
mod linked;
mod object;

use std::collections::BTreeSet;

use memchr::memmem;

use super::dynamic::Dynamic;
use super::elf::{Elf, Kind, Section};
use super::relocation::Relocation;
use super::wrapper::SECTION;
use crate::proof::bytes::u32_at;
use crate::proof::problem::Problem;
use function::Function;

/// `e_machine` of x86-64.
const X86_64: u16 = 62;
/// The function, as string tables hold its name.
const FUNCTION: &[u8] = b"__cudaRegisterFatBinary\0";
/// `SHT_STRTAB`.
const STRTAB: u32 = 3;
/// Size of a symbol, in bytes.
const SYMBOL_BYTES: usize = 24;
/// Most calls that are reported.
const PROBLEMS_LIMIT: usize = 16;

const COMPUTED: &str = "a call registers device code at an address that is no wrapper of this file";
const TAKEN: &str =
    "the address of the function that registers device code is taken, to call it with what no look tells";

/// What to search in a linked file for registrations, once it is known which of its bytes are device code.
#[derive(Debug)]
pub(in crate::proof) struct Registration {
    function: Function,
    wrappers: Vec<(u64, u64)>,
}

/// Reports every registration of something else than a wrapper, in an object, and what the loader itself hands over
/// in a linked file; of which the rest is to be searched.
pub(super) fn check(
    elf: &Elf<'_>,
    dynamic: Option<&Dynamic>,
    writes: &[Relocation],
    problems: &mut Vec<Problem>,
    doubts: &mut Vec<Problem>,
) -> Option<Registration> {
    if elf.machine != X86_64 || !is_named(elf) && !has_wrappers(elf) {
        return None;
    }
    if elf.kind == Kind::Relocatable {
        let found = object::check(elf);
        problems.extend(found.into_iter().take(PROBLEMS_LIMIT));
        return None;
    }
    let wrappers: Vec<(u64, u64)> = elf
        .sections
        .iter()
        .filter(|section| section.name == SECTION && section.has_bytes())
        .map(|section| (section.address, section.address.saturating_add(section.size)))
        .collect();
    let mut function = Function::find(elf, dynamic, &wrappers);
    let found = function.written_pointers(elf, writes);
    // Where the function has no name, what is called like it is a doubt.
    let whom = if function.is_named { problems } else { doubts };
    whom.extend(found.into_iter().take(PROBLEMS_LIMIT));
    (!function.is_absent()).then_some(Registration { function, wrappers })
}

impl Registration {
    /// Searches code, and data in the parts of the file that are `unknown`, which count from the start of a file in which the
    /// ELF begins at `start`: problems, and doubts where the function has no name.
    pub(in crate::proof) fn search(
        &self,
        elf: &Elf<'_>,
        start: u64,
        unknown: &[(u64, u64)],
    ) -> (Vec<Problem>, Vec<Problem>) {
        let mut found = linked::search(elf, &self.function, &self.wrappers, start, unknown);
        found.truncate(PROBLEMS_LIMIT);
        if self.function.is_named { (found, Vec::new()) } else { (Vec::new(), found) }
    }
}

fn has_wrappers(elf: &Elf<'_>) -> bool {
    elf.sections.iter().any(|section| section.name == SECTION)
}

/// Whether a table of names holds the function's.
fn is_named(elf: &Elf<'_>) -> bool {
    let mut names = elf.sections.iter().filter(|section| section.kind == STRTAB);
    names.any(|names| memmem::find(elf.content(names), FUNCTION).is_some())
}

/// Sections of code.
fn code<'e, 'a>(elf: &'e Elf<'a>) -> impl Iterator<Item = (&'e Section, &'a [u8])> {
    elf.sections
        .iter()
        .filter(|section| section.is_executable() && section.has_bytes())
        .map(|section| (section, elf.content(section)))
}

/// The numbers of the symbols in a table whose name is the function's, or ends with it: linkers that wrap a
/// function call it by a longer one.
fn symbols_named(elf: &Elf<'_>, table: &Section) -> BTreeSet<u32> {
    let names = usize::try_from(table.link).ok().and_then(|index| elf.sections.get(index));
    let names = names.map(|names| elf.content(names)).unwrap_or_default();
    let found = memmem::find_iter(names, FUNCTION).map(|at| {
        let before = memchr::memrchr(0, &names[..at]).map_or(0, |zero| zero + 1);
        before as u64..=at as u64
    });
    let offsets: Vec<_> = found.collect();
    if offsets.is_empty() {
        return BTreeSet::new();
    }
    let symbols = elf.content(table).chunks_exact(SYMBOL_BYTES).enumerate();
    let wanted = symbols.filter(|(_, symbol)| {
        u32_at(symbol, 0).is_some_and(|name| offsets.iter().any(|one| one.contains(&u64::from(name))))
    });
    wanted.filter_map(|(index, _)| u32::try_from(index).ok()).collect()
}
