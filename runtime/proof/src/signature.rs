//! Formats that are known by their first bytes.

use object::elf;

use super::bytes::{slice, u16_at, u32_at, u64_at};
use super::cubin_reader::EM_CUDA;
use super::examination::FileFormat;
use super::fatbin;
use super::ptx;
use super::tar_file;

/// First bytes of what something compiles later: LLVM bitcode, bare and wrapped; NVVM's own container
/// (`-ltoir`, `lto_` objects of nvcc); Tile IR.
const INTERMEDIATE: [(&[u8], &str); 4] = [
    (b"BC\xC0\xDE", BITCODE),
    (b"\xDE\xC0\x17\x0B", BITCODE),
    (b"\xED\x43\x4E\x7F", "NVVM code for link-time optimisation"),
    (b"\x7FTileIR\0", "Tile IR"),
];
/// First bytes of compressed streams.
const COMPRESSED: [(&[u8], &str); 17] = [
    (b"\x1F\x8B\x08", "gzip"),
    (b"\x28\xB5\x2F\xFD", "Zstandard"),
    (b"\xFD7zXZ\0", "xz"),
    (b"BZh", "bzip2"),
    (b"\x04\x22\x4D\x18", "LZ4"),
    (b"7z\xBC\xAF\x27\x1C", "7-Zip"),
    (b"\x02\x21\x4C\x18", "LZ4"),
    (b"LZIP\x01", "lzip"),
    (b"LRZI\0", "lrzip"),
    (b"\x89LZO\0\r\n\x1A\n", "lzop"),
    (b"\xFF\x06\0\0sNaPpY", "Snappy"),
    (b"Rar!\x1A\x07", "RAR"),
    (b"MSCF\0\0\0\0", "cabinet"),
    (b"hsqs", "SquashFS"),
    (b"\xED\xAB\xEE\xDB", "RPM"),
    (b"xar!\0\x1C", "xar"),
    (b"070701", "cpio"),
];

/// What LLVM bitcode is called.
pub(super) const BITCODE: &str = "LLVM bitcode";

/// First bytes of all kinds of intermediate code.
pub(super) fn intermediate_starts() -> impl Iterator<Item = &'static [u8]> {
    INTERMEDIATE.iter().map(|&(magic, _)| magic)
}

/// The same where the bytes before and behind are other data, so that four bytes alone say little.
pub(super) fn intermediate_in_data(bytes: &[u8]) -> Option<&'static str> {
    let name = intermediate(bytes)?;
    let is_meant = match bytes {
        // A block begins: two bits 01, eight bits of its number (identification, module, symbols, names).
        [b'B', b'C', 0xC0, 0xDE, block, number, ..] => {
            block & 3 == 1 && matches!(u16::from_le_bytes([*block, *number]) >> 2 & 0xFF, 8 | 13 | 23 | 25)
        }
        // A wrapper: version 0, then where the bitcode begins.
        [0xDE, 0xC0, ..] => {
            let at = u32_at(bytes, 8).map(u64::from);
            u32_at(bytes, 4) == Some(0) && at.and_then(|at| slice(bytes, at, 4)) == Some(b"BC\xC0\xDE")
        }
        // Its version, which a text to compare with does not have.
        [0x7F, b'T', b'i', b'l', b'e', b'I', b'R', 0, major, minor, tag @ ..] => {
            (1..0x40).contains(major) && *minor < 0x20 && tag.starts_with(&[0, 0])
        }
        // The container's own version, then those of what it holds (seen: 1.65, 2.98, 3.2).
        [0xED, b'C', b'N', 0x7F, container, _, code, _, debug, ..] => {
            (1..8).contains(container) && *code < 16 && *debug < 16
        }
        _ => true,
    };
    is_meant.then_some(name)
}

/// What kind of intermediate code starts here.
pub(super) fn intermediate(bytes: &[u8]) -> Option<&'static str> {
    INTERMEDIATE.iter().find(|(magic, _)| bytes.starts_with(magic)).map(|&(_, name)| name)
}

/// What kind of compressed stream, or of archive, starts here.
pub(super) fn packed(bytes: &[u8]) -> Option<&'static str> {
    // Short magics of letters and digits may start a text as well.
    let is_meant = |name| match name {
        "bzip2" => bytes.get(3).is_some_and(u8::is_ascii_digit),
        "cpio" => bytes.get(6..110).is_some_and(|fields| fields.iter().all(u8::is_ascii_hexdigit)),
        _ => true,
    };
    let stream = COMPRESSED.iter().find(|(magic, name)| bytes.starts_with(magic) && is_meant(*name));
    stream.map(|&(_, name)| name).or_else(|| fielded(bytes)).or_else(|| is_tar(bytes).then_some("tar"))
}

/// Streams whose first bytes are fields: Zstandard behind a frame to be skipped, `.lzma`, and `.Z`.
fn fielded(bytes: &[u8]) -> Option<&'static str> {
    match *bytes {
        [0x50..=0x5F, 0x2A, 0x4D, 0x18, ..] => Some("Zstandard"),
        // Properties of nearly every encoder, a power of two for its window, and a size or none.
        [0x5D, 0, 0, ..] => {
            let window = u32_at(bytes, 1).filter(|window| (1..=2).contains(&window.count_ones()));
            let size = u64_at(bytes, 5).filter(|&size| size == u64::MAX || size >> 40 == 0);
            window.and(size).map(|_| "LZMA")
        }
        [0x1F, 0x9D, bits, ..] if bits & 0x60 == 0 && (9..=16).contains(&(bits & 0x1F)) => Some("compress"),
        _ => None,
    }
}

/// Whether a tar starts here: the magic of its first header, or before there was one, the header's sum.
pub(super) fn is_tar(bytes: &[u8]) -> bool {
    bytes.get(257..262) == Some(b"ustar") || tar_file::is_old(bytes)
}

/// Whether a zip starts here: its first member, or the end of an empty one.
pub(super) fn is_zip(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06")
}

/// The format of some bytes.
pub(super) fn format_of(bytes: &[u8]) -> FileFormat {
    if bytes.starts_with(b"\x7FELF") {
        let kind = elf::FileType(u16_at(bytes, 16).unwrap_or_default());
        return match (u16_at(bytes, 18), kind) {
            (Some(EM_CUDA), _) => FileFormat::Cubin,
            (_, elf::ET_REL) => FileFormat::Object,
            (_, elf::ET_DYN) => FileFormat::Library,
            _ => FileFormat::Executable,
        };
    }
    if fatbin::starts_at(bytes, 0) {
        FileFormat::Fatbin
    } else if bytes.starts_with(b"!<arch>\n") || bytes.starts_with(b"!<thin>\n") {
        FileFormat::Archive
    } else if is_zip(bytes) {
        FileFormat::Zip
    } else if is_windows(bytes) {
        FileFormat::Windows
    } else if intermediate(bytes).is_some() {
        FileFormat::Intermediate
    } else if packed(bytes).is_some() {
        FileFormat::Packed
    } else if ptx::is_ptx(bytes) {
        FileFormat::Ptx
    } else {
        FileFormat::Other
    }
}

/// A Windows executable, by the header that its first header points to.
fn is_windows(bytes: &[u8]) -> bool {
    let header = u32_at(bytes, 0x3C).and_then(|at| slice(bytes, at.into(), 4));
    bytes.starts_with(b"MZ") && header == Some(b"PE\0\0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intermediate_code_and_streams_are_known_by_their_first_bytes() {
        assert_eq!(format_of(b"BC\xC0\xDE\x35\x14"), FileFormat::Intermediate);
        assert_eq!(format_of(b"\x7FTileIR\0\x0D\x01"), FileFormat::Intermediate);
        assert_eq!(packed(b"\x1F\x8B\x08\0"), Some("gzip"));
        assert_eq!(packed(b"BZhat"), None);
        assert_eq!(packed(b"070701 is a day"), None);
        assert_eq!(packed(b"\x1F\x9D\x90"), Some("compress"));
        assert_eq!(packed(b"\x5D\0\0\x80\0\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"), Some("LZMA"));
        assert_eq!(packed(b"\x5D\0\0\x80\0\0\0\0\0\0\0\0\xFF"), None);
        assert_eq!(packed(b"\x5A\x2A\x4D\x18\x04\0\0\0"), Some("Zstandard"));
        assert_eq!(format_of(b"text"), FileFormat::Other);
    }
}
