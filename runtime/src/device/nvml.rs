//! What the GPU's management library says: clocks, throttle reasons, power, heat, neighbours.
//!
//! Opened at run time with the few functions that are needed; every answer is optional, because
//! virtual machines and containers refuse some of them.

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};

use libloading::Library;
use serde::Serialize;

type Device = *mut c_void;
type Code = c_int;

/// `NVML_CLOCK_SM` and `NVML_CLOCK_MEM`.
const CLOCK_SM: c_uint = 1;
const CLOCK_MEMORY: c_uint = 2;
/// `NVML_TEMPERATURE_GPU`.
const TEMPERATURE_GPU: c_uint = 0;
/// At most this many compute processes are counted.
const PROCESS_LIMIT: usize = 128;
/// Sizes of NVML's text buffers.
const VERSION_BYTES: usize = 96;

/// The GPU's state at one moment. A field is `None` where the library gave no answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Conditions {
    /// Clock of the multiprocessors in MHz.
    pub sm_clock_mhz: Option<u32>,
    /// Highest clock of the multiprocessors in MHz.
    pub sm_clock_max_mhz: Option<u32>,
    /// Clock of the memory in MHz.
    pub memory_clock_mhz: Option<u32>,
    /// Why clocks are lower than they could be, NVML's bits.
    pub throttle_bits: Option<u64>,
    /// The same in words.
    pub throttle_reasons: Vec<String>,
    /// Power draw in milliwatts.
    pub power_mw: Option<u32>,
    /// Power limit in milliwatts.
    pub power_limit_mw: Option<u32>,
    /// Temperature in degrees Celsius.
    pub temperature_c: Option<u32>,
    /// Processes with a compute context here, as far as they can be seen, ours included.
    pub compute_processes: Option<u32>,
    /// Whether the GPU is split into instances.
    pub mig: Option<bool>,
    /// Driver version, such as `580.159.04`.
    pub driver: Option<String>,
}

/// Words for NVML's throttle bits. Idle and the user's own clock setting disturb nothing.
const REASONS: [(u64, &str); 9] = [
    (0x1, "idle"),
    (0x2, "application clocks setting"),
    (0x4, "software power cap"),
    (0x8, "hardware slowdown"),
    (0x10, "sync boost"),
    (0x20, "software thermal slowdown"),
    (0x40, "hardware thermal slowdown"),
    (0x80, "hardware power brake"),
    (0x100, "display clock setting"),
];

impl Conditions {
    /// Whether something slows the GPU down: power, heat, or the hardware's own brake.
    pub fn is_throttled(&self) -> bool {
        self.throttle_bits.is_some_and(|bits| bits & (0x4 | 0x8 | 0x20 | 0x40 | 0x80) != 0)
    }
}

/// The management library with one GPU chosen.
#[derive(Debug)]
pub struct Nvml {
    library: Library,
    device: Device,
}

// SAFETY: NVML is thread-safe by its documentation; the device handle is a plain number to it.
unsafe impl Send for Nvml {}

impl Nvml {
    /// Opens the library and finds a GPU by its UUID. `None` where either is missing.
    pub fn open(uuid: &str) -> Option<Self> {
        // SAFETY: opening the driver's management library runs its initialisers, as intended.
        let library = unsafe { Library::new("libnvidia-ml.so.1") }.ok()?;
        let wanted = CString::new(uuid).ok()?;
        let mut device: Device = std::ptr::null_mut();
        // SAFETY: the signatures are those of nvml.h; all pointers live across the calls.
        let found = unsafe {
            let init = library.get::<unsafe extern "C" fn() -> Code>(b"nvmlInit_v2").ok()?;
            let by_uuid = library
                .get::<unsafe extern "C" fn(*const c_char, *mut Device) -> Code>(b"nvmlDeviceGetHandleByUUID")
                .ok()?;
            init() == 0 && by_uuid(wanted.as_ptr(), &raw mut device) == 0
        };
        found.then_some(Self { library, device })
    }

    /// Reads the GPU's state now.
    pub fn conditions(&self) -> Conditions {
        let bits = self
            .long(b"nvmlDeviceGetCurrentClocksEventReasons")
            .or_else(|| self.long(b"nvmlDeviceGetCurrentClocksThrottleReasons"));
        Conditions {
            sm_clock_mhz: self.indexed(b"nvmlDeviceGetClockInfo", CLOCK_SM),
            sm_clock_max_mhz: self.indexed(b"nvmlDeviceGetMaxClockInfo", CLOCK_SM),
            memory_clock_mhz: self.indexed(b"nvmlDeviceGetClockInfo", CLOCK_MEMORY),
            throttle_bits: bits,
            throttle_reasons: words(bits.unwrap_or(0)),
            power_mw: self.number(b"nvmlDeviceGetPowerUsage"),
            power_limit_mw: self.number(b"nvmlDeviceGetPowerManagementLimit"),
            temperature_c: self.indexed(b"nvmlDeviceGetTemperature", TEMPERATURE_GPU),
            compute_processes: self.processes(),
            mig: self.mig(),
            driver: self.driver(),
        }
    }

    fn number(&self, name: &[u8]) -> Option<u32> {
        let mut value = 0;
        // SAFETY: each caller names a function of this shape; the answer goes to a live variable.
        let code = unsafe {
            self.library.get::<unsafe extern "C" fn(Device, *mut c_uint) -> Code>(name).ok()?(
                self.device,
                &raw mut value,
            )
        };
        (code == 0).then_some(value)
    }

    fn indexed(&self, name: &[u8], index: c_uint) -> Option<u32> {
        let mut value = 0;
        // SAFETY: as in `number`.
        let code = unsafe {
            self.library.get::<unsafe extern "C" fn(Device, c_uint, *mut c_uint) -> Code>(name).ok()?(
                self.device,
                index,
                &raw mut value,
            )
        };
        (code == 0).then_some(value)
    }

    fn long(&self, name: &[u8]) -> Option<u64> {
        let mut value = 0;
        // SAFETY: as in `number`.
        let code = unsafe {
            self.library.get::<unsafe extern "C" fn(Device, *mut u64) -> Code>(name).ok()?(
                self.device,
                &raw mut value,
            )
        };
        (code == 0).then_some(value)
    }

    fn mig(&self) -> Option<bool> {
        let (mut current, mut pending) = (0, 0);
        // SAFETY: as in `number`.
        let code = unsafe {
            self.library
                .get::<unsafe extern "C" fn(Device, *mut c_uint, *mut c_uint) -> Code>(
                    b"nvmlDeviceGetMigMode",
                )
                .ok()?(self.device, &raw mut current, &raw mut pending)
        };
        (code == 0).then_some(current != 0)
    }

    fn processes(&self) -> Option<u32> {
        // A process record has at most four 8-byte words in every version of the interface.
        let mut records = [[0_u64; 4]; PROCESS_LIMIT];
        let mut count = c_uint::try_from(PROCESS_LIMIT).unwrap_or(c_uint::MAX);
        // SAFETY: the buffer holds `count` records of the largest size.
        let code = unsafe {
            self.library
                .get::<unsafe extern "C" fn(Device, *mut c_uint, *mut c_void) -> Code>(
                    b"nvmlDeviceGetComputeRunningProcesses_v3",
                )
                .ok()?(self.device, &raw mut count, records.as_mut_ptr().cast())
        };
        (code == 0).then_some(count)
    }

    fn driver(&self) -> Option<String> {
        let mut text = [0 as c_char; VERSION_BYTES];
        // SAFETY: the buffer's length is passed along; one byte is kept back for a terminator.
        let code = unsafe {
            self.library
                .get::<unsafe extern "C" fn(*mut c_char, c_uint) -> Code>(b"nvmlSystemGetDriverVersion")
                .ok()?(text.as_mut_ptr(), c_uint::try_from(VERSION_BYTES - 1).unwrap_or(0))
        };
        // SAFETY: the array's last byte is still zero.
        (code == 0).then(|| unsafe { CStr::from_ptr(text.as_ptr()) }.to_string_lossy().into_owned())
    }
}

fn words(bits: u64) -> Vec<String> {
    REASONS.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, word)| (*word).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_braking_from_idling() {
        let with = |bits| Conditions { throttle_bits: Some(bits), ..Conditions::default() };
        assert!(!with(0x1).is_throttled() && !with(0x2).is_throttled() && !with(0).is_throttled());
        assert!(with(0x4).is_throttled() && with(0x41).is_throttled());
        assert_eq!(words(0x5), ["idle", "software power cap"]);
    }
}
