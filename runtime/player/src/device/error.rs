//! What a failing driver call says.

use std::ffi::CStr;

use cudarc::driver::sys::{self, CUresult};
use proofmark_packager::Arch;

use super::readiness::Readiness;

/// Why the device could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// No driver, no GPU, or a driver that does not fit.
    #[error("{readiness}")]
    NotReady {
        /// What the probe found.
        readiness: Readiness,
    },
    /// The code in the library cannot run on this GPU.
    #[error("this library holds {built} code and the GPU is {device} ({found}), which cannot run it")]
    WrongArchitecture {
        /// The architecture that the library was proven for.
        built: Arch,
        /// The GPU's name.
        device: String,
        /// The GPU's architecture.
        found: String,
    },
    /// A driver call failed.
    #[error("{call} failed: {name} ({code})")]
    Driver {
        /// The driver function.
        call: &'static str,
        /// The driver's name for the error.
        name: String,
        /// The driver's number for the error.
        code: u32,
    },
    /// A region reaches outside its buffer.
    #[error("bytes {offset}..{end} reach outside a buffer of {size} bytes")]
    OutsideBuffer {
        /// Where the region starts.
        offset: u64,
        /// Where it ends.
        end: u64,
        /// The buffer's size.
        size: u64,
    },
    /// A buffer that no other process can map.
    #[error("this device memory cannot be exported")]
    NotShared,
    /// The range of addresses that all processes share came out elsewhere.
    #[error("the driver reserved addresses at {found:#x} where {wanted:#x} was asked for")]
    Address {
        /// What was asked for.
        wanted: u64,
        /// What the driver gave.
        found: u64,
    },
    /// A function of the driver could not be replaced.
    #[error("cannot serve {function} in place of the driver: {detail}")]
    Interception {
        /// The function.
        function: &'static str,
        /// What is in the way.
        detail: String,
    },
    /// A library could not be loaded or lacks a symbol.
    #[error("cannot load {library}: {detail}")]
    Library {
        /// What was to be loaded.
        library: String,
        /// What the loader said.
        detail: String,
    },
}

/// Turns a driver's return value into a result that names the call.
pub(crate) fn check(call: &'static str, code: CUresult) -> Result<(), DeviceError> {
    if code == CUresult::CUDA_SUCCESS {
        return Ok(());
    }
    Err(DeviceError::Driver { call, name: name_of(code), code: code as u32 })
}

fn name_of(code: CUresult) -> String {
    let mut text = std::ptr::null();
    // SAFETY: the driver writes a pointer to a static string, or leaves it null for an unknown code.
    let known = unsafe { sys::cuGetErrorName(code, &raw mut text) } == CUresult::CUDA_SUCCESS;
    if !known || text.is_null() {
        return "unknown error".to_owned();
    }
    // SAFETY: a non-null answer is a static, terminated string.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}
