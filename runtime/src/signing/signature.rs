//! Whether somebody who may sign signed an envelope.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::Serialize;
use signature::Verifier;
use ssh_key::{Algorithm, PublicKey, Signature, SshSig};

use super::NAMESPACE;
use super::allowed_signers::AllowedSigners;
use super::envelope::{Envelope, EnvelopeSignature};

/// Somebody who signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Signer {
    /// Under which names the key may sign.
    pub principals: Vec<String>,
    /// The key's fingerprint.
    pub key: String,
}

/// A signature in an allowed key's name that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the signature by {key} does not hold: {reason}")]
pub struct Forged {
    /// The key's fingerprint.
    pub key: String,
    /// Why.
    pub reason: &'static str,
}

/// Now, as times of signers are compared with it.
pub fn now() -> DateTime {
    TimeZone::UTC.to_datetime(jiff::Timestamp::now())
}

/// Everybody who is allowed and signed, each once; strangers' signatures are passed over. Where a name is asked for,
/// only whoever may sign under it.
pub fn signers(
    envelope: &Envelope,
    allowed: &AllowedSigners,
    asked: Option<&str>,
    now: DateTime,
) -> Result<Vec<Signer>, Forged> {
    let mut signers: Vec<Signer> = Vec::new();
    for one in &envelope.signatures {
        let signer = who_signed(envelope, one, allowed, asked, now)?;
        signers.extend(signer.filter(|signer| signers.iter().all(|known| known.key != signer.key)));
    }
    Ok(signers)
}

/// Who made a signature; `None` for somebody whom nobody named. One in an allowed key's name that does not
/// hold is an error, whatever others say. Where a name is asked for, it must be among the signer's.
fn who_signed(
    envelope: &Envelope,
    one: &EnvelopeSignature,
    allowed: &AllowedSigners,
    asked: Option<&str>,
    now: DateTime,
) -> Result<Option<Signer>, Forged> {
    let Some(key) = allowed.key(&one.keyid) else { return Ok(None) };
    let forged = |reason| Forged { key: one.keyid.clone(), reason };
    let message = envelope.signed_bytes().ok_or_else(|| forged("the payload is no base64"))?;
    check_raw(key, &message, &one.sig).map_err(forged)?;
    check_sshsig(key, &message, &one.sshsig).map_err(forged)?;
    let principals = allowed.principals(key, asked, now);
    Ok((!principals.is_empty()).then(|| Signer { principals, key: one.keyid.clone() }))
}

fn check_raw(key: &PublicKey, message: &[u8], sig: &str) -> Result<(), &'static str> {
    let bytes = STANDARD.decode(sig).map_err(|_| "`sig` is no base64")?;
    let signature = Signature::new(Algorithm::Ed25519, bytes).map_err(|_| "`sig` is no Ed25519 signature")?;
    // The method of that name is for OpenSSH's format.
    Verifier::verify(key, message, &signature).map_err(|_| "`sig` is over something else, or by another key")
}

fn check_sshsig(key: &PublicKey, message: &[u8], sshsig: &str) -> Result<(), &'static str> {
    let signature = SshSig::from_pem(sshsig).map_err(|_| "`sshsig` is no signature of OpenSSH")?;
    PublicKey::verify(key, NAMESPACE, message, &signature)
        .map_err(|_| "`sshsig` is over something else, or by another key")
}
