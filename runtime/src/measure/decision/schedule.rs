//! Which cell comes next: workloads in a shuffled order, blocks in a random direction, both by a
//! recorded seed.

use proofmark_packager::DigestBuilder;
use serde::{Deserialize, Serialize};

use super::protocol::Protocol;
use crate::measure::judge::philox::philox;

/// Cells of a block.
pub const CELLS_PER_BLOCK: usize = 4;

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arm {
    /// The incumbent.
    A,
    /// The candidate.
    B,
    /// The incumbent's bytes, loaded a second time.
    Control,
}

/// What a block compares with A.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockKind {
    /// B; thrown away.
    Warmup,
    /// B.
    Effect,
    /// A′.
    Control,
}

/// One process of one session, both from zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProcessId {
    /// The session.
    pub session: usize,
    /// The process within the session; lost ones count.
    pub process: usize,
}

/// One block of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Block {
    /// Index of the workload.
    pub(super) workload: usize,
    /// What is compared with A.
    pub(super) kind: BlockKind,
    /// Whether the block starts with A: ABBA rather than BAAB.
    pub(super) starts_with_a: bool,
}

impl Block {
    /// Whether a cell, 0 to 3, belongs to A.
    pub(super) fn is_a(self, cell: usize) -> bool {
        matches!(cell, 0 | 3) == self.starts_with_a
    }

    fn arm(self, cell: usize) -> Arm {
        match self.kind {
            _ if self.is_a(cell) => Arm::A,
            BlockKind::Control => Arm::Control,
            BlockKind::Warmup | BlockKind::Effect => Arm::B,
        }
    }
}

/// What to measure now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// In which process.
    pub process: ProcessId,
    /// Index of the workload.
    pub workload: usize,
    /// What its block is for.
    pub kind: BlockKind,
    /// Whose turn it is.
    pub arm: Arm,
    /// How many samples to take.
    pub samples: usize,
}

/// The blocks of one process, in order.
#[derive(Debug, Clone)]
pub(super) struct Schedule {
    pub(super) process: ProcessId,
    blocks: Vec<Block>,
    samples: usize,
}

impl Schedule {
    pub(super) fn new(protocol: &Protocol, workload_count: usize, seed: u64, process: ProcessId) -> Self {
        let mut draw = Draw::new(seed, process);
        let mut workloads: Vec<usize> = (0..workload_count).collect();
        // Fisher and Yates: the last place takes any of those before it.
        for last in (1..workload_count).rev() {
            workloads.swap(last, draw.below(last + 1));
        }
        let mut blocks = Vec::new();
        for workload in workloads {
            let kinds = kinds(protocol);
            blocks.extend(kinds.map(|kind| Block { workload, kind, starts_with_a: draw.below(2) == 0 }));
        }
        Self { process, blocks, samples: protocol.samples_per_cell }
    }

    pub(super) fn cell_count(&self) -> usize {
        self.blocks.len() * CELLS_PER_BLOCK
    }

    /// The cell at a place; `None` past the end.
    pub(super) fn cell(&self, index: usize) -> Option<Cell> {
        let block = self.blocks.get(index / CELLS_PER_BLOCK)?;
        Some(Cell {
            process: self.process,
            workload: block.workload,
            kind: block.kind,
            arm: block.arm(index % CELLS_PER_BLOCK),
            samples: self.samples,
        })
    }

    pub(super) fn blocks(&self) -> &[Block] {
        &self.blocks
    }
}

/// The kinds of one workload's blocks: warm-up, then effects with a control after every few.
fn kinds(protocol: &Protocol) -> impl Iterator<Item = BlockKind> {
    let every = protocol.control_every;
    let effects = (1..=protocol.blocks_per_process).flat_map(move |count| {
        let control = count.is_multiple_of(every).then_some(BlockKind::Control);
        std::iter::once(BlockKind::Effect).chain(control)
    });
    std::iter::repeat_n(BlockKind::Warmup, protocol.dropped_blocks).chain(effects)
}

/// Random choices of one process.
struct Draw {
    key: [u32; 2],
    counter: u32,
}

impl Draw {
    fn new(seed: u64, id: ProcessId) -> Self {
        let digest = DigestBuilder::new("proofmark/schedule/1")
            .number(seed)
            .number(id.session as u64)
            .number(id.process as u64)
            .finish();
        let bytes = digest.as_bytes();
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        Self { key: [word(0), word(4)], counter: 0 }
    }

    /// A number below a bound; its bias is below one in a million for any real schedule.
    fn below(&mut self, bound: usize) -> usize {
        let [word, ..] = philox([self.counter, 0, 0, 0], self.key);
        self.counter = self.counter.wrapping_add(1);
        usize::try_from((u64::from(word) * bound as u64) >> 32).expect("a product below the bound")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(process: usize) -> Schedule {
        let protocol = Protocol { blocks_per_process: 4, dropped_blocks: 1, ..Protocol::default() };
        Schedule::new(&protocol, 5, 9, ProcessId { session: 0, process })
    }

    #[test]
    fn a_block_is_balanced_and_symmetric_in_time() {
        let schedule = schedule(0);
        for index in 0..schedule.blocks().len() {
            let arms: Vec<Arm> = (0..4).map(|cell| schedule.cell(4 * index + cell).unwrap().arm).collect();
            assert_eq!((arms[0], arms[1]), (arms[3], arms[2]));
            assert_ne!(arms[0], arms[1]);
            assert!(arms.contains(&Arm::A));
        }
        assert_eq!(schedule.cell(schedule.cell_count()), None);
    }

    #[test]
    fn both_directions_and_all_workloads_occur() {
        let schedule = schedule(0);
        let forward = schedule.blocks().iter().filter(|block| block.starts_with_a).count();
        assert!((8..=27).contains(&forward), "{forward} of 35");
        for workload in 0..5 {
            let of = |kind| {
                schedule
                    .blocks()
                    .iter()
                    .filter(|block| block.workload == workload && block.kind == kind)
                    .count()
            };
            assert_eq!((of(BlockKind::Warmup), of(BlockKind::Effect), of(BlockKind::Control)), (1, 4, 2));
        }
    }

    #[test]
    fn the_seed_repeats_a_schedule_and_processes_differ() {
        assert_eq!(schedule(0).blocks(), schedule(0).blocks());
        assert_ne!(schedule(0).blocks(), schedule(1).blocks());
    }
}
