//! Texts of any kind, alone and among other bytes: PTX, sources that hold some, Python, base64.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proofmark_proof::{Depth, Policy, examine_to, judge, visit_bytes};
use proofmark_packager::Arch;

fuzz_target!(|bytes: &[u8]| {
    let in_data = [&b"\0\x7fdata\0"[..], bytes, b"\0\0"].concat();
    for (name, bytes) in [("fuzzed.ptx", bytes), ("fuzzed.py", bytes), ("fuzzed.bin", &in_data)] {
        visit_bytes(name, bytes, |specimen| {
            let examination = examine_to(specimen.bytes, Depth::Facts);
            let _ = judge(&examination, None, &Policy::for_file(Arch::SM_100A));
        });
    }
});
