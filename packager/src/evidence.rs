//! What was found out about an artifact; never part of its identity.

use std::collections::BTreeMap;

use crate::{Digest, DigestBuilder};

/// Tag of the hash over evidence.
const EVIDENCE_DOMAIN: &str = "proofmark/evidence/1";

/// What was found out about an artifact: named files, opaque to the packager.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence(BTreeMap<String, Vec<u8>>);

impl Evidence {
    /// Adds or replaces one file, named without the `evidence/` in front.
    #[must_use]
    pub fn with(mut self, name: &str, content: Vec<u8>) -> Self {
        self.0.insert(name.to_owned(), content);
        self
    }

    /// One file's bytes.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.get(name).map(Vec::as_slice)
    }

    /// The same without one file.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.0.remove(name);
        self
    }

    /// Takes one file out.
    pub(crate) fn take(&mut self, name: &str) -> Option<Vec<u8>> {
        self.0.remove(name)
    }

    /// Every file, sorted by name.
    pub fn files(&self) -> impl ExactSizeIterator<Item = (&str, &[u8])> {
        self.0.iter().map(|(name, content)| (name.as_str(), content.as_slice()))
    }

    /// Whether nothing was found out yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The evidence's own digest, bound to one artifact.
    #[must_use]
    pub fn digest(&self, artifact: Digest) -> Digest {
        DigestBuilder::new(EVIDENCE_DOMAIN)
            .digest(&artifact)
            .list(self.files(), |hash, (name, content)| hash.text(name).digest(&Digest::of_bytes(content)))
            .finish()
    }
}
