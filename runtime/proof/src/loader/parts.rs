//! Every byte of a host ELF, held against a closed list of parts.
//!
//! | part | known by |
//! |---|---|
//! | header, tables of sections and segments | where the header says |
//! | sections | `sh_type` and `sh_flags` below; those that are not mapped also by name |
//! | padding | zeros, or traps, between parts, less than the largest page |
//! | what is left where tables were moved | see `leftover` |
//!
//! The list of types and flags: what GNU ld, gold, lld and mold write, seen in our own builds and in the
//! libraries of 24 wheels (torch, cupy, cuBLAS, cuDNN, triton, …).

use std::cell::OnceCell;
use std::collections::HashSet;

use super::debug;
use super::elf::{Elf, HEADER_BYTES, Kind, LOAD, Section};
use super::leftover::Leftovers;
use crate::bytes::{first_nonzero, slice, u32_at};
use crate::host;
use crate::problem::Problem;

/// Largest page for which linkers align segments, in bytes: zeros up to this stand between parts.
const PADDING_LIMIT_BYTES: u64 = 2 << 20;
/// The page by which loaders map, in bytes: the smallest of all supported hosts.
const PAGE_BYTES: u64 = 4 << 10;
/// `SHT_PROGBITS`.
const PROGBITS: u32 = 1;
/// Other section types of linkers and assemblers: symbols, strings, relocations, hashes, dynamic
/// table, notes, arrays of constructors, groups, versions, unwind tables, LLVM's hints for linkers.
const TYPES: [u32; 25] = [
    2,
    3,
    4,
    5,
    6,
    7,
    9,
    11,
    14,
    15,
    16,
    17,
    18,
    19,
    0x6FFF_4C02,
    0x6FFF_4C03,
    0x6FFF_4C04,
    0x6FFF_4C09,
    0x6FFF_4C0A,
    0x6FFF_FFF5,
    0x6FFF_FFF6,
    0x6FFF_FFFD,
    0x6FFF_FFFE,
    0x6FFF_FFFF,
    0x7000_0001,
];
/// Section flags that are known: write, mapped, runs, merge, strings, link information and order, OS
/// specific, group, thread-local, retained, large, left out of the output.
const FLAGS: u64 = 0x1
    | 0x2
    | 0x4
    | 0x10
    | 0x20
    | 0x40
    | 0x80
    | 0x100
    | 0x200
    | 0x400
    | 0x20_0000
    | 0x1000_0000
    | 0x8000_0000;
/// Flags by which a linker folds equal words, orders by another section, keeps one object's section of
/// several, or leaves it out; and that of thread-local memory, of which each thread has its own copy.
const REARRANGING: u64 = 0x10 | 0x20 | 0x80 | 0x200 | 0x400 | 0x8000_0000;
/// `SHT_GROUP`.
const GROUP: u32 = 17;
/// By which lld fills a page behind code: the instruction that traps.
const TRAP: u8 = 0xCC;
/// Sections of bytes that are never mapped, by name: what compilers and debuggers leave.
const UNMAPPED: [&str; 15] = [
    ".comment",
    ".debug_",
    ".rela.debug_",
    ".note.",
    ".annobin",
    ".gnu_debuglink",
    ".gnu_debugaltlink",
    ".gnu.build.attributes",
    ".gnu.warning.",
    ".gdb_index",
    ".GCC.command.line",
    ".stab",
    ".tgtsym",
    ".llvm_addrsig",
    ".ident",
];

/// Bytes that no rule explains, each with offset, size and reason.
pub(crate) fn unexplained(elf: &Elf<'_>) -> Vec<Problem> {
    let end = elf.bytes.len() as u64;
    let mut parts = vec![(0, HEADER_BYTES)];
    parts.extend(elf.tables);
    let mut found = Vec::new();
    let mut budget = debug::budget(elf.bytes.len());
    for section in elf.sections.iter().filter(|section| section.has_bytes()) {
        parts.push((section.offset, section.end()));
        found.extend(
            section_doubt(elf, section, &mut budget)
                .map(|reason| Problem::over(section.offset, section.size, reason)),
        );
        if section.end() > end {
            let reason = format!("section {} reaches beyond the file", section.name);
            found.push(Problem::over(section.offset, section.size, reason));
        }
    }
    parts.retain(|(start, end)| start < end);
    parts.sort_unstable();
    let leftovers = OnceCell::new();
    let leftovers = || leftovers.get_or_init(|| Leftovers::of(elf));
    let mut at = 0;
    for (start, part_end) in parts.into_iter().chain([(end, end)]) {
        if start < at {
            let reason = "two parts of the ELF share these bytes";
            found.push(Problem::over(start, at.min(part_end).saturating_sub(start), reason));
        } else {
            found.extend(gap_doubt(elf.bytes, at, start, start == end).filter(|_| {
                let gap = slice(elf.bytes, at, start - at).unwrap_or_default();
                if start == end {
                    first_nonzero(gap).is_some() || !leftovers().explain_tail(end)
                } else {
                    !leftovers().explain(at, gap)
                }
            }));
        }
        at = at.max(part_end);
    }
    found.retain(|problem| problem.size_bytes != Some(0));
    found
}

/// Whether a section is data of the program's own: no code, no device code, none of the tables of linkers, and
/// nothing that was unpacked already.
pub(crate) fn is_plain_data(section: &Section) -> bool {
    section.kind == PROGBITS
        && !section.is_executable()
        && host::role_of(&section.name).is_none()
        && debug::compression(section).is_none()
}

/// Why a section is not among the known parts.
fn section_doubt(elf: &Elf<'_>, section: &Section, budget: &mut u64) -> Option<String> {
    if let Some(kind) = debug::compression(section) {
        return debug::doubt(kind, elf.content(section), budget)
            .map(|reason| format!("section {} {reason}", section.name));
    }
    let Section { name, kind, flags, .. } = section;
    if flags & !FLAGS != 0 {
        return Some(format!("section {name} has unknown flags {:#x}", flags & !FLAGS));
    }
    let known = match *kind {
        PROGBITS if section.is_allocated() => true,
        PROGBITS => UNMAPPED.iter().any(|known| name.starts_with(known)),
        kind => TYPES.contains(&kind),
    };
    (!known).then(|| {
        format!(
            "section {name} is of type {kind:#x} and flags {flags:#x}, which is no known part; \
             objcopy --remove-section takes it out, and a policy can waive it"
        )
    })
}

/// What stands between two parts, unless it is padding.
fn gap_doubt(bytes: &[u8], start: u64, end: u64, is_tail: bool) -> Option<Problem> {
    let size = end.checked_sub(start).filter(|&size| size > 0)?;
    let gap = slice(bytes, start, size)?;
    match first_nonzero(gap) {
        Some(_) if is_tail => Some(Problem::over(start, size, "bytes behind the last part of the ELF")),
        Some(_) if size < PADDING_LIMIT_BYTES && gap.iter().all(|&byte| byte == TRAP) => None,
        Some(_) => Some(Problem::over(start, size, "bytes between the parts of the ELF")),
        None if is_tail => Some(Problem::over(start, size, "zero bytes behind the last part of the ELF")),
        None if size >= PADDING_LIMIT_BYTES => {
            Some(Problem::over(start, size, "more zero bytes than any alignment asks for"))
        }
        None => None,
    }
}

/// Sections of device code that will be others once they are linked.
pub(super) fn rearranged(elf: &Elf<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut grouped = HashSet::new();
    for group in elf.sections.iter().filter(|section| section.kind == GROUP) {
        grouped.extend(elf.content(group).chunks_exact(4).skip(1).filter_map(|word| u32_at(word, 0)));
    }
    for (index, section) in elf.sections.iter().enumerate() {
        if elf.kind != Kind::Relocatable || host::role_of(&section.name).is_none() {
            continue;
        }
        let in_group = u32::try_from(index).is_ok_and(|index| grouped.contains(&index));
        if section.flags & REARRANGING != 0 || in_group {
            let reason = format!(
                "section {} is of flags {:#x}{}, by which a linker changes, replaces or leaves out its bytes",
                section.name,
                section.flags,
                if in_group { " in a group" } else { "" }
            );
            problems.push(Problem::over(section.offset, section.size, reason));
        }
    }
    problems
}

/// Where segments map other bytes than the sections name, or map over each other.
pub(super) fn misplaced(elf: &Elf<'_>) -> Vec<Problem> {
    if elf.kind == Kind::Relocatable {
        return Vec::new();
    }
    let mut problems = Vec::new();
    for section in elf.sections.iter().filter(|section| section.is_allocated() && section.has_bytes()) {
        let agrees = elf.loads().any(|load| {
            let last = section.address.saturating_add(section.size - 1);
            load.file_offset(section.address) == Some(section.offset) && load.file_offset(last).is_some()
        });
        if !agrees {
            let reason = format!("the loader maps other bytes than section {} names", section.name);
            problems.push(Problem::over(section.offset, section.size, reason));
        }
    }
    let mut pages: Vec<(u64, u64, u64)> = Vec::new();
    for load in elf.segments.iter().filter(|segment| segment.kind == LOAD && segment.memory_bytes > 0) {
        if load.offset.saturating_add(load.file_bytes) > elf.bytes.len() as u64 {
            problems.push(Problem::at(load.offset, "a segment is mapped from beyond the end of the file"));
        }
        if load.file_bytes > load.memory_bytes || load.offset % PAGE_BYTES != load.address % PAGE_BYTES {
            problems.push(Problem::at(load.offset, "a segment that no loader maps as it stands"));
        }
        let start = load.address / PAGE_BYTES;
        let end = load.address.saturating_add(load.memory_bytes).div_ceil(PAGE_BYTES);
        pages.push((start, end, load.offset.wrapping_sub(load.address)));
    }
    if !pages.is_sorted_by_key(|&(start, ..)| start) {
        problems.push(Problem::at(0, "segments out of their order, which each loader maps in another way"));
    }
    pages.sort_unstable();
    for pair in pages.windows(2) {
        let [(_, end, delta), (next, _, next_delta)] = [pair[0], pair[1]];
        // Neighbours may share a page when both map it from the same place.
        if next + 1 < end || (next < end && delta != next_delta) {
            problems.push(Problem::at(next * PAGE_BYTES, "two segments are mapped over each other"));
        }
    }
    problems
}
