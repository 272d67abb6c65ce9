//! Archives and host ELF files, as they are.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proofmark_proof::{Policy, examine, judge};

fuzz_target!(|bytes: &[u8]| {
    let mut archive = b"!<arch>\n".to_vec();
    archive.extend_from_slice(bytes);
    for candidate in [bytes, &archive] {
        let examination = examine(candidate);
        let _ = judge(&examination, None, &Policy::for_build(proofmark_packager::Arch::SM_100A));
    }
});
