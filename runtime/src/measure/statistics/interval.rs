//! A mean of independent values with its two-sided confidence interval.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};

/// A mean and where the truth may lie.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower bound.
    pub low: f64,
    /// The mean.
    pub mean: f64,
    /// Upper bound.
    pub high: f64,
}

impl Interval {
    /// The t interval of independent values at an error rate of `alpha` for both sides together.
    /// `None` for fewer than two values, a value that is not finite, or an impossible rate.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    pub fn of(values: &[f64], alpha: f64) -> Option<Self> {
        if values.len() < 2 || !values.iter().all(|value| value.is_finite()) {
            return None;
        }
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = (squares / (count - 1.0)).sqrt();
        let half_width = t_quantile(1.0 - alpha / 2.0, count - 1.0)? * deviation / count.sqrt();
        Some(Self { low: mean - half_width, mean, high: mean + half_width })
    }

    /// Half the distance of the bounds.
    pub fn half_width(&self) -> f64 {
        (self.high - self.low) / 2.0
    }

    /// Whether a value lies outside.
    pub fn excludes(&self, value: f64) -> bool {
        value < self.low || value > self.high
    }

    /// Reads a logarithm's interval as a ratio's.
    #[must_use]
    pub fn exp(&self) -> Self {
        Self { low: self.low.exp(), mean: self.mean.exp(), high: self.high.exp() }
    }
}

/// The value that a t variable stays below with that probability. `None` for a probability outside 0 to
/// 1 (exclusive) or less than one degree of freedom.
fn t_quantile(probability: f64, degrees_of_freedom: f64) -> Option<f64> {
    let is_possible = probability > 0.0 && probability < 1.0 && degrees_of_freedom >= 1.0;
    let t = is_possible.then(|| StudentsT::new(0.0, 1.0, degrees_of_freedom).ok()).flatten()?;
    Some(t.inverse_cdf(probability)).filter(|value| value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_t_quantile_agrees_with_the_printed_tables() {
        for (probability, degrees, expected) in
            [(0.975, 1.0, 12.706), (0.975, 5.0, 2.571), (0.995, 9.0, 3.250), (0.95, 30.0, 1.697)]
        {
            assert!((t_quantile(probability, degrees).unwrap() - expected).abs() < 5e-4);
            assert!((t_quantile(1.0 - probability, degrees).unwrap() + expected).abs() < 5e-4);
        }
        for (probability, degrees) in [(0.0, 5.0), (1.0, 5.0), (f64::NAN, 5.0), (0.9, 0.0), (0.9, f64::NAN)] {
            assert_eq!(t_quantile(probability, degrees), None);
        }
    }

    #[test]
    fn agrees_with_a_hand_computed_example() {
        // Mean 3, deviation sqrt(2.5), t(0.975, 4) = 2.7764.
        let interval = Interval::of(&[1.0, 2.0, 3.0, 4.0, 5.0], 0.05).unwrap();
        let half_width = 2.776_445 * (2.5_f64 / 5.0).sqrt();
        assert!((interval.half_width() - half_width).abs() < 1e-5);
        assert!((interval.mean - 3.0).abs() < 1e-12);
        assert!(interval.excludes(0.9) && !interval.excludes(1.2));
    }

    #[test]
    fn refuses_a_single_value() {
        assert_eq!(Interval::of(&[1.0], 0.05), None);
        assert_eq!(Interval::of(&[1.0, f64::NAN], 0.05), None);
        assert_eq!(Interval::of(&[1.0, 2.0], 0.0), None);
    }
}
