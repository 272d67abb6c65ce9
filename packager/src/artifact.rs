//! The artifact: a submission whose every part is checked and hashed.
//!
//! Holding an [`Artifact`] means that it validated: there is no way to make one that breaks a rule
//! of [`crate::submission`], and none to change it afterwards.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::format;
use crate::sources::{SourceFile, SourcePath};
use crate::submission::{
    BuildSpec, SolutionMeta, Submission, Target, Violations, violations_among, violations_of_texts,
};
use crate::{Digest, DigestBuilder};

/// Tag of the identity hash. Changes whenever what enters the hash does.
const IDENTITY_DOMAIN: &str = "proofmark/artifact/1";

/// Size and SHA-256 of one part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartEntry {
    /// Length in bytes.
    pub size_bytes: u64,
    /// SHA-256 of the bytes.
    pub sha256: Digest,
}

impl PartEntry {
    fn of(text: &str) -> Self {
        Self { size_bytes: text.len() as u64, sha256: Digest::of_bytes(text.as_bytes()) }
    }
}

/// One source as the manifest lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceEntry {
    /// Where it stands inside the submission.
    pub path: SourcePath,
    /// Length in bytes.
    pub size_bytes: u64,
    /// SHA-256 of the text.
    pub sha256: Digest,
}

/// What `proofmark.json` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Always `proofmark.artifact`.
    pub format: String,
    /// The format's version.
    pub version: u32,
    /// The artifact's identity: every field below, and every source, but not the evidence.
    pub digest: Digest,
    /// Who made what.
    pub solution: SolutionMeta,
    /// How it is built and called.
    pub build: BuildSpec,
    /// What the build must come out as.
    pub target: Target,
    /// The sources, in the order of `solution.json`.
    pub sources: Vec<SourceEntry>,
    /// `definition.json`, if packed.
    pub definition: Option<PartEntry>,
    /// `workloads.jsonl`, if packed.
    pub workloads: Option<PartEntry>,
    /// Fields of an imported `solution.json` that its format does not know.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub unknown: Map<String, Value>,
}

/// A validated submission with its identity.
#[derive(Debug, Clone)]
pub struct Artifact {
    manifest: Manifest,
    sources: Vec<SourceFile>,
    definition: Option<String>,
    workloads: Option<String>,
}

/// The parts of an artifact before they are checked.
#[derive(Debug, Clone)]
pub struct Parts {
    /// Who made what.
    pub solution: SolutionMeta,
    /// How it is built and called.
    pub build: BuildSpec,
    /// What the build must come out as.
    pub target: Target,
    /// The files.
    pub sources: Vec<SourceFile>,
    /// The text of `definition.json`.
    pub definition: Option<String>,
    /// The text of `workloads.jsonl`.
    pub workloads: Option<String>,
    /// Unknown fields of an imported `solution.json`.
    pub unknown: Map<String, Value>,
}

impl From<Submission> for Parts {
    fn from(submission: Submission) -> Self {
        let Submission { solution, build, target, sources, definition, workloads, notes: _ } = submission;
        Self { solution, build, target, sources, definition, workloads, unknown: Map::new() }
    }
}

impl Artifact {
    /// Checks what must hold between the parts, hashes them, and names the result.
    pub fn pack(parts: impl Into<Parts>) -> Result<Self, Violations> {
        let Parts { solution, build, target, sources, definition, workloads, unknown } = parts.into();
        let mut violations = violations_of_texts(
            &solution,
            [
                ("dependencies", &build.dependencies),
                ("target_hardware", &build.target_hardware),
                ("nvcc_flags", &target.nvcc_flags),
            ],
        );
        violations.extend(violations_among(&sources, &build.entry_point));
        if !violations.is_empty() {
            return Err(Violations(violations));
        }
        let entries = sources.iter().map(|source| SourceEntry {
            path: source.path.clone(),
            size_bytes: source.content.len() as u64,
            sha256: source.digest(),
        });
        let mut manifest = Manifest {
            format: format::FORMAT.to_owned(),
            version: format::VERSION,
            digest: Digest::of_bytes(&[]),
            solution,
            build,
            target,
            sources: entries.collect(),
            definition: definition.as_deref().map(PartEntry::of),
            workloads: workloads.as_deref().map(PartEntry::of),
            unknown,
        };
        manifest.digest = identity(&manifest);
        Ok(Self { manifest, sources, definition, workloads })
    }

    /// The identity: equal for equal content, wherever and whenever it was packed.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.manifest.digest
    }

    /// Metadata, target and part digests.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The files, in the order of `solution.json`.
    #[must_use]
    pub fn sources(&self) -> &[SourceFile] {
        &self.sources
    }

    /// The text of `definition.json`.
    #[must_use]
    pub fn definition(&self) -> Option<&str> {
        self.definition.as_deref()
    }

    /// The text of `workloads.jsonl`.
    #[must_use]
    pub fn workloads(&self) -> Option<&str> {
        self.workloads.as_deref()
    }

    /// A file name for people and the digest's first twelve digits: `<name>-<digest12>.zip`.
    #[must_use]
    pub fn file_name(&self) -> String {
        let plain = |one: char| if one.is_alphanumeric() || "._-".contains(one) { one } else { '_' };
        let name: String = self.manifest.solution.name.chars().map(plain).take(80).collect();
        let name = name.trim_start_matches('.');
        let name = if name.is_empty() { "solution" } else { name };
        format!("{name}-{}.zip", self.digest().short())
    }
}

/// Hashes what an artifact is.
///
/// The order of sources does not enter: it changes neither the build nor what is unpacked, a folder
/// has none, and the contest's packer writes whatever order it met. It does reach the bytes of
/// `solution.json` and with them FlashInfer-Bench's hashes, so two files that differ in nothing else
/// are one artifact with two of those; [`crate::difference`] says so.
fn identity(manifest: &Manifest) -> Digest {
    let Manifest { solution, build, target, sources, definition, workloads, unknown, .. } = manifest;
    let optional = |hash: DigestBuilder, field: Option<&str>| {
        hash.number(u64::from(field.is_some())).text(field.unwrap_or_default())
    };
    let part = |hash: DigestBuilder, part: Option<&PartEntry>| {
        optional(hash, part.map(|part| part.sha256.to_string()).as_deref())
    };
    let by_path: BTreeMap<_, _> = sources.iter().map(|source| (&source.path, source.sha256)).collect();
    let hash = DigestBuilder::new(IDENTITY_DOMAIN)
        .text(&solution.name)
        .text(&solution.definition)
        .text(&solution.author);
    let hash = optional(hash, solution.description.as_deref())
        .text(build.language.as_str())
        .list(build.target_hardware.iter(), |hash, name| hash.text(name))
        .text(&build.entry_point.to_string())
        .list(build.dependencies.iter(), |hash, name| hash.text(name))
        .number(u64::from(build.destination_passing_style));
    let hash = optional(hash, build.binding.map(super::submission::Binding::as_str))
        .text(&target.arch.to_string())
        .list(target.nvcc_flags.iter(), |hash, flag| hash.text(flag))
        .list(by_path.into_iter(), |hash, (path, sha256)| hash.text(path.as_str()).digest(&sha256));
    let hash = part(part(hash, definition.as_ref()), workloads.as_ref());
    let unknown = if unknown.is_empty() { String::new() } else { Value::Object(unknown.clone()).to_string() };
    hash.text(&unknown).finish()
}
