//! What the profiled process does: calls a library, or launches what was recorded of an entry point in Python, a few
//! times on each workload.

use std::path::PathBuf;
use std::rc::Rc;

use proofmark_packager::interop::flashinfer::Workload;
use proofmark_player::device::context::Gpu;
use proofmark_player::device::instruments::Instruments;
use proofmark_player::device::memory::DeviceBuffer;
use proofmark_player::device::stream::Stream;
use proofmark_player::direct::{DirectLibrary, DirectStage, start_profiler, stop_profiler};
use serde::{Deserialize, Serialize};

use super::recorded::RecordedWorkload;
use crate::job::Task;
use crate::measure::judge::binding::arguments;
use crate::measure::judge::layout::CallLayout;
use crate::measure::judge::source::Sources;
use crate::measure::{BenchError, Seed};

/// The hidden verb that follows a plan.
pub const PLAN_VERB: &str = "profiled";
/// Calls of each workload before those that are profiled: loading code lazily, growing pools.
const WARMUP_COUNT: usize = 2;

/// What the profiled process does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProfilePlan {
    /// What puts work on the GPU.
    pub subject: ProfiledSubject,
    /// What it computes, and on what.
    pub task: Task,
    /// Where inputs come from.
    pub seed: Seed,
    /// Part of the mark's name.
    pub nonce: String,
    /// Profiled calls of each workload.
    pub calls: usize,
}

/// What puts work on the GPU.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ProfiledSubject {
    /// A compiled entry point, which is called.
    Library {
        /// The library that was proven.
        library: PathBuf,
        /// Its exported symbol, without TVM-FFI's prefix.
        symbol: String,
        /// `libtvm_ffi.so`.
        tvm_ffi: PathBuf,
    },
    /// What an entry point in Python launched, which is launched again without it.
    Recordings {
        /// A recording for each workload, in their order.
        workloads: Vec<RecordedWorkload>,
    },
}

/// Why a plan was not followed to its end.
#[derive(Debug, thiserror::Error)]
pub enum ProfilePlanError {
    /// The device, a workload, or a captured tensor.
    #[error(transparent)]
    Bench(#[from] BenchError),
    /// The inputs are made by the definition's own code, which does not run here.
    #[error(
        "workload {workload} leaves its inputs to the definition's own function, which is not called here"
    )]
    CustomInputs {
        /// The workload.
        workload: String,
    },
    /// The entry point raised an error, or its recording cannot be launched.
    #[error("workload {workload}: {text}")]
    Call {
        /// The workload.
        workload: String,
        /// What it said.
        text: String,
    },
}

/// What calls are made with.
struct Profiler<'plan> {
    plan: &'plan ProfilePlan,
    gpu: Rc<Gpu>,
    stream: Stream,
    instruments: Instruments,
}

fn device(error: proofmark_player::device::DeviceError) -> ProfilePlanError {
    ProfilePlanError::Bench(BenchError::Device(error))
}

impl ProfilePlan {
    /// Whether a kernel is the mark before a call.
    pub fn is_mark(&self, kernel: &str) -> bool {
        kernel.starts_with("proofmark_") && kernel.contains(&self.nonce)
    }

    /// Does it, in this process.
    pub fn follow(&self) -> Result<(), ProfilePlanError> {
        if let Some(custom) = self.task.workloads.iter().find(|workload| workload.is_custom()) {
            return Err(ProfilePlanError::CustomInputs { workload: custom.uuid().to_owned() });
        }
        let gpu = Gpu::open().map_err(device)?;
        let stream = Stream::new(&gpu).map_err(device)?;
        let instruments = Instruments::load(&gpu, &self.nonce).map_err(device)?;
        let profiler = Profiler { plan: self, gpu, stream, instruments };
        match &self.subject {
            ProfiledSubject::Library { library, symbol, tvm_ffi } => {
                let library = DirectLibrary::load(tvm_ffi, library, symbol, &profiler.stream);
                profiler.call(library.map_err(device)?)
            }
            ProfiledSubject::Recordings { workloads } => profiler.launch(workloads),
        }
    }
}

impl Profiler<'_> {
    /// Calls a library on every workload.
    fn call(&self, mut library: DirectLibrary) -> Result<(), ProfilePlanError> {
        for workload in &self.plan.task.workloads {
            let failed = |text| failed(workload, text);
            let (layout, sources) = self.inputs(workload)?;
            let block = |bytes| DeviceBuffer::allocate(&self.gpu, bytes).map_err(device);
            let blocks = [block(layout.inputs.slot_bytes)?, block(layout.outputs.slot_bytes)?];
            self.fill(&sources, &blocks)?;
            let call = library.bind(&arguments(&layout, sources.values(), 1), blocks).map_err(failed)?;
            self.profile(workload, &|| Ok(()), &|| call.call())?;
            library = call.release();
        }
        Ok(())
    }

    /// Launches a recording of every workload.
    fn launch(&self, recorded: &[RecordedWorkload]) -> Result<(), ProfilePlanError> {
        let mut stage = DirectStage::reserve(&self.gpu).map_err(device)?;
        for (workload, recorded) in self.plan.task.workloads.iter().zip(recorded) {
            let failed = |text| failed(workload, text);
            let (layout, sources) = self.inputs(workload)?;
            let read = recorded.read().map_err(failed)?;
            let sizes = [layout.inputs.slot_bytes, layout.outputs.slot_bytes];
            let blocks = stage
                .take(&read.recording, &read.contents, &read.images, sizes, &self.stream)
                .map_err(failed)?;
            self.fill(&sources, blocks)?;
            let restore = || stage.restore(&self.stream).map_err(|error| error.to_string());
            self.profile(workload, &restore, &|| stage.launch(&self.stream))?;
        }
        Ok(())
    }

    fn inputs(&self, workload: &Workload) -> Result<(CallLayout, Sources), ProfilePlanError> {
        let (definition, data_root) = (&self.plan.task.definition, &self.plan.task.data_root);
        let layout = CallLayout::of(definition, workload)?;
        let seed = self.plan.seed.of_workload(workload.uuid()).0;
        let sources = Sources::new(definition, workload, &layout, seed, data_root)?;
        Ok((layout, sources))
    }

    fn fill(&self, sources: &Sources, blocks: &[DeviceBuffer; 2]) -> Result<(), ProfilePlanError> {
        sources.make(0, blocks[0].whole(), None, &self.instruments, &self.stream).map_err(device)?;
        self.stream.synchronize().map_err(device)
    }

    /// Makes a workload's calls, `before` each of which nobody looks.
    fn profile(
        &self,
        workload: &Workload,
        before: &dyn Fn() -> Result<(), String>,
        call: &dyn Fn() -> Result<(), String>,
    ) -> Result<(), ProfilePlanError> {
        let failed = |text| failed(workload, text);
        for _ in 0..WARMUP_COUNT {
            before().and_then(|()| call()).map_err(failed)?;
        }
        for _ in 0..self.plan.calls {
            before().map_err(failed)?;
            self.stream.synchronize().map_err(device)?;
            start_profiler().map_err(device)?;
            self.instruments.mark(&self.stream).map_err(device)?;
            call().map_err(failed)?;
            self.stream.synchronize().map_err(device)?;
            stop_profiler().map_err(device)?;
        }
        Ok(())
    }
}

fn failed(workload: &Workload, text: String) -> ProfilePlanError {
    ProfilePlanError::Call { workload: workload.uuid().to_owned(), text }
}
