//! DSSE: a payload, its type, and signatures over both.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use ssh_key::{HashAlg, LineEnding, SshSig};

use super::NAMESPACE;
use super::key::{KeyError, SigningKey};

/// The type of every payload.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// One line of the bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Envelope {
    /// The statement, in base64.
    pub payload: String,
    /// Always [`PAYLOAD_TYPE`].
    pub payload_type: String,
    /// Who signed.
    pub signatures: Vec<EnvelopeSignature>,
}

/// One signature, twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvelopeSignature {
    /// The key's fingerprint, as `ssh-keygen -l` shows it.
    pub keyid: String,
    /// Raw Ed25519 over [`Envelope::signed_bytes`], in base64.
    pub sig: String,
    /// The same key over the same bytes in OpenSSH's format.
    pub sshsig: String,
}

impl Envelope {
    /// An envelope that nobody signed yet.
    pub fn around(statement: &Value) -> Self {
        let payload = STANDARD.encode(statement.to_string());
        Self { payload, payload_type: PAYLOAD_TYPE.to_owned(), signatures: Vec::new() }
    }

    /// The statement's bytes; `None` where the payload is no base64.
    pub fn body(&self) -> Option<Vec<u8>> {
        STANDARD.decode(&self.payload).ok()
    }

    /// What is signed: type and body, each behind its length.
    pub fn signed_bytes(&self) -> Option<Vec<u8>> {
        let body = self.body()?;
        let head = format!("DSSEv1 {} {} {} ", self.payload_type.len(), self.payload_type, body.len());
        Some([head.into_bytes(), body].concat())
    }

    /// Adds a signature; one that the same key made before is replaced.
    pub fn sign(&mut self, key: &SigningKey) -> Result<(), KeyError> {
        let message = self.signed_bytes().expect("the payload was encoded here or checked");
        let raw = key.sign(&message)?;
        let to_wrap = SshSig::signed_data(NAMESPACE, HashAlg::Sha512, &message).map_err(KeyError::wrap)?;
        let wrapped = key.sign(&to_wrap)?;
        let public = key.public().key_data().clone();
        let sshsig = SshSig::new(public, NAMESPACE, HashAlg::Sha512, wrapped).map_err(KeyError::wrap)?;
        let keyid = key.fingerprint();
        self.signatures.retain(|one| one.keyid != keyid);
        self.signatures.push(EnvelopeSignature {
            keyid,
            sig: STANDARD.encode(raw.as_bytes()),
            sshsig: sshsig.to_pem(LineEnding::LF).map_err(KeyError::wrap)?,
        });
        Ok(())
    }

    /// One line, without the line feed.
    pub fn to_line(&self) -> String {
        serde_json::to_string(self).expect("texts always serialise")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_signed_is_what_dsse_asks_for() {
        // The example of the DSSE protocol's text.
        let mut envelope = Envelope::around(&Value::Null);
        envelope.payload = STANDARD.encode("hello world");
        envelope.payload_type = "http://example.com/HelloWorld".to_owned();
        let expected: &[u8] = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world";
        assert_eq!(envelope.signed_bytes().unwrap(), expected);
    }
}
