//! Where the function may be entered: at its beginning or anywhere in it, and by the stubs that lead to it.

use std::collections::BTreeSet;
use std::ops::Range;

use memchr::memmem;

use super::argument::wrapper_load;
use super::distance::{Linked, target};
use super::instruction::{function_end, padding_before};
use super::{FUNCTION, SYMBOL_BYTES, TAKEN, code, symbols_named};
use crate::bytes::{slice, u32_at, u64_at};
use crate::loader::dynamic::Dynamic;
use crate::loader::elf::{Elf, Section, UNDEFINED, symbol_in};
use crate::loader::relocation::{Relocation, Value};
use crate::problem::Problem;

/// `SHT_SYMTAB` and `SHT_DYNSYM`.
const SYMTAB: u32 = 2;
const DYNSYM: u32 = 11;
/// `R_X86_64_GLOB_DAT` and `R_X86_64_JUMP_SLOT`.
const SLOTS: [u32; 2] = [6, 7];
/// Least bytes from its beginning within which it can be entered as if there.
const ENTRANCE_BYTES: u64 = 16;
/// Sections of tables of addresses that code calls through.
const ADDRESS_TABLES: [&str; 2] = [".got", ".got.plt"];
/// Bytes of a stub.
const STUB_BYTES: u64 = 16;

/// A place where the function is entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entrance {
    /// Its first instruction.
    begin: u64,
    /// From what does nothing before it.
    from: u64,
    /// To where it ends.
    to: u64,
}

/// The function in a linked file.
#[derive(Debug, Default)]
pub(super) struct Function {
    /// Where it is entered.
    entrances: Vec<Entrance>,
    /// Places of which the loader makes its address, to be called through.
    pub(super) slots: BTreeSet<u64>,
    /// Other places into which the loader writes its address, or one that is counted from it.
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
            function.entrances.extend(defined.map(|symbol| entrance(elf, symbol.value)));
        }
        if let Some(dynamic) = dynamic {
            function.take_relocations(elf, dynamic);
        }
        if !function.slots.is_empty() {
            let numbers = dynamic.map(|dynamic| numbers(elf, dynamic, &function.slots)).unwrap_or_default();
            for (section, code) in code(elf).filter(|(section, _)| section.name.starts_with(".plt")) {
                function.entrances.extend(stubs(section, code, &function.slots, &numbers));
            }
        }
        function.is_named = !function.entrances.is_empty() || !function.slots.is_empty();
        if !function.is_named {
            let called = called_with_wrappers(elf, wrappers).map(|address| entrance(elf, address));
            function.entrances = called.into_iter().collect();
        }
        function.entrances.sort_unstable_by_key(|entrance| entrance.from);
        function.entrances.dedup();
        function
    }

    /// What the loader makes of its name. A table that is called through holds its address as it is; an address that is
    /// counted from it, or from another function of the runtime, is made to call what no look tells.
    fn take_relocations(&mut self, elf: &Elf<'_>, dynamic: &Dynamic) {
        for (place, kind, addend) in dynamic.relocations_of(elf, |name| [name, b"\0"].concat() == FUNCTION) {
            if SLOTS.contains(&kind) && addend == 0 {
                self.slots.insert(place);
            } else {
                self.pointers.push(place);
            }
        }
        let of_runtime = |name: &[u8]| {
            name.starts_with(b"__cuda")
                || name
                    .strip_prefix(b"cuda")
                    .is_some_and(|rest| rest.first().is_some_and(u8::is_ascii_uppercase))
        };
        let is_defined_here = |place: &u64| self.pointers.contains(place);
        let counted = dynamic.relocations_of(elf, of_runtime).into_iter().filter(|(.., addend)| *addend != 0);
        let counted: Vec<u64> =
            counted.map(|(place, ..)| place).filter(|place| !is_defined_here(place)).collect();
        self.pointers.extend(counted);
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
                Some(table) if self.begins_at(value) => {
                    self.slots.insert(table.address.wrapping_add(write.offset - table.offset));
                }
                _ => problems.push(Problem::at(write.offset, TAKEN)),
            }
        }
        problems
    }

    /// Slots of other functions that lead to it until the loader fills them at the first call.
    pub(super) fn lazy_slots(&self, elf: &Elf<'_>, dynamic: &Dynamic) -> Vec<Problem> {
        let (address, size) = dynamic.calls;
        let table = elf.file_offset(address).and_then(|at| slice(elf.bytes, at, size)).unwrap_or_default();
        let places = table.chunks_exact(24).filter_map(|entry| u64_at(entry, 0));
        let others = places.filter(|place| !self.slots.contains(place));
        let taken = others.filter_map(|place| {
            let at = elf.file_offset(place)?;
            let first = u64_at(elf.bytes, usize::try_from(at).ok()?)?;
            self.is_entered_at(first).then(|| Problem::at(at, TAKEN))
        });
        taken.collect()
    }

    /// Whether it is nowhere.
    pub(super) fn is_absent(&self) -> bool {
        self.entrances.is_empty() && self.slots.is_empty()
    }

    /// Whether an address is one at which it is entered.
    pub(super) fn is_entered_at(&self, address: u64) -> bool {
        self.entrances.iter().any(|one| (one.from..one.to).contains(&address))
    }

    /// Whether two addresses lie in one and the same function of that name, or in one stub: a function that is called so
    /// and calls another of the name hands on what it likes.
    pub(super) fn is_one_of(&self, address: u64, other: u64) -> bool {
        let holds = |one: &Entrance, address: u64| (one.from..one.to).contains(&address);
        self.entrances.iter().any(|one| holds(one, address) && holds(one, other))
    }

    /// Whether it, or a stub of it, begins at an address.
    pub(super) fn begins_at(&self, address: u64) -> bool {
        self.entrances.iter().any(|one| one.begin == address)
    }

    /// The addresses at which it is entered.
    pub(super) fn ranges(&self) -> impl Iterator<Item = Range<u64>> {
        self.entrances.iter().map(|one| one.from..one.to)
    }

    /// All addresses that mean it, from the first to the last.
    pub(super) fn span(&self) -> Range<u64> {
        let starts = self.entrances.iter().map(|one| one.from).chain(self.slots.iter().copied());
        let ends = self.entrances.iter().map(|one| one.to).chain(self.slots.iter().map(|slot| slot + 1));
        starts.min().unwrap_or_default()..ends.max().unwrap_or_default()
    }
}

/// Where a function that begins at an address is entered: also by what does nothing before it, and anywhere in it.
fn entrance(elf: &Elf<'_>, address: u64) -> Entrance {
    let section = code(elf).find(|(section, code)| {
        address.checked_sub(section.address).is_some_and(|inside| inside < code.len() as u64)
    });
    let (padding, length) = section.map_or((0, 0), |(section, code)| {
        let at = usize::try_from(address - section.address).unwrap_or(code.len());
        (padding_before(&code[..at]), function_end(&code[at..]))
    });
    let to = address.saturating_add((length as u64).max(ENTRANCE_BYTES));
    Entrance { begin: address, from: address.saturating_sub(padding as u64), to }
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
fn stubs(section: &Section, code: &[u8], slots: &BTreeSet<u64>, numbers: &[u32]) -> Vec<Entrance> {
    let jumps = memmem::find_iter(code, b"\xFF\x25")
        .filter(|at| target(code, section.address, at + 2).is_some_and(|target| slots.contains(&target)));
    let asks = memchr::memchr_iter(0x68, code)
        .filter(|at| u32_at(code, at + 1).is_some_and(|number| numbers.contains(&number)));
    // Stubs of 8 bytes are single jumps.
    let stub = |at: usize| {
        let jump = section.address.wrapping_add(at as u64);
        let begin = match stub_start(code, at) {
            Some(start) => section.address.wrapping_add(start as u64),
            None => jump / STUB_BYTES * STUB_BYTES,
        };
        let start = usize::try_from(begin.wrapping_sub(section.address)).unwrap_or(at).min(at);
        let padding = padding_before(&code[..start]) as u64;
        Entrance { begin, from: begin.saturating_sub(padding), to: jump.saturating_add(1) }
    };
    jumps.chain(asks).map(stub).collect()
}

/// Where the stub begins whose jump stands at a place: linkers put nothing before it, the mark for indirect jumps, the
/// prefix that bounds it, or the number of the slot.
pub(super) fn stub_start(code: &[u8], jump: usize) -> Option<usize> {
    const MARK: [u8; 4] = [0xF3, 0x0F, 0x1E, 0xFA];
    let mut start = match code[..jump] {
        [.., 0x41, 0xBB, _, _, _, _] => jump - 6,
        [.., 0xF2] => jump - 1,
        _ => jump,
    };
    if code[..start].ends_with(&MARK) {
        start -= MARK.len();
    }
    start.is_multiple_of(8).then_some(start)
}

/// What is called with the address of a wrapper: the function in a stripped file, where at least one such call in
/// two is of it.
fn called_with_wrappers(elf: &Elf<'_>, wrappers: &[(u64, u64)]) -> Option<u64> {
    let mut called: Vec<u64> = Vec::new();
    for (section, code) in code(elf) {
        let linked = Linked { code, address: section.address, wrappers };
        let calls =
            memchr::memchr2_iter(0xE8, 0xE9, code).filter(|&at| wrapper_load(code, at, &linked).is_some());
        called.extend(calls.filter_map(|at| target(code, section.address, at + 1)));
    }
    called.sort_unstable();
    let most = called.chunk_by(|one, other| one == other).max_by_key(|same| same.len());
    most.filter(|same| same.len() * 2 >= called.len()).map(|same| same[0])
}
