//! Packed streams at any offset, unpacked as far as they go: what is cut off or damaged further on still
//! shows what it begins with.

use std::io::Read;
use std::ops::Range;
use std::sync::LazyLock;

use flate2::bufread::{GzDecoder, ZlibDecoder};
use flate2::{Decompress, FlushDecompress, Status};

use crate::signature;

/// A packer whose streams are known by their first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Gzip,
    Zlib,
    Zstandard,
    Xz,
    Bzip2,
    Lzma,
}

/// What came out of a stream.
pub(super) struct Unpacked {
    /// The bytes, as far as it went.
    pub(super) bytes: Vec<u8>,
    /// Whether it ended as such a stream ends.
    pub(super) is_whole: bool,
}

impl Unpacked {
    const NOTHING: Self = Self { bytes: Vec::new(), is_whole: false };
}

impl Stream {
    /// The stream that may start here.
    pub(super) fn starting(bytes: &[u8]) -> Option<Self> {
        let stream = match *bytes {
            [0x1F, 0x8B, 8, flags, ..] if flags & 0xE0 == 0 => Self::Gzip,
            [0x28, 0xB5, 0x2F, 0xFD, ..] => Self::Zstandard,
            [0xFD, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59, ..] => Self::Bzip2,
            [0x5D, 0, 0, ..] if signature::packed(bytes) == Some("LZMA") => Self::Lzma,
            [properties, 0, 0, ..] if properties < LZMA_PROPERTIES && is_open_lzma(bytes) => Self::Lzma,
            [first, second, ..] if is_zlib(first, second) && deflate_may_start(&bytes[2..]) => Self::Zlib,
            _ => return None,
        };
        Some(stream)
    }

    /// What to call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zlib => "zlib",
            Self::Zstandard => "Zstandard",
            Self::Xz => "xz",
            Self::Bzip2 => "bzip2",
            Self::Lzma => "LZMA",
        }
    }

    /// Unpacks it to at most so many bytes.
    pub(super) fn unpack(self, bytes: &[u8], most: usize) -> Unpacked {
        match self {
            Self::Gzip => members(bytes, most),
            Self::Zlib => collect(ZlibDecoder::new(bytes), most),
            Self::Zstandard => {
                zstd::stream::read::Decoder::with_buffer(bytes).map_or(Unpacked::NOTHING, |mut decoder| {
                    match decoder.window_log_max(LONGEST_WINDOW_LOG) {
                        Ok(()) => collect(decoder.single_frame(), most),
                        Err(_) => Unpacked::NOTHING,
                    }
                })
            }
            Self::Xz => collect(lzma_rust2::XzReader::new(bytes, false), most),
            Self::Bzip2 => collect(bzip2::bufread::BzDecoder::new(bytes), most),
            Self::Lzma => lzma_rust2::LzmaReader::new_mem_limit(bytes, LZMA_KIB, None)
                .map_or(Unpacked::NOTHING, |decoder| collect(decoder, most)),
        }
    }
}

/// The members of a gzip stream one behind the other, as long as all of them together are short: each could hold a few
/// bytes of a whole.
fn members(bytes: &[u8], most: usize) -> Unpacked {
    let mut rest = bytes;
    let mut unpacked = Unpacked { bytes: Vec::new(), is_whole: true };
    loop {
        let mut decoder = GzDecoder::new(rest);
        let left = most.saturating_sub(unpacked.bytes.len());
        let result = decoder.by_ref().take(left as u64).read_to_end(&mut unpacked.bytes);
        rest = decoder.into_inner();
        let goes_on = result.is_ok()
            && unpacked.bytes.len() < MEMBERS_BYTES.min(most)
            && Stream::starting(rest) == Some(Stream::Gzip);
        if !goes_on {
            unpacked.is_whole = result.is_ok();
            return unpacked;
        }
    }
}

/// Bytes up to which members of one stream are put together: more than the head of a cubin or a text of PTX.
const MEMBERS_BYTES: usize = 16 << 10;
/// The longest window of Zstandard, as a power of two: what `--long` and `--ultra` make. Only what is used of it takes
/// memory.
const LONGEST_WINDOW_LOG: u32 = 31;
/// First bytes of `.lzma`, its properties, are less than this.
const LZMA_PROPERTIES: u8 = 225;

/// Whether the head of a `.lzma` without a size stands here, whatever its properties: a window of a power of two or half
/// as much again, no size, and the zero with which its code begins.
fn is_open_lzma(bytes: &[u8]) -> bool {
    let Some(&[_, a, b, c, d, ref size @ .., code]) = bytes.first_chunk::<14>() else { return false };
    let window = u32::from_le_bytes([a, b, c, d]);
    (1..=2).contains(&window.count_ones()) && *size == [0xFF; 8] && code == 0
}

/// Reads to the end, to the first damage, or to `most` bytes.
fn collect(decoder: impl Read, most: usize) -> Unpacked {
    let mut bytes = Vec::new();
    let result = decoder.take(most as u64).read_to_end(&mut bytes);
    Unpacked { is_whole: result.is_ok(), bytes }
}

/// Most memory of an LZMA decoder, in KiB.
const LZMA_KIB: u32 = 64 << 10;

/// First two bytes, the second in the upper half, with which a stream or intermediate code may start.
static STARTS: LazyLock<Vec<bool>> = LazyLock::new(|| {
    let mut starts = vec![false; 1 << 16];
    let mut allow = |first: u8, second: u8| starts[usize::from(u16::from_le_bytes([first, second]))] = true;
    for [first, second] in [[0x1F, 0x8B], [0x28, 0xB5], [0xFD, b'7'], [b'B', b'Z'], [0x5D, 0]] {
        allow(first, second);
    }
    for start in signature::intermediate_starts() {
        allow(start[0], start[1]);
    }
    for (first, second) in (0..=u8::MAX).flat_map(|first| (0..=u8::MAX).map(move |second| (first, second))) {
        if is_zlib(first, second) {
            allow(first, second);
        }
    }
    starts
});

/// The offsets in `range` at which a `.lzma` without a size may start, by the size that it does not have.
pub(super) fn open_lzma(data: &[u8], range: Range<usize>) -> Vec<usize> {
    const BEFORE: usize = 5;
    let reach = data.len().min(range.end.saturating_add(BEFORE + 9));
    let sizes = memchr::memmem::find_iter(&data[range.start..reach], &[0xFF; 8]);
    let starts = sizes.filter_map(|at| (range.start + at).checked_sub(BEFORE));
    starts.filter(|at| range.contains(at) && Stream::starting(&data[*at..]) == Some(Stream::Lzma)).collect()
}

/// The offsets in `range` at which one may start. Counted by hand, as in [`prefilter`](crate::prefilter).
pub(super) fn starts(data: &[u8], range: Range<usize>) -> impl Iterator<Item = usize> {
    let table: &[bool] = &STARTS;
    let end = data.len().min(range.end.saturating_add(1));
    let mut at = range.start;
    std::iter::from_fn(move || {
        while at + 1 < end {
            let pair = u16::from_le_bytes([data[at], data[at + 1]]);
            at += 1;
            if table[usize::from(pair)] {
                return Some(at - 1);
            }
        }
        None
    })
}

/// The two bytes that zlib starts with: deflate, a window, and a check, without a dictionary.
fn is_zlib(first: u8, second: u8) -> bool {
    first & 0xF == 8
        && first >> 4 <= 7
        && second & 0x20 == 0
        && u16::from_be_bytes([first, second]).is_multiple_of(31)
}

/// Whether the first block of a deflate stream may start here.
fn deflate_may_start(bytes: &[u8]) -> bool {
    let Some(&[first, second, third, fourth, fifth, ..]) = bytes.first_chunk::<16>() else {
        return bytes.first().is_some_and(|first| first & 0x6 != 0x6);
    };
    match first >> 1 & 3 {
        0 => [second ^ fourth, third ^ fifth] == [0xFF, 0xFF],
        1 => true,
        2 => has_code_lengths(bytes),
        _ => false,
    }
}

/// What four lengths of three bits take of a code that is whole at 128; a length of 0 takes nothing.
const TAKEN: [u16; 1 << 12] = {
    let mut table = [0; 1 << 12];
    let mut lengths = 0;
    while lengths < table.len() {
        let mut index = 0;
        while index < 4 {
            let length = lengths >> (3 * index) & 7;
            table[lengths] += if length == 0 { 0 } else { 128 >> length };
            index += 1;
        }
        lengths += 1;
    }
    table
};

/// Whether a block with its own codes begins with lengths that make a complete code, as every packer's do.
fn has_code_lengths(bytes: &[u8]) -> bool {
    let Some(&[first, second, third, ref rest @ ..]) = bytes.first_chunk::<11>() else { return false };
    let head = u32::from_le_bytes([first, second, third, 0]);
    let (literals, distances, count) = (head >> 3 & 31, head >> 8 & 31, (head >> 13 & 15) + 4);
    if literals > 29 || distances > 29 {
        return false;
    }
    let lengths = (u64::from_le_bytes(*rest) << 7 | u64::from(third) >> 1) & ((1 << (3 * count)) - 1);
    let four = |index: u32| usize::from(TAKEN[(lengths >> (12 * index) & 0xFFF) as usize]);
    (0..5).map(four).sum::<usize>() == 128
}

/// Deflate without any header, which only its first block tells.
pub(super) struct BareDeflate {
    decoder: Decompress,
}

impl BareDeflate {
    pub(super) fn new() -> Self {
        Self { decoder: Decompress::new(false) }
    }

    /// Whether such a stream, with codes of its own, may start here.
    pub(super) fn may_start(bytes: &[u8]) -> bool {
        bytes.first().is_some_and(|first| first >> 1 & 3 == 2) && has_code_lengths(bytes)
    }

    /// Unpacks it to at most so many bytes.
    pub(super) fn unpack(&mut self, bytes: &[u8], most: usize) -> Unpacked {
        self.decoder.reset(false);
        let mut out = Vec::with_capacity(FIRST_BYTES);
        loop {
            let taken = usize::try_from(self.decoder.total_in()).unwrap_or(usize::MAX);
            let rest = bytes.get(taken..).unwrap_or_default();
            let before = (self.decoder.total_in(), out.len());
            let status = self.decoder.decompress_vec(rest, &mut out, FlushDecompress::None);
            match status {
                Ok(Status::StreamEnd) => return Unpacked { bytes: out, is_whole: true },
                Ok(_) if out.len() >= most => return Unpacked { bytes: out, is_whole: true },
                Ok(_) if (self.decoder.total_in(), out.len()) != before || out.len() == out.capacity() => {
                    out.reserve(out.capacity());
                }
                _ => return Unpacked { bytes: out, is_whole: false },
            }
        }
    }
}

/// What an attempt may first write, in bytes: most of them end within it.
const FIRST_BYTES: usize = 4 << 10;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;

    fn content() -> Vec<u8> {
        (0..4000_u32).flat_map(|number| (number.wrapping_mul(2_654_435_761) >> 20).to_le_bytes()).collect()
    }

    #[test]
    fn every_packer_is_known_and_unpacked_with_more_behind_it() {
        let content = content();
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(&content).unwrap();
        let mut streams = vec![(Stream::Gzip, gzip.finish().unwrap())];
        for level in 0..=9 {
            let mut zlib = ZlibEncoder::new(Vec::new(), Compression::new(level));
            zlib.write_all(&content).unwrap();
            streams.push((Stream::Zlib, zlib.finish().unwrap()));
        }
        streams.push((Stream::Zstandard, zstd::encode_all(&content[..], 3).unwrap()));
        let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best());
        bzip2.write_all(&content).unwrap();
        streams.push((Stream::Bzip2, bzip2.finish().unwrap()));
        for (stream, packed) in streams {
            let data = [&[7; 3][..], &packed, &[0xA5; 100]].concat();
            assert!(starts(&data, 0..data.len()).any(|at| at == 3), "{stream:?}");
            assert_eq!(Stream::starting(&data[3..]), Some(stream));
            assert!(stream.unpack(&data[3..], 1 << 20).bytes == content, "{stream:?}");
        }
    }

    #[test]
    fn members_of_a_few_bytes_are_put_together() {
        let content = content();
        let packed: Vec<u8> = content[..3000]
            .chunks(3)
            .flat_map(|piece| {
                let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
                gzip.write_all(piece).unwrap();
                gzip.finish().unwrap()
            })
            .collect();
        for behind in [&b""[..], b"\0\0\0", &[0x1F, 0x8B, 8, 0, 7]] {
            let unpacked = Stream::Gzip.unpack(&[&packed[..], behind].concat(), 1 << 20);
            assert!(unpacked.bytes.starts_with(&content[..3000]), "{behind:?}");
        }
    }

    #[test]
    fn lzma_without_a_size_is_known_whatever_its_properties() {
        let head = |properties: u8| [&[properties, 0, 0, 0x80, 0][..], &[0xFF; 8], &[0; 20]].concat();
        for properties in [0x00, 0x5D, 0x5A, 0x63, 0xE0] {
            let data = [&[7; 9][..], &head(properties)].concat();
            assert_eq!(open_lzma(&data, 0..data.len()), [9], "{properties}");
        }
        let data = head(0xE1);
        assert!(open_lzma(&data, 0..data.len()).is_empty());
        assert!(open_lzma(&[0xFF; 4096], 0..4096).is_empty());
    }

    #[test]
    fn a_window_of_any_length_is_read() {
        let mut zstandard = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
        zstandard.long_distance_matching(true).unwrap();
        zstandard.window_log(28).unwrap();
        zstandard.write_all(&content()).unwrap();
        let packed = zstandard.finish().unwrap();
        assert_eq!(Stream::Zstandard.unpack(&packed, 1 << 20).bytes, content());
    }

    #[test]
    fn a_stream_that_is_cut_off_shows_what_it_begins_with() {
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
        zlib.write_all(&content()).unwrap();
        let packed = zlib.finish().unwrap();
        let unpacked = Stream::Zlib.unpack(&packed[..packed.len() / 2], 1 << 20);
        assert!(!unpacked.is_whole && unpacked.bytes.len() > 1000);
        assert!(content().starts_with(&unpacked.bytes));
    }

    #[test]
    fn bare_deflate_is_known_by_its_first_block() {
        let mut deflate = DeflateEncoder::new(Vec::new(), Compression::best());
        deflate.write_all(&content()).unwrap();
        let packed = [deflate.finish().unwrap(), vec![0xA5; 100]].concat();
        let mut decoder = BareDeflate::new();
        assert!(BareDeflate::may_start(&packed));
        for _ in 0..2 {
            let unpacked = decoder.unpack(&packed, 1 << 20);
            assert!(unpacked.is_whole && unpacked.bytes == content());
        }
        assert!(!decoder.unpack(&packed[..packed.len() / 2], 1 << 20).is_whole);
        assert!(!BareDeflate::may_start(b"plain text of some length, without any code"));
    }
}
