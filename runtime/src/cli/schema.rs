//! `proofmark schema`: what a document of `--json` may hold.

use clap::Args;
use serde_json::json;

use super::console::{Console, write_out};
use super::document_schema;
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

/// Runs the verb.
pub fn run(arguments: &Arguments, console: &Console) -> Result<ExitCode, Failure> {
    let Some(name) = &arguments.name else {
        let names: Vec<&str> = document_schema::all().map(|(name, _)| name).collect();
        console.print(names.join("\n"))?;
        console.document("proofmark.schema-list", 1, &json!({ "schemas": names }))?;
        return Ok(ExitCode::Yes);
    };
    let Some(text) = document_schema::of(name) else {
        return Err(Failure::request(format!("no document is called {name:?}"))
            .hint("`proofmark schema` lists the names"));
    };
    write_out(text.as_bytes())?;
    Ok(ExitCode::Yes)
}
