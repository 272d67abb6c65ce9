//! Small tools to change builds as a forger would: numbers in place, sections by name, bytes put in.

use std::fs;

use proofmark::proof::{Depth, Policy, ProofVerdict, combine, examine_to, judge, say, visit_bytes};
use proofmark_packager::Arch;

use super::repository;

/// A build among the fixtures.
pub fn fixture(name: &str) -> Vec<u8> {
    fs::read(repository().join("tests/fixtures/proof").join(name)).expect("a fixture")
}

/// The number of so many bytes at an offset.
pub fn number(bytes: &[u8], at: usize, width: usize) -> u64 {
    bytes[at..at + width].iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

/// An offset stored in the file, as an index.
pub fn index(bytes: &[u8], at: usize, width: usize) -> usize {
    usize::try_from(number(bytes, at, width)).expect("small files")
}

/// Writes a number of so many bytes.
pub fn put(bytes: &mut [u8], at: usize, width: usize, value: u64) {
    bytes[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
}

/// The number of a 64-bit ELF's section, by name.
pub fn section(bytes: &[u8], name: &str) -> usize {
    let (table, count, names) = (index(bytes, 40, 8), index(bytes, 60, 2), index(bytes, 62, 2));
    let names = index(bytes, table + names * 64 + 24, 8);
    let found = (0..count).find(|section| {
        let at = names + index(bytes, table + section * 64, 4);
        bytes[at..].starts_with(name.as_bytes()) && bytes[at + name.len()] == 0
    });
    found.unwrap_or_else(|| panic!("no section {name}"))
}

/// Where the header of a section stands.
pub fn section_header(bytes: &[u8], name: &str) -> usize {
    index(bytes, 40, 8) + section(bytes, name) * 64
}

/// Where a section's bytes stand, and how many there are.
pub fn content(bytes: &[u8], name: &str) -> (usize, usize) {
    let header = section_header(bytes, name);
    (index(bytes, header + 24, 8), index(bytes, header + 32, 8))
}

/// Where a section's name stands.
pub fn name_of(bytes: &[u8], name: &str) -> usize {
    let names = index(bytes, 40, 8) + index(bytes, 62, 2) * 64;
    index(bytes, names + 24, 8) + index(bytes, section_header(bytes, name), 4)
}

/// Where the header of a segment stands.
pub fn segment_header(bytes: &[u8], segment: usize) -> usize {
    index(bytes, 32, 8) + segment * 56
}

/// Where some bytes stand.
pub fn find(bytes: &[u8], wanted: &[u8]) -> usize {
    bytes.windows(wanted.len()).position(|window| window == wanted).expect("the bytes are there")
}

/// The bytes with more of them put in.
pub fn inserted(bytes: &[u8], at: usize, more: &[u8]) -> Vec<u8> {
    [&bytes[..at], more, &bytes[at..]].concat()
}

/// What `verify --arch sm_100a` says of one file, and why: as the command line walks it, zips and streams
/// included.
pub fn verdict(bytes: &[u8]) -> (ProofVerdict, String) {
    let policy = Policy::for_file(Arch::SM_100A);
    let mut judged = Vec::new();
    let tally = visit_bytes("file", bytes, |specimen| {
        let examination = examine_to(specimen.bytes, Depth::Facts);
        let judgement = judge(&examination, None, &policy);
        judged.push((examination, judgement));
    });
    let verdict =
        combine(judged.iter().filter_map(|(found, judgement)| say(found, judgement)), &tally.unread);
    let unread = tally.unread.iter().map(|one| format!("{}: {}", one.path, one.reason));
    let reasons = judged.iter().flat_map(|(_, judgement)| judgement.reasons().iter().cloned());
    (verdict, unread.chain(reasons).collect::<Vec<_>>().join("; "))
}

/// Forgeries by name, of which none may be exact.
#[derive(Default)]
pub struct Forgeries {
    made: usize,
    believed: Vec<String>,
}

impl Forgeries {
    /// Nothing of this may be exact; and whatever it is, device code is in it.
    pub fn refuse(&mut self, name: impl Into<String>, bytes: &[u8]) {
        self.made += 1;
        let (verdict, why) = verdict(bytes);
        if matches!(verdict, ProofVerdict::Exact | ProofVerdict::Absent) {
            self.believed.push(format!("{}: {verdict:?} because {why}", name.into()));
        }
    }

    /// The same, and one of the reasons must hold these words.
    pub fn refuse_because(&mut self, name: impl Into<String>, bytes: &[u8], words: &str) {
        self.made += 1;
        let (found, why) = verdict(bytes);
        if matches!(found, ProofVerdict::Exact | ProofVerdict::Absent) || !why.contains(words) {
            self.believed.push(format!("{}: {found:?} because {why}, not `{words}`", name.into()));
        }
    }

    /// Fails with every forgery that was believed.
    pub fn finish(self, at_least: usize) {
        assert!(self.believed.is_empty(), "{} of {}: {:#?}", self.believed.len(), self.made, self.believed);
        assert!(self.made >= at_least, "only {} forgeries", self.made);
    }
}
