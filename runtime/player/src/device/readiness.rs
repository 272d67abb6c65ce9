//! Tells whether a usable CUDA driver is there, before anything else touches it.
//!
//! The CUDA bindings panic when the library or one of its symbols is missing, so this probe opens
//! the driver by itself, asks the few questions that every driver answers, and turns each way of
//! not being ready into one sentence.

use std::ffi::c_int;
use std::fmt;

use libloading::Library;
use serde::Serialize;

use super::loader::{loader_words, open_driver};

/// The oldest driver interface that loads what CUDA 13.0 builds, as `cuDriverGetVersion` counts.
pub const MINIMUM_DRIVER_VERSION: i32 = 13_000;

/// `CUDA_ERROR_STUB_LIBRARY`: the toolkit's link-time stub was found instead of a driver.
const STUB_LIBRARY: i32 = 34;
/// `CUDA_ERROR_NO_DEVICE`.
const NO_DEVICE: i32 = 100;

/// What the probe found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Readiness {
    /// No NVIDIA driver library could be opened.
    NoLibrary {
        /// What the loader said.
        detail: String,
    },
    /// The library lacks a function that every driver has.
    NoSymbol {
        /// The missing function.
        symbol: String,
    },
    /// The toolkit's stub was found first.
    Stub,
    /// The driver refused to start.
    InitFailed {
        /// The driver's error number.
        code: i32,
    },
    /// The driver is older than what our builds need.
    TooOld {
        /// The driver's interface version, such as 12040.
        found: i32,
    },
    /// The driver works and no GPU is visible.
    NoDevice,
    /// A driver and at least one GPU.
    Ready {
        /// The driver's interface version, such as 13000.
        driver_version: i32,
        /// How many GPUs are visible.
        devices: i32,
    },
}

impl Readiness {
    /// Whether kernels can run here.
    pub fn is_ready(&self) -> bool {
        matches!(self, Self::Ready { .. })
    }

    /// The way out, where there is one.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoLibrary { .. } | Self::NoDevice => Some(
                "run this on a machine with an NVIDIA GPU and driver 580 or later; everything up to the proof works without one",
            ),
            Self::NoSymbol { .. } | Self::Stub => {
                Some("remove stub or foreign libcuda folders from LD_LIBRARY_PATH")
            }
            Self::InitFailed { .. } => Some("run nvidia-smi: the driver's own tool says more"),
            Self::TooOld { .. } => Some("install NVIDIA driver 580 or later"),
            Self::Ready { .. } => None,
        }
    }
}

impl fmt::Display for Readiness {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLibrary { detail } => write!(formatter, "no NVIDIA driver: {detail}"),
            Self::NoSymbol { symbol } => {
                write!(formatter, "the libcuda that was found is no NVIDIA driver: it lacks {symbol}")
            }
            Self::Stub => write!(formatter, "the toolkit's stub of libcuda was found before the driver"),
            Self::InitFailed { code } => {
                write!(formatter, "the NVIDIA driver does not start (cuInit returned {code})")
            }
            Self::TooOld { found } => write!(
                formatter,
                "the NVIDIA driver is too old: it speaks CUDA {}, expected {} or later",
                version_text(*found),
                version_text(MINIMUM_DRIVER_VERSION)
            ),
            Self::NoDevice => write!(formatter, "no GPU is visible to the NVIDIA driver"),
            Self::Ready { driver_version, devices } => write!(
                formatter,
                "driver for CUDA {}, {devices} GPU{}",
                version_text(*driver_version),
                if *devices == 1 { "" } else { "s" }
            ),
        }
    }
}

/// Writes 13000 as `13.0`.
pub fn version_text(version: i32) -> String {
    format!("{}.{}", version / 1000, version % 1000 / 10)
}

type Init = unsafe extern "C" fn(u32) -> c_int;
type Count = unsafe extern "C" fn(*mut c_int) -> c_int;

/// Asks the driver whether kernels can run here. Never panics, whatever is installed.
pub fn probe() -> Readiness {
    match open_driver() {
        Ok(library) => interrogate(&library),
        Err(error) => Readiness::NoLibrary { detail: loader_words(&error) },
    }
}

/// Opens the driver's library for the life of the process and starts nothing: what the loader finds now
/// is still found when files are bounded. A missing driver is for [`probe`] to tell.
pub(crate) fn keep_driver_open() {
    if let Ok(library) = open_driver() {
        std::mem::forget(library);
    }
}

fn interrogate(library: &Library) -> Readiness {
    try_interrogate(library).unwrap_or_else(|refusal| refusal)
}

fn try_interrogate(library: &Library) -> Result<Readiness, Readiness> {
    // SAFETY: the signatures are those of cuda.h; `cuInit(0)` may be called at any time.
    let init = unsafe { symbol::<Init>(library, "cuInit") }?;
    // SAFETY: as above.
    let version = unsafe { symbol::<Count>(library, "cuDriverGetVersion") }?;
    // SAFETY: as above.
    let count = unsafe { symbol::<Count>(library, "cuDeviceGetCount") }?;
    // SAFETY: `init` is cuInit.
    match unsafe { init(0) } {
        0 => {}
        NO_DEVICE => return Ok(Readiness::NoDevice),
        STUB_LIBRARY => return Ok(Readiness::Stub),
        code => return Ok(Readiness::InitFailed { code }),
    }
    // SAFETY: both write one int.
    let driver_version = unsafe { ask(*version) }?;
    if driver_version < MINIMUM_DRIVER_VERSION {
        return Ok(Readiness::TooOld { found: driver_version });
    }
    // SAFETY: as above.
    let devices = unsafe { ask(*count) }?;
    Ok(if devices > 0 { Readiness::Ready { driver_version, devices } } else { Readiness::NoDevice })
}

/// Looks one function up.
///
/// # Safety
/// `T` must be the function's true type.
unsafe fn symbol<'library, T>(
    library: &'library Library,
    name: &str,
) -> Result<libloading::Symbol<'library, T>, Readiness> {
    // SAFETY: the caller answers for the type.
    unsafe { library.get::<T>(name.as_bytes()) }.map_err(|_| Readiness::NoSymbol { symbol: name.to_owned() })
}

/// Calls a function that writes one number.
///
/// # Safety
/// `function` must be a driver function of this shape.
unsafe fn ask(function: Count) -> Result<c_int, Readiness> {
    let mut answer = 0;
    // SAFETY: `answer` lives across the call.
    match unsafe { function(&raw mut answer) } {
        0 => Ok(answer),
        NO_DEVICE => Err(Readiness::NoDevice),
        code => Err(Readiness::InitFailed { code }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_with_a_value_wherever_it_runs() {
        let found = probe();
        assert_eq!(found.is_ready(), found.hint().is_none());
        assert!(!found.to_string().is_empty());
    }

    #[test]
    fn writes_driver_versions_as_people_do() {
        assert_eq!(version_text(13_000), "13.0");
        assert_eq!(version_text(12_080), "12.8");
        let sentence = Readiness::TooOld { found: 12_080 }.to_string();
        assert!(sentence.contains("12.8") && sentence.contains("13.0"), "{sentence}");
    }
}
