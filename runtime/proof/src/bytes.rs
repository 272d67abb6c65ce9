//! Reads little-endian numbers from bytes that may end anywhere.
//!
//! Every offset here comes from the file itself, so every access is checked and every sum of
//! offsets saturates or refuses instead of wrapping.

use proofmark_packager::escape;

/// Longest text that is taken over, in bytes.
const TEXT_LIMIT_BYTES: usize = 64 << 10;

/// The bytes `[offset, offset + length)`, if they all exist.
pub(super) fn slice(bytes: &[u8], offset: u64, length: u64) -> Option<&[u8]> {
    let start = usize::try_from(offset).ok()?;
    let end = start.checked_add(usize::try_from(length).ok()?)?;
    bytes.get(start..end)
}

/// The byte at an offset.
pub(super) fn u8_at(bytes: &[u8], offset: usize) -> Option<u8> {
    bytes.get(offset).copied()
}

/// The 16-bit number at an offset.
pub(super) fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    array_at(bytes, offset).map(u16::from_le_bytes)
}

/// The 32-bit number at an offset.
pub(super) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    array_at(bytes, offset).map(u32::from_le_bytes)
}

/// The 64-bit number at an offset.
pub(super) fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    array_at(bytes, offset).map(u64::from_le_bytes)
}

fn array_at<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..offset.checked_add(N)?)?.try_into().ok()
}

/// A text of strangers, replaced where it is not UTF-8 and escaped where a terminal would obey it: names
/// of files, members, sections, symbols and tools reach tables and messages from here.
/// Beyond a limit longer than any symbol the rest is left out, because names may lie over each other.
pub(super) fn text_of(bytes: &[u8]) -> String {
    match bytes.get(..TEXT_LIMIT_BYTES) {
        Some(start) => escape::line(&String::from_utf8_lossy(start)) + "…",
        None => escape::line(&String::from_utf8_lossy(bytes)),
    }
}

/// The text from an offset up to its terminating zero, which must exist.
pub(super) fn text_at(bytes: &[u8], offset: usize) -> Option<String> {
    let rest = bytes.get(offset..)?;
    let end = rest.iter().position(|&byte| byte == 0)?;
    Some(text_of(&rest[..end]))
}

/// The offset of the first byte that is not zero.
pub(super) fn first_nonzero(bytes: &[u8]) -> Option<usize> {
    Some(run_of(0, bytes)).filter(|&run| run < bytes.len())
}

/// How many bytes of one kind there are before the first other one: what rounds up a library may take megabytes.
pub(super) fn run_of(byte: u8, bytes: &[u8]) -> usize {
    const BLOCK: usize = 64;
    let (blocks, _) = bytes.as_chunks::<BLOCK>();
    let whole = blocks.iter().take_while(|&block| *block == [byte; BLOCK]).count() * BLOCK;
    whole + bytes[whole..].iter().take_while(|&&other| other == byte).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_little_endian_and_refuses_the_end() {
        let bytes = [1, 2, 3, 4, 5, 6, 7, 8, 9];
        assert_eq!(u16_at(&bytes, 0), Some(0x0201));
        assert_eq!(u32_at(&bytes, 5), Some(0x0908_0706));
        assert_eq!(u32_at(&bytes, 6), None);
        assert_eq!(u64_at(&bytes, 1), Some(0x0908_0706_0504_0302));
        assert_eq!(u64_at(&bytes, usize::MAX), None);
        assert_eq!(slice(&bytes, u64::MAX, 2), None);
        assert_eq!(slice(&bytes, 8, 1), Some(&[9][..]));
    }

    #[test]
    fn a_run_ends_at_the_first_other_byte_wherever_it_is() {
        for length in 0..200 {
            let mut bytes = vec![0; length];
            assert_eq!((run_of(0, &bytes), first_nonzero(&bytes)), (length, None));
            for at in 0..length {
                bytes[at] = 7;
                assert_eq!((run_of(0, &bytes), first_nonzero(&bytes)), (at, Some(at)));
                bytes[at] = 0;
            }
        }
    }

    #[test]
    fn a_text_that_would_move_the_cursor_is_escaped() {
        assert_eq!(text_of(b"k\x1b[2K\nEXACT"), "k\\u{1b}[2K\\nEXACT");
        assert_eq!(text_of(b"k\xff"), "k\u{fffd}");
    }

    #[test]
    fn a_text_without_its_end_is_no_text() {
        assert_eq!(text_at(b"ab\0c", 0).as_deref(), Some("ab"));
        assert_eq!(text_at(b"ab\0c", 3), None);
        assert_eq!(text_at(b"ab", 9), None);
    }
}
