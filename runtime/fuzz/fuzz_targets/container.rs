//! Entries of any shape: the bytes become the body of a well-formed container, or stand as they are.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proofmark_proof::{Policy, examine, judge};

fuzz_target!(|bytes: &[u8]| {
    let mut wrapped = vec![0x50, 0xED, 0x55, 0xBA, 1, 0, 16, 0];
    wrapped.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    wrapped.extend_from_slice(bytes);
    for candidate in [bytes, &wrapped] {
        let examination = examine(candidate);
        let _ = judge(&examination, None, &Policy::for_file(proofmark_packager::Arch::SM_100A));
    }
});
