//! Calls an entry point in this very process, for tools that look at a process from outside.
//!
//! Nothing is confined, traced or checked: what is called must be trusted by whoever asks for it, and what is seen of
//! it is no measurement.

use std::path::Path;

use cudarc::driver::sys;

use crate::callee::{Callee, Memory, Runtime, Slot, call_slot};
use crate::device::error::{DeviceError, check};
use crate::device::memory::DeviceBuffer;
use crate::device::stream::Stream;
use crate::dlpack::{TensorDevice, span_bytes};
use crate::protocol::Argument;
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
