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
/// What the names of targets start with.
const PREFIXES: [&[u8]; 2] = [b"sm_", b"compute_"];
/// Most targets of one text that are kept: one text has one.
const TARGET_LIMIT: usize = 16;
/// How far before a directive its line is looked at, in bytes.
pub(super) const LOOK_BEHIND_BYTES: usize = 64;

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
    let target = targets.first().and_then(|target| target.replacen("compute_", "sm_", 1).parse().ok());
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
    is_target(name)
}

/// Whether a name is a target's: `sm_90`, or `compute_90`, which ptxas takes for the same.
fn is_target(name: &[u8]) -> bool {
    let number = PREFIXES.iter().find_map(|prefix| name.strip_prefix(*prefix));
    number.is_some_and(|rest| rest.first().is_some_and(u8::is_ascii_digit))
}

/// Whether a directive may stand at `at` in text of which no more is known than the line before it. In PTX
/// nothing but the number behind `.version` comes before the first `.target`; a word or a comment on the
/// same line makes it prose, such as the assembler's own message `requires .target sm_60 or higher`.
pub(super) fn may_stand_at(bytes: &[u8], at: usize) -> bool {
    let before = &bytes[at.saturating_sub(LOOK_BEHIND_BYTES)..at];
    let blanks = before.iter().rev().take_while(|&&byte| matches!(byte, b' ' | b'\t')).count();
    match before[..before.len() - blanks] {
        [.., b'/', b'/'] => before.len() - blanks > 2 && before[before.len() - blanks - 3] == b'*',
        // A line's end or a tab, as programs write it.
        [] | [.., b'\\', b'n' | b'r' | b't'] => true,
        [.., last] => !last.is_ascii_alphabetic(),
    }
}

/// The names behind each `.target` in code.
fn targets(text: &[u8]) -> Vec<String> {
    let mut code = Code::of(text);
    let is_directive = |at: usize| !text.get(at + TARGET.len()).is_some_and(|&byte| is_word(byte));
    memmem::find_iter(text, TARGET)
        .filter(|&at| is_directive(at) && code.holds(at))
        .flat_map(|at| listed(&text[at + TARGET.len()..]))
        .take(TARGET_LIMIT)
        .collect()
}

/// The first word behind a directive, and the targets among those that commas add: ptxas takes the last.
fn listed(text: &[u8]) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = behind_blanks(text);
    loop {
        let end = rest.iter().position(|&byte| !is_word(byte)).unwrap_or(rest.len());
        if words.is_empty() || is_target(&rest[..end]) {
            words.push(String::from_utf8_lossy(&rest[..end]).into_owned());
        }
        match behind_blanks(&rest[end..]).strip_prefix(b",") {
            Some(more) if words.len() < TARGET_LIMIT => rest = behind_blanks(more),
            _ => return words,
        }
    }
}

/// What of a text is code: neither comment nor string.
struct Code<'a> {
    text: &'a [u8],
    /// Everything before is decided; this is outside of comments and strings.
    from: usize,
    /// Whether something stood there that two readers may end at different places. Then nothing counts as
    /// hidden, whatever stands around it.
    doubtful: bool,
}

impl<'a> Code<'a> {
    fn of(text: &'a [u8]) -> Self {
        Self { text, from: 0, doubtful: false }
    }

    /// Whether an offset lies in code; offsets must not go back.
    fn holds(&mut self, at: usize) -> bool {
        while !self.doubtful
            && let Some(next) =
                self.text.get(self.from..at).and_then(|rest| memchr::memchr2(b'/', b'"', rest))
        {
            let start = self.from + next;
            let length = self.hidden(&self.text[start..]);
            if self.doubtful {
                return true;
            }
            if start + length > at {
                return length == 1;
            }
            self.from = start + length;
        }
        self.doubtful || self.from <= at
    }

    /// The length of the comment or string at the start of `rest`; 1 where it is neither.
    fn hidden(&mut self, rest: &[u8]) -> usize {
        match rest {
            [b'/', b'/', ..] => {
                let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
                let line = rest[..end].strip_suffix(b"\n").unwrap_or(rest);
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                // A carriage return alone may end the line, a backslash at its end continue it.
                self.doubtful |= memchr::memchr(b'\r', line).is_some() || line.ends_with(b"\\");
                end
            }
            [b'/', b'*', ..] => memmem::find(&rest[2..], b"*/").map_or(rest.len(), |end| end + 4),
            [b'"', ..] => {
                let end = rest[1..].iter().position(|byte| matches!(byte, b'"' | b'\n'));
                let end = end.map_or(rest.len(), |end| end + 1);
                self.doubtful |= rest.get(end) != Some(&b'"') || rest[..end].contains(&b'\\');
                end + 1
            }
            _ => 1,
        }
    }
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

/// The names behind each `.entry` in code.
fn kernels(text: &[u8]) -> Vec<String> {
    const MARKER: &[u8] = b".entry";
    let is_name = |byte: &u8| is_word(*byte) || matches!(byte, b'$' | b'.' | b'%');
    let mut code = Code::of(text);
    memmem::find_iter(text, MARKER)
        .filter(|&at| code.holds(at))
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

    const TARGET_TEXT: &str = ".target";

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
    fn a_virtual_architecture_names_the_target_as_well() {
        assert_eq!(target(b".version 9.0\n.target compute_90\n").as_deref(), Some("sm_90"));
        assert!(names_target(b".target compute_90", false));
        assert!(!names_target(b".target compute_xy", false));
    }

    #[test]
    fn a_list_of_targets_names_each_of_them() {
        let ptx = read(b".version 9.0\n.target sm_100a, /* and */ sm_90, debug\n");
        assert_eq!((ptx.target, ptx.several_targets), (None, vec!["sm_100a".to_owned(), "sm_90".to_owned()]));
        assert_eq!(
            target(b".version 9.0\n.target sm_90, texmode_independent, debug\n").as_deref(),
            Some("sm_90")
        );
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
    fn a_target_in_a_string_is_none_and_a_string_opens_no_comment() {
        let text = b".version 9.0\n.file 1 \"/*.target sm_100a\"\n.target sm_90\n.pragma \"*/\";\n";
        assert_eq!(target(text).as_deref(), Some("sm_90"));
    }

    #[test]
    fn what_two_readers_may_end_at_different_places_hides_nothing() {
        for doubt in ["\"\\\"/*\"", "\"open", "// \r.target sm_90\n//", "// \\\n"] {
            let text = format!(".version 9.0\n{doubt}\n.target sm_100a /* .target sm_90 */\n");
            assert_eq!(read(text.as_bytes()).target, None, "{doubt:?}");
        }
        assert_eq!(target(b".version 9.0\r\n// c:/k\r\n.target sm_90\r\n").as_deref(), Some("sm_90"));
    }

    #[test]
    fn kernels_in_comments_are_none() {
        assert_eq!(read(b".version 9.0\n.target sm_90\n// .entry no(\n.entry yes(){}").kernels, ["yes"]);
    }

    #[test]
    fn prose_about_a_target_is_no_directive() {
        let stands = |text: &str| may_stand_at(text.as_bytes(), text.find(TARGET_TEXT).unwrap());
        for prose in ["%s requires .target sm_60", "// .target sm_60", "x//  .target sm_60"] {
            assert!(!stands(prose), "{prose}");
        }
        for code in [
            ".target sm_60",
            ".version 8.0 .target sm_60",
            "/**/ .target sm_60",
            "//\n.target sm_60",
            "\0.target sm_60",
            ".version 8.0\\n.target sm_60",
        ] {
            assert!(stands(code), "{code}");
        }
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
