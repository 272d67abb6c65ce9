//! Every byte of an `ar` archive: its magic, members with their headers, one line feed of padding.

use super::bytes::slice;
use super::problem::Problem;

/// The magic.
const MAGIC_BYTES: u64 = 8;
/// Size of a member's header, in bytes.
const HEADER_BYTES: u64 = 60;

/// Bytes that are neither member nor header nor padding.
pub(super) fn unexplained(bytes: &[u8]) -> Vec<Problem> {
    unexplained_where(bytes, |_| true)
}

/// The same of an archive that holds nothing of its members but their headers, and its own tables of names.
pub(super) fn unexplained_in_thin(bytes: &[u8]) -> Vec<Problem> {
    unexplained_where(bytes, |header| {
        [&b"/ "[..], b"// ", b"/SYM64/ "].iter().any(|name| header.starts_with(name))
    })
}

/// The same, where the content of some members is elsewhere, by their headers.
fn unexplained_where(bytes: &[u8], holds_content: impl Fn(&[u8]) -> bool) -> Vec<Problem> {
    let end = bytes.len() as u64;
    let mut found = Vec::new();
    let mut at = MAGIC_BYTES;
    while at < end {
        let size = slice(bytes, at, HEADER_BYTES)
            .and_then(|header| size_in(header).map(|size| if holds_content(header) { size } else { 0 }));
        let Some(next) =
            size.and_then(|size| at.checked_add(HEADER_BYTES + size)).filter(|&next| next <= end)
        else {
            found.push(Problem::over(at, end - at, "bytes in an archive that are no member"));
            break;
        };
        if next % 2 == 1 && slice(bytes, next, 1).is_some_and(|padding| padding != b"\n") {
            found.push(Problem::over(next, 1, "a byte between members that is no padding"));
        }
        at = next + next % 2;
    }
    found
}

/// The size of the content behind a header; `None` when its fields are not as `ar` writes them.
fn size_in(header: &[u8]) -> Option<u64> {
    let plain = header[..58].iter().all(|&byte| byte == b' ' || byte.is_ascii_graphic());
    let size = str::from_utf8(header.get(48..58)?).ok()?.trim_end().parse().ok()?;
    (plain && header.get(58..60)? == b"`\n").then_some(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_stands_between_or_behind_members_is_named() {
        let member = |content: &str| {
            format!("{:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n{content}", "k.o/", 0, 0, 0, 644, content.len())
        };
        let honest = format!("!<arch>\n{}\n{}", member("odd"), member("even"));
        assert!(unexplained(honest.as_bytes()).is_empty());
        let padded = honest.replace("odd\n", "oddX");
        assert_eq!(unexplained(padded.as_bytes()).len(), 1);
        let longer = format!("{honest}behind");
        assert_eq!(unexplained(longer.as_bytes())[0].size_bytes, Some(6));
    }
}
