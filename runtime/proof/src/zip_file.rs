//! The structure of a zip, every byte of it.
//!
//! ```text
//! members             local header, name, extra fields, content [, descriptor], one after the other
//! central directory   one header a member, in any order
//! [zip64 end, zip64 locator] end of the directory, with a comment
//! ```
//!
//! Unpackers differ in what they make of a zip that holds more than this: members that the directory
//! does not list, two of one name, bytes between members or before the first. So all of that is named.
//! Whatever overlaps is refused before anything is unpacked.

use super::bytes::{slice, text_of, u16_at, u32_at, u64_at};
use super::problem::Problem;

const LOCAL_MAGIC: u32 = 0x0403_4B50;
const CENTRAL_MAGIC: u32 = 0x0201_4B50;
const END_MAGIC: u32 = 0x0605_4B50;
const END64_MAGIC: u32 = 0x0606_4B50;
const LOCATOR64_MAGIC: u32 = 0x0706_4B50;
const DESCRIPTOR_MAGIC: u32 = 0x0807_4B50;
const LOCAL_BYTES: u64 = 30;
const CENTRAL_BYTES: u64 = 46;
const END_BYTES: u64 = 22;
const END64_BYTES: u64 = 56;
const LOCATOR64_BYTES: u64 = 20;
/// Extra fields of archivers: zip64 sizes, times, owners, Unicode names.
const EXTRA_KINDS: [u16; 8] = [0x0001, 0x000A, 0x5455, 0x5855, 0x7855, 0x7875, 0x7075, 0x6375];
/// Longest such field beside a name, in bytes.
const EXTRA_LIMIT_BYTES: u64 = 64;
/// Longest comment that explains itself, in bytes: a commit's name and a little more.
const COMMENT_LIMIT_BYTES: usize = 128;
/// Most members, and the most that their directory may take, in bytes.
const MEMBERS_LIMIT: u64 = 1_000_000;
const DIRECTORY_LIMIT_BYTES: u64 = 128 << 20;
/// Most problems that are named one by one.
const PROBLEM_LIMIT: usize = 20;

/// How a member is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ZipMethod {
    /// As it is.
    Stored,
    /// Deflate.
    Deflated,
    /// Another, by its number.
    Other(u16),
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ZipMember {
    /// Its name as found.
    pub(super) name: String,
    /// How it is stored.
    pub(super) method: ZipMethod,
    /// Whether it is encrypted.
    pub(super) encrypted: bool,
    /// Where its content lies: offset and stored size, in bytes.
    pub(super) content: (u64, u64),
    /// Its size in bytes, unpacked.
    pub(super) size: u64,
    /// CRC-32 of its content, unpacked.
    pub(super) crc: u32,
}

impl ZipMember {
    /// Whether it stands for a folder.
    pub(super) fn is_folder(&self) -> bool {
        self.name.ends_with('/') && self.size == 0
    }
}

/// What a zip holds.
#[derive(Debug, Default)]
pub(super) struct ZipFile {
    /// Its members, by offset.
    pub(super) members: Vec<ZipMember>,
    /// How many bytes stand before the first member.
    pub(super) prefix_bytes: u64,
    /// What no rule explains.
    pub(super) problems: Vec<Problem>,
}

impl ZipFile {
    fn problem(&mut self, problem: Problem) {
        if self.problems.len() < PROBLEM_LIMIT {
            self.problems.push(problem);
        }
    }
}

/// The end of the directory: where it stands, and what it says.
struct End {
    at: u64,
    count: u64,
    directory_bytes: u64,
    directory_at: u64,
    /// Where the directory must stop.
    directory_stop: u64,
}

/// Whether a zip ends here, whatever stands before it.
pub(super) fn ends_at_the_end(bytes: &[u8]) -> bool {
    end(bytes).is_some_and(|end| end.count > 0)
}

/// Reads the structure; `Err` says why it is none that can be unpacked safely.
pub(super) fn read(bytes: &[u8]) -> Result<ZipFile, Problem> {
    let length = bytes.len() as u64;
    let end = end(bytes).ok_or_else(|| Problem::over(0, length, "a zip without the end of its directory"))?;
    let start = end.directory_stop.checked_sub(end.directory_bytes);
    let start = start.ok_or_else(|| Problem::at(end.at, "the zip's directory is larger than the file"))?;
    let shift = start
        .checked_sub(end.directory_at)
        .ok_or_else(|| Problem::at(end.at, "bytes between the zip's directory and its end"))?;
    let mut zip = ZipFile { prefix_bytes: shift, ..ZipFile::default() };
    let mut parts = vec![(start, length)];
    if let Some(comment) = slice(bytes, end.at + END_BYTES, length - end.at - END_BYTES) {
        check_comment(&mut zip, end.at, comment);
    }
    let mut at = start;
    if end.count > MEMBERS_LIMIT || end.directory_bytes > DIRECTORY_LIMIT_BYTES {
        return Err(Problem::at(start, "a zip with more members than any honest one"));
    }
    for _ in 0..end.count {
        let next = member(bytes, at, shift, end.directory_stop, &mut zip, &mut parts)
            .ok_or_else(|| Problem::at(at, "the zip's directory is broken"))?;
        at = next;
    }
    if at != end.directory_stop {
        zip.problem(Problem::over(
            at,
            end.directory_stop - at,
            "bytes in the zip's directory that list no member",
        ));
    }
    check_coverage(&mut zip, &mut parts, shift)?;
    check_names(&mut zip);
    Ok(zip)
}

fn end(bytes: &[u8]) -> Option<End> {
    let length = bytes.len() as u64;
    let from = bytes.len().saturating_sub(usize::from(u16::MAX) + 22);
    let magic = END_MAGIC.to_le_bytes();
    let at = memchr::memmem::rfind_iter(&bytes[from..], &magic).map(|at| (from + at) as u64).find(|&at| {
        let comment = slice(bytes, at + 20, 2).and_then(|length| u16_at(length, 0));
        comment.is_some_and(|comment| at + END_BYTES + u64::from(comment) == length)
    })?;
    let record = slice(bytes, at, END_BYTES)?;
    let mut end = End {
        at,
        count: u16_at(record, 10)?.into(),
        directory_bytes: u32_at(record, 12)?.into(),
        directory_at: u32_at(record, 16)?.into(),
        directory_stop: at,
    };
    let locator = at.checked_sub(LOCATOR64_BYTES).and_then(|at| slice(bytes, at, LOCATOR64_BYTES));
    if locator.and_then(|locator| u32_at(locator, 0)) == Some(LOCATOR64_MAGIC) {
        let record_at = at.checked_sub(LOCATOR64_BYTES + END64_BYTES)?;
        let record = slice(bytes, record_at, END64_BYTES)?;
        if u32_at(record, 0)? != END64_MAGIC || u64_at(record, 4)? != END64_BYTES - 12 {
            return None;
        }
        end.count = u64_at(record, 32)?;
        end.directory_bytes = u64_at(record, 40)?;
        end.directory_at = u64_at(record, 48)?;
        end.directory_stop = record_at;
    }
    // Each header takes room, so a larger count is a lie.
    (end.count <= end.directory_bytes / CENTRAL_BYTES).then_some(end)
}

/// Reads one header of the directory and the local one that it points to; gives the next offset.
fn member(
    bytes: &[u8],
    at: u64,
    shift: u64,
    directory_end: u64,
    zip: &mut ZipFile,
    parts: &mut Vec<(u64, u64)>,
) -> Option<u64> {
    let header = slice(bytes, at, CENTRAL_BYTES).filter(|_| at + CENTRAL_BYTES <= directory_end)?;
    if u32_at(header, 0)? != CENTRAL_MAGIC {
        return None;
    }
    let (name_bytes, extra_bytes, comment_bytes) =
        (u64::from(u16_at(header, 28)?), u64::from(u16_at(header, 30)?), u64::from(u16_at(header, 32)?));
    let name = slice(bytes, at + CENTRAL_BYTES, name_bytes)?;
    let extra = slice(bytes, at + CENTRAL_BYTES + name_bytes, extra_bytes)?;
    let comment = slice(bytes, at + CENTRAL_BYTES + name_bytes + extra_bytes, comment_bytes)?;
    let next = at + CENTRAL_BYTES + name_bytes + extra_bytes + comment_bytes;
    if next > directory_end {
        return None;
    }
    check_comment(zip, at, comment);
    check_extra(zip, at, extra);
    let flags = u16_at(header, 8)?;
    let mut wide = Wide::of(extra);
    let size = wide.number(u32_at(header, 24)?);
    let stored = wide.number(u32_at(header, 20)?);
    let local_at = wide.number(u32_at(header, 42)?)?.checked_add(shift)?;
    let (size, stored) = (size?, stored?);
    let member = ZipMember {
        name: text_of(name),
        method: match u16_at(header, 10)? {
            0 => ZipMethod::Stored,
            8 => ZipMethod::Deflated,
            other => ZipMethod::Other(other),
        },
        encrypted: flags & 0x41 != 0,
        content: (0, stored),
        size,
        crc: u32_at(header, 16)?,
    };
    let local = slice(bytes, local_at, LOCAL_BYTES)?;
    let (local_name, local_extra) = (u64::from(u16_at(local, 26)?), u64::from(u16_at(local, 28)?));
    let content_at = local_at + LOCAL_BYTES + local_name + local_extra;
    check_extra(zip, local_at, slice(bytes, local_at + LOCAL_BYTES + local_name, local_extra)?);
    let described_later = flags & 8 != 0;
    let agrees = u32_at(local, 0)? == LOCAL_MAGIC
        && slice(bytes, local_at + LOCAL_BYTES, local_name)? == name
        && u16_at(local, 6)? == flags
        && u16_at(local, 8)? == u16_at(header, 10)?
        && (described_later || local_sizes(bytes, local_at, local)? == (member.crc, stored, size));
    if !agrees {
        let reason = "a member's own header says something else than the zip's directory";
        zip.problem(Problem::at(local_at, reason));
    }
    slice(bytes, content_at, stored)?;
    let mut member_end = content_at + stored;
    if described_later {
        member_end += descriptor_bytes(bytes, member_end, &member, stored).unwrap_or(0);
    }
    parts.push((local_at, member_end));
    zip.members.push(ZipMember { content: (content_at, stored), ..member });
    Some(next)
}

/// CRC, stored size and size by the local header.
fn local_sizes(bytes: &[u8], at: u64, local: &[u8]) -> Option<(u32, u64, u64)> {
    let name_bytes = u64::from(u16_at(local, 26)?);
    let extra = slice(bytes, at + LOCAL_BYTES + name_bytes, u16_at(local, 28)?.into())?;
    let mut wide = Wide::of(extra);
    let size = wide.number(u32_at(local, 22)?)?;
    let stored = wide.number(u32_at(local, 18)?)?;
    Some((u32_at(local, 14)?, stored, size))
}

/// Size of the descriptor behind a content: with or without a magic, in 4 or 8 bytes.
fn descriptor_bytes(bytes: &[u8], at: u64, member: &ZipMember, stored: u64) -> Option<u64> {
    let magic = if slice(bytes, at, 4).and_then(|word| u32_at(word, 0))? == DESCRIPTOR_MAGIC { 4 } else { 0 };
    let rest = slice(bytes, at + magic, 12)?;
    if u32_at(rest, 0)? != member.crc {
        return None;
    }
    let narrow = u64::from(u32_at(rest, 4)?) == stored && u64::from(u32_at(rest, 8)?) == member.size;
    if narrow {
        return Some(magic + 12);
    }
    let rest = slice(bytes, at + magic, 20)?;
    (u64_at(rest, 4)? == stored && u64_at(rest, 12)? == member.size).then_some(magic + 20)
}

/// The numbers of a zip64 field, which stand for those that do not fit into 32 bits.
struct Wide<'a> {
    numbers: &'a [u8],
}

impl<'a> Wide<'a> {
    fn of(extra: &'a [u8]) -> Self {
        let numbers = fields(extra).find(|(kind, _)| *kind == 1).map(|(_, body)| body);
        Self { numbers: numbers.unwrap_or_default() }
    }

    fn number(&mut self, narrow: u32) -> Option<u64> {
        if narrow != u32::MAX {
            return Some(narrow.into());
        }
        let number = u64_at(self.numbers, 0)?;
        self.numbers = &self.numbers[8..];
        Some(number)
    }
}

/// The extra fields: kind and content, up to where they stop being any.
fn fields(mut extra: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (kind, size) = (u16_at(extra, 0)?, u16_at(extra, 2)?);
        let body = slice(extra, 4, size.into())?;
        extra = &extra[4 + body.len()..];
        Some((kind, body))
    })
}

fn check_extra(zip: &mut ZipFile, at: u64, extra: &[u8]) {
    let known = fields(extra).all(|(kind, body)| {
        let is_name = matches!(kind, 0x7075 | 0x6375);
        EXTRA_KINDS.contains(&kind) && (is_name || body.len() as u64 <= EXTRA_LIMIT_BYTES)
    });
    let whole: usize = fields(extra).map(|(_, body)| 4 + body.len()).sum();
    if !known || whole != extra.len() {
        zip.problem(Problem::over(
            at,
            extra.len() as u64,
            "extra fields of a member that no archiver writes",
        ));
    }
}

fn check_comment(zip: &mut ZipFile, at: u64, comment: &[u8]) {
    let is_plain = comment.len() <= COMMENT_LIMIT_BYTES
        && comment.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace())
        && memchr::memmem::find(comment, super::ptx::TARGET).is_none();
    if !is_plain {
        zip.problem(Problem::over(at, comment.len() as u64, "a comment in the zip that could hold anything"));
    }
}

/// Every byte must belong to exactly one part.
fn check_coverage(zip: &mut ZipFile, parts: &mut [(u64, u64)], shift: u64) -> Result<(), Problem> {
    parts.sort_unstable();
    let mut at = shift;
    for &(start, end) in &*parts {
        if start < at {
            return Err(Problem::over(
                start,
                at - start,
                "parts of the zip lie over each other, so it is not unpacked",
            ));
        }
        if start > at {
            zip.problem(Problem::over(at, start - at, "bytes between the members of the zip"));
        }
        at = end;
    }
    Ok(())
}

fn check_names(zip: &mut ZipFile) {
    let mut names: Vec<&str> = zip.members.iter().map(|member| member.name.as_str()).collect();
    names.sort_unstable();
    let twice = names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0].to_owned());
    if let Some(name) = twice {
        zip.problem(Problem::at(0, format!("two members are called {name}, of which an unpacker keeps one")));
    }
}
