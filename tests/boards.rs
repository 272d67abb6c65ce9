//! The files of boards: SOL-ExecBench's problems and solutions, GPU MODE's submission.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{CONFIG, Sandbox, data_folder, repository};

const DEFINITION: &str = r#"{"name": "rotate", "axes": {"rows": {"type": "var"}, "head": {"type": "const", "value": 128},
    "half": {"type": "expr", "expression": "head // 2"}},
    "inputs": {"x": {"shape": ["rows", "head"], "dtype": "bfloat16"}, "angle": {"shape": ["half"], "dtype": "float32"}},
    "outputs": {"y": {"shape": ["rows", "head"], "dtype": "bfloat16"}},
    "custom_inputs_entrypoint": "make",
    "reference": "def make(axes, device):\n    pass\n\ndef run(x, angle):\n    return x\n"}"#;

const WORKLOADS: &str = r#"{"axes": {"rows": 3}, "inputs": {"x": {"type": "random"}, "angle": {"type": "random"}}, "uuid": "a", "tolerance": {"max_atol": 0.5}}
{"axes": {"rows": 4}, "inputs": {"x": {"type": "custom"}, "angle": {"type": "custom"}}, "uuid": "b"}
{"axes": {"rows": 5}, "inputs": {"x": {}, "angle": {}}, "uuid": "c", "tolerance": {"max_error_cap": 1}}
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
    assert!(begun.stderr.contains("workload c is left out"), "{}", begun.stderr);
    let lines = fs::read_to_string(sandbox.path("mine/workloads.jsonl")).unwrap();
    let read = |line| serde_json::from_str::<Value>(line).unwrap();
    let kept: Vec<Value> = lines.lines().map(read).collect();
    assert_eq!((kept.len(), &kept[1]["workload"]["inputs"]["x"]["type"]), (2, &json!("custom")));
    let workload = &kept[0]["workload"];
    assert_eq!(workload["axes"], json!({"rows": 3, "half": 64}));
    assert_eq!(workload["tolerance"]["max_atol"], 0.5);

    // Only the definition's own code can make inputs.
    let refused = sandbox.run(["bench", "mine", "--reference", "mine"]).expect(2);
    assert!(
        refused.stderr.contains("workload b leaves its inputs to the definition's own"),
        "{}",
        refused.stderr
    );
    assert!(refused.stderr.contains("--reference definition"), "{}", refused.stderr);

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
    for format in ["sol-execbench", "flashinfer", "zip"] {
        for (option, value) in [("--leaderboard", "x"), ("--gpus", "B200")] {
            let outcome = sandbox.run(["pack", "mine", "--format", format, option, value]).expect(2);
            assert!(outcome.stderr.contains(&format!("{option} is for a file of GPU MODE")), "{outcome:?}");
        }
    }
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
    let compiled = Command::new("python3")
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

#[test]
fn a_problem_of_gpu_mode_becomes_a_submission_and_that_its_file() {
    let sandbox = Sandbox::new();
    let task = "lang: \"py\"\ndescription: |\n  Add.\ntemplates:\n  Python: \"../template.py\"\ntests:\n  - {\"size\": 127, \"seed\": 1}\n\
                benchmarks:\n  - {\"size\": 1024, \"seed\": 2}\n";
    sandbox.write("problems/vectoradd/task.yml", task);
    sandbox.write(
        "problems/vectoradd/reference.py",
        "def generate_input(size, seed):\n    pass\n\ndef check_implementation(data, output):\n    pass\n",
    );
    let template = "#!POPCORN leaderboard other\n\nfrom task import input_t, output_t\n\n\ndef custom_kernel(data: input_t) -> output_t:\n    pass\n";
    sandbox.write("problems/template.py", template);
    let begun = sandbox.run(["new", "problems/vectoradd", "-o", "mine", "--arch", "sm_90a"]).expect(0);
    assert!(begun.stdout.contains("--leaderboard vectoradd --gpus H100\n"), "{}", begun.stdout);
    assert!(begun.stdout.contains("1 tests, 1 benchmarks; its template is the start"), "{}", begun.stdout);
    sandbox
        .run(["pack", "mine", "--format", "popcorn", "--leaderboard", "vectoradd", "--gpus", "A100"])
        .expect(0);
    let text = fs::read_to_string(sandbox.path("submission.py")).unwrap();
    assert!(text.starts_with("#!POPCORN leaderboard vectoradd\n#!POPCORN gpus A100\n\n"), "{text}");
    let (_, kept) = template.split_once('\n').unwrap();
    assert!(text.ends_with(kept) && !text.contains("leaderboard other"), "{text}");
    let no_problem = sandbox.run(["new", "problems/", "-o", "other"]).expect(2);
    assert!(no_problem.stderr.contains("is a folder, and no problem's"), "{}", no_problem.stderr);
    // What the competition says goes before the folder's name and the usual GPU.
    sandbox.write(
        "problems/amd.yaml",
        "problems:\n  - directory: vectoradd\n    name: amd-vectoradd\n    gpus: [MI300, H100]\n",
    );
    for (arch, gpu) in [("sm_90a", "H100"), ("sm_100a", "MI300")] {
        let folder = format!("for_{arch}");
        let begun = sandbox.run(["new", "problems/vectoradd", "-o", &folder, "--arch", arch]).expect(0);
        let next = format!("--leaderboard amd-vectoradd --gpus {gpu}\n");
        assert!(begun.stdout.contains(&next), "{}", begun.stdout);
    }
    sandbox.write("problems/vectoradd/task.yml", "lang: cu\n");
    let refused = sandbox.run(["new", "problems/vectoradd", "-o", "other"]).expect(2);
    assert!(
        refused.stderr.contains("`lang`: expected `py`") && refused.stderr.contains("`tests`"),
        "{}",
        refused.stderr
    );
}

/// A problem whose data is one row and a buffer for the answer.
fn row_problem(sandbox: &Sandbox) {
    let task = "lang: py\nfiles:\n  - {\"name\": \"submission.py\", \"source\": \"@SUBMISSION@\"}\n  \
                - {\"name\": \"utils.py\", \"source\": \"../utils.py\"}\n  - {\"name\": \"eval.py\", \"source\": \"../eval.py\"}\n\
                tests:\n  - {\"size\": 3, \"seed\": 1}\nbenchmarks:\n  - {\"size\": 8, \"seed\": 2}\n";
    sandbox.write("problems/double/task.yml", task);
    sandbox.write(
        "problems/utils.py",
        "def make_match_reference(reference, **kept):\n    return None\n\n\nFACTOR = 2\n",
    );
    sandbox.write(
        "problems/double/reference.py",
        "import random\nfrom utils import FACTOR, make_match_reference\n\n\nclass Row(list):\n    device = 'here'\n    \
         shape = property(lambda self: (len(self),))\n\n\ndef generate_input(size, seed):\n    draw = random.Random(seed)\n    \
         return Row(draw.randrange(100) for _ in range(size)), [0] * size\n\n\ndef ref_kernel(data):\n    row, answer = data\n    \
         answer[:] = [FACTOR * one for one in row]\n    return answer\n\n\n\
         check_implementation = make_match_reference(ref_kernel, rtol=1e-3, atol=1e-4)\n",
    );
}

#[test]
fn a_problem_of_gpu_mode_with_its_signature_becomes_a_task_whose_own_python_says_what_is_right() {
    let sandbox = Sandbox::new();
    row_problem(&sandbox);
    let signature = "x: float32[size], y: float32[size] -> y: float32[size]";
    let new = ["new", "problems/double", "--signature", signature, "-o", "mine", "--json"];
    assert_eq!(sandbox.run(new).expect(0).json()["definition_is_known"], true);
    let workloads = fs::read_to_string(sandbox.path("mine/workloads.jsonl")).unwrap();
    let first: Value = serde_json::from_str(workloads.lines().next().unwrap()).unwrap();
    assert_eq!(first["workload"]["axes"], serde_json::json!({"case": 0, "size": 8}));
    assert_eq!((workloads.lines().count(), &first["workload"]["tolerance"]["max_rtol"]), (2, &0.001.into()));
    // Its files run as its definition's reference, with a seed that the caller draws.
    let run_it = "import json, random, sys, types\n\
        sys.modules['torch'] = types.SimpleNamespace(float32='f', empty=lambda shape, dtype, device: [0] * shape[0])\n\
        names = {'__name__': 'definition'}\n\
        exec(compile(json.load(open('mine/definition.json'))['reference'], 'reference', 'exec'), names)\n\
        def made(seed):\n    random.seed(seed)\n    return names['make_inputs']({'case': 1, 'size': 3}, 'here')\n\
        one, again, other = made(7), made(7), made(8)\n\
        print(list(one), len(one['x']), one == again, one == other, names['run'](one['x']) == [2 * x for x in one['x']])\n";
    let python = Command::new("python3").args(["-c", run_it]).current_dir(sandbox.path("")).output().unwrap();
    let printed = String::from_utf8_lossy(&python.stdout);
    assert_eq!(printed, "['x'] 3 True False True\n", "{}", String::from_utf8_lossy(&python.stderr));
    // A job to measure it holds all that it needs.
    let job = sandbox.run(["bench", "mine", "--reference", "definition", "--as-job"]).expect(0).json();
    let task = &job["action"]["measuring"]["task"];
    assert_eq!(task["definition"]["custom_inputs_entrypoint"], "make_inputs");
    for (signature, said) in [
        ("x: float32[rows] -> y: float32[size]", "an argument `rows` that is a whole number"),
        ("x: float32[size]", "there is no `->`"),
    ] {
        let refused =
            sandbox.run(["new", "problems/double", "--signature", signature, "-o", "other"]).expect(2);
        assert!(refused.stderr.contains(said), "{}", refused.stderr);
    }
    sandbox.run(["new", "sample", "--signature", signature]).expect(2);
}

#[test]
fn data_in_dictionaries_is_said_with_its_keys_and_taken_apart_for_the_kernel() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "problems/scale/task.yml",
        "lang: py\ntests:\n  - {\"size\": 3, \"seed\": 1}\nbenchmarks:\n  - {\"size\": 4, \"seed\": 2}\n",
    );
    sandbox.write(
        "problems/scale/reference.py",
        "class Row(list):\n    device = 'here'\n    shape = property(lambda self: (len(self),))\n\n\n\
         def generate_input(size, seed):\n    return [0] * size, Row([seed % 7] * size), {'norm.weight': Row([3] * size), 'k': 2}\n\n\n\
         def ref_kernel(data):\n    answer, row, w = data\n    answer[:] = [x * y * w['k'] for x, y in zip(row, w['norm.weight'])]\n    \
         return answer\n\n\ndef check_implementation(data, output):\n    return output == ref_kernel(data), ''\n",
    );
    // The answer's buffer comes first here.
    let signature =
        "y: uint8[size], x: uint8[size], w: {norm.weight: uint8[size], k: int64} -> y: uint8[size]";
    sandbox.run(["new", "problems/scale", "--signature", signature, "-o", "mine"]).expect(0);
    let ask = "import json, sys, types\n\
        sys.modules['torch'] = types.SimpleNamespace(uint8='b', empty=lambda shape, dtype, device: [0] * shape[0])\n\
        definition = json.load(open('mine/definition.json'))\n\
        names = {'__name__': 'definition'}\n\
        exec(compile(definition['reference'], 'reference', 'exec'), names)\n\
        made = names['make_inputs']({'case': 1, 'size': 3}, 'here')\n\
        answer = names['run'](*[made[name] for name in definition['inputs']])\n\
        print(list(made), made['w_k'], answer == [made['x'][0] * 6] * 3, names['check'](list(made.values()), [answer]))\n";
    let python = |text: &str| {
        let ran = Command::new("python3").args(["-c", text]).current_dir(sandbox.path("")).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).unwrap()
    };
    assert_eq!(python(ask), "['x', 'w_norm_weight', 'w_k'] 2 True (True, '')\n");

    sandbox
        .run(["pack", "mine", "--format", "popcorn", "--leaderboard", "scale", "--gpus", "B200"])
        .expect(0);
    // What the board calls, with the extension that it would build replaced.
    let call = "import ast\n\
        tree = ast.parse(open('submission.py').read())\n\
        tree.body = [one for one in tree.body if isinstance(one, ast.FunctionDef) and one.name == 'custom_kernel']\n\
        class Extension:\n    def run(self, *given): print(*given)\n\
        names = {'_extension': Extension()}\n\
        exec(compile(tree, 'submission', 'exec'), names)\n\
        print(names['custom_kernel'](('y', 'x', {'k': 2, 'norm.weight': 'w'})))\n";
    assert_eq!(python(call), "x w 2 y\ny\n");
}

#[test]
fn a_problem_whose_checker_is_code_of_its_own_is_judged_by_that() {
    let sandbox = Sandbox::new();
    row_problem(&sandbox);
    let path = sandbox.path("problems/double/reference.py");
    let reference = fs::read_to_string(&path).unwrap();
    let (before, _) = reference.split_once("check_implementation").unwrap();
    let checker = "def check_implementation(data, output):\n    wrong = [one for one in output if one % FACTOR]\n    \
                   return not wrong, f'{len(wrong)} of {len(data[0])} are odd'\n";
    sandbox.write("problems/double/reference.py", format!("{before}{checker}"));
    let signature = "x: float32[size], y: float32[size] -> y: float32[size]";
    let made = sandbox.run(["new", "problems/double", "--signature", signature, "-o", "mine"]).expect(0);
    assert!(made.stderr.contains("code of its own: it is asked of every call"), "{}", made.stderr);
    let ask = "import json, sys, types\n\
        sys.modules['torch'] = types.SimpleNamespace(float32='f', empty=lambda shape, dtype, device: [0] * shape[0])\n\
        definition = json.load(open('mine/definition.json'))\n\
        names = {'__name__': 'definition'}\n\
        exec(compile(definition['reference'], 'reference', 'exec'), names)\n\
        row = names['make_inputs']({'case': 1, 'size': 3}, 'here')['x']\n\
        check = names[definition['check_entrypoint']]\n\
        print(check([row], [[2, 4, 8]]), check([row], [[2, 3, 5]]))\n";
    let python = Command::new("python3").args(["-c", ask]).current_dir(sandbox.path("")).output().unwrap();
    let printed = String::from_utf8_lossy(&python.stdout);
    let expected = "(True, '0 of 3 are odd') (False, '2 of 3 are odd')\n";
    assert_eq!(printed, expected, "{}", String::from_utf8_lossy(&python.stderr));
    // Nobody else can judge it.
    let task = ["--definition", "mine/definition.json", "--workloads", "mine/workloads.jsonl", "--as-job"];
    let refused = sandbox.run(["bench", "mine", "--reference", "mine"].into_iter().chain(task)).expect(2);
    assert!(refused.stderr.contains("the definition's own code as the reference"), "{}", refused.stderr);
}

/// A kernel file whose entry can run on a processor, and what is made of it for a board.
fn made_for(sandbox: &Sandbox, format: &[&str]) -> Value {
    sandbox.write(
        "made/definition.json",
        r#"{"name": "sample_definition", "op_type": "toy", "axes": {"n": {}}, "inputs": {"x": {"shape": ["n"],
        "dtype": "float32"}, "bias": {"shape": ["n"], "dtype": "float32", "optional": true},
        "factor": {"shape": null, "dtype": "float32"}}, "outputs": {"y": {"shape": ["n"], "dtype": "float32"}},
        "reference": "def run(x, bias, factor): pass"}"#,
    );
    sandbox.write("made/config.toml", CONFIG);
    sandbox.write(
        "made/kernel.cu",
        "#include <tvm/ffi/extra/c_env_api.h>\n#include <tvm/ffi/tvm_ffi.h>\n\
         void run(tvm::ffi::TensorView x, tvm::ffi::Optional<tvm::ffi::TensorView> bias, double factor,\n\
         tvm::ffi::TensorView y) {\n  cudaStream_t stream = static_cast<cudaStream_t>(\n\
         TVMFFIEnvGetStream(x.device().device_type, x.device().device_id));\n  (void)stream;\n  \
         cudaLaunchConfig_t config = {};\n  config.stream = stream;\n  \
         TVM_FFI_ICHECK_EQ(x.dtype().bits, 32) << \"found \" << x.dtype().bits;\n  \
         if (!x.IsContiguous() || x.size(-1) != y.numel()) TVM_FFI_THROW(ValueError) << \"x: size \" << x.size(0);\n  \
         for (int64_t i = 0; i < x.numel(); ++i) {\n    static_cast<float*>(y.data_ptr())[i] = \
         static_cast<float*>(x.data_ptr())[i] * factor + (bias.has_value() ? 1.0f : 0.5f);\n  }\n}\n\
         TVM_FFI_DLL_EXPORT_TYPED_FUNC(run, run);\n",
    );
    sandbox.run(["pack", "made"].iter().chain(format)).expect(0);
    if format.contains(&"popcorn") {
        let read = "import ast, json, sys\nfor one in ast.parse(open('submission.py').read()).body:\n    \
                    if isinstance(one, ast.Assign) and one.targets[0].id == 'SOURCES':\n        \
                    print(json.dumps(ast.literal_eval(one.value)))\n";
        let mut python = Command::new("python3");
        let printed = python.args(["-c", read]).current_dir(sandbox.path("")).output().expect("python3 runs");
        return serde_json::from_slice(&printed.stdout).expect("the sources");
    }
    let solution: Value = serde_json::from_slice(&fs::read(sandbox.path("solution.json")).unwrap()).unwrap();
    let sources = solution["sources"].as_array().unwrap().iter();
    sources.map(|one| (one["path"].as_str().unwrap().to_owned(), one["content"].clone())).collect()
}

/// Compiles the kernel's file with the made headers and calls it as `torch_binding.cpp` does.
fn runs_without_tvm_ffi(sandbox: &Sandbox, sources: &Value, callers_stream: &str) {
    for (path, content) in sources.as_object().unwrap() {
        sandbox.write(format!("build/{path}"), content.as_str().unwrap());
    }
    sandbox.write(
        "build/main.cpp",
        format!(
            "#include <cstdio>\n#include <stdexcept>\n#include \"proofmark_argument.h\"\n\
             void proofmark_entry_run(const proofmark::Argument* arguments, int count);\n\
             extern \"C\" void* {callers_stream}(int32_t, int32_t) {{ return nullptr; }}\n\
             int main() {{\n  float x[3] = {{1, 2, 3}}, y[3];\n  int64_t shape[1] = {{3}}, stride[1] = {{1}};\n  \
             const auto tensor = [&](float* data) {{\n    proofmark::Argument one;\n    \
             one.kind = proofmark::Argument::kTensor;\n    one.data = data;\n    one.rank = 1;\n    \
             one.shape = shape;\n    one.strides = stride;\n    one.type_code = 2;\n    one.type_bits = 32;\n    \
             return one;\n  }};\n  proofmark::Argument factor;\n  factor.kind = proofmark::Argument::kNumber;\n  \
             factor.number = 2;\n  const proofmark::Argument call[] = {{tensor(x), {{}}, factor, tensor(y)}};\n  \
             proofmark_entry_run(call, 4);\n  std::printf(\"%g %g %g\\n\", y[0], y[1], y[2]);\n  stride[0] = 2;\n  \
             try {{\n    proofmark_entry_run(call, 4);\n  }} catch (const std::runtime_error& error) {{\n    \
             std::puts(error.what());\n  }}\n  try {{\n    proofmark_entry_run(call, 3);\n  }} catch (const std::runtime_error& error) \
             {{\n    std::puts(error.what());\n  }}\n}}\n"
        ),
    );
    let toolchains = data_folder().join("toolchains");
    let cuda =
        fs::read_dir(toolchains).unwrap().flatten().find(|entry| entry.path().join("bin/nvcc").is_file());
    let include = cuda.expect("the pinned compiler").path().join("include");
    let build = sandbox.path("build");
    let compiled = Command::new("g++")
        .args([
            "-std=c++17",
            "-Wall",
            "-Werror",
            "-Wno-unused-but-set-variable",
            "-o",
            "program",
            "main.cpp",
            "-x",
            "c++",
            "kernel.cu",
        ])
        .arg("-isystem")
        .arg(include)
        .current_dir(&build)
        .output()
        .expect("g++ runs");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let printed = Command::new(build.join("program")).output().expect("it runs");
    assert_eq!(
        String::from_utf8_lossy(&printed.stdout),
        "2.5 4.5 6.5\nValueError: x: size 3\nTypeError: expected 4 arguments, found 3\n"
    );
}

#[test]
fn a_kernel_file_runs_with_the_made_headers_of_sol_execbench() {
    let sandbox = Sandbox::new();
    let sources = made_for(&sandbox, &["--format", "sol-execbench", "-o", "solution.json"]);
    let binding = sources["torch_binding.cpp"].as_str().unwrap();
    assert!(binding.contains("const std::optional<at::Tensor>& bias,\n    double factor,"), "{binding}");
    runs_without_tvm_ffi(&sandbox, &sources, "TVMFFIEnvGetStream");
}

#[test]
fn a_kernel_file_runs_with_the_made_headers_of_gpu_mode() {
    let sandbox = Sandbox::new();
    let sources = made_for(&sandbox, &["--format", "popcorn", "--leaderboard", "l", "--gpus", "B200"]);
    runs_without_tvm_ffi(&sandbox, &sources, "TVMFFIEnvGetQueue");
}

/// A solution of SOL-ExecBench that it takes, changed.
fn solution_with(change: impl FnOnce(&mut Value)) -> String {
    let mut value = json!({
        "name": "n", "definition": "d", "author": "a", "spec": {
            "languages": ["cuda_cpp"], "target_hardware": ["B200"], "entry_point": "main.cu::run",
            "compile_options": {"cuda_cflags": ["-use_fast_math", "--maxrregcount=128"]}},
        "sources": [{"path": "main.cu",
            "content": "__global__ void k() {}\nPYBIND11_MODULE(TORCH_EXTENSION_NAME, m) { m.def(\"run\", &run); }\n"}]
    });
    change(&mut value);
    value.to_string()
}

#[test]
fn no_flag_of_a_solution_is_dropped_without_a_word() {
    let sandbox = Sandbox::new();
    let pack = |document: &str, code: i32| {
        sandbox.write("doc.json", document);
        sandbox
            .run(["pack", "doc.json", "--format", "sol-execbench", "-o", "out.json", "--json"])
            .expect(code)
    };
    let whole = pack(&solution_with(|_| {}), 0);
    assert!(whole.stderr.contains("note: doc.json: read as"), "{}", whole.stderr);
    let written: Value = serde_json::from_slice(&fs::read(sandbox.path("out.json")).unwrap()).unwrap();
    assert_eq!(
        written["spec"]["compile_options"]["cuda_cflags"],
        json!(["-gencode=arch=compute_100a,code=sm_100a", "-use_fast_math", "--maxrregcount=128"])
    );
    let of_docs = solution_with(|value| {
        value["spec"].as_object_mut().unwrap().remove("languages");
        value["spec"]["language"] = json!("cuda");
    });
    for (document, named) in [
        (of_docs, "`spec.language`: expected `languages`"),
        (
            solution_with(|value| value["spec"]["languages"] = json!("cuda_cpp")),
            "`spec.languages`: expected a list",
        ),
        (
            solution_with(|value| value["spec"]["compile_options"] = json!({"cuda_flags": ["-O1"]})),
            "`spec.compile_options.cuda_flags`: expected `cuda_cflags`",
        ),
        (
            solution_with(|value| value["spec"]["entry_point"] = json!("main.cu::go")),
            "the module defines: `run`",
        ),
    ] {
        let refused = pack(&document, 2);
        assert!(refused.stderr.contains(named), "{named} not in {}", refused.stderr);
    }
    let misspelt = pack(&solution_with(|value| value["spec"]["dependancies"] = json!(["cublas"])), 0);
    let notes = misspelt.json()["notes"].to_string();
    assert!(notes.contains("`spec.dependancies` is unknown"), "{notes}");
    let local = pack(&solution_with(|value| value["spec"]["target_hardware"] = json!(["LOCAL"])), 0);
    assert!(local.json()["notes"].to_string().contains("`LOCAL` is the GPU"), "{}", local.stdout);
    // What Proofmark would not build is said to the board's file, and no artifact.
    let refused_flag = solution_with(|value| {
        value["spec"]["compile_options"]["cuda_cflags"] = json!(["-ccbin=clang"]);
    });
    assert!(pack(&refused_flag, 0).json()["notes"].to_string().contains("it will not build here"));
    let no_artifact = sandbox.run(["pack", "doc.json", "-o", "out.zip"]).expect(2);
    assert!(no_artifact.stderr.contains("it would not build"), "{}", no_artifact.stderr);
}

#[test]
fn a_solution_comes_back_from_its_folder_with_every_list_of_flags_and_its_languages() {
    let sandbox = Sandbox::new();
    let options = json!({"cflags": ["-std=c++17"], "cuda_cflags": ["-gencode=arch=compute_100a,code=sm_100a"],
        "ld_flags": ["-lcudnn"]});
    let whole = solution_with(|value| {
        value["description"] = json!("");
        value["spec"]["languages"] = json!(["cutlass", "cudnn"]);
        value["spec"]["compile_options"] = options.clone();
    });
    let bare = solution_with(|value| {
        value["spec"].as_object_mut().unwrap().remove("compile_options");
    });
    for (document, linked) in [(whole, &options["ld_flags"]), (bare, &json!(["-lcuda"]))] {
        sandbox.write("doc.json", &document);
        sandbox.run(["unpack", "doc.json", "-o", "theirs"]).expect(0);
        let board = ["--format", "sol-execbench", "-o"];
        sandbox.run(["pack", "theirs"].into_iter().chain(board).chain(["again.json"])).expect(0);
        sandbox.run(["pack", "doc.json"].into_iter().chain(board).chain(["direct.json"])).expect(0);
        let spec = |file: &str| {
            serde_json::from_slice::<Value>(&fs::read(sandbox.path(file)).unwrap()).unwrap()["spec"].clone()
        };
        assert_eq!(spec("again.json"), spec("direct.json"));
        assert_eq!(&spec("again.json")["compile_options"]["ld_flags"], linked);
        fs::remove_dir_all(sandbox.path("theirs")).unwrap();
    }
    // What another board cannot carry is said, and what no table has is refused.
    sandbox.write("mine/config.toml", format!("{CONFIG}[sol-execbench]\nld_flags = [\"-lcurand\"]\n"));
    sandbox.write("mine/kernel.cu", "int x;\n");
    let packed = sandbox.run(["pack", "mine", "-o", "mine.json"]).expect(0);
    assert!(packed.stderr.contains("[sol-execbench] (-lcurand)"), "{}", packed.stderr);
    sandbox.write("mine/config.toml", format!("{CONFIG}[sol-execbench]\nldflags = [\"-lcurand\"]\n"));
    let refused = sandbox.run(["pack", "mine"]).expect(2);
    assert!(refused.stderr.contains("`sol-execbench.ldflags` is unknown"), "{}", refused.stderr);
}

#[test]
fn what_a_file_lacks_or_is_instead_is_said_with_the_way_out() {
    let sandbox = Sandbox::new();
    let kernel = "void run(tvm::ffi::TensorView x) {}\nTVM_FFI_DLL_EXPORT_TYPED_FUNC(run, run);\n";
    sandbox.write("mine/config.toml", CONFIG);
    sandbox.write("mine/kernel.cu", kernel);
    sandbox.run(["pack", "mine", "-o", "mine.json"]).expect(0);
    for board in [&["sol-execbench"][..], &["popcorn", "--leaderboard", "l", "--gpus", "B200"]] {
        let refused = sandbox.run(["pack", "mine.json", "--format"].iter().chain(board)).expect(2);
        assert!(!refused.stderr.contains("the board would not take"), "{}", refused.stderr);
        assert!(refused.stderr.contains("`proofmark unpack FILE -o DIR`"), "{}", refused.stderr);
    }
    // The number of arguments is said before a board finds it out.
    sandbox.write(
        "mine/definition.json",
        DEFINITION
            .replace("rotate", "sample_definition")
            .replace("\"axes\"", "\"op_type\": \"t\", \"axes\"")
            .replace(r#"{"type": "expr", "expression": "head // 2"}"#, r#"{"type": "var"}"#),
    );
    for board in [&["sol-execbench"][..], &["popcorn", "--leaderboard", "l", "--gpus", "B200"]] {
        let packed = sandbox.run(["pack", "mine", "--format"].iter().chain(board)).expect(0);
        assert!(packed.stderr.contains("takes 1 argument, and the definition has 3"), "{}", packed.stderr);
    }
    sandbox.write("latin.json", b"{\"name\": \"\xe4\"}");
    sandbox.write("empty.json", "");
    sandbox.write("list.json", "[]");
    for (path, said) in [
        ("mine/definition.json", "`proofmark new mine/definition.json` writes"),
        ("mine/config.toml", "name its folder: mine"),
        ("latin.json", "byte 10 is not UTF-8"),
        ("empty.json", "it is empty"),
        ("list.json", "it holds a list"),
    ] {
        let refused = sandbox.run(["pack", path]).expect(2);
        assert!(refused.stderr.contains(said), "{said} not in {}", refused.stderr);
    }
}

#[test]
fn what_is_wrong_with_a_python_file_for_gpu_mode_is_named() {
    let sandbox = Sandbox::new();
    let config =
        CONFIG.replace("\"cuda\"", "\"python\"").replace("kernel.cu::run", "submission.py::custom_kernel");
    sandbox.write("mine/config.toml", config);
    let pack = |text: &str, code: i32| {
        sandbox.write("mine/submission.py", text);
        let call =
            ["pack", "mine", "--format", "popcorn", "--leaderboard", "l", "--gpus", "B200,B2000", "--json"];
        sandbox.run(call).expect(code)
    };
    let empty = pack("#!POPCORN gpus T4\n\ndef custom_kernel(data):\n    pass\n", 0);
    let notes = empty.json()["notes"].to_string();
    for part in ["B2000", "H100 (sm_90a)", "line 1: `#!POPCORN gpus T4` is left out", "does nothing yet"] {
        assert!(notes.contains(part), "{part} not in {notes}");
    }
    let none = pack("def other(data):\n    return data\n", 2);
    assert!(none.stderr.contains("a function `custom_kernel`"), "{}", none.stderr);
    // An older Python than the server's may not read what is right there.
    sandbox.write("mine/submission.py", "def custom_kernel(data):\n    return (data\n");
    let call = ["pack", "mine", "--format", "popcorn", "--leaderboard", "l", "--gpus", "B200"];
    let wrong = sandbox.run(call);
    assert!(wrong.stderr.contains("submission.py line 2: Python 3."), "{}", wrong.stderr);
    assert!(wrong.code == 2 || wrong.stderr.contains("no later Python does"), "{}", wrong.stderr);
}

#[test]
fn what_is_no_definition_is_never_begun_with() {
    let sandbox = Sandbox::new();
    problem(&sandbox);
    sandbox.write("p_nowl/definition.json", DEFINITION);
    fs::create_dir(sandbox.path("rope")).unwrap();
    sandbox.write("gpu_mode/task.yml", "lang: py\n");
    for (named, said) in [
        ("p_nowl", "p_nowl holds definition.json, but no workload.jsonl"),
        ("gpu_mode", "gpu_mode holds task.yml, but no reference.py"),
        ("rope", "rope is a folder, and no problem's"),
        ("001_fused/nothere", "nothing stands at 001_fused/nothere"),
        ("gpu_mode/task.yml", "`proofmark new gpu_mode`"),
    ] {
        let refused = sandbox.run(["new", named]).expect(2);
        assert!(refused.stderr.contains(said), "{said} not in {}", refused.stderr);
    }
    assert!(!sandbox.path("nothere").exists() && !sandbox.path("001_fused").exists());
    let unknown = sandbox.run(["new", "nothing", "--json"]).expect(0).json();
    assert!(unknown["notes"][0].as_str().unwrap().contains("is not known here"), "{unknown}");
}

#[test]
fn a_problem_of_sol_execbench_that_cannot_be_measured_is_refused() {
    let sandbox = Sandbox::new();
    let line = r#"{"axes": {"rows": 3}, "inputs": {"x": {}, "angle": {}}, "uuid": "a"}"#;
    let misspelt = line.replace("\"a\"}", "\"a\", \"tolerance\": {\"max_rtoll\": 1}}");
    for (lines, said) in [
        (String::new(), "holds no workload"),
        (misspelt, "`tolerance.max_rtoll`: expected `max_rtol`"),
        (line.replace(", \"angle\": {}", ""), "`inputs.angle`"),
        (format!("{line}\n{line}"), "line 2"),
    ] {
        problem(&sandbox);
        sandbox.write("problem/workload.jsonl", &lines);
        let refused = sandbox.run(["new", "problem", "-o", "mine"]).expect(2);
        assert!(refused.stderr.contains(said), "{said} not in {}", refused.stderr);
        assert!(!sandbox.path("mine").exists());
    }
    // A kernel needs none of them to be begun.
    for (folder, lines) in
        [("capped", Some(r#""tolerance": {"max_error_cap": 1}"#)), ("bare", None), ("broken", Some("1"))]
    {
        sandbox.write(format!("{folder}/definition.json"), DEFINITION);
        if let Some(more) = lines {
            sandbox.write(
                format!("{folder}/workload.jsonl"),
                line.replace("\"a\"}", &format!("\"a\", {more}}}")),
            );
        }
        let named = format!("{folder}/definition.json");
        let begun = sandbox.run(["new", &named, "-o", &format!("{folder}_mine"), "--json"]).expect(0).json();
        assert!(begun["notes"].to_string().contains("no workloads of"), "{begun}");
        assert_eq!(begun["notes"].to_string().contains("is left out"), folder == "capped", "{begun}");
    }
    let whole = sandbox.run(["new", "capped", "-o", "whole"]).expect(0);
    assert!(whole.stderr.contains("workload a is left out"), "{}", whole.stderr);
    let kernel = |folder: &str| fs::read(sandbox.path(format!("{folder}/solution/cuda/kernel.cu"))).unwrap();
    assert_eq!(kernel("whole"), kernel("bare_mine"));
    problem(&sandbox);
    let begun = sandbox.run(["new", "problem", "-o", "mine", "--json"]).expect(0).json();
    assert!(begun["notes"][0].as_str().unwrap().contains("workload c is left out"), "{begun}");
}

#[test]
fn a_kernel_for_gpu_mode_takes_torchs_stream_and_says_which_texts_it_changed() {
    let sandbox = Sandbox::new();
    let made = made_for(&sandbox, &["--format", "popcorn", "--leaderboard", "l", "--gpus", "B200"]);
    assert!(made["kernel.cu"].as_str().unwrap().contains("proofmark::queue_of(config) = queue;"));
    let kernel = fs::read_to_string(sandbox.path("made/kernel.cu")).unwrap();
    let asks =
        kernel.replace("(void)stream;", "stream = at::cuda::getCurrentCUDAStream(); f(\"no stream\");");
    sandbox.write("made/kernel.cu", &asks);
    let board = ["--format", "popcorn", "--leaderboard", "l", "--gpus", "B200", "-o", "again.py", "--json"];
    let notes = sandbox.run(["pack", "made"].into_iter().chain(board)).expect(0).json()["notes"].to_string();
    for part in [
        "kernel.cu line 7: `getCurrentCUDAStream` is said as the default queue",
        "kernel.cu line 7: the text ",
    ] {
        assert!(notes.contains(part), "{part} not in {notes}");
    }
    for gpu in ["H200", "RTX5090", "B300", "MI300"] {
        let other = ["pack", "made", "--format", "popcorn", "--leaderboard", "l", "--gpus", gpu];
        assert!(sandbox.run(other).expect(2).stderr.contains(gpu));
    }
}
