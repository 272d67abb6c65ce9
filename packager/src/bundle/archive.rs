//! Unpacks a zip in memory, bounded before and while it is read.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Cursor, Read};

use flate2::bufread::DeflateDecoder;
use zip::read::ZipFile;
use zip::{CompressionMethod, ZipArchive};

use super::{BundleError, Content, layout};
use crate::sources::{MOST_SOURCES, SourcePath};

/// Largest archive that is read, in bytes. An artifact with a reference holds at most 32 MiB of
/// sources twice, and once more in `solution.json`; the whole must fit in half a gigabyte of memory
/// together with its contents.
pub const LARGEST_ARCHIVE_BYTES: u64 = 192 << 20;

/// Most entries in an archive: the most sources of a submission and of its reference, and the parts
/// beside them.
pub(super) const MOST_ENTRIES: usize = 2 * (MOST_SOURCES + 8);

/// Largest single entry after decompression, in bytes: the largest `solution.json`, and then some.
pub(super) const LARGEST_ENTRY_BYTES: u64 = 64 << 20;

/// Largest sum of all entries after decompression, in bytes.
const LARGEST_CONTENT_BYTES: u64 = 192 << 20;

/// Length of the locator in front of it in a zip64 archive, in bytes (APPNOTE 6.3.10, 4.3.15).
const ZIP64_LOCATOR_BYTES: usize = 20;

/// Unpacks every entry of a zip within the bounds of an artifact's. Stored ones stay where they are; the zip
/// reader checks every checksum.
pub fn unzip(bytes: &[u8]) -> Result<BTreeMap<String, Content<'_>>, BundleError> {
    let count = check_end_record(bytes)?;
    let places = layout::entries(bytes)?;
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(damaged)?;
    if archive.len() != count {
        let reason = format!("{count} entries but {} names: a name appears twice", archive.len());
        return Err(BundleError::NotAnArchive { reason });
    }
    let mut entries = BTreeMap::new();
    let mut total_bytes = 0;
    for place in places {
        let name = std::str::from_utf8(place.name).map_err(|_| BundleError::NotAnArchive {
            reason: "the name of an entry is not UTF-8".to_owned(),
        })?;
        let refuse = |reason: &str| BundleError::Entry { name: name.to_owned(), reason: reason.to_owned() };
        let file = archive.by_name(name).map_err(damaged)?;
        if file.is_symlink() || file.is_dir() || !file.is_file() {
            return Err(refuse("expected plain files only"));
        }
        if let Err(error) = name.parse::<SourcePath>() {
            return Err(refuse(&error.reason.to_string()));
        }
        let most = LARGEST_ENTRY_BYTES.min(LARGEST_CONTENT_BYTES - total_bytes);
        let content = content_of(file, place.data, most)
            .map_err(|source| BundleError::Damaged { name: name.to_owned(), source })?;
        let Some(content) = content else {
            return Err(too_large("bytes of content", most + 1, most));
        };
        total_bytes += content.len() as u64;
        if entries.insert(name.to_owned(), content).is_some() {
            return Err(refuse("it appears twice"));
        }
    }
    Ok(entries)
}

/// The bytes of one entry; `None` if there are too many.
fn content_of<'a>(
    file: ZipFile<'_, Cursor<&[u8]>>,
    data: &'a [u8],
    most: u64,
) -> io::Result<Option<Content<'a>>> {
    let is_stored = file.compression() == CompressionMethod::Stored;
    let mut file = file.take(most + 1);
    if is_stored {
        let read_bytes = io::copy(&mut file, &mut io::sink())?;
        return Ok((read_bytes <= most).then_some(Cow::Borrowed(data)));
    }
    let mut content = Vec::new();
    file.read_to_end(&mut content)?;
    if content.len() as u64 > most {
        return Ok(None);
    }
    // The zip reader stops where the stream ends, and never sees what hides behind it.
    let mut again = DeflateDecoder::new(data);
    io::copy(&mut (&mut again).take(most), &mut io::sink())?;
    if again.total_in() == data.len() as u64 {
        Ok(Some(Cow::Owned(content)))
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "bytes behind the end of its compressed data"))
    }
}

/// Bounds the archive before the zip reader allocates for its entries.
///
/// An artifact ends with a plain end record: no comment, no zip64. That leaves one place where the
/// count of entries stands, and no room for a second reading of the same bytes.
fn check_end_record(bytes: &[u8]) -> Result<usize, BundleError> {
    if bytes.len() as u64 > LARGEST_ARCHIVE_BYTES {
        return Err(too_large("bytes", bytes.len() as u64, LARGEST_ARCHIVE_BYTES));
    }
    let not = |reason: &str| BundleError::NotAnArchive { reason: reason.to_owned() };
    if !bytes.starts_with(b"PK") {
        return Err(not("it does not start as a zip"));
    }
    let end = bytes.len().checked_sub(layout::END_RECORD_BYTES).map(|start| &bytes[start..]);
    let Some(end) = end.filter(|end| end.starts_with(b"PK\x05\x06") && end.ends_with(&[0, 0])) else {
        return Err(not("it does not end as a zip: truncated, or bytes behind it"));
    };
    let locator = bytes.len().checked_sub(layout::END_RECORD_BYTES + ZIP64_LOCATOR_BYTES);
    if locator.is_some_and(|start| bytes[start..].starts_with(b"PK\x06\x07")) {
        return Err(not("zip64 archives are not artifacts"));
    }
    let count = u16::from_le_bytes([end[10], end[11]]).into();
    if count > MOST_ENTRIES {
        return Err(too_large("entries", count as u64, MOST_ENTRIES as u64));
    }
    if end[4..8] != [0; 4] || end[8..10] != end[10..12] {
        return Err(not("it is one part of several"));
    }
    Ok(count)
}

fn too_large(what: &'static str, found: u64, most: u64) -> BundleError {
    BundleError::TooLarge { what, found, most }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that `map_err` wants")]
fn damaged(error: zip::result::ZipError) -> BundleError {
    BundleError::NotAnArchive { reason: error.to_string() }
}
