//! Accounts for every byte of an archive: entries back to back, then the central directory.
//!
//! A zip reader follows offsets and never sees what stands between them, and it believes one of the
//! two headers that every entry has. Here the entries must cover the archive from its first byte,
//! each once, and both headers must say the same.

use super::BundleError;

/// Length of a zip's end record without comment, in bytes (APPNOTE 6.3.10, 4.3.16).
pub(super) const END_RECORD_BYTES: usize = 22;

/// Length of a local header before its name, in bytes (APPNOTE 6.3.10, 4.3.7).
const LOCAL_HEADER_BYTES: usize = 30;

/// Length of a central header before its name, in bytes (APPNOTE 6.3.10, 4.3.12).
const CENTRAL_HEADER_BYTES: usize = 46;

/// Flag of an entry whose checksum and sizes follow its data (APPNOTE 6.3.10, 4.4.4).
const SIZES_FOLLOW: usize = 1 << 3;

/// Flag of an entry whose name is UTF-8; without it, a reader takes the name for code page 437.
const IS_UTF8: usize = 1 << 11;

/// Flags that an entry may have: the two above, and how hard the compressor tried.
const KNOWN_FLAGS: usize = SIZES_FOLLOW | IS_UTF8 | 0b110;

/// Extra fields that zip tools write for times and owners (APPNOTE 6.3.10, 4.5.2 and 4.6.1): NTFS
/// times, PKWARE's Unix field, Info-ZIP's times, and its two Unix fields. No other may stand: some
/// give an entry another name or size.
const KNOWN_EXTRA_FIELDS: [usize; 5] = [0x000a, 0x000d, 0x5455, 0x5855, 0x7875];

/// Most bytes of extra fields in one header: what zip tools write for times and owners.
const MOST_EXTRA_BYTES: usize = 64;

/// One entry's name and data.
#[derive(Debug, PartialEq)]
pub(super) struct StoredEntry<'a> {
    /// The name as both headers have it.
    pub(super) name: &'a [u8],
    /// The data, compressed or not.
    pub(super) data: &'a [u8],
}

/// What an entry's central header says.
struct Claim<'a> {
    offset: usize,
    flags: usize,
    /// From the method to the two sizes, as both headers have it: method, time, date, checksum, sizes.
    facts: &'a [u8],
    name: &'a [u8],
}

impl Claim<'_> {
    fn data_bytes(&self) -> Result<usize, &'static str> {
        long(self.facts, 10)
    }
}

/// Finds every entry, in the order of the archive. The end record is known to be plain.
pub(super) fn entries(bytes: &[u8]) -> Result<Vec<StoredEntry<'_>>, BundleError> {
    walk(bytes).map_err(|reason| BundleError::NotAnArchive { reason: reason.to_owned() })
}

fn walk(bytes: &[u8]) -> Result<Vec<StoredEntry<'_>>, &'static str> {
    let end = bytes.len().checked_sub(END_RECORD_BYTES).ok_or("it is too short")?;
    let directory = long(bytes, end + 16)?;
    let mut claims = Vec::new();
    let mut at = directory;
    while at < end {
        let (claim, next) = claim(bytes, at)?;
        claims.push(claim);
        at = next;
    }
    if at != end || long(bytes, end + 12)?.checked_add(directory) != Some(end) {
        return Err("its central directory does not end where it says");
    }
    if claims.len() != short(bytes, end + 10)? {
        return Err("its central directory has another count of entries than its end record");
    }
    claims.sort_by_key(|claim| claim.offset);
    let mut entries = Vec::new();
    let mut at = 0;
    for claim in &claims {
        if claim.offset != at {
            return Err("bytes between its entries belong to none");
        }
        let (entry, next) = entry_of(bytes, claim)?;
        entries.push(entry);
        at = next;
    }
    if at == directory {
        Ok(entries)
    } else {
        Err("bytes in front of its central directory belong to no entry")
    }
}

/// Reads one central header; gives the entry behind it.
fn claim(bytes: &[u8], at: usize) -> Result<(Claim<'_>, usize), &'static str> {
    if slice(bytes, at, 4)? != b"PK\x01\x02" {
        return Err("its central directory holds something else than entries");
    }
    let (name_bytes, extra_bytes) = (short(bytes, at + 28)?, short(bytes, at + 30)?);
    if short(bytes, at + 32)? != 0 {
        return Err("an entry has a comment");
    }
    if short(bytes, at + 34)? != 0 {
        return Err("an entry stands on another disk");
    }
    let claim = Claim {
        offset: long(bytes, at + 42)?,
        flags: short(bytes, at + 8)?,
        facts: slice(bytes, at + 10, 18)?,
        name: slice(bytes, at + CENTRAL_HEADER_BYTES, name_bytes)?,
    };
    if claim.flags & !KNOWN_FLAGS != 0 {
        return Err("an entry is encrypted or has unknown flags");
    }
    if claim.flags & IS_UTF8 == 0 && !claim.name.is_ascii() {
        return Err("the name of an entry is not ASCII and not marked as UTF-8");
    }
    let extra = at + CENTRAL_HEADER_BYTES + name_bytes;
    check_extra(slice(bytes, extra, extra_bytes)?)?;
    Ok((claim, extra + extra_bytes))
}

/// Finds an entry's data by its local header; gives the entry behind it.
fn entry_of<'a>(bytes: &'a [u8], claim: &Claim<'a>) -> Result<(StoredEntry<'a>, usize), &'static str> {
    let at = claim.offset;
    if slice(bytes, at, 4)? != b"PK\x03\x04" {
        return Err("an entry has no local header");
    }
    let (name_bytes, extra_bytes) = (short(bytes, at + 26)?, short(bytes, at + 28)?);
    if slice(bytes, at + LOCAL_HEADER_BYTES, name_bytes)? != claim.name {
        return Err("an entry has two names");
    }
    // Method, time and date, then checksum and sizes: these may be zero where they follow the data.
    let facts = slice(bytes, at + 8, 18)?;
    let sizes_follow = claim.flags & SIZES_FOLLOW != 0;
    let same =
        facts == claim.facts || sizes_follow && facts[..6] == claim.facts[..6] && facts[6..] == [0; 12];
    if !same || short(bytes, at + 6)? != claim.flags {
        return Err("the two headers of an entry disagree");
    }
    let extra = at + LOCAL_HEADER_BYTES + name_bytes;
    check_extra(slice(bytes, extra, extra_bytes)?)?;
    let data = slice(bytes, extra + extra_bytes, claim.data_bytes()?)?;
    let entry = StoredEntry { name: claim.name, data };
    let data_end = extra + extra_bytes + data.len();
    if !sizes_follow {
        return Ok((entry, data_end));
    }
    // Checksum and two sizes, with or without a signature in front (APPNOTE 6.3.10, 4.3.9).
    let signature_bytes = if slice(bytes, data_end, 4)? == b"PK\x07\x08" { 4 } else { 0 };
    if slice(bytes, data_end + signature_bytes, 12)? != &claim.facts[6..] {
        return Err("the sizes behind an entry disagree with its header");
    }
    Ok((entry, data_end + signature_bytes + 12))
}

/// Checks that extra fields are of known kinds and fill their room exactly.
fn check_extra(extra: &[u8]) -> Result<(), &'static str> {
    if extra.len() > MOST_EXTRA_BYTES {
        return Err("an entry has oversized extra fields");
    }
    let mut at = 0;
    while at < extra.len() {
        if !KNOWN_EXTRA_FIELDS.contains(&short(extra, at)?) {
            return Err("an entry has extra fields that no artifact has");
        }
        at += 4 + short(extra, at + 2)?;
    }
    if at == extra.len() { Ok(()) } else { Err("the extra fields of an entry are damaged") }
}

fn slice(bytes: &[u8], at: usize, length: usize) -> Result<&[u8], &'static str> {
    let end = at.checked_add(length).ok_or("it is truncated")?;
    bytes.get(at..end).ok_or("it is truncated")
}

fn short(bytes: &[u8], at: usize) -> Result<usize, &'static str> {
    slice(bytes, at, 2).map(|two| usize::from(two[0]) | usize::from(two[1]) << 8)
}

fn long(bytes: &[u8], at: usize) -> Result<usize, &'static str> {
    Ok(short(bytes, at)? | short(bytes, at + 2)? << 16)
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use zip::write::SimpleFileOptions;
    use zip::{CompressionMethod, ZipWriter};

    use super::*;

    fn archive(options: SimpleFileOptions) -> Vec<u8> {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        for name in ["a.txt", "b.txt"] {
            writer.start_file(name, options).unwrap();
            writer.write_all(&[b'x'; 300]).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    /// Puts bytes in and moves every offset behind them, so that readers still find all entries.
    fn with_hidden(archive: &[u8], at: usize) -> Vec<u8> {
        let hidden = b"hidden";
        let mut bytes = [&archive[..at], hidden, &archive[at..]].concat();
        let mut moved = |entry: usize| {
            let offset = long(&bytes, entry).unwrap();
            if offset >= at {
                let offset = u32::try_from(offset + hidden.len()).unwrap();
                bytes[entry..entry + 4].copy_from_slice(&offset.to_le_bytes());
            }
        };
        let end = archive.len() + hidden.len() - END_RECORD_BYTES;
        moved(end + 16);
        let directory = long(archive, archive.len() - END_RECORD_BYTES + 16).unwrap() + hidden.len();
        let mut header = directory;
        while header < end {
            moved(header + 42);
            header += CENTRAL_HEADER_BYTES + "a.txt".len();
        }
        bytes
    }

    #[test]
    fn takes_what_zip_tools_write() {
        let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        let deflated = stored.compression_method(CompressionMethod::Deflated);
        for options in [stored, deflated] {
            assert_eq!(walk(&archive(options)).map(|entries| entries.len()), Ok(2));
        }
    }

    #[test]
    fn refuses_bytes_that_no_entry_owns() {
        let archive = archive(SimpleFileOptions::default().compression_method(CompressionMethod::Stored));
        let second = LOCAL_HEADER_BYTES + "a.txt".len() + 300;
        for at in [0, second, 2 * second] {
            let bytes = with_hidden(&archive, at);
            // An ordinary reader sees nothing of it.
            assert_eq!(zip::ZipArchive::new(Cursor::new(&bytes)).unwrap().len(), 2, "at {at}");
            assert!(walk(&bytes).is_err(), "at {at}");
        }
    }

    #[test]
    fn refuses_two_headers_that_disagree() {
        let archive = archive(SimpleFileOptions::default().compression_method(CompressionMethod::Stored));
        // Every byte of the first local header but its signature and the version that can read it.
        for at in 6..LOCAL_HEADER_BYTES {
            let mut bytes = archive.clone();
            bytes[at] ^= 1;
            assert!(walk(&bytes).is_err(), "byte {at} of the local header");
        }
    }

    #[test]
    fn refuses_extra_fields_that_carry_something() {
        let times = [0x55, 0x54, 5, 0, 1, 0, 0, 0, 0];
        assert_eq!(check_extra(&times), Ok(()));
        let (unicode_name, zip64) = ([0x75, 0x70, 1, 0, 0], [1, 0, 0, 0]);
        for extra in [&unicode_name[..], &zip64, &times[..8], &[0; 3], &[0x55; 65]] {
            assert!(check_extra(extra).is_err(), "{extra:?}");
        }
    }

    #[test]
    fn never_panics_on_truncated_or_random_numbers() {
        let archive = archive(SimpleFileOptions::default());
        for length in 0..archive.len() {
            assert!(walk(&archive[..length]).is_err(), "length {length}");
        }
        for at in 0..archive.len() {
            let mut bytes = archive.clone();
            bytes[at] = 0xff;
            let _ = walk(&bytes);
        }
    }
}
