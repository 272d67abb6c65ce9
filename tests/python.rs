//! The player in Python against entry points of every temper, on the CPU. Where Python has no torch, as in CI, a
//! stand-in gives it tensors: what is tested is the process, its calls and its confinement.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use proofmark::python::{Interpreter, PythonDocument, PythonHome};
use proofmark_packager::Artifact;
use proofmark_packager::interop::flashinfer::{Definition, solution};
use proofmark_player::protocol::{Answer, Argument, Block, Clock, L2, Order};
use proofmark_player::{Player, PlayerEnd};
use serde_json::json;

use crate::support::players::{self, LIMIT};
use crate::support::repository;

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
    let sources =
        ["helper.py", "scaling.py", "tempers.py"].map(|name| json!({"path": name, "content": content(name)}));
    let document = json!({
        "name": "a scaling", "definition": "scaled", "author": "tests", "sources": sources,
        "spec": {"language": "python", "target_hardware": ["cuda"], "entry_point": entry_point,
                 "dependencies": [], "destination_passing_style": passes_outputs, "binding": null},
    });
    solution::read(&document.to_string()).unwrap()
}

/// A player in Python with an entry point loaded and `(x, factor, y)` bound, or why there is none. The home is kept:
/// its folders end with it.
fn ready(entry_point: &str, passes_outputs: bool) -> (PythonHome, Player, Result<(), PlayerEnd>) {
    let artifact = submission(entry_point, passes_outputs);
    let interpreter = Interpreter::find(Path::new("python3")).unwrap();
    let program = PathBuf::from(env!("CARGO_BIN_EXE_proofmark"));
    let mut home = PythonHome::of_submission(&artifact, &interpreter, None, &program).unwrap();
    home.program.paths.insert(0, fixtures().join("stand_in"));
    let document = PythonDocument::of_submission(&artifact, &definition()).bytes();
    let bytes = u64::from(COUNT) * 4;
    let (mut player, begun) = players::start_python(&home.program, &document, [bytes, bytes]);
    assert!(matches!(begun, Ok(Answer::Ready { .. })), "{begun:?}: {}", player.end());
    let loaded = player.ask(&Order::Load { symbol: "run".to_owned() }, LIMIT).map(drop);
    let bound = loaded.and_then(|()| bind(&mut player));
    (home, player, bound)
}

fn bind(player: &mut Player) -> Result<(), PlayerEnd> {
    let tensor =
        |block| Argument::Tensor { block, code: 2, bits: 32, shape: vec![COUNT.into()], offsets: vec![0] };
    let arguments = vec![tensor(Block::Inputs), Argument::Float(3.0), tensor(Block::Outputs)];
    let inputs: Vec<u8> = (0..COUNT).flat_map(|index| f32::from(index).to_le_bytes()).collect();
    player.host()[0].write(0, &inputs).unwrap();
    player.tell(&Order::Bind { slots: 1, arguments }, LIMIT)
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
