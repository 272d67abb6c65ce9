//! Their languages: a Python group and a C++ group, which are never mixed.

use crate::submission::Language;

/// The languages whose entry is a Python file.
pub const PYTHON: [&str; 5] = ["pytorch", "triton", "cute_dsl", "cutile", "cudnn_frontend"];

/// The languages that are compiled as a torch extension.
pub const COMPILED: [&str; 4] = ["cutlass", "cudnn", "cublas", "cuda_cpp"];

/// The languages that FlashInfer-Bench does not have.
pub const ONLY_THEIRS: [&str; 8] =
    ["pytorch", "cute_dsl", "cutile", "cudnn_frontend", "cutlass", "cudnn", "cublas", "cuda_cpp"];

/// Endings of an entry file of the compiled group.
pub const COMPILED_ENDINGS: [&str; 8] = [".cu", ".cpp", ".cc", ".cxx", ".c", ".h", ".hpp", ".cuh"];

/// Endings of the files in the top folder that their builder compiles.
pub const BUILT_ENDINGS: [&str; 5] = [".cu", ".cpp", ".cc", ".cxx", ".c"];

/// Our word for a list of theirs; `None` for an empty or mixed list, or an unknown word.
pub(super) fn language_of(languages: &[String]) -> Option<Language> {
    let all_in = |group: &[&str]| languages.iter().all(|one| group.contains(&one.as_str()));
    if languages.is_empty() {
        None
    } else if all_in(&COMPILED) {
        Some(Language::Cuda)
    } else if all_in(&PYTHON) {
        let is_triton = languages.iter().any(|one| one == "triton");
        Some(if is_triton { Language::Triton } else { Language::Python })
    } else {
        None
    }
}

/// Their list for a language of ours; libraries among the dependencies are languages there. `None` where
/// they have none.
pub(super) fn languages_of(language: Language, dependencies: &[String]) -> Option<Vec<String>> {
    let (group, plain): (&[&str], &str) = match language {
        Language::Cuda | Language::Cpp => (&COMPILED, "cuda_cpp"),
        Language::Triton => return Some(vec!["triton".to_owned()]),
        Language::Python => (&PYTHON, "pytorch"),
        Language::Tilelang => return None,
    };
    let named: Vec<_> = dependencies.iter().filter(|one| group.contains(&one.as_str())).cloned().collect();
    Some(if named.is_empty() { vec![plain.to_owned()] } else { named })
}
