//! A captured request as a build of ours: the same sources and flags, for the one architecture that is asked for.

use proofmark_packager::{SourceFile, SourcePath, SourcePathError};

use super::document::Request;
use crate::build::flags::{Flags, Reason};
use crate::build::other_flags::{host_spelling, is_default};
use crate::build::{BuildRequest, Interface};

/// A request as ours, and what of it is otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Translated {
    /// What is built.
    pub request: BuildRequest,
    /// Flags that are left out or replaced, each with the reason.
    pub left_out: Vec<String>,
}

/// Why a request cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TranslateError {
    /// A path that no submission could have.
    #[error(transparent)]
    Path(#[from] SourcePathError),
    /// A name that is no module's.
    #[error("`{}` cannot be a module's name: expected letters, digits and `_`", name.escape_debug())]
    Name {
        /// The name.
        name: String,
    },
    /// An interface that `intercept.py` does not know.
    #[error("`{}` is no interface: expected tvm-ffi, torch, torch-library or library", found.escape_debug())]
    Interface {
        /// What stands there.
        found: String,
    },
    /// Nothing to compile.
    #[error("it compiles no source")]
    NoUnit,
}

/// Makes a build of a request.
pub fn translate(request: &Request) -> Result<Translated, TranslateError> {
    let is_part = |one: char| one.is_ascii_alphanumeric() || one == '_';
    let name = request.name.clone();
    if name.is_empty() || name.len() > 200 || !name.chars().all(is_part) {
        return Err(TranslateError::Name { name });
    }
    let interface = match request.interface.as_str() {
        "tvm-ffi" => Interface::TvmFfi { symbol: None },
        "torch" => Interface::Torch { module: name },
        "torch-library" => Interface::TorchLibrary { name },
        "library" => Interface::Library,
        _ => return Err(TranslateError::Interface { found: request.interface.clone() }),
    };
    let source = |(path, content): (&String, &String)| -> Result<SourceFile, TranslateError> {
        Ok(SourceFile { path: path.parse()?, content: content.clone() })
    };
    let sources = request.files.iter().map(source).collect::<Result<Vec<_>, _>>()?;
    let units = request.units.iter().map(|path| path.parse()).collect::<Result<Vec<SourcePath>, _>>()?;
    if units.is_empty() {
        return Err(TranslateError::NoUnit);
    }
    let mut left_out = Vec::new();
    let folders: Vec<String> = request.include.iter().map(|folder| format!("-I{folder}")).collect();
    let mut flags_of = |flags: &[String], is_host: bool| {
        let mut kept = folders.clone();
        kept.extend(keep(&words(flags), is_host, &mut left_out));
        kept
    };
    let mut nvcc_flags = flags_of(&request.cuda_flags, false);
    let mut host_flags = flags_of(&request.host_flags, true);
    let libraries = words(&request.link_flags);
    let (libraries, other): (Vec<_>, Vec<_>) = libraries.into_iter().partition(|flag| flag.starts_with("-l"));
    let known = |flag: &String| Flags::check(std::slice::from_ref(flag)).is_ok();
    let (known, unknown): (Vec<_>, Vec<_>) = libraries.into_iter().partition(known);
    nvcc_flags.extend(known.iter().cloned());
    host_flags.extend(known);
    let links = other
        .into_iter()
        .chain(unknown)
        .map(|flag| format!("`{flag}`: only CUDA's libraries are linked, by name"));
    left_out.extend(links);
    let outside = request
        .outside
        .iter()
        .map(|folder| format!("include folder `{folder}`: headers of libraries come from the pinned kits"));
    left_out.extend(outside);
    let asked = request
        .architectures
        .iter()
        .map(|asked| format!("the architecture `{asked}`: it is chosen by --arch"));
    left_out.extend(asked);
    left_out.dedup();
    // One command of nvcc has the same flags for every source.
    let host_flags = (interface != Interface::Library).then_some(host_flags);
    let request = BuildRequest {
        sources,
        entry_file: None,
        units: Some(units),
        interface,
        nvcc_flags,
        host_flags,
        dependencies: Vec::new(),
    };
    Ok(Translated { request, left_out })
}

/// Each word of flags that may hold several: ninja hands them to a shell.
fn words(flags: &[String]) -> Vec<String> {
    flags
        .iter()
        .flat_map(|flag| flag.split_whitespace())
        .map(|word| word.trim_matches(['\'', '"']).to_owned())
        .collect()
}

/// The flags that a build of ours takes. What only chooses the architecture, the output or this machine is left out
/// and said; anything else that is refused stays, for the plan to refuse it by name.
fn keep(words: &[String], is_host: bool, left_out: &mut Vec<String>) -> Vec<String> {
    let mut kept = Vec::new();
    let mut at = 0;
    while let Some(word) = words.get(at) {
        let pair = words.get(at..at + 2).map(<[String]>::to_vec);
        let single = vec![if is_host { host_spelling(word) } else { word.clone() }];
        let (flags, taken) = match pair {
            // `-gencode arch=…`, `-Xcompiler -fPIC`, `--threads 4`: a value that stands behind its option.
            Some(pair) if !pair[1].starts_with('-') || takes_dashed(word) => (pair, 2),
            _ => (single, 1),
        };
        at += taken;
        if flags.iter().any(|flag| is_default(flag)) {
            continue;
        }
        if word.starts_with("-march=") || word.starts_with("-mtune=") {
            left_out.push(format!("`{word}`: {}", Reason::NotReproducible));
            continue;
        }
        let refusals = Flags::check(&flags).err().unwrap_or_default();
        match refusals.first().filter(|_| refusals.iter().all(|one| is_ours(one.reason))) {
            Some(first) => left_out.push(format!("`{}`: {}", flags.join(" "), first.reason)),
            None => kept.extend(flags),
        }
    }
    kept
}

fn takes_dashed(option: &str) -> bool {
    ["-Xcompiler", "--compiler-options", "-Xptxas", "--ptxas-options", "-Xcudafe", "-Xfatbin", "-Xlinker"]
        .contains(&option)
}

/// What is decided here whatever a flag says.
fn is_ours(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::Architecture | Reason::Output | Reason::Reads | Reason::Programs | Reason::NotReproducible
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proofmark_packager::Digest;

    use super::*;

    fn request(cuda: &[&str], host: &[&str], link: &[&str]) -> Request {
        let texts = |flags: &[&str]| flags.iter().map(|&flag| flag.to_owned()).collect();
        Request {
            request: Digest::of_bytes(b"request"),
            interface: "torch".to_owned(),
            name: "module".to_owned(),
            units: vec!["k.cu".to_owned()],
            files: BTreeMap::from([("k.cu".to_owned(), "x".to_owned())]),
            host_flags: texts(host),
            cuda_flags: texts(cuda),
            link_flags: texts(link),
            include: vec![".".to_owned()],
            outside: vec!["/opt/cutlass/include".to_owned()],
            architectures: vec!["10.0a".to_owned()],
            place: "k.py:1".to_owned(),
        }
    }

    #[test]
    fn flags_stay_and_what_chooses_the_architecture_or_the_machine_is_left_out_and_said() {
        let cuda = [
            "-O3 -std=c++17",
            "-gencode",
            "arch=compute_90,code=sm_90",
            "--use_fast_math",
            "-Xcompiler -fPIC",
        ];
        let translated = translate(&request(
            &cuda,
            &["-O3", "-march=native", "-Wall"],
            &["-lcuda", "-L/usr/lib", "-lfoo"],
        ));
        let Translated { request, left_out } = translated.unwrap();
        assert_eq!(request.nvcc_flags, ["-I.", "-O3", "-std=c++17", "--use_fast_math", "-lcuda"]);
        assert_eq!(request.host_flags.unwrap(), ["-I.", "-O3", "-Xcompiler=-Wall", "-lcuda"]);
        for word in
            ["-gencode arch=compute_90", "-march=native", "-L/usr/lib", "-lfoo", "/opt/cutlass", "10.0a"]
        {
            assert!(left_out.iter().any(|line| line.contains(word)), "{word}: {left_out:?}");
        }
        assert!(!left_out.iter().any(|line| line.contains("fPIC")), "{left_out:?}");
    }

    #[test]
    fn names_and_paths_of_strangers_are_checked() {
        let named = Request { name: "a b".to_owned(), ..request(&[], &[], &[]) };
        assert!(matches!(translate(&named), Err(TranslateError::Name { .. })));
        let outside = Request { units: vec!["../k.cu".to_owned()], ..request(&[], &[], &[]) };
        assert!(matches!(translate(&outside), Err(TranslateError::Path(_))));
        let other = Request { interface: "other".to_owned(), ..request(&[], &[], &[]) };
        assert!(matches!(translate(&other), Err(TranslateError::Interface { .. })));
    }
}
