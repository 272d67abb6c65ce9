//! What `seal` and `replay` measure, where there is a GPU that can run the build.

use std::path::Path;

use proofmark_packager::Artifact;
use serde::Serialize;

use super::bench::{Measured, measure_played};
use super::console::Console;
use super::failure::Failure;
use super::measuring::{Measuring, Played};
use super::task::Brought;
use crate::measure::WorkloadFinding;
use crate::measure::statistics::overall;
use crate::pipeline::ProvenBuild;
use crate::record::WorkloadRecord;
use proofmark_player::device::{Gpu, Readiness, probe};

/// How far a replayed mean may lie from the sealed one and still hold, as a share: what an
/// unchanged artifact moves between two devices of one model in the field's own reports (5 to 9 %).
const HOLDS_WITHIN: f64 = 0.05;

/// Whether a build was measured.
pub(super) enum Speed {
    /// On the GPU that is here.
    Measured(Box<Measured>),
    /// Not, and why.
    Skipped(String),
}

impl Speed {
    /// Whether nothing speaks against the build: every workload passed, or nothing was measured.
    pub(super) fn passed(&self) -> bool {
        match self {
            Self::Measured(measured) => mean_us(measured).is_some(),
            Self::Skipped(_) => true,
        }
    }
}

/// Measures a proven build, or says why this machine cannot.
pub(super) fn measure_if_possible(
    measuring: &Measuring,
    place: &Path,
    artifact: &Artifact,
    build: &ProvenBuild,
    console: &Console,
) -> Result<Speed, Failure> {
    if let Some(reason) = hindrance(measuring, place, artifact, build) {
        return Ok(Speed::Skipped(reason));
    }
    let task = measuring.task(place, &Brought::of(artifact), console)?;
    let played = Played::of(artifact, build);
    let measured = measure_played(measuring, place, &played, task, None, console)?;
    Ok(Speed::Measured(Box::new(measured)))
}

fn hindrance(
    measuring: &Measuring,
    place: &Path,
    artifact: &Artifact,
    build: &ProvenBuild,
) -> Option<String> {
    let readiness = probe();
    if !matches!(readiness, Readiness::Ready { .. }) {
        return Some(readiness.to_string());
    }
    let refusal = Gpu::open().and_then(|gpu| gpu.require(build.proof.arch())).err();
    if let Some(refusal) = refusal {
        return Some(refusal.to_string());
    }
    if !artifact.manifest().build.destination_passing_style {
        return Some("it returns its outputs: outputs must be the judge's buffers".to_owned());
    }
    let brings_its_task = artifact.definition().is_some() && artifact.workloads().is_some();
    if !brings_its_task && !measuring.task.is_named() {
        return Some("no definition.json and workloads.jsonl in it, and no --dataset named".to_owned());
    }
    let definition = &artifact.manifest().solution.definition;
    measuring
        .reference_of(place, definition)
        .is_none()
        .then(|| format!("no reference is known for {definition}: name it with --reference"))
}

/// The arithmetic mean over all workloads; `None` unless every one passed.
pub(super) fn mean_us(measured: &Measured) -> Option<f64> {
    measured.report().overall.map(|means| means.arithmetic_mean_ns / 1e3)
}

/// What became of a sealed speed.
#[derive(Debug, Serialize)]
pub(super) struct SpeedComparison {
    /// Workloads that passed both times.
    workloads: usize,
    /// The sealed arithmetic mean over them, in microseconds.
    sealed_mean_us: f64,
    /// Today's.
    mean_us: f64,
    /// Today's over the sealed one.
    ratio: f64,
    /// Whether the ratio is within `margin` of 1.
    holds: bool,
    /// The margin, as a share.
    margin: f64,
    /// The device of the sealed measurement.
    sealed_device: String,
    /// Today's.
    device: String,
}

/// Compares sealed measurements with new ones over the workloads that passed both times.
pub(super) fn compare(sealed: &[WorkloadRecord], measured: &Measured) -> Option<SpeedComparison> {
    let (mut before, mut now, mut sealed_device) = (Vec::new(), Vec::new(), String::new());
    for record in sealed {
        let same = |finding: &&WorkloadFinding| finding.workload.uuid() == record.finding.workload.uuid();
        let today = measured.findings.iter().find(same).and_then(WorkloadFinding::latency_ns);
        if let (Some(sealed), Some(today)) = (record.finding.latency_ns(), today) {
            before.push(sealed);
            now.push(today);
        }
        sealed_device.clone_from(&record.context.environment.device);
    }
    let means = overall(&before, before.len()).ok().zip(overall(&now, now.len()).ok());
    means.map(|(sealed, today)| {
        let ratio = today.arithmetic_mean_ns / sealed.arithmetic_mean_ns;
        SpeedComparison {
            workloads: before.len(),
            sealed_mean_us: sealed.arithmetic_mean_ns / 1e3,
            mean_us: today.arithmetic_mean_ns / 1e3,
            ratio,
            holds: (ratio - 1.0).abs() <= HOLDS_WITHIN,
            margin: HOLDS_WITHIN,
            sealed_device,
            device: measured.device().to_owned(),
        }
    })
}

impl SpeedComparison {
    /// Whether the sealed speed still holds.
    pub(super) fn holds(&self) -> bool {
        self.holds
    }

    /// One line for people.
    pub(super) fn describe(&self) -> String {
        let Self { workloads, sealed_mean_us, mean_us, ratio, holds, .. } = self;
        let verdict = if *holds { "holds" } else { "does not hold" };
        let change = 100.0 * (ratio - 1.0);
        let mut text = format!(
            "speed        {verdict}: {mean_us:.3} µs over {workloads} workloads, sealed {sealed_mean_us:.3} µs ({change:+.1} %)"
        );
        if self.sealed_device != self.device {
            text.push_str(&format!(
                "\n  other device: sealed on {}, now {}",
                self.sealed_device, self.device
            ));
        }
        text
    }
}
