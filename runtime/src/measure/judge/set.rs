//! Outputs whose rows are sets: the indices of what an operator selected.
//!
//! A definition says that an output is one by its name and type: whole numbers, called `…indices`. Its last axis is
//! a list of what was selected, −1 stands for nothing, and the order means nothing: kernels, libraries and the
//! reference list equal scores each in their own. So a row is compared as a set. A kernel in the definition's own
//! precision may take two scores that are nearly equal for each other, and then selects one entry in place of its
//! neighbour: of all entries, [`MATCHED_RATIO`] must be right. A value that a row lists twice counts as wrong.

use proofmark_packager::interop::flashinfer::TensorSpec;

use super::comparison::OutputComparison;
use super::tolerance::Tolerance;

/// Share of the entries that must be right: of 2,048, four may be neighbours.
pub const MATCHED_RATIO: f64 = 0.998;
/// Stands where nothing is selected.
const NOTHING: i64 = -1;

/// Whether an output's rows are sets.
pub fn is_set(name: &str, spec: &TensorSpec) -> bool {
    let lists = spec.shape.as_ref().is_some_and(|axes| !axes.is_empty());
    lists && !spec.dtype.is_float() && (name == "indices" || name.ends_with("_indices"))
}

/// Compares rows of a length as sets.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
pub fn compare(found: &[i64], expected: &[i64], row: usize, tolerance: &Tolerance) -> OutputComparison {
    let (mut off_count, mut worst, mut worst_element) = (0_u64, 0_u64, 0_usize);
    let row = row.max(1);
    for (number, (found, expected)) in found.chunks(row).zip(expected.chunks(row)).enumerate() {
        let off = differing(found, expected);
        if off > worst {
            (worst, worst_element) = (off, number * row);
        }
        off_count += off;
    }
    let element_count = expected.len() as u64;
    let ratio = tolerance.required_matched_ratio.min(MATCHED_RATIO);
    let off_share = off_count as f64 / (element_count as f64).max(1.0);
    OutputComparison {
        element_count,
        non_finite_count: 0,
        off_count,
        accepted: found.len() == expected.len() && 1.0 - off_share >= ratio,
        worst_element: worst_element as u64,
        max_absolute_error: 0.0,
        p99_absolute_error: 0.0,
        max_relative_error: 0.0,
        p99_relative_error: 0.0,
        norm_error: off_share,
        max_ulp_error: None,
    }
}

/// Entries of a row that are wrong: what is missing or what is too many, whichever is more.
fn differing(found: &[i64], expected: &[i64]) -> u64 {
    let selected = |row: &[i64]| {
        let mut all: Vec<i64> = row.iter().copied().filter(|value| *value != NOTHING).collect();
        all.sort_unstable();
        all
    };
    let (found, expected) = (selected(found), selected(expected));
    let (mut left, mut right, mut common) = (0, 0, 0_usize);
    while left < found.len() && right < expected.len() {
        match found[left].cmp(&expected[right]) {
            std::cmp::Ordering::Less => left += 1,
            std::cmp::Ordering::Greater => right += 1,
            std::cmp::Ordering::Equal => {
                (left, right, common) = (left + 1, right + 1, common + 1);
            }
        }
    }
    (found.len().max(expected.len()) - common) as u64
}

/// Why a set cannot judge: it selects nothing, or the answer to other inputs would pass.
pub fn refusal(
    output: &str,
    expected: &[i64],
    previous: &[i64],
    row: usize,
    tolerance: &Tolerance,
) -> Option<String> {
    if expected.is_empty() {
        return None;
    }
    if expected.iter().all(|value| *value == NOTHING) {
        return Some(format!("output `{output}` cannot be judged on this workload: it selects nothing"));
    }
    let stale = compare(previous, expected, row, tolerance).accepted;
    stale.then(|| {
        format!("output `{output}` cannot be judged on this workload: the previous call's output would pass")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(found: &[i64], expected: &[i64], row: usize) -> bool {
        compare(found, expected, row, &Tolerance::default()).accepted
    }

    #[test]
    fn the_order_of_a_row_means_nothing_and_rows_stay_apart() {
        assert!(accepted(&[3, 1, 2, -1, 4, 5], &[1, 2, 3, 5, 4, -1], 3));
        assert!(!accepted(&[3, 1, 5, 2, 4, -1], &[1, 2, 3, 5, 4, -1], 3));
    }

    #[test]
    fn what_is_missing_too_many_or_listed_twice_counts() {
        let found = compare(&[1, 1, 2, 9], &[1, 2, 3, 4], 4, &Tolerance::default());
        assert_eq!((found.off_count, found.accepted), (2, false));
        assert_eq!(compare(&[1, 2, 3, 4], &[1, 2, 3, -1], 4, &Tolerance::default()).off_count, 1);
        assert_eq!(compare(&[-1; 4], &[1, 2, 3, 4], 4, &Tolerance::default()).off_count, 4);
    }

    #[test]
    fn a_few_neighbours_of_many_are_accepted_and_no_more() {
        let expected: Vec<i64> = (0..2048).collect();
        let with = |wrong: usize| {
            let mut found = expected.clone();
            for (place, value) in found.iter_mut().enumerate().take(wrong) {
                *value = 5000 + i64::try_from(place).unwrap();
            }
            found
        };
        assert!(accepted(&with(4), &expected, 2048));
        assert!(!accepted(&with(5), &expected, 2048));
    }

    #[test]
    fn a_workload_that_selects_nothing_or_always_the_same_cannot_judge() {
        let tolerance = Tolerance::default();
        let nothing = refusal("topk_indices", &[-1, -1], &[-1, -1], 2, &tolerance).unwrap();
        assert!(nothing.ends_with("it selects nothing"), "{nothing}");
        assert!(refusal("i", &[1, 2], &[2, 1], 2, &tolerance).unwrap().contains("previous call"));
        assert_eq!(refusal("i", &[1, 2], &[1, 3], 2, &tolerance), None);
    }
}
