//! The kernels of this repository as far as no GPU is needed: their copies, and their host code.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use proofmark::toolchain::data_folder::DataFolder;
use proofmark::toolchain::{FileDigests, Search, find};

use crate::support::{Sandbox, data_folder, repository};

fn kernel(name: &str) -> PathBuf {
    repository().join("kernels").join(name)
}

/// A submission's folder has to be complete, so submissions hold copies of what they have in common.
#[track_caller]
fn assert_copies(file: &str, folders: [&str; 2]) {
    let [one, other] = folders.map(|folder| fs::read_to_string(kernel(folder).join(file)).unwrap());
    assert!(one == other, "{file} differs between {} and {}", folders[0], folders[1]);
}

#[test]
fn submissions_hold_the_same_copy_of_what_checks_a_call() {
    assert_copies(
        "arguments.h",
        ["gdn_decode_qk4_v8_d128_k_last/one_pass", "gdn_decode_qk4_v8_d128_k_last/warp_per_row"],
    );
}

#[test]
fn references_hold_the_same_copy_of_what_shows_tensors_as_float64() {
    assert_copies("float64_view.h", ["gdn_decode_qk4_v8_d128_k_last/reference", "rmsnorm_h4096/reference"]);
}

/// `#include` takes a macro, so the fixture finds the headers wherever they lie.
fn header(name: &str, path: &Path) -> String {
    format!("-D{name}=\"{}\"", path.display())
}

#[test]
fn wrong_calls_of_gdn_decode_are_refused_and_the_reference_computes_the_definition() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("program");
    proofmark::sandbox::announce_launcher(env!("CARGO_BIN_EXE_proofmark"));
    let mut search =
        Search::from_variables(|name: &str| (name == "PATH").then(|| std::env::var_os(name)).flatten());
    search.data = Some(DataFolder::at(data_folder()));
    search.system = PathBuf::from("/nonexistent");
    let toolchain = find(&search, &mut FileDigests::forgetful()).expect("the pinned toolchain");
    let libraries = toolchain.tvm_ffi.library().parent().unwrap().to_owned();
    let compiled = Command::new("g++")
        .args(["-O1", "-std=c++17", "-I"])
        .arg(toolchain.tvm_ffi.include_folder())
        .arg("-isystem")
        .arg(toolchain.home().join("include"))
        .arg(header("REFERENCE", &kernel("gdn_decode_qk4_v8_d128_k_last/reference/step.h")))
        .arg(header("SUBMISSION", &kernel("gdn_decode_qk4_v8_d128_k_last/one_pass/arguments.h")))
        .arg(repository().join("tests/fixtures/cpu/gdn_decode/main.cpp"))
        .arg("-o")
        .arg(&program)
        .arg("-L")
        .arg(&libraries)
        .arg("-ltvm_ffi")
        .output()
        .expect("g++ is installed");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let ran = Command::new(&program).env("LD_LIBRARY_PATH", &libraries).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stdout));
}

/// Without these refusals the access would compile to nothing, and the kernel compute on nothing.
#[test]
fn an_access_without_a_body_does_not_compile() {
    let sandbox = Sandbox::new();
    for entry in fs::read_dir(kernel("gdn_decode_qk4_v8_d128_k_last/one_pass")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            sandbox.write(Path::new("mine").join(path.file_name().unwrap()), fs::read(path).unwrap());
        }
    }
    let old = sandbox.build(["build", "mine", "--arch", "sm_80"]).expect(1);
    assert!(old.stderr.contains("expected sm_90 or later"), "{old:#?}");
    let text = fs::read_to_string(sandbox.path("mine/memory.h")).unwrap();
    let too_wide = text.replace("kWidestAccess = 1;", "kWidestAccess = 2;");
    assert_ne!(too_wide, text);
    sandbox.write("mine/memory.h", too_wide);
    let wide = sandbox.build(["build", "mine", "--arch", "sm_90a"]).expect(1);
    for part in ["before sm_100 load 16 bytes at once", "before sm_100 store 16 bytes at once"] {
        assert!(wide.stderr.contains(part), "{wide:#?}");
    }
}
