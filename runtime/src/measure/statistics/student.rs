//! Student's t distribution: how far a mean of few values may lie from the truth.
//!
//! The distribution function is the regularised incomplete beta function, evaluated by its
//! continued fraction (Numerical Recipes' modified Lentz method; DLMF 8.17.22), with the logarithm
//! of the gamma function by Lanczos' series. The quantile is found by bisection: slow, safe, and
//! needed a few dozen times a comparison.

use std::f64::consts::PI;

/// Terms of the continued fraction before it must have converged; it needs about twenty here.
const LARGEST_TERM_COUNT: u32 = 500;
/// Relative change of the continued fraction at which it counts as converged.
const CONVERGED: f64 = 1e-15;
/// Keeps Lentz' method away from a division by zero.
const TINY: f64 = 1e-300;
/// Halvings of the bracket: 200 exhaust a double's precision from any start.
const HALVINGS: u32 = 200;

/// The value that a t variable stays below with that probability. `None` for a probability
/// outside 0 to 1 (exclusive) or less than one degree of freedom.
pub fn quantile(probability: f64, degrees_of_freedom: f64) -> Option<f64> {
    let inside = probability > 0.0 && probability < 1.0;
    if !inside || !degrees_of_freedom.is_finite() || degrees_of_freedom < 1.0 {
        return None;
    }
    if probability < 0.5 {
        return quantile(1.0 - probability, degrees_of_freedom).map(|value| -value);
    }
    let mut high = 1.0;
    while distribution(high, degrees_of_freedom) < probability {
        high *= 2.0;
        if !f64::is_finite(high) {
            return None;
        }
    }
    let mut low = 0.0;
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if distribution(middle, degrees_of_freedom) < probability {
            low = middle;
        } else {
            high = middle;
        }
    }
    Some(f64::midpoint(low, high))
}

/// The probability that a t variable stays below a value that is not negative.
fn distribution(value: f64, degrees_of_freedom: f64) -> f64 {
    let x = degrees_of_freedom / (degrees_of_freedom + value * value);
    1.0 - 0.5 * incomplete_beta(degrees_of_freedom / 2.0, 0.5, x)
}

/// The regularised incomplete beta function.
fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    let front = (log_gamma(a + b) - log_gamma(a) - log_gamma(b) + a * x.ln() + b * (-x).ln_1p()).exp();
    // The fraction converges fast on this side of the mode; symmetry gives the other side.
    if x < (a + 1.0) / (a + b + 2.0) {
        front * continued_fraction(a, b, x) / a
    } else {
        1.0 - front * continued_fraction(b, a, 1.0 - x) / b
    }
}

#[expect(clippy::many_single_char_names, reason = "the formula's own letters")]
fn continued_fraction(a: f64, b: f64, x: f64) -> f64 {
    let guarded = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / guarded(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = d;
    for term in 1..=LARGEST_TERM_COUNT {
        let m = f64::from(term);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut change = 1.0;
        for numerator in [even, odd] {
            d = 1.0 / guarded(1.0 + numerator * d);
            c = guarded(1.0 + numerator / c);
            change = c * d;
            fraction *= change;
        }
        if (change - 1.0).abs() < CONVERGED {
            break;
        }
    }
    fraction
}

/// The logarithm of the gamma function for arguments from 0.5 up, by Lanczos' series with g = 7 and
/// nine terms; relative error below 1e-14.
fn log_gamma(x: f64) -> f64 {
    const G: f64 = 7.0;
    const TERMS: [f64; 9] = [
        0.999_999_999_999_809_9,
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    let shifted = x - 1.0;
    let series = |sum: f64, (index, term): (u32, &f64)| sum + term / (shifted + f64::from(index));
    let sum = (1..).zip(&TERMS[1..]).fold(TERMS[0], series);
    let base = shifted + G + 0.5;
    0.5 * (2.0 * PI).ln() + (shifted + 0.5) * base.ln() - base + sum.ln()
}

#[cfg(test)]
mod tests {
    use statrs::distribution::{ContinuousCDF, StudentsT};

    use super::*;

    #[test]
    fn agrees_with_statrs() {
        for degrees in [1.0, 2.0, 3.0, 5.0, 9.0, 15.0, 29.0, 100.0] {
            let oracle = StudentsT::new(0.0, 1.0, degrees).unwrap();
            for probability in [0.001, 0.025, 0.3, 0.5, 0.9, 0.975, 1.0 - 0.05 / 6.0, 0.999, 0.9999] {
                let ours = quantile(probability, degrees).unwrap();
                let theirs = oracle.inverse_cdf(probability);
                assert!(
                    (ours - theirs).abs() < 1e-6 * theirs.abs().max(1.0),
                    "{degrees} {probability} {ours} {theirs}"
                );
            }
        }
    }

    #[test]
    fn agrees_with_the_printed_tables() {
        for (probability, degrees, expected) in
            [(0.975, 1.0, 12.706), (0.975, 5.0, 2.571), (0.995, 9.0, 3.250), (0.95, 30.0, 1.697)]
        {
            assert!((quantile(probability, degrees).unwrap() - expected).abs() < 5e-4);
        }
    }

    #[test]
    fn refuses_impossible_requests() {
        for (probability, degrees) in [(0.0, 5.0), (1.0, 5.0), (f64::NAN, 5.0), (0.9, 0.0), (0.9, f64::NAN)] {
            assert_eq!(quantile(probability, degrees), None);
        }
    }
}
