//! Compressed streams, unpacked within a budget: gzip, zlib, Zstandard, xz and bzip2.

use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::ops::Deref;

use flate2::Crc;
use flate2::bufread::{DeflateDecoder, GzDecoder, ZlibDecoder};

use super::mapped::{self, MappedFile};

/// Up to this size, in bytes, what comes out stays in memory; beyond it goes to a temporary file.
const IN_MEMORY_BYTES: u64 = IN_MEMORY as u64;
/// The same as a length.
const IN_MEMORY: usize = 16 << 20;

/// What came out.
pub(super) enum Unpacked {
    /// In memory.
    Memory(Vec<u8>),
    /// In a temporary file.
    File(MappedFile),
}

impl Deref for Unpacked {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Memory(bytes) => bytes,
            Self::File(file) => file,
        }
    }
}

/// Unpacks a whole file of a compressed stream by its first bytes; `Err` says why it cannot be read.
pub(super) fn unpack(name: &str, bytes: &[u8], budget: u64) -> Result<Unpacked, String> {
    match name {
        "gzip" => gzip(bytes, budget),
        "Zstandard" => zstandard(bytes, budget),
        "xz" => {
            let mut cursor = Cursor::new(bytes);
            let out = collect(&mut lzma_rust2::XzReader::new(&mut cursor, true), budget)?;
            behind(bytes, cursor.position()).map(|()| out)
        }
        "zlib" => {
            let mut decoder = ZlibDecoder::new(bytes);
            let out = collect(&mut decoder, budget)?;
            behind(bytes, decoder.total_in()).map(|()| out)
        }
        "bzip2" => collect(&mut bzip2::bufread::MultiBzDecoder::new(bytes), budget),
        other => Err(format!("a {other} stream, which is not read")),
    }
}

/// Inflates a member of a zip, whose size and sum are known, and which must end where its content does.
pub(super) fn inflate(content: &[u8], size: u64, crc: u32) -> Result<Unpacked, String> {
    let mut decoder = DeflateDecoder::new(content);
    let out = collect(&mut decoder, size)?;
    if out.len() as u64 != size {
        return Err(format!("holds {} bytes where it declares {size}", out.len()));
    }
    if decoder.total_in() != content.len() as u64 {
        return Err("holds bytes behind the end of its compressed stream".to_owned());
    }
    check_sum(&out, crc).map(|()| out)
}

/// Checks a member's sum.
pub(super) fn check_sum(bytes: &[u8], crc: u32) -> Result<(), String> {
    let mut found = Crc::new();
    for piece in bytes.chunks(IN_MEMORY) {
        found.update(piece);
        if bytes.len() > IN_MEMORY {
            mapped::release(piece);
        }
    }
    if found.sum() == crc {
        Ok(())
    } else {
        Err("is damaged: its sum is another than it declares".to_owned())
    }
}

fn gzip(bytes: &[u8], budget: u64) -> Result<Unpacked, String> {
    let mut members = GzipMembers { decoder: None, rest: bytes };
    let out = collect(&mut members, budget)?;
    behind(members.rest, 0).map(|()| out)
}

/// Streams one behind the other, which are one file to every unpacker.
struct GzipMembers<'a> {
    decoder: Option<GzDecoder<&'a [u8]>>,
    rest: &'a [u8],
}

impl Read for GzipMembers<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let Some(decoder) = &mut self.decoder else {
                if !self.rest.starts_with(b"\x1F\x8B") {
                    return Ok(0);
                }
                self.decoder = Some(GzDecoder::new(self.rest));
                continue;
            };
            let count = decoder.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            if decoder.header().is_some_and(|header| header.extra().is_some()) {
                let reason = "an extra field in a gzip header, which could hold anything";
                return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
            }
            self.rest = self.decoder.take().map(GzDecoder::into_inner).unwrap_or_default();
        }
    }
}

fn zstandard(bytes: &[u8], budget: u64) -> Result<Unpacked, String> {
    const FRAME: &[u8] = b"\x28\xB5\x2F\xFD";
    let mut rest = bytes;
    while !rest.is_empty() {
        let frame =
            zstd::zstd_safe::find_frame_compressed_size(rest).ok().filter(|_| rest.starts_with(FRAME));
        let Some(next) = frame.and_then(|frame| rest.get(frame..)) else {
            return Err("a Zstandard file with something else than frames of data".to_owned());
        };
        rest = next;
    }
    let mut decoder = zstd::stream::read::Decoder::new(bytes).map_err(|error| error.to_string())?;
    collect(&mut decoder, budget)
}

/// Only zeros may follow a stream, as tapes pad.
fn behind(bytes: &[u8], at: u64) -> Result<(), String> {
    let rest = usize::try_from(at).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
    match super::bytes::first_nonzero(rest) {
        None => Ok(()),
        Some(_) => Err(format!("{} bytes behind the end of the stream", rest.len())),
    }
}

/// Reads to the end, or to one byte beyond the budget, which is refused.
fn collect(source: &mut impl Read, budget: u64) -> Result<Unpacked, String> {
    let damaged = |error: io::Error| format!("the stream is damaged: {error}");
    let too_much =
        || format!("unpacks to more than {budget} bytes, beyond what any honest file of its size holds");
    let mut bytes = Vec::new();
    let first = IN_MEMORY_BYTES.min(budget.saturating_add(1));
    source.take(first).read_to_end(&mut bytes).map_err(damaged)?;
    if bytes.len() as u64 > budget {
        return Err(too_much());
    }
    if (bytes.len() as u64) < first {
        return Ok(Unpacked::Memory(bytes));
    }
    let spill = |source: &mut dyn Read| -> io::Result<(u64, MappedFile)> {
        let mut file = tempfile::NamedTempFile::new()?;
        let start = io::copy(&mut bytes.as_slice(), &mut file)?;
        let rest = io::copy(&mut source.take((budget + 1).saturating_sub(start)), &mut file)?;
        file.seek(SeekFrom::Start(0))?;
        Ok((start + rest, MappedFile::open(file.path())?))
    };
    let (length, file) = spill(source).map_err(damaged)?;
    if length > budget { Err(too_much()) } else { Ok(Unpacked::File(file)) }
}
