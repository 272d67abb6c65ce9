//! Python text as far as its shape tells: what is code, its statements, and what they give a name.
//!
//! No parser of Python: comments and texts are found, and lines that brackets or `\` join. A text that is no Python at
//! all is therefore not found out here.

use super::arity::Arity;

/// Keywords behind which a block of its own begins: what is named there is no name of the module's.
const SCOPES: [&str; 3] = ["def ", "async def ", "class "];

/// A statement, or the head of one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Statement {
    /// Its first line, from one.
    pub(crate) line: usize,
    /// How far it stands from the left, in columns; a tab counts as one.
    pub(crate) indent: usize,
    /// Its code on one line, without comments and texts.
    pub(crate) code: String,
}

/// The text with blanks in place of comments and of what stands in quotes, quotes included; lines stay where they are.
pub(crate) fn code(text: &str) -> String {
    blanked(text, |_| true)
}

/// The text with blanks in place of comments.
pub(crate) fn without_comments(text: &str) -> String {
    blanked(text, |piece| piece.starts_with('#'))
}

fn blanked(text: &str, is_blank: impl Fn(&str) -> bool) -> String {
    let mut said = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['#', '"', '\'']) {
        let (plain, piece) = rest.split_at(at);
        let (piece, behind) = piece.split_at(piece_length(piece));
        said.push_str(plain);
        if is_blank(piece) {
            said.extend(piece.chars().map(|one| if one == '\n' { '\n' } else { ' ' }));
        } else {
            said.push_str(piece);
        }
        rest = behind;
    }
    said + rest
}

/// The length of the comment or the quoted text that something starts with.
fn piece_length(text: &str) -> usize {
    let line = || text.find('\n').unwrap_or(text.len());
    if text.starts_with('#') {
        return line();
    }
    let quote = &text[..1];
    let block = quote.repeat(3);
    let (close, spans_lines) = if text.starts_with(&block) { (&block[..], true) } else { (quote, false) };
    let mut is_escaped = false;
    for (at, one) in text.char_indices().skip(close.len()) {
        match one {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '\n' if !spans_lines => return at,
            _ if text[at..].starts_with(close) => return at + close.len(),
            _ => {}
        }
    }
    text.len()
}

/// The statements of a text in order, each on one line; a block's head is one.
pub(crate) fn statements(text: &str) -> Vec<Statement> {
    let code = code(text);
    let (mut found, mut open): (Vec<Statement>, Option<Statement>) = (Vec::new(), None);
    let mut depth = 0_usize;
    for (index, line) in code.lines().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let mut statement =
            open.take().unwrap_or_else(|| Statement { line: index + 1, indent, code: String::new() });
        for one in line.chars() {
            match one {
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        let (part, is_joined) = match line.trim_end().strip_suffix('\\') {
            Some(part) => (part, true),
            None => (line, depth > 0),
        };
        statement.code.push_str(part.trim());
        if is_joined {
            statement.code.push(' ');
            open = Some(statement);
        } else if !statement.code.is_empty() {
            found.push(statement);
        }
    }
    found.extend(open);
    found
}

/// Whether a text gives a name to who imports it: a function, a class, an assignment or an import outside every other
/// function and class. What `import *` brings is not known, and may be it.
pub(crate) fn gives(text: &str, name: &str) -> bool {
    let mut scope: Option<usize> = None;
    statements(text).iter().any(|statement| {
        if scope.is_some_and(|scope| statement.indent > scope) {
            return false;
        }
        let code = statement.code.as_str();
        scope = SCOPES.iter().any(|start| code.starts_with(start)).then_some(statement.indent);
        match SCOPES.iter().find_map(|start| code.strip_prefix(start)) {
            Some(rest) => starts_with_word(rest.trim_start(), name),
            None => code.split(';').any(|part| binds(part.trim(), name)),
        }
    })
}

/// Whether a statement that is no definition gives a name.
fn binds(statement: &str, name: &str) -> bool {
    if statement.starts_with("from ") || statement.starts_with("import ") {
        return words(statement).any(|word| word == name) || statement.ends_with("import *");
    }
    assigned(statement).is_some_and(|targets| {
        targets.split([',', '=', '(', ')', '[', ']', ':']).any(|target| target.trim() == name)
    })
}

/// What stands before the last `=` of an assignment.
fn assigned(statement: &str) -> Option<&str> {
    let mut depth = 0_usize;
    let mut last = None;
    for (at, one) in statement.char_indices() {
        match one {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            '=' if depth == 0 => {
                let is_compared = statement[at + 1..].starts_with('=')
                    || statement[..at].ends_with(|before| "=!<>:+-*/%&|^@".contains(before));
                last = if is_compared { last } else { Some(at) };
            }
            _ => {}
        }
    }
    last.map(|at| &statement[..at])
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|one: char| !one.is_alphanumeric() && one != '_')
}

/// Whether a text starts with a name and no longer one.
pub(crate) fn starts_with_word(text: &str, name: &str) -> bool {
    text.strip_prefix(name)
        .is_some_and(|rest| !rest.starts_with(|one: char| one.is_alphanumeric() || one == '_'))
}

/// The parameters of a top-level function that are passed by place, in order; `None` where there is no such function.
pub(crate) fn parameters(text: &str, function: &str) -> Option<Vec<String>> {
    let list = list_of(text, function)?;
    // Those behind a star are passed by name, and `/` is none.
    let by_place = list.iter().map(|part| name_of(part)).take_while(|name| !name.starts_with('*'));
    Some(by_place.filter(|name| !matches!(*name, "" | "/")).map(str::to_owned).collect())
}

/// How many arguments a top-level function takes by place; `None` where there is no such function.
pub(crate) fn arity(text: &str, function: &str) -> Option<Arity> {
    let list = list_of(text, function)?;
    let by_place: Vec<_> = list
        .iter()
        .map(|part| part.trim())
        .take_while(|part| !part.starts_with('*'))
        .filter(|part| !matches!(*part, "" | "/"))
        .collect();
    let has_more = list.iter().map(|part| part.trim()).any(is_rest);
    let least = by_place.iter().filter(|part| assigned(part).is_none()).count();
    Some(Arity { least, most: (!has_more).then_some(by_place.len()) })
}

/// Whether a parameter takes all further arguments: `*rest`, neither `*` nor `**named`.
fn is_rest(part: &str) -> bool {
    part.strip_prefix('*').is_some_and(|name| !name.is_empty() && !name.starts_with('*'))
}

/// The parameters of a top-level function as they stand there.
fn list_of(text: &str, function: &str) -> Option<Vec<String>> {
    statements(text).into_iter().filter(|one| one.indent == 0).find_map(|statement| {
        let rest = statement.code.strip_prefix("def ")?.trim_start().strip_prefix(function)?;
        parts(rest.trim_start().strip_prefix('(')?)
    })
}

/// The parts between commas of the first level, up to the parenthesis that closes the list.
fn parts(code: &str) -> Option<Vec<String>> {
    let mut depth = 0_usize;
    let mut parts = vec![String::new()];
    for one in code.chars() {
        match one {
            ')' if depth == 0 => return Some(parts),
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().expect("there is always a last part").push(one);
    }
    None
}

/// The parameter's name, without its type and default.
fn name_of(part: &str) -> &str {
    part.split([':', '=']).next().unwrap_or_default().trim()
}

/// Whether a text is a name in Python.
pub(crate) fn is_identifier(text: &str) -> bool {
    let starts = text.starts_with(|one: char| one.is_alphabetic() || one == '_');
    starts && text.chars().all(|one| one.is_alphanumeric() || one == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_texts_are_no_code_and_lines_stay_where_they_are() {
        let text = "a = 'it\\'s # no' # it's\nb = \"\"\"x\n'''\"\"\" + r'\\'\nc = 'open\nd = \u{e4}";
        assert_eq!(
            code(text).lines().map(str::trim_end).collect::<Vec<_>>(),
            ["a =", "b =", "       + r", "c =", "d = \u{e4}"]
        );
        assert_eq!(without_comments("f('#') # g\nh"), "f('#')    \nh");
    }

    #[test]
    fn a_statement_goes_on_in_brackets_and_behind_a_backslash() {
        let found = statements("def f(\n    x,  # (\n):\n    return \\\n        x\n\ng()\nh(");
        let lines: Vec<_> = found.iter().map(|one| (one.line, one.indent, one.code.as_str())).collect();
        assert_eq!(lines, [(1, 0, "def f( x, ):"), (4, 4, "return x"), (7, 0, "g()"), (8, 0, "h( ")]);
    }

    #[test]
    fn a_name_is_given_by_whatever_binds_it_in_the_module() {
        for text in [
            "def custom_kernel(data):\n",
            "if x:\n    def custom_kernel (data): pass\n",
            "async def custom_kernel(data): pass",
            "custom_kernel = run\n",
            "a = custom_kernel = run\n",
            "a, custom_kernel = run\n",
            "import x; custom_kernel = run\n",
            "if x: custom_kernel = run\n",
            "from a import b as custom_kernel\n",
            "from a import (\n    b,\n    custom_kernel,\n)\n",
            "from a import *\n",
            "custom_kernel: object = run",
            "def f():\n    pass\ncustom_kernel = f",
        ] {
            assert!(gives(text, "custom_kernel"), "{text}");
        }
        for text in [
            "def custom_kernels(data):\n",
            "# def custom_kernel(data)\n",
            "\"\"\"\ndef custom_kernel(data):\n    pass\n\"\"\"\n",
            "x = '''\ncustom_kernel = 1\n'''\n",
            "custom_kernel(data)\n",
            "x == custom_kernel",
            "f(custom_kernel=1)",
            "x.custom_kernel = 1",
            "print(x)  # custom_kernel = 1",
            "class A:\n    def custom_kernel(self, data): pass\n",
            "def f():\n    def custom_kernel(data): pass\n",
            "def f(\n    x\n):\n    custom_kernel = 1\n",
            "custom_kernel == 1",
        ] {
            assert!(!gives(text, "custom_kernel"), "{text}");
        }
    }

    #[test]
    fn finds_parameters_whatever_their_types_and_defaults() {
        let text = "import torch\n\n@torch.no_grad()\ndef run (\n    x: dict[str, int],  # a (comment\n    \
                    eps=\",)\", *, flag: str = \"a,)b\",\n) -> int:\n    pass\n";
        assert_eq!(parameters(text, "run").unwrap(), ["x", "eps"]);
        assert_eq!(parameters("def run():\n    pass", "run").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_function_inside_another_or_a_text_or_of_a_longer_name_does_not_count() {
        for text in [
            "class A:\n    def run(x): pass",
            "def runner(x): pass",
            "defrun(x)",
            "undef run(x)",
            "def run(x",
            "'''\ndef run(x): pass\n'''",
        ] {
            assert_eq!(parameters(text, "run"), None, "{text}");
        }
    }
}
