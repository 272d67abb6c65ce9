//! What a `config.toml` most likely means where it cannot be followed, from what is there.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::entry_point::{EntryPoint, EntryPointError};
use crate::escape;
use crate::sources::{SourceFile, SourcePath};

use super::{CONFIG_NAME, Language, Note, Violation};

/// Most files that a suggestion names.
const MOST_NAMED: usize = 5;

/// Replaces violations by ones that say what would work.
pub(super) fn improve(
    folder: &Path,
    language: Language,
    sources: &BTreeMap<SourcePath, SourceFile>,
    violations: &mut [Violation],
) {
    for violation in violations {
        let better = match violation {
            Violation::EntryPoint(EntryPointError::Form { found }) => {
                entry_point(found, language, sources.values())
                    .map(|suggested| Violation::EntryPointForm { found: found.clone(), suggested })
            }
            Violation::EntryFileMissing { file, .. } => elsewhere(folder, language, file),
            _ => None,
        };
        if let Some(better) = better {
            *violation = better;
        }
    }
}

/// Looks for the entry file among the sources of other languages in the contest's layout.
fn elsewhere(folder: &Path, language: Language, file: &str) -> Option<Violation> {
    let entries = fs::read_dir(folder.join("solution")).ok()?;
    let mut names: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.path().join(file).is_file())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .map(|name| format!("solution/{}", escape::line(&name)))
        .collect();
    names.sort();
    let first = names.first()?.clone();
    let expected = format!("solution/{}", language.as_str());
    Some(Violation::EntryFileElsewhere { file: file.to_owned(), found: names.join(" and "), first, expected })
}

/// What to do where `files` should choose among the sources.
pub(super) fn chosen_files(chosen: &[String], sources: &BTreeMap<SourcePath, SourceFile>) -> Option<Note> {
    let is_chosen = |path: &SourcePath| {
        chosen.iter().any(|one| Path::new(one).file_name() == Path::new(path.as_str()).file_name())
    };
    let compiled = |path: &&SourcePath| ["cu", "cpp", "cc", "cxx", "c"].contains(&path.extension());
    let others: Vec<&str> =
        sources.keys().filter(compiled).filter(|path| !is_chosen(path)).map(SourcePath::as_str).collect();
    if chosen.is_empty() || others.is_empty() || others.len() > MOST_NAMED {
        return None;
    }
    let what = format!(
        "the contest's packer takes every source, and so do we: for a build without them, move {} into a sub-folder",
        others.join(" and ")
    );
    Some(Note { path: CONFIG_NAME.to_owned(), what: escape::line(&what) })
}

/// Names that entry functions have where nothing else tells.
const USUAL: [&str; 2] = ["run", "kernel"];

/// An entry point that exists: the text may be a function's name, a file's, or a file's without its ending.
pub(super) fn entry_point<'s>(
    text: &str,
    language: Language,
    sources: impl Iterator<Item = &'s SourceFile> + Clone,
) -> Option<EntryPoint> {
    let fits = |source: &&SourceFile| (source.path.extension() == "py") != language.is_compiled();
    let files = sources.filter(fits);
    let found = |file: &SourceFile, symbol: &str| format!("{}::{symbol}", file.path).parse().ok();
    // A file that is named, with the function of the same name or a usual one.
    let is_named = |file: &&SourceFile| {
        let name = file.path.as_str();
        name == text || name.rsplit_once('.').is_some_and(|(stem, _)| stem == text)
    };
    let stem = text.rsplit_once('.').map_or(text, |(stem, _)| stem);
    let symbols = || USUAL.into_iter().chain([stem]);
    let in_file = files
        .clone()
        .filter(is_named)
        .find_map(|file| symbols().find(|symbol| gives(file, symbol)).and_then(|symbol| found(file, symbol)));
    // A function that some file gives.
    in_file.or_else(|| files.clone().find(|file| gives(file, text)).and_then(|file| found(file, text)))
}

/// Whether a file has a function under this name for its caller.
fn gives(file: &SourceFile, symbol: &str) -> bool {
    let squeezed = |text: &str| text.split_whitespace().collect::<String>();
    file.content.lines().any(|line| {
        if file.path.extension() == "py" {
            return line
                .strip_prefix("def ")
                .is_some_and(|rest| squeezed(rest).starts_with(&format!("{symbol}(")));
        }
        let line = squeezed(line);
        line.contains(&format!("TVM_FFI_DLL_EXPORT_TYPED_FUNC({symbol},"))
            || line.contains(&format!("m.def(\"{symbol}\""))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suggested(text: &str, language: Language, files: &[(&str, &str)]) -> Option<String> {
        let file = |&(path, content): &(&str, &str)| SourceFile {
            path: path.parse().unwrap(),
            content: content.to_owned(),
        };
        let files: Vec<_> = files.iter().map(file).collect();
        entry_point(text, language, files.iter()).map(|entry| entry.to_string())
    }

    #[test]
    fn what_is_suggested_exists() {
        let python = [("helper.py", "def kernel(x):\n"), ("kernel.py", "def  run (a, b):\n"), ("k.cu", "")];
        let triton = |text: &str| suggested(text, Language::Triton, &python);
        assert_eq!(triton("kernel").as_deref(), Some("kernel.py::run"));
        assert_eq!(triton("kernel.py").as_deref(), Some("kernel.py::run"));
        assert_eq!(triton("run").as_deref(), Some("kernel.py::run"));
        assert_eq!(triton("k"), None);
        let cuda = [("a.cu", "x"), ("b.cu", "TVM_FFI_DLL_EXPORT_TYPED_FUNC( fast , Fast);\n")];
        assert_eq!(suggested("fast", Language::Cuda, &cuda).as_deref(), Some("b.cu::fast"));
        let torch = [("b.cpp", "  m.def(\"go\", &go);\n")];
        assert_eq!(suggested("go", Language::Cuda, &torch).as_deref(), Some("b.cpp::go"));
        assert_eq!(suggested("a", Language::Cuda, &cuda), None);
    }
}
