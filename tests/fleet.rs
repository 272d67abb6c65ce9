//! Many jobs: plans, workers that are killed, and what is put together in the end.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use proofmark::fleet::Results;
use proofmark::fleet::attempt::AttemptStart;
use proofmark::fleet::results::Published;
use proofmark::job::{Action, Input, Job};
use proofmark::measure::decision::simulation::{self, World};
use proofmark::measure::decision::{Comparison, Decision};
use proofmark::record::BenchReport;
use proofmark::record::{ComparisonRecord, Context, Record};
use proofmark::recording::Trust;
use proofmark_packager::Digest;
use proofmark_packager::format::MEASUREMENTS_EVIDENCE;
use serde_json::{Value, json};

use crate::support::{CONFIG, Outcome, Sandbox, repository, run};

/// A kernel that says nothing compiles fast.
fn kernel(factor: usize) -> String {
    format!(
        "#include <tvm/ffi/c_api.h>\n__global__ void scale(float* x) {{ *x *= {factor}; }}\n\
         extern \"C\" TVM_FFI_DLL_EXPORT int __tvm_ffi_run(void*, const TVMFFIAny*, int32_t, TVMFFIAny*) {{\n  \
         scale<<<1, 1>>>(nullptr);\n  return 0;\n}}\n"
    )
}

fn entry(sandbox: &Sandbox, name: &str, source: &str) {
    sandbox.write(format!("entries/{name}/config.toml"), CONFIG.replace("sample\"", &format!("{name}\"")));
    sandbox.write(format!("entries/{name}/kernel.cu"), source);
}

/// One that is refused before any compiler is asked.
fn refused(sandbox: &Sandbox, name: &str) {
    entry(sandbox, name, "int x;\n");
    let config = CONFIG.replace("sample\"", &format!("{name}\""));
    let config = format!("{config}[target]\nnvcc_flags = [\"-arch=sm_90\"]\n");
    sandbox.write(format!("entries/{name}/config.toml"), config);
}

fn lines(sandbox: &Sandbox, name: &str) -> Vec<Value> {
    let text = fs::read_to_string(sandbox.path(name)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn fleet_run(sandbox: &Sandbox, more: &[&str]) -> Outcome {
    let arguments = ["fleet", "run", "plan.jsonl", "--offline", "--json"];
    sandbox.build(arguments.iter().chain(more))
}

fn reduced(sandbox: &Sandbox, code: i32) -> Value {
    sandbox.run(["fleet", "reduce", "plan.jsonl", "--json"]).expect(code).json()
}

#[test]
fn the_same_submissions_give_the_same_plan_and_a_bad_one_stops_nobody() {
    let sandbox = Sandbox::new();
    entry(&sandbox, "one", &kernel(1));
    entry(&sandbox, "team/two", &kernel(2));
    sandbox.write("entries/bad/config.toml", "nonsense");
    let first = sandbox.run(["fleet", "plan", "entries", "--json"]).expect(1);
    let document = first.json();
    assert_eq!((&document["shards"], &document["need_gpu"]), (&json!(2), &json!(0)));
    assert_eq!(document["passed_over"][0]["path"], "entries/bad");
    assert_eq!(document["passed_over"][0]["kind"], "left_out");
    let bytes = fs::read(sandbox.path("plan.jsonl")).unwrap();
    // What is found twice is done once, and said.
    sandbox.run(["pack", "entries/one", "-o", "entries/again.zip"]).expect(0);
    let again = sandbox.run(["fleet", "plan", "entries", "-o", "again.jsonl"]).expect(1);
    let team = ["fleet", "plan", "entries/one", "entries/again.zip", "-o", "pair.jsonl"];
    sandbox.run(team).expect(0);
    assert!(again.stderr.contains("it is done once"), "{again:#?}");
    let names = |plan: &str| -> Vec<Value> {
        lines(&sandbox, plan).iter().map(|line| line["shard"].clone()).collect()
    };
    assert_eq!(names("again.jsonl"), names("plan.jsonl"));
    fs::remove_file(sandbox.path("entries/again.zip")).unwrap();
    sandbox.run(["fleet", "plan", "entries", "-o", "again.jsonl"]).expect(1);
    assert_eq!(fs::read(sandbox.path("again.jsonl")).unwrap(), bytes);
    // A job of the plan is one that `job run` takes.
    crate::support::schema::check(&lines(&sandbox, "plan.jsonl")[2]);
}

#[test]
fn a_plan_that_was_cut_or_changed_is_refused_by_name() {
    let sandbox = Sandbox::new();
    refused(&sandbox, "one");
    refused(&sandbox, "two");
    sandbox.run(["fleet", "plan", "entries"]).expect(0);
    let text = fs::read_to_string(sandbox.path("plan.jsonl")).unwrap();
    let first = text.lines().skip(1).take(2).collect::<Vec<_>>().join("\n");
    let first = first.as_str();
    let cases = [
        (text[..text.len() - 9].to_owned(), "the file was cut"),
        (text[..=text.find('\n').unwrap()].to_owned() + first + "\n", "holds 1 shards"),
        (text.clone() + first + "\n", "stands there before"),
        (
            text.replace("proofmark.fleet\",\"version\":1", "proofmark.fleet\",\"version\":2"),
            "reads version 1",
        ),
        (String::new(), "it is empty"),
        ("{}\n".to_owned(), "expected `proofmark.fleet`"),
    ];
    for (plan, said) in cases {
        sandbox.write("plan.jsonl", plan);
        let answer = fleet_run(&sandbox, &[]).expect(2).json();
        assert!(answer["error"].as_str().unwrap().contains(said), "{said}: {answer:#}");
    }
    // A job that is not the one that its shard is named by is not done.
    sandbox.write("plan.jsonl", text.replace("\"freshness\":\"cached\"", "\"freshness\":\"fresh\""));
    let run = fleet_run(&sandbox, &[]).expect(3);
    let told = run.stderr.lines().filter(|line| line.contains("] not judged ")).collect::<Vec<_>>();
    let why = "was changed after it was planned: its job is another one";
    assert!(told.len() == 2 && told.iter().all(|line| line.ends_with(why)), "{}", run.stderr);
    let run = run.json();
    assert_eq!((&run["tally"]["refused"], &run["tally"]["not_judged"]), (&json!(0), &json!(2)));
    let document = reduced(&sandbox, 3);
    assert_eq!((&document["invalid"], &document["finished"]), (&json!(2), &json!(0)));
    let reduce = sandbox.run(["fleet", "reduce", "plan.jsonl"]).expect(3);
    let hints: Vec<&str> = reduce.stderr.lines().filter(|line| line.starts_with("hint: ")).collect();
    assert_eq!(hints, ["hint: `proofmark fleet plan` writes it anew; what was done stays done"]);
    let reason = document["shards"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("was changed after it was planned: its job is another one"), "{reason}");
}

#[test]
fn a_solution_is_planned_whatever_its_file_is_called_and_one_that_was_cut_is_left_out() {
    let sandbox = Sandbox::new();
    entry(&sandbox, "one", &kernel(1));
    sandbox.run(["pack", "entries/one", "-o", "one.json"]).expect(0);
    let text = fs::read_to_string(sandbox.path("one.json")).unwrap();
    let named = |name: &str| text.replace("\"one\"", &format!("\"{name}\""));
    for (file, name) in [
        ("set/solution.json", "first"),
        ("set/alice.json", "second"),
        ("set/solutions/bob/op/fast.json", "third"),
        ("set/solutions/bob/op/faster.JSON", "fourth"),
    ] {
        assert_ne!(named(name), text);
        sandbox.write(file, named(name));
    }
    sandbox.write("set/definition.json", "{ \"name\": \"d\" }");
    let document = sandbox.run(["fleet", "plan", "set", "--json"]).expect(0).json();
    assert_eq!(document["shards"], 4, "{document:#}");
    let reason = document["passed_over"][0]["reason"].as_str().unwrap();
    assert_eq!(reason, "1 file is JSON and no solution: set/definition.json");
    for (name, content) in
        [("cut", &text[..text.len() / 2]), ("broken", "{ \"definition\": 1, \"spec\": {}, \"sources\": [] }")]
    {
        sandbox.write(format!("set/solutions/{name}.json"), content);
    }
    let document = sandbox.run(["fleet", "plan", "set", "--json"]).expect(1).json();
    assert_eq!(document["shards"], 4, "{document:#}");
    let left = document["passed_over"].as_array().unwrap().iter().filter(|one| one["kind"] == "left_out");
    assert_eq!(left.count(), 2, "{document:#}");
}

#[test]
fn a_reason_of_several_lines_stands_in_one_and_shards_of_the_same_names_are_told_apart() {
    let sandbox = Sandbox::new();
    for (folder, factor) in [("alice/x", 1), ("bob/x", 2)] {
        entry(&sandbox, folder, &kernel(factor));
        sandbox.write(format!("entries/{folder}/config.toml"), CONFIG);
    }
    entry(&sandbox, "other", &kernel(3));
    sandbox.write("entries/bad/config.toml", "[solution]\nx = [\n");
    let planned = sandbox.run(["fleet", "plan", "entries"]).expect(1).stderr;
    let reduced = sandbox.run(["fleet", "reduce", "plan.jsonl"]).expect(3).stdout;
    for text in [&planned, &reduced] {
        let line = text.lines().find(|line| line.contains("entries/bad:")).unwrap();
        assert!(line.contains("config.toml: ") && !line.contains("\\n") && !line.contains(" | "), "{line}");
    }
    assert!(reduced.contains("planned from") && reduced.contains("entries/alice/x"), "{reduced}");
    assert!(!reduced.contains("entries/other"), "{reduced}");
    let document = sandbox.run(["fleet", "reduce", "plan.jsonl", "--json"]).expect(3).json();
    crate::support::schema::check(&document);
    let places: Vec<&Value> =
        document["shards"].as_array().unwrap().iter().map(|shard| &shard["planned_from"]).collect();
    assert_eq!(places.iter().filter(|place| place.is_null()).count(), 1, "{document:#}");
    assert!(places.contains(&&json!(["entries/bob/x"])), "{document:#}");
}

/// The same plan, in which a submission was found elsewhere.
fn forge_path(plan: &[&str]) -> String {
    let label = plan[1].replacen("\"path\":\"entries/honest\"", "\"path\":\"champion.zip\"", 1);
    assert_ne!(label, plan[1]);
    format!("{}\n{label}\n{}\n", plan[0], plan[2])
}

#[test]
fn what_a_plan_says_of_a_shard_is_what_its_job_says_or_is_not_repeated() {
    let sandbox = Sandbox::new();
    refused(&sandbox, "honest");
    sandbox.run(["fleet", "plan", "entries"]).expect(0);
    let text = fs::read_to_string(sandbox.path("plan.jsonl")).unwrap();
    let plan: Vec<&str> = text.lines().collect();
    let forge = |from: &str, to: &str| {
        let label = plan[1].replacen(from, to, 1);
        assert_ne!(label, plan[1], "{from}");
        sandbox.write("plan.jsonl", format!("{}\n{label}\n{}\n", plan[0], plan[2]));
        reduced(&sandbox, 3)["shards"][0].clone()
    };
    for (from, to, what) in [
        ("\"solution\":\"honest\"", "\"solution\":\"champion\"", "submission"),
        ("\"author\":\"team\"", "\"author\":\"mallory\"", "submission"),
        ("\"definition\":\"sample_definition\"", "\"definition\":\"another\"", "definition"),
        ("\"arch\":\"sm_100a\"", "\"arch\":\"sm_90a\"", "architecture"),
        ("\"verb\":\"build\"", "\"verb\":\"bench\"", "verb"),
        ("\"workloads\":0", "\"workloads\":54", "number of workloads"),
        ("\"needs_gpu\":false", "\"needs_gpu\":true", "need of a GPU"),
    ] {
        let shard = forge(from, to);
        assert_eq!((&shard["standing"], &shard["answer"]), (&json!("invalid"), &Value::Null), "{what}");
        let reason = shard["reason"].as_str().unwrap();
        assert!(reason.contains(&format!("its {what} is another one")), "{reason}");
        let shown = sandbox.run(["fleet", "reduce", "plan.jsonl"]).expect(3).stdout;
        assert!(!shown.contains("champion") && !shown.contains("mallory"), "{shown}");
    }
    // Where something was found no job tells: it stands in the plan, and nowhere else.
    let moved = forge_path(&plan);
    sandbox.write("plan.jsonl", &moved);
    let document = reduced(&sandbox, 3);
    assert_eq!(document["shards"][0]["standing"], "untried");
    assert!(!document.to_string().contains("champion"), "{document:#}");
    // A plan holds builds and measurements alone.
    let verb = |line: &str| line.replace("\"verb\":\"build\"", "\"verb\":\"seal\"");
    let job =
        verb(plan[2]).replace("\"subject\":", "\"measure\":{\"kind\":\"not\",\"reason\":\"x\"},\"subject\":");
    sandbox.write("plan.jsonl", format!("{}\n{}\n{job}\n", plan[0], verb(plan[1])));
    let reason = reduced(&sandbox, 3)["shards"][0]["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("a plan does not `seal`"), "{reason}");
}

/// Where the outcome of a shard stands.
fn outcome_of(sandbox: &Sandbox, shard: &Value) -> PathBuf {
    sandbox.path(format!("results/outcomes/{}.json", shard["shard"].as_str().unwrap()))
}

fn attempts_of(sandbox: &Sandbox, shard: &Value) -> PathBuf {
    sandbox.path(format!("results/attempts/{}.jsonl", shard["shard"].as_str().unwrap()))
}

#[test]
fn an_outcome_of_another_job_or_one_that_was_edited_counts_for_nothing_and_the_others_count() {
    let sandbox = Sandbox::sharing_builds();
    for (name, source) in [("broken", "not C++"), ("builds", &kernel(3)), ("builds_too", &kernel(3))] {
        entry(&sandbox, name, source);
    }
    sandbox.run(["fleet", "plan", "entries"]).expect(0);
    fleet_run(&sandbox, &[]).expect(0);
    let honest = reduced(&sandbox, 1);
    let shards = honest["shards"].as_array().unwrap();
    let [broken, builds, too] = [&shards[0], &shards[1], &shards[2]];
    assert_eq!((&broken["answer"]["exit_code"], &builds["answer"]["exit_code"]), (&json!(1), &json!(0)));
    let own = fs::read_to_string(outcome_of(&sandbox, broken)).unwrap();
    let attempts = fs::read_to_string(attempts_of(&sandbox, broken)).unwrap();
    let good = fs::read_to_string(outcome_of(&sandbox, builds)).unwrap();
    let name = |shard: &Value| shard["shard"].as_str().unwrap().to_owned();
    let renamed = good.replace(&name(builds), &name(broken));
    let replaced = |text: &str, from: &str, to: &str| {
        let forged = text.replace(from, to);
        assert_ne!(forged, text, "{from}");
        forged
    };
    let library = builds["answer"]["library"].as_str().unwrap();
    let forgeries = [
        (good.clone(), "it answers another job"),
        (renamed.clone(), "no attempt wrote it"),
        (replaced(&own, "\"exit_code\": 1", "\"exit_code\": 0"), "no attempt wrote it"),
    ];
    let count = |said: &str, outcome: &str, attempts: &str| {
        fs::write(outcome_of(&sandbox, broken), outcome).unwrap();
        fs::write(attempts_of(&sandbox, broken), attempts).unwrap();
        let document = reduced(&sandbox, 3);
        let shard = &document["shards"][0];
        let reason = shard["reason"].as_str().unwrap_or_default();
        assert!(reason.contains(said), "{said}: {shard:#}");
        assert_eq!((&shard["standing"], &shard["answer"]), (&json!("invalid"), &Value::Null));
        assert_eq!((&document["finished"], &document["invalid"]), (&json!(2), &json!(1)));
        assert_eq!(document["shards"][2], *too);
        let again = fleet_run(&sandbox, &[]).json();
        again["tally"].clone()
    };
    for (outcome, said) in forgeries {
        let tally = count(said, &outcome, &attempts);
        assert_eq!((&tally["finished_before"], &tally["invalid"]), (&json!(2), &json!(1)), "{said}");
    }
    // Whoever forges the file of attempts too is held to what the job and the outcome itself say.
    let announced = |outcome: &str| {
        let known = Digest::of_bytes(own.as_bytes()).to_string();
        replaced(&attempts, &known, &Digest::of_bytes(outcome.as_bytes()).to_string())
    };
    for (outcome, said) in [
        (replaced(&own, "\"exit_code\": 1", "\"exit_code\": 0"), "its exit code is 0: expected 1"),
        (
            replaced(&own, "\"compile_error\"", "\"world_record\""),
            "its verdict is world_record: expected proven",
        ),
        (replaced(&own, "\"compile_error\"", "\"proven\""), "its arch is null: expected sm_100a"),
        (replaced(&renamed, "\"arch\": \"sm_100a\"", "\"arch\": \"sm_90a\""), "its arch is sm_90a"),
        (
            replaced(&renamed, "arch=compute_100a,code=sm_100a", "arch=compute_100a,code=sm_90a"),
            "its gencode is",
        ),
        (renamed.replacen(library, &"0".repeat(64), 1), "its proven library is"),
        (replaced(&renamed, "\"verdict\": \"exact\"", "\"verdict\": \"no\""), "its proof's verdict is no"),
        (
            replaced(&renamed, "\"stance\": \"confirms\"", "\"stance\": \"contradicts\""),
            "a witness against it",
        ),
        (replaced(&renamed, library, "none"), "expected a SHA-256"),
        (replaced(&renamed, "\"records\": []", "\"records\": [{}]"), "its records cannot be read"),
        (replaced(&renamed, "\"records\": []", "\"records\": 7"), "its records cannot be read"),
    ] {
        count(said, &outcome, &announced(&outcome));
    }
    // What is removed is done again.
    fs::remove_file(outcome_of(&sandbox, broken)).unwrap();
    fs::write(attempts_of(&sandbox, broken), attempts).unwrap();
    fleet_run(&sandbox, &[]).expect(0);
    assert_eq!(reduced(&sandbox, 1)["finished"], 3);
}

#[test]
fn what_is_no_file_among_the_results_is_named_and_the_others_go_on() {
    let sandbox = Sandbox::sharing_builds();
    for name in ["one", "two"] {
        entry(&sandbox, name, "not C++");
    }
    sandbox.run(["fleet", "plan", "entries"]).expect(0);
    let plan = lines(&sandbox, "plan.jsonl");
    let pipe = |path: &PathBuf| {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    };
    let (outcome, attempts) = (outcome_of(&sandbox, &plan[1]), attempts_of(&sandbox, &plan[1]));
    for path in [&outcome, &attempts] {
        pipe(path);
        let run = fleet_run(&sandbox, &[]).expect(3);
        assert!(run.stderr.contains("hint: remove the files that are named invalid"), "{}", run.stderr);
        let tally = run.json()["tally"].clone();
        assert_eq!((&tally["invalid"], &tally["open"]), (&json!(1), &json!(0)), "{tally}");
        let document = reduced(&sandbox, 3);
        assert_eq!((&document["finished"], &document["invalid"]), (&json!(1), &json!(1)));
        let reason = document["shards"][0]["reason"].as_str().unwrap();
        assert!(reason.contains(path.file_name().unwrap().to_str().unwrap()), "{reason}");
        fs::remove_file(path).unwrap();
    }
    // What an attempt says is not needed for what it comes to.
    pipe(&attempts.with_extension("log"));
    let run = fleet_run(&sandbox, &[]).expect(0);
    assert!(run.stderr.contains(".log"), "{}", run.stderr);
    assert_eq!(reduced(&sandbox, 1)["finished"], 2);
    for part in ["outcomes", "attempts", "records", "slurm"] {
        let (place, aside) = (sandbox.path("results").join(part), sandbox.path("aside"));
        let is_there = fs::rename(&place, &aside).is_ok();
        std::os::unix::fs::symlink(sandbox.path("elsewhere"), &place).unwrap();
        for verb in ["run", "reduce"] {
            let refused = sandbox.run(["fleet", verb, "plan.jsonl"]).expect(3).stderr;
            assert!(refused.contains("it is a link: expected a folder"), "{part}: {refused}");
        }
        fs::remove_file(&place).unwrap();
        if is_there {
            fs::rename(&aside, &place).unwrap();
        }
    }
    assert!(!sandbox.path("elsewhere").exists());
}

#[test]
fn every_shard_is_done_once_and_what_has_no_outcome_is_named() {
    let sandbox = Sandbox::sharing_builds();
    entry(&sandbox, "builds", &kernel(3));
    entry(&sandbox, "builds_too", &kernel(3));
    entry(&sandbox, "broken", "not C++");
    refused(&sandbox, "refused");
    sandbox.run(["fleet", "plan", "entries"]).expect(0);
    let before = reduced(&sandbox, 3);
    assert_eq!((&before["missing"], &before["complete"]), (&json!(4), &json!(false)));
    let half = fleet_run(&sandbox, &["--shard", "0/2"]).expect(0).json();
    assert_eq!(half["tally"]["shards"], 2);
    assert_eq!(reduced(&sandbox, 3)["missing"], 2);
    fleet_run(&sandbox, &["--shard", "1/2", "--workers", "2"]).expect(0);
    let document = reduced(&sandbox, 1);
    assert_eq!((&document["finished"], &document["refused"]), (&json!(3), &json!(1)));
    let of = |name: &str| {
        let shards = document["shards"].as_array().unwrap();
        shards.iter().find(|shard| shard["subjects"][0]["solution"] == name).unwrap().clone()
    };
    for name in ["builds", "builds_too"] {
        assert_eq!((&of(name)["answer"]["word"], &of(name)["attempts"]), (&json!("proven"), &json!(1)));
    }
    assert_eq!(of("broken")["answer"]["word"], "compile_error");
    assert!(of("refused")["reason"].as_str().unwrap().contains("-arch=sm_90"), "{document:#}");
    // Again: nothing changes but the refusals, which cost nothing.
    let outcomes = || -> BTreeSet<(PathBuf, Vec<u8>)> {
        let all = fs::read_dir(sandbox.path("results/outcomes")).unwrap().flatten();
        all.map(|entry| (entry.path(), fs::read(entry.path()).unwrap())).collect()
    };
    let known = outcomes();
    let again = fleet_run(&sandbox, &[]).expect(0).json();
    assert_eq!(again["tally"]["finished_before"], 3);
    assert_eq!((outcomes(), known.len()), (known, 3));
}

#[test]
fn runs_beside_each_other_say_what_each_did_and_what_the_other_did() {
    let sandbox = Sandbox::new();
    for index in 0..6 {
        entry(&sandbox, &format!("broken{index}"), &format!("not C++ {index}"));
    }
    sandbox.run(["fleet", "plan", "entries"]).expect(0);
    let runs = [start(&sandbox, &["--workers", "1"]), start(&sandbox, &["--workers", "1"])];
    let tallies = runs.map(|run| {
        let ended = run.wait_with_output().unwrap();
        assert_eq!(ended.status.code(), Some(0));
        let document: Value = serde_json::from_slice(&ended.stdout).unwrap();
        crate::support::schema::check(&document);
        document["tally"].clone()
    });
    let of = |tally: &Value, name: &str| tally[name].as_u64().unwrap();
    for tally in &tallies {
        let all = ["finished_before", "finished_here", "finished_elsewhere"].map(|name| of(tally, name));
        assert_eq!((all.iter().sum::<u64>(), of(tally, "elsewhere")), (6, 0), "{tallies:#?}");
    }
    assert_eq!(tallies.iter().map(|tally| of(tally, "finished_here")).sum::<u64>(), 6, "{tallies:#?}");
}

/// Starts a run in the background.
fn start(sandbox: &Sandbox, more: &[&str]) -> Child {
    let mut command = sandbox.builder();
    command.args(["fleet", "run", "plan.jsonl", "--offline", "--json"]).args(more);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts")
}

/// Waits until something holds.
#[track_caller]
fn wait(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn standing(sandbox: &Sandbox) -> String {
    let answer = sandbox.run(["fleet", "reduce", "plan.jsonl", "--json"]).json();
    answer["shards"][0]["standing"].as_str().unwrap().to_owned()
}

#[test]
fn a_worker_that_is_killed_loses_nothing_and_leaves_nothing_running() {
    let sandbox = Sandbox::new();
    entry(&sandbox, "one", &kernel(4));
    sandbox.run(["fleet", "plan", "entries"]).expect(0);
    let mut worker = start(&sandbox, &[]);
    wait("the attempt begins", || standing(&sandbox) == "running");
    // While it is done, another worker waits for it instead of doing it too.
    let mut other = start(&sandbox, &[]);
    worker.kill().unwrap();
    worker.wait().unwrap();
    assert!(other.wait().unwrap().success(), "the other one takes over");
    let document = reduced(&sandbox, 0);
    let shard = &document["shards"][0];
    assert_eq!((&shard["standing"], &shard["answer"]["word"]), (&json!("finished"), &json!("proven")));
    assert_eq!(shard["attempts"], 2);
    // The process that did it is asked to end with its worker: whether it still says so, or is lost with its
    // compiler, is a matter of the moment.
    let results = Results::open(&sandbox.path("results")).unwrap();
    let first = results.attempts(shard["shard"].as_str().unwrap().parse().unwrap()).unwrap().remove(0);
    assert_eq!(first.outcome, None);
    assert_eq!(shard["lost_attempts"], u8::from(first.ended.is_none()));
    assert!(
        first.ended.is_none_or(|ended| ended.exit_code == 3 && ended.error.unwrap().contains("interrupt"))
    );
    let process = PathBuf::from(format!("/proc/{}", first.begun.process));
    assert!(!process.exists(), "what the killed worker started runs on");
}

#[test]
fn a_run_that_is_asked_to_end_says_so_and_can_be_started_again() {
    let sandbox = Sandbox::new();
    entry(&sandbox, "one", &kernel(5));
    sandbox.run(["fleet", "plan", "entries"]).expect(0);
    let worker = start(&sandbox, &[]);
    wait("the attempt begins", || standing(&sandbox) == "running");
    let asked = Command::new("kill").args(["-TERM", &worker.id().to_string()]).status().unwrap();
    assert!(asked.success());
    let ended = worker.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(3));
    let document: Value = serde_json::from_slice(&ended.stdout).unwrap();
    crate::support::schema::check(&document);
    assert_eq!(document["interrupted"], true);
    // Whether it was within a compiler or between two decides the word, and nothing else.
    assert!(["not_judged", "lost"].contains(&standing(&sandbox).as_str()));
    fleet_run(&sandbox, &[]).expect(0);
    assert_eq!(reduced(&sandbox, 0)["finished"], 1);
}

/// A plan of one measurement, and the folder of its results.
fn measuring_plan(sandbox: &Sandbox) -> String {
    let kernel = repository().join("kernels/rmsnorm_h4096/block_per_row").display().to_string();
    sandbox.run(["fleet", "plan", &kernel, "--verb", "bench", "--batch", "1"]).expect(0);
    let plan = lines(sandbox, "plan.jsonl");
    assert_eq!((&plan[1]["needs_gpu"], &plan[1]["verb"]), (&json!(true), &json!("bench")));
    plan[1]["shard"].as_str().unwrap().to_owned()
}

#[test]
fn what_needs_a_gpu_is_not_judged_without_one_and_stays_open() {
    let sandbox = Sandbox::new();
    measuring_plan(&sandbox);
    let mut command = sandbox.builder();
    command.env("CUDA_VISIBLE_DEVICES", "").args(["fleet", "run", "plan.jsonl"]);
    let none = run(&mut command).expect(3);
    assert!(none.stderr.contains("a GPU is needed for 1 shard, and none is here"), "{none:#?}");
    let name = format!("no-such-gpu-{}", std::process::id());
    let tried = fleet_run(&sandbox, &["--gpus", &name]).expect(3).json();
    assert_eq!(tried["tally"]["not_judged"], 1);
    let shard = &reduced(&sandbox, 3)["shards"][0];
    assert_eq!((&shard["standing"], &shard["attempts"]), (&json!("not_judged"), &json!(1)));
    assert!(shard["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{shard:#}");
    let _ = fs::remove_file(format!("/dev/shm/proofmark-{name}.lock"));
}

/// A plan that measures what was sealed, and its outcome as a machine with a GPU leaves it.
fn measured(sandbox: &Sandbox) -> (Value, Value) {
    let sealed = repository().join("solutions/gdn_decode_straightforward-264a77956baf-sm_90a-h200.zip");
    let definition = repository().join("kernels/gdn_decode_qk4_v8_d128_k_last/definition.json");
    let reference = definition.with_file_name("reference").display().to_string();
    let (path, definition) = (sealed.display().to_string(), definition.display().to_string());
    let more =
        ["--verb", "bench", "--arch", "sm_90a", "--definition", &definition, "--reference", &reference];
    sandbox.run(["fleet", "plan", &path].iter().chain(&more)).expect(0);
    let plan = lines(sandbox, "plan.jsonl");
    let job = Job::from_document(&plan[2].to_string()).unwrap();
    let Action::Bench { measuring, .. } = &job.action else { panic!("it measures") };
    let bundle = proofmark_packager::open::open(&sealed).unwrap().bundle;
    let text = String::from_utf8(bundle.evidence.get(MEASUREMENTS_EVIDENCE).unwrap().to_vec()).unwrap();
    let definition_digest = measuring.task.definition_digest();
    let mut records = Vec::new();
    for line in text.lines() {
        let Record::Workload(mut record) = Record::from_line(line).unwrap() else { panic!("{line}") };
        record.context.run_id = Some("0123456789abcdef0123456789abcdef".parse().unwrap());
        record.context.definition_digest = Some(definition_digest);
        record.context.reference = Some(measuring.reference.digest(definition_digest));
        record.context.live = measuring.live;
        records.push(*record);
    }
    let (first, count) = (&records[0].context, records.len());
    let report = BenchReport::new(first, None, records.iter().map(|record| &record.finding), count);
    let outcome = json!({
        "schema": "proofmark.outcome", "schema_version": 1, "job": job.digest(), "solution": "any",
        "arch": "sm_90a", "library_sha256": first.library, "passed": report.passed, "expected": count,
        "overall": report.overall, "exit_code": 0,
        "records": records.into_iter().map(|one| Record::Workload(Box::new(one))).collect::<Vec<_>>(),
    });
    (plan[1].clone(), outcome)
}

/// Puts an outcome in its place, as an attempt does.
fn publish(sandbox: &Sandbox, shard: &Value, outcome: &Value) {
    let (text, folder) = (outcome.to_string(), sandbox.path("results"));
    let _ = fs::remove_dir_all(&folder);
    let results = Results::open(&folder).unwrap();
    let mut claim = results.claim(shard["shard"].as_str().unwrap().parse().unwrap()).unwrap().unwrap();
    claim.begin(&AttemptStart::now(None)).unwrap();
    assert_eq!(claim.publish(text.as_bytes()).unwrap(), Published::New);
}

#[test]
fn measurements_go_into_a_ledger_once_and_onto_a_page() {
    let sandbox = Sandbox::new();
    let (shard, outcome) = measured(&sandbox);
    publish(&sandbox, &shard, &outcome);
    let count = outcome["expected"].as_u64().unwrap();
    let reduce = |page: &str| {
        let arguments = ["fleet", "reduce", "plan.jsonl", "--ledger", "ledger", "--report", page, "--json"];
        sandbox.run(arguments).expect(0).json()["ledger"].clone()
    };
    assert_eq!(reduce("one.html"), json!({ "new": count, "known": 0 }));
    assert_eq!(reduce("two.html"), json!({ "new": 0, "known": count }));
    let page = fs::read_to_string(sandbox.path("two.html")).unwrap();
    assert!(page.contains("54 of 54 workloads passed"), "the page shows the run");
    let table = sandbox.run(["fleet", "reduce", "plan.jsonl"]).expect(0).stdout;
    let mean_us = outcome["overall"]["arithmetic_mean_ns"].as_f64().unwrap() / 1e3;
    assert!(table.contains("54 of 54 passed") && table.contains(&format!("{mean_us:.2}")), "{table}");
    let listed = sandbox.run(["ledger", "list", "--ledger", "ledger", "--json"]).expect(0).json();
    assert_eq!(listed["runs"].as_array().unwrap().len(), 1);
}

#[test]
fn no_measurement_counts_that_is_not_of_the_job_or_whose_figures_do_not_follow_from_its_samples() {
    type Forge = Box<dyn Fn(&mut Value)>;
    let sandbox = Sandbox::new();
    let (shard, honest) = measured(&sandbox);
    let other = Digest::of_bytes(b"another").to_string();
    let context = |name: &'static str, value: Value| {
        move |outcome: &mut Value| outcome["records"][7]["context"][name] = value.clone()
    };
    let forgeries: Vec<(&str, Forge)> = vec![
        ("its overall is", Box::new(|outcome| outcome["overall"]["arithmetic_mean_ns"] = json!(1.0))),
        ("its passed is 55", Box::new(|outcome| outcome["passed"] = json!(55))),
        ("its expected is 1", Box::new(|outcome| outcome["expected"] = json!(1))),
        ("its exit code is 1", Box::new(|outcome| outcome["exit_code"] = json!(1))),
        ("its arch is sm_100a", Box::new(|outcome| outcome["arch"] = json!("sm_100a"))),
        ("its library is", Box::new(|outcome| outcome["library_sha256"] = json!("0".repeat(64)))),
        ("record's solution is champion", Box::new(context("solution", json!("champion")))),
        ("record's author is mallory", Box::new(context("author", json!("mallory")))),
        ("record's artifact is", Box::new(context("artifact", json!(other)))),
        ("record's artifact is null", Box::new(context("artifact", Value::Null))),
        ("record's definition is easy", Box::new(context("definition", json!("easy")))),
        ("record's definition's digest is", Box::new(context("definition_digest", json!(other)))),
        ("record's reference is", Box::new(context("reference", json!(other)))),
        ("record's arch is sm_100a", Box::new(context("arch", json!("sm_100a")))),
        ("record's live is always", Box::new(context("live", json!("always")))),
        ("record's strides is rows", Box::new(context("strides", json!("rows")))),
        ("record's run is null", Box::new(context("run_id", Value::Null))),
        ("its library is", Box::new(context("library", json!(other)))),
        ("of several runs", Box::new(context("run_id", json!("f".repeat(32))))),
        (
            "of several runs",
            Box::new(|outcome| {
                outcome["records"][7]["context"]["environment"]["device"] = json!("NVIDIA B200");
            }),
        ),
        ("its tolerance is", Box::new(|outcome| outcome["records"][7]["tolerance"]["atol"] = json!(1.0))),
        (
            "its traffic in bytes is 1",
            Box::new(|outcome| {
                outcome["records"][7]["finding"]["traffic_bytes"] = json!(1);
            }),
        ),
        (
            "its workload is",
            Box::new(|outcome| {
                outcome["records"][7]["finding"]["workload"]["axes"]["batch_size"] = json!(999);
            }),
        ),
        ("two of workload", Box::new(|outcome| outcome["records"][7] = outcome["records"][6].clone())),
        (
            "its passed is 54: expected 53",
            Box::new(|outcome| {
                outcome["records"].as_array_mut().unwrap().pop();
            }),
        ),
        (
            "its overall is",
            Box::new(|outcome| {
                let samples = &mut outcome["records"][7]["finding"]["measurements"][0]["samples_ns"];
                for sample in samples.as_array_mut().unwrap() {
                    *sample = json!(sample.as_f64().unwrap() / 2.0);
                }
            }),
        ),
        (
            "no measurement gives that",
            Box::new(|outcome| {
                outcome["records"][7]["finding"]["measurements"][0]["samples_ns"][0] = json!(-1.0);
            }),
        ),
        ("is of a workload", Box::new(|outcome| outcome["records"][7]["record"] = json!("comparison"))),
    ];
    for (said, forge) in forgeries {
        let mut outcome = honest.clone();
        forge(&mut outcome);
        publish(&sandbox, &shard, &outcome);
        let arguments =
            ["fleet", "reduce", "plan.jsonl", "--ledger", "ledger", "--report", "page.html", "--json"];
        let document = sandbox.run(arguments).expect(3).json();
        let one = &document["shards"][0];
        assert_eq!((&one["standing"], &one["answer"]), (&json!("invalid"), &Value::Null), "{said}");
        let reason = one["reason"].as_str().unwrap();
        assert!(reason.contains(said) || said == "is of a workload", "{said}: {reason}");
        assert_eq!(document["ledger"], json!({ "new": 0, "known": 0 }), "{said}");
        assert!(document["report"].is_null() && !sandbox.path("page.html").exists(), "{said}");
    }
    publish(&sandbox, &shard, &honest);
    assert_eq!(reduced(&sandbox, 0)["finished"], 1);
}

/// A plan that compares two kernels, and its outcome as a machine with a GPU leaves it: samples are made up, and what
/// is said of them follows.
fn compared(sandbox: &Sandbox, truth: f64) -> (Value, Value) {
    let folder = repository().join("kernels/gdn_decode_qk4_v8_d128_k_last");
    let [pair, incumbent] = ["warp_per_row", "one_pass"].map(|name| folder.join(name).display().to_string());
    let more = ["--verb", "compare", "--arch", "sm_90a", "--batch", "1", "--against", &incumbent];
    let protocol = ["--looks", "3,5", "--blocks", "6", "--samples", "5"];
    sandbox.run(["fleet", "plan", &pair].iter().chain(&more).chain(&protocol)).expect(0);
    let plan = lines(sandbox, "plan.jsonl");
    let job = Job::from_document(&plan[2].to_string()).unwrap();
    let Action::Compare { incumbent, candidate, measuring, protocol, .. } = &job.action else {
        panic!("it compares")
    };
    let sealed = repository().join("solutions/gdn_decode_straightforward-264a77956baf-sm_90a-h200.zip");
    let bundle = proofmark_packager::open::open(&sealed).unwrap().bundle;
    let text = String::from_utf8(bundle.evidence.get(MEASUREMENTS_EVIDENCE).unwrap().to_vec()).unwrap();
    let Record::Workload(sealed) = Record::from_line(text.lines().next().unwrap()).unwrap() else {
        panic!("it is of a workload")
    };
    let definition = measuring.task.definition_digest();
    let context = |input: &Input| {
        let artifact = input.artifact().unwrap();
        Context {
            run_id: Some("0123456789abcdef0123456789abcdef".parse().unwrap()),
            solution: input.name().to_owned(),
            author: artifact.manifest().solution.author.clone(),
            artifact: Some(artifact.digest()),
            library: artifact.digest(),
            definition: measuring.task.definition.name().to_owned(),
            definition_digest: Some(definition),
            reference: Some(measuring.reference.digest(definition)),
            live: measuring.live,
            ..sealed.context.clone()
        }
    };
    let world = World { truth, ..World::default() };
    let made_up = simulation::run(protocol, &world, measuring.task.workloads.len(), 7);
    let uuids = measuring.task.workloads.iter().map(|one| one.uuid().to_owned()).collect();
    let events = made_up.events().to_vec();
    let replayed = Comparison::replay((**protocol).clone(), uuids, 7, events.iter().cloned()).unwrap();
    let (a, b, report) = (context(incumbent), context(candidate), replayed.report().unwrap());
    let arm = |context: &Context| json!({ "name": context.solution, "library_sha256": context.library });
    let code = match report.decision {
        Decision::Better => 0,
        Decision::Worse | Decision::Equal => 1,
        Decision::Undecided { .. } => 3,
    };
    let outcome = json!({
        "schema": "proofmark.outcome", "schema_version": 1, "job": job.digest(), "exit_code": code,
        "a": arm(&a), "b": arm(&b), "trust": Trust::Hermetic, "report": report,
        "records": [Record::Comparison(Box::new(ComparisonRecord {
            timestamp: sealed.timestamp.clone(), a, b, trust: Trust::Hermetic, report, events, readings: Vec::new(),
        }))],
    });
    (plan[1].clone(), outcome)
}

#[test]
fn a_comparison_goes_into_the_table_the_ledger_and_the_page() {
    let sandbox = Sandbox::new();
    for (truth, code, word) in [(-0.05, 0, "better"), (0.05, 1, "worse")] {
        let (shard, outcome) = compared(&sandbox, truth);
        publish(&sandbox, &shard, &outcome);
        let folder = format!("ledger-{word}");
        let arguments = ["fleet", "reduce", "plan.jsonl", "--ledger", &folder, "--report", "page.html"];
        let table = sandbox.run(arguments).expect(code).stdout;
        let change = 100.0 * (outcome["report"]["ratio"]["mean"].as_f64().unwrap() - 1.0);
        assert!(table.contains(word) && table.contains(&format!("{change:+.2} %")), "{table}");
        assert!(table.contains("ledger       1 new entries, 0 known"), "{table}");
        let page = fs::read_to_string(sandbox.path("page.html")).unwrap();
        assert!(page.contains(&format!(" is {word}</strong>")) && page.contains("A′"), "the page shows it");
        let document = sandbox.run([&arguments[..], &["--json"]].concat()).expect(code).json();
        assert_eq!(document["ledger"], json!({ "new": 0, "known": 1 }));
        assert_eq!(document["shards"][0]["answer"]["word"], word);
    }
}

#[test]
fn no_comparison_counts_that_is_not_of_the_job_or_does_not_follow_from_its_samples() {
    type Forge = Box<dyn Fn(&mut Value)>;
    let sandbox = Sandbox::new();
    let (shard, honest) = compared(&sandbox, -0.05);
    let other = Digest::of_bytes(b"another").to_string();
    let set = |pointer: &'static str, value: Value| -> Forge {
        Box::new(move |outcome| *outcome.pointer_mut(pointer).unwrap() = value.clone())
    };
    // What stands twice is forged twice.
    let both = |name: &'static str, value: Value| -> Forge {
        Box::new(move |outcome| {
            for place in ["/report", "/records/0/report"] {
                *outcome.pointer_mut(&format!("{place}{name}")).unwrap() = value.clone();
            }
        })
    };
    let forgeries: Vec<(&str, Forge)> = vec![
        ("its exit code is 1: expected 0", set("/exit_code", json!(1))),
        ("its report is another: expected the one of its record", set("/report/ratio/mean", json!(0.5))),
        ("the one that its samples give", both("/ratio/mean", json!(0.5))),
        ("the one that its samples give", both("/decision", json!("equal"))),
        ("its protocol is", both("/protocol/margin", json!(0.001))),
        ("its workloads is", both("/workloads/0/uuid", json!("easy"))),
        ("its trust is", set("/trust", json!({ "kind": "live", "reason": "x" }))),
        ("record's solution is champion", set("/records/0/b/solution", json!("champion"))),
        ("record's artifact is", set("/records/0/a/artifact", json!(other))),
        ("record's artifact is", set("/records/0/b/artifact", json!(other))),
        ("record's reference is", set("/records/0/b/reference", json!(other))),
        ("its library is", set("/a/library_sha256", json!(other))),
        ("its record's run is", set("/records/0/b/run_id", json!("f".repeat(32)))),
        ("its records is 0: expected one comparison", set("/records", json!([]))),
        (
            "its records is 2: expected one comparison",
            Box::new(|outcome| {
                let one = outcome["records"][0].clone();
                outcome["records"] = json!([one, one]);
            }),
        ),
        (
            "the one that its samples give",
            Box::new(|outcome| {
                let events = outcome["records"][0]["events"].as_array_mut().unwrap();
                let with_samples =
                    events.iter_mut().filter_map(|event| event.pointer_mut("/cell/samples_ns/0"));
                for sample in with_samples {
                    *sample = json!(sample.as_f64().unwrap() * 1.5);
                }
            }),
        ),
    ];
    for (said, forge) in forgeries {
        let mut outcome = honest.clone();
        forge(&mut outcome);
        assert_ne!(outcome, honest, "{said}");
        publish(&sandbox, &shard, &outcome);
        let document = reduced(&sandbox, 3);
        let one = &document["shards"][0];
        assert_eq!((&one["standing"], &one["answer"]), (&json!("invalid"), &Value::Null), "{said}");
        let reason = one["reason"].as_str().unwrap();
        assert!(reason.contains(said), "{said}: {reason}");
    }
    publish(&sandbox, &shard, &honest);
    assert_eq!(reduced(&sandbox, 0)["finished"], 1);
}

#[test]
fn a_page_of_nothing_that_was_measured_is_said_beside_the_table() {
    let sandbox = Sandbox::sharing_builds();
    entry(&sandbox, "builds", &kernel(3));
    sandbox.run(["fleet", "plan", "entries"]).expect(0);
    fleet_run(&sandbox, &[]).expect(0);
    let reduced = sandbox.run(["fleet", "reduce", "plan.jsonl", "--report", "page.html"]).expect(2);
    assert!(reduced.stdout.contains("proven") && reduced.stdout.contains("complete"), "{reduced:#?}");
    assert!(reduced.stderr.contains("no page was written"), "{reduced:#?}");
    assert!(!sandbox.path("page.html").exists());
}

#[test]
fn a_pair_is_one_shard_and_nothing_is_compared_with_itself() {
    let sandbox = Sandbox::new();
    let folder = repository().join("kernels/gdn_decode_qk4_v8_d128_k_last");
    let (all, incumbent) = (folder.display().to_string(), folder.join("one_pass").display().to_string());
    let arguments = ["fleet", "plan", &all, "--verb", "compare", "--against", &incumbent, "--batch", "1"];
    let planned = sandbox.run(arguments).expect(1);
    assert!(planned.stderr.contains("it is the incumbent"), "{planned:#?}");
    let plan = lines(&sandbox, "plan.jsonl");
    let subjects = plan[1]["subjects"].as_array().unwrap();
    assert_eq!((plan.len(), subjects.len()), (3, 2), "{plan:#?}");
    assert_ne!(subjects[0]["digest"], subjects[1]["digest"]);
    sandbox.run(["fleet", "plan", &all, "--verb", "compare"]).expect(2);
    sandbox.run(["fleet", "plan", &all, "--against", &incumbent]).expect(2);
}

/// A program that stands for sbatch: it notes what it is asked, and does every task of an array at once.
fn sbatch(sandbox: &Sandbox) -> String {
    let text = "#!/bin/sh\nfor script; do :; done\n\
                echo \"$@\" >> asked\n\
                tasks=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\).*/\\1/p' \"$script\")\n\
                for task in $(seq 0 ${tasks:-0}); do\n\
                SLURM_ARRAY_JOB_ID=7 SLURM_ARRAY_TASK_ID=$task sh \"$script\" >> said 2>&1\ndone\n\
                echo '7;here'\n";
    let path = sandbox.write("sbatch", text);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

#[test]
fn a_plan_handed_to_slurm_is_done_in_parts_and_put_together() {
    let sandbox = Sandbox::sharing_builds();
    entry(&sandbox, "builds", &kernel(3));
    refused(&sandbox, "refused");
    refused(&sandbox, "refused_too");
    sandbox.run(["fleet", "plan", "entries"]).expect(0);
    let sbatch = sbatch(&sandbox);
    let submit = |more: &[&str]| {
        let arguments = ["fleet", "submit", "plan.jsonl", "--slurm", "--sbatch", &sbatch, "--with=--time=5"];
        sandbox.build(arguments.iter().chain(more))
    };
    let shown = submit(&["--dry-run"]).expect(0).stdout;
    assert!(shown.contains("#SBATCH --array=0-2\n") && shown.contains("#SBATCH --time=5\n"), "{shown}");
    assert!(!sandbox.path("asked").exists() && !sandbox.path("results").exists(), "nothing is submitted");
    let submitted = submit(&["--tasks", "2", "--json", "--", "--offline"]).expect(0).json();
    assert_eq!((&submitted["tasks"], &submitted["array"]["job"]), (&json!(2), &json!("7")));
    let asked = fs::read_to_string(sandbox.path("asked")).unwrap();
    assert!(asked.lines().nth(1).unwrap().contains("--dependency=afterany:7"), "{asked}");
    let said = fs::read_to_string(sandbox.path("said")).unwrap();
    assert!(said.contains("complete     1 of 3 shards have an outcome, 2 are refused"), "{said}");
    assert_eq!(reduced(&sandbox, 1)["finished"], 1);
    let attempts = fs::read_dir(sandbox.path("results/attempts")).unwrap().flatten();
    let texts = attempts.map(|file| fs::read_to_string(file.path()).unwrap());
    assert_eq!(texts.filter(|text| text.contains("slurm 7_0") || text.contains("slurm 7_1")).count(), 3);
}

#[test]
fn where_there_is_no_slurm_or_it_refuses_nothing_is_said_to_be_submitted() {
    let sandbox = Sandbox::new();
    refused(&sandbox, "one");
    sandbox.run(["fleet", "plan", "entries"]).expect(0);
    let submit = |more: &[&str]| sandbox.run(["fleet", "submit", "plan.jsonl", "--json"].iter().chain(more));
    let none = submit(&["--slurm", "--sbatch", "no-such-program"]).expect(3).json();
    assert!(none["hints"].to_string().contains("--dry-run shows the scripts"), "{none:#}");
    let says_no = sandbox.write("no", "#!/bin/sh\necho 'invalid \u{1b}[31mpartition' >&2\nexit 1\n");
    fs::set_permissions(&says_no, fs::Permissions::from_mode(0o755)).unwrap();
    let no = submit(&["--slurm", "--sbatch", says_no.to_str().unwrap()]).expect(3).json();
    let error = no["error"].as_str().unwrap();
    assert!(error.contains("refused array.sh: invalid \\u{1b}[31mpartition"), "{error}");
    submit(&[]).expect(2);
    // What tasks would not take is refused now.
    let wrong = submit(&["--slurm", "--dry-run", "--", "--no-such-option"]).expect(2).json();
    assert!(wrong["error"].as_str().unwrap().contains("--no-such-option"), "{wrong:#}");
    for own in [["--shard", "0/2"], ["--results", "elsewhere"], ["--workers", "4"]] {
        let wrong = submit(&[&["--slurm", "--dry-run", "--"], own.as_slice()].concat()).expect(2).json();
        let error = wrong["error"].as_str().unwrap();
        assert!(error.contains(own[0]) && error.contains("the scripts say themselves"), "{error}");
    }
    let quoted = ["--slurm", "--dry-run", "--results", "a'b"];
    assert!(submit(&quoted).expect(2).json()["error"].as_str().unwrap().contains("cannot stand in a script"));
}

#[test]
fn an_estimate_says_what_breaks_first() {
    let sandbox = Sandbox::new();
    let document = sandbox.run(["fleet", "estimate", "--hung", "0", "--json"]).expect(0).json();
    let estimates = document["estimates"].as_array().unwrap();
    let time = |index: usize| estimates[index]["makespan_s"].as_f64().unwrap();
    assert!(time(0) > 7.0 * time(1) && time(1) > 2.0 * time(2), "{document:#}");
    assert_eq!((&estimates[0]["bound_by"], &estimates[0]["gpus"]), (&json!("gpus"), &json!(1)));
    let hung = sandbox.run(["fleet", "estimate", "--gpus", "64"]).expect(0).stdout;
    assert!(hung.contains("the longest submission"), "{hung}");
    measuring_plan(&sandbox);
    let of_plan = sandbox.run(["fleet", "estimate", "plan.jsonl"]).expect(0).stdout;
    assert!(of_plan.starts_with("1 submissions, 1 workloads in all"), "{of_plan}");
    sandbox.run(["fleet", "estimate", "--build", "-1"]).expect(2);
    let dying = sandbox.run(["fleet", "estimate", "--death-every", "1e-9", "--json"]).expect(2).json();
    let error = dying["error"].as_str().unwrap();
    assert!(error.contains("do not come to the end of a workload"), "{error}");
}
