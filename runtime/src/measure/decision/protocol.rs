//! Every constant of a comparison, with its reason.

use serde::{Deserialize, Serialize};

/// Most samples, blocks, processes or sessions: more than anybody waits for.
const LARGEST_COUNT: usize = 100_000;

/// How a comparison is run and judged; kept in its record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Protocol {
    /// Samples of a cell.
    pub samples_per_cell: usize,
    /// Blocks at the start of each workload in each process that are measured and thrown away.
    pub dropped_blocks: usize,
    /// A/B blocks of each workload in each process.
    pub blocks_per_process: usize,
    /// One A/A′ block follows after this many A/B blocks.
    pub control_every: usize,
    /// Processes after which a session looks at its data; ascending, the first at least 3.
    pub looks: Vec<usize>,
    /// Error rate of a session's interval, both sides and all looks together.
    pub alpha: f64,
    /// A difference below this share is not worth a finding.
    pub margin: f64,
    /// A difference certainly below this share is equality; larger than the margin.
    pub equivalence: f64,
    /// Sessions that must find the same before it is Better or Worse.
    pub sessions: usize,
    /// A cell whose clock is this share off its block's median spoils the block.
    pub clock_tolerance: f64,
    /// A session that loses more than this share of its blocks is undecided.
    pub largest_dropped_share: f64,
    /// A session whose A/A′ interval is wider than plus or minus this share is undecided.
    pub largest_control_half_width: f64,
    /// Processes that may die or lose a whole workload before the session gives up.
    pub largest_lost_processes: usize,
    /// Warm-up of each process in milliseconds, before anything is measured.
    pub warmup_ms: u64,
}

impl Default for Protocol {
    fn default() -> Self {
        Self {
            samples_per_cell: 30,             // the median of 30 shrugs off the 2 % of heavy tails
            dropped_blocks: 3,                // the first blocks see cold instruction caches and page tables
            blocks_per_process: 30, // the median of 30 blocks is far below the process's own deviation
            control_every: 2,       // enough A/A′ blocks to see 1 %, without doubling the time
            looks: vec![6, 10, 16], // 6 settle clear cases; beyond 16 the gain is below 20 %
            alpha: 0.05,            // the field's convention
            margin: 0.005,          // what a session's own luck easily reaches
            equivalence: 0.01,      // the smallest gain that a contest table shows
            sessions: 2,            // a tight interval within one session is not proof
            clock_tolerance: 0.02,  // several steps of the clock, below the smallest mode switch
            largest_dropped_share: 0.2, // more means that the machine is not fit to judge
            largest_control_half_width: 0.01, // a control that cannot see 1 % vouches for nothing
            largest_lost_processes: 4, // a quarter of the last look
            warmup_ms: 1000,        // clocks and power settle within a second
        }
    }
}

/// A protocol that cannot work.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{field} is {found}: expected {expected}")]
pub struct ProtocolError {
    /// The field.
    pub field: &'static str,
    /// What it must be.
    pub expected: &'static str,
    /// What it is.
    pub found: String,
}

impl Protocol {
    /// The default, with the blocks shared out among many workloads: the overall effect rests on
    /// all of them together, and a single workload keeps at least five.
    #[must_use]
    pub fn for_workloads(count: usize) -> Self {
        const LEAST_BLOCKS: usize = 5;
        let standard = Self::default();
        let blocks_per_process =
            (2 * standard.blocks_per_process / count.max(1)).clamp(LEAST_BLOCKS, standard.blocks_per_process);
        let dropped_blocks = if count > 2 { 1 } else { standard.dropped_blocks };
        Self { dropped_blocks, blocks_per_process, ..standard }
    }

    /// Another margin; the equivalence margin stays half a percent above it, so that a difference
    /// is never both worth a finding and called equal.
    #[must_use]
    pub fn with_margin(self, margin: f64) -> Self {
        const DISTANCE: f64 = 0.005;
        Self { margin, equivalence: self.equivalence.max(margin + DISTANCE), ..self }
    }

    /// Names the first constant that cannot work.
    pub fn check(&self) -> Result<(), ProtocolError> {
        let ascending = self.looks.windows(2).all(|pair| pair[0] < pair[1]);
        let looks = self.looks.first().is_some_and(|first| *first >= 3)
            && self.looks.last().is_some_and(|last| *last <= LARGEST_COUNT)
            && ascending;
        let share = |value: f64| value > 0.0 && value < 1.0;
        let count = |value: usize| (1..=LARGEST_COUNT).contains(&value);
        let checks: [(&'static str, bool, &'static str, String); 11] = [
            (
                "samples per cell",
                count(self.samples_per_cell),
                "1 to 100000",
                self.samples_per_cell.to_string(),
            ),
            (
                "blocks per process",
                count(self.blocks_per_process),
                "1 to 100000",
                self.blocks_per_process.to_string(),
            ),
            (
                "control every",
                (1..=self.blocks_per_process).contains(&self.control_every),
                "at least 1 and no more than the blocks",
                self.control_every.to_string(),
            ),
            ("looks", looks, "ascending numbers of at least 3 processes", format!("{:?}", self.looks)),
            ("alpha", share(self.alpha), "between 0 and 1", self.alpha.to_string()),
            ("margin", (0.0..1.0).contains(&self.margin), "from 0 to below 1", self.margin.to_string()),
            (
                "equivalence margin",
                self.equivalence > self.margin && self.equivalence < 1.0,
                "larger than the margin and below 1",
                self.equivalence.to_string(),
            ),
            ("sessions", count(self.sessions), "1 to 100000", self.sessions.to_string()),
            (
                "clock tolerance",
                share(self.clock_tolerance),
                "between 0 and 1",
                self.clock_tolerance.to_string(),
            ),
            (
                "largest dropped share",
                (0.0..=1.0).contains(&self.largest_dropped_share),
                "from 0 to 1",
                self.largest_dropped_share.to_string(),
            ),
            (
                "largest control half width",
                share(self.largest_control_half_width),
                "between 0 and 1",
                self.largest_control_half_width.to_string(),
            ),
        ];
        match checks.into_iter().find(|(_, holds, ..)| !holds) {
            None => Ok(()),
            Some((field, _, expected, found)) => Err(ProtocolError { field, expected, found }),
        }
    }

    /// Error rate of one look.
    #[expect(clippy::cast_precision_loss, reason = "a handful of looks")]
    pub(super) fn alpha_per_look(&self) -> f64 {
        self.alpha / self.looks.len() as f64
    }

    /// Blocks of each workload in each process, those of every kind together.
    pub fn blocks_per_workload(&self) -> usize {
        self.dropped_blocks + self.blocks_per_process + self.blocks_per_process / self.control_every
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_work_for_any_number_of_workloads() {
        for count in [0, 1, 2, 3, 7, 54, 1000] {
            assert_eq!(Protocol::for_workloads(count).check(), Ok(()), "{count}");
        }
        assert_eq!(Protocol::for_workloads(1), Protocol::default());
        assert_eq!(Protocol::for_workloads(54).blocks_per_process, 5);
        assert_eq!(Protocol::default().with_margin(0.02).check(), Ok(()));
    }

    #[test]
    fn names_the_constant_that_cannot_work() {
        let field = |change: fn(&mut Protocol)| {
            let mut protocol = Protocol::default();
            change(&mut protocol);
            protocol.check().unwrap_err().field
        };
        assert_eq!(field(|protocol| protocol.looks = vec![]), "looks");
        assert_eq!(field(|protocol| protocol.looks = vec![6, 6]), "looks");
        assert_eq!(field(|protocol| protocol.looks = vec![2]), "looks");
        assert_eq!(field(|protocol| protocol.control_every = 31), "control every");
        assert_eq!(field(|protocol| protocol.margin = f64::NAN), "margin");
        assert_eq!(field(|protocol| protocol.equivalence = 0.005), "equivalence margin");
        assert_eq!(field(|protocol| protocol.alpha = 0.0), "alpha");
    }
}
