//! How a submission did on one workload. A verdict is a finding; an error means that we could not
//! judge.

use std::fmt;

use proofmark_packager::interop::flashinfer::Status;
use serde::{Deserialize, Serialize};

/// How a submission did on one workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
#[must_use]
pub enum Verdict {
    /// Every checked output was right, and the timing can be believed.
    Passed,
    /// Values are off.
    IncorrectNumerical {
        /// Which output, at which call, by how much.
        reason: String,
    },
    /// The child crashed, exited early or reported an error.
    RuntimeError {
        /// How it ended, and the end of its stderr.
        reason: String,
    },
    /// The child did not answer in time.
    Timeout {
        /// What was waited for, and how long.
        reason: String,
    },
    /// What it launches cannot be recorded, and measuring it live was not asked for.
    NotRecorded {
        /// What a recording does not carry.
        reason: String,
    },
    /// Outputs were right, but the clocks disagree or work ran outside the timed span.
    UntrustedTiming {
        /// Which clocks, which work.
        reason: String,
    },
}

impl Verdict {
    /// The name in a record and on the screen.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::IncorrectNumerical { .. } => "incorrect_numerical",
            Self::RuntimeError { .. } => "runtime_error",
            Self::Timeout { .. } => "timeout",
            Self::NotRecorded { .. } => "not_recorded",
            Self::UntrustedTiming { .. } => "untrusted_timing",
        }
    }

    /// Why it is not a pass.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Passed => None,
            Self::IncorrectNumerical { reason }
            | Self::RuntimeError { reason }
            | Self::Timeout { reason }
            | Self::NotRecorded { reason }
            | Self::UntrustedTiming { reason } => Some(reason),
        }
    }

    /// Whether it passed.
    #[must_use]
    pub fn is_passed(&self) -> bool {
        matches!(self, Self::Passed)
    }

    /// The closest status of FlashInfer-Bench. It knows no distrust: a timing that cannot be
    /// believed, or was not taken, must not become a latency, so it counts as a failure while running.
    #[must_use]
    pub fn flashinfer_status(&self) -> Status {
        match self {
            Self::Passed => Status::Passed,
            Self::IncorrectNumerical { .. } => Status::IncorrectNumerical,
            Self::RuntimeError { .. } | Self::NotRecorded { .. } | Self::UntrustedTiming { .. } => {
                Status::RuntimeError
            }
            Self::Timeout { .. } => Status::Timeout,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason() {
            None => formatter.write_str(self.name()),
            Some(reason) => write!(formatter, "{}: {reason}", self.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_keeps_its_reason_through_a_record() {
        let verdict = Verdict::UntrustedTiming { reason: "no kernel ran".to_owned() };
        let json = serde_json::to_string(&verdict).unwrap();
        assert_eq!(json, r#"{"status":"untrusted_timing","reason":"no kernel ran"}"#);
        assert_eq!(serde_json::from_str::<Verdict>(&json).unwrap(), verdict);
        assert_eq!(serde_json::to_string(&Verdict::Passed).unwrap(), r#"{"status":"passed"}"#);
    }
}
