//! Statements about a sealed artifact, signed with a person's OpenSSH key.
//!
//! `evidence/attestation.intoto.jsonl` holds one DSSE envelope a line, each around an in-toto statement:
//!
//! ```text
//! https://slsa.dev/provenance/v1                         how the library was built, out of what
//! https://in-toto.io/attestation/svr/v0.2                what was found about it
//! https://in-toto.io/attestation/test-result/v0.1        what was measured, where anything was
//! ```
//!
//! Every statement names the artifact, the library, its images, and each file of the evidence by digest, so
//! that a signature covers all of them; [`crate::signing`] makes and checks it.
//!
//! A signature says who, and not that it is true: nothing that builds, proves or measures asks for one.
//!
//! | file | what it holds |
//! |---|---|
//! | [`statement`] | what is said |
//! | [`mod@verify`] | whether it is, and who signed |

pub mod statement;
pub mod verify;

pub use statement::StatementError;
pub use verify::{VerifyError, verify};

use proofmark_packager::Bundle;
use proofmark_packager::format::ATTESTATION_EVIDENCE;
use proofmark_packager::interop::flashinfer::Timestamp;

use crate::signing::{Envelope, KeyError, SigningKey};

/// Why an artifact could not be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// There is nothing to state.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Somebody signed other statements.
    #[error("what it is signed with does not hold: {reason}")]
    Unsound {
        /// Why.
        reason: String,
    },
}

/// Signs a sealed artifact. Statements that others signed keep their signatures, and get one more.
pub fn sign(bundle: &Bundle, key: &SigningKey) -> Result<Bundle, SignError> {
    let mut envelopes = match bundle.evidence.get(ATTESTATION_EVIDENCE) {
        None => {
            let statements = statement::statements(bundle, &Timestamp::now())?;
            statements.iter().map(Envelope::around).collect()
        }
        Some(bytes) => {
            let unsound = |error: VerifyError| SignError::Unsound { reason: error.to_string() };
            verify::sound_envelopes(bundle, bytes).map_err(unsound)?
        }
    };
    for envelope in &mut envelopes {
        envelope.sign(key)?;
    }
    let lines: String = envelopes.iter().map(|envelope| envelope.to_line() + "\n").collect();
    let evidence = bundle.evidence.clone().with(ATTESTATION_EVIDENCE, lines.into_bytes());
    Ok(Bundle { artifact: bundle.artifact.clone(), evidence })
}
