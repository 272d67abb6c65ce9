//! Host memory that the GPU reads and writes, word by word.

use std::marker::PhantomData;
use std::rc::Rc;

use cudarc::driver::sys;
use memmap2::MmapRaw;

use super::context::Gpu;
use super::error::{DeviceError, check};
use crate::shared::SharedMemory;

/// Bytes of a word.
const WORD_BYTES: u64 = 4;

/// Shared memory that the GPU can read and write while this value lives. It keeps the mapping.
#[derive(Debug)]
pub struct HostWindow {
    mapping: Rc<MmapRaw>,
    device: u64,
    gpu: Rc<Gpu>,
}

/// A number of words in a window, as the GPU addresses them.
#[derive(Debug, Clone, Copy)]
pub struct HostWords<'window, const COUNT: usize> {
    address: u64,
    window: PhantomData<&'window HostWindow>,
}

impl<const COUNT: usize> HostWords<'_, COUNT> {
    /// The address of the first word as the GPU sees it.
    pub(super) fn address(&self) -> u64 {
        self.address
    }
}

impl HostWindow {
    /// Lets the GPU use shared memory.
    pub fn open(gpu: &Rc<Gpu>, memory: &SharedMemory) -> Result<Self, DeviceError> {
        let mapping = memory.mapping();
        let host = mapping.as_mut_ptr().cast();
        // SAFETY: the memory is mapped and starts at a page; `mapping` keeps it mapped until it is
        // unregistered in `drop`.
        check("cuMemHostRegister", unsafe {
            sys::cuMemHostRegister_v2(host, mapping.len(), sys::CU_MEMHOSTREGISTER_DEVICEMAP)
        })?;
        let mut window = Self { mapping, device: 0, gpu: Rc::clone(gpu) };
        // SAFETY: registered just above; the address is written to a live variable.
        check("cuMemHostGetDevicePointer", unsafe {
            sys::cuMemHostGetDevicePointer_v2(&raw mut window.device, host, 0)
        })?;
        Ok(window)
    }

    /// Words from an index on.
    pub fn words<const COUNT: usize>(&self, index: u64) -> Result<HostWords<'_, COUNT>, DeviceError> {
        let (offset, size) = (index.saturating_mul(WORD_BYTES), self.mapping.len() as u64);
        let end = offset.saturating_add(COUNT as u64 * WORD_BYTES);
        if end > size {
            return Err(DeviceError::OutsideBuffer { offset, end, size });
        }
        Ok(HostWords { address: self.device + offset, window: PhantomData })
    }
}

impl Drop for HostWindow {
    fn drop(&mut self) {
        // Work that was queued with words of this window ends first; where waiting fails, the context
        // is dead and no work runs.
        let _ = self.gpu.synchronize();
        // SAFETY: registered once in `open`, and unregistered once; no queued work uses it any more.
        let _ = unsafe { sys::cuMemHostUnregister(self.mapping.as_mut_ptr().cast()) };
    }
}
