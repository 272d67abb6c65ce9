//! A job done on another machine, over ssh: the document goes in, the outcome comes back.
//!
//! The other machine needs this program and nothing else of ours. What it says is a stranger's: the outcome
//! is parsed within a budget before anybody sees it, and the exit code is one of our table or none.

use std::fmt;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::str::FromStr;
use std::thread;

use proofmark_packager::json::{self, Budget, JsonError};
use serde_json::Value;

use crate::job::outcome;

/// Largest outcome that is taken, in bytes: raw samples of a thousand workloads are a tenth of it.
const LARGEST_ANSWER_BYTES: u64 = 256 << 20;

/// Most of what the other side says that is kept, in bytes.
const LARGEST_TALK_BYTES: u64 = 64 << 10;

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
    #[error("{host} answered with no outcome ({ended}): {said}")]
    NoOutcome {
        /// Where.
        host: Host,
        /// How the program ended.
        ended: ExitStatus,
        /// What it said.
        said: String,
        /// What is wrong with the answer, where it has text.
        source: Option<JsonError>,
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
    match ended.code() {
        Some(NO_CONNECTION) => return Err(RemoteError::NoConnection { host: host(), said }),
        Some(NO_PROGRAM) => {
            return Err(RemoteError::NoProgram { host: host(), program: program.to_owned(), said });
        }
        _ => {}
    }
    let text = String::from_utf8_lossy(&document);
    let parsed = json::parse::<Value>(&text, Budget::SAMPLES);
    let is_ours =
        |document: &Value| matches!(document["schema"].as_str(), Some(outcome::SCHEMA | "proofmark.error"));
    match (parsed, ended.code()) {
        (Ok(document), Some(code)) if is_ours(&document) => Ok(Answer { document, code, said }),
        (parsed, _) => Err(RemoteError::NoOutcome { host: host(), ended, said, source: parsed.err() }),
    }
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
    fn a_program_stays_one_word() {
        assert_eq!(quoted("/opt/it's here/proofmark"), r"'/opt/it'\''s here/proofmark'");
    }
}
