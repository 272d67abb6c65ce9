//! One test a fixture: every cheat is caught, and every honest submission passes.
//!
//! A fixture is a folder below `tests/fixtures/honest` or `tests/fixtures/cheats`: a submission, and
//! the verdicts that it may get in the file `verdict`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, Once};

use super::{RMSNORM_REFERENCE, arch, bench, kernel, proofmark};
use crate::support::repository;

/// Makes a module of the kind's name with a test for each fixture that is named.
macro_rules! one_test_each {
    ($kind:ident: $($name:ident),+ $(,)?) => {
        mod $kind {
            pub(super) const NAMES: &[&str] = &[$(stringify!($name)),+];
            $(
                #[test]
                #[ignore = "needs a GPU: scripts/gpu.sh"]
                fn $name() {
                    super::gets_its_verdict(stringify!($kind), stringify!($name));
                }
            )+
        }
    };
}

one_test_each! { honest:
    graph, in_place_state, plain, slow, two_streams, waits, workspace,
}

one_test_each! { cheats:
    bad_access, calls_home, catches_its_crash, changes_inputs, code_at_run_time, crashes,
    every_other_call, fake_result, fingerprint_cache, forged_answer, forged_clocks, forged_records,
    half_the_rows, hangs, host_fallback, kernel_hangs, no_work, not_a_number, persists_l2,
    pointer_cache, reads_the_judge, resets_the_device, side_stream, side_thread, skips_after_warmup,
    stale_output, starts_a_process, warms_l2, zero_output,
}

const KINDS: [(&str, &[&str]); 2] = [("honest", honest::NAMES), ("cheats", cheats::NAMES)];

#[test]
fn every_fixture_has_a_test() {
    for (kind, names) in KINDS {
        let folders = fs::read_dir(place(kind, "")).unwrap().map(|entry| entry.unwrap().file_name());
        let folders: BTreeSet<String> = folders.map(|name| name.into_string().unwrap()).collect();
        let named: BTreeSet<String> = names.iter().map(|&name| name.to_owned()).collect();
        assert_eq!(folders, named, "tests/fixtures/{kind} and the list in tests/gpu/fixtures.rs differ");
        for name in names {
            assert!(place(kind, name).join("verdict").is_file(), "{kind}/{name} has no file `verdict`");
        }
    }
}

fn place(kind: &str, name: &str) -> PathBuf {
    repository().join("tests/fixtures").join(kind).join(name)
}

fn gets_its_verdict(kind: &str, name: &str) {
    build_ahead();
    let folder = tempfile::tempdir().unwrap();
    let expected = fs::read_to_string(place(kind, name).join("verdict")).unwrap();
    let made = submission(folder.path(), kind, name).display().to_string();
    let reference = reference(folder.path(), name).display().to_string();
    let ended = bench(&made, &["--reference", &reference, "--call-limit", "3000"]);
    let document = ended.json();
    let one = &document["workloads"][0];
    let found = one["verdict"]["status"].as_str().unwrap_or("none");
    let reason = one["verdict"]["reason"].as_str().unwrap_or("");
    let launches = &one["launches"];
    let counts = format!("{}/{}/{}", launches["kernels"], launches["copies"], launches["fills"]);
    println!("{kind}_{name:27} {found:20} {:5.1} s  {counts:14} {reason:.150}", ended.seconds);
    assert!(
        expected.split_whitespace().any(|one| one == found),
        "expected {expected}, found {found}: {reason} {}",
        ended.stderr
    );
}

fn submission(folder: &Path, kind: &str, name: &str) -> PathBuf {
    fixture(folder, &place(kind, name), &format!("{kind}_{name}"))
}

/// A submission folder made of a fixture and the header that all share.
pub(super) fn fixture(folder: &Path, place: &Path, name: &str) -> PathBuf {
    let made = folder.join(name);
    fs::create_dir_all(&made).unwrap();
    for entry in fs::read_dir(place).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() && path.file_name().unwrap() != "verdict" {
            fs::copy(&path, made.join(path.file_name().unwrap())).unwrap();
        }
    }
    fs::copy(place.join("../../rows.cuh"), made.join("rows.cuh")).unwrap();
    if !made.join("definition.json").exists() {
        fs::copy(kernel("rmsnorm_h4096") + "/definition.json", made.join("definition.json")).unwrap();
        fs::copy(place.join("../../workloads.jsonl"), made.join("workloads.jsonl")).unwrap();
    }
    made
}

/// What a fixture is judged against: its own reference where it brings a definition, else that of the
/// kernel whose definition all others share.
fn reference(folder: &Path, name: &str) -> PathBuf {
    let place = place("honest", name);
    if !place.join("reference").is_dir() {
        return kernel(RMSNORM_REFERENCE).into();
    }
    let made = folder.join("reference");
    fs::create_dir_all(&made).unwrap();
    for name in ["config.toml", "definition.json"] {
        fs::copy(place.join(name), made.join(name)).unwrap();
    }
    fs::copy(place.join("reference/kernel.cu"), made.join("kernel.cu")).unwrap();
    fs::copy(place.join("../../rows.cuh"), made.join("rows.cuh")).unwrap();
    made
}

/// Compiles every fixture, several at a time, before the first is measured: the GPU must not wait for
/// nvcc. What does not compile fails in its own test.
fn build_ahead() {
    static BUILT: Once = Once::new();
    BUILT.call_once(|| {
        let folder = tempfile::tempdir().unwrap();
        let mut paths: Vec<PathBuf> = vec![kernel(RMSNORM_REFERENCE).into()];
        for (kind, names) in KINDS {
            for name in names {
                paths.push(submission(folder.path(), kind, name));
                if place(kind, name).join("reference").is_dir() {
                    paths.push(reference(folder.path(), name));
                }
            }
        }
        let (arch, queue) = (arch(), Mutex::new(paths));
        std::thread::scope(|scope| {
            for _ in 0..std::thread::available_parallelism().map_or(2, usize::from).min(12) {
                scope.spawn(|| {
                    loop {
                        let Some(path) = queue.lock().unwrap().pop() else { return };
                        proofmark(&["build", &path.display().to_string(), "--arch", &arch, "--offline"]);
                    }
                });
            }
        });
    });
}
