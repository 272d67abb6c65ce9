//! Every command of the book runs, chapter by chapter, and does what the text around it says.

use std::fs;
use std::process::Command;

use crate::support::{Sandbox, program, repository, run};

/// Two artifacts that were measured when they were sealed.
const FIRST: &str = "gdn_decode_straightforward-264a77956baf-sm_90a-h200.zip";
const SECOND: &str = "gdn_decode-a2fb7a1b80a0-sm_90a-h200.zip";

/// What a line of a chapter may end with.
fn expected(line: &str) -> &'static [i32] {
    match line.split_once("     # ").map(|(_, remark)| remark) {
        None => &[0],
        Some("exit code 1") => &[1],
        // Without a GPU nobody can judge; with one, the scaffold is wrong.
        // Or, of what was sealed, with one that is another device than the seal's.
        Some("needs a GPU" | "measures where there is a GPU") => &[0, 1, 3],
        Some("may find something missing") => &[0, 3],
        // Then there is no key, and nobody signed.
        Some("needs ssh-keygen") => &[0, 1, 2, 127],
        Some("another host compiler differs") => &[0, 1],
        Some(other) => panic!("a remark that means nothing: {other}"),
    }
}

fn chapter(name: &str) {
    let sandbox = Sandbox::sharing_builds();
    let operator = repository().join("kernels/rmsnorm_h4096");
    for file in ["definition.json", "workloads.jsonl"] {
        fs::copy(operator.join(file), sandbox.path(file)).unwrap();
    }
    for entry in fs::read_dir(operator.join("reference")).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        sandbox.write(format!("reference/{name}"), fs::read(entry.path()).unwrap());
    }
    sandbox.write("problem/definition.json", fs::read(operator.join("definition.json")).unwrap());
    let line = r#"{"axes": {"batch_size": 2}, "inputs": {"hidden_states": {"type": "random"}, "weight": {"type": "random"}}, "uuid": "a"}"#;
    sandbox.write("problem/workload.jsonl", line);
    for (name, sealed) in [("one.zip", FIRST), ("two.zip", SECOND)] {
        fs::copy(repository().join("solutions").join(sealed), sandbox.path(name)).unwrap();
    }
    fs::create_dir(sandbox.path("bin")).unwrap();
    std::os::unix::fs::symlink(program(), sandbox.path("bin/proofmark")).unwrap();
    let path = format!("{}:{}", sandbox.path("bin").display(), std::env::var("PATH").unwrap_or_default());

    let text = fs::read_to_string(repository().join("runtime/book/src").join(name)).unwrap();
    let blocks = text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let mut count = 0;
    for line in blocks.flat_map(str::lines).filter(|line| !line.trim().is_empty()) {
        let mut shell = Command::new("bash");
        shell.env_clear().current_dir(sandbox.path("")).args(["-c", line]);
        let environment = sandbox.builder();
        shell.envs(environment.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let outcome = run(shell.env("PATH", &path));
        assert!(expected(line).contains(&outcome.code), "{name}: {line}: {outcome:#?}");
        count += 1;
    }
    assert!(count > 0, "{name} has no command");
}

macro_rules! chapters {
    ($($test:ident: $file:literal,)*) => {
        $(#[test]
        fn $test() {
            chapter($file);
        })*

        #[test]
        fn every_chapter_is_in_the_summary_and_in_this_suite() {
            let folder = repository().join("runtime/book/src");
            let summary = fs::read_to_string(folder.join("SUMMARY.md")).unwrap();
            for entry in fs::read_dir(&folder).unwrap().flatten() {
                let name = entry.file_name().into_string().unwrap();
                if name != "SUMMARY.md" {
                    assert!(summary.contains(&format!("]({name})")), "{name} is not in the summary");
                    assert!([$($file),*].contains(&name.as_str()), "{name} is not run");
                }
            }
        }
    };
}

chapters! {
    the_tutorial_runs: "tutorial.md",
    the_three_jobs_run: "jobs.md",
    the_boards_run: "boards.md",
    what_is_proven_runs: "proof.md",
    how_a_time_is_taken_runs_or_says_that_there_is_no_gpu: "measuring.md",
    evidence_that_travels_runs: "evidence.md",
    the_formats_run: "formats.md",
    other_machines_run: "elsewhere.md",
    a_contest_runs: "contest.md",
    the_questions_run: "questions.md",
}
