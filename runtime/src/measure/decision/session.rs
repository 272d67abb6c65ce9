//! Processes, looks and guards.

use super::block::{self, BlockOutcome, CellReading};
use super::finding::{Decision, Reason};
use super::protocol::Protocol;
use super::schedule::{BlockKind, CELLS_PER_BLOCK, Schedule};
use crate::measure::statistics::{Interval, median};

/// What one process says about one workload, on ln(other/A).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct WorkloadEffect {
    pub(super) time: f64,
    pub(super) cycles: Option<f64>,
    pub(super) control: f64,
}

/// What one process says: the median of its blocks, workload by workload.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ProcessEffect {
    pub(super) workloads: Vec<WorkloadEffect>,
    pub(super) dropped_blocks: usize,
    pub(super) block_count: usize,
}

impl ProcessEffect {
    /// Condenses a finished process. `None` where some workload has no effect or no control block
    /// left: the process is lost.
    pub(super) fn new(
        protocol: &Protocol,
        workload_count: usize,
        schedule: &Schedule,
        readings: &[CellReading],
    ) -> Option<Self> {
        let mut gathered = vec![Gathered::default(); workload_count];
        let (mut dropped_blocks, mut block_count) = (0, 0);
        for (planned, readings) in schedule.blocks().iter().zip(readings.chunks(CELLS_PER_BLOCK)) {
            if planned.kind == BlockKind::Warmup {
                continue;
            }
            block_count += 1;
            match block::judge(*planned, readings, protocol.clock_tolerance) {
                BlockOutcome::Dropped => dropped_blocks += 1,
                BlockOutcome::Kept { time, cycles } => {
                    gathered[planned.workload].add(planned.kind, time, cycles);
                }
            }
        }
        let workloads: Option<Vec<WorkloadEffect>> = gathered.iter().map(Gathered::effect).collect();
        Some(Self { workloads: workloads?, dropped_blocks, block_count })
    }

    /// The mean over all workloads: each weighs the same.
    #[expect(clippy::cast_precision_loss, reason = "a count of workloads")]
    fn mean(&self, value: impl Fn(&WorkloadEffect) -> Option<f64>) -> Option<f64> {
        let sum: Option<f64> = self.workloads.iter().map(value).sum();
        sum.map(|sum| sum / self.workloads.len() as f64)
    }
}

/// The kept blocks of one workload in one process.
#[derive(Debug, Clone, Default)]
struct Gathered {
    times: Vec<f64>,
    cycles: Vec<f64>,
    controls: Vec<f64>,
}

impl Gathered {
    fn add(&mut self, kind: BlockKind, time: f64, cycles: Option<f64>) {
        match kind {
            BlockKind::Control => self.controls.push(time),
            BlockKind::Warmup | BlockKind::Effect => {
                self.times.push(time);
                self.cycles.extend(cycles);
            }
        }
    }

    fn effect(&self) -> Option<WorkloadEffect> {
        let all_cycles = self.cycles.len() == self.times.len();
        Some(WorkloadEffect {
            time: median(&self.times)?,
            cycles: all_cycles.then(|| median(&self.cycles)).flatten(),
            control: median(&self.controls)?,
        })
    }
}

/// The finished processes of one session.
#[derive(Debug, Clone, Default)]
pub(super) struct Session {
    pub(super) processes: Vec<ProcessEffect>,
    pub(super) lost_processes: usize,
    /// What it found; `None` while it runs.
    pub(super) finding: Option<Decision>,
}

impl Session {
    /// The interval of the overall effect; `None` for fewer than two processes.
    pub(super) fn effect(&self, alpha: f64) -> Option<Interval> {
        self.interval(alpha, |effect| Some(effect.time))
    }

    /// The same in clock cycles; `None` also where some clock is unknown.
    pub(super) fn cycles(&self, alpha: f64) -> Option<Interval> {
        self.interval(alpha, |effect| effect.cycles)
    }

    /// The interval of the control's effect.
    pub(super) fn control(&self, alpha: f64) -> Option<Interval> {
        self.interval(alpha, |effect| Some(effect.control))
    }

    /// The interval of one workload's effect.
    pub(super) fn workload(&self, index: usize, alpha: f64) -> Option<Interval> {
        let effects: Vec<f64> = self.processes.iter().map(|process| process.workloads[index].time).collect();
        Interval::of(&effects, alpha)
    }

    fn interval(&self, alpha: f64, value: impl Fn(&WorkloadEffect) -> Option<f64>) -> Option<Interval> {
        let means: Option<Vec<f64>> = self.processes.iter().map(|process| process.mean(&value)).collect();
        Interval::of(&means?, alpha)
    }

    /// Blocks dropped and blocks measured.
    pub(super) fn blocks(&self) -> (usize, usize) {
        let sum = |count: fn(&ProcessEffect) -> usize| self.processes.iter().map(count).sum();
        (sum(|process| process.dropped_blocks), sum(|process| process.block_count))
    }

    /// Adds a finished process, and ends the session where a look settles it.
    pub(super) fn add(&mut self, process: ProcessEffect, protocol: &Protocol) {
        self.processes.push(process);
        let Some(look) = protocol.looks.iter().position(|look| *look == self.processes.len()) else { return };
        let finding = self.look(protocol);
        if !finding.is_undecided() || look + 1 == protocol.looks.len() {
            self.finding = Some(finding);
        }
    }

    /// Counts a process that yielded nothing, and ends the session where there are too many.
    pub(super) fn lose(&mut self, protocol: &Protocol) {
        self.lost_processes += 1;
        if self.lost_processes > protocol.largest_lost_processes {
            let reason = Reason::ProcessesLost { lost: self.lost_processes };
            self.finding = Some(Decision::Undecided { reason });
        }
    }

    /// What the data say now. The guards come first: a machine that is not fit to judge must not
    /// be heard because it happens to say something clear.
    fn look(&self, protocol: &Protocol) -> Decision {
        let alpha = protocol.alpha_per_look();
        let undecided = |reason| Decision::Undecided { reason };
        let (Some(effect), Some(control)) = (self.effect(alpha), self.control(alpha)) else {
            return undecided(Reason::NotPrecise { half_width: None });
        };
        let (dropped, of) = self.blocks();
        #[expect(clippy::cast_precision_loss, reason = "counts of blocks")]
        if dropped as f64 > protocol.largest_dropped_share * of as f64 {
            return undecided(Reason::Disturbed { dropped, of });
        }
        if fails(&control, protocol) {
            let (effect, half_width) = (control.mean, control.half_width());
            return undecided(Reason::ControlFails { effect, half_width });
        }
        let finding = Decision::of_interval(&effect, protocol);
        let in_cycles = self.cycles(alpha).map(|cycles| Decision::of_interval(&cycles, protocol));
        match in_cycles {
            Some(in_cycles) if finding.is_difference() && in_cycles != finding => {
                undecided(Reason::CyclesDisagree)
            }
            _ => finding,
        }
    }
}

/// Whether A/A′ speaks against the machine: too wide to vouch for anything, or clear of zero by at
/// least the margin. A certain difference below the margin is real (the second copy lies elsewhere
/// in memory) and harmless: it cannot by itself make a finding.
fn fails(control: &Interval, protocol: &Protocol) -> bool {
    let matters = control.mean.abs() >= protocol.margin.ln_1p();
    control.half_width() > protocol.largest_control_half_width || (control.excludes(0.0) && matters)
}
