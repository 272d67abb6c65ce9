//! Which submissions can become a proven library at all.

use proofmark_packager::Artifact;
use proofmark_packager::submission::Language;

/// Why a submission is not built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unbuildable {
    /// No compiler makes machine code of it before it runs.
    #[error("`{language}` submissions are not compiled by nvcc: nothing to build")]
    NotCompiled {
        /// The language as the submission names it.
        language: &'static str,
    },
    /// Host code alone.
    #[error("a `cpp` submission without a .cu source holds no device code: nothing to prove")]
    NoDeviceCode,
}

impl Unbuildable {
    /// The way out, for people.
    pub fn way_out(self) -> &'static str {
        match self {
            Self::NotCompiled { .. } => "`pack`, `inspect`, `diff` and `unpack` take them",
            Self::NoDeviceCode => "put kernels in a .cu file and set `language = \"cuda\"`",
        }
    }
}

/// Refuses what cannot become a proven library, before anything is looked for or built.
pub fn check_buildable(artifact: &Artifact) -> Result<(), Unbuildable> {
    let build = &artifact.manifest().build;
    let language = build.language;
    if !language.is_compiled() {
        return Err(Unbuildable::NotCompiled { language: language.as_str() });
    }
    let has_device_code = artifact.sources().iter().any(|source| source.path.extension() == "cu");
    if language == Language::Cpp && !has_device_code {
        return Err(Unbuildable::NoDeviceCode);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proofmark_packager::interop::flashinfer::solution;

    use super::*;

    fn artifact(language: &str, binding: &str, file: &str) -> Artifact {
        let text = format!(
            r#"{{"name":"n","definition":"d","author":"a",
            "spec":{{"language":"{language}","target_hardware":["cuda"],"entry_point":"{file}::run",
            "dependencies":[],"destination_passing_style":true,"binding":{binding}}},
            "sources":[{{"path":"{file}","content":"x"}}]}}"#
        );
        solution::read(&text).unwrap()
    }

    #[test]
    fn what_cannot_become_a_proven_module_is_refused_before_building() {
        for (language, binding, file, expected) in [
            ("triton", "null", "k.py", Err(Unbuildable::NotCompiled { language: "triton" })),
            ("cuda", "\"torch\"", "k.cu", Ok(())),
            ("cpp", "null", "k.cpp", Err(Unbuildable::NoDeviceCode)),
            ("cuda", "null", "k.cu", Ok(())),
            ("cuda", "\"tvm-ffi\"", "k.cu", Ok(())),
            ("cpp", "null", "k.cu", Ok(())),
        ] {
            assert_eq!(check_buildable(&artifact(language, binding, file)), expected, "{language} {binding}");
        }
    }
}
