//! Bytes changed, appended or put in anywhere in an honest build: either the driver would still get the
//! same device code, or the build is no longer exact.
//!
//! What the driver would get is told by a small loader of the test's own, which knows nothing of the
//! prover: it maps segments, applies relocations, and follows the wrapper at the address that the
//! host code hands over.

use proofmark::proof::{Depth, Policy, ProofVerdict, examine_to, judge};
use proofmark_packager::Arch;

use crate::support::forge::{content, fixture, index, inserted, number, put, section_header};

/// Where the test's loader puts the library.
const BASE: u64 = 0x7F12_3456_7000;
/// Most memory that it gives to one, in bytes.
const MEMORY_LIMIT_BYTES: usize = 1 << 16;
const PAGE: usize = 4096;

/// A small generator with a fixed seed, so that a failure repeats.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }
}

fn is_exact(bytes: &[u8]) -> bool {
    let found = examine_to(bytes, Depth::Facts);
    judge(&found, None, &Policy::for_file(Arch::SM_100A)).verdict() == ProofVerdict::Exact
}

/// A number at an offset, if it is there.
fn read(bytes: &[u8], at: usize, width: usize) -> Option<u64> {
    bytes.get(at..at.checked_add(width)?).map(|_| number(bytes, at, width))
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
    let dynamic = (0..count).map(|segment| table + segment * 56).find(|&at| read(file, at, 4) == Some(2))?;
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
            let symbol = tags[6].checked_add(symbol * 24)?;
            let defined = read(memory, symbol + 6, 2)?;
            let value = read(memory, symbol + 8, 8)?;
            let written = match (kind, defined) {
                (8, _) => BASE.wrapping_add(addend),
                (1 | 6 | 7, 0xFFF1) => value.wrapping_add(addend),
                (1 | 6 | 7, 1..) => BASE.wrapping_add(value).wrapping_add(addend),
                _ => continue,
            };
            if place.checked_add(8)? <= memory.len() {
                put(memory, place, 8, written);
            }
        }
    }
    Some(())
}

/// The container that the wrapper at an address registers.
fn registered(file: &[u8], wrapper: usize) -> Option<Vec<u8>> {
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

#[test]
fn the_tests_own_loader_finds_what_the_section_holds() {
    let honest = fixture("exact_13.0.so");
    let (at, size) = content(&honest, ".nv_fatbin");
    let wrapper = index(&honest, section_header(&honest, ".nvFatBinSegment") + 16, 8);
    assert_eq!(registered(&honest, wrapper).unwrap(), honest[at..at + size]);
}

#[test]
fn a_library_stays_exact_only_while_the_driver_gets_the_same_code() {
    let honest = fixture("exact_13.0.so");
    let (fatbin, fatbin_bytes) = content(&honest, ".nv_fatbin");
    let wrapper = index(&honest, section_header(&honest, ".nvFatBinSegment") + 16, 8);
    let container = registered(&honest, wrapper).unwrap();
    // What decides where things are: header, segments, dynamic tables, symbols, wrappers, sections.
    let mut structure: Vec<usize> = (0..0x238).collect();
    for name in [".rela.dyn", ".rela.plt", ".dynamic", ".dynsym", ".nvFatBinSegment", ".data"] {
        let (at, size) = content(&honest, name);
        structure.extend(at..at + size);
    }
    structure.extend(index(&honest, 40, 8)..honest.len());
    let numbers = [
        0,
        1,
        8,
        0x18,
        0x2000,
        0x2018,
        0x2028,
        0x3678,
        0x4ea8,
        0x5068,
        0x5070,
        0x5078,
        0x5088,
        0x5090,
        u64::MAX,
    ];
    let mut dice = Dice(20_261_128);
    let (mut stayed, mut lost) = (0, 0);
    for case in 0..800 {
        let mut forged = honest.clone();
        for _ in 0..=dice.roll(3) {
            let at = structure[dice.roll(structure.len())];
            match dice.roll(3) {
                0 => forged[at] ^= 1 << dice.roll(8),
                1 => forged[at] = u8::try_from(dice.roll(256)).unwrap(),
                _ => {
                    let at = (at / 8 * 8).min(forged.len() - 8);
                    put(&mut forged, at, 8, numbers[dice.roll(numbers.len())]);
                }
            }
        }
        if is_exact(&forged) {
            stayed += 1;
            let got = registered(&forged, wrapper);
            assert_eq!(
                got.as_ref(),
                Some(&container),
                "case {case} is exact, but the driver gets something else"
            );
        } else {
            lost += 1;
        }
        // Whatever happened around it, the container itself is as it was.
        assert!(
            forged[fatbin..fatbin + fatbin_bytes] == honest[fatbin..fatbin + fatbin_bytes],
            "case {case}"
        );
    }
    println!("{stayed} stayed exact, {lost} did not");
    assert!(stayed > 20 && lost > 200, "{stayed} and {lost}: the cases say nothing");
}

#[test]
fn whatever_is_appended_takes_exact_away() {
    let mut dice = Dice(7);
    for name in ["exact_13.0.so", "exact_13.0.o", "exact_13.0.fatbin", "exact_13.0.cubin", "exact_12.9.cubin"]
    {
        let honest = fixture(name);
        assert!(is_exact(&honest), "{name}");
        for case in 0..40 {
            let more: Vec<u8> = match case % 4 {
                0 => vec![0; 1 + dice.roll(100)],
                1 => (0..=dice.roll(64)).map(|_| u8::try_from(dice.roll(256)).unwrap()).collect(),
                // A second container is whole by itself; the driver never reads it.
                2 if !name.ends_with(".fatbin") => honest.clone(),
                _ => honest[dice.roll(honest.len() - 1)..].to_vec(),
            };
            assert!(!is_exact(&[&honest[..], &more].concat()), "{name}, case {case}, {} bytes", more.len());
        }
    }
}

#[test]
fn whatever_is_put_in_takes_exact_away() {
    let mut dice = Dice(11);
    for name in [
        "exact_13.0.so",
        "exact_13.0.o",
        "exact_13.0.fatbin",
        "exact_compressed_13.0.fatbin",
        "exact_13.0.cubin",
    ] {
        let honest = fixture(name);
        for case in 0..150 {
            let size = if case % 2 == 0 { 8 << dice.roll(6) } else { 1 + dice.roll(40) };
            let more: Vec<u8> = match case % 3 {
                0 => vec![0; size],
                _ => (0..size).map(|_| u8::try_from(dice.roll(256)).unwrap()).collect(),
            };
            let at = dice.roll(honest.len());
            assert!(!is_exact(&inserted(&honest, at, &more)), "{name}, case {case}: {size} bytes at {at:#x}");
        }
    }
}
