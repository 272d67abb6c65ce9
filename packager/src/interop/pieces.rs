//! C++ text taken apart into comments, texts, names and the rest, none of it lost.

/// A piece of C++ text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Piece<'t> {
    /// A comment.
    Comment(&'t str),
    /// A text or a letter in quotes, with what stands in front of a raw one.
    Text(&'t str),
    /// A name, a keyword or a number.
    Name(&'t str),
    /// Anything else.
    Plain(&'t str),
}

impl<'t> Piece<'t> {
    /// The name, if it is one.
    pub(crate) fn name(self) -> Option<&'t str> {
        if let Self::Name(name) = self { Some(name) } else { None }
    }
}

/// The pieces of a text, in order.
pub(crate) struct Pieces<'t> {
    rest: &'t str,
}

impl<'t> Pieces<'t> {
    /// Takes a text apart.
    pub(crate) fn of(text: &'t str) -> Self {
        Self { rest: text }
    }

    /// What has not been taken yet.
    pub(crate) fn rest(&self) -> &'t str {
        self.rest
    }

    /// Passes over so many bytes of it, which must end between letters.
    pub(crate) fn pass(&mut self, length: usize) {
        self.rest = &self.rest[length..];
    }
}

impl<'t> Iterator for Pieces<'t> {
    type Item = Piece<'t>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest;
        let first = rest.chars().next()?;
        let (length, make): (usize, fn(&'t str) -> Piece<'t>) = if rest.starts_with("//") {
            (line_comment(rest), Piece::Comment)
        } else if let Some(inside) = rest.strip_prefix("/*") {
            (inside.find("*/").map_or(rest.len(), |at| at + "/**/".len()), Piece::Comment)
        } else if matches!(first, '"' | '\'') {
            (quoted(rest, first), Piece::Text)
        } else if is_part(first) {
            let length = word(rest);
            match raw(rest, length) {
                Some(whole) => (whole, Piece::Text),
                None => (length, Piece::Name),
            }
        } else {
            (first.len_utf8(), Piece::Plain)
        };
        let (piece, rest) = rest.split_at(length);
        self.rest = rest;
        Some(make(piece))
    }
}

/// The text without its comments; lines stay where they are.
pub(crate) fn without_comments(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    for piece in Pieces::of(text) {
        match piece {
            Piece::Comment(comment) => {
                code.push(' ');
                code.extend(comment.chars().filter(|one| *one == '\n'));
            }
            Piece::Text(piece) | Piece::Name(piece) | Piece::Plain(piece) => code.push_str(piece),
        }
    }
    code
}

fn is_part(one: char) -> bool {
    one.is_ascii_alphanumeric() || one == '_'
}

/// The length of a name or number; a number may have marks between its digits.
fn word(text: &str) -> usize {
    let is_number = text.starts_with(|first: char| first.is_ascii_digit());
    let ends = |&(at, one): &(usize, char)| {
        let is_mark = is_number && one == '\'' && text[at + 1..].starts_with(|next: char| is_part(next));
        !is_part(one) && !is_mark
    };
    text.char_indices().find(ends).map_or(text.len(), |(at, _)| at)
}

/// The length of a comment up to the end of its line, which a splice carries on.
fn line_comment(text: &str) -> usize {
    let mut end = 0;
    loop {
        end += text[end..].find('\n').unwrap_or(text.len() - end);
        if end == text.len() || !text[..end].ends_with('\\') {
            return end;
        }
        end += 1;
    }
}

/// The length of a raw text with what stands in front of it, if that is what follows.
fn raw(text: &str, prefix: usize) -> Option<usize> {
    if !matches!(&text[..prefix], "R" | "LR" | "uR" | "UR" | "u8R") || !text[prefix..].starts_with('"') {
        return None;
    }
    let inside = &text[prefix + 1..];
    let open = inside.find('(')?;
    let end = format!("){}\"", &inside[..open]);
    let length = inside[open..].find(&end).map_or(inside.len(), |at| open + at + end.len());
    Some(prefix + 1 + length)
}

/// The length of a text in quotes, up to the end of its line where nothing closes it.
fn quoted(text: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, one) in text.char_indices().skip(1) {
        match one {
            _ if is_escaped => is_escaped = false,
            '\n' => return at,
            '\\' => is_escaped = true,
            _ if one == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_names_and_comments_are_told_apart_and_nothing_is_lost() {
        let text = "int a = 1'000; // it's \\\n on\nauto x = u8R\"d(\"q\" )\" // no)d\"; char c = '\"'; f(\"\\\"/*\"); /* \" */ g";
        let pieces: Vec<_> = Pieces::of(text).collect();
        let comments: Vec<_> = pieces.iter().filter(|one| matches!(one, Piece::Comment(_))).collect();
        assert_eq!(comments, [&Piece::Comment("// it's \\\n on"), &Piece::Comment("/* \" */")]);
        let texts: Vec<_> = pieces.iter().filter(|one| matches!(one, Piece::Text(_))).collect();
        let expected = ["u8R\"d(\"q\" )\" // no)d\"", "'\"'", "\"\\\"/*\""].map(Piece::Text);
        assert_eq!(texts, expected.iter().collect::<Vec<_>>());
        let names: Vec<_> = pieces.iter().filter_map(|one| one.name()).collect();
        assert_eq!(names, ["int", "a", "1'000", "auto", "x", "char", "c", "f", "g"]);
        let whole = pieces.iter().fold(String::new(), |whole, piece| match piece {
            Piece::Comment(part) | Piece::Text(part) | Piece::Name(part) | Piece::Plain(part) => whole + part,
        });
        assert_eq!(whole, text);
    }

    #[test]
    fn what_nothing_closes_ends_with_its_line_or_the_text() {
        for text in ["/* open", "\"open", "'", "R\"(open", "R\"x", "// open \\", "\"\\"] {
            let length: usize = Pieces::of(text)
                .map(|piece| match piece {
                    Piece::Comment(part) | Piece::Text(part) | Piece::Name(part) | Piece::Plain(part) => {
                        part.len()
                    }
                })
                .sum();
            assert_eq!(length, text.len(), "{text}");
        }
        assert_eq!(without_comments("a /* x\n */ b // c\nd"), "a  \n b  \nd");
    }
}
