//! Whether a number rests on a recording.

use serde::{Deserialize, Serialize};

/// What was measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Trust {
    /// Proven machine code, launched as it was recorded, in a process without the submission's host code.
    Hermetic,
    /// The process that runs the submission's host code, which can forge what is read in it.
    Live {
        /// Why it was not recorded.
        reason: String,
    },
}

impl Trust {
    /// What records say that were written before there were recordings.
    pub fn before_recordings() -> Self {
        Self::Live { reason: "measured before there were recordings".to_owned() }
    }

    /// Whether it rests on a recording.
    pub fn is_hermetic(&self) -> bool {
        *self == Self::Hermetic
    }

    /// The word on a screen.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Hermetic => "hermetic",
            Self::Live { .. } => "live",
        }
    }
}
