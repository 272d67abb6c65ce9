//! Runs one program to its end with bounded time and bounded output, and leaves nothing running.
//!
//! The program gets a process group of its own. When time is up, when the person presses Ctrl-C or
//! when this process is asked to terminate, the whole group is killed. Where the program runs in the
//! [sandbox](crate::sandbox), its keeper ends what left the group; elsewhere whatever still has its
//! working directory in the folder where the program ran is killed.

use std::fs;
use std::io::{self, PipeReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};

use crate::interruption::Interruption;
use crate::sandbox::lifeline::{Lifeline, Orders};

/// How often a waiting loop looks at the clock and for Ctrl-C: unnoticed by people, free for the CPU.
const TICK: Duration = Duration::from_millis(50);

/// How long a keeper that is to end everything has for it.
const KEEPER_GRACE: Duration = Duration::from_secs(3);

/// What a run may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunLimits {
    /// Wall time until the tree is killed.
    pub time: Duration,
    /// How much of the output is kept: its first half and its last half.
    pub log_bytes: usize,
}

/// Output and standard error of a program, in the order in which they were written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeptOutput {
    head: Vec<u8>,
    tail: Vec<u8>,
    limit: usize,
    dropped: u64,
}

impl KeptOutput {
    fn new(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    fn push(&mut self, bytes: &[u8]) {
        let room = (self.limit / 2).saturating_sub(self.head.len()).min(bytes.len());
        self.head.extend_from_slice(&bytes[..room]);
        self.tail.extend_from_slice(&bytes[room..]);
        // Trimmed only when twice too long, so that each byte moves once.
        if self.tail.len() > self.limit {
            self.trim();
        }
    }

    fn trim(&mut self) {
        let surplus = self.tail.len().saturating_sub(self.limit / 2);
        self.tail.drain(..surplus);
        self.dropped += surplus as u64;
    }

    /// The text; where the limit was passed, a line in the middle says how much is missing.
    pub fn text(mut self) -> String {
        self.trim();
        let head = String::from_utf8_lossy(&self.head);
        let tail = String::from_utf8_lossy(&self.tail);
        match self.dropped {
            0 => format!("{head}{tail}"),
            dropped => format!("{head}\n[… {dropped} bytes left out …]\n{tail}"),
        }
    }
}

/// How a program ended.
#[derive(Debug)]
pub struct Finished {
    /// Its exit status.
    pub status: ExitStatus,
    /// What it said.
    pub log: String,
}

/// Why a program did not come to its own end.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The system could not start it.
    #[error("cannot start `{program}`")]
    Start {
        /// The program.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// Reading its output or waiting for it failed.
    #[error("lost contact with `{program}`")]
    Contact {
        /// The program.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// The time limit was reached; every process of it was killed.
    #[error("`{program}` did not end within {:.1} s and was killed", limit.as_secs_f32())]
    TimedOut {
        /// The program.
        program: String,
        /// The limit.
        limit: Duration,
        /// What it had said.
        log: String,
    },
    /// Ctrl-C or a request to terminate; every process of it was killed.
    #[error("interrupted")]
    Interrupted,
}

impl ProcessError {
    /// The same of another program: of the one that was asked for, and not of its keeper.
    #[must_use]
    pub(crate) fn naming(self, name: &str) -> Self {
        let program = name.to_owned();
        match self {
            Self::Start { source, .. } => Self::Start { program, source },
            Self::Contact { source, .. } => Self::Contact { program, source },
            Self::TimedOut { limit, log, .. } => Self::TimedOut { program, limit, log },
            Self::Interrupted => Self::Interrupted,
        }
    }
}

/// A program whose path stays valid in another folder; a bare name is looked up on PATH.
pub(crate) fn spelled_out(program: &Path) -> PathBuf {
    let is_path = program.components().count() > 1;
    let absolute = is_path.then(|| std::path::absolute(program).ok()).flatten();
    absolute.unwrap_or_else(|| program.to_owned())
}

/// Runs a program to its end. Each complete line of its output is shown to `on_line` as it comes.
pub fn run(
    command: Command,
    limits: RunLimits,
    on_line: &mut dyn FnMut(&str),
) -> Result<Finished, ProcessError> {
    start_and_follow(command, Stdio::null(), None, limits, on_line)
}

/// Runs the sandbox's keeper to its end. It is given its orders; should its work have to end early, its
/// lifeline is cut, and it ends all that it started.
pub(crate) fn run_behind(
    keeper: Command,
    input: Stdio,
    (lifeline, orders): (&mut Lifeline, &Orders),
    limits: RunLimits,
    on_line: &mut dyn FnMut(&str),
) -> Result<Finished, ProcessError> {
    start_and_follow(keeper, input, Some((lifeline, orders)), limits, on_line)
}

fn start_and_follow(
    mut command: Command,
    input: Stdio,
    behind: Option<(&mut Lifeline, &Orders)>,
    limits: RunLimits,
    on_line: &mut dyn FnMut(&str),
) -> Result<Finished, ProcessError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let folder = command.get_current_dir().map(Path::to_owned);
    // Held until the tree is gone: while it lives, Ctrl-C raises a flag instead of ending us.
    let interruption = Interruption::guard();
    let start = |source| ProcessError::Start { program: program.clone(), source };
    let (reader, writer) = io::pipe().map_err(start)?;
    command.stdin(input).stdout(writer.try_clone().map_err(start)?).stderr(writer);
    let child = command.process_group(0).spawn().map_err(start)?;
    // The command still owns the write ends; without this the pipe would never end.
    drop(command);
    let mut tree = Tree { child, ended: false };
    let (lifeline, ordered) = match behind {
        Some((lifeline, orders)) => {
            let ordered = lifeline.send(orders);
            (Some(&*lifeline), ordered)
        }
        None => (None, Ok(())),
    };
    let mut log = KeptOutput::new(limits.log_bytes);
    let outcome = ordered.and_then(|()| follow(&mut tree, reader, limits, &interruption, &mut log, on_line));
    let mut end = || match lifeline {
        Some(lifeline) => tree.end_behind(lifeline),
        None => tree.end(folder.as_deref()),
    };
    match outcome {
        Ok(Follow::Ended) => {
            let status = tree.reap().map_err(|source| ProcessError::Contact { program, source })?;
            Ok(Finished { status, log: log.text() })
        }
        Ok(Follow::TimedOut) => {
            end();
            Err(ProcessError::TimedOut { program, limit: limits.time, log: log.text() })
        }
        Ok(Follow::Interrupted) => {
            end();
            Err(ProcessError::Interrupted)
        }
        Err(source) => {
            end();
            Err(ProcessError::Contact { program, source })
        }
    }
}

enum Follow {
    Ended,
    TimedOut,
    Interrupted,
}

fn follow(
    tree: &mut Tree,
    mut reader: PipeReader,
    limits: RunLimits,
    interruption: &Interruption,
    log: &mut KeptOutput,
    on_line: &mut dyn FnMut(&str),
) -> io::Result<Follow> {
    // A limit beyond the end of the clock is none.
    let deadline = Instant::now().checked_add(limits.time);
    let mut buffer = vec![0; 64 * 1024];
    let mut line = Vec::new();
    let mut open = true;
    loop {
        if interruption.raised() {
            return Ok(Follow::Interrupted);
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Ok(Follow::TimedOut);
        }
        if open && readable(&reader, TICK)? {
            match reader.read(&mut buffer)? {
                0 => open = false,
                length => {
                    log.push(&buffer[..length]);
                    show_lines(&mut line, &buffer[..length], on_line);
                }
            }
            continue;
        }
        // Either all writers are gone, and the end is a moment away, or a tick went by in silence.
        if tree.has_ended()? {
            return Ok(Follow::Ended);
        }
        if !open {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn readable(reader: &PipeReader, within: Duration) -> io::Result<bool> {
    let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(within.subsec_nanos()) };
    let mut waited = [PollFd::new(reader, PollFlags::IN)];
    match poll(&mut waited, Some(&timeout)) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Longest line shown while a program runs, in bytes; what is beyond is in the log alone.
const LONGEST_SHOWN_LINE_BYTES: usize = 4096;

fn show_lines(line: &mut Vec<u8>, bytes: &[u8], on_line: &mut dyn FnMut(&str)) {
    for &byte in bytes {
        if byte == b'\n' {
            on_line(&String::from_utf8_lossy(line));
            line.clear();
        } else if line.len() < LONGEST_SHOWN_LINE_BYTES {
            line.push(byte);
        }
    }
}

/// A running program; killed with its group when dropped before its end.
struct Tree {
    child: Child,
    ended: bool,
}

impl Tree {
    fn pid(&self) -> Option<Pid> {
        Pid::from_raw(i32::try_from(self.child.id()).ok()?)
    }

    /// Whether the leader has ended. It is left unreaped, so that its number names our group still.
    fn has_ended(&mut self) -> io::Result<bool> {
        let Some(pid) = self.pid() else { return Ok(true) };
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        match waitid(WaitId::Pid(pid), options) {
            Ok(status) => Ok(status.is_some()),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Ends whatever the leader left behind in its group, then collects its status.
    fn reap(&mut self) -> io::Result<ExitStatus> {
        self.kill_group();
        self.ended = true;
        self.child.wait()
    }

    fn end(&mut self, folder: Option<&Path>) {
        let _ = self.reap();
        if let Some(folder) = folder {
            end_strays(folder);
        }
    }

    /// Lets the keeper end all that it started, and ends it if that takes too long.
    fn end_behind(&mut self, lifeline: &Lifeline) {
        lifeline.cut();
        let deadline = Instant::now() + KEEPER_GRACE;
        while matches!(self.has_ended(), Ok(false)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = self.reap();
    }

    fn kill_group(&self) {
        if let Some(pid) = self.pid() {
            // An error means that nobody is left.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        if !self.ended {
            let _ = self.reap();
        }
    }
}

/// Kills every process whose working directory lies in the folder where the program ran. Several
/// rounds, because a process may start another one while we look.
fn end_strays(folder: &Path) {
    let Ok(folder) = folder.canonicalize() else { return };
    for _ in 0..8 {
        let strays: Vec<Pid> = processes().filter(|&pid| works_in(pid, &folder)).collect();
        if strays.is_empty() {
            return;
        }
        for pid in strays {
            let _ = kill_process(pid, Signal::KILL);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn processes() -> impl Iterator<Item = Pid> {
    let own = rustix::process::getpid();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(Pid::from_raw)
        .filter(move |&pid| pid != own)
}

fn works_in(pid: Pid, folder: &Path) -> bool {
    let place = fs::read_link(format!("/proc/{}/cwd", pid.as_raw_nonzero()));
    place.is_ok_and(|place| place.starts_with(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn limits(time: Duration) -> RunLimits {
        RunLimits { time, log_bytes: 1000 }
    }

    #[test]
    fn gives_status_and_output_in_order() {
        let mut lines = Vec::new();
        let finished = run(
            shell("echo one; echo two >&2; echo three; exit 7"),
            limits(Duration::from_secs(30)),
            &mut |line| {
                lines.push(line.to_owned());
            },
        )
        .unwrap();
        assert_eq!(finished.status.code(), Some(7));
        assert_eq!(finished.log, "one\ntwo\nthree\n");
        assert_eq!(lines, ["one", "two", "three"]);
    }

    #[test]
    fn keeps_head_and_tail_of_an_endless_log_in_bounded_memory() {
        let script = "echo first; head -c 3000000 /dev/zero | tr '\\0' x; echo; echo last";
        let log = run(shell(script), limits(Duration::from_secs(30)), &mut |_| ()).unwrap().log;
        assert!(log.starts_with("first\n") && log.ends_with("last\n"), "{}", log.len());
        assert!(log.len() < 1100 && log.contains("bytes left out"));
    }

    #[test]
    fn kills_the_whole_tree_when_time_is_up() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = shell("(setsid sh -c 'sleep 60; touch late' &) ; sleep 60");
        command.current_dir(folder.path());
        let began = Instant::now();
        let error = run(command, limits(Duration::from_millis(300)), &mut |_| ()).unwrap_err();
        assert!(matches!(error, ProcessError::TimedOut { .. }), "{error}");
        assert!(began.elapsed() < Duration::from_secs(20));
        let place = folder.path().canonicalize().unwrap();
        assert!(!processes().any(|pid| works_in(pid, &place)), "a process is left");
    }

    #[test]
    fn a_limit_beyond_the_end_of_the_clock_is_none() {
        for seconds in [u64::MAX, i64::MAX.unsigned_abs()] {
            let finished = run(shell("exit 3"), limits(Duration::from_secs(seconds)), &mut |_| ()).unwrap();
            assert_eq!(finished.status.code(), Some(3));
        }
    }

    #[test]
    fn does_not_wait_for_a_daemon_that_keeps_the_pipe() {
        let began = Instant::now();
        let finished =
            run(shell("sleep 60 & echo done"), limits(Duration::from_secs(50)), &mut |_| ()).unwrap();
        assert_eq!(finished.log, "done\n");
        assert!(began.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn names_a_program_that_is_not_there() {
        let error =
            run(Command::new("/no/such/program"), limits(Duration::from_secs(1)), &mut |_| ()).unwrap_err();
        assert_eq!(error.to_string(), "cannot start `/no/such/program`");
    }
}
