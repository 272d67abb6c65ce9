//! The whole line, Job → Outcome.
//!
//! ```text
//! submission folder → Submission → Artifact → BuildPlan → BuildOutput → Proof → CacheEntry
//!                   → Measurement → Verdict → Record
//! ```
//!
//! Each arrow is one function in one room: the first half is [`crate::rebuild`], the second
//! [`crate::measure`] and [`crate::record`]. A replay enters at the artifact and walks the same line.
//! Nothing here prints: who calls gets an [`Event`] for what takes time, and an [`Outcome`] at the end.

mod error;
mod event;
mod resources;

use std::time::Duration;

use proofmark_packager::interop::flashinfer::{Timestamp, Workload};
use proofmark_packager::{Artifact, Bundle};
use proofmark_player::device::{DeviceError, probe};
use proofmark_player::process::own_program;

pub use error::PipelineError;
use error::Stop;
pub use event::{Event, Listener};
use resources::Resources;
pub use resources::{Download, Settings};

use crate::evidence::sealed;
use crate::job::{
    Action, BuiltSubject, Input, Job, Measure, Measured, Measurement, Measuring, Outcome, Reference,
    ReplayedSpeed,
};
use crate::measure::decision::Protocol;
use crate::measure::judge::device::JudgeDevice;
use crate::measure::{BenchError, BenchRun, Compared, Contest, Options, compare};
use crate::rebuild::{Built, ProvenBuild};
use crate::record::{ComparisonRecord, Context, Journal, Record, RunLog};

/// A job under way, with what it works with.
struct Line<'job, 'call> {
    job: &'job Job,
    settings: &'job Settings,
    resources: Resources<'job>,
    listen: &'call mut Listener<'call>,
}

/// Does a job. Everything is opened once; `listen` hears what takes time.
pub fn run(job: &Job, settings: &Settings, listen: &mut Listener<'_>) -> Result<Outcome, PipelineError> {
    if job.action.needs_gpu() {
        let readiness = probe();
        if !readiness.is_ready() {
            return Err(BenchError::Device(DeviceError::NotReady { readiness }).into());
        }
    }
    let mut line = Line { job, settings, resources: Resources::open(settings)?, listen };
    match line.walk() {
        Err(Stop::Finding { name, finding }) => Ok(Outcome::Finding { name, finding }),
        Err(Stop::Error(error)) => Err(error),
        Ok(outcome) => Ok(outcome),
    }
}

impl Line<'_, '_> {
    fn walk(&mut self) -> Result<Outcome, Stop> {
        let job = self.job;
        Ok(match &job.action {
            Action::Build { subject } => Outcome::Built(self.build(&subject.artifact)?),
            Action::Seal { subject, measure } => {
                let build = self.build(&subject.artifact)?;
                let measurement = self.measure_where_possible(measure, &subject.artifact, &build)?;
                Outcome::Sealed { build, measurement }
            }
            Action::Replay { subject, measure } => self.replay(subject, measure)?,
            Action::Bench { subject, measuring } => {
                let subject = self.prove(subject)?;
                let measured = Box::new(self.measure(&subject, measuring)?);
                Outcome::Measured { subject, measured }
            }
            Action::Compare { incumbent, candidate, measuring, protocol, limit_s } => {
                let arms = [self.prove(incumbent)?, self.prove(candidate)?];
                self.compare(arms, measuring, protocol, limit_s.map(Duration::from_secs))?
            }
        })
    }

    /// Artifact → Proof, again, and then a comparison with what was sealed.
    fn replay(&mut self, subject: &Bundle, measure: &Measure) -> Result<Outcome, Stop> {
        let sealed = sealed::read(subject)?;
        let (expected, found) = (sealed.build.gencode.real_arch, self.job.arch);
        if expected != found {
            return Err(PipelineError::SealedForAnother { sealed: expected, asked: found }.into());
        }
        let build = self.build(&subject.artifact)?;
        let comparison = Box::new(sealed::compare(subject.artifact.digest(), &sealed, &build)?);
        let speed = if sealed.measurements.is_empty() {
            None
        } else {
            let measurement = self.measure_where_possible(measure, &subject.artifact, &build)?;
            Some(ReplayedSpeed::of(&sealed.measurements, measurement))
        };
        let sealed_library = sealed.build.library.sha256;
        Ok(Outcome::Replayed { build, sealed_library, comparison, speed })
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

    /// A submission is built and proven, a library is proven as it is.
    fn prove(&mut self, input: &Input) -> Result<Box<BuiltSubject>, Stop> {
        match input {
            Input::Artifact(bundle) => {
                let build = self.build(&bundle.artifact)?;
                Ok(Box::new(BuiltSubject::of(&bundle.artifact, &build)))
            }
            Input::Library(library) => {
                let arch = self.job.arch;
                let unproven =
                    |judgement| PipelineError::Library { name: library.name.clone(), arch, judgement };
                Ok(Box::new(BuiltSubject::of_library(library, arch).map_err(unproven)?))
            }
        }
    }

    /// Where a reference does not build, nothing can be judged.
    fn prove_reference(&mut self, reference: &Reference) -> Result<Box<BuiltSubject>, Stop> {
        let Reference::Submission { input } = reference else {
            return Err(PipelineError::DefinitionReference.into());
        };
        self.prove(input).map_err(|stop| match stop {
            Stop::Finding { name, finding } => PipelineError::Reference { name, finding }.into(),
            stop @ Stop::Error(_) => stop,
        })
    }

    fn measure_where_possible(
        &mut self,
        measure: &Measure,
        artifact: &Artifact,
        build: &ProvenBuild,
    ) -> Result<Measurement, Stop> {
        let measuring = match measure {
            Measure::Not { reason } => return Ok(Measurement::Skipped(reason.clone())),
            Measure::WherePossible { measuring } => measuring,
        };
        let readiness = probe();
        if !readiness.is_ready() {
            return Ok(Measurement::Skipped(readiness.to_string()));
        }
        match self.measure(&BuiltSubject::of(artifact, build), measuring) {
            Err(Stop::Error(PipelineError::Measure(BenchError::Device(
                refusal @ DeviceError::WrongArchitecture { .. },
            )))) => Ok(Measurement::Skipped(refusal.to_string())),
            measured => measured.map(|measured| Measurement::Taken(Box::new(measured))),
        }
    }

    /// Proof → Measurement → Verdict → Record, workload after workload.
    fn measure(&mut self, subject: &BuiltSubject, measuring: &Measuring) -> Result<Measured, Stop> {
        let (task, options) = (&measuring.task, self.options(measuring)?);
        let device = JudgeDevice::open(&task.definition, &task.workloads, subject.subject.arch, &options)?;
        let reference = self.prove_reference(&measuring.reference)?;
        let mut bench = BenchRun::start(&device, &subject.subject, &reference.subject, &options)?;
        let facts = bench.facts();
        let context = Context {
            copy_bytes_per_second: Some(facts.copy_bandwidth),
            ..subject.context(self.job.run_id, &reference, measuring, facts.environment.clone())
        };
        let record = self.settings.record.as_deref();
        let mut log = RunLog::open(record, context, task.tolerance, options.seed)?;
        let todo: Vec<&Workload> = task.workloads.iter().filter(|one| !log.is_finished(one)).collect();
        (self.listen)(Event::Measuring { facts: &facts, workloads: todo.len() });
        for workload in todo {
            (self.listen)(Event::Begun(workload));
            let finding = bench.judge(&task.definition, workload)?;
            (self.listen)(Event::Ended(&finding));
            log.append(finding)?;
        }
        Ok(Measured {
            context: log.context().clone(),
            facts,
            records: log.into_records(&task.workloads),
            expected: task.workloads.len(),
            seed: options.seed,
            definition: task.definition.clone(),
        })
    }

    /// Two proofs → Decision → Record.
    fn compare(
        &mut self,
        [incumbent, candidate]: [Box<BuiltSubject>; 2],
        measuring: &Measuring,
        protocol: &Protocol,
        limit: Option<Duration>,
    ) -> Result<Outcome, Stop> {
        let (task, options) = (&measuring.task, self.options(measuring)?);
        let device = JudgeDevice::open(&task.definition, &task.workloads, self.job.arch, &options)?;
        let reference = self.prove_reference(&measuring.reference)?;
        let both = Contest {
            a: &incumbent.subject,
            b: &candidate.subject,
            reference: &reference.subject,
            definition: &task.definition,
            workloads: &task.workloads,
        };
        let listen = &mut *self.listen;
        let mut cells = |(done, of)| listen(Event::Cells { done, of });
        let compared = compare(&device, both, protocol.clone(), &options, limit, &mut cells)?;
        let record = match &compared {
            Compared::Disqualified { .. } => None,
            Compared::Decided(settled) => {
                let (run_id, environment) = (self.job.run_id, device.environment(None));
                let context =
                    |arm: &BuiltSubject| arm.context(run_id, &reference, measuring, environment.clone());
                let record = Record::Comparison(Box::new(ComparisonRecord {
                    timestamp: Timestamp::now(),
                    a: context(&incumbent),
                    b: context(&candidate),
                    report: settled.report.clone(),
                    events: settled.events.clone(),
                    readings: settled.readings.clone(),
                }));
                if let Some(path) = &self.settings.record {
                    Journal::open(path)?.0.append(&record)?;
                }
                Some(Box::new(record))
            }
        };
        Ok(Outcome::Compared { incumbent, candidate, compared, record })
    }
}

impl Line<'_, '_> {
    fn options(&mut self, measuring: &Measuring) -> Result<Options, Stop> {
        let program = own_program().map_err(|source| PipelineError::Program { source })?;
        Ok(measuring.options(program, self.resources.tvm_ffi()?, self.settings.cupti.clone()))
    }
}
