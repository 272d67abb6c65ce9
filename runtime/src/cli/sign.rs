//! `proofmark sign`: says with an OpenSSH key that a sealed artifact's evidence is one's own word.

use std::path::{Path, PathBuf};

use clap::Args;
use proofmark_packager::{Bundle, Digest, bundle};
use serde_json::json;

use super::console::Console;
use super::exit_code::ExitCode;
use super::failure::Failure;
use super::{input, output};
use crate::attestation::{self, SignError};
use crate::path_text;
use crate::signing::{AllowedSigners, AllowedSignersError, KeyError, SigningKey};

/// Sign a sealed artifact with your OpenSSH key.
///
/// Signed are statements of how it was built, what was found and what was measured, as its evidence says. A
/// signature says who, not that it is true. It becomes a part of the evidence; the artifact's identity stays.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  proofmark sign out.zip                           with ~/.ssh/id_ed25519, or what the agent holds
  proofmark sign out.zip --key ~/.ssh/contest -o signed.zip
  proofmark sign out.zip --key ~/.ssh/contest.pub  with the agent that SSH_AUTH_SOCK names")]
pub struct Arguments {
    /// A sealed artifact.
    path: PathBuf,
    /// Where to write the signed artifact [default: in its place].
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    key: KeyOptions,
}

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

/// Runs the verb.
pub fn run(arguments: &Arguments, console: &Console) -> Result<ExitCode, Failure> {
    let opened = input::open_one(&arguments.path, console)?;
    let key = arguments.key.open()?;
    let bundle = signed(&opened.bundle, &key)?;
    let bytes = bundle::write(&bundle);
    let path: &Path = arguments.output.as_deref().unwrap_or(&arguments.path);
    if !arguments.path.is_file() && arguments.output.is_none() {
        return Err(Failure::request(format!("{} is no sealed artifact", arguments.path.display())));
    }
    output::write_to(path, &bytes)?;
    if path == Path::new("-") {
        return Ok(ExitCode::Yes);
    }
    let evidence = bundle.evidence.digest(bundle.artifact.digest());
    console.print(format!("signed       {} by {}", path.display(), key.fingerprint()))?;
    console.print(format!("  digest     {}", bundle.artifact.digest()))?;
    console.print(format!("  evidence   {evidence}"))?;
    let body = json!({
        "digest": bundle.artifact.digest(), "evidence_digest": evidence, "key": key.fingerprint(),
        "output": path_text::text(path), "output_sha256": Digest::of_bytes(&bytes),
    });
    console.document("proofmark.sign", 1, &body)?;
    Ok(ExitCode::Yes)
}
