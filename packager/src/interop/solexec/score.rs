//! Their score of one workload.

/// One over one plus the distance from the speed of light, in units of the baseline's distance: 1 at
/// the speed of light, a half at the baseline.
///
/// Where the baseline is no slower than the speed of light, it is 1 for whoever is no slower either, and
/// else 0, as in their code.
#[must_use]
pub fn score(latency_ms: f64, light_ms: f64, baseline_ms: f64) -> f64 {
    let gap_ms = baseline_ms - light_ms;
    if gap_ms <= 0.0 {
        return if latency_ms <= light_ms { 1.0 } else { 0.0 };
    }
    1.0 / (1.0 + (latency_ms - light_ms) / gap_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_one_at_the_speed_of_light_and_a_half_at_the_baseline() {
        let near = |found: f64, expected: f64| (found - expected).abs() < 1e-12;
        assert!(near(score(1.0, 1.0, 3.0), 1.0));
        assert!(near(score(3.0, 1.0, 3.0), 0.5));
        assert!(near(score(5.0, 1.0, 3.0), 1.0 / 3.0));
        assert!(near(score(2.0, 2.0, 2.0), 1.0) && near(score(2.1, 2.0, 2.0), 0.0));
    }
}
