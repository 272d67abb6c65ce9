//! Order statistics: they say what samples of a skewed, tailed distribution are like, which a mean
//! and a deviation do not.

use serde::{Deserialize, Serialize};

/// The order statistics of a set of samples, in the samples' unit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// How many samples.
    pub count: usize,
    /// The smallest.
    pub min: f64,
    /// A quarter of the samples is below.
    pub first_quartile: f64,
    /// Half of the samples is below.
    pub median: f64,
    /// Three quarters of the samples are below.
    pub third_quartile: f64,
    /// The largest.
    pub max: f64,
    /// The distance of the quartiles over the median: spread without the tails.
    pub noise: f64,
}

impl Summary {
    /// Summarises finite samples; `None` without any, or where one is not finite.
    pub fn of(samples: &[f64]) -> Option<Self> {
        let sorted = sorted(samples)?;
        let at = |share| quantile_of_sorted(&sorted, share);
        let (first_quartile, median, third_quartile) = (at(0.25), at(0.5), at(0.75));
        Some(Self {
            count: sorted.len(),
            min: sorted[0],
            first_quartile,
            median,
            third_quartile,
            max: sorted[sorted.len() - 1],
            noise: (third_quartile - first_quartile) / median,
        })
    }
}

/// The middle of the samples; the mean of the middle two where their number is even. Takes time
/// in proportion to their number, because whole tensors come here as well.
pub fn median(samples: &[f64]) -> Option<f64> {
    if samples.is_empty() || !samples.iter().all(|sample| sample.is_finite()) {
        return None;
    }
    let mut samples = samples.to_vec();
    let is_odd = samples.len() % 2 == 1;
    let rank = samples.len() / 2;
    let (below, &mut upper, _) = samples.select_nth_unstable_by(rank, f64::total_cmp);
    let lower = below.iter().copied().max_by(f64::total_cmp);
    Some(match lower {
        Some(lower) if !is_odd => lower + (upper - lower) * 0.5,
        _ => upper,
    })
}

/// The medians of runs of neighbours, in the order of the samples: at most so many, however many samples there
/// are. `None` stands for a run with a sample that is not finite.
pub fn medians_in_order(samples: &[f64], most: usize) -> Vec<Option<f64>> {
    let step = samples.len().div_ceil(most.max(1)).max(1);
    samples.chunks(step).map(median).collect()
}

/// The value below which a share of the samples lies, linear between neighbours (type 7 of
/// Hyndman and Fan, which R and numpy default to). `None` without samples, where one is not
/// finite, or for a share outside 0 to 1.
pub fn quantile(samples: &[f64], share: f64) -> Option<f64> {
    let sorted = sorted(samples)?;
    (0.0..=1.0).contains(&share).then(|| quantile_of_sorted(&sorted, share))
}

fn sorted(samples: &[f64]) -> Option<Vec<f64>> {
    if samples.is_empty() || !samples.iter().all(|sample| sample.is_finite()) {
        return None;
    }
    let mut sorted = samples.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    Some(sorted)
}

/// The quantile of a sorted, non-empty slice.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rank between zero and a length that is far below 2^53"
)]
fn quantile_of_sorted(sorted: &[f64], share: f64) -> f64 {
    let rank = share * (sorted.len() - 1) as f64;
    let below = sorted[rank.floor() as usize];
    let above = sorted[rank.ceil() as usize];
    below + (above - below) * rank.fract()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use statrs::statistics::{Data, OrderStatistics};

    use super::*;

    #[test]
    fn agrees_with_a_hand_computed_example() {
        let summary = Summary::of(&[40.0, 10.0, 30.0, 20.0]).unwrap();
        assert_eq!((summary.count, summary.min, summary.max), (4, 10.0, 40.0));
        assert_eq!((summary.first_quartile, summary.median, summary.third_quartile), (17.5, 25.0, 32.5));
        assert!((summary.noise - 0.6).abs() < 1e-12);
    }

    #[test]
    fn refuses_what_has_no_order() {
        assert_eq!(Summary::of(&[]), None);
        assert_eq!(Summary::of(&[1.0, f64::NAN]), None);
        assert_eq!(quantile(&[1.0], 1.5), None);
        assert_eq!(quantile(&[1.0], f64::NAN), None);
    }

    proptest! {
        #[test]
        fn keeps_its_order_and_agrees_with_statrs_on_the_median(
            samples in proptest::collection::vec(-1e6..1e6, 1..200)
        ) {
            let summary = Summary::of(&samples).unwrap();
            prop_assert!(summary.min <= summary.first_quartile);
            prop_assert!(summary.first_quartile <= summary.median);
            prop_assert!(summary.median <= summary.third_quartile);
            prop_assert!(summary.third_quartile <= summary.max);
            prop_assert_eq!(median(&samples).map(f64::to_bits), Some(summary.median.to_bits()));
            let oracle = Data::new(samples).median();
            prop_assert!((summary.median - oracle).abs() < 1e-9);
        }
    }
    #[test]
    fn medians_in_order_are_never_more_than_asked_for() {
        let samples = [1.0, 3.0, 10.0, 30.0, 5.0];
        assert_eq!(medians_in_order(&samples, 3), [Some(2.0), Some(20.0), Some(5.0)]);
        assert_eq!(medians_in_order(&samples, 9), samples.map(Some));
        assert_eq!(medians_in_order(&[1.0, f64::NAN], 1), [None]);
        assert_eq!(medians_in_order(&[], 3), []);
    }
}
