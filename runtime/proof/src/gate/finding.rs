//! One thing that is not as a policy asks.

use serde::Serialize;

/// What kind of thing it is: the words by which a waiver names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingKind {
    /// Machine code for a required architecture is not there.
    Missing,
    /// Machine code for an architecture that is not allowed.
    MachineCode,
    /// PTX that is not allowed.
    Ptx,
    /// LTO-IR that is not allowed.
    LtoIr,
    /// Device code in a file that may hold none, or that no rule is about.
    DeviceCode,
    /// A GPU on which nothing in the file would run.
    RunsOn,
    /// Witnesses disagree.
    Contradicted,
    /// Something could not be read or accounted for.
    Unreadable,
    /// Code that may appear at run time.
    RuntimeJit,
    /// A rule that is about no file with device code.
    UnusedRule,
    /// No file holds device code, and the policy is about files that do.
    NoDeviceCode,
}

impl FindingKind {
    /// Every kind.
    pub const ALL: [Self; 11] = [
        Self::Missing,
        Self::MachineCode,
        Self::Ptx,
        Self::LtoIr,
        Self::DeviceCode,
        Self::RunsOn,
        Self::Contradicted,
        Self::Unreadable,
        Self::RuntimeJit,
        Self::UnusedRule,
        Self::NoDeviceCode,
    ];

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::MachineCode => "machine-code",
            Self::Ptx => "ptx",
            Self::LtoIr => "lto-ir",
            Self::DeviceCode => "device-code",
            Self::RunsOn => "runs-on",
            Self::Contradicted => "contradicted",
            Self::Unreadable => "unreadable",
            Self::RuntimeJit => "runtime-jit",
            Self::UnusedRule => "unused-rule",
            Self::NoDeviceCode => "no-device-code",
        }
    }
}

/// One thing that is not as the policy asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The file, from the root of the wheel or folder; a rule's or the policy's name where it is about no file.
    pub file: String,
    /// What kind of thing it is.
    pub kind: FindingKind,
    /// What was found, in words.
    pub what: String,
    /// Why it is accepted all the same, in the words of the policy.
    pub waived: Option<String>,
}
