//! The key that signs, who may have signed, and what their troubles mean for the caller.

use std::path::{Path, PathBuf};

use clap::Args;
use proofmark_packager::Bundle;

use super::failure::Failure;
use crate::attestation::{self, SignError};
use crate::signing::{AllowedSigners, AllowedSignersError, KeyError, SigningKey};

/// Which key signs.
#[derive(Debug, Clone, Args)]
pub struct KeyOptions {
    /// An ed25519 key of OpenSSH; a public or a locked one is asked of the ssh-agent
    /// [default: ~/.ssh/id_ed25519, else the agent's first].
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

impl KeyOptions {
    /// Opens the key.
    pub fn open(&self) -> Result<SigningKey, Failure> {
        match &self.key {
            Some(file) => open_key(file),
            None => SigningKey::usual(path_of("HOME").as_deref(), path_of("SSH_AUTH_SOCK").as_deref())
                .map_err(explain_key),
        }
    }
}

/// Opens the key of a file, with a way out for each failure.
pub(super) fn open_key(file: &Path) -> Result<SigningKey, Failure> {
    SigningKey::open(file, path_of("SSH_AUTH_SOCK").as_deref()).map_err(explain_key)
}

/// Opens a file that says who may have signed, with a way out for each failure.
pub(super) fn open_signers(file: &Path) -> Result<AllowedSigners, Failure> {
    AllowedSigners::open(file).map_err(|error| match &error {
        AllowedSignersError::Writable { path } => {
            let hint =
                format!("`chmod o-w` for {} and its folder; look at what it says before", path.display());
            Failure::request(error).hint(hint)
        }
        AllowedSignersError::File { .. } | AllowedSignersError::Line { .. } => Failure::request(error),
    })
}

fn path_of(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn explain_key(error: KeyError) -> Failure {
    match &error {
        KeyError::Shared { path, .. } => {
            let hint = format!("`chmod 600 {}`; whoever has read it before can sign as you", path.display());
            Failure::request(error).hint(hint)
        }
        KeyError::Locked { .. } => Failure::request(error).hint("`ssh-add` gives it to the agent"),
        KeyError::Public { .. } => Failure::request(error)
            .hint("name the private key, or give it to the agent that SSH_AUTH_SOCK names with `ssh-add`"),
        KeyError::NoKey | KeyError::Kind { .. } => {
            Failure::request(error).hint("`ssh-keygen -t ed25519` makes one; --key names it")
        }
        KeyError::File { .. } | KeyError::Format { .. } => Failure::request(error),
        KeyError::Agent(_) | KeyError::Sign { .. } => Failure::could_not_judge(error),
    }
}

/// Signs a bundle, with a way out for each failure.
pub(super) fn signed(bundle: &Bundle, key: &SigningKey) -> Result<Bundle, Failure> {
    attestation::sign(bundle, key).map_err(|error| match error {
        SignError::Key(error) => explain_key(error),
        SignError::Unsound { .. } => Failure::request(error).hint("seal it again to start anew"),
        SignError::Statement(_) => {
            Failure::request(error).hint("`proofmark seal` writes evidence into an artifact")
        }
    })
}
