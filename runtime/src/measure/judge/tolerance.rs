//! How far an output may lie off, by FlashInfer-Bench's rule and in its arithmetic.
//!
//! An element is off where |x − y| exceeds `atol` **and** |x − y| / (|y| + 1e-8) exceeds `rtol`,
//! all in binary32 as their code has it. An output is wrong where fewer elements than the required
//! share match, or where any element is infinite or NaN. A NaN in the reference would match
//! everything; here a reference that is not finite cannot judge at all.

use proofmark_packager::interop::flashinfer::{Definition, Workload};
use proofmark_packager::interop::solexec::ToleranceSpec;
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

    /// Whether the numbers mean anything: errors that can be, and a share.
    pub fn is_valid(&self) -> bool {
        let error = |value: f64| value.is_finite() && value >= 0.0;
        error(self.atol) && error(self.rtol) && (0.0..=1.0).contains(&self.required_matched_ratio)
    }

    /// The workload's own, where it came from a problem of SOL-ExecBench.
    ///
    /// Their rule is |x − y| ≤ atol + rtol·|y|. With the same numbers the rule here is never laxer: whatever
    /// it accepts, theirs does.
    #[must_use]
    pub fn for_workload(self, workload: &Workload) -> Self {
        ToleranceSpec::kept_in(workload).map_or(self, |kept| Self {
            atol: kept.max_atol,
            rtol: kept.max_rtol,
            required_matched_ratio: kept.required_matched_ratio,
        })
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
    fn a_workload_of_sol_execbench_is_judged_by_its_own_and_never_more_laxly_than_there() {
        let text =
            r#"{"uuid": "u", "axes": {}, "inputs": {}, "tolerance": {"max_atol": 0.5, "max_rtol": 0.25}}"#;
        let own = Tolerance::default().for_workload(&Workload::from_json(text).unwrap());
        assert_eq!(own, Tolerance { atol: 0.5, rtol: 0.25, required_matched_ratio: 0.99 });
        let plain = Workload::from_json(r#"{"uuid": "u", "axes": {}, "inputs": {}}"#).unwrap();
        assert_eq!(Tolerance::default().for_workload(&plain), Tolerance::default());
        for (found, expected) in [(1.0_f32, 0.6_f32), (8.0, 6.5), (8.0, 6.0), (0.5, 0.0), (0.7, 0.1)] {
            let theirs = (found - expected).abs() <= 0.5 + 0.25 * expected.abs();
            assert!(own.is_off(found, expected) || theirs, "{found} for {expected}");
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
