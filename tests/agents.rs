//! What agents are told is true: every command of the skill runs, every field that it names exists.

use std::fs;

use serde_json::Value;

use crate::support::{Sandbox, repository};

/// The lines of the blocks of shell in a text.
fn commands(text: &str) -> Vec<String> {
    let blocks = text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let lines = blocks.flat_map(str::lines).map(str::trim).filter(|line| !line.is_empty());
    lines.filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

#[test]
fn every_command_of_the_skill_runs_in_its_order() {
    let sandbox = Sandbox::sharing_builds();
    for name in ["definition.json", "workloads.jsonl"] {
        fs::copy(repository().join("kernels/rmsnorm_h4096").join(name), sandbox.path(name)).unwrap();
    }
    for entry in fs::read_dir(repository().join("kernels/rmsnorm_h4096/reference")).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        sandbox.write(format!("reference/{name}"), fs::read(entry.path()).unwrap());
    }
    let text = sandbox.run(["skill", "show"]).expect(0).stdout;
    let commands = commands(&text);
    assert!(commands.len() >= 8, "{commands:?}");
    for line in commands {
        let words: Vec<&str> = line.split_whitespace().skip(1).collect();
        assert!(line.starts_with("proofmark "), "{line}");
        let outcome = sandbox.run(&words);
        // Without a GPU nobody can measure, and the program says so.
        let needs_gpu = matches!(words[0], "bench" | "compare" | "challenge");
        let expected: &[i32] = if needs_gpu { &[0, 1, 3] } else { &[0] };
        assert!(expected.contains(&outcome.code), "{line}: {outcome:#?}");
        if needs_gpu && outcome.code == 3 {
            assert_eq!(outcome.json()["schema"], "proofmark.error");
        }
    }
}

#[test]
fn every_field_that_the_skill_names_is_in_its_schema() {
    let sandbox = Sandbox::new();
    let text = sandbox.run(["skill", "show"]).expect(0).stdout;
    let table = text.split("| document | field | means |\n|---|---|---|\n").nth(1).unwrap();
    let mut seen = 0;
    for row in table.lines().take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let schema: Value =
            serde_json::from_str(&sandbox.run(["schema", cells[0]]).expect(0).stdout).unwrap();
        let alternatives = schema["oneOf"].as_array().into_iter().flatten();
        let objects: Vec<&Value> = std::iter::once(&schema).chain(alternatives).collect();
        for field in cells[1].split('`').skip(1).step_by(2) {
            let stands = objects.iter().any(|object| !object["properties"][field].is_null());
            assert!(stands, "{} has no `{field}`", cells[0]);
            seen += 1;
        }
    }
    assert!(seen >= 10);
}

#[test]
fn the_skill_lists_every_verb_and_is_installed_for_each_agent_unless_somebody_changed_it() {
    let sandbox = Sandbox::new();
    let shown = sandbox.run(["skill", "show"]).expect(0).stdout;
    let help = sandbox.run(["--help"]).expect(0).stdout;
    let verbs = help.split("Commands:\n").nth(1).unwrap().lines().take_while(|line| line.starts_with("  "));
    for verb in verbs.filter_map(|line| line.split_whitespace().next()).filter(|verb| *verb != "help") {
        assert!(shown.contains(&format!("| `proofmark {verb}` | ")), "{verb}");
    }
    let files = sandbox.run(["skill", "install", "--json"]).expect(0).json()["files"].clone();
    assert_eq!(files.as_array().unwrap().len(), 3);
    let file = sandbox.path(".claude/skills/proofmark/SKILL.md");
    assert_eq!(fs::read_to_string(&file).unwrap(), shown);
    sandbox.run(["skill", "install", "--agent", "claude"]).expect(0);
    fs::write(&file, shown.replace("The loop", "My loop")).unwrap();
    let refused = sandbox.run(["skill", "install", "--agent", "claude"]).expect(2);
    assert!(refused.stderr.contains("was changed"), "{}", refused.stderr);
    assert!(fs::read_to_string(&file).unwrap().contains("My loop"));
}

#[test]
fn every_verb_has_a_manual_page() {
    let sandbox = Sandbox::new();
    sandbox.run(["man", "--into", "pages"]).expect(0);
    let page = fs::read_to_string(sandbox.path("pages/proofmark-cache-list.1")).unwrap();
    assert!(page.contains("proofmark cache list") || page.contains("proofmark\\-cache\\-list"), "{page}");
    assert_eq!(sandbox.run(["man", "cache", "list"]).expect(0).stdout, page);
    assert!(
        sandbox.path("pages/proofmark.1").is_file() && !sandbox.path("pages/proofmark-player.1").exists()
    );
    sandbox.run(["man", "no-such-verb"]).expect(2);
}
