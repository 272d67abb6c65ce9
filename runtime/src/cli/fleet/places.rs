//! Where submissions are below what a person names.

use std::fs;
use std::path::{Path, PathBuf};

use proofmark_packager::submission;

/// How deep below a named folder is looked.
const DEEPEST: usize = 16;

/// The submissions below a path, sorted: folders with a `config.toml` but no reference, artifacts, and files
/// called `solution.json`. A file is itself.
pub(super) fn submissions(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    search(path, 0, &mut found)?;
    found.sort();
    Ok(found)
}

fn search(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    // A folder of submissions leaves its reference out; one that is a submission is itself.
    let here = submission::find(folder).unwrap_or_default();
    if here.iter().any(|one| one == folder) {
        found.push(folder.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() && !is_submission(&path) && depth < DEEPEST {
            search(&path, depth + 1, found)?;
        } else if kind.is_file() && is_file_of_one(&path) {
            found.push(path);
        }
    }
    found.extend(here);
    Ok(())
}

fn is_submission(folder: &Path) -> bool {
    folder.join("config.toml").symlink_metadata().is_ok()
}

fn is_file_of_one(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "zip")
        || path.file_name().is_some_and(|name| name == "solution.json")
}

#[cfg(test)]
mod tests {
    use super::*;

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
            "teams/c.txt",
            "teams/d/solution.json",
            "teams/d/other.json",
        ];
        for file in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let found = submissions(root.path()).unwrap();
        let found: Vec<_> = found.iter().map(|path| path.strip_prefix(root.path()).unwrap()).collect();
        assert_eq!(found, ["task/one", "teams/a/b", "teams/c.zip", "teams/d/solution.json"].map(Path::new));
        assert_eq!(submissions(&root.path().join("task/one")).unwrap(), [root.path().join("task/one")]);
        assert_eq!(submissions(Path::new("missing.zip")).unwrap(), [Path::new("missing.zip")]);
    }
}
