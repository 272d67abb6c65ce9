//! Four cells become one effect, or are dropped together.

use serde::{Deserialize, Serialize};

use super::schedule::{Block, CELLS_PER_BLOCK};
use crate::measure::statistics::median;

/// What was measured in one cell.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct CellReading {
    /// The samples in nanoseconds.
    pub samples_ns: Vec<f64>,
    /// The SM clock over the cell in MHz, where it could be measured.
    pub sm_mhz: Option<f64>,
    /// What disturbed the cell: a throttle reason, another process.
    pub disturbance: Option<String>,
}

impl CellReading {
    /// The median, where every sample is a time.
    fn median_ns(&self) -> Option<f64> {
        let times = self.samples_ns.iter().all(|sample| *sample > 0.0);
        times.then(|| median(&self.samples_ns)).flatten()
    }
}

/// How a block ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum BlockOutcome {
    /// ln(other/A) in time, and in cycles where all four clocks are known.
    Kept { time: f64, cycles: Option<f64> },
    /// It says nothing.
    Dropped,
}

/// Judges the four readings of a block.
pub(super) fn judge(block: Block, readings: &[CellReading], clock_tolerance: f64) -> BlockOutcome {
    if readings.len() != CELLS_PER_BLOCK || readings.iter().any(|cell| cell.disturbance.is_some()) {
        return BlockOutcome::Dropped;
    }
    let medians: Option<Vec<f64>> = readings.iter().map(CellReading::median_ns).collect();
    let Some(medians) = medians else { return BlockOutcome::Dropped };
    let clocks: Option<Vec<f64>> =
        readings.iter().map(|cell| cell.sm_mhz.filter(|clock| *clock > 0.0)).collect();
    if clocks.as_ref().is_some_and(|clocks| is_unsteady(clocks, clock_tolerance)) {
        return BlockOutcome::Dropped;
    }
    let time = effect(block, &medians);
    let cycles = clocks.map(|clocks| time + effect(block, &clocks));
    BlockOutcome::Kept { time, cycles }
}

fn is_unsteady(clocks: &[f64], tolerance: f64) -> bool {
    median(clocks).is_none_or(|middle| clocks.iter().any(|clock| (clock / middle - 1.0).abs() > tolerance))
}

/// Half of the other arm's logarithms minus A's: linear drift over the block cancels.
fn effect(block: Block, values: &[f64]) -> f64 {
    let signed = |(cell, value): (usize, &f64)| if block.is_a(cell) { -value.ln() } else { value.ln() };
    values.iter().enumerate().map(signed).sum::<f64>() / 2.0
}

#[cfg(test)]
mod tests {
    use super::super::schedule::BlockKind;
    use super::*;

    const ABBA: Block = Block { workload: 0, kind: BlockKind::Effect, starts_with_a: true };
    const BAAB: Block = Block { starts_with_a: false, ..ABBA };

    fn cells(times: [f64; 4], clocks: [Option<f64>; 4]) -> Vec<CellReading> {
        let cell = |(time, sm_mhz)| CellReading { samples_ns: vec![time; 3], sm_mhz, disturbance: None };
        times.into_iter().zip(clocks).map(cell).collect()
    }

    fn time_of(outcome: &BlockOutcome) -> f64 {
        match outcome {
            BlockOutcome::Kept { time, .. } => *time,
            BlockOutcome::Dropped => panic!("dropped"),
        }
    }

    #[test]
    fn drift_cancels_in_both_directions() {
        // Every cell is 1 % slower than the one before; B is 3 % slower than A.
        let drift = |cell: i32| 1.01_f64.powi(cell);
        let abba = [drift(0), 1.03 * drift(1), 1.03 * drift(2), drift(3)];
        let baab = [1.03 * drift(0), drift(1), drift(2), 1.03 * drift(3)];
        for (block, times) in [(ABBA, abba), (BAAB, baab)] {
            let outcome = judge(block, &cells(times.map(|time| 1e4 * time), [None; 4]), 0.02);
            assert!((time_of(&outcome) - 1.03_f64.ln()).abs() < 1e-12);
        }
    }

    #[test]
    fn a_clock_change_drops_the_block_and_a_small_one_shows_in_cycles() {
        let with = |clock: f64| {
            let clocks = [1980.0, clock, 1980.0, 1980.0].map(Some);
            judge(ABBA, &cells([1e4; 4], clocks), 0.02)
        };
        assert_eq!(with(1900.0), BlockOutcome::Dropped);
        let BlockOutcome::Kept { time, cycles: Some(cycles) } = with(1960.0) else { panic!("dropped") };
        assert!(time.abs() < 1e-12);
        assert!((cycles - (1960.0_f64 / 1980.0).ln() / 2.0).abs() < 1e-12);
        let unknown = judge(ABBA, &cells([1e4; 4], [Some(1980.0), None, None, None]), 0.02);
        assert!(matches!(unknown, BlockOutcome::Kept { cycles: None, .. }));
    }

    #[test]
    fn what_is_no_time_or_was_disturbed_says_nothing() {
        for wrong in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(judge(ABBA, &cells([1e4, wrong, 1e4, 1e4], [None; 4]), 0.02), BlockOutcome::Dropped);
        }
        let mut disturbed = cells([1e4; 4], [None; 4]);
        disturbed[2].disturbance = Some("thermal slowdown".to_owned());
        assert_eq!(judge(ABBA, &disturbed, 0.02), BlockOutcome::Dropped);
        assert_eq!(judge(ABBA, &disturbed[..3], 0.02), BlockOutcome::Dropped);
        let mut empty = cells([1e4; 4], [None; 4]);
        empty[0].samples_ns.clear();
        assert_eq!(judge(ABBA, &empty, 0.02), BlockOutcome::Dropped);
    }
}
