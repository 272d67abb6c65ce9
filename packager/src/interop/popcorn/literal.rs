//! Texts as Python writes them: readable where that is safe.

use serde_json::json;

/// A literal with this value: a raw block where the text allows it, else one quoted line.
pub(super) fn python(text: &str) -> String {
    let is_raw = !text.contains("'''") && !text.ends_with(['\'', '\\']) && !text.contains('\r');
    if text.contains('\n') && is_raw {
        return format!("r'''{text}'''");
    }
    // JSON's escapes are Python's as well; characters beyond the basic plane stand as they are.
    json!(text).to_string().replace('\u{7f}', "\\u007f")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_stands_as_it_is_and_anything_else_is_quoted() {
        assert_eq!(python("a\\n\nb\n"), "r'''a\\n\nb\n'''");
        assert_eq!(python("a\"b"), r#""a\"b""#);
        for text in ["a\n'''b", "a\nb'", "a\nb\\", "a\r\nb\n"] {
            assert!(python(text).starts_with('"'), "{text:?}");
        }
    }
}
