//! Changes every byte of honest builds that bears on the architecture, and damages them at random:
//! nothing of that may be exact, and nothing may panic.

use std::fs;

use packager::Arch;
use runtime::proof::{Entry, Examination, Policy, Verdict, examine, judge};

use crate::support::repository;

/// Bytes that name the architecture or decide where it is read, as offsets in the file.
fn arch_bearing(examination: &Examination) -> Vec<usize> {
    let mut bytes = Vec::new();
    let mut mark = |start: u64, length: u64| {
        bytes.extend((start..start + length).map(|at| usize::try_from(at).expect("small files")));
    };
    for entry in &examination.entries {
        if let Some(header) = &entry.header {
            // Kind and version, number, flags.
            mark(entry.offset, 4);
            mark(entry.offset + 28, 4);
            mark(entry.offset + 40, 8);
            // The copy of .nv.compat: what its records hold, behind the pointer at +20.
            let copy = entry.cubin.as_ref().map_or(0, |cubin| {
                cubin
                    .compat
                    .iter()
                    .map(|record| if record.format == 4 { 4 + u64::from(record.value) } else { 4 })
                    .sum()
            });
            if header.flags & 0x100_0000 != 0 {
                mark(entry.offset + 0x49, copy);
            }
        }
        if entry.header.as_ref().is_none_or(|header| header.compressed_bytes == 0) {
            mark_cubin(entry, &mut mark);
        }
    }
    bytes
}

fn mark_cubin(entry: &Entry, mark: &mut impl FnMut(u64, u64)) {
    let Some(cubin) = &entry.cubin else { return };
    let base = entry.payload_offset;
    // Magic and class, OS ABI and ABI version, machine, the number in e_flags.
    mark(base, 5);
    mark(base + 7, 2);
    mark(base + 18, 2);
    mark(base + 49, 1);
    // Attribute 9 where it is, the whole of its record.
    if let (Some(at), Some(record)) =
        (cubin.compat_offset, cubin.compat.iter().find(|record| record.attribute == 9))
    {
        mark(base + at + record.offset, 4);
    }
    for tool in &cubin.tools {
        let at = tool.options.find("-arch ").expect("the fixtures name one");
        mark(base + tool.options_offset + at as u64, "-arch sm_100a ".len() as u64);
    }
    for note in &cubin.arch_notes {
        mark(base + note.offset, 2);
    }
}

fn is_exact(bytes: &[u8]) -> bool {
    let examination = examine(bytes);
    judge(&examination, None, &Policy::for_file(Arch::SM_100A)).verdict() == Verdict::Exact
}

fn honest_builds() -> Vec<(String, Vec<u8>)> {
    let folder = repository().join("tests/fixtures/proof");
    let mut builds: Vec<(String, Vec<u8>)> = fs::read_dir(folder)
        .unwrap()
        .map(|item| item.unwrap())
        .map(|item| (item.file_name().into_string().unwrap(), fs::read(item.path()).unwrap()))
        .filter(|(name, _)| name.starts_with("exact_"))
        .collect();
    builds.sort();
    builds
}

/// Bit 1 of the entry's flags says that the build is for a debugger. It is the one flip that stays
/// exact: it bears on no architecture, and honest builds have it either way.
fn only_the_debug_bit(honest: &[u8], forged: &[u8]) -> bool {
    let flags = |bytes: &[u8]| -> Vec<u64> {
        examine(bytes)
            .entries
            .iter()
            .filter_map(|entry| entry.header.as_ref())
            .map(|header| header.flags)
            .collect()
    };
    let changed: Vec<u64> = flags(honest).iter().zip(flags(forged)).map(|(one, other)| one ^ other).collect();
    changed.iter().all(|&bits| bits & !0x2 == 0) && changed.contains(&0x2)
}

#[test]
fn no_single_byte_flip_where_it_matters_stays_exact() {
    let mut tried = 0;
    let mut survivors = Vec::new();
    for (name, honest) in honest_builds() {
        assert!(is_exact(&honest), "{name}");
        for at in arch_bearing(&examine(&honest)) {
            for flip in [0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xFF] {
                let mut forged = honest.clone();
                forged[at] ^= flip;
                tried += 1;
                if is_exact(&forged) && !only_the_debug_bit(&honest, &forged) {
                    survivors.push(format!("{name} at {at:#x} ^ {flip:#x}"));
                }
            }
        }
    }
    println!("{tried} flips, {} survivors", survivors.len());
    assert!(tried > 5_000, "only {tried} flips were tried");
    assert!(survivors.is_empty(), "{survivors:#?}");
}

/// A small generator with a fixed seed, so that a failure repeats.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }
}

#[test]
fn damaged_files_are_judged_without_panic() {
    let mut dice = Dice(1);
    let folder = repository().join("tests/fixtures/proof");
    for item in fs::read_dir(folder).unwrap() {
        let honest = fs::read(item.unwrap().path()).unwrap();
        for _ in 0..150 {
            let mut bytes = honest.clone();
            for _ in 0..=dice.roll(8) {
                let at = dice.roll(bytes.len());
                match dice.roll(4) {
                    0 => bytes[at] = 0xFF,
                    1 => bytes[at] = bytes[at].wrapping_add(7),
                    2 => bytes.truncate(at + 1),
                    _ => bytes[at] ^= 1 << dice.roll(8),
                }
            }
            let examination = examine(&bytes);
            let _ = judge(&examination, None, &Policy::for_build(Arch::SM_100A));
        }
    }
}
