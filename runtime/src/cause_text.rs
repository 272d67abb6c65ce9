//! Errors as one line, with their causes.

use std::error::Error;

/// An error and whatever caused it, outermost first.
pub fn text(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(one) = cause {
        text = format!("{text}: {one}");
        cause = one.source();
    }
    text
}

/// A text of several lines as one, for tables: a list behind a colon is joined, and what draws the place of an error
/// under its line is left out.
pub fn one_line(text: &str) -> String {
    let is_drawing =
        |line: &str| line.trim_start_matches(|one: char| one.is_ascii_digit()).trim().starts_with('|');
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !is_drawing(line));
    lines.fold(String::new(), |joined, line| match joined.chars().last() {
        None => line.to_owned(),
        Some(':') => format!("{joined} {line}"),
        Some(_) => format!("{joined}; {line}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_is_named_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] std::io::Error);
        let error = Outer(std::io::Error::other("inner"));
        assert_eq!(text(&error), "outer: inner");
        assert_eq!(text(&std::io::Error::other("alone")), "alone");
    }

    #[test]
    fn lines_become_one_without_what_is_drawn() {
        let text = "x is not valid:\n  config.toml: error at line 13, column 6\n   |\n13 | x = [\n   |      ^\nunclosed\n  \
                    k.cu: empty\n";
        let joined = "x is not valid: config.toml: error at line 13, column 6; unclosed; k.cu: empty";
        assert_eq!(one_line(text), joined);
        assert_eq!(one_line(joined), joined);
        assert_eq!(one_line(""), "");
    }
}
