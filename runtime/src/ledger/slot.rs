//! What there is one champion of.

use std::fmt;

use proofmark_packager::Arch;
use serde::{Deserialize, Serialize};

/// What there is one champion of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slot {
    /// The definition's name.
    pub definition: String,
    /// The architecture that is built for.
    pub arch: Arch,
    /// The device's model.
    pub device: String,
}

impl fmt::Display for Slot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} in {} on {}", self.definition, self.arch, self.device)
    }
}
