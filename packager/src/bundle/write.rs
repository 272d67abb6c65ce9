//! Writes a bundle as a zip.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{Cursor, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, System, ZipWriter};

use super::{Bundle, Content, seal};
use crate::artifact::Artifact;
use crate::format::{
    DEFINITION_NAME, EVIDENCE_PREFIX, MANIFEST_NAME, REFERENCE_PREFIX, SEAL_EVIDENCE, SOLUTION_NAME,
    SOURCES_PREFIX, WORKLOADS_NAME,
};
use crate::interop::flashinfer::solution;

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
        entries.insert(format!("{EVIDENCE_PREFIX}{SEAL_EVIDENCE}"), text_entry(seal::write(bundle)));
    }
    zip_of(&entries)
}

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

/// Writes entries as a zip: the same ones give the same bytes on every machine.
#[must_use]
pub fn zip_of(entries: &BTreeMap<String, Content<'_>>) -> Vec<u8> {
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

#[cfg(test)]
mod tests {
    use super::super::fixtures::{artifact, entries_of, sealed, with_reference};
    use super::super::read;
    use super::*;
    use crate::Evidence;

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
    fn evidence_never_changes_the_identity() {
        let bare = Bundle { artifact: artifact(), evidence: Evidence::default() };
        assert_eq!(
            read(&write(&bare)).unwrap().artifact.digest(),
            read(&write(&sealed())).unwrap().artifact.digest()
        );
    }
}
