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
//! Nor may anything enter between the load of a wrapper's address and the call, take the address of the code that
//! does both, or refer to a wrapper or into device code other than as compilers do.
//!
//! Only for x86-64; a call, jump or write through an address that the program computes is seen by no look at its code.
//!
//! | file | noun |
//! |---|---|
//! | `argument` | what a call hands over |
//! | `distance` | operands of instructions, and where they lead |
//! | `instruction` | where instructions and functions begin and end |
//! | `function` | where the function may be entered |
//! | `site` | a load and its call, and what enters between them |
//! | `reference` | what code refers to beside that |
//! | `linked` | calls and addresses in libraries and programs |
//! | `object` | calls and addresses in objects |

mod argument;
mod distance;
mod function;
mod instruction;
mod linked;
mod object;
mod reference;
mod site;

use std::collections::BTreeSet;

use memchr::memmem;
use rayon::prelude::*;

use super::dynamic::Dynamic;
use super::elf::{Elf, Kind, LOAD, Section};
use super::relocation::{Relocation, Value};
use super::wrapper::{SECTION, WRAPPER_BYTES};
use crate::bytes::{u32_at, u64_at};
use crate::host::{self, Role};
use crate::problem::Problem;
use function::Function;
use linked::{Sought, pieces};
use reference::Guarded;
use site::Sites;

/// `e_machine` of x86-64.
const X86_64: u16 = 62;
/// The function, as string tables hold its name.
const FUNCTION: &[u8] = b"__cudaRegisterFatBinary\0";
/// `STT_TLS`, whose values are no addresses.
const THREAD_LOCAL: u8 = 6;
/// `SHT_PROGBITS`.
const PROGBITS: u32 = 1;
/// `PF_X`.
const RUNS: u32 = 1;
/// Tables of unwinders, the first of which names every function once.
const UNWINDING: [&str; 3] = [".eh_frame", ".eh_frame_hdr", ".gcc_except_table"];
/// `SHT_DYNSYM`.
const DYNSYM: u32 = 11;
/// `SHT_STRTAB`.
const STRTAB: u32 = 3;
/// Size of a symbol, in bytes.
const SYMBOL_BYTES: usize = 24;
/// Most calls that are reported.
const PROBLEMS_LIMIT: usize = 16;

const COMPUTED: &str = "a call registers device code at an address that is no wrapper of this file";
const ADDED_UP: &str = "a call registers device code at an address that the code adds up, as -mcmodel=medium and \
                        -mcmodel=large make it, so what it registers is not read: build without them";
const TAKEN: &str =
    "the address of the function that registers device code is taken, to call it with what no look tells";

const ENTERED: &str = "code or data leads between the load of a wrapper's address and the call that registers it, to \
                       register another";
/// Any four bytes of data may read so by chance, as in the tables of cuRAND: a doubt, and no reason not to read a file.
const DISTANT: &str = "a number in data reads as a distance to between the load of a wrapper's address and the call \
                       that registers it";
/// The same of four bytes in the middle of an instruction, which hostile code may enter there.
const HIDDEN: &str = "bytes within an instruction read as a call or jump to between the load of a wrapper's address and \
                      the call that registers it";
const STARTED: &str = "the address of code that registers device code is taken, to enter it at another place";
const REACHED: &str = "something other than its registration refers to a wrapper, to make it point elsewhere";
const PLACED: &str = "something other than a wrapper refers into device code";

/// What to search in a linked file for registrations, once it is known which of its bytes are device code.
#[derive(Debug)]
pub(crate) struct Registration {
    function: Function,
    sites: Sites,
    wrappers: Vec<(u64, u64)>,
}

/// Reports every registration of something else than a wrapper, and what else could make one; data of a linked file is
/// still to be searched.
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
        report(object::check(elf), true, problems, doubts);
        return None;
    }
    let wrappers: Vec<(u64, u64)> = addresses(elf, |section| section.name == SECTION);
    let mut function = Function::find(elf, dynamic, &registered_themselves(elf, &wrappers));
    let mut found = function.written_pointers(elf, writes);
    found.extend(dynamic.iter().flat_map(|dynamic| function.lazy_slots(elf, dynamic)));
    let constructors = constructors(elf, writes);
    let (sites, others) = linked::sites(elf, &function, &wrappers, &constructors);
    found.extend(others);
    if !sites.is_empty() {
        found.extend(references(elf, dynamic, writes, &sites, &wrappers));
    }
    report(found, function.is_named, problems, doubts);
    (!function.is_absent()).then_some(Registration { function, sites, wrappers })
}

/// Adds what was found to the problems or the doubts. Where the function has no name, what is called like it is a
/// doubt, and so is what bytes may read as by chance.
fn report(found: Vec<Problem>, is_named: bool, problems: &mut Vec<Problem>, doubts: &mut Vec<Problem>) {
    let is_problem = |one: &Problem| is_named && one.reason != DISTANT && one.reason != HIDDEN;
    let (certain, doubtful): (Vec<_>, Vec<_>) = found.into_iter().partition(is_problem);
    problems.extend(certain.into_iter().take(PROBLEMS_LIMIT));
    doubts.extend(doubtful.into_iter().take(PROBLEMS_LIMIT));
}

/// Where sections of some kind are mapped.
fn addresses(elf: &Elf<'_>, is_meant: impl Fn(&Section) -> bool) -> Vec<(u64, u64)> {
    let sections = elf.sections.iter().filter(|section| is_meant(section) && section.has_bytes());
    sections.map(|section| (section.address, section.address.saturating_add(section.size))).collect()
}

/// Whether a section lists functions, by their addresses: to be called when the file is loaded or unloaded, to be
/// unwound, or to be patched.
fn is_table_of_functions(name: &str) -> bool {
    const TABLES: [&str; 7] = [
        ".init_array",
        ".fini_array",
        ".preinit_array",
        ".ctors",
        ".dtors",
        ".eh_frame",
        "__patchable_function_entries",
    ];
    TABLES.iter().any(|table| name.starts_with(table))
}

/// Where functions begin that are called when a linked file is loaded, in order.
fn constructors(elf: &Elf<'_>, writes: &[Relocation]) -> Vec<u64> {
    let tables = elf.sections.iter().filter(|section| {
        section.has_bytes() && section.is_allocated() && is_table_of_functions(&section.name)
    });
    let mut found: Vec<u64> = Vec::new();
    for table in tables.filter(|table| !table.name.starts_with(".eh_frame")) {
        let from = writes.partition_point(|write| write.offset < table.offset);
        let written = writes[from..].iter().take_while(|write| write.offset < table.end());
        found.extend(written.filter_map(|write| match write.value {
            Value::Known(value) | Value::Preemptible(value) => Some(value),
            _ => None,
        }));
        if elf.kind == Kind::Executable {
            found.extend(elf.content(table).chunks_exact(8).filter_map(|word| u64_at(word, 0)));
        }
    }
    found.sort_unstable();
    found
}

/// What a linked file's code, relocations and headers refer to beside its registrations.
fn references(
    elf: &Elf<'_>,
    dynamic: Option<&Dynamic>,
    writes: &[Relocation],
    sites: &Sites,
    wrappers: &[(u64, u64)],
) -> Vec<Problem> {
    let containers = addresses(elf, |section| host::role_of(&section.name) == Some(Role::Fatbin));
    let linked_wrappers = linked_wrappers(elf, sites);
    let guarded = Guarded {
        sites,
        wrappers,
        linked_wrappers: &linked_wrappers,
        containers: &containers,
        is_fixed: elf.kind == Kind::Executable,
    };
    let mut problems = written(elf, writes, &guarded);
    for (section, code) in code(elf) {
        // Device code is so large that numbers in data lead there by chance.
        let counts = |reason: &str| section.is_executable() || reason != PLACED;
        let found = pieces(code.len())
            .flat_map_iter(|range| guarded.references(code, section.address, range, |_| true))
            .filter(|(_, reason)| counts(reason))
            .map(|(at, reason)| Problem::at(section.offset + at as u64, reason));
        problems.par_extend(found);
    }
    let entry = u64_at(elf.bytes, 24);
    let called = dynamic.map(|dynamic| dynamic.called.clone()).unwrap_or_default();
    let exported = elf.sections.iter().filter(|section| section.kind == DYNSYM);
    let exported = exported.flat_map(|table| elf.symbols(table)).map(|(symbol, _)| symbol);
    let exported = exported
        .filter(|symbol| symbol.section != 0 && symbol.info & 0xF != THREAD_LOCAL)
        .map(|symbol| symbol.value);
    let entered = entry.into_iter().chain(called).chain(exported).filter(|&place| sites.is_inside(place));
    problems.extend(entered.map(|place| Problem::at(elf.file_offset(place).unwrap_or(place), ENTERED)));
    problems
}

/// Pointers that the loader writes.
fn written(elf: &Elf<'_>, writes: &[Relocation], guarded: &Guarded<'_>) -> Vec<Problem> {
    let ranges: Vec<(u64, u64, &Section)> = elf
        .sections
        .iter()
        .filter(|section| section.has_bytes())
        .filter(|section| {
            is_table_of_functions(&section.name)
                || section.name == SECTION
                || section.name.starts_with(".got")
        })
        .map(|section| (section.offset, section.end(), section))
        .collect();
    let from = |offset: u64| {
        let found = ranges.iter().find(|(start, end, _)| (*start..*end).contains(&offset));
        found.map(|(.., section)| section.name.as_str()).unwrap_or_default()
    };
    let reason = |write: &Relocation| {
        let (Value::Known(value) | Value::Preemptible(value)) = write.value else { return None };
        let within = |ranges: &[(u64, u64)]| ranges.iter().any(|&(start, end)| (start..end).contains(&value));
        if guarded.sites.is_inside(value) {
            Some(ENTERED)
        } else if within(guarded.wrappers) {
            let is_handed_on =
                guarded.linked_wrappers.contains(&value) && from(write.offset).starts_with(".got");
            (!is_handed_on).then_some(REACHED)
        } else if within(guarded.containers) {
            let place = from(write.offset);
            (place != SECTION && !place.starts_with(".got")).then_some(PLACED)
        } else if guarded.sites.is_function(value, u64::MAX) {
            (!is_table_of_functions(from(write.offset))).then_some(STARTED)
        } else {
            None
        }
    };
    writes.iter().filter_map(|write| Some(Problem::at(write.offset, reason(write)?))).collect()
}

/// Wrappers that no call registers, where one with a list does it for them: those of separate compilation.
fn linked_wrappers(elf: &Elf<'_>, sites: &Sites) -> Vec<u64> {
    let records = records(elf);
    if records.iter().all(|(_, version)| *version != Some(2)) {
        return Vec::new();
    }
    let single = records.into_iter().filter(|&(_, version)| version == Some(1));
    single.map(|(at, _)| at).filter(|&at| !sites.registers(at)).collect()
}

/// Wrappers whose addresses are handed to the function alone: those with a list, where there are any.
fn registered_themselves(elf: &Elf<'_>, wrappers: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let records = records(elf).into_iter().filter(|(_, version)| *version == Some(2));
    let listed: Vec<(u64, u64)> = records.map(|(at, _)| (at, at.saturating_add(WRAPPER_BYTES))).collect();
    if listed.is_empty() { wrappers.to_vec() } else { listed }
}

/// The address and version of each wrapper.
fn records(elf: &Elf<'_>) -> Vec<(u64, Option<u32>)> {
    let sections = elf.sections.iter().filter(|section| section.name == SECTION && section.has_bytes());
    let records = sections.flat_map(|section| {
        let records = elf.content(section).chunks_exact(24);
        (section.address..).step_by(24).zip(records).map(|(at, record)| (at, u32_at(record, 4)))
    });
    records.collect()
}

impl Registration {
    /// Searches data in the parts of the file that are `unknown`, which count from the start of a file in which the ELF
    /// begins at `start`: problems and doubts.
    pub(crate) fn search(
        &self,
        elf: &Elf<'_>,
        start: u64,
        unknown: &[(u64, u64)],
    ) -> (Vec<Problem>, Vec<Problem>) {
        let sought = Sought { function: &self.function, sites: &self.sites, wrappers: &self.wrappers };
        let (mut problems, mut doubts) = (Vec::new(), Vec::new());
        let found = linked::stored(elf, &sought, start, unknown);
        report(found, self.function.is_named, &mut problems, &mut doubts);
        (problems, doubts)
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

/// Sections of code, and data that can run: that lies in a segment which is executed, as older linkers have it for what
/// is only read.
fn code<'e, 'a>(elf: &'e Elf<'a>) -> impl Iterator<Item = (&'e Section, &'a [u8])> {
    elf.sections
        .iter()
        .filter(|section| section.has_bytes() && (section.is_executable() || can_run(elf, section)))
        .map(|section| (section, elf.content(section)))
}

/// Whether a section of data can run. Tables of unwinders hold distances to every function, and device code is read as
/// such: they are left out.
fn can_run(elf: &Elf<'_>, section: &Section) -> bool {
    let is_data = section.kind == PROGBITS
        && section.is_allocated()
        && !UNWINDING.contains(&section.name.as_str())
        && host::role_of(&section.name) != Some(Role::Fatbin);
    is_data
        && elf.segments.iter().filter(|segment| segment.kind == LOAD && segment.flags & RUNS != 0).any(
            |segment| {
                let end = segment.address.saturating_add(segment.memory_bytes);
                section.address < end && segment.address < section.address.saturating_add(section.size)
            },
        )
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
