//! Replays a sealed artifact: the same line, entered at the artifact, and then a comparison.
//!
//! Evidence carries no key: whoever changes it can seal it again. So nothing in it is believed that
//! the rebuild does not confirm, and evidence that contradicts itself, the artifact or the rebuilt
//! bytes is refused.

use proofmark_packager::format::{BUILD_EVIDENCE, MEASUREMENTS_EVIDENCE, PROOF_EVIDENCE};
use proofmark_packager::{Bundle, Digest, Gencode};

use super::{
    BuildComparison, BuildEvidence, EvidenceError, ImageEvidence, SealedRecordingError, SealedRecordings,
};
use crate::proof::RecordedProof;
use crate::rebuild::ProvenBuild;
use crate::record::{Record, WorkloadRecord};

/// Why an artifact cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The build's evidence is missing or unreadable.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    /// The proof is missing or unreadable.
    #[error("evidence/proof.json is missing or unreadable")]
    Proof {
        /// The parser's reason; `None` if it is missing.
        source: Option<serde_json::Error>,
    },
    /// A measurement cannot be read.
    #[error("evidence/measurements.jsonl: line {line}: {reason}")]
    Measurements {
        /// One-based line.
        line: usize,
        /// The reader's reason.
        reason: String,
    },
    /// Recordings cannot be read, or not be launched.
    #[error(transparent)]
    Recordings(#[from] SealedRecordingError),
    /// Parts of the evidence do not speak of one thing.
    #[error("the evidence contradicts itself: {what} is {found}, expected {expected}")]
    Contradiction {
        /// What is contradicted.
        what: &'static str,
        /// What the rest of the evidence, or the rebuilt bytes, say.
        expected: String,
        /// What this part says.
        found: String,
    },
}

impl ReplayError {
    /// Whether the artifact was only packed.
    pub fn is_unsealed(&self) -> bool {
        matches!(self, Self::Evidence(EvidenceError::Missing))
    }
}

/// What a sealed artifact claims about its build.
#[derive(Debug)]
pub struct Sealed {
    /// How it was built and what came out.
    pub build: BuildEvidence,
    /// The proof as stored: worth nothing until the bytes prove it again.
    pub proof: RecordedProof,
    /// What was measured, if anything was.
    pub measurements: Vec<WorkloadRecord>,
    /// What was launched, if that was recorded.
    pub recordings: Option<SealedRecordings>,
}

/// Reads the evidence and checks that its parts speak of one artifact and one library.
pub fn read(bundle: &Bundle) -> Result<Sealed, ReplayError> {
    let Bundle { artifact, evidence } = bundle;
    let build = BuildEvidence::read(evidence.get(BUILD_EVIDENCE))?;
    let proof: RecordedProof = match evidence.get(PROOF_EVIDENCE).map(serde_json::from_slice) {
        Some(Ok(proof)) => proof,
        Some(Err(error)) => return Err(ReplayError::Proof { source: Some(error) }),
        None => return Err(ReplayError::Proof { source: None }),
    };
    let measurements = measurements_of(evidence.get(MEASUREMENTS_EVIDENCE).unwrap_or_default())?;
    let arch = build.gencode.real_arch;
    agree("the artifact in build.json", &artifact.digest(), &build.artifact)?;
    agree("gencode in build.json", &Gencode::exact(arch), &build.gencode)?;
    agree("the library in proof.json", &build.library.sha256, &proof.library_digest())?;
    agree("the architecture in proof.json", &arch, &proof.arch())?;
    let images = proof.device_images().iter().map(ImageEvidence::from).collect::<Vec<_>>();
    agree("the device images in proof.json", &listed(&build.device_images), &listed(&images))?;
    for record in &measurements {
        let measured = record.context.artifact.map_or_else(|| "none".to_owned(), |digest| digest.to_string());
        agree("a measured artifact", &artifact.digest().to_string(), &measured)?;
        agree("a measured library", &build.library.sha256, &record.context.library)?;
    }
    let recordings = match SealedRecordings::read(evidence) {
        Err(SealedRecordingError::Missing) => None,
        read => Some(read?),
    };
    for image in recordings.iter().flat_map(SealedRecordings::images) {
        if !build.device_images.iter().any(|sealed| sealed.sha256 == image) {
            let expected = listed(&build.device_images);
            let what = "an image that recordings launch";
            return Err(ReplayError::Contradiction { what, expected, found: image.to_string() });
        }
    }
    Ok(Sealed { build, proof, measurements, recordings })
}

fn measurements_of(bytes: &[u8]) -> Result<Vec<WorkloadRecord>, ReplayError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| ReplayError::Measurements { line: 1, reason: error.to_string() })?;
    let mut records = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let refuse = |reason: String| ReplayError::Measurements { line: index + 1, reason };
        match Record::from_line(line).map_err(|error| refuse(error.to_string()))? {
            Record::Workload(record) => records.push(*record),
            Record::Comparison(_) => return Err(refuse("not a workload".to_owned())),
        }
    }
    Ok(records)
}

fn agree<T: PartialEq + std::fmt::Display>(
    what: &'static str,
    expected: &T,
    found: &T,
) -> Result<(), ReplayError> {
    if expected == found {
        return Ok(());
    }
    Err(ReplayError::Contradiction { what, expected: expected.to_string(), found: found.to_string() })
}

fn listed(images: &[ImageEvidence]) -> String {
    let one = |image: &ImageEvidence| format!("{} {}", image.arch, image.sha256);
    images.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Compares a new build with the sealed one. Where the library is the same, the stored proof must
/// be what its bytes prove now.
pub fn compare(
    artifact: Digest,
    sealed: &Sealed,
    build: &ProvenBuild,
) -> Result<BuildComparison, ReplayError> {
    let new = BuildEvidence::of(artifact, build);
    if sealed.build.library == new.library {
        agree(
            "the device images in build.json",
            &listed(&new.device_images),
            &listed(&sealed.build.device_images),
        )?;
        let _proven_again =
            sealed.proof.recheck(&build.entry.library_bytes).map_err(|error| ReplayError::Contradiction {
                what: "proof.json",
                expected: "what the rebuilt library proves".to_owned(),
                found: error.to_string(),
            })?;
    }
    Ok(super::compare(&sealed.build, &new))
}
