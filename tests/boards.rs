//! The files of boards: SOL-ExecBench's problems and solutions, GPU MODE's submission.

use std::fs;

use serde_json::{Value, json};

use crate::support::{CONFIG, Sandbox, repository};

const DEFINITION: &str = r#"{"name": "rotate", "axes": {"rows": {"type": "var"}, "head": {"type": "const", "value": 128},
    "half": {"type": "expr", "expression": "head // 2"}},
    "inputs": {"x": {"shape": ["rows", "head"], "dtype": "bfloat16"}, "angle": {"shape": ["half"], "dtype": "float32"}},
    "outputs": {"y": {"shape": ["rows", "head"], "dtype": "bfloat16"}},
    "custom_inputs_entrypoint": "make",
    "reference": "def make(axes, device):\n    pass\n\ndef run(x, angle):\n    return x\n"}"#;

const WORKLOADS: &str = r#"{"axes": {"rows": 3}, "inputs": {"x": {"type": "random"}, "angle": {"type": "random"}}, "uuid": "a", "tolerance": {"max_atol": 0.5}}
{"axes": {"rows": 4}, "inputs": {"x": {"type": "custom"}, "angle": {"type": "custom"}}, "uuid": "b"}
"#;

fn problem(sandbox: &Sandbox) {
    sandbox.write("problem/definition.json", DEFINITION);
    sandbox.write("problem/workload.jsonl", WORKLOADS);
}

#[test]
fn a_problem_of_sol_execbench_becomes_a_submission_and_that_its_solution() {
    let sandbox = Sandbox::new();
    problem(&sandbox);
    let begun = sandbox.run(["new", "problem", "-o", "mine"]).expect(0);
    assert!(begun.stderr.contains("workload b is left out"), "{}", begun.stderr);
    let lines = fs::read_to_string(sandbox.path("mine/workloads.jsonl")).unwrap();
    let workload = &serde_json::from_str::<Value>(&lines).unwrap()["workload"];
    assert_eq!(workload["axes"], json!({"rows": 3, "half": 64}));
    assert_eq!(workload["tolerance"]["max_atol"], 0.5);

    let packed =
        sandbox.run(["pack", "mine", "--format", "sol-execbench", "-o", "solution.json", "--json"]).expect(0);
    assert_eq!(packed.json()["format"], "sol-execbench");
    let first = fs::read(sandbox.path("solution.json")).unwrap();
    let solution: Value = serde_json::from_slice(&first).unwrap();
    let spec = &solution["spec"];
    assert_eq!(spec["languages"], json!(["cuda_cpp"]));
    assert_eq!(spec["entry_point"], "torch_binding.cpp::run");
    assert_eq!(spec["compile_options"]["cuda_cflags"], json!(["-gencode=arch=compute_100a,code=sm_100a"]));
    // What was written is read, and gives the same bytes again.
    sandbox.run(["pack", "solution.json", "--format", "sol-execbench", "-o", "again.json"]).expect(0);
    assert_eq!(fs::read(sandbox.path("again.json")).unwrap(), first);
}

#[test]
fn every_reason_why_a_board_would_not_take_it_is_named_at_once() {
    let sandbox = Sandbox::new();
    let config = format!("{CONFIG}target_hardware = [\"H100\"]\n[target]\narch = \"sm_90a\"\n");
    sandbox.write(
        "mine/config.toml",
        config.replace("language = \"cuda\"", "language = \"cuda\"\nbinding = \"torch\""),
    );
    sandbox.write("mine/kernel.cu", "int x;\n");
    let refused = sandbox.run(["pack", "mine", "--format", "sol-execbench"]).expect(2);
    for place in
        ["`spec.target_hardware`", "`sources`: expected a file in the top folder with PYBIND11_MODULE"]
    {
        assert!(refused.stderr.contains(place), "{place} not in {}", refused.stderr);
    }
    let without_names = sandbox.run(["pack", "mine", "--format", "popcorn"]).expect(2);
    assert!(without_names.stderr.contains("--leaderboard NAME --gpus B200"), "{}", without_names.stderr);
}

#[test]
fn a_file_for_gpu_mode_minds_both_traps_of_its_server_and_says_so() {
    let sandbox = Sandbox::new();
    let kernel = repository().join("kernels/rmsnorm_h4096/block_per_row");
    let kernel = kernel.to_str().unwrap();
    let pack = |output: &str| {
        let format = [
            "pack",
            kernel,
            "--format",
            "popcorn",
            "--leaderboard",
            "rmsnorm",
            "--gpus",
            "B200",
            "-o",
            output,
        ];
        sandbox.run(format).expect(0)
    };
    let packed = pack("submission.py");
    for part in [
        "said as `queue` in 10 places",
        "the architecture is forced by -gencode=arch=compute_100a,code=sm_100a",
    ] {
        assert!(packed.stderr.contains(part), "{part} not in {}", packed.stderr);
    }
    let text = fs::read_to_string(sandbox.path("submission.py")).unwrap();
    assert!(text.starts_with("#!POPCORN leaderboard rmsnorm\n#!POPCORN gpus B200\n\n"));
    assert!(!text.to_ascii_lowercase().contains("stream"));
    // Python itself reads it.
    let compiled = std::process::Command::new("python3")
        .args(["-c", "import ast, sys; ast.parse(open(sys.argv[1]).read())"])
        .arg(sandbox.path("submission.py"))
        .status()
        .expect("python3 runs");
    assert!(compiled.success());
    pack("again.py");
    assert_eq!(fs::read_to_string(sandbox.path("again.py")).unwrap(), text);
    let other = ["pack", kernel, "--format", "popcorn", "--leaderboard", "rmsnorm", "--gpus", "H100"];
    let refused = sandbox.run(other).expect(2);
    assert!(refused.stderr.contains("an architecture of H100"), "{}", refused.stderr);
}
