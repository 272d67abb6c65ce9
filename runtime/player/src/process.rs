//! The judge's end: starts a player, asks it, waits no longer than it said, and ends it.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{DumpableBehavior, Pid, Signal, kill_process_group, set_dumpable_behavior};

use super::confinement::{Refusals, SHOW_REFUSALS_FLAG};
use super::end::{PlayerEnd, describe};
use super::inheritance::{hand_over, send_descriptors};
use super::output::collect;
use super::protocol::{Answer, Order};
use super::python::PythonProgram;
use super::shared::{SharedMemory, seal_copy};
use super::wire::{parse_head, send};

/// The hidden verb.
pub const VERB: &str = "player";
/// How long a piece of an order may wait for a player that does not read.
const WRITE_LIMIT: Duration = Duration::from_secs(30);
/// How long a player that hung up may take to end by itself before it is ended.
const GRACE: Duration = Duration::from_secs(2);
/// Variables of our environment that a player gets.
const PASSED_ON: [&str; 3] = ["CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "LD_LIBRARY_PATH"];

/// What a player is started with.
#[derive(Debug)]
pub struct PlayerSpec<'judge> {
    /// This program.
    pub program: &'judge Path,
    /// The interpreter that is started in its place, for what is written in Python.
    pub python: Option<&'judge PythonProgram>,
    /// The library's bytes, already checked; for Python, the document that says what to load.
    pub library: &'judge [u8],
    /// Sizes of the blocks in host memory: tensors where there is no device IPC.
    pub host_bytes: [u64; 2],
    /// What becomes of system calls that the player refuses.
    pub refusals: Refusals,
}

/// A running player.
#[derive(Debug)]
pub struct Player {
    child: Child,
    conversation: UnixStream,
    page: SharedMemory,
    host: [SharedMemory; 2],
    output: mpsc::Receiver<String>,
    _folder: tempfile::TempDir,
}

impl Player {
    /// Starts a player in a session and an empty folder of its own.
    pub fn start(spec: &PlayerSpec<'_>) -> io::Result<Self> {
        close_own_memory()?;
        let (ours, theirs) = UnixStream::pair()?;
        let page = SharedMemory::create("proofmark-page", 0)?;
        let host = [
            SharedMemory::create("proofmark-inputs", spec.host_bytes[0])?,
            SharedMemory::create("proofmark-outputs", spec.host_bytes[1])?,
        ];
        let library = seal_copy("proofmark-library", spec.library)?;
        let [inputs, outputs] = &host;
        let descriptors = [page.file(), inputs.file(), outputs.file()].map(AsFd::as_fd);
        let [page_fd, inputs_fd, outputs_fd] = descriptors;
        hand_over(&ours, [page_fd, inputs_fd, outputs_fd, library.as_fd()])?;
        let folder = tempfile::tempdir()?;
        let mut child = spawn(spec, folder.path(), theirs)?;
        let output = collect(&mut child);
        Ok(Self { child, conversation: ours, page, host, output, _folder: folder })
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
        let _ = self.conversation.set_write_timeout(Some(WRITE_LIMIT));
        let _ = send(&mut self.conversation, order.encode());
    }

    /// Asks, and waits for the answer until the limit. Errors end the player.
    pub fn ask(&mut self, order: &Order, limit: Duration) -> Result<Answer, PlayerEnd> {
        let waiting_for = name(order);
        // A player that does not read must not hold the judge.
        let _ = self.conversation.set_write_timeout(Some(WRITE_LIMIT));
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

    /// Sends descriptors behind an order that announces them; a player that is gone shows that when it is
    /// listened to.
    pub fn send_descriptors(&mut self, descriptors: [BorrowedFd<'_>; 2]) {
        let _ = send_descriptors(&self.conversation, descriptors);
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
        self.output.recv_timeout(GRACE).unwrap_or_default()
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
            // The group may be gone, or not there yet; the child itself is not reaped before `end`.
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

/// Starts the program with nothing of ours but what is named here. Nothing is run between fork and exec:
/// the player itself gives up what it inherits, first thing.
fn spawn(spec: &PlayerSpec<'_>, folder: &Path, conversation: UnixStream) -> io::Result<Child> {
    let own = || {
        let mut command = Command::new(spec.program);
        command.arg(VERB);
        command
    };
    let mut command = spec.python.map_or_else(own, PythonProgram::command);
    command
        .env_clear()
        .envs([("LC_ALL", "C"), ("HOME", "/nonexistent"), ("CUDA_CACHE_DISABLE", "1")])
        .envs(passed_on())
        .envs(spec.python.map(|python| python.variables(folder)).unwrap_or_default())
        .current_dir(folder)
        .stdin(OwnedFd::from(conversation));
    match spec.refusals {
        Refusals::Silent => command.stdout(Stdio::piped()).stderr(Stdio::piped()),
        Refusals::Shown => command.arg(SHOW_REFUSALS_FLAG).stdout(Stdio::piped()).stderr(Stdio::inherit()),
    };
    command.spawn()
}

/// What the child may know of our environment: which GPU it may see, and where its driver is. Not the
/// variables by which NVIDIA's tools put themselves into a process.
fn passed_on() -> impl Iterator<Item = (&'static str, OsString)> {
    PASSED_ON.into_iter().filter_map(|name| std::env::var_os(name).map(|value| (name, value)))
}

fn is_wait(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

pub(crate) fn name(order: &Order) -> &'static str {
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
        Order::Record { .. } => "record",
        Order::Fetch { .. } => "fetch",
        Order::Image(_) => "image",
        Order::Contents { .. } => "contents",
        Order::Stage { .. } => "stage",
        Order::Inspect => "inspect",
    }
}

/// The most memory that any process held that ended below this one and was waited for, in bytes.
pub fn largest_descendant_bytes() -> u64 {
    // SAFETY: all zeros is a valid value of this structure of plain numbers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the structure is a live variable.
    let code = unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage) };
    // Linux counts in KiB.
    if code == 0 { u64::try_from(usage.ru_maxrss).unwrap_or(0) << 10 } else { 0 }
}

/// The program to start players from: this one.
pub fn own_program() -> io::Result<PathBuf> {
    std::env::current_exe()
}
