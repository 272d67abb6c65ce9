//! Reads the fatbin container: header, entries, payloads.
//!
//! ```text
//! container   u32 0xBA55ED50, u16 1, u16 16, u64 size of all that follows
//! entry       header, then payload; the next entry follows at once
//!   +0  u16   kind           1 PTX, 2 ELF, 8 LTO-IR, 0x100 concatenated
//!   +2  u16   version        0x0101
//!   +4  u32   header size    64-136 seen, more for concatenated entries
//!   +8  u64   payload size, padded to 8
//!   +16 u32   exact compressed size, 0 if not compressed
//!   +20 u32   offset of the extension block, 0 if none
//!   +24 u16   minor, +26 u16 major
//!   +28 u32   architecture, decimal
//!   +32 u32   offset of the object's name, +36 u32 its length
//!   +40 u64   flags
//!   +48 u64   scramble key (LTO-IR)
//!   +56 u64   uncompressed size, 0 if not compressed
//! name        at +64, where there is one: the object's name with its zero byte, padded to 8
//! extension   u32 offset, u32 length: options text of PTX and LTO-IR; copy of .nv.compat, behind one zero
//!                            byte, of ELF; then a zero byte
//! ```
//!
//! A header ends there, rounded up to 8, and holds nothing else: so it is in all of 49,000 entries of 24
//! wheels. Two oddities are known: eight zero bytes where no name is (before the extension block of PTX
//! and LTO-IR, behind that of old ELF), and an extension block that points nowhere. The driver runs
//! larger headers all the same, so whatever else stands in one is named.
//!
//! A concatenated entry (`nvcc --concat`, seen in 13.5) has kind 0x100 and architecture 0. At +64
//! its header holds a u32 count and a u32 size of the table that starts with these two words; then
//! one header a image, shaped like an entry's, whose +4 is the offset into the decompressed payload.
//!
//! The copy is the whole of `.nv.compat`. Before its release 12.8 wrote no zero byte and, instead of the
//! records, the values of attributes 2, 3 and 5, a byte each (V12.8.13, seen in CUPTI).
//!
//! Seen in nvcc 13.0-13.5, 12.8 and 12.9 nvFatbin. Containers stand back to back, aligned to 8; a
//! container of size 0 is legal (the stub of a PTX-only library).

mod entry_header;

use proofmark_packager::{Arch, Feature};
use serde::Serialize;

use super::allotment;
use super::bytes::{first_nonzero, slice, u16_at, u32_at, u64_at};
use super::compression::Compression;
use entry_header::{header, parts};

/// First four bytes of a container.
pub(super) const CONTAINER_MAGIC: u32 = 0xBA55_ED50;
/// First four bytes of the wrapper in `.nvFatBinSegment`.
pub(super) const WRAPPER_MAGIC: u32 = 0x4662_43B1;
/// First four bytes of the structure that CUDA 2 and 3 used instead (named in old
/// `fatBinaryCtl.h`; never seen in a build).
pub(super) const ANCIENT_MAGIC: u32 = 0x1EE5_5A01;
/// Size of the container header.
pub(super) const CONTAINER_HEADER_BYTES: u64 = 16;
/// Smallest entry header.
const ENTRY_HEADER_BYTES: u64 = FIXED_BYTES as u64;
/// The same as an index.
const FIXED_BYTES: usize = 64;
/// Longest name or options text, in bytes: longer than any path that a compiler opens.
const TEXT_LIMIT_BYTES: u32 = 4096;
/// The only entry version.
const ENTRY_VERSION: u16 = 0x0101;

/// Flag bits with a known meaning.
pub mod flags {
    /// 64-bit addresses.
    pub const ADDRESS_64: u64 = 0x1;
    /// Built with `-G`.
    pub const DEBUG: u64 = 0x2;
    /// Host is Windows (named by ZLUDA's reader of fatbins; never seen in a build).
    pub const WINDOWS: u64 = 0x40;
    /// Host is Linux.
    pub const LINUX: u64 = 0x10;
    /// Payload is a raw LZ4 block.
    pub const LZ4: u64 = 0x2000;
    /// Payload is a Zstandard frame.
    pub const ZSTD: u64 = 0x8000;
    /// Payload is scrambled; every LTO-IR entry is.
    pub const SCRAMBLED: u64 = 0x1_0000;
    /// The `a`.
    pub const SPECIFIC: u64 = 0x10_0000;
    /// The `f`.
    pub const FAMILY: u64 = 0x20_0000;
    /// The header repeats `.nv.compat`.
    pub const COMPAT_COPY: u64 = 0x100_0000;
    /// Every bit above.
    pub const KNOWN: u64 =
        ADDRESS_64 | DEBUG | LINUX | LZ4 | ZSTD | SCRAMBLED | SPECIFIC | FAMILY | COMPAT_COPY;
}

/// What an entry holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// Machine code in a container.
    Elf,
    /// Machine code that stands alone.
    Cubin,
    /// PTX text.
    Ptx,
    /// Intermediate code for link-time optimisation.
    Lto,
    /// Several images in one entry (`nvcc --concat`).
    Concat,
    /// A kind that we do not know.
    Unknown,
}

impl EntryKind {
    fn of(number: u16) -> Self {
        match number {
            1 => Self::Ptx,
            2 => Self::Elf,
            8 => Self::Lto,
            0x100 => Self::Concat,
            _ => Self::Unknown,
        }
    }
}

/// An entry's header as found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EntryHeader {
    /// The kind's number.
    pub kind_number: u16,
    /// Header size in bytes.
    pub header_bytes: u32,
    /// Payload size in bytes, padding included.
    pub payload_bytes: u64,
    /// Exact compressed size in bytes; 0 if not compressed.
    pub compressed_bytes: u32,
    /// Uncompressed size in bytes; 0 if not compressed.
    pub uncompressed_bytes: u64,
    /// `major.minor`: the PTX ISA, or `1.` and the ABI version for ELF.
    pub version: (u16, u16),
    /// The architecture number.
    pub number: u32,
    /// All flags as found.
    pub flags: u64,
    /// The object's name, usually the source path of a `-lineinfo` build.
    pub object_name: Option<String>,
    /// The options text in the extension block of PTX and LTO-IR.
    pub options: Option<String>,
    /// The copy of `.nv.compat` in the extension block of ELF.
    #[serde(skip)]
    pub(super) compat_copy: Option<Vec<u8>>,
}

impl EntryHeader {
    /// What kind of entry it is.
    pub fn kind(&self) -> EntryKind {
        EntryKind::of(self.kind_number)
    }

    /// The architecture that the header claims. With both letter bits set it reads `a`, and the
    /// prover reports the contradiction.
    pub fn arch(&self) -> Arch {
        let feature = if self.flags & flags::SPECIFIC != 0 {
            Feature::Specific
        } else if self.flags & flags::FAMILY != 0 {
            Feature::Family
        } else {
            Feature::Plain
        };
        Arch { number: self.number, feature }
    }

    /// How the payload is stored; `None` when the flags name two schemes.
    pub fn compression(&self) -> Option<Compression> {
        match (self.flags & flags::LZ4 != 0, self.flags & flags::ZSTD != 0) {
            (false, false) => Some(Compression::None),
            (true, false) => Some(Compression::Lz4),
            (false, true) => Some(Compression::Zstd),
            (true, true) => None,
        }
    }

    /// Whether the flags name a compression scheme, or two.
    pub(super) fn is_compressed(&self) -> bool {
        self.compression() != Some(Compression::None)
    }

    /// Whether the payload means something as it is stored.
    pub(super) fn is_legible(&self) -> bool {
        is_legible(self.kind(), self.flags)
    }
}

/// One entry where it lies.
pub(super) struct RawEntry<'a> {
    /// Offset of the header from the start of the bytes that hold the container.
    pub(super) offset: u64,
    /// The header.
    pub(super) header: EntryHeader,
    /// Offset of the payload, likewise.
    pub(super) payload_offset: u64,
    /// The payload as stored, padding included.
    pub(super) payload: &'a [u8],
    /// The images in a concatenated entry.
    pub(super) parts: Vec<RawPart>,
    /// Structural violations: offset and reason.
    pub(super) violations: Vec<(u64, String)>,
}

/// One image in a concatenated entry.
pub(super) struct RawPart {
    /// Offset of its header, as for an entry.
    pub(super) offset: u64,
    /// Offset of the image in the decompressed payload.
    pub(super) image_offset: u64,
    /// Its header.
    pub(super) header: EntryHeader,
    /// Structural violations: offset and reason.
    pub(super) violations: Vec<(u64, String)>,
}

/// One container where it lies.
pub(super) struct RawContainer<'a> {
    /// Offset of the first byte behind it.
    pub(super) end: u64,
    /// Its entries in order.
    pub(super) entries: Vec<RawEntry<'a>>,
    /// Where reading had to stop before the end, and why.
    pub(super) broken: Option<(u64, String)>,
}

/// Whether a container starts at `offset`: the magic, then whatever follows.
pub(super) fn starts_at(bytes: &[u8], offset: u64) -> bool {
    slice(bytes, offset, 4).is_some_and(|magic| magic == CONTAINER_MAGIC.to_le_bytes())
}

/// Reads the container at `offset`; `Err` holds the reason why these bytes are none.
pub(super) fn read(bytes: &[u8], offset: u64) -> Result<RawContainer<'_>, String> {
    let header = slice(bytes, offset, CONTAINER_HEADER_BYTES).ok_or("container header is cut off")?;
    let magic = u32_at(header, 0).unwrap_or_default();
    let version = u16_at(header, 4).unwrap_or_default();
    let header_size = u16_at(header, 6).unwrap_or_default();
    let size = u64_at(header, 8).unwrap_or_default();
    if magic != CONTAINER_MAGIC || version != 1 || u64::from(header_size) != CONTAINER_HEADER_BYTES {
        return Err(format!(
            "container header has version {version} and size {header_size}, expected 1 and 16"
        ));
    }
    let body_at = offset + CONTAINER_HEADER_BYTES;
    let end = body_at.checked_add(size).filter(|&end| end <= bytes.len() as u64);
    let end = end.ok_or_else(|| format!("container claims {size} bytes, more than exist"))?;
    let mut container = RawContainer { end, entries: Vec::new(), broken: None };
    let mut at = body_at;
    while at < end {
        if container.entries.len() >= allotment::ENTRIES {
            container.broken = Some((at, "more entries than any library has".to_owned()));
            break;
        }
        match entry(bytes, at, end) {
            Ok((entry, next)) => {
                container.entries.push(entry);
                at = next;
            }
            Err(reason) => {
                container.broken = Some((at, reason));
                break;
            }
        }
    }
    Ok(container)
}

/// Where the entries end with which the container at `offset` begins and whose payloads mean nothing as they are stored,
/// if it begins with any.
pub(super) fn end_of_packed(bytes: &[u8], offset: u64) -> Option<u64> {
    let header = slice(bytes, offset, CONTAINER_HEADER_BYTES)?;
    let body_at = offset + CONTAINER_HEADER_BYTES;
    let end = body_at.checked_add(u64_at(header, 8)?).filter(|&end| end <= bytes.len() as u64)?;
    if u16_at(header, 4)? != 1 || u64::from(u16_at(header, 6)?) != CONTAINER_HEADER_BYTES {
        return None;
    }
    let mut at = body_at;
    while let Some(next) = behind_packed(bytes, at, end) {
        at = next;
    }
    (at > body_at).then_some(at)
}

/// The end of the entry at `at`, if it ends by `end` and is no legible one.
fn behind_packed(bytes: &[u8], at: u64, end: u64) -> Option<u64> {
    let fixed = slice(bytes, at, ENTRY_HEADER_BYTES)?;
    let header_bytes = u64::from(u32_at(fixed, 4)?);
    let next = at.checked_add(header_bytes)?.checked_add(u64_at(fixed, 8)?).filter(|&next| next <= end)?;
    let is_packed = !is_legible(EntryKind::of(u16_at(fixed, 0)?), u64_at(fixed, 40)?);
    (header_bytes >= ENTRY_HEADER_BYTES && is_packed).then_some(next)
}

/// Whether a payload means something as it is stored: neither compressed nor scrambled, nor made of several.
fn is_legible(kind: EntryKind, flags: u64) -> bool {
    let is_stored = flags & (flags::LZ4 | flags::ZSTD | flags::SCRAMBLED) == 0;
    is_stored && matches!(kind, EntryKind::Elf | EntryKind::Ptx)
}

/// Reads the entry at `at`, which must end by `end`; gives the offset of the next one.
fn entry(bytes: &[u8], at: u64, end: u64) -> Result<(RawEntry<'_>, u64), String> {
    let fixed = slice(bytes, at, ENTRY_HEADER_BYTES).filter(|_| at + ENTRY_HEADER_BYTES <= end);
    let fixed = fixed.ok_or("entry header is cut off")?;
    let header_bytes = u64::from(u32_at(fixed, 4).unwrap_or_default());
    let payload_bytes = u64_at(fixed, 8).unwrap_or_default();
    if header_bytes < ENTRY_HEADER_BYTES {
        return Err(format!("entry header claims {header_bytes} bytes, expected at least 64"));
    }
    let payload_offset = at + header_bytes;
    let next = payload_offset.checked_add(payload_bytes).filter(|&next| next <= end);
    let next =
        next.ok_or_else(|| format!("entry claims {payload_bytes} bytes, more than its container has"))?;
    let whole = slice(bytes, at, header_bytes).ok_or("entry header is cut off")?;
    let payload = slice(bytes, payload_offset, payload_bytes).ok_or("entry payload is cut off")?;
    let mut violations = Vec::new();
    let header = header(whole, at, &mut violations);
    let parts = match header.kind() {
        EntryKind::Concat => parts(whole, at, &mut violations),
        _ => Vec::new(),
    };
    Ok((RawEntry { offset: at, header, payload_offset, payload, parts, violations }, next))
}

/// The offset, from `start`, of the first byte in `[start, end)` that is not zero.
pub(super) fn first_nonzero_in(bytes: &[u8], start: u64, end: u64) -> Option<u64> {
    let gap = slice(bytes, start, end.checked_sub(start)?)?;
    first_nonzero(gap).map(|offset| start + offset as u64)
}
