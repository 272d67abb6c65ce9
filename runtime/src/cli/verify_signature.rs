//! `proofmark verify-signature`: did somebody who may sign what this artifact says?

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use proofmark_packager::Bundle;
use proofmark_packager::format::ATTESTATION_EVIDENCE;
use serde_json::{Value, json};

use super::console::Console;
use super::exit_code::ExitCode;
use super::failure::Failure;
use super::{input, output, signing_key};
use crate::attestation::statement::{PROVENANCE, TEST_RESULT, VERDICT};
use crate::attestation::verify;
use crate::signing::Envelope;

/// Check who signed a sealed artifact.
///
/// Exit code 0: somebody who is allowed signed every statement, and they say what the evidence says. 1: nobody
/// did, or something was changed. A signature says who; `proofmark replay` asks whether it is true.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  proofmark verify-signature out.zip --allowed-signers team
  proofmark verify-signature out.zip --allowed-signers team --signer me@example.org
  proofmark verify-signature out.zip --allowed-signers team --extract signed
  ssh-keygen -Y verify -n proofmark -f team -I me@example.org -s signed/verdict.0.sshsig < signed/verdict.dsse")]
pub struct Arguments {
    /// A signed artifact.
    path: PathBuf,
    /// Who may sign, in the format of OpenSSH's allowed_signers.
    #[arg(long, value_name = "FILE")]
    allowed_signers: PathBuf,
    /// Who must have signed.
    #[arg(long, value_name = "NAME")]
    signer: Option<String>,
    /// Write statements, signed bytes and signatures into this folder, for other tools.
    #[arg(long, value_name = "DIR")]
    extract: Option<PathBuf>,
}

/// Runs the verb.
pub fn run(arguments: &Arguments, console: &Console) -> Result<ExitCode, Failure> {
    let opened = input::open_one(&arguments.path, console)?;
    let allowed = signing_key::open_signers(&arguments.allowed_signers)?;
    for line in &allowed.passed_over {
        console.say(format!("note: {}: {line}", arguments.allowed_signers.display()));
    }
    if let Some(folder) = &arguments.extract {
        extract(&opened.bundle, folder)?;
    }
    let digest = opened.bundle.artifact.digest();
    match verify(&opened.bundle, &allowed, arguments.signer.as_deref()) {
        Ok(signers) => {
            for signer in &signers {
                console.print(format!(
                    "signed       by {} with {}",
                    signer.principals.join(", "),
                    signer.key
                ))?;
            }
            console.print(format!("  digest     {digest}"))?;
            let body = json!({ "digest": digest, "signed": true, "signers": signers, "reason": null });
            console.document("proofmark.verify-signature", 1, &body)?;
            Ok(ExitCode::Yes)
        }
        Err(error) => {
            console.print(format!("not signed   {error}"))?;
            let body =
                json!({ "digest": digest, "signed": false, "signers": [], "reason": error.to_string() });
            console.document("proofmark.verify-signature", 1, &body)?;
            Ok(ExitCode::No)
        }
    }
}

/// Writes each envelope apart. What it is called says what it states; what cannot be read is left out.
fn extract(bundle: &Bundle, folder: &Path) -> Result<(), Failure> {
    let bytes = bundle.evidence.get(ATTESTATION_EVIDENCE).unwrap_or_default();
    std::fs::create_dir_all(folder)
        .map_err(|error| Failure::could_not_judge(format!("cannot make {}: {error}", folder.display())))?;
    for line in String::from_utf8_lossy(bytes).lines() {
        let Ok(envelope) = serde_json::from_str::<Envelope>(line) else { continue };
        let (Some(body), Some(message)) = (envelope.body(), envelope.signed_bytes()) else { continue };
        let statement: Value = serde_json::from_slice(&body).unwrap_or_default();
        let name = match statement["predicateType"].as_str() {
            Some(PROVENANCE) => "provenance",
            Some(VERDICT) => "verdict",
            Some(TEST_RESULT) => "test-result",
            _ => continue,
        };
        let write =
            |end: &str, content: &[u8]| output::write_file(&folder.join(format!("{name}.{end}")), content);
        write("json", &body)?;
        write("dsse", &message)?;
        for (index, one) in envelope.signatures.iter().enumerate() {
            write(&format!("{index}.sig"), &STANDARD.decode(&one.sig).unwrap_or_default())?;
            write(&format!("{index}.sshsig"), one.sshsig.as_bytes())?;
        }
    }
    Ok(())
}
