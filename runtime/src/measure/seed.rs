//! Where inputs and their order come from, and the commitment that is shown before it is used.

use std::fmt;
use std::str::FromStr;

use proofmark_packager::{Digest, DigestBuilder};

/// A secret from which inputs and their order are made: 64 bits, written as a text of digits, because a JSON
/// number loses bits above 2^53. A run has one, and from it follows one for each workload, which the workload's
/// record reveals when it has been measured; the run's own is revealed at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed(pub u64);

impl Seed {
    /// A number from the system's source of secrets.
    pub fn secret() -> Self {
        let mut bytes = [0; 8];
        fill_with_secret(&mut bytes);
        Self(u64::from_le_bytes(bytes))
    }

    /// The seed of one workload: whoever learns it when its workload has been measured knows nothing of the others'.
    #[must_use]
    pub fn of_workload(self, uuid: &str) -> Self {
        let derived = DigestBuilder::new("proofmark/workload-seed/1").number(self.0).text(uuid).finish();
        let (first, _) = derived.as_bytes().split_first_chunk().expect("a digest has 32 bytes");
        Self(u64::from_le_bytes(*first))
    }

    /// What can be shown before the seed is used: whoever learns the seed can check it, and nobody can
    /// choose another seed for it. Of a 64-bit seed it hides nothing from a patient search, so it is
    /// never shown to the process that runs a submission.
    pub fn commitment(self) -> Digest {
        DigestBuilder::new("proofmark/seed/1").number(self.0).finish()
    }
}

/// Fills a buffer from the system's source of secrets.
///
/// # Panics
/// Where the system has none: nothing here could be trusted then.
pub fn fill_with_secret(buffer: &mut [u8]) {
    let mut filled = 0;
    while filled < buffer.len() {
        let rest = &mut buffer[filled..];
        match rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("every Linux since 3.17 has getrandom: {error}"),
        }
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)
    }
}

/// A text that is no seed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a whole number below 2^64, or `0x` and hexadecimal digits")]
pub struct SeedError;

impl FromStr for Seed {
    type Err = SeedError;

    /// Reads decimal digits, or `0x` and hexadecimal ones.
    fn from_str(text: &str) -> Result<Self, SeedError> {
        match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => text.parse(),
        }
        .map(Self)
        .map_err(|_| SeedError)
    }
}

proofmark_packager::text_form!(Seed);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_workload_has_a_seed_that_tells_nothing_of_another() {
        let seeds = ["a", "b"].map(|uuid| Seed(7).of_workload(uuid));
        assert_ne!(seeds[0], seeds[1]);
        assert_ne!(seeds[0], Seed(8).of_workload("a"));
        assert_eq!(seeds[0], Seed(7).of_workload("a"));
        assert_ne!(seeds[0].of_workload("b"), seeds[1], "it does not follow from another's");
    }

    #[test]
    fn keeps_all_64_bits_and_commits_to_them() {
        for seed in [Seed(0), Seed(u64::MAX), Seed((1 << 53) + 1)] {
            let json = serde_json::to_string(&seed).unwrap();
            assert_eq!(serde_json::from_str::<Seed>(&json).unwrap(), seed, "{json}");
            assert_eq!(seed.to_string().parse(), Ok(seed));
        }
        assert_eq!("12".parse(), Ok(Seed(12)));
        assert!("12a".parse::<Seed>().is_err() && "-1".parse::<Seed>().is_err());
        assert_ne!(Seed(1).commitment(), Seed(2).commitment());
    }
}
