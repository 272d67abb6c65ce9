//! The key that signs: an OpenSSH file, or one that an agent holds.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use signature::Signer;
use ssh_key::{Algorithm, HashAlg, PrivateKey, PublicKey, Signature};

use super::agent::{Agent, AgentError};
use crate::regular_file;

/// Largest key file that is read, in bytes.
const LARGEST_BYTES: u64 = 64 << 10;

/// What may be read of one's own private key by nobody else, as ssh has it.
const OWN: u32 = 0o077;

/// What may be read of a private key that somebody else keeps for us and a group by nobody else.
const KEPT: u32 = 0o007;

/// What signs.
#[derive(Debug)]
pub struct SigningKey {
    public: PublicKey,
    holder: Holder,
}

#[derive(Debug)]
enum Holder {
    File(Box<PrivateKey>),
    Agent(PathBuf),
}

/// Why there is no signature.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("cannot read the key `{}`", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is no OpenSSH key.
    #[error("`{}` is no OpenSSH key: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It is of another kind.
    #[error("the key is {found}: expected ssh-ed25519")]
    Kind {
        /// What it is.
        found: String,
    },
    /// Others can read or change it. It is not used, as ssh does not use it.
    #[error("the key `{}` can be read or changed by others: its mode is {mode:04o}", path.display())]
    Shared {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It is locked, and no agent has it.
    #[error("`{}` has a passphrase, and no agent holds the key", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// It is a public key, and no agent has the private one.
    #[error("`{}` is a public key, and no agent holds its private half", path.display())]
    Public {
        /// The file.
        path: PathBuf,
    },
    /// Neither a file nor an agent has a key.
    #[error("no key: neither ~/.ssh/id_ed25519 nor an agent has one")]
    NoKey,
    /// The agent.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// The signature could not be made.
    #[error("the key does not sign: {reason}")]
    Sign {
        /// Why.
        reason: String,
    },
}

impl KeyError {
    pub(super) fn wrap(error: impl std::fmt::Display) -> Self {
        Self::Sign { reason: error.to_string() }
    }
}

impl SigningKey {
    /// The key of a file. A public one, or a locked one, is asked of the agent at that socket.
    pub fn open(path: &Path, agent: Option<&Path>) -> Result<Self, KeyError> {
        let no_file = |source| KeyError::File { path: path.to_owned(), source };
        let file = regular_file::open_through_links(path, File::options().read(true)).map_err(no_file)?;
        let found = file.metadata().map_err(no_file)?;
        let bytes = regular_file::read_file(file, LARGEST_BYTES).map_err(no_file)?;
        let text = String::from_utf8_lossy(&bytes);
        let format =
            |error: ssh_key::Error| KeyError::Format { path: path.to_owned(), reason: error.to_string() };
        if let Ok(public) = PublicKey::from_openssh(&text) {
            return Self::held(public, agent)?.ok_or_else(|| KeyError::Public { path: path.to_owned() });
        }
        let private = PrivateKey::from_openssh(text.as_bytes()).map_err(format)?;
        let own = found.uid() == rustix::process::geteuid().as_raw();
        if found.mode() & if own { OWN } else { KEPT } != 0 {
            return Err(KeyError::Shared { path: path.to_owned(), mode: found.mode() & 0o7777 });
        }
        let public = private.public_key().clone();
        require_ed25519(&public)?;
        if private.is_encrypted() {
            return Self::held(public, agent)?.ok_or_else(|| KeyError::Locked { path: path.to_owned() });
        }
        Ok(Self { public, holder: Holder::File(Box::new(private)) })
    }

    /// The key of the home folder, else the agent's first.
    pub fn usual(home: Option<&Path>, agent: Option<&Path>) -> Result<Self, KeyError> {
        let file = home.map(|home| home.join(".ssh/id_ed25519")).filter(|path| path.is_file());
        if let Some(path) = file {
            return Self::open(&path, agent);
        }
        let Some(socket) = agent else { return Err(KeyError::NoKey) };
        let keys = Agent::connect(socket)?.keys()?;
        let first = keys.into_iter().find(|key| key.algorithm() == Algorithm::Ed25519);
        let public = first.ok_or(KeyError::NoKey)?;
        Ok(Self { public, holder: Holder::Agent(socket.to_owned()) })
    }

    fn held(public: PublicKey, agent: Option<&Path>) -> Result<Option<Self>, KeyError> {
        require_ed25519(&public)?;
        let Some(socket) = agent else { return Ok(None) };
        let has_it = Agent::connect(socket)?.keys()?.iter().any(|key| key.key_data() == public.key_data());
        Ok(has_it.then(|| Self { public, holder: Holder::Agent(socket.to_owned()) }))
    }

    /// Its public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// As `ssh-keygen -l` shows it.
    pub fn fingerprint(&self) -> String {
        self.public.fingerprint(HashAlg::Sha256).to_string()
    }

    /// Signs bytes as they are.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Signature, KeyError> {
        match &self.holder {
            Holder::File(private) => private.try_sign(message).map_err(KeyError::wrap),
            Holder::Agent(socket) => Ok(Agent::connect(socket)?.sign(&self.public, message)?),
        }
    }
}

fn require_ed25519(key: &PublicKey) -> Result<(), KeyError> {
    if key.algorithm() == Algorithm::Ed25519 {
        return Ok(());
    }
    Err(KeyError::Kind { found: key.algorithm().to_string() })
}
