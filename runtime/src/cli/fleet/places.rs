//! Where submissions are below what a person names, and what else is there.

use std::fs::{self, DirEntry};
use std::io;
use std::path::{Path, PathBuf};

use proofmark_packager::open::{self, JsonFile};
use proofmark_packager::submission;

use crate::fleet::plan::PassedOver;
use crate::{path_text, regular_file};

/// How deep below a named folder is looked.
const DEEPEST: usize = 16;

/// How many names of things that are no submissions are repeated.
const MOST_EXAMPLES: usize = 3;

/// What is below a path.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Submissions, sorted: folders with a `config.toml` but no reference, artifacts, and files of JSON that are
    /// solutions, whatever they are called.
    pub(super) submissions: Vec<PathBuf>,
    /// Everything else, with the reason why it is none: nothing is left out silently.
    pub(super) passed_over: Vec<PassedOver>,
}

/// Looks below a path that a person named, which may be a link; no link below it is followed. A file is itself.
pub(super) fn places(path: &Path) -> io::Result<Places> {
    if !path.is_dir() {
        return Ok(Places { submissions: vec![path.to_owned()], ..Places::default() });
    }
    let mut search = Search::default();
    search.folder(path, 0)?;
    let Search { mut places, by_name, by_content } = search;
    places.submissions.sort();
    for (beside, how) in [(by_name, "by name no submission"), (by_content, "JSON and no solution")] {
        if !beside.is_empty() {
            places.passed_over.push(PassedOver::beside(path_text::text(path), words(beside, how)));
        }
    }
    Ok(places)
}

fn words(mut beside: Vec<PathBuf>, how: &str) -> String {
    beside.sort();
    let examples: Vec<String> = beside.iter().take(MOST_EXAMPLES).map(path_text::text).collect();
    let (count, examples) = (beside.len(), examples.join(", "));
    let more = if count > MOST_EXAMPLES { " and others" } else { "" };
    let noun = if count == 1 { "file is" } else { "files are" };
    format!("{count} {noun} {how}: {examples}{more}")
}

#[derive(Debug, Default)]
struct Search {
    places: Places,
    /// Files that are no submission by their names.
    by_name: Vec<PathBuf>,
    /// Files of JSON that are no submission by what they hold.
    by_content: Vec<PathBuf>,
}

impl Search {
    fn folder(&mut self, folder: &Path, depth: usize) -> io::Result<()> {
        // A folder of submissions leaves its reference out; one that is a submission is itself.
        let here = submission::find(folder).unwrap_or_default();
        if here.iter().any(|one| one == folder) {
            self.places.submissions.push(folder.to_owned());
            return Ok(());
        }
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let path = entry.path();
            if let Err(error) = self.entry(&entry, &here, depth) {
                self.leave_out(&path, format!("cannot look at it: {error}"));
            }
        }
        Ok(())
    }

    fn entry(&mut self, entry: &DirEntry, here: &[PathBuf], depth: usize) -> io::Result<()> {
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() {
            if here.contains(&path) {
                self.places.submissions.push(path);
            } else if has_config(&path) {
                let reason = "it is the reference of its task".to_owned();
                self.places.passed_over.push(PassedOver::beside(path_text::text(&path), reason));
            } else if depth < DEEPEST {
                self.folder(&path, depth + 1)?;
            } else {
                self.leave_out(
                    &path,
                    format!("it lies more than {DEEPEST} folders deep: name it, or a folder above"),
                );
            }
        } else if kind.is_file() {
            self.file(path);
        } else {
            let kind = regular_file::kind_words(kind);
            self.leave_out(&path, format!("it is {kind}: expected a file or a folder, of its own"));
        }
        Ok(())
    }

    fn file(&mut self, path: PathBuf) {
        let ends_with = |end: &str| path.extension().is_some_and(|found| found.eq_ignore_ascii_case(end));
        // What is called a solution is one, or is left out with what is wrong with it.
        let is_called_one = path.file_name().is_some_and(|name| name.eq_ignore_ascii_case("solution.json"));
        if ends_with("zip") || is_called_one {
            self.places.submissions.push(path);
        } else if !ends_with("json") {
            self.by_name.push(path);
        } else {
            match open::json_file(&path) {
                JsonFile::Solution => self.places.submissions.push(path),
                JsonFile::Other => self.by_content.push(path),
                JsonFile::Unknown(reason) => self.leave_out(&path, format!("it may be a solution: {reason}")),
            }
        }
    }

    fn leave_out(&mut self, path: &Path, reason: String) {
        self.places.passed_over.push(PassedOver::left_out(path_text::text(path), reason));
    }
}

fn has_config(folder: &Path) -> bool {
    folder.join("config.toml").symlink_metadata().is_ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::process::Command;

    use super::*;
    use crate::fleet::plan::PassedKind;

    fn write(root: &Path, file: &str) {
        let path = root.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }

    fn names(root: &Path, places: &Places) -> Vec<String> {
        let name = |path: &PathBuf| path.strip_prefix(root).unwrap().display().to_string();
        places.submissions.iter().map(name).collect()
    }

    fn passed(root: &Path, places: &Places, kind: PassedKind) -> Vec<(String, String)> {
        let of_kind = places.passed_over.iter().filter(|one| one.kind == kind);
        let prefix = format!("{}/", root.display());
        let mut all: Vec<_> =
            of_kind.map(|one| (one.path.replace(&prefix, ""), one.reason.clone())).collect();
        all.sort();
        all
    }

    #[test]
    fn finds_folders_artifacts_and_solutions_at_any_depth_and_no_reference() {
        let root = tempfile::tempdir().unwrap();
        let files = [
            "task/definition.json",
            "task/reference/config.toml",
            "task/one/config.toml",
            "task/one/inner/config.toml",
            "teams/a/b/config.toml",
            "teams/c.zip",
            "teams/e.ZIP",
            "teams/c.txt",
            "teams/d/solution.json",
            "teams/f/Solution.JSON",
        ];
        for file in files {
            write(root.path(), file);
        }
        let solution = r#"{ "name": "n", "definition": "d", "spec": {}, "sources": [] }"#;
        let trace = r#"{ "definition": "d", "solution": "n", "workload": {}, "evaluation": null }"#;
        let texts = [
            ("task/definition.json", r#"{ "name": "d", "axes": {}, "reference": "x" }"#),
            ("solutions/team/d/fast.json", solution),
            ("solutions/team/d/fast.JSON", solution),
            ("solutions/team/d/no_spec.json", r#"{ "definition": "d", "sources": [] }"#),
            ("solutions/team/d/trace.json", trace),
            ("solutions/team/d/list.json", "[1, 2]"),
            ("solutions/team/d/cut.json", &solution[..solution.len() / 2]),
            ("solutions/team/d/empty.json", ""),
        ];
        for (file, text) in texts {
            write(root.path(), file);
            fs::write(root.path().join(file), text).unwrap();
        }
        let found = places(root.path()).unwrap();
        let expected = [
            "solutions/team/d/fast.JSON",
            "solutions/team/d/fast.json",
            "solutions/team/d/no_spec.json",
            "task/one",
            "teams/a/b",
            "teams/c.zip",
            "teams/d/solution.json",
            "teams/e.ZIP",
            "teams/f/Solution.JSON",
        ];
        assert_eq!(names(root.path(), &found), expected);
        let left = passed(root.path(), &found, PassedKind::LeftOut);
        let names: Vec<_> = left.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(names, ["solutions/team/d/cut.json", "solutions/team/d/empty.json"], "{left:?}");
        assert!(left.iter().all(|(_, why)| why.starts_with("it may be a solution: not JSON: ")), "{left:?}");
        let beside = passed(root.path(), &found, PassedKind::Beside);
        assert_eq!(beside.len(), 3, "{beside:?}");
        assert!(beside[0].1.starts_with("1 file is by name no submission: "), "{beside:?}");
        assert!(beside[1].1.starts_with("3 files are JSON and no solution: "), "{beside:?}");
        assert_eq!(beside[2], ("task/reference".to_owned(), "it is the reference of its task".to_owned()));
        let one = places(&root.path().join("task/one")).unwrap();
        assert_eq!(one.submissions, [root.path().join("task/one")]);
        assert_eq!(places(Path::new("missing.zip")).unwrap().submissions, [Path::new("missing.zip")]);
    }

    #[test]
    fn what_is_no_file_or_folder_or_lies_too_deep_is_left_out_with_its_reason_and_no_link_is_followed() {
        let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write(outside.path(), "team/config.toml");
        write(outside.path(), "b.zip");
        write(root.path(), "a/config.toml");
        for (to, name) in [("team", "linked"), ("b.zip", "linked.zip"), ("", "all"), ("none.zip", "gone.zip")]
        {
            symlink(outside.path().join(to), root.path().join(name)).unwrap();
        }
        symlink("a", root.path().join("again")).unwrap();
        assert!(Command::new("mkfifo").arg(root.path().join("pipe.zip")).status().unwrap().success());
        let _socket = std::os::unix::net::UnixListener::bind(root.path().join("socket.zip")).unwrap();
        let deep = (0..=DEEPEST).map(|index| format!("d{index}/")).collect::<Vec<_>>().concat();
        write(root.path(), &format!("{deep}config.toml"));
        write(root.path(), &format!("{deep}more/config.toml"));
        let found = places(root.path()).unwrap();
        // One that lies as deep as is looked is found, and what lies below it is a part of it.
        let at_the_end = deep.trim_end_matches('/');
        assert_eq!(names(root.path(), &found), ["a", at_the_end]);
        write(root.path(), &format!("x/{deep}solution.json"));
        let found = places(root.path()).unwrap();
        let left = passed(root.path(), &found, PassedKind::LeftOut);
        let said = |name: &str| {
            let found = left.iter().find(|(path, _)| path == name);
            found.unwrap_or_else(|| panic!("{name} is not in {left:?}")).1.clone()
        };
        for name in ["linked", "linked.zip", "all", "gone.zip", "again"] {
            assert!(said(name).contains("it is a link"), "{name}");
        }
        assert!(said("pipe.zip").contains("a pipe") && said("socket.zip").contains("a socket"));
        assert!(left.iter().any(|(path, why)| path.starts_with("x/d0") && why.contains("16 folders deep")));
        assert_eq!(left.len(), 8, "{left:?}");
    }
}
