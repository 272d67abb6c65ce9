//! The ledger: what comes in, what is found, what survives, and what is not believed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use proofmark_packager::format::MEASUREMENTS_EVIDENCE;
use serde_json::Value;

use crate::support::{Outcome, Sandbox, repository, run};

const MEASURED: [&str; 3] = [
    "gdn_decode-0c1bddef06c8-sm_90a-h200.zip",
    "gdn_decode-a2fb7a1b80a0-sm_90a-h200.zip",
    "gdn_decode_straightforward-264a77956baf-sm_90a-h200.zip",
];

fn solution(name: &str) -> PathBuf {
    repository().join("solutions").join(name)
}

fn ledger(sandbox: &Sandbox, arguments: &[&str]) -> Outcome {
    run(with_ledger(sandbox).arg("ledger").args(arguments))
}

fn with_ledger(sandbox: &Sandbox) -> Command {
    let mut command = sandbox.command();
    command.env("PROOFMARK_LEDGER", sandbox.path("ledger"));
    command
}

fn json(sandbox: &Sandbox, arguments: &[&str]) -> Value {
    ledger(sandbox, &[arguments, &["--json"]].concat()).expect(0).json()
}

fn import(sandbox: &Sandbox, path: &Path) -> Value {
    json(sandbox, &["import", path.to_str().unwrap()])
}

/// The records that an artifact was sealed with.
fn records(name: &str) -> String {
    let bundle = proofmark_packager::open::open(&solution(name)).unwrap().bundle;
    String::from_utf8(bundle.evidence.get(MEASUREMENTS_EVIDENCE).unwrap().to_vec()).unwrap()
}

/// Everything that the index says.
fn everything(sandbox: &Sandbox) -> (Value, Value) {
    let all = ["--limit", "1000000"];
    (json(sandbox, &[&["query"], &all[..]].concat()), json(sandbox, &[&["list"], &all[..]].concat()))
}

#[test]
fn the_shelf_comes_in_once_and_its_runs_say_how_far_they_can_be_believed() {
    let sandbox = Sandbox::new();
    let first = import(&sandbox, &repository().join("solutions"));
    let new: u64 = first["files"].as_array().unwrap().iter().map(|one| one["new"].as_u64().unwrap()).sum();
    assert_eq!(new, 3 * 54 + 13, "a line for each workload and one for each seal");
    let again = import(&sandbox, &repository().join("solutions"));
    assert!(again["files"].as_array().unwrap().iter().all(|one| one["new"] == 0));
    let runs = json(&sandbox, &["list"]);
    let runs = runs["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 3);
    for run in runs {
        assert_eq!((&run["trust"], &run["origin"]), (&"live".into(), &"imported".into()));
        assert_eq!((&run["passed"], &run["workloads"]), (&54.into(), &54.into()));
        assert!(run["mean_ns"].as_f64().is_some_and(|mean| mean > 1000.0));
    }
    let shown = ledger(&sandbox, &["show", runs[0]["run"].as_str().unwrap()]).expect(0).stdout;
    assert!(
        shown.contains("live: measured beside the submission's host code") && shown.contains('█'),
        "{shown}"
    );
    assert!(
        shown.contains(
            "outputs could be off by 0.01 absolute, 0.01 relative, for a share of 1 of the elements"
        ),
        "{shown}"
    );
    let artifact = ledger(&sandbox, &["show", "0c1bddef06c8"]).expect(0).stdout;
    assert!(artifact.contains("seal") && artifact.contains("54/54"), "{artifact}");
}

#[test]
fn a_ledger_without_runs_says_what_it_holds_instead() {
    let sandbox = Sandbox::new();
    assert_eq!(ledger(&sandbox, &["list"]).expect(0).stdout, "no runs\n");
    import(&sandbox, &solution("gdn_decode-0c1bddef06c8.zip"));
    let said = ledger(&sandbox, &["list"]).expect(0).stdout;
    assert_eq!(said, "no runs, and 1 seal: `proofmark ledger query` lists them\n");
    assert_eq!(ledger(&sandbox, &["list", "--solution", "other"]).expect(0).stdout, "no runs\n");
}

#[test]
fn filters_find_what_they_name_and_no_more() {
    let sandbox = Sandbox::new();
    import(&sandbox, &repository().join("solutions"));
    let count = |arguments: &[&str]| {
        let found = json(&sandbox, &[&["query", "--limit", "9999"], arguments].concat());
        found["entries"].as_array().unwrap().len()
    };
    assert_eq!(count(&["--kind", "seal"]), 13);
    assert_eq!(count(&["--kind", "workload", "--solution", "gdn_decode"]), 2 * 54);
    assert_eq!(count(&["--solution", "gdn_decode*", "--kind", "workload"]), 3 * 54);
    assert_eq!(count(&["--artifact", "0c1bddef06c8", "--kind", "workload", "--device", "NVIDIA H200"]), 54);
    assert_eq!(count(&["--trust", "hermetic"]), 0);
    assert_eq!(count(&["--verdict", "passed", "--until", "2026-11-01"]), 0);
    assert_eq!(count(&["--verdict", "passed", "--since", "2026-11-01"]), 3 * 54);
    assert_eq!(count(&["--definition", "' OR 1=1 --"]), 0);
    assert_eq!(
        count(&["--device", "*", "--author", "proofmark", "--arch", "sm_90a", "--kind", "workload"]),
        3 * 54
    );
    ledger(&sandbox, &["query", "--since", "yesterday"]).expect(2);
    ledger(&sandbox, &["query", "--kind", "rumour"]).expect(2);
    for (option, value) in [("--verdict", "nosuch"), ("--trust", "blind"), ("--origin", "heard")] {
        let outcome = ledger(&sandbox, &["query", option, value]).expect(2);
        assert!(outcome.stderr.contains(value) && outcome.stderr.contains(option), "{outcome:?}");
    }
    let missing = ledger(&sandbox, &["show", "abcdef12"]).expect(2);
    assert!(
        missing.stderr.contains("0 entries") && !missing.stderr.contains("more of its digits"),
        "{missing:?}"
    );
    ledger(&sandbox, &["show", "0000"]).expect(2);
    ledger(&sandbox, &["show", "0"]).expect(2);
}

#[test]
fn traces_of_both_boards_come_in_and_are_called_reported() {
    let sandbox = Sandbox::new();
    let golden = repository().join("tests/golden/flashinfer_traces.jsonl");
    let found = import(&sandbox, &golden);
    assert_eq!(found["files"][0]["new"], fs::read_to_string(&golden).unwrap().lines().count());
    let hack = r#"{"definition":"d","workload":{"axes":{"n":1},"inputs":{"x":{"type":"custom"}},"uuid":"u"},"solution":"s",
        "evaluation":{"status":"REWARD_HACK","environment":{"hardware":"NVIDIA B200","libs":{}},"timestamp":"2026-11-21T07:02:07","log":""}}"#;
    let workload = r#"{"definition":"d","workload":{"axes":{"n":1},"inputs":{},"uuid":"u"},"solution":null,"evaluation":null}"#;
    let lines = [hack.replace('\n', " "), workload.to_owned()].join("\n");
    let path = sandbox.write("sol.jsonl", lines);
    let found = import(&sandbox, &path);
    assert_eq!(
        (&found["files"][0]["new"], &found["files"][0]["note"]),
        (&1.into(), &"1 workloads without an evaluation were passed over".into())
    );
    let rows = json(&sandbox, &["query", "--kind", "trace", "--verdict", "REWARD_HACK"]);
    assert_eq!(rows, json(&sandbox, &["query", "--kind", "trace", "--verdict", "reward_hack"]));
    assert_eq!(
        (&rows["entries"][0]["trust"], &rows["entries"][0]["device"]),
        (&"reported".into(), &"NVIDIA B200".into())
    );
    // A file is of one board: what one line tells of holds for all.
    let passed = r#"{"definition":"d","workload":{"axes":{"n":1},"inputs":{},"uuid":"u"},"solution":"mixed","evaluation":{
        "status":"PASSED","environment":{"hardware":"NVIDIA B200","libs":{}},"timestamp":"2026-11-21T07:02:07","log":"",
        "correctness":{"max_relative_error":0.1,"max_absolute_error":0.1,"extra":null},
        "performance":{"latency_ms":0.002,"reference_latency_ms":1.0,"speedup_factor":500.0}}}"#;
    let hack = hack.replace("\"solution\":\"s\"", "\"solution\":\"mixed\"");
    let lines = [passed, &hack].map(|line| line.replace('\n', " ")).join("\n");
    import(&sandbox, &sandbox.write("mixed.jsonl", lines));
    let traces = json(&sandbox, &["query", "--kind", "trace"]);
    let runs: Vec<&str> = traces["entries"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["solution"] == "mixed")
        .map(|entry| entry["run"].as_str().unwrap())
        .collect();
    assert!(runs.len() == 2 && runs[0] == runs[1] && runs[0].starts_with("sol-execbench-"), "{runs:?}");
    // What is neither is refused by its line, and nothing of the file comes in.
    let before = everything(&sandbox);
    let path = sandbox.write(
        "odd.jsonl",
        format!("{}\n{{\"definition\":1}}\n", records(MEASURED[0]).lines().next().unwrap()),
    );
    let refused = ledger(&sandbox, &["import", path.to_str().unwrap()]).expect(2);
    assert!(refused.stderr.contains("odd.jsonl`, line 2: "), "{}", refused.stderr);
    assert_eq!(everything(&sandbox), before);
}

#[test]
fn an_index_that_is_lost_damaged_or_of_another_layout_is_made_again_equal() {
    let sandbox = Sandbox::new();
    for name in MEASURED {
        import(&sandbox, &solution(name));
    }
    let before = everything(&sandbox);
    let index = sandbox.path("ledger/index.sqlite");
    ledger(&sandbox, &["rebuild"]).expect(0);
    assert_eq!(everything(&sandbox), before);
    fs::remove_file(&index).unwrap();
    assert_eq!(everything(&sandbox), before);
    fs::write(&index, b"SQLite format 3\0 and then nothing of it").unwrap();
    assert_eq!(everything(&sandbox), before);
    let mut bytes = fs::read(&index).unwrap();
    let middle = bytes.len() / 2;
    bytes[4096..middle].fill(0xa5);
    fs::write(&index, &bytes).unwrap();
    for side in ["-wal", "-shm"] {
        let _ = fs::remove_file(sandbox.path(format!("ledger/index.sqlite{side}")));
    }
    ledger(&sandbox, &["rebuild", "--json"]).expect(0).json();
    assert_eq!(everything(&sandbox), before);
}

#[test]
fn a_batch_that_was_changed_is_not_believed_and_its_lines_can_be_brought_in_again() {
    let sandbox = Sandbox::new();
    for name in &MEASURED[..2] {
        import(&sandbox, &solution(name));
    }
    let before = everything(&sandbox);
    let batches: Vec<PathBuf> =
        fs::read_dir(sandbox.path("ledger/records")).unwrap().map(|one| one.unwrap().path()).collect();
    let text = fs::read_to_string(&batches[0]).unwrap();
    let forged = text.replacen("\"status\":\"passed\"", "\"status\":\"pessed\"", 1);
    assert_ne!(text, forged);
    fs::write(&batches[0], forged).unwrap();
    let answer = ledger(&sandbox, &["rebuild", "--json"]).expect(1);
    assert_eq!(answer.json()["faults"].as_array().unwrap().len(), 1);
    assert!(answer.stderr.contains("changed after it was written"), "{}", answer.stderr);
    // A torn end is a change too: the whole lines in front of it come back by an import.
    let torn = sandbox.write("torn.jsonl", &text[..text.len() - 40]);
    fs::remove_file(&batches[0]).unwrap();
    ledger(&sandbox, &["rebuild"]).expect(0);
    let back = import(&sandbox, &torn);
    assert!(back["files"][0]["note"].as_str().unwrap().contains("torn"), "{back}");
    let count = |all: &(Value, Value)| all.0["entries"].as_array().unwrap().len();
    assert_eq!(count(&everything(&sandbox)), count(&before) - 1);
    import(&sandbox, &solution(MEASURED[0]));
    import(&sandbox, &solution(MEASURED[1]));
    assert_eq!(count(&everything(&sandbox)), count(&before));
}

#[test]
fn what_a_seal_names_is_never_dropped() {
    let sandbox = Sandbox::new();
    import(&sandbox, &solution(MEASURED[0]));
    let path = sandbox.write("loose.jsonl", records(MEASURED[1]));
    import(&sandbox, &path);
    let swept =
        |more: &[&str]| json(&sandbox, &[&["retain", "--older-than", "1s"], more].concat())["swept"].clone();
    let shelf = repository().join("solutions");
    let look = swept(&["--dry-run", "--shelf", shelf.to_str().unwrap()]);
    assert_eq!((&look["dropped"], &look["kept_by_name"]), (&0.into(), &108.into()), "the shelf names both");
    assert_eq!(swept(&["--dry-run"])["dropped"], 54);
    let before = everything(&sandbox);
    let done = swept(&[]);
    assert_eq!((&done["dropped"], &done["kept_by_name"]), (&54.into(), &54.into()));
    assert!(done["freed_bytes"].as_u64().unwrap() > 100_000);
    let after = everything(&sandbox);
    assert_eq!(
        after.0["entries"].as_array().unwrap().len(),
        before.0["entries"].as_array().unwrap().len() - 54
    );
    assert_eq!(after.1["runs"].as_array().unwrap().len(), 1);
    ledger(&sandbox, &["rebuild"]).expect(0);
    assert_eq!(everything(&sandbox), after);
}

#[test]
fn texts_of_strangers_steer_no_terminal_and_no_query() {
    let sandbox = Sandbox::new();
    let line = records(MEASURED[0]).lines().next().unwrap().to_owned();
    let evil = line.replacen("\"gdn_decode\"", "\"\\u001b[2J\\u202eevil'; DROP TABLE entries; --\"", 1);
    assert_ne!(line, evil);
    let path = sandbox.write("\u{202e}evil.jsonl", evil + "\n");
    ledger(&sandbox, &["import", path.to_str().unwrap()]).expect(0);
    for arguments in [&["list"][..], &["query"], &["list", "--solution", "*evil*"]] {
        let shown = ledger(&sandbox, arguments).expect(0).stdout;
        assert!(
            shown.contains("DROP TABLE") && !shown.contains('\u{1b}') && !shown.contains('\u{202e}'),
            "{shown}"
        );
    }
    let id = json(&sandbox, &["query"])["entries"][0]["id"].as_str().unwrap().to_owned();
    let shown = ledger(&sandbox, &["show", &id]).expect(0).stdout;
    assert!(shown.contains("evil") && !shown.contains('\u{1b}'), "{shown}");
}

#[test]
fn several_processes_at_once_lose_nothing() {
    let sandbox = Sandbox::new();
    let text = records(MEASURED[0]);
    let lines: Vec<&str> = text.lines().collect();
    let parts: Vec<PathBuf> = lines
        .chunks(6)
        .enumerate()
        .map(|(index, part)| sandbox.write(format!("part{index}.jsonl"), part.join("\n") + "\n"))
        .collect();
    let children: Vec<_> = parts
        .iter()
        .map(|part| with_ledger(&sandbox).args(["ledger", "import"]).arg(part).spawn().expect("it starts"))
        .collect();
    for child in children {
        assert!(child.wait_with_output().unwrap().status.success());
    }
    let before = everything(&sandbox);
    assert_eq!(before.0["entries"].as_array().unwrap().len(), 54);
    assert_eq!(before.1["runs"][0]["workloads"], 54);
    ledger(&sandbox, &["rebuild"]).expect(0);
    assert_eq!(everything(&sandbox), before);
}

#[test]
fn what_only_reads_makes_no_ledger() {
    let sandbox = Sandbox::new();
    let sealed = solution(MEASURED[0]).display().to_string();
    let verbs: [&[&str]; 7] = [
        &["ledger", "list"],
        &["ledger", "query"],
        &["ledger", "show", "0c1bddef06c8"],
        &["ledger", "lineage"],
        &["ledger", "retain", "--older-than", "1d"],
        &["ledger", "rebuild"],
        &["report", &sealed],
    ];
    fs::create_dir(sandbox.path("empty")).unwrap();
    for verb in verbs {
        for named in ["typo", "empty"] {
            let refused = sandbox.run(verb.iter().copied().chain(["--ledger", named])).expect(2);
            assert!(refused.stderr.contains(&format!("{named} holds no ledger")), "{verb:?}: {refused:?}");
        }
        assert_eq!(sandbox.files(), ["empty"], "{verb:?}");
    }
    for verb in &verbs[..6] {
        let outcome = sandbox.run(*verb);
        assert_eq!(outcome.code, if verb.contains(&"show") { 2 } else { 0 }, "{verb:?}: {outcome:?}");
    }
    assert_eq!(fs::read_dir(sandbox.home()).unwrap().count(), 0);
    let of_variable = ledger(&sandbox, &["list"]).expect(0);
    assert!(of_variable.stderr.contains("holds no ledger yet"), "{of_variable:?}");
    assert_eq!(sandbox.files(), ["empty"]);
}

#[test]
fn what_cannot_be_imported_is_named_before_a_ledger_is_begun() {
    let sandbox = Sandbox::new();
    let refused = sandbox.run(["ledger", "import", "nothere.jsonl", "--ledger", "t2"]).expect(2);
    assert!(refused.stderr.contains("cannot read nothere.jsonl"), "{refused:?}");
    assert!(refused.stderr.contains("hint: name JSONL files or artifacts"), "{refused:?}");
    assert!(sandbox.files().is_empty(), "{:?}", sandbox.files());
}
