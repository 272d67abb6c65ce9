//! The name of one run: told apart from every other, sorted by the time of its start.

use std::fmt;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use proofmark_packager::Digest;

/// The name of one run: 48 bits of milliseconds since 1970 and 80 random bits, as 32 hexadecimal
/// digits. A run that goes on after an interruption keeps its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(u128);

/// A text that names no run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no run id: expected 32 hexadecimal digits", found.escape_debug())]
pub struct RunIdError {
    /// The text.
    pub found: String,
}

impl RunId {
    /// A name that no other run has.
    pub fn fresh() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut random = [0; 16];
        crate::measure::seed::fill_with_secret(&mut random);
        Self((since.as_millis() << 80) | (u128::from_le_bytes(random) >> 48))
    }

    /// The name that follows from what is to be done: the same each time. Whoever does it takes a fresh one.
    pub fn derived(from: Digest) -> Self {
        let first: [u8; 16] = std::array::from_fn(|place| from.as_bytes()[place]);
        Self(u128::from_be_bytes(first))
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.0)
    }
}

impl FromStr for RunId {
    type Err = RunIdError;

    fn from_str(text: &str) -> Result<Self, RunIdError> {
        let is_hex = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let number = is_hex.then(|| u128::from_str_radix(text, 16).ok()).flatten();
        number.map(Self).ok_or_else(|| RunIdError { found: text.to_owned() })
    }
}

proofmark_packager::text_form!(RunId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_ordered_by_time_and_read_back() {
        let first = RunId::fresh();
        std::thread::sleep(std::time::Duration::from_millis(3));
        let second = RunId::fresh();
        assert!(first < second, "{first} {second}");
        assert_eq!(first.to_string().parse(), Ok(first));
        for wrong in ["", "1", "g0000000000000000000000000000000", "+0000000000000000000000000000000"] {
            assert!(wrong.parse::<RunId>().is_err(), "{wrong}");
        }
    }
}
