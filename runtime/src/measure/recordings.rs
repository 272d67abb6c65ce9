//! Recordings of a subject's calls, one for each workload, taken before anything is measured.
//!
//! The process that runs the submission's host code is gone when the first hermetic number is taken.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use proofmark_packager::Digest;
use proofmark_packager::interop::flashinfer::{Definition, Workload};
use proofmark_player::protocol::Role;

use super::judge::device::JudgeDevice;
use super::judge::layout::CallLayout;
use super::judge::session::{Part, PlayerSession, Stop, Taken};
use super::judge::trial::Trial;
use super::run_time_builds::run_time_builds;
use super::seed::Seed;
use super::statistics::median;
use super::subject::{BenchError, Host, Live, Options, Subject};
use crate::python::PythonHome;
use crate::recording::{
    CheckedRecording, CodeLibraries, DeviceImages, Origins, RunTimeCode, Unrecorded, check,
};

/// Most bytes that what memory held takes of the judge's own, over all workloads of a subject.
const CONTENTS_LIMIT_BYTES: u64 = 4 << 30;
/// Where nothing was built before Python runs.
static NOTHING_BUILT: BTreeMap<Digest, String> = BTreeMap::new();

/// What recording a subject came to, by workload.
#[derive(Debug, Default, Clone)]
pub struct Recordings(HashMap<String, Result<CheckedRecording, Unrecorded>>);

impl Recordings {
    /// Records a call of each workload; `progress` hears how many are done. The reference makes inputs where a
    /// workload leaves them to the definition.
    pub fn take(
        device: &JudgeDevice,
        subject: &Subject,
        reference: &mut PlayerSession,
        definition: &Definition,
        workloads: &[&Workload],
        options: &Options,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Self, BenchError> {
        if let Host::Sealed(sealed) = &subject.host {
            return Ok(Self(sealed.iter().map(|(uuid, one)| (uuid.clone(), Ok(one.clone()))).collect()));
        }
        let mut recordings = match subject.host {
            Host::Python(_) => run_time_builds(device, subject, definition, workloads, options, reference)?,
            Host::Compiled | Host::Definition(_) | Host::Sealed(_) => HashMap::new(),
        };
        if options.live == Live::Always {
            for workload in workloads {
                let asked = || Err(Unrecorded::Refused("it was asked for".to_owned()));
                recordings.entry(workload.uuid().to_owned()).or_insert_with(asked);
            }
            return Ok(Self(recordings));
        }
        let images = Rc::new(DeviceImages::of(&subject.library, &subject.images));
        let paths = subject.host.python().map(|home| home.interpreter.paths.as_slice());
        let mut recorder = RecordingRun {
            device,
            subject,
            options,
            images,
            libraries: CodeLibraries::below(paths.unwrap_or_default()),
            reference_images: BTreeSet::new(),
            session: None,
            reference,
            left_bytes: CONTENTS_LIMIT_BYTES,
        };
        for workload in workloads {
            if !recordings.contains_key(workload.uuid()) {
                let taken = recorder.record(definition, workload)?;
                recordings.insert(workload.uuid().to_owned(), taken);
            }
            progress(recordings.len());
        }
        Ok(Self(recordings))
    }

    /// The recording of a workload, or why there is none.
    pub fn of(&self, workload: &Workload) -> Result<&CheckedRecording, Unrecorded> {
        match self.0.get(workload.uuid()) {
            Some(Ok(recording)) => Ok(recording),
            Some(Err(reason)) => Err(reason.clone()),
            None => Err(Unrecorded::Refused("no call of it was recorded".to_owned())),
        }
    }

    /// Every workload that has a recording.
    pub fn recorded(&self) -> impl Iterator<Item = (&str, &CheckedRecording)> {
        self.0.iter().filter_map(|(uuid, taken)| Some((uuid.as_str(), taken.as_ref().ok()?)))
    }

    /// A workload whose recording takes more device memory than this many bytes.
    pub fn larger_than(&self, bytes: u64) -> Option<&str> {
        let is_larger = |taken: &Result<CheckedRecording, Unrecorded>| {
            taken.as_ref().is_ok_and(|one| one.device_bytes() > bytes)
        };
        self.0.iter().find(|(_, taken)| is_larger(taken)).map(|(uuid, _)| uuid.as_str())
    }

    /// The images of code that was compiled at run time, over all workloads.
    pub fn run_time_images(&self) -> Vec<Digest> {
        let taken = self.0.values().filter_map(|taken| taken.as_ref().ok());
        taken.flat_map(|one| &one.launched.launched).map(|code| code.image).collect()
    }

    /// Why a workload has no recording; `None` where all have one.
    pub fn gap(&self) -> Option<(&str, &Unrecorded)> {
        self.0.iter().find_map(|(uuid, taken)| Some((uuid.as_str(), taken.as_ref().err()?)))
    }
}

struct RecordingRun<'run> {
    device: &'run JudgeDevice,
    subject: &'run Subject,
    options: &'run Options,
    images: Rc<DeviceImages>,
    /// What of the interpreter's libraries brings machine code.
    libraries: CodeLibraries,
    /// Images that the definition's own reference launches, on the workloads on which that was asked.
    reference_images: BTreeSet<Digest>,
    /// Started when needed, again after a crash.
    session: Option<PlayerSession>,
    reference: &'run mut PlayerSession,
    /// Bytes of contents that may still be kept.
    left_bytes: u64,
}

impl RecordingRun<'_> {
    fn record(
        &mut self,
        definition: &Definition,
        workload: &Workload,
    ) -> Result<Result<CheckedRecording, Unrecorded>, BenchError> {
        if self.images.is_empty() && self.subject.host.python().is_none() {
            let reason = "the library has no proven image whose launches could be recorded";
            return Ok(Err(Unrecorded::Refused(reason.to_owned())));
        }
        let layout = CallLayout::of(definition, workload)?;
        // What the recorder holds of the GPU must not keep the judge from its own.
        let new = || Trial::new(self.device, definition, workload, layout.clone(), self.options);
        let mut trial = match new() {
            Err(BenchError::Device(_)) if self.session.take().is_some() => new()?,
            made => made?,
        };
        match self.try_record(definition, &mut trial) {
            Ok(Ok(taken)) => Ok(self.checked(taken, trial.slots()).and_then(|one| self.within_budget(one))),
            Ok(Err(reason)) => {
                // A refused call may leave anything behind: the next workload gets a fresh process.
                self.session = None;
                Ok(Err(Unrecorded::Refused(reason)))
            }
            Err(Stop::Bench(error)) => Err(error),
            Err(Stop::Verdict(verdict)) => Ok(Err(Unrecorded::Refused(verdict.to_string()))),
            Err(Stop::End(end)) => {
                let output = self.session.take().map(PlayerSession::end).unwrap_or_default();
                Ok(Err(Unrecorded::Ended(end, output)))
            }
        }
    }

    fn try_record(
        &mut self,
        definition: &Definition,
        trial: &mut Trial<'_>,
    ) -> Result<Result<Taken, String>, Stop> {
        if self.session.is_none() {
            let part = Part { subject: self.subject, role: Role::Recorder };
            let session = PlayerSession::start(self.device, &self.device.shared, part, self.options)?;
            self.session = Some(session);
        }
        let session = self.session.as_mut().expect("started just above");
        // Decoys come from a secret of their own: they say nothing of the contents that count.
        let slots = trial.slots();
        trial.place_decoys(session, self.reference, Seed::secret(), slots)?;
        trial.bind(session)?;
        let taken = session.record(&self.images.variables())?;
        let Ok(first) = &taken else { return Ok(taken) };
        if self.subject.host.python().is_none() {
            return Ok(taken);
        }
        let mut code = self.run_time_code(first);
        if code.is_err() && matches!(self.subject.host, Host::Python(_)) {
            self.ask_reference(definition, trial)?;
            code = self.run_time_code(first);
        }
        // Which variables there are is known once it is known what is launched.
        match code.map(|code| code.images.variables()) {
            Ok(variables) if !variables.is_empty() => {
                let session = self.session.as_mut().expect("it has just answered");
                Ok(session.record(&variables)?)
            }
            _ => Ok(taken),
        }
    }

    fn run_time_code(&self, taken: &Taken) -> Result<RunTimeCode, String> {
        let (gpu, arch) = (self.device.gpu.facts(), self.subject.arch);
        let built = self.subject.host.python().map_or(&NOTHING_BUILT, |home| &home.built);
        let origins = Origins { libraries: &self.libraries, built, reference: &self.reference_images };
        RunTimeCode::of(&taken.recording, &taken.code, gpu, arch, origins)
    }

    /// Records the plain run of the definition's own reference for what it launches, in a process that runs nothing of
    /// the submission's. What comes of it says nothing about the submission: where it cannot be recorded, nothing is
    /// known.
    fn ask_reference(&mut self, definition: &Definition, trial: &mut Trial<'_>) -> Result<(), Stop> {
        let Some(home) = self.subject.host.python() else { return Ok(()) };
        let player = Some(home.program.player.as_path());
        let Ok(home) = PythonHome::of_definition(&home.interpreter, player, &self.options.program) else {
            return Ok(());
        };
        let subject = Subject::of_definition(definition, home, self.subject.arch);
        match self.recorded_reference(&subject, trial) {
            Ok(Ok(taken)) => {
                let gpu = self.device.gpu.facts();
                self.reference_images.extend(RunTimeCode::images(&taken.recording, &taken.code, gpu));
                Ok(())
            }
            Err(Stop::Bench(error)) => Err(Stop::Bench(error)),
            Ok(Err(_)) | Err(Stop::Verdict(_) | Stop::End(_)) => Ok(()),
        }
    }

    fn recorded_reference(
        &mut self,
        subject: &Subject,
        trial: &mut Trial<'_>,
    ) -> Result<Result<Taken, String>, Stop> {
        let part = Part { subject, role: Role::Recorder };
        let mut session = PlayerSession::start(self.device, &self.device.shared, part, self.options)?;
        let slots = trial.slots();
        trial.place_decoys(&mut session, self.reference, Seed::secret(), slots)?;
        trial.bind_plain(&mut session)?;
        Ok(session.record(&[])?)
    }

    /// Refuses what would fill the judge's memory together with the recordings before it.
    fn within_budget(&mut self, recording: CheckedRecording) -> Result<CheckedRecording, Unrecorded> {
        match self.left_bytes.checked_sub(recording.host_bytes()) {
            Some(left) => {
                self.left_bytes = left;
                Ok(recording)
            }
            None => Err(Unrecorded::Refused(format!(
                "what its memory holds over all workloads is more than {} GiB",
                CONTENTS_LIMIT_BYTES >> 30
            ))),
        }
    }

    fn checked(&self, taken: Taken, slots: usize) -> Result<CheckedRecording, Unrecorded> {
        let (images, launched) = if self.subject.host.python().is_some() {
            let code = self.run_time_code(&taken).map_err(Unrecorded::Refused)?;
            (Rc::new(code.images.clone()), Rc::new(code))
        } else {
            (Rc::clone(&self.images), Rc::default())
        };
        let recording = check(taken.recording, &images, slots).map_err(Unrecorded::Refused)?;
        let (contents, host_ns) = (Rc::new(taken.contents), median(&taken.host_ns));
        Ok(CheckedRecording { recording, contents, images, launched, host_ns })
    }
}
