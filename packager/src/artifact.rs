//! The artifact: a submission whose every part is checked and hashed.
//!
//! Holding an [`Artifact`] means that it validated: there is no way to make one that breaks a rule
//! of [`crate::submission`], and none to change it afterwards.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::format;
use crate::json;
use crate::sources::{LARGEST_DEFINITION_BYTES, LARGEST_WORKLOADS_BYTES, SourceFile, SourcePath};
use crate::submission::{
    Binding, BuildSpec, SolutionMeta, Submission, Target, Violation, Violations, violations_among,
    violations_of_texts,
};
use crate::{Digest, DigestBuilder};

/// Tag of the identity hash. Changes whenever what enters the hash does.
const IDENTITY_DOMAIN: &str = "proofmark/artifact/1";

/// Tag of the identity hash of an artifact with a reference, whose digest enters last.
const IDENTITY_WITH_REFERENCE_DOMAIN: &str = "proofmark/artifact/2";

/// Largest manifest, in bytes: 4,096 sources with the longest paths take less.
const LARGEST_MANIFEST_BYTES: u64 = 4 << 20;

/// Longest name that a file or folder is called by, in characters: a digest and an ending still fit.
const LONGEST_PLAIN_NAME: usize = 80;

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
    /// The identity of the reference, if packed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Digest>,
    /// Fields of an imported `solution.json` that its format does not know, and what `[sol-execbench]` of a
    /// config.toml says.
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
    reference: Option<Box<Artifact>>,
}

impl Artifact {
    /// Checks what must hold between the parts, hashes them, and names the result.
    pub fn pack(submission: Submission) -> Result<Self, Violations> {
        let Submission { solution, build, target, sources, definition, workloads, reference, unknown } =
            submission;
        let mut violations = violations_of_texts(
            &solution,
            [
                ("dependencies", &build.dependencies),
                ("target_hardware", &build.target_hardware),
                ("nvcc_flags", &target.nvcc_flags),
            ],
        );
        violations.extend(violations_among(&sources, &build.entry_point));
        let reference = reference.and_then(|reference| {
            let packed = pack_reference(*reference, &solution.definition, definition.is_some());
            packed.map_err(|found| violations.extend(found)).ok()
        });
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
            version: format::version_of(reference.is_some()),
            digest: Digest::of_bytes(&[]),
            solution,
            build,
            target,
            sources: entries.collect(),
            definition: definition.as_deref().map(PartEntry::of),
            workloads: workloads.as_deref().map(PartEntry::of),
            reference: reference.as_ref().map(Artifact::digest),
            unknown,
        };
        manifest.digest = identity(&manifest);
        let artifact = Self { manifest, sources, definition, workloads, reference: reference.map(Box::new) };
        match artifact.oversized_parts() {
            oversized if oversized.is_empty() => Ok(artifact),
            oversized => Err(Violations(oversized)),
        }
    }

    /// Parts that no reader takes, so that nothing is written which cannot be read.
    fn oversized_parts(&self) -> Vec<Violation> {
        let length = |text: &Option<String>| text.as_ref().map_or(0, |text| text.len() as u64);
        let manifest_bytes = json::size_bytes(&self.manifest);
        // `solution.json` says of a source less than the manifest does, but for its text.
        let escaped_bytes: u64 = self.sources.iter().map(|source| json::size_bytes(&source.content)).sum();
        let parts = [
            (format::MANIFEST_NAME, manifest_bytes, LARGEST_MANIFEST_BYTES),
            (format::SOLUTION_NAME, manifest_bytes + escaped_bytes, format::LARGEST_SOLUTION_BYTES),
            (format::DEFINITION_NAME, length(&self.definition), LARGEST_DEFINITION_BYTES),
            (format::WORKLOADS_NAME, length(&self.workloads), LARGEST_WORKLOADS_BYTES),
        ];
        let oversized = parts.into_iter().filter(|(_, found_bytes, most_bytes)| found_bytes > most_bytes);
        oversized
            .map(|(path, found_bytes, most_bytes)| Violation::TooLarge {
                path: path.to_owned(),
                found_bytes,
                most_bytes,
            })
            .collect()
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

    /// The submission that says what is right: same definition, no reference of its own.
    #[must_use]
    pub fn reference(&self) -> Option<&Artifact> {
        self.reference.as_deref()
    }

    /// The solution's name as one component of a path, which no letter of it can leave or hide.
    #[must_use]
    pub fn plain_name(&self) -> String {
        let plain = |one: char| if one.is_alphanumeric() || "._-".contains(one) { one } else { '_' };
        let name: String = self.manifest.solution.name.chars().map(plain).take(LONGEST_PLAIN_NAME).collect();
        let name = name.trim_start_matches('.');
        if name.is_empty() { "solution".to_owned() } else { name.to_owned() }
    }

    /// A file name: the solution's name and the digest's first twelve digits, `<name>-<digest12>.zip`.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{}-{}.zip", self.plain_name(), self.digest().short())
    }
}

/// Packs the reference of a submission and checks what must hold between the two.
fn pack_reference(
    reference: Submission,
    definition: &str,
    has_definition: bool,
) -> Result<Artifact, Vec<Violation>> {
    let mut violations = Vec::new();
    if reference.solution.definition != definition {
        let found = reference.solution.definition.clone();
        violations.push(Violation::ReferenceOfAnother { found, expected: definition.to_owned() });
    }
    if reference.reference.is_some() {
        violations.push(Violation::ReferenceWithReference);
    }
    if !has_definition {
        violations.push(Violation::ReferenceWithoutDefinition);
    }
    match Artifact::pack(Submission { reference: None, ..reference }) {
        Ok(packed) if violations.is_empty() => return Ok(packed),
        Ok(_) => {}
        Err(Violations(found)) => {
            violations.extend(found.into_iter().map(|one| Violation::InReference(Box::new(one))));
        }
    }
    Err(violations)
}

/// Hashes what an artifact is.
///
/// Every structure is taken apart field by field, so that a new field cannot stay outside of the
/// identity unseen.
///
/// The order of sources does not enter: it changes neither the build nor what is unpacked, a folder
/// has none, and the contest's packer writes whatever order it met. It does reach the bytes of
/// `solution.json` and with them FlashInfer-Bench's hashes, so two files that differ in nothing else
/// are one artifact with two of those; [`crate::difference`] says so.
fn identity(manifest: &Manifest) -> Digest {
    let Manifest {
        format: _,
        version: _,
        digest: _,
        solution: SolutionMeta { name, definition, author, description },
        build:
            BuildSpec { language, target_hardware, entry_point, dependencies, destination_passing_style, binding },
        target: Target { arch, nvcc_flags },
        sources,
        definition: definition_part,
        workloads,
        reference,
        unknown,
    } = manifest;
    let optional = |hash: DigestBuilder, field: Option<&str>| {
        hash.number(u64::from(field.is_some())).text(field.unwrap_or_default())
    };
    // The size of a part follows from its bytes, which the digest stands for.
    let part = |hash: DigestBuilder, part: Option<&PartEntry>| {
        let sha256 = part.map(|PartEntry { size_bytes: _, sha256 }| sha256.to_string());
        optional(hash, sha256.as_deref())
    };
    let by_path: BTreeMap<_, _> =
        sources.iter().map(|SourceEntry { path, size_bytes: _, sha256 }| (path, sha256)).collect();
    let domain = if reference.is_some() { IDENTITY_WITH_REFERENCE_DOMAIN } else { IDENTITY_DOMAIN };
    let hash = DigestBuilder::new(domain).text(name).text(definition).text(author);
    let hash = optional(hash, description.as_deref())
        .text(language.as_str())
        .list(target_hardware.iter(), |hash, name| hash.text(name))
        .text(&entry_point.to_string())
        .list(dependencies.iter(), |hash, name| hash.text(name))
        .number(u64::from(*destination_passing_style));
    let hash = optional(hash, binding.map(Binding::as_str))
        .text(&arch.to_string())
        .list(nvcc_flags.iter(), |hash, flag| hash.text(flag))
        .list(by_path.into_iter(), |hash, (path, sha256)| hash.text(path.as_str()).digest(sha256));
    let hash = part(part(hash, definition_part.as_ref()), workloads.as_ref());
    let unknown = if unknown.is_empty() { String::new() } else { Value::Object(unknown.clone()).to_string() };
    let hash = hash.text(&unknown);
    match reference {
        Some(reference) => hash.digest(reference).finish(),
        None => hash.finish(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::{self, Bundle};
    use crate::{EntryPoint, Evidence};

    fn submission(sources: Vec<(String, String)>) -> Submission {
        let source = |(path, content): (String, String)| SourceFile { path: path.parse().unwrap(), content };
        Submission {
            solution: SolutionMeta {
                name: "n".to_owned(),
                definition: "d".to_owned(),
                author: "a".to_owned(),
                description: None,
            },
            build: BuildSpec {
                language: crate::submission::Language::Cuda,
                target_hardware: vec!["cuda".to_owned()],
                entry_point: EntryPoint { file: sources[0].0.parse().unwrap(), symbol: "run".to_owned() },
                dependencies: Vec::new(),
                destination_passing_style: true,
                binding: None,
            },
            target: Target::default(),
            sources: sources.into_iter().map(source).collect(),
            definition: None,
            workloads: None,
            reference: None,
            unknown: Map::new(),
        }
    }

    #[test]
    fn packs_nothing_that_cannot_be_read_again() {
        let many = |count: usize| (0..count).map(|index| (format!("{index}.cu"), "x".to_owned())).collect();
        let mebibytes = |text: &str, count: usize| {
            (0..count).map(|index| (format!("{index}.cu"), text.repeat(1 << 20))).collect()
        };
        let largest: [Vec<(String, String)>; 2] = [many(4096), mebibytes("\u{1}", 1)];
        for sources in largest {
            let artifact = Artifact::pack(submission(sources)).unwrap();
            let bytes = bundle::write(&Bundle { artifact, evidence: Evidence::default() });
            assert!(bundle::read(&bytes).is_ok());
        }
        for (sources, part) in [
            (many(4097), "4096 files"),
            (mebibytes("x", 33), "32 MiB in all"),
            (mebibytes("\u{1}", 9), "solution.json"),
            (vec![("k.cu".to_owned(), "x".repeat(9 << 20))], "k.cu"),
        ] {
            let refused = Artifact::pack(submission(sources)).unwrap_err().to_string();
            assert!(refused.contains(part), "{part} not in {refused}");
        }
        let mut long = submission(many(1));
        long.solution.name = "x".repeat(5 << 20);
        assert!(Artifact::pack(long).unwrap_err().to_string().contains("proofmark.json"));
    }
}
