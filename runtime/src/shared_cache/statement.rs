//! What is signed of a build: which archive, library and log belong to a key.
//!
//! An in-toto statement in a DSSE envelope, one file:
//!
//! ```text
//! subject        archive.zip, library.so, build.log: SHA-256 of each
//! predicateType  urn:proofmark:cache-entry:1
//! predicate      key, plan, archive_bytes, first_built_as,
//!                dependencies: each header that the build read, with its digest
//! ```
//!
//! The key is the plan and the headers hashed, so a statement can stand for one build alone: under another
//! plan, or with other headers, it says nothing.

use std::collections::BTreeMap;

use proofmark_packager::Digest;
use proofmark_packager::json::{self, Budget, JsonError};
use serde::{Deserialize, Serialize};

use super::archive::{self, LIBRARY_NAME, LOG_NAME};
use crate::build::{self, Dependencies};
use crate::cache::{BuildName, Key, PlanKey};
use crate::signing::{self, AllowedSigners, Envelope, Forged, PAYLOAD_TYPE, Signer};

/// Largest statement that is read, in bytes: some thousand headers, twice in base64.
pub(super) const LARGEST_BYTES: u64 = 4 << 20;

const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
const PREDICATE_TYPE: &str = "urn:proofmark:cache-entry:1";
const ARCHIVE_NAME: &str = "archive.zip";

/// What a build gave, as somebody says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryStatement {
    /// Which build.
    pub key: Key,
    /// Everything of the key but the headers.
    pub plan: PlanKey,
    /// The headers that it read.
    pub dependencies: Dependencies,
    /// The submission that it was first built for.
    pub first_built_as: BuildName,
    /// What holds the two below.
    pub archive: Digest,
    /// Its size in bytes.
    pub archive_bytes: u64,
    /// What came out.
    pub library: Digest,
    /// The compiler's words.
    pub log: Digest,
}

/// Why a statement is not believed.
#[derive(Debug, thiserror::Error)]
pub enum StatementFault {
    /// It is no envelope of ours.
    #[error("it is no envelope: {reason}")]
    Envelope {
        /// What is wrong.
        reason: String,
    },
    /// Nobody who is allowed signed it.
    #[error("it is signed by {} and by nobody who is allowed", words(keys))]
    Stranger {
        /// Whose signatures there are.
        keys: Vec<String>,
    },
    /// A signature in an allowed key's name does not hold.
    #[error(transparent)]
    Forged(#[from] Forged),
    /// What is signed is no statement of ours.
    #[error("what is signed is no statement about an entry: {reason}")]
    Body {
        /// What is wrong.
        reason: String,
    },
    /// It is about another build.
    #[error("it is about another build: its {what} is {found}, expected {expected}")]
    Other {
        /// What differs.
        what: &'static str,
        /// As stated.
        found: String,
        /// As it must be.
        expected: String,
    },
    /// It names a header where none can be.
    #[error("it names the header `{label}`: expected one below a toolkit, a kit or the system")]
    Header {
        /// What it names.
        label: String,
    },
    /// It names no header, and no build reads none.
    #[error("it names no header: every build reads some")]
    NoHeader,
    /// It announces more than what is read.
    #[error("its archive is {found_bytes} bytes: at most {} are read", archive::LARGEST_BYTES)]
    TooLarge {
        /// What it announces.
        found_bytes: u64,
    },
}

fn words(keys: &[String]) -> String {
    if keys.is_empty() { "nobody".to_owned() } else { keys.join(", ") }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    #[serde(rename = "_type")]
    statement_type: String,
    subject: Vec<Subject>,
    #[serde(rename = "predicateType")]
    predicate_type: String,
    predicate: Predicate,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Subject {
    name: String,
    digest: BTreeMap<String, Digest>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Predicate {
    key: Key,
    plan: PlanKey,
    archive_bytes: u64,
    first_built_as: BuildName,
    dependencies: Dependencies,
}

impl EntryStatement {
    /// The envelope around it, which nobody signed yet.
    pub fn envelope(&self) -> Envelope {
        let subject = |(name, digest): (&str, Digest)| Subject {
            name: name.to_owned(),
            digest: BTreeMap::from([("sha256".to_owned(), digest)]),
        };
        let parts = [(ARCHIVE_NAME, self.archive), (LIBRARY_NAME, self.library), (LOG_NAME, self.log)];
        let body = Body {
            statement_type: STATEMENT_TYPE.to_owned(),
            subject: parts.into_iter().map(subject).collect(),
            predicate_type: PREDICATE_TYPE.to_owned(),
            predicate: Predicate {
                key: self.key,
                plan: self.plan,
                archive_bytes: self.archive_bytes,
                first_built_as: self.first_built_as.clone(),
                dependencies: self.dependencies.clone(),
            },
        };
        Envelope::around(&serde_json::to_value(body).expect("texts and digests always serialise"))
    }

    /// Reads what somebody who is allowed signed, and who that is.
    pub fn read(bytes: &[u8], allowed: &AllowedSigners) -> Result<(Self, Vec<Signer>), StatementFault> {
        let envelope = |reason: String| StatementFault::Envelope { reason };
        let text = std::str::from_utf8(bytes).map_err(|error| envelope(error.to_string()))?;
        let signed: Envelope =
            json::parse(text, Budget::DOCUMENT).map_err(|error| envelope(error.to_string()))?;
        if signed.payload_type != PAYLOAD_TYPE {
            return Err(envelope("its payload is of another type".to_owned()));
        }
        let signers = signing::signers(&signed, allowed, None, signing::signature::now())?;
        if signers.is_empty() {
            let keys = signed.signatures.into_iter().map(|one| one.keyid).collect();
            return Err(StatementFault::Stranger { keys });
        }
        let body = signed.body().ok_or_else(|| envelope("its payload is no base64".to_owned()))?;
        Ok((Self::of_body(&body)?, signers))
    }

    fn of_body(body: &[u8]) -> Result<Self, StatementFault> {
        let fault = |reason: String| StatementFault::Body { reason };
        let text = std::str::from_utf8(body).map_err(|error| fault(error.to_string()))?;
        let body: Body =
            json::parse(text, Budget::DOCUMENT).map_err(|error: JsonError| fault(error.to_string()))?;
        if body.statement_type != STATEMENT_TYPE || body.predicate_type != PREDICATE_TYPE {
            return Err(fault(format!("it is `{}`: expected `{PREDICATE_TYPE}`", body.predicate_type)));
        }
        let names: Vec<&str> = body.subject.iter().map(|one| one.name.as_str()).collect();
        if names != [ARCHIVE_NAME, LIBRARY_NAME, LOG_NAME] {
            return Err(fault("its subjects are others".to_owned()));
        }
        let digest = |index: usize| {
            let found = body.subject[index].digest.get("sha256").copied();
            found.ok_or_else(|| fault("a subject has no SHA-256".to_owned()))
        };
        let Predicate { key, plan, archive_bytes, first_built_as, dependencies } = body.predicate;
        let expected = plan.with(&dependencies);
        if key != expected {
            let (found, expected) = (key.to_string(), expected.to_string());
            return Err(StatementFault::Other { what: "key", found, expected });
        }
        if dependencies.is_empty() {
            return Err(StatementFault::NoHeader);
        }
        if let Some(label) = dependencies.keys().find(|label| !build::is_header_label(label)) {
            return Err(StatementFault::Header { label: label.clone() });
        }
        if archive_bytes > archive::LARGEST_BYTES {
            return Err(StatementFault::TooLarge { found_bytes: archive_bytes });
        }
        let (archive, library, log) = (digest(0)?, digest(1)?, digest(2)?);
        Ok(Self { key, plan, dependencies, first_built_as, archive, archive_bytes, library, log })
    }

    /// Refuses one of another plan.
    pub fn require_plan(&self, plan: PlanKey) -> Result<(), StatementFault> {
        if self.plan == plan {
            return Ok(());
        }
        let (found, expected) = (self.plan.to_string(), plan.to_string());
        Err(StatementFault::Other { what: "plan", found, expected })
    }
}
