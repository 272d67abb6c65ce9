//! Cuts a command line into the calls in it, as a POSIX shell would.
//!
//! Known: quotes and backslashes, `;`, `&&`, `||`, `|`, `&`, line ends, subshells and groups, the words of
//! `if` and loops, redirections, comments, assignments in front of a call, `export`, `cd`, variables that
//! the line itself sets, `sh -c`, `eval`. What only a running shell knows, such as the output of another
//! program, stays as it is written, and the call says so.

mod lexer;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use lexer::{Piece, Reads, Token, tokens};

/// How deep `sh -c`, `eval` and substitutions may nest.
const NESTING_LIMIT: u32 = 6;
/// Most calls and substitutions that one command line may hold.
const CALLS_LIMIT: usize = 10_000;
/// How deep parentheses may nest.
const SUBSHELLS_LIMIT: usize = 64;
/// Most that a line may expand to, in bytes.
const EXPANSION_BYTES: usize = 16 << 20;
/// Most that its variables may hold together, in bytes.
const VARIABLES_BYTES: usize = 256 << 10;

/// The variables from which nvcc takes arguments: the only part of a call's environment that is kept.
const KEPT: [&str; 2] = ["NVCC_PREPEND_FLAGS", "NVCC_APPEND_FLAGS"];

/// One call of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    /// What the line puts into its environment, of what nvcc takes arguments from.
    pub(super) environment: BTreeMap<String, String>,
    /// The program and its arguments.
    pub(super) words: Vec<String>,
    /// Where it runs.
    pub(super) directory: PathBuf,
    /// Variables and substitutions whose value is not known.
    pub(super) unknown: Vec<String>,
}

/// The calls in a command line that runs in a folder.
pub(super) fn calls(line: &str, directory: &Path) -> Vec<Call> {
    let mut shell = Shell { calls: Vec::new(), runs: 0, left_bytes: EXPANSION_BYTES };
    let scope = Scope { directory: directory.to_owned(), ..Scope::default() };
    shell.run(line, scope, 0);
    shell.calls
}

/// The words in a file of options: blanks and line ends part them, quotes and backslashes hold.
pub(super) fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for token in tokens(text, Reads::Options) {
        if let Token::Word(pieces) = token {
            words.push(pieces.iter().map(Piece::written).collect());
        }
    }
    words
}

/// What a shell remembers from call to call.
#[derive(Debug, Clone, Default)]
struct Scope {
    variables: BTreeMap<String, String>,
    exported: BTreeSet<String>,
    directory: PathBuf,
}

impl Scope {
    /// Sets a variable; one that is too large, or made of what is not known, is not known either.
    fn set(&mut self, name: &str, value: &str, unknown: &[String]) {
        self.variables.remove(name);
        if unknown.iter().any(|part| value.contains(part)) {
            return;
        }
        let held: usize = self.variables.iter().map(|(name, value)| name.len() + value.len()).sum();
        if held + name.len() + value.len() <= VARIABLES_BYTES {
            self.variables.insert(name.to_owned(), value.to_owned());
        }
    }
}

struct Shell {
    calls: Vec<Call>,
    runs: usize,
    left_bytes: usize,
}

impl Shell {
    fn run(&mut self, line: &str, scope: Scope, depth: u32) {
        self.runs += 1;
        if depth > NESTING_LIMIT || self.runs > CALLS_LIMIT {
            return;
        }
        let mut scope = scope;
        let mut outer: Vec<Scope> = Vec::new();
        let mut current: Vec<Vec<Piece>> = Vec::new();
        let mut before_pipe = None;
        let mut skip_word = false;
        for token in tokens(line, Reads::Commands).into_iter().chain([Token::End]) {
            match token {
                Token::Word(_) if skip_word => skip_word = false,
                Token::Word(pieces) => current.push(pieces),
                Token::Redirect => skip_word = true,
                Token::Pipe => {
                    let kept = before_pipe.get_or_insert_with(|| scope.clone()).clone();
                    self.call(&std::mem::take(&mut current), &mut scope, depth);
                    scope = kept;
                }
                Token::End | Token::Open | Token::Close => {
                    self.call(&std::mem::take(&mut current), &mut scope, depth);
                    if let Some(kept) = before_pipe.take() {
                        scope = kept;
                    }
                    match token {
                        Token::Open if outer.len() < SUBSHELLS_LIMIT => outer.push(scope.clone()),
                        Token::Close => scope = outer.pop().unwrap_or(scope),
                        _ => {}
                    }
                }
            }
        }
    }

    fn call(&mut self, pieces: &[Vec<Piece>], scope: &mut Scope, depth: u32) {
        let mut unknown = Vec::new();
        for piece in pieces.iter().flatten() {
            // What is substituted is itself a command line.
            if let Piece::Opaque(inner) = piece {
                self.run(inner, scope.clone(), depth + 1);
            }
        }
        let mut words: Vec<(String, bool)> = Vec::new();
        for word in pieces {
            if !self.expand(word, scope, &mut words, &mut unknown) {
                return;
            }
        }
        let mut words = words.into_iter().peekable();
        while words.next_if(|(word, _)| is_keyword(word)).is_some() {}
        let mut assigned = Vec::new();
        while let Some((word, _)) = words.next_if(|(word, is_plain)| *is_plain && assignment(word).is_some())
        {
            assigned.extend(assignment(&word).map(|(name, value)| (name.to_owned(), value.to_owned())));
        }
        let words: Vec<String> = words.map(|(word, _)| word).collect();
        let Some(program) = words.first() else {
            for (name, value) in &assigned {
                scope.set(name, value, &unknown);
            }
            return;
        };
        match program.as_str() {
            "export" | "declare" | "typeset" | "local" | "readonly" => export(&words, scope, &unknown),
            "unset" => {
                for name in &words[1..] {
                    scope.variables.remove(name);
                }
            }
            "cd" | "pushd" => {
                if let Some(folder) = words[1..].iter().find(|word| !word.starts_with('-')) {
                    scope.directory = scope.directory.join(folder);
                }
            }
            "eval" => {
                let inner = words[1..].join(" ");
                self.run(&inner, scope.clone(), depth + 1);
            }
            _ => {
                let mut environment: BTreeMap<String, String> = scope
                    .variables
                    .iter()
                    .filter(|(name, _)| scope.exported.contains(*name))
                    .map(|(name, value)| (name.clone(), value.clone()))
                    .chain(assigned)
                    .collect();
                environment.retain(|name, _| KEPT.contains(&name.as_str()));
                let call = Call { environment, words, directory: scope.directory.clone(), unknown };
                self.keep(call, scope, depth);
            }
        }
    }

    /// Keeps a call; one of another shell is opened as well.
    fn keep(&mut self, call: Call, scope: &Scope, depth: u32) {
        if let Some((at, script)) = script_of(&call.words) {
            let assigned = call.words[..at].iter().filter_map(|word| assignment(word));
            let given = assigned.map(|(name, value)| (name.to_owned(), value.to_owned()));
            let mut inner = Scope { directory: call.directory.clone(), ..scope.clone() };
            for (name, value) in call.environment.clone().into_iter().chain(given) {
                inner.set(&name, &value, &call.unknown);
                inner.exported.insert(name);
            }
            self.run(&script, inner, depth + 1);
            return;
        }
        if self.calls.len() < CALLS_LIMIT {
            self.calls.push(call);
        }
    }

    /// Puts a word's pieces together; a variable outside of quotes may become several words. The flag
    /// beside a word says whether it begins outside of quotes, as an assignment must. False when the line
    /// expands to more than any shell takes.
    fn expand(
        &mut self,
        pieces: &[Piece],
        scope: &Scope,
        words: &mut Vec<(String, bool)>,
        unknown: &mut Vec<String>,
    ) -> bool {
        let is_plain = !matches!(pieces.first(), Some(Piece::Text(_, true)));
        let mut word: Option<String> = None;
        let first = pieces.first();
        let assigns = matches!(first, Some(Piece::Text(text, false)) if assignment(text).is_some());
        for piece in pieces {
            let value = match piece {
                Piece::Variable(name, _) => scope.variables.get(name),
                Piece::Text(..) | Piece::Opaque(_) => None,
            };
            let length = value.map_or(0, String::len).saturating_add(8);
            match self.left_bytes.checked_sub(length) {
                Some(left) => self.left_bytes = left,
                None => return false,
            }
            match (piece, value) {
                (Piece::Text(text, _), _) => word.get_or_insert_default().push_str(text),
                (Piece::Opaque(_), _) | (Piece::Variable(..), None) => {
                    unknown.push(piece.written());
                    word.get_or_insert_default().push_str(&piece.written());
                }
                (Piece::Variable(_, quoted), Some(value)) if *quoted || assigns => {
                    word.get_or_insert_default().push_str(value);
                }
                (Piece::Variable(..), Some(value)) => {
                    if value.starts_with(|letter: char| letter.is_ascii_whitespace()) {
                        words.extend(word.take().map(|word| (word, is_plain)));
                    }
                    let mut parts = value.split_ascii_whitespace();
                    if let Some(first) = parts.next() {
                        word.get_or_insert_default().push_str(first);
                    }
                    for part in parts {
                        words.extend(word.replace(part.to_owned()).map(|word| (word, is_plain)));
                    }
                }
            }
        }
        words.extend(word.map(|word| (word, is_plain)));
        true
    }
}

/// The position of another shell in a call, and what it is told to run.
fn script_of(words: &[String]) -> Option<(usize, String)> {
    let is_shell = |word: &String| {
        let name = word.rsplit('/').next().unwrap_or(word);
        matches!(name, "sh" | "bash" | "dash" | "zsh" | "ksh" | "ash")
    };
    let at = words.iter().position(is_shell)?;
    let options = &words[at + 1..];
    let flag = options.iter().position(|word| {
        word.starts_with('-') && !word.starts_with("--") && word.ends_with('c') && word.len() <= 6
    })?;
    Some((at, options.get(flag + 1)?.clone()))
}

fn export(words: &[String], scope: &mut Scope, unknown: &[String]) {
    let exports = words[0] == "export" || words[1..].iter().any(|word| word == "-x" || word == "-gx");
    for word in words[1..].iter().filter(|word| !word.starts_with('-')) {
        let name = match assignment(word) {
            Some((name, value)) => {
                scope.set(name, value, unknown);
                name
            }
            None => word,
        };
        if exports {
            scope.exported.insert(name.to_owned());
        }
    }
}

/// Words that stand in front of a call without being a part of it.
fn is_keyword(word: &str) -> bool {
    matches!(
        word,
        "{" | "}" | "!" | "if" | "then" | "else" | "elif" | "fi" | "do" | "done" | "while" | "until"
    )
}

/// `NAME=value`.
pub(super) fn assignment(word: &str) -> Option<(&str, &str)> {
    let (name, value) = word.split_once('=')?;
    let starts_well = name.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_');
    let is_name = starts_well && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    is_name.then_some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: &str) -> Vec<String> {
        calls(line, Path::new("/b")).into_iter().map(|call| call.words.join("|")).collect()
    }

    #[test]
    fn cuts_a_line_at_every_operator() {
        assert_eq!(said("a 1;b 2&&c 3||d 4|e 5&f"), ["a|1", "b|2", "c|3", "d|4", "e|5", "f"]);
        assert_eq!(said("(a; { b; }) && ! c\nif d; then e; fi # f; g"), ["a", "b", "c", "d", "e"]);
    }

    #[test]
    fn quotes_and_backslashes_hold() {
        assert_eq!(said(r#"a 'b; c' "d \"e\" $" f\ g h\"i"#), [r#"a|b; c|d "e" $|f g|h"i"#]);
        assert_eq!(said("a \\\n b"), ["a|b"]);
        assert_eq!(said("a '' \"\""), ["a||"]);
    }

    #[test]
    fn redirections_are_no_arguments() {
        assert_eq!(said("a b > c 2>&1 d >>e <f &> g"), ["a|b|d"]);
    }

    #[test]
    fn variables_that_the_line_sets_are_known() {
        assert_eq!(said("X='1 2'; a $X \"$X\" ${X}"), ["a|1|2|1 2|1|2"]);
        let unknown = &calls("a $Y $(b c) `d`", Path::new("/"));
        assert_eq!(unknown.last().unwrap().unknown, ["$Y", "$(b c)", "$(d)"]);
        assert_eq!(unknown.len(), 3, "what is substituted is called too");
    }

    #[test]
    fn exports_reach_what_follows_and_end_with_their_subshell() {
        let environment = |line: &str| {
            let call = calls(line, Path::new("/")).pop().unwrap();
            call.environment.get("NVCC_APPEND_FLAGS").cloned()
        };
        let environment = |line: &str| environment(&line.replace('F', "NVCC_APPEND_FLAGS"));
        assert_eq!(environment("F=1 a").as_deref(), Some("1"));
        assert_eq!(environment("export F=1; a").as_deref(), Some("1"));
        assert_eq!(environment("F=1; export F && a").as_deref(), Some("1"));
        assert_eq!(environment("F=1; a"), None);
        assert_eq!(environment("(export F=1); a"), None);
        assert_eq!(environment("export F=1 | b; a"), None);
        assert_eq!(environment("export F=1; (b; a)").as_deref(), Some("1"));
    }

    #[test]
    fn shells_in_the_shell_are_opened() {
        assert_eq!(said("sh -c 'a 1 && b 2'"), ["a|1", "b|2"]);
        assert_eq!(said("env F=1 bash -lc \"a; eval 'b c'\""), ["a", "b|c"]);
        let call = calls("NVCC_APPEND_FLAGS=1 sh -c 'a'", Path::new("/")).pop().unwrap();
        assert_eq!(call.environment["NVCC_APPEND_FLAGS"], "1");
    }

    #[test]
    fn folders_are_followed() {
        let call = calls("cd x && (cd y; a) && b", Path::new("/r"));
        let folders: Vec<_> = call.iter().map(|call| call.directory.display().to_string()).collect();
        assert_eq!(folders, ["/r/x/y", "/r/x"]);
    }

    #[test]
    fn a_file_of_options_knows_no_operators() {
        assert_eq!(words("-a 'b c'\n\"-d=[e]\" $f;g"), ["-a", "b c", "-d=[e]", "$f;g"]);
    }

    #[test]
    fn variables_that_grow_out_of_all_bounds_come_to_an_end() {
        let doubling = format!("X=1234567890; {} a $X", "X=$X$X; ".repeat(60));
        let call = calls(&doubling, Path::new("/")).pop().unwrap();
        assert_eq!(call.unknown, ["$X"]);
        let many = format!("X={}; a {}", "1".repeat(100_000), "$X ".repeat(10_000));
        assert!(calls(&many, Path::new("/")).is_empty());
    }

    #[test]
    fn no_input_is_too_strange() {
        for text in ["'", "\"", "$(", "${", "`", "\\", "((((", "))))", ">", "&&&&||", "$", "sh -c", "a=$"] {
            let _ = (said(text), words(text));
        }
        let deep = "$(".repeat(100_000);
        assert!(said(&deep).len() < 100);
        let _ = said(&"(".repeat(100_000));
    }
}
