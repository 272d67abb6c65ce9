//! Device memory: blocks of this process, and blocks that another process may map by a descriptor.
//!
//! A shared block is physical memory of its own. Nothing reaches it but the descriptor that its owner sends:
//! unlike the driver's IPC handles, which are numbers that can be guessed, a descriptor cannot be made up.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use cudarc::driver::sys;

use super::context::Gpu;
use super::error::{DeviceError, check};
use super::stream::Stream;

/// Allocations are rounded up to this many bytes: the grain of physical memory.
pub const BLOCK_BYTES: u64 = 2 * 1024 * 1024;

const BY_DESCRIPTOR: sys::CUmemAllocationHandleType =
    sys::CUmemAllocationHandleType::CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;

/// Where a buffer came from, and so how it is given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// The driver's allocator.
    Allocated,
    /// Physical memory at an address of its own.
    Shared {
        /// The physical memory, which can be exported.
        memory: sys::CUmemGenericAllocationHandle,
    },
    /// Physical memory in the address range of [`super::arena`].
    Mapped,
}

/// A block of device memory.
#[derive(Debug)]
pub struct DeviceBuffer {
    gpu: Rc<Gpu>,
    pointer: u64,
    size_bytes: u64,
    origin: Origin,
    number: u64,
}

/// A number that no other buffer of this process has: addresses are used again.
fn next_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A part of a buffer: plain numbers, checked when made. It does not keep the buffer alive; using
/// it afterwards is an error of the driver, never of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    pointer: u64,
    size_bytes: u64,
}

impl Region {
    /// Memory at an address that the driver knows; a wrong address is an error of the driver.
    pub(crate) fn at(pointer: u64, size_bytes: u64) -> Self {
        Self { pointer, size_bytes }
    }

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
        Ok(Self {
            gpu: Rc::clone(gpu),
            pointer,
            size_bytes,
            origin: Origin::Allocated,
            number: next_number(),
        })
    }

    /// Allocates a block that another process can map, at least as large as asked.
    pub fn allocate_shared(gpu: &Rc<Gpu>, size_bytes: u64) -> Result<Self, DeviceError> {
        let size_bytes = size_bytes.max(1).next_multiple_of(BLOCK_BYTES);
        let memory = create(size_bytes, BY_DESCRIPTOR)?;
        let mut pointer = 0;
        let length = usize::try_from(size_bytes).unwrap_or(usize::MAX);
        // SAFETY: the address is written to a live variable.
        let reserved = check("cuMemAddressReserve", unsafe {
            sys::cuMemAddressReserve(&raw mut pointer, length, 0, 0, 0)
        });
        if let Err(error) = reserved.and_then(|()| map(pointer, size_bytes, memory)) {
            release(memory);
            return Err(error);
        }
        Ok(Self {
            gpu: Rc::clone(gpu),
            pointer,
            size_bytes,
            origin: Origin::Shared { memory },
            number: next_number(),
        })
    }

    /// Maps a block of another process at an address of the reserved range.
    pub fn import(
        gpu: &Rc<Gpu>,
        descriptor: BorrowedFd<'_>,
        address: u64,
        size_bytes: u64,
    ) -> Result<Self, DeviceError> {
        let mut memory = 0;
        let number = descriptor.as_raw_fd().cast_unsigned() as usize as *mut std::ffi::c_void;
        // SAFETY: the driver takes the descriptor's number in place of a pointer; the handle is written to a
        // live variable. A descriptor of something else is refused by the driver.
        check("cuMemImportFromShareableHandle", unsafe {
            sys::cuMemImportFromShareableHandle(&raw mut memory, number, BY_DESCRIPTOR)
        })?;
        let mapped = map(address, size_bytes, memory);
        release(memory);
        mapped?;
        Ok(Self::mapped(gpu, address, size_bytes))
    }

    /// Maps fresh memory of this process at an address of the reserved range.
    pub(crate) fn map_fresh(gpu: &Rc<Gpu>, address: u64, size_bytes: u64) -> Result<Self, DeviceError> {
        map_fresh(address, size_bytes)?;
        Ok(Self::mapped(gpu, address, size_bytes))
    }

    fn mapped(gpu: &Rc<Gpu>, pointer: u64, size_bytes: u64) -> Self {
        Self { gpu: Rc::clone(gpu), pointer, size_bytes, origin: Origin::Mapped, number: next_number() }
    }

    /// The descriptor by which another process maps a shared block.
    pub fn export(&self) -> Result<OwnedFd, DeviceError> {
        let Origin::Shared { memory } = self.origin else {
            return Err(DeviceError::NotShared);
        };
        let mut number: RawFd = -1;
        // SAFETY: the memory lives; the driver writes a descriptor's number to a live variable.
        check("cuMemExportToShareableHandle", unsafe {
            sys::cuMemExportToShareableHandle((&raw mut number).cast(), memory, BY_DESCRIPTOR, 0)
        })?;
        // SAFETY: the driver made the descriptor for the caller, who owns it.
        Ok(unsafe { OwnedFd::from_raw_fd(number) })
    }

    /// A number that no other buffer of this process has.
    pub fn number(&self) -> u64 {
        self.number
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
        let length = usize::try_from(self.size_bytes).unwrap_or(usize::MAX);
        // Errors are not looked at: a dead context frees everything.
        match self.origin {
            Origin::Allocated => {
                // SAFETY: allocated by `allocate`, freed once.
                let _ = unsafe { sys::cuMemFree_v2(self.pointer) };
            }
            Origin::Shared { memory } => {
                // SAFETY: mapped by `allocate_shared`, unmapped once.
                let _ = unsafe { sys::cuMemUnmap(self.pointer, length) };
                // SAFETY: reserved by `allocate_shared`, given back once, after it was unmapped.
                let _ = unsafe { sys::cuMemAddressFree(self.pointer, length) };
                release(memory);
            }
            // SAFETY: mapped by `import` or `map_fresh`, unmapped once.
            Origin::Mapped => drop(unsafe { sys::cuMemUnmap(self.pointer, length) }),
        }
    }
}

fn create(
    size_bytes: u64,
    kind: sys::CUmemAllocationHandleType,
) -> Result<sys::CUmemGenericAllocationHandle, DeviceError> {
    // SAFETY: all zeros is a valid value of this structure of plain numbers and pointers.
    let mut wanted: sys::CUmemAllocationProp = unsafe { std::mem::zeroed() };
    wanted.type_ = sys::CUmemAllocationType::CU_MEM_ALLOCATION_TYPE_PINNED;
    wanted.location =
        sys::CUmemLocation { type_: sys::CUmemLocationType::CU_MEM_LOCATION_TYPE_DEVICE, id: 0 };
    wanted.requestedHandleTypes = kind;
    let (mut memory, length) = (0, usize::try_from(size_bytes).unwrap_or(usize::MAX));
    // SAFETY: the handle is written to a live variable, and the wishes live across the call.
    check("cuMemCreate", unsafe { sys::cuMemCreate(&raw mut memory, length, &raw const wanted, 0) })?;
    Ok(memory)
}

/// Maps memory for reading and writing.
fn map(address: u64, size_bytes: u64, memory: sys::CUmemGenericAllocationHandle) -> Result<(), DeviceError> {
    let length = usize::try_from(size_bytes).unwrap_or(usize::MAX);
    // SAFETY: plain numbers; an address outside of a reservation, or one that is mapped, is refused.
    check("cuMemMap", unsafe { sys::cuMemMap(address, length, 0, memory, 0) })?;
    let access = sys::CUmemAccessDesc {
        location: sys::CUmemLocation { type_: sys::CUmemLocationType::CU_MEM_LOCATION_TYPE_DEVICE, id: 0 },
        flags: sys::CUmemAccess_flags::CU_MEM_ACCESS_FLAGS_PROT_READWRITE,
    };
    // SAFETY: mapped just above; the one description lives across the call.
    let granted =
        check("cuMemSetAccess", unsafe { sys::cuMemSetAccess(address, length, &raw const access, 1) });
    if granted.is_err() {
        // SAFETY: mapped above and of no use; unmapped once.
        let _ = unsafe { sys::cuMemUnmap(address, length) };
    }
    granted
}

/// Maps fresh memory at an address of the reserved range; whoever asked unmaps it.
pub(super) fn map_fresh(address: u64, size_bytes: u64) -> Result<(), DeviceError> {
    let memory = create(size_bytes, sys::CUmemAllocationHandleType::CU_MEM_HANDLE_TYPE_NONE)?;
    let mapped = map(address, size_bytes, memory);
    release(memory);
    mapped
}

/// Gives up a handle; mappings keep the memory.
fn release(memory: sys::CUmemGenericAllocationHandle) {
    // SAFETY: a handle that was made or imported, given up once.
    let _ = unsafe { sys::cuMemRelease(memory) };
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

/// Stretches of the same length, one a pitch: what of a region belongs to a tensor whose rows lie apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rows {
    /// From the first stretch to behind the last.
    pub region: Region,
    /// Bytes from the start of one to the start of the next.
    pub pitch_bytes: u64,
}

/// Copies stretches onto as many others, each of `length` bytes.
pub fn copy_rows(from: Rows, to: Rows, length: u64, count: u64, stream: &Stream) -> Result<(), DeviceError> {
    if length == 0 || count == 0 {
        return Ok(());
    }
    for rows in [from, to] {
        let last = rows.pitch_bytes.saturating_mul(count - 1);
        rows.region.part(last, length)?;
    }
    let wanted = sys::CUDA_MEMCPY2D_v2 {
        srcXInBytes: 0,
        srcY: 0,
        srcMemoryType: sys::CUmemorytype::CU_MEMORYTYPE_DEVICE,
        srcHost: std::ptr::null(),
        srcDevice: from.region.pointer,
        srcArray: std::ptr::null_mut(),
        srcPitch: length_of(from.pitch_bytes),
        dstXInBytes: 0,
        dstY: 0,
        dstMemoryType: sys::CUmemorytype::CU_MEMORYTYPE_DEVICE,
        dstHost: std::ptr::null_mut(),
        dstDevice: to.region.pointer,
        dstArray: std::ptr::null_mut(),
        dstPitch: length_of(to.pitch_bytes),
        WidthInBytes: length_of(length),
        Height: length_of(count),
    };
    // SAFETY: every stretch lies inside its region, which lies inside an allocation; the wishes live across the call.
    check("cuMemcpy2DAsync", unsafe { sys::cuMemcpy2DAsync_v2(&raw const wanted, stream.raw()) })
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
