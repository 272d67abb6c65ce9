//! Many jobs: plans, workers that are killed, and what is put together in the end.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use proofmark::record::Record;
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
    let job = lines(&sandbox, "plan.jsonl")[1]["job"].clone();
    crate::support::schema::check(&job);
}

#[test]
fn a_plan_that_was_cut_or_changed_is_refused_by_name() {
    let sandbox = Sandbox::new();
    refused(&sandbox, "one");
    refused(&sandbox, "two");
    sandbox.run(["fleet", "plan", "entries"]).expect(0);
    let text = fs::read_to_string(sandbox.path("plan.jsonl")).unwrap();
    let first = text.lines().nth(1).unwrap();
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
    fleet_run(&sandbox, &[]).expect(0);
    let document = reduced(&sandbox, 1);
    let reason = document["shards"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("was changed after it was planned"), "{reason}");
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
    assert_eq!((&shard["attempts"], &shard["lost_attempts"]), (&json!(2), &json!(1)));
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
    assert!(none.stderr.contains("1 shards need a GPU, and none is here"), "{none:#?}");
    let name = format!("no-such-gpu-{}", std::process::id());
    let tried = fleet_run(&sandbox, &["--gpus", &name]).expect(3).json();
    assert_eq!(tried["tally"]["not_judged"], 1);
    let shard = &reduced(&sandbox, 3)["shards"][0];
    assert_eq!((&shard["standing"], &shard["attempts"]), (&json!("not_judged"), &json!(1)));
    assert!(shard["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{shard:#}");
    let _ = fs::remove_file(format!("/dev/shm/proofmark-{name}.lock"));
}

#[test]
fn measurements_go_into_a_ledger_once_and_onto_a_page() {
    let sandbox = Sandbox::new();
    let shard = measuring_plan(&sandbox);
    let sealed = repository().join("solutions/gdn_decode_straightforward-264a77956baf-sm_90a-h200.zip");
    let bundle = proofmark_packager::open::open(&sealed).unwrap().bundle;
    let text = String::from_utf8(bundle.evidence.get(MEASUREMENTS_EVIDENCE).unwrap().to_vec()).unwrap();
    let records: Vec<Value> =
        text.lines().map(|line| serde_json::to_value(Record::from_line(line).unwrap()).unwrap()).collect();
    let count = records.len();
    // As a machine with a GPU leaves it.
    let outcome = json!({
        "schema": "proofmark.outcome", "schema_version": 1, "passed": count, "expected": count,
        "overall": { "arithmetic_mean_ns": 7661.0 }, "exit_code": 0, "records": records,
    });
    sandbox.write(format!("results/outcomes/{shard}.json"), outcome.to_string());
    let reduce = |page: &str| {
        let arguments = ["fleet", "reduce", "plan.jsonl", "--ledger", "ledger", "--report", page, "--json"];
        sandbox.run(arguments).expect(0).json()["ledger"].clone()
    };
    assert_eq!(reduce("one.html"), json!({ "new": count, "known": 0 }));
    assert_eq!(reduce("two.html"), json!({ "new": 0, "known": count }));
    let page = fs::read_to_string(sandbox.path("two.html")).unwrap();
    assert!(page.contains("54 of 54 workloads passed"), "the page shows the run");
    let table = sandbox.run(["fleet", "reduce", "plan.jsonl"]).expect(0).stdout;
    assert!(table.contains("54 of 54 passed") && table.contains("7.66"), "{table}");
    let listed = sandbox.run(["ledger", "list", "--ledger", "ledger", "--json"]).expect(0).json();
    assert_eq!(listed["runs"].as_array().unwrap().len(), 1);
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
    assert_eq!((plan.len(), subjects.len()), (2, 2), "{plan:#?}");
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
}
