//! Artifacts as zip bytes: the same artifact and evidence give the same bytes.
//!
//! Reading trusts nothing. The archive is bounded before and while it is read, every entry must be
//! one that [`crate::format`] names, and every digest must hold; what comes out is an [`Artifact`]
//! that validated.
//!
//! Bytes that no entry owns are refused, so that nothing travels in an artifact unseen. An artifact
//! that another tool zipped again is still read: deflated, with its own times and order.

mod layout;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{Cursor, Read, Write};

use serde::{Deserialize, Serialize};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, System, ZipArchive, ZipWriter};

use crate::artifact::{Artifact, Manifest, PartEntry};
use crate::format::{
    BUILD_EVIDENCE, DEFINITION_NAME, EVIDENCE_PREFIX, FORMAT, MANIFEST_NAME, MEASUREMENTS_EVIDENCE,
    PROOF_EVIDENCE, REFERENCE_PREFIX, SEAL_EVIDENCE, SOLUTION_NAME, SOURCES_PREFIX, VERSIONS, WORKLOADS_NAME,
};
use crate::interop::flashinfer::solution;
use crate::sources::{MOST_SOURCES, SourceFile, SourcePath};
use crate::submission::{Submission, Violations};
use crate::{Digest, Evidence};

/// Largest archive that is read, in bytes: sources twice, workloads and measurements.
pub const LARGEST_ARCHIVE_BYTES: u64 = 512 << 20;

/// Most entries in an archive: the most sources of a submission and of its reference, and the parts
/// beside them.
const MOST_ENTRIES: usize = 2 * (MOST_SOURCES + 8);

/// Largest single entry after decompression, in bytes.
const LARGEST_ENTRY_BYTES: u64 = 128 << 20;

/// Largest sum of all entries after decompression, in bytes.
const LARGEST_CONTENT_BYTES: u64 = 512 << 20;

/// Length of a zip's end record without comment, in bytes (APPNOTE 6.3.10, 4.3.16).
const END_RECORD_BYTES: usize = 22;

/// Length of the locator in front of it in a zip64 archive, in bytes (APPNOTE 6.3.10, 4.3.15).
const ZIP64_LOCATOR_BYTES: usize = 20;

/// What `evidence/seal.json` says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seal {
    format: String,
    version: u32,
    artifact: Digest,
    evidence: Digest,
    files: BTreeMap<String, PartEntry>,
}

const SEAL_FORMAT: &str = "proofmark.seal";
const SEAL_VERSION: u32 = 1;

/// An artifact and what was found out about it.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// The submission.
    pub artifact: Artifact,
    /// The evidence; empty before sealing.
    pub evidence: Evidence,
}

/// Why bytes are not an artifact.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Not a zip, or a damaged one.
    #[error("not an artifact: {reason}")]
    NotAnArchive {
        /// What is wrong with the archive.
        reason: String,
    },
    /// Larger than an artifact can be.
    #[error("archive exceeds a limit: {found} {what}, expected at most {most}")]
    TooLarge {
        /// What is counted.
        what: &'static str,
        /// The count as found.
        found: u64,
        /// The limit.
        most: u64,
    },
    /// An entry that an artifact cannot have.
    #[error("unexpected entry `{}` in the archive: {reason}", name.escape_debug())]
    Entry {
        /// The entry's name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An entry whose bytes are not what the archive says of them.
    #[error("entry `{}` of the archive is damaged", name.escape_debug())]
    Damaged {
        /// The entry's name.
        name: String,
        /// What the reader said.
        source: std::io::Error,
    },
    /// An entry that an artifact must have.
    #[error("no `{name}` in the archive")]
    Missing {
        /// The entry's name.
        name: String,
    },
    /// The manifest cannot be read.
    #[error("`{name}` is unreadable")]
    Json {
        /// The entry's name.
        name: String,
        /// The parser's reason.
        source: serde_json::Error,
    },
    /// The manifest is of another format or version.
    #[error(
        "artifact format `{}` version {found_version}: this proofmark reads {readable}", found_format.escape_debug()
    )]
    Version {
        /// The format as found.
        found_format: String,
        /// The version as found.
        found_version: u64,
        /// What would be read, in words.
        readable: String,
    },
    /// Content and digest disagree.
    #[error("`{name}` was changed: expected {expected}, found {found}")]
    Digest {
        /// The entry's name, or `identity`.
        name: String,
        /// What the manifest says.
        expected: String,
        /// What the bytes say.
        found: String,
    },
    /// Rules are broken.
    #[error("not a valid submission:\n  {0}")]
    Invalid(Violations),
}

/// Writes a bundle. The same bundle gives the same bytes on every machine.
#[must_use]
pub fn write(bundle: &Bundle) -> Vec<u8> {
    let artifact = &bundle.artifact;
    let mut entries = BTreeMap::new();
    entries.insert(SOLUTION_NAME.to_owned(), text_entry(solution::write(artifact)));
    entries.extend(parts_of(artifact, "", None));
    if let Some(reference) = artifact.reference() {
        entries.extend(parts_of(reference, REFERENCE_PREFIX, Some(artifact)));
    }
    for (name, content) in bundle.evidence.files() {
        entries.insert(format!("{EVIDENCE_PREFIX}{name}"), Cow::Borrowed(content));
    }
    if !bundle.evidence.is_empty() {
        entries.insert(format!("{EVIDENCE_PREFIX}{SEAL_EVIDENCE}"), text_entry(seal_of(bundle)));
    }
    zip_of(&entries)
}

/// What becomes of one entry's bytes.
type Content<'a> = Cow<'a, [u8]>;

/// The entries of one artifact or reference, without what the artifact around it has as well.
fn parts_of<'a>(
    artifact: &'a Artifact,
    prefix: &str,
    around: Option<&Artifact>,
) -> Vec<(String, Content<'a>)> {
    let manifest = serde_json::to_string_pretty(artifact.manifest()).expect("a manifest always serialises");
    let mut parts = vec![(format!("{prefix}{MANIFEST_NAME}"), text_entry(manifest))];
    let attachments = [
        (DEFINITION_NAME, artifact.definition(), around.and_then(Artifact::definition)),
        (WORKLOADS_NAME, artifact.workloads(), around.and_then(Artifact::workloads)),
    ];
    for (name, text, around) in attachments {
        let own = text.filter(|_| text != around);
        parts.extend(own.map(|text| (format!("{prefix}{name}"), Cow::Borrowed(text.as_bytes()))));
    }
    for source in artifact.sources() {
        let name = format!("{prefix}{SOURCES_PREFIX}{}", source.path);
        parts.push((name, Cow::Borrowed(source.content.as_bytes())));
    }
    parts
}

fn text_entry(text: String) -> Content<'static> {
    Cow::Owned(text.into_bytes())
}

fn seal_of(bundle: &Bundle) -> String {
    let artifact = bundle.artifact.digest();
    let seal = Seal {
        format: SEAL_FORMAT.to_owned(),
        version: SEAL_VERSION,
        artifact,
        evidence: bundle.evidence.digest(artifact),
        files: sealed_files(&bundle.evidence),
    };
    serde_json::to_string_pretty(&seal).expect("a seal always serialises")
}

fn sealed_files(evidence: &Evidence) -> BTreeMap<String, PartEntry> {
    let part =
        |content: &[u8]| PartEntry { size_bytes: content.len() as u64, sha256: Digest::of_bytes(content) };
    evidence.files().map(|(name, content)| (name.to_owned(), part(content))).collect()
}

fn zip_of(entries: &BTreeMap<String, Content<'_>>) -> Vec<u8> {
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(DateTime::DEFAULT)
        .unix_permissions(0o644)
        .system(System::Unix);
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in entries {
        writer.start_file(name, options).expect("names are short and unique");
        writer.write_all(content).expect("memory takes every write below 4 GiB");
    }
    writer.finish().expect("memory takes every write below 4 GiB").into_inner()
}

/// Reads a bundle and validates every part of it.
pub fn read(bytes: &[u8]) -> Result<Bundle, BundleError> {
    let mut entries = Entries(unzip(bytes)?);
    let manifest = entries.manifest("")?;
    let mut submission = entries.submission(&manifest, "", None)?;
    let reference = match manifest.reference {
        None => None,
        Some(_) => Some(entries.manifest(REFERENCE_PREFIX)?),
    };
    if let Some(reference) = &reference {
        let around = (&manifest, &submission);
        let inside = entries.submission(reference, REFERENCE_PREFIX, Some(around))?;
        submission.reference = Some(Box::new(inside));
    }
    let solution = entries.text(SOLUTION_NAME)?;
    let evidence = entries.evidence()?;
    if let Some(name) = entries.0.into_keys().next() {
        return Err(BundleError::Entry { name, reason: "the manifest does not list it".to_owned() });
    }
    let artifact = Artifact::pack(submission).map_err(BundleError::Invalid)?;
    if let (Some(claimed), Some(found)) = (&reference, artifact.reference()) {
        check_parts(claimed, found.manifest(), REFERENCE_PREFIX)?;
    }
    check_parts(&manifest, artifact.manifest(), "")?;
    if solution::write(&artifact) != solution {
        return Err(BundleError::Digest {
            name: SOLUTION_NAME.to_owned(),
            expected: "what manifest and sources give".to_owned(),
            found: "something else".to_owned(),
        });
    }
    let evidence = check_seal(evidence, artifact.digest())?;
    Ok(Bundle { artifact, evidence })
}

/// The archive's entries that no one has claimed yet.
struct Entries(BTreeMap<String, Vec<u8>>);

impl Entries {
    fn manifest(&mut self, prefix: &str) -> Result<Manifest, BundleError> {
        let name = format!("{prefix}{MANIFEST_NAME}");
        let text = self.text(&name)?;
        read_manifest(name, &text)
    }

    /// The parts that a manifest lists, and those that a reference shares with the artifact around it.
    fn submission(
        &mut self,
        manifest: &Manifest,
        prefix: &str,
        around: Option<(&Manifest, &Submission)>,
    ) -> Result<Submission, BundleError> {
        let sources = manifest.sources.iter().map(|entry| {
            let content = self.text(&format!("{prefix}{SOURCES_PREFIX}{}", entry.path))?;
            Ok(SourceFile { path: entry.path.clone(), content })
        });
        let sources = sources.collect::<Result<_, BundleError>>()?;
        let shared = |part: fn(&Manifest) -> Option<&PartEntry>, text: fn(&Submission) -> Option<&String>| {
            let (outside, submission) = around?;
            text(submission).filter(|_| part(outside) == part(manifest)).cloned()
        };
        let mut attachment =
            |part: Option<&PartEntry>, shared: Option<String>, name: &str| match (part, shared) {
                (None, _) => Ok(None),
                (Some(_), Some(text)) => Ok(Some(text)),
                (Some(_), None) => self.text(&format!("{prefix}{name}")).map(Some),
            };
        let definition = shared(|outside| outside.definition.as_ref(), |outside| outside.definition.as_ref());
        let workloads = shared(|outside| outside.workloads.as_ref(), |outside| outside.workloads.as_ref());
        Ok(Submission {
            solution: manifest.solution.clone(),
            build: manifest.build.clone(),
            target: manifest.target.clone(),
            sources,
            definition: attachment(manifest.definition.as_ref(), definition, DEFINITION_NAME)?,
            workloads: attachment(manifest.workloads.as_ref(), workloads, WORKLOADS_NAME)?,
            reference: None,
            unknown: manifest.unknown.clone(),
        })
    }

    fn text(&mut self, name: &str) -> Result<String, BundleError> {
        let content = self.0.remove(name).ok_or_else(|| BundleError::Missing { name: name.to_owned() })?;
        String::from_utf8(content)
            .map_err(|_| BundleError::Entry { name: name.to_owned(), reason: "it is not UTF-8".to_owned() })
    }

    fn evidence(&mut self) -> Result<Evidence, BundleError> {
        let known = [BUILD_EVIDENCE, MEASUREMENTS_EVIDENCE, PROOF_EVIDENCE, SEAL_EVIDENCE];
        let names: Vec<_> = self.0.keys().filter(|name| name.starts_with(EVIDENCE_PREFIX)).cloned().collect();
        let mut evidence = Evidence::default();
        for name in names {
            if !known.contains(&&name[EVIDENCE_PREFIX.len()..]) {
                let reason = format!("evidence is one of {}", known.join(", "));
                return Err(BundleError::Entry { name, reason });
            }
            let content = self.0.remove(&name).unwrap_or_default();
            evidence = evidence.with(&name[EVIDENCE_PREFIX.len()..], content);
        }
        Ok(evidence)
    }
}

fn read_manifest(name: String, text: &str) -> Result<Manifest, BundleError> {
    #[derive(Deserialize)]
    struct Head {
        #[serde(default)]
        format: String,
        #[serde(default)]
        version: u64,
    }
    // The version is read first, so that a newer format is refused as newer and not as broken.
    let head: Head = match serde_json::from_str(text) {
        Ok(head) => head,
        Err(source) => return Err(BundleError::Json { name, source }),
    };
    let known = VERSIONS.iter().any(|version| head.version == u64::from(*version));
    if head.format != FORMAT || !known {
        return Err(BundleError::Version {
            found_format: head.format,
            found_version: head.version,
            readable: format!("`{FORMAT}` version {} or {}", VERSIONS[0], VERSIONS[VERSIONS.len() - 1]),
        });
    }
    serde_json::from_str(text).map_err(|source| BundleError::Json { name, source })
}

/// Compares what a manifest claims with what the parts give.
fn check_parts(claimed: &Manifest, found: &Manifest, prefix: &str) -> Result<(), BundleError> {
    let differ = |name: String, expected: &dyn fmt::Display, found: &dyn fmt::Display| {
        Err(BundleError::Digest { name, expected: expected.to_string(), found: found.to_string() })
    };
    for (claimed, found) in claimed.sources.iter().zip(&found.sources) {
        if claimed != found {
            return differ(
                format!("{prefix}{SOURCES_PREFIX}{}", claimed.path),
                &claimed.sha256,
                &found.sha256,
            );
        }
    }
    let attachments = [
        (DEFINITION_NAME, &claimed.definition, &found.definition),
        (WORKLOADS_NAME, &claimed.workloads, &found.workloads),
    ];
    for (name, claimed, found) in attachments {
        if let (Some(claimed), Some(found)) = (claimed, found)
            && claimed != found
        {
            return differ(format!("{prefix}{name}"), &claimed.sha256, &found.sha256);
        }
    }
    if claimed.digest != found.digest {
        return differ(format!("{prefix}identity"), &claimed.digest, &found.digest);
    }
    if claimed != found {
        let name = format!("{prefix}{MANIFEST_NAME}");
        return differ(name, &"what its parts give", &"something else");
    }
    Ok(())
}

/// Takes the seal out of the evidence and checks that it covers the rest.
fn check_seal(mut evidence: Evidence, artifact: Digest) -> Result<Evidence, BundleError> {
    let name = || format!("{EVIDENCE_PREFIX}{SEAL_EVIDENCE}");
    let Some(text) = evidence.take(SEAL_EVIDENCE) else {
        return if evidence.is_empty() { Ok(evidence) } else { Err(BundleError::Missing { name: name() }) };
    };
    let seal: Seal =
        serde_json::from_slice(&text).map_err(|source| BundleError::Json { name: name(), source })?;
    if seal.format != SEAL_FORMAT || seal.version != SEAL_VERSION {
        return Err(BundleError::Version {
            found_format: seal.format,
            found_version: seal.version.into(),
            readable: format!("`{SEAL_FORMAT}` version {SEAL_VERSION}"),
        });
    }
    let checks =
        [("artifact", seal.artifact, artifact), ("evidence", seal.evidence, evidence.digest(artifact))];
    for (what, expected, found) in checks {
        if expected != found {
            let name = format!("{} ({what})", name());
            return Err(BundleError::Digest {
                name,
                expected: expected.to_string(),
                found: found.to_string(),
            });
        }
    }
    let found = sealed_files(&evidence);
    let names: BTreeSet<_> = seal.files.keys().chain(found.keys()).collect();
    if let Some(file) = names.into_iter().find(|name| seal.files.get(*name) != found.get(*name)) {
        let part = |files: &BTreeMap<String, PartEntry>| {
            files.get(file).map_or_else(
                || "nothing".to_owned(),
                |part| format!("{} bytes, {}", part.size_bytes, part.sha256),
            )
        };
        let (expected, found) = (part(&seal.files), part(&found));
        return Err(BundleError::Digest { name: format!("{EVIDENCE_PREFIX}{file}"), expected, found });
    }
    Ok(evidence)
}

/// Unpacks an archive in memory, bounded at every step.
fn unzip(bytes: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, BundleError> {
    let count = check_end_record(bytes)?;
    layout::check(bytes)?;
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(damaged)?;
    if archive.len() != count {
        let reason = format!("{count} entries but {} names: a name appears twice", archive.len());
        return Err(BundleError::NotAnArchive { reason });
    }
    let mut entries = BTreeMap::new();
    let mut total_bytes = 0;
    for index in 0..archive.len() {
        let file = archive.by_index(index).map_err(damaged)?;
        let name = file.name().map_err(damaged)?.into_owned();
        let refuse = |reason: &str| BundleError::Entry { name: name.clone(), reason: reason.to_owned() };
        if file.is_symlink() || file.is_dir() || !file.is_file() {
            return Err(refuse("expected plain files only"));
        }
        if let Err(error) = name.parse::<SourcePath>() {
            return Err(refuse(&error.reason.to_string()));
        }
        let mut content = Vec::new();
        let most = LARGEST_ENTRY_BYTES.min(LARGEST_CONTENT_BYTES - total_bytes);
        let read = file.take(most + 1).read_to_end(&mut content);
        read.map_err(|source| BundleError::Damaged { name: name.clone(), source })?;
        if content.len() as u64 > most {
            return Err(too_large("bytes of content", most + 1, most));
        }
        total_bytes += content.len() as u64;
        if entries.insert(name.clone(), content).is_some() {
            return Err(refuse("it appears twice"));
        }
    }
    Ok(entries)
}

/// Bounds the archive before the zip reader allocates for its entries.
///
/// An artifact ends with a plain end record: no comment, no zip64. That leaves one place where the
/// count of entries stands, and no room for a second reading of the same bytes.
fn check_end_record(bytes: &[u8]) -> Result<usize, BundleError> {
    if bytes.len() as u64 > LARGEST_ARCHIVE_BYTES {
        return Err(too_large("bytes", bytes.len() as u64, LARGEST_ARCHIVE_BYTES));
    }
    let not = |reason: &str| BundleError::NotAnArchive { reason: reason.to_owned() };
    if !bytes.starts_with(b"PK") {
        return Err(not("it does not start as a zip"));
    }
    let end = bytes.len().checked_sub(END_RECORD_BYTES).map(|start| &bytes[start..]);
    let Some(end) = end.filter(|end| end.starts_with(b"PK\x05\x06") && end.ends_with(&[0, 0])) else {
        return Err(not("it does not end as a zip: truncated, or bytes behind it"));
    };
    let locator = bytes.len().checked_sub(END_RECORD_BYTES + ZIP64_LOCATOR_BYTES);
    if locator.is_some_and(|start| bytes[start..].starts_with(b"PK\x06\x07")) {
        return Err(not("zip64 archives are not artifacts"));
    }
    let count = u16::from_le_bytes([end[10], end[11]]).into();
    if count > MOST_ENTRIES {
        return Err(too_large("entries", count as u64, MOST_ENTRIES as u64));
    }
    Ok(count)
}

fn too_large(what: &'static str, found: u64, most: u64) -> BundleError {
    BundleError::TooLarge { what, found, most }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that `map_err` wants")]
fn damaged(error: zip::result::ZipError) -> BundleError {
    BundleError::NotAnArchive { reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::submission::SolutionMeta;

    fn artifact() -> Artifact {
        let text = r#"{"name":"n","definition":"d","author":"a","description":"",
            "spec":{"language":"cuda","target_hardware":["cuda"],"entry_point":"k.cu::run"},
            "sources":[{"path":"k.cu","content":"kernel"},{"path":"in/t.cuh","content":"tile"}]}"#;
        solution::read(text).unwrap()
    }

    fn sealed() -> Bundle {
        let evidence =
            Evidence::default().with("build.json", b"{}".to_vec()).with("proof.json", b"[]".to_vec());
        Bundle { artifact: artifact(), evidence }
    }

    /// An artifact with a reference: one definition for both, workloads of its own for each.
    fn with_reference() -> Bundle {
        let submission = |name: &str, workloads: &str| Submission {
            solution: SolutionMeta { name: name.to_owned(), ..artifact().manifest().solution.clone() },
            build: artifact().manifest().build.clone(),
            target: artifact().manifest().target.clone(),
            sources: artifact().sources().to_vec(),
            definition: Some("{\"name\": \"d\"}".to_owned()),
            workloads: Some(workloads.to_owned()),
            reference: None,
            unknown: serde_json::Map::new(),
        };
        let reference = Some(Box::new(submission("reference", "theirs")));
        let artifact = Artifact::pack(Submission { reference, ..submission("n", "ours") }).unwrap();
        Bundle { artifact, evidence: Evidence::default() }
    }

    fn entries_of(bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
        unzip(bytes).unwrap()
    }

    fn rezip(entries: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
        zip_of(
            &entries
                .iter()
                .map(|(name, content)| (name.clone(), Cow::Borrowed(content.as_slice())))
                .collect(),
        )
    }

    #[test]
    fn reads_back_what_it_writes_and_writes_it_again() {
        let bytes = write(&sealed());
        let bundle = read(&bytes).unwrap();
        assert_eq!(bundle.artifact.digest(), artifact().digest());
        assert_eq!(bundle.evidence, sealed().evidence);
        assert_eq!(write(&bundle), bytes);
    }

    #[test]
    fn a_reference_is_part_of_the_identity_and_shares_what_is_the_same() {
        let (bundle, without) = (with_reference(), artifact());
        let bytes = write(&bundle);
        let again = read(&bytes).unwrap();
        assert_eq!(write(&again), bytes);
        let (reference, expected) =
            (again.artifact.reference().unwrap(), bundle.artifact.reference().unwrap());
        assert_eq!(reference.manifest(), expected.manifest());
        assert_eq!(
            (reference.definition(), reference.workloads()),
            (again.artifact.definition(), Some("theirs"))
        );
        let names: Vec<_> =
            entries_of(&bytes).into_keys().filter(|name| name.starts_with("reference/")).collect();
        assert_eq!(
            names,
            [
                "reference/proofmark.json",
                "reference/sources/in/t.cuh",
                "reference/sources/k.cu",
                "reference/workloads.jsonl"
            ]
        );
        assert_eq!((without.manifest().version, again.artifact.manifest().version), (1, 2));
        assert_ne!(bundle.artifact.digest(), without.digest());
    }

    #[test]
    fn an_artifact_without_a_reference_keeps_the_digest_that_it_always_had() {
        // The digest that release 0.1 gave before there were references.
        let expected = "f6d01ecb13f658973433c4bb77682145d323e7b8118a6a7fc53756773e2f453b";
        assert_eq!(artifact().digest().to_string(), expected);
    }

    #[test]
    fn a_reference_that_is_none_or_repeats_the_definition_is_refused() {
        let entries = entries_of(&write(&with_reference()));
        let mut repeated = entries.clone();
        repeated.insert("reference/definition.json".to_owned(), entries[DEFINITION_NAME].clone());
        assert!(matches!(read(&rezip(&repeated)), Err(BundleError::Entry { .. })));
        // Another artifact in the place of the reference: its manifest holds, the outer one does not.
        let mut other = entries.clone();
        for (name, content) in
            entries_of(&write(&Bundle { artifact: artifact(), evidence: Evidence::default() }))
        {
            if name != SOLUTION_NAME {
                other.insert(format!("{REFERENCE_PREFIX}{name}"), content);
            }
        }
        other.remove("reference/workloads.jsonl");
        let error = read(&rezip(&other)).unwrap_err();
        assert!(matches!(&error, BundleError::Digest { name, .. } if name == "identity"), "{error}");
    }

    #[test]
    fn evidence_never_changes_the_identity() {
        let bare = Bundle { artifact: artifact(), evidence: Evidence::default() };
        assert_eq!(
            read(&write(&bare)).unwrap().artifact.digest(),
            read(&write(&sealed())).unwrap().artifact.digest()
        );
    }

    #[test]
    fn catches_a_change_in_any_entry() {
        for bundle in [sealed(), with_reference()] {
            let entries = entries_of(&write(&bundle));
            for name in entries.keys() {
                let mut changed = entries.clone();
                changed.get_mut(name).unwrap()[0] ^= 1;
                assert!(read(&rezip(&changed)).is_err(), "a changed {name} passed");
                let mut lost = entries.clone();
                lost.remove(name);
                assert!(read(&rezip(&lost)).is_err(), "a lost {name} passed");
            }
        }
    }

    #[test]
    fn catches_every_flipped_byte_that_matters() {
        let bytes = write(&sealed());
        let good = read(&bytes).unwrap();
        for offset in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[offset] ^= 0x41;
            // Times, modes and version fields of the zip carry nothing of ours: such a flip may be
            // read, but never as another artifact.
            if let Ok(read) = read(&flipped) {
                assert_eq!(read.artifact.manifest(), good.artifact.manifest(), "offset {offset}");
                assert_eq!(read.evidence, good.evidence, "offset {offset}");
            }
        }
    }

    #[test]
    fn catches_every_truncation_and_trailing_bytes() {
        let bytes = write(&sealed());
        for length in 0..bytes.len() {
            assert!(read(&bytes[..length]).is_err(), "length {length}");
        }
        assert!(read(&[&bytes[..], b"x"].concat()).is_err());
        assert!(read(&[b"x", &bytes[..]].concat()).is_err());
    }

    #[test]
    fn refuses_names_that_leave_or_collide() {
        for name in [
            "../evil",
            "/etc/evil",
            "sources/../../evil",
            "sources\\evil",
            "a\nb",
            "sources/k.cu/",
            "extra.txt",
        ] {
            let mut entries = entries_of(&write(&sealed()));
            entries.insert(name.to_owned(), b"x".to_vec());
            assert!(read(&rezip(&entries)).is_err(), "{name:?}");
        }
    }

    #[test]
    fn refuses_control_characters_in_a_manifest() {
        let mut entries = entries_of(&write(&sealed()));
        let manifest = String::from_utf8(entries[MANIFEST_NAME].clone()).unwrap();
        let changed = manifest.replace("\"author\": \"a\"", "\"author\": \"a\\u001b[1A\"");
        assert_ne!(changed, manifest);
        entries.insert(MANIFEST_NAME.to_owned(), changed.into_bytes());
        let error = read(&rezip(&entries)).unwrap_err();
        assert!(matches!(error, BundleError::Invalid(_)), "{error}");
    }

    #[test]
    fn refuses_evidence_that_the_format_does_not_name() {
        for name in ["evidence/notes.txt", "evidence/deep/build.json", "evidence/Build.json"] {
            let mut entries = entries_of(&write(&sealed()));
            entries.insert(name.to_owned(), b"x".to_vec());
            let error = read(&rezip(&entries)).unwrap_err();
            assert!(matches!(&error, BundleError::Entry { name: found, .. } if found == name), "{error}");
        }
    }

    #[test]
    fn refuses_a_seal_that_lists_other_files() {
        let entries = entries_of(&write(&sealed()));
        let seal = String::from_utf8(entries["evidence/seal.json"].clone()).unwrap();
        for (from, to) in [("\"size_bytes\": 2", "\"size_bytes\": 3"), ("proof.json", "proofs.json")] {
            let mut entries = entries.clone();
            let changed = seal.replacen(from, to, 1);
            assert_ne!(changed, seal);
            entries.insert("evidence/seal.json".to_owned(), changed.into_bytes());
            let error = read(&rezip(&entries)).unwrap_err();
            assert!(matches!(error, BundleError::Digest { .. }), "{error}");
        }
    }

    #[test]
    fn refuses_links_and_folders() {
        let options = SimpleFileOptions::default();
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        writer.add_symlink("sources/k.cu", "/etc/passwd", options).unwrap();
        let link = writer.finish().unwrap().into_inner();
        assert!(matches!(read(&link), Err(BundleError::Entry { .. })));
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        writer.add_directory("sources", options).unwrap();
        assert!(matches!(read(&writer.finish().unwrap().into_inner()), Err(BundleError::Entry { .. })));
    }

    #[test]
    fn bounds_a_bomb_while_it_unpacks() {
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        writer.start_file("sources/k.cu", options).unwrap();
        let zeros = vec![0; 1 << 20];
        for _ in 0..=LARGEST_ENTRY_BYTES >> 20 {
            writer.write_all(&zeros).unwrap();
        }
        let bomb = writer.finish().unwrap().into_inner();
        assert!(bomb.len() < 1 << 20, "it should be a bomb: {} bytes", bomb.len());
        assert!(matches!(read(&bomb), Err(BundleError::TooLarge { .. })));
    }

    #[test]
    fn refuses_too_many_entries_before_it_reads_them() {
        let entries: BTreeMap<_, _> =
            (0..=MOST_ENTRIES).map(|index| (format!("{index}"), Vec::new())).collect();
        assert!(matches!(read(&rezip(&entries)), Err(BundleError::TooLarge { what: "entries", .. })));
    }

    #[test]
    fn refuses_a_name_that_appears_twice() {
        let bytes = write(&sealed());
        // Both names are equally long, so that every offset in the archive stays right.
        let text = |name: &str| name.as_bytes().to_vec();
        let (from, to) = (text("evidence/proof.json"), text("evidence/build.json"));
        assert_eq!(from.len(), to.len());
        let mut twice = bytes.clone();
        for start in 0..twice.len() - from.len() {
            if twice[start..].starts_with(&from) {
                twice[start..start + to.len()].copy_from_slice(&to);
            }
        }
        assert!(matches!(read(&twice), Err(BundleError::NotAnArchive { .. })));
    }

    #[test]
    fn refuses_a_newer_version_as_newer() {
        let mut entries = entries_of(&write(&sealed()));
        let manifest = String::from_utf8(entries[MANIFEST_NAME].clone()).unwrap();
        let newer = manifest.replace("\"version\": 1", "\"version\": 3, \"surprise\": {}");
        entries.insert(MANIFEST_NAME.to_owned(), newer.into_bytes());
        let error = read(&rezip(&entries)).unwrap_err();
        assert!(matches!(error, BundleError::Version { found_version: 3, .. }), "{error}");
    }
}
