//! What is called through Python although it is compiled.

use proofmark_packager::Artifact;
use proofmark_packager::submission::Binding;

/// Whether a submission is built as a module of Python: `binding = "torch"`.
pub fn is_extension(artifact: &Artifact) -> bool {
    let build = &artifact.manifest().build;
    build.language.is_compiled() && build.binding == Some(Binding::Torch)
}

#[cfg(test)]
mod tests {
    use proofmark_packager::interop::flashinfer::solution;

    use super::*;

    #[test]
    fn compiled_code_with_a_torch_binding_is_a_module_and_a_python_entry_with_that_word_is_not() {
        let artifact = |language: &str, file: &str| {
            let text = format!(
                r#"{{"name":"n","definition":"d","author":"a","spec":{{"language":"{language}",
                "target_hardware":["cuda"],"entry_point":"{file}::run","dependencies":[],
                "destination_passing_style":true,"binding":"torch"}},"sources":[{{"path":"{file}","content":"x"}}]}}"#
            );
            solution::read(&text).unwrap()
        };
        assert!(is_extension(&artifact("cuda", "k.cu")));
        assert!(!is_extension(&artifact("python", "k.py")));
    }
}
