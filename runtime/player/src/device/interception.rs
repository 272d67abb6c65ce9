//! Serves a submission's device memory from addresses that another process can map again.
//!
//! The driver's allocating functions are replaced by functions of this file ([`super::redirection`]), in this
//! process only, before foreign code is loaded. That reaches every way by which code finds the driver:
//! the runtime inside a library, an import, a look-up by name. What comes from here is physical memory mapped
//! into [`super::arena`], in the order in which it was asked for, so that the same calls give the same addresses.
//!
//! It is no boundary: code that looks for the driver's own allocations finds ways round it. What such code
//! gains is a recording that does not play.

use std::ffi::{c_uint, c_void};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cudarc::driver::sys::{self, CUresult};

use super::arena::FOREIGN;
use super::error::DeviceError;
use super::foreign_graph;
use super::memory::{BLOCK_BYTES, map_fresh};
use super::redirection::replace;

/// Most blocks that one submission gets.
const BLOCK_LIMIT: usize = 10_000;
/// What the driver's pitch is a multiple of.
const PITCH_BYTES: usize = 512;

/// A block that was served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ServedBlock {
    /// Its address.
    pub(crate) address: u64,
    /// Its size in bytes: what is mapped.
    pub(crate) size_bytes: u64,
    /// Whether it is in use.
    pub(crate) live: bool,
}

#[derive(Debug)]
struct Served {
    next: u64,
    blocks: Vec<ServedBlock>,
}

static SERVED: Mutex<Served> = Mutex::new(Served { next: FOREIGN.start, blocks: Vec::new() });

/// Whether a stream is being captured.
static CAPTURING: AtomicBool = AtomicBool::new(false);

/// Says that a capture begins or has ended.
pub(crate) fn set_capturing(capturing: bool) {
    CAPTURING.store(capturing, Ordering::Relaxed);
}

fn served() -> MutexGuard<'static, Served> {
    SERVED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Every block that was ever served, by address.
pub(crate) fn blocks() -> Vec<ServedBlock> {
    served().blocks.clone()
}

impl Served {
    /// A block that was given back and has the size, else a fresh one.
    fn take(&mut self, wanted: usize) -> Result<u64, CUresult> {
        let wanted = u64::try_from(wanted).map_err(|_| CUresult::CUDA_ERROR_OUT_OF_MEMORY)?;
        if wanted == 0 {
            return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
        }
        let size_bytes =
            wanted.checked_next_multiple_of(BLOCK_BYTES).ok_or(CUresult::CUDA_ERROR_OUT_OF_MEMORY)?;
        if let Some(block) = self.blocks.iter_mut().find(|one| !one.live && one.size_bytes == size_bytes) {
            block.live = true;
            return Ok(block.address);
        }
        let address = self.next;
        // A gap between two blocks: a kernel that runs over an end is seen.
        let next = address.checked_add(size_bytes).and_then(|end| end.checked_add(BLOCK_BYTES));
        let next = next.filter(|next| *next <= FOREIGN.end && self.blocks.len() < BLOCK_LIMIT);
        let next = next.ok_or(CUresult::CUDA_ERROR_OUT_OF_MEMORY)?;
        map_fresh(address, size_bytes).map_err(|_| CUresult::CUDA_ERROR_OUT_OF_MEMORY)?;
        self.next = next;
        self.blocks.push(ServedBlock { address, size_bytes, live: true });
        Ok(address)
    }

    fn give_back(&mut self, address: u64) -> CUresult {
        match self.blocks.iter_mut().find(|one| one.address == address && one.live) {
            Some(block) => {
                block.live = false;
                CUresult::CUDA_SUCCESS
            }
            // What the driver itself gave, before this was in place; it ends with the process.
            None if !FOREIGN.contains(&address) => CUresult::CUDA_SUCCESS,
            None => CUresult::CUDA_ERROR_INVALID_VALUE,
        }
    }
}

fn serve(pointer: *mut u64, wanted: usize) -> CUresult {
    if pointer.is_null() {
        return CUresult::CUDA_ERROR_INVALID_VALUE;
    }
    match served().take(wanted) {
        Ok(address) => {
            // SAFETY: the caller's variable, as the driver's interface has it; not null.
            unsafe { pointer.write(address) };
            CUresult::CUDA_SUCCESS
        }
        Err(code) => code,
    }
}

unsafe extern "C" fn alloc(pointer: *mut u64, wanted: usize) -> CUresult {
    serve(pointer, wanted)
}

unsafe extern "C" fn alloc_pitch(
    pointer: *mut u64,
    pitch: *mut usize,
    width: usize,
    height: usize,
    _element: c_uint,
) -> CUresult {
    let row = width.checked_next_multiple_of(PITCH_BYTES);
    let Some((row, wanted)) = row.and_then(|row| Some((row, row.checked_mul(height)?))) else {
        return CUresult::CUDA_ERROR_OUT_OF_MEMORY;
    };
    if pitch.is_null() {
        return CUresult::CUDA_ERROR_INVALID_VALUE;
    }
    let code = serve(pointer, wanted);
    if code == CUresult::CUDA_SUCCESS {
        // SAFETY: the caller's variable; not null.
        unsafe { pitch.write(row) };
    }
    code
}

unsafe extern "C" fn alloc_async(pointer: *mut u64, wanted: usize, _stream: *mut c_void) -> CUresult {
    serve(pointer, wanted)
}

unsafe extern "C" fn alloc_from_pool(
    pointer: *mut u64,
    wanted: usize,
    _pool: *mut c_void,
    _stream: *mut c_void,
) -> CUresult {
    serve(pointer, wanted)
}

unsafe extern "C" fn free(pointer: u64) -> CUresult {
    if pointer == 0 {
        return CUresult::CUDA_SUCCESS;
    }
    // The driver's own function waits for the device; under capture waiting would end the capture.
    if !CAPTURING.load(Ordering::Relaxed) {
        // SAFETY: no arguments.
        let _ = unsafe { sys::cuCtxSynchronize() };
    }
    served().give_back(pointer)
}

unsafe extern "C" fn free_async(pointer: u64, _stream: *mut c_void) -> CUresult {
    if pointer == 0 { CUresult::CUDA_SUCCESS } else { served().give_back(pointer) }
}

/// Replaces the driver's allocating functions, for the life of the process. The driver is started.
pub(crate) fn install() -> Result<(), DeviceError> {
    let replaced: [(&'static str, *const ()); 9] = [
        ("cuMemAlloc_v2", alloc as *const ()),
        ("cuMemAllocPitch_v2", alloc_pitch as *const ()),
        ("cuMemFree_v2", free as *const ()),
        ("cuMemAllocAsync", alloc_async as *const ()),
        ("cuMemAllocAsync_ptsz", alloc_async as *const ()),
        ("cuMemAllocFromPoolAsync", alloc_from_pool as *const ()),
        ("cuMemAllocFromPoolAsync_ptsz", alloc_from_pool as *const ()),
        ("cuMemFreeAsync", free_async as *const ()),
        ("cuMemFreeAsync_ptsz", free_async as *const ()),
    ];
    for (function, replacement) in replaced {
        replace(function, replacement)?;
    }
    foreign_graph::install()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_that_was_given_back_is_served_again_and_no_other() {
        let block = |address, live| ServedBlock { address, size_bytes: BLOCK_BYTES, live };
        let mut served = Served {
            next: FOREIGN.end,
            blocks: vec![block(FOREIGN.start, true), block(FOREIGN.start + (8 << 20), true)],
        };
        assert_eq!(served.take(1), Err(CUresult::CUDA_ERROR_OUT_OF_MEMORY));
        assert_eq!(served.give_back(FOREIGN.start + (8 << 20)), CUresult::CUDA_SUCCESS);
        assert_eq!(served.give_back(FOREIGN.start + (8 << 20)), CUresult::CUDA_ERROR_INVALID_VALUE);
        assert_eq!(served.take(100), Ok(FOREIGN.start + (8 << 20)));
        assert_eq!(served.take(0), Err(CUresult::CUDA_ERROR_INVALID_VALUE));
        assert_eq!(served.give_back(0x7f00_0000_0000), CUresult::CUDA_SUCCESS);
    }
}
