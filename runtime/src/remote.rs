//! A job done on another machine, over ssh: the document goes in, the outcome comes back.
//!
//! The other machine needs this program and nothing else of ours. What it says is a stranger's: the outcome
//! is parsed within a budget before anybody sees it, and the exit code is one of our table or none. A shell there
//! that prints something of its own, such as a greeting, costs no outcome: the document is found in what came.

use std::fmt;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::str::FromStr;
use std::thread;

use proofmark_packager::escape;
use proofmark_packager::json::{self, Budget, JsonError};
use serde::de::IgnoredAny;
use serde_json::{Deserializer, Value};

use crate::job::outcome;

/// Largest outcome that is taken, in bytes: raw samples of a thousand workloads are a tenth of it.
const LARGEST_ANSWER_BYTES: u64 = 256 << 20;

/// Most of what the other side says that is kept, in bytes.
const LARGEST_TALK_BYTES: u64 = 64 << 10;

/// How many places are tried at which a document may begin.
const MOST_PLACES: usize = 10_000;

/// Most letters of a stranger's line that are quoted.
const QUOTED_LETTERS: usize = 120;

/// Schemas of the documents that answer a job.
const ANSWERS: [&str; 2] = [outcome::SCHEMA, "proofmark.error"];

/// What `ssh` itself exits with when there is no connection.
const NO_CONNECTION: i32 = 255;

/// What a shell exits with when there is no such program.
const NO_PROGRAM: i32 = 127;

/// Where a job is done: `ssh:[user@]host`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host(String);

/// A text that names no host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} names no host: expected `ssh:HOST` or `ssh:USER@HOST`, as ssh itself takes it")]
pub struct HostParseError {
    found: String,
}

impl FromStr for Host {
    type Err = HostParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_plain = |one: char| one.is_ascii_alphanumeric() || "._-@:%[]".contains(one);
        let host = text
            .strip_prefix("ssh:")
            .filter(|host| !host.is_empty() && !host.starts_with('-') && host.chars().all(is_plain));
        host.map(|host| Self(host.to_owned())).ok_or_else(|| HostParseError { found: text.to_owned() })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ssh:{}", self.0)
    }
}

/// Why there is no outcome.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// ssh could not be started, or the conversation broke off.
    #[error("cannot talk to {host}")]
    Talk {
        /// Where to.
        host: Host,
        /// The system's reason.
        source: io::Error,
    },
    /// ssh did not reach the host.
    #[error("ssh did not reach {host}: {said}")]
    NoConnection {
        /// Where to.
        host: Host,
        /// What ssh said.
        said: String,
    },
    /// The program is not there.
    #[error("{host} has no program {program:?}: {said}")]
    NoProgram {
        /// Where.
        host: Host,
        /// Its name or path there.
        program: String,
        /// What the shell there said.
        said: String,
    },
    /// What came back is no outcome.
    #[error("{host} answered with no outcome ({ended}){}", found(printed, said))]
    NoOutcome {
        /// Where.
        host: Host,
        /// How the program ended.
        ended: ExitStatus,
        /// What it said.
        said: String,
        /// The first line that it printed, fit to be shown; empty where it printed none.
        printed: String,
    },
    /// What came back cannot be taken for an outcome, although one is in it.
    #[error("{host} answered with an outcome that cannot be read ({ended}){}", kept(place.as_deref()))]
    Unreadable {
        /// Where.
        host: Host,
        /// How the program ended.
        ended: ExitStatus,
        /// Where all that came was written to, so that it is not lost.
        place: Option<PathBuf>,
        /// What is wrong with it.
        source: JsonError,
    },
    /// Several documents came back.
    #[error("{host} answered with {count} outcomes{}", kept(place.as_deref()))]
    Several {
        /// Where.
        host: Host,
        /// How many.
        count: usize,
        /// Where all that came was written to, so that it is not lost.
        place: Option<PathBuf>,
    },
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The document: an outcome, or why there is none.
    pub document: Value,
    /// The exit code of the program there.
    pub code: i32,
    /// What it said beside; a stranger's text.
    pub said: String,
    /// The first line that was printed around the document and is no part of it, fit to be shown.
    pub printed_beside: Option<String>,
}

/// What came, where no document is in it.
fn found(printed: &str, said: &str) -> String {
    match (printed, said) {
        ("", "") => ": it printed nothing".to_owned(),
        ("", said) => format!(": {said}"),
        (printed, "") => format!(": it printed `{printed}`"),
        (printed, said) => format!(": it printed `{printed}`, and said: {said}"),
    }
}

fn kept(place: Option<&Path>) -> String {
    place.map_or_else(String::new, |place| format!("; all that came is kept in {}", place.display()))
}

/// Keeps what came where the next sweep of temporary files takes it, and no earlier.
fn keep(answer: &[u8]) -> Option<PathBuf> {
    let mut file = tempfile::Builder::new().prefix("proofmark-answer-").suffix(".txt").tempfile().ok()?;
    file.write_all(answer).ok()?;
    file.keep().ok().map(|(_, path)| path)
}

/// Has a job done elsewhere. `ssh` is the program that connects; `program` is ours on the other side.
pub fn run(ssh: &Path, host: &Host, program: &str, job: &str) -> Result<Answer, RemoteError> {
    let talk = |source| RemoteError::Talk { host: host.clone(), source };
    let mut child = Command::new(ssh)
        .args(["-T", "-o", "BatchMode=yes", &host.0, "--"])
        .arg(format!("{} job run -", quoted(program)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(talk)?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (document, said) = thread::scope(|scope| {
        // Whoever hangs up early says why by its exit code.
        scope.spawn(move || stdin.map(|mut pipe| pipe.write_all(job.as_bytes())));
        let talk = scope.spawn(move || stderr.map(|pipe| read(pipe, LARGEST_TALK_BYTES)));
        let document = stdout.map(|pipe| read(pipe, LARGEST_ANSWER_BYTES)).unwrap_or_default();
        (document, talk.join().ok().flatten().unwrap_or_default())
    });
    let ended = child.wait().map_err(talk)?;
    let said = String::from_utf8_lossy(&said).trim_end().to_owned();
    let host = || host.clone();
    let text = String::from_utf8_lossy(&document);
    // A document that came whole counts, however the connection ended.
    let mut found = documents(&text);
    match (found.pop(), found.len()) {
        (Some(one), 0) => {
            return match json::parse::<Value>(&text[one.clone()], Budget::SAMPLES) {
                Ok(document) => {
                    let code = code_of(&document, ended);
                    let beside = [&text[..one.start], &text[one.end..]];
                    let printed_beside = beside.into_iter().find_map(first_line);
                    Ok(Answer { document, code, said, printed_beside })
                }
                Err(source) => {
                    Err(RemoteError::Unreadable { host: host(), ended, place: keep(text.as_bytes()), source })
                }
            };
        }
        (Some(_), more) => {
            return Err(RemoteError::Several { host: host(), count: more + 1, place: keep(text.as_bytes()) });
        }
        (None, _) => {}
    }
    match ended.code() {
        Some(NO_CONNECTION) => return Err(RemoteError::NoConnection { host: host(), said }),
        Some(NO_PROGRAM) => {
            return Err(RemoteError::NoProgram { host: host(), program: program.to_owned(), said });
        }
        _ => {}
    }
    let broken = json::parse::<Value>(&text, Budget::SAMPLES).err();
    match broken {
        // One that was cut, or that something stands in the middle of.
        Some(source) if ANSWERS.iter().any(|schema| text.contains(schema)) => {
            Err(RemoteError::Unreadable { host: host(), ended, place: keep(text.as_bytes()), source })
        }
        _ => {
            let printed = first_line(&text).unwrap_or_default();
            Err(RemoteError::NoOutcome { host: host(), ended, said, printed })
        }
    }
}

/// Where the documents that answer a job stand in what was printed.
fn documents(text: &str) -> Vec<Range<usize>> {
    let (mut found, mut from) = (Vec::new(), 0);
    for _ in 0..MOST_PLACES {
        let Some(start) = text[from..].find('{').map(|at| from + at) else { break };
        let mut reader = Deserializer::from_str(&text[start..]).into_iter::<IgnoredAny>();
        from = match reader.next() {
            // What lies in another document is none of its own.
            Some(Ok(IgnoredAny)) => {
                let end = start + reader.byte_offset();
                if is_answer(&text[start..end]) {
                    found.push(start..end);
                }
                end
            }
            _ => start + 1,
        };
    }
    found
}

/// Whether a document says that it is one.
fn is_answer(text: &str) -> bool {
    #[derive(serde::Deserialize)]
    struct Head {
        schema: String,
    }
    serde_json::from_str::<Head>(text).is_ok_and(|head| ANSWERS.contains(&head.schema.as_str()))
}

/// The exit code of the program there; what a document says of its own, where the connection ended with another.
fn code_of(document: &Value, ended: ExitStatus) -> i32 {
    let own = document["exit_code"].as_i64().and_then(|code| i32::try_from(code).ok());
    match (ended.code(), own) {
        (Some(NO_CONNECTION) | None, Some(own)) => own,
        (code, _) => code.unwrap_or(NO_CONNECTION),
    }
}

/// The first line with something in it, fit to be shown.
fn first_line(text: &str) -> Option<String> {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    let quoted: String = line.chars().take(QUOTED_LETTERS).collect();
    let rest = if quoted.len() < line.len() { "…" } else { "" };
    Some(escape::line(&quoted) + rest)
}

/// As a shell takes it for one word.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Reads to the end, and keeps so much of it.
fn read(mut pipe: impl Read, most_bytes: u64) -> Vec<u8> {
    let mut kept = Vec::new();
    let _ = pipe.by_ref().take(most_bytes).read_to_end(&mut kept);
    // The rest is read as well, so that the other side never waits.
    let _ = io::copy(&mut pipe, &mut io::sink());
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_never_taken_for_an_option_or_a_command() {
        for text in ["ssh:gpu-1", "ssh:me@10.0.0.1", "ssh:[::1]"] {
            assert_eq!(text.parse::<Host>().unwrap().to_string(), text);
        }
        for text in ["gpu-1", "ssh:", "ssh:-oProxyCommand=x", "ssh:a b", "ssh:a;b", "ssh:$(x)", "slurm:a"] {
            assert!(text.parse::<Host>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_document_is_found_in_whatever_stands_around_it_and_not_within_another() {
        let outcome = r#"{ "schema": "proofmark.outcome", "job": "x" }"#;
        for (before, after) in
            [("", ""), ("welcome\n", "\n"), ("{ not JSON\n{\"a\": 1}", "bye }"), ("\u{feff}", "")]
        {
            let text = format!("{before}{outcome}{after}");
            let found = documents(&text);
            assert_eq!((found.len(), &text[found[0].clone()]), (1, outcome), "{text}");
        }
        assert_eq!(documents(&format!("{outcome}\n{outcome}")).len(), 2);
        for none in ["", "welcome", &outcome[..outcome.len() - 1], &format!(r#"{{ "inner": {outcome} }}"#)] {
            assert!(documents(none).is_empty(), "{none}");
        }
    }

    #[test]
    fn a_program_stays_one_word() {
        assert_eq!(quoted("/opt/it's here/proofmark"), r"'/opt/it'\''s here/proofmark'");
    }
}
