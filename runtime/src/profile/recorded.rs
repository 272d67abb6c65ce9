//! Recordings as files, by which the profiled process launches them.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use proofmark_packager::Digest;
use proofmark_player::recording::Recording;
use serde::{Deserialize, Serialize};

use crate::recording::CheckedRecording;

/// What was recorded of one workload, in files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedWorkload {
    /// The recording's document.
    recording: PathBuf,
    /// What memory held, by number.
    contents: Vec<PathBuf>,
    /// The machine code.
    images: Vec<PathBuf>,
}

/// The same, read.
#[derive(Debug)]
pub struct ReadWorkload {
    /// The recording.
    pub recording: Recording,
    /// What memory held, by number.
    pub contents: Vec<Vec<u8>>,
    /// The machine code.
    pub images: Vec<Vec<u8>>,
}

impl RecordedWorkload {
    /// Writes a recording into a folder that others of the same run share.
    pub fn write(recorded: &CheckedRecording, folder: &Path, number: usize) -> io::Result<Self> {
        let recording = folder.join(format!("recording-{number}.json"));
        fs::write(&recording, serde_json::to_vec(&recorded.recording)?)?;
        let keep = |bytes: &[u8]| {
            let place = folder.join(Digest::of_bytes(bytes).to_string());
            if !place.exists() {
                fs::write(&place, bytes)?;
            }
            Ok(place)
        };
        let contents = recorded.contents.iter().map(|bytes| keep(bytes)).collect::<io::Result<_>>()?;
        let images = recorded.code().map(keep).collect::<io::Result<_>>()?;
        Ok(Self { recording, contents, images })
    }

    /// What the files hold, or why they cannot be read.
    pub fn read(&self) -> Result<ReadWorkload, String> {
        let bytes = |path: &PathBuf| fs::read(path).map_err(|error| error.to_string());
        let recording =
            serde_json::from_slice(&bytes(&self.recording)?).map_err(|error| error.to_string())?;
        let all = |paths: &[PathBuf]| paths.iter().map(bytes).collect::<Result<Vec<_>, _>>();
        Ok(ReadWorkload { recording, contents: all(&self.contents)?, images: all(&self.images)? })
    }
}

/// Kernels of the recordings whose code is proven, as linked: everything but what a library brings.
pub fn proven_kernels<'a>(recordings: impl IntoIterator<Item = &'a CheckedRecording>) -> BTreeSet<String> {
    let launched = recordings.into_iter().flat_map(|one| &one.launched.launched);
    launched.filter(|code| code.library.is_none()).flat_map(|code| code.kernels.iter().cloned()).collect()
}
