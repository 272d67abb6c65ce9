//! Libraries of CUDA whose functions a host ELF calls without naming the library.
//!
//! Such a library holds what it holds, so nothing about its proof changes; but it loads only into a
//! process that has loaded CUDA before, and that is worth saying before someone ships it.

use serde::Serialize;

use super::dynamic::Dynamic;
use super::elf::{Elf, Kind, UNDEFINED};
use crate::bytes::text_of;

/// `SHT_DYNSYM`.
const DYNSYM: u32 = 11;
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
pub(super) fn missing(elf: &Elf<'_>, dynamic: Option<&Dynamic>) -> Vec<MissingLibrary> {
    if elf.kind != Kind::Dynamic {
        return Vec::new();
    }
    let named = dynamic.map(|dynamic| dynamic.needed(elf)).unwrap_or_default();
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
