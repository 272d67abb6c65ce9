//! Whether tensors lie contiguously, or with strides that a submission has to follow.

use serde::{Deserialize, Serialize};

/// How the elements of inputs and outputs lie in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Strides {
    /// Row-major, without gaps: what every board gives.
    #[default]
    #[value(skip)]
    Contiguous,
    /// The rows of the last axis lie apart, as in a slice of a wider tensor.
    Rows,
    /// Every element lies apart from its neighbour, as in every second column.
    Elements,
}

impl Strides {
    /// Whether there are no gaps.
    #[must_use]
    pub fn is_contiguous(&self) -> bool {
        *self == Self::Contiguous
    }

    /// What is said beside the name of what was measured so; nothing for contiguous tensors.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Contiguous => "",
            Self::Rows => " (strided by rows)",
            Self::Elements => " (strided by elements)",
        }
    }
}
