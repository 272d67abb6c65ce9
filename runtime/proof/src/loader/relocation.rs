//! What the loader, or the linker, will write into a file: its relocations.
//!
//! Numbers are those of the processor supplements for x86-64 and `AArch64`; the loader takes the dynamic
//! ones, the linker takes those of objects.

use super::dynamic::Dynamic;
use super::elf::{ABSOLUTE, Elf, Kind, Section, Symbol, UNDEFINED, symbol_in};
use crate::bytes::{slice, u32_at, u64_at};
use crate::problem::Problem;

/// `e_machine` of x86-64 and `AArch64`.
const X86_64: u16 = 62;
const AARCH64: u16 = 183;
/// Size of a relocation with addend, in bytes.
const RELOCATION_BYTES: usize = 24;
/// More relocations than any library has; beyond it the rest is not read.
const RELOCATIONS_LIMIT: usize = 8 << 20;
/// `SHT_RELA` and `SHT_REL`.
const RELA: u32 = 4;
const REL: u32 = 9;

/// What will stand at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    /// This number, plus the address at which the file is loaded where it is a pointer.
    Known(u64),
    /// The same, unless what was loaded before defines the symbol.
    Preemptible(u64),
    /// The place at an offset of a section of the object.
    Inside {
        /// The section's index.
        section: u16,
        /// The offset in it.
        offset: u64,
    },
    /// Something that this file alone does not tell.
    Unknown,
}

/// One write.
#[derive(Debug, Clone, Copy)]
pub(super) struct Relocation {
    /// Where in the file.
    pub(super) offset: u64,
    /// How many bytes.
    pub(super) width: u64,
    /// What.
    pub(super) value: Value,
}

/// How a kind of relocation comes to its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RelocationRule {
    /// Nothing is written.
    Nothing,
    /// The load address plus the addend.
    Relative,
    /// The symbol's value plus the addend, in so many bytes.
    Absolute(u64),
    /// Relative to the place or to a table: never a number of the file's choice.
    Elsewhere(u64),
    /// An offset in thread-local memory: the symbol's value plus the addend.
    ThreadOffset,
    /// A copy of another library's variable.
    Copy,
    /// None that compilers leave there.
    Strange,
}

/// Every write, those that compilers never ask for reported.
pub(super) fn read(elf: &Elf<'_>, dynamic: Option<&Dynamic>, problems: &mut Vec<Problem>) -> Vec<Relocation> {
    let mut found = match dynamic {
        _ if elf.kind == Kind::Relocatable => of_object(elf, problems),
        Some(dynamic) => of_loader(elf, dynamic, problems),
        None => Vec::new(),
    };
    if found.len() > RELOCATIONS_LIMIT {
        problems.push(Problem::at(0, "more relocations than any library has, which are not read"));
    }
    found.sort_by_key(|relocation| relocation.offset);
    found
}

fn of_loader(elf: &Elf<'_>, dynamic: &Dynamic, problems: &mut Vec<Problem>) -> Vec<Relocation> {
    let mut found = Vec::new();
    for (address, size) in [dynamic.relocations, dynamic.calls] {
        if size == 0 {
            continue;
        }
        let Some(table) = elf.file_offset(address).and_then(|at| slice(elf.bytes, at, size)) else {
            problems.push(Problem::at(address, "a table of relocations lies in no mapped segment"));
            continue;
        };
        for entry in table.chunks_exact(RELOCATION_BYTES) {
            found.extend(loader_entry(elf, dynamic, entry, problems));
            if found.len() > RELOCATIONS_LIMIT {
                return found;
            }
        }
    }
    packed(elf, dynamic.packed, &mut found, problems);
    found
}

/// The three words of an entry: place, kind with symbol, addend.
fn words(entry: &[u8]) -> Option<(u64, u32, u32, u64)> {
    Some((u64_at(entry, 0)?, u32_at(entry, 8)?, u32_at(entry, 12)?, u64_at(entry, 16)?))
}

fn loader_entry(
    elf: &Elf<'_>,
    dynamic: &Dynamic,
    entry: &[u8],
    problems: &mut Vec<Problem>,
) -> Option<Relocation> {
    let (place, kind, index, addend) = words(entry)?;
    let rule = loader_rule(elf.machine, kind);
    if rule == RelocationRule::Nothing {
        return None;
    }
    let symbol = || {
        let at = elf.file_offset(dynamic.symbols)?.checked_add(u64::from(index) * 24)?;
        symbol_in(slice(elf.bytes, at, 24)?)
    };
    // Variables of other libraries are copied to memory that no file fills.
    if rule == RelocationRule::Copy && elf.file_offset(place).is_none() {
        let end = place.saturating_add(symbol().map_or(0, |symbol| symbol.size));
        if let Some(load) = elf.loads().find(|load| place < load.address && load.address < end) {
            let reason = "a variable of another library is copied over the start of a segment";
            problems.push(Problem::at(load.offset, reason));
        }
        return None;
    }
    let Some(offset) = elf.file_offset(place) else {
        problems
            .push(Problem::at(place, format!("a relocation of kind {kind} into memory that no file fills")));
        return None;
    };
    let named = if index == 0 { None } else { symbol() };
    if index != 0 && named.is_none() {
        problems.push(Problem::at(offset, "a relocation against a symbol that is not there"));
    }
    let defined = || named.filter(|symbol| symbol.section != UNDEFINED);
    let (width, value) = match rule {
        RelocationRule::Relative => (8, Value::Known(addend)),
        RelocationRule::Absolute(width) if index == 0 => (width, Value::Known(addend)),
        RelocationRule::Absolute(width) => {
            (width, defined().map_or(Value::Unknown, |symbol| of_symbol(&symbol, addend)))
        }
        RelocationRule::ThreadOffset if index == 0 => (8, Value::Known(addend)),
        RelocationRule::ThreadOffset => {
            (8, defined().map_or(Value::Unknown, |symbol| Value::Known(symbol.value.wrapping_add(addend))))
        }
        RelocationRule::Elsewhere(width) => (width, Value::Unknown),
        // Tools that move segments leave `.bss` in the file.
        RelocationRule::Copy => (symbol().map_or(8, |symbol| symbol.size), Value::Unknown),
        RelocationRule::Strange | RelocationRule::Nothing => {
            problems.push(Problem::at(
                offset,
                format!("a relocation of kind {kind}, which no linker leaves for a loader"),
            ));
            (8, Value::Unknown)
        }
    };
    if rule == RelocationRule::Relative && index != 0 {
        problems
            .push(Problem::at(offset, "a relative relocation that names a symbol, as no linker writes it"));
    }
    if rule == RelocationRule::Relative && !is_in_image(elf, addend) {
        problems.push(Problem::at(offset, format!("a relocation to {addend:#x}, outside of what is loaded")));
    }
    Some(Relocation { offset, width, value })
}

/// What the loader writes for a symbol that the file defines.
fn of_symbol(symbol: &Symbol, addend: u64) -> Value {
    let value = symbol.value.wrapping_add(addend);
    if symbol.is_computed() {
        Value::Unknown
    } else if symbol.is_preemptible() {
        Value::Preemptible(value)
    } else {
        Value::Known(value)
    }
}

/// Whether an address lies in a segment, or where one ends.
fn is_in_image(elf: &Elf<'_>, address: u64) -> bool {
    let last = elf.loads().map(|load| load.address.saturating_add(load.memory_bytes)).max();
    last.is_some_and(|last| address <= last)
}

/// Relative relocations in the packed form (`DT_RELR`): addresses and bitmaps of words behind them.
fn packed(
    elf: &Elf<'_>,
    (address, size): (u64, u64),
    found: &mut Vec<Relocation>,
    problems: &mut Vec<Problem>,
) {
    if size == 0 {
        return;
    }
    let Some(table) = elf.file_offset(address).and_then(|at| slice(elf.bytes, at, size)) else {
        return problems.push(Problem::at(address, "a table of relocations lies in no mapped segment"));
    };
    let mut next = 0_u64;
    let mut write = |place: u64| {
        if found.len() > RELOCATIONS_LIMIT {
            return;
        }
        let offset = elf.file_offset(place);
        let stored = offset.and_then(|at| slice(elf.bytes, at, 8)).and_then(|word| u64_at(word, 0));
        match (offset, stored) {
            (Some(offset), Some(stored)) if is_in_image(elf, stored) => {
                found.push(Relocation { offset, width: 8, value: Value::Known(stored) });
            }
            _ => problems.push(Problem::at(place, "a packed relocation outside of what is loaded")),
        }
    };
    for word in table.chunks_exact(8).filter_map(|word| u64_at(word, 0)) {
        if word & 1 == 0 {
            write(word);
            next = word.wrapping_add(8);
            continue;
        }
        for bit in (0..63_u64).filter(|bit| word >> (bit + 1) & 1 != 0) {
            write(next.wrapping_add(8 * bit));
        }
        next = next.wrapping_add(8 * 63);
    }
}

fn of_object(elf: &Elf<'_>, problems: &mut Vec<Problem>) -> Vec<Relocation> {
    let mut found = Vec::new();
    for table in elf.sections.iter().filter(|section| matches!(section.kind, RELA | REL)) {
        let Some(target) = usize::try_from(table.info).ok().and_then(|index| elf.sections.get(index)) else {
            continue;
        };
        if !target.is_allocated() || target.is_executable() || !target.has_bytes() {
            continue;
        }
        if table.kind == REL {
            let reason = "relocations in a form that no 64-bit toolchain writes";
            problems.push(Problem::over(table.offset, table.size, reason));
            continue;
        }
        for entry in elf.content(table).chunks_exact(RELOCATION_BYTES) {
            found.extend(object_entry(elf, table, target, entry, problems));
            if found.len() > RELOCATIONS_LIMIT {
                return found;
            }
        }
    }
    found
}

fn object_entry(
    elf: &Elf<'_>,
    table: &Section,
    target: &Section,
    entry: &[u8],
    problems: &mut Vec<Problem>,
) -> Option<Relocation> {
    let (place, kind, index, addend) = words(entry)?;
    let rule = object_rule(elf.machine, kind);
    if rule == RelocationRule::Nothing {
        return None;
    }
    let offset = target.offset.saturating_add(place);
    if place >= target.size {
        problems.push(Problem::at(offset, format!("a relocation outside of its section {}", target.name)));
        return None;
    }
    let (width, value) = match rule {
        RelocationRule::Absolute(width) if index == 0 => (width, Value::Known(addend)),
        RelocationRule::Absolute(width) => {
            let symbol = usize::try_from(table.link).ok().and_then(|link| elf.symbol(link, index));
            let value = match symbol {
                Some(symbol) if symbol.section == ABSOLUTE => Value::Known(symbol.value.wrapping_add(addend)),
                Some(symbol) if symbol.section != UNDEFINED && !symbol.is_weak() && !symbol.is_computed() => {
                    Value::Inside { section: symbol.section, offset: symbol.value.wrapping_add(addend) }
                }
                _ => Value::Unknown,
            };
            (width, value)
        }
        RelocationRule::Elsewhere(width) => (width, Value::Unknown),
        _ => {
            let reason = format!(
                "a relocation of kind {kind} in section {}, which no compiler leaves there",
                target.name
            );
            problems.push(Problem::at(offset, reason));
            (8, Value::Unknown)
        }
    };
    Some(Relocation { offset, width, value })
}

/// What each kind does when the file is loaded.
fn loader_rule(machine: u16, kind: u32) -> RelocationRule {
    match (machine, kind) {
        (X86_64 | AARCH64, 0) => RelocationRule::Nothing,
        (X86_64, 1 | 6 | 7) | (AARCH64, 257 | 1025 | 1026) => RelocationRule::Absolute(8),
        (X86_64, 8) | (AARCH64, 1027) => RelocationRule::Relative,
        (X86_64, 5) | (AARCH64, 1024) => RelocationRule::Copy,
        (X86_64, 16 | 18 | 37) | (AARCH64, 1028 | 1030 | 1032) => RelocationRule::Elsewhere(8),
        (X86_64, 17) | (AARCH64, 1029) => RelocationRule::ThreadOffset,
        (X86_64, 36) | (AARCH64, 1031) => RelocationRule::Elsewhere(16),
        _ => RelocationRule::Strange,
    }
}

/// What each kind does when an object is linked, in data.
fn object_rule(machine: u16, kind: u32) -> RelocationRule {
    match (machine, kind) {
        (X86_64 | AARCH64, 0) => RelocationRule::Nothing,
        (X86_64, 1) | (AARCH64, 257) => RelocationRule::Absolute(8),
        (X86_64, 10 | 11) | (AARCH64, 258) => RelocationRule::Absolute(4),
        // PC32, PLT32, GOTPCREL and the other distances of 4 bytes, TLS among them.
        (X86_64, 2..=4 | 9 | 19..=23 | 26 | 34 | 41 | 42) | (AARCH64, 261 | 314 | 315) => {
            RelocationRule::Elsewhere(4)
        }
        // PC64, GOTOFF64, GOTPC64, and thread-local ones of 8 bytes.
        (X86_64, 16..=18 | 24 | 25 | 27..=31) | (AARCH64, 260) => RelocationRule::Elsewhere(8),
        _ => RelocationRule::Strange,
    }
}
