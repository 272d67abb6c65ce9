//! Sections for debuggers that are stored compressed: unpacked, and held against the scan like all else.

use super::elf::Section;
use crate::bytes::{slice, u32_at, u64_at};
use crate::scan;
use crate::stream;

/// `SHF_COMPRESSED`, behind a header of 24 bytes: u32 scheme, u32 unused, u64 size, u64 alignment.
const COMPRESSED: u64 = 0x800;
const HEADER_BYTES: u64 = 24;
/// `SHF_MERGE` and `SHF_STRINGS`, which texts carry.
const MERGED: u64 = 0x30;
/// `SHF_GROUP`, which macros for debuggers carry in objects.
const GROUPED: u64 = 0x200;
/// The older form: `ZLIB` and the size, in 8 bytes with the highest first.
const OLD_HEADER_BYTES: u64 = 12;
/// What all of them in one ELF may unpack to, in bytes: a floor for small files, and a multiple for large ones.
const FLOOR_BYTES: u64 = 64 << 20;
const PER_BYTE: u64 = 16;

/// How a section is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DebugCompression {
    /// Marked by its flag, `.debug_…`.
    Flagged,
    /// Marked by its name, `.zdebug_…`.
    Named,
    /// Symbols of a stripped library, `.gnu_debugdata`, in xz.
    Symbols,
}

/// What all compressed sections of an ELF of this size may unpack to.
pub(super) fn budget(file_bytes: usize) -> u64 {
    FLOOR_BYTES.saturating_add((file_bytes as u64).saturating_mul(PER_BYTE))
}

/// Whether and how a section for debuggers is compressed: one that no loader maps.
pub(super) fn compression(section: &Section) -> Option<DebugCompression> {
    const PROGBITS: u32 = 1;
    if section.is_allocated() || section.kind != PROGBITS {
        return None;
    }
    match section.name.as_str() {
        ".gnu_debugdata" if section.flags == 0 => Some(DebugCompression::Symbols),
        name if name.starts_with(".zdebug_") && section.flags & !MERGED == 0 => Some(DebugCompression::Named),
        name if name.starts_with(".debug_") && section.flags & !(MERGED | GROUPED) == COMPRESSED => {
            Some(DebugCompression::Flagged)
        }
        _ => None,
    }
}

/// Why the content of such a section cannot be believed.
pub(super) fn doubt(kind: DebugCompression, content: &[u8], budget: &mut u64) -> Option<String> {
    let Some((name, size, stream)) = header(kind, content) else {
        return Some("is compressed in a way that no toolchain writes".to_owned());
    };
    let unpacked = match stream::unpack(name, stream, size.unwrap_or(*budget).min(*budget)) {
        Ok(unpacked) => unpacked,
        Err(reason) => return Some(format!("is compressed and not read: {reason}")),
    };
    *budget = budget.saturating_sub(unpacked.len() as u64);
    if size.is_some_and(|size| size != unpacked.len() as u64) {
        return Some("holds another size than it declares".to_owned());
    }
    let sighting = scan::scan(&unpacked).into_iter().next()?;
    Some(format!("holds {}, compressed", sighting.mark.name()))
}

/// The stream's name, what it should unpack to where that is told, and the stream.
fn header(kind: DebugCompression, content: &[u8]) -> Option<(&'static str, Option<u64>, &[u8])> {
    let behind = |at: u64| slice(content, at, (content.len() as u64).checked_sub(at)?);
    match kind {
        DebugCompression::Flagged => {
            let name = match u32_at(content, 0)? {
                1 => "zlib",
                2 => "Zstandard",
                _ => return None,
            };
            Some((name, Some(u64_at(content, 8)?), behind(HEADER_BYTES)?))
        }
        DebugCompression::Named => {
            let size = u64_at(content.strip_prefix(b"ZLIB")?, 0)?.swap_bytes();
            Some(("zlib", Some(size), behind(OLD_HEADER_BYTES)?))
        }
        DebugCompression::Symbols => Some(("xz", None, content)),
    }
}
