//! Device memory that one process owns and another may map.

use std::rc::Rc;

use cudarc::driver::sys;

use super::context::Gpu;
use super::error::{DeviceError, check};
use super::stream::Stream;

/// Allocations are rounded up to this many bytes. The driver packs smaller ones into one block, and
/// an IPC handle exports the whole block: rounding keeps neighbours out of what a player can map.
const BLOCK_BYTES: u64 = 2 * 1024 * 1024;

/// The bytes by which another process opens a buffer.
pub type IpcHandle = [u8; 64];

/// Where a buffer came from, and so how it is given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Allocated,
    Mapped,
}

/// A block of device memory.
#[derive(Debug)]
pub struct DeviceBuffer {
    gpu: Rc<Gpu>,
    pointer: u64,
    size_bytes: u64,
    origin: Origin,
}

/// A part of a buffer: plain numbers, checked when made. It does not keep the buffer alive; using
/// it afterwards is an error of the driver, never of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    pointer: u64,
    size_bytes: u64,
}

impl Region {
    /// The device address.
    pub fn pointer(&self) -> u64 {
        self.pointer
    }

    /// The length in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// A part of this region.
    pub fn part(&self, offset: u64, size_bytes: u64) -> Result<Self, DeviceError> {
        let end = offset.saturating_add(size_bytes);
        if end > self.size_bytes {
            return Err(DeviceError::OutsideBuffer { offset, end, size: self.size_bytes });
        }
        Ok(Self { pointer: self.pointer + offset, size_bytes })
    }
}

impl DeviceBuffer {
    /// Allocates a block of its own, at least as large as asked.
    pub fn allocate(gpu: &Rc<Gpu>, size_bytes: u64) -> Result<Self, DeviceError> {
        let size_bytes = size_bytes.max(1).next_multiple_of(BLOCK_BYTES);
        let mut pointer = 0;
        let length = usize::try_from(size_bytes).unwrap_or(usize::MAX);
        // SAFETY: the address is written to a live variable.
        check("cuMemAlloc", unsafe { sys::cuMemAlloc_v2(&raw mut pointer, length) })?;
        Ok(Self { gpu: Rc::clone(gpu), pointer, size_bytes, origin: Origin::Allocated })
    }

    /// Maps a block of another process.
    pub fn open(gpu: &Rc<Gpu>, handle: IpcHandle, size_bytes: u64) -> Result<Self, DeviceError> {
        let mut pointer = 0;
        // SAFETY: the handle has the driver's layout: 64 opaque bytes.
        let handle = unsafe { std::mem::transmute::<IpcHandle, sys::CUipcMemHandle>(handle) };
        let flags = sys::CUipcMem_flags_enum::CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS as u32;
        // SAFETY: the address is written to a live variable; a wrong handle is refused by the driver.
        check("cuIpcOpenMemHandle", unsafe { sys::cuIpcOpenMemHandle_v2(&raw mut pointer, handle, flags) })?;
        Ok(Self { gpu: Rc::clone(gpu), pointer, size_bytes, origin: Origin::Mapped })
    }

    /// The handle by which another process of the same user maps this block.
    pub fn export(&self) -> Result<IpcHandle, DeviceError> {
        let mut handle = sys::CUipcMemHandle { reserved: [0; 64] };
        // SAFETY: the block was allocated here; the handle is written to a live variable.
        check("cuIpcGetMemHandle", unsafe { sys::cuIpcGetMemHandle(&raw mut handle, self.pointer) })?;
        // SAFETY: the driver's handle is 64 opaque bytes.
        Ok(unsafe { std::mem::transmute::<sys::CUipcMemHandle, IpcHandle>(handle) })
    }

    /// The GPU that holds it.
    pub fn gpu(&self) -> &Rc<Gpu> {
        &self.gpu
    }

    /// The whole block.
    pub fn whole(&self) -> Region {
        Region { pointer: self.pointer, size_bytes: self.size_bytes }
    }

    /// A part of the block.
    pub fn region(&self, offset: u64, size_bytes: u64) -> Result<Region, DeviceError> {
        self.whole().part(offset, size_bytes)
    }
}

impl Drop for DeviceBuffer {
    fn drop(&mut self) {
        // Errors are not looked at: a dead context frees everything.
        let _ = match self.origin {
            // SAFETY: allocated by `allocate`, freed once.
            Origin::Allocated => unsafe { sys::cuMemFree_v2(self.pointer) },
            // SAFETY: mapped by `open`, closed once.
            Origin::Mapped => unsafe { sys::cuIpcCloseMemHandle(self.pointer) },
        };
    }
}

/// Fills a region with one byte; `0xFF` makes every float a NaN and every integer -1.
pub fn fill(region: Region, byte: u8, stream: &Stream) -> Result<(), DeviceError> {
    let length = length_of(region.size_bytes);
    // SAFETY: the region lies inside an allocation.
    check("cuMemsetD8Async", unsafe { sys::cuMemsetD8Async(region.pointer, byte, length, stream.raw()) })
}

/// Copies one region onto another of the same length.
pub fn copy(from: Region, to: Region, stream: &Stream) -> Result<(), DeviceError> {
    let to = to.part(0, from.size_bytes)?;
    let length = length_of(from.size_bytes);
    // SAFETY: both lie inside allocations and are equally long.
    check("cuMemcpyDtoDAsync", unsafe {
        sys::cuMemcpyDtoDAsync_v2(to.pointer, from.pointer, length, stream.raw())
    })
}

/// Copies host bytes to the device and waits.
pub fn upload(from: &[u8], to: Region, stream: &Stream) -> Result<(), DeviceError> {
    let to = to.part(0, from.len() as u64)?;
    // SAFETY: the host bytes live across the call, which is followed by a wait.
    check("cuMemcpyHtoDAsync", unsafe {
        sys::cuMemcpyHtoDAsync_v2(to.pointer, from.as_ptr().cast(), from.len(), stream.raw())
    })?;
    stream.synchronize()
}

/// Copies device bytes to the host and waits.
pub fn download(from: Region, to: &mut [u8], stream: &Stream) -> Result<(), DeviceError> {
    let from = from.part(0, to.len() as u64)?;
    // SAFETY: the host bytes live across the call, which is followed by a wait.
    check("cuMemcpyDtoHAsync", unsafe {
        sys::cuMemcpyDtoHAsync_v2(to.as_mut_ptr().cast(), from.pointer, to.len(), stream.raw())
    })?;
    stream.synchronize()
}

fn length_of(size_bytes: u64) -> usize {
    usize::try_from(size_bytes).expect("a region that was allocated fits the address space")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_regions_outside_their_buffer() {
        let whole = Region { pointer: 4096, size_bytes: 100 };
        assert_eq!(whole.part(10, 90).unwrap(), Region { pointer: 4106, size_bytes: 90 });
        assert!(whole.part(10, 91).is_err());
        assert!(whole.part(u64::MAX, 2).is_err());
    }
}
