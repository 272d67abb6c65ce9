//! The one suite: it drives the `proofmark` binary as its users do.

mod agents;
mod attestation;
mod boards;
mod book;
mod breakouts;
mod buckets;
mod build_room;
mod cache_room;
mod capture;
mod challenge;
mod ci_use;
mod command_line;
mod documents;
mod fleet;
mod gpu;
mod hostile_input;
mod human_output;
mod job;
mod kernels;
mod kits;
mod ledger;
mod line;
mod measuring_documents;
mod packing;
mod player;
mod profile;
mod python;
mod reader_budgets;
mod recording;
mod remote;
mod report;
mod sandbox;
mod schemas;
mod shared_cache;
mod shelf;
mod solutions;
mod support;
mod surface;
mod tampering;
mod toolchain_room;
mod verify;
mod verify_bytes;
mod verify_embedded;
mod verify_inputs;
mod verify_labels;
mod verify_linking;
mod verify_loader;
mod verify_mutations;
mod verify_packing;
mod verify_property;
mod verify_registration;
mod verify_release;
mod verify_requests;

/// A file that no `mod` line names would never run.
#[test]
fn no_test_file_is_forgotten() {
    let tests = support::repository().join("tests");
    let suite = std::fs::read_to_string(tests.join("suite.rs")).expect("this file");
    for entry in std::fs::read_dir(&tests).expect("the tests folder") {
        let path = entry.expect("readable").path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).expect("a plain name");
        let is_rust = path.extension().is_some_and(|extension| extension == "rs");
        if is_rust && stem != "suite" {
            assert!(
                suite.contains(&format!("\nmod {stem};")),
                "tests/{stem}.rs has no `mod` line in suite.rs"
            );
        }
    }
}
