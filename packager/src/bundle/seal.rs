//! Binds evidence to one artifact: `evidence/seal.json` lists every other file of the evidence.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Bundle, BundleError};
use crate::artifact::PartEntry;
use crate::format::{EVIDENCE_PREFIX, SEAL_EVIDENCE};
use crate::json::{self, Budget};
use crate::{Digest, Evidence};

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

/// Writes the seal over everything else that was found out.
pub(super) fn write(bundle: &Bundle) -> String {
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

/// Takes the seal out of the evidence and checks that it covers the rest.
pub(super) fn check(mut evidence: Evidence, artifact: Digest) -> Result<Evidence, BundleError> {
    let name = || format!("{EVIDENCE_PREFIX}{SEAL_EVIDENCE}");
    let Some(text) = evidence.take(SEAL_EVIDENCE) else {
        return if evidence.is_empty() { Ok(evidence) } else { Err(BundleError::Missing { name: name() }) };
    };
    let text = String::from_utf8(text)
        .map_err(|_| BundleError::Entry { name: name(), reason: "it is not UTF-8".to_owned() })?;
    let seal: Seal =
        json::parse(&text, Budget::DOCUMENT).map_err(|source| BundleError::Json { name: name(), source })?;
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
