//! The child: receives orders, calls the kernel, answers. One thread, one conversation, no secrets.

use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Instant;

use crate::callee::{Callee, Memory, Runtime, Slot, call_slot};
use crate::device::arena::{Arena, BLOCKS};
use crate::device::cupti::{self, Tracer};
use crate::device::error::DeviceError;
use crate::device::memory::{DeviceBuffer, Region, download, upload};
use crate::device::stream::Stream;
use crate::device::{interception, loads, readiness};
use crate::dlpack::{TensorDevice, span_bytes};
use crate::python::Interpreter;
use crate::recorder::{self, Recorded};
use crate::stage::Stage;
use crate::tvm_ffi::{Entry, TvmFfi};

use super::clocks::{CallOutcome, Clocks, Trouble, nanoseconds};
use super::confinement::{
    Extent, Files, Protections, Reach, Refusals, drop_all_capabilities, give_up_privileges,
    refuse_system_calls, restore_crash_signals,
};
use super::inheritance::{Inheritance, close_strays, receive_descriptors, take_over};
use super::protocol::{
    Answer, Argument, Block, CallReport, Clock, Home, L2, NO_CALL, Order, Role, Start, Tracing,
};
use super::shared::SharedMemory;
use super::wire::{PIECE_BYTES, receive, send};

/// Serves the judge until it hangs up. The process that calls this can be lost at any moment.
pub fn serve(refusals: Refusals) -> io::Result<()> {
    serve_in(refusals, None)
}

/// The same, inside a Python interpreter where there is one.
pub(crate) fn serve_in(refusals: Refusals, python: Option<Interpreter>) -> io::Result<()> {
    let by_hand = |_| io::Error::other("the player is started by bench and compare, not by hand");
    let Inheritance { mut conversation, page, inputs, outputs, library } = take_over().map_err(by_hand)?;
    close_strays()?;
    give_up_privileges()?;
    let mut player = PlayerLoop {
        page: SharedMemory::map(page)?,
        host: [SharedMemory::map(inputs)?, SharedMemory::map(outputs)?],
        library,
        refusals,
        reach: None,
        role: Role::Live,
        runtime: python.map(Runtime::Python),
        callee: None,
        stage: None,
        recorded: None,
        clocks: None,
        home: Home::Cpu,
        device: None,
        arena: None,
        slots: Vec::new(),
    };
    loop {
        let (kind, payload) = match receive(&mut conversation) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            other => other?,
        };
        let order = Order::decode(kind, &payload).map_err(io::Error::other)?;
        let answer = player.obey(order, &mut conversation)?;
        send(&mut conversation, answer.encode())?;
    }
}

struct PlayerLoop {
    slots: Vec<Slot>,
    callee: Option<Callee>,
    stage: Option<Stage>,
    recorded: Option<Recorded>,
    /// What calls the entry point; a stage has none.
    runtime: Option<Runtime>,
    device: Option<[DeviceBuffer; 2]>,
    arena: Option<Arena>,
    clocks: Option<Clocks>,
    role: Role,
    page: SharedMemory,
    host: [SharedMemory; 2],
    home: Home,
    library: OwnedFd,
    refusals: Refusals,
    /// What can be reached, and how far that was bounded before the driver started.
    reach: Option<(Reach, Files)>,
}

/// What the judge gets to read instead of an answer.
fn refused(error: impl std::fmt::Display) -> Answer {
    Answer::Refused(error.to_string())
}

impl PlayerLoop {
    fn obey(&mut self, order: Order, conversation: &mut UnixStream) -> io::Result<Answer> {
        Ok(match order {
            Order::Start(start) => self.start(&start).unwrap_or_else(refused),
            Order::Load { symbol } => self.load(&symbol).unwrap_or_else(refused),
            Order::Map { sizes } => self.map(sizes, conversation)?.unwrap_or_else(refused),
            Order::Bind { slots, arguments } => self.bind(slots, &arguments).unwrap_or_else(refused),
            Order::Push(block, offset, length) => self.push(block, offset, length).unwrap_or_else(refused),
            Order::Pull(block, offset, length) => self.pull(block, offset, length).unwrap_or_else(refused),
            Order::Call(slot, clock, l2) => self.call(slot, clock, l2),
            Order::Batch { slots, token } => self.batch(&slots, token, conversation)?,
            Order::Trace(tracing) => self.trace(tracing).unwrap_or_else(refused),
            Order::Cycles(stretch_ns) => self.cycles(stretch_ns).unwrap_or_else(refused),
            Order::Modules => self.modules(),
            Order::Record { variables } => self.record(&variables),
            Order::Fetch { number, offset } => self.fetch(number, offset).unwrap_or_else(refused),
            Order::Image(bytes) => self.image(&bytes).unwrap_or_else(refused),
            Order::Contents { number, bytes } => self.contents(number, &bytes).unwrap_or_else(refused),
            Order::Stage { document } => self.prepare(&document).unwrap_or_else(refused),
            Order::Inspect => self.inspect().unwrap_or_else(refused),
        })
    }

    fn start(&mut self, start: &Start) -> Result<Answer, String> {
        (self.home, self.role) = (start.home, start.role);
        let mut libraries: Vec<PathBuf> = start.cupti.iter().map(PathBuf::from).collect();
        // Libraries are opened first, so that the folders of those that were found can be read later. A
        // recorder and a builder read no clock of the device.
        let reads_records = self.home != Home::Cpu && !matches!(self.role, Role::Recorder | Role::Builder);
        let tracer = reads_records.then(|| cupti::load(&libraries).map_err(text));
        if self.home != Home::Cpu {
            readiness::keep_driver_open();
        }
        match &self.runtime {
            Some(Runtime::Python(python)) => python.prepare()?,
            _ if self.role == Role::Stage => {}
            _ => {
                let ffi_path = PathBuf::from(&start.tvm_ffi);
                self.runtime = Some(Runtime::TvmFfi(TvmFfi::load(&ffi_path).map_err(text)?));
                libraries.push(ffi_path);
            }
        }
        let reach = Reach::find(&libraries, start.folders.iter().map(PathBuf::from));
        let files = match self.role {
            Role::Builder => reach.bound(Extent::Building { cache: &start.cache }),
            _ => reach.bound(Extent::Starting),
        };
        self.reach = Some((reach, files));
        let recorder = match tracer {
            None => Err(None),
            Some(Err(problem)) => Err(Some(problem)),
            Some(Ok(_)) => Tracer::subscribe().map_err(|error| Some(text(error))),
        };
        let (recorder, cupti_problem) = match recorder {
            Ok(recorder) => (Some(recorder), None),
            Err(problem) => (None, problem),
        };
        if self.home != Home::Cpu {
            let clocks = Clocks::open(&start.nonce, recorder, &self.page, self.role).map_err(text)?;
            self.arena = Some(Arena::reserve(clocks.gpu()).map_err(text)?);
            match self.role {
                Role::Live | Role::Builder => {}
                Role::Recorder => {
                    interception::install().map_err(text)?;
                    if matches!(self.runtime, Some(Runtime::Python(_))) {
                        loads::install().map_err(text)?;
                    }
                }
                Role::Stage => self.stage = Some(Stage::new(clocks.gpu())),
            }
            self.clocks = Some(clocks);
        }
        restore_crash_signals();
        if let Some(clocks) = &self.clocks {
            let stream = clocks.stream().raw();
            match &self.runtime {
                // SAFETY: the stream lives as long as the clocks, and so as the conversation.
                Some(Runtime::TvmFfi(ffi)) => unsafe { ffi.set_stream(stream.cast()) },
                Some(Runtime::Python(python)) => python.open(stream as u64)?,
                None => {}
            }
        }
        Ok(Answer::Ready { cupti_problem, confinement_problem: None })
    }

    /// Gives up the rest, then loads the foreign library. A stage has none, and gives up as much.
    fn load(&mut self, symbol: &str) -> Result<Answer, String> {
        let (reach, files) = self.reach.take().ok_or("load came before start, or twice")?;
        let missing = if self.role == Role::Builder {
            // What it starts needs calls that are refused elsewhere; it never meets the judge's memory.
            None
        } else {
            let protections = Protections {
                files: files.weaker(reach.bound(Extent::Running)),
                capabilities: drop_all_capabilities().err().map(text),
                system_calls: refuse_system_calls(self.refusals).err(),
            };
            protections.missing()
        };
        if self.role != Role::Stage {
            self.callee = Some(self.load_callee(symbol)?);
            restore_crash_signals();
        }
        Ok(Answer::Ready { cupti_problem: None, confinement_problem: missing })
    }

    fn load_callee(&self, symbol: &str) -> Result<Callee, String> {
        match self.runtime.as_ref().ok_or("load came before start")? {
            Runtime::TvmFfi(ffi) => {
                let path = PathBuf::from(format!("/proc/self/fd/{}", self.library.as_raw_fd()));
                // SAFETY: this process can be lost; that is what it is for.
                unsafe { Entry::load(ffi, &path, symbol) }.map(Callee::Compiled).map_err(text)
            }
            Runtime::Python(python) => {
                let mut document = String::new();
                let mut file = std::fs::File::from(self.library.try_clone().map_err(text)?);
                file.rewind().and_then(|()| file.read_to_string(&mut document)).map_err(text)?;
                python.load(&document).map(Callee::Python)
            }
        }
    }

    /// The outer error means that the judge is gone.
    fn map(&mut self, sizes: [u64; 2], conversation: &UnixStream) -> io::Result<Result<Answer, String>> {
        self.slots.clear();
        self.device = None;
        let descriptors: Option<[OwnedFd; 2]> = match self.home {
            Home::Shared => Some(receive_descriptors(conversation)?),
            Home::Cpu | Home::Copies => None,
        };
        Ok(self.map_blocks(sizes, descriptors.as_ref()).map_err(text))
    }

    fn map_blocks(
        &mut self,
        sizes: [u64; 2],
        descriptors: Option<&[OwnedFd; 2]>,
    ) -> Result<Answer, DeviceError> {
        let Some(clocks) = &self.clocks else { return Ok(Answer::Done) };
        let open = |block: usize| match descriptors {
            Some(descriptors) => {
                DeviceBuffer::import(clocks.gpu(), descriptors[block].as_fd(), BLOCKS[block], sizes[block])
            }
            None => DeviceBuffer::map_fresh(clocks.gpu(), BLOCKS[block], sizes[block]),
        };
        self.device = Some([open(0)?, open(1)?]);
        Ok(Answer::Done)
    }

    fn record(&mut self, variables: &[String]) -> Answer {
        let Self { slots, callee, runtime, clocks, .. } = self;
        let Some(clocks) = clocks else { return Answer::Refused("recording needs a GPU".to_owned()) };
        let mut call = |slot: u32| call_slot(runtime.as_ref(), callee.as_ref(), slots, slot);
        let count = u32::try_from(slots.len()).unwrap_or(u32::MAX);
        match recorder::record(clocks.stream(), count, variables, &mut call) {
            Ok(recorded) => {
                let document = serde_json::to_vec(&recorded.recording).expect("numbers and texts");
                if document.len() > PIECE_BYTES {
                    let text = format!("the launches of {count} calls are more than a recording carries");
                    return Answer::Unrecorded(text);
                }
                let size = |bytes: &Vec<u8>| bytes.len() as u64;
                let sizes = recorded.contents.iter().map(size).collect();
                let code_sizes = recorded.code.iter().map(size).collect();
                let host_ns = recorded.host_ns.clone();
                self.recorded = Some(recorded);
                Answer::Recorded { document, sizes, code_sizes, host_ns }
            }
            Err(uncaptured) => uncaptured.into(),
        }
    }

    fn fetch(&self, number: u32, offset: u64) -> Result<Answer, String> {
        let recorded = self.recorded.as_ref().ok_or("nothing was recorded")?;
        let bytes = recorded.contents.iter().chain(&recorded.code).nth(number as usize);
        let bytes = bytes.ok_or("no such contents")?;
        let rest =
            usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).ok_or("behind the end")?;
        Ok(Answer::Bytes(rest[..rest.len().min(PIECE_BYTES)].to_vec()))
    }

    fn image(&mut self, bytes: &[u8]) -> Result<Answer, String> {
        self.stage.as_mut().ok_or("only a stage takes images")?.image(bytes).map_err(text)?;
        Ok(Answer::Done)
    }

    fn contents(&mut self, number: u32, bytes: &[u8]) -> Result<Answer, String> {
        let stage = self.stage.as_mut().ok_or("only a stage takes contents")?;
        if number == 0 && bytes.is_empty() {
            stage.clear();
        } else {
            stage.contents(number, bytes).map_err(text)?;
        }
        Ok(Answer::Done)
    }

    fn prepare(&mut self, document: &[u8]) -> Result<Answer, String> {
        let stage = self.stage.as_mut().ok_or("only a stage takes a recording")?;
        let clocks = self.clocks.as_ref().ok_or("a stage needs a GPU")?;
        let recording = serde_json::from_slice(document).map_err(text)?;
        stage.prepare(&recording, clocks.stream()).map_err(text)?;
        clocks.forget_records().map_err(text)?;
        Ok(Answer::Done)
    }

    fn inspect(&self) -> Result<Answer, String> {
        let stage = self.stage.as_ref().ok_or("only a stage has something to inspect")?;
        let clocks = self.clocks.as_ref().ok_or("a stage needs a GPU")?;
        let intact = stage.is_intact(clocks.stream()).map_err(text)?;
        Ok(Answer::Intact(intact))
    }

    fn bind(&mut self, slots: u32, arguments: &[Argument]) -> Result<Answer, String> {
        self.slots.clear();
        for slot in 0..slots as usize {
            let bound = self.bind_slot(slot, arguments)?;
            self.slots.push(bound);
        }
        Ok(Answer::Done)
    }

    fn bind_slot(&self, slot: usize, arguments: &[Argument]) -> Result<Slot, String> {
        let runtime = self.runtime.as_ref().ok_or("bind came before start")?;
        runtime.bind(arguments, &|argument| self.locate(slot, argument))
    }

    /// The memory of a slot's tensor, checked against its block: blocks outlive the slots that point into them.
    fn locate(&self, slot: usize, argument: &Argument) -> Result<Memory, String> {
        let Argument::Tensor { block, bits, shape, strides, offsets, .. } = argument else {
            return Err("no tensor".to_owned());
        };
        let offset = *offsets.get(slot).ok_or("a slot without an offset")?;
        let size = span_bytes(shape, strides, *bits).ok_or("a tensor that no memory can hold")?;
        if let Some(blocks) = &self.device {
            let region = blocks[*block as usize].region(offset, size).map_err(text)?;
            return Ok(Memory { place: TensorDevice::Cuda, address: region.pointer() });
        }
        let memory = &self.host[*block as usize];
        if offset.checked_add(size).is_none_or(|end| end > memory.size_bytes()) {
            return Err("a tensor outside its block".to_owned());
        }
        Ok(Memory { place: TensorDevice::Cpu, address: memory.pointer() as u64 + offset })
    }

    fn push(&self, block: Block, offset: u64, length: u64) -> Result<Answer, String> {
        if let (Some(clocks), Some(device)) = (&self.clocks, &self.device) {
            let mut bytes = vec![0; usize::try_from(length).map_err(text)?];
            self.host[block as usize].read(offset, &mut bytes).map_err(text)?;
            let to: Region = device[block as usize].region(offset, length).map_err(text)?;
            upload(&bytes, to, clocks.stream()).map_err(text)?;
            clocks.forget_records().map_err(text)?;
        }
        Ok(Answer::Done)
    }

    fn pull(&self, block: Block, offset: u64, length: u64) -> Result<Answer, String> {
        if let (Some(clocks), Some(device)) = (&self.clocks, &self.device) {
            let mut bytes = vec![0; usize::try_from(length).map_err(text)?];
            let from = device[block as usize].region(offset, length).map_err(text)?;
            download(from, &mut bytes, clocks.stream()).map_err(text)?;
            clocks.forget_records().map_err(text)?;
            self.host[block as usize].write(offset, &bytes).map_err(text)?;
        }
        Ok(Answer::Done)
    }

    fn call(&mut self, slot: u32, clock: Clock, l2: L2) -> Answer {
        let Self { slots, callee, runtime, stage, clocks, page, .. } = self;
        let mut enter = || call_slot(runtime.as_ref(), callee.as_ref(), slots, slot);
        let Some(clocks) = clocks else { return host_call(&mut enter) };
        let outcome = match stage {
            None => clocks.call(page, clock, l2, &mut |_| enter()),
            Some(stage) => put_back(stage, clocks)
                .and_then(|()| clocks.call(page, clock, l2, &mut |stream| launch_slot(stage, slot, stream))),
        };
        match outcome {
            Ok(report) => Answer::Called(report),
            Err(trouble) => answer_trouble(trouble),
        }
    }

    fn batch(&mut self, slots: &[u32], token: u32, conversation: &mut UnixStream) -> io::Result<Answer> {
        let Self { slots: bound, callee, runtime, stage, clocks, page, .. } = self;
        let Some(clocks) = clocks else {
            return Ok(Answer::Refused("a batch needs a GPU".to_owned()));
        };
        let mut call = |slot: u32, stream: &Stream| match stage {
            None => call_slot(runtime.as_ref(), callee.as_ref(), bound, slot),
            // Without its call a slot's state is put back all the same: that is what the batch costs beside.
            Some(stage) => {
                stage.restore(stream).map_err(text).and_then(|()| launch_slot(stage, slot, stream))
            }
        };
        let host_ns = match clocks.queue_batch(page, token, slots, &mut call) {
            Ok(host_ns) => host_ns,
            Err(trouble) => return Ok(answer_trouble(trouble)),
        };
        send(conversation, Answer::Done.encode())?;
        Ok(match clocks.end_batch(page) {
            Ok((event_ns, waits)) => Answer::Batched(host_ns, event_ns, waits),
            Err(error) => refused(error),
        })
    }

    fn trace(&self, tracing: Tracing) -> Result<Answer, String> {
        let recorder = self.clocks.as_ref().and_then(Clocks::recorder).ok_or("there is no tracer")?;
        match tracing {
            Tracing::On => recorder.start().map_err(text)?,
            Tracing::Off => recorder.stop().map_err(text)?,
        }
        recorder.take().map_err(text)?;
        Ok(Answer::Done)
    }

    fn cycles(&self, stretch_ns: u64) -> Result<Answer, String> {
        let clocks = self.clocks.as_ref().ok_or("cycles need a GPU")?;
        let (cycles, elapsed_ns) = clocks.cycles(&self.page, stretch_ns).map_err(text)?;
        Ok(Answer::Cycles(cycles, elapsed_ns))
    }

    fn modules(&self) -> Answer {
        let recorder = self.clocks.as_ref().and_then(Clocks::recorder);
        Answer::Modules(recorder.map(Tracer::modules).unwrap_or_default())
    }
}

/// Puts a stage's memory back and scrubs what no address names.
fn put_back(stage: &Stage, clocks: &Clocks) -> Result<(), Trouble> {
    stage.restore(clocks.stream())?;
    Ok(clocks.scrub(stage.uses_local_memory())?)
}

fn launch_slot(stage: &Stage, slot: u32, stream: &Stream) -> CallOutcome {
    if slot == NO_CALL { Ok(()) } else { stage.launch(slot, stream).map_err(text) }
}

fn host_call(call: &mut dyn FnMut() -> CallOutcome) -> Answer {
    let begun = Instant::now();
    match call() {
        Ok(()) => Answer::Called(CallReport {
            host_ns: nanoseconds(begun.elapsed()),
            event_ns: None,
            waits: false,
            persisting_bytes: 0,
            window_bytes: 0,
            activities: Vec::new(),
        }),
        Err(error) => Answer::Raised(error),
    }
}

fn answer_trouble(trouble: Trouble) -> Answer {
    match trouble {
        Trouble::Raised(text) => Answer::Raised(text),
        Trouble::Device(error) => refused(error),
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
