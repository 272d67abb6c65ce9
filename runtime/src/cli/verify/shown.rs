//! Text of strangers as a terminal may show it: names of files, members and kernels, options.

/// One line with every control character and every mark that turns the order of letters round escaped.
pub(super) fn printable(text: &str) -> String {
    let is_bad = |letter: char| {
        letter.is_control()
            || matches!(letter, '\u{061C}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}')
    };
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        if is_bad(letter) {
            shown.extend(letter.escape_unicode());
        } else {
            shown.push(letter);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_stranger_moves_the_cursor() {
        assert_eq!(printable("\x1b[2KEXACT\n\u{202E}k"), "\\u{1b}[2KEXACT\\u{a}\\u{202e}k");
        assert_eq!(printable("lib größe.so"), "lib größe.so");
    }
}
