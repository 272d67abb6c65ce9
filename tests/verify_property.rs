//! Bytes changed, appended or put in anywhere in an honest build: either the driver would still get the
//! same device code, or the build is no longer exact.
//!
//! What the driver would get is told by a small loader of the test's own, which knows nothing of the
//! prover: it maps segments, applies relocations, and follows the wrapper at the address that the
//! host code hands over.

use proofmark::proof::{Depth, Policy, ProofVerdict, examine_to, judge};
use proofmark_packager::Arch;

use crate::support::forge::{content, fixture, index, inserted, number, put, section, section_header};
use crate::support::image::{is_relocated, linked, registered};

/// A small generator with a fixed seed, so that a failure repeats.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }
}

/// The same with up to three changes: a bit, a byte, or one of the numbers.
fn changed(honest: &[u8], places: &[usize], numbers: &[u64], dice: &mut Dice) -> Vec<u8> {
    let mut forged = honest.to_vec();
    for _ in 0..=dice.roll(3) {
        let at = places[dice.roll(places.len())];
        match dice.roll(3) {
            0 => forged[at] ^= 1 << dice.roll(8),
            1 => forged[at] = u8::try_from(dice.roll(256)).unwrap(),
            _ => {
                let at = (at / 8 * 8).min(forged.len() - 8);
                put(&mut forged, at, 8, numbers[dice.roll(numbers.len())]);
            }
        }
    }
    forged
}

fn is_exact(bytes: &[u8]) -> bool {
    let found = examine_to(bytes, Depth::Facts);
    judge(&found, None, &Policy::for_file(Arch::SM_100A)).verdict() == ProofVerdict::Exact
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
        let forged = changed(&honest, &structure, &numbers, &mut dice);
        if is_exact(&forged) {
            stayed += 1;
            let got = registered(&forged, wrapper);
            assert!(
                got.as_ref() == Some(&container),
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

/// Changes an object wherever it says where things are, and holds the verdict against what linkers make of it.
fn holds_an_object_against_linkers(honest: &[u8], containers: &str, seed: u64) {
    let (code, segment) = (section(honest, ".text"), section(honest, ".nvFatBinSegment"));
    let (relocations, bytes) = content(honest, ".rela.text");
    let (symbols, symbol_bytes) = content(honest, ".symtab");
    let mut entries = (relocations..relocations + bytes).step_by(24);
    let hands_over = entries.find(|&at| {
        let symbol = index(honest, at + 12, 4);
        index(honest, symbols + symbol * 24 + 6, 2) == segment
    });
    let hands_over = hands_over.unwrap();
    let place = number(honest, hands_over, 8);
    let container = linked(honest, code, place).unwrap();
    let (at, size) = content(honest, containers);
    assert!(container == honest[at..at + size]);
    let mut structure: Vec<usize> = (0..64).chain(hands_over..hands_over + 24).collect();
    for name in [".nvFatBinSegment", ".rela.nvFatBinSegment"] {
        let (at, size) = content(honest, name);
        structure.extend(at..at + size);
    }
    structure.extend(symbols..symbols + symbol_bytes);
    structure.extend(index(honest, 40, 8)..honest.len());
    let numbers = [0, 1, 2, 8, 0x18, 0x0007_0000_0001, 0x0008_0000_0001, 0x000f_0000_0001, u64::MAX];
    let mut dice = Dice(seed);
    let (mut stayed, mut lost) = (0, 0);
    for case in 0..400 {
        let forged = changed(honest, &structure, &numbers, &mut dice);
        if is_exact(&forged) {
            stayed += 1;
            // Code that no relocation reaches registers nothing.
            let same = linked(&forged, code, place).as_ref() == Some(&container);
            assert!(
                same || !is_relocated(&forged, code, place),
                "case {case} is exact, but linked otherwise"
            );
        } else {
            lost += 1;
        }
    }
    println!("{stayed} stayed exact, {lost} did not");
    assert!(stayed > 20 && lost > 100, "{stayed} and {lost}: the cases say nothing");
}

#[test]
fn an_object_stays_exact_only_while_linkers_make_the_same_of_it() {
    holds_an_object_against_linkers(&fixture("exact_13.0.o"), ".nv_fatbin", 13);
}

#[test]
fn an_object_of_separate_compilation_stays_exact_only_while_it_hands_on_the_same() {
    holds_an_object_against_linkers(&fixture("exact_unlinked_13.0.o"), "__nv_relfatbin", 29);
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
