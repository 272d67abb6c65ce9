//! How a conversation with a player ended that should have gone on.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// How a conversation ended that should have gone on. Texts of the player's are escaped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlayerEnd {
    /// It did not answer in time and was ended.
    #[error("no answer to `{waiting_for}` within {limit_ms} ms")]
    TimedOut {
        /// What was asked.
        waiting_for: &'static str,
        /// The limit in milliseconds.
        limit_ms: u128,
    },
    /// It ended, or hung up and was ended.
    #[error("the player ended during `{waiting_for}`: {how}")]
    Gone {
        /// What was asked.
        waiting_for: &'static str,
        /// Exit code or signal in words.
        how: String,
    },
    /// It said something that is no answer.
    #[error("the player answered `{waiting_for}` with nonsense: {what}")]
    Nonsense {
        /// What was asked.
        waiting_for: &'static str,
        /// What was wrong.
        what: String,
    },
    /// The kernel raised an error.
    #[error("the kernel raised {text}")]
    Raised {
        /// Kind and message.
        text: String,
    },
    /// The device or the loader refused.
    #[error("{text}")]
    Refused {
        /// What it said.
        text: String,
    },
}

/// A status in words: the exit code, or the signal's number and name.
pub(crate) fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("it exited with code {code}"),
        (None, Some(signal)) => format!("signal {signal} ({})", signal_name(signal)),
        (None, None) => "for an unknown reason".to_owned(),
    }
}

fn signal_name(signal: i32) -> &'static str {
    match signal {
        libc::SIGILL => "illegal instruction",
        libc::SIGTRAP => "trap",
        libc::SIGABRT => "abort",
        libc::SIGBUS => "bus error",
        libc::SIGFPE => "arithmetic error",
        libc::SIGKILL => "killed",
        libc::SIGSEGV => "segmentation fault",
        libc::SIGPIPE => "broken pipe",
        libc::SIGALRM => "alarm",
        libc::SIGTERM => "terminated",
        libc::SIGXCPU => "processor time used up",
        libc::SIGSYS => "forbidden system call",
        _ => "unnamed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_told_by_number_and_name() {
        assert_eq!(describe(ExitStatus::from_raw(11)), "signal 11 (segmentation fault)");
        assert_eq!(describe(ExitStatus::from_raw(31)), "signal 31 (forbidden system call)");
        assert_eq!(describe(ExitStatus::from_raw(40)), "signal 40 (unnamed)");
        assert_eq!(describe(ExitStatus::from_raw(3 << 8)), "it exited with code 3");
    }
}
