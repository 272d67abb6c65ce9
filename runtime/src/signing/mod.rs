//! OpenSSH keys and DSSE envelopes: who says something.
//!
//! Each signature stands in an envelope twice, made by one key over the same bytes: raw Ed25519, as DSSE tools
//! and openssl check it, and as OpenSSH's own format, which `ssh-keygen -Y verify` checks in the namespace
//! `proofmark`. What is said, and whether it is true, is not looked at here.
//!
//! | file | what it holds |
//! |---|---|
//! | [`envelope`] | DSSE |
//! | [`key`] | the key that signs, from a file or an agent |
//! | [`agent`] | the ssh-agent's protocol, as far as it is needed |
//! | [`allowed_signers`] | who may have signed, in OpenSSH's format |
//! | [`signature`] | whether they did |

pub mod agent;
pub mod allowed_signers;
pub mod envelope;
pub mod key;
pub mod signature;

pub use allowed_signers::{AllowedSigners, AllowedSignersError};
pub use envelope::{Envelope, EnvelopeSignature, PAYLOAD_TYPE};
pub use key::{KeyError, SigningKey};
pub use signature::{Forged, Signer, signers};

/// The namespace of signatures in OpenSSH's format.
pub const NAMESPACE: &str = "proofmark";
