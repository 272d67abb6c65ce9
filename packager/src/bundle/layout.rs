//! Accounts for every byte of an archive: entries back to back, then the central directory.
//!
//! A zip reader follows offsets and never sees what stands between them. Here the entries must
//! cover the archive from its first byte, each once, and both places that name one must agree.

use super::{BundleError, END_RECORD_BYTES};

/// Length of a local header before its name, in bytes (APPNOTE 6.3.10, 4.3.7).
const LOCAL_HEADER_BYTES: usize = 30;

/// Length of a central header before its name, in bytes (APPNOTE 6.3.10, 4.3.12).
const CENTRAL_HEADER_BYTES: usize = 46;

/// Flag of an entry whose sizes follow its data (APPNOTE 6.3.10, 4.4.4).
const SIZES_FOLLOW: usize = 1 << 3;

/// Most bytes of extra fields in one header: what zip tools write for times and owners.
const MOST_EXTRA_BYTES: usize = 64;

/// Where the central directory says that an entry is.
struct Claim<'a> {
    offset: usize,
    data_bytes: usize,
    sizes_follow: bool,
    name: &'a [u8],
}

/// Checks that no byte is left over. The end record is known to be plain.
pub(super) fn check(bytes: &[u8]) -> Result<(), BundleError> {
    walk(bytes).map_err(|reason| BundleError::NotAnArchive { reason: reason.to_owned() })
}

fn walk(bytes: &[u8]) -> Result<(), &'static str> {
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
    let mut at = 0;
    for claim in &claims {
        if claim.offset != at {
            return Err("bytes between its entries belong to none");
        }
        at = end_of(bytes, claim)?;
    }
    if at == directory { Ok(()) } else { Err("bytes in front of its central directory belong to no entry") }
}

/// Reads one central header; gives the place behind it.
fn claim(bytes: &[u8], at: usize) -> Result<(Claim<'_>, usize), &'static str> {
    if slice(bytes, at, 4)? != b"PK\x01\x02" {
        return Err("its central directory holds something else than entries");
    }
    let (name_bytes, extra_bytes) = (short(bytes, at + 28)?, short(bytes, at + 30)?);
    if short(bytes, at + 32)? != 0 {
        return Err("an entry has a comment");
    }
    bound_extra(extra_bytes)?;
    let claim = Claim {
        offset: long(bytes, at + 42)?,
        data_bytes: long(bytes, at + 20)?,
        sizes_follow: short(bytes, at + 8)? & SIZES_FOLLOW != 0,
        name: slice(bytes, at + CENTRAL_HEADER_BYTES, name_bytes)?,
    };
    Ok((claim, at + CENTRAL_HEADER_BYTES + name_bytes + extra_bytes))
}

/// The place behind an entry's data, going by its local header.
fn end_of(bytes: &[u8], claim: &Claim<'_>) -> Result<usize, &'static str> {
    let at = claim.offset;
    if slice(bytes, at, 4)? != b"PK\x03\x04" {
        return Err("an entry has no local header");
    }
    let (name_bytes, extra_bytes) = (short(bytes, at + 26)?, short(bytes, at + 28)?);
    bound_extra(extra_bytes)?;
    if slice(bytes, at + LOCAL_HEADER_BYTES, name_bytes)? != claim.name {
        return Err("an entry has two names");
    }
    let data = at + LOCAL_HEADER_BYTES + name_bytes + extra_bytes;
    let data_end = data.checked_add(claim.data_bytes).ok_or("an entry is larger than the archive")?;
    if !claim.sizes_follow {
        return Ok(data_end);
    }
    // Checksum and two sizes, with or without a signature in front (APPNOTE 6.3.10, 4.3.9).
    let signed = slice(bytes, data_end, 4)? == b"PK\x07\x08";
    Ok(data_end + if signed { 16 } else { 12 })
}

fn bound_extra(found_bytes: usize) -> Result<(), &'static str> {
    if found_bytes > MOST_EXTRA_BYTES { Err("an entry has oversized extra fields") } else { Ok(()) }
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
        let mut moved = |place: usize| {
            let offset = long(&bytes, place).unwrap();
            if offset >= at {
                let offset = u32::try_from(offset + hidden.len()).unwrap();
                bytes[place..place + 4].copy_from_slice(&offset.to_le_bytes());
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
            assert_eq!(walk(&archive(options)), Ok(()));
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
