//! Names GPU architectures the way nvcc spells them: `sm_100a`, `sm_100f`, `sm_100`.
//!
//! The letter changes what the code may use and where it runs: without one it runs on every later
//! minor of the same generation; `f` (family) on the devices of one family; `a` (specific) on
//! exactly that compute capability. The spelling is that of nvcc's `-gencode` option
//! (CUDA 13.0 nvcc documentation, "GPU Feature List").

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The feature set behind an architecture number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Feature {
    /// No letter: portable to later minors.
    Plain,
    /// `f`: portable within the family.
    Family,
    /// `a`: this compute capability alone.
    Specific,
}

impl Feature {
    /// The letter behind the number; empty for plain.
    #[must_use]
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Family => "f",
            Self::Specific => "a",
        }
    }
}

/// One real architecture, such as `sm_100a`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Arch {
    /// Ten times the major plus the minor compute capability: 100 for 10.0, 90 for 9.0.
    pub number: u32,
    /// The feature set.
    pub feature: Feature,
}

impl Arch {
    /// The contest's architecture: NVIDIA B200 with every feature it has.
    pub const SM_100A: Self = Self { number: 100, feature: Feature::Specific };

    /// The architecture of a GPU by its name, with every feature that it has: `sm_90a` for `H100`.
    #[must_use]
    pub fn of_gpu(name: &str) -> Option<Self> {
        const FIRST_WITH_OWN_FEATURES: u32 = 90;
        let number = GPUS.iter().find(|(known, _)| name.eq_ignore_ascii_case(known))?.1;
        let feature = if number < FIRST_WITH_OWN_FEATURES { Feature::Plain } else { Feature::Specific };
        Some(Self { number, feature })
    }

    /// The name without `sm_` or `compute_`: `100a`.
    #[must_use]
    pub fn code(&self) -> String {
        format!("{}{}", self.number, self.feature.suffix())
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("sm_{}", self.code());
        formatter.pad(&text)
    }
}

/// GPUs by name, with the number of their architecture.
const GPUS: [(&str, u32); 28] = [
    ("V100", 70),
    ("T4", 75),
    ("A100", 80),
    ("A10", 86),
    ("A10G", 86),
    ("A40", 86),
    ("A6000", 86),
    ("RTX3090", 86),
    ("L4", 89),
    ("L40", 89),
    ("L40S", 89),
    ("RTX4090", 89),
    ("H20", 90),
    ("H100", 90),
    ("H200", 90),
    ("H800", 90),
    ("GH200", 90),
    ("B100", 100),
    ("B200", 100),
    ("GB200", 100),
    ("B300", 103),
    ("GB300", 103),
    ("RTX5070", 120),
    ("RTX5080", 120),
    ("RTX5090", 120),
    ("RTXPRO6000", 120),
    ("GB10", 121),
    ("DGXSpark", 121),
];

/// A text that names no architecture.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{found}` names no architecture: expected `sm_` and a number, then `a`, `f` or nothing, such as `{}`",
    suggested(.found)
)]
pub struct ArchParseError {
    /// The text as found.
    pub found: String,
}

/// What is most likely meant by a text that names no architecture.
fn suggested(found: &str) -> Arch {
    let squeezed: String = found.chars().filter(char::is_ascii_alphanumeric).collect();
    let lower = squeezed.to_ascii_lowercase();
    let code = lower.strip_prefix("compute").or_else(|| lower.strip_prefix("sm")).unwrap_or(&lower);
    let spelled = || format!("sm_{code}").parse().ok();
    Arch::of_gpu(&squeezed).or_else(spelled).unwrap_or(Arch::SM_100A)
}

impl FromStr for Arch {
    type Err = ArchParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || ArchParseError { found: text.to_owned() };
        let code = text.strip_prefix("sm_").ok_or_else(refuse)?;
        let (digits, feature) = match code.strip_suffix('a') {
            Some(digits) => (digits, Feature::Specific),
            None => code.strip_suffix('f').map_or((code, Feature::Plain), |digits| (digits, Feature::Family)),
        };
        let canonical = !digits.starts_with('0') && digits.bytes().all(|digit| digit.is_ascii_digit());
        if !canonical || !(2..=4).contains(&digits.len()) {
            return Err(refuse());
        }
        let number = digits.parse().map_err(|_| refuse())?;
        Ok(Self { number, feature })
    }
}

crate::text_form!(Arch);

/// What nvcc is asked for: the feature set that the front end compiles against and the machine
/// code that comes out. Only a matching pair keeps arch-specific code paths alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gencode {
    /// Written `compute_100a`.
    pub virtual_arch: Arch,
    /// Written `sm_100a`.
    pub real_arch: Arch,
}

impl Gencode {
    /// The exact pair for one architecture: no PTX, no fallback.
    #[must_use]
    pub fn exact(arch: Arch) -> Self {
        Self { virtual_arch: arch, real_arch: arch }
    }
}

impl fmt::Display for Gencode {
    /// Writes the value of nvcc's `-gencode=` option.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "arch=compute_{},code={}", self.virtual_arch.code(), self.real_arch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_it_writes() {
        for text in ["sm_75", "sm_90", "sm_90a", "sm_100", "sm_100a", "sm_100f", "sm_103a", "sm_120a"] {
            assert_eq!(text.parse::<Arch>().unwrap().to_string(), text);
        }
        assert_eq!(Gencode::exact(Arch::SM_100A).to_string(), "arch=compute_100a,code=sm_100a");
    }

    #[test]
    fn says_what_is_meant_by_another_spelling() {
        for (text, meant) in [
            ("SM_90A", "`sm_90a`"),
            ("compute_103f", "`sm_103f`"),
            ("sm90a", "`sm_90a`"),
            ("9.0a", "`sm_90a`"),
            ("120", "`sm_120`"),
            ("H100", "`sm_90a`"),
            ("b200", "`sm_100a`"),
            ("RTX 5090", "`sm_120a`"),
            ("A100", "`sm_80`"),
            ("nothing", "`sm_100a`"),
        ] {
            let error = text.parse::<Arch>().unwrap_err().to_string();
            assert!(error.ends_with(&format!("such as {meant}")), "{text}: {error}");
        }
    }

    #[test]
    fn refuses_what_nvcc_would_not_spell() {
        for text in [
            "",
            "100a",
            "sm_",
            "sm_a",
            "sm_1",
            "sm_100z",
            "sm_100af",
            "sm_0100a",
            "sm_100 a",
            "SM_100a",
            "sm_+10",
            "compute_100a",
            "sm_99999",
        ] {
            assert!(text.parse::<Arch>().is_err(), "{text}");
        }
    }
}
