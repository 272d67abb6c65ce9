//! What `doctor` shows of the GPU half of a machine. Never panics, never fails.

use serde::Serialize;

use proofmark_player::device::context::{Gpu, GpuFacts};
use proofmark_player::device::{Readiness, cupti, probe};

use super::sensors::{Conditions, Sensors};

/// The GPU half of a machine.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Description {
    /// Whether kernels can run here, and if not, why.
    pub readiness: Readiness,
    /// The GPU that would be used.
    pub gpu: Option<GpuFacts>,
    /// Its state now.
    pub conditions: Option<Conditions>,
    /// Where CUPTI was found; without it, kernel times come from events.
    pub cupti: Option<String>,
    /// Why CUPTI could not be loaded.
    pub cupti_problem: Option<String>,
}

impl Description {
    /// One line a fact, for people.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("driver: {}", self.readiness)];
        if let Some(gpu) = &self.gpu {
            lines.push(format!(
                "GPU: {} (sm_{}), {} multiprocessors, L2 {:.0} MB, memory {:.0} GB, {}",
                gpu.name,
                gpu.number(),
                gpu.multiprocessors,
                whole_units(gpu.l2_bytes, 1_000_000),
                whole_units(gpu.memory_bytes, 1_000_000_000),
                gpu.uuid
            ));
        }
        if let Some(now) = &self.conditions {
            lines.push(conditions_line(now));
        }
        if self.readiness.is_ready() {
            lines.push(match (&self.cupti, &self.cupti_problem) {
                (Some(path), _) => format!("CUPTI: {path}"),
                (None, problem) => format!(
                    "CUPTI: none ({}); kernel times fall back to events",
                    problem.as_deref().unwrap_or("not looked for")
                ),
            });
        }
        lines
    }
}

fn conditions_line(now: &Conditions) -> String {
    let show = |value: Option<u32>, unit: &str| {
        value.map_or_else(|| "unknown".to_owned(), |value| format!("{value} {unit}"))
    };
    format!(
        "now: SM clock {}, memory clock {}, {}, power {}, throttle: {}, compute processes {}, MIG {}",
        show(now.sm_clock_mhz, "MHz"),
        show(now.memory_clock_mhz, "MHz"),
        show(now.temperature_c, "°C"),
        show(now.power_mw.map(|power| power / 1000), "W"),
        if now.throttle_reasons.is_empty() { "none".to_owned() } else { now.throttle_reasons.join(", ") },
        now.compute_processes.as_ref().map_or_else(|| "unknown".to_owned(), |ids| ids.len().to_string()),
        now.mig.map_or("unknown", |on| if on { "on" } else { "off" }),
    )
}

#[allow(clippy::cast_precision_loss)] // for display
fn whole_units(bytes: u64, unit: u64) -> f64 {
    bytes as f64 / unit as f64
}

/// Looks at the machine.
pub fn describe() -> Description {
    let readiness = probe();
    if !readiness.is_ready() {
        return Description { readiness, gpu: None, conditions: None, cupti: None, cupti_problem: None };
    }
    let gpu = Gpu::open().ok().map(|gpu| gpu.facts().clone());
    let conditions =
        gpu.as_ref().and_then(|facts| Sensors::open(&facts.uuid)).map(|sensors| sensors.conditions());
    let (cupti, cupti_problem) = match cupti::load(&cupti::candidates(None)) {
        Ok(path) => (Some(path.display().to_string()), None),
        Err(error) => (None, Some(error.to_string())),
    };
    Description { readiness, gpu, conditions, cupti, cupti_problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_at_least_how_the_driver_is() {
        let lines = describe().lines();
        assert!(lines[0].starts_with("driver: "), "{lines:?}");
    }
}
