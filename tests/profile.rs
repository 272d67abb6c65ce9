//! `profile` with a program in Nsight Compute's place, which runs what it is to profile and writes a page.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::Value;

use crate::support::{Outcome, Sandbox, run};

const KERNEL: &str = "#include <tvm/ffi/c_api.h>\n__global__ void scale(float* x) { *x *= 2.0f; }\n\
    extern \"C\" TVM_FFI_DLL_EXPORT int __tvm_ffi_run(void*, const TVMFFIAny*, int32_t, TVMFFIAny*) {\n\
    scale<<<1, 1>>>(nullptr);\n  return 0;\n}\n";
const DEFINITION: &str = r#"{"name": "sample_definition", "op_type": "elementwise", "axes": {"n": {"type": "var"}},
    "inputs": {"x": {"shape": ["n"], "dtype": "float32"}}, "outputs": {"y": {"shape": ["n"], "dtype": "float32"}},
    "reference": "def run(x):\n    return x * 2\n"}"#;

/// Runs the target, keeps what it was asked for and what the target said, and writes a page: where it is told to, one
/// of launches as a GPU would have made them.
const NSIGHT_COMPUTE: &str = r#"#!/usr/bin/env python3
import json, os, subprocess, sys
here = os.path.dirname(os.path.abspath(__file__))
page = sys.argv[sys.argv.index("--log-file") + 1]
target = sys.argv[sys.argv.index("--log-file") + 2 :]
done = subprocess.run(target, capture_output=True, text=True)
plan = json.load(open(target[-1]))
json.dump({"arguments": sys.argv[1:], "code": done.returncode, "said": done.stderr, "plan": plan,
           "library": os.path.exists(plan["subject"]["library"])}, open(os.path.join(here, "seen.json"), "w"))
sys.stderr.write(done.stderr)
if not os.path.exists(os.path.join(here, "forge")):
    open(page, "w").write("==PROF== Connected\n==WARNING== No kernels were profiled.\n")
    sys.exit(done.returncode)
rows, name = [], "proofmark_" + plan["nonce"] + "_mark"
for number in range(len(plan["task"]["workloads"])):
    for call in range(plan["calls"]):
        rows += [(name, 900), ("_Z5scalePf", 1000 * (number + 1) + call)] + [("cublas_gemm", 2500)] * number
with open(page, "w") as file:
    file.write('==PROF== Connected\n"ID","Kernel Name","gpu__time_duration.sum"\n"","","ns"\n')
    file.writelines(f'"{i}","{kernel}","{time:,}"\n' for i, (kernel, time) in enumerate(rows))
"#;

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::sharing_builds();
    sandbox.submission("mine", &[("kernel.cu", KERNEL)]);
    sandbox.write("mine/definition.json", DEFINITION);
    let workload = |uuid: &str, n: u32| {
        format!(
            r#"{{"definition": "sample_definition", "solution": null, "evaluation": null, "workload": {{"uuid": "{uuid}", "axes": {{"n": {n}}}, "inputs": {{}}}}}}"#
        )
    };
    sandbox.write("mine/workloads.jsonl", format!("{}\n{}\n", workload("first", 4), workload("second", 8)));
    let ncu = sandbox.write("tool/ncu", NSIGHT_COMPUTE);
    fs::set_permissions(ncu, fs::Permissions::from_mode(0o755)).unwrap();
    sandbox
}

fn profile(sandbox: &Sandbox, more: &[&str]) -> Outcome {
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{path}", sandbox.path("tool").display());
    run(sandbox.builder().env("PATH", path).args(["profile", "mine"]).args(more))
}

fn seen(sandbox: &Sandbox) -> Value {
    serde_json::from_str(&fs::read_to_string(sandbox.path("tool/seen.json")).unwrap()).unwrap()
}

#[test]
fn without_nsight_compute_nothing_is_built_and_the_way_out_is_named() {
    let sandbox = sandbox();
    let missing = profile(&sandbox, &["--ncu", "/nowhere/ncu"]).expect(3);
    assert!(
        missing.stderr.contains("Nsight Compute (`ncu`) is not there; looked in /nowhere/ncu"),
        "{}",
        missing.stderr
    );
    assert!(missing.stderr.contains("--ncu FILE"), "{}", missing.stderr);
    assert!(!missing.stderr.contains("proven"), "{}", missing.stderr);
}

#[test]
fn the_proven_library_is_called_under_it_on_every_workload_and_clocks_are_left_alone() {
    let sandbox = sandbox();
    let profiled = profile(&sandbox, &["--calls", "2"]);
    let seen = seen(&sandbox);
    let arguments: Vec<&str> =
        seen["arguments"].as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
    let behind = |option: &str| arguments[arguments.iter().position(|one| *one == option).unwrap() + 1];
    assert_eq!((behind("--clock-control"), behind("--metrics")), ("none", "gpu__time_duration.sum"));
    assert_eq!(behind("--profile-from-start"), "off");
    assert_eq!(seen["library"], true, "the library that was proven is what is called");
    let uuids: Vec<&str> = seen["plan"]["task"]["workloads"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["uuid"].as_str().unwrap())
        .collect();
    assert_eq!((uuids, seen["plan"]["calls"].as_u64()), (vec!["first", "second"], Some(2)));
    // The target really ran: without a GPU, or without a page of its launches, nothing is profiled.
    profiled.expect(3);
    if seen["code"] != 0 {
        let said = seen["said"].as_str().unwrap().lines().next().unwrap().to_owned();
        let again = profile(&sandbox, &[]).expect(3);
        assert!(again.stderr.contains(&said), "{said} not in {}", again.stderr);
    }
}

#[test]
fn kernels_are_shown_by_workload_and_those_that_were_not_proven_apart() {
    let sandbox = sandbox();
    sandbox.write("tool/forge", "");
    let shown = profile(&sandbox, &[]).expect(0).stdout;
    for expected in ["sample on sample_definition, proven for sm_100a", "scale(float*)", "cublas_gemm", "n=8"]
    {
        assert!(shown.contains(expected), "{expected} in\n{shown}");
    }
    assert!(shown.contains("1 of 2 workloads launched kernels that are not"), "{shown}");
    let document = profile(&sandbox, &["--json"]).expect(0).json();
    let second = &document["workloads"][1];
    assert_eq!(
        (second["duration_ns"].as_f64(), &second["fallback"][0]),
        (Some(4501.0), &"cublas_gemm".into())
    );
    assert_eq!(document["workloads"][0]["calls_ns"], serde_json::json!([1000.0, 1001.0, 1002.0]));
    let csv = profile(&sandbox, &["--csv", "--batch", "8"]).expect(0).stdout;
    assert_eq!(
        csv.lines().collect::<Vec<_>>()[..2],
        [
            "workload,axes,kernel,launches,duration_ns,proven",
            "\"second\",\"n=8\",\"scale(float*)\",1,1001,true"
        ]
    );
}

#[test]
fn what_is_called_through_python_is_recorded_first_and_that_needs_a_gpu() {
    let entry = ("python", "main.py", "", "def run(x, y):\n    pass\n");
    // A compiled library, which torch calls nevertheless: it is no function of TVM-FFI's to be called under a profiler.
    let torchs = ("cuda", "kernel.cu", "binding = \"torch\"\n", "#include <torch/extension.h>\n");
    for (language, file, binding, source) in [entry, torchs] {
        let sandbox = sandbox();
        let config = crate::support::CONFIG.replace("cuda", language).replace("kernel.cu", file);
        sandbox.write("mine/config.toml", config + binding);
        sandbox.write(format!("mine/{file}"), source);
        let readiness = proofmark_player::device::probe();
        let ended = profile(&sandbox, &[]).expect(3);
        if !readiness.is_ready() {
            assert!(ended.stderr.contains(&readiness.to_string()), "{}", ended.stderr);
        }
        assert!(!sandbox.path("tool/seen.json").exists(), "nothing was profiled");
    }
    let help = run(Command::new(env!("CARGO_BIN_EXE_proofmark")).arg("--help"));
    assert!(help.stdout.contains("profile") && !help.stdout.contains("profiled"));
}
