//! The dynamic table, as the loader reads it: from the last segment that names one, in what is mapped, up
//! to its end mark.

use std::collections::{HashMap, HashSet};

use super::elf::{Elf, Kind, Section};
use crate::bytes::{slice, u32_at, u64_at};
use crate::problem::Problem;

/// `PT_DYNAMIC` and `PT_INTERP`.
const DYNAMIC: u32 = 2;
const INTERPRETER: u32 = 3;
/// `SHT_DYNSYM`.
const DYNSYM: u32 = 11;
/// `DT_NEEDED`, the one tag that stands several times.
const NEEDED: u64 = 1;
/// Size of an entry, in bytes.
const ENTRY_BYTES: usize = 16;
/// Size of a relocation with addend, of a symbol and of a packed relocation, in bytes.
const RELOCATION_BYTES: u64 = 24;
const SYMBOL_BYTES: u64 = 24;
const PACKED_BYTES: u64 = 8;
/// Most libraries that are named: several times those of the largest frameworks.
const NEEDED_LIMIT: usize = 10_000;
/// Most entries for functions that are called at loading: linkers write one of each kind.
const CALLED_LIMIT: usize = 16;
/// Longest name of a function of CUDA, in bytes.
const NAME_LIMIT: usize = 256;
/// Tags that linkers write: those of the standard but the forms without addend, and those of GNU, of
/// versions, and of x86-64 and `AArch64`. What is left out hands symbols to other libraries, loads one to
/// watch, or is a table of Android or of prelinked programs.
const TAGS: [(u64, u64); 9] = [
    (0, 16),
    (20, 37),
    (0x6FFF_FDF8, 0x6FFF_FDF8),
    (0x6FFF_FEF5, 0x6FFF_FEF7),
    (0x6FFF_FFF0, 0x6FFF_FFF0),
    (0x6FFF_FFF9, 0x6FFF_FFFF),
    (0x7000_0000, 0x7000_0005),
    (0x6FFF_FDF5, 0x6FFF_FDF5),
    (0x6FFF_FDFC, 0x6FFF_FDFC),
];
/// How the system's loaders are called.
const LOADERS: [&[u8]; 3] = [b"ld-linux", b"ld-musl", b"ld64.so"];

/// A table somewhere in memory: address and size in bytes.
pub(super) type Table = (u64, u64);

/// What the dynamic table says.
#[derive(Debug, Default)]
pub(super) struct Dynamic {
    /// Relocations with addend.
    pub(super) relocations: Table,
    /// The same for calls.
    pub(super) calls: Table,
    /// Packed relative relocations.
    pub(super) packed: Table,
    /// Addresses that are called when the file is loaded, and when it is unloaded: `DT_INIT` and `DT_FINI`.
    pub(super) called: Vec<u64>,
    /// Address of the symbols.
    pub(super) symbols: u64,
    /// Address of their names and of those of libraries.
    strings: u64,
    /// Offsets of the names of libraries that are needed.
    needed: Vec<u64>,
}

impl Dynamic {
    /// Reads it; what no linker writes is reported. `None` where there is none, or none that is mapped.
    pub(super) fn read(elf: &Elf<'_>, problems: &mut Vec<Problem>) -> Option<Self> {
        if elf.kind == Kind::Relocatable {
            return None;
        }
        check_interpreter(elf, problems);
        let segments = || elf.segments.iter().filter(|segment| segment.kind == DYNAMIC);
        if segments().count() > 1 {
            let at = segments().next_back().map_or(0, |segment| segment.offset);
            problems.push(Problem::at(at, "several segments name a dynamic table"));
        }
        let segment = segments().next_back()?;
        let at = elf.file_offset(segment.address);
        // Zeros end the table at once: files of debugging information that were split off have nothing else mapped.
        if at.is_none() && segment.file_bytes == 0 && elf.segment_at(segment.address).is_some() {
            return None;
        }
        let table = at.and_then(|at| slice(elf.bytes, at, segment.file_bytes));
        let Some((at, table)) = at.zip(table) else {
            problems.push(Problem::at(segment.offset, "the dynamic table lies in no mapped segment"));
            return None;
        };
        let mut dynamic = Self::default();
        let mut sizes = EntrySizes::default();
        let mut seen = HashSet::new();
        for entry in table.chunks_exact(ENTRY_BYTES) {
            let (tag, value) = (u64_at(entry, 0)?, u64_at(entry, 8)?);
            if tag == 0 {
                sizes.check(&dynamic, at, problems);
                dynamic.agree_with_sections(elf, at, problems);
                return Some(dynamic);
            }
            if tag != NEEDED && !seen.insert(tag) {
                let reason =
                    format!("several entries {tag:#x} in the dynamic table, of which linkers write one");
                problems.push(Problem::at(at, reason));
            }
            if !TAGS.iter().any(|&(first, last)| (first..=last).contains(&tag)) {
                let reason = format!("an entry {tag:#x} in the dynamic table, which linkers do not write");
                problems.push(Problem::at(at, reason));
            }
            dynamic.take(tag, value);
            sizes.take(tag, value);
        }
        problems
            .push(Problem::at(at, "the dynamic table has no end in its segment, and the loader reads on"));
        Some(dynamic)
    }

    /// Reports symbols and names that the loader reads elsewhere than section headers have them: the names of what is
    /// imported and exported are read by these.
    fn agree_with_sections(&self, elf: &Elf<'_>, at: u64, problems: &mut Vec<Problem>) {
        let tables = || elf.sections.iter().filter(|section| section.kind == DYNSYM);
        let names =
            |table: &Section| usize::try_from(table.link).ok().and_then(|index| elf.sections.get(index));
        let agrees = |table: &Section| {
            table.address == self.symbols && names(table).is_some_and(|names| names.address == self.strings)
        };
        let is_alone = tables().count() == 1 && tables().all(agrees);
        if self.symbols != 0 && !elf.sections.is_empty() && !is_alone {
            let reason =
                "the dynamic table has its symbols or their names elsewhere than the section headers";
            problems.push(Problem::at(at, reason));
        }
    }

    fn take(&mut self, tag: u64, value: u64) {
        match tag {
            NEEDED if self.needed.len() < NEEDED_LIMIT => self.needed.push(value),
            2 => self.calls.1 = value,
            5 => self.strings = value,
            6 => self.symbols = value,
            7 => self.relocations.0 = value,
            8 => self.relocations.1 = value,
            12 | 13 if self.called.len() < CALLED_LIMIT => self.called.push(value),
            23 => self.calls.0 = value,
            35 => self.packed.1 = value,
            36 => self.packed.0 = value,
            _ => {}
        }
    }

    /// Places, kinds and addends of the relocations against symbols of some names.
    pub(super) fn relocations_of(
        &self,
        elf: &Elf<'_>,
        is_meant: impl Fn(&[u8]) -> bool,
    ) -> Vec<(u64, u32, u64)> {
        let table = |(address, size)| elf.file_offset(address).and_then(|at| slice(elf.bytes, at, size));
        let tables = [self.relocations, self.calls].into_iter().filter_map(table);
        let mut named: HashMap<u32, bool> = HashMap::new();
        let mut is_named = |index: u32| {
            let symbol = || {
                let at = elf.file_offset(self.symbols)?.checked_add(u64::from(index) * SYMBOL_BYTES)?;
                let at = self.strings.checked_add(u32_at(slice(elf.bytes, at, 4)?, 0)?.into())?;
                let name = elf.bytes.get(usize::try_from(elf.file_offset(at)?).ok()?..)?;
                let name = &name[..name.len().min(NAME_LIMIT)];
                Some(&name[..memchr::memchr(0, name)?])
            };
            *named.entry(index).or_insert_with(|| symbol().is_some_and(&is_meant))
        };
        let mut found = Vec::new();
        for entry in tables.flat_map(|table| table.chunks_exact(24)) {
            let (place, kind, index) = (u64_at(entry, 0), u32_at(entry, 8), u32_at(entry, 12));
            if let (Some(place), Some(kind), Some(index @ 1..)) = (place, kind, index)
                && is_named(index)
            {
                found.push((place, kind, u64_at(entry, 16).unwrap_or_default()));
            }
        }
        found
    }

    /// The libraries that it needs.
    pub(super) fn needed<'a>(&self, elf: &Elf<'a>) -> Vec<&'a [u8]> {
        let names = self.needed.iter().filter_map(|offset| {
            let at = elf.file_offset(self.strings.checked_add(*offset)?)?;
            let rest = elf.bytes.get(usize::try_from(at).ok()?..)?;
            Some(&rest[..memchr::memchr(0, rest)?])
        });
        names.collect()
    }
}

/// Sizes of single entries, which the loader takes for granted.
#[derive(Default)]
struct EntrySizes {
    relocation: u64,
    symbol: u64,
    packed: u64,
    form_of_calls: u64,
}

impl EntrySizes {
    fn take(&mut self, tag: u64, value: u64) {
        match tag {
            9 => self.relocation = value,
            11 => self.symbol = value,
            20 => self.form_of_calls = value,
            37 => self.packed = value,
            _ => {}
        }
    }

    fn check(&self, dynamic: &Dynamic, at: u64, problems: &mut Vec<Problem>) {
        let known = [
            (self.relocation, RELOCATION_BYTES),
            (self.symbol, SYMBOL_BYTES),
            (self.packed, PACKED_BYTES),
            // `DT_RELA`.
            (self.form_of_calls, 7),
        ];
        if known.iter().any(|&(found, expected)| found != 0 && found != expected) {
            problems.push(Problem::at(at, "relocations in a form that no 64-bit toolchain writes"));
        }
        let whole = [
            (dynamic.relocations, RELOCATION_BYTES),
            (dynamic.calls, RELOCATION_BYTES),
            (dynamic.packed, PACKED_BYTES),
        ];
        if whole.iter().any(|&((_, size), entry)| !size.is_multiple_of(entry)) {
            problems.push(Problem::at(at, "a table of relocations that ends inside of one"));
        }
    }
}

/// A program may name who loads it: then what it names decides what is loaded.
fn check_interpreter(elf: &Elf<'_>, problems: &mut Vec<Problem>) {
    let mut segments = elf.segments.iter().filter(|segment| segment.kind == INTERPRETER);
    // A file of debugging information that was split off has none of its bytes, and nothing that would load it.
    let Some(segment) = segments.next().filter(|segment| segment.file_bytes > 0) else { return };
    let path = slice(elf.bytes, segment.offset, segment.file_bytes).unwrap_or_default();
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    let known = LOADERS.iter().any(|loader| name.starts_with(loader)) && path.ends_with(b"\0");
    if !known || segments.next().is_some() {
        problems.push(Problem::over(segment.offset, segment.file_bytes, "a loader that is not the system's"));
    }
}
