//! What is left when nothing spoke against: a value that only exact bytes can make.

use proofmark_packager::{Arch, Digest};
use serde::{Deserialize, Serialize};

use super::examination::Entry;
use super::examiner::examine;
use super::fatbin::EntryKind;
use super::loader::MissingLibrary;
use super::requested::RequestedClaim;
use super::verdict::{Judgement, Policy, ProofVerdict, judge};
use super::witness::{Stance, Witness};

/// Version of the stored form of a proof.
const RECORD_VERSION: u32 = 1;

/// One image for the GPU that a proven library holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvenImage {
    /// Offset of its entry in the library.
    pub offset: u64,
    /// What it is for.
    pub arch: Arch,
    /// Its size in bytes, decompressed.
    pub image_bytes: u64,
    /// SHA-256 of the image, decompressed.
    pub digest: Digest,
    /// Its kernels, as linked; none for the device linker's stub.
    pub kernels: Vec<String>,
}

/// A proof as it was stored: worth nothing until the bytes prove it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedProof {
    version: u32,
    arch: Arch,
    library_digest: Digest,
    requested: RequestedClaim,
    images: Vec<ProvenImage>,
    witnesses: Vec<Witness>,
}

impl RecordedProof {
    /// In what a record denies itself: a proof has an image at least, each of its architecture, and no witness against
    /// it. That none is found proves nothing of the bytes.
    pub fn contradiction(&self) -> Option<String> {
        if self.images.is_empty() {
            return Some("no image".to_owned());
        }
        let other = self.images.iter().find(|image| image.arch != self.arch);
        let other = other.map(|image| format!("an image for {} in a proof for {}", image.arch, self.arch));
        other.or_else(|| {
            let against = self.witnesses.iter().find(|witness| witness.stance == Stance::Contradicts)?;
            Some(format!("a witness against it: {}", against.name))
        })
    }

    /// Every kernel, as linked.
    pub fn kernels(&self) -> impl Iterator<Item = &str> {
        self.images.iter().flat_map(|image| &image.kernels).map(String::as_str)
    }
}

/// The proof that a library holds machine code for exactly one architecture, as requested.
///
/// It can only be had from [`prove`] or [`RecordedProof::recheck`], which both read the bytes. It is
/// stored as the record that it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
#[must_use]
pub struct Proof {
    record: RecordedProof,
    #[serde(skip)]
    missing_libraries: Vec<MissingLibrary>,
}

impl Proof {
    /// The architecture.
    pub fn arch(&self) -> Arch {
        self.record.arch
    }

    /// SHA-256 of the library's bytes.
    pub fn library_digest(&self) -> Digest {
        self.record.library_digest
    }

    /// What the command asked for.
    pub fn requested(&self) -> &RequestedClaim {
        &self.record.requested
    }

    /// The images in the library, by offset, each with the digest of what the driver would load.
    pub fn device_images(&self) -> &[ProvenImage] {
        &self.record.images
    }

    /// Every kernel, as linked.
    pub fn kernels(&self) -> impl Iterator<Item = &str> {
        self.record.kernels()
    }

    /// Libraries of CUDA that it calls without naming them: proven, but it will not load without them.
    pub fn missing_libraries(&self) -> &[MissingLibrary] {
        &self.missing_libraries
    }

    /// Every witness that was heard.
    pub fn witnesses(&self) -> &[Witness] {
        &self.record.witnesses
    }
}

/// Proves that a library just built by this command holds exactly this architecture; hands back
/// the judgement where it does not.
pub fn prove(requested: &RequestedClaim, library: &[u8], arch: Arch) -> Result<Proof, Box<Judgement>> {
    let examination = examine(library);
    let judgement = judge(&examination, Some(requested), &Policy::for_build(arch));
    if judgement.verdict() != ProofVerdict::Exact {
        return Err(Box::new(judgement));
    }
    let record = RecordedProof {
        version: RECORD_VERSION,
        arch,
        library_digest: Digest::of_bytes(library),
        requested: requested.clone(),
        images: examination.entries.iter().filter_map(proven).collect(),
        witnesses: judgement.witnesses().to_vec(),
    };
    Ok(Proof { record, missing_libraries: examination.missing_libraries })
}

fn proven(entry: &Entry) -> Option<ProvenImage> {
    let is_code = matches!(entry.kind, EntryKind::Elf | EntryKind::Cubin);
    let cubin = entry.cubin.as_ref().filter(|_| is_code)?;
    Some(ProvenImage {
        offset: entry.offset,
        arch: entry.arch?,
        image_bytes: entry.image_bytes,
        digest: entry.digest?,
        kernels: cubin.kernels.iter().map(|kernel| kernel.name.clone()).collect(),
    })
}

/// Why a stored proof does not hold for a library.
#[derive(Debug, thiserror::Error)]
pub enum RecheckError {
    /// The record is of a version that this program does not read.
    #[error("the recorded proof has version {found}, expected {expected}")]
    Version {
        /// Version found in the record.
        found: u32,
        /// The version that this program reads.
        expected: u32,
    },
    /// The bytes do not prove anything now.
    #[error("the library no longer proves exact: {}", .judgement.reasons().first().map_or("no reason", String::as_str))]
    Unproven {
        /// What the bytes say.
        judgement: Box<Judgement>,
    },
    /// The bytes prove something, but not what the record says.
    #[error("the recorded {field} is {found}, but the library proves {expected}")]
    Different {
        /// Which part differs.
        field: &'static str,
        /// The record's value.
        found: String,
        /// The value that the bytes prove.
        expected: String,
    },
}

impl RecordedProof {
    /// The architecture that it claims.
    pub fn arch(&self) -> Arch {
        self.arch
    }

    /// The library that it claims to be about.
    pub fn library_digest(&self) -> Digest {
        self.library_digest
    }

    /// The images that it claims.
    pub fn device_images(&self) -> &[ProvenImage] {
        &self.images
    }

    /// Proves again from the bytes, and compares architecture, request, library and images with what
    /// was stored. Stored witnesses are words: the new proof brings its own.
    pub fn recheck(&self, library: &[u8]) -> Result<Proof, RecheckError> {
        if self.version != RECORD_VERSION {
            return Err(RecheckError::Version { found: self.version, expected: RECORD_VERSION });
        }
        let found = Digest::of_bytes(library);
        differ("library digest", &self.library_digest, &found)?;
        let proof = prove(&self.requested, library, self.arch)
            .map_err(|judgement| RecheckError::Unproven { judgement })?;
        if self.images != proof.record.images {
            return Err(RecheckError::Different {
                field: "list of device images",
                found: listed(&self.images),
                expected: listed(&proof.record.images),
            });
        }
        Ok(proof)
    }
}

fn differ<T: PartialEq + ToString>(
    field: &'static str,
    recorded: &T,
    proven: &T,
) -> Result<(), RecheckError> {
    if recorded == proven {
        return Ok(());
    }
    Err(RecheckError::Different { field, found: recorded.to_string(), expected: proven.to_string() })
}

fn listed(images: &[ProvenImage]) -> String {
    let named: Vec<String> = images
        .iter()
        .map(|image| {
            let ProvenImage { offset, arch, image_bytes, digest, kernels } = image;
            format!("{arch} at {offset:#x}, {image_bytes} bytes, {digest}, kernels {}", kernels.join(" "))
        })
        .collect();
    named.join("; ")
}
