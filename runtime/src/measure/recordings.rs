//! Recordings of a subject's calls, one for each workload, taken before anything is measured.
//!
//! The process that runs the submission's host code is gone when the first hermetic number is taken.

use std::collections::HashMap;
use std::rc::Rc;

use proofmark_packager::interop::flashinfer::{Definition, Workload};
use proofmark_player::protocol::Role;

use super::judge::device::JudgeDevice;
use super::judge::layout::CallLayout;
use super::judge::session::{Part, PlayerSession, Stop, Taken};
use super::judge::trial::Trial;
use super::seed::Seed;
use super::statistics::median;
use super::subject::{BenchError, Host, Live, Options, Subject};
use crate::recording::{CheckedRecording, DeviceImages, Unrecorded, check};

/// Most bytes that what memory held takes of the judge's own, over all workloads of a subject.
const CONTENTS_LIMIT_BYTES: u64 = 4 << 30;

/// What recording a subject came to, by workload.
#[derive(Debug, Default)]
pub struct Recordings(HashMap<String, Result<CheckedRecording, Unrecorded>>);

impl Recordings {
    /// Records a call of each workload; `progress` hears how many are done.
    pub fn take(
        device: &JudgeDevice,
        subject: &Subject,
        definition: &Definition,
        workloads: &[&Workload],
        options: &Options,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Self, BenchError> {
        if let Host::Sealed(sealed) = &subject.host {
            return Ok(Self(sealed.iter().map(|(uuid, one)| (uuid.clone(), Ok(one.clone()))).collect()));
        }
        if options.live == Live::Always {
            let asked = || Err(Unrecorded::Refused("it was asked for".to_owned()));
            return Ok(Self(workloads.iter().map(|one| (one.uuid().to_owned(), asked())).collect()));
        }
        let images = Rc::new(DeviceImages::of(&subject.library, &subject.images));
        let mut recorder = RecordingRun {
            device,
            subject,
            options,
            images,
            session: None,
            left_bytes: CONTENTS_LIMIT_BYTES,
        };
        let mut recordings = HashMap::new();
        for workload in workloads {
            let taken = recorder.record(definition, workload)?;
            recordings.insert(workload.uuid().to_owned(), taken);
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
    /// Started when needed, again after a crash.
    session: Option<PlayerSession>,
    /// Bytes of contents that may still be kept.
    left_bytes: u64,
}

impl RecordingRun<'_> {
    fn record(
        &mut self,
        definition: &Definition,
        workload: &Workload,
    ) -> Result<Result<CheckedRecording, Unrecorded>, BenchError> {
        if self.images.is_empty() {
            let reason = "the library has no proven image whose launches could be recorded";
            return Ok(Err(Unrecorded::Refused(reason.to_owned())));
        }
        let layout = CallLayout::of(definition, workload)?;
        // What the recorder holds of the GPU must not keep the judge from its own.
        let new = || Trial::new(self.device, definition, workload, layout.clone(), self.options);
        let trial = match new() {
            Err(BenchError::Device(_)) if self.session.take().is_some() => new()?,
            made => made?,
        };
        match self.try_record(&trial) {
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

    fn try_record(&mut self, trial: &Trial<'_>) -> Result<Result<Taken, String>, Stop> {
        if self.session.is_none() {
            let part = Part { subject: self.subject, role: Role::Recorder };
            let session = PlayerSession::start(self.device, &self.device.shared, part, self.options)?;
            self.session = Some(session);
        }
        let session = self.session.as_mut().expect("started just above");
        // Decoys come from a secret of their own: they say nothing of the contents that count.
        trial.place_decoys(session, Seed::secret())?;
        trial.bind(session)?;
        Ok(session.record(&self.images.variables())?)
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
        let recording = check(taken.recording, &self.images, slots).map_err(Unrecorded::Refused)?;
        Ok(CheckedRecording {
            recording,
            contents: Rc::new(taken.contents),
            images: Rc::clone(&self.images),
            host_ns: median(&taken.host_ns),
        })
    }
}
