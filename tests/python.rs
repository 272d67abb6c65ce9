//! The player in Python against entry points of every temper, on the CPU. Where Python has no torch, as in CI, a
//! stand-in gives it tensors: what is tested is the process, its calls and its confinement.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use proofmark::python::{Interpreter, PythonDocument, PythonHome};
use proofmark_packager::interop::flashinfer::{Definition, solution};
use proofmark_packager::{Artifact, Digest};
use proofmark_player::protocol::{Answer, Argument, Block, Clock, L2, Order, Role};
use proofmark_player::{Player, PlayerEnd};
use serde_json::json;

use crate::support::players::{self, LIMIT};
use crate::support::{Sandbox, repository, run};

/// Elements of the tensors.
const COUNT: u16 = 100;

fn fixtures() -> PathBuf {
    repository().join("tests/fixtures/python")
}

fn definition() -> Definition {
    let spec = json!({"shape": ["n"], "dtype": "float32"});
    let document = json!({
        "name": "scaled", "op_type": "elementwise", "axes": {"n": {"type": "var"}},
        "inputs": {"x": spec, "factor": {"shape": null, "dtype": "float32"}}, "outputs": {"y": spec},
        "reference": "def run(x, factor):\n    return x * factor\n",
    });
    Definition::from_json(&document.to_string()).unwrap()
}

/// A submission of the fixtures' files with one of their entry points.
fn submission(entry_point: &str, passes_outputs: bool) -> Artifact {
    let content = |name| std::fs::read_to_string(fixtures().join("submissions").join(name)).unwrap();
    let sources = ["compiling.py", "helper.py", "scaling.py", "tempers.py"]
        .map(|name| json!({"path": name, "content": content(name)}));
    let document = json!({
        "name": "a scaling", "definition": "scaled", "author": "tests", "sources": sources,
        "spec": {"language": "python", "target_hardware": ["cuda"], "entry_point": entry_point,
                 "dependencies": [], "destination_passing_style": passes_outputs, "binding": null},
    });
    solution::read(&document.to_string()).unwrap()
}

/// A place for a submission, whose folders end with it.
fn home_of(artifact: &Artifact) -> PythonHome {
    let interpreter = Interpreter::find(Path::new("python3")).unwrap();
    let program = PathBuf::from(env!("CARGO_BIN_EXE_proofmark"));
    let mut home = PythonHome::of_submission(artifact, &interpreter, None, &program).unwrap();
    home.program.paths.insert(0, fixtures().join("stand_in"));
    home
}

/// A player in Python with an entry point loaded and `(x, factor, y)` bound, or why there is none.
fn player_at(home: &PythonHome, artifact: &Artifact, role: Role) -> (Player, Result<(), PlayerEnd>) {
    let document = PythonDocument::of_submission(artifact, &definition(), BTreeMap::new()).bytes();
    player_of(home, &document, role)
}

/// The same with what it is told to load.
fn player_of(home: &PythonHome, document: &[u8], role: Role) -> (Player, Result<(), PlayerEnd>) {
    let bytes = u64::from(COUNT) * 4;
    let (mut player, begun) = players::start_python(&home.program, role, document, [bytes, bytes]);
    assert!(matches!(begun, Ok(Answer::Ready { .. })), "{begun:?}: {}", player.end());
    let loaded = player.ask(&Order::Load { symbol: "run".to_owned() }, LIMIT).map(drop);
    let bound = loaded.and_then(|()| bind(&mut player));
    (player, bound)
}

/// The same with a home of its own, which is kept.
fn ready(entry_point: &str, passes_outputs: bool) -> (PythonHome, Player, Result<(), PlayerEnd>) {
    let artifact = submission(entry_point, passes_outputs);
    let home = home_of(&artifact);
    let (player, bound) = player_at(&home, &artifact, Role::Live);
    (home, player, bound)
}

fn bind(player: &mut Player) -> Result<(), PlayerEnd> {
    let tensor = |block| Argument::Tensor {
        block,
        code: 2,
        bits: 32,
        shape: vec![COUNT.into()],
        strides: vec![1],
        offsets: vec![0],
    };
    let arguments = vec![tensor(Block::Inputs), Argument::Float(3.0), tensor(Block::Outputs)];
    let inputs: Vec<u8> = (0..COUNT).flat_map(|index| f32::from(index).to_le_bytes()).collect();
    player.host()[0].write(0, &inputs).unwrap();
    player.tell(&Order::Bind { slots: 1, arguments }, LIMIT)
}

/// The strides of a contiguous tensor.
fn row_major(shape: &[i64]) -> Vec<i64> {
    (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect()
}

fn call(player: &mut Player, limit: Duration) -> Result<Answer, PlayerEnd> {
    player.ask(&Order::Call(0, Clock::Host, L2::AsIs), limit)
}

fn output(player: &Player, index: u64) -> f32 {
    let mut bytes = [0; 4];
    player.host()[1].read(index * 4, &mut bytes).unwrap();
    f32::from_le_bytes(bytes)
}

#[test]
fn calls_entry_points_as_flashinfer_bench_does() {
    for (entry_point, passes_outputs) in
        [("scaling.py::run", true), ("scaling.py::an_object", true), ("scaling.py::returning", false)]
    {
        let (_home, mut player, bound) = ready(entry_point, passes_outputs);
        bound.unwrap();
        for _ in 0..2 {
            let called = call(&mut player, LIMIT);
            assert!(matches!(called, Ok(Answer::Called(_))), "{entry_point}: {called:?}");
        }
        assert_eq!((output(&player, 1), output(&player, 99)), (3.0, 297.0), "{entry_point}");
    }
}

#[test]
fn what_cannot_be_loaded_is_refused_by_name() {
    for (entry_point, expected) in [
        ("scaling.py::nothing", "AttributeError: scaling.py has no `nothing`"),
        ("scaling.py::a_number", "TypeError: `a_number` of scaling.py is not callable"),
    ] {
        let (_home, _player, bound) = ready(entry_point, true);
        let refused = bound.unwrap_err();
        assert!(matches!(&refused, PlayerEnd::Refused { text } if text.starts_with(expected)), "{refused:?}");
    }
}

#[test]
fn wrong_answers_of_a_returning_entry_point_are_named() {
    for (entry_point, expected) in [
        ("scaling.py::in_a_dict", "output 0 is dict: expected a tensor"),
        ("scaling.py::two", "it returned 2 outputs: expected 1"),
        ("scaling.py::longer", "IncorrectShape: output 0 has shape (101,): expected (100,)"),
        ("scaling.py::in_double", "IncorrectDtype: output 0 is of torch.float64: expected torch.float32"),
    ] {
        let (_home, mut player, bound) = ready(entry_point, false);
        bound.unwrap();
        let raised = call(&mut player, LIMIT).unwrap_err();
        assert!(matches!(&raised, PlayerEnd::Raised { text } if text.contains(expected)), "{raised:?}");
    }
}

#[test]
fn an_error_keeps_its_message_and_its_place_and_the_player_lives() {
    let (_home, mut player, bound) = ready("tempers.py::raises", true);
    bound.unwrap();
    for _ in 0..2 {
        let raised = call(&mut player, LIMIT).unwrap_err();
        let PlayerEnd::Raised { text } = &raised else { panic!("{raised:?}") };
        assert!(
            text.starts_with("ValueError: not today: \\u{1b}[2J3.0 (tempers.py:7 in raises)"),
            "{text:?}"
        );
    }
    let (_home, mut player, bound) = ready("tempers.py::too_few", true);
    bound.unwrap();
    let raised = call(&mut player, LIMIT).unwrap_err();
    assert!(matches!(&raised, PlayerEnd::Raised { text } if text.starts_with("TypeError: ")), "{raised:?}");
}

#[test]
fn leaving_crashing_and_hanging_end_as_with_compiled_code() {
    let called = |entry_point: &str, limit| {
        let (_home, mut player, bound) = ready(entry_point, true);
        bound.unwrap();
        (call(&mut player, limit).unwrap_err(), player.end())
    };
    let (gone, said) = called("tempers.py::leaves", LIMIT);
    assert!(matches!(&gone, PlayerEnd::Gone { how, .. } if how.contains("code 0")), "{gone:?}");
    assert!(said.contains("\"verdict\": \"passed\""), "its words are kept, and mean nothing: {said}");
    let (raised, _) = called("tempers.py::leaves_by_exception", LIMIT);
    assert!(
        matches!(&raised, PlayerEnd::Raised { text } if text.starts_with("SystemExit: gone")),
        "{raised:?}"
    );
    let (crashed, _) = called("tempers.py::crashes", LIMIT);
    assert!(matches!(&crashed, PlayerEnd::Gone { how, .. } if how.contains("segmentation")), "{crashed:?}");
    let begun = Instant::now();
    let (hung, _) = called("tempers.py::hangs", Duration::from_millis(300));
    assert!(matches!(hung, PlayerEnd::TimedOut { .. }), "{hung:?}");
    assert!(begun.elapsed() < Duration::from_secs(20), "took {:?}", begun.elapsed());
}

#[test]
fn python_is_confined_as_compiled_code_is() {
    for (entry_point, expected) in [
        ("tempers.py::starts_a_program", "PermissionError"),
        ("tempers.py::forks", "PermissionError"),
        ("tempers.py::opens", "PermissionError"),
        ("tempers.py::writes", "PermissionError"),
        ("tempers.py::reads_the_judge", "PermissionError"),
        ("tempers.py::calls_home", "PermissionError"),
    ] {
        let (_home, mut player, bound) = ready(entry_point, true);
        bound.unwrap();
        let raised = call(&mut player, LIMIT);
        assert!(
            matches!(&raised, Err(PlayerEnd::Raised { text }) if text.starts_with(expected)),
            "{entry_point}: {raised:?}"
        );
    }
}

#[test]
fn what_a_builder_compiled_is_found_by_others_who_can_compile_nothing() {
    let artifact = submission("compiling.py::run", true);
    let home = home_of(&artifact);
    let called = |role| {
        let (mut player, bound) = player_at(&home, &artifact, role);
        bound.unwrap();
        (call(&mut player, LIMIT), output(&player, 99), player.end())
    };
    let (refused, _, said) = called(Role::Live);
    assert!(
        matches!(&refused, Err(PlayerEnd::Raised { text }) if text.starts_with("PermissionError")),
        "{refused:?}: {said}"
    );
    for role in [Role::Builder, Role::Live] {
        let (done, last, said) = called(role);
        assert!(matches!(done, Ok(Answer::Called(_))), "{role:?}: {done:?}: {said}");
        assert!((last - 297.0).abs() < f32::EPSILON, "{role:?}: {last}");
    }
}

#[test]
fn what_an_entry_compiles_is_answered_by_what_was_built_and_proven_and_by_nothing_else() {
    let module = "__global__ void first(int* p) { *p = 1; }\nvoid start(int* p) { first<<<1, 1>>>(p); }\n\
        extern \"C\" int __tvm_ffi_seven(void) { return 7; }\n";
    let entry = "import pathlib\nimport tvm_ffi\nHERE = pathlib.Path(__file__).parent\n\
        def kernels(flag):\n    return tvm_ffi.cpp.load(\n        name='kernels', \
        cuda_files=[str(HERE / 'kernel.cu')], extra_cuda_cflags=[flag])\n\
        SEVEN = kernels('-DVALUE=1')\n\
        def run(x, factor, y):\n    for place in range(len(y.values)):\n        y.values[place] = SEVEN.seven()\n\
        def otherwise(x, factor, y):\n    kernels('-DVALUE=%d' % factor)\n";
    let sandbox = Sandbox::sharing_builds();
    let solution_of = |symbol: &str| {
        json!({
            "name": "compiled", "definition": "scaled", "author": "tests",
            "sources": [{"path": "main.py", "content": entry}, {"path": "kernel.cu", "content": module}],
            "spec": {"language": "python", "target_hardware": ["cuda"], "entry_point": format!("main.py::{symbol}"),
                     "dependencies": [], "destination_passing_style": true, "binding": null},
        })
        .to_string()
    };
    sandbox.write("solution.json", solution_of("run"));
    run(sandbox.builder().args(["build", "solution.json", "-o", "answers"])).expect(0);
    let answers = sandbox.path("answers");
    let copy = |folder: &Path| {
        for file in fs::read_dir(&answers)?.flatten() {
            fs::copy(file.path(), folder.join(file.file_name()))?;
        }
        Ok(())
    };
    let ready = |symbol: &str| {
        let artifact = solution::read(&solution_of(symbol)).unwrap();
        let home = home_of(&artifact).with_answers(copy).unwrap();
        let (player, bound) = player_at(&home, &artifact, Role::Live);
        (home, player, bound)
    };
    let (_home, mut player, bound) = ready("run");
    bound.unwrap();
    let called = call(&mut player, LIMIT);
    assert!(matches!(called, Ok(Answer::Called(_))), "{called:?}");
    assert_eq!((output(&player, 0), output(&player, 99)), (7.0, 7.0));
    let (_home, mut player, bound) = ready("otherwise");
    bound.unwrap();
    let refused = call(&mut player, LIMIT).unwrap_err();
    assert!(
        matches!(&refused, PlayerEnd::Raised { text } if text.contains("no library was built for `kernels` of kernel.cu")),
        "{refused:?}"
    );
}

#[test]
fn a_module_of_compiled_code_is_called_as_any_entry_point() {
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("scaled.so");
    let headers = Command::new("python3")
        .args(["-c", "import sysconfig; print(sysconfig.get_path('include'))"])
        .output();
    let headers = String::from_utf8(headers.unwrap().stdout).unwrap();
    let mut compiler = Command::new("gcc");
    compiler.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(fixtures().join("extension.c"));
    run(compiler.arg(format!("-I{}", headers.trim()))).expect(0);
    let bytes = fs::read(library).unwrap();
    let interpreter = Interpreter::find(Path::new("python3")).unwrap();
    let program = PathBuf::from(env!("CARGO_BIN_EXE_proofmark"));
    let mut home = PythonHome::of_extension("scaled", &bytes, &interpreter, None, &program).unwrap();
    home.program.paths.insert(0, fixtures().join("stand_in"));
    let artifact = submission("scaling.py::run", true);
    let digest = Digest::of_bytes(&bytes);
    let document = PythonDocument::of_extension(&artifact, &definition(), "scaled", digest).bytes();
    let (mut player, bound) = player_of(&home, &document, Role::Live);
    bound.unwrap();
    let called = call(&mut player, LIMIT);
    assert!(matches!(called, Ok(Answer::Called(_))), "{called:?}");
    assert_eq!((output(&player, 1), output(&player, 99)), (3.0, 297.0));
    let missing = submission("scaling.py::nothing", true);
    let document = PythonDocument::of_extension(&missing, &definition(), "scaled", digest).bytes();
    let (_player, bound) = player_of(&home, &document, Role::Live);
    let refused = bound.unwrap_err();
    assert!(
        matches!(&refused, PlayerEnd::Refused { text } if text.starts_with("AttributeError: scaling.py has no")),
        "{refused:?}"
    );
}

#[test]
fn an_entry_in_python_is_not_sealed_and_the_answer_says_what_can_be_done() {
    let sandbox = Sandbox::new();
    sandbox.submission("mine", &[("main.py", "def run(x, factor, y):\n    pass\n")]);
    let config = |entry: &str| crate::support::CONFIG.replace("cuda", "python").replace("kernel.cu", entry);
    sandbox.write("mine/config.toml", config("main.py"));
    let refused = sandbox.run(["seal", "mine", "-o", "out.zip"]).expect(2);
    assert!(refused.stderr.contains("`python` entry, which is compiled while it runs"), "{}", refused.stderr);
    assert!(refused.stderr.contains("bench --record FILE"), "{}", refused.stderr);
    assert!(!refused.stderr.contains("language ="), "it has no CUDA source: {}", refused.stderr);
    sandbox.write("mine/kernel.cu", "__global__ void first() {}\n");
    let refused = sandbox.run(["seal", "mine", "-o", "out.zip"]).expect(2);
    assert!(refused.stderr.contains("language = \"cuda\""), "{}", refused.stderr);
    assert!(!sandbox.path("out.zip").exists());
}

#[test]
#[ignore = "needs a Python that has torch: PROOFMARK_TEST_PYTHON, else python3"]
fn a_definition_s_own_reference_computes_confined_and_in_double_precision() {
    const DOUBLE: i64 = -1;
    const PLAIN: i64 = -2;
    let python = std::env::var_os("PROOFMARK_TEST_PYTHON").map_or_else(|| "python3".into(), PathBuf::from);
    let interpreter = Interpreter::with_torch(&python).unwrap();
    let program = PathBuf::from(env!("CARGO_BIN_EXE_proofmark"));
    let home = PythonHome::of_definition(&interpreter, None, &program).unwrap();
    let text = std::fs::read_to_string(repository().join("kernels/rmsnorm_h4096/definition.json")).unwrap();
    let document = PythonDocument::of_definition(&Definition::from_json(&text).unwrap()).bytes();
    let row = 4096 * 2;
    let (mut player, begun) = players::start_python(&home.program, Role::Live, &document, [2 * row, row]);
    assert!(matches!(begun, Ok(Answer::Ready { .. })), "{begun:?}: {}", player.end());
    let loaded = player.ask(&Order::Load { symbol: "run".to_owned() }, LIMIT);
    assert!(matches!(loaded, Ok(Answer::Ready { .. })), "{loaded:?}: {}", player.end());
    // In bfloat16: 2 everywhere, weighed with 3.
    let bits = |number: f32| number.to_bits().to_le_bytes()[2..].repeat(4096);
    player.host()[0].write(0, &[bits(2.0), bits(3.0)].concat()).unwrap();
    let tensor = |block, shape: &[i64], offset| Argument::Tensor {
        block,
        code: 4,
        bits: 16,
        shape: shape.to_vec(),
        strides: row_major(shape),
        offsets: vec![offset],
    };
    for asked in [DOUBLE, PLAIN] {
        let arguments = vec![
            tensor(Block::Inputs, &[1, 4096], 0),
            tensor(Block::Inputs, &[4096], row),
            tensor(Block::Outputs, &[1, 4096], 0),
            Argument::Int(asked),
        ];
        player.tell(&Order::Bind { slots: 1, arguments }, LIMIT).unwrap();
        let called = call(&mut player, LIMIT);
        assert!(matches!(called, Ok(Answer::Called(_))), "{called:?}: {}", player.end());
        let mut found = vec![0; bits(0.0).len()];
        player.host()[1].read(0, &mut found).unwrap();
        assert!(found == bits(3.0), "asked {asked}: {:?}", &found[..8]);
        player.host()[1].write(0, &bits(0.0)).unwrap();
    }
}

/// A definition whose own function makes its inputs: a tensor that its seed moves, and a scalar.
fn custom_definition() -> Definition {
    let spec = json!({"shape": ["n"], "dtype": "float32"});
    let document = json!({
        "name": "moved", "op_type": "elementwise", "axes": {"n": {"type": "var"}, "unit": {"value": 10}},
        "inputs": {"x": spec, "factor": {"shape": null, "dtype": "float32"}}, "outputs": {"y": spec},
        "custom_inputs_entrypoint": "make",
        "reference": "import torch\n\ndef make(known, device):\n    first = torch.randint(0, 1 << 20, (), device=device)\n\
                      \x20   x = torch.arange(known['n'], device=device) * known['unit'] + first\n\
                      \x20   return {'x': x.float(), 'factor': 2.5}\n\n\
                      def run(x, factor):\n    return x * factor\n",
    });
    Definition::from_json(&document.to_string()).unwrap()
}

#[test]
#[ignore = "needs a Python that has torch: PROOFMARK_TEST_PYTHON, else python3"]
fn a_definition_s_own_function_makes_inputs_from_a_seed_and_its_scalars_must_stay() {
    let python = std::env::var_os("PROOFMARK_TEST_PYTHON").map_or_else(|| "python3".into(), PathBuf::from);
    let interpreter = Interpreter::with_torch(&python).unwrap();
    let program = PathBuf::from(env!("CARGO_BIN_EXE_proofmark"));
    let home = PythonHome::of_definition(&interpreter, None, &program).unwrap();
    let document = PythonDocument::of_definition(&custom_definition()).bytes();
    let bytes = u64::from(COUNT) * 4;
    let (mut player, begun) = players::start_python(&home.program, Role::Live, &document, [bytes, bytes]);
    assert!(matches!(begun, Ok(Answer::Ready { .. })), "{begun:?}: {}", player.end());
    let loaded = player.ask(&Order::Load { symbol: "run".to_owned() }, LIMIT);
    assert!(matches!(loaded, Ok(Answer::Ready { .. })), "{loaded:?}: {}", player.end());
    let tensor = |block, shape: &[i64], bits| Argument::Tensor {
        block,
        code: 2,
        bits,
        shape: shape.to_vec(),
        strides: row_major(shape),
        offsets: vec![0],
    };
    let mut make = |factor: Argument, seed: i64| {
        let (x, y) =
            (tensor(Block::Inputs, &[COUNT.into()], 32), tensor(Block::Outputs, &[COUNT.into()], 32));
        let arguments = vec![x, factor, y, Argument::Int(COUNT.into()), Argument::Int(seed)];
        player.tell(&Order::Bind { slots: 1, arguments }, LIMIT).unwrap();
        call(&mut player, LIMIT)?;
        let (mut made, mut factor) = ([0; 8], [0; 8]);
        player.host()[0].read(0, &mut made).unwrap();
        player.host()[1].read(0, &mut factor).unwrap();
        let first = f32::from_le_bytes(made[..4].try_into().unwrap());
        let second = f32::from_le_bytes(made[4..].try_into().unwrap());
        assert!((second - first - 10.0).abs() < 1e-6, "{first} {second}");
        Ok((first.to_bits(), f64::from_le_bytes(factor)))
    };
    let place = || tensor(Block::Outputs, &[], 64);
    let (first, factor) = make(place(), 7).unwrap();
    assert!((factor - 2.5).abs() < 1e-12);
    assert_eq!(make(Argument::Float(2.5), 7).unwrap().0, first, "the same seed, the same inputs");
    assert_ne!(make(Argument::Float(2.5), 8).unwrap().0, first);
    let refused: Result<_, PlayerEnd> = make(Argument::Float(3.0), 9);
    assert!(
        matches!(&refused, Err(PlayerEnd::Raised { text }) if text.contains("made `factor` = 2.5: expected 3.0")),
        "{refused:?}"
    );
}
