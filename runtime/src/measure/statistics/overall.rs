//! One number over many workloads. A missing, zero, denormal or infinite latency must never make
//! a score look good, so the count is checked and every value must reach a floor.

use serde::Serialize;

/// Shortest latency that a GPU can show, in nanoseconds: an empty kernel takes about 500 on
/// current devices, so a tenth of it is certainly no kernel.
pub const LATENCY_FLOOR_NS: f64 = 50.0;

/// The means over all workloads, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Overall {
    /// How many workloads.
    pub count: usize,
    /// The sum over the count: what the contest reports.
    pub arithmetic_mean_ns: f64,
    /// The exponential of the mean logarithm: every workload weighs the same.
    pub geometric_mean_ns: f64,
}

/// Why there is no overall number.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum OverallError {
    /// No workloads at all.
    #[error("no workloads to take a mean over")]
    Empty,
    /// Some workloads have no latency.
    #[error("{found} latencies for {expected} workloads")]
    Count {
        /// Number of workloads.
        expected: usize,
        /// Number of latencies.
        found: usize,
    },
    /// A latency that no kernel can have.
    #[error("latency {index} is {value} ns: expected a finite number of at least {LATENCY_FLOOR_NS}")]
    Latency {
        /// Which one, from zero.
        index: usize,
        /// Its value.
        value: f64,
    },
}

/// Takes the means over exactly that many latencies in nanoseconds.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
pub fn overall(latencies_ns: &[f64], expected: usize) -> Result<Overall, OverallError> {
    if expected == 0 {
        return Err(OverallError::Empty);
    }
    if latencies_ns.len() != expected {
        return Err(OverallError::Count { expected, found: latencies_ns.len() });
    }
    let impossible = |value: &f64| !(value.is_finite() && *value >= LATENCY_FLOOR_NS);
    if let Some(index) = latencies_ns.iter().position(impossible) {
        return Err(OverallError::Latency { index, value: latencies_ns[index] });
    }
    let count = expected as f64;
    Ok(Overall {
        count: expected,
        arithmetic_mean_ns: latencies_ns.iter().sum::<f64>() / count,
        geometric_mean_ns: (latencies_ns.iter().map(|latency| latency.ln()).sum::<f64>() / count).exp(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_both_means() {
        let overall = overall(&[1000.0, 4000.0], 2).unwrap();
        assert!((overall.arithmetic_mean_ns - 2500.0).abs() < 1e-9);
        assert!((overall.geometric_mean_ns - 2000.0).abs() < 1e-9);
    }

    #[test]
    fn many_small_latencies_do_not_underflow_to_zero() {
        let overall = overall(&[LATENCY_FLOOR_NS; 1000], 1000).unwrap();
        assert!((overall.geometric_mean_ns - LATENCY_FLOOR_NS).abs() < 1e-6);
    }

    #[test]
    fn refuses_numbers_that_would_rank_first_by_accident() {
        assert_eq!(overall(&[], 0), Err(OverallError::Empty));
        assert_eq!(overall(&[], 54), Err(OverallError::Count { expected: 54, found: 0 }));
        assert_eq!(overall(&[600.0], 2), Err(OverallError::Count { expected: 2, found: 1 }));
        for value in [0.0, -1.0, f64::MIN_POSITIVE / 2.0, 1e-3, f64::NAN, f64::INFINITY] {
            assert!(
                matches!(overall(&[600.0, value], 2), Err(OverallError::Latency { index: 1, .. })),
                "{value}"
            );
        }
    }
}
