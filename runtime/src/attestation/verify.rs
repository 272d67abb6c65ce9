//! Whether an artifact's statements are signed by somebody who may, and say what its evidence says.
//!
//! Everything must hold at once: each line is an envelope of our payload type, the statements are those that
//! the evidence gives, none is missing and none is too many, and one allowed key signed all of them in both
//! forms.

use proofmark_packager::Bundle;
use proofmark_packager::format::ATTESTATION_EVIDENCE;
use proofmark_packager::interop::flashinfer::Timestamp;
use proofmark_packager::json::{self as json_budget, Budget};
use serde_json::Value;

use super::statement::{self, StatementError};
use crate::signing::{self, AllowedSigners, Envelope, Forged, PAYLOAD_TYPE, Signer, signature};

/// Why signatures do not hold.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// Nobody signed.
    #[error("nobody signed it")]
    Unsigned,
    /// The evidence itself.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// A line is no envelope.
    #[error("line {line} is no envelope: {reason}")]
    Envelope {
        /// The line, from one.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// The statements are not those that the evidence gives.
    #[error("statement {line} is not what the evidence says: {what} differs")]
    Body {
        /// The line, from one.
        line: usize,
        /// What differs.
        what: &'static str,
    },
    /// Statements are missing or too many.
    #[error("{found} statements are signed, the evidence gives {expected}")]
    Count {
        /// How many there should be.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// A signature by an allowed key does not hold.
    #[error("statement {line}: {source}")]
    Forged {
        /// The line, from one.
        line: usize,
        /// Which, and why.
        source: Forged,
    },
    /// No key that signed everything is allowed.
    #[error("signed by {} and by nobody who is allowed", keys.join(", "))]
    Stranger {
        /// Whose signatures there are.
        keys: Vec<String>,
    },
}

/// The envelopes of an artifact, which say what its evidence says; their signatures are not looked at.
pub fn sound_envelopes(bundle: &Bundle, bytes: &[u8]) -> Result<Vec<Envelope>, VerifyError> {
    let mut envelopes = Vec::new();
    let text = std::str::from_utf8(bytes)
        .map_err(|error| VerifyError::Envelope { line: 1, reason: error.to_string() })?;
    if !text.ends_with('\n') {
        let line = text.lines().count();
        return Err(VerifyError::Envelope { line, reason: "it is torn".to_owned() });
    }
    let mut bodies = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let refuse = |reason: String| VerifyError::Envelope { line: index + 1, reason };
        let envelope: Envelope =
            json_budget::parse(line, Budget::DOCUMENT).map_err(|error| refuse(error.to_string()))?;
        if envelope.payload_type != PAYLOAD_TYPE {
            return Err(refuse(format!("its payload is `{}`", envelope.payload_type.escape_debug())));
        }
        let body = envelope.body().ok_or_else(|| refuse("its payload is no base64".to_owned()))?;
        let body = String::from_utf8(body).map_err(|error| refuse(error.to_string()))?;
        let statement: Value =
            json_budget::parse(&body, Budget::DOCUMENT).map_err(|error| refuse(error.to_string()))?;
        bodies.push(statement);
        envelopes.push(envelope);
    }
    check_bodies(bundle, &bodies)?;
    Ok(envelopes)
}

/// Holds statements against those that the evidence gives. When the verdict was signed, and by which version of
/// this program, is the signer's word.
fn check_bodies(bundle: &Bundle, bodies: &[Value]) -> Result<(), VerifyError> {
    let time =
        |body: &Value| body.pointer("/predicate/timeCreated").and_then(Value::as_str).map(str::to_owned);
    let claimed = bodies.iter().find_map(time).and_then(|text| Timestamp::try_from(text).ok());
    let mut expected = statement::statements(bundle, &claimed.unwrap_or_else(Timestamp::now))?;
    if bodies.len() != expected.len() {
        return Err(VerifyError::Count { expected: expected.len(), found: bodies.len() });
    }
    for (index, (found, expected)) in bodies.iter().zip(&mut expected).enumerate() {
        const BUILDER_VERSION: &str = "/predicate/runDetails/builder/version/proofmark";
        if let (Some(own), Some(theirs)) =
            (expected.pointer_mut(BUILDER_VERSION), found.pointer(BUILDER_VERSION))
        {
            *own = theirs.clone();
        }
        for what in ["_type", "subject", "predicateType", "predicate"] {
            if found[what] != expected[what] {
                return Err(VerifyError::Body { line: index + 1, what });
            }
        }
        if found != expected {
            return Err(VerifyError::Body { line: index + 1, what: "a field that no statement has" });
        }
    }
    Ok(())
}

/// Says who signed all of it. Where a name is asked for, it must have.
pub fn verify(
    bundle: &Bundle,
    allowed: &AllowedSigners,
    asked: Option<&str>,
) -> Result<Vec<Signer>, VerifyError> {
    let bytes = bundle.evidence.get(ATTESTATION_EVIDENCE).ok_or(VerifyError::Unsigned)?;
    let envelopes = sound_envelopes(bundle, bytes)?;
    let now = signature::now();
    let mut all_keys: Vec<String> = Vec::new();
    let mut signers: Option<Vec<Signer>> = None;
    for (index, envelope) in envelopes.iter().enumerate() {
        for one in &envelope.signatures {
            if !all_keys.contains(&one.keyid) {
                all_keys.push(one.keyid.clone());
            }
        }
        let here = signing::signers(envelope, allowed, asked, now)
            .map_err(|source| VerifyError::Forged { line: index + 1, source })?;
        signers = Some(match signers {
            None => here,
            Some(known) => known.into_iter().filter(|signer| here.contains(signer)).collect(),
        });
    }
    match signers {
        Some(signers) if !signers.is_empty() => Ok(signers),
        _ if all_keys.is_empty() => Err(VerifyError::Unsigned),
        _ => Err(VerifyError::Stranger { keys: all_keys }),
    }
}
