//! Registered device code: the wrappers in `.nvFatBinSegment`, and where they point.
//!
//! A wrapper is `{u32 0x466243B1, u32 version, u64 container, u64 list}`; its address is what the host
//! code hands to the runtime. Version 1 has no list. Version 2 comes from `-rdc` and from nvlink's stub:
//! its list is filled while the program starts, so it lies in memory that no file fills.

use super::elf::{Elf, Kind, Section};
use super::image::Image;
use super::relocation::Value;
use crate::bytes::{slice, u32_at, u64_at};
use crate::fatbin::WRAPPER_MAGIC;
use crate::problem::Problem;

/// Name of the section that toolkits fill with wrappers.
pub(super) const SECTION: &str = ".nvFatBinSegment";
/// Size of a wrapper, in bytes.
pub(super) const WRAPPER_BYTES: u64 = 24;

/// One wrapper that points to bytes of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wrapper {
    /// Its offset in the ELF.
    pub(crate) offset: u64,
    /// Offset in the ELF of what it points to, where a container must start.
    pub(crate) target: u64,
}

/// Where a pointer leads.
enum PointerTarget {
    /// To bytes of the file that nothing may write.
    Constant(u64),
    /// To bytes of the file that the program may change before it registers them.
    Writable,
    /// To memory that no file fills.
    Unfilled,
    /// To what another library may define instead.
    Preemptible,
    /// To nothing.
    Null,
    /// To a place that this file does not tell.
    Unknown,
}

/// Reads the wrappers; what does not point to constant bytes is reported.
pub(super) fn read(elf: &Elf<'_>, image: &Image<'_>, problems: &mut Vec<Problem>) -> Vec<Wrapper> {
    let mut found = Vec::new();
    let sections = elf.sections.iter().filter(|section| section.name == SECTION && section.has_bytes());
    for section in sections {
        if !section.size.is_multiple_of(WRAPPER_BYTES) {
            let reason = "the section of wrappers holds no whole number of them";
            problems.push(Problem::over(section.offset, section.size, reason));
        }
        // A size that the file does not have is named by `parts`.
        let end = section.end().min(elf.bytes.len() as u64);
        for at in (section.offset..end).step_by(24) {
            if let Some(record) = slice(elf.bytes, at, WRAPPER_BYTES) {
                found.extend(wrapper(elf, image, at, record, problems));
            }
        }
    }
    found
}

fn wrapper(
    elf: &Elf<'_>,
    image: &Image<'_>,
    at: u64,
    record: &[u8],
    problems: &mut Vec<Problem>,
) -> Option<Wrapper> {
    let mut refuse = |reason: &str| {
        problems.push(Problem::over(at, WRAPPER_BYTES, reason));
        None
    };
    let (magic, version) = (u32_at(record, 0)?, u32_at(record, 4)?);
    if magic != WRAPPER_MAGIC || !matches!(version, 1 | 2) {
        return refuse("no wrapper of a known version where wrappers belong");
    }
    let expected = [at + 8, at + 16];
    if image.touching(at, at + WRAPPER_BYTES).any(|write| !expected.contains(&write.offset)) {
        return refuse("a relocation changes a wrapper elsewhere than in its pointers");
    }
    let list = target(elf, image, at + 16, u64_at(record, 16)?);
    if !matches!((version, list), (_, PointerTarget::Null) | (2, PointerTarget::Unfilled)) {
        return refuse("a wrapper with a list of further device code in the file");
    }
    match target(elf, image, at + 8, u64_at(record, 8)?) {
        PointerTarget::Constant(target) => Some(Wrapper { offset: at, target }),
        PointerTarget::Writable => refuse("a registered wrapper points to bytes that the program may write"),
        PointerTarget::Unfilled => refuse("a registered wrapper points to memory that no file fills"),
        PointerTarget::Preemptible => {
            refuse("a registered wrapper points to what another library may define instead")
        }
        PointerTarget::Null => refuse("a registered wrapper points nowhere"),
        PointerTarget::Unknown => refuse("a registered wrapper points to what is not in this file"),
    }
}

/// Where the pointer at `offset` leads, once loaded; `stored` is what the file holds there.
fn target(elf: &Elf<'_>, image: &Image<'_>, offset: u64, stored: u64) -> PointerTarget {
    match (image.written_at(offset), elf.kind) {
        (None, _) if stored == 0 => PointerTarget::Null,
        (None, Kind::Executable) => mapped(elf, stored),
        (Some(Value::Known(address)), Kind::Dynamic | Kind::Executable) => mapped(elf, address),
        (Some(Value::Preemptible(_)), Kind::Dynamic | Kind::Executable) => PointerTarget::Preemptible,
        (Some(Value::Inside { section, offset }), _) => {
            let section = elf.sections.get(usize::from(section));
            section.map_or(PointerTarget::Unknown, |section| placed(section, offset))
        }
        _ => PointerTarget::Unknown,
    }
}

fn mapped(elf: &Elf<'_>, address: u64) -> PointerTarget {
    let Some(segment) = elf.segment_at(address) else { return PointerTarget::Unknown };
    match segment.file_offset(address) {
        None => PointerTarget::Unfilled,
        Some(_) if segment.flags & 2 != 0 => PointerTarget::Writable,
        Some(offset) => PointerTarget::Constant(offset),
    }
}

fn placed(section: &Section, offset: u64) -> PointerTarget {
    if !section.has_bytes() || offset >= section.size {
        PointerTarget::Unfilled
    } else if section.is_writable() {
        PointerTarget::Writable
    } else {
        PointerTarget::Constant(section.offset.saturating_add(offset))
    }
}
