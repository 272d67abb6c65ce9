//! Zips, wheels, tars and compressed streams, also in each other.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proofmark_proof::{Depth, examine_to, visit_bytes};

fuzz_target!(|bytes: &[u8]| {
    visit_bytes("fuzzed.zip", bytes, |specimen| {
        let _ = examine_to(specimen.bytes, Depth::Facts);
    });
});
