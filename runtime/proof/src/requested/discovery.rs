//! Finds the build files below a folder.

use std::fs::read_to_string;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::allowance::Allowance;
use super::call::{Moved, OptionFiles};
use super::steps::Requests;
use super::{database, log, makefile, ninja};

/// The requests in every `build.ninja`, `compile_commands.json` and `CMake` Makefile below a folder.
pub fn requests_in_folder(folder: &Path) -> Requests {
    let mut requests = Requests::default();
    let Ok(root) = folder.canonicalize() else { return requests };
    let mut allowance = Allowance::default();
    let items = WalkDir::new(&root).sort_by_file_name().into_iter().filter_map(Result::ok);
    for item in items.filter(|item| item.file_type().is_file()) {
        let (path, name) = (item.path(), item.file_name());
        let here = path.parent().unwrap_or(&root);
        let mut files =
            OptionFiles { root: Some(root.clone()), moved: recorded_place(here), ..OptionFiles::default() };
        if name == "build.ninja" {
            ninja::read(path, here, &mut files, &mut allowance, &mut requests);
        } else if name == "compile_commands.json" {
            let Some(text) = allowance.read(path) else { continue };
            if !database::read_text(&text, path, &mut files, &mut allowance, &mut requests) {
                allowance.note(format!("{}: no compilation database", path.display()));
            }
        } else if name == "build.make" && is_target_folder(here) {
            makefile::read(path, &mut files, &mut allowance, &mut requests);
        }
    }
    requests.note(allowance.notes);
    requests
}

/// The requests in one file: a ninja file, a compilation database, or else a log; `None` when it holds none.
pub fn claim_of_file(path: &Path) -> Option<Requests> {
    // A pipe can be read but once, and its bytes come first.
    if !path.is_file() {
        return None;
    }
    let ending = path.extension().and_then(|end| end.to_str());
    if !matches!(ending, None | Some("json" | "ninja" | "log" | "txt")) || !begins_like_text(path) {
        return None;
    }
    let mut allowance = Allowance::default();
    let real = path.canonicalize().ok()?;
    let here = real.parent()?.to_owned();
    let text = allowance.read(&real)?;
    let mut files =
        OptionFiles { root: Some(here.clone()), moved: recorded_place(&here), ..OptionFiles::default() };
    let mut requests = Requests::default();
    match ending {
        Some("json") => {
            database::read_text(&text, &real, &mut files, &mut allowance, &mut requests);
        }
        Some("ninja") => ninja::read_text(&text, &real, &here, &mut files, &mut allowance, &mut requests),
        _ => log::read_text(&text, &real, &here, &files, &mut allowance, &mut requests),
    }
    requests.note(allowance.notes);
    Some(requests).filter(|requests| !requests.is_empty() || !requests.notes.is_empty())
}

/// Binary files have no claim, however long they are.
fn begins_like_text(path: &Path) -> bool {
    use std::io::Read as _;
    let mut head = Vec::new();
    let opened = std::fs::File::open(path).and_then(|file| file.take(4096).read_to_end(&mut head));
    opened.is_ok() && !head.contains(&0)
}

fn is_target_folder(folder: &Path) -> bool {
    let parent = folder.parent().and_then(Path::file_name);
    folder.extension().is_some_and(|end| end == "dir") && parent.is_some_and(|name| name == "CMakeFiles")
}

/// Where `CMake` made a build folder, if it was moved since.
fn recorded_place(folder: &Path) -> Option<Moved> {
    let cache = folder.join("CMakeCache.txt");
    if !cache.metadata().is_ok_and(|file| file.is_file() && file.len() < 16 << 20) {
        return None;
    }
    let text = read_to_string(cache).ok()?;
    let recorded = text.lines().find_map(|line| line.strip_prefix("CMAKE_CACHEFILE_DIR:INTERNAL="))?;
    (Path::new(recorded) != folder)
        .then(|| Moved { recorded: PathBuf::from(recorded), actual: folder.to_owned() })
}
