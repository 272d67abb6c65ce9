//! Where the function may be entered: at its beginning or a few instructions on, and by the stubs that lead to it.

use std::collections::BTreeSet;
use std::ops::Range;

use memchr::memmem;

use super::argument::loads_wrapper;
use super::linked::Linked;
use super::{FUNCTION, SYMBOL_BYTES, TAKEN, code, symbols_named};
use crate::proof::bytes::{slice, u32_at, u64_at};
use crate::proof::loader::dynamic::Dynamic;
use crate::proof::loader::elf::{Elf, Section, UNDEFINED, symbol_in};
use crate::proof::loader::relocation::{Relocation, Value};
use crate::proof::problem::Problem;

/// `SHT_SYMTAB` and `SHT_DYNSYM`.
const SYMTAB: u32 = 2;
const DYNSYM: u32 = 11;
/// `R_X86_64_GLOB_DAT` and `R_X86_64_JUMP_SLOT`.
const SLOTS: [u32; 2] = [6, 7];
/// Bytes from its beginning within which it can be entered as if there: a mark for indirect jumps, and what
/// saves registers.
const ENTRANCE_BYTES: u64 = 16;
/// Sections of tables of addresses that code calls through.
const ADDRESS_TABLES: [&str; 2] = [".got", ".got.plt"];
/// Bytes of a stub.
const STUB_BYTES: u64 = 16;

/// The function in a linked file.
#[derive(Debug, Default)]
pub(super) struct Function {
    /// Addresses at which it is entered.
    entrances: Vec<Range<u64>>,
    /// Places of which the loader makes its address, to be called through.
    pub(super) slots: BTreeSet<u64>,
    /// Other places into which the loader writes its address.
    pointers: Vec<u64>,
    /// Whether the file names it.
    pub(super) is_named: bool,
}

impl Function {
    /// Finds it; where nothing names it, by what is called with wrappers.
    pub(super) fn find(elf: &Elf<'_>, dynamic: Option<&Dynamic>, wrappers: &[(u64, u64)]) -> Self {
        let mut function = Self::default();
        for table in elf.sections.iter().filter(|section| matches!(section.kind, SYMTAB | DYNSYM)) {
            let symbols = symbols_named(elf, table).into_iter().filter_map(|index| {
                let at = usize::try_from(index).ok()?.checked_mul(SYMBOL_BYTES)?;
                symbol_in(elf.content(table).get(at..)?)
            });
            let defined = symbols.filter(|symbol| symbol.section != UNDEFINED && symbol.value != 0);
            function.entrances.extend(defined.map(|symbol| entrance(symbol.value)));
        }
        for (place, kind) in dynamic.map(|dynamic| dynamic.relocations_of(elf, FUNCTION)).unwrap_or_default()
        {
            if SLOTS.contains(&kind) {
                function.slots.insert(place);
            } else {
                function.pointers.push(place);
            }
        }
        if !function.slots.is_empty() {
            let numbers = dynamic.map(|dynamic| numbers(elf, dynamic, &function.slots)).unwrap_or_default();
            for (section, code) in code(elf).filter(|(section, _)| section.name.starts_with(".plt")) {
                function.entrances.extend(stubs(section, code, &function.slots, &numbers));
            }
        }
        function.is_named = !function.entrances.is_empty() || !function.slots.is_empty();
        if !function.is_named {
            function.entrances = called_with_wrappers(elf, wrappers).map(entrance).into_iter().collect();
        }
        function.entrances.sort_unstable_by_key(|range| range.start);
        function.entrances.dedup();
        function
    }

    /// Pointers to the function that the loader writes. In a table of addresses they are slots like those of a shared
    /// runtime.
    pub(super) fn written_pointers(&mut self, elf: &Elf<'_>, writes: &[Relocation]) -> Vec<Problem> {
        let taken = |&place: &u64| Problem::at(elf.file_offset(place).unwrap_or(place), TAKEN);
        let mut problems: Vec<Problem> = self.pointers.iter().map(taken).collect();
        let known: Vec<u64> = self.slots.iter().filter_map(|&slot| elf.file_offset(slot)).collect();
        for write in writes {
            let (Value::Known(value) | Value::Preemptible(value)) = write.value else { continue };
            if !self.is_entered_at(value) || known.contains(&write.offset) {
                continue;
            }
            let table = elf.sections.iter().find(|section| {
                ADDRESS_TABLES.contains(&section.name.as_str())
                    && (section.offset..section.end()).contains(&write.offset)
            });
            match table {
                Some(table) => {
                    self.slots.insert(table.address.wrapping_add(write.offset - table.offset));
                }
                None => problems.push(Problem::at(write.offset, TAKEN)),
            }
        }
        problems
    }

    /// Whether it is nowhere.
    pub(super) fn is_absent(&self) -> bool {
        self.entrances.is_empty() && self.slots.is_empty()
    }

    /// Whether an address is one at which it is entered.
    pub(super) fn is_entered_at(&self, address: u64) -> bool {
        self.entrances.iter().any(|range| range.contains(&address))
    }

    /// Whether it, or a stub of it, begins at an address.
    pub(super) fn begins_at(&self, address: u64) -> bool {
        self.entrances.iter().any(|range| range.start == address)
    }

    /// The addresses at which it is entered, from the first to the last.
    pub(super) fn entered(&self) -> Range<u64> {
        let start = self.entrances.iter().map(|range| range.start).min().unwrap_or_default();
        start..self.entrances.iter().map(|range| range.end).max().unwrap_or_default()
    }

    /// All addresses that mean it, from the first to the last.
    pub(super) fn span(&self) -> Range<u64> {
        let starts = self.entrances.iter().map(|range| range.start).chain(self.slots.iter().copied());
        let ends = self.entrances.iter().map(|range| range.end).chain(self.slots.iter().map(|slot| slot + 1));
        starts.min().unwrap_or_default()..ends.max().unwrap_or_default()
    }
}

fn entrance(address: u64) -> Range<u64> {
    address..address.saturating_add(ENTRANCE_BYTES)
}

/// The numbers by which stubs ask the loader for the slots, where it fills them at the first call.
fn numbers(elf: &Elf<'_>, dynamic: &Dynamic, slots: &BTreeSet<u64>) -> Vec<u32> {
    let (address, size) = dynamic.calls;
    let table = elf.file_offset(address).and_then(|at| slice(elf.bytes, at, size)).unwrap_or_default();
    let places = table.chunks_exact(24).map(|entry| u64_at(entry, 0));
    let wanted = places.enumerate().filter(|(_, place)| place.is_some_and(|place| slots.contains(&place)));
    wanted.filter_map(|(number, _)| u32::try_from(number).ok()).collect()
}

/// Where stubs stand that jump to what a slot holds (`jmp *slot(%rip)`), or have it filled (`push $number`).
fn stubs(section: &Section, code: &[u8], slots: &BTreeSet<u64>, numbers: &[u32]) -> Vec<Range<u64>> {
    let jumps = memmem::find_iter(code, b"\xFF\x25")
        .filter(|at| target(code, section.address, at + 2).is_some_and(|target| slots.contains(&target)));
    let asks = memchr::memchr_iter(0x68, code)
        .filter(|at| u32_at(code, at + 1).is_some_and(|number| numbers.contains(&number)));
    // Stubs of 8 bytes are single jumps.
    let stub = |at: usize| {
        let at = section.address.wrapping_add(at as u64);
        at.saturating_sub(5).max(at / STUB_BYTES * STUB_BYTES)..at.saturating_add(1)
    };
    jumps.chain(asks).map(stub).collect()
}

/// The address at a distance that ends an instruction.
pub(super) fn target(code: &[u8], address: u64, at: usize) -> Option<u64> {
    let distance = i32::from_le_bytes(code.get(at..at.checked_add(4)?)?.try_into().ok()?);
    Some(address.wrapping_add(at as u64 + 4).wrapping_add_signed(distance.into()))
}

/// What is called with the address of a wrapper: the function in a stripped file, where at least one such call in
/// two is of it.
fn called_with_wrappers(elf: &Elf<'_>, wrappers: &[(u64, u64)]) -> Option<u64> {
    let mut called: Vec<u64> = Vec::new();
    for (section, code) in code(elf) {
        let linked = Linked { code, address: section.address, wrappers };
        let calls = memchr::memchr2_iter(0xE8, 0xE9, code).filter(|&at| loads_wrapper(code, at, &linked));
        called.extend(calls.filter_map(|at| target(code, section.address, at + 1)));
    }
    called.sort_unstable();
    let most = called.chunk_by(|one, other| one == other).max_by_key(|same| same.len());
    most.filter(|same| same.len() * 2 >= called.len()).map(|same| same[0])
}
