//! Replays a sealed artifact: the same line, entered at the artifact, and then a comparison.

use packager::{Artifact, Digest};

use crate::evidence::{self, BuildEvidence, Comparison, EvidenceError};
use crate::pipeline::ProvenBuild;
use crate::proof::RecordedProof;

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
    /// The evidence describes another artifact.
    #[error("the evidence is of the artifact {found}: expected {expected}")]
    OtherArtifact {
        /// The artifact at hand.
        expected: Digest,
        /// The one that the evidence names.
        found: Digest,
    },
    /// Build and proof do not speak of one library.
    #[error("the evidence contradicts itself: the build is {build}, the proof is of {proof}")]
    Contradiction {
        /// Library and architecture in `build.json`.
        build: String,
        /// Library and architecture in `proof.json`.
        proof: String,
    },
}

impl ReplayError {
    /// Whether the artifact was only packed.
    pub fn is_unsealed(&self) -> bool {
        matches!(self, Self::Evidence(EvidenceError::Missing))
    }
}

/// Reads the sealed build and checks that its parts speak of one thing.
pub fn sealed_build(
    artifact: &Artifact,
    build: Option<&[u8]>,
    proof: Option<&[u8]>,
) -> Result<BuildEvidence, ReplayError> {
    let sealed = BuildEvidence::read(build)?;
    let proof: RecordedProof = match proof.map(serde_json::from_slice) {
        Some(Ok(proof)) => proof,
        Some(Err(error)) => return Err(ReplayError::Proof { source: Some(error) }),
        None => return Err(ReplayError::Proof { source: None }),
    };
    if sealed.artifact != artifact.digest() {
        return Err(ReplayError::OtherArtifact { expected: artifact.digest(), found: sealed.artifact });
    }
    if proof.library_digest() != sealed.library.sha256 || proof.arch() != sealed.gencode.real_arch {
        return Err(ReplayError::Contradiction {
            build: format!("{} for {}", sealed.library.sha256, sealed.gencode.real_arch),
            proof: format!("{} for {}", proof.library_digest(), proof.arch()),
        });
    }
    Ok(sealed)
}

/// Compares a new build with the sealed one.
pub fn compare(artifact: &Artifact, sealed: &BuildEvidence, build: &ProvenBuild) -> Comparison {
    evidence::compare(sealed, &BuildEvidence::of(artifact.digest(), build))
}
