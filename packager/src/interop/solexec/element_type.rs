//! The element types: ours but for one, and one more.

use std::fmt;
use std::str::FromStr;

use crate::interop::flashinfer::Dtype;

/// The type of a tensor's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElementType {
    /// One that is measured.
    Shared(Dtype),
    /// Two 4-bit floats in a byte, as torch names the pair.
    Float4E2m1fnX2,
}

impl ElementType {
    /// The name in a document.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Shared(dtype) => dtype.name(),
            Self::Float4E2m1fnX2 => "float4_e2m1fn_x2",
        }
    }

    /// Every name, for a message.
    pub(super) fn names() -> String {
        let shared: Vec<_> = Dtype::ALL.into_iter().filter(is_theirs).map(Dtype::name).collect();
        format!("one of {}, {}", shared.join(", "), Self::Float4E2m1fnX2)
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for ElementType {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == Self::Float4E2m1fnX2.name() {
            return Ok(Self::Float4E2m1fnX2);
        }
        text.parse().ok().filter(is_theirs).map(Self::Shared).ok_or(())
    }
}

/// Whether their model has it.
fn is_theirs(dtype: &Dtype) -> bool {
    *dtype != Dtype::Uint8
}
