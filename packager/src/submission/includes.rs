//! Finds the `#include` lines of C++ and CUDA text.
//!
//! The reader follows the C++ translation phases as far as they matter here: line splices, comments
//! and literals are recognised, so that an `#include` inside a comment or a raw string is not taken
//! for one. Conditions are not evaluated: an include under `#if 0` is still listed.

use serde::Serialize;

/// How an include names its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum IncludeKind {
    /// `#include "tile.cuh"`: looked for in the submission first.
    Quoted,
    /// `#include <cuda_bf16.h>`: belongs to the toolchain.
    Angle,
    /// `#include MACRO`: known to the compiler alone.
    Computed,
}

/// One include line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Include {
    /// One-based line of the `#`.
    pub line: usize,
    /// How the file is named.
    pub kind: IncludeKind,
    /// The name between the delimiters, or the tokens of a computed include.
    pub name: String,
}

/// Lists the include lines of one text, in order.
#[must_use]
pub fn includes_of(text: &str) -> Vec<Include> {
    let mut reader = Reader { rest: text, line: 1 };
    let mut includes = Vec::new();
    let mut at_line_start = true;
    while let Some(token) = reader.next_token() {
        match token {
            Token::LineEnd => at_line_start = true,
            Token::Hash if at_line_start => {
                let line = reader.line;
                includes.extend(parse_directive(line, &reader.rest_of_line()));
            }
            Token::Blank | Token::Hash => {}
            Token::Other => at_line_start = false,
        }
    }
    includes
}

fn parse_directive(line: usize, directive: &str) -> Option<Include> {
    let directive = directive.trim_start();
    let word = directive.split(|one: char| !one.is_ascii_alphanumeric() && one != '_').next()?;
    if !matches!(word, "include" | "include_next" | "import") {
        return None;
    }
    let operand = directive[word.len()..].trim();
    let delimited = |open: char, close: char| {
        operand.strip_prefix(open).and_then(|rest| rest.split_once(close)).map(|(name, _)| name.to_owned())
    };
    let (kind, name) = match (delimited('"', '"'), delimited('<', '>')) {
        (Some(name), _) => (IncludeKind::Quoted, name),
        (None, Some(name)) => (IncludeKind::Angle, name),
        (None, None) => (IncludeKind::Computed, operand.to_owned()),
    };
    Some(Include { line, kind, name })
}

enum Token {
    LineEnd,
    Blank,
    Hash,
    Other,
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
}

impl Reader<'_> {
    fn next_token(&mut self) -> Option<Token> {
        self.skip_splices();
        let first = self.rest.chars().next()?;
        Some(match first {
            '\n' => {
                self.take(1);
                Token::LineEnd
            }
            '#' => {
                self.take(1);
                Token::Hash
            }
            _ if self.rest.starts_with("//") => {
                self.rest_of_line();
                Token::Blank
            }
            _ if self.rest.starts_with("/*") => {
                let length = self.rest[2..].find("*/").map_or(self.rest.len(), |end| end + 4);
                self.take(length);
                Token::Blank
            }
            _ if first.is_whitespace() => {
                self.take(first.len_utf8());
                Token::Blank
            }
            '"' | '\'' => {
                self.take_literal(first);
                Token::Other
            }
            _ if first.is_alphanumeric() || first == '_' => {
                self.take_word();
                Token::Other
            }
            _ => {
                self.take(first.len_utf8());
                Token::Other
            }
        })
    }

    fn take(&mut self, length: usize) {
        self.line += self.rest[..length].matches('\n').count();
        self.rest = &self.rest[length..];
    }

    fn skip_splices(&mut self) {
        while self.rest.starts_with("\\\n") {
            self.take(2);
        }
    }

    /// Takes an identifier or number with the literal glued to it: `R"x(…)x"`, `u8"…"`, `1'000`.
    fn take_word(&mut self) {
        let is_number = self.rest.starts_with(|first: char| first.is_ascii_digit());
        let inside = |one: char| one.is_alphanumeric() || one == '_' || (is_number && one == '\'');
        let length = self.rest.find(|one: char| !inside(one)).unwrap_or(self.rest.len());
        let word = &self.rest[..length];
        let raw = matches!(word, "R" | "LR" | "uR" | "UR" | "u8R");
        self.take(length);
        if raw && self.rest.starts_with('"') {
            self.take_raw_string();
        }
    }

    fn take_raw_string(&mut self) {
        let Some(open) = self.rest.find('(') else {
            return self.take(1);
        };
        let end = format!("){}\"", &self.rest[1..open]);
        let length = self.rest[open..].find(&end).map_or(self.rest.len(), |at| open + at + end.len());
        self.take(length);
    }

    /// Takes a string or character literal; an unterminated one ends with its line.
    fn take_literal(&mut self, quote: char) {
        let mut escaped = false;
        let mut length = self.rest.len();
        for (offset, one) in self.rest.char_indices().skip(1) {
            if escaped {
                escaped = false;
            } else if one == '\\' {
                escaped = true;
            } else if one == quote {
                length = offset + 1;
                break;
            } else if one == '\n' {
                length = offset;
                break;
            }
        }
        self.take(length);
    }

    /// Takes what is left of the logical line, splices joined and comments blanked; the line end
    /// itself stays.
    fn rest_of_line(&mut self) -> String {
        let mut text = String::new();
        let mut quoted = false;
        loop {
            self.skip_splices();
            if !quoted && self.rest.starts_with("/*") {
                let length = self.rest[2..].find("*/").map_or(self.rest.len(), |end| end + 4);
                self.take(length);
                text.push(' ');
                continue;
            }
            if !quoted && self.rest.starts_with("//") {
                let line = self.rest.find('\n').unwrap_or(self.rest.len());
                let spliced = self.rest[..line].ends_with('\\');
                self.take(if spliced { line + 1 } else { line }.min(self.rest.len()));
                if spliced {
                    // The comment goes on in the next line.
                    while !self.rest.is_empty() && !self.rest.starts_with('\n') {
                        let line = self.rest.find('\n').unwrap_or(self.rest.len());
                        let again = self.rest[..line].ends_with('\\');
                        self.take(if again { line + 1 } else { line }.min(self.rest.len()));
                        if !again {
                            break;
                        }
                    }
                }
                return text;
            }
            match self.rest.chars().next() {
                None | Some('\n') => return text,
                Some(one) => {
                    quoted ^= one == '"';
                    text.push(one);
                    self.take(one.len_utf8());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<(usize, IncludeKind, String)> {
        includes_of(text).into_iter().map(|include| (include.line, include.kind, include.name)).collect()
    }

    #[test]
    fn lists_the_three_kinds_with_their_lines() {
        let text = "#include \"a.h\"\n  #  include <b.h> // why\n\n#include /* x */ MACRO\n#define y\n";
        let expected = [
            (1, IncludeKind::Quoted, "a.h"),
            (2, IncludeKind::Angle, "b.h"),
            (4, IncludeKind::Computed, "MACRO"),
        ];
        assert_eq!(names(text), expected.map(|(line, kind, name)| (line, kind, name.to_owned())));
    }

    #[test]
    fn is_not_fooled_by_comments_and_literals() {
        let text = concat!(
            "// #include \"no1\"\n/*\n#include \"no2\"\n*/\n",
            "auto s = R\"x(\n#include \"no3\"\n)x\";\n",
            "auto t = \"/*\";\n#include \"yes1\"\nint n = 1'000'000; char c = '\"';\n#include \"yes2\"\n",
            "auto u = \"a\\\"\n#include \"yes3\"\n// spliced \\\n#include \"no4\"\n/* a */ #include \"yes4\"\n",
        );
        let found: Vec<_> = names(text).into_iter().map(|(_, _, name)| name).collect();
        assert_eq!(found, ["yes1", "yes2", "yes3", "yes4"]);
    }

    #[test]
    fn joins_spliced_directives() {
        assert_eq!(names("#inc\\\nlude \\\n \"a.h\"\n#include \"b.h\"").len(), 2);
    }

    proptest::proptest! {
        #[test]
        fn never_panics_and_always_ends(text in ".{0,200}", noise in r#"[#"'/*\\\nRx()<> a-c]{0,200}"#) {
            let lines = text.lines().count() + noise.lines().count();
            proptest::prop_assert!(includes_of(&text).len() + includes_of(&noise).len() <= lines);
        }
    }
}
