//! One workload's clocks. The subject is called under three, every call with fresh contents and every
//! output checked:
//!
//! 1. event pairs behind a held stream, with the empty pair's reading;
//! 2. held batches over a run of slots, timed by the player's events and by the judge's own clock;
//! 3. activity spans, one call at a time, until the stopping rule is content.
//!
//! Activity records come last and are off before, because tracing changes what events read.
//!
//! Between calls the judge's own process works on the GPU. That change of context costs a call 0.1 to
//! 0.2 µs, seen on an H200, which a loop in one process does not pay; it meets every subject alike.

use std::time::Instant;

use super::finding::{Launches, WorkloadFinding};
use super::judge::device::JudgeDevice;
use super::judge::session::{PlayerSession, Stop};
use super::judge::trial::Trial;
use super::measurement::{ClockRange, DroppedBlock, L2State, Measurement, Method};
use super::statistics::{StopReason, median};
use super::subject::Options;
use super::timing::{ClockReadings, Span, floor_ns, span};
use proofmark_player::protocol::{CallReport, Clock, L2, NO_CALL, Tracing};

/// Calls before any clock counts: loading code lazily, growing pools, clocks of an idle GPU.
const WARMUP_COUNT: usize = 8;
/// Event pairs, empty and around calls.
const FLOOR_COUNT: usize = 15;
const EVENT_COUNT: usize = 25;
/// Held batches; the better one counts, because a bound must not accuse.
const BATCH_ROUNDS: usize = 2;
/// Launches that fit behind a hold: the driver's queue takes about a thousand.
const QUEUE_DEPTH: usize = 512;
/// A batch of calls that wait for the device cannot be held; a few are enough to bound them.
const WAITING_BATCH: usize = 16;
/// Samples between two looks at the clocks.
const BLOCK_COUNT: usize = 25;
/// Stretch over which cycles are counted, in nanoseconds: long against the timer's grain.
pub(super) const CYCLE_STRETCH_NS: u64 = 200_000;
/// A block whose clock is this far off the others' median is dropped.
const CLOCK_TOLERANCE: f64 = 0.02;
/// A clock that was not read yet.
const MEGAHERTZ_UNKNOWN: f64 = 0.0;

/// One workload's clocks.
pub(super) struct Sampler<'run, 'trial, 'device> {
    pub(super) device: &'run JudgeDevice,
    pub(super) options: &'run Options,
    pub(super) trial: &'trial mut Trial<'device>,
    pub(super) session: &'run mut PlayerSession,
    pub(super) reference: &'run mut PlayerSession,
    pub(super) readings: ClockReadings,
    /// Pieces of work by which a stage puts memory back before a call.
    pub(super) restores: usize,
    /// Kernels that a recorded call launches; absent for live calls.
    pub(super) launches: Option<usize>,
    pub(super) finding: &'run mut WorkloadFinding,
}

/// Samples between two looks at the clocks.
struct SampleBlock {
    samples_ns: Vec<f64>,
    sm_mhz: f64,
    disturbance: Option<String>,
}

impl Sampler<'_, '_, '_> {
    fn has_tracer(&self) -> bool {
        self.session.cupti_problem.is_none()
    }

    fn note_l2(&mut self, report: &CallReport) {
        self.readings.persisting_bytes = self.readings.persisting_bytes.max(report.persisting_bytes);
        self.readings.window_bytes = self.readings.window_bytes.max(report.window_bytes);
        self.readings.waits |= report.waits;
    }

    pub(super) fn warm_up(&mut self) -> Result<(), Stop> {
        let outputs = &self.trial.layout().outputs.places;
        let output_bytes = outputs.iter().map(|place| place.tensor.size_bytes).sum();
        self.readings.floor_ns = floor_ns(output_bytes, self.device.gpu.facts().peak_bandwidth);
        self.finding.comparisons = self.trial.detailed_call(self.session, self.reference)?;
        for _ in 1..WARMUP_COUNT {
            let report = self.trial.call(self.session, self.reference, Clock::Host)?;
            self.note_l2(&report);
        }
        if !self.has_tracer() {
            return Ok(());
        }
        // How many launches a call makes decides how many calls can be held.
        self.session.trace(Tracing::On)?;
        let report = self.trial.call(self.session, self.reference, Clock::Cupti)?;
        self.session.trace(Tracing::Off)?;
        if let Ok(found) = span(&report.activities, self.session.least()) {
            self.readings.launches = Some(found.kernels.len() + found.copies + found.fills);
            self.finding.launches = Some(launches(found));
        }
        Ok(())
    }

    pub(super) fn events(&mut self) -> Result<(), Stop> {
        let mut floors = Vec::new();
        for _ in 0..FLOOR_COUNT {
            floors.extend(self.session.call(NO_CALL, Clock::Events, L2::Cold)?.event_ns);
        }
        self.readings.event_floor_ns = median(&floors);
        let begun = Instant::now();
        let mut samples = Vec::new();
        let stop_reason = loop {
            let report = self.trial.call(self.session, self.reference, Clock::Events)?;
            self.note_l2(&report);
            samples.extend(report.event_ns);
            // Without activity records this is the clock that counts, and it goes on as long as one.
            let verdict = if self.has_tracer() {
                (samples.len() >= EVENT_COUNT).then_some(StopReason::SampleLimit)
            } else {
                self.options.stopping.judge(&samples, begun.elapsed())
            };
            if let Some(reason) = verdict {
                break reason;
            }
        };
        self.readings.event_ns = median(&samples);
        self.finding.measurements.push(Measurement {
            method: Method::EventPair,
            l2_state: L2State::Cold,
            warmup_count: WARMUP_COUNT,
            samples_ns: samples,
            dropped: Vec::new(),
            stop_reason,
            clocks: None,
            floor_ns: self.readings.event_floor_ns,
        });
        Ok(())
    }

    pub(super) fn batches(&mut self) -> Result<(), Stop> {
        let launches = self.finding.launches.as_ref();
        let per_call = launches.map_or(8, |found| found.kernels + found.copies + found.fills).max(1);
        // A stage puts memory back before each call: that is queued too.
        let per_call = per_call + self.restores;
        let limit = if self.readings.waits { WAITING_BATCH } else { QUEUE_DEPTH / per_call };
        let count = limit.clamp(1, self.trial.largest_batch());
        // What the batch costs beside its calls: a stage puts memory back before each.
        let nothing = if self.session.is_stage() { vec![NO_CALL; count] } else { Vec::new() };
        let (mut empty, mut empty_event) = (f64::INFINITY, f64::INFINITY);
        for _ in 0..3 {
            let report = self.session.batch(nothing.clone())?;
            empty = empty.min(report.wall_ns);
            empty_event = empty_event.min(report.event_ns);
        }
        if nothing.is_empty() {
            empty_event = 0.0;
        }
        let (mut walls, mut events, mut hosts) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..BATCH_ROUNDS {
            let report = self.trial.batch(self.session, self.reference, count)?;
            self.readings.waits |= report.waits;
            #[allow(clippy::cast_precision_loss)] // a few hundred
            let calls = count as f64;
            walls.push((report.wall_ns - empty) / calls);
            events.push((report.event_ns - empty_event) / calls);
            hosts.push(report.host_ns / calls);
        }
        if self.session.is_stage() {
            #[allow(clippy::cast_precision_loss)] // a few hundred
            let nothing = if self.restores > 0 { empty / count as f64 } else { 0.0 };
            self.readings.restore_ns = Some(nothing);
        }
        self.readings.wall_ns = walls.iter().copied().reduce(f64::min);
        self.readings.batch_event_ns = median(&events);
        self.finding.wall_bound_ns = self.readings.wall_ns;
        if !self.session.is_stage() {
            self.finding.dispatch_ns = median(&hosts);
        }
        let ring_bytes = self.trial.given().slot_bytes().saturating_mul(count as u64);
        let cold = ring_bytes > 2 * self.device.gpu.facts().l2_bytes;
        self.finding.measurements.push(Measurement {
            method: Method::BatchRing,
            l2_state: if cold { L2State::Cold } else { L2State::Warm },
            warmup_count: 0,
            samples_ns: events,
            dropped: Vec::new(),
            stop_reason: StopReason::SampleLimit,
            clocks: None,
            floor_ns: None,
        });
        Ok(())
    }

    /// Activity spans until the stopping rule is content. Returns the first suspicion.
    pub(super) fn spans(&mut self) -> Result<Option<String>, Stop> {
        if let Some(problem) = &self.session.cupti_problem {
            self.finding.notes.push(format!("no activity spans: {problem}"));
            return Ok(None);
        }
        self.session.trace(Tracing::On)?;
        let begun = Instant::now();
        let (mut blocks, mut flat) = (Vec::new(), Vec::new());
        let mut suspicion = None;
        let stop_reason = 'sampling: loop {
            let mut block =
                SampleBlock { samples_ns: Vec::new(), sm_mhz: MEGAHERTZ_UNKNOWN, disturbance: None };
            let mut stop = None;
            while block.samples_ns.len() < BLOCK_COUNT && stop.is_none() {
                let report = self.trial.call(self.session, self.reference, Clock::Cupti)?;
                self.note_l2(&report);
                match span(&report.activities, self.session.least()) {
                    Ok(found) if self.launches.is_some_and(|count| count != found.kernels.len()) => {
                        let (seen, due) = (found.kernels.len(), self.launches.unwrap_or_default());
                        let text = format!("{seen} kernels were seen where {due} were launched");
                        suspicion = Some(format!("call {}: {text}", self.trial.checked));
                        break 'sampling StopReason::SampleLimit;
                    }
                    Ok(found) => {
                        block.samples_ns.push(found.elapsed_ns);
                        flat.push(found.elapsed_ns);
                        self.finding.launches.get_or_insert_with(|| launches(found));
                    }
                    Err(found) => {
                        suspicion = Some(format!("call {}: {found}", self.trial.checked));
                        break 'sampling StopReason::SampleLimit;
                    }
                }
                stop = self.options.stopping.judge(&flat, begun.elapsed());
            }
            block.sm_mhz = self.session.sm_mhz(CYCLE_STRETCH_NS)?;
            block.disturbance = self.device.disturbance(self.options.neighbours);
            blocks.push(block);
            if let Some(reason) = stop {
                break reason;
            }
        };
        self.session.trace(Tracing::Off)?;
        let measurement = settle(blocks, stop_reason);
        self.readings.span_ns = median(&measurement.samples_ns);
        self.finding.measurements.insert(0, measurement);
        Ok(suspicion)
    }
}

/// Drops disturbed blocks and keeps the rest as one measurement.
fn settle(blocks: Vec<SampleBlock>, stop_reason: StopReason) -> Measurement {
    let speeds: Vec<f64> = blocks.iter().map(|block| block.sm_mhz).collect();
    let usual = median(&speeds).unwrap_or(MEGAHERTZ_UNKNOWN);
    let (mut samples_ns, mut dropped) = (Vec::new(), Vec::new());
    let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
    for block in blocks {
        let off = (block.sm_mhz / usual - 1.0).abs();
        let reason = if off > CLOCK_TOLERANCE {
            Some(format!("SM clock {:.0} MHz against {usual:.0} MHz", block.sm_mhz))
        } else {
            block.disturbance
        };
        low = low.min(block.sm_mhz);
        high = high.max(block.sm_mhz);
        match reason {
            Some(reason) => dropped.push(DroppedBlock { sample_count: block.samples_ns.len(), reason }),
            None => samples_ns.extend(block.samples_ns),
        }
    }
    Measurement {
        method: Method::CuptiSpan,
        l2_state: L2State::Cold,
        warmup_count: WARMUP_COUNT,
        samples_ns,
        dropped,
        stop_reason,
        clocks: (high > 0.0).then_some(ClockRange { sm_low_mhz: low, sm_high_mhz: high }),
        floor_ns: None,
    }
}

fn launches(found: Span) -> Launches {
    Launches { kernels: found.kernels.len(), copies: found.copies, fills: found.fills, names: found.kernels }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(sm_mhz: f64, sample: f64, disturbance: Option<&str>) -> SampleBlock {
        let disturbance = disturbance.map(str::to_owned);
        SampleBlock { samples_ns: vec![sample; 3], sm_mhz, disturbance }
    }

    #[test]
    fn drops_disturbed_blocks_and_counts_them() {
        let blocks = vec![
            block(1980.0, 10.0, None),
            block(1975.0, 11.0, None),
            block(1400.0, 15.0, None),
            block(1980.0, 12.0, Some("another process uses the GPU: 7")),
            block(1981.0, 13.0, None),
        ];
        let settled = settle(blocks, StopReason::SampleLimit);
        assert_eq!(settled.samples_ns.len(), 9);
        assert!(!settled.samples_ns.contains(&15.0) && !settled.samples_ns.contains(&12.0));
        let reasons: Vec<_> = settled.dropped.iter().map(|dropped| dropped.reason.as_str()).collect();
        assert_eq!(reasons, ["SM clock 1400 MHz against 1980 MHz", "another process uses the GPU: 7"]);
        assert!((settled.clocks.unwrap().sm_low_mhz - 1400.0).abs() < 1e-9);
    }
}
