//! The element types of FlashInfer-Bench, and two that other boards have beside them.

use std::fmt;
use std::str::FromStr;

/// The type of a tensor's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dtype {
    /// IEEE 754 binary32.
    Float32,
    /// IEEE 754 binary16.
    Float16,
    /// The upper half of a binary32.
    Bfloat16,
    /// Four exponent and three mantissa bits; no infinities, NaN is `0x7f` and `0xff`.
    Float8E4m3fn,
    /// Five exponent and two mantissa bits, with infinities and NaNs like binary16.
    Float8E5m2,
    /// Two exponent bits and one mantissa bit; two elements a byte, the first in the low half.
    Float4E2m1,
    /// Signed, eight bytes.
    Int64,
    /// Signed, four bytes.
    Int32,
    /// Signed, two bytes.
    Int16,
    /// Signed, one byte.
    Int8,
    /// One byte, zero or one.
    Bool,
    /// Unsigned, one byte: what problems of GPU MODE hold, and no model of FlashInfer-Bench.
    Uint8,
    /// IEEE 754 binary64: what SOL-ExecBench has, and no model of FlashInfer-Bench.
    Float64,
}

impl Dtype {
    /// Every element type, in the order of their model; those that it has not come last.
    pub const ALL: [Self; 13] = [
        Self::Float32,
        Self::Float16,
        Self::Bfloat16,
        Self::Float8E4m3fn,
        Self::Float8E5m2,
        Self::Float4E2m1,
        Self::Int64,
        Self::Int32,
        Self::Int16,
        Self::Int8,
        Self::Bool,
        Self::Uint8,
        Self::Float64,
    ];

    /// The name in a document.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Float32 => "float32",
            Self::Float16 => "float16",
            Self::Bfloat16 => "bfloat16",
            Self::Float8E4m3fn => "float8_e4m3fn",
            Self::Float8E5m2 => "float8_e5m2",
            Self::Float4E2m1 => "float4_e2m1",
            Self::Int64 => "int64",
            Self::Int32 => "int32",
            Self::Int16 => "int16",
            Self::Int8 => "int8",
            Self::Bool => "bool",
            Self::Uint8 => "uint8",
            Self::Float64 => "float64",
        }
    }

    /// Size of one element in bits.
    #[must_use]
    pub fn size_bits(self) -> u64 {
        match self {
            Self::Int64 | Self::Float64 => 64,
            Self::Float32 | Self::Int32 => 32,
            Self::Float16 | Self::Bfloat16 | Self::Int16 => 16,
            Self::Float8E4m3fn | Self::Float8E5m2 | Self::Int8 | Self::Bool | Self::Uint8 => 8,
            Self::Float4E2m1 => 4,
        }
    }

    /// Whether values can be fractions.
    #[must_use]
    pub fn is_float(self) -> bool {
        !matches!(self, Self::Int64 | Self::Int32 | Self::Int16 | Self::Int8 | Self::Bool | Self::Uint8)
    }

    /// Size of that many elements in bytes, rounded up to whole bytes; `None` on overflow.
    #[must_use]
    pub fn size_bytes(self, element_count: u64) -> Option<u64> {
        element_count.checked_mul(self.size_bits()).map(|bits| bits.div_ceil(8))
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// A text that names no element type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` names no dtype: expected one of {}", Dtype::ALL.map(Dtype::name).join(", "))]
pub struct DtypeParseError {
    /// The text as found.
    pub found: String,
}

impl FromStr for Dtype {
    type Err = DtypeParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = Self::ALL.into_iter().find(|dtype| dtype.name() == text);
        named.ok_or_else(|| DtypeParseError { found: text.to_owned() })
    }
}

crate::text_form!(Dtype);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_every_name_it_writes() {
        for dtype in Dtype::ALL {
            assert_eq!(dtype.name().parse(), Ok(dtype));
        }
        assert!("uint16".parse::<Dtype>().is_err());
        assert!("Float32".parse::<Dtype>().is_err());
    }

    #[test]
    fn rounds_packed_elements_up_to_whole_bytes() {
        assert_eq!(Dtype::Float4E2m1.size_bytes(5), Some(3));
        assert_eq!(Dtype::Bfloat16.size_bytes(5), Some(10));
        assert_eq!(Dtype::Int64.size_bytes(u64::MAX), None);
    }
}
