//! Every sealed artifact of the repository replays, one test each.

use std::collections::BTreeSet;
use std::fs;

use proofmark_packager::format::BUILD_EVIDENCE;
use serde_json::Value;

use crate::support::{Sandbox, repository};

/// Builds what is sealed and compares its device code. What this suite, with this very binary, built of the
/// same sources before is a rebuild too.
fn replays(name: &str) {
    let sandbox = Sandbox::sharing_builds();
    let path = repository().join("solutions").join(name).display().to_string();
    let outcome = sandbox.build(["replay", &path, "--cached", "--no-measure", "--json"]);
    let (code, json) = (outcome.code, outcome.json());
    assert_eq!(json["device_code_identical"], true, "{}", json["comparison"]);
    // Some were sealed with another host compiler, which nothing here can confirm.
    assert_eq!(code, i32::from(json["identical"] != true));
}

macro_rules! artifacts {
    ($($test:ident: $file:literal,)+) => {
        const ARTIFACTS: &[&str] = &[$($file),+];
        $(
            #[test]
            fn $test() {
                replays($file);
            }
        )+
    };
}

artifacts! {
    gdn_decode_0c1bddef06c8_sm_90a_h200: "gdn_decode-0c1bddef06c8-sm_90a-h200.zip",
    gdn_decode_0c1bddef06c8: "gdn_decode-0c1bddef06c8.zip",
    gdn_decode_0e4c2c8c7601_sm_90a: "gdn_decode-0e4c2c8c7601-sm_90a.zip",
    gdn_decode_0e4c2c8c7601: "gdn_decode-0e4c2c8c7601.zip",
    gdn_decode_a2fb7a1b80a0_sm_90a_h200: "gdn_decode-a2fb7a1b80a0-sm_90a-h200.zip",
    gdn_decode_a2fb7a1b80a0: "gdn_decode-a2fb7a1b80a0.zip",
    gdn_decode_aa52295c0960: "gdn_decode-aa52295c0960.zip",
    gdn_decode_reference_34a9417eed76: "gdn_decode_reference-34a9417eed76.zip",
    gdn_decode_straightforward_264a77956baf_sm_90a_h200: "gdn_decode_straightforward-264a77956baf-sm_90a-h200.zip",
    gdn_decode_straightforward_264a77956baf_sm_90a: "gdn_decode_straightforward-264a77956baf-sm_90a.zip",
    gdn_decode_straightforward_264a77956baf: "gdn_decode_straightforward-264a77956baf.zip",
    rmsnorm_e3bbbc890b80: "rmsnorm-e3bbbc890b80.zip",
    rmsnorm_reference_61ab62d0ffdb: "rmsnorm_reference-61ab62d0ffdb.zip",
}

#[test]
fn every_sealed_artifact_has_a_test() {
    let files = fs::read_dir(repository().join("solutions")).unwrap().map(|entry| entry.unwrap().file_name());
    let files: BTreeSet<String> = files.map(|name| name.into_string().unwrap()).collect();
    let sealed: BTreeSet<&str> =
        files.iter().map(String::as_str).filter(|name| name.strip_suffix(".zip").is_some()).collect();
    assert_eq!(
        sealed,
        ARTIFACTS.iter().copied().collect(),
        "what solutions/ holds, and what this file tests"
    );
}

/// The kernels as they are now are sealed in `solutions/`, and the README shows what came out.
#[test]
fn the_readme_shows_the_image_of_the_kernel_that_is_sealed() {
    let kernel = repository().join("kernels/gdn_decode_qk4_v8_d128_k_last/one_pass");
    let name = proofmark_packager::open::open(&kernel).unwrap().bundle.artifact.file_name();
    let sealed = proofmark_packager::open::open(&repository().join("solutions").join(&name)).unwrap().bundle;
    let build: Value = serde_json::from_slice(sealed.evidence.get(BUILD_EVIDENCE).unwrap()).unwrap();
    let image = build["device_images"][0]["sha256"].as_str().unwrap();
    let readme = fs::read_to_string(repository().join("README.md")).unwrap();
    assert!(readme.contains(&format!("image      sm_100a {image}")), "README.md lacks {image} of {name}");
}
