//! Commands, and what build systems and logs keep of them: one text in the place of each.
#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;
use proofmark_proof::{RequestedClaim, claim_of_file, requests_in_folder};

fuzz_target!(|text: &str| {
    let _ = RequestedClaim::from_command(text.split(' '));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let target = folder.path().join("CMakeFiles/k.dir");
    fs::create_dir_all(&target).expect("a folder");
    for name in ["build.ninja", "compile_commands.json", "build.log", "rules.ninja", "k.rsp"] {
        fs::write(folder.path().join(name), text).expect("a file");
    }
    for name in ["build.make", "flags.make"] {
        fs::write(target.join(name), text).expect("a file");
    }
    for name in ["build.ninja", "compile_commands.json", "build.log"] {
        let _ = claim_of_file(&folder.path().join(name));
    }
    let _ = requests_in_folder(folder.path());
});
