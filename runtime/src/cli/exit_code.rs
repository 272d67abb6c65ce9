//! The one table of exit codes. Their meaning never changes.

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

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code as u8)
    }
}
