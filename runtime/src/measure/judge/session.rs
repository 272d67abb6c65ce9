//! A player with its part: the subject or the reference, ready to be called.

use std::os::fd::AsFd;
use std::time::Duration;

use crate::measure::seed::Seed;
use crate::measure::subject::{BenchError, Host, Options, Subject};
use crate::measure::timing::Least;
use crate::measure::verdict::Verdict;
use proofmark_packager::Digest;
use proofmark_player::device::memory::{DeviceBuffer, download, upload};
use proofmark_player::process::PlayerSpec;
use proofmark_player::protocol::{Answer, Block, CallReport, Clock, Home, L2, Order, Role, Start, Tracing};
use proofmark_player::recording::{CONTENTS_LIMIT_BYTES, Recording};
use proofmark_player::shared::Word;
use proofmark_player::wire::PIECE_BYTES;
use proofmark_player::{Player, PlayerEnd, PythonProgram};

use super::device::{JudgeDevice, nonce};
use super::layout::{CallLayout, SlotLayout};

/// How long a player may take to open the device or to load a library: a cold driver takes seconds, and so does
/// importing torch.
const OPENING_LIMIT: Duration = Duration::from_secs(120);
/// Calls whose time a recorder may take at most: a few of each slot.
const RECORDED_CALLS: u32 = 8;
/// How long the player's own bookkeeping may take.
pub(super) const ORDER_LIMIT: Duration = Duration::from_secs(30);
/// How long a call of a definition's own reference may take at least: it is slow, and the first one loads
/// libraries.
const REFERENCE_LIMIT: Duration = Duration::from_secs(120);

/// Why a player could not go on: ours to explain, or the submission's doing.
#[derive(Debug)]
pub enum Stop {
    /// The submission's doing.
    End(PlayerEnd),
    /// A finding that ends this workload.
    Verdict(Verdict),
    /// We could not judge.
    Bench(BenchError),
}

impl From<PlayerEnd> for Stop {
    fn from(end: PlayerEnd) -> Self {
        Self::End(end)
    }
}

impl<E: Into<BenchError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Bench(error.into())
    }
}

/// What a recorder says: claims.
#[derive(Debug, Clone, PartialEq)]
pub struct Taken {
    /// The recording.
    pub recording: Recording,
    /// What memory held, by number.
    pub contents: Vec<Vec<u8>>,
    /// What each module was loaded from; none where the library is at hand.
    pub code: Vec<Vec<u8>>,
    /// Host nanoseconds of each timed call.
    pub host_ns: Vec<f64>,
}

/// A held batch as both sides saw it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchReport {
    /// From letting go to the done word, by the judge's clock, in nanoseconds.
    pub wall_ns: f64,
    /// Between the player's events, in nanoseconds.
    pub event_ns: f64,
    /// Host time of all calls, by the player, in nanoseconds.
    pub host_ns: f64,
    /// Whether the hold gave up before all calls were queued.
    pub waits: bool,
}

/// What a player runs, and as what.
#[derive(Debug, Clone, Copy)]
pub struct Part<'run> {
    /// What it runs.
    pub subject: &'run Subject,
    /// As what.
    pub role: Role,
}

/// A started player.
#[derive(Debug)]
pub struct PlayerSession {
    pub(super) player: Player,
    role: Role,
    home: Home,
    call_limit: Duration,
    /// The number of the first block that the player has.
    mapped: Option<u64>,
    /// Why there are no activity records; `None` when there are.
    pub cupti_problem: Option<String>,
    /// Which protections could not be had; `None` when all could.
    pub confinement_problem: Option<String>,
    /// Modules that were loaded before the library.
    pub own_modules: Vec<Digest>,
    /// Threads before the library was loaded.
    pub own_threads: Option<usize>,
    /// Whether it runs a definition's own reference.
    pub(super) is_definition: bool,
}

impl PlayerSession {
    /// Starts a player, maps its blocks and loads its library. Falls back to copies where device
    /// memory cannot be shared, once for all players of the run.
    pub fn start(
        device: &JudgeDevice,
        blocks: &[DeviceBuffer; 2],
        part: Part<'_>,
        options: &Options,
    ) -> Result<Self, Stop> {
        Self::start_all(device, blocks, &[part], options)?.pop().expect("one part, one player")
    }

    /// Starts several players at once: opening the device takes each of them most of a second. The
    /// outer error means that nobody could be started, the inner ones are each player's own.
    pub fn start_all(
        device: &JudgeDevice,
        blocks: &[DeviceBuffer; 2],
        parts: &[Part<'_>],
        options: &Options,
    ) -> Result<Vec<Result<Self, Stop>>, BenchError> {
        let home = device.home.get().unwrap_or(Home::Shared);
        // A builder maps none of the judge's memory.
        let home_of = |part: &Part<'_>| if part.role == Role::Builder { Home::Copies } else { home };
        let spawn = |part: &Part<'_>| Self::begin(device, blocks, *part, options, home_of(part));
        let mut begun = parts.iter().map(spawn).collect::<Result<Vec<_>, _>>()?.into_iter();
        let mut sessions = Vec::new();
        for part in parts {
            let mut session = begun.next().expect("one for each part");
            let mut ready = session.finish().and_then(|()| session.map(blocks));
            let may_copy = device.home.get().is_none() && part.role != Role::Builder;
            if matches!(ready, Err(PlayerEnd::Refused { .. })) && may_copy {
                session = Self::begin(device, blocks, *part, options, Home::Copies)?;
                ready = session.finish().and_then(|()| session.map(blocks));
            }
            if ready.is_ok() && part.role != Role::Builder {
                device.home.set(Some(session.home));
            }
            let loaded = ready.and_then(|()| session.load(&part.subject.symbol));
            sessions.push(match loaded {
                Ok(()) => Ok(session),
                Err(end) => Err(Stop::End(session.last_words(end))),
            });
        }
        Ok(sessions)
    }

    fn begin(
        device: &JudgeDevice,
        blocks: &[DeviceBuffer; 2],
        part: Part<'_>,
        options: &Options,
        home: Home,
    ) -> Result<Self, BenchError> {
        let host_bytes = match home {
            Home::Shared => [0, 0],
            Home::Cpu | Home::Copies => [0, 1].map(|block: usize| blocks[block].whole().size_bytes()),
        };
        // A stage loads no code of the host.
        let library = if part.role == Role::Stage { &[] } else { part.subject.library.as_slice() };
        let python =
            part.subject.host.python().filter(|_| part.role != Role::Stage).map(|home| &home.program);
        let is_definition = matches!(part.subject.host, Host::Definition(_));
        let spec =
            PlayerSpec { program: &options.program, python, library, host_bytes, refusals: options.refusals };
        let mut player = Player::start(&spec).map_err(|source| BenchError::Start { source })?;
        let start = Order::Start(Start {
            role: part.role,
            home,
            nonce: nonce(),
            tvm_ffi: options.tvm_ffi.as_ref().map_or_else(String::new, |path| path.display().to_string()),
            cupti: device.cupti.clone(),
            folders: python.map(PythonProgram::folder_texts).unwrap_or_default(),
            cache: python.map(PythonProgram::cache_text).unwrap_or_default(),
        });
        player.send(&start);
        Ok(Self {
            player,
            role: part.role,
            home,
            call_limit: if is_definition {
                options.call_limit.max(REFERENCE_LIMIT)
            } else {
                options.call_limit
            },
            mapped: None,
            cupti_problem: None,
            confinement_problem: None,
            own_modules: Vec::new(),
            own_threads: None,
            is_definition,
        })
    }

    fn finish(&mut self) -> Result<(), PlayerEnd> {
        match self.player.listen("start", OPENING_LIMIT)? {
            Answer::Ready { cupti_problem, .. } => {
                self.cupti_problem = cupti_problem;
                Ok(())
            }
            other => Err(self.player.unexpected("start", &other)),
        }
    }

    fn load(&mut self, symbol: &str) -> Result<(), PlayerEnd> {
        self.own_modules = self.modules()?;
        self.own_threads = self.player.threads();
        match self.player.ask(&Order::Load { symbol: symbol.to_owned() }, OPENING_LIMIT)? {
            Answer::Ready { confinement_problem, .. } => {
                self.confinement_problem = confinement_problem;
                Ok(())
            }
            other => Err(self.player.unexpected("load", &other)),
        }
    }

    /// Adds what the player wrote to how it ended.
    fn last_words(mut self, end: PlayerEnd) -> PlayerEnd {
        let said = self.player.end();
        match (end, said.trim()) {
            (end @ PlayerEnd::TimedOut { .. }, _) | (end, "") => end,
            (end, said) => PlayerEnd::Refused { text: format!("{end}; it wrote: {said}") },
        }
    }

    /// Gives the player these blocks in place of those that it has, unless it has them.
    pub fn map(&mut self, blocks: &[DeviceBuffer; 2]) -> Result<(), PlayerEnd> {
        if self.mapped == Some(blocks[0].number()) {
            return Ok(());
        }
        self.mapped = None;
        self.give(blocks)?;
        self.mapped = Some(blocks[0].number());
        Ok(())
    }

    fn give(&mut self, blocks: &[DeviceBuffer; 2]) -> Result<(), PlayerEnd> {
        let sizes = [blocks[0].whole().size_bytes(), blocks[1].whole().size_bytes()];
        if self.home != Home::Shared {
            return self.player.tell(&Order::Map { sizes }, OPENING_LIMIT);
        }
        let exported = [blocks[0].export(), blocks[1].export()];
        let [Ok(inputs), Ok(outputs)] = exported else {
            return Err(PlayerEnd::Refused { text: "the device exports no memory".to_owned() });
        };
        self.player.send(&Order::Map { sizes });
        self.player.send_descriptors([inputs.as_fd(), outputs.as_fd()]);
        match self.player.listen("map", OPENING_LIMIT)? {
            Answer::Done => Ok(()),
            other => Err(self.player.unexpected("map", &other)),
        }
    }

    /// What this player is for.
    pub fn role(&self) -> Role {
        self.role
    }

    /// What a call must at least have put on the GPU: no host code runs in a stage that could compute.
    pub fn least(&self) -> Least {
        if self.is_stage() { Least::Anything } else { Least::Kernel }
    }

    /// Whether this player launches a recording.
    pub fn is_stage(&self) -> bool {
        self.role == Role::Stage
    }

    /// Records a call of each slot that was bound. The inner error says why that cannot be done.
    pub fn record(&mut self, variables: &[String]) -> Result<Result<Taken, String>, PlayerEnd> {
        let order = Order::Record { variables: variables.to_vec() };
        let (document, sizes, code_sizes, host_ns) =
            match self.player.ask(&order, OPENING_LIMIT + self.call_limit.saturating_mul(RECORDED_CALLS))? {
                Answer::Recorded { document, sizes, code_sizes, host_ns } => {
                    (document, sizes, code_sizes, host_ns)
                }
                Answer::Unrecorded(reason) => return Ok(Err(reason)),
                other => return Err(self.player.unexpected("record", &other)),
            };
        let Ok(recording) = serde_json::from_slice::<Recording>(&document) else {
            return Ok(Err("the recorder's document does not read".to_owned()));
        };
        let total = sizes.iter().chain(&code_sizes).fold(0_u64, |total, size| total.saturating_add(*size));
        if total > CONTENTS_LIMIT_BYTES {
            return Ok(Err("its memory holds more than a recording carries".to_owned()));
        }
        let (mut contents, held) = (Vec::new(), sizes.len());
        for (number, size) in (0..).zip(sizes.into_iter().chain(code_sizes)) {
            contents.push(self.fetch(number, size)?);
        }
        let code = contents.split_off(held);
        Ok(Ok(Taken { recording, contents, code, host_ns }))
    }

    fn fetch(&mut self, number: u32, size: u64) -> Result<Vec<u8>, PlayerEnd> {
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < size {
            // Whole pieces only: a recorder that gives bytes one by one would hold the judge for days.
            let due = (size - bytes.len() as u64).min(PIECE_BYTES as u64);
            let order = Order::Fetch { number, offset: bytes.len() as u64 };
            match self.player.ask(&order, ORDER_LIMIT)? {
                Answer::Bytes(piece) if piece.len() as u64 == due => bytes.extend(piece),
                other => return Err(self.player.unexpected("fetch", &other)),
            }
        }
        Ok(bytes)
    }

    /// Takes from a stage what it launches, and the memory for it.
    pub fn clear(&mut self) -> Result<(), PlayerEnd> {
        // An empty piece of the first contents.
        self.player.tell(&Order::Contents { number: 0, bytes: Vec::new() }, ORDER_LIMIT)
    }

    /// Gives a stage what it launches from now on.
    pub fn stage<'bytes>(
        &mut self,
        recording: &Recording,
        contents: &[Vec<u8>],
        images: impl Iterator<Item = &'bytes [u8]>,
    ) -> Result<(), PlayerEnd> {
        for image in images {
            self.player.tell(&Order::Image(image.to_vec()), OPENING_LIMIT)?;
        }
        self.clear()?;
        for (number, bytes) in (0..).zip(contents) {
            for piece in bytes.chunks(PIECE_BYTES) {
                self.player.tell(&Order::Contents { number, bytes: piece.to_vec() }, ORDER_LIMIT)?;
            }
        }
        let document = serde_json::to_vec(recording).expect("numbers and texts");
        self.player.tell(&Order::Stage { document }, OPENING_LIMIT)
    }

    /// Whether what a stage puts memory back from is as it was; a live player has nothing of the kind.
    pub fn is_intact(&mut self) -> Result<bool, PlayerEnd> {
        if !self.is_stage() {
            return Ok(true);
        }
        match self.player.ask(&Order::Inspect, ORDER_LIMIT)? {
            Answer::Intact(intact) => Ok(intact),
            other => Err(self.player.unexpected("inspect", &other)),
        }
    }

    /// Brings a slot's inputs and poisoned outputs to the player.
    pub fn publish(
        &mut self,
        device: &JudgeDevice,
        blocks: &[DeviceBuffer; 2],
        layout: &CallLayout,
        slot: usize,
    ) -> Result<(), Stop> {
        if self.home != Home::Copies {
            return Ok(());
        }
        for block in [Block::Inputs, Block::Outputs] {
            let (offset, length) = extent(layout.block(block), slot);
            let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
            download(blocks[block as usize].region(offset, length)?, &mut bytes, &device.stream)?;
            self.player.host()[block as usize].write(offset, &bytes)?;
            self.player.tell(&Order::Push(block, offset, length), self.call_limit)?;
        }
        Ok(())
    }

    /// Brings a slot's outputs, and its inputs as they are now, to the judge.
    pub fn collect(
        &mut self,
        device: &JudgeDevice,
        blocks: &[DeviceBuffer; 2],
        layout: &CallLayout,
        slot: usize,
    ) -> Result<(), Stop> {
        if self.home != Home::Copies {
            return Ok(());
        }
        for block in [Block::Inputs, Block::Outputs] {
            let (offset, length) = extent(layout.block(block), slot);
            self.player.tell(&Order::Pull(block, offset, length), self.call_limit)?;
            let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
            self.player.host()[block as usize].read(offset, &mut bytes)?;
            upload(&bytes, blocks[block as usize].region(offset, length)?, &device.stream)?;
        }
        Ok(())
    }

    /// One call.
    pub fn call(&mut self, slot: u32, clock: Clock, l2: L2) -> Result<CallReport, PlayerEnd> {
        match self.player.ask(&Order::Call(slot, clock, l2), self.call_limit)? {
            Answer::Called(report) if report.event_ns.is_some() == (clock == Clock::Events) => Ok(report),
            other => Err(self.player.unexpected("call", &other)),
        }
    }

    /// A held batch: lets it go and watches for its end with the judge's own clock.
    pub fn batch(&mut self, slots: Vec<u32>) -> Result<BatchReport, PlayerEnd> {
        // A word that a kernel cannot foresee, and so not write before its time.
        #[expect(clippy::cast_possible_truncation, reason = "any 32 bits of a secret")]
        let token = (Seed::secret().0 as u32).max(1);
        // A batch may take as long as its calls one by one.
        let calls = u32::try_from(slots.len()).unwrap_or(u32::MAX).max(1);
        let limit = self.call_limit.saturating_mul(calls);
        self.player.tell(&Order::Batch { slots, token }, limit)?;
        let page = self.player.page();
        let begun = std::time::Instant::now();
        page.set(Word::Release, token);
        while page.get(Word::Done) != token && begun.elapsed() < limit {
            std::hint::spin_loop();
        }
        let signalled = begun.elapsed();
        match self.player.listen("batch", limit)? {
            #[allow(clippy::cast_precision_loss)] // far below 2^53 nanoseconds
            Answer::Batched(host_ns, event_ns, waits) => {
                // A kernel could write the done word; that the device is idle is a stage's own word.
                let wall = if self.is_stage() { begun.elapsed() } else { signalled };
                Ok(BatchReport { wall_ns: wall.as_nanos() as f64, event_ns, host_ns, waits })
            }
            other => Err(self.player.unexpected("batch", &other)),
        }
    }

    /// Starts or stops activity records.
    pub fn trace(&mut self, tracing: Tracing) -> Result<(), PlayerEnd> {
        self.player.tell(&Order::Trace(tracing), ORDER_LIMIT)
    }

    /// The multiprocessors' clock in MHz over a stretch of nanoseconds.
    pub fn sm_mhz(&mut self, stretch_ns: u64) -> Result<f64, PlayerEnd> {
        match self.player.ask(&Order::Cycles(stretch_ns), ORDER_LIMIT)? {
            #[allow(clippy::cast_precision_loss)] // far below 2^53
            Answer::Cycles(cycles, elapsed_ns) => Ok(cycles as f64 * 1e3 / elapsed_ns.max(1) as f64),
            other => Err(self.player.unexpected("cycles", &other)),
        }
    }

    /// Digests of all modules that the player's driver has loaded.
    pub fn modules(&mut self) -> Result<Vec<Digest>, PlayerEnd> {
        match self.player.ask(&Order::Modules, ORDER_LIMIT)? {
            Answer::Modules(modules) => Ok(modules),
            other => Err(self.player.unexpected("modules", &other)),
        }
    }

    /// How many threads the player has now.
    pub fn threads(&self) -> Option<usize> {
        self.player.threads()
    }

    /// Ends the player and returns what it wrote.
    pub fn end(mut self) -> String {
        self.player.end()
    }
}

fn extent(layout: &SlotLayout, slot: usize) -> (u64, u64) {
    (layout.slot_offset(slot), layout.slot_bytes)
}
