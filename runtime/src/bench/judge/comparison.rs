//! How far an output really lies off: the verdict by FlashInfer-Bench's rule, and beside it what
//! the rule hides.

use std::fmt::Write as _;

use packager::interop::flashinfer::{Correctness, Dtype, Tensor};
use serde::{Deserialize, Serialize};

use super::element::{decode_all, spacing};
use super::tolerance::Tolerance;
use crate::bench::verdict::Verdict;

/// Why an output could not be judged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ComparisonError {
    /// The reference is infinite or NaN somewhere: it would match anything there.
    #[error("the reference is not finite at {count} of {element_count} elements, first at {first}")]
    ReferenceNotFinite {
        /// How many elements.
        count: usize,
        /// Of how many.
        element_count: usize,
        /// The first such element.
        first: usize,
    },
    /// A buffer does not hold the elements that it should.
    #[error("{element_count} elements of {dtype} do not fill {size_bytes} bytes")]
    Size {
        /// How many elements.
        element_count: usize,
        /// Their type.
        dtype: Dtype,
        /// The buffer's size.
        size_bytes: usize,
    },
}

/// How one output compares with the reference. Errors are taken in double precision over the
/// elements that are finite.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// How many elements.
    pub element_count: u64,
    /// How many of them are infinite or NaN.
    pub non_finite_count: u64,
    /// How many of them are off by the tolerance, those that are not finite included.
    pub off_count: u64,
    /// Whether the output is accepted.
    pub accepted: bool,
    /// The element with the largest absolute error, or the first that is not finite.
    pub worst_element: u64,
    /// The largest |x − y|.
    pub max_absolute_error: f64,
    /// The value that |x − y| stays below at 99 % of the elements.
    pub p99_absolute_error: f64,
    /// The largest |x − y| / (|y| + 1e-8).
    pub max_relative_error: f64,
    /// The value that |x − y| / (|y| + 1e-8) stays below at 99 % of the elements.
    pub p99_relative_error: f64,
    /// ‖x − y‖ / ‖y‖: one number that neither a tiny y nor a lucky element can hide in.
    pub norm_error: f64,
    /// The largest |x − y| in units of the output type's last place at y; absent for integers.
    pub max_ulp_error: Option<f64>,
}

impl Comparison {
    /// Compares an output's dense bytes with the reference's values.
    pub fn new(
        dtype: Dtype,
        found: &[u8],
        expected: &[f64],
        tolerance: &Tolerance,
    ) -> Result<Self, ComparisonError> {
        check_reference(expected)?;
        let element_count = expected.len();
        let size_bytes = found.len();
        let found = decode_all(dtype, found, element_count).ok_or(ComparisonError::Size {
            element_count,
            dtype,
            size_bytes,
        })?;
        Ok(measure(dtype, &found, expected, tolerance))
    }

    /// The two errors as FlashInfer-Bench records them: infinite where an element is not finite.
    pub fn correctness(&self) -> Option<Correctness> {
        let broken = self.non_finite_count > 0;
        let error = |error: f64| if broken { f64::INFINITY } else { error };
        Correctness::new(error(self.max_relative_error), error(self.max_absolute_error))
    }
}

/// Refuses a reference that cannot judge.
pub fn check_reference(expected: &[f64]) -> Result<(), ComparisonError> {
    let Some(first) = expected.iter().position(|value| !value.is_finite()) else { return Ok(()) };
    let count = expected.iter().filter(|value| !value.is_finite()).count();
    Err(ComparisonError::ReferenceNotFinite { count, element_count: expected.len(), first })
}

/// Sums and maxima over one output.
#[derive(Default)]
struct Running {
    non_finite_count: u64,
    off_count: u64,
    worst_element: u64,
    max_absolute: f64,
    max_relative: f64,
    max_ulp: f64,
    error_squares: f64,
    expected_squares: f64,
}

#[expect(clippy::cast_possible_truncation, reason = "the rule's arithmetic is binary32")]
fn measure(dtype: Dtype, found: &[f64], expected: &[f64], tolerance: &Tolerance) -> Comparison {
    const EPSILON: f64 = 1e-8;
    let mut running = Running::default();
    let mut absolute_errors = Vec::with_capacity(found.len());
    let mut relative_errors = Vec::with_capacity(found.len());
    for (index, (&x, &y)) in (0_u64..).zip(found.iter().zip(expected)) {
        running.off_count += u64::from(tolerance.is_off(x as f32, y as f32));
        running.expected_squares += y * y;
        if !x.is_finite() {
            if running.non_finite_count == 0 {
                running.worst_element = index;
            }
            running.non_finite_count += 1;
            continue;
        }
        let absolute = (x - y).abs();
        let relative = absolute / (y.abs() + EPSILON);
        if absolute > running.max_absolute {
            running.max_absolute = absolute;
            if running.non_finite_count == 0 {
                running.worst_element = index;
            }
        }
        running.max_relative = running.max_relative.max(relative);
        running.max_ulp = running.max_ulp.max(spacing(dtype, y).map_or(0.0, |unit| absolute / unit));
        running.error_squares += absolute * absolute;
        absolute_errors.push(absolute as f32);
        relative_errors.push(relative as f32);
    }
    let element_count = found.len() as u64;
    let rejected = running.non_finite_count > 0 || tolerance.is_too_many(running.off_count, element_count);
    let norm = running.expected_squares.sqrt();
    let error_norm = running.error_squares.sqrt();
    Comparison {
        element_count,
        non_finite_count: running.non_finite_count,
        off_count: running.off_count,
        accepted: !rejected,
        worst_element: running.worst_element,
        max_absolute_error: running.max_absolute,
        p99_absolute_error: percentile_99(&mut absolute_errors),
        max_relative_error: running.max_relative,
        p99_relative_error: percentile_99(&mut relative_errors),
        // An all-zero reference has no scale: the error stands for itself.
        norm_error: if norm > 0.0 { error_norm / norm } else { error_norm },
        max_ulp_error: dtype.is_float().then_some(running.max_ulp),
    }
}

/// The element below which 99 % lie; zero of none.
fn percentile_99(errors: &mut [f32]) -> f64 {
    if errors.is_empty() {
        return 0.0;
    }
    let rank = errors.len() * 99 / 100;
    let (_, error, _) = errors.select_nth_unstable_by(rank, f32::total_cmp);
    f64::from(*error)
}

/// The verdict on a call's outputs: the first that is not accepted decides.
pub fn verdict<'a>(outputs: impl IntoIterator<Item = (&'a str, &'a Comparison)>) -> Verdict {
    match outputs.into_iter().find(|(_, comparison)| !comparison.accepted) {
        None => Verdict::Passed,
        Some((name, comparison)) => Verdict::IncorrectNumerical { reason: explain(name, comparison) },
    }
}

fn explain(name: &str, comparison: &Comparison) -> String {
    let Comparison { element_count, off_count, non_finite_count, .. } = comparison;
    let mut reason = format!("output `{name}`: {off_count} of {element_count} elements are off");
    if *non_finite_count > 0 {
        // Writing to a string cannot fail.
        let _ = write!(reason, ", {non_finite_count} are infinite or NaN");
    }
    let _ = write!(
        reason,
        "; largest absolute error {:.3e}, relative norm {:.3e}, worst at element {}",
        comparison.max_absolute_error, comparison.norm_error, comparison.worst_element
    );
    reason
}

/// Checks the layout of an output that the submission allocated itself; `None` is as it should be.
pub fn check_layout(
    name: &str,
    expected: &Tensor,
    found_shape: &[u64],
    found_dtype: Dtype,
) -> Option<Verdict> {
    let shape = expected.shape.as_deref().unwrap_or(&[]);
    if found_shape != shape {
        let reason = format!("output `{name}`: expected shape {shape:?}, found {found_shape:?}");
        return Some(Verdict::IncorrectShape { reason });
    }
    (found_dtype != expected.dtype).then(|| Verdict::IncorrectDtype {
        reason: format!("output `{name}`: expected {}, found {found_dtype}", expected.dtype),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    fn compare(found: &[f32], expected: &[f64]) -> Comparison {
        Comparison::new(Dtype::Float32, &bytes(found), expected, &Tolerance::default()).unwrap()
    }

    #[test]
    fn measures_what_a_hand_measures() {
        let comparison = compare(&[1.0, 2.5, -4.0], &[1.0, 2.0, -4.0]);
        assert_eq!((comparison.off_count, comparison.worst_element, comparison.accepted), (1, 1, false));
        assert!((comparison.max_absolute_error - 0.5).abs() < 1e-12);
        assert!((comparison.max_relative_error - 0.25).abs() < 1e-8);
        assert!((comparison.norm_error - 0.5 / 21_f64.sqrt()).abs() < 1e-12);
        assert_eq!(comparison.max_ulp_error, Some(0.5 * f64::powi(2.0, 22)));
    }

    #[test]
    fn an_error_below_both_tolerances_is_accepted_but_still_seen() {
        let comparison = compare(&[1.009], &[1.0]);
        assert!(comparison.accepted);
        assert!(comparison.norm_error > 0.008);
    }

    #[test]
    fn what_is_not_finite_is_wrong_and_never_hides_other_errors() {
        for broken in [f32::NAN, f32::INFINITY] {
            let comparison = compare(&[1.0, broken, 3.0], &[1.0, 1.0, 1.0]);
            assert!(!comparison.accepted);
            assert_eq!(
                (comparison.non_finite_count, comparison.off_count, comparison.worst_element),
                (1, 2, 1)
            );
            assert!((comparison.max_absolute_error - 2.0).abs() < 1e-12);
            let lenient = Tolerance { atol: 1.0, rtol: 0.3, required_matched_ratio: 0.1 };
            let lenient = Comparison::new(Dtype::Float32, &bytes(&[1.0, broken]), &[1.0, 1.0], &lenient);
            assert!(!lenient.unwrap().accepted);
        }
        assert!(compare(&[f32::NAN], &[1.0]).correctness().unwrap().max_absolute_error().is_infinite());
    }

    #[test]
    fn a_reference_that_is_not_finite_cannot_judge() {
        let refused =
            Comparison::new(Dtype::Float32, &bytes(&[1.0, 1.0]), &[1.0, f64::NAN], &Tolerance::default());
        assert_eq!(
            refused,
            Err(ComparisonError::ReferenceNotFinite { count: 1, element_count: 2, first: 1 })
        );
        let short = Comparison::new(Dtype::Float32, &[0; 5], &[1.0], &Tolerance::default());
        assert!(matches!(short, Err(ComparisonError::Size { size_bytes: 5, .. })));
    }

    #[test]
    fn the_first_wrong_output_decides_and_is_named() {
        let (right, wrong) = (compare(&[1.0], &[1.0]), compare(&[9.0], &[1.0]));
        assert_eq!(verdict([("output", &right), ("new_state", &right)]), Verdict::Passed);
        let verdict = verdict([("output", &right), ("new_state", &wrong)]);
        assert!(
            matches!(&verdict, Verdict::IncorrectNumerical { reason } if reason.contains("`new_state`")),
            "{verdict}"
        );
    }

    #[test]
    fn a_wrong_layout_has_its_own_verdict() {
        let expected =
            Tensor { dtype: Dtype::Bfloat16, shape: Some(vec![2, 3]), element_count: 6, size_bytes: 12 };
        assert_eq!(check_layout("y", &expected, &[2, 3], Dtype::Bfloat16), None);
        let shape = check_layout("y", &expected, &[3, 2], Dtype::Bfloat16);
        assert!(matches!(shape, Some(Verdict::IncorrectShape { .. })));
        let dtype = check_layout("y", &expected, &[2, 3], Dtype::Float16);
        assert!(matches!(dtype, Some(Verdict::IncorrectDtype { .. })));
    }
}
