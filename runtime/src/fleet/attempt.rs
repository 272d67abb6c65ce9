//! One try at a shard: who began it when, and how it ended.

use proofmark_packager::Digest;
use proofmark_packager::interop::flashinfer::Timestamp;
use serde::{Deserialize, Serialize};

use super::plan::{content, line_of};

/// An attempt begins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttemptStart {
    /// When.
    pub timestamp: Timestamp,
    /// On which machine.
    pub host: String,
    /// The process there.
    pub process: u32,
    /// What the scheduler calls it, such as `slurm 12_3, restart 1`.
    pub scheduled_as: Option<String>,
}

/// An attempt has an outcome, which it is about to publish.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttemptOutcome {
    /// The SHA-256 of the file that it writes.
    pub outcome_sha256: Digest,
}

/// An attempt ended by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttemptEnd {
    /// When.
    pub timestamp: Timestamp,
    /// How long it took.
    pub seconds: f64,
    /// The exit code of the job's verb.
    pub exit_code: u8,
    /// Why there is no outcome.
    pub error: Option<String>,
}

/// One try at a shard.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// Its beginning.
    pub begun: AttemptStart,
    /// The SHA-256 of the outcome that it had.
    pub outcome: Option<Digest>,
    /// Its end; `None` where it runs, was killed, or its machine died.
    pub ended: Option<AttemptEnd>,
}

impl AttemptStart {
    /// Here and now.
    pub fn now(scheduled_as: Option<String>) -> Self {
        Self { timestamp: Timestamp::now(), host: host(), process: std::process::id(), scheduled_as }
    }

    /// Whether a process of this machine began it.
    pub fn is_by(&self, process: u32) -> bool {
        self.process == process && self.host == host()
    }

    /// Its line, without the line feed.
    pub fn to_line(&self) -> String {
        line_of("begun", self)
    }
}

/// What this machine calls itself.
fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

impl AttemptOutcome {
    /// Its line, without the line feed.
    pub fn to_line(&self) -> String {
        line_of("outcome", self)
    }
}

impl AttemptEnd {
    /// Now, after so long.
    pub fn now(seconds: f64, exit_code: u8, error: Option<String>) -> Self {
        Self { timestamp: Timestamp::now(), seconds, exit_code, error }
    }

    /// Its line, without the line feed.
    pub fn to_line(&self) -> String {
        line_of("ended", self)
    }
}

/// What Slurm calls this process, by its variables.
pub fn scheduled_as(variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    let job = variable("SLURM_ARRAY_JOB_ID").or_else(|| variable("SLURM_JOB_ID"))?;
    let task = variable("SLURM_ARRAY_TASK_ID").map(|task| format!("_{task}")).unwrap_or_default();
    let restart = variable("SLURM_RESTART_COUNT").map(|count| format!(", restart {count}"));
    Some(format!("slurm {job}{task}{}", restart.unwrap_or_default()))
}

/// The attempts in a file's text; lines that do not read count for nothing.
pub(super) fn read(text: &str) -> Vec<Attempt> {
    let mut attempts: Vec<Attempt> = Vec::new();
    for line in text.lines() {
        if let Ok(begun) = content("begun", line) {
            attempts.push(Attempt { begun, outcome: None, ended: None });
        } else if let Some(last) = attempts.last_mut() {
            if let Ok(AttemptOutcome { outcome_sha256 }) = content("outcome", line) {
                last.outcome = Some(outcome_sha256);
            } else if let Ok(ended) = content("ended", line) {
                last.ended = Some(ended);
            }
        }
    }
    attempts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheduler_is_named_with_task_and_restart() {
        let of = |known: &[(&str, &str)]| {
            let known: Vec<_> =
                known.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
            scheduled_as(move |name| {
                known.iter().find(|(one, _)| one == name).map(|(_, value)| value.clone())
            })
        };
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[("SLURM_JOB_ID", "7")]).unwrap(), "slurm 7");
        let array = [
            ("SLURM_JOB_ID", "9"),
            ("SLURM_ARRAY_JOB_ID", "7"),
            ("SLURM_ARRAY_TASK_ID", "3"),
            ("SLURM_RESTART_COUNT", "1"),
        ];
        assert_eq!(of(&array).unwrap(), "slurm 7_3, restart 1");
    }
}
