//! An honest library or object with anything changed around its fat binary, or appended: while it is exact, the
//! driver gets the code that it got before. Each edit takes eleven bytes: kind, where, and what.
#![no_main]

use std::ops::Range;

use libfuzzer_sys::fuzz_target;
use proofmark_proof::{Depth, Policy, ProofVerdict, examine_to, judge};
use proofmark_packager::Arch;

#[path = "../../../tests/support/image.rs"]
mod image;

const LIBRARY: &[u8] = include_bytes!("../../../tests/fixtures/proof/exact_13.0.so");
const OBJECT: &[u8] = include_bytes!("../../../tests/fixtures/proof/exact_13.0.o");
/// Where their fat binaries are, as `readelf -S` tells it.
const IN_LIBRARY: Range<usize> = 0x2018..0x3678;
const IN_OBJECT: Range<usize> = 0x400..0x1a60;

/// What is registered once a library is loaded, at the address of the wrapper.
fn loaded(file: &[u8]) -> Option<Vec<u8>> {
    image::registered(file, 0x5070)
}

/// What is registered once an object is linked: the section of code, and where in it the wrapper is named. Code that
/// no relocation reaches registers nothing, which changes nothing.
fn linked(file: &[u8]) -> Option<Vec<u8>> {
    let (code, place) = (2, 0x352);
    let file = if image::is_relocated(file, code, place) { file } else { OBJECT };
    image::linked(file, code, place)
}

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, edits)) = bytes.split_first() else { return };
    let (honest, fatbin, get): (_, _, fn(&[u8]) -> _) =
        if choice & 1 == 0 { (LIBRARY, IN_LIBRARY, loaded) } else { (OBJECT, IN_OBJECT, linked) };
    let mut forged = honest.to_vec();
    for edit in edits.chunks_exact(11) {
        let width = match edit[0] % 8 {
            0 => {
                forged.extend_from_slice(&edit[3..]);
                continue;
            }
            1..=3 => 1,
            4 => 2,
            5 => 4,
            _ => 8,
        };
        // What is read as numbers stands at multiples of their size.
        let at = usize::from(u16::from_le_bytes([edit[1], edit[2]])) % honest.len() / width * width;
        if at + width <= honest.len() && (at + width <= fatbin.start || at >= fatbin.end) {
            forged[at..at + width].copy_from_slice(&edit[3..3 + width]);
        }
    }
    let judgement = judge(&examine_to(&forged, Depth::Facts), None, &Policy::for_file(Arch::SM_100A));
    if judgement.verdict() == ProofVerdict::Exact {
        let before = get(honest).expect("an honest build");
        assert!(get(&forged) == Some(before), "exact, but other code is loaded");
    }
});
