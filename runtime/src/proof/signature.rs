//! Formats that are known by their first bytes.

use object::elf;

use super::bytes::{slice, u16_at, u32_at};
use super::cubin_reader::EM_CUDA;
use super::examination::FileFormat;
use super::fatbin;
use super::ptx;

/// First bytes of what something compiles later: LLVM bitcode, bare and wrapped; NVVM's own container
/// (`-ltoir`, `lto_` objects of nvcc); Tile IR.
const INTERMEDIATE: [(&[u8], &str); 4] = [
    (b"BC\xC0\xDE", "LLVM bitcode"),
    (b"\xDE\xC0\x17\x0B", "LLVM bitcode"),
    (b"\xED\x43\x4E\x7F", "NVVM code for link-time optimisation"),
    (b"\x7FTileIR\0", "Tile IR"),
];
/// First bytes of compressed streams.
const COMPRESSED: [(&[u8], &str); 6] = [
    (b"\x1F\x8B\x08", "gzip"),
    (b"\x28\xB5\x2F\xFD", "Zstandard"),
    (b"\xFD7zXZ\0", "xz"),
    (b"BZh", "bzip2"),
    (b"\x04\x22\x4D\x18", "LZ4"),
    (b"7z\xBC\xAF\x27\x1C", "7-Zip"),
];

/// What kind of intermediate code starts here.
pub(super) fn intermediate(bytes: &[u8]) -> Option<&'static str> {
    INTERMEDIATE.iter().find(|(magic, _)| bytes.starts_with(magic)).map(|&(_, name)| name)
}

/// What kind of compressed stream, or of archive, starts here.
pub(super) fn packed(bytes: &[u8]) -> Option<&'static str> {
    let is_bzip2 = |name| name != "bzip2" || bytes.get(3).is_some_and(u8::is_ascii_digit);
    let stream = COMPRESSED.iter().find(|(magic, name)| bytes.starts_with(magic) && is_bzip2(*name));
    stream.map(|&(_, name)| name).or_else(|| is_tar(bytes).then_some("tar"))
}

/// Whether a tar starts here: the magic of its first header.
pub(super) fn is_tar(bytes: &[u8]) -> bool {
    bytes.get(257..262) == Some(b"ustar")
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
        assert_eq!(format_of(b"text"), FileFormat::Other);
    }
}
