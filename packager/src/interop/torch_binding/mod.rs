//! A kernel with a TVM-FFI entry as a torch extension: the files that boards of torch need, made from the
//! definition's signature.
//!
//! ```text
//! kernel.cu …               as they were, but for their TVM-FFI includes
//! proofmark_tvm_ffi.h       what a kernel file uses of TVM-FFI, without its library
//! proofmark_argument.h      how a tensor or number travels from one to the other
//! torch_binding.cpp         the module that Python loads: the new entry
//! ```
//!
//! | file | noun |
//! |---|---|
//! | `signature` | a definition's interface as parameters |
//! | `extension` | the text of `torch_binding.cpp` |
//!
//! What is made is an artifact like any other: it is built and proven as one.

mod extension;
pub(crate) mod signature;

use self::signature::Signature;
use super::flashinfer::Definition;
use super::violation::{FormatViolation, Invalid};
use crate::artifact::Artifact;
use crate::entry_point::EntryPoint;
use crate::sources::{SourceFile, SourcePath};
use crate::submission::{Binding, Language, Submission};

/// The made entry file.
pub const EXTENSION_NAME: &str = "torch_binding.cpp";

/// The made headers, with their texts.
const HEADERS: [(&str, &str); 2] = [
    ("proofmark_argument.h", include_str!("argument.h")),
    ("proofmark_tvm_ffi.h", include_str!("tvm_ffi.h")),
];

/// What a kernel file includes instead of TVM-FFI's own headers.
const HEADER_NAME: &str = "proofmark_tvm_ffi.h";

/// The macro that exports an entry.
const EXPORT: &str = "TVM_FFI_DLL_EXPORT_TYPED_FUNC";

/// The place of a violation that says that there is no definition.
pub const DEFINITION_PLACE: &str = "definition";

/// Which stream a kernel is told to work on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallersStream {
    /// Torch's current one.
    Current,
    /// The default one.
    Default,
}

/// Whether an artifact's entry is TVM-FFI's, which a board of torch cannot call.
#[must_use]
pub fn is_needed(artifact: &Artifact) -> bool {
    let build = &artifact.manifest().build;
    build.language.is_compiled() && build.binding != Some(Binding::Torch)
}

/// Makes the torch extension of an artifact with a TVM-FFI entry, or says everything that keeps it from
/// becoming one.
pub fn bind(artifact: &Artifact, stream: CallersStream) -> Result<Artifact, Invalid> {
    let mut violations = Vec::new();
    let manifest = artifact.manifest();
    let symbol = &manifest.build.entry_point.symbol;
    let definition = match artifact.definition().map(Definition::from_json) {
        Some(Ok(definition)) => Some(definition),
        Some(Err(invalid)) => return Err(invalid),
        None => {
            let expected = "a definition.json in the folder or above it: its signature is what torch passes";
            violations.push(FormatViolation::new(DEFINITION_PLACE, expected, "none"));
            None
        }
    };
    if !manifest.build.destination_passing_style {
        let expected = "true: outputs are passed, not returned";
        violations.push(FormatViolation::new("spec.destination_passing_style", expected, "false"));
    }
    if !artifact.sources().iter().any(|source| exports(&source.content, symbol)) {
        let expected = format!("a source with {EXPORT}({symbol}, …)");
        violations.push(FormatViolation::new("sources", expected, "none"));
    }
    let made = [EXTENSION_NAME, HEADERS[0].0, HEADERS[1].0];
    for source in artifact.sources().iter().filter(|source| made.contains(&source.path.as_str())) {
        let expected = "a name that no made file has";
        violations.push(FormatViolation::new("sources", expected, format!("`{}`", source.path)));
    }
    let (Some(definition), true) = (definition, violations.is_empty()) else {
        return Err(Invalid { document: "kernel for torch", violations });
    };
    let signature = Signature::of(&definition);
    let extension = extension::text(&signature, symbol, definition.name(), stream);
    let mut sources: Vec<SourceFile> = artifact.sources().iter().map(without_tvm_ffi).collect();
    sources.extend(HEADERS.iter().map(|(name, text)| file(name, (*text).to_owned())));
    sources.push(file(EXTENSION_NAME, extension));
    sources.sort_by(|one, other| one.path.cmp(&other.path));
    let mut build = manifest.build.clone();
    build.language = Language::Cuda;
    build.binding = Some(Binding::Torch);
    build.entry_point = EntryPoint { file: plain_path(EXTENSION_NAME), symbol: symbol.clone() };
    let mut target = manifest.target.clone();
    // No board of torch has TVM-FFI's library, and nothing calls it any more.
    target.nvcc_flags.retain(|flag| flag != "-ltvm_ffi");
    let submission = Submission {
        solution: manifest.solution.clone(),
        build,
        target,
        sources,
        definition: artifact.definition().map(str::to_owned),
        workloads: artifact.workloads().map(str::to_owned),
        reference: None,
        unknown: manifest.unknown.clone(),
    };
    Artifact::pack(submission).map_err(|found| {
        let found = found.0.iter().map(FormatViolation::of_packing);
        Invalid { document: "kernel for torch", violations: found.collect() }
    })
}

/// Whether a text exports a symbol by TVM-FFI's macro.
fn exports(text: &str, symbol: &str) -> bool {
    text.match_indices(EXPORT).any(|(at, macro_name)| {
        let rest = text[at + macro_name.len()..].trim_start();
        let name = rest.strip_prefix('(').map(str::trim_start).and_then(|rest| rest.strip_prefix(symbol));
        name.is_some_and(|rest| rest.trim_start().starts_with(','))
    })
}

/// The same source with the made header where it includes one of TVM-FFI or `DLPack`.
fn without_tvm_ffi(source: &SourceFile) -> SourceFile {
    let depth = source.path.as_str().matches('/').count();
    let made = format!("#include \"{}{HEADER_NAME}\"", "../".repeat(depth));
    let is_theirs = |line: &str| {
        let rest = line.trim_start().strip_prefix('#').map(str::trim_start);
        let name = rest.and_then(|rest| rest.strip_prefix("include")).map(str::trim_start);
        name.is_some_and(|name| {
            ["<tvm/ffi/", "\"tvm/ffi/", "<dlpack/", "\"dlpack/"].iter().any(|start| name.starts_with(start))
        })
    };
    let mut content = String::with_capacity(source.content.len());
    for line in source.content.split_inclusive('\n') {
        if !is_theirs(line) {
            content.push_str(line);
        } else if content.contains(&made) {
            content.push('\n');
        } else {
            content.push_str(&(made.clone() + "\n"));
        }
    }
    SourceFile { path: source.path.clone(), content }
}

fn file(name: &str, content: String) -> SourceFile {
    SourceFile { path: plain_path(name), content }
}

fn plain_path(name: &str) -> SourcePath {
    name.parse().expect("a made file has a plain name")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::interop::flashinfer::solution;
    use crate::submission::Target;

    const DEFINITION: &str = r#"{"name": "scale\\", "op_type": "toy", "axes": {"n": {}, "k": {"value": 8}},
        "inputs": {"x": {"shape": ["n", "k"], "dtype": "bfloat16"}, "bias": {"shape": ["k"], "dtype": "float32",
        "optional": true}, "factor": {"shape": null, "dtype": "float32"}, "count": {"shape": null, "dtype": "int32"}},
        "outputs": {"y": {"shape": ["n", "k"], "dtype": "bfloat16"}}, "reference": "def run(x, factor): pass"}"#;

    fn artifact(kernel: &str, definition: Option<&str>) -> Artifact {
        let text = json!({"name": "n", "definition": "scale\\", "author": "a", "spec": {"language": "cuda",
            "target_hardware": ["cuda"], "entry_point": "k.cu::run"}, "sources": [{"path": "k.cu", "content": kernel},
            {"path": "parts/p.cuh", "content": "#include <dlpack/dlpack.h>"}]})
        .to_string();
        let read = solution::read(&text).unwrap();
        let submission = Submission {
            solution: read.manifest().solution.clone(),
            build: read.manifest().build.clone(),
            target: Target::default(),
            sources: read.sources().to_vec(),
            definition: definition.map(str::to_owned),
            workloads: None,
            reference: None,
            unknown: serde_json::Map::new(),
        };
        Artifact::pack(submission).unwrap()
    }

    const KERNEL: &str =
        "#include <cstdint>\n  # include <tvm/ffi/tvm_ffi.h>\nTVM_FFI_DLL_EXPORT_TYPED_FUNC( run , f);\n";

    #[test]
    fn makes_an_extension_with_the_definitions_signature() {
        let bound = bind(&artifact(KERNEL, Some(DEFINITION)), CallersStream::Current).unwrap();
        let of = |name: &str| {
            let found = bound.sources().iter().find(|source| source.path.as_str() == name);
            &found.unwrap_or_else(|| panic!("no {name}")).content
        };
        assert_eq!(
            of("k.cu"),
            "#include <cstdint>\n#include \"proofmark_tvm_ffi.h\"\nTVM_FFI_DLL_EXPORT_TYPED_FUNC( run , f);\n"
        );
        assert_eq!(of("parts/p.cuh"), "#include \"../proofmark_tvm_ffi.h\"\n");
        let extension = of(EXTENSION_NAME);
        for part in [
            "void run(\n    const at::Tensor& x,\n    const std::optional<at::Tensor>& bias,\n    double factor,\n    int64_t count,\n    const at::Tensor& y) {",
            "//   x [n, k] bfloat16\n",
            "getCurrentCUDAStream",
            "proofmark_entry_run(arguments, 5);",
            "PYBIND11_MODULE",
        ] {
            assert!(extension.contains(part), "{part} not in {extension}");
        }
        assert!(!extension.lines().any(|line| line.ends_with('\\')), "{extension}");
        assert_eq!(bound.manifest().build.entry_point.to_string(), "torch_binding.cpp::run");
        assert!(!is_needed(&bound));
        crate::interop::solexec::solution::write(&bound).unwrap();
    }

    #[test]
    fn names_everything_that_keeps_a_kernel_from_it() {
        let refused = bind(&artifact("int x;", None), CallersStream::Default).unwrap_err();
        let places: Vec<_> = refused.violations.iter().map(|one| one.place.as_str()).collect();
        assert_eq!(places, ["definition", "sources"]);
    }

    #[test]
    fn the_default_stream_is_told_without_asking_torch() {
        let bound = bind(&artifact(KERNEL, Some(DEFINITION)), CallersStream::Default).unwrap();
        let made = bound.sources().iter().find(|source| source.path.as_str() == EXTENSION_NAME).unwrap();
        assert!(!made.content.contains("getCurrent"), "{}", made.content);
    }
}
