//! What an entry point without `::` most likely means, from the sources that are there.

use crate::entry_point::EntryPoint;
use crate::sources::SourceFile;

use super::Language;

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
