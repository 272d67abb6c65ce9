//! The structure of a tar: headers of 512 bytes, contents padded with zeros, two blocks of zeros at the end.

use super::bytes::{first_nonzero, slice, text_of};
use super::problem::Problem;

const BLOCK_BYTES: u64 = 512;
/// Most files in it.
const MEMBERS_LIMIT: usize = 500_000;
/// Most problems that are named one by one.
const PROBLEM_LIMIT: usize = 20;

/// One file in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TarMember {
    /// Its name as found.
    pub(super) name: String,
    /// Offset and size of its content, in bytes.
    pub(super) content: (u64, u64),
}

/// What a tar holds.
#[derive(Debug, Default)]
pub(super) struct TarFile {
    /// Its files.
    pub(super) members: Vec<TarMember>,
    /// What no rule explains.
    pub(super) problems: Vec<Problem>,
}

/// Reads the structure.
pub(super) fn read(bytes: &[u8]) -> TarFile {
    let mut tar = TarFile::default();
    let mut long_name = None;
    let mut at = 0;
    while let Some(header) = slice(bytes, at, BLOCK_BYTES) {
        if first_nonzero(header).is_none() {
            let rest = &bytes[usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len())..];
            if first_nonzero(rest).is_some() {
                tar.problem(at, rest.len() as u64, "bytes behind the end of the tar");
            }
            return tar;
        }
        let size = number(&header[124..136]).filter(|_| has_sum(header));
        let content_at = at + BLOCK_BYTES;
        let end = size.and_then(|size| content_at.checked_add(size)?.checked_next_multiple_of(BLOCK_BYTES));
        let Some((size, end)) = size.zip(end).filter(|&(_, end)| end <= bytes.len() as u64) else {
            tar.problem(at, bytes.len() as u64 - at, "a broken header in the tar");
            return tar;
        };
        let content = slice(bytes, content_at, size).unwrap_or_default();
        if slice(bytes, content_at + size, end - content_at - size).and_then(first_nonzero).is_some() {
            tar.problem(content_at + size, end - content_at - size, "bytes in the padding of the tar");
        }
        match header[156] {
            0 | b'0' | b'7' => {
                if tar.members.len() >= MEMBERS_LIMIT {
                    tar.problem(at, bytes.len() as u64 - at, "more files than any honest tar holds");
                    return tar;
                }
                let name = long_name.take().unwrap_or_else(|| name_in(header));
                tar.members.push(TarMember { name, content: (content_at, size) });
            }
            b'L' => long_name = Some(text(content)),
            b'x' => match extended(content) {
                Ok(path) => long_name = path,
                Err(reason) => tar.problem(at, size, reason),
            },
            // Links and folders hold nothing; a global header holds comments.
            b'1' | b'2' | b'5' if size == 0 => long_name = None,
            b'K' | b'g' => {}
            kind => {
                let reason = format!("a part of kind {:?} in the tar, which is not read", char::from(kind));
                tar.problem(at, size, reason);
            }
        }
        at = end;
    }
    if at < bytes.len() as u64 {
        tar.problem(at, bytes.len() as u64 - at, "bytes behind the end of the tar");
    }
    tar
}

impl TarFile {
    fn problem(&mut self, offset: u64, size: u64, reason: impl Into<String>) {
        if self.problems.len() < PROBLEM_LIMIT {
            self.problems.push(Problem::over(offset, size, reason));
        }
    }
}

/// The path in an extended header; a size there would move everything behind it.
fn extended(mut content: &[u8]) -> Result<Option<String>, &'static str> {
    let mut path = None;
    while !content.is_empty() {
        let space = memchr::memchr(b' ', content).ok_or("a broken extended header in the tar")?;
        let length: usize =
            str::from_utf8(&content[..space]).ok().and_then(|digits| digits.parse().ok()).unwrap_or(0);
        let record = content.get(space + 1..length.max(1) - 1).filter(|_| content.len() >= length);
        let record = record.ok_or("a broken extended header in the tar")?;
        if let Some(value) = record.strip_prefix(b"path=") {
            path = Some(text_of(value));
        } else if record.starts_with(b"size=") || record.starts_with(b"GNU.sparse") {
            return Err("a sparse or very large part in the tar, which is not read");
        }
        content = &content[length..];
    }
    Ok(path)
}

fn name_in(header: &[u8]) -> String {
    let prefix = text(&header[345..500]);
    let name = text(&header[..100]);
    if prefix.is_empty() || header[263] == b' ' { name } else { format!("{prefix}/{name}") }
}

fn text(bytes: &[u8]) -> String {
    let end = memchr::memchr(0, bytes).unwrap_or(bytes.len());
    text_of(&bytes[..end])
}

/// A number in octal digits, or in binary with the highest bit set.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        let low: [u8; 8] = field.get(field.len() - 8..)?.try_into().ok()?;
        return Some(u64::from_be_bytes(low));
    }
    let digits = str::from_utf8(field).ok()?.trim_matches(['\0', ' ']);
    u64::from_str_radix(digits, 8).ok()
}

/// Whether a tar from before headers had a magic starts here: whole blocks, the first a header with its sum.
pub(super) fn is_old(bytes: &[u8]) -> bool {
    let Some(header) = slice(bytes, 0, BLOCK_BYTES).filter(|header| header[0] != 0) else { return false };
    (bytes.len() as u64).is_multiple_of(BLOCK_BYTES) && number(&header[124..136]).is_some() && has_sum(header)
}

/// Whether the header's sum is right, with the sum's own field counted as blanks.
fn has_sum(header: &[u8]) -> bool {
    let sum: u64 = header
        .iter()
        .enumerate()
        .map(|(at, &byte)| if (148..156).contains(&at) { u64::from(b' ') } else { byte.into() })
        .sum();
    number(&header[148..156]) == Some(sum)
}
