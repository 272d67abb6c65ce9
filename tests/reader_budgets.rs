//! Inputs of up to a gigabyte, made to take memory: every reader answers within half a gigabyte.
//!
//! `ulimit -d` bounds what a process may allocate, threads and all; a reader that wants more is killed by
//! its own allocator, with an exit code that no verb has.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::support::{Outcome, Sandbox, repository, run};

/// What a reader may allocate, in KiB.
const MOST_KIB: u64 = 512 << 10;

/// Longer than any answer takes on a slow machine that is at work.
const PATIENCE: Duration = Duration::from_secs(120);

const GIGABYTE: u64 = 1 << 30;

/// The prover looks at every byte, which takes a minute a gigabyte where nothing is optimised.
const JUDGED: u64 = if cfg!(debug_assertions) { GIGABYTE / 128 } else { GIGABYTE };

/// Runs the tool with bounded memory.
fn bounded(sandbox: &Sandbox, arguments: &[&str]) -> Outcome {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -d {MOST_KIB}; exec \"$@\""), "sh"]);
    command.arg(env!("CARGO_BIN_EXE_proofmark")).args(arguments);
    command.current_dir(sandbox.path("")).env("HOME", sandbox.home());
    command.env("PROOFMARK_CACHE", sandbox.cache()).env("XDG_DATA_HOME", sandbox.path("no-data"));
    let began = Instant::now();
    let outcome = run(&mut command);
    assert!(began.elapsed() < PATIENCE, "{arguments:?} took {:?}", began.elapsed());
    let is_answer = (0..=3).contains(&outcome.code) && !outcome.stderr.contains("panicked");
    assert!(is_answer, "{arguments:?}: {outcome:?}");
    outcome
}

/// Every verb that opens a submission refuses this one, as a wrong request.
fn refused_everywhere(sandbox: &Sandbox, path: &str) {
    for verb in [
        vec!["inspect", path],
        vec!["unpack", path, "-o", "unpacked"],
        vec!["pack", path, "-o", "packed.zip"],
        vec!["diff", path, path],
        vec!["build", path, "--offline"],
        vec!["seal", path, "--offline"],
        vec!["replay", path, "--offline"],
        vec!["bench", path, "--offline"],
    ] {
        let outcome = bounded(sandbox, &verb);
        assert_eq!(outcome.code, 2, "{verb:?}: {outcome:?}");
    }
    bounded(sandbox, &["verify", path, "--offline"]);
}

/// A file of a gigabyte that takes no room on the disk: these bytes, then zeros, then those.
fn sparse(path: &Path, head: &[u8], tail: &[u8]) {
    sparse_of(GIGABYTE, path, head, tail);
}

fn sparse_of(size: u64, path: &Path, head: &[u8], tail: &[u8]) {
    let mut file = File::create(path).unwrap();
    file.write_all(head).unwrap();
    file.set_len(size - tail.len() as u64).unwrap();
    let mut file = File::options().append(true).open(path).unwrap();
    file.write_all(tail).unwrap();
}

fn write_zip(path: &Path, entries: &[(&str, &[u8])]) {
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    let mut writer = ZipWriter::new(File::create(path).unwrap());
    for (name, content) in entries {
        writer.start_file(*name, options).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap();
}

/// JSON that takes far more memory than text, each of another kind.
fn greedy_json() -> Vec<(&'static str, String)> {
    let many = 12_000_000;
    vec![
        ("deep", "[".repeat(40_000_000)),
        ("numbers", format!("[{}0]", "0,".repeat(many))),
        ("arrays", format!("[{}[]]", "[],".repeat(many))),
        ("objects", format!("[{}{{}}]", r#"{"":0},"#.repeat(many / 3))),
        ("fields", format!("{{{}\"\":0}}", r#""a":{},"#.repeat(many / 3))),
        ("texts", format!("[{}\"\"]", "\"\",".repeat(many))),
        ("one text", format!("{{\"name\":\"{}\"}}", "\\u0041".repeat(7_000_000))),
    ]
}

#[test]
fn a_zip_of_a_gigabyte_is_refused_within_the_budget() {
    let sandbox = Sandbox::new();
    let end = b"PK\x05\x06\0\0\0\0\x01\0\x01\0\0\0\0\x3f\0\0\0\0\0\0";
    sparse(&sandbox.path("large.zip"), b"PK\x03\x04", end);
    refused_everywhere(&sandbox, "large.zip");
}

#[test]
fn a_zip_that_unpacks_to_gigabytes_is_refused_within_the_budget() {
    let sandbox = Sandbox::new();
    let zeros = vec![0; 180 << 20];
    write_zip(&sandbox.path("bomb.zip"), &[("proofmark.json", &zeros), ("solution.json", &zeros)]);
    refused_everywhere(&sandbox, "bomb.zip");
}

#[test]
fn greedy_json_in_any_part_of_a_zip_is_refused_within_the_budget() {
    let sandbox = Sandbox::new();
    sandbox.submission("good", &[("kernel.cu", "// run\n")]);
    sandbox.run(["pack", "good", "-o", "good.zip"]).expect(0);
    let mut good = zip::ZipArchive::new(File::open(sandbox.path("good.zip")).unwrap()).unwrap();
    let mut entries = Vec::new();
    for index in 0..good.len() {
        let mut entry = good.by_index(index).unwrap();
        let mut content = Vec::new();
        std::io::copy(&mut entry, &mut content).unwrap();
        entries.push((entry.name().unwrap().into_owned(), content));
    }
    let parts =
        ["proofmark.json", "solution.json", "definition.json", "workloads.jsonl", "evidence/build.json"];
    for (index, (_, text)) in greedy_json().into_iter().enumerate() {
        // Each kind once, the parts in turn: all pairs would take minutes.
        let part = parts[index % parts.len()];
        let mut all: Vec<(&str, &[u8])> = entries
            .iter()
            .filter(|(name, _)| name != part)
            .map(|(name, content)| (name.as_str(), content.as_slice()))
            .collect();
        all.push((part, text.as_bytes()));
        write_zip(&sandbox.path("greedy.zip"), &all);
        for verb in [vec!["inspect", "greedy.zip"], vec!["replay", "greedy.zip", "--offline"]] {
            let outcome = bounded(&sandbox, &verb);
            assert_eq!(outcome.code, 2, "{part}: {verb:?}: {outcome:?}");
        }
        bounded(&sandbox, &["verify", "greedy.zip", "--offline"]);
    }
}

#[test]
fn a_greedy_solution_json_is_refused_within_the_budget() {
    let sandbox = Sandbox::new();
    sparse(&sandbox.path("large.json"), b"{", b"}");
    refused_everywhere(&sandbox, "large.json");
    for (kind, text) in greedy_json() {
        sandbox.write("greedy.json", format!("{{\"spec\":{text},\"sources\":[]}}"));
        for verb in [vec!["inspect", "greedy.json"], vec!["build", "greedy.json", "--offline"]] {
            let outcome = bounded(&sandbox, &verb);
            assert_eq!(outcome.code, 2, "{kind}: {verb:?}: {outcome:?}");
        }
        bounded(&sandbox, &["verify", "greedy.json", "--offline"]);
    }
}

#[test]
fn greedy_parts_of_a_folder_are_refused_within_the_budget() {
    let sandbox = Sandbox::new();
    let config = |greedy: &str| {
        let folder = sandbox.path("greedy");
        let _ = fs::remove_dir_all(&folder);
        sandbox.submission("greedy", &[("kernel.cu", "// run\n")]);
        if !greedy.is_empty() {
            fs::write(folder.join("config.toml"), greedy).unwrap();
        }
    };
    let mut tables = String::new();
    for index in 0..120_000 {
        writeln!(tables, "[t{index}.a.b.c]").unwrap();
    }
    for greedy in [
        format!("a = {}", "[".repeat(1_000_000)),
        format!("a = {}", "{a=".repeat(300_000)),
        format!("a = [{}0]", "0,".repeat(1_000_000)),
        format!("a{} = 1", ".a".repeat(1_000_000)),
        tables,
    ] {
        config(&greedy);
        for verb in [vec!["pack", "greedy"], vec!["target", "greedy"], vec!["build", "greedy", "--offline"]] {
            let outcome = bounded(&sandbox, &verb);
            assert_eq!(outcome.code, 2, "{}: {verb:?}: {outcome:?}", &greedy[..9]);
        }
    }
    for part in ["config.toml", "kernel.cu", "definition.json", "workloads.jsonl", "more.cuh"] {
        config("");
        sparse(&sandbox.path("greedy").join(part), b"{", b"}\n");
        let outcome = bounded(&sandbox, &["pack", "greedy"]);
        assert_eq!(outcome.code, 2, "{part}: {outcome:?}");
        bounded(&sandbox, &["target", "greedy"]);
    }
}

#[test]
fn a_greedy_job_or_definition_is_refused_within_the_budget() {
    let sandbox = Sandbox::new();
    sparse(&sandbox.path("large.json"), b"{", b"}");
    for (_, text) in greedy_json() {
        sandbox.write("greedy.json", format!("{{\"schema\":\"proofmark.job\",\"x\":{text}}}"));
        for name in ["greedy.json", "large.json"] {
            assert_eq!(bounded(&sandbox, &["job", "run", name]).code, 2);
            assert_eq!(bounded(&sandbox, &["new", name, "-o", "new"]).code, 2);
        }
    }
}

#[test]
fn a_file_of_a_gigabyte_is_judged_within_the_budget() {
    let sandbox = Sandbox::new();
    for (name, head) in [
        ("large.so", b"\x7fELF\x02\x01\x01".as_slice()),
        ("large.fatbin", b"\x50\xed\x55\xba\x01\x00\x10\x00"),
        ("large.whl", b"PK\x03\x04"),
        ("large.a", b"!<arch>\n"),
        ("large.tar", b"name\0"),
    ] {
        sparse_of(JUDGED, &sandbox.path(name), head, b"\0");
        let outcome = bounded(&sandbox, &["verify", name]);
        assert_ne!(outcome.code, 0, "{name}: {outcome:?}");
        fs::remove_file(sandbox.path(name)).unwrap();
    }
    let library = sandbox.path("large.so");
    sparse(&library, b"\x7fELF", b"");
    assert_eq!(bounded(&sandbox, &["bench", "large.so", "--offline"]).code, 2);
}

#[test]
fn the_largest_library_travels_in_a_job_within_the_budget_and_a_larger_one_does_not() {
    let sandbox = Sandbox::new();
    let task = repository().join("kernels/rmsnorm_h4096");
    let [definition, reference] =
        ["definition.json", "reference"].map(|name| task.join(name).display().to_string());
    let job = |size: u64| {
        sparse_of(size, &sandbox.path("large.so"), b"\x7fELF\x02\x01\x01", b"\0");
        let task = ["--definition", &definition, "--reference", &reference, "--batch", "1", "--as-job"];
        bounded(&sandbox, &[&["bench", "large.so"], task.as_slice()].concat())
    };
    let largest = job(96 << 20);
    assert_eq!(largest.code, 0, "{}", largest.stderr);
    sandbox.write("job.json", &largest.stdout);
    // Everything is read and checked; what is missing then is a GPU or a library that is one.
    let done = bounded(&sandbox, &["job", "run", "job.json", "--offline"]);
    assert!(done.code != 2 && done.stderr.lines().count() > 0, "{}", done.stderr);
    assert_eq!(job((96 << 20) + 1).code, 2);
    sparse(&sandbox.path("job.json"), largest.stdout.as_bytes(), b"}");
    assert_eq!(bounded(&sandbox, &["job", "run", "job.json"]).code, 2);
}

#[test]
fn a_trace_of_many_values_is_too_much_for_a_ledger() {
    let sandbox = Sandbox::new();
    let mut line = "[".to_owned();
    for index in 0..1_500_000 {
        let _ = write!(line, "{{\"{index}\":1}},");
    }
    sandbox.write("traces.jsonl", line + "0]\n");
    let outcome = bounded(&sandbox, &["ledger", "import", "traces.jsonl", "--ledger", "ledger"]);
    assert_eq!(outcome.code, 2, "{outcome:?}");
    assert!(outcome.stderr.contains("too many values"), "{}", outcome.stderr);
}

/// A plan of one build, and the name of its shard.
fn plan(sandbox: &Sandbox) -> (Vec<String>, String) {
    sandbox.submission("entry", &[("kernel.cu", "// run\n")]);
    sandbox.run(["fleet", "plan", "entry"]).expect(0);
    let text = fs::read_to_string(sandbox.path("plan.jsonl")).unwrap();
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let shard: serde_json::Value = serde_json::from_str(&lines[1]).unwrap();
    (lines, shard["shard"].as_str().unwrap().to_owned())
}

#[test]
fn a_greedy_plan_is_refused_or_its_shard_is_named_within_the_budget() {
    let sandbox = Sandbox::new();
    let (lines, shard) = plan(&sandbox);
    let name = |size: usize| {
        lines[1].replace("\"definition\":\"", &format!("\"definition\":\"{}", "d".repeat(size)))
    };
    let id = format!("\"shard\":\"{shard}\"");
    let many = (0..2_000).map(|index| name(40 << 10).replace(&id, &format!("\"shard\":\"{index:064x}\"")));
    let many: String = many.map(|label| label + "\n\n").collect();
    let wide = format!("{}\n{}\n{}\n", lines[0], name(200 << 20), lines[2]);
    for (what, text) in [("wide", wide), ("many", format!("{}\n{many}", lines[0]))] {
        sandbox.write("plan.jsonl", text);
        for verb in [vec!["reduce"], vec!["run"], vec!["estimate"], vec!["submit", "--slurm", "--dry-run"]] {
            let mut arguments = vec!["fleet", verb[0], "plan.jsonl"];
            arguments.extend(&verb[1..]);
            let outcome = bounded(&sandbox, &arguments);
            assert_eq!(outcome.code, 2, "{what}: {verb:?}: {outcome:?}");
        }
    }
    sparse(&sandbox.path("plan.jsonl"), lines[0].as_bytes(), b"\n");
    assert_eq!(bounded(&sandbox, &["fleet", "reduce", "plan.jsonl"]).code, 2);
    // A job is read when its shard is, and nothing else of the plan suffers.
    for (kind, text) in greedy_json() {
        let job = format!("{{\"schema\":\"proofmark.job\",\"x\":{text}}}");
        sandbox.write("plan.jsonl", format!("{}\n{}\n{job}\n", lines[0], lines[1]));
        let outcome = bounded(&sandbox, &["fleet", "reduce", "plan.jsonl"]);
        assert!(outcome.code == 3 && outcome.stdout.contains("invalid"), "{kind}: {outcome:?}");
    }
}

#[test]
fn greedy_results_are_named_and_passed_over_within_the_budget() {
    let sandbox = Sandbox::new();
    let (_, shard) = plan(&sandbox);
    let outcome = sandbox.write(format!("results/outcomes/{shard}.json"), "");
    let invalid = |what: &str| {
        let reduced = bounded(&sandbox, &["fleet", "reduce", "plan.jsonl"]);
        assert!(reduced.code == 3 && reduced.stdout.contains("invalid"), "{what}: {reduced:?}");
        let run = bounded(&sandbox, &["fleet", "run", "plan.jsonl", "--offline"]);
        assert!(run.code == 3 && run.stdout.contains("1 invalid"), "{what}: {run:?}");
    };
    for (kind, text) in greedy_json() {
        fs::write(&outcome, format!("{{\"schema\":\"proofmark.outcome\",\"x\":{text}}}")).unwrap();
        invalid(kind);
    }
    sparse(&outcome, b"{", b"}");
    invalid("a gigabyte");
    fs::remove_file(&outcome).unwrap();
    let attempts = sandbox.write(format!("results/attempts/{shard}.jsonl"), "");
    sparse(&attempts, b"{", b"}");
    invalid("a gigabyte of attempts");
}
