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

mod option_files;
mod program;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use proofmark_packager::Arch;

use super::allowance::{Allowance, TEXT_BYTES};
use super::claim::{RequestedClaim, RequestedForm, RequestedImage};
use super::shell::{self, Call};
use option_files::with_options_files;
pub(super) use option_files::{Moved, OptionFiles};
use program::{Compiler, compiler_in, has_source, is_source};

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
