//! How far an output really lies off: the verdict by FlashInfer-Bench's rule, and beside it what
//! the rule hides.

use std::fmt::Write as _;
use std::thread;

use proofmark_packager::interop::flashinfer::{Correctness, Dtype};
use serde::{Deserialize, Serialize};

use super::element::{decode_all, spacing};
use super::histogram::Histogram;
use super::tolerance::Tolerance;
use crate::measure::verdict::Verdict;

/// Why an output could not be judged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutputComparisonError {
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
pub struct OutputComparison {
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
    /// The value that |x − y| stays below at 99 % of the elements, to within one percent.
    pub p99_absolute_error: f64,
    /// The largest |x − y| / (|y| + 1e-8).
    pub max_relative_error: f64,
    /// The value that |x − y| / (|y| + 1e-8) stays below at 99 % of the elements, to within one
    /// percent.
    pub p99_relative_error: f64,
    /// ‖x − y‖ / ‖y‖: one number that neither a tiny y nor a lucky element can hide in.
    pub norm_error: f64,
    /// The largest |x − y| in units of the output type's last place at y; absent for integers.
    pub max_ulp_error: Option<f64>,
}

impl OutputComparison {
    /// Compares an output's dense bytes with the reference's values.
    pub fn new(
        dtype: Dtype,
        found: &[u8],
        expected: &[f64],
        tolerance: &Tolerance,
    ) -> Result<Self, OutputComparisonError> {
        check_reference(expected)?;
        let element_count = expected.len();
        let size_bytes = found.len();
        let found = decode_all(dtype, found, element_count).ok_or(OutputComparisonError::Size {
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
pub fn check_reference(expected: &[f64]) -> Result<(), OutputComparisonError> {
    let Some(first) = expected.iter().position(|value| !value.is_finite()) else { return Ok(()) };
    let count = expected.iter().filter(|value| !value.is_finite()).count();
    Err(OutputComparisonError::ReferenceNotFinite { count, element_count: expected.len(), first })
}

/// Elements that one thread takes at least; below that, starting it costs more than it saves.
const LEAST_SHARE: usize = 1 << 19;
/// More threads than this wait for memory, not for each other.
const LARGEST_THREAD_COUNT: usize = 8;

fn measure(dtype: Dtype, found: &[f64], expected: &[f64], tolerance: &Tolerance) -> OutputComparison {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(LARGEST_THREAD_COUNT);
    let share = found.len().div_ceil(threads).max(LEAST_SHARE);
    let part = |first: usize| {
        let range = first..found.len().min(first + share);
        Running::of(dtype, first, &found[range.clone()], &expected[range], tolerance)
    };
    let running = thread::scope(|scope| {
        let others: Vec<_> =
            (share..found.len()).step_by(share).map(|first| scope.spawn(move || part(first))).collect();
        others.into_iter().fold(part(0), |running, other| {
            let other = other.join().expect("arithmetic on slices of equal length does not panic");
            running.join(&other)
        })
    });
    running.conclude(dtype, found.len() as u64, tolerance)
}

/// Sums and maxima over a part of an output.
struct Running {
    non_finite_count: u64,
    off_count: u64,
    first_non_finite: Option<u64>,
    worst_element: u64,
    max_absolute: f64,
    max_relative: f64,
    max_ulp: f64,
    error_squares: f64,
    expected_squares: f64,
    absolute_errors: Histogram,
    relative_errors: Histogram,
}

impl Running {
    #[expect(clippy::cast_possible_truncation, reason = "the rule's arithmetic is binary32")]
    fn of(dtype: Dtype, first: usize, found: &[f64], expected: &[f64], tolerance: &Tolerance) -> Self {
        const EPSILON: f64 = 1e-8;
        let mut running = Self::empty();
        for (index, (&x, &y)) in (first as u64..).zip(found.iter().zip(expected)) {
            running.off_count += u64::from(tolerance.is_off(x as f32, y as f32));
            running.expected_squares += y * y;
            if !x.is_finite() {
                running.first_non_finite.get_or_insert(index);
                running.non_finite_count += 1;
                continue;
            }
            let absolute = (x - y).abs();
            let relative = absolute / (y.abs() + EPSILON);
            if absolute > running.max_absolute {
                running.max_absolute = absolute;
                running.worst_element = index;
            }
            running.max_relative = running.max_relative.max(relative);
            running.max_ulp = running.max_ulp.max(spacing(dtype, y).map_or(0.0, |unit| absolute / unit));
            running.error_squares += absolute * absolute;
            running.absolute_errors.add(absolute as f32);
            running.relative_errors.add(relative as f32);
        }
        running
    }

    fn empty() -> Self {
        Self {
            non_finite_count: 0,
            off_count: 0,
            first_non_finite: None,
            worst_element: 0,
            max_absolute: 0.0,
            max_relative: 0.0,
            max_ulp: 0.0,
            error_squares: 0.0,
            expected_squares: 0.0,
            absolute_errors: Histogram::default(),
            relative_errors: Histogram::default(),
        }
    }

    /// Adds a later part; always in order, so that sums do not depend on which thread was first.
    fn join(mut self, later: &Self) -> Self {
        if later.max_absolute > self.max_absolute {
            self.max_absolute = later.max_absolute;
            self.worst_element = later.worst_element;
        }
        self.first_non_finite = self.first_non_finite.or(later.first_non_finite);
        self.non_finite_count += later.non_finite_count;
        self.off_count += later.off_count;
        self.max_relative = self.max_relative.max(later.max_relative);
        self.max_ulp = self.max_ulp.max(later.max_ulp);
        self.error_squares += later.error_squares;
        self.expected_squares += later.expected_squares;
        self.absolute_errors.join(&later.absolute_errors);
        self.relative_errors.join(&later.relative_errors);
        self
    }

    fn conclude(self, dtype: Dtype, element_count: u64, tolerance: &Tolerance) -> OutputComparison {
        let rejected = self.non_finite_count > 0 || tolerance.is_too_many(self.off_count, element_count);
        let norm = self.expected_squares.sqrt();
        let error_norm = self.error_squares.sqrt();
        OutputComparison {
            element_count,
            non_finite_count: self.non_finite_count,
            off_count: self.off_count,
            accepted: !rejected,
            worst_element: self.first_non_finite.unwrap_or(self.worst_element),
            max_absolute_error: self.max_absolute,
            p99_absolute_error: self.absolute_errors.percentile_99().min(self.max_absolute),
            max_relative_error: self.max_relative,
            p99_relative_error: self.relative_errors.percentile_99().min(self.max_relative),
            // An all-zero reference has no scale: the error stands for itself.
            norm_error: if norm > 0.0 { error_norm / norm } else { error_norm },
            max_ulp_error: dtype.is_float().then_some(self.max_ulp),
        }
    }
}

/// The verdict on a call's outputs: the first that is not accepted decides.
pub fn verdict<'a>(outputs: impl IntoIterator<Item = (&'a str, &'a OutputComparison)>) -> Verdict {
    match outputs.into_iter().find(|(_, comparison)| !comparison.accepted) {
        None => Verdict::Passed,
        Some((name, comparison)) => Verdict::IncorrectNumerical { reason: explain(name, comparison) },
    }
}

fn explain(name: &str, comparison: &OutputComparison) -> String {
    let OutputComparison { element_count, off_count, non_finite_count, .. } = comparison;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    fn compare(found: &[f32], expected: &[f64]) -> OutputComparison {
        OutputComparison::new(Dtype::Float32, &bytes(found), expected, &Tolerance::default()).unwrap()
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
            let lenient =
                OutputComparison::new(Dtype::Float32, &bytes(&[1.0, broken]), &[1.0, 1.0], &lenient);
            assert!(!lenient.unwrap().accepted);
        }
        assert!(compare(&[f32::NAN], &[1.0]).correctness().unwrap().max_absolute_error().is_infinite());
    }

    #[test]
    fn many_threads_find_what_one_would() {
        let count = 2 * LEAST_SHARE + 7;
        let expected: Vec<f64> =
            (0..count).map(|index| f64::from(u32::try_from(index % 1000).unwrap())).collect();
        let mut found = expected.clone();
        found[LEAST_SHARE] += 0.25;
        found[count - 1] += 8.0;
        for index in (0..count).step_by(50) {
            found[index] += 0.125;
        }
        let tolerance = Tolerance::default();
        let parallel = measure(Dtype::Float32, &found, &expected, &tolerance);
        let single = Running::of(Dtype::Float32, 0, &found, &expected, &tolerance);
        let single = single.conclude(Dtype::Float32, count as u64, &tolerance);
        assert_eq!(parallel.worst_element, count as u64 - 1);
        assert_eq!(
            (parallel.off_count, parallel.max_absolute_error.to_bits()),
            (single.off_count, 8.0_f64.to_bits())
        );
        assert_eq!(parallel.p99_absolute_error.to_bits(), single.p99_absolute_error.to_bits());
        assert!((0.125..0.1263).contains(&parallel.p99_absolute_error), "{}", parallel.p99_absolute_error);
        assert!((parallel.norm_error / single.norm_error - 1.0).abs() < 1e-12);
        found[3] = f64::NAN;
        assert_eq!(measure(Dtype::Float32, &found, &expected, &tolerance).worst_element, 3);
    }

    #[test]
    fn a_reference_that_is_not_finite_cannot_judge() {
        let refused = OutputComparison::new(
            Dtype::Float32,
            &bytes(&[1.0, 1.0]),
            &[1.0, f64::NAN],
            &Tolerance::default(),
        );
        assert_eq!(
            refused,
            Err(OutputComparisonError::ReferenceNotFinite { count: 1, element_count: 2, first: 1 })
        );
        let short = OutputComparison::new(Dtype::Float32, &[0; 5], &[1.0], &Tolerance::default());
        assert!(matches!(short, Err(OutputComparisonError::Size { size_bytes: 5, .. })));
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
}
