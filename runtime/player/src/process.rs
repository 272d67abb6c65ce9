//! The judge's end: starts a player, asks it, waits no longer than it said, and ends it.

use std::ffi::{c_long, c_uint};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::io::{FdFlags, dup2, fcntl_dupfd_cloexec, fcntl_setfd};
use rustix::process::{
    DumpableBehavior, Pid, Resource, Rlimit, Signal, kill_process_group, set_dumpable_behavior,
    set_parent_process_death_signal, setrlimit, setsid,
};

use super::protocol::{Answer, Order};
use super::serve::{CONVERSATION, INPUTS, LIBRARY, OUTPUTS, PAGE};
use super::shared::{SharedMemory, seal_copy};
use super::wire::{parse_head, send};

/// The hidden verb.
pub const VERB: &str = "player";
/// How long a player that hung up may take to end by itself before it is ended.
const GRACE: Duration = Duration::from_secs(2);
/// How much of a player's output is kept: its beginning and its end.
const HEAD_BYTES: usize = 8 * 1024;
const TAIL_BYTES: usize = 24 * 1024;
/// Descriptors are first moved up here, out of the way of their final numbers.
const PARKING: RawFd = 64;
/// `close_range`, and its flag that marks instead of closing.
const SYS_CLOSE_RANGE: c_long = 436;
const CLOSE_RANGE_CLOEXEC: c_uint = 4;

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
}

/// Open files that a player may have.
const FILE_LIMIT: u64 = 1024;

/// How a conversation ended that should have gone on.
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

/// What a player is started with.
#[derive(Debug)]
pub struct PlayerSpec<'judge> {
    /// This program.
    pub program: &'judge Path,
    /// The library's bytes, already checked.
    pub library: &'judge [u8],
    /// Sizes of the blocks in host memory: tensors where there is no device IPC.
    pub host_bytes: [u64; 2],
}

/// A running player.
#[derive(Debug)]
pub struct Player {
    child: Child,
    conversation: UnixStream,
    page: SharedMemory,
    host: [SharedMemory; 2],
    noise: mpsc::Receiver<String>,
    _folder: tempfile::TempDir,
}

impl Player {
    /// Starts a player in a process group, a session and an empty folder of its own.
    pub fn start(cast: &PlayerSpec<'_>) -> io::Result<Self> {
        close_own_memory()?;
        let (ours, theirs) = UnixStream::pair()?;
        let page = SharedMemory::create("proofmark-page", 0)?;
        let host = [
            SharedMemory::create("proofmark-inputs", cast.host_bytes[0])?,
            SharedMemory::create("proofmark-outputs", cast.host_bytes[1])?,
        ];
        let library = seal_copy("proofmark-library", cast.library)?;
        let folder = tempfile::tempdir()?;
        let park = |fd: &dyn AsFd| fcntl_dupfd_cloexec(fd.as_fd(), PARKING).map_err(io::Error::from);
        let inherited = [
            (park(&theirs)?, CONVERSATION),
            (park(page.file())?, PAGE),
            (park(host[0].file())?, INPUTS),
            (park(host[1].file())?, OUTPUTS),
            (park(&library)?, LIBRARY),
        ];
        drop((theirs, library));
        let mut child = spawn(cast.program, folder.path(), &inherited)?;
        let noise = listen(&mut child);
        Ok(Self { child, conversation: ours, page, host, noise, _folder: folder })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The page of flags.
    pub fn page(&self) -> &SharedMemory {
        &self.page
    }

    /// Host memory of inputs and outputs.
    pub fn host(&self) -> &[SharedMemory; 2] {
        &self.host
    }

    /// How many threads the player has now.
    pub fn threads(&self) -> Option<usize> {
        std::fs::read_dir(format!("/proc/{}/task", self.child.id())).ok().map(Iterator::count)
    }

    /// Asks without waiting; a player that cannot be asked shows that when it is listened to.
    pub fn send(&mut self, order: &Order) {
        let _ = send(&mut self.conversation, order.encode());
    }

    /// Asks, and waits for the answer until the limit. Errors end the player.
    pub fn ask(&mut self, order: &Order, limit: Duration) -> Result<Answer, PlayerEnd> {
        let waiting_for = name(order);
        if send(&mut self.conversation, order.encode()).is_err() {
            return Err(self.gone(waiting_for));
        }
        self.listen(waiting_for, limit)
    }

    /// Asks for something whose only good answer is `Done`.
    pub fn tell(&mut self, order: &Order, limit: Duration) -> Result<(), PlayerEnd> {
        match self.ask(order, limit)? {
            Answer::Done => Ok(()),
            other => Err(self.unexpected(name(order), &other)),
        }
    }

    /// Waits for one more answer.
    pub fn listen(&mut self, waiting_for: &'static str, limit: Duration) -> Result<Answer, PlayerEnd> {
        let deadline = Instant::now() + limit;
        let mut head = [0; 8];
        self.read(&mut head, waiting_for, deadline, limit)?;
        let (kind, length) = match parse_head(head) {
            Ok(parsed) => parsed,
            Err(error) => return Err(self.nonsense(waiting_for, error.to_string())),
        };
        let mut payload = vec![0; length];
        self.read(&mut payload, waiting_for, deadline, limit)?;
        match Answer::decode(kind, &payload) {
            Ok(Answer::Raised(text)) => Err(PlayerEnd::Raised { text }),
            Ok(Answer::Refused(text)) => Err(PlayerEnd::Refused { text }),
            Ok(answer) => Ok(answer),
            Err(error) => Err(self.nonsense(waiting_for, error.to_string())),
        }
    }

    /// The end of a player that gave an answer to another question.
    pub fn unexpected(&mut self, waiting_for: &'static str, answer: &Answer) -> PlayerEnd {
        let (kind, _) = answer.encode();
        self.nonsense(waiting_for, format!("an answer of kind {kind}"))
    }

    /// Ends the player with everything that it started, and returns what it said on its streams.
    pub fn end(&mut self) -> String {
        self.kill();
        let _ = self.child.wait();
        // The listener ends when the last writer is gone; a stray writer must not hold us.
        self.noise.recv_timeout(GRACE).unwrap_or_default()
    }

    fn read(
        &mut self,
        buffer: &mut [u8],
        waiting_for: &'static str,
        deadline: Instant,
        limit: Duration,
    ) -> Result<(), PlayerEnd> {
        let mut filled = 0;
        while filled < buffer.len() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                self.kill();
                return Err(PlayerEnd::TimedOut { waiting_for, limit_ms: limit.as_millis() });
            }
            let _ = self.conversation.set_read_timeout(Some(left.max(Duration::from_millis(1))));
            match self.conversation.read(&mut buffer[filled..]) {
                Ok(0) => return Err(self.gone(waiting_for)),
                Ok(count) => filled += count,
                Err(error) if is_wait(&error) => {}
                Err(_) => return Err(self.gone(waiting_for)),
            }
        }
        Ok(())
    }

    fn gone(&mut self, waiting_for: &'static str) -> PlayerEnd {
        let deadline = Instant::now() + GRACE;
        let how = loop {
            match self.child.try_wait() {
                Ok(Some(status)) => break describe(status),
                _ if Instant::now() >= deadline => {
                    self.kill();
                    break "it hung up and went on running".to_owned();
                }
                _ => std::thread::sleep(Duration::from_millis(2)),
            }
        };
        self.kill();
        PlayerEnd::Gone { waiting_for, how }
    }

    fn nonsense(&mut self, waiting_for: &'static str, what: String) -> PlayerEnd {
        self.kill();
        PlayerEnd::Nonsense { waiting_for, what }
    }

    fn kill(&mut self) {
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // The group may be gone already; the child itself is not reaped before `end`.
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.kill();
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        self.kill();
        let _ = self.child.wait();
    }
}

/// Keeps children of the same user out of this process's memory. Root's own memory is closed to them
/// already, because they give up their capabilities.
fn close_own_memory() -> io::Result<()> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

fn spawn(program: &Path, folder: &Path, inherited: &[(OwnedFd, RawFd); 5]) -> io::Result<Child> {
    let mut command = Command::new(program);
    command
        .arg(VERB)
        .env_clear()
        .envs([("LC_ALL", "C"), ("HOME", "/nonexistent"), ("CUDA_CACHE_DISABLE", "1")])
        .envs(passed_on())
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let parent = std::process::id();
    let moves: Vec<(RawFd, RawFd)> = inherited.iter().map(|(fd, number)| (fd.as_raw_fd(), *number)).collect();
    // SAFETY: between fork and exec only system calls are made, none of which allocates.
    unsafe { command.pre_exec(move || prepare(parent, &moves)) };
    command.spawn()
}

/// What the child may know of our environment: which GPU it may see, and where its driver is.
fn passed_on() -> impl Iterator<Item = (String, String)> {
    ["CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH"]
        .into_iter()
        .filter_map(|name| std::env::var(name).ok().map(|value| (name.to_owned(), value)))
}

fn prepare(parent: u32, moves: &[(RawFd, RawFd)]) -> io::Result<()> {
    setsid()?;
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get().cast_unsigned()) != Some(parent) {
        return Err(io::Error::other("the judge is gone"));
    }
    rustix::thread::set_no_new_privs(true)?;
    for (resource, limit) in [(Resource::Core, 0), (Resource::Nofile, FILE_LIMIT)] {
        setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) })?;
    }
    // Whatever our own caller left open without the mark must not reach foreign code.
    // SAFETY: plain numbers: from here to the end, mark as close-on-exec.
    unsafe { syscall(SYS_CLOSE_RANGE, LIBRARY + 1, c_uint::MAX, CLOSE_RANGE_CLOEXEC) };
    for (from, to) in moves {
        // SAFETY: parked descriptors stay open until exec; the numbers below the parking place are
        // free for the taking, because everything else is closed on exec.
        unsafe {
            let from = std::os::fd::BorrowedFd::borrow_raw(*from);
            let mut to = std::mem::ManuallyDrop::new(<OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(*to));
            dup2(from, &mut to)?;
            fcntl_setfd(&*to, FdFlags::empty())?;
        }
    }
    Ok(())
}

/// Reads both of the child's streams so that it never blocks, keeping the beginning and the end.
fn listen(child: &mut Child) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    let streams: Vec<Box<dyn Read + Send>> = [
        child.stdout.take().map(|stream| Box::new(stream) as Box<dyn Read + Send>),
        child.stderr.take().map(|stream| Box::new(stream) as Box<dyn Read + Send>),
    ]
    .into_iter()
    .flatten()
    .collect();
    std::thread::spawn(move || {
        let readers: Vec<_> =
            streams.into_iter().map(|stream| std::thread::spawn(move || keep_ends(stream))).collect();
        let texts: Vec<String> = readers.into_iter().filter_map(|reader| reader.join().ok()).collect();
        let _ = sender.send(texts.concat());
    });
    receiver
}

fn keep_ends(mut stream: impl Read) -> String {
    let (mut head, mut tail, mut dropped) = (Vec::new(), std::collections::VecDeque::<u8>::new(), 0_usize);
    let mut buffer = [0; 4096];
    loop {
        let count = match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        let into_head = count.min(HEAD_BYTES - head.len());
        head.extend_from_slice(&buffer[..into_head]);
        tail.extend(&buffer[into_head..count]);
        let excess = tail.len().saturating_sub(TAIL_BYTES);
        tail.drain(..excess);
        dropped += excess;
    }
    if dropped > 0 {
        let _ = write!(head, "\n[{dropped} bytes left out]\n");
    }
    head.extend(tail);
    String::from_utf8_lossy(&head).into_owned()
}

fn is_wait(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("it exited with code {code}"),
        (None, Some(signal)) => format!("signal {signal} ({})", signal_name(signal)),
        (None, None) => "for an unknown reason".to_owned(),
    }
}

fn signal_name(signal: i32) -> &'static str {
    match signal {
        4 => "illegal instruction",
        6 => "abort",
        7 => "bus error",
        8 => "arithmetic error",
        9 => "killed",
        11 => "segmentation fault",
        31 => "forbidden system call",
        _ => "unnamed",
    }
}

fn name(order: &Order) -> &'static str {
    match order {
        Order::Start(_) => "start",
        Order::Load { .. } => "load",
        Order::Map { .. } => "map",
        Order::Bind { .. } => "bind",
        Order::Push(..) => "push",
        Order::Pull(..) => "pull",
        Order::Call(..) => "call",
        Order::Batch { .. } => "batch",
        Order::Trace(_) => "trace",
        Order::Cycles(_) => "cycles",
        Order::Modules => "modules",
    }
}

/// The program to start players from: this one.
pub fn own_program() -> io::Result<PathBuf> {
    std::env::current_exe()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_beginning_and_the_end_of_a_flood() {
        let flood = [b"first".to_vec(), vec![b'x'; 200_000], b"last".to_vec()].concat();
        let kept = keep_ends(flood.as_slice());
        assert!(kept.starts_with("first") && kept.ends_with("last"));
        assert!(kept.len() < HEAD_BYTES + TAIL_BYTES + 100 && kept.contains("bytes left out"));
        assert_eq!(keep_ends(b"short".as_slice()), "short");
    }
}
