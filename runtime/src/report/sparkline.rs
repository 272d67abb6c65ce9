//! A distribution as a line of bars, for a terminal.

/// Bars of a line.
pub const BARS: usize = 16;

/// From the lowest bar to the highest.
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The share of the samples that one tail may hold beyond the last bar: a single hiccup of the machine
/// would otherwise press all others into one bar.
const TAIL: f64 = 0.01;

/// How often samples lie where: bars from the smallest sample to the 99th percentile, what is beyond counted
/// in the last. Empty without finite samples.
pub fn sparkline(samples: &[f64]) -> String {
    let mut sorted: Vec<f64> = samples.iter().copied().filter(|sample| sample.is_finite()).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let Some((low, high)) = bounds(&sorted) else { return String::new() };
    let mut counts = [0_u32; BARS];
    for sample in &sorted {
        counts[bar(*sample, low, high)] += 1;
    }
    let most = counts.iter().copied().max().unwrap_or(1).max(1);
    counts
        .iter()
        .map(|count| match count {
            0 => ' ',
            count => LEVELS[((count * 8).div_ceil(most) as usize).clamp(1, 8) - 1],
        })
        .collect()
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "ranks of a slice, and shares of its length"
)]
fn bounds(sorted: &[f64]) -> Option<(f64, f64)> {
    let last = sorted.len().checked_sub(1)?;
    let high = sorted[((last as f64) * (1.0 - TAIL)).floor() as usize];
    Some((sorted[0], high))
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a place among sixteen bars"
)]
fn bar(sample: f64, low: f64, high: f64) -> usize {
    if high <= low {
        return if sample > high { BARS - 1 } else { 0 };
    }
    (((sample - low) / (high - low) * BARS as f64).floor().max(0.0) as usize).min(BARS - 1)
}

/// Values in a row, each against the smallest and largest: a history. Gaps stay blank.
pub fn trend(values: &[Option<f64>]) -> String {
    let known = || values.iter().flatten().copied().filter(|value| value.is_finite());
    let (low, high) = (known().fold(f64::INFINITY, f64::min), known().fold(f64::NEG_INFINITY, f64::max));
    values
        .iter()
        .map(|value| match value.filter(|value| value.is_finite()) {
            None => ' ',
            Some(value) if high > low => LEVELS[bar(value, low, high) / 2],
            Some(_) => LEVELS[3],
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_high_as_samples_are_many_and_one_hiccup_does_not_press_them_together() {
        let mut samples: Vec<f64> = (0..160).map(|index| f64::from(index % 16)).collect();
        assert_eq!(sparkline(&samples), "█".repeat(BARS));
        samples.push(1e9);
        assert_eq!(sparkline(&samples).chars().filter(|one| *one != ' ').count(), BARS);
        let two: Vec<f64> = (0..100).map(|index| if index % 4 == 0 { 15.8 } else { 11.4 }).collect();
        let line = sparkline(&two);
        assert!(line.starts_with('█') && line.trim_end().len() > 3 && line.ends_with('▃'), "{line}");
        assert_eq!(sparkline(&[1.0]), format!("█{}", " ".repeat(BARS - 1)));
        assert_eq!(sparkline(&[]), "");
        assert_eq!(sparkline(&[f64::NAN]), "");
    }

    #[test]
    fn a_trend_rises_with_its_values_and_leaves_gaps_blank() {
        assert_eq!(trend(&[Some(1.0), None, Some(2.0)]), "▁ █");
        assert_eq!(trend(&[Some(1.0), Some(1.0)]), "▄▄");
        assert_eq!(trend(&[]), "");
    }
}
