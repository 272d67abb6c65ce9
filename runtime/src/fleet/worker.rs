//! Workers of one machine: each does one shard after the other, in a process of its own.
//!
//! The process that does a shard claims it, publishes its outcome, and ends when this one ends, whatever ends
//! this one. So whatever is killed here leaves whole outcomes or none.

use std::collections::VecDeque;
use std::io;
use std::process::{Child, Command};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use proofmark_packager::Digest;
use rustix::process::{Pid, Signal, kill_process};

use super::gpu::{GpuLock, GpuName};
use super::results::{Results, ShardState};
use crate::interruption::Interruption;

/// How often a worker looks at what it waits for: unnoticed by people, free for the CPU.
const TICK: Duration = Duration::from_millis(50);
/// How long a shard that somebody else does is left alone before it is looked at again.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a process that was asked to end has for it.
const GRACE: Duration = Duration::from_secs(10);

/// What happens while shards are done.
#[derive(Debug)]
pub enum WorkEvent<'a> {
    /// Another process works on this GPU; it is waited for.
    WaitingForGpu(&'a GpuName),
    /// Somebody else does this shard now; it is looked at again.
    Elsewhere(Digest),
    /// Somebody else finished this shard since it was asked for.
    FinishedElsewhere(Digest),
    /// An attempt made here ended, after so long, and this is how far the shard is now.
    Ended(Digest, Duration, &'a ShardState),
}

/// Why nothing more could be done.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// The process that does a shard cannot be started.
    #[error("cannot start this program once more")]
    Start(#[source] io::Error),
    /// The lock of a GPU cannot be had.
    #[error("cannot lock {}", gpu.0)]
    Gpu {
        /// The GPU.
        gpu: GpuName,
        /// The system's reason.
        source: io::Error,
    },
}

/// A shard, and from when on it may be looked at.
struct Todo {
    shard: Digest,
    from: Instant,
}

/// What all workers share.
struct Floor<'a> {
    results: &'a Results,
    queue: Mutex<VecDeque<Todo>>,
    failure: Mutex<Option<WorkError>>,
    start: &'a (dyn Fn(Digest, Option<&GpuName>) -> io::Result<Child> + Sync),
    listen: &'a (dyn Fn(WorkEvent<'_>) + Sync),
    interruption: Interruption,
}

/// Does shards, one worker for each place: a GPU, or none where none is needed. Ends early when this process is
/// asked to end, and says so; what was begun is then given up tidily.
pub fn work(
    results: &Results,
    shards: &[Digest],
    places: &[Option<GpuName>],
    start: &(dyn Fn(Digest, Option<&GpuName>) -> io::Result<Child> + Sync),
    listen: &(dyn Fn(WorkEvent<'_>) + Sync),
) -> Result<WorkEnd, WorkError> {
    let now = Instant::now();
    let floor = Floor {
        results,
        queue: Mutex::new(shards.iter().map(|&shard| Todo { shard, from: now }).collect()),
        failure: Mutex::new(None),
        start,
        listen,
        interruption: Interruption::guard(),
    };
    thread::scope(|scope| {
        for place in places {
            let floor = &floor;
            scope.spawn(move || {
                if let Err(error) = floor.serve(place.as_ref()) {
                    floor.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                }
            });
        }
    });
    match floor.failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None if floor.interruption.raised() => Ok(WorkEnd::Interrupted),
        None => Ok(WorkEnd::Done),
    }
}

/// Whether workers came to the end of what they were given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkEnd {
    /// Everything was tried.
    Done,
    /// This process was asked to end.
    Interrupted,
}

impl Floor<'_> {
    /// One worker's day.
    fn serve(&self, gpu: Option<&GpuName>) -> Result<(), WorkError> {
        loop {
            if self.must_end() {
                return Ok(());
            }
            let Some(todo) = self.next() else {
                return Ok(());
            };
            if todo.from > Instant::now() {
                self.put_back(todo);
                thread::sleep(TICK);
                continue;
            }
            match self.results.state(todo.shard) {
                ShardState::Finished(_) => (self.listen)(WorkEvent::FinishedElsewhere(todo.shard)),
                // It is named, and the others are done.
                state @ ShardState::Invalid(_) => {
                    (self.listen)(WorkEvent::Ended(todo.shard, Duration::ZERO, &state));
                }
                ShardState::Running => self.wait_for(todo.shard),
                ShardState::Ended(_) | ShardState::Lost | ShardState::Untried => {
                    self.attempt(todo.shard, gpu)?;
                }
            }
        }
    }

    fn must_end(&self) -> bool {
        self.interruption.raised() || self.failure.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn next(&self) -> Option<Todo> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    fn put_back(&self, todo: Todo) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).push_back(todo);
    }

    fn wait_for(&self, shard: Digest) {
        (self.listen)(WorkEvent::Elsewhere(shard));
        self.put_back(Todo { shard, from: Instant::now() + PATIENCE });
    }

    fn attempt(&self, shard: Digest, gpu: Option<&GpuName>) -> Result<(), WorkError> {
        let _lock = match gpu.map(|gpu| self.lock(gpu)).transpose()? {
            Some(None) => return Ok(()),
            lock => lock,
        };
        let begun = Instant::now();
        let child = (self.start)(shard, gpu).map_err(WorkError::Start)?;
        let process = child.id();
        self.follow(child).map_err(WorkError::Start)?;
        let state = self.results.state(shard);
        // Between the look and the claim somebody else may have been faster.
        match state {
            ShardState::Running => self.wait_for(shard),
            ShardState::Finished(_) if !self.is_by(shard, process) => {
                (self.listen)(WorkEvent::FinishedElsewhere(shard));
            }
            state => (self.listen)(WorkEvent::Ended(shard, begun.elapsed(), &state)),
        }
        Ok(())
    }

    /// Whether the outcome of a shard is what a process wrote that was started here. Whoever begins an attempt has the
    /// claim, and nobody does who finds an outcome: so the last attempt that had one wrote it.
    fn is_by(&self, shard: Digest, process: u32) -> bool {
        let attempts = self.results.attempts(shard).unwrap_or_default();
        attempts.iter().rfind(|one| one.outcome.is_some()).is_some_and(|one| one.begun.is_by(process))
    }

    /// Waits for a GPU; `None` where this process is asked to end meanwhile.
    fn lock(&self, gpu: &GpuName) -> Result<Option<GpuLock>, WorkError> {
        let mut said = false;
        loop {
            let lock = GpuLock::take(gpu).map_err(|source| WorkError::Gpu { gpu: gpu.clone(), source })?;
            if lock.is_some() || self.must_end() {
                return Ok(lock);
            }
            if !said {
                (self.listen)(WorkEvent::WaitingForGpu(gpu));
                said = true;
            }
            thread::sleep(TICK);
        }
    }

    /// Waits for a process, and ends it where this one is asked to end. How it ended stands in the results.
    fn follow(&self, mut child: Child) -> io::Result<()> {
        let mut asked: Option<Instant> = None;
        loop {
            if child.try_wait()?.is_some() {
                return Ok(());
            }
            match asked {
                None if self.must_end() => {
                    asked = Some(Instant::now());
                    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
                        let _ = kill_process(pid, Signal::TERM);
                    }
                }
                Some(since) if since.elapsed() > GRACE => {
                    child.kill()?;
                    return child.wait().map(drop);
                }
                _ => {}
            }
            thread::sleep(TICK);
        }
    }
}

/// Has this process end when the one that started it does. `false` where that has ended already.
pub fn end_with_parent(parent: u32) -> bool {
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::TERM));
    rustix::process::getppid().is_some_and(|id| id.as_raw_pid().cast_unsigned() == parent)
}

/// A command that sees one GPU, or whichever this process sees.
pub fn on_gpu(mut command: Command, gpu: Option<&GpuName>) -> Command {
    if let Some(GpuName(name)) = gpu {
        command.env("CUDA_VISIBLE_DEVICES", name);
    }
    command
}
