//! Decompresses fatbin payloads, bounded by what the entry declares.
//!
//! | flag | scheme | source |
//! |---|---|---|
//! | 0x2000 | one raw LZ4 block, no frame | seen: PTX from 12.8 nvFatbin and 13.0 `--compress-mode=speed` |
//! | 0x8000 | one Zstandard frame | seen: 13.0 default PTX, `-dc` cubins, `-compress-all` |
//!
//! A payload that yields one byte more or less than declared, a second or skippable frame, and
//! bytes behind the frame are all refused: they could hide what a laxer reader would run.

use serde::Serialize;

/// The most that one payload may grow to, in bytes: above the largest cubin seen in released
/// libraries by a factor of four, below what would threaten a small machine.
pub(super) const PAYLOAD_LIMIT_BYTES: u64 = 512 << 20;

/// How far a compressed byte can expand: Zstandard's run-length blocks spend four bytes on
/// 128 KiB, so nothing honest expands further.
const EXPANSION_LIMIT: u64 = 1 << 15;

/// Magic of a Zstandard data frame; RFC 8878, section 3.1.1.
pub(super) const ZSTD_FRAME_MAGIC: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];

/// How a payload is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// As it is.
    None,
    /// One raw LZ4 block.
    Lz4,
    /// One Zstandard frame.
    Zstd,
}

/// Why a payload could not be decompressed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum CompressionError {
    /// The declared size is beyond any honest payload.
    #[error("declares {declared} bytes from {compressed}, beyond the limit of {limit}")]
    TooLarge {
        /// Size the entry declares, in bytes.
        declared: u64,
        /// Compressed size, in bytes.
        compressed: u64,
        /// The limit that applied, in bytes.
        limit: u64,
    },
    /// The stream is damaged.
    #[error("the {scheme} stream is damaged: {reason}")]
    Damaged {
        /// Name of the scheme.
        scheme: &'static str,
        /// What the decoder said.
        reason: String,
    },
    /// The stream ends elsewhere than the entry declares.
    #[error("decompresses to {found} bytes where the entry declares {declared}")]
    WrongSize {
        /// Size the entry declares, in bytes.
        declared: u64,
        /// Size that came out, in bytes.
        found: u64,
    },
    /// Something else than exactly one frame.
    #[error("holds {found} bytes beside its one zstd frame")]
    NotOneFrame {
        /// Bytes outside the first frame.
        found: u64,
    },
}

/// Decompresses a payload that must come out at exactly `declared` bytes.
pub(super) fn decompress(
    scheme: Compression,
    stream: &[u8],
    declared: u64,
) -> Result<Vec<u8>, CompressionError> {
    let compressed = stream.len() as u64;
    let limit = PAYLOAD_LIMIT_BYTES.min(compressed.saturating_mul(EXPANSION_LIMIT));
    let size = usize::try_from(declared)
        .ok()
        .filter(|_| declared <= limit)
        .ok_or(CompressionError::TooLarge { declared, compressed, limit })?;
    let output = match scheme {
        Compression::None => stream.to_vec(),
        Compression::Lz4 => lz4(stream, size)?,
        Compression::Zstd => zstd(stream, size)?,
    };
    if output.len() as u64 == declared {
        Ok(output)
    } else {
        Err(CompressionError::WrongSize { declared, found: output.len() as u64 })
    }
}

fn lz4(stream: &[u8], size: usize) -> Result<Vec<u8>, CompressionError> {
    lz4_flex::block::decompress(stream, size)
        .map_err(|error| CompressionError::Damaged { scheme: "lz4", reason: error.to_string() })
}

fn zstd(stream: &[u8], size: usize) -> Result<Vec<u8>, CompressionError> {
    let damaged = |reason: &str| CompressionError::Damaged { scheme: "zstd", reason: reason.to_owned() };
    if !stream.starts_with(&ZSTD_FRAME_MAGIC) {
        return Err(damaged("no frame magic"));
    }
    let frame = ::zstd::zstd_safe::find_frame_compressed_size(stream)
        .map_err(|code| damaged(::zstd::zstd_safe::get_error_name(code)))?;
    if frame != stream.len() {
        return Err(CompressionError::NotOneFrame { found: stream.len().saturating_sub(frame) as u64 });
    }
    ::zstd::bulk::decompress(stream, size).map_err(|error| damaged(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_back_exactly_what_was_declared() {
        let text = b"ptx ptx ptx ptx ptx ptx ptx ptx".repeat(20);
        let size = text.len() as u64;
        for (scheme, stream) in [
            (Compression::Zstd, ::zstd::bulk::compress(&text, 3).unwrap()),
            (Compression::Lz4, lz4_flex::block::compress(&text)),
        ] {
            assert_eq!(decompress(scheme, &stream, size).unwrap(), text);
            assert!(decompress(scheme, &stream, size - 1).is_err(), "one byte too many");
            assert!(decompress(scheme, &stream, size + 1).is_err(), "one byte too few");
            assert!(decompress(scheme, &stream[..stream.len() - 1], size).is_err(), "truncated");
        }
    }

    #[test]
    fn refuses_anything_beside_one_zstd_frame() {
        let frame = ::zstd::bulk::compress(b"honest", 3).unwrap();
        let skippable = [&[0x50, 0x2A, 0x4D, 0x18, 4, 0, 0, 0][..], b"evil"].concat();
        for stream in [[&frame[..], &skippable].concat(), [&skippable[..], &frame].concat()] {
            assert!(decompress(Compression::Zstd, &stream, 6).is_err());
        }
    }

    #[test]
    fn refuses_a_bomb_before_it_allocates() {
        let error = decompress(Compression::Zstd, &[0; 8], 1 << 40).unwrap_err();
        assert!(matches!(error, CompressionError::TooLarge { .. }));
    }
}
