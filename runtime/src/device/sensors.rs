//! What the GPU's management library says: clocks, throttle reasons, power, temperature, other processes.
//!
//! Every answer is optional, because virtual machines and containers refuse some of them.

use nvml_wrapper::bitmasks::device::ThrottleReasons;
use nvml_wrapper::enum_wrappers::device::{Clock, TemperatureSensor};
use nvml_wrapper::{Device, Nvml};
use serde::Serialize;

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
    /// Ids of processes with a compute context here, as far as they can be seen, ours included.
    pub compute_processes: Option<Vec<u32>>,
    /// Whether the GPU is split into instances.
    pub mig: Option<bool>,
    /// Driver version, such as `580.159.04`.
    pub driver: Option<String>,
}

/// Words for NVML's throttle bits. Idle and the user's own clock setting disturb nothing.
const REASONS: [(ThrottleReasons, &str); 9] = [
    (ThrottleReasons::GPU_IDLE, "idle"),
    (ThrottleReasons::APPLICATIONS_CLOCKS_SETTING, "application clocks setting"),
    (ThrottleReasons::SW_POWER_CAP, "software power cap"),
    (ThrottleReasons::HW_SLOWDOWN, "hardware slowdown"),
    (ThrottleReasons::SYNC_BOOST, "sync boost"),
    (ThrottleReasons::SW_THERMAL_SLOWDOWN, "software thermal slowdown"),
    (ThrottleReasons::HW_THERMAL_SLOWDOWN, "hardware thermal slowdown"),
    (ThrottleReasons::HW_POWER_BRAKE_SLOWDOWN, "hardware power brake"),
    (ThrottleReasons::DISPLAY_CLOCK_SETTING, "display clock setting"),
];

/// What slows a GPU down: power, heat, or the hardware's own brake.
const BRAKES: ThrottleReasons = ThrottleReasons::SW_POWER_CAP
    .union(ThrottleReasons::HW_SLOWDOWN)
    .union(ThrottleReasons::SW_THERMAL_SLOWDOWN)
    .union(ThrottleReasons::HW_THERMAL_SLOWDOWN)
    .union(ThrottleReasons::HW_POWER_BRAKE_SLOWDOWN);

/// The management library, as drivers bring it.
const LIBRARY: &str = "libnvidia-ml.so.1";

/// The management library and the one GPU that is read.
#[derive(Debug)]
pub struct Sensors {
    library: Nvml,
    uuid: String,
}

impl Sensors {
    /// Opens the library and finds a GPU by its UUID. `None` where either is missing.
    pub fn open(uuid: &str) -> Option<Self> {
        let library = Nvml::builder().lib_path(LIBRARY.as_ref()).init().ok()?;
        library.device_by_uuid(uuid).ok()?;
        Some(Self { library, uuid: uuid.to_owned() })
    }

    /// Reads the GPU's state now.
    pub fn conditions(&self) -> Conditions {
        let driver = self.library.sys_driver_version().ok();
        let device = self.library.device_by_uuid(self.uuid.as_str());
        device.map_or_else(|_| Conditions::default(), |device| Conditions { driver, ..read(&device) })
    }

    /// What slows the GPU down now, in words: power, heat, or the hardware's own brake. Takes far less time than
    /// reading everything.
    pub fn brakes(&self) -> Vec<String> {
        let device = self.library.device_by_uuid(self.uuid.as_str());
        let reasons = device.and_then(|device| device.current_throttle_reasons());
        brakes(reasons.unwrap_or(ThrottleReasons::NONE))
    }

    /// Ids of processes with a compute context here now, as far as they can be seen, ours included.
    pub fn compute_processes(&self) -> Vec<u32> {
        let device = self.library.device_by_uuid(self.uuid.as_str());
        let processes = device.and_then(|device| device.running_compute_processes());
        processes.unwrap_or_default().iter().map(|process| process.pid).collect()
    }
}

/// The UUIDs of all GPUs of this machine, in the order of their numbers; none where there is no driver.
pub fn uuids() -> Vec<String> {
    let Ok(library) = Nvml::builder().lib_path(LIBRARY.as_ref()).init() else {
        return Vec::new();
    };
    let uuid = |index| library.device_by_index(index).ok()?.uuid().ok();
    (0..library.device_count().unwrap_or_default()).filter_map(uuid).collect()
}

/// All reasons where one of them is a brake; the others alone disturb nothing.
fn brakes(reasons: ThrottleReasons) -> Vec<String> {
    if reasons.intersects(BRAKES) { words(reasons) } else { Vec::new() }
}

fn read(device: &Device<'_>) -> Conditions {
    let throttle = device.current_throttle_reasons().ok();
    let processes = device.running_compute_processes().ok();
    Conditions {
        sm_clock_mhz: device.clock_info(Clock::SM).ok(),
        sm_clock_max_mhz: device.max_clock_info(Clock::SM).ok(),
        memory_clock_mhz: device.clock_info(Clock::Memory).ok(),
        throttle_bits: throttle.map(|reasons| reasons.bits()),
        throttle_reasons: words(throttle.unwrap_or(ThrottleReasons::NONE)),
        power_mw: device.power_usage().ok(),
        power_limit_mw: device.power_management_limit().ok(),
        temperature_c: device.temperature(TemperatureSensor::Gpu).ok(),
        compute_processes: processes.map(|all| all.iter().map(|process| process.pid).collect()),
        mig: device.mig_mode().ok().map(|mode| mode.current != 0),
        driver: None,
    }
}

fn words(reasons: ThrottleReasons) -> Vec<String> {
    REASONS.iter().filter(|(bit, _)| reasons.intersects(*bit)).map(|(_, word)| (*word).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_braking_from_idling() {
        let of = |bits| brakes(ThrottleReasons::from_bits_truncate(bits));
        assert!(of(0x1).is_empty() && of(0x2).is_empty() && of(0).is_empty());
        assert!(
            of(0x4) == ["software power cap"] && of(0x41).contains(&"hardware thermal slowdown".to_owned())
        );
        assert_eq!(words(ThrottleReasons::from_bits_truncate(0x5)), ["idle", "software power cap"]);
    }
}
