//! Changes every byte of honest builds that bears on the architecture, and damages them at random:
//! nothing of that may be exact, and nothing may panic.

use std::collections::BTreeMap;
use std::fs;
use std::thread;

use proofmark::proof::{Depth, Entry, Examination, Policy, ProofVerdict, examine, examine_to, judge};
use proofmark_packager::Arch;

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
    exact(bytes).is_some()
}

/// What is found in exact bytes.
fn exact(bytes: &[u8]) -> Option<Examination> {
    let examination = examine_to(bytes, Depth::Facts);
    let judgement = judge(&examination, None, &Policy::for_file(Arch::SM_100A));
    (judgement.verdict() == ProofVerdict::Exact).then_some(examination)
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

/// Everything that an examination says about the architecture, each with its name.
fn meaning(examination: &Examination) -> Vec<(&'static str, String)> {
    let mut facts = vec![("number of entries", examination.entries.len().to_string())];
    for entry in &examination.entries {
        facts.push(("architecture", format!("{:?}", entry.arch)));
        facts.push(("container", format!("{:?}", entry.container.is_some())));
        if let Some(header) = &entry.header {
            let version = (header.kind_number, header.version, header.number);
            facts.push(("header's kind, version and number", format!("{version:?}")));
            facts.push(("header's debug flag", format!("{:#x}", header.flags & 0x2)));
            facts.push(("header's other flags", format!("{:#x}", header.flags & !0x2)));
        }
        if let Some(cubin) = &entry.cubin {
            let identification = (cubin.layout, cubin.os_abi, cubin.abi_version, cubin.elf_type);
            facts.push(("ELF identification", format!("{identification:?}")));
            let marker = cubin.marker.map(|marker| (marker.specific, marker.source));
            facts.push(("number and letter", format!("{:?}", (cubin.number, marker))));
            facts.push(("e_flags beside number and letter", format!("{:#x}", cubin.e_flags)));
            let accelerator: Vec<_> = cubin.compat.iter().filter(|record| record.attribute == 9).collect();
            facts.push(("compat attribute 9", format!("{accelerator:?}")));
            facts.push(("other compat attributes", format!("{:?}", cubin.compat)));
            let numbers: Vec<_> = cubin.arch_notes.iter().map(|note| (note.kind, note.number)).collect();
            facts.push(("front end's architecture", format!("{numbers:?}")));
            facts.push(("front end's release", format!("{:?}", cubin.arch_notes)));
            let archs: Vec<_> = cubin.tools.iter().map(|tool| tool.arch).collect();
            facts.push(("tools' architecture", format!("{archs:?}")));
            facts.push(("tools' other words", format!("{:?}", cubin.tools)));
        }
    }
    facts
}

/// Flips that stay exact, counted by what they change; nothing at all is changed by most: machine
/// code, names of symbols, line tables.
fn survivors(honest: &[u8], flips: &[(usize, u8)]) -> BTreeMap<&'static str, usize> {
    let before = meaning(&exact(honest).expect("an honest build"));
    let mut survivors = BTreeMap::new();
    let mut forged = honest.to_vec();
    for &(at, flip) in flips {
        forged[at] ^= flip;
        if let Some(examination) = exact(&forged) {
            let after = meaning(&examination);
            let changed = before.iter().zip(&after).find(|(one, other)| one != other);
            *survivors.entry(changed.map_or("nothing", |(fact, _)| fact.0)).or_default() += 1;
        }
        forged[at] ^= flip;
    }
    survivors
}

/// Changes that leave `exact` standing, because they say nothing about the architecture.
const HARMLESS: [&str; 7] = [
    // Most of a file is machine code, symbols and line tables.
    "nothing",
    // A container whose magic is damaged is none, but the cubin in it is found and proves itself.
    "container",
    // Built with -G or not.
    "header's debug flag",
    // The byte that every toolkit sets anew (5 to 16 seen), and two bits that differ between toolkits.
    "e_flags beside number and letter",
    // What instructions need; a bare cubin holds it once, so nothing can disagree with it.
    "other compat attributes",
    // Which release, which build, which other options: text and numbers that prove nothing.
    "front end's release",
    "tools' other words",
];

#[test]
fn no_flip_in_a_compressed_stream_changes_the_meaning_of_exact() {
    let (_, honest) =
        honest_builds().into_iter().find(|(name, _)| name.contains("compressed")).expect("one fixture");
    let flips: Vec<(usize, u8)> = (0..honest.len()).map(|at| (at, 1 << (at % 8))).collect();
    let survivors = survivors(&honest, &flips);
    println!("{} flips: {survivors:?}", flips.len());
    assert!(survivors.keys().all(|changed| HARMLESS.contains(changed)), "{survivors:#?}");
}

#[test]
#[ignore = "takes minutes: scripts/mutations.sh"]
fn no_bit_of_any_honest_build_changes_the_meaning_of_exact() {
    let mut all = BTreeMap::new();
    for (name, honest) in honest_builds() {
        let flips: Vec<(usize, u8)> =
            (0..honest.len()).flat_map(|at| (0..8).map(move |bit| (at, 1 << bit))).collect();
        let share = flips.len().div_ceil(thread::available_parallelism().map_or(1, usize::from));
        let found: Vec<_> = thread::scope(|scope| {
            let crew: Vec<_> =
                flips.chunks(share).map(|flips| scope.spawn(|| survivors(&honest, flips))).collect();
            crew.into_iter().map(|worker| worker.join().expect("no flip panics")).collect()
        });
        let mut here = BTreeMap::new();
        for (changed, count) in found.into_iter().flatten() {
            *here.entry(changed).or_insert(0) += count;
            *all.entry(changed).or_insert(0) += count;
        }
        println!("{name}: {} flips, exact after {here:?}", flips.len());
    }
    assert!(all.keys().all(|changed| HARMLESS.contains(changed)), "{all:#?}");
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
        for _ in 0..100 {
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
