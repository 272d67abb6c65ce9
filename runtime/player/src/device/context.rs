//! One GPU, its primary context and what it is.
//!
//! The primary context is the one that the CUDA runtime inside a submission uses, so harness and
//! submission share streams, memory and L2 settings, as they do under any other harness.

use std::ffi::{CStr, c_char, c_int};
use std::rc::Rc;

use cudarc::driver::sys::{self, CUdevice_attribute as Attribute, CUlimit};
use proofmark_packager::{Arch, Feature};
use serde::Serialize;

use super::error::{DeviceError, check};
use super::readiness::{Readiness, probe};

/// What a GPU is: facts that do not change while it runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GpuFacts {
    /// The marketing name, such as `NVIDIA H200`.
    pub name: String,
    /// The UUID as nvidia-smi prints it.
    pub uuid: String,
    /// Compute capability, major and minor.
    pub capability: (u32, u32),
    /// How many multiprocessors there are.
    pub multiprocessors: u32,
    /// Most shared memory that one block can have, in bytes.
    pub shared_bytes: u32,
    /// L2 cache in bytes.
    pub l2_bytes: u64,
    /// The largest part of L2 that may be set aside for persisting accesses, in bytes.
    pub persisting_l2_bytes: u64,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Memory clock times bus width, both ways: what the data sheet calls bandwidth, in bytes a second.
    pub peak_bandwidth: f64,
    /// The driver's CUDA interface, such as 13000.
    pub driver_interface: i32,
}

impl GpuFacts {
    /// The GPU's own architecture, as the number in `sm_90`.
    pub fn number(&self) -> u32 {
        self.capability.0 * 10 + self.capability.1
    }

    /// Whether machine code for an architecture runs here: the same number for `a`; the same major
    /// and no later minor otherwise (families never span majors).
    pub fn runs(&self, arch: Arch) -> bool {
        let (major, minor) = (arch.number / 10, arch.number % 10);
        match arch.feature {
            Feature::Specific => arch.number == self.number(),
            Feature::Plain | Feature::Family => major == self.capability.0 && minor <= self.capability.1,
        }
    }
}

/// A GPU that this process uses.
#[derive(Debug)]
pub struct Gpu {
    device: sys::CUdevice,
    context: sys::CUcontext,
    facts: GpuFacts,
}

impl Gpu {
    /// Opens the first visible GPU and makes its primary context current on this thread.
    pub fn open() -> Result<Rc<Self>, DeviceError> {
        let readiness = probe();
        let Readiness::Ready { driver_version, .. } = readiness else {
            return Err(DeviceError::NotReady { readiness });
        };
        let (mut device, mut context) = (0, std::ptr::null_mut());
        // SAFETY: the probe found a driver and a device; the answers are written to live variables.
        check("cuInit", unsafe { sys::cuInit(0) })?;
        // SAFETY: as above.
        check("cuDeviceGet", unsafe { sys::cuDeviceGet(&raw mut device, 0) })?;
        let facts = facts_of(device, driver_version)?;
        // SAFETY: `device` is valid; the context is released when this value is dropped.
        check("cuDevicePrimaryCtxRetain", unsafe {
            sys::cuDevicePrimaryCtxRetain(&raw mut context, device)
        })?;
        let gpu = Rc::new(Self { device, context, facts });
        gpu.make_current()?;
        Ok(gpu)
    }

    /// Makes the context current on the calling thread.
    pub fn make_current(&self) -> Result<(), DeviceError> {
        // SAFETY: the context is retained while `self` lives.
        check("cuCtxSetCurrent", unsafe { sys::cuCtxSetCurrent(self.context) })
    }

    /// What this GPU is.
    pub fn facts(&self) -> &GpuFacts {
        &self.facts
    }

    /// Refuses a library whose proven architecture this GPU cannot run.
    pub fn require(&self, arch: Arch) -> Result<(), DeviceError> {
        if self.facts.runs(arch) {
            return Ok(());
        }
        Err(DeviceError::WrongArchitecture {
            built: arch,
            device: self.facts.name.clone(),
            found: format!("sm_{}", self.facts.number()),
        })
    }

    /// Waits for all work of this process.
    pub fn synchronize(&self) -> Result<(), DeviceError> {
        // SAFETY: no arguments.
        check("cuCtxSynchronize", unsafe { sys::cuCtxSynchronize() })
    }

    /// Free and total device memory in bytes.
    pub fn free_memory(&self) -> Result<(u64, u64), DeviceError> {
        let (mut free, mut total) = (0, 0);
        // SAFETY: both answers are written to live variables.
        check("cuMemGetInfo", unsafe { sys::cuMemGetInfo_v2(&raw mut free, &raw mut total) })?;
        Ok((free as u64, total as u64))
    }

    /// The bytes of L2 that this context has set aside for persisting accesses.
    pub fn persisting_limit(&self) -> Result<u64, DeviceError> {
        let mut value = 0;
        // SAFETY: the answer is written to a live variable.
        check("cuCtxGetLimit", unsafe {
            sys::cuCtxGetLimit(&raw mut value, CUlimit::CU_LIMIT_PERSISTING_L2_CACHE_SIZE)
        })?;
        Ok(value as u64)
    }

    /// Takes back every persisting line and the room set aside for them. The reset alone is not
    /// enough for an access window: its lines persist again while the limit stands. The limit alone is
    /// not enough either: lines read or written with an `evict_last` hint, which needs no call at all,
    /// stay through a flush by plain writes (0.5 to 4 MiB are then read in 18 to 35 % less time on an H200,
    /// with the limit at 0).
    pub fn forget_persisting_l2(&self) -> Result<(), DeviceError> {
        if self.facts.persisting_l2_bytes == 0 {
            return Ok(());
        }
        // SAFETY: plain numbers.
        check("cuCtxSetLimit", unsafe { sys::cuCtxSetLimit(CUlimit::CU_LIMIT_PERSISTING_L2_CACHE_SIZE, 0) })?;
        // SAFETY: no arguments.
        check("cuCtxResetPersistingL2Cache", unsafe { sys::cuCtxResetPersistingL2Cache() })
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        // SAFETY: retained once in `open`.
        let _ = unsafe { sys::cuDevicePrimaryCtxRelease_v2(self.device) };
    }
}

fn facts_of(device: sys::CUdevice, driver_interface: i32) -> Result<GpuFacts, DeviceError> {
    let ask = |attribute: Attribute| -> Result<u64, DeviceError> {
        let mut value: c_int = 0;
        // SAFETY: the answer is written to a live variable; `device` is valid.
        check("cuDeviceGetAttribute", unsafe {
            sys::cuDeviceGetAttribute(&raw mut value, attribute, device)
        })?;
        Ok(u64::try_from(value).unwrap_or(0))
    };
    let number = |attribute| ask(attribute).map(|value| u32::try_from(value).unwrap_or(u32::MAX));
    let mut memory_bytes = 0;
    // SAFETY: as above.
    check("cuDeviceTotalMem", unsafe { sys::cuDeviceTotalMem_v2(&raw mut memory_bytes, device) })?;
    let clock_khz = ask(Attribute::CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE)?;
    let bus_bits = ask(Attribute::CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH)?;
    #[allow(clippy::cast_precision_loss)] // both far below 2^52
    let peak_bandwidth = clock_khz as f64 * 1e3 * bus_bits as f64 / 8.0 * 2.0;
    Ok(GpuFacts {
        name: name_of(device)?,
        uuid: uuid_of(device)?,
        capability: (
            number(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            number(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        ),
        multiprocessors: number(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
        shared_bytes: number(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?,
        l2_bytes: ask(Attribute::CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE)?,
        persisting_l2_bytes: ask(Attribute::CU_DEVICE_ATTRIBUTE_MAX_PERSISTING_L2_CACHE_SIZE)?,
        memory_bytes: memory_bytes as u64,
        peak_bandwidth,
        driver_interface,
    })
}

fn name_of(device: sys::CUdevice) -> Result<String, DeviceError> {
    let mut name = [0 as c_char; 256];
    // SAFETY: the driver writes at most 256 bytes, terminated.
    check("cuDeviceGetName", unsafe { sys::cuDeviceGetName(name.as_mut_ptr(), 256, device) })?;
    name[255] = 0;
    // SAFETY: terminated above at the latest.
    Ok(unsafe { CStr::from_ptr(name.as_ptr()) }.to_string_lossy().into_owned())
}

fn uuid_of(device: sys::CUdevice) -> Result<String, DeviceError> {
    let mut uuid = sys::CUuuid { bytes: [0; 16] };
    // SAFETY: the answer is written to a live variable.
    check("cuDeviceGetUuid", unsafe { sys::cuDeviceGetUuid_v2(&raw mut uuid, device) })?;
    let hex: Vec<String> = uuid.bytes.iter().map(|byte| format!("{:02x}", byte.to_ne_bytes()[0])).collect();
    Ok(format!(
        "GPU-{}-{}-{}-{}-{}",
        hex[0..4].concat(),
        hex[4..6].concat(),
        hex[6..8].concat(),
        hex[8..10].concat(),
        hex[10..16].concat()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hopper() -> GpuFacts {
        GpuFacts {
            name: "NVIDIA H200".to_owned(),
            uuid: String::new(),
            capability: (9, 0),
            multiprocessors: 132,
            shared_bytes: 232_448,
            l2_bytes: 62_914_560,
            persisting_l2_bytes: 39_321_600,
            memory_bytes: 0,
            peak_bandwidth: 0.0,
            driver_interface: 13_000,
        }
    }

    #[test]
    fn runs_only_what_the_silicon_can_run() {
        let runs = |text: &str| hopper().runs(text.parse().unwrap());
        assert!(runs("sm_90") && runs("sm_90a"));
        assert!(!runs("sm_100a") && !runs("sm_100") && !runs("sm_80") && !runs("sm_89"));
        let blackwell_ultra = GpuFacts { capability: (10, 3), ..hopper() };
        let runs = |text: &str| blackwell_ultra.runs(text.parse().unwrap());
        assert!(runs("sm_100") && runs("sm_100f") && runs("sm_103a") && !runs("sm_100a"));
    }
}
