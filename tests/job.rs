//! A job as a document: what one machine writes, another does.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::support::{Sandbox, repository, run, schema};

const KERNEL: &str = "#include <tvm/ffi/c_api.h>\n__global__ void nothing() {}\nextern \"C\" TVM_FFI_DLL_EXPORT int __tvm_ffi_run(void*, const TVMFFIAny*, int32_t, TVMFFIAny*) {\n  nothing<<<1, 1>>>();\n  return 0;\n}\n";

fn run_document(sandbox: &Sandbox, document: &str) -> (Option<i32>, Value, String) {
    let mut child = sandbox
        .builder()
        .args(["job", "run", "-", "--offline"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    child.stdin.take().expect("piped").write_all(document.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let stdout = String::from_utf8(output.stdout).expect("UTF-8");
    let document = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}"));
    schema::check(&document);
    (output.status.code(), document, String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_build_as_a_document_is_the_build_itself_on_any_machine() {
    let here = Sandbox::new();
    let folder = here.submission("mine", &[("kernel.cu", KERNEL)]).display().to_string();
    let job = here.run(["build", &folder, "--as-job"]).expect(0).stdout;
    let built = here.build(["build", &folder, "--json"]).expect(0).json();
    let there = Sandbox::new();
    let (code, outcome, _) = run_document(&there, &job);
    assert_eq!(code, Some(0), "{outcome:#}");
    assert_eq!(outcome["schema"], "proofmark.outcome");
    assert_eq!((&outcome["verdict"], &outcome["exit_code"]), (&"proven".into(), &0.into()));
    assert_eq!(outcome["library_sha256"], built["library_sha256"]);
    let document: Value = serde_json::from_str(&job).unwrap();
    assert_eq!(outcome["run_id"], document["run_id"]);
    assert_eq!(document["action"]["subject"]["digest"], built["digest"]);
}

#[test]
fn a_finding_is_an_outcome_and_one_document() {
    let sandbox = Sandbox::new();
    let folder = sandbox.submission("broken", &[("kernel.cu", "not C++")]).display().to_string();
    let job = sandbox.run(["build", &folder, "--as-job"]).expect(0).stdout;
    let (code, outcome, _) = run_document(&sandbox, &job);
    assert_eq!((code, &outcome["verdict"]), (Some(1), &"compile_error".into()), "{outcome:#}");
    assert_eq!(outcome["cache"], "miss");
    // Asked again at once, the compiler does not run again, and both forms of the answer say so.
    let again = sandbox.build(["build", &folder, "--json"]).expect(1).json();
    assert_eq!((&again["cache"], &again["diagnostics"]), (&"remembered".into(), &outcome["diagnostics"]));
    let words = sandbox.build(["build", &folder]).expect(1).stdout;
    assert!(words.contains("some seconds ago"), "{words}");
    assert_eq!(sandbox.build(["build", &folder, "--fresh", "--json"]).expect(1).json()["cache"], "miss");
}

#[test]
fn a_seal_as_a_document_gives_the_file_that_the_verb_writes() {
    let here = Sandbox::new();
    let folder = here.submission("mine", &[("kernel.cu", KERNEL)]).display().to_string();
    let job = here.run(["seal", &folder, "--as-job"]).expect(0).stdout;
    here.build(["seal", &folder, "-o", "here.zip"]).expect(0);
    let there = Sandbox::new();
    there.write("job.json", &job);
    let there_says = there.build(["job", "run", "job.json", "--offline", "--output", "there.zip"]).expect(0);
    let sealed = fs::read(here.path("here.zip")).unwrap();
    assert_eq!(fs::read(there.path("there.zip")).unwrap(), sealed);
    let outcome = there_says.json();
    assert_eq!(outcome["sealed"]["zip"].as_str(), Some(STANDARD.encode(&sealed).as_str()));
    // Where the file cannot be written, the document is given out all the same.
    let kept =
        there.build(["job", "run", "job.json", "--offline", "--output", "nowhere/there.zip"]).expect(3);
    assert!(kept.stderr.contains("the artifact is in the document alone"), "{}", kept.stderr);
    assert_eq!(kept.json()["sealed"], outcome["sealed"]);
    // Only a seal has something to write.
    here.write("build.json", here.run(["build", &folder, "--as-job"]).expect(0).stdout);
    let refused = here.run(["job", "run", "build.json", "--output", "x.zip"]).expect(2);
    assert!(refused.stderr.contains("seals nothing") && !here.path("x.zip").exists(), "{}", refused.stderr);
}

#[test]
fn a_large_library_travels_in_a_document() {
    let sandbox = Sandbox::new();
    let task = repository().join("kernels/rmsnorm_h4096");
    let [definition, reference] =
        ["definition.json", "reference"].map(|name| task.join(name).display().to_string());
    sandbox.write("large.so", vec![0x7f; 26 << 20]);
    let bench = ["bench", "large.so", "--definition", &definition, "--reference", &reference, "--as-job"];
    sandbox.write("job.json", sandbox.run(bench).expect(0).stdout);
    let mut command = sandbox.command();
    let said =
        run(command.env("CUDA_VISIBLE_DEVICES", "").args(["job", "run", "job.json", "--offline"])).expect(3);
    assert!(!said.stderr.contains("larger than"), "{}", said.stderr);
}

#[test]
fn a_document_that_is_no_job_or_was_changed_is_refused_by_name() {
    let sandbox = Sandbox::new();
    let folder = sandbox.submission("mine", &[("kernel.cu", KERNEL)]).display().to_string();
    let job = sandbox.run(["build", &folder, "--as-job"]).expect(0).stdout;
    let digest = serde_json::from_str::<Value>(&job).unwrap()["action"]["subject"]["digest"].clone();
    let forged = job.replace(digest.as_str().unwrap(), &"0".repeat(64));
    let newer = job.replacen("\"schema_version\": 1", "\"schema_version\": 2", 1);
    let twice = job.replacen("\"freshness\"", "\"freshness\": \"fresh\", \"freshness\"", 1);
    let unknown = job.replacen("\"freshness\"", "\"extra\": 1, \"freshness\"", 1);
    let cases = [
        (forged.as_str(), "digest"),
        (newer.as_str(), "reads version 1"),
        (unknown.as_str(), "extra"),
        ("{}", "proofmark.job"),
        (twice.as_str(), "`freshness` stands twice"),
        ("nonsense", "not a job"),
        ("", "not a job"),
    ];
    for (document, said) in cases {
        let (code, answer, _) = run_document(&sandbox, document);
        assert_eq!(code, Some(2), "{said}: {answer:#}");
        assert!(answer["error"].as_str().is_some_and(|error| error.contains(said)), "{said}: {answer:#}");
    }
}

#[test]
fn a_measuring_job_carries_definition_workloads_and_reference_and_says_where_a_gpu_is_missing() {
    let sandbox = Sandbox::new();
    let kernel = repository().join("kernels/rmsnorm_h4096/block_per_row").display().to_string();
    let job = sandbox.run(["bench", &kernel, "--as-job", "--batch", "1", "--seed", "18446744073709551615"]);
    let document = job.expect(0).json();
    let measuring = &document["action"]["measuring"];
    assert_eq!(measuring["task"]["definition"]["name"], "rmsnorm_h4096");
    assert!(!measuring["task"]["workloads"].as_array().unwrap().is_empty());
    assert_eq!(measuring["reference"]["input"]["kind"], "artifact");
    assert_eq!(measuring["seed"], "18446744073709551615", "a JSON number would lose its last bits");
    let mut nothing = document.clone();
    nothing["action"]["measuring"]["task"]["workloads"] = Value::Array(Vec::new());
    let (code, answer, _) = run_document(&sandbox, &nothing.to_string());
    assert_eq!(code, Some(2), "{answer:#}");
    assert!(answer["error"].as_str().unwrap().contains("no workload to measure"), "{answer:#}");
    for (place, value, said) in [
        ("/task/tolerance/atol", json!(-1.0), "the tolerance is -1"),
        ("/task/tolerance/required_matched_ratio", json!(1.5), "a share from 0 to 1"),
        ("/call_limit_ms", json!(0), "at least 1 ms"),
        ("/samples", json!(1_000_000_000_000_u64), "1 to 1000000"),
    ] {
        let mut forged = document.clone();
        *forged["action"]["measuring"].pointer_mut(place).expect(place) = value;
        let (code, answer, _) = run_document(&sandbox, &forged.to_string());
        assert_eq!(code, Some(2), "{place}: {answer:#}");
        assert!(answer["error"].as_str().unwrap().contains(said), "{place}: {answer:#}");
    }
    let mut command = sandbox.command();
    command.env("CUDA_VISIBLE_DEVICES", "").args(["job", "run", "--offline"]);
    let path = sandbox.write("job.json", document.to_string());
    let output = command.arg(path).output().expect("the binary starts");
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A submission that brings no reference, and the options that name what it is for.
fn without_reference(sandbox: &Sandbox, passes_outputs: bool) -> Vec<String> {
    let task = repository().join("kernels/rmsnorm_h4096");
    fs::create_dir(sandbox.path("mine")).unwrap();
    for entry in fs::read_dir(task.join("block_per_row")).unwrap().flatten() {
        fs::copy(entry.path(), sandbox.path("mine").join(entry.file_name())).unwrap();
    }
    let text = fs::read_to_string(sandbox.path("mine/config.toml")).unwrap();
    let passes = |value: bool| format!("destination_passing_style = {value}");
    sandbox.write("mine/config.toml", text.replace(&passes(true), &passes(passes_outputs)));
    let named = |option: &str, file: &str| [option.to_owned(), task.join(file).display().to_string()];
    [named("--definition", "definition.json"), named("--workloads", "workloads.jsonl")].concat()
}

#[test]
fn what_a_job_says_does_not_depend_on_the_python_of_the_machine_that_writes_it() {
    let sandbox = Sandbox::new();
    let task = without_reference(&sandbox, true);
    for verb in ["bench", "seal"] {
        let job = |python: &str| {
            let mut command = sandbox.command();
            command.args([verb, "mine", "--as-job", "--seed", "1", "--python", python]).args(&task);
            let mut document = run(&mut command).expect(0).json();
            document["run_id"].take();
            document
        };
        let document = job("python3");
        assert_eq!(document, job("/nonexistent/python"));
        let action = &document["action"];
        let measuring = if verb == "seal" { &action["measure"]["measuring"] } else { &action["measuring"] };
        assert_eq!(measuring["reference"]["kind"], "definition", "{action:#}");
    }
}

#[test]
fn what_returns_its_outputs_is_sealed_and_is_measured_by_no_door() {
    let sandbox = Sandbox::new();
    let task = without_reference(&sandbox, false);
    let seal = ["seal", "mine", "--as-job"].map(str::to_owned);
    sandbox.run(seal.iter().chain(&task)).expect(0);
    let kernel = repository().join("kernels/rmsnorm_h4096/block_per_row").display().to_string();
    let calls: [&[&str]; 4] = [
        &["bench", "mine", "--as-job"],
        &["bench", &kernel, "--reference", "mine", "--as-job"],
        &["compare", &kernel, "mine", "--as-job"],
        &["fleet", "plan", "mine", "--verb", "bench"],
    ];
    for call in calls {
        let refused = sandbox.run(call.iter().map(|&word| word.to_owned()).chain(task.clone())).expect(2);
        assert!(refused.stderr.contains("returns its outputs"), "{call:?}: {}", refused.stderr);
    }
}

#[test]
fn what_a_document_says_of_itself_stays_in_its_line_and_moves_no_terminal() {
    let sandbox = Sandbox::new();
    let said = "build\u{9b}2J\u{202e}\nverdict passed";
    let forged = json!({
        "schema": "proofmark.job", "schema_version": 1, "run_id": "0".repeat(32), "arch": "sm_100a",
        "freshness": "cached", "action": { "verb": said },
    });
    let path = sandbox.write("job.json", forged.to_string());
    let ran = sandbox.run(["job", "run", "--json", &path.display().to_string()]).expect(2);
    for printed in [&ran.stdout, &ran.stderr] {
        assert!(!printed.contains(['\u{9b}', '\u{202e}']), "{printed}");
        assert!(!printed.lines().any(|line| line.starts_with("verdict")), "{printed}");
    }
    assert!(ran.json()["error"].as_str().unwrap().contains("verdict passed"), "{}", ran.stdout);
}

#[test]
fn a_comparison_says_that_the_candidates_own_task_is_passed_over() {
    let sandbox = Sandbox::new();
    let task = repository().join("kernels/rmsnorm_h4096");
    let other = sandbox.path("other");
    fs::create_dir(&other).unwrap();
    for name in ["config.toml", "kernel.cu"] {
        fs::copy(task.join("block_per_row").join(name), other.join(name)).unwrap();
    }
    let definition = fs::read_to_string(task.join("definition.json")).unwrap();
    fs::write(other.join("definition.json"), definition.replacen("row of 4096 numbers", "row", 1)).unwrap();
    let (kernel, other) = (task.join("block_per_row").display().to_string(), other.display().to_string());
    let both = sandbox.run(["compare", &kernel, &other, "--as-job"]).expect(0);
    assert!(both.stderr.contains("B brings its own definition"), "{}", both.stderr);
    let same = sandbox.run(["compare", &kernel, &kernel, "--as-job"]).expect(0);
    assert!(!same.stderr.contains("brings its own"), "{}", same.stderr);
}
