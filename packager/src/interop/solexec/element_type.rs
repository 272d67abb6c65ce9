//! The element types: FlashInfer-Bench's, and two more.

use std::fmt;
use std::str::FromStr;

use crate::interop::flashinfer::Dtype;

/// The type of a tensor's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElementType {
    /// One that FlashInfer-Bench has too.
    Shared(Dtype),
    /// IEEE 754 binary64.
    Float64,
    /// Two 4-bit floats in a byte, as torch names the pair.
    Float4E2m1fnX2,
}

impl ElementType {
    /// The name in a document.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Shared(dtype) => dtype.name(),
            Self::Float64 => "float64",
            Self::Float4E2m1fnX2 => "float4_e2m1fn_x2",
        }
    }

    /// Every name, for a message.
    pub(super) fn names() -> String {
        let shared = Dtype::ALL.map(Dtype::name).join(", ");
        format!("one of {shared}, {}, {}", Self::Float64, Self::Float4E2m1fnX2)
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
        let own = [Self::Float64, Self::Float4E2m1fnX2].into_iter().find(|one| one.name() == text);
        own.or_else(|| text.parse().ok().map(Self::Shared)).ok_or(())
    }
}
