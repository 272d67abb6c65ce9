//! Calls of the static CUDA runtime's functions in a program that was stripped.
//!
//! Each function of the runtime hands its own name to tools that watch calls. So a function that loads the address of
//! such a name is the one so called, wherever its symbol went; where it begins, the table for unwinders says.

use object::LittleEndian;
use object::elf::{self, FileHeader64};
use object::read::elf::{FileHeader, SectionHeader as _};

use super::SignsWanted;
use super::calls::find;
use super::words::{Meaning, Word, between};
use crate::bytes::u32_at;
use crate::distance::{Destinations, target};
use crate::host::role_of;

/// Longest name, in bytes.
const NAME_LIMIT: usize = 64;

/// A section: its address and bytes.
type Part<'a> = (u64, &'a [u8]);

/// The functions that compile or load device code which the program calls or takes the address of. Words lie at offsets
/// in a file in which the program starts at `start`.
pub(super) fn calls(bytes: &[u8], start: u64, words: &[Word], wanted: SignsWanted) -> Vec<String> {
    calls_in(bytes, start, words, wanted).unwrap_or_default()
}

fn calls_in(bytes: &[u8], start: u64, words: &[Word], wanted: SignsWanted) -> object::Result<Vec<String>> {
    let header = FileHeader64::<LittleEndian>::parse(bytes)?;
    let endian = LittleEndian;
    if header.e_machine(endian) != elf::EM_X86_64 || header.e_type(endian) == elf::ET_REL {
        return Ok(Vec::new());
    }
    let sections = header.sections(endian, bytes)?;
    let (mut code, mut unwinding): (Vec<Part<'_>>, Option<Part<'_>>) = Default::default();
    let mut names = Vec::new();
    for section in sections.iter() {
        let (flags, kind) = (section.sh_flags(endian), section.sh_type(endian));
        if flags & elf::SHF_ALLOC != elf::SHF_ALLOC || kind != elf::SHT_PROGBITS {
            continue;
        }
        let part = (section.sh_addr(endian), section.data(endian, bytes)?);
        if flags & elf::SHF_EXECINSTR == elf::SHF_EXECINSTR {
            code.push(part);
        } else if sections.section_name(endian, section)? == b".eh_frame_hdr" {
            unwinding = Some(part);
        } else if flags & elf::SHF_WRITE != elf::SHF_WRITE
            && !holds_device_code(sections.section_name(endian, section)?)
        {
            let at = start.saturating_add(section.sh_offset(endian));
            names.extend(names_in(part, at, between(words, at, at.saturating_add(part.1.len() as u64))));
        }
    }
    names.sort();
    let starts = unwinding.map(starts).unwrap_or_default();
    let mut targets: Vec<(u64, String)> =
        code.iter().flat_map(|&part| functions(part, &names, &starts)).collect();
    targets.sort();
    targets.dedup();
    let mut calls = super::calls::Calls::default();
    for &(address, code) in code.iter().filter(|_| !targets.is_empty()) {
        find(code, address, &targets, &[], wanted, &mut calls);
    }
    calls.jit.extend(super::calls::pointed_at(bytes, &targets)?);
    Ok(calls.jit.into_iter().collect())
}

/// The names of functions that load device code, and the address of each, in data that lies at an offset and holds
/// these words.
fn names_in((address, data): Part<'_>, offset: u64, words: &[Word]) -> Vec<(u64, String)> {
    let functions = words.iter().filter(|word| word.meaning == Meaning::Function);
    let found = functions.filter_map(|word| {
        let at = usize::try_from(word.offset.checked_sub(offset)?).ok()?;
        let is_whole = at.checked_sub(1).is_none_or(|before| data.get(before) == Some(&0));
        let rest = data.get(at..).filter(|_| is_whole)?;
        let end = memchr::memchr(0, &rest[..rest.len().min(NAME_LIMIT)])?;
        let name = str::from_utf8(&rest[..end]).ok()?;
        Some((address.wrapping_add(at as u64), name.to_owned()))
    });
    found.collect()
}

/// Where functions begin, in order, by the table that unwinders search: `{u8 1, u8 encodings × 3, i32 table, u32 count}`
/// and pairs of distances from its own beginning.
fn starts((address, table): Part<'_>) -> Vec<u64> {
    const ENCODINGS: [u8; 4] = [1, 0x1B, 3, 0x3B];
    if !table.starts_with(&ENCODINGS) {
        return Vec::new();
    }
    let count = u32_at(table, 8).map_or(0, |count| usize::try_from(count).unwrap_or(0));
    let entries = table.get(12..).unwrap_or_default().chunks_exact(8).take(count);
    let start =
        |entry: &[u8]| u32_at(entry, 0).map(|word| address.wrapping_add_signed(word.cast_signed().into()));
    entries.filter_map(start).collect()
}

/// Whether a section is one of device code, in which no name of the host's functions stands.
fn holds_device_code(name: &[u8]) -> bool {
    str::from_utf8(name).is_ok_and(|name| role_of(name).is_some())
}

/// The functions whose code loads the address of a name; the names in order of their places.
fn functions((address, code): Part<'_>, names: &[(u64, String)], starts: &[u64]) -> Vec<(u64, String)> {
    if names.is_empty() || starts.is_empty() {
        return Vec::new();
    }
    let destinations = Destinations::of(names.iter().map(|(place, _)| *place));
    let loads = destinations.leading_there(code, address).into_iter().filter_map(|at| {
        // A `lea` of a distance from the instruction's end.
        matches!(code[..at], [.., 0x8D, modifiers] if modifiers & 0xC7 == 5).then_some(())?;
        let target = target(code, address, at)?;
        let found = names.binary_search_by_key(&target, |(place, _)| *place).ok()?;
        let place = address.wrapping_add(at as u64 - 2);
        let before = starts.partition_point(|&start| start <= place);
        Some((*starts.get(before.checked_sub(1)?)?, names[found].1.clone()))
    });
    loads.collect()
}
