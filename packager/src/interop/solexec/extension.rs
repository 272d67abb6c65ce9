//! What the board's builder makes of C++ sources: it compiles those of the top folder, and no other, as the torch
//! extension `benchmark_kernel`, and takes the entry from it by name.

use std::collections::BTreeSet;

use super::languages::BUILT_ENDINGS;
use crate::artifact::Artifact;
use crate::interop::pieces::without_comments;
use crate::interop::violation::FormatViolation;
use crate::sources::SourceFile;
use crate::submission::{IncludeKind, includes_of};

/// What makes C++ sources a module that Python can load.
const MODULE_MACRO: &str = "PYBIND11_MODULE";

/// Names of a module that Python finds under the extension's name.
const MODULE_NAMES: [&str; 2] = ["TORCH_EXTENSION_NAME", "benchmark_kernel"];

/// What a kernel's file has, and so cannot do without being compiled.
const KERNEL_MARKS: [&str; 2] = ["__global__", "TVM_FFI_DLL_EXPORT_TYPED_FUNC"];

/// The sources as their builder takes them, without comments.
pub(super) struct Extension<'a> {
    /// What is compiled, and what that includes.
    compiled: Vec<(&'a SourceFile, String)>,
    /// Files that look as if they were, below a folder.
    passed_over: Vec<(&'a SourceFile, String)>,
}

/// The functions that a module defines.
struct Functions {
    names: BTreeSet<String>,
    /// Whether there are more, under names that are not written out.
    has_others: bool,
}

impl<'a> Extension<'a> {
    /// The sources of an artifact.
    pub(super) fn of(artifact: &'a Artifact) -> Self {
        let sources = artifact.sources();
        let is_built = |path: &str| BUILT_ENDINGS.iter().any(|end| path.ends_with(end));
        let is_top = |path: &str| is_built(path) && !path.contains('/');
        let mut reached: BTreeSet<&str> =
            sources.iter().map(|source| source.path.as_str()).filter(|path| is_top(path)).collect();
        let mut waiting: Vec<&str> = reached.iter().copied().collect();
        while let Some(path) = waiting.pop() {
            let Some(source) = sources.iter().find(|source| source.path.as_str() == path) else { continue };
            for include in includes_of(&source.content).iter().filter(|one| one.kind != IncludeKind::Computed)
            {
                let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
                let places = [joined(folder, &include.name), joined("", &include.name)];
                let found = sources.iter().map(|source| source.path.as_str());
                for found in found.filter(|found| places.iter().flatten().any(|place| place == found)) {
                    if reached.insert(found) {
                        waiting.push(found);
                    }
                }
            }
        }
        let code = |source: &'a SourceFile| (source, without_comments(&source.content));
        let (inside, outside): (Vec<_>, Vec<_>) =
            sources.iter().partition(|source| reached.contains(source.path.as_str()));
        Self {
            compiled: inside.into_iter().map(code).collect(),
            passed_over: outside.into_iter().filter(|one| is_built(one.path.as_str())).map(code).collect(),
        }
    }

    /// Names what keeps the board from building the sources, or from finding the entry among what it built.
    pub(super) fn check(&self, artifact: &Artifact, violations: &mut Vec<FormatViolation>) {
        let entry = &artifact.manifest().build.entry_point;
        if self.leaves_out_a_kernel(entry.file.as_str()) {
            let expected =
                "kernels in files of the top folder, or included there: the board compiles no other";
            violations.push(FormatViolation::new("sources", expected, self.names_passed_over()));
        }
        match self.module_name() {
            None => {
                let is_mentioned = self.compiled.iter().any(|(one, _)| one.content.contains(MODULE_MACRO));
                let names: Vec<_> = self.compiled.iter().map(|(source, _)| source.path.as_str()).collect();
                let found = match names.as_slice() {
                    [] => "no file that is compiled".to_owned(),
                    _ if is_mentioned => format!("it in comments of {}", names.join(", ")),
                    _ => names.join(", "),
                };
                let expected = format!("a file in the top folder with {MODULE_MACRO}");
                violations.push(FormatViolation::new("sources", expected, found));
            }
            Some(name) if !MODULE_NAMES.contains(&name) && !self.defines_macro(name) => {
                let expected =
                    format!("{MODULE_MACRO}(TORCH_EXTENSION_NAME, …): the board loads it under that name");
                violations.push(FormatViolation::new(
                    "sources",
                    expected,
                    format!("`{MODULE_MACRO}({name}, …)`"),
                ));
            }
            Some(_) => {
                let Functions { names, has_others } = self.functions();
                if !names.is_empty() && !has_others && !names.contains(&entry.symbol) {
                    let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
                    let expected = format!("a function that the module defines: {}", names.join(", "));
                    violations.push(FormatViolation::new(
                        "spec.entry_point",
                        expected,
                        format!("`{}`", entry.symbol),
                    ));
                }
            }
        }
    }

    /// What may keep the board from it.
    pub(super) fn notes(&self, artifact: &Artifact) -> Vec<String> {
        let entry = &artifact.manifest().build.entry_point;
        let mut notes = Vec::new();
        if !self.passed_over.is_empty() && !self.leaves_out_a_kernel(entry.file.as_str()) {
            let names = self.names_passed_over();
            notes.push(format!("the board compiles the top folder's files alone, so not {names}"));
        }
        let Functions { names, .. } = self.functions();
        if !names.contains(&entry.symbol) {
            let symbol = &entry.symbol;
            notes.push(format!(
                "no `.def(\"{symbol}\", …)` was found: the board looks for `{symbol}` in the module"
            ));
        }
        notes
    }

    fn leaves_out_a_kernel(&self, entry: &str) -> bool {
        let has_mark = |(_, code): &(_, String)| KERNEL_MARKS.iter().any(|mark| code.contains(mark));
        self.passed_over.iter().any(|(source, _)| source.path.as_str() == entry)
            || self.passed_over.iter().any(has_mark) && !self.compiled.iter().any(has_mark)
    }

    fn names_passed_over(&self) -> String {
        self.passed_over.iter().map(|(source, _)| source.path.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// The name that the module is given.
    fn module_name(&self) -> Option<&str> {
        self.compiled.iter().find_map(|(_, code)| {
            code.match_indices(MODULE_MACRO).find_map(|(at, macro_name)| {
                let rest = code[at + macro_name.len()..].trim_start().strip_prefix('(')?;
                rest.split_once(',').map(|(name, _)| name.trim())
            })
        })
    }

    /// Whether a macro of this name is the sources' own, so that it may stand for another.
    fn defines_macro(&self, name: &str) -> bool {
        self.compiled.iter().any(|(_, code)| {
            code.lines().any(|line| {
                let rest = line.trim_start().strip_prefix('#').map(str::trim_start);
                let rest = rest.and_then(|rest| rest.strip_prefix("define")).map(str::trim_start);
                rest.is_some_and(|rest| rest.split([' ', '\t', '(']).next() == Some(name))
            })
        })
    }

    fn functions(&self) -> Functions {
        let mut found = Functions { names: BTreeSet::new(), has_others: false };
        for (_, code) in &self.compiled {
            found.has_others |= code.contains(".attr(");
            for (at, call) in code.match_indices(".def") {
                let Some(rest) = code[at + call.len()..].trim_start().strip_prefix('(') else { continue };
                match rest.trim_start().strip_prefix('"').and_then(|rest| rest.split_once('"')) {
                    Some((name, _)) => {
                        found.names.insert(name.to_owned());
                    }
                    None => found.has_others = true,
                }
            }
        }
        found
    }
}

/// The path of a file that is named from a folder; `None` where that leads outside.
fn joined(folder: &str, name: &str) -> Option<String> {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            other => parts.push(other),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::solution;
    use super::*;

    /// What is refused and noted of sources whose entry is the first file's `run`.
    fn checked(sources: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
        let list: Vec<_> =
            sources.iter().map(|(path, content)| json!({"path": path, "content": content})).collect();
        let value = json!({"name": "n", "definition": "d", "author": "a", "sources": list, "spec": {
            "languages": ["cuda_cpp"], "target_hardware": ["B200"],
            "entry_point": format!("{}::run", sources[0].0)}});
        let artifact = solution::read(&value.to_string()).unwrap().artifact;
        let extension = Extension::of(&artifact);
        let mut violations = Vec::new();
        extension.check(&artifact, &mut violations);
        (violations.iter().map(ToString::to_string).collect(), extension.notes(&artifact))
    }

    const MODULE: &str = "PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) { m.def(\"run\", &run); }\n";

    #[test]
    fn a_kernel_below_a_folder_is_refused_unless_a_file_above_includes_it() {
        let kernel = ("src/kernel.cu", "__global__ void k() {}\n");
        let (refused, _) = checked(&[("main.cpp", MODULE), kernel]);
        assert!(refused.len() == 1 && refused[0].contains("src/kernel.cu"), "{refused:?}");
        let included = format!("#include \"src/kernel.cu\"\n{MODULE}");
        assert_eq!(checked(&[("main.cu", &included), kernel]), (Vec::new(), Vec::new()));
        let whole = format!("__global__ void k() {{}}\n{MODULE}");
        let (refused, _) = checked(&[("src/main.cu", &whole)]);
        assert_eq!(refused.len(), 2, "{refused:?}");
        let (refused, notes) = checked(&[("main.cu", &whole), ("tests/other.cu", "__global__ void t() {}")]);
        assert!(refused.is_empty() && notes.len() == 1 && notes[0].contains("tests/other.cu"), "{notes:?}");
    }

    #[test]
    fn a_module_in_a_comment_or_under_another_name_is_none() {
        for text in [format!("// {MODULE}int x;\n"), format!("/* {MODULE} */ int x;\n")] {
            let (refused, _) = checked(&[("main.cpp", &text)]);
            assert!(refused[0].contains("found it in comments of main.cpp"), "{refused:?}");
        }
        let named = MODULE.replace("TORCH_EXTENSION_NAME", "mine");
        assert!(checked(&[("main.cpp", &named)]).0[0].contains("`PYBIND11_MODULE(mine, …)`"));
        let defined = format!("#define mine TORCH_EXTENSION_NAME\n{named}");
        assert_eq!(checked(&[("main.cpp", &defined)]), (Vec::new(), Vec::new()));
    }

    #[test]
    fn an_entry_that_the_module_does_not_define_is_refused_with_those_that_it_does() {
        let other = MODULE.replace("\"run\"", "\"launch\"");
        let (refused, _) = checked(&[("main.cpp", &other)]);
        assert_eq!(
            refused,
            ["`spec.entry_point`: expected a function that the module defines: `launch`, found `run`"]
        );
        let computed = MODULE.replace("\"run\"", "NAME");
        let (refused, notes) = checked(&[("main.cpp", &computed)]);
        assert!(refused.is_empty() && notes.len() == 1 && notes[0].contains(".def(\"run\""), "{notes:?}");
    }
}
