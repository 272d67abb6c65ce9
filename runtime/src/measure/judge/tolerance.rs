//! How far an output may lie off, by FlashInfer-Bench's rule and in its arithmetic.
//!
//! An element is off where |x − y| exceeds `atol` **and** |x − y| / (|y| + 1e-8) exceeds `rtol`,
//! all in binary32 as their code has it. An output is wrong where fewer elements than the required
//! share match, or where any element is infinite or NaN. A NaN in the reference would match
//! everything; here a reference that is not finite cannot judge at all.

use proofmark_packager::interop::flashinfer::Definition;
use serde::{Deserialize, Serialize};

/// Added to |y| before the division, as in their code.
const EPSILON: f32 = 1e-8;

/// How far an output may lie off.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Tolerance {
    /// Allowed absolute error.
    pub atol: f64,
    /// Allowed relative error.
    pub rtol: f64,
    /// Share of elements that must match.
    pub required_matched_ratio: f64,
}

impl Default for Tolerance {
    /// FlashInfer-Bench's default.
    fn default() -> Self {
        Self { atol: 1e-2, rtol: 1e-2, required_matched_ratio: 1.0 }
    }
}

impl Tolerance {
    /// FlashInfer-Bench's default for a definition's kind of operator.
    pub fn of(definition: &Definition) -> Self {
        let required_matched_ratio = if definition.op_type() == "moe" { 0.95 } else { 1.0 };
        Self { required_matched_ratio, ..Self::default() }
    }

    /// Whether one element is off. An element that is not finite always is.
    #[expect(clippy::cast_possible_truncation, reason = "their arithmetic is binary32")]
    pub fn is_off(&self, found: f32, expected: f32) -> bool {
        let absolute = (found - expected).abs();
        let is_relatively_off = || absolute / (expected.abs() + EPSILON) > self.rtol as f32;
        !found.is_finite() || (absolute > self.atol as f32 && is_relatively_off())
    }

    /// Whether a number of elements that are off is too many, as their code reckons it: the share
    /// of the others, in double precision, against the required one.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    pub fn is_too_many(&self, off_count: u64, element_count: u64) -> bool {
        element_count > 0 && 1.0 - off_count as f64 / (element_count as f64) < self.required_matched_ratio
    }

    /// Whether an output as a whole would be accepted; stops at the first element that decides.
    #[expect(clippy::cast_possible_truncation, reason = "their arithmetic is binary32")]
    pub fn accepts(&self, found: impl Fn(usize) -> f64, expected: &[f64]) -> bool {
        let element_count = expected.len() as u64;
        let mut off_count = 0;
        for (index, &expected) in expected.iter().enumerate() {
            let found = found(index) as f32;
            if !found.is_finite() {
                return false;
            }
            if self.is_off(found, expected as f32) {
                off_count += 1;
                if self.is_too_many(off_count, element_count) {
                    return false;
                }
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_is_off_only_where_both_errors_exceed() {
        let tolerance = Tolerance::default();
        assert!(!tolerance.is_off(100.5, 100.0), "absolute 0.5, relative 0.005");
        assert!(!tolerance.is_off(0.009, 0.0), "absolute 0.009, relative huge");
        assert!(tolerance.is_off(0.02, 0.0), "both");
        for broken in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert!(tolerance.is_off(broken, 1.0) && tolerance.is_off(broken, f32::NAN));
        }
    }

    #[test]
    fn a_share_of_elements_may_be_off_where_the_tolerance_says_so() {
        let expected = [1.0; 20];
        let with_wrong = |count: usize| move |index: usize| if index < count { 9.0 } else { 1.0 };
        let lenient = Tolerance { required_matched_ratio: 0.95, ..Tolerance::default() };
        assert!(lenient.accepts(with_wrong(1), &expected));
        assert!(!lenient.accepts(with_wrong(2), &expected));
        assert!(!Tolerance::default().accepts(with_wrong(1), &expected));
        assert!(!lenient.accepts(|index| if index == 19 { f64::NAN } else { 1.0 }, &expected));
        assert!(Tolerance::default().accepts(|_| 0.0, &[]), "as in their code, an empty output passes");
    }
}
