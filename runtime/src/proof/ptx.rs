//! What a PTX text says about itself: `.version` and `.target`.
//!
//! PTX is a promise that the driver may compile later, not machine code; its target proves the
//! PTX entry alone. Between two words may stand any number of blanks, line ends and comments, and lines
//! for the preprocessor; the driver reads them all (seen on an H200: a tab, two blanks, a line feed and a
//! comment before `sm_90`).

use memchr::memmem;
use proofmark_packager::Arch;
use serde::Serialize;

/// The directive that names the target.
pub(super) const TARGET: &[u8] = b".target";
/// Most targets of one text that are kept: one text has one.
const TARGET_LIMIT: usize = 16;

/// The head of a PTX text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ptx {
    /// The ISA version, such as `9.0`.
    pub version: Option<String>,
    /// The target as written, such as `sm_100a`; `None` where it names none that we know, or several.
    pub target: Option<Arch>,
    /// Every target as written, where there is not exactly one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub several_targets: Vec<String>,
    /// The entry functions' names.
    pub kernels: Vec<String>,
}

/// Reads a text: `.version`, then `.target`, with nothing but blanks and comments before and between
/// (PTX ISA, "Module Directives"). Line ends mean nothing: CUPTI holds PTX on one line.
pub(super) fn read(text: &[u8]) -> Ptx {
    let head = behind_blanks(text);
    let version = head.strip_prefix(b".version").map(behind_blanks).map(number);
    let mut targets = targets(text);
    let several_targets = match targets.len() {
        0 | 1 => Vec::new(),
        _ if targets.iter().all(|target| *target == targets[0]) => Vec::new(),
        _ => std::mem::take(&mut targets),
    };
    let target = targets.first().and_then(|target| target.parse().ok());
    Ptx {
        version: version.filter(|version| !version.is_empty()),
        target,
        several_targets,
        kernels: kernels(text),
    }
}

/// Whether a text is PTX: its first word, behind blanks and comments, is `.version` with a number.
pub(super) fn is_ptx(text: &[u8]) -> bool {
    let number = behind_blanks(text).strip_prefix(b".version").map(behind_blanks);
    number.is_some_and(|rest| rest.first().is_some_and(u8::is_ascii_digit))
}

/// What follows `.target` at the start of `text` when it is a target's name: `None` when it is not, or
/// when the text ends before that can be told and `at_end` is what then counts.
pub(super) fn names_target(text: &[u8], at_end: bool) -> bool {
    let Some(rest) = text.strip_prefix(TARGET) else { return false };
    if rest.first().is_some_and(|&byte| is_word(byte)) {
        return false;
    }
    let name = behind_blanks(rest);
    if name.is_empty() {
        return at_end && !rest.is_empty();
    }
    name.strip_prefix(b"sm_").is_some_and(|rest| rest.first().is_some_and(u8::is_ascii_digit))
}

/// The names behind each `.target` that is not in a comment.
fn targets(text: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    let mut code_from = 0;
    for at in memmem::find_iter(text, TARGET) {
        if is_commented(text, &mut code_from, at)
            || text.get(at + TARGET.len()).is_some_and(|&byte| is_word(byte))
        {
            continue;
        }
        let name = behind_blanks(&text[at + TARGET.len()..]);
        let end = name.iter().position(|&byte| !is_word(byte)).unwrap_or(name.len());
        found.push(String::from_utf8_lossy(&name[..end]).into_owned());
        if found.len() >= TARGET_LIMIT {
            break;
        }
    }
    found
}

/// Whether an offset lies in a comment; everything up to `from` is known to be none, and moves on.
fn is_commented(text: &[u8], from: &mut usize, at: usize) -> bool {
    while let Some(slash) = text.get(*from..at).and_then(|between| memchr::memchr(b'/', between)) {
        let start = *from + slash;
        let rest = &text[start..];
        let length = match rest.get(1) {
            Some(b'/') => memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1),
            Some(b'*') => memmem::find(&rest[2..], b"*/").map_or(rest.len(), |end| end + 4),
            _ => 1,
        };
        if start + length > at {
            return true;
        }
        *from = start + length;
    }
    *from = (*from).max(at);
    false
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// A number such as `9.0`, which a directive may follow at once.
fn number(text: &[u8]) -> String {
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let major = digits(text);
    let minor = text[major..].strip_prefix(b".").map_or(0, |rest| 1 + digits(rest));
    String::from_utf8_lossy(&text[..major + minor]).into_owned()
}

/// What follows blanks, comments and lines for the preprocessor.
fn behind_blanks(mut text: &[u8]) -> &[u8] {
    loop {
        let blanks = text.iter().take_while(|byte| byte.is_ascii_whitespace() || **byte == 0x0B).count();
        text = &text[blanks..];
        let end = match text {
            [b'/', b'/', ..] | [b'#', ..] => memchr::memchr(b'\n', text),
            [b'/', b'*', ..] => memmem::find(&text[2..], b"*/").map(|at| at + 3),
            _ => return text,
        };
        text = end.map_or(&[], |end| &text[end + 1..]);
    }
}

/// The names behind `.entry`.
fn kernels(text: &[u8]) -> Vec<String> {
    const MARKER: &[u8] = b".entry";
    let is_name = |byte: &u8| is_word(*byte) || matches!(byte, b'$' | b'.' | b'%');
    memmem::find_iter(text, MARKER)
        .filter_map(|at| {
            let behind = &text[at + MARKER.len()..];
            let rest = behind_blanks(behind);
            let end = rest.iter().position(|byte| !is_name(byte)).unwrap_or(rest.len());
            (rest.len() < behind.len() && end > 0).then(|| String::from_utf8_lossy(&rest[..end]).into_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &[u8]) -> Option<String> {
        read(text).target.map(|arch| arch.to_string())
    }

    #[test]
    fn reads_the_directives_behind_comments() {
        let text = b"//\n// Generated by NVIDIA NVVM Compiler\n.version 9.0\n.target sm_100a, debug\n.address_size 64\n.visible .entry axpy(\n";
        let ptx = read(text);
        assert_eq!(ptx.version.as_deref(), Some("9.0"));
        assert_eq!(ptx.target.map(|arch| arch.to_string()).as_deref(), Some("sm_100a"));
        assert_eq!(ptx.kernels, ["axpy"]);
    }

    #[test]
    fn reads_a_text_on_one_line() {
        let ptx = read(b".version 3.2.target sm_35.address_size 64 .entry helper{exit;}");
        assert_eq!(ptx.version.as_deref(), Some("3.2"));
        assert_eq!(ptx.target.map(|arch| arch.to_string()).as_deref(), Some("sm_35"));
        assert_eq!(ptx.kernels, ["helper"]);
    }

    #[test]
    fn every_spelling_that_the_driver_reads_names_the_target() {
        for between in ["\t", "  ", "\n", "\r\n", " /* sm_100a */ ", "// sm_100a\n", "\n#line 1\n", "\x0B"] {
            let text = format!(".version{between}9.0\n.target{between}sm_90\n.entry{between}k{{ret;}}");
            assert_eq!(target(text.as_bytes()).as_deref(), Some("sm_90"), "{between:?}");
            assert!(is_ptx(text.as_bytes()), "{between:?}");
            assert!(names_target(format!(".target{between}sm_90").as_bytes(), false), "{between:?}");
            assert_eq!(read(text.as_bytes()).kernels, ["k"], "{between:?}");
        }
    }

    #[test]
    fn a_target_in_a_comment_is_none() {
        let text =
            b".version 9.0\n/* .target sm_100a\n.target sm_100a */ // .target sm_100a\n.target sm_90\n";
        assert_eq!(target(text).as_deref(), Some("sm_90"));
        assert_eq!(target(b".version 9.0\n/* .target sm_100a"), None);
        assert_eq!(target(b".version 9.0\n.target sm_100a2\n"), None);
    }

    #[test]
    fn two_targets_are_no_target() {
        let ptx = read(b".version 9.0\n.target sm_100a\n.target sm_90\n");
        assert_eq!((ptx.target, ptx.several_targets.len()), (None, 2));
        assert_eq!(target(b".version 9.0\n.target sm_90\n.target sm_90\n").as_deref(), Some("sm_90"));
    }

    #[test]
    fn a_comment_that_does_not_end_may_hide_a_target() {
        assert!(names_target(b".target /* and so on", true));
        assert!(!names_target(b".target /* and so on", false));
        assert!(!names_target(b".target", true));
        assert!(!names_target(b".targets sm_90", true));
        assert!(!names_target(b".target.value = sm_90", true));
    }

    #[test]
    fn an_unknown_target_stays_unknown() {
        assert_eq!(read(b".version 1.0\n.target texmode\n").target, None);
        assert_eq!(read(b"").version, None);
    }
}
