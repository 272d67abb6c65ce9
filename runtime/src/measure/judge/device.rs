//! The judge's own GPU side: one context, the blocks, the instruments, the sensors.
//!
//! Three pairs of blocks of device memory, each one for inputs and one for outputs. The subject's player maps
//! the `shared` pair, the reference's player the `reference` pair. The `secret` pair holds contents that are
//! not due yet and the expected outputs; no other process maps it.

use std::cell::Cell;
use std::rc::Rc;

use crate::device::sensors::{Conditions, Sensors};
use crate::measure::environment::{Environment, Reading};
use crate::measure::seed::Seed;
use crate::measure::subject::{BenchError, Neighbours, Options, TensorHome};
use proofmark_player::device::context::Gpu;
use proofmark_player::device::cupti;
use proofmark_player::device::error::DeviceError;
use proofmark_player::device::instruments::Instruments;
use proofmark_player::device::memory::{DeviceBuffer, copy};
use proofmark_player::device::stream::{Stream, TimingEvent};
use proofmark_player::protocol::Home;

use proofmark_packager::Arch;
use proofmark_packager::interop::flashinfer::{Definition, Workload};

use super::layout::CallLayout;

/// Most contents that are made at once: as many as one workload's calls take, as a rule.
const LARGEST_CONTENT_COUNT: u64 = 192;
/// Most slots that a player maps: a held batch has a call of each.
const LARGEST_SLOT_COUNT: u64 = 24;
/// Fewest of both: one called, one to be confused with.
const LEAST_COUNT: u64 = 2;
/// A pair of blocks takes at most this many bytes…
const BLOCKS_LIMIT_BYTES: u64 = 8 << 30;
/// …and at most this share of what is free: there are three pairs, and the submission wants some too.
const BLOCKS_FREE_SHARE: u64 = 6;
/// The copy that bandwidth is measured with: many times L2, and at least 0.2 ms long.
const COPY_BYTES: u64 = 512 << 20;
const COPY_REPEATS: usize = 8;

/// The judge's GPU side.
#[derive(Debug)]
pub struct JudgeDevice {
    /// Contents that are not due yet, and expected outputs.
    pub secret: [DeviceBuffer; 2],
    /// What the subject's player maps.
    pub shared: Rc<[DeviceBuffer; 2]>,
    /// What the reference's player maps.
    pub reference: [DeviceBuffer; 2],
    /// The judge's kernels.
    pub instruments: Instruments,
    /// The judge's stream.
    pub stream: Stream,
    /// The GPU.
    pub gpu: Rc<Gpu>,
    nvml: Option<Sensors>,
    /// Where tensors live, once a player has tried.
    pub home: Cell<Option<Home>>,
    /// CUPTI's candidates for players.
    pub cupti: Vec<String>,
    pair_bytes: u64,
}

impl JudgeDevice {
    /// Opens the GPU, refuses code that it cannot run, and allocates blocks that hold the slots of the
    /// largest workload.
    pub fn open(
        definition: &Definition,
        workloads: &[Workload],
        arch: Arch,
        options: &Options,
    ) -> Result<Self, BenchError> {
        let layout = |workload| CallLayout::of(definition, workload);
        let layouts = workloads.iter().map(layout).collect::<Result<Vec<_>, BenchError>>()?;
        let gpu = Gpu::open()?;
        gpu.require(arch)?;
        let stream = Stream::new(&gpu)?;
        let instruments = Instruments::load(&gpu, &nonce())?;
        let (free, _) = gpu.free_memory()?;
        let limit = BLOCKS_LIMIT_BYTES.min(free / BLOCKS_FREE_SHARE);
        let sizes = |layouts: &[CallLayout], count: fn(&CallLayout, u64) -> u64| {
            [0, 1].map(|block| {
                let bytes = |layout: &CallLayout| {
                    let slot = if block == 0 { layout.inputs.slot_bytes } else { layout.outputs.slot_bytes };
                    slot.saturating_mul(count(layout, limit))
                };
                layouts.iter().map(bytes).max().unwrap_or(0)
            })
        };
        let given: Vec<_> = layouts.iter().map(|layout| layout.spread(options.strides)).collect();
        let (contents, slots) = (sizes(&layouts, content_count), sizes(&given, slot_count));
        let contiguous = sizes(&layouts, slot_count);
        let shared = |sizes: [u64; 2]| -> Result<[DeviceBuffer; 2], DeviceError> {
            Ok([
                DeviceBuffer::allocate_shared(&gpu, sizes[0])?,
                DeviceBuffer::allocate_shared(&gpu, sizes[1])?,
            ])
        };
        let secret = [DeviceBuffer::allocate(&gpu, contents[0])?, DeviceBuffer::allocate(&gpu, contents[1])?];
        let (subject, reference) = (shared(slots)?, shared(contiguous)?);
        let nvml = Sensors::open(&gpu.facts().uuid);
        let candidates = cupti::candidates(options.cupti.as_deref());
        Ok(Self {
            secret,
            shared: Rc::new(subject),
            reference,
            instruments,
            stream,
            nvml,
            home: Cell::new((options.sharing == TensorHome::Copies).then_some(Home::Copies)),
            cupti: candidates.iter().map(|path| path.display().to_string()).collect(),
            pair_bytes: limit,
            gpu,
        })
    }

    /// How many slots of a workload a player maps.
    pub fn slots(&self, layout: &CallLayout) -> usize {
        usize::try_from(slot_count(layout, self.pair_bytes)).expect("a few at most")
    }

    /// How many contents of a workload are made at once.
    pub fn contents(&self, layout: &CallLayout) -> usize {
        usize::try_from(content_count(layout, self.pair_bytes)).expect("at most a few hundred")
    }

    /// What the GPU is.
    pub fn environment(&self, cupti: Option<String>) -> Environment {
        environment(&self.gpu, self.conditions(), cupti)
    }

    /// The GPU's state now.
    pub fn conditions(&self) -> Conditions {
        self.nvml.as_ref().map(Sensors::conditions).unwrap_or_default()
    }

    /// What disturbs a measurement now, in words: what slows the GPU down, and where it is to be had alone, whoever
    /// else uses it.
    pub fn disturbance(&self, neighbours: Neighbours) -> Option<String> {
        let sensors = self.nvml.as_ref()?;
        let others = match neighbours {
            Neighbours::Tolerated => Vec::new(),
            Neighbours::Disturb => others(sensors.compute_processes()),
        };
        in_words(&sensors.brakes(), &others)
    }

    /// The GPU's state now, as records have it.
    pub fn reading(&self) -> Reading {
        let now = self.conditions();
        Reading {
            sm_mhz: now.sm_clock_mhz,
            memory_mhz: now.memory_clock_mhz,
            temperature_celsius: now.temperature_c,
            power_watts: now.power_mw.map(|milliwatts| f64::from(milliwatts) / 1000.0),
            throttle_reasons: now.throttle_reasons.into_iter().filter(|reason| reason != "idle").collect(),
            other_processes: others(now.compute_processes.unwrap_or_default()),
        }
    }

    /// Bytes a second that a device copy moves, reads and writes counted: the median of a few.
    pub fn copy_bandwidth(&self) -> Result<f64, BenchError> {
        let from = DeviceBuffer::allocate(&self.gpu, COPY_BYTES)?;
        let to = DeviceBuffer::allocate(&self.gpu, COPY_BYTES)?;
        let (start, end) = (TimingEvent::new(&self.gpu)?, TimingEvent::new(&self.gpu)?);
        let mut rates = Vec::new();
        for _ in 0..COPY_REPEATS {
            start.record(&self.stream)?;
            copy(from.whole(), to.whole(), &self.stream)?;
            end.record(&self.stream)?;
            self.stream.synchronize()?;
            #[allow(clippy::cast_precision_loss)] // far below 2^53
            rates.push(2.0 * COPY_BYTES as f64 / (start.elapsed_ns(&end)? * 1e-9));
        }
        Ok(crate::measure::statistics::median(&rates).unwrap_or(f64::NAN))
    }
}

fn content_count(layout: &CallLayout, limit: u64) -> u64 {
    (limit / layout.slot_bytes().max(1)).clamp(LEAST_COUNT, LARGEST_CONTENT_COUNT)
}

fn slot_count(layout: &CallLayout, limit: u64) -> u64 {
    content_count(layout, limit).min(LARGEST_SLOT_COUNT)
}

/// Letters and digits that cannot be guessed.
pub fn nonce() -> String {
    format!("{:016x}", Seed::secret().0)
}

/// The processes that are neither this one nor its children. Where this one is not among them, ids
/// come from another namespace and say nothing.
fn others(all: Vec<u32>) -> Vec<u32> {
    let own = std::process::id();
    if !all.contains(&own) {
        return Vec::new();
    }
    let is_child = |id: &u32| {
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        status
            .lines()
            .any(|line| line.strip_prefix("PPid:").is_some_and(|text| text.trim() == own.to_string()))
    };
    all.into_iter().filter(|id| *id != own && !is_child(id)).collect()
}

fn in_words(brakes: &[String], others: &[u32]) -> Option<String> {
    let ids: Vec<String> = others.iter().map(ToString::to_string).collect();
    match (brakes, ids.as_slice()) {
        ([], []) => None,
        ([], ids) => Some(format!("another process uses the GPU: {}", ids.join(", "))),
        (brakes, _) => Some(format!("throttled: {}", brakes.join(", "))),
    }
}

fn environment(gpu: &Gpu, now: Conditions, cupti: Option<String>) -> Environment {
    let facts = gpu.facts();
    Environment {
        device: facts.name.clone(),
        uuid: Some(facts.uuid.clone()),
        compute_capability: Some(format!("sm_{}", facts.number())),
        multiprocessor_count: Some(facts.multiprocessors),
        l2_bytes: Some(facts.l2_bytes),
        driver: now.driver,
        cupti,
        mig: now.mig,
        proofmark: env!("CARGO_PKG_VERSION").to_owned(),
        python: None,
        reference_python: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_disturbs_is_named_and_nothing_else_is() {
        assert_eq!(in_words(&[], &[]), None);
        assert_eq!(in_words(&[], &[7, 9]).unwrap(), "another process uses the GPU: 7, 9");
        assert_eq!(
            in_words(&["software power cap".to_owned()], &[7]).unwrap(),
            "throttled: software power cap"
        );
    }

    #[test]
    fn a_process_is_a_neighbour_unless_it_is_this_one_or_its_child() {
        let own = std::process::id();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        assert_eq!(others(vec![1, own, child.id()]), [1]);
        // Ids of another namespace say nothing.
        assert!(others(vec![1, child.id()]).is_empty());
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
