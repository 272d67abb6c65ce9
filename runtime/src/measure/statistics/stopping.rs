//! When to stop sampling one workload, and why.
//!
//! Precision is the half-width of a distribution-free 95 % interval for the median, relative to
//! the median: its bounds are order statistics, chosen by the binomial distribution of how many
//! samples fall below the true median, so neither tails nor two modes fool it as they fool a
//! standard error. It describes these samples. A rerun may differ by more, because neighbouring
//! samples share clock, placement and neighbours; that is what a comparison's fresh processes
//! are for.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::summary::median;

/// Normal quantile of 97.5 %: two-sided 95 %.
const NORMAL_95: f64 = 1.96;

/// Why sampling ended.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum StopReason {
    /// The median is known well enough.
    Precise {
        /// Half-width of its interval over the median.
        relative_half_width: f64,
    },
    /// The time for this workload ran out first.
    BudgetSpent,
    /// The largest number of samples was taken first.
    SampleLimit,
}

/// When to stop.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StoppingRule {
    /// Fewer samples are never enough.
    pub least_count: usize,
    /// More samples are never taken.
    pub largest_count: usize,
    /// The half-width over the median at which the median is known well enough.
    pub relative_half_width: f64,
    /// The time for one workload.
    pub budget: Duration,
}

impl Default for StoppingRule {
    fn default() -> Self {
        Self {
            least_count: 50,            // the contest's own number of iterations
            largest_count: 2000,        // a few seconds at a flush-bound 1 ms a sample
            relative_half_width: 0.005, // half of what a comparison calls equal
            budget: Duration::from_secs(2),
        }
    }
}

impl StoppingRule {
    /// Says whether to stop, given what was sampled so far; `None` means go on.
    pub fn judge(&self, samples: &[f64], elapsed: Duration) -> Option<StopReason> {
        if samples.len() >= self.least_count
            && let Some(relative_half_width) = median_half_width(samples)
            && relative_half_width <= self.relative_half_width
        {
            return Some(StopReason::Precise { relative_half_width });
        }
        if samples.len() >= self.largest_count {
            return Some(StopReason::SampleLimit);
        }
        (elapsed >= self.budget).then_some(StopReason::BudgetSpent)
    }
}

/// Half-width of the 95 % interval of the median, over the median. `None` for fewer than six
/// samples, where no two order statistics reach 95 %, or for samples that are not finite.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "ranks between zero and a length that is far below 2^53"
)]
pub fn median_half_width(samples: &[f64]) -> Option<f64> {
    const LEAST_COUNT: usize = 6;
    let middle = median(samples).filter(|middle| *middle > 0.0)?;
    if samples.len() < LEAST_COUNT {
        return None;
    }
    let mut sorted = samples.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let count = sorted.len() as f64;
    // The normal approximation of the binomial ranks, rounded outwards.
    let reach = NORMAL_95 * count.sqrt() / 2.0;
    let below = (count / 2.0 - reach).floor().max(0.0) as usize;
    let above = ((count / 2.0 + reach).ceil() as usize).min(sorted.len() - 1);
    Some((sorted[above] - sorted[below]) / 2.0 / middle)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: StoppingRule = StoppingRule {
        least_count: 10,
        largest_count: 100,
        relative_half_width: 0.01,
        budget: Duration::from_secs(1),
    };

    fn spread(count: u32, width: f64) -> Vec<f64> {
        (0..count).map(|index| 100.0 + width * f64::from(index % 11) / 10.0).collect()
    }

    #[test]
    fn stops_when_the_median_is_known_well_enough() {
        let reason = RULE.judge(&spread(40, 1.0), Duration::ZERO);
        assert!(
            matches!(reason, Some(StopReason::Precise { relative_half_width }) if relative_half_width < 0.01)
        );
        assert_eq!(RULE.judge(&spread(9, 0.0), Duration::ZERO), None, "too few, however equal");
    }

    #[test]
    fn says_when_it_gave_up_instead() {
        assert_eq!(RULE.judge(&spread(40, 50.0), Duration::ZERO), None);
        assert_eq!(RULE.judge(&spread(40, 50.0), Duration::from_secs(1)), Some(StopReason::BudgetSpent));
        assert_eq!(RULE.judge(&spread(100, 50.0), Duration::ZERO), Some(StopReason::SampleLimit));
        assert_eq!(RULE.judge(&[], Duration::from_secs(2)), Some(StopReason::BudgetSpent));
    }

    #[test]
    fn two_modes_are_not_precise() {
        let modes: Vec<f64> = (0..50).map(|index| if index % 2 == 0 { 11.4 } else { 15.8 }).collect();
        assert!(median_half_width(&modes).unwrap() > 0.1);
    }
}
