//! The whole measurement of one artifact: workloads in, findings out.
//!
//! For every workload contents and expected outputs are made, the null gate is tried, and the subject
//! is sampled under its clocks.

use proofmark_packager::interop::flashinfer::{Definition, Workload};

use super::environment::RunFacts;
use super::finding::WorkloadFinding;
use super::judge::device::JudgeDevice;
use super::judge::layout::CallLayout;
use super::judge::session::{Part, PlayerSession, Stop};
use super::judge::trial::Trial;
use super::recordings::Recordings;
use super::sampler::Sampler;
use super::statistics::median;
use super::subject::{BenchError, Host, Live, Options, Subject};
use super::timing::executed::{Executed, executed};
use super::timing::{ClockReadings, distrust};
use super::verdict::Verdict;
use crate::recording::{CheckedRecording, Trust, Unrecorded};
use proofmark_player::PlayerEnd;
use proofmark_player::protocol::{Clock, L2, Role};

/// One run: the subject's and the reference's players, and what they run.
#[derive(Debug)]
pub struct BenchRun<'run> {
    device: &'run JudgeDevice,
    subject: &'run Subject,
    reference: &'run Subject,
    options: &'run Options,
    /// Subject, reference; started when needed, again after a crash.
    sessions: [Option<PlayerSession>; 2],
    /// Why the subject cannot even be loaded: then no workload needs to try again.
    unloadable: Option<String>,
    recordings: Recordings,
    copy_bandwidth: f64,
}

/// What is said of a kernel that wrote where it has no address of.
pub(super) const OUT_OF_BOUNDS: &str =
    "a kernel wrote to memory that it was not given: what its own memory is put back from";

const SUBJECT: usize = 0;
const REFERENCE: usize = 1;

impl<'run> BenchRun<'run> {
    /// Starts the reference's player; the subject's starts with the first workload.
    pub fn start(
        device: &'run JudgeDevice,
        subject: &'run Subject,
        reference: &'run Subject,
        options: &'run Options,
    ) -> Result<Self, BenchError> {
        let copy_bandwidth = device.copy_bandwidth()?;
        let sessions = [None, None];
        let recordings = Recordings::default();
        let mut run = Self {
            device,
            subject,
            reference,
            options,
            sessions,
            unloadable: None,
            recordings,
            copy_bandwidth,
        };
        match run.session(REFERENCE) {
            Ok(_) => Ok(run),
            Err(stop) => Err(run.reference_failed(stop, "that comes first")),
        }
    }

    /// What the run shows beside its workloads.
    pub fn facts(&self) -> RunFacts {
        let session = self.sessions[REFERENCE].as_ref();
        let cupti_problem = session.and_then(|session| session.cupti_problem.clone());
        RunFacts {
            environment: self
                .device
                .environment(cupti_problem.is_none().then(|| "libcupti.so.13".to_owned())),
            copy_bandwidth: self.copy_bandwidth,
            cupti_problem,
            confinement_problem: session.and_then(|session| session.confinement_problem.clone()),
            copies: self.device.home.get() == Some(proofmark_player::protocol::Home::Copies),
        }
    }

    /// Records the subject's calls of these workloads. The process that runs its host code has ended afterwards.
    pub fn record(
        &mut self,
        definition: &Definition,
        workloads: &[&Workload],
        progress: &mut dyn FnMut(usize),
    ) -> Result<(), BenchError> {
        let Self { device, subject, options, .. } = *self;
        if let Err(stop) = self.session(REFERENCE).map(drop) {
            return Err(self.reference_failed(stop, "that comes first"));
        }
        let reference = self.sessions[REFERENCE].as_mut().expect("started just above");
        self.recordings =
            Recordings::take(device, subject, reference, definition, workloads, options, progress)?;
        Ok(())
    }

    /// Measures what was recorded before.
    pub(super) fn with_recordings(self, recordings: Recordings) -> Self {
        Self { recordings, ..self }
    }

    /// What was recorded.
    pub fn into_recordings(self) -> Recordings {
        self.recordings
    }

    /// Whether there is host code of the subject that could be called.
    fn has_host_code(&self) -> bool {
        !matches!(self.subject.host, Host::Sealed(_))
    }

    /// Measures one workload.
    pub fn judge(
        &mut self,
        definition: &Definition,
        workload: &Workload,
    ) -> Result<WorkloadFinding, BenchError> {
        // What the last workload left running or mapped must not touch this one's reference or memory.
        if let Some(session) = &mut self.sessions[SUBJECT]
            && (!session.is_stage() || session.clear().is_err())
        {
            self.sessions[SUBJECT] = None;
        }
        let layout = CallLayout::of(definition, workload)?;
        let traffic = definition.shapes(workload).map_or(0, |shapes| shapes.traffic_bytes());
        let mut finding = WorkloadFinding::new(workload.clone(), traffic);
        let mut trial = Trial::new(self.device, definition, workload, layout, self.options)?;
        finding.notes.extend(trial.strides_note());
        finding.readings.push(self.device.reading());
        self.prepare(&mut trial, workload, &mut finding)?;
        match self.session(REFERENCE).and_then(|reference| trial.refusal(reference)) {
            Ok(None) => {}
            Ok(refusal) => {
                finding.refusal = refusal;
                return Ok(finding);
            }
            Err(stop) => return Err(self.reference_failed(stop, workload.uuid())),
        }
        let outcome = match self.recordings.of(workload).cloned() {
            Ok(recording) => self.hermetic(&mut trial, &recording, &mut finding),
            Err(Unrecorded::Refused(reason)) if self.options.live != Live::Never && self.has_host_code() => {
                finding.trust = Trust::Live { reason };
                self.sample(&mut trial, None, &mut finding)
            }
            Err(Unrecorded::Refused(reason)) => Ok(Verdict::NotRecorded { reason }),
            Err(Unrecorded::Ended(end, output)) => {
                note_end(&end, output, &mut finding);
                finding.readings.push(self.device.reading());
                return Ok(finding);
            }
        };
        match outcome {
            Ok(verdict) | Err(Stop::Verdict(verdict)) => finding.verdict = Some(verdict),
            Err(Stop::Bench(error)) => return Err(error),
            Err(Stop::End(end)) => {
                let output = self.sessions[SUBJECT].take().map(PlayerSession::end).unwrap_or_default();
                note_end(&end, output, &mut finding);
            }
        }
        finding.checked_calls = trial.checked;
        finding.notes.extend(by_plain_run(&trial));
        finding.notes.extend(trial.check_note());
        finding.readings.push(self.device.reading());
        Ok(finding)
    }

    fn prepare(
        &mut self,
        trial: &mut Trial<'_>,
        workload: &Workload,
        finding: &mut WorkloadFinding,
    ) -> Result<(), BenchError> {
        let outcome = self.session(REFERENCE).and_then(|session| {
            trial.prepare(session)?;
            if session.is_definition() {
                finding.rounding = trial.rounding(session)?;
            }
            let mut times = Vec::new();
            for _ in 0..3 {
                times.extend(session.call(0, Clock::Events, L2::Cold)?.event_ns);
            }
            Ok(median(&times))
        });
        match outcome {
            Ok(reference_ns) => {
                finding.reference_ns = reference_ns;
                Ok(())
            }
            Err(stop) => Err(self.reference_failed(stop, workload.uuid())),
        }
    }

    fn reference_failed(&mut self, stop: Stop, workload: &str) -> BenchError {
        match stop {
            Stop::Bench(error) => error,
            Stop::End(end) => {
                let said = self.sessions[REFERENCE].take().map(PlayerSession::end).unwrap_or_default();
                let end = match (end, said.trim()) {
                    (end, "") => end,
                    (end, said) => PlayerEnd::Refused { text: format!("{end}; it wrote: {said}") },
                };
                BenchError::Reference { workload: workload.to_owned(), end }
            }
            Stop::Verdict(verdict) => BenchError::Reference {
                workload: workload.to_owned(),
                end: PlayerEnd::Refused { text: verdict.to_string() },
            },
        }
    }

    fn session(&mut self, role: usize) -> Result<&mut PlayerSession, Stop> {
        let part =
            Part { subject: if role == SUBJECT { self.subject } else { self.reference }, role: Role::Live };
        self.session_as(role, part)
    }

    fn session_as(&mut self, role: usize, part: Part<'_>) -> Result<&mut PlayerSession, Stop> {
        // A stage and a live player take each other's place.
        if self.sessions[role].as_ref().is_some_and(|session| session.role() != part.role) {
            self.sessions[role] = None;
        }
        if self.sessions[role].is_none() {
            let blocks = if role == SUBJECT { &self.device.shared } else { &self.device.reference };
            let session = PlayerSession::start(self.device, blocks, part, self.options)?;
            self.sessions[role] = Some(session);
        }
        Ok(self.sessions[role].as_mut().expect("started just above"))
    }

    /// Measures what was recorded. Where its outputs are off and the entry point's are not, the recording is
    /// not what the entry point computes.
    fn hermetic(
        &mut self,
        trial: &mut Trial<'_>,
        recording: &CheckedRecording,
        finding: &mut WorkloadFinding,
    ) -> Result<Verdict, Stop> {
        let (calls, slots) = (recording.recording.calls.len(), trial.slots());
        if calls < slots {
            let reason = format!("{calls} calls were recorded, and {slots} are launched on this device");
            return Ok(Verdict::NotRecorded { reason });
        }
        finding.dispatch_ns = recording.host_ns;
        finding.launched_code.clone_from(&recording.launched.launched);
        if recording.recording.calls.iter().any(|call| call.graph) {
            finding.notes.push("launched as one graph, as it says that it is".to_owned());
        }
        let sampled = self.sample(trial, Some(recording), finding);
        let reason = match &sampled {
            Err(Stop::Verdict(Verdict::IncorrectNumerical { reason })) => reason.clone(),
            Err(Stop::End(end @ (PlayerEnd::Refused { .. } | PlayerEnd::Gone { .. }))) => end.to_string(),
            _ => return sampled,
        };
        if !self.has_host_code() {
            return sampled;
        }
        if self.computes_live(trial)? {
            let reason = format!(
                "launched as recorded, {reason}; called again, it is right: what it launches depends on what its \
                 host code reads or remembers, or its kernels on what earlier calls left"
            );
            if self.options.live == Live::Never {
                return Ok(Verdict::NotRecorded { reason });
            }
            finding.trust = Trust::Live { reason };
            finding.measurements.clear();
            finding.comparisons.clear();
            return self.sample(trial, None, finding);
        }
        sampled
    }

    /// Whether one call of the entry point itself is right.
    fn computes_live(&mut self, trial: &mut Trial<'_>) -> Result<bool, Stop> {
        let outcome = self.session(SUBJECT).map(drop).and_then(|()| {
            let [Some(session), Some(reference)] = &mut self.sessions else {
                unreachable!("both are started")
            };
            trial.bind(session)?;
            trial.detailed_call(session, reference)
        });
        if self.options.live == Live::Never {
            // Nothing of its host code is left when the next number is taken.
            self.sessions[SUBJECT] = None;
        }
        match outcome {
            Ok(_) => Ok(true),
            Err(Stop::Bench(error)) => Err(Stop::Bench(error)),
            Err(Stop::Verdict(_)) => Ok(false),
            Err(Stop::End(_)) => {
                self.sessions[SUBJECT] = None;
                Ok(false)
            }
        }
    }

    /// Takes a workload's samples: of a recording, or of the entry point itself.
    fn sample(
        &mut self,
        trial: &mut Trial<'_>,
        recording: Option<&CheckedRecording>,
        finding: &mut WorkloadFinding,
    ) -> Result<Verdict, Stop> {
        let (options, device) = (self.options, self.device);
        // A stage keeps what it loaded for earlier workloads.
        let of_python = (recording.is_some() && self.subject.host.python().is_some())
            .then(|| self.recordings.run_time_images());
        let images = of_python.as_ref().unwrap_or(&self.subject.images);
        if let Some(reason) = &self.unloadable {
            return Ok(Verdict::RuntimeError { reason: reason.clone() });
        }
        let role = if recording.is_some() { Role::Stage } else { Role::Live };
        if let Err(stop) = self.session_as(SUBJECT, Part { subject: self.subject, role }) {
            if let Stop::End(end) = &stop {
                self.unloadable = Some(end.to_string());
            }
            return Err(stop);
        }
        let [Some(session), Some(reference)] = &mut self.sessions else { unreachable!("both are started") };
        match recording {
            Some(recording) => {
                session.stage(&recording.recording, &recording.contents, recording.code())?;
            }
            None => trial.bind(session)?,
        }
        let mut sampler = Sampler {
            restores: recording.map_or(0, CheckedRecording::restores),
            launches: recording.map(CheckedRecording::launches),
            device,
            options,
            trial,
            session,
            reference,
            readings: ClockReadings::default(),
            finding,
        };
        sampler.warm_up()?;
        sampler.events()?;
        let before = device.disturbance(options.neighbours);
        sampler.batches()?;
        let disturbance = before.or_else(|| device.disturbance(options.neighbours));
        let suspicion = sampler.spans()?;
        let modules = sampler.session.modules()?;
        if !sampler.session.is_intact()? {
            return Ok(Verdict::UntrustedTiming { reason: OUT_OF_BOUNDS.to_owned() });
        }
        let code = executed(&sampler.session.own_modules, &modules, images, sampler.session.least());
        let readings = sampler.readings;
        match code {
            Executed::Foreign(reason) => return Ok(Verdict::UntrustedTiming { reason }),
            Executed::Proven => {
                let foreign = recording.and_then(|recording| recording.launched.foreign(self.subject.arch));
                let all = || "executed: only proven device images were loaded".to_owned();
                finding.notes.push(foreign.unwrap_or_else(all));
            }
            Executed::Unknown => finding.notes.push("executed: not known".to_owned()),
        }
        // What somebody else does on the GPU is not the subject's fault: there is no number then, and no blame.
        let reason = match (suspicion, distrust(&readings), disturbance) {
            (Some(reason), ..) | (None, Some(reason), None) => Some(reason),
            (None, Some(_), Some(disturbance)) => {
                finding.drop_samples(&disturbance);
                None
            }
            (None, None, _) => None,
        };
        finding.notes.extend(finding.without_number());
        Ok(reason.map_or(Verdict::Passed, |reason| Verdict::UntrustedTiming { reason }))
    }
}

/// What is said of calls that are off in double precision and right by the definition's own.
fn by_plain_run(trial: &Trial<'_>) -> Option<String> {
    let (plain, checked) = (trial.plain_calls, trial.checked);
    (plain > 0).then(|| {
        format!("{plain} of {checked} calls held against the definition in its own precision: off in double precision")
    })
}

/// A player that ended ends its workload; the next one gets a fresh player.
fn note_end(end: &PlayerEnd, output: String, finding: &mut WorkloadFinding) {
    let said = output.trim_end();
    let mut last: Vec<&str> = said.lines().rev().take(5).collect();
    last.reverse();
    let tail = last.join(" | ");
    let reason = if tail.is_empty() { end.to_string() } else { format!("{end}; it wrote: {tail}") };
    finding.verdict = Some(Verdict::of_end(end, reason));
    finding.output = (!output.is_empty()).then_some(output);
}
