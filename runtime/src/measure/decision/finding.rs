//! The words of an answer.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::protocol::Protocol;
use crate::measure::statistics::Interval;

/// How the candidate B compares with the incumbent A.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "decision", rename_all = "snake_case")]
#[must_use]
pub enum Decision {
    /// B is faster by more than the margin.
    Better,
    /// B is slower by more than the margin.
    Worse,
    /// They differ by less than the equivalence margin.
    Equal,
    /// Not known.
    Undecided {
        /// Why.
        reason: Reason,
    },
}

/// Why it is not known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Reason {
    /// The interval is neither clear of the margin nor within equivalence after the last look.
    NotPrecise {
        /// Half-width of the interval on ln(B/A); absent where there is none.
        half_width: Option<f64>,
    },
    /// The time ran out between two looks.
    BudgetSpent {
        /// Processes that the session has finished.
        processes: usize,
    },
    /// A and A′, the same bytes, seem to differ, or are too noisy to vouch for anything.
    ControlFails {
        /// Mean of ln(A′/A).
        effect: f64,
        /// Half-width of its interval.
        half_width: f64,
    },
    /// Too many blocks were disturbed.
    Disturbed {
        /// Blocks that were dropped.
        dropped: usize,
        /// Blocks that were measured.
        of: usize,
    },
    /// The finding in time is not the one in clock cycles.
    CyclesDisagree,
    /// Sessions found different things.
    SessionsDisagree,
    /// One session found a difference here, but the comparison as a whole needed no second.
    Unconfirmed,
    /// Too many processes died or lost a whole workload.
    ProcessesLost {
        /// How many.
        lost: usize,
    },
}

impl fmt::Display for Decision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Better => formatter.write_str("better"),
            Self::Worse => formatter.write_str("worse"),
            Self::Equal => formatter.write_str("equal"),
            Self::Undecided { reason } => write!(formatter, "undecided: {reason}"),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPrecise { half_width: None } => formatter.write_str("too few processes"),
            Self::NotPrecise { half_width: Some(half_width) } => {
                write!(formatter, "known only to ±{:.2} % after the last look", 100.0 * half_width)
            }
            Self::BudgetSpent { processes } => {
                write!(formatter, "the time ran out after {processes} processes, between two looks")
            }
            Self::ControlFails { effect, half_width } => write!(
                formatter,
                "the same bytes loaded twice differ by {:+.2} % ± {:.2} %",
                100.0 * effect,
                100.0 * half_width
            ),
            Self::Disturbed { dropped, of } => write!(formatter, "{dropped} of {of} blocks were disturbed"),
            Self::CyclesDisagree => formatter.write_str("time and clock cycles disagree"),
            Self::SessionsDisagree => formatter.write_str("a second session did not find the same"),
            Self::Unconfirmed => formatter.write_str("a difference that no second session confirmed"),
            Self::ProcessesLost { lost } => {
                write!(formatter, "{lost} processes died or were disturbed throughout")
            }
        }
    }
}

impl Decision {
    /// What an interval on ln(B/A) says by itself.
    pub(super) fn of_interval(interval: &Interval, protocol: &Protocol) -> Self {
        let (margin, equivalence) = (protocol.margin.ln_1p(), protocol.equivalence.ln_1p());
        if interval.high < -margin {
            Self::Better
        } else if interval.low > margin {
            Self::Worse
        } else if interval.low > -equivalence && interval.high < equivalence {
            Self::Equal
        } else {
            Self::Undecided { reason: Reason::NotPrecise { half_width: Some(interval.half_width()) } }
        }
    }

    /// Whether it claims a difference.
    pub fn is_difference(&self) -> bool {
        matches!(self, Self::Better | Self::Worse)
    }

    /// Whether nothing is known.
    pub fn is_undecided(&self) -> bool {
        matches!(self, Self::Undecided { .. })
    }

    /// What several sessions say together: a difference only where all found it, and the first
    /// session's answer where it claimed none. `None` without sessions.
    pub(super) fn agreed<'a>(mut findings: impl Iterator<Item = &'a Self>) -> Option<Self> {
        let first = findings.next()?;
        let agree = !first.is_difference() || findings.all(|finding| finding == first);
        let apart = Self::Undecided { reason: Reason::SessionsDisagree };
        Some(if agree { first.clone() } else { apart })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(low: f64, high: f64) -> Decision {
        Decision::of_interval(&Interval { low, mean: f64::midpoint(low, high), high }, &Protocol::default())
    }

    #[test]
    fn only_an_interval_clear_of_the_margin_is_a_difference() {
        assert_eq!(of(-0.02, -0.006), Decision::Better);
        assert_eq!(of(0.006, 0.02), Decision::Worse);
        assert_eq!(of(-0.009, 0.009), Decision::Equal);
        assert!(of(-0.02, -0.004).is_undecided());
        assert!(of(-0.001, 0.02).is_undecided());
        assert_eq!(of(0.001, 0.004), Decision::Equal, "a certain difference, too small to matter");
        assert!(of(f64::NAN, f64::NAN).is_undecided());
    }

    #[test]
    fn sessions_must_agree_on_a_difference() {
        use Decision::{Better, Equal, Worse};
        let agreed = |findings: &[Decision]| Decision::agreed(findings.iter()).unwrap();
        let apart = Decision::Undecided { reason: Reason::SessionsDisagree };
        assert_eq!(agreed(&[Better, Better]), Better);
        assert_eq!(agreed(&[Worse, Equal]), apart);
        assert_eq!(agreed(&[Better, Worse]), apart);
        assert_eq!(agreed(&[Equal]), Equal);
        assert_eq!(Decision::agreed([].iter()), None);
    }
}
