//! Reads a bundle: every entry is claimed once, and every digest holds.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

use super::{Bundle, BundleError, Content, archive, seal};
use crate::artifact::{Artifact, Manifest, PartEntry};
use crate::format::{
    ATTESTATION_EVIDENCE, BLOB_SUFFIX, BLOBS_PREFIX, BUILD_EVIDENCE, DEFINITION_NAME, EVIDENCE_PREFIX,
    FORMAT, MANIFEST_NAME, MEASUREMENTS_EVIDENCE, PROOF_EVIDENCE, RECORDINGS_EVIDENCE, REFERENCE_PREFIX,
    SEAL_EVIDENCE, SOLUTION_NAME, SOURCES_PREFIX, VERSIONS, WORKLOADS_NAME,
};
use crate::interop::flashinfer::solution;
use crate::json::{self, Budget};
use crate::sources::SourceFile;
use crate::submission::Submission;
use crate::{Digest, Evidence};

/// Reads a bundle and validates every part of it.
pub fn read(bytes: &[u8]) -> Result<Bundle, BundleError> {
    let mut entries = Entries(archive::unzip(bytes)?);
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
    let solution = entries.bytes(SOLUTION_NAME)?;
    let evidence = entries.evidence()?;
    if let Some(name) = entries.0.into_keys().next() {
        return Err(BundleError::Entry { name, reason: "the manifest does not list it".to_owned() });
    }
    let artifact = Artifact::pack(submission).map_err(BundleError::Invalid)?;
    if let (Some(claimed), Some(found)) = (&reference, artifact.reference()) {
        check_parts(claimed, found.manifest(), REFERENCE_PREFIX)?;
    }
    check_parts(&manifest, artifact.manifest(), "")?;
    if !solution::is_written_as(&artifact, &solution) {
        return Err(BundleError::Digest {
            name: SOLUTION_NAME.to_owned(),
            expected: "what manifest and sources give".to_owned(),
            found: "something else".to_owned(),
        });
    }
    let evidence = seal::check(evidence, artifact.digest())?;
    Ok(Bundle { artifact, evidence })
}

/// The archive's entries that no one has claimed yet.
struct Entries<'a>(BTreeMap<String, Content<'a>>);

impl<'a> Entries<'a> {
    fn bytes(&mut self, name: &str) -> Result<Content<'a>, BundleError> {
        self.0.remove(name).ok_or_else(|| BundleError::Missing { name: name.to_owned() })
    }

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
        let content = self.bytes(name)?;
        String::from_utf8(content.into_owned())
            .map_err(|_| BundleError::Entry { name: name.to_owned(), reason: "it is not UTF-8".to_owned() })
    }

    fn evidence(&mut self) -> Result<Evidence, BundleError> {
        let known = [
            ATTESTATION_EVIDENCE,
            BUILD_EVIDENCE,
            MEASUREMENTS_EVIDENCE,
            PROOF_EVIDENCE,
            RECORDINGS_EVIDENCE,
            SEAL_EVIDENCE,
        ];
        let names: Vec<_> = self.0.keys().filter(|name| name.starts_with(EVIDENCE_PREFIX)).cloned().collect();
        let mut evidence = Evidence::default();
        for name in names {
            let own = &name[EVIDENCE_PREFIX.len()..];
            if !known.contains(&own) && !is_blob(own) {
                let known = known.join(", ");
                let reason = format!("evidence is one of {known}, or {BLOBS_PREFIX}<sha256>{BLOB_SUFFIX}");
                return Err(BundleError::Entry { name, reason });
            }
            let content = self.bytes(&name)?;
            check_evidence(&name, &content)?;
            evidence = evidence.with(&name[EVIDENCE_PREFIX.len()..], content.into_owned());
        }
        Ok(evidence)
    }
}

/// Whether this is the name of a blob that recordings may name.
fn is_blob(name: &str) -> bool {
    let digest = name.strip_prefix(BLOBS_PREFIX).and_then(|rest| rest.strip_suffix(BLOB_SUFFIX));
    digest.is_some_and(|text| text.parse::<Digest>().is_ok_and(|digest| digest.to_string() == text))
}

/// Keeps evidence within the budgets of JSON, so that whoever reads it need not. What is compressed is checked
/// by who unpacks it.
fn check_evidence(name: &str, content: &[u8]) -> Result<(), BundleError> {
    let own = name.strip_prefix(EVIDENCE_PREFIX).unwrap_or(name);
    if own == RECORDINGS_EVIDENCE || is_blob(own) {
        return Ok(());
    }
    let is_samples = own == MEASUREMENTS_EVIDENCE;
    let budget = if is_samples { Budget::SAMPLES } else { Budget::DOCUMENT };
    json::check(content, budget).map_err(|source| BundleError::Json { name: name.to_owned(), source })
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
    let head: Head = match json::parse(text, Budget::DOCUMENT) {
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
    json::parse(text, Budget::DOCUMENT).map_err(|source| BundleError::Json { name, source })
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

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use zip::write::SimpleFileOptions;
    use zip::{CompressionMethod, ZipWriter};

    use super::super::fixtures::{artifact, deflated, entries_of, rezip, sealed, with_reference};
    use super::super::{layout, write};
    use super::*;

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
        let upper = format!("evidence/blobs/{}.zst", "A".repeat(64));
        for name in [
            "evidence/notes.txt",
            "evidence/deep/build.json",
            "evidence/Build.json",
            "evidence/blobs/../build.json",
            "evidence/blobs/1.zst",
            upper.as_str(),
        ] {
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
        for _ in 0..=archive::LARGEST_ENTRY_BYTES >> 20 {
            writer.write_all(&zeros).unwrap();
        }
        let bomb = writer.finish().unwrap().into_inner();
        assert!(bomb.len() < 1 << 20, "it should be a bomb: {} bytes", bomb.len());
        assert!(matches!(read(&bomb), Err(BundleError::TooLarge { .. })));
    }

    #[test]
    fn reads_what_another_tool_deflated_but_no_bytes_behind_the_end_of_a_stream() {
        let bytes = deflated(&entries_of(&write(&sealed())));
        assert_eq!(read(&bytes).unwrap().artifact.digest(), artifact().digest());
        // A byte more in the last entry, with every size and offset put right.
        let number = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        let end = bytes.len() - layout::END_RECORD_BYTES;
        let directory = number(&bytes, end + 16) as usize;
        let mut hidden = [&bytes[..directory], b"!", &bytes[directory..]].concat();
        let mut add_one = |at: usize| {
            let more = number(&hidden, at) + 1;
            hidden[at..at + 4].copy_from_slice(&more.to_le_bytes());
        };
        let find = |bytes: &[u8], signature: &[u8]| {
            (0..bytes.len()).rev().find(|&at| bytes[at..].starts_with(signature)).unwrap()
        };
        let (local, central) = (find(&bytes, b"PK\x03\x04"), find(&bytes, b"PK\x01\x02"));
        for at in [local + 18, central + 1 + 20, end + 1 + 16] {
            add_one(at);
        }
        let error = read(&hidden).unwrap_err();
        assert!(matches!(error, BundleError::Damaged { .. }), "{error}");
    }

    #[test]
    fn refuses_json_that_would_take_the_machines_memory() {
        let nested = format!("{{\"format\": \"proofmark.artifact\", \"x\": {}", "{\"\":[".repeat(1 << 20));
        let mut entries = entries_of(&write(&sealed()));
        for (name, text) in [
            (MANIFEST_NAME, nested.clone()),
            (MANIFEST_NAME, format!("[{}]", "0,".repeat(1 << 20))),
            ("evidence/build.json", nested.clone()),
            ("evidence/seal.json", nested.clone()),
        ] {
            let good = entries.insert(name.to_owned(), text.into_bytes()).unwrap();
            let error = read(&deflated(&entries)).unwrap_err();
            assert!(matches!(&error, BundleError::Json { name: found, .. } if found == name), "{error}");
            entries.insert(name.to_owned(), good);
        }
    }

    #[test]
    fn refuses_too_many_entries_before_it_reads_them() {
        let entries: BTreeMap<_, _> =
            (0..=archive::MOST_ENTRIES).map(|index| (format!("{index}"), Vec::new())).collect();
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
