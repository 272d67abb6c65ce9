//! The one table of exit codes. Their meaning never changes.

use crate::evidence::Sameness;
use crate::job::{Outcome, ReplayedSpeed};
use crate::measure::Compared;
use crate::measure::decision::Decision;

/// What the process tells the shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// 0: yes; the thing asked for was done, or the answer is positive.
    Yes = 0,
    /// 1: a negative finding; the tool worked and the answer is no.
    No = 1,
    /// 2: the request or its input is wrong.
    Request = 2,
    /// 3: could not judge; no toolchain, no GPU, an I/O failure.
    CouldNotJudge = 3,
}

impl ExitCode {
    /// What it means, in words.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Yes => "yes: it was done, or the answer is positive",
            Self::No => "a negative finding: it does not compile, is not proven, differs, is wrong or slower",
            Self::Request => "the request or its input is wrong",
            Self::CouldNotJudge => {
                "could not judge: no toolchain, no GPU, a failing disk, or nobody can tell"
            }
        }
    }
}

/// How an outcome answers its request.
pub fn of(outcome: &Outcome) -> ExitCode {
    let yes_if = |is_yes: bool| if is_yes { ExitCode::Yes } else { ExitCode::No };
    match outcome {
        Outcome::Finding { .. } | Outcome::Compared { compared: Compared::Disqualified { .. }, .. } => {
            ExitCode::No
        }
        Outcome::Entry(entry) if !entry.is_proven() => ExitCode::No,
        Outcome::Entry(entry) if !entry.is_complete() => ExitCode::CouldNotJudge,
        Outcome::Built(_) | Outcome::Entry(_) => ExitCode::Yes,
        Outcome::Sealed { measurement, .. } => yes_if(measurement.passed()),
        Outcome::Replayed { comparison, speed, .. } => yes_if(
            comparison.sameness != Sameness::Different && speed.as_ref().is_none_or(ReplayedSpeed::holds),
        ),
        Outcome::Relaunched { speed, .. } => yes_if(speed.holds()),
        Outcome::Measured { measured, .. } => yes_if(measured.report().is_complete()),
        Outcome::Compared { compared: Compared::Decided(settled), .. } => match settled.report.decision {
            Decision::Better => ExitCode::Yes,
            Decision::Worse | Decision::Equal => ExitCode::No,
            Decision::Undecided { .. } => ExitCode::CouldNotJudge,
        },
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code as u8)
    }
}
