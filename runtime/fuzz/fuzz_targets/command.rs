//! Commands, ninja files, compilation databases and logs.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proofmark::proof::{RequestedClaim, claim_in_compile_commands, claim_in_log, claim_in_ninja};

fuzz_target!(|text: &str| {
    let _ = RequestedClaim::from_command(text.split(' '));
    let _ = claim_in_ninja(text);
    let _ = claim_in_compile_commands(text);
    let _ = claim_in_log(text);
});
