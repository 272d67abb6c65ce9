//! A call of a compiler: found under whatever name, with the files of options that it names, and what it
//! reads and writes.
//!
//! | program | known by |
//! |---|---|
//! | nvcc | `nvcc`, `nvcc-13`, `nvcc.exe`, a wrapper with `nvcc` in its name, or any other name with nvcc's own options |
//! | clang | `clang`, `clang++-20`, with a CUDA source and `--cuda-gpu-arch` or `--offload-arch` |
//! | ptxas | `ptxas`, which makes a cubin of PTX |
//!
//! Programs that run another one, such as `ccache`, `env` or `cmake -E env`, may stand in front.

use std::collections::{HashMap, HashSet};
use std::path::{Component, Path, PathBuf};

use proofmark_packager::Arch;

use super::allowance::{Allowance, TEXT_BYTES};
use super::claim::{RequestedClaim, RequestedForm, RequestedImage};
use super::shell::{self, Call};

/// How deep files of options may name each other.
const OPTIONS_DEPTH: u32 = 4;

/// Where files of options are found.
#[derive(Default)]
pub(super) struct OptionFiles {
    /// The folder below which they may lie; others are not opened.
    pub(super) root: Option<PathBuf>,
    /// Files that the build tool writes for the time of a call.
    pub(super) given: HashMap<PathBuf, String>,
    /// The build folder as the build files name it, where that is another than it is now.
    pub(super) moved: Option<Moved>,
}

/// A build folder that was moved or copied after it was made.
#[derive(Debug, Clone)]
pub(super) struct Moved {
    /// Its name in the build files.
    pub(super) recorded: PathBuf,
    /// Where it is.
    pub(super) actual: PathBuf,
}

impl OptionFiles {
    /// A path as it is now, without `.` and `..`.
    pub(super) fn place(&self, path: &str, directory: &Path) -> PathBuf {
        let path = clean(&directory.join(path));
        match &self.moved {
            Some(moved) if !path.starts_with(&moved.actual) => match path.strip_prefix(&moved.recorded) {
                Ok(rest) => clean(&moved.actual.join(rest)),
                Err(_) => path,
            },
            _ => path,
        }
    }

    fn read(&self, path: &str, directory: &Path, allowance: &mut Allowance) -> Option<String> {
        let place = self.place(path, directory);
        if let Some(text) = self.given.get(&place) {
            return allowance.take(text.len()).then(|| text.clone());
        }
        let root = self.root.as_ref()?;
        // What a link leads to must lie below the folder as well.
        let real = place.canonicalize().ok()?;
        if !real.starts_with(root) {
            return None;
        }
        allowance.read_options(&real)
    }
}

/// A path without `.` and `..`, as far as its letters tell.
pub(super) fn clean(path: &Path) -> PathBuf {
    let mut cleaned = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                if !cleaned.pop() {
                    cleaned.push("..");
                }
            }
            other => cleaned.push(other),
        }
    }
    cleaned
}

/// What a call of a compiler asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Compilation {
    /// What it asks for; a link asks for what only the device linker may heed.
    pub(super) claim: RequestedClaim,
    /// Whether it compiles a source, or links what was compiled.
    pub(super) step: CompilationStep,
    /// What it writes, where that can be told.
    pub(super) output: Option<PathBuf>,
}

/// What a call of a compiler does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CompilationStep {
    /// Compiles device code.
    Compiles,
    /// Links objects.
    Links,
}

/// A program that makes device code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compiler {
    Nvcc,
    Clang,
    Ptxas,
}

/// Every compilation of device code in a command line.
pub(super) fn compilations(
    line: &str,
    directory: &Path,
    files: &OptionFiles,
    allowance: &mut Allowance,
) -> Vec<Compilation> {
    if line.len() > TEXT_BYTES {
        allowance
            .note(format!("a command of {} bytes, longer than any shell takes, was not read", line.len()));
        return Vec::new();
    }
    if !may_compile(line) {
        return Vec::new();
    }
    let calls = shell::calls(line, directory);
    calls.iter().filter_map(|call| compilation(call, files, allowance)).collect()
}

/// The compilation in one call, if it is one.
pub(super) fn compilation(
    call: &Call,
    files: &OptionFiles,
    allowance: &mut Allowance,
) -> Option<Compilation> {
    let (at, compiler) = compiler_in(&call.words)?;
    let mut unread = Vec::new();
    let mut arguments = Vec::new();
    // Assignments in front of the program come from `env` and its like.
    let variable = |name: &str| {
        let given = call.words[..at].iter().filter_map(|word| shell::assignment(word));
        let given =
            given.filter(|(assigned, _)| *assigned == name).map(|(_, value)| value.to_owned()).next_back();
        given.or_else(|| call.environment.get(name).cloned()).map(|value| shell::words(&value))
    };
    if compiler == Compiler::Nvcc {
        arguments.extend(variable("NVCC_PREPEND_FLAGS").unwrap_or_default());
    }
    arguments.extend_from_slice(&call.words[at + 1..]);
    if compiler == Compiler::Nvcc {
        arguments.extend(variable("NVCC_APPEND_FLAGS").unwrap_or_default());
    }
    let mut opened = HashSet::new();
    let read = &mut |path: &str| {
        let text = opened.insert(path.to_owned()).then(|| files.read(path, &call.directory, allowance));
        text.flatten()
    };
    let arguments = with_options_files(arguments, compiler, read, &mut unread, 0);
    let variables = call.unknown.iter().filter(|name| arguments.iter().any(|one| one.contains(*name)));
    unread.extend(variables.map(|name| format!("the value of {name}")));
    let mut compilation = match compiler {
        Compiler::Nvcc => nvcc(&arguments)?,
        Compiler::Clang => clang(&arguments)?,
        Compiler::Ptxas => ptxas(&arguments)?,
    };
    compilation.claim.unread.extend(unread);
    compilation.claim.unread.dedup();
    let output = output_of(&arguments, compilation.step);
    compilation.output = output.map(|output| files.place(&output, &call.directory));
    Some(compilation)
}

/// A quick look for what every such command holds.
fn may_compile(line: &str) -> bool {
    let line = line.as_bytes();
    ["nvcc", "NVCC", "clang", "ptxas", "gencode", "generate-code", "gpu-arch", "-arch"]
        .iter()
        .any(|word| memchr::memmem::find(line, word.as_bytes()).is_some())
}

/// The first compiler in a call, and where it stands.
fn compiler_in(words: &[String]) -> Option<(usize, Compiler)> {
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

/// Replaces files of options by what they hold.
fn with_options_files(
    arguments: Vec<String>,
    compiler: Compiler,
    read: &mut impl FnMut(&str) -> Option<String>,
    unread: &mut Vec<String>,
    depth: u32,
) -> Vec<String> {
    let mut all = Vec::new();
    let mut rest = arguments.into_iter();
    while let Some(argument) = rest.next() {
        let names = match named_files(&argument, compiler) {
            NamedFiles::None => {
                all.push(argument);
                continue;
            }
            NamedFiles::Here(names) => names,
            NamedFiles::Next => rest.next().unwrap_or_default(),
        };
        for name in names.split(',').filter(|name| !name.is_empty()) {
            match (depth < OPTIONS_DEPTH).then(|| read(name)).flatten() {
                Some(text) => {
                    all.extend(with_options_files(shell::words(&text), compiler, read, unread, depth + 1));
                }
                None => unread.push(format!("options in the file {name}")),
            }
        }
    }
    all
}

enum NamedFiles {
    None,
    Here(String),
    Next,
}

fn named_files(argument: &str, compiler: Compiler) -> NamedFiles {
    let nvidia = matches!(compiler, Compiler::Nvcc | Compiler::Ptxas);
    if nvidia && matches!(argument, "-optf" | "--options-file" | "-options-file") {
        return NamedFiles::Next;
    }
    let inline = ["-optf=", "--options-file=", "-options-file="];
    match inline.iter().find_map(|start| argument.strip_prefix(start)) {
        Some(names) if nvidia => NamedFiles::Here(names.to_owned()),
        // clang reads `@file`; nvcc takes it for a source (seen, 13.0), but its wrappers may not.
        _ => argument.strip_prefix('@').map_or(NamedFiles::None, |name| NamedFiles::Here(name.to_owned())),
    }
}

fn is_source(word: &str) -> bool {
    let ending = Path::new(word).extension().map(std::ffi::OsStr::to_ascii_lowercase);
    !word.starts_with('-')
        && ending.is_some_and(|ending| matches!(ending.to_str(), Some("cu" | "ptx" | "cup")))
}

fn has_source(words: &[String]) -> bool {
    let mut pairs = words.iter().zip(words.iter().skip(1).map(Some).chain([None]));
    pairs.any(|(word, next)| {
        let language = |word: &str| matches!(word, "cu" | "cuda" | "ptx");
        let inline = ["-x=", "--x=", "-x"].iter().find_map(|start| word.strip_prefix(start));
        is_source(word)
            || inline.is_some_and(language)
            || (matches!(word.as_str(), "-x" | "--x") && next.is_some_and(|next| language(next)))
    })
}

fn nvcc(arguments: &[String]) -> Option<Compilation> {
    let has = |names: &[&str]| arguments.iter().any(|one| names.contains(&one.as_str()));
    // These print or preprocess, and build nothing.
    if has(&["-E", "--preprocess", "--dryrun", "-dryrun", "--version", "-V", "-M", "-MM"]) {
        return None;
    }
    let asks = arguments.iter().any(|one| {
        ["-arch", "--gpu-architecture", "-gencode", "--generate-code"]
            .iter()
            .any(|start| one.starts_with(start))
    });
    let step = if has_source(arguments) { CompilationStep::Compiles } else { CompilationStep::Links };
    // A link without an architecture asks for nothing of its own.
    (step == CompilationStep::Compiles || asks).then(|| Compilation {
        claim: RequestedClaim::from_command(arguments),
        step,
        output: None,
    })
}

fn is_cuda_for_clang(words: &[String]) -> bool {
    let asks =
        |word: &String| ["--cuda-gpu-arch", "--offload-arch"].iter().any(|start| word.starts_with(start));
    has_source(words) || words.iter().any(asks)
}

/// clang compiles for what it names, and against the same features; whether it adds PTX without being
/// told depends on its version, and the bytes show it.
fn clang(arguments: &[String]) -> Option<Compilation> {
    let has = |names: &[&str]| arguments.iter().any(|one| names.contains(&one.as_str()));
    if has(&["--cuda-host-only", "-E", "-M", "-MM", "-fsyntax-only", "--version", "-###"]) {
        return None;
    }
    let mut claim = RequestedClaim::default();
    let mut names: Vec<&str> = Vec::new();
    let mut foreign = false;
    for argument in arguments {
        let Some((option, values)) = argument.split_once('=') else { continue };
        match option {
            "--cuda-gpu-arch" | "--offload-arch" => names.extend(values.split(',')),
            "--no-cuda-gpu-arch" | "--no-offload-arch" if values == "all" => names.clear(),
            "--no-cuda-gpu-arch" | "--no-offload-arch" => names.retain(|name| *name != values),
            _ => {}
        }
    }
    for name in names {
        match name.parse::<Arch>() {
            Ok(arch) => add(&mut claim, arch, RequestedForm::MachineCode),
            // For GPUs of another maker.
            Err(_) if name.starts_with("gfx") => foreign = true,
            Err(_) => claim.unclear.push(format!("--cuda-gpu-arch={name}")),
        }
    }
    for argument in arguments {
        let Some(name) = argument.strip_prefix("--cuda-include-ptx=") else { continue };
        let archs: Vec<Arch> = claim.images.iter().map(|image| image.arch).collect();
        for arch in archs.into_iter().filter(|arch| name == "all" || arch.to_string() == name) {
            add(&mut claim, arch, RequestedForm::Ptx);
        }
    }
    let compiles = has_source(arguments);
    if claim.images.is_empty() && claim.unclear.is_empty() {
        if foreign || !compiles {
            return None;
        }
        claim.unclear.push("no architecture: the compiler's default".to_owned());
    }
    let step = if compiles { CompilationStep::Compiles } else { CompilationStep::Links };
    Some(Compilation { claim, step, output: None })
}

fn add(claim: &mut RequestedClaim, arch: Arch, form: RequestedForm) {
    let image = RequestedImage { virtual_arch: arch, arch, form };
    if !claim.images.contains(&image) {
        claim.images.push(image);
    }
}

fn ptxas(arguments: &[String]) -> Option<Compilation> {
    if !arguments.iter().any(|one| is_source(one)) {
        return None;
    }
    let mut claim = RequestedClaim::default();
    let mut named = None;
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let (option, inline) =
            argument.split_once('=').map_or((argument.as_str(), None), |(o, v)| (o, Some(v)));
        if matches!(option, "-arch" | "--arch" | "--gpu-name" | "-gpu-name") {
            named = inline.or_else(|| rest.next().map(String::as_str));
        }
    }
    match named.map(|name| (name, name.parse::<Arch>())) {
        Some((_, Ok(arch))) => add(&mut claim, arch, RequestedForm::MachineCode),
        Some((name, Err(_))) => claim.unclear.push(format!("-arch={name}")),
        None => claim.unclear.push("no architecture: the assembler's default".to_owned()),
    }
    Some(Compilation { claim, step: CompilationStep::Compiles, output: None })
}

/// The file that a call writes: as it is told, or by nvcc's own rule.
fn output_of(arguments: &[String], step: CompilationStep) -> Option<String> {
    let mut rest = arguments.iter();
    let mut named = None;
    while let Some(argument) = rest.next() {
        let inline =
            ["--output-file=", "-output-file=", "-o="].iter().find_map(|one| argument.strip_prefix(one));
        if matches!(argument.as_str(), "-o" | "--output-file" | "-output-file") {
            named = rest.next().cloned();
        } else if inline.is_some() {
            named = inline.map(str::to_owned);
        }
    }
    if named.is_some() || step == CompilationStep::Links {
        return named;
    }
    let has = |names: &[&str]| arguments.iter().any(|one| names.contains(&one.as_str()));
    let ending = if has(&["-c", "--compile", "-dc", "--device-c", "-dw", "--device-w"]) {
        "o"
    } else if has(&["-cubin", "--cubin"]) {
        "cubin"
    } else if has(&["-fatbin", "--fatbin"]) {
        "fatbin"
    } else {
        return None;
    };
    let mut sources = arguments.iter().filter(|one| is_source(one));
    let source = Path::new(sources.next()?).file_stem()?.to_str()?.to_owned();
    sources.next().is_none().then(|| format!("{source}.{ending}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXACT: &str = "-gencode arch=compute_100a,code=sm_100a";

    fn read(line: &str) -> Vec<Compilation> {
        compilations(line, Path::new("/b"), &OptionFiles::default(), &mut Allowance::default())
    }

    fn archs(line: &str) -> Vec<Vec<String>> {
        let archs =
            |claim: &RequestedClaim| claim.images.iter().map(|image| image.arch.to_string()).collect();
        read(line).iter().map(|one| archs(&one.claim)).collect()
    }

    #[test]
    fn every_call_in_a_line_is_read() {
        let line = format!(
            "nvcc {EXACT} -c a.cu -o a.o && nvcc -arch=compute_90 -code=sm_90 -c b.cu -o b.o; echo nvcc k.cu"
        );
        assert_eq!(archs(&line), [vec!["sm_100a"], vec!["sm_90"]]);
        assert_eq!(read(&line)[1].output.as_deref(), Some(Path::new("/b/b.o")));
    }

    #[test]
    fn nvcc_is_known_under_its_other_names() {
        for name in [
            "/usr/local/cuda-13.0/bin/nvcc",
            "nvcc-13",
            "nvcc13.0",
            "C:\\\\CUDA\\\\bin\\\\nvcc.exe",
            "ccache nvcc",
            "env A=1 nvcc",
            "cmake -E env A=1 -- nvcc",
            "./nvcc_wrapper",
            "my-cuda-compiler",
            "time -p nvcc",
            "sh -c 'nvcc \"$@\"' --; nvcc",
        ] {
            let archs = archs(&format!("{name} {EXACT} -c k.cu"));
            assert_eq!(archs.last(), Some(&vec!["sm_100a".to_owned()]), "{name}");
        }
        for line in [
            "g++ -c nvcc.cpp -arch",
            "gcc -o nvcc k.cu",
            "echo nvcc k.cu",
            "nvcc --dryrun k.cu",
            "rm nvcc.log k.cu",
        ] {
            assert!(read(line).is_empty(), "{line}");
        }
    }

    #[test]
    fn nvccs_own_variables_add_arguments() {
        let append = "NVCC_APPEND_FLAGS='-gencode arch=compute_90a,code=sm_90a'";
        for line in [
            format!("{append} nvcc {EXACT} -c k.cu"),
            format!("export {append} && nvcc {EXACT} -c k.cu"),
            format!("env {append} nvcc {EXACT} -c k.cu"),
            format!("{append}; export NVCC_APPEND_FLAGS; (cd x && nvcc {EXACT} -c k.cu)"),
        ] {
            assert_eq!(archs(&line), [["sm_100a", "sm_90a"]], "{line}");
        }
        let prepend = "NVCC_PREPEND_FLAGS=-arch=compute_90 nvcc -arch=compute_80 -c k.cu";
        assert_eq!(archs(prepend), [["sm_80"]]);
        assert_eq!(archs(&prepend.replace("PREPEND", "APPEND")), [["sm_90"]]);
        assert_eq!(
            archs(&format!("({append}; export NVCC_APPEND_FLAGS); nvcc {EXACT} -c k.cu")),
            [["sm_100a"]]
        );
    }

    #[test]
    fn files_of_options_are_read_where_they_are_and_named_where_they_are_not() {
        let mut files = OptionFiles::default();
        files.given.insert("/b/o.rsp".into(), "-gencode 'arch=compute_90a,code=sm_90a' -optf n.rsp".into());
        files.given.insert("/b/n.rsp".into(), "--options-file o.rsp -arch=compute_80".into());
        for option in ["-optf o.rsp", "--options-file=o.rsp", "--options-file o.rsp", "@o.rsp"] {
            let line = format!("nvcc {EXACT} {option} -c k.cu");
            let found = compilations(&line, Path::new("/b"), &files, &mut Allowance::default());
            assert_eq!(found[0].claim.images.len(), 3, "{option}: {found:?}");
        }
        let found = &read(&format!("nvcc {EXACT} -optf gone.rsp -c k.cu"))[0];
        assert_eq!(found.claim.unread, ["options in the file gone.rsp"]);
        assert_eq!(read(&format!("nvcc {EXACT} $FLAGS -c k.cu"))[0].claim.unread, ["the value of $FLAGS"]);
    }

    #[test]
    fn clang_and_ptxas_ask_too() {
        let clang = "clang++-20 -x cuda k.cpp --cuda-gpu-arch=sm_100a --offload-arch=sm_90,sm_80 --no-offload-arch=sm_80 -c";
        assert_eq!(archs(clang), [["sm_100a", "sm_90"]]);
        assert!(archs("clang++ --offload-arch=gfx942 -c k.hip").is_empty());
        assert!(archs("clang++ -c k.cpp").is_empty());
        assert_eq!(archs("ptxas -arch sm_90a k.ptx -o k.cubin"), [["sm_90a"]]);
    }

    #[test]
    fn a_link_asks_only_what_it_names() {
        assert!(read("nvcc -shared a.o -o a.so").is_empty());
        let link = &read(&format!("nvcc -dlink {EXACT} a.o -o d.o"))[0];
        assert_eq!(link.step, CompilationStep::Links);
    }
}
