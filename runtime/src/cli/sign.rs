//! `proofmark sign`: says with an OpenSSH key that a sealed artifact's evidence is one's own word.

use std::path::{Path, PathBuf};

use clap::Args;
use proofmark_packager::{Digest, bundle};
use serde_json::json;

use super::console::Console;
use super::exit_code::ExitCode;
use super::failure::Failure;
use super::signing_key::{KeyOptions, signed};
use super::{input, output};
use crate::path_text;

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
