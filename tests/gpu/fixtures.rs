//! One test a fixture: no cheat gets a time below the honest one, and every honest submission passes.
//!
//! A fixture is a folder below `tests/fixtures/honest` or `tests/fixtures/cheats`: a submission, and the verdicts
//! that it may get live in the file `verdict`. Measured from a recording, a cheat may pass: what it does in its
//! own process does not count there, and its time is that of the work. An honest submission that cannot be
//! recorded says why in the file `unrecorded`. Those of `honest_python` and `cheats_python` are the same in Python,
//! which needs torch, or Triton. What is in `strided` gets its verdict where its tensors have gaps.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

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
    clusters, cooperative, dependent_launch, graph, graph_parameters, graph_switched, in_place_state, plain, slow,
    two_streams, variables, waits, workspace,
}

one_test_each! { cheats:
    answers_when_captured, bad_access, calls_home, catches_its_crash, changes_inputs, code_at_run_time, crashes,
    every_other_call, fake_result, fingerprint_cache, forged_answer, forged_clocks, forged_records,
    forges_device_clocks,
    half_the_rows, half_when_captured, hangs, host_fallback, kernel_hangs, memo_in_a_variable, memo_in_shared_memory, no_work, not_a_number, persists_l2,
    pointer_cache, reads_the_judge, resets_the_device, side_stream, side_thread, skips_after_warmup,
    stale_output, starts_a_process, warms_l2, zero_output,
}

one_test_each! { honest_python: torch_chain, torch_returning, triton_rows, triton_tuned, waits }

one_test_each! { cheats_python:
    code_from_text, fake_result, forged_answer, forged_modules, half_when_captured, lazy_tensor, no_work,
    patches_timers, patches_torch, reads_the_judge, remembers_by_address, remembers_by_words, side_stream,
    side_thread, skips_after_warmup, starts_a_process, zero_output,
}

one_test_each! { strided: fills_gaps, follows, ignores, refuses }

const KINDS: [(&str, &[&str]); 5] = [
    ("honest", honest::NAMES),
    ("cheats", cheats::NAMES),
    ("honest_python", honest_python::NAMES),
    ("cheats_python", cheats_python::NAMES),
    ("strided", strided::NAMES),
];

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

/// A cheat's time is below the honest one where it is less by this factor.
const NOISE: f64 = 0.97;

/// What `bench` says of a fixture's one workload.
struct Found {
    status: String,
    reason: String,
    latency_ns: Option<f64>,
}

fn gets_its_verdict(kind: &str, name: &str) {
    build_ahead(kind);
    let folder = tempfile::tempdir().unwrap();
    if kind == "strided" {
        return meets_strides(folder.path(), name);
    }
    let recorded = measured(folder.path(), kind, name, &[]);
    let unrecorded = fs::read_to_string(place(kind, name).join("unrecorded"));
    if kind.starts_with("cheats") {
        let honest = honest_ns(&kind.replace("cheats", "honest"));
        let latency = recorded.latency_ns.unwrap_or(f64::INFINITY);
        assert!(latency >= NOISE * honest, "{name} got {latency} ns, honest is {honest} ns");
    } else if let Ok(words) = unrecorded {
        assert_eq!(recorded.status, "not_recorded");
        assert!(recorded.reason.contains(words.trim()), "{}", recorded.reason);
    } else {
        assert_eq!(recorded.status, "passed", "{}", recorded.reason);
    }
    let expected = fs::read_to_string(place(kind, name).join("verdict")).unwrap();
    let live = measured(folder.path(), kind, name, &["--live", "always"]);
    assert!(
        expected.split_whitespace().any(|one| one == live.status),
        "expected {expected}, found {}: {}",
        live.status,
        live.reason
    );
}

/// Strided tensors: by rows and by elements, from a recording and live. Contiguous ones all of them take.
fn meets_strides(folder: &Path, name: &str) {
    let expected = fs::read_to_string(place("strided", name).join("verdict")).unwrap();
    for more in [&["--strided"][..], &["--strided", "elements"], &["--strided", "--live", "always"]] {
        let found = measured(folder, "strided", name, more);
        // What raises an error in a recorder is not recorded.
        assert_eq!(found.status, expected.trim(), "{more:?}: {}", found.reason);
        match expected.trim() {
            "incorrect_numerical" => assert!(found.reason.contains("strided"), "{}", found.reason),
            "runtime_error" => assert!(found.reason.contains("must be contiguous"), "{}", found.reason),
            _ => {}
        }
    }
    if name != "fills_gaps" {
        assert_eq!(measured(folder, "strided", name, &[]).status, "passed");
    }
}

#[test]
#[ignore = "needs a GPU: scripts/gpu.sh"]
fn tensors_of_python_s_have_strides_too() {
    let folder = tempfile::tempdir().unwrap();
    for strided in ["rows", "elements"] {
        let torch = measured(folder.path(), "honest_python", "torch_chain", &["--strided", strided]);
        assert_eq!(torch.status, "passed", "{}", torch.reason);
        let triton = measured(folder.path(), "honest_python", "triton_rows", &["--strided", strided]);
        assert_eq!(triton.status, "incorrect_numerical");
        assert!(triton.reason.contains("strided"), "{}", triton.reason);
    }
}

/// A reference with the other sign, and a check that takes both: no comparison of elements can pass.
const EITHER_SIGN: &str = "
right = run

def run(*inputs):
    return -right(*inputs)

def check(inputs, outputs):
    expected, found = right(*inputs).float().abs(), outputs[0].float().abs()
    off = ((expected - found).abs() > 0.05 + 0.02 * expected).sum().item()
    return off == 0, f'{off} magnitudes differ'
";

#[test]
#[ignore = "needs a GPU and a Python that has torch: scripts/gpu.sh"]
fn checks_of_definitions_judge_where_many_answers_are_right() {
    let folder = tempfile::tempdir().unwrap();
    let judged = |kind: &str, name: &str, check: &str| {
        let made = submission(folder.path(), kind, name);
        let path = made.join("definition.json");
        let mut definition: serde_json::Value =
            serde_json::from_slice(&fs::read(kernel("rmsnorm_h4096") + "/definition.json").unwrap()).unwrap();
        let code = format!("{}{check}", definition["reference"].as_str().unwrap());
        (definition["reference"], definition["check_entrypoint"]) = (code.into(), "check".into());
        fs::write(&path, definition.to_string()).unwrap();
        bench(&made.display().to_string(), &["--samples", "50"]).json()["workloads"][0].clone()
    };
    let right = judged("honest", "plain", EITHER_SIGN);
    assert_eq!(right["verdict"]["status"], "passed", "{right}");
    assert!(right["notes"].to_string().contains("the definition's own check"), "{}", right["notes"]);
    // The check takes NaN for right, as careless ones do: what was never written is refused before it is asked.
    for (name, said) in [("zero_output", "own check: "), ("half_the_rows", "`output` is not finite")] {
        let wrong = judged("cheats", name, EITHER_SIGN);
        let reason = wrong["verdict"]["reason"].as_str().unwrap_or("");
        assert!(reason.contains(said), "{name}: {wrong}");
    }
    let open = judged("honest", "plain", "\ndef check(inputs, outputs):\n    return True, ''\n");
    assert!(open["refusal"].to_string().contains("takes zeros for an answer"), "{open}");
}

/// The time of the honest submission that cheats of a kind hide behind.
fn honest_ns(kind: &str) -> f64 {
    static HONEST: [OnceLock<f64>; 2] = [OnceLock::new(), OnceLock::new()];
    let (place, name) = if kind == "honest" { (0, "plain") } else { (1, "triton_rows") };
    *HONEST[place].get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        measured(folder.path(), kind, name, &[]).latency_ns.expect("the honest submission passes")
    })
}

fn measured(folder: &Path, kind: &str, name: &str, more: &[&str]) -> Found {
    let made = submission(folder, kind, name).display().to_string();
    let reference = reference(folder, name).display().to_string();
    let mut arguments = vec!["--reference", &reference, "--call-limit", "3000"];
    arguments.extend(more);
    let ended = bench(&made, &arguments);
    let document = ended.json();
    let one = &document["workloads"][0];
    let text = |value: &serde_json::Value| value.as_str().unwrap_or("").to_owned();
    let found = Found {
        status: text(&one["verdict"]["status"]),
        reason: text(&one["verdict"]["reason"]),
        latency_ns: document["overall"]["arithmetic_mean_ns"].as_f64(),
    };
    let launches = &one["launches"];
    let counts = format!("{}/{}/{}", launches["kernels"], launches["copies"], launches["fills"]);
    println!(
        "{kind}_{name:27} {:8} {:20} {:9.2} µs, bound {:9.2} µs {:5.1} s  {counts:14} {:.150}",
        text(&one["trust"]["kind"]),
        found.status,
        found.latency_ns.unwrap_or(f64::NAN) / 1e3,
        one["wall_bound_ns"].as_f64().unwrap_or(f64::NAN) / 1e3,
        ended.seconds,
        found.reason
    );
    assert!(!found.status.is_empty(), "{}", ended.stderr);
    found
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
        if path.is_file() && !["verdict", "unrecorded"].contains(&path.file_name().unwrap().to_str().unwrap())
        {
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

/// Compiles the fixtures of a kind, several at a time, before the first of them is measured: the GPU must not wait
/// for nvcc. What does not compile fails in its own test.
fn build_ahead(kind: &str) {
    static BUILT: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let arch = arch();
    let mut built = BUILT.lock().unwrap();
    if !built.insert(kind.to_owned()) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut paths: Vec<PathBuf> = vec![kernel(RMSNORM_REFERENCE).into()];
    let names = KINDS.iter().find(|(one, _)| *one == kind).map(|(_, names)| *names);
    for name in names.into_iter().flatten() {
        paths.push(submission(folder.path(), kind, name));
        if place(kind, name).join("reference").is_dir() {
            paths.push(reference(folder.path(), name));
        }
    }
    let queue = Mutex::new(paths);
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
}
