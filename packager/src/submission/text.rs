//! Which characters metadata may hold.
//!
//! Names, authors and flags are printed on terminals, into logs and into lines of other formats. A
//! control character in one of them could rewrite what the reader sees there.

use super::{SolutionMeta, Violation};

/// What belongs in a name, in words.
pub(super) const PLAIN_TEXT: &str = "a non-empty string without control characters";

/// What belongs in a list, in words.
pub(super) const PLAIN_TEXTS: &str = "an array of non-empty strings without control characters";

/// What belongs in a description, in words.
pub(super) const PROSE: &str = "text without control characters other than line feeds and tabs";

/// Whether a text is one line without control characters.
pub(super) fn is_plain(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

/// Whether a text holds no control characters but line feeds and tabs.
pub(super) fn is_prose(text: &str) -> bool {
    !text.chars().any(|one| one.is_control() && one != '\n' && one != '\t')
}

/// Checks the texts of an artifact, wherever they came from; lists come with their names.
pub(crate) fn violations_of_texts<'a>(
    solution: &SolutionMeta,
    lists: impl IntoIterator<Item = (&'static str, &'a Vec<String>)>,
) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut refuse = |field: &'static str, text: &str, expected: &'static str| {
        violations.push(Violation::Field { field, found: format!("{text:?}"), expected });
    };
    let names =
        [("name", &solution.name), ("definition", &solution.definition), ("author", &solution.author)];
    for (field, text) in names {
        if text.is_empty() || !is_plain(text) {
            refuse(field, text, PLAIN_TEXT);
        }
    }
    if let Some(text) = solution.description.as_deref().filter(|text| !is_prose(text)) {
        refuse("description", text, PROSE);
    }
    for (field, list) in lists {
        for text in list.iter().filter(|text| !is_plain(text)) {
            refuse(field, text, "text without control characters");
        }
    }
    violations
}
