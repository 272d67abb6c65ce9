//! What the documents for newcomers say of the repository is true.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::repository;

const DOCUMENTS: [&str; 4] = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "runtime/ARCHITECTURE.md"];

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What stands in backticks outside of blocks of code.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    let prose = text.split("```").step_by(2);
    prose.flat_map(|part| part.lines().flat_map(|line| line.split('`').skip(1).step_by(2)))
}

#[test]
fn the_architecture_names_every_room_and_no_other() {
    let text = read("runtime/ARCHITECTURE.md");
    for source in ["packager/src", "runtime/src", "runtime/player/src"] {
        let heading = format!("| `{source}/` | |\n");
        let table = text.split(&heading).nth(1).unwrap_or_else(|| panic!("no table for {source}"));
        let table = table.split("\n\n").next().unwrap();
        let firsts = table.lines().filter_map(|line| line.split('|').nth(1));
        let named: BTreeSet<&str> = firsts.flat_map(quoted).collect();
        let mut rooms = BTreeSet::new();
        for entry in fs::read_dir(repository().join(source)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            if !["lib", "main"].contains(&name.as_str()) {
                rooms.insert(name);
            }
        }
        assert_eq!(named, rooms.iter().map(String::as_str).collect(), "rooms of {source}");
    }
}

#[test]
fn the_crate_page_names_every_room_and_no_other() {
    let text = read("runtime/src/lib.rs");
    let table = text.lines().filter(|line| line.starts_with("//! |"));
    let named: BTreeSet<&str> = table
        .filter_map(|line| line.split('|').nth(2))
        .flat_map(quoted)
        .map(|name| name.trim_start_matches("mod@"))
        .collect();
    let rooms = text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    // The prover is a crate of its own, which this one shows.
    assert_eq!(named, rooms.chain(["proof"]).collect());
}

/// What a file of `cli` imports of `cli`: the first word of each path.
fn imported_of_cli(text: &str, is_in_folder: bool) -> BTreeSet<&str> {
    let roots: &[&str] =
        if is_in_folder { &["use crate::cli::"] } else { &["use crate::cli::", "use super::"] };
    let mut words = BTreeSet::new();
    for rest in roots.iter().flat_map(|root| text.split(root).skip(1)) {
        let paths = rest.split(';').next().unwrap();
        let mut depth = 0;
        let ends = |one: char| {
            depth += match one {
                '{' => 1,
                '}' => -1,
                _ => 0,
            };
            one == ',' && depth < 2
        };
        words.extend(paths.split(ends).map(|path| {
            let path = path.trim_start_matches(['{', ' ', '\n']);
            path.split([':', '}', ' ', '\n']).next().unwrap()
        }));
    }
    words
}

#[test]
fn no_verb_imports_another() {
    let cli = repository().join("runtime/src/cli");
    let verbs = fs::read_to_string(cli.join("mod.rs")).unwrap();
    let verbs: BTreeSet<&str> = verbs
        .lines()
        .filter_map(|line| line.trim().strip_suffix("::Arguments),")?.split('(').nth(1))
        .collect();
    assert!(verbs.len() > 25, "{verbs:?}");
    for entry in walkdir::WalkDir::new(&cli).into_iter().flatten().filter(|entry| entry.file_type().is_file())
    {
        let path = entry.path().strip_prefix(&cli).unwrap();
        if path.extension().is_none_or(|end| end != "rs") || path == Path::new("mod.rs") {
            continue;
        }
        let own = path.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
        let text = fs::read_to_string(entry.path()).unwrap();
        for other in imported_of_cli(&text, path.iter().count() > 1) {
            let is_free = other == own || !verbs.contains(other);
            assert!(is_free, "{} imports the verb {other}", path.display());
        }
    }
}

#[test]
fn every_type_of_the_glossary_exists() {
    let text = read("runtime/ARCHITECTURE.md");
    let glossary = text.split("## Glossary").nth(1).unwrap();
    let mut code = String::new();
    for source in ["packager/src", "runtime/src", "runtime/player/src", "runtime/proof/src"] {
        for entry in walkdir::WalkDir::new(repository().join(source)) {
            let path = entry.unwrap().into_path();
            if path.extension().is_some_and(|end| end == "rs") {
                code += &fs::read_to_string(path).unwrap();
            }
        }
    }
    let types: Vec<&str> =
        glossary.lines().filter_map(|line| line.split('|').nth(3)).flat_map(quoted).collect();
    assert!(types.len() > 15, "{types:?}");
    for name in types {
        let is_made = ["struct", "enum"].iter().any(|kind| {
            code.split(&format!("pub {kind} {name}"))
                .skip(1)
                .any(|rest| !rest.starts_with(char::is_alphanumeric))
        });
        assert!(is_made, "the glossary names {name}, which no code defines");
    }
}

#[test]
fn every_path_in_a_document_exists() {
    let tops = ["packager/", "runtime/", "kernels/", "solutions/", "scripts/", "tests/", ".ci/", ".cargo/"];
    let mut seen = 0;
    for document in DOCUMENTS {
        let text = read(document);
        let paths = quoted(&text).filter(|word| tops.iter().any(|top| word.starts_with(top)));
        for path in paths.filter(|path| !path.contains(['*', ' ', '<'])) {
            assert!(repository().join(path).exists(), "{document} names {path}, which does not exist");
            seen += 1;
        }
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.starts_with('#') && !link.contains("://")) {
            let folder = Path::new(document).parent().unwrap();
            assert!(repository().join(folder).join(link).exists(), "{document} links to {link}");
            seen += 1;
        }
    }
    assert!(seen > 15, "only {seen} paths");
}

#[test]
fn every_test_that_security_names_exists() {
    let text = read("SECURITY.md");
    let table = text.split("## Where each class is held").nth(1).unwrap().split("\n## ").next().unwrap();
    assert_eq!(table.lines().filter(|line| line.starts_with("| ")).count(), 14 + 1, "a row for each class");
    let mut seen = 0;
    for (file, test) in quoted(table).filter_map(|word| word.split_once("::")) {
        let units = ["runtime/src", "runtime/proof/src"].into_iter().flat_map(|source| {
            walkdir::WalkDir::new(repository().join(source))
                .into_iter()
                .flatten()
                .map(walkdir::DirEntry::into_path)
        });
        let name = format!("{file}.rs");
        let mut files = std::iter::once(repository().join("tests").join(&name))
            .chain(units)
            .filter(|path| path.ends_with(&name));
        let is_there =
            |path: PathBuf| fs::read_to_string(path).is_ok_and(|text| text.contains(&format!("fn {test}()")));
        assert!(files.any(is_there), "{file}::{test} is named and does not exist");
        seen += 1;
    }
    assert!(seen > 14, "only {seen} tests");
}

#[test]
fn the_gates_that_contributing_lists_are_those_that_ci_runs() {
    let (ci, text) = (read(".ci/run"), read("CONTRIBUTING.md"));
    for gate in ["cargo fmt", "cargo clippy", "cargo doc", "cargo deny", "cargo test", "rust-version"] {
        assert!(ci.contains(gate), "{gate} is not in .ci/run");
        assert!(text.contains(gate), "{gate} is not in CONTRIBUTING.md");
    }
}
