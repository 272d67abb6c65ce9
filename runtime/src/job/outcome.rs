//! What came out of a job.

use proofmark_packager::interop::flashinfer::Definition;
use proofmark_packager::{Arch, Bundle, Digest};
use serde::Serialize;

use super::subject::BuiltSubject;
use crate::capture::CapturedEntry;
use crate::evidence::{BuildComparison, RecordingComparison, SealedRecordings, SpeedComparison};
use crate::measure::environment::RunFacts;
use crate::measure::{Compared, Recordings, Seed, WorkloadFinding};
use crate::rebuild::{Finding, ProvenBuild};
use crate::record::BenchReport;
use crate::record::{Context, Record, WorkloadRecord};

/// Name of the document that answers a job.
pub const SCHEMA: &str = "proofmark.outcome";
/// Its version. Changes whenever an older reader would misunderstand.
pub const VERSION: u32 = 1;

/// What came out of a job. A finding is an answer: only what could not be judged is an error.
#[derive(Debug)]
#[must_use]
pub enum Outcome {
    /// A build that is no proven one: of the subject, or of the candidate or incumbent by name.
    Finding {
        /// The solution's name.
        name: String,
        /// Why it is not proven.
        finding: Finding,
    },
    /// Built and proven.
    Built(Box<ProvenBuild>),
    /// A Python entry's libraries, each proven or not.
    Entry(Box<CapturedEntry>),
    /// Built, proven, and measured where possible.
    Sealed {
        /// The build.
        build: Box<ProvenBuild>,
        /// Its measurement.
        measurement: MeasurementOutcome,
        /// The artifact with what was found out about it.
        sealed: Box<Bundle>,
    },
    /// Built again and compared with the evidence.
    Replayed {
        /// The new build.
        build: Box<ProvenBuild>,
        /// The digest of the sealed library.
        sealed_library: Digest,
        /// How the builds compare.
        comparison: Box<BuildComparison>,
        /// What became of a sealed speed; `None` where none was sealed or none was asked for.
        speed: Option<ReplayedSpeed>,
        /// How what it launches compares with what was sealed; `None` where nothing was recorded both times.
        recordings: Option<RecordingComparison>,
    },
    /// Launched as it was sealed, without building anything of it.
    Relaunched {
        /// The solution's name.
        name: String,
        /// What its machine code is proven for.
        arch: Arch,
        /// Digests of the machine code, each proven.
        images: Vec<Digest>,
        /// What became of the sealed speed.
        speed: ReplayedSpeed,
    },
    /// Measured.
    Measured {
        /// What was measured.
        subject: Box<BuiltSubject>,
        /// What it showed.
        measured: Box<Measured>,
    },
    /// Compared.
    Compared {
        /// The incumbent, A.
        incumbent: Box<BuiltSubject>,
        /// The candidate, B.
        candidate: Box<BuiltSubject>,
        /// The decision.
        compared: Compared,
        /// The record of it, where there was a decision.
        record: Option<Box<Record>>,
    },
}

/// Whether a build was measured.
#[derive(Debug)]
pub enum MeasurementOutcome {
    /// On the GPU that is here.
    Taken(Box<Measured>),
    /// Not, and why.
    Skipped(String),
}

/// What a run showed.
#[derive(Debug)]
pub struct Measured {
    /// What every line has in common.
    pub context: Context,
    /// The machine, and what should be known before the first number.
    pub facts: RunFacts,
    /// What was launched.
    pub recordings: Recordings,
    /// One record a workload, in the order of the job.
    pub records: Vec<WorkloadRecord>,
    /// How many workloads were asked for.
    pub expected: usize,
    /// The seed of the workloads that this run measured itself.
    pub seed: Seed,
    /// What was to be computed.
    pub definition: Definition,
}

impl Measured {
    /// The run's numbers.
    pub fn report(&self) -> BenchReport {
        // Where the definition's own function judges, no tolerance does.
        let judging = self.records.first().filter(|_| self.definition.own_check().is_none());
        let tolerance = judging.map(|record| record.tolerance);
        let findings = self.records.iter().map(|record| &record.finding);
        BenchReport::new(&self.context, tolerance, findings, self.expected)
    }

    /// The arithmetic mean over all workloads in microseconds; `None` unless every one passed.
    pub fn mean_us(&self) -> Option<f64> {
        self.report().overall.map(|means| means.arithmetic_mean_ns / 1e3)
    }

    /// The device that ran it.
    pub fn device(&self) -> &str {
        &self.facts.environment.device
    }
}

impl Outcome {
    /// Every record that the job made.
    pub fn records(&self) -> Vec<Record> {
        let workloads = |records: &[WorkloadRecord]| {
            records.iter().cloned().map(|record| Record::Workload(Box::new(record))).collect()
        };
        match self {
            Self::Sealed { measurement, .. } => workloads(measurement.records()),
            Self::Measured { measured, .. } => workloads(&measured.records),
            Self::Compared { record, .. } => record.iter().map(|record| (**record).clone()).collect(),
            Self::Finding { .. }
            | Self::Built(_)
            | Self::Entry(_)
            | Self::Replayed { .. }
            | Self::Relaunched { .. } => Vec::new(),
        }
    }
}

impl MeasurementOutcome {
    /// One record a workload; none where nothing was measured.
    pub fn records(&self) -> &[WorkloadRecord] {
        match self {
            Self::Taken(measured) => &measured.records,
            Self::Skipped(_) => &[],
        }
    }

    /// What was launched, as a seal keeps it.
    pub fn recordings(&self) -> SealedRecordings {
        match self {
            Self::Taken(measured) => SealedRecordings::of(measured.recordings.recorded()),
            Self::Skipped(_) => SealedRecordings::default(),
        }
    }

    /// Whether anything that was launched was recorded.
    pub fn is_recorded(&self) -> bool {
        match self {
            Self::Taken(measured) => measured.recordings.recorded().next().is_some(),
            Self::Skipped(_) => false,
        }
    }

    /// Whether nothing speaks against the build: every workload passed, or nothing was measured.
    pub fn passed(&self) -> bool {
        match self {
            Self::Taken(measured) => measured.mean_us().is_some(),
            Self::Skipped(_) => true,
        }
    }
}

/// What became of a sealed speed.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum ReplayedSpeed {
    /// Not measured again, and why.
    Skipped {
        /// Why.
        skipped: String,
    },
    /// No workload passed both times.
    NothingInCommon {
        /// Always false.
        holds: bool,
        /// Why.
        reason: String,
    },
    /// Compared over the workloads that passed both times.
    Compared(SpeedComparison),
}

/// Why no workload passed both times: the first thing that was found now.
fn nothing_in_common(now: &[WorkloadRecord]) -> String {
    let found = now.iter().find_map(|record| {
        let WorkloadFinding { workload, verdict, refusal, .. } = &record.finding;
        let verdict = verdict.as_ref().filter(|verdict| !verdict.is_passed()).map(ToString::to_string);
        Some(format!("now, workload {}: {}", workload.uuid(), verdict.or_else(|| refusal.clone())?))
    });
    let found = found.unwrap_or_else(|| "the sealed records hold no time that passed".to_owned());
    format!("no workload passed both times; {found}")
}

impl ReplayedSpeed {
    /// Compares sealed measurements with new ones.
    pub fn of(sealed: &[WorkloadRecord], measurement: &MeasurementOutcome) -> Self {
        match measurement {
            MeasurementOutcome::Skipped(skipped) => Self::Skipped { skipped: skipped.clone() },
            MeasurementOutcome::Taken(measured) => match SpeedComparison::of(sealed, &measured.records) {
                Some(comparison) => Self::Compared(comparison),
                None => Self::NothingInCommon { holds: false, reason: nothing_in_common(&measured.records) },
            },
        }
    }

    /// Whether nothing speaks against the sealed speed.
    pub fn holds(&self) -> bool {
        match self {
            Self::Skipped { .. } => true,
            Self::NothingInCommon { .. } => false,
            Self::Compared(comparison) => comparison.holds,
        }
    }
}
