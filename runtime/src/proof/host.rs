//! Reads the host ELF around device code: its sections, and signs that it compiles or loads more
//! device code while it runs.

use memchr::memmem;
use object::Endianness;
use object::elf::{FileHeader32, FileHeader64, SHF_EXECINSTR};
use object::read::elf::{Dyn as _, FileHeader, SectionHeader as _, Sym as _};
use serde::Serialize;

use super::bytes::text_of;
use super::prefilter::{Pair, prefilter};

/// One section that has bytes in the file.
pub(super) struct HostSection {
    /// Its name.
    pub(super) name: String,
    /// Offset in the ELF.
    pub(super) offset: u64,
    /// Size in bytes.
    pub(super) size: u64,
    /// Whether the processor may run it.
    pub(super) executable: bool,
    /// Alignment as declared.
    pub(super) align: u64,
}

/// What a toolkit keeps in a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Containers.
    Fatbin,
    /// Pointers to containers.
    Wrappers,
}

/// What a toolkit keeps in a section of this name, if anything.
pub(super) fn role_of(name: &str) -> Option<Role> {
    match name {
        ".nv_fatbin" | "__nv_relfatbin" => Some(Role::Fatbin),
        ".nvFatBinSegment" => Some(Role::Wrappers),
        _ => None,
    }
}

impl HostSection {
    /// What a toolkit keeps here, if anything.
    pub(super) fn role(&self) -> Option<Role> {
        role_of(&self.name)
    }

    /// Whether the constants in it may be names or sources that the program hands to a compiler.
    pub(super) fn holds_text(&self) -> bool {
        matches!(
            self.name.as_str(),
            ".rodata" | ".data" | ".data.rel.ro" | ".rodata.str1.1" | ".rodata.str1.8"
        )
    }

    /// Offset of the first byte behind it.
    pub(super) fn end(&self) -> u64 {
        self.offset.saturating_add(self.size)
    }
}

/// A sign that device code may appear at run time that no file shows. A label, not an accusation:
/// the big frameworks carry it too.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case", tag = "sign", content = "found")]
pub enum RuntimeJit {
    /// Needs a library that compiles or loads device code.
    Needs(String),
    /// Imports a function that compiles or loads device code.
    Imports(String),
    /// Holds the name of such a library or function as text, for `dlopen` and `dlsym`.
    Names(String),
    /// Holds CUDA source as text.
    CarriesSource(String),
}

/// The sections of an ELF, 32-bit or 64-bit.
pub(super) fn sections(bytes: &[u8]) -> Result<Vec<HostSection>, String> {
    match bytes.get(4) {
        Some(1) => sections_of::<FileHeader32<Endianness>>(bytes),
        _ => sections_of::<FileHeader64<Endianness>>(bytes),
    }
    .map_err(|error| error.to_string())
}

fn sections_of<Elf: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> object::Result<Vec<HostSection>> {
    let header = Elf::parse(bytes)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, bytes)?;
    let mut found = Vec::new();
    for section in sections.iter() {
        let Some((offset, size)) = section.file_range(endian) else { continue };
        let name = text_of(sections.section_name(endian, section)?);
        let executable = section.sh_flags(endian).contains(SHF_EXECINSTR);
        let align = section.sh_addralign(endian).into();
        found.push(HostSection { name, offset, size, executable, align });
    }
    Ok(found)
}

/// Libraries that compile or load device code while a program runs.
const LIBRARIES: [&str; 4] = ["libnvrtc", "libnvJitLink", "libnvptxcompiler", "libcuda.so"];
/// Prefixes of functions that do so.
const FUNCTIONS: [&str; 8] = [
    "nvrtcCompileProgram",
    "nvPTXCompilerCompile",
    "nvJitLinkCreate",
    "cuModuleLoad",
    "cuLibraryLoad",
    "cuLinkCreate",
    "cudaLibraryLoad",
    "__nvrtc",
];
/// Texts that mean the same. `libcuda.so` is not among them: the static CUDA runtime holds it.
const NAMES: [&str; 4] = ["libnvrtc.so", "nvrtcCompileProgram", "libnvJitLink.so", "nvPTXCompilerCompile"];
/// Texts that CUDA source cannot do without, and host programs hardly hold otherwise.
const SOURCE: [&str; 2] = ["__global__ void", "__global__ __launch_bounds__"];

/// Bytes from a text's start within which it is decided: more than the longest of them.
pub(super) const REACH_BYTES: usize = 32;

/// Rare neighbours of which every text holds one, and how far from its start they may stand.
const PAIRS: [Pair; 4] = [(b'v', b'r'), (b'v', b'J'), (b'v', b'P'), (b'l', b'_')];
const PAIR_REACH_BYTES: usize = 8;

/// Looks for signs in CUDA or C++ source text, or in any bytes that may hold some.
pub(super) fn text_signs(text: &[u8]) -> Vec<RuntimeJit> {
    let names = NAMES.map(|name| (memmem::Finder::new(name), RuntimeJit::Names(name.to_owned())));
    let sources = SOURCE.map(|text| (memmem::Finder::new(text), RuntimeJit::CarriesSource(text.to_owned())));
    let finders = names.iter().chain(&sources);
    let mut signs = Vec::new();
    prefilter(text, PAIRS, |start, end| {
        let near = &text[start.saturating_sub(PAIR_REACH_BYTES)..text.len().min(end + REACH_BYTES)];
        let seen = finders.clone().filter(|(finder, _)| finder.find(near).is_some());
        signs.extend(seen.map(|(_, sign)| sign.clone()));
    });
    signs.sort();
    signs.dedup();
    signs
}

/// Looks for libraries and functions that a host ELF needs to make device code while it runs.
pub(super) fn dynamic_signs(bytes: &[u8]) -> Vec<RuntimeJit> {
    match bytes.get(4) {
        Some(1) => dynamic_signs_of::<FileHeader32<Endianness>>(bytes),
        _ => dynamic_signs_of::<FileHeader64<Endianness>>(bytes),
    }
    .unwrap_or_default()
}

fn dynamic_signs_of<Elf: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> object::Result<Vec<RuntimeJit>> {
    let header = Elf::parse(bytes)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, bytes)?;
    let mut signs = Vec::new();
    if let Some((entries, strings)) = sections.dynamic(endian, bytes)? {
        let strings = sections.strings(endian, bytes, strings)?;
        for entry in entries {
            if entry.d_tag(endian).0 == object::elf::DT_NEEDED.0
                && let Ok(name) = entry.string(endian, strings)
            {
                let name = String::from_utf8_lossy(name).into_owned();
                if LIBRARIES.iter().any(|library| name.starts_with(library)) {
                    signs.push(RuntimeJit::Needs(name));
                }
            }
        }
    }
    let symbols = sections.symbols(endian, bytes, object::elf::SHT_DYNSYM)?;
    for symbol in symbols.iter().filter(|symbol| symbol.is_undefined(endian)) {
        let name = String::from_utf8_lossy(symbol.name(endian, symbols.strings())?).into_owned();
        if FUNCTIONS.iter().any(|function| name.starts_with(function)) {
            signs.push(RuntimeJit::Imports(name));
        }
    }
    Ok(signs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_calls_nvrtc_carries_the_label() {
        let text = br#"const char* s = "extern \"C\" __global__ void k(){}"; nvrtcCompileProgram(p, 0, 0);"#;
        assert_eq!(
            text_signs(text),
            [
                RuntimeJit::Names("nvrtcCompileProgram".to_owned()),
                RuntimeJit::CarriesSource("__global__ void".to_owned())
            ]
        );
        assert!(text_signs(b"int main() {}").is_empty());
    }

    #[test]
    fn every_text_holds_a_rare_pair_near_its_start() {
        for text in NAMES.iter().chain(&SOURCE) {
            let at = text.as_bytes().windows(2).position(|pair| PAIRS.contains(&(pair[0], pair[1])));
            assert!(at.is_some_and(|at| at <= PAIR_REACH_BYTES), "{text}");
            assert!(text.len() <= REACH_BYTES, "{text}");
        }
    }

    #[test]
    fn a_text_is_a_sign_at_every_offset() {
        for text in NAMES.iter().chain(&SOURCE) {
            for offset in 0..200 {
                let bytes = [&vec![b'.'; offset][..], text.as_bytes(), b"...."].concat();
                assert_eq!(text_signs(&bytes).len(), 1, "{text} at {offset}");
            }
        }
    }
}
