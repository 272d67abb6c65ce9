//! Why a call cannot be recorded.

use super::error::DeviceError;

/// Why a call cannot be recorded.
#[derive(Debug)]
pub(crate) enum Uncaptured {
    /// The entry point raised an error.
    Raised(String),
    /// The driver or this file refuses, in words.
    Refused(String),
}

impl From<DeviceError> for Uncaptured {
    fn from(error: DeviceError) -> Self {
        Self::Refused(error.to_string())
    }
}
