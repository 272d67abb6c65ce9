//! Calls an entry point, or launches what was recorded of one, in this very process, for tools that look at a process
//! from outside.
//!
//! Nothing is confined, traced or checked: what is called must be trusted by whoever asks for it, and what is seen of
//! it is no measurement.

use std::path::Path;
use std::rc::Rc;

use cudarc::driver::sys;

use crate::callee::{Callee, Memory, Runtime, Slot, call_slot};
use crate::device::arena::{Arena, BLOCKS};
use crate::device::context::Gpu;
use crate::device::error::{DeviceError, check};
use crate::device::memory::{BLOCK_BYTES, DeviceBuffer};
use crate::device::stream::Stream;
use crate::dlpack::{TensorDevice, span_bytes};
use crate::protocol::Argument;
use crate::recording::Recording;
use crate::stage::Stage;
use crate::tvm_ffi::{Entry, TvmFfi};

/// An entry point with the arguments of one call.
pub struct DirectCall {
    slots: Vec<Slot>,
    callee: Callee,
    runtime: Runtime,
    /// What the arguments lie over.
    _blocks: [DeviceBuffer; 2],
}

impl std::fmt::Debug for DirectCall {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("DirectCall").finish_non_exhaustive()
    }
}

/// A library with a TVM-FFI entry point, loaded.
pub struct DirectLibrary {
    callee: Callee,
    runtime: Runtime,
}

impl std::fmt::Debug for DirectLibrary {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("DirectLibrary").finish_non_exhaustive()
    }
}

impl DirectLibrary {
    /// Loads a library for calls on a stream, which must outlive them.
    pub fn load(tvm_ffi: &Path, library: &Path, symbol: &str, stream: &Stream) -> Result<Self, DeviceError> {
        let ffi = TvmFfi::load(tvm_ffi)?;
        // SAFETY: the caller keeps the stream for as long as it calls.
        unsafe { ffi.set_stream(stream.raw().cast()) };
        // SAFETY: the library's own code runs, as whoever asked for it wants.
        let entry = unsafe { Entry::load(&ffi, library, symbol) }?;
        Ok(Self { callee: Callee::Compiled(entry), runtime: Runtime::TvmFfi(ffi) })
    }

    /// Gives the entry point its arguments over two blocks, inputs and outputs.
    pub fn bind(self, arguments: &[Argument], blocks: [DeviceBuffer; 2]) -> Result<DirectCall, String> {
        let slot = self.runtime.bind(arguments, &|argument| locate(argument, &blocks))?;
        Ok(DirectCall { slots: vec![slot], callee: self.callee, runtime: self.runtime, _blocks: blocks })
    }
}

impl DirectCall {
    /// Calls it.
    pub fn call(&self) -> Result<(), String> {
        call_slot(Some(&self.runtime), Some(&self.callee), &self.slots, 0)
    }

    /// Gives the library back, without the arguments.
    pub fn release(self) -> DirectLibrary {
        DirectLibrary { callee: self.callee, runtime: self.runtime }
    }
}

/// Launches recordings.
#[derive(Debug)]
pub struct DirectStage {
    // Dropped in this order: what points into memory goes before it, and memory before its range.
    stage: Stage,
    blocks: Option<[DeviceBuffer; 2]>,
    gpu: Rc<Gpu>,
    _arena: Arena,
}

impl DirectStage {
    /// Reserves the addresses that recordings hold; once in a process.
    pub fn reserve(gpu: &Rc<Gpu>) -> Result<Self, DeviceError> {
        let arena = Arena::reserve(gpu)?;
        Ok(Self { stage: Stage::new(gpu), blocks: None, gpu: Rc::clone(gpu), _arena: arena })
    }

    /// Takes a recording with what memory held and the machine code, in place of the one before. Gives the blocks
    /// of inputs and outputs, of at least these sizes, where its launches look for them.
    pub fn take(
        &mut self,
        recording: &Recording,
        contents: &[Vec<u8>],
        images: &[Vec<u8>],
        block_bytes: [u64; 2],
        stream: &Stream,
    ) -> Result<&[DeviceBuffer; 2], String> {
        self.stage.clear();
        self.blocks = None;
        let text = |error: DeviceError| error.to_string();
        let map = |block: usize| {
            let size_bytes = block_bytes[block].max(1).next_multiple_of(BLOCK_BYTES);
            DeviceBuffer::map_fresh(&self.gpu, BLOCKS[block], size_bytes).map_err(text)
        };
        let blocks = [map(0)?, map(1)?];
        for image in images {
            self.stage.image(image).map_err(text)?;
        }
        for (number, bytes) in (0..).zip(contents) {
            self.stage.contents(number, bytes).map_err(|error| error.to_string())?;
        }
        self.stage.prepare(recording, stream).map_err(|error| error.to_string())?;
        Ok(self.blocks.insert(blocks))
    }

    /// Puts memory back to what it was at the start of the recorded call.
    pub fn restore(&self, stream: &Stream) -> Result<(), DeviceError> {
        self.stage.restore(stream)
    }

    /// Queues the launches of the first recorded call.
    pub fn launch(&self, stream: &Stream) -> Result<(), String> {
        self.stage.launch(0, stream).map_err(|error| error.to_string())
    }
}

fn locate(argument: &Argument, blocks: &[DeviceBuffer; 2]) -> Result<Memory, String> {
    let Argument::Tensor { block, bits, shape, strides, offsets, .. } = argument else {
        return Err("no tensor".to_owned());
    };
    let offset = *offsets.first().ok_or("a tensor without an offset")?;
    let size = span_bytes(shape, strides, *bits).ok_or("a tensor that no memory can hold")?;
    let region = blocks[*block as usize].region(offset, size).map_err(|error| error.to_string())?;
    Ok(Memory { place: TensorDevice::Cuda, address: region.pointer() })
}

/// Has a profiler that waits for it look from now on.
pub fn start_profiler() -> Result<(), DeviceError> {
    // SAFETY: no arguments; without a profiler it does nothing.
    check("cuProfilerStart", unsafe { sys::cuProfilerStart() })
}

/// Has a profiler look no longer.
pub fn stop_profiler() -> Result<(), DeviceError> {
    // SAFETY: as above.
    check("cuProfilerStop", unsafe { sys::cuProfilerStop() })
}
