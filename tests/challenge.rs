//! Champion and challenge without a GPU: on sealed measurements and recorded comparisons. Cut short anywhere, no
//! record is lost, and the same command goes on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use proofmark::measure::decision::Protocol;
use proofmark::measure::decision::simulation::{World, run as simulate};
use proofmark::record::{ComparisonRecord, Context, Record};
use proofmark::recording::Trust;
use proofmark_packager::Digest;
use proofmark_packager::format::MEASUREMENTS_EVIDENCE;
use serde_json::Value;

use crate::support::{Outcome, Sandbox, repository, run, skipped};

const FIRST: &str = "gdn_decode_straightforward-264a77956baf-sm_90a-h200.zip";
const SECOND: &str = "gdn_decode-a2fb7a1b80a0-sm_90a-h200.zip";
const THIRD: &str = "gdn_decode-0c1bddef06c8-sm_90a-h200.zip";

fn solution(name: &str) -> PathBuf {
    repository().join("solutions").join(name)
}

fn with_ledger(sandbox: &Sandbox) -> Command {
    let mut command = sandbox.command();
    command.env("PROOFMARK_LEDGER", sandbox.path("ledger"));
    command
}

fn challenge(sandbox: &Sandbox, candidate: &str, more: &[&str]) -> Outcome {
    let mut command = with_ledger(sandbox);
    command.arg("challenge").arg(solution(candidate)).args(["--shelf", "shelf"]).args(more);
    run(&mut command)
}

fn promote(sandbox: &Sandbox, candidate: &str, more: &[&str]) -> Value {
    challenge(sandbox, candidate, &[&["--promote", "--json"], more].concat()).expect(0).json()
}

fn json(sandbox: &Sandbox, arguments: &[&str]) -> Value {
    run(with_ledger(sandbox).args(arguments).arg("--json")).expect(0).json()
}

fn everything(sandbox: &Sandbox) -> Value {
    json(sandbox, &["ledger", "query", "--limit", "100000"])
}

fn context(name: &str) -> Context {
    let bundle = proofmark_packager::open::open(&solution(name)).unwrap().bundle;
    let text = String::from_utf8(bundle.evidence.get(MEASUREMENTS_EVIDENCE).unwrap().to_vec()).unwrap();
    match Record::from_line(text.lines().next().unwrap()).unwrap() {
        Record::Workload(record) => record.context,
        Record::Comparison(_) => panic!("a seal holds workloads"),
    }
}

/// A comparison as `compare --record` writes it, about a synthetic GPU on which B takes so much more time.
fn comparison(sandbox: &Sandbox, a: &str, b: &str, truth: f64) -> String {
    let protocol = Protocol { samples_per_cell: 9, blocks_per_process: 10, ..Protocol::default() };
    let comparison = simulate(&protocol, &World { truth, ..World::default() }, 2, 3);
    let record = Record::Comparison(Box::new(ComparisonRecord {
        timestamp: proofmark_packager::interop::flashinfer::Timestamp::now(),
        a: context(a),
        b: context(b),
        trust: Trust::Hermetic,
        report: comparison.report().unwrap(),
        events: comparison.events().to_vec(),
        readings: Vec::new(),
    }));
    sandbox.write(format!("{truth}.jsonl"), record.to_line().unwrap() + "\n").display().to_string()
}

/// Where there is a GPU, a challenge would measure.
fn has_gpu() -> bool {
    let has = Path::new("/dev/nvidiactl").exists();
    if has {
        skipped("there is a GPU here; `gpu_16` challenges on it");
    }
    has
}

#[test]
fn without_a_gpu_it_is_said_whether_there_is_a_champion_at_all() {
    if has_gpu() {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.submission("one", &[("kernel.cu", "int x;\n")]);
    let mut command = with_ledger(&sandbox);
    let nothing = run(command.args(["challenge", "one", "--shelf", "shelf"])).expect(3);
    assert!(
        nothing.stderr.contains("holds no measurement") && nothing.stderr.contains("hint: `seal`"),
        "{nothing:?}"
    );
    let elsewhere = challenge(&sandbox, FIRST, &["--arch", "sm_100a"]).expect(3);
    assert!(elsewhere.stderr.contains("has no champion yet"), "{elsewhere:?}");
    for outcome in [nothing, elsewhere] {
        assert!(!outcome.stderr.contains("cannot be compared"), "{outcome:?}");
    }
}

#[test]
fn the_first_is_kept_on_its_sealed_measurements_and_the_next_needs_a_comparison() {
    if has_gpu() {
        return;
    }
    let sandbox = Sandbox::new();
    let first = promote(&sandbox, FIRST, &[]);
    assert_eq!((&first["answer"], &first["champion"]), (&"keep".into(), &Value::Null));
    let reason = first["reason"].as_str().unwrap();
    assert!(
        reason.contains(
            "54 of 54 workloads passed when it was sealed, as the seal says, with errors up to 1e-2 and 1e-2"
        ),
        "{reason}"
    );
    let file = sandbox.path("").join(first["promoted"]["file"].as_str().unwrap());
    assert_eq!(fs::read(&file).unwrap(), fs::read(solution(FIRST)).unwrap());
    let alone = challenge(&sandbox, SECOND, &[]).expect(3);
    assert!(
        alone.stderr.contains("cannot be compared") && alone.stderr.contains("--comparison"),
        "{}",
        alone.stderr
    );
    assert!(challenge(&sandbox, FIRST, &[]).expect(0).stdout.contains("already"));

    let faster = comparison(&sandbox, FIRST, SECOND, -0.05);
    let second = promote(&sandbox, SECOND, &["--comparison", &faster]);
    assert_eq!((&second["answer"], &second["trust"]["kind"]), (&"keep".into(), &"hermetic".into()));
    assert!(second["ratio"]["high"].as_f64().unwrap() < 1.0);
    let lineages = json(&sandbox, &["ledger", "lineage"]);
    let path = lineages["lineages"][0]["path"].as_array().unwrap();
    assert_eq!(path.len(), 2);
    assert_eq!(path[1]["previous"], path[0]["id"]);
    assert_eq!(path[1]["comparison"], second["comparison"]);
    let text = run(with_ledger(&sandbox).args(["ledger", "lineage"])).expect(0).stdout;
    assert!(text.contains("hermetic") && text.contains("* "), "{text}");
}

#[test]
fn what_is_rejected_stays_in_the_ledger_and_is_not_tried_twice_unknowingly() {
    if has_gpu() {
        return;
    }
    let sandbox = Sandbox::new();
    promote(&sandbox, SECOND, &[]);
    let slower = comparison(&sandbox, SECOND, THIRD, 0.05);
    let answer =
        challenge(&sandbox, THIRD, &["--promote", "--comparison", &slower, "--json"]).expect(1).json();
    assert_eq!((&answer["answer"], &answer["promoted"]), (&"reject".into(), &Value::Null));
    let again = challenge(&sandbox, THIRD, &["--promote"]).expect(1);
    assert!(
        again.stdout.contains("tried      before") && again.stdout.contains("slower"),
        "{}",
        again.stdout
    );
    challenge(&sandbox, THIRD, &["--again"]).expect(3);
    let rows = json(&sandbox, &["ledger", "query", "--kind", "challenge", "--verdict", "reject"]);
    assert_eq!(rows["entries"].as_array().unwrap().len(), 1);
    // Nothing of it may be dropped.
    let swept = json(&sandbox, &["ledger", "retain", "--older-than", "0s"]);
    assert_eq!(swept["swept"]["dropped"], 0, "{swept}");
}

#[test]
fn comparisons_of_others_or_that_do_not_follow_from_their_samples_decide_nothing() {
    if has_gpu() {
        return;
    }
    let sandbox = Sandbox::new();
    promote(&sandbox, FIRST, &[]);
    let before = everything(&sandbox);
    let faster = comparison(&sandbox, FIRST, SECOND, -0.05);
    let text = fs::read_to_string(&faster).unwrap();
    let forged = |name: &str, text: String| {
        let path = sandbox.write(name, text).display().to_string();
        challenge(&sandbox, SECOND, &["--promote", "--comparison", &path]).expect(2).stderr
    };
    let other = comparison(&sandbox, THIRD, SECOND, -0.06);
    let refused = challenge(&sandbox, SECOND, &["--comparison", &other]).expect(2).stderr;
    assert!(refused.contains("the champion is"), "{refused}");
    let slower = fs::read_to_string(comparison(&sandbox, FIRST, SECOND, 0.05)).unwrap();
    let called_better = slower.replacen("\"decision\":\"worse\"", "\"decision\":\"better\"", 1);
    assert_ne!(slower, called_better);
    assert!(forged("called.jsonl", called_better).contains("do not lead to what it says"));
    let device = text.replace("NVIDIA H200", "NVIDIA H100");
    let on_another = forged("device.jsonl", device);
    assert!(!on_another.is_empty());
    let cut = text.rfind("{\"cell\":").map(|at| format!("{}{}", &text[..at - 1], "],\"readings\":[]}\n"));
    assert!(forged("cut.jsonl", cut.unwrap()).contains("do not lead to what it says"));
    assert!(forged("none.jsonl", String::new()).contains("holds no comparison"));
    assert_eq!(everything(&sandbox), before);
    // A promotion that somebody brings makes no champion.
    let brought = Sandbox::new();
    let records: String = fs::read_dir(sandbox.path("ledger/records"))
        .unwrap()
        .map(|file| fs::read_to_string(file.unwrap().path()).unwrap())
        .collect();
    brought.write("theirs.jsonl", records);
    run(with_ledger(&brought).args(["ledger", "import", "theirs.jsonl"])).expect(0);
    let lineages = json(&brought, &["ledger", "lineage"]);
    assert_eq!(lineages["lineages"][0]["path"].as_array().unwrap().len(), 0);
    assert_eq!(lineages["lineages"][0]["aside"].as_array().unwrap().len(), 1);
}

#[test]
fn a_champion_that_was_changed_on_its_shelf_is_noticed_and_nothing_else_is_written_over() {
    if has_gpu() {
        return;
    }
    let sandbox = Sandbox::new();
    promote(&sandbox, FIRST, &[]);
    let faster = comparison(&sandbox, FIRST, SECOND, -0.05);
    let name = "shelf/gdn_decode-a2fb7a1b80a0-sm_90a-nvidia-h200.zip";
    sandbox.write(name, "somebody's notes");
    let refused = challenge(&sandbox, SECOND, &["--promote", "--comparison", &faster]).expect(2);
    assert!(refused.stderr.contains("holds something else"), "{}", refused.stderr);
    assert_eq!(fs::read_to_string(sandbox.path(name)).unwrap(), "somebody's notes");
    // The challenge is in the ledger: with the place free, the promotion goes on from there.
    fs::remove_file(sandbox.path(name)).unwrap();
    let answer = promote(&sandbox, SECOND, &[]);
    assert_eq!((&answer["tried_before"], &answer["answer"]), (&true.into(), &"keep".into()));
    assert!(sandbox.path(name).is_file());
}

/// Two promotions, the first on sealed measurements, the second on a comparison.
fn steps(sandbox: &Sandbox) -> [Vec<String>; 2] {
    let faster = comparison(sandbox, FIRST, SECOND, -0.05);
    let step = |name: &str, more: &[&str]| {
        let path = solution(name).display().to_string();
        let words = ["challenge", &path, "--shelf", "shelf", "--promote"];
        words.iter().chain(more).map(|word| (*word).to_owned()).collect::<Vec<_>>()
    };
    [step(FIRST, &[]), step(SECOND, &["--comparison", &faster])]
}

/// What must hold whenever something was cut short: every batch reads, the index says the same after it was made
/// anew, what is on the shelf is whole, and the same commands come to the same end.
fn goes_on(sandbox: &Sandbox, steps: &[Vec<String>; 2]) {
    let before = everything(sandbox);
    let found = before.to_string();
    for file in fs::read_dir(sandbox.path("ledger/records")).into_iter().flatten().flatten() {
        let name = file.file_name().into_string().unwrap();
        let text = fs::read_to_string(file.path()).unwrap();
        for line in text.lines().skip(1).filter(|_| !name.starts_with(".partial-")) {
            assert!(found.contains(&Digest::of_bytes(line.as_bytes()).to_string()), "a record was lost");
        }
    }
    json(sandbox, &["ledger", "rebuild"]);
    assert_eq!(everything(sandbox), before);
    for file in fs::read_dir(sandbox.path("shelf")).into_iter().flatten().flatten() {
        let name = file.file_name().into_string().unwrap();
        assert!(
            name.starts_with(".proofmark-") || proofmark_packager::open::open(&file.path()).is_ok(),
            "{name}"
        );
    }
    // What was promoted before it was cut short stands; the rest goes on.
    let lineages = json(sandbox, &["ledger", "lineage"]);
    let promoted = lineages["lineages"][0]["path"].as_array().map_or(0, Vec::len);
    for step in &steps[promoted..] {
        run(with_ledger(sandbox).args(step)).expect(0);
    }
    let lineages = json(sandbox, &["ledger", "lineage"]);
    assert_eq!(lineages["lineages"][0]["path"].as_array().unwrap().len(), 2, "{lineages:#}");
    assert!(lineages["lineages"][0]["aside"].as_array().unwrap().is_empty());
}

#[test]
fn a_challenge_that_is_killed_at_any_moment_goes_on() {
    if has_gpu() {
        return;
    }
    let sandbox = Sandbox::new();
    let steps = steps(&sandbox);
    let whole = {
        let begun = std::time::Instant::now();
        run(with_ledger(&sandbox).args(&steps[0])).expect(0);
        begun.elapsed()
    };
    let moments = 12;
    for moment in 0..moments {
        let sandbox = Sandbox::new();
        for step in &steps {
            let mut child =
                with_ledger(&sandbox).args(step).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            std::thread::sleep(whole * moment / moments + Duration::from_millis(1));
            // SIGKILL.
            let _ = child.kill();
            child.wait().unwrap();
        }
        goes_on(&sandbox, &steps);
    }
}

#[test]
fn a_challenge_that_finds_the_disk_full_at_any_step_goes_on() {
    if has_gpu() {
        return;
    }
    let sandbox = Sandbox::new();
    let steps = steps(&sandbox);
    let program = with_ledger(&sandbox).get_program().to_owned();
    // No file may grow beyond so many KiB: the write that would fails, as on a full disk.
    for kibibytes in [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 340, 400, 600] {
        let sandbox = Sandbox::new();
        for step in &steps {
            let mut command = Command::new("bash");
            command.args(["-c", "trap '' XFSZ; ulimit -f $0; exec \"$@\"", &kibibytes.to_string()]);
            command.arg(&program).args(step).current_dir(sandbox.path("")).env_clear();
            command.env("HOME", sandbox.home()).env("PROOFMARK_LEDGER", sandbox.path("ledger"));
            command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
            let output = command.stdin(Stdio::null()).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(matches!(output.status.code(), Some(0 | 2 | 3)), "{kibibytes} KiB: {output:?}");
            assert!(output.status.success() || said.contains("error: "), "{kibibytes} KiB: {said}");
        }
        goes_on(&sandbox, &steps);
    }
}

#[test]
fn of_two_promotions_at_once_one_wins_and_the_other_says_so() {
    if has_gpu() {
        return;
    }
    let sandbox = Sandbox::new();
    promote(&sandbox, FIRST, &[]);
    let commands = [SECOND, THIRD].map(|name| {
        let faster = comparison(&sandbox, FIRST, name, if name == SECOND { -0.05 } else { -0.06 });
        let mut command = with_ledger(&sandbox);
        command.arg("challenge").arg(solution(name)).args([
            "--shelf",
            "shelf",
            "--promote",
            "--comparison",
            &faster,
        ]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    });
    let children = commands.map(|mut command| command.spawn().unwrap());
    let codes = children.map(|child| child.wait_with_output().unwrap().status.code().unwrap());
    let lineages = json(&sandbox, &["ledger", "lineage"]);
    let path = lineages["lineages"][0]["path"].as_array().unwrap().len();
    assert!(lineages["lineages"][0]["aside"].as_array().unwrap().is_empty());
    // Either both read the same champion, and one came too late; or one came wholly after the other, and its
    // comparison was with somebody else.
    let won = codes.iter().filter(|code| **code == 0).count();
    assert!((won, path) == (1, 2), "{codes:?} {lineages:#}");
}
