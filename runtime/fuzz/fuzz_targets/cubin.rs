//! Cubins: the ELF identification is put right, so that the rest is reached.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proofmark_proof::{Policy, examine, judge};

fuzz_target!(|bytes: &[u8]| {
    let mut image = bytes.to_vec();
    if image.len() >= 20 {
        image[..9].copy_from_slice(b"\x7FELF\x02\x01\x01\x41\x08");
        image[16..20].copy_from_slice(&[2, 0, 190, 0]);
    }
    let examination = examine(&image);
    let _ = judge(&examination, None, &Policy::for_file(proofmark_packager::Arch::SM_100A));
    for kernel in examination.entries.iter().flat_map(|entry| &entry.cubin).flat_map(|cubin| &cubin.kernels) {
        let _ = kernel.demangled();
    }
});
