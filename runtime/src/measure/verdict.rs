//! How a submission did on one workload. A verdict is a finding; an error means that we could not
//! judge.

use std::fmt;

use proofmark_packager::interop::flashinfer::Status;
use proofmark_player::PlayerEnd;
use serde::{Deserialize, Serialize};

/// How the player's script begins what it says of an output of another shape, and of another element type.
const INCORRECT_SHAPE: &str = "IncorrectShape: ";
const INCORRECT_DTYPE: &str = "IncorrectDtype: ";

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
    /// An output that it returned has another shape.
    IncorrectShape {
        /// Which output, found and expected.
        reason: String,
    },
    /// An output that it returned has another element type.
    IncorrectDtype {
        /// Which output, found and expected.
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
    /// What a player's end says of what it ran. The player's script raises errors of its own names for outputs that
    /// are not as they should be; an entry point that raises them itself fails all the same.
    pub fn of_end(end: &PlayerEnd, reason: String) -> Self {
        match end {
            PlayerEnd::TimedOut { .. } => Self::Timeout { reason },
            PlayerEnd::Raised { text } if text.starts_with(INCORRECT_SHAPE) => {
                Self::IncorrectShape { reason }
            }
            PlayerEnd::Raised { text } if text.starts_with(INCORRECT_DTYPE) => {
                Self::IncorrectDtype { reason }
            }
            _ => Self::RuntimeError { reason },
        }
    }

    /// The name in a record and on the screen.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::IncorrectNumerical { .. } => "incorrect_numerical",
            Self::IncorrectShape { .. } => "incorrect_shape",
            Self::IncorrectDtype { .. } => "incorrect_dtype",
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
            | Self::IncorrectShape { reason }
            | Self::IncorrectDtype { reason }
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
            Self::IncorrectShape { .. } => Status::IncorrectShape,
            Self::IncorrectDtype { .. } => Status::IncorrectDtype,
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
    fn an_output_of_another_shape_or_type_is_no_error_of_the_entry_point() {
        let of = |text: &str| Verdict::of_end(&PlayerEnd::Raised { text: text.to_owned() }, String::new());
        assert_eq!(of("IncorrectShape: output 0").flashinfer_status(), Status::IncorrectShape);
        assert_eq!(of("IncorrectDtype: output 0").flashinfer_status(), Status::IncorrectDtype);
        assert_eq!(of("ValueError: IncorrectShape: ").name(), "runtime_error");
    }

    #[test]
    fn a_failure_keeps_its_reason_through_a_record() {
        let verdict = Verdict::UntrustedTiming { reason: "no kernel ran".to_owned() };
        let json = serde_json::to_string(&verdict).unwrap();
        assert_eq!(json, r#"{"status":"untrusted_timing","reason":"no kernel ran"}"#);
        assert_eq!(serde_json::from_str::<Verdict>(&json).unwrap(), verdict);
        assert_eq!(serde_json::to_string(&Verdict::Passed).unwrap(), r#"{"status":"passed"}"#);
    }
}
