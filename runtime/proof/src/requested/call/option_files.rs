//! Files of options: where they are found, and arguments with what they hold in their place.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use super::program::Compiler;
use crate::requested::allowance::Allowance;
use crate::requested::shell;

/// How deep files of options may name each other.
const OPTIONS_DEPTH: u32 = 4;

/// Where files of options are found.
#[derive(Default)]
pub(in crate::requested) struct OptionFiles {
    /// The folder below which they may lie; others are not opened.
    pub(in crate::requested) root: Option<PathBuf>,
    /// Files that the build tool writes for the time of a call.
    pub(in crate::requested) given: HashMap<PathBuf, String>,
    /// The build folder as the build files name it, where that is another than it is now.
    pub(in crate::requested) moved: Option<Moved>,
}

/// A build folder that was moved or copied after it was made.
#[derive(Debug, Clone)]
pub(in crate::requested) struct Moved {
    /// Its name in the build files.
    pub(in crate::requested) recorded: PathBuf,
    /// Where it is.
    pub(in crate::requested) actual: PathBuf,
}

impl OptionFiles {
    /// A path as it is now, without `.` and `..`.
    pub(in crate::requested) fn place(&self, path: &str, directory: &Path) -> PathBuf {
        let path = clean(&directory.join(path));
        match &self.moved {
            Some(moved) if !path.starts_with(&moved.actual) => match path.strip_prefix(&moved.recorded) {
                Ok(rest) => clean(&moved.actual.join(rest)),
                Err(_) => path,
            },
            _ => path,
        }
    }

    /// What a file of options holds, where it may be read.
    pub(super) fn read(&self, path: &str, directory: &Path, allowance: &mut Allowance) -> Option<String> {
        let place = self.place(path, directory);
        if let Some(text) = self.given.get(&place) {
            return allowance.take(text.len()).then(|| text.clone());
        }
        let root = self.root.as_ref()?;
        // What a link leads to must lie below the folder as well.
        let real = place.canonicalize().ok()?;
        if !real.starts_with(root) {
            return None;
        }
        allowance.read_options(&real)
    }
}

/// A path without `.` and `..`, as far as its letters tell.
fn clean(path: &Path) -> PathBuf {
    let mut cleaned = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                if !cleaned.pop() {
                    cleaned.push("..");
                }
            }
            other => cleaned.push(other),
        }
    }
    cleaned
}

/// Replaces files of options by what they hold.
pub(super) fn with_options_files(
    arguments: Vec<String>,
    compiler: Compiler,
    read: &mut impl FnMut(&str) -> Option<String>,
    unread: &mut Vec<String>,
    depth: u32,
) -> Vec<String> {
    let mut all = Vec::new();
    let mut rest = arguments.into_iter();
    while let Some(argument) = rest.next() {
        let names = match named_files(&argument, compiler) {
            NamedFiles::None => {
                all.push(argument);
                continue;
            }
            NamedFiles::Here(names) => names,
            NamedFiles::Next => rest.next().unwrap_or_default(),
        };
        for name in names.split(',').filter(|name| !name.is_empty()) {
            match (depth < OPTIONS_DEPTH).then(|| read(name)).flatten() {
                Some(text) => {
                    all.extend(with_options_files(shell::words(&text), compiler, read, unread, depth + 1));
                }
                None => unread.push(format!("options in the file {name}")),
            }
        }
    }
    all
}

/// Files of options that an argument names.
enum NamedFiles {
    None,
    Here(String),
    Next,
}

fn named_files(argument: &str, compiler: Compiler) -> NamedFiles {
    let nvidia = matches!(compiler, Compiler::Nvcc | Compiler::Ptxas);
    if nvidia && matches!(argument, "-optf" | "--options-file" | "-options-file") {
        return NamedFiles::Next;
    }
    let inline = ["-optf=", "--options-file=", "-options-file="];
    match inline.iter().find_map(|start| argument.strip_prefix(start)) {
        Some(names) if nvidia => NamedFiles::Here(names.to_owned()),
        // clang reads `@file`; nvcc takes it for a source (seen, 13.0), but its wrappers may not.
        _ => argument.strip_prefix('@').map_or(NamedFiles::None, |name| NamedFiles::Here(name.to_owned())),
    }
}
