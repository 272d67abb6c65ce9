//! An entry's header, and the table of headers in a concatenated entry.

use super::{
    ENTRY_HEADER_BYTES, ENTRY_VERSION, EntryHeader, EntryKind, FIXED_BYTES, RawPart, TEXT_LIMIT_BYTES,
    first_nonzero_in, flags,
};
use crate::allotment;
use crate::bytes::{self, first_nonzero, slice, u16_at, u32_at, u64_at};

/// Reads the header that `bytes` hold, found at `at`; its first 64 bytes exist.
pub(super) fn header(bytes: &[u8], at: u64, violations: &mut Vec<(u64, String)>) -> EntryHeader {
    let word = |offset| u32_at(bytes, offset).unwrap_or_default();
    let long = |offset| u64_at(bytes, offset).unwrap_or_default();
    let half = |offset| u16_at(bytes, offset).unwrap_or_default();
    let mut header = EntryHeader {
        kind_number: half(0),
        header_bytes: word(4),
        payload_bytes: long(8),
        compressed_bytes: word(16),
        uncompressed_bytes: long(56),
        version: (half(26), half(24)),
        number: word(28),
        flags: long(40),
        object_name: None,
        options: None,
        compat_copy: None,
    };
    if half(2) != ENTRY_VERSION {
        violations.push((at + 2, format!("entry version {:#06x}, expected 0x0101", half(2))));
    }
    let unknown = header.flags & !flags::KNOWN & !flags::WINDOWS;
    if unknown != 0 {
        violations.push((at + 40, format!("flag bits {unknown:#x} are unknown")));
    }
    let host = flags::ADDRESS_64 | flags::LINUX;
    if header.flags & flags::WINDOWS != 0 {
        violations
            .push((at + 40, "made for a Windows host, which we have never seen and do not judge".to_owned()));
    } else if header.flags & host != host {
        violations.push((at + 40, "not made for a 64-bit Linux host".to_owned()));
    }
    if header.kind() == EntryKind::Unknown {
        violations.push((at, format!("entry kind {:#x} is unknown", header.kind_number)));
    }
    read_strings(&mut header, bytes, at, violations);
    if long(48) != 0 && header.flags & flags::SCRAMBLED == 0 {
        violations.push((at + 48, "a scramble key beside a payload that is not scrambled".to_owned()));
    }
    if header.kind() != EntryKind::Concat
        && let Err((offset, reason)) = check_layout(&header, bytes)
    {
        violations.push((at + offset, format!("the entry header is not as any toolkit writes it: {reason}")));
    }
    header
}

/// Whether a header consists of the parts that toolkits write, in their order, and zeros between them.
fn check_layout(header: &EntryHeader, bytes: &[u8]) -> Result<(), (u64, &'static str)> {
    let word = |offset: u64| {
        slice(bytes, offset, 4).and_then(|word| u32_at(word, 0)).map(u64::from).unwrap_or_default()
    };
    let (extension, name, name_bytes) = (word(20), word(32), word(36));
    let is_elf = header.kind() == EntryKind::Elf;
    let mut at = ENTRY_HEADER_BYTES;
    if name != 0 || name_bytes != 0 {
        if name != at {
            return Err((32, "the object's name stands elsewhere"));
        }
        check_text(bytes, name, name_bytes)?;
        at = zeros(bytes, at + name_bytes, 8)?;
    }
    if extension != 0 {
        // An empty slot for a name.
        if at == ENTRY_HEADER_BYTES && extension == at + 8 {
            at = zeros(bytes, at, 8)?;
        }
        if extension != at {
            return Err((20, "the extension block stands elsewhere"));
        }
        let (text, length) = (word(extension), word(extension + 4));
        at = extension + 8;
        if (text, length) != (0, 0) {
            if text != at {
                return Err((extension, "the text of the extension block stands elsewhere"));
            }
            if is_elf {
                at += length + u64::from(has_empty_text(bytes, text));
            } else {
                check_text(bytes, text, length)?;
                at += length;
            }
            at = zeros(bytes, at, if is_elf { 7 } else { 8 })?;
        }
    }
    let behind = bytes.len() as u64 - at.min(bytes.len() as u64);
    let old_slot = is_elf && name == 0 && extension == 0 && behind == 8;
    if behind != 0 && !old_slot {
        return Err((at, "it is larger than what it holds"));
    }
    match first_nonzero_in(bytes, at, bytes.len() as u64) {
        Some(offset) => Err((offset, "bytes behind its last part")),
        None => Ok(()),
    }
}

/// Passes over one to `most` zero bytes, up to the next multiple of 8; gives the offset behind them.
fn zeros(bytes: &[u8], at: u64, most: u64) -> Result<u64, (u64, &'static str)> {
    let end = if most == 8 { (at + 1).next_multiple_of(8) } else { at.next_multiple_of(8) };
    match slice(bytes, at, end - at) {
        Some(gap) if first_nonzero(gap).is_none() => Ok(end),
        _ => Err((at, "bytes where padding belongs")),
    }
}

/// A text on one line, without control characters.
fn check_text(bytes: &[u8], at: u64, length: u64) -> Result<(), (u64, &'static str)> {
    if length > u64::from(TEXT_LIMIT_BYTES) {
        return Err((at, "a text longer than any name or option"));
    }
    let text = slice(bytes, at, length).and_then(|text| str::from_utf8(text).ok());
    match text {
        Some(text) if !text.chars().any(char::is_control) => Ok(()),
        _ => Err((at, "a text with control characters")),
    }
}

/// Whether the copy of `.nv.compat` stands behind an empty text, as in all releases.
fn has_empty_text(bytes: &[u8], text: u64) -> bool {
    slice(bytes, text, 1) == Some(&[0])
}

/// Reads the table of a concatenated entry, whose header `bytes` hold.
pub(super) fn parts(bytes: &[u8], at: u64, violations: &mut Vec<(u64, String)>) -> Vec<RawPart> {
    let refuse = |violations: &mut Vec<(u64, String)>, reason: &str| {
        violations.push((at + ENTRY_HEADER_BYTES, format!("concatenated entry: {reason}")));
        Vec::new()
    };
    let start = FIXED_BYTES;
    let (Some(count), Some(table_bytes)) = (u32_at(bytes, start), u32_at(bytes, start + 4)) else {
        return refuse(violations, "no table");
    };
    if start as u64 + u64::from(table_bytes) != bytes.len() as u64 {
        return refuse(violations, "the table does not fill the header");
    }
    let mut parts = Vec::new();
    let mut from = start + 8;
    while from < bytes.len() {
        let rest = &bytes[from..];
        if parts.len() >= allotment::ENTRIES {
            return refuse(violations, "more images than any library has");
        }
        if rest.len() < start {
            return refuse(violations, "a header in the table is cut off");
        }
        let Some(size) = part_header_bytes(rest) else {
            return refuse(violations, "a header in the table points outside it");
        };
        let offset = at + from as u64;
        let mut own = Vec::new();
        let mut header = header(&rest[..size], offset, &mut own);
        // The slot of the header size holds the image's offset instead.
        let image_offset = u64::from(header.header_bytes);
        header.header_bytes = u32::try_from(size).unwrap_or(u32::MAX);
        let packed = header.compressed_bytes != 0 || header.uncompressed_bytes != 0;
        if packed || header.is_compressed() || header.kind() == EntryKind::Concat {
            own.push((offset, "a concatenated image that is compressed once more".to_owned()));
        }
        parts.push(RawPart { offset, image_offset, header, violations: own });
        from += size;
    }
    if parts.len() as u64 != u64::from(count) {
        return refuse(violations, "the table holds another number of headers than it says");
    }
    parts
}

/// Size of a header in the table, which is nowhere stated: it ends behind the last thing it points
/// to, rounded up to 8.
fn part_header_bytes(bytes: &[u8]) -> Option<usize> {
    let word = |offset: usize| usize::try_from(u32_at(bytes, offset)?).ok();
    let mut end = FIXED_BYTES;
    let (extension, name, name_length) = (word(20)?, word(32)?, word(36)?);
    if name != 0 {
        end = end.max(name.checked_add(name_length)?.checked_add(1)?);
    }
    if extension != 0 {
        let text = word(extension)?;
        let length = word(extension.checked_add(4)?)?;
        end = end.max(extension.checked_add(8)?).max(text.checked_add(length)?.checked_add(1)?);
    }
    end.checked_next_multiple_of(8).filter(|&end| end <= bytes.len())
}

/// Reads the object's name and the extension block.
fn read_strings(header: &mut EntryHeader, bytes: &[u8], at: u64, violations: &mut Vec<(u64, String)>) {
    let word = |offset| u32_at(bytes, offset).unwrap_or_default();
    let (extension, name, name_length) = (word(20), word(32), word(36));
    if name != 0 || name_length != 0 {
        match slice(bytes, u64::from(name), u64::from(name_length)) {
            Some(text) => header.object_name = Some(text_of(text)),
            None => violations.push((at + 32, "the object's name lies outside the header".to_owned())),
        }
    }
    if extension == 0 {
        return;
    }
    let block =
        slice(bytes, u64::from(extension), 8).and_then(|block| Some((u32_at(block, 0)?, u32_at(block, 4)?)));
    let body = block.and_then(|(offset, length)| match header.kind() {
        EntryKind::Elf => compat_copy(bytes, offset, length),
        _ => slice(bytes, u64::from(offset), u64::from(length)),
    });
    match body {
        None => violations.push((at + 20, "the extension block lies outside the header".to_owned())),
        Some(copy) if header.kind() == EntryKind::Elf => header.compat_copy = Some(copy.to_vec()),
        Some(text) => header.options = Some(text_of(text)).filter(|text| !text.is_empty()),
    }
}

/// The copy stands behind a text, always empty, whose terminating zero is the first byte; before its
/// release 12.8 left out that text.
fn compat_copy(bytes: &[u8], offset: u32, length: u32) -> Option<&[u8]> {
    let has_text = bytes.get(usize::try_from(offset).ok()?) == Some(&0);
    slice(bytes, u64::from(offset) + u64::from(has_text), u64::from(length))
}

fn text_of(text: &[u8]) -> String {
    let end = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
    bytes::text_of(&text[..end])
}
