//! Libraries of CUDA whose functions a host ELF calls without naming the library.
//!
//! Such a library holds what it holds, so nothing about its proof changes; but it loads only into a
//! process that has loaded CUDA before, and that is worth saying before someone ships it.

use serde::Serialize;

use super::elf::{Elf, Kind, Section, UNDEFINED};
use crate::proof::bytes::{text_of, u64_at};

/// `SHT_DYNAMIC` and `SHT_DYNSYM`.
const DYNAMIC: u32 = 6;
const DYNSYM: u32 = 11;
/// `DT_NEEDED`.
const NEEDED: u64 = 1;
/// Binding of symbols that may stay undefined.
const WEAK: u8 = 2;

/// A library that is called but not named.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct MissingLibrary {
    /// `libcuda` or `libcudart`.
    pub library: &'static str,
    /// The first function of it that is called.
    pub function: String,
}

impl std::fmt::Display for MissingLibrary {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { library, function } = self;
        write!(out, "it will not load without {library}, which it calls ({function}) and does not name")
    }
}

/// The libraries of CUDA that must be loaded before this one.
pub(in crate::proof) fn missing(elf: &Elf<'_>) -> Vec<MissingLibrary> {
    if elf.kind != Kind::Dynamic {
        return Vec::new();
    }
    let named = needed(elf);
    let mut found: Vec<MissingLibrary> = Vec::new();
    for table in elf.sections.iter().filter(|section| section.kind == DYNSYM) {
        for (symbol, name) in elf.symbols(table) {
            if symbol.section != UNDEFINED || symbol.info >> 4 == WEAK {
                continue;
            }
            let Some(library) = library_of(name) else { continue };
            let is_named = named.iter().any(|name| name.starts_with(library.as_bytes()));
            if !is_named && found.iter().all(|one| one.library != library) {
                let function = text_of(name);
                found.push(MissingLibrary { library, function });
            }
        }
    }
    found.sort();
    found
}

/// The library of CUDA that a function belongs to, by its name: `cuLaunchKernel`, `cudaMalloc`,
/// `__cudaRegisterFatBinary`.
fn library_of(function: &[u8]) -> Option<&'static str> {
    let upper = |rest: &[u8]| rest.first().is_some_and(u8::is_ascii_uppercase);
    if function.starts_with(b"__cuda") || function.strip_prefix(b"cuda").is_some_and(upper) {
        Some("libcudart")
    } else if function.strip_prefix(b"cu").is_some_and(upper) {
        Some("libcuda.so")
    } else {
        None
    }
}

fn needed<'a>(elf: &Elf<'a>) -> Vec<&'a [u8]> {
    let mut names = Vec::new();
    for table in elf.sections.iter().filter(|section| section.kind == DYNAMIC) {
        let strings: Option<&Section> =
            usize::try_from(table.link).ok().and_then(|index| elf.sections.get(index));
        let strings = strings.map(|strings| elf.content(strings)).unwrap_or_default();
        for entry in elf.content(table).chunks_exact(16) {
            let (Some(tag), Some(value)) = (u64_at(entry, 0), u64_at(entry, 8)) else { continue };
            if tag == 0 {
                break;
            }
            if tag == NEEDED
                && let Some(name) = usize::try_from(value).ok().and_then(|at| strings.get(at..))
            {
                let end = memchr::memchr(0, name).unwrap_or(name.len());
                names.push(&name[..end]);
            }
        }
    }
    names
}
