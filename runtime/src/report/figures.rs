//! How numbers are written: microseconds with two decimals, because no clock resolves more; shares
//! in percent.

use crate::measure::judge::Tolerance;
use crate::measure::statistics::Interval;

/// Stands where there is no number.
pub const NONE: &str = "–";

/// Nanoseconds as microseconds: `12.34`.
pub fn microseconds(time_ns: f64) -> String {
    format!("{:.2}", time_ns / 1e3)
}

/// A share as percent: `1.3 %`.
pub fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// A factor: `20.3×`.
pub fn factor(value: f64) -> String {
    if value.abs() < 10.0 { format!("{value:.2}×") } else { format!("{value:.1}×") }
}

/// A ratio with its interval, as changes: `+3.07 % (+2.81 … +3.33)`.
pub fn change(ratio: &Interval) -> String {
    let percent = |ratio: f64| 100.0 * (ratio - 1.0);
    format!("{:+.2} % ({:+.2} … {:+.2})", percent(ratio.mean), percent(ratio.low), percent(ratio.high))
}

/// A number where there is one.
pub fn or_none(value: Option<String>) -> String {
    value.unwrap_or_else(|| NONE.to_owned())
}

/// What a tolerance allows: `0.01 absolute, 0.01 relative, for a share of 1 of the elements`.
pub fn tolerance(Tolerance { atol, rtol, required_matched_ratio }: &Tolerance) -> String {
    format!("{atol} absolute, {rtol} relative, for a share of {required_matched_ratio} of the elements")
}

/// Every tolerance that there is and how often, the first one first.
pub fn tolerances(all: impl IntoIterator<Item = Tolerance>) -> Vec<(Tolerance, usize)> {
    let mut counted: Vec<(Tolerance, usize)> = Vec::new();
    for one in all {
        match counted.iter_mut().find(|(known, _)| *known == one) {
            Some((_, count)) => *count += 1,
            None => counted.push((one, 1)),
        }
    }
    counted
}

/// The same in words; how often is said where there are several.
pub fn tolerance_lines(counted: &[(Tolerance, usize)]) -> Vec<String> {
    let words = |(one, count): &(Tolerance, usize)| match counted.len() {
        1 => tolerance(one),
        _ => format!("{} ({count} workloads)", tolerance(one)),
    };
    counted.iter().map(words).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_laxer_tolerance_of_one_workload_is_named_beside_the_others() {
        let (usual, lax) = (Tolerance::default(), Tolerance { atol: 10.0, ..Tolerance::default() });
        let one = tolerance_lines(&tolerances([usual, usual]));
        assert_eq!(one, ["0.01 absolute, 0.01 relative, for a share of 1 of the elements"]);
        let two = tolerance_lines(&tolerances([usual, lax, usual]));
        assert_eq!(two[0], "0.01 absolute, 0.01 relative, for a share of 1 of the elements (2 workloads)");
        assert_eq!(two[1], "10 absolute, 0.01 relative, for a share of 1 of the elements (1 workloads)");
    }

    #[test]
    fn writes_numbers_as_people_read_them() {
        assert_eq!(microseconds(3712.4), "3.71");
        assert_eq!(percent(0.0134), "1.3 %");
        assert_eq!((factor(1.389), factor(20.34)), ("1.39×".to_owned(), "20.3×".to_owned()));
        assert_eq!(change(&Interval { low: 0.995, mean: 1.0307, high: 1.04 }), "+3.07 % (-0.50 … +4.00)");
        assert_eq!(or_none(None), "–");
    }
}
