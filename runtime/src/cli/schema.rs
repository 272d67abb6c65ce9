//! `proofmark schema`: what a document of `--json` may hold.

use clap::Args;
use serde_json::json;

use super::console::{Console, write_out};
use super::exit_code::ExitCode;
use super::failure::Failure;

/// Print the JSON Schema of a document that `--json` gives.
///
/// Every document names its schema and that schema's version in front; the schema says each field that it
/// may have, and no other, unless it says of an object that it may gain fields. Without a name, the names are
/// listed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  proofmark schema
  proofmark schema inspect > inspect.schema.json
  proofmark schema proofmark.error")]
pub struct Arguments {
    /// A document's name, with or without `proofmark.` before it.
    name: Option<String>,
}

/// What stands before the name of every document.
const PREFIX: &str = "proofmark.";

/// The name of a document and the text of its schema.
macro_rules! schema {
    ($name:literal) => {
        (concat!("proofmark.", $name), include_str!(concat!("../../schemas/", $name, ".json")))
    };
}

/// Every document of `--json`, and the job that `job run` reads, in alphabetical order.
const SCHEMAS: &[(&str, &str)] = &[
    schema!("bench"),
    schema!("build"),
    schema!("cache-challenge"),
    schema!("cache-list"),
    schema!("cache-stats"),
    schema!("cache-sweep"),
    schema!("cache-verify"),
    schema!("challenge"),
    schema!("compare"),
    schema!("diff"),
    schema!("doctor"),
    schema!("entry"),
    schema!("error"),
    schema!("extraction"),
    schema!("fleet-estimate"),
    schema!("fleet-plan"),
    schema!("fleet-reduce"),
    schema!("fleet-run"),
    schema!("fleet-submit"),
    schema!("inspect"),
    schema!("job"),
    schema!("ledger-import"),
    schema!("ledger-lineage"),
    schema!("ledger-list"),
    schema!("ledger-query"),
    schema!("ledger-rebuild"),
    schema!("ledger-retention"),
    schema!("ledger-show"),
    schema!("new"),
    schema!("outcome"),
    schema!("pack"),
    schema!("profile"),
    schema!("replay"),
    schema!("replay-shelf"),
    schema!("report"),
    schema!("schema-list"),
    schema!("seal"),
    schema!("sign"),
    schema!("skill"),
    schema!("target"),
    schema!("toolchain.install"),
    schema!("toolchain.list"),
    schema!("unpack"),
    schema!("verify"),
    schema!("verify-difference"),
    schema!("verify-kernels"),
    schema!("verify-policy"),
    schema!("verify-runs-on"),
    schema!("verify-signature"),
];

/// The names as `proofmark schema` takes them.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    SCHEMAS.iter().map(|(name, _)| name.strip_prefix(PREFIX).unwrap_or(name))
}

/// Runs the verb.
pub fn run(arguments: &Arguments, console: &Console) -> Result<ExitCode, Failure> {
    let Some(name) = &arguments.name else {
        let names: Vec<&str> = SCHEMAS.iter().map(|(name, _)| *name).collect();
        console.print(names.join("\n"))?;
        console.document("proofmark.schema-list", 1, &json!({ "schemas": names }))?;
        return Ok(ExitCode::Yes);
    };
    let is_named = |full: &str| full == name || full.strip_prefix(PREFIX) == Some(name);
    let Some((_, text)) = SCHEMAS.iter().find(|(full, _)| is_named(full)) else {
        return Err(Failure::request(format!("no document is called {name:?}"))
            .hint("`proofmark schema` lists the names"));
    };
    write_out(text.as_bytes())?;
    Ok(ExitCode::Yes)
}
