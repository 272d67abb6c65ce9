//! What a sealed artifact says about its build, and how a later build compares.
//!
//! `evidence/build.json` holds everything that a replay compares: the toolchain's identity, the
//! complete command, the headers, the library's digest, and the digest of every device image in it.
//! Device images depend on the CUDA compiler alone; the library around them also on the host
//! compiler and linker. A replay that gives the same images in another library says so, and still
//! differs: that another host compiler is the cause is what the evidence claims, and no more.

pub mod recordings;
pub mod sealed;
pub mod speed;

use std::collections::{BTreeMap, BTreeSet};

use proofmark_packager::format::{BUILD_EVIDENCE, MEASUREMENTS_EVIDENCE, PROOF_EVIDENCE};
use proofmark_packager::{Arch, Artifact, Bundle, Digest, Evidence, Gencode, escape};
use serde::{Deserialize, Serialize};

use crate::build::Dependencies;
use crate::proof::ProvenImage;
use crate::rebuild::ProvenBuild;
use crate::record::line::LineError;
use crate::record::{Record, WorkloadRecord};
use crate::toolchain::Fingerprint;

pub use recordings::{RecordingComparison, SealedRecordingError, SealedRecordings};
pub use sealed::{ReplayError, Sealed};
pub use speed::SpeedComparison;

const FORMAT: &str = "proofmark.build";
const VERSION: u32 = 1;

/// What `evidence/build.json` says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuildEvidence {
    /// Always `proofmark.build`.
    pub format: String,
    /// The format's version.
    pub version: u32,
    /// The artifact that was built.
    pub artifact: Digest,
    /// What nvcc was asked for.
    pub gencode: Gencode,
    /// Every command with its whole environment, as lines for a shell; free of paths of a machine.
    pub commands: Vec<String>,
    /// What turned sources into the library.
    pub toolchain: Fingerprint,
    /// Every header that the compiler read.
    pub dependencies: Dependencies,
    /// The library.
    pub library: LibraryEvidence,
    /// Every device image in the library.
    pub device_images: Vec<ImageEvidence>,
    /// The compiler's words.
    pub log: String,
}

/// The library that came out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LibraryEvidence {
    /// Length in bytes.
    pub size_bytes: u64,
    /// SHA-256 of the bytes.
    pub sha256: Digest,
}

/// One device image, decompressed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ImageEvidence {
    /// What it runs on.
    pub arch: Arch,
    /// Length in bytes.
    pub size_bytes: u64,
    /// SHA-256 of the bytes.
    pub sha256: Digest,
    /// Its kernels, as the linker names them.
    pub kernels: Vec<String>,
}

impl From<&ProvenImage> for ImageEvidence {
    fn from(image: &ProvenImage) -> Self {
        Self {
            arch: image.arch,
            size_bytes: image.image_bytes,
            sha256: image.digest,
            kernels: image.kernels.clone(),
        }
    }
}

/// Why evidence cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// The artifact was never sealed.
    #[error("the artifact holds no evidence of a build: it was packed, not sealed")]
    Missing,
    /// Not the JSON that we write.
    #[error("evidence/build.json is unreadable")]
    Json(#[from] serde_json::Error),
    /// Another format or version.
    #[error(
        "build evidence `{found_format}` version {found_version}: this proofmark reads `{FORMAT}` version {VERSION}"
    )]
    Version {
        /// The format as found.
        found_format: String,
        /// The version as found.
        found_version: u64,
    },
}

impl BuildEvidence {
    /// Writes down a proven build.
    pub fn of(artifact: Digest, build: &ProvenBuild) -> Self {
        let images = build.entry.proof.device_images().iter().map(ImageEvidence::from);
        let ingredients = &build.entry.ingredients;
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            artifact,
            gencode: ingredients.gencode,
            commands: ingredients.commands.clone(),
            toolchain: ingredients.toolchain.clone(),
            dependencies: build.entry.dependencies.clone(),
            library: LibraryEvidence {
                size_bytes: build.entry.library_bytes.len() as u64,
                sha256: build.entry.proof.library_digest(),
            },
            device_images: images.collect(),
            log: build.entry.log.clone(),
        }
    }

    /// Reads what [`Self::of`] wrote.
    pub fn read(bytes: Option<&[u8]>) -> Result<Self, EvidenceError> {
        #[derive(Deserialize)]
        struct Head {
            #[serde(default)]
            format: String,
            #[serde(default)]
            version: u64,
        }
        let bytes = bytes.ok_or(EvidenceError::Missing)?;
        let head: Head = serde_json::from_slice(bytes)?;
        if head.format != FORMAT || head.version != u64::from(VERSION) {
            return Err(EvidenceError::Version { found_format: head.format, found_version: head.version });
        }
        Ok(serde_json::from_slice(bytes)?)
    }
}

/// Writes into an artifact what was found out about it: how it was built, the proof, and what was measured and launched, if anything was.
pub fn seal(
    artifact: &Artifact,
    build: &ProvenBuild,
    records: &[WorkloadRecord],
    recordings: &SealedRecordings,
) -> Result<Bundle, LineError> {
    let bundle = |evidence| Bundle { artifact: artifact.clone(), evidence };
    let evidence = Evidence::default()
        .with(BUILD_EVIDENCE, serde_json::to_vec_pretty(&BuildEvidence::of(artifact.digest(), build))?)
        .with(PROOF_EVIDENCE, serde_json::to_vec_pretty(&build.entry.proof)?);
    if records.is_empty() {
        return Ok(bundle(evidence));
    }
    let mut lines = String::new();
    for record in records {
        lines.push_str(&Record::Workload(Box::new(record.clone())).to_line()?);
        lines.push('\n');
    }
    Ok(bundle(recordings.join(evidence.with(MEASUREMENTS_EVIDENCE, lines.into_bytes()))))
}

/// How far two builds of one artifact are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sameness {
    /// The same library, byte for byte.
    Identical,
    /// Something differs. Where the device code is the same, both lists of images are empty; that another
    /// host compiler explains the rest is a claim of the evidence, which nothing here confirms.
    Different,
}

/// What a replayed build is beside the sealed one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BuildComparison {
    /// How far they are the same.
    pub sameness: Sameness,
    /// Device images only in the sealed build.
    pub lost_images: Vec<ImageEvidence>,
    /// Device images only in the new build.
    pub new_images: Vec<ImageEvidence>,
    /// What differs in toolchain, command and headers, in words: why the builds may differ.
    pub causes: Vec<String>,
}

/// Compares a sealed build with a new one.
pub fn compare(sealed: &BuildEvidence, new: &BuildEvidence) -> BuildComparison {
    let only = |these: &[ImageEvidence], those: &[ImageEvidence]| {
        these.iter().filter(|image| !those.contains(image)).cloned().collect::<Vec<_>>()
    };
    let lost_images = only(&sealed.device_images, &new.device_images);
    let new_images = only(&new.device_images, &sealed.device_images);
    let causes = causes_between(sealed, new);
    let same_device_code = sealed.device_images == new.device_images;
    let sameness = if sealed.library == new.library && same_device_code {
        Sameness::Identical
    } else {
        Sameness::Different
    };
    BuildComparison { sameness, lost_images, new_images, causes }
}

/// The files that a build read, with CUDA's headers under one name: an installer keeps them in
/// `targets/<platform>/include` and links `include` there, a wheel has `include` alone.
fn comparable(dependencies: &Dependencies) -> Dependencies {
    let one_name = |label: &str| {
        let inside = label.strip_prefix("<cuda>/targets/").and_then(|rest| rest.split_once('/'));
        inside.map_or_else(|| label.to_owned(), |(_platform, rest)| format!("<cuda>/{rest}"))
    };
    dependencies.iter().map(|(label, digest)| (one_name(label), *digest)).collect()
}

fn causes_between(sealed: &BuildEvidence, new: &BuildEvidence) -> Vec<String> {
    let mut causes = Vec::new();
    if sealed.gencode != new.gencode {
        causes.push(format!("the architecture ({} → {})", sealed.gencode, new.gencode));
    }
    if sealed.commands != new.commands {
        causes.push("the command".to_owned());
    }
    causes.extend(sealed.toolchain.differences(&new.toolchain));
    causes.extend(changed_files(&comparable(&sealed.dependencies), &comparable(&new.dependencies)));
    // Evidence is of others: it must not write lines of its own.
    causes.iter().map(|cause| escape::line(cause)).collect()
}

/// What differs among the files that were read: each by name, or of many under one root their number.
fn changed_files(sealed: &Dependencies, new: &Dependencies) -> Vec<String> {
    const NAMED: usize = 5;
    let mut of_root = BTreeMap::<&str, BTreeSet<&str>>::new();
    for label in sealed.keys().chain(new.keys()) {
        if sealed.get(label) != new.get(label) {
            let root = label.split_once('/').map_or(label.as_str(), |(root, _)| root);
            of_root.entry(root).or_default().insert(label);
        }
    }
    let mut causes = Vec::new();
    for (root, labels) in of_root {
        match labels.first() {
            Some(first) if labels.len() > NAMED => {
                causes.push(format!("{} files of {root} that it read, such as {first}", labels.len()));
            }
            _ => causes.extend(labels.into_iter().map(|label| format!("the file {label}"))),
        }
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(labels: &[&str], content: &[u8]) -> Dependencies {
        labels.iter().map(|label| ((*label).to_owned(), Digest::of_bytes(content))).collect()
    }

    #[test]
    fn cuda_headers_have_one_name_wherever_an_installer_puts_them() {
        let wheel = files(&["<cuda>/include/crt/math.h", "<tvm-ffi>/include/a.h"], b"same");
        let toolkit =
            files(&["<cuda>/targets/x86_64-linux/include/crt/math.h", "<tvm-ffi>/include/a.h"], b"same");
        assert_eq!(comparable(&toolkit), wheel);
        assert_eq!(changed_files(&comparable(&toolkit), &comparable(&wheel)), Vec::<String>::new());
    }

    #[test]
    fn few_changed_files_are_named_and_many_are_counted() {
        let old = files(&["<system>/a.h", "<cuda>/include/b.h"], b"old");
        let mut new = files(&["<system>/a.h", "<system>/c.h", "<cuda>/include/b.h"], b"new");
        assert_eq!(
            changed_files(&old, &new),
            ["the file <cuda>/include/b.h", "the file <system>/a.h", "the file <system>/c.h"]
        );
        new.extend(files(&["<system>/d.h", "<system>/e.h", "<system>/f.h", "<system>/g.h"], b"new"));
        assert_eq!(changed_files(&old, &new)[1], "6 files of <system> that it read, such as <system>/a.h");
    }
}
