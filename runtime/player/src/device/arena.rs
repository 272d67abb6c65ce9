//! One range of device addresses that is the same in every process.
//!
//! A recorded launch holds addresses. The driver gives a process other addresses each time, and a small
//! reservation asked for at a fixed place comes out elsewhere. One large range, asked for where no other
//! allocation of the driver lies, comes out exact in every process that was tried on an H200 with driver
//! 580 (1 TiB at this address, before or after a context exists). What must lie at the same address in two
//! processes is mapped into it.

use std::ops::Range;
use std::rc::Rc;

use cudarc::driver::sys;

use super::context::Gpu;
use super::error::{DeviceError, check};

/// Where the range begins.
const BASE: u64 = 0x2000_0000_0000;
/// How long it is.
const BYTES: u64 = 1 << 40;
/// Where the judge's two blocks are mapped: the inputs, the outputs.
pub const BLOCKS: [u64; 2] = [BASE, BASE + (BYTES >> 3)];
/// Where the memory of a submission lies.
pub const FOREIGN: Range<u64> = BASE + (BYTES >> 2)..BASE + BYTES;

/// The reserved range.
#[derive(Debug)]
pub struct Arena(Rc<Gpu>);

impl Arena {
    /// Reserves the range; once in a process.
    pub fn reserve(gpu: &Rc<Gpu>) -> Result<Self, DeviceError> {
        let (mut address, length) = (0, usize::try_from(BYTES).unwrap_or(usize::MAX));
        // SAFETY: the address is written to a live variable.
        check("cuMemAddressReserve", unsafe {
            sys::cuMemAddressReserve(&raw mut address, length, 0, BASE, 0)
        })?;
        if address == BASE {
            return Ok(Self(Rc::clone(gpu)));
        }
        // SAFETY: reserved just above, and nothing is mapped there.
        let _ = unsafe { sys::cuMemAddressFree(address, length) };
        Err(DeviceError::Address { wanted: BASE, found: address })
    }

    /// The GPU.
    pub fn gpu(&self) -> &Rc<Gpu> {
        &self.0
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: reserved once in `reserve`. Where something is still mapped the driver refuses, and the
        // range ends with the process.
        let _ = unsafe { sys::cuMemAddressFree(BASE, usize::try_from(BYTES).unwrap_or(usize::MAX)) };
    }
}
