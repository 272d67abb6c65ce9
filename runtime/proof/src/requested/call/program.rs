//! Compilers of device code, found in a call under whatever name.

use std::path::Path;

/// A program that makes device code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compiler {
    /// nvcc, under whatever name.
    Nvcc,
    /// clang, where it compiles CUDA.
    Clang,
    /// ptxas.
    Ptxas,
}

/// The first compiler in a call, and where it stands.
pub(super) fn compiler_in(words: &[String]) -> Option<(usize, Compiler)> {
    let first = words.first()?;
    if let Some(compiler) = compiler_named(first, words) {
        return Some((0, compiler));
    }
    if runs_no_other(&base_name(first)) {
        return None;
    }
    let mut behind =
        words.iter().enumerate().skip(1).filter(|(_, word)| !word.starts_with('-') && !word.contains('='));
    let found = behind.find_map(|(at, word)| Some((at, compiler_named(word, &words[at..])?)));
    // Nvcc's own options show it under any name.
    found.or_else(|| {
        let own = [
            "-gencode",
            "--generate-code",
            "-gpu-architecture",
            "--gpu-architecture",
            "-arch=sm_",
            "-arch=compute_",
        ];
        let shows = words.iter().any(|word| own.iter().any(|own| word.starts_with(own)));
        (shows && has_source(&words[1..])).then_some((0, Compiler::Nvcc))
    })
}

fn base_name(word: &str) -> String {
    let name = word.rsplit(['/', '\\']).next().unwrap_or(word).to_ascii_lowercase();
    [".exe", ".bat", ".cmd"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name).to_owned()
}

fn compiler_named(word: &str, words: &[String]) -> Option<Compiler> {
    let name = base_name(word);
    // `nvcc.log` and `nvcc.o` are files of other programs.
    let is_file = [".log", ".txt", ".o", ".d", ".json", ".rsp", ".cmake", ".h", ".cpp"];
    if is_file.iter().any(|end| name.ends_with(end)) || name.contains("device_query") {
        return None;
    }
    let is_part = |part: &str| {
        part.strip_prefix("nvcc").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))
    };
    if name.split(['-', '_', '.']).any(is_part) {
        return Some(Compiler::Nvcc);
    }
    let behind = name.strip_prefix("clang").map(|rest| rest.trim_start_matches("++"));
    let is_clang = behind.is_some_and(|rest| {
        rest.is_empty()
            || rest.starts_with('-') && rest[1..].bytes().all(|one| one.is_ascii_digit() || one == b'.')
    });
    if is_clang && is_cuda_for_clang(words) {
        return Some(Compiler::Clang);
    }
    (name == "ptxas").then_some(Compiler::Ptxas)
}

/// Programs that never run another one that they are given: their arguments name it at most.
fn runs_no_other(name: &str) -> bool {
    const NAMES: [&str; 34] = [
        "echo", "printf", ":", "true", "false", "cp", "mv", "rm", "ls", "which", "type", "test", "[", "grep",
        "sed", "cat", "ln", "mkdir", "touch", "install", "chmod", "tar", "cc", "c++", "gcc", "g++", "ld",
        "ar", "ranlib", "as", "strip", "objcopy", "nm", "file",
    ];
    NAMES.contains(&name) || ["gcc-", "g++-", "clang", "ld."].iter().any(|start| name.starts_with(start))
}

pub(super) fn is_source(word: &str) -> bool {
    let ending = Path::new(word).extension().map(std::ffi::OsStr::to_ascii_lowercase);
    !word.starts_with('-')
        && ending.is_some_and(|ending| matches!(ending.to_str(), Some("cu" | "ptx" | "cup")))
}

pub(super) fn has_source(words: &[String]) -> bool {
    let mut pairs = words.iter().zip(words.iter().skip(1).map(Some).chain([None]));
    pairs.any(|(word, next)| {
        let language = |word: &str| matches!(word, "cu" | "cuda" | "ptx");
        let inline = ["-x=", "--x=", "-x"].iter().find_map(|start| word.strip_prefix(start));
        is_source(word)
            || inline.is_some_and(language)
            || (matches!(word.as_str(), "-x" | "--x") && next.is_some_and(|next| language(next)))
    })
}

fn is_cuda_for_clang(words: &[String]) -> bool {
    let asks =
        |word: &String| ["--cuda-gpu-arch", "--offload-arch"].iter().any(|start| word.starts_with(start));
    has_source(words) || words.iter().any(asks)
}
