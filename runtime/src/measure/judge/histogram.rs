//! Counts errors in buckets of one percent, because a tensor has more elements than one wants to
//! sort.

/// Low bits of a binary32 that share a bucket: sixteen of the mantissa's 23 bits, which leaves
/// 128 buckets for each power of two.
const SHARED_BITS: u32 = 16;
/// One bucket for each upper half of a binary32 that is not negative.
const BUCKET_COUNT: usize = 1 << 15;

/// How many errors fell into each bucket.
pub(super) struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKET_COUNT], total: 0 }
    }
}

impl Histogram {
    /// Counts one error from zero up; what is negative or NaN falls among the largest.
    pub(super) fn add(&mut self, error: f32) {
        let bucket = (error.to_bits() >> SHARED_BITS) as usize;
        self.counts[bucket.min(BUCKET_COUNT - 1)] += 1;
        self.total += 1;
    }

    /// Adds the counts of another.
    pub(super) fn join(&mut self, other: &Self) {
        self.total += other.total;
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, other)| *count += other);
    }

    /// Upper edge of the bucket in which 99 % are reached; exactly zero where 99 % are zero.
    pub(super) fn percentile_99(&self) -> f64 {
        let rank = self.total - self.total / 100;
        let mut below = 0;
        for (bucket, count) in (0_u32..).zip(&self.counts) {
            below += count;
            if below >= rank {
                return if bucket == 0 { 0.0 } else { upper_edge(bucket) };
            }
        }
        0.0
    }
}

/// The largest value that falls into a bucket.
fn upper_edge(bucket: u32) -> f64 {
    let edge = f32::from_bits((bucket << SHARED_BITS) | ((1 << SHARED_BITS) - 1));
    if edge.is_finite() { f64::from(edge) } else { f64::from(f32::MAX) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(errors: impl IntoIterator<Item = f32>) -> f64 {
        let mut histogram = Histogram::default();
        errors.into_iter().for_each(|error| histogram.add(error));
        histogram.percentile_99()
    }

    #[test]
    fn finds_the_percentile_to_within_one_percent() {
        for scale in [1e-30_f32, 3e-7, 1.0, 7e20] {
            let found = of((1..=1000_u16).map(|count| scale * f32::from(count)));
            let exact = f64::from(scale) * 990.0;
            assert!((exact..exact * 1.01).contains(&found), "{scale} {found}");
        }
    }

    #[test]
    fn a_few_outliers_do_not_move_it() {
        assert_eq!(of([0.0; 99].into_iter().chain([1e9])).to_bits(), 0);
        assert!(of([0.0; 98].into_iter().chain([1e9; 2])) >= 1e9);
        assert_eq!(of([]).to_bits(), 0);
        assert!(of([f32::INFINITY]).is_finite() && of([f32::NAN]).is_finite());
    }
}
