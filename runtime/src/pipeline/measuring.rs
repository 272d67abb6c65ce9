//! The second half of the line: Proof → Recordings → Measurement → Verdict → Record.

use std::time::Duration;

use proofmark_packager::Artifact;
use proofmark_packager::interop::flashinfer::{Timestamp, Workload};
use proofmark_player::device::{DeviceError, probe};
use proofmark_player::process::own_program;

use super::error::Stop;
use super::{Event, Line, PipelineError};
use crate::cause_text;
use crate::job::{
    BuiltSubject, Measure, Measured, MeasurementOutcome, Measuring, Outcome, Reference, is_extension,
    returns_outputs,
};
use crate::measure::decision::Protocol;
use crate::measure::judge::device::JudgeDevice;
use crate::measure::{BenchError, BenchRun, Compared, Contest, Options, Recordings, compare};
use crate::rebuild::ProvenBuild;
use crate::record::{ComparisonRecord, Context, Journal, Record, RunLog};

impl Line<'_, '_> {
    /// Measures where there is a GPU that can run the build, or says why not.
    pub(super) fn measure_where_possible(
        &mut self,
        measure: &Measure,
        artifact: &Artifact,
        build: &ProvenBuild,
    ) -> Result<MeasurementOutcome, Stop> {
        let measuring = match measure {
            Measure::Not { reason } => return Ok(MeasurementOutcome::Skipped(reason.clone())),
            Measure::WherePossible { measuring } => measuring,
        };
        if is_extension(artifact) {
            let reason =
                "a torch extension is called through Python, which no seal measures yet: `bench` does";
            return Ok(MeasurementOutcome::Skipped(reason.to_owned()));
        }
        if returns_outputs(artifact) {
            let reason = "it returns its outputs: outputs must be the judge's buffers";
            return Ok(MeasurementOutcome::Skipped(reason.to_owned()));
        }
        let readiness = probe();
        if !readiness.is_ready() {
            return Ok(MeasurementOutcome::Skipped(readiness.to_string()));
        }
        match self.measure(&BuiltSubject::of(artifact, build), measuring) {
            Err(Stop::Error(PipelineError::Measure(BenchError::Device(
                refusal @ DeviceError::WrongArchitecture { .. },
            )))) => Ok(MeasurementOutcome::Skipped(refusal.to_string())),
            Err(Stop::Error(error @ PipelineError::NoReference { .. })) => {
                Ok(MeasurementOutcome::Skipped(cause_text::text(&error)))
            }
            measured => measured.map(|measured| MeasurementOutcome::Taken(Box::new(measured))),
        }
    }

    /// Proof → Measurement → Verdict → Record, workload after workload.
    pub(super) fn measure(
        &mut self,
        subject: &BuiltSubject,
        measuring: &Measuring,
    ) -> Result<Measured, Stop> {
        let (task, options) = (&measuring.task, self.options(measuring, &[subject])?);
        let device = JudgeDevice::open(&task.definition, &task.workloads, subject.subject.arch, &options)?;
        let reference = self.prove_reference(measuring)?;
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
        bench.record(&task.definition, &todo, &mut |done| (self.listen)(Event::Recorded { done }))?;
        for workload in todo {
            (self.listen)(Event::Begun(workload));
            let finding = bench.judge(&task.definition, workload)?;
            (self.listen)(Event::Ended(&finding));
            log.append(finding)?;
        }
        Ok(Measured {
            context: log.context().clone(),
            facts,
            recordings: bench.into_recordings(),
            records: log.into_records(&task.workloads),
            expected: task.workloads.len(),
            seed: options.seed,
            definition: task.definition.clone(),
        })
    }

    /// Proof → Recording, of every workload.
    pub(super) fn record(
        &mut self,
        subject: &BuiltSubject,
        measuring: &Measuring,
    ) -> Result<Recordings, Stop> {
        let (task, options) = (&measuring.task, self.options(measuring, &[subject])?);
        let device = JudgeDevice::open(&task.definition, &task.workloads, subject.subject.arch, &options)?;
        let reference = self.prove_reference(measuring)?;
        let mut bench = BenchRun::start(&device, &subject.subject, &reference.subject, &options)?;
        let workloads: Vec<&Workload> = task.workloads.iter().collect();
        bench.record(&task.definition, &workloads, &mut |done| (self.listen)(Event::Recorded { done }))?;
        Ok(bench.into_recordings())
    }

    /// Two proofs → Decision → Record.
    pub(super) fn compare(
        &mut self,
        [incumbent, candidate]: [Box<BuiltSubject>; 2],
        measuring: &Measuring,
        protocol: &Protocol,
        limit: Option<Duration>,
    ) -> Result<Outcome, Stop> {
        let (task, options) = (&measuring.task, self.options(measuring, &[&incumbent, &candidate])?);
        let device = JudgeDevice::open(&task.definition, &task.workloads, self.job.arch, &options)?;
        let reference = self.prove_reference(measuring)?;
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
                    trust: settled.trust.clone(),
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

    /// Where a reference does not build, nothing can be judged.
    fn prove_reference(&mut self, measuring: &Measuring) -> Result<Box<BuiltSubject>, Stop> {
        let definition = &measuring.task.definition;
        let Reference::Submission { input } = &measuring.reference else {
            let home = self.resources.definition_home(definition)?;
            return Ok(Box::new(BuiltSubject::of_definition(definition, home, self.job.arch)));
        };
        self.prove(input, definition).map_err(|stop| match stop {
            Stop::Finding { name, finding } => PipelineError::Reference { name, finding }.into(),
            stop @ Stop::Error(_) => stop,
        })
    }

    fn options(&mut self, measuring: &Measuring, arms: &[&BuiltSubject]) -> Result<Options, Stop> {
        let is_compiled = |one: &&BuiltSubject| one.subject.host.python().is_none();
        let needs_tvm_ffi = arms.iter().any(is_compiled) || measuring.reference.is_compiled();
        let program = own_program().map_err(|source| PipelineError::Program { source })?;
        // Without a library that is called through it, nothing needs it.
        let tvm_ffi = if needs_tvm_ffi { Some(self.resources.tvm_ffi()?) } else { None };
        let options = measuring.options(program, tvm_ffi, self.settings.cupti.clone());
        let (refusals, neighbours) = (self.settings.refusals, self.settings.neighbours);
        Ok(Options { refusals, neighbours, ..options })
    }
}
