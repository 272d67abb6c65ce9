//! Recordings as a seal keeps them, so that an artifact can be measured without what built it.
//!
//! ```text
//! evidence/
//! ├── recordings.jsonl.zst     one workload a line: its uuid, the recording, digests of what memory held
//! └── blobs/<sha256>.zst       machine code, and what memory held; named by the digest of the content
//! ```
//!
//! They are claims like the rest of the evidence: nothing is launched before the prover has seen the machine code
//! and [`recording::check()`](crate::recording::check()) the rest, and outputs are compared as always.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::rc::Rc;

use proofmark_packager::format::{BLOB_SUFFIX, BLOBS_PREFIX, RECORDINGS_EVIDENCE};
use proofmark_packager::json::{self, Budget};
use proofmark_packager::{Arch, Digest, Evidence, Gencode};
use proofmark_player::recording::Recording;
use serde::{Deserialize, Serialize};

use crate::proof::{self, Judgement, RequestedClaim};
use crate::recording::{CheckedRecording, DeviceImages, check, difference};

/// Most bytes that recordings and blobs take of an artifact, as they are stored.
const STORED_LIMIT_BYTES: usize = 16 << 20;
/// Most bytes of one unpacked file.
const UNPACKED_LIMIT_BYTES: u64 = 256 << 20;
/// Most bytes of all blobs, unpacked.
const BLOBS_LIMIT_BYTES: u64 = 1 << 30;
/// How hard is compressed: the strongest level that takes milliseconds.
const LEVEL: i32 = 9;

/// What was launched when an artifact was measured.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SealedRecordings {
    lines: Vec<Line>,
    /// Machine code and contents.
    blobs: BTreeMap<Digest, Vec<u8>>,
}

/// One workload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    /// The workload's uuid.
    workload: String,
    /// Host time of one call in nanoseconds, as the process that ran it said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    host_ns: Option<f64>,
    recording: Recording,
    /// What memory held, by number.
    contents: Vec<Digest>,
}

/// How recordings taken now compare with sealed ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecordingComparison {
    /// Workloads that launch the same.
    pub same: usize,
    /// Workloads that launch something else.
    pub different: Vec<RecordingDifference>,
}

/// One workload that launches something else than what was sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecordingDifference {
    /// The workload's uuid.
    pub workload: String,
    /// The first thing that differs, in words.
    pub what: String,
}

/// Why sealed recordings cannot be launched.
#[derive(Debug, thiserror::Error)]
pub enum SealedRecordingError {
    /// Nothing was sealed.
    #[error(
        "the artifact holds no recordings: it was sealed without a measurement, measured live, or by an older release"
    )]
    Missing,
    /// A file cannot be unpacked.
    #[error("evidence/{name} cannot be unpacked: {reason}")]
    Packed {
        /// The file.
        name: String,
        /// Why.
        reason: String,
    },
    /// A line cannot be read.
    #[error("evidence/{RECORDINGS_EVIDENCE}: line {line}: {reason}")]
    Line {
        /// One-based line.
        line: usize,
        /// The reader's reason.
        reason: String,
    },
    /// A file that a recording names is missing or another.
    #[error("evidence/{BLOBS_PREFIX}{digest}{BLOB_SUFFIX} is missing, or holds something else")]
    Blob {
        /// What was expected.
        digest: Digest,
    },
    /// The machine code is not what it must be.
    #[error("sealed machine code {digest} is not proven for {arch}")]
    Unproven {
        /// Its digest.
        digest: Digest,
        /// The architecture.
        arch: Arch,
        /// What the prover says.
        judgement: Box<Judgement>,
    },
    /// A recording contradicts its machine code.
    #[error("the sealed recording of workload {workload} cannot be launched: {reason}")]
    Unfit {
        /// The workload's uuid.
        workload: String,
        /// Why.
        reason: String,
    },
}

impl SealedRecordings {
    /// Takes what was launched for each workload, by uuid.
    pub fn of<'a>(recordings: impl IntoIterator<Item = (&'a str, &'a CheckedRecording)>) -> Self {
        let mut sealed = Self::default();
        for (workload, one) in recordings {
            let contents: Vec<Digest> = one.contents.iter().map(|bytes| sealed.keep(bytes)).collect();
            for code in one.code() {
                sealed.keep(code);
            }
            let (workload, recording) = (workload.to_owned(), one.recording.clone());
            sealed.lines.push(Line { workload, host_ns: one.host_ns, recording, contents });
        }
        sealed.lines.sort_by(|a, b| a.workload.cmp(&b.workload));
        sealed
    }

    fn keep(&mut self, bytes: &[u8]) -> Digest {
        let digest = Digest::of_bytes(bytes);
        self.blobs.entry(digest).or_insert_with(|| bytes.to_vec());
        digest
    }

    /// Adds them to the evidence. What is too large to travel stays out.
    #[must_use]
    pub fn join(&self, evidence: Evidence) -> Evidence {
        if self.lines.is_empty() {
            return evidence;
        }
        let mut text = Vec::new();
        for line in &self.lines {
            serde_json::to_writer(&mut text, line).expect("maps of a recording have text keys");
            text.push(b'\n');
        }
        let mut files = vec![(RECORDINGS_EVIDENCE.to_owned(), packed(&text))];
        let blobs = self.blobs.iter();
        files.extend(blobs.map(|(digest, bytes)| (blob_name(*digest), packed(bytes))));
        if files.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() > STORED_LIMIT_BYTES {
            return evidence;
        }
        files.into_iter().fold(evidence, |evidence, (name, bytes)| evidence.with(&name, bytes))
    }

    /// Reads what [`Self::join`] wrote.
    pub fn read(evidence: &Evidence) -> Result<Self, SealedRecordingError> {
        let bytes = evidence.get(RECORDINGS_EVIDENCE).ok_or(SealedRecordingError::Missing)?;
        let text = unpacked(RECORDINGS_EVIDENCE, bytes)?;
        let mut lines = Vec::new();
        for (index, line) in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).enumerate() {
            let refuse = |reason: String| SealedRecordingError::Line { line: index + 1, reason };
            let line = std::str::from_utf8(line).map_err(|error| refuse(error.to_string()))?;
            let line: Line = json::parse(line, Budget::SAMPLES).map_err(|error| refuse(error.to_string()))?;
            lines.push(line);
        }
        if lines.is_empty() {
            return Err(SealedRecordingError::Line {
                line: 1,
                reason: "no recording stands there".to_owned(),
            });
        }
        let images = lines.iter().flat_map(|line| &line.recording.modules).filter_map(|module| module.image);
        let named: BTreeSet<Digest> =
            images.chain(lines.iter().flat_map(|line| line.contents.iter().copied())).collect();
        let (mut blobs, mut total) = (BTreeMap::new(), 0_u64);
        for digest in named {
            let name = blob_name(digest);
            let bytes = evidence.get(&name).ok_or(SealedRecordingError::Blob { digest })?;
            let bytes = unpacked(&name, bytes)?;
            total += bytes.len() as u64;
            if total > BLOBS_LIMIT_BYTES {
                let reason = format!("all blobs together are more than {} MiB", BLOBS_LIMIT_BYTES >> 20);
                return Err(SealedRecordingError::Packed { name, reason });
            }
            if Digest::of_bytes(&bytes) != digest {
                return Err(SealedRecordingError::Blob { digest });
            }
            blobs.insert(digest, bytes);
        }
        Ok(Self { lines, blobs })
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Compares recordings taken now with these, over the workloads that both have; `None` where there is none.
    pub fn compare(&self, now: &Self) -> Option<RecordingComparison> {
        let (mut same, mut different) = (0, Vec::new());
        for before in &self.lines {
            let Some(now) = now.lines.iter().find(|line| line.workload == before.workload) else { continue };
            let what = difference(&before.recording, &now.recording).or_else(|| {
                (before.contents != now.contents)
                    .then(|| "memory holds other bytes when a call begins".to_owned())
            });
            match what {
                None => same += 1,
                Some(what) => {
                    different.push(RecordingDifference { workload: before.workload.clone(), what });
                }
            }
        }
        (same + different.len() > 0).then_some(RecordingComparison { same, different })
    }

    /// Digests of the machine code that is launched.
    pub fn images(&self) -> BTreeSet<Digest> {
        let modules = self.lines.iter().flat_map(|line| &line.recording.modules);
        modules.filter_map(|module| module.image).collect()
    }

    /// Proves the machine code for an architecture and holds every recording against it; by workload.
    pub fn prove(&self, arch: Arch) -> Result<BTreeMap<String, CheckedRecording>, SealedRecordingError> {
        let claim = RequestedClaim::from_command([format!("-gencode={}", Gencode::exact(arch))]);
        let mut images = DeviceImages::default();
        for digest in self.images() {
            let bytes = &self.blobs[&digest];
            let proof = proof::prove(&claim, bytes, arch)
                .map_err(|judgement| SealedRecordingError::Unproven { digest, arch, judgement })?;
            let proven: Vec<Digest> = proof.device_images().iter().map(|image| image.digest).collect();
            images.extend(DeviceImages::of(bytes, &proven));
        }
        let images = Rc::new(images);
        let mut proven = BTreeMap::new();
        for line in &self.lines {
            let unfit =
                |reason: String| SealedRecordingError::Unfit { workload: line.workload.clone(), reason };
            let claimed: Vec<_> = line.recording.modules.iter().map(|module| module.image).collect();
            let calls = line.recording.calls.len();
            let recording = check(line.recording.clone(), &images, calls).map_err(unfit)?;
            let found: Vec<_> = recording.modules.iter().map(|module| module.image).collect();
            if claimed != found {
                return Err(unfit("its modules are not the machine code that it names".to_owned()));
            }
            let contents: Vec<Vec<u8>> =
                line.contents.iter().map(|digest| self.blobs[digest].clone()).collect();
            let checked = CheckedRecording {
                launched: Rc::default(),
                recording,
                contents: Rc::new(contents),
                images: Rc::clone(&images),
                host_ns: line.host_ns,
            };
            if proven.insert(line.workload.clone(), checked).is_some() {
                return Err(unfit("it is there twice".to_owned()));
            }
        }
        Ok(proven)
    }
}

fn blob_name(digest: Digest) -> String {
    format!("{BLOBS_PREFIX}{digest}{BLOB_SUFFIX}")
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, LEVEL).expect("memory takes what is compressed")
}

fn unpacked(name: &str, bytes: &[u8]) -> Result<Vec<u8>, SealedRecordingError> {
    let refuse = |reason: String| SealedRecordingError::Packed { name: name.to_owned(), reason };
    let mut unpacked = Vec::new();
    let decoder = zstd::Decoder::new(bytes).map_err(|error| refuse(error.to_string()))?;
    decoder
        .take(UNPACKED_LIMIT_BYTES + 1)
        .read_to_end(&mut unpacked)
        .map_err(|error| refuse(error.to_string()))?;
    if unpacked.len() as u64 > UNPACKED_LIMIT_BYTES {
        return Err(refuse(format!("it unpacks to more than {} MiB", UNPACKED_LIMIT_BYTES >> 20)));
    }
    Ok(unpacked)
}
