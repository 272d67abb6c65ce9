//! The artifact format: entry names, versions, and who may read what.
//!
//! ```text
//! <name>.zip                   entries sorted by name, stored, 1980-01-01, mode 0644
//! ├── definition.json          optional: the operator
//! ├── evidence/                after sealing; never part of the identity
//! │   ├── attestation.intoto.jsonl  optional: signed statements, one a line
//! │   ├── blobs/<sha256>.zst   optional: machine code and memory that recordings name, by digest of the content
//! │   ├── build.json           toolchain, command, log, library and device-image digests
//! │   ├── measurements.jsonl   optional: one record a line
//! │   ├── proof.json           the witnesses and what they found
//! │   ├── recordings.jsonl.zst optional: what was launched when it was measured, one workload a line
//! │   └── seal.json            digests of the other evidence, bound to the artifact's identity
//! ├── proofmark.json           the manifest: metadata, target, digest of every other part
//! ├── reference/               optional: the submission that says what is right, an artifact of its own
//! │   ├── definition.json      only where it differs from the one above
//! │   ├── proofmark.json       the reference's manifest
//! │   ├── sources/…            the reference's files
//! │   └── workloads.jsonl      only where it differs from the one above
//! ├── solution.json            what the contest takes, derived from manifest and sources
//! ├── sources/…                the submission's files
//! └── workloads.jsonl          optional: the operator's workloads
//! ```
//!
//! Entries are stored, not deflated: the bytes of a zip then depend on this format alone and not on
//! the release of a compressor. Anything else inside makes an artifact invalid.
//!
//! A reference has the digest that packing its folder alone gives, and no evidence and no reference.
//!
//! | version | written by | read by | holds |
//! |---|---|---|---|
//! | 1 | 0.1 | 0.1 | an artifact without a reference |
//! | 2 | 0.1 | 0.1 | an artifact with a reference |

/// The manifest's entry name.
pub const MANIFEST_NAME: &str = "proofmark.json";

/// The contest's file.
pub const SOLUTION_NAME: &str = "solution.json";

/// Largest `solution.json` that is read or written, in bytes: 32 MiB of sources, and half as much again
/// for escapes.
pub const LARGEST_SOLUTION_BYTES: u64 = 48 << 20;

/// The operator's definition.
pub const DEFINITION_NAME: &str = "definition.json";

/// The operator's workloads.
pub const WORKLOADS_NAME: &str = "workloads.jsonl";

/// In front of every source path.
pub const SOURCES_PREFIX: &str = "sources/";

/// In front of every piece of evidence.
pub const EVIDENCE_PREFIX: &str = "evidence/";

/// How the sealed build was made.
pub const BUILD_EVIDENCE: &str = "build.json";

/// What proves its architecture.
pub const PROOF_EVIDENCE: &str = "proof.json";

/// What was measured.
pub const MEASUREMENTS_EVIDENCE: &str = "measurements.jsonl";

/// What was launched when it was measured: a Zstandard frame.
pub const RECORDINGS_EVIDENCE: &str = "recordings.jsonl.zst";

/// In front of every blob that recordings name; [`BLOB_SUFFIX`] stands behind its digest.
pub const BLOBS_PREFIX: &str = "blobs/";

/// Behind the digest of a blob: a Zstandard frame.
pub const BLOB_SUFFIX: &str = ".zst";

/// What somebody signed.
pub const ATTESTATION_EVIDENCE: &str = "attestation.intoto.jsonl";

/// What binds the evidence to the artifact.
pub const SEAL_EVIDENCE: &str = "seal.json";

/// The manifest's `format` field.
pub const FORMAT: &str = "proofmark.artifact";

/// In front of every part of the reference.
pub const REFERENCE_PREFIX: &str = "reference/";

/// The versions that this release reads.
pub const VERSIONS: [u32; 2] = [1, 2];

/// The version that an artifact is written in. Without a reference it is what it always was, so that
/// older releases read it and its bytes stay the same.
#[must_use]
pub fn version_of(has_reference: bool) -> u32 {
    if has_reference { 2 } else { 1 }
}
