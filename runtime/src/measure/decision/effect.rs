//! What each block of a comparison showed, drawn from its record again.

use super::block::{self, BlockOutcome, CellReading};
use super::comparison::{Comparison, ComparisonError, Event, Step};
use super::protocol::Protocol;
use super::schedule::{Arm, Block, BlockKind, CELLS_PER_BLOCK, Cell, ProcessId};

/// One block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BlockEffect {
    /// In which process.
    pub process: ProcessId,
    /// Index of the workload.
    pub workload: usize,
    /// What was compared with A.
    pub kind: BlockKind,
    /// The other arm's time over A's; `None` where the block was dropped.
    pub ratio: Option<f64>,
}

/// The blocks of every process that was not lost in the middle of one, in the order in which they were taken.
pub fn block_effects(
    protocol: &Protocol,
    workloads: Vec<String>,
    seed: u64,
    events: &[Event],
) -> Result<Vec<BlockEffect>, ComparisonError> {
    let mut comparison = Comparison::new(protocol.clone(), workloads, seed)?;
    let mut effects = Vec::new();
    let mut cells: Vec<(Cell, &CellReading)> = Vec::new();
    for event in events {
        match event {
            Event::Started => {
                cells.clear();
                comparison.process_started()?;
            }
            Event::Lost => comparison.process_lost(),
            Event::Stopped => comparison.stop(),
            Event::Cell(reading) => {
                if let Step::Measure(cell) = comparison.next() {
                    cells.push((cell, reading));
                }
                comparison.feed(reading.clone())?;
                if cells.len() == CELLS_PER_BLOCK {
                    effects.push(effect(&cells, protocol.clock_tolerance));
                    cells.clear();
                }
            }
        }
    }
    Ok(effects)
}

fn effect(cells: &[(Cell, &CellReading)], clock_tolerance: f64) -> BlockEffect {
    let (first, _) = cells[0];
    let block = Block { workload: first.workload, kind: first.kind, starts_with_a: first.arm == Arm::A };
    let readings: Vec<CellReading> = cells.iter().map(|(_, reading)| (*reading).clone()).collect();
    let ratio = match block::judge(block, &readings, clock_tolerance) {
        BlockOutcome::Kept { time, .. } => Some(time.exp()),
        BlockOutcome::Dropped => None,
    };
    BlockEffect { process: first.process, workload: first.workload, kind: first.kind, ratio }
}

#[cfg(test)]
mod tests {
    use super::super::simulation::{World, run};
    use super::*;

    #[test]
    fn the_blocks_of_a_record_show_the_effect_that_its_report_found() {
        let protocol = Protocol { samples_per_cell: 1, blocks_per_process: 4, ..Protocol::default() };
        let comparison = run(&protocol, &World { truth: 0.05, ..World::default() }, 2, 1);
        let uuids: Vec<String> =
            comparison.report().unwrap().workloads.into_iter().map(|workload| workload.uuid).collect();
        let effects = block_effects(&protocol, uuids.clone(), 1, comparison.events()).unwrap();
        let mean = |kind| {
            let of: Vec<f64> =
                effects.iter().filter(|one| one.kind == kind).filter_map(|one| one.ratio).collect();
            of.iter().sum::<f64>() / f64::from(u32::try_from(of.len()).unwrap())
        };
        assert!((mean(BlockKind::Effect) - 1.05).abs() < 0.02, "{}", mean(BlockKind::Effect));
        assert!((mean(BlockKind::Control) - 1.0).abs() < 0.02, "{}", mean(BlockKind::Control));
        assert!(block_effects(&protocol, uuids, 1, &[Event::Cell(CellReading::default())]).is_err());
    }
}
