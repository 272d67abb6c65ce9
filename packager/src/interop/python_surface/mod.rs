//! A CUDA submission as a Python entry that compiles its sources itself, for boards that only run Python.
//!
//! The entry forces the architecture, checks the built bytes before it loads them, and fails closed. It is text of
//! ours beside the submission's own files, and needs nothing but TVM-FFI and a CUDA compiler where it runs.

use crate::artifact::Artifact;
use crate::entry_point::EntryPoint;
use crate::interop::linker_flags::{self, SplitFlags};
use crate::interop::solexec::FlagsBeside;
use crate::sources::SourceFile;
use crate::submission::{Binding, BuildSpec, Language, Submission};
use crate::target::{Arch, Feature};

const TEMPLATE: &str = include_str!("entry.py");

/// The entry's file.
const ENTRY_NAME: &str = "entry.py";

/// Why a submission has no such surface.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SurfaceError {
    /// It is Python already.
    #[error("a `{language}` submission is Python already: expected `cuda`")]
    Language {
        /// The language.
        language: &'static str,
    },
    /// It is no TVM-FFI module.
    #[error("binding `torch` has no Python surface: expected `tvm-ffi`")]
    Binding,
    /// A file has the entry's name.
    #[error("the submission has a file `{ENTRY_NAME}`: rename it")]
    NameTaken,
}

/// The submission as a Python entry with the same sources.
pub fn python_surface(artifact: &Artifact) -> Result<Submission, SurfaceError> {
    let manifest = artifact.manifest();
    let build = &manifest.build;
    if !build.language.is_compiled() {
        return Err(SurfaceError::Language { language: build.language.as_str() });
    }
    if build.binding == Some(Binding::Torch) {
        return Err(SurfaceError::Binding);
    }
    if artifact.sources().iter().any(|source| source.path.as_str() == ENTRY_NAME) {
        return Err(SurfaceError::NameTaken);
    }
    let path = ENTRY_NAME.parse().expect("a plain name");
    let mut sources = artifact.sources().to_vec();
    sources.push(SourceFile { path, content: entry_text(artifact) });
    sources.sort_by(|one, other| one.path.cmp(&other.path));
    let entry_point: EntryPoint = format!("{ENTRY_NAME}::run").parse().expect("a plain entry point");
    Ok(Submission {
        solution: manifest.solution.clone(),
        build: BuildSpec { language: Language::Python, entry_point, binding: None, ..build.clone() },
        target: manifest.target.clone(),
        sources,
        definition: artifact.definition().map(str::to_owned),
        workloads: artifact.workloads().map(str::to_owned),
        reference: None,
        unknown: serde_json::Map::new(),
    })
}

fn entry_text(artifact: &Artifact) -> String {
    let manifest = artifact.manifest();
    let is_unit =
        |path: &&str| [".cu", ".cpp", ".cc", ".cxx", ".c"].iter().any(|ending| path.ends_with(ending));
    let files: Vec<&str> = artifact.sources().iter().map(|source| source.path.as_str()).collect();
    let units: Vec<&str> = files.iter().copied().filter(is_unit).collect();
    let SplitFlags { compiler, linker } = linker_flags::split(&manifest.target.nvcc_flags);
    let linked: Vec<_> = FlagsBeside::of(artifact).ld_flags.into_iter().flatten().chain(linker).collect();
    let text = |text: &str| serde_json::to_string(text).expect("a text");
    TEMPLATE
        .replace("@ARCHITECTURE@", &text(&spelled(manifest.target.arch)))
        .replace("@UNITS@", &written(&units))
        .replace("@FILES@", &written(&files))
        .replace("@FLAGS@", &written(&compiler))
        .replace("@LINK_FLAGS@", &written(&linked))
        .replace("@SYMBOL@", &text(&manifest.build.entry_point.symbol))
}

/// A list of texts as Python has it, which is JSON's.
fn written<T: serde::Serialize>(texts: &[T]) -> String {
    serde_json::to_string(texts).expect("texts")
}

/// An architecture as TVM-FFI spells it: `10.0a`.
fn spelled(arch: Arch) -> String {
    let letter = match arch.feature {
        Feature::Plain => "",
        Feature::Family => "f",
        Feature::Specific => "a",
    };
    format!("{}.{}{letter}", arch.number / 10, arch.number % 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interop::flashinfer::solution;

    fn artifact(language: &str, binding: &str, file: &str) -> Artifact {
        let text = format!(
            r#"{{"name":"n","definition":"d","author":"a",
            "spec":{{"language":"{language}","target_hardware":["cuda"],"entry_point":"{file}::go",
            "dependencies":[],"destination_passing_style":false,"binding":{binding}}},
            "sources":[{{"path":"{file}","content":"x\n"}},{{"path":"t.cuh","content":"y\n"}}]}}"#
        );
        solution::read(&text).unwrap()
    }

    #[test]
    fn the_entry_names_what_it_builds_and_the_rest_stays() {
        let surface = python_surface(&artifact("cuda", "null", "k.cu")).unwrap();
        let names: Vec<_> = surface.sources.iter().map(|source| source.path.as_str()).collect();
        assert_eq!(names, ["entry.py", "k.cu", "t.cuh"]);
        let text = &surface.sources[0].content;
        for line in [
            "ARCHITECTURE = \"10.0a\"",
            "UNITS = [\"k.cu\"]",
            "FILES = [\"k.cu\",\"t.cuh\"]",
            "SYMBOL = \"go\"",
        ] {
            assert!(text.contains(line), "{line}");
        }
        assert!(!text.contains('@'), "a placeholder is left");
        assert_eq!(surface.build.entry_point.to_string(), "entry.py::run");
        assert!(!surface.build.destination_passing_style);
        Artifact::pack(surface).unwrap();
    }

    #[test]
    fn line_tables_are_no_library() {
        let mut surface = python_surface(&artifact("cuda", "null", "k.cu")).unwrap();
        surface.build.language = Language::Cuda;
        surface.build.entry_point = "k.cu::go".parse().unwrap();
        surface.sources.remove(0);
        surface.target.nvcc_flags = ["-lineinfo", "-lcurand"].map(str::to_owned).to_vec();
        let again = python_surface(&Artifact::pack(surface).unwrap()).unwrap();
        let text = &again.sources[0].content;
        assert!(
            text.contains("FLAGS = [\"-lineinfo\"]") && text.contains("LINK_FLAGS = [\"-lcurand\"]"),
            "{text}"
        );
    }

    #[test]
    fn what_is_python_or_torchs_already_is_refused() {
        assert!(matches!(
            python_surface(&artifact("triton", "null", "k.py")),
            Err(SurfaceError::Language { .. })
        ));
        assert_eq!(python_surface(&artifact("cuda", "\"torch\"", "k.cu")), Err(SurfaceError::Binding));
    }
}
