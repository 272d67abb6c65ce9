//! Calls, in a program for x86-64 that was not stripped, of functions that are linked into it.
//!
//! The static CUDA runtime brings every function of the runtime along, called or not, and opens the driver
//! itself. Its own functions are named by it (`cuda…`, `libcudart_static_…`), so a call from anywhere else is
//! the program's.

use std::collections::BTreeSet;

use object::LittleEndian;
use object::elf::{self, FileHeader64};
use object::read::elf::{FileHeader, Rela as _, SectionHeader as _, Sym as _};

use super::SignsWanted;
use super::functions::{LOADERS, is_jit_function, is_of_cpp};
use crate::distance::{Destinations, target};

/// What is called.
#[derive(Debug, Default)]
pub(super) struct Calls {
    /// Functions that compile or load device code.
    pub(super) jit: BTreeSet<String>,
    /// Functions that find others by name, called from outside of the CUDA runtime.
    pub(super) loaders: BTreeSet<String>,
    /// Whether the CUDA runtime is linked in.
    pub(super) has_static_runtime: bool,
}

impl Calls {
    fn is_empty(&self) -> bool {
        self.jit.is_empty() && self.loaders.is_empty()
    }
}

/// Finds them; nothing in what is stripped or for another processor.
pub(super) fn calls(bytes: &[u8], wanted: SignsWanted) -> Calls {
    calls_in(bytes, wanted).ok().flatten().unwrap_or_default()
}

/// A function that is linked in.
pub(super) struct Function {
    start: u64,
    end: u64,
    of_runtime: bool,
}

fn calls_in(bytes: &[u8], wanted: SignsWanted) -> object::Result<Option<Calls>> {
    let header = FileHeader64::<LittleEndian>::parse(bytes)?;
    let endian = LittleEndian;
    if header.e_machine(endian) != elf::EM_X86_64 || header.e_type(endian) == elf::ET_REL {
        return Ok(None);
    }
    let sections = header.sections(endian, bytes)?;
    let symbols = sections.symbols(endian, bytes, elf::SHT_SYMTAB)?;
    let strings = sections.section(symbols.string_section())?.data(endian, bytes)?;
    let mut functions = Vec::new();
    let mut targets: Vec<(u64, String)> = Vec::new();
    let mut has_static_runtime = false;
    // Names may lie over each other.
    let mut to_read = bytes.len().saturating_mul(16);
    for symbol in symbols.iter().filter(|symbol| symbol.st_type() == elf::STT_FUNC) {
        if symbol.is_undefined(endian) {
            continue;
        }
        let start = symbol.st_value(endian);
        let end = start.saturating_add(symbol.st_size(endian));
        if is_of_cpp(strings, symbol.st_name(endian)) {
            functions.push(Function { start, end, of_runtime: false });
            continue;
        }
        let Ok(name) = symbol.name(endian, symbols.strings()) else { continue };
        let Some(rest) = to_read.checked_sub(name.len()) else { break };
        to_read = rest;
        let of_runtime = is_of_runtime(name);
        has_static_runtime |= name.starts_with(b"libcudart_static_");
        functions.push(Function { start, end, of_runtime });
        if let Ok(name) = std::str::from_utf8(name)
            && is_jit_function(name)
        {
            targets.push((start, name.to_owned()));
        }
    }
    if functions.is_empty() {
        return Ok(None);
    }
    functions.sort_by_key(|function| function.start);
    if has_static_runtime {
        targets.extend(loader_stubs(bytes)?);
    }
    targets.sort();
    let mut calls = Calls { has_static_runtime, ..Calls::default() };
    if targets.is_empty() {
        return Ok(Some(calls));
    }
    for section in sections.iter() {
        if section.sh_flags(endian) & elf::SHF_EXECINSTR == elf::SHF_EXECINSTR {
            let Ok(code) = section.data(endian, bytes) else { continue };
            find(code, section.sh_addr(endian), &targets, &functions, wanted, &mut calls);
        }
    }
    calls.jit.extend(pointed_at(bytes, &targets)?.into_iter().filter(|name| is_jit_function(name)));
    Ok(Some(calls))
}

fn is_of_runtime(name: &[u8]) -> bool {
    let begins = |start: &[u8]| name.starts_with(start);
    begins(b"libcudart_static_")
        || begins(b"__cuda")
        || (begins(b"cuda") && name.get(4).is_some_and(u8::is_ascii_uppercase))
}

/// Bytes of code that are read before it is asked whether what they hold is enough.
const WINDOW_BYTES: usize = 4 << 20;

/// Looks at every `call` and `jmp` with a 32-bit distance, and every address that a `lea` takes, up to the first window
/// that holds some where any is enough. The targets are in order.
pub(super) fn find(
    code: &[u8],
    address: u64,
    targets: &[(u64, String)],
    functions: &[Function],
    wanted: SignsWanted,
    calls: &mut Calls,
) {
    let destinations = Destinations::of(targets.iter().map(|(start, _)| *start));
    let window_bytes = if wanted == SignsWanted::All { code.len().max(1) } else { WINDOW_BYTES };
    for start in (0..code.len()).step_by(window_bytes) {
        if wanted != SignsWanted::All && !calls.is_empty() {
            return;
        }
        let operands = destinations.leading_from(code, start..code.len().min(start + window_bytes), address);
        take(code, address, &operands, targets, functions, calls);
    }
}

/// Takes the calls with these operands.
fn take(
    code: &[u8],
    address: u64,
    operands: &[usize],
    targets: &[(u64, String)],
    functions: &[Function],
    calls: &mut Calls,
) {
    for &operand in operands {
        let at = match code[..operand] {
            [.., 0xE8 | 0xE9] => operand - 1,
            [.., 0x8D, modifiers] if modifiers & 0xC7 == 5 => operand - 2,
            _ => continue,
        };
        let Some(target) = target(code, address, operand) else { continue };
        let Ok(index) = targets.binary_search_by_key(&target, |(start, _)| *start) else { continue };
        if is_called_by_runtime(address.wrapping_add(at as u64), functions) {
            continue;
        }
        let name = targets[index].1.clone();
        let kind = if is_jit_function(&name) { &mut calls.jit } else { &mut calls.loaders };
        kind.insert(name);
    }
}

/// The functions whose addresses stand in data, to be called from there: written by the loader, or in a program at a
/// fixed address. The runtime itself holds none of these. The functions are in order.
pub(super) fn pointed_at(bytes: &[u8], functions: &[(u64, String)]) -> object::Result<BTreeSet<String>> {
    let header = FileHeader64::<LittleEndian>::parse(bytes)?;
    let endian = LittleEndian;
    let sections = header.sections(endian, bytes)?;
    let symbols = sections.symbols(endian, bytes, elf::SHT_DYNSYM)?;
    let mut found = BTreeSet::new();
    let mut take = |address: u64| {
        let known = functions.binary_search_by_key(&address, |(start, _)| *start);
        found.extend(known.ok().map(|index| functions[index].1.clone()));
    };
    for section in sections.iter() {
        if let Some((relocations, _)) = section.rela(endian, bytes)? {
            for relocation in relocations {
                let symbol = relocation.symbol(endian, false).and_then(|index| symbols.symbol(index).ok());
                let from = symbol.map_or(0, |symbol| symbol.st_value(endian));
                take(from.wrapping_add_signed(relocation.r_addend(endian)));
            }
        } else if header.e_type(endian) == elf::ET_EXEC
            && section.sh_type(endian) == elf::SHT_PROGBITS
            && section.sh_flags(endian) & (elf::SHF_ALLOC | elf::SHF_EXECINSTR) == elf::SHF_ALLOC
        {
            let (words, _) = section.data(endian, bytes)?.as_chunks::<8>();
            words.iter().map(|word| u64::from_le_bytes(*word)).for_each(&mut take);
        }
    }
    Ok(found)
}

fn is_called_by_runtime(address: u64, functions: &[Function]) -> bool {
    let behind = functions.partition_point(|function| function.start <= address);
    functions[..behind].iter().rev().take(4).any(|function| function.of_runtime && address < function.end)
}

/// Where the stubs stand through which `dlopen`, `dlsym` and the like are called.
fn loader_stubs(bytes: &[u8]) -> object::Result<Vec<(u64, String)>> {
    let header = FileHeader64::<LittleEndian>::parse(bytes)?;
    let endian = LittleEndian;
    let sections = header.sections(endian, bytes)?;
    let symbols = sections.symbols(endian, bytes, elf::SHT_DYNSYM)?;
    let mut slots = Vec::new();
    for section in sections.iter() {
        let Some((relocations, _)) = section.rela(endian, bytes)? else { continue };
        for relocation in relocations {
            let Some(index) = relocation.symbol(endian, false) else { continue };
            let Ok(symbol) = symbols.symbol(index) else { continue };
            let name = symbol.name(endian, symbols.strings()).unwrap_or_default();
            if LOADERS.iter().any(|loader| name == loader.as_bytes()) {
                slots.push((relocation.r_offset(endian), String::from_utf8_lossy(name).into_owned()));
            }
        }
    }
    let mut stubs = Vec::new();
    for section in sections.iter() {
        let name = sections.section_name(endian, section).unwrap_or_default();
        if !name.starts_with(b".plt") {
            continue;
        }
        let (code, address) = (section.data(endian, bytes)?, section.sh_addr(endian));
        // `jmp *slot(%rip)`, somewhere in a stub of 8 or 16 bytes.
        for at in memchr::memmem::find_iter(code, b"\xFF\x25") {
            let Some(distance) = code.get(at + 2..at + 6).and_then(|bytes| bytes.try_into().ok()) else {
                continue;
            };
            let behind = address.wrapping_add(at as u64 + 6);
            let slot = behind.wrapping_add_signed(i64::from(i32::from_le_bytes(distance)));
            if let Some((_, name)) = slots.iter().find(|(place, _)| *place == slot) {
                let size = if section.sh_entsize(endian) == 8 { 8 } else { 16 };
                stubs.push(((address + at as u64) / size * size, name.clone()));
            }
        }
    }
    Ok(stubs)
}
