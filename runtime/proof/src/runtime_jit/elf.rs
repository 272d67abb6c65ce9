//! Signs in a host ELF: what it needs, what it imports, and what it calls.

use object::Endianness;
use object::elf::{FileHeader32, FileHeader64};
use object::read::elf::{Dyn as _, FileHeader, SectionHeader as _, Sym as _};

use super::functions::{LOADERS, is_interpreter, is_jit_function, is_of_cpp};
use super::words::{Meaning, PROGRAMS, Word};
use super::{RuntimeJit, calls, unnamed};

/// Libraries that compile device code while a program runs. The driver's is none: linking against it
/// compiles and loads nothing.
const LIBRARIES: [&str; 5] =
    ["libnvrtc", "libnvJitLink", "libnvptxcompiler", "libnvvm.so", "libnvrtc-builtins"];
/// Longest name that is looked at, in bytes, and most functions that are named.
const NAME_LIMIT: usize = 256;
const SIGNS_LIMIT: usize = 1000;
/// Functions that start programs.
const STARTERS: [&str; 14] = [
    "syscall",
    "wordexp",
    "system",
    "popen",
    "execl",
    "execlp",
    "execle",
    "execv",
    "execvp",
    "execve",
    "execvpe",
    "fexecve",
    "posix_spawn",
    "posix_spawnp",
];

/// What a host ELF tells of its way to device code that is in no file.
#[derive(Default)]
pub(crate) struct ElfSigns {
    /// The signs.
    pub(crate) signs: Vec<RuntimeJit>,
    /// Functions that find others by name, which it imports and which say something where a file is about CUDA.
    pub(crate) finders: Vec<RuntimeJit>,
    /// Whether it is about CUDA: needs it, imports of it, or holds device code.
    pub(crate) is_about_cuda: bool,
    /// Whether it holds a CUDA runtime, which opens the driver itself.
    pub(crate) has_static_runtime: bool,
    /// Whether it holds a CUDA runtime, with its functions that load device code, and does not tell who calls
    /// them.
    pub(crate) hides_calls: bool,
}

/// Which signs are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignsWanted {
    /// All of them.
    All,
    /// Any: host code is read for calls only where nothing else is a sign, and only up to the first.
    Any,
    /// None that takes reading host code: there is one already.
    NoMore,
}

/// Looks for what a host ELF needs to make device code while it runs, where its data holds these words, at offsets in
/// some larger file in which it starts at `start`.
pub(crate) fn elf_signs(bytes: &[u8], start: u64, words: &[Word], wanted: SignsWanted) -> ElfSigns {
    let signs = match bytes.get(4) {
        Some(1) => signs_of::<FileHeader32<Endianness>>(bytes, start, words, wanted),
        _ => signs_of::<FileHeader64<Endianness>>(bytes, start, words, wanted),
    };
    signs.unwrap_or_default()
}

fn signs_of<Elf: FileHeader<Endian = Endianness>>(
    bytes: &[u8],
    start: u64,
    words: &[Word],
    wanted: SignsWanted,
) -> object::Result<ElfSigns> {
    let header = Elf::parse(bytes)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, bytes)?;
    let mut signs = Vec::new();
    let mut needs_cuda = false;
    if let Some((entries, strings)) = sections.dynamic(endian, bytes)? {
        let strings = sections.strings(endian, bytes, strings)?;
        for entry in entries.iter().filter(|entry| entry.d_tag(endian).0 == object::elf::DT_NEEDED.0) {
            let Ok(name) = entry.string(endian, strings) else { continue };
            let name = String::from_utf8_lossy(name).into_owned();
            needs_cuda |= ["libcudart", "libcuda.so"].iter().any(|library| name.starts_with(library));
            if LIBRARIES.iter().any(|library| name.starts_with(library)) {
                signs.push(RuntimeJit::Needs(name));
            }
        }
    }
    let is_object = header.e_type(endian) == object::elf::ET_REL;
    let table = if is_object { object::elf::SHT_SYMTAB } else { object::elf::SHT_DYNSYM };
    let symbols = sections.symbols(endian, bytes, table)?;
    let mut imported = Vec::new();
    let mut defines_runtime = false;
    // Names may lie over each other.
    let mut to_read = bytes.len().saturating_mul(16);
    let strings = sections.section(symbols.string_section()).and_then(|table| table.data(endian, bytes));
    for symbol in symbols.iter() {
        if strings.is_ok_and(|strings| is_of_cpp(strings, symbol.st_name(endian))) {
            continue;
        }
        let Ok(name) = symbol.name(endian, symbols.strings()) else { continue };
        let Some(rest) = to_read.checked_sub(name.len()) else { break };
        to_read = rest;
        let Some(name) = str::from_utf8(name).ok().filter(|name| name.len() <= NAME_LIMIT) else { continue };
        if !symbol.is_undefined(endian) {
            defines_runtime |= name == "cudaGetDriverEntryPoint" || name == "cudaMalloc";
            continue;
        }
        if is_jit_function(name) && signs.len() < SIGNS_LIMIT {
            signs.push(RuntimeJit::Imports(name.to_owned()));
        }
        imported.push(name);
    }
    let named = |name: &str| {
        let is_named = |section| sections.section_name(endian, section).is_ok_and(|it| it == name.as_bytes());
        sections.iter().any(is_named)
    };
    let imports_cuda = imported.iter().any(|name| {
        let behind = name
            .strip_prefix("cuda")
            .or_else(|| name.strip_prefix("cu"))
            .or_else(|| name.strip_prefix("__cuda"));
        behind.is_some_and(|rest| rest.starts_with(|letter: char| letter.is_ascii_uppercase()))
    });
    let holds_code = named(".nv_fatbin") || named("__nv_relfatbin");
    let holds = |meaning: Meaning| words.iter().any(|word| word.meaning == meaning);
    let starts_programs = imported.iter().any(|name| STARTERS.contains(name));
    let named =
        PROGRAMS.iter().enumerate().filter(|&(index, _)| starts_programs && holds(Meaning::Program(index)));
    let runs = named.map(|(_, program)| RuntimeJit::Runs((*program).to_owned()));
    let is_about_cuda = needs_cuda || imports_cuda || holds_code;
    // A program without CUDA runs Python for other ends.
    let interpreters = imported.iter().filter(|name| is_about_cuda && is_interpreter(name));
    let interpreters: Vec<_> = interpreters.map(|name| RuntimeJit::Imports((*name).to_owned())).collect();
    let has_any = !signs.is_empty() || !interpreters.is_empty();
    if wanted == SignsWanted::NoMore || wanted == SignsWanted::Any && has_any {
        signs.extend(interpreters.into_iter().chain(runs));
        return Ok(ElfSigns { signs, ..ElfSigns::default() });
    }
    let called = calls::calls(bytes, wanted);
    signs.extend(called.jit.iter().cloned().map(RuntimeJit::Calls));
    // A runtime that is linked in opens the driver itself; then only calls by others count.
    let has_static_runtime = defines_runtime
        || called.has_static_runtime
        || holds(Meaning::Runtime) && !imports_runtime(&imported);
    if has_static_runtime && !called.has_static_runtime {
        signs.extend(unnamed::calls(bytes, start, words, wanted).into_iter().map(RuntimeJit::Calls));
    }
    signs.extend(interpreters);
    let finders = LOADERS.iter().filter(|loader| imported.contains(loader));
    let finders = finders.map(|name| RuntimeJit::Imports((*name).to_owned())).collect();
    signs.extend(called.loaders.into_iter().map(RuntimeJit::Calls));
    signs.extend(runs);
    let hides_calls = has_static_runtime && !called.has_static_runtime;
    Ok(ElfSigns { signs, finders, is_about_cuda, has_static_runtime, hides_calls })
}

/// Whether functions of the CUDA runtime come from elsewhere: then what a stripped library holds is not the runtime.
fn imports_runtime(imported: &[&str]) -> bool {
    imported.iter().any(|name| name.starts_with("__cudaRegister") || *name == "cudaLaunchKernel")
}
