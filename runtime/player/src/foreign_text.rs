//! Text that foreign code wrote, made fit to be shown.

use std::ops::RangeInclusive;

/// Escapes what steers a terminal or hides what stands there: control characters but line ends and tabs,
/// and the characters that turn the direction of writing or take no place.
pub(crate) fn escape(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for one in text.chars() {
        if is_plain(one) {
            shown.push(one);
        } else {
            shown.extend(one.escape_unicode());
        }
    }
    shown
}

/// Marks, embeddings, overrides and isolates of direction; what joins, separates or takes no place.
const STEERING: [RangeInclusive<char>; 8] = [
    '\u{061C}'..='\u{061C}',
    '\u{180E}'..='\u{180E}',
    '\u{200B}'..='\u{200F}',
    '\u{2028}'..='\u{202E}',
    '\u{2060}'..='\u{206F}',
    '\u{FEFF}'..='\u{FEFF}',
    '\u{FFF9}'..='\u{FFFB}',
    '\u{E0000}'..='\u{E007F}',
];

fn is_plain(one: char) -> bool {
    let steers = one.is_control() || STEERING.iter().any(|range| range.contains(&one));
    one == '\n' || one == '\t' || !steers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_words_in_every_script_as_they_are() {
        let text = "line one\n\tzwei – 三 \"quoted\" C:\\path";
        assert_eq!(escape(text), text);
    }

    #[test]
    fn steers_no_terminal() {
        assert_eq!(escape("\u{1b}[2J\r\u{7}\u{9b}x\u{7f}"), "\\u{1b}[2J\\u{d}\\u{7}\\u{9b}x\\u{7f}");
    }

    #[test]
    fn turns_no_direction_and_hides_nothing() {
        assert_eq!(
            escape("a\u{202e}b\u{2066}c\u{200b}d\u{feff}"),
            "a\\u{202e}b\\u{2066}c\\u{200b}d\\u{feff}"
        );
        assert_eq!(escape("\u{2028}\u{e0041}"), "\\u{2028}\\u{e0041}");
    }
}
