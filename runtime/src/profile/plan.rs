//! What the profiled process does: loads the library that was proven, and calls it a few times on each workload.

use std::path::PathBuf;

use proofmark_player::device::context::Gpu;
use proofmark_player::device::instruments::Instruments;
use proofmark_player::device::memory::DeviceBuffer;
use proofmark_player::device::stream::Stream;
use proofmark_player::direct::{DirectLibrary, start_profiler, stop_profiler};
use serde::{Deserialize, Serialize};

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
    /// The library that was proven.
    pub library: PathBuf,
    /// Its exported symbol, without TVM-FFI's prefix.
    pub symbol: String,
    /// `libtvm_ffi.so`.
    pub tvm_ffi: PathBuf,
    /// What it computes, and on what.
    pub task: Task,
    /// Where inputs come from.
    pub seed: Seed,
    /// Part of the mark's name.
    pub nonce: String,
    /// Profiled calls of each workload.
    pub calls: usize,
}

/// Why a plan was not followed to its end.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
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
    /// The entry point raised an error.
    #[error("workload {workload}: {text}")]
    Call {
        /// The workload.
        workload: String,
        /// What it said.
        text: String,
    },
}

impl ProfilePlan {
    /// Whether a kernel is the mark before a call.
    pub fn is_mark(&self, kernel: &str) -> bool {
        kernel.starts_with("proofmark_") && kernel.contains(&self.nonce)
    }

    /// Does it, in this process.
    pub fn follow(&self) -> Result<(), PlanError> {
        let device = |error| PlanError::Bench(BenchError::Device(error));
        let gpu = Gpu::open().map_err(device)?;
        let stream = Stream::new(&gpu).map_err(device)?;
        let instruments = Instruments::load(&gpu, &self.nonce).map_err(device)?;
        let mut library =
            DirectLibrary::load(&self.tvm_ffi, &self.library, &self.symbol, &stream).map_err(device)?;
        let Task { definition, workloads, data_root, .. } = &self.task;
        for workload in workloads {
            let uuid = || workload.uuid().to_owned();
            if workload.is_custom() {
                return Err(PlanError::CustomInputs { workload: uuid() });
            }
            let failed = |text| PlanError::Call { workload: uuid(), text };
            let layout = CallLayout::of(definition, workload)?;
            let seed = self.seed.of_workload(workload.uuid()).0;
            let sources = Sources::new(definition, workload, &layout, seed, data_root)?;
            let block = |bytes| DeviceBuffer::allocate(&gpu, bytes).map_err(device);
            let blocks = [block(layout.inputs.slot_bytes)?, block(layout.outputs.slot_bytes)?];
            sources.make(0, blocks[0].whole(), None, &instruments, &stream).map_err(device)?;
            stream.synchronize().map_err(device)?;
            let call = library.bind(&arguments(&layout, sources.values(), 1), blocks).map_err(failed)?;
            for _ in 0..WARMUP_COUNT {
                call.call().map_err(failed)?;
            }
            stream.synchronize().map_err(device)?;
            start_profiler().map_err(device)?;
            for _ in 0..self.calls {
                instruments.mark(&stream).map_err(device)?;
                call.call().map_err(failed)?;
            }
            stream.synchronize().map_err(device)?;
            stop_profiler().map_err(device)?;
            library = call.release();
        }
        Ok(())
    }
}
