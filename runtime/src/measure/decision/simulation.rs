//! A synthetic GPU, to learn how often a protocol errs.
//!
//! A sample is the base time times factors, each of which real machines show:
//!
//! | factor | model |
//! |---|---|
//! | truth | B is slower by a fixed share |
//! | session luck | a normal factor per arm and session: another hour, another placement; no control sees it |
//! | process luck | a normal factor per arm and process, A′ included |
//! | mode | the whole machine jumps between two speeds, 1.389 apart (seen on one artifact in six runs), at random cells |
//! | drift | a linear slope over each process, of random size and sign |
//! | sample noise | a normal factor |
//! | heavy tails | a share of samples takes up to three times as long |
//!
//! Time runs cell by cell, so a mode switch hits the block in which it falls. The clock is either
//! visible, and then follows the mode, or unknown, and then the switch must be survived.

use super::block::CellReading;
use super::comparison::{Comparison, Step};
use super::finding::Decision;
use super::protocol::Protocol;
use super::schedule::{Arm, Cell};

/// What a synthetic GPU is like.
#[derive(Debug, Clone, PartialEq)]
pub struct World {
    /// ln(B/A) in truth.
    pub truth: f64,
    /// Deviation of the session luck of ln(B/A).
    pub session_deviation: f64,
    /// Deviation of the process luck of ln(B/A) and of ln(A′/A).
    pub process_deviation: f64,
    /// Deviation of a sample.
    pub sample_deviation: f64,
    /// Share of samples in the heavy tail.
    pub tail_share: f64,
    /// Quotient of the two modes.
    pub mode_ratio: f64,
    /// Probability that a cell starts with a mode switch.
    pub switch_probability: f64,
    /// Deviation of the drift over a process.
    pub drift_deviation: f64,
    /// Whether readings carry the clock.
    pub clock_is_visible: bool,
}

impl Default for World {
    fn default() -> Self {
        Self {
            truth: 0.0,
            session_deviation: 0.0,
            process_deviation: 0.005,
            sample_deviation: 0.02,
            tail_share: 0.02,
            mode_ratio: 1.389,
            switch_probability: 0.01,
            drift_deviation: 0.05,
            clock_is_visible: true,
        }
    }
}

/// Time of a sample without any factor, in nanoseconds.
const BASE_NS: f64 = 11_400.0;
/// The faster mode's clock in MHz.
const CLOCK_MHZ: f64 = 1980.0;

/// A world in motion.
#[derive(Debug)]
pub struct Machine {
    world: World,
    random: Random,
    session: Option<usize>,
    session_luck: f64,
    process_luck: f64,
    control_luck: f64,
    slope: f64,
    cells_in_process: f64,
    is_slow: bool,
}

impl Machine {
    /// Starts a world; the seed repeats it.
    pub fn new(world: World, seed: u64) -> Self {
        Self {
            world,
            random: Random(seed),
            session: None,
            session_luck: 0.0,
            process_luck: 0.0,
            control_luck: 0.0,
            slope: 0.0,
            cells_in_process: 0.0,
            is_slow: false,
        }
    }

    /// A fresh process: new luck, new drift, and a new session's luck where one begins.
    fn start_process(&mut self, session: usize) {
        if self.session != Some(session) {
            self.session = Some(session);
            self.session_luck = self.world.session_deviation * self.random.normal();
        }
        self.process_luck = self.world.process_deviation * self.random.normal();
        self.control_luck = self.world.process_deviation * self.random.normal();
        self.slope = self.world.drift_deviation * self.random.normal() / 200.0;
        self.cells_in_process = 0.0;
    }

    /// Measures one cell.
    fn measure(&mut self, cell: Cell) -> CellReading {
        if self.random.uniform() < self.world.switch_probability {
            self.is_slow = !self.is_slow;
        }
        self.cells_in_process += 1.0;
        let luck = match cell.arm {
            Arm::A => 0.0,
            Arm::B => self.world.truth + self.session_luck + self.process_luck,
            Arm::Control => self.control_luck,
        };
        let mode = if self.is_slow { self.world.mode_ratio } else { 1.0 };
        let level = BASE_NS * mode * (luck + self.slope * self.cells_in_process).exp();
        let samples_ns = (0..cell.samples).map(|_| level * self.noise()).collect();
        let sm_mhz = self.world.clock_is_visible.then_some(CLOCK_MHZ / mode);
        CellReading { samples_ns, sm_mhz, disturbance: None }
    }

    fn noise(&mut self) -> f64 {
        let noise = (self.world.sample_deviation * self.random.normal()).exp();
        let tail = self.random.uniform() < self.world.tail_share;
        if tail { noise * (1.0 + 2.0 * self.random.uniform()) } else { noise }
    }
}

/// Runs one comparison to its end in a world.
///
/// # Panics
/// For a protocol that cannot work, or without workloads.
pub fn run(protocol: &Protocol, world: &World, workload_count: usize, seed: u64) -> Comparison {
    let workloads = (0..workload_count).map(|index| index.to_string()).collect();
    let mut comparison =
        Comparison::new(protocol.clone(), workloads, seed).expect("a simulation's protocol must work");
    let mut machine = Machine::new(world.clone(), seed);
    loop {
        let answer = match comparison.next() {
            Step::StartProcess { process, .. } => {
                machine.start_process(process.session);
                comparison.process_started()
            }
            Step::Measure(cell) => comparison.feed(machine.measure(cell)),
            Step::Finished => return comparison,
        };
        answer.expect("the step was just asked for");
    }
}

/// How often each decision fell, and what it cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Trials in all.
    pub trials: u32,
    /// Found faster.
    pub better: u32,
    /// Found slower.
    pub worse: u32,
    /// Found equal.
    pub equal: u32,
    /// Not known.
    pub undecided: u32,
    /// Processes run, all trials together.
    pub processes: usize,
}

impl Tally {
    /// Repeats a comparison in fresh worlds, seeded one after the other.
    pub fn of(protocol: &Protocol, world: &World, trials: u32, first_seed: u64) -> Self {
        let mut tally = Self::default();
        for trial in 0..trials {
            let comparison = run(protocol, world, 1, first_seed + u64::from(trial));
            tally.trials += 1;
            tally.processes +=
                comparison.sessions.iter().map(|session| session.processes.len()).sum::<usize>();
            match comparison.decision() {
                Some(Decision::Better) => tally.better += 1,
                Some(Decision::Worse) => tally.worse += 1,
                Some(Decision::Equal) => tally.equal += 1,
                Some(Decision::Undecided { .. }) | None => tally.undecided += 1,
            }
        }
        tally
    }
}

/// `SplitMix64` (Steele, Lea, Flood, OOPSLA 2014): a simulation needs no more.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Above zero, at most one.
    #[expect(clippy::cast_precision_loss, reason = "53 bits")]
    fn uniform(&mut self) -> f64 {
        ((self.word() >> 11) + 1) as f64 * f64::powi(2.0, -53)
    }

    /// Box and Muller's transform.
    fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small enough for a debug build, large enough to show what the protocol does.
    fn cheap() -> Protocol {
        Protocol { samples_per_cell: 9, blocks_per_process: 10, dropped_blocks: 1, ..Protocol::default() }
    }

    fn tally(truth: f64, session_deviation: f64) -> Tally {
        Tally::of(&cheap(), &World { truth, session_deviation, ..World::default() }, 40, 1)
    }

    #[test]
    fn the_same_artifact_is_never_better_or_worse() {
        for session_deviation in [0.0, 0.005] {
            let tally = tally(0.0, session_deviation);
            assert_eq!((tally.better, tally.worse), (0, 0), "{tally:?}");
        }
    }

    #[test]
    fn three_percent_are_found_nine_times_of_ten_in_both_directions() {
        let slower = tally(0.03, 0.0);
        assert!(slower.worse >= 36 && slower.better == 0, "{slower:?}");
        let faster = tally(-0.03, 0.0);
        assert!(faster.better >= 36 && faster.worse == 0, "{faster:?}");
    }

    #[test]
    fn an_unknown_clock_does_not_make_mode_switches_a_finding() {
        let world = World { clock_is_visible: false, ..World::default() };
        let tally = Tally::of(&cheap(), &world, 40, 1);
        assert_eq!((tally.better, tally.worse), (0, 0), "{tally:?}");
    }

    #[test]
    fn the_same_seed_repeats_a_comparison() {
        let report = |seed| run(&cheap(), &World::default(), 3, seed).report();
        assert_eq!(report(5), report(5));
        assert_ne!(report(5).unwrap().ratio, report(6).unwrap().ratio);
    }
}
