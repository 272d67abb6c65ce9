//! When something was measured, as ISO 8601 in UTC.

use std::fmt;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

/// A moment as a text such as `2026-11-21T07:02:07.000000+00:00`.
///
/// Their reader takes any non-empty text; this is the spelling that Python's `fromisoformat`
/// understands in every version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(String);

/// An empty text where a moment belongs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a timestamp holds at least one character")]
pub struct EmptyTimestamp;

impl Timestamp {
    /// This moment.
    pub fn now() -> Self {
        Self::from(SystemTime::now())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<SystemTime> for Timestamp {
    /// Writes a moment; one before 1970 counts as 1970.
    fn from(time: SystemTime) -> Self {
        let moment = jiff::Timestamp::try_from(time).unwrap_or_default().max(jiff::Timestamp::UNIX_EPOCH);
        Self(moment.strftime("%FT%T%.6f+00:00").to_string())
    }
}

impl TryFrom<String> for Timestamp {
    type Error = EmptyTimestamp;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.is_empty() { Err(EmptyTimestamp) } else { Ok(Self(text)) }
    }
}

impl From<Timestamp> for String {
    fn from(timestamp: Timestamp) -> Self {
        timestamp.0
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn writes_known_moments() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00.000000+00:00"),
            (951_782_400, "2000-02-29T00:00:00.000000+00:00"),
            (1_709_251_199, "2024-02-29T23:59:59.000000+00:00"),
            (1_735_689_600, "2025-01-01T00:00:00.000000+00:00"),
            (4_107_542_400, "2100-03-01T00:00:00.000000+00:00"),
        ] {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(Timestamp::from(time).as_str(), expected);
        }
        let micros = UNIX_EPOCH + Duration::from_nanos(1_500_000_999);
        assert_eq!(Timestamp::from(micros).as_str(), "1970-01-01T00:00:01.500000+00:00");
        let before = UNIX_EPOCH - Duration::from_millis(1);
        assert_eq!(Timestamp::from(before).as_str(), "1970-01-01T00:00:00.000000+00:00");
    }
}
