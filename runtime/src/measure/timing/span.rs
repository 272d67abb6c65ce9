//! One call's activity records: its time, and work that does not belong.
//!
//! The player puts an instrument before the call (the L2 flush, or a mark) and a mark behind it, on
//! the call's own stream. Whatever the submission starts must lie between the two. Work that begins
//! before the first was started ahead of its call; work that is still running when the second begins
//! was not ordered before the call's end, on another stream or from another thread.

use proofmark_player::protocol::{Activity, Instrument};

/// The time of one call and what it consisted of.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// First start to last end, in nanoseconds.
    pub elapsed_ns: f64,
    /// Foreign kernels, in order of start.
    pub kernels: Vec<String>,
    /// Foreign copies.
    pub copies: usize,
    /// Foreign fills.
    pub fills: usize,
}

/// What a call must at least have put on the GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Least {
    /// A kernel: copies alone could be a fallback that computes on the host.
    Kernel,
    /// Anything: no host code runs that could compute.
    Anything,
}

/// Why a call's records cannot be its time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Suspicion {
    /// Nothing ran on the GPU.
    #[error("no kernel ran on the GPU")]
    NoKernel,
    /// An instrument's record is missing.
    #[error("the marks around the call are missing from the activity records")]
    NoMarks,
    /// Work began before the call.
    #[error("work began {before_ns} ns before its call")]
    Early {
        /// How long before.
        before_ns: u64,
    },
    /// Work went on behind the call.
    #[error(
        "work went on for {behind_ns} ns behind the end of its call: it is not ordered on the call's stream"
    )]
    Late {
        /// How long behind.
        behind_ns: u64,
    },
    /// Times that cannot be.
    #[error(
        "an activity record has no end: work was still running when its call had ended, or times are forged"
    )]
    Impossible,
}

/// Reads one call's records.
pub fn span(activities: &[Activity], least: Least) -> Result<Span, Suspicion> {
    if activities.iter().any(|one| one.start_ns == 0 || one.end_ns < one.start_ns) {
        return Err(Suspicion::Impossible);
    }
    let (opened_ns, closed_ns) = marks(activities).ok_or(Suspicion::NoMarks)?;
    let mut foreign: Vec<&Activity> =
        activities.iter().filter(|one| one.instrument == Instrument::Foreign).collect();
    foreign.sort_by_key(|one| one.start_ns);
    let kernels: Vec<String> =
        foreign.iter().filter(|one| one.work == 0).map(|one| one.name.clone()).collect();
    let (Some(first), Some(last_end)) = (foreign.first(), foreign.iter().map(|one| one.end_ns).max()) else {
        return Err(Suspicion::NoKernel);
    };
    if first.start_ns < opened_ns {
        return Err(Suspicion::Early { before_ns: opened_ns - first.start_ns });
    }
    if last_end > closed_ns {
        return Err(Suspicion::Late { behind_ns: last_end - closed_ns });
    }
    if kernels.is_empty() && least == Least::Kernel {
        return Err(Suspicion::NoKernel);
    }
    #[allow(clippy::cast_precision_loss)] // far below 2^53 nanoseconds
    let elapsed_ns = (last_end - first.start_ns) as f64;
    let of = |work| foreign.iter().filter(|one| one.work == work).count();
    Ok(Span { elapsed_ns, kernels, copies: of(1), fills: of(2) })
}

/// When the instrument before the call ended, and when the mark behind it began.
fn marks(activities: &[Activity]) -> Option<(u64, u64)> {
    let instruments =
        activities.iter().filter(|one| matches!(one.instrument, Instrument::Flush | Instrument::Mark));
    let mut ordered: Vec<&Activity> = instruments.collect();
    ordered.sort_by_key(|one| one.start_ns);
    let [.., before, behind] = ordered.as_slice() else { return None };
    (behind.instrument == Instrument::Mark).then_some((before.end_ns, behind.start_ns))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(instrument: Instrument, kind: u8, start_ns: u64, end_ns: u64) -> Activity {
        let name = if kind == 0 { format!("kernel_{start_ns}") } else { String::new() };
        Activity { work: kind, instrument, start_ns, end_ns, stream: 7, name }
    }

    fn call(foreign: &[(u8, u64, u64)]) -> Vec<Activity> {
        let mut records = vec![work(Instrument::Flush, 0, 100, 200), work(Instrument::Mark, 0, 900, 901)];
        records
            .extend(foreign.iter().map(|(kind, start, end)| work(Instrument::Foreign, *kind, *start, *end)));
        records
    }

    #[test]
    fn spans_first_start_to_last_end_over_all_streams() {
        let found = span(&call(&[(0, 400, 500), (0, 300, 450), (2, 290, 295), (1, 460, 600)]), Least::Kernel)
            .unwrap();
        assert!((found.elapsed_ns - 310.0).abs() < 1e-9);
        assert_eq!((found.kernels.len(), found.copies, found.fills), (2, 1, 1));
        assert_eq!(found.kernels[0], "kernel_300");
    }

    #[test]
    fn work_outside_its_call_is_seen() {
        assert_eq!(span(&call(&[(0, 150, 400)]), Least::Kernel), Err(Suspicion::Early { before_ns: 50 }));
        assert_eq!(span(&call(&[(0, 300, 950)]), Least::Kernel), Err(Suspicion::Late { behind_ns: 50 }));
        assert_eq!(
            span(&call(&[(0, 300, 400), (0, 950, 990)]), Least::Kernel),
            Err(Suspicion::Late { behind_ns: 90 })
        );
    }

    #[test]
    fn nothing_or_copies_alone_are_no_kernel() {
        assert_eq!(span(&call(&[]), Least::Kernel), Err(Suspicion::NoKernel));
        assert_eq!(span(&call(&[(1, 300, 400)]), Least::Kernel), Err(Suspicion::NoKernel));
        assert_eq!(span(&call(&[(1, 300, 400)]), Least::Anything).unwrap().copies, 1);
        assert_eq!(span(&call(&[]), Least::Anything), Err(Suspicion::NoKernel));
    }

    #[test]
    fn records_without_marks_or_times_are_refused() {
        assert_eq!(span(&[work(Instrument::Foreign, 0, 300, 400)], Least::Kernel), Err(Suspicion::NoMarks));
        assert_eq!(span(&call(&[(0, 0, 400)]), Least::Kernel), Err(Suspicion::Impossible));
        assert_eq!(span(&call(&[(0, 500, 400)]), Least::Kernel), Err(Suspicion::Impossible));
    }

    #[test]
    fn only_the_last_pair_of_marks_counts() {
        let mut records = call(&[(0, 300, 400)]);
        records.push(work(Instrument::Mark, 0, 10, 11));
        assert!(span(&records, Least::Kernel).is_ok());
    }
}
