//! The whole line, Job → Outcome.
//!
//! ```text
//! submission folder → Submission → Artifact → BuildPlan → BuildOutput → Proof → CacheEntry
//!                   → Recordings → Measurement → Verdict → Record
//! ```
//!
//! Each arrow is one function in one room: the first half is [`crate::rebuild`], the second
//! [`crate::measure`] and [`crate::record`]. A replay enters at the artifact and walks the same line.
//! Nothing here prints: who calls gets an [`Event`] for what takes time, and an [`Outcome`] at the end.

mod challenging;
mod entry;
mod error;
mod event;
mod measuring;
mod resources;

use std::path::Path;
use std::time::Duration;

use proofmark_packager::interop::flashinfer::Definition;
use proofmark_packager::{Artifact, Bundle};
use proofmark_player::device::{DeviceError, probe};

pub use challenging::{AuditAnswer, AuditedEntry, CacheAudit, audit_cache};
pub use error::PipelineError;
use error::Stop;
pub use event::{Event, Listener};
use resources::Resources;
pub use resources::{Download, Settings};

use crate::build::Unbuildable;
use crate::capture::{self, CapturedEntry};
use crate::evidence::{self, ReplayError, Sealed, SealedRecordingError, sealed};
use crate::job::{
    Action, BuiltSubject, Input, Job, Measure, MeasurementOutcome, Measuring, Outcome, Reference,
    ReplaySource, ReplayedSpeed, is_extension,
};
use crate::measure::{BenchError, Recordings};
use crate::rebuild::{Built, Finding, ProvenBuild};

/// A job under way, with what it works with.
struct Line<'job, 'call> {
    job: &'job Job,
    settings: &'job Settings,
    resources: Resources<'job>,
    listen: &'call mut Listener<'call>,
}

/// Does a job. Everything is opened once; `listen` hears what takes time.
pub fn run(job: &Job, settings: &Settings, listen: &mut Listener<'_>) -> Result<Outcome, PipelineError> {
    Line::begin(job, settings, listen)?.walk().or_else(Stop::outcome)
}

/// What was recorded of a subject's calls, or why there is nothing to record.
#[derive(Debug)]
pub enum Recorded {
    /// The subject, and what recording it came to.
    Taken {
        /// What was recorded.
        subject: Box<BuiltSubject>,
        /// By workload.
        recordings: Recordings,
    },
    /// It does not compile, or is not proven.
    Ended(Box<Outcome>),
}

/// Records the calls of a job that measures, and judges none of them; any other job is done.
pub fn record(job: &Job, settings: &Settings, listen: &mut Listener<'_>) -> Result<Recorded, PipelineError> {
    let Action::Bench { subject, measuring } = &job.action else {
        return run(job, settings, listen).map(|outcome| Recorded::Ended(Box::new(outcome)));
    };
    let mut line = Line::begin(job, settings, listen)?;
    let recorded = line.prove(subject, &measuring.task.definition).and_then(|subject| {
        let recordings = line.record(&subject, measuring)?;
        Ok(Recorded::Taken { subject, recordings })
    });
    recorded.or_else(|stop| Ok(Recorded::Ended(Box::new(stop.outcome()?))))
}

/// Whether an artifact is a Python entry that may compile CUDA while it runs.
fn compiles_when_it_runs(artifact: &Artifact) -> bool {
    !artifact.manifest().build.language.is_compiled() && capture::may_compile(artifact)
}

impl<'job, 'call> Line<'job, 'call> {
    /// Opens what a job works with, once it is known that it can be done here.
    fn begin(
        job: &'job Job,
        settings: &'job Settings,
        listen: &'call mut Listener<'call>,
    ) -> Result<Self, PipelineError> {
        job.action.check()?;
        if job.action.needs_gpu() {
            let readiness = probe();
            if !readiness.is_ready() {
                return Err(BenchError::Device(DeviceError::NotReady { readiness }).into());
            }
        }
        let mut resources = Resources::open(settings)?;
        if job.action.needs_gpu()
            && let Some(Measuring { task, reference: Reference::Definition, .. }) = job.action.measuring()
        {
            // Before anything takes time.
            resources.definition_interpreter(&task.definition)?;
        }
        Ok(Self { job, settings, resources, listen })
    }
}

impl Line<'_, '_> {
    fn walk(&mut self) -> Result<Outcome, Stop> {
        let job = self.job;
        Ok(match &job.action {
            Action::Build { subject } if compiles_when_it_runs(&subject.artifact) => {
                let artifact = &subject.artifact;
                let language = artifact.manifest().build.language.as_str();
                let entry = self.build_entry(artifact)?;
                let entry = entry.ok_or(PipelineError::from(Unbuildable::NotCompiled { language }))?;
                Outcome::Entry(Box::new(entry))
            }
            Action::Build { subject } => Outcome::Built(self.build(&subject.artifact)?),
            Action::Seal { subject, measure } => {
                let build = self.build(&subject.artifact)?;
                let measurement = self.measure_where_possible(measure, &subject.artifact, &build)?;
                let (records, recordings) = (measurement.records(), measurement.recordings());
                let sealed = evidence::seal(&subject.artifact, &build, records, &recordings)?;
                Outcome::Sealed { build, measurement, sealed: Box::new(sealed) }
            }
            Action::Replay { subject, measure, source: ReplaySource::Sources } => {
                self.replay(subject, measure)?
            }
            Action::Replay { subject, measure, source: ReplaySource::Recordings } => {
                self.relaunch(subject, measure)?
            }
            Action::Bench { subject, measuring } => {
                let subject = self.prove(subject, &measuring.task.definition)?;
                let measured = Box::new(self.measure(&subject, measuring)?);
                Outcome::Measured { subject, measured }
            }
            Action::Compare { incumbent, candidate, measuring, protocol, limit_s } => {
                let definition = &measuring.task.definition;
                let arms = [self.prove(incumbent, definition)?, self.prove(candidate, definition)?];
                self.compare(arms, measuring, protocol, limit_s.map(Duration::from_secs))?
            }
        })
    }

    /// Artifact → Proof, again, and then a comparison with what was sealed.
    fn replay(&mut self, subject: &Bundle, measure: &Measure) -> Result<Outcome, Stop> {
        let sealed = self.sealed(subject)?;
        let build = self.build(&subject.artifact)?;
        let comparison = Box::new(sealed::compare(subject.artifact.digest(), &sealed, &build)?);
        let (mut speed, mut recordings) = (None, None);
        if !sealed.measurements.is_empty() {
            let measurement = self.measure_where_possible(measure, &subject.artifact, &build)?;
            speed = Some(ReplayedSpeed::of(&sealed.measurements, &measurement));
            recordings = sealed.recordings.and_then(|sealed| sealed.compare(&measurement.recordings()));
        }
        let sealed_library = sealed.build.library.sha256;
        Ok(Outcome::Replayed { build, sealed_library, comparison, speed, recordings })
    }

    /// Recordings → Measurement, of what was sealed: nothing of it is built.
    fn relaunch(&mut self, subject: &Bundle, measure: &Measure) -> Result<Outcome, Stop> {
        let sealed = self.sealed(subject)?;
        let recordings =
            sealed.recordings.as_ref().ok_or(ReplayError::from(SealedRecordingError::Missing))?;
        let (arch, launched) = (self.job.arch, recordings.prove(self.job.arch).map_err(ReplayError::from)?);
        let images = recordings.images().into_iter().collect();
        let subject = BuiltSubject::of_seal(&subject.artifact, &sealed, launched);
        let name = subject.subject.name.clone();
        let measurement = match measure {
            Measure::Not { reason } => MeasurementOutcome::Skipped(reason.clone()),
            Measure::WherePossible { measuring } => {
                MeasurementOutcome::Taken(Box::new(self.measure(&subject, measuring)?))
            }
        };
        let speed = ReplayedSpeed::of(&sealed.measurements, &measurement);
        Ok(Outcome::Relaunched { name, arch, images, speed })
    }

    /// The evidence of a sealed artifact, for the architecture that is asked for.
    fn sealed(&self, subject: &Bundle) -> Result<Sealed, Stop> {
        let sealed = sealed::read(subject)?;
        let (expected, found) = (sealed.build.gencode.real_arch, self.job.arch);
        if expected != found {
            return Err(PipelineError::SealedForAnother { sealed: expected, asked: found }.into());
        }
        Ok(sealed)
    }

    /// Artifact → Proof → `CacheEntry`.
    fn build(&mut self, artifact: &Artifact) -> Result<Box<ProvenBuild>, Stop> {
        let (arch, freshness) = (self.job.arch, self.job.freshness);
        match self.resources.build(artifact, arch, freshness, self.listen)? {
            Built::Proven(build) => Ok(build),
            Built::Finding(finding) => {
                Err(Stop::Finding { name: artifact.manifest().solution.name.clone(), finding })
            }
        }
    }

    /// What a Python entry compiles, built; `None` where that is nothing.
    fn build_entry(&mut self, artifact: &Artifact) -> Result<Option<CapturedEntry>, Stop> {
        let (arch, freshness) = (self.job.arch, self.job.freshness);
        Ok(self.resources.build_entry(artifact, arch, freshness, self.listen)?)
    }

    /// A submission is built and proven, a library is proven as it is. Python is compiled while it runs, and what
    /// it launches is proven then; what it compiles through the known functions is built and proven before.
    fn prove(&mut self, input: &Input, definition: &Definition) -> Result<Box<BuiltSubject>, Stop> {
        match input {
            Input::Artifact(bundle) if !bundle.artifact.manifest().build.language.is_compiled() => {
                let (artifact, arch) = (&bundle.artifact, self.job.arch);
                let mut home = self.resources.python_home(artifact)?;
                let entry = if compiles_when_it_runs(artifact) { self.build_entry(artifact)? } else { None };
                if let Some(entry) = &entry {
                    if entry.needs_torch() {
                        self.resources.check_torch()?;
                    }
                    let fill = |folder: &Path| capture::write_answers(entry, folder);
                    home = home.with_answers(fill).map_err(PipelineError::from)?;
                }
                let subject = BuiltSubject::of_python(artifact, definition, (home, entry.as_ref()), arch);
                match entry.and_then(CapturedEntry::into_finding) {
                    Some((name, finding)) => Err(Stop::Finding { name, finding }),
                    None => Ok(Box::new(subject)),
                }
            }
            Input::Artifact(bundle) if is_extension(&bundle.artifact) => {
                let artifact = &bundle.artifact;
                self.resources.check_torch()?;
                let build = self.build(artifact)?;
                let home = self.resources.extension_home(&build.entry.library_bytes)?;
                Ok(Box::new(BuiltSubject::of_extension(artifact, definition, &build, home)))
            }
            Input::Artifact(bundle) => {
                let build = self.build(&bundle.artifact)?;
                Ok(Box::new(BuiltSubject::of(&bundle.artifact, &build)))
            }
            Input::Library(library) => {
                let unproven = |judgement| {
                    let (name, finding) = (library.name.clone(), Finding::Unproven(judgement));
                    Stop::Finding { name, finding }
                };
                Ok(Box::new(BuiltSubject::of_library(library, self.job.arch).map_err(unproven)?))
            }
        }
    }
}
