//! Shows texts of strangers so that they cannot rewrite what a reader sees.
//!
//! A control character can move a terminal's cursor, a bidirectional one can turn a line around, and
//! an invisible one can make two names look alike. Each is shown as `\\u{…}` instead.

/// Shows a text of several lines: line feeds and tabs stay.
#[must_use]
pub fn block(text: &str) -> String {
    escaped(text, |one| one != '\n' && one != '\t')
}

/// Shows a text that must stay within its line.
#[must_use]
pub fn line(text: &str) -> String {
    escaped(text, |_| true)
}

/// Shows JSON as the same JSON: what a text of it holds is spelled `\\u….`.
#[must_use]
pub fn json(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for one in text.chars() {
        // Between the texts stands nothing that is not ASCII, and there line feeds are layout.
        if is_deceptive(one) && one != '\n' {
            let mut units = [0; 2];
            for unit in one.encode_utf16(&mut units) {
                shown.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            shown.push(one);
        }
    }
    shown
}

fn escaped(text: &str, may_escape: impl Fn(char) -> bool) -> String {
    // Nearly all names are such, and a library may hold hundreds of thousands of them.
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return text.to_owned();
    }
    let mut shown = String::with_capacity(text.len());
    for one in text.chars() {
        match one {
            '\r' if may_escape(one) => shown.push_str("\\r"),
            '\n' if may_escape(one) => shown.push_str("\\n"),
            '\t' if may_escape(one) => shown.push_str("\\t"),
            _ if is_deceptive(one) && may_escape(one) => shown.extend(one.escape_unicode()),
            _ => shown.push(one),
        }
    }
    shown
}

/// Whether a character changes how others are shown, or is itself not seen.
fn is_deceptive(one: char) -> bool {
    one.is_control()
        || matches!(one,
            // Directional marks, embeddings, overrides and isolates.
            '\u{061c}' | '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            // Line and paragraph separators.
            | '\u{2028}'..='\u{2029}'
            // What takes no room: zero-width characters, invisible operators, the byte-order mark, tags.
            | '\u{00ad}' | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}'
            | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_what_would_move_turn_or_hide() {
        for (text, expected) in [
            ("a\u{1b}[2Jb", r"a\u{1b}[2Jb"),
            ("\u{9b}x\r", r"\u{9b}x\r"),
            ("ab\u{202e}cd\u{2066}", r"ab\u{202e}cd\u{2066}"),
            ("\u{feff}k\u{200b}", r"\u{feff}k\u{200b}"),
        ] {
            assert_eq!(block(text), expected);
            assert_eq!(line(text), expected);
        }
    }

    #[test]
    fn spells_json_so_that_it_reads_as_before() {
        let text = "{\n  \"a\u{9b}\u{202e}\": \"\u{7f}\u{e0041}\u{e9}\u{1f600}\"\n}";
        let shown = json(text);
        assert_eq!(shown, "{\n  \"a\\u009b\\u202e\": \"\\u007f\\udb40\\udc41\u{e9}\u{1f600}\"\n}");
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(read(&shown), read(text));
    }

    #[test]
    fn leaves_lines_to_blocks_and_every_script_as_it_is() {
        assert_eq!((block("a\n\tb"), line("a\n\tb")), ("a\n\tb".to_owned(), r"a\n\tb".to_owned()));
        for text in ["naïve \\ \"quoted\"", "שלום", "核 µs → ─│"] {
            assert_eq!((block(text), line(text)), (text.to_owned(), text.to_owned()));
        }
    }
}
