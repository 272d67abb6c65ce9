//! The player's clocks on the GPU.
//!
//! Every clock works inside the process that runs foreign code, so what it reads is a claim. The
//! judge bounds it from outside: it lets a held batch go itself and watches the end with a clock of
//! its own.

use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::device::context::Gpu;
use crate::device::cupti::{ActivityKind, ActivityRecord, Tracer};
use crate::device::error::DeviceError;
use crate::device::host_window::HostWindow;
use crate::device::instruments::Instruments;
use crate::device::memory::DeviceBuffer;
use crate::device::stream::{Stream, TimingEvent};

use super::protocol::{Activity, CallReport, Clock, Instrument, L2, Role};
use super::shared::{SharedMemory, Word};

/// How long a held call waits for its launches, in nanoseconds: a thousand times what a launch
/// costs, so only a call that waits for the device itself runs into it.
const CALL_HOLD_NS: u64 = 20_000_000;
/// The same for a batch of hundreds of calls.
const BATCH_HOLD_NS: u64 = 200_000_000;
/// The flush writes this many times the size of L2: once does not evict everything.
const FLUSH_FACTOR: u64 = 2;
/// Where in the page cycles are counted to, in words: behind the flags.
const CYCLES_WORD: u64 = 16;
/// Names of foreign kernels are cut to this many bytes.
const NAME_LIMIT: usize = 200;

/// What one call of the entry point said.
pub type CallOutcome = Result<(), String>;

/// The GPU side of the player.
#[derive(Debug)]
pub struct Clocks {
    // Fields are dropped in this order: what depends on the context goes before it.
    window: HostWindow,
    flush: DeviceBuffer,
    start: TimingEvent,
    end: TimingEvent,
    instruments: Instruments,
    stream: Stream,
    recorder: Option<Tracer>,
    gpu: Rc<Gpu>,
    flush_value: u32,
    own_token: u32,
    /// Whether the calls are a stage's. Then traced calls are held until all their launches are queued, so that
    /// the gaps between kernels are the device's own; foreign host code may wait for the device inside its call.
    is_stage: bool,
}

/// A call that puts its work on a stream.
type Call<'call> = &'call mut dyn FnMut(&Stream) -> CallOutcome;

/// Why a call could not be reported.
#[derive(Debug)]
pub enum Trouble {
    /// The entry point raised an error.
    Raised(String),
    /// The device failed, which after foreign code ran is that code's doing.
    Device(DeviceError),
}

impl From<DeviceError> for Trouble {
    fn from(error: DeviceError) -> Self {
        Self::Device(error)
    }
}

impl Clocks {
    /// Opens the GPU and everything that clocks need.
    pub fn open(
        nonce: &str,
        recorder: Option<Tracer>,
        page: &SharedMemory,
        role: Role,
    ) -> Result<Self, DeviceError> {
        let gpu = Gpu::open()?;
        Ok(Self {
            window: HostWindow::open(&gpu, page)?,
            flush: DeviceBuffer::allocate(&gpu, FLUSH_FACTOR * gpu.facts().l2_bytes)?,
            start: TimingEvent::new(&gpu)?,
            end: TimingEvent::new(&gpu)?,
            instruments: Instruments::load(&gpu, nonce)?,
            stream: Stream::new(&gpu)?,
            recorder,
            gpu,
            flush_value: 0,
            own_token: 0,
            is_stage: role == Role::Stage,
        })
    }

    /// The GPU.
    pub fn gpu(&self) -> &Rc<Gpu> {
        &self.gpu
    }

    /// The stream that kernels are called on.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Digests of the modules that were loaded; `None` without CUPTI.
    pub fn recorder(&self) -> Option<&Tracer> {
        self.recorder.as_ref()
    }

    /// Counts clock cycles over a stretch of time.
    pub fn cycles(&self, page: &SharedMemory, stretch_ns: u64) -> Result<(u64, u64), DeviceError> {
        self.instruments.count_cycles(stretch_ns, self.window.words(CYCLES_WORD)?, &self.stream)?;
        self.stream.synchronize()?;
        let mut bytes = [0; 16];
        page.read(CYCLES_WORD * 4, &mut bytes).expect("the page is larger");
        let long = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        Ok((long(0), long(8)))
    }

    /// Overwrites what a kernel finds in shared memory, and with `frames` in local memory.
    pub(crate) fn scrub(&self, frames: bool) -> Result<(), DeviceError> {
        self.instruments.scrub(frames, &self.stream)
    }

    /// Forgets what was recorded so far: the player's own copies, where there is no device IPC.
    pub fn forget_records(&self) -> Result<(), DeviceError> {
        self.gpu.synchronize()?;
        self.recorder.as_ref().map_or(Ok(()), |recorder| recorder.take().map(drop))
    }

    /// Makes one call under one clock.
    pub fn call(
        &mut self,
        page: &SharedMemory,
        clock: Clock,
        l2: L2,
        entry: Call<'_>,
    ) -> Result<CallReport, Trouble> {
        self.gpu.forget_persisting_l2()?;
        if l2 == L2::Cold {
            self.flush_value = self.flush_value.wrapping_add(1);
            self.instruments.flush(self.flush.whole(), self.flush_value, &self.stream)?;
        } else {
            self.instruments.mark(&self.stream)?;
        }
        match clock {
            Clock::Host | Clock::Cupti => self.traced(page, clock, entry),
            Clock::Events => self.paired(page, entry),
        }
    }

    fn traced(&mut self, page: &SharedMemory, clock: Clock, entry: Call<'_>) -> Result<CallReport, Trouble> {
        self.gpu.synchronize()?;
        if self.is_stage {
            self.hold(page)?;
        }
        let begun = Instant::now();
        let outcome = entry(&self.stream);
        let host_ns = nanoseconds(begun.elapsed());
        let marked =
            outcome.map_err(Trouble::Raised).and_then(|()| Ok(self.instruments.mark(&self.stream)?));
        page.set(Word::OwnRelease, self.own_token);
        marked?;
        self.gpu.synchronize()?;
        let activities = match (&self.recorder, clock) {
            (Some(recorder), Clock::Cupti) => self.activities(recorder.take()?),
            _ => Vec::new(),
        };
        self.report(host_ns, None, false, activities)
    }

    /// Holds the stream until this process lets it go.
    fn hold(&mut self, page: &SharedMemory) -> Result<(), DeviceError> {
        self.own_token = self.own_token.wrapping_add(1).max(1);
        page.set(Word::GaveUp, 0);
        let flag = self.window.words(Word::OwnRelease as u64)?;
        let gave_up = self.window.words(Word::GaveUp as u64)?;
        self.instruments.hold(flag, self.own_token, CALL_HOLD_NS, gave_up, &self.stream)
    }

    fn paired(&mut self, page: &SharedMemory, entry: Call<'_>) -> Result<CallReport, Trouble> {
        self.hold(page)?;
        self.start.record(&self.stream)?;
        let begun = Instant::now();
        let outcome = entry(&self.stream);
        let host_ns = nanoseconds(begun.elapsed());
        let ended = self.end.record(&self.stream);
        page.set(Word::OwnRelease, self.own_token);
        outcome.map_err(Trouble::Raised)?;
        ended?;
        self.gpu.synchronize()?;
        let event_ns = self.start.elapsed_ns(&self.end)?;
        self.report(host_ns, Some(event_ns), page.get(Word::GaveUp) != 0, Vec::new())
    }

    /// Queues a batch behind a hold that the judge lets go. Returns the host time of all calls.
    pub fn queue_batch(
        &mut self,
        page: &SharedMemory,
        token: u32,
        slots: &[u32],
        call: &mut dyn FnMut(u32, &Stream) -> CallOutcome,
    ) -> Result<f64, Trouble> {
        self.gpu.forget_persisting_l2()?;
        self.gpu.synchronize()?;
        page.set(Word::GaveUp, 0);
        page.set(Word::Done, 0);
        let flag = self.window.words(Word::Release as u64)?;
        let gave_up = self.window.words(Word::GaveUp as u64)?;
        self.instruments.hold(flag, token, BATCH_HOLD_NS, gave_up, &self.stream)?;
        self.start.record(&self.stream)?;
        let begun = Instant::now();
        let outcome = slots.iter().try_for_each(|slot| call(*slot, &self.stream));
        let host_ns = nanoseconds(begun.elapsed());
        self.end.record(&self.stream)?;
        self.stream.write_word(self.window.words(Word::Done as u64)?, token)?;
        if let Err(error) = outcome {
            page.set(Word::Release, token);
            self.gpu.synchronize()?;
            return Err(Trouble::Raised(error));
        }
        Ok(host_ns)
    }

    /// Waits for the queued batch. Returns the events' time and whether the hold gave up.
    pub fn end_batch(&self, page: &SharedMemory) -> Result<(f64, bool), DeviceError> {
        self.gpu.synchronize()?;
        Ok((self.start.elapsed_ns(&self.end)?, page.get(Word::GaveUp) != 0))
    }

    fn report(
        &self,
        host_ns: f64,
        event_ns: Option<f64>,
        waits: bool,
        activities: Vec<Activity>,
    ) -> Result<CallReport, Trouble> {
        Ok(CallReport {
            host_ns,
            event_ns,
            waits,
            persisting_bytes: self.gpu.persisting_limit()?,
            window_bytes: self.stream.access_window_bytes()?,
            activities,
        })
    }

    /// A stage's own work before the call, which puts memory back, is none of the call's.
    fn activities(&self, records: Vec<ActivityRecord>) -> Vec<Activity> {
        let mut activities: Vec<Activity> = records.into_iter().map(|record| self.activity(record)).collect();
        if self.is_stage {
            let opens = |one: &&Activity| matches!(one.instrument, Instrument::Flush | Instrument::Mark);
            let mut opened: Vec<u64> = activities.iter().filter(opens).map(|one| one.start_ns).collect();
            opened.sort_unstable();
            if let [.., opened, _] = opened[..] {
                activities.retain(|one| one.start_ns >= opened);
            }
        }
        activities
    }

    fn activity(&self, record: ActivityRecord) -> Activity {
        let instrument = match () {
            () if !self.instruments.owns(&record.name) => Instrument::Foreign,
            () if record.name.ends_with("_flush") => Instrument::Flush,
            () if record.name.ends_with("_mark") => Instrument::Mark,
            () => Instrument::Other,
        };
        let mut name = record.name;
        if instrument != Instrument::Foreign {
            name.clear();
        }
        if name.len() > NAME_LIMIT {
            name = name.chars().take(NAME_LIMIT).collect();
        }
        let work = match record.work {
            ActivityKind::Kernel => 0,
            ActivityKind::Copy => 1,
            ActivityKind::Fill => 2,
        };
        Activity {
            work,
            instrument,
            start_ns: record.start_ns,
            end_ns: record.end_ns,
            stream: record.stream,
            name,
        }
    }
}

#[allow(clippy::cast_precision_loss)] // far below 2^53 nanoseconds
pub(crate) fn nanoseconds(duration: Duration) -> f64 {
    duration.as_nanos() as f64
}
