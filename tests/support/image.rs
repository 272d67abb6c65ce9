//! A small loader and a small linker that know nothing of the prover. They map segments, or lay sections, apply
//! relocations, and follow the wrapper that the host code hands over. The property test and the fuzz target
//! `library` hold the prover's word against them.

/// Where the test's loader puts the library.
const BASE: u64 = 0x7F12_3456_7000;
/// Most memory that it gives to one, in bytes.
const MEMORY_LIMIT_BYTES: usize = 1 << 16;
const PAGE: usize = 4096;

/// A number at an offset, if it is there.
fn read(bytes: &[u8], at: usize, width: usize) -> Option<u64> {
    let number = bytes.get(at..at.checked_add(width)?)?;
    Some(number.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
}

fn read_index(bytes: &[u8], at: usize, width: usize) -> Option<usize> {
    usize::try_from(read(bytes, at, width)?).ok()
}

/// Maps the segments as a loader does: whole pages from the file, then zeros behind what the file fills.
fn map(file: &[u8]) -> Option<Vec<u8>> {
    let mut memory = vec![0; MEMORY_LIMIT_BYTES];
    let (table, count) = (read_index(file, 32, 8)?, read_index(file, 56, 2)?);
    for segment in 0..count {
        let header = table.checked_add(segment * 56)?;
        if read(file, header, 4)? != 1 {
            continue;
        }
        let word = |offset| read_index(file, header + offset, 8);
        let (offset, address, in_file, in_memory) = (word(8)?, word(16)?, word(32)?, word(40)?);
        let start = address / PAGE * PAGE;
        let end = address.checked_add(in_file)?.checked_next_multiple_of(PAGE)?;
        let from = offset / PAGE * PAGE;
        if offset % PAGE != address % PAGE || end > MEMORY_LIMIT_BYTES {
            return None;
        }
        for (at, byte) in memory.iter_mut().enumerate().take(end).skip(start) {
            *byte = file.get(from.checked_add(at - start)?).copied().unwrap_or(0);
        }
        let filled = address.checked_add(in_memory)?;
        if filled > address + in_file && filled <= MEMORY_LIMIT_BYTES {
            memory[address + in_file..filled.next_multiple_of(PAGE).min(MEMORY_LIMIT_BYTES)].fill(0);
        }
    }
    Some(memory)
}

/// Applies what the dynamic table asks for.
fn relocate(file: &[u8], memory: &mut [u8]) -> Option<()> {
    let (table, count) = (read_index(file, 32, 8)?, read_index(file, 56, 2)?);
    let mut headers = (0..count).map_while(|segment| table.checked_add(segment * 56));
    let dynamic = headers.find(|&at| read(file, at, 4) == Some(2))?;
    let at = read_index(file, dynamic + 16, 8)?;
    let mut tags = [0; 64];
    for entry in 0..64 {
        let (tag, value) =
            (read_index(memory, at + entry * 16, 8)?, read_index(memory, at + entry * 16 + 8, 8)?);
        if tag == 0 {
            break;
        }
        if let Some(slot) = tags.get_mut(tag) {
            *slot = value;
        }
    }
    for (start, size) in [(tags[7], tags[8]), (tags[23], tags[2])] {
        for entry in (start..start.checked_add(size)?).step_by(24) {
            let (place, kind) = (read_index(memory, entry, 8)?, read(memory, entry + 8, 4)?);
            let (symbol, addend) = (read_index(memory, entry + 12, 4)?, read(memory, entry + 16, 8)?);
            // Only these kinds look at their symbol, which may be none that there is for all others.
            let written = match kind {
                8 => BASE.wrapping_add(addend),
                1 | 6 | 7 => {
                    let symbol = tags[6].checked_add(symbol * 24)?;
                    let value = read(memory, symbol + 8, 8)?;
                    match read(memory, symbol + 6, 2)? {
                        0 => continue,
                        0xFFF1 => value.wrapping_add(addend),
                        _ => BASE.wrapping_add(value).wrapping_add(addend),
                    }
                }
                _ => continue,
            };
            if place.checked_add(8)? <= memory.len() {
                memory[place..place + 8].copy_from_slice(&written.to_le_bytes());
            }
        }
    }
    Some(())
}

/// The container that the wrapper at an address registers.
pub fn registered(file: &[u8], wrapper: usize) -> Option<Vec<u8>> {
    let mut memory = map(file)?;
    relocate(file, &mut memory);
    if read(&memory, wrapper, 4)? != 0x4662_43B1 {
        return None;
    }
    let container = usize::try_from(read(&memory, wrapper + 8, 8)?.wrapping_sub(BASE)).ok()?;
    if read(&memory, container, 4)? != 0xBA55_ED50 {
        return None;
    }
    let end = container.checked_add(16)?.checked_add(read_index(&memory, container + 8, 8)?)?;
    memory.get(container..end).map(<[u8]>::to_vec)
}

/// The container that an object's host code registers once it is linked: the wrapper is what the relocation
/// at a place in its code points at.
pub fn linked(file: &[u8], code: usize, place: u64) -> Option<Vec<u8>> {
    const DISTANCES: [u64; 2] = [2, 4];
    let (segment, wrapper) = target(file, code, place, &DISTANCES)?;
    // A distance is counted from the end of its four bytes.
    let wrapper = wrapper.wrapping_add(4);
    let wrappers = section_content(file, segment)?;
    if read(&wrappers, usize::try_from(wrapper).ok()?, 4)? != 0x4662_43B1 {
        return None;
    }
    let (section, container) = target(file, segment, wrapper + 8, &[1])?;
    let mut content = section_content(file, section)?;
    for (place, ..) in relocations(file, section) {
        let at = usize::try_from(place).ok()?;
        // Whatever an address is, it is not what stood there.
        content.get_mut(at..at.checked_add(8)?)?.iter_mut().for_each(|byte| *byte ^= 0x5A);
    }
    let container = usize::try_from(container).ok()?;
    if read(&content, container, 4)? != 0xBA55_ED50 {
        return None;
    }
    let end = container.checked_add(16)?.checked_add(read_index(&content, container + 8, 8)?)?;
    content.get(container..end).map(<[u8]>::to_vec)
}

/// Whether a relocation changes a place of a section.
pub fn is_relocated(file: &[u8], section: usize, place: u64) -> bool {
    relocations(file, section).iter().any(|&(at, ..)| at == place)
}

/// A number in the header of a section.
fn of_section(file: &[u8], section: usize, at: usize, width: usize) -> Option<usize> {
    let (table, count) = (read_index(file, 40, 8)?, read_index(file, 60, 2)?);
    if section >= count {
        return None;
    }
    read_index(file, table.checked_add(section * 64 + at)?, width)
}

fn section_content(file: &[u8], section: usize) -> Option<Vec<u8>> {
    let word = |at, width| of_section(file, section, at, width);
    let (kind, start, size) = (word(4, 4)?, word(24, 8)?, word(32, 8)?);
    if kind == 8 {
        return (size <= MEMORY_LIMIT_BYTES).then(|| vec![0; size]);
    }
    file.get(start..start.checked_add(size)?).map(<[u8]>::to_vec)
}

/// Place, kind, the symbol's section, and its value with the addend, of what is relocated in a section.
fn relocations(file: &[u8], section: usize) -> Vec<(u64, u64, usize, u64)> {
    let tables = 0..read_index(file, 60, 2).unwrap_or(0);
    let tables = tables.filter(|&table| {
        of_section(file, table, 4, 4) == Some(4) && of_section(file, table, 44, 4) == Some(section)
    });
    tables.flat_map(|table| relocations_in(file, table).unwrap_or_default()).collect()
}

fn relocations_in(file: &[u8], table: usize) -> Option<Vec<(u64, u64, usize, u64)>> {
    let symbols = section_content(file, of_section(file, table, 40, 4)?)?;
    let entries = section_content(file, table)?;
    let entries = entries.chunks_exact(24).map(|entry| {
        let symbol = read_index(entry, 12, 4)?.checked_mul(24)?;
        let value = read(&symbols, symbol.checked_add(8)?, 8)?.wrapping_add(read(entry, 16, 8)?);
        Some((read(entry, 0, 8)?, read(entry, 8, 4)?, read_index(&symbols, symbol + 6, 2)?, value))
    });
    entries.collect()
}

/// Which section, and where in it, a place of a section is made to point at; the last relocation has its way.
fn target(file: &[u8], section: usize, place: u64, kinds: &[u64]) -> Option<(usize, u64)> {
    let all = relocations(file, section);
    let &(_, kind, section, value) = all.iter().rev().find(|&&(at, ..)| at == place)?;
    kinds.contains(&kind).then_some((section, value))
}
