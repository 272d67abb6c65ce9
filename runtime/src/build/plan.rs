//! Plans a build: the complete commands, before anything runs.
//!
//! A build happens in a folder of its own, and every path in every command starts with
//! `/proc/self/cwd`, the system's name for the folder that a process works in. So the commands are
//! the same wherever the folder is, and so is what the compilers write into their outputs: line
//! tables, `__FILE__`, assertion texts. The toolchain stands in that folder under fixed names:
//!
//! ```text
//! <build folder>/
//! ├── source/       the submission's files
//! ├── cuda          -> the CUDA installation
//! ├── tvm-ffi       -> TVM-FFI
//! ├── host/         g++, as, ld -> the host compiler's programs
//! ├── kit/          cutlass, torch, … -> the kits that the submission asks for
//! ├── driver/       stand-ins for libcuda.so and other libraries that are linked by name alone
//! ├── object/       what the commands write
//! └── temporary/    TMPDIR and HOME of the commands
//! ```
//!
//! What else would make two builds differ, and what is done about it:
//!
//! | cause | answer |
//! |---|---|
//! | nvcc hashes the real path of a source into symbol names | `-Xcudafe --orig_src_path_name=/source/<path>` |
//! | nvcc puts its process number into the names of temporary files, and these into symbol tables | `-objtemp`, and `-Wl,-s` when linking |
//! | line tables record modification times | every source has the same one |
//! | `__DATE__`, `__TIME__`, `__TIMESTAMP__` | `SOURCE_DATE_EPOCH=0`: always 1 January 1970 |
//! | the linker may invent a build id | `--build-id=none` |
//! | variables that compilers read | the environment is built from nothing |
//!
//! The CUDA runtime is linked statically: the library then needs nothing but TVM-FFI and the
//! driver to be loaded, wherever it is loaded, and the runtime's bytes are among those that the
//! toolchain's fingerprint covers. It brings no device code. TVM-FFI is needed by name alone, with
//! no path to look in: who loads the library has loaded TVM-FFI before.

use std::collections::BTreeMap;
use std::path::PathBuf;

use proofmark_packager::{Digest, Gencode, SourceFile, SourcePath};
use serde::Serialize;

use super::flags::{Effect, FlagRefusal, Flags};
use super::interface::Interface;
use super::stand_in::{LinkRule, Linkable};
use crate::sandbox::Policy;
use crate::toolchain::{Kit, Toolchain};

/// How a process names the folder that it works in.
pub const HERE: &str = "/proc/self/cwd";

/// Names inside the build folder.
pub(super) mod place {
    pub(crate) const SOURCE: &str = "source";
    pub(crate) const CUDA: &str = "cuda";
    pub(crate) const TVM_FFI: &str = "tvm-ffi";
    pub(crate) const HOST: &str = "host";
    pub(crate) const KIT: &str = "kit";
    pub(crate) const DRIVER: &str = "driver";
    pub(crate) const OBJECT: &str = "object";
    pub(crate) const TEMPORARY: &str = "temporary";
    pub(crate) const LIBRARY: &str = "object/library.so";
}

/// What is compiled; every other file is there to be included.
const COMPILED: [&str; 5] = ["cu", "cpp", "cc", "cxx", "c"];

/// What a plan is made from.
#[derive(Debug, Clone, Copy)]
pub struct PlanRequest<'a> {
    /// Every file of the artifact.
    pub sources: &'a [SourceFile],
    /// The file that must be compiled, if a certain one must.
    pub entry_file: Option<&'a SourcePath>,
    /// The sources that are compiled; `None` where all are that can be.
    pub units: Option<&'a [SourcePath]>,
    /// How the library meets its caller.
    pub interface: &'a Interface,
    /// The submission's own flags.
    pub nvcc_flags: &'a [String],
    /// Its flags for sources without device code, where they are others.
    pub host_flags: Option<&'a [String]>,
    /// What to build for.
    pub gencode: Gencode,
    /// What to build with.
    pub toolchain: &'a Toolchain,
    /// Headers to bring in.
    pub kits: &'a [Kit],
    /// What is linked without being asked for.
    pub link_rule: LinkRule,
}

/// A complete build, not yet run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildPlan {
    /// The commands that may run side by side: one for each compiled file.
    pub compile: Vec<Command>,
    /// The commands that follow, one after the other.
    pub link: Vec<Command>,
    /// The whole environment of every command.
    pub environment: Vec<(String, String)>,
    /// The names under which the toolchain stands in the build folder.
    pub links: Vec<Link>,
    /// The files of the artifact.
    pub sources: Vec<SourceFile>,
    /// The file that the submission names as its entry, if it names one.
    pub entry_file: Option<SourcePath>,
    /// How the library meets its caller.
    pub interface: Interface,
    /// The kits that are brought in.
    pub kits: Vec<Kit>,
    /// What is built for.
    pub gencode: Gencode,
    /// Folders of the host compiler, in which headers may be.
    pub system_includes: Vec<PathBuf>,
    /// The libraries that are linked by name alone, with the names under which they are loaded.
    pub stand_ins: Vec<(Linkable, String)>,
    /// What of this machine the commands may read.
    pub policy: Policy,
}

/// One command line of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Command {
    /// The source that it compiles; `None` where it links.
    pub source: Option<SourcePath>,
    /// The program, below [`HERE`].
    pub program: String,
    /// Its arguments.
    pub arguments: Vec<String>,
}

/// A name in the build folder and what it stands for on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The name, relative to the build folder.
    pub name: String,
    /// The absolute path that it leads to.
    pub target: PathBuf,
}

/// Why there is no plan. All of them are faults of the request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Flags that are not let through.
    #[error("{}", join(refusals))]
    Flags {
        /// Each of them.
        refusals: Vec<FlagRefusal>,
    },
    /// The entry file is none of the sources.
    #[error("entry file `{file}` is not in the artifact")]
    NoEntryFile {
        /// The file as named.
        file: SourcePath,
    },
    /// The entry file is one that is not compiled.
    #[error("entry file `{file}` is not compiled: expected one of .cu .cpp .cc .cxx .c")]
    EntryNotCompiled {
        /// The file as named.
        file: SourcePath,
    },
    /// Nothing at all is compiled.
    #[error("no source is compiled: expected one of .cu .cpp .cc .cxx .c")]
    NothingCompiled,
    /// The shell behind nvcc would act on the file's name.
    #[error(
        "source `{file}` cannot be compiled under this name: expected letters, digits and any of `_.+-=@/`"
    )]
    FileName {
        /// The file.
        file: SourcePath,
    },
}

fn join(refusals: &[FlagRefusal]) -> String {
    refusals.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Plans a build. Pure: the same request gives the same commands.
pub fn plan(request: PlanRequest<'_>) -> Result<BuildPlan, PlanError> {
    let check = |flags| Flags::check(flags).map_err(|refusals| PlanError::Flags { refusals });
    let flags = check(request.nvcc_flags)?;
    let host_flags = request.host_flags.map(check).transpose()?;
    let units = units(&request)?;
    let compile = units.iter().enumerate().map(|(index, source)| {
        let own = host_flags.as_ref().filter(|_| source.extension() != "cu");
        compile(index, source, own.unwrap_or(&flags), &request)
    });
    let compile = compile.collect();
    let mut flags = flags;
    if let Some(host_flags) = host_flags {
        flags.libraries.extend(host_flags.libraries);
    }
    let mut offered = request.link_rule.offered(request.sources);
    offered.retain(|library| !flags.libraries.contains(library));
    let major = request.toolchain.release().major;
    let stand_ins = flags.libraries.iter().chain(&offered).map(|library| (*library, library.soname(major)));
    Ok(BuildPlan {
        compile,
        stand_ins: stand_ins.collect(),
        link: link(units.len(), &flags, &offered, &request),
        environment: environment(),
        links: links(&request),
        sources: request.sources.to_vec(),
        entry_file: request.entry_file.cloned(),
        interface: request.interface.clone(),
        kits: request.kits.to_vec(),
        gencode: request.gencode,
        system_includes: request.toolchain.host_compiler.include_folders.clone(),
        policy: Policy::of_toolchain(request.toolchain),
    })
}

impl BuildPlan {
    /// Each packed file's digest by its path.
    pub fn source_digests(&self) -> BTreeMap<String, Digest> {
        self.sources.iter().map(|file| (file.path.to_string(), file.digest())).collect()
    }

    /// Every command as a line for a shell, with the environment in front.
    pub fn command_lines(&self) -> Vec<String> {
        let line = |command: &Command| self.line(&command.program, command.arguments.iter());
        self.compile.iter().chain(&self.link).map(line).collect()
    }

    /// The command of one unit as such a line, without the unit's number among the others: it names
    /// the files that the command writes, and nothing that stays of their content.
    pub fn unit_line(&self, index: usize) -> String {
        let command = &self.compile[index];
        let written = ["d", "as.d", "o"].map(|ending| object(index, ending));
        let plain = |argument: &String| {
            let name = argument.strip_prefix("-Xcompiler=").unwrap_or(argument);
            let ending = written.iter().position(|path| path == name)?;
            Some(format!("<written>/{}", ["d", "as.d", "o"][ending]))
        };
        let arguments: Vec<String> = command
            .arguments
            .iter()
            .map(|argument| plain(argument).unwrap_or_else(|| argument.clone()))
            .collect();
        self.line(&command.program, arguments.iter())
    }

    fn line<'a>(&self, program: &'a String, arguments: impl Iterator<Item = &'a String>) -> String {
        let variables = self.environment.iter().map(|(name, value)| format!("{name}={}", quoted(value)));
        let words = std::iter::once(program).chain(arguments).map(|word| quoted(word));
        let words: Vec<_> = variables.chain(words).collect();
        format!("env -i {}", words.join(" "))
    }

    /// The units' sources, in the order of their numbers.
    pub fn units(&self) -> impl Iterator<Item = &SourcePath> {
        self.compile.iter().filter_map(|command| command.source.as_ref())
    }
}

fn quoted(word: &str) -> String {
    let plain = |one: char| one.is_ascii_alphanumeric() || "_=+-.,:/%@".contains(one);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The files to compile, in the order of their names.
fn units<'a>(request: &PlanRequest<'a>) -> Result<Vec<&'a SourcePath>, PlanError> {
    let is_compiled = |path: &SourcePath| {
        COMPILED.contains(&path.extension()) && request.units.is_none_or(|units| units.contains(path))
    };
    if let Some(entry) = request.entry_file {
        if request.sources.iter().all(|source| source.path != *entry) {
            return Err(PlanError::NoEntryFile { file: entry.clone() });
        }
        // TVM-FFI's builder compiles every source and takes only the function from the entry point.
        let may_be_any = matches!(request.interface, Interface::TvmFfi { .. });
        if !may_be_any && !is_compiled(entry) {
            return Err(PlanError::EntryNotCompiled { file: entry.clone() });
        }
    }
    let mut units: Vec<_> =
        request.sources.iter().map(|source| &source.path).filter(|path| is_compiled(path)).collect();
    units.sort();
    if units.is_empty() {
        return Err(PlanError::NothingCompiled);
    }
    match units.iter().find(|path| !is_plain(path.as_str())) {
        Some(&file) => Err(PlanError::FileName { file: file.clone() }),
        None => Ok(units),
    }
}

fn is_plain(name: &str) -> bool {
    name.chars().all(|one| one.is_alphanumeric() || "_.+-=@/".contains(one))
}

fn here(name: &str) -> String {
    format!("{HERE}/{name}")
}

/// A path inside the submission, as compilers see it.
pub(super) fn in_sources(path: &str) -> String {
    format!("{HERE}/{}/{path}", place::SOURCE)
}

fn object(index: usize, ending: &str) -> String {
    here(&format!("{}/{index}.{ending}", place::OBJECT))
}

fn compile(index: usize, source: &SourcePath, flags: &Flags, request: &PlanRequest<'_>) -> Command {
    let mut arguments = base(flags, request);
    arguments.extend(request.interface.arguments());
    arguments.extend(flags.arguments.iter().cloned());
    // The submission's own top folder, so that `#include "x.cuh"` works from subfolders too.
    arguments.push(format!("-I{}", in_sources("")));
    if request.interface.has_tvm_ffi() {
        arguments.push(format!("-I{}/include", here(place::TVM_FFI)));
    }
    for kit in request.kits {
        let home = here(&format!("{}/{}", place::KIT, kit.name.as_str()));
        let folders = kit.include_folders().iter().map(|folder| format!("{home}/{folder}"));
        arguments.extend(folders.flat_map(|folder| ["-isystem".to_owned(), folder]));
    }
    arguments.extend([
        // Texts such as those of `assert` name files as the submission does.
        format!("-Xcompiler=-fmacro-prefix-map={}=", in_sources("")),
        // What device code needs of registers and memory. It changes no code; the image's note of
        // how ptxas was called has one word more.
        "-Xptxas=-v".to_owned(),
        "-objtemp".to_owned(),
        "-MD".to_owned(),
        "-MF".to_owned(),
        object(index, "d"),
        // The assembler's own list: a file named in `.incbin` is in no other one.
        "-Xcompiler=-Xassembler".to_owned(),
        "-Xcompiler=--MD".to_owned(),
        "-Xcompiler=-Xassembler".to_owned(),
        format!("-Xcompiler={}", object(index, "as.d")),
    ]);
    if source.extension() == "cu" {
        arguments.push(format!("-Xcudafe=--orig_src_path_name=/{}/{source}", place::SOURCE));
    } else {
        arguments.extend(["-x".to_owned(), "c++".to_owned()]);
    }
    arguments.extend(["-c".to_owned(), in_sources(source.as_str()), "-o".to_owned(), object(index, "o")]);
    Command { source: Some(source.clone()), program: nvcc(), arguments }
}

fn nvcc() -> String {
    here(&format!("{}/bin/nvcc", place::CUDA))
}

fn host_driver() -> String {
    here(&format!("{}/g++", place::HOST))
}

/// What the interface's own builder uses, and the exact architecture.
fn base(flags: &Flags, request: &PlanRequest<'_>) -> Vec<String> {
    let mut arguments = vec![format!("-ccbin={}", host_driver()), "-Xcompiler=-fPIC".to_owned()];
    if !flags.have(Effect::Standard) {
        arguments.push("-std=c++17".to_owned());
    }
    // torch's builder leaves the level to nvcc.
    if !flags.have(Effect::Optimization) && matches!(request.interface, Interface::TvmFfi { .. }) {
        arguments.push("-O2".to_owned());
    }
    arguments.push(format!("-gencode={}", request.gencode));
    arguments
}

fn link(units: usize, flags: &Flags, offered: &[Linkable], request: &PlanRequest<'_>) -> Vec<Command> {
    let mut objects: Vec<String> = (0..units).map(|index| object(index, "o")).collect();
    let libraries = here(&format!("{}/{}", place::CUDA, request.toolchain.toolkit.libraries.display()));
    let mut commands = Vec::new();
    let mut device_runtime = Vec::new();
    if flags.have(Effect::DeviceLink) {
        let linked = here(&format!("{}/device.o", place::OBJECT));
        let mut arguments = base(flags, request);
        arguments.extend(["-rdc=true", "-dlink", "-objtemp"].map(str::to_owned));
        arguments.extend(objects.iter().cloned());
        arguments.extend([
            format!("-L{libraries}"),
            "-lcudadevrt".to_owned(),
            "-o".to_owned(),
            linked.clone(),
        ]);
        commands.push(Command { source: None, program: nvcc(), arguments });
        objects.push(linked);
        device_runtime.push("-lcudadevrt".to_owned());
    }
    let mut arguments = vec!["-shared".to_owned(), "-o".to_owned(), here(place::LIBRARY)];
    arguments.extend(objects);
    if request.interface.has_tvm_ffi() {
        // A library that calls nothing of it does not need it.
        let words: &[&str] = match request.interface {
            Interface::Library => &["-Wl,--as-needed", "-ltvm_ffi", "-Wl,--no-as-needed"],
            _ => &["-ltvm_ffi"],
        };
        arguments.push(format!("-L{}/lib", here(place::TVM_FFI)));
        arguments.extend(words.iter().map(|&word| word.to_owned()));
    }
    arguments.push(format!("-L{libraries}"));
    arguments.extend(device_runtime);
    arguments.extend(["-lcudart_static", "-lrt", "-lpthread", "-ldl"].map(str::to_owned));
    let names = |libraries: &mut dyn Iterator<Item = &Linkable>| {
        libraries.map(|library| format!("-l{}", library.name())).collect::<Vec<_>>()
    };
    if !flags.libraries.is_empty() {
        // Needed by name; the machine that loads the library has the real one.
        arguments.extend(["-Wl,--no-as-needed".to_owned(), format!("-L{}", here(place::DRIVER))]);
        arguments.extend(names(&mut flags.libraries.iter()));
    }
    if !offered.is_empty() {
        arguments.extend(["-Wl,--as-needed".to_owned(), format!("-L{}", here(place::DRIVER))]);
        arguments.extend(names(&mut offered.iter()));
        arguments.push("-Wl,--no-as-needed".to_owned());
    }
    arguments.extend(
        [
            // Objects that hold intermediate code would start compilers with options of their own.
            "-fno-lto",
            "-Wl,-s",
            "-Wl,--build-id=none",
            // The runtime's functions are ours alone; another library's must not be taken for them.
            "-Wl,--exclude-libs,ALL",
            "-Wl,--trace",
        ]
        .map(str::to_owned),
    );
    commands.push(Command { source: None, program: host_driver(), arguments });
    commands
}

/// Everything that a command finds in its environment.
fn environment() -> Vec<(String, String)> {
    let path = format!("{}:/usr/bin:/bin", here(place::HOST));
    let variables = [
        ("PATH", path.as_str()),
        ("LC_ALL", "C"),
        ("TZ", "UTC"),
        ("SOURCE_DATE_EPOCH", "0"),
        ("TMPDIR", &here(place::TEMPORARY)),
        ("HOME", &here(place::TEMPORARY)),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    variables.to_vec()
}

fn links(request: &PlanRequest<'_>) -> Vec<Link> {
    let toolchain = request.toolchain;
    let host = &toolchain.host_compiler;
    let link = |name: &str, target: &PathBuf| Link { name: name.to_owned(), target: target.clone() };
    let fixed = [
        link(place::CUDA, &toolchain.toolkit.home),
        link(place::TVM_FFI, &toolchain.tvm_ffi.home),
        link("host/g++", &host.driver),
        link("host/as", &host.assembler),
        link("host/ld", &host.linker),
    ];
    let kits =
        request.kits.iter().map(|kit| link(&format!("{}/{}", place::KIT, kit.name.as_str()), &kit.home));
    fixed.into_iter().chain(kits).collect()
}
