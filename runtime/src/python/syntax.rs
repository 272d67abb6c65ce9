//! Whether a text is Python, as an interpreter of this machine reads it; nothing of the text is run.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;

use crate::process_tree::{self, RunLimits};

/// Parsing a megabyte takes seconds.
const LIMITS: RunLimits = RunLimits { time: Duration::from_secs(30), log_bytes: 1 << 16 };

/// From this version on the syntax is that of the boards' images, as far as kernels use it.
const MODERN: (u32, u32) = (3, 12);

/// Parses a file and says what is wrong with it.
const PARSE: &str = "\
import ast, json, sys
said = {'version': list(sys.version_info[:2])}
try:
    ast.parse(open(sys.argv[1], 'rb').read())
except (SyntaxError, ValueError) as error:
    said['line'] = getattr(error, 'lineno', None) or 0
    said['message'] = getattr(error, 'msg', None) or str(error)
print(json.dumps(said))
";

/// How far an interpreter's word on a text reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Its own version alone: a newer one may read the text.
    Own,
    /// Later versions too: no version has changed what is wrong.
    Later,
    /// The boards' images, whose syntax it has.
    Boards,
}

/// How the messages begin that no newer version takes back.
const FOR_GOOD: [&str; 6] = [
    "Missing parentheses in call to",
    "unexpected indent",
    "unindent does not match",
    "expected an indented block",
    "inconsistent use of tabs",
    "unmatched",
];

fn reach(version: (u32, u32), message: &str) -> Reach {
    let is_for_good =
        FOR_GOOD.iter().any(|start| message.starts_with(start)) || message.ends_with("was never closed");
    match (version < MODERN, is_for_good) {
        (false, _) => Reach::Boards,
        (true, true) => Reach::Later,
        (true, false) => Reach::Own,
    }
}

/// What an interpreter says of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Syntax {
    /// It can be parsed.
    Valid,
    /// It cannot.
    Invalid {
        /// The line, from one; zero where it says none.
        line: usize,
        /// What is wrong, escaped.
        message: String,
        /// The interpreter's version.
        version: String,
        /// Which other versions do not read it either.
        reach: Reach,
    },
    /// No interpreter could be asked.
    Unasked,
}

#[derive(Deserialize)]
struct Answer {
    version: (u32, u32),
    line: Option<usize>,
    message: Option<String>,
}

/// Asks an interpreter whether it can parse a text.
#[must_use]
pub fn check(program: &Path, text: &str) -> Syntax {
    asked(program, text).unwrap_or(Syntax::Unasked)
}

fn asked(program: &Path, text: &str) -> Option<Syntax> {
    let mut file = tempfile::NamedTempFile::new().ok()?;
    file.write_all(text.as_bytes()).ok()?;
    let mut command = Command::new(program);
    command.args(["-I", "-S", "-B", "-W", "ignore", "-c", PARSE]).arg(file.path());
    let finished = process_tree::run(command, LIMITS, &mut |_| {}).ok()?;
    let Answer { version, line, message } = serde_json::from_str(finished.log.lines().last()?).ok()?;
    Some(match message {
        None => Syntax::Valid,
        Some(message) => Syntax::Invalid {
            line: line.unwrap_or_default(),
            message: proofmark_packager::escape::line(&message),
            version: format!("{}.{}", version.0, version.1),
            reach: reach(version, &message),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_python_from_what_is_none_and_runs_nothing() {
        let python = Path::new("python3");
        assert_eq!(check(python, "def f(x):\n    return x\nraise SystemExit(3)\n"), Syntax::Valid);
        let Syntax::Invalid { line, .. } = check(python, "def f(x):\n    return (x\n") else {
            panic!("a parenthesis is open");
        };
        assert_eq!(line, 2);
        assert_eq!(reach((3, 11), "'(' was never closed"), Reach::Later);
        assert_eq!(reach((3, 11), "invalid syntax"), Reach::Own);
        assert_eq!(reach((3, 12), "invalid syntax"), Reach::Boards);
        assert!(matches!(check(python, "a\0"), Syntax::Invalid { .. }));
        assert_eq!(check(Path::new("/no/such/python"), "x"), Syntax::Unasked);
    }
}
