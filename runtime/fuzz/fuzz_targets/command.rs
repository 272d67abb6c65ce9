//! Commands, ninja files, compilation databases and logs.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proofmark::proof::{RequestedClaim, claim_of_file};

fuzz_target!(|text: &str| {
    let _ = RequestedClaim::from_command(text.split(' '));
    let folder = tempfile::tempdir().expect("a temporary folder");
    for name in ["build.ninja", "compile_commands.json", "build.log"] {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("a file");
        let _ = claim_of_file(&path);
    }
});
