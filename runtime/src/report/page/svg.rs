//! What charts share: scales, ticks, numbers as attributes.

use std::fmt::Write as _;

/// Maps values to places on the page.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    is_log: bool,
}

impl Scale {
    /// From the smallest to the largest value, with a little room on both sides.
    pub(super) fn linear(values: impl IntoIterator<Item = f64>, from: f64, to: f64) -> Self {
        let (low, high) = bounds(values);
        let room = if high > low { 0.04 * (high - low) } else { 0.5 * low.abs().max(1e-9) };
        Self { low: low - room, high: high + room, from, to, is_log: false }
    }

    /// The same for values whose ratios count.
    pub(super) fn log(values: impl IntoIterator<Item = f64>, from: f64, to: f64) -> Self {
        let (low, high) = bounds(values.into_iter().filter(|value| *value > 0.0).map(f64::ln));
        let room = if high > low { 0.04 * (high - low) } else { 0.1 };
        Self { low: low - room, high: high + room, from, to, is_log: true }
    }

    /// Where a value stands; at an edge where it lies beyond.
    pub(super) fn place(&self, value: f64) -> f64 {
        let value = if self.is_log { value.max(f64::MIN_POSITIVE).ln() } else { value };
        let share = ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        self.from + share * (self.to - self.from)
    }

    /// Round values within it: some four to eight.
    pub(super) fn ticks(&self) -> Vec<f64> {
        let (low, high) = if self.is_log { (self.low.exp(), self.high.exp()) } else { (self.low, self.high) };
        if self.is_log && high / low > 8.0 {
            let steps: &[f64] = if high / low > 1000.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
            let first = low.log10().floor();
            let last = high.log10().ceil();
            let mut decade = first;
            let mut ticks = Vec::new();
            while decade <= last {
                ticks.extend(steps.iter().map(|step| step * 10_f64.powf(decade)));
                decade += 1.0;
            }
            ticks.retain(|tick| *tick >= low && *tick <= high);
            return ticks;
        }
        let rough = (high - low) / 6.0;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|one| one * power).find(|step| *step >= rough);
        let step = step.unwrap_or(rough);
        let mut tick = (low / step).ceil() * step;
        let mut ticks = Vec::new();
        while tick <= high && ticks.len() < 20 {
            ticks.push(if tick.abs() < step / 1e6 { 0.0 } else { tick });
            tick += step;
        }
        ticks
    }
}

fn bounds(values: impl IntoIterator<Item = f64>) -> (f64, f64) {
    let finite = values.into_iter().filter(|value| value.is_finite());
    let (low, high) =
        finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), one| (low.min(one), high.max(one)));
    if low <= high { (low, high) } else { (0.0, 1.0) }
}

/// A coordinate, to a tenth of a pixel.
pub(super) fn at(value: f64) -> String {
    let mut text = format!("{value:.1}");
    if text.ends_with(".0") {
        text.truncate(text.len() - 2);
    }
    text
}

/// A tick's label: no more digits than it needs.
pub(super) fn label(value: f64) -> String {
    let mut text = if value.abs() >= 100.0 { format!("{value:.0}") } else { format!("{value:.3}") };
    if text.contains('.') {
        text = text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    text
}

/// Points as one path of dots, which takes less room than a circle for each.
pub(super) fn dots(points: impl IntoIterator<Item = (f64, f64)>) -> String {
    let mut path = String::new();
    for (x, y) in points {
        // Writing to a string cannot fail.
        let _ = write!(path, "M{} {}h0", at(x), at(y));
    }
    path
}

/// Points as one line.
pub(super) fn line(points: impl IntoIterator<Item = (f64, f64)>) -> String {
    let mut path = String::new();
    for (x, y) in points {
        let _ = write!(path, "{}{} {}", if path.is_empty() { 'M' } else { 'L' }, at(x), at(y));
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_hold_their_values_and_ticks_are_round() {
        let linear = Scale::linear([10.0, 20.0], 0.0, 100.0);
        assert!(linear.place(10.0) > 0.0 && linear.place(20.0) < 100.0);
        assert_eq!(linear.ticks(), [10.0, 12.0, 14.0, 16.0, 18.0, 20.0]);
        let log = Scale::log([1.0, 1000.0], 100.0, 0.0);
        assert!(log.place(1.0) > log.place(1000.0), "a vertical axis grows upwards");
        assert_eq!(log.ticks(), [1.0, 10.0, 100.0, 1000.0]);
        assert_eq!(Scale::log([1.0, 100.0], 100.0, 0.0).ticks()[..4], [1.0, 2.0, 5.0, 10.0]);
        for odd in
            [Scale::linear([], 0.0, 1.0), Scale::linear([3.0], 0.0, 1.0), Scale::log([f64::NAN], 0.0, 1.0)]
        {
            assert!(odd.place(3.0).is_finite() && odd.ticks().len() <= 20);
        }
    }

    #[test]
    fn numbers_take_no_more_room_than_they_need() {
        assert_eq!((at(12.04), at(12.0), at(-0.26)), ("12".to_owned(), "12".to_owned(), "-0.3".to_owned()));
        assert_eq!(
            (label(0.5), label(1000.0), label(12.345_6)),
            ("0.5".into(), "1000".into(), "12.346".into())
        );
        assert_eq!(dots([(1.0, 2.0)]), "M1 2h0");
        assert_eq!(line([(1.0, 2.0), (3.0, 4.5)]), "M1 2L3 4.5");
    }
}
