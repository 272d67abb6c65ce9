//! `proofmark diff`: what differs between two submissions?

use std::path::PathBuf;

use clap::Args;
use proofmark_packager::difference::{self, Difference};
use serde_json::Value;

use super::console::Console;
use super::exit_code::ExitCode;
use super::failure::Failure;
use super::input;

/// Show what differs between two submissions: metadata, target, sources.
///
/// Exit code 0: the same artifact, even if the order of sources differs. 1: they differ.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  proofmark diff yesterday.zip my-kernel
  proofmark diff a.zip b.zip --json | jq '.fields'")]
pub struct Arguments {
    /// Submission folder, artifact or solution.json.
    a: PathBuf,
    /// Another one.
    b: PathBuf,
}

const ORDER_DIFFERS: &str =
    "the order of sources in solution.json differs: its bytes and FlashInfer hashes differ";

/// Runs the verb.
pub fn run(arguments: &Arguments, console: &Console) -> Result<ExitCode, Failure> {
    let (a, b) = (input::open_one(&arguments.a, console)?, input::open_one(&arguments.b, console)?);
    let difference = difference::compare(&a.bundle.artifact, &b.bundle.artifact);
    console.print(describe(&difference))?;
    console.document("proofmark.diff", 1, &difference)?;
    Ok(if difference.is_empty() { ExitCode::Yes } else { ExitCode::No })
}

fn describe(difference: &Difference) -> String {
    let order = difference.source_order_differs.then(|| ORDER_DIFFERS.to_owned());
    if difference.is_empty() {
        let same = format!("the same artifact: {}", difference.a);
        return std::iter::once(same).chain(order).collect::<Vec<_>>().join("\n");
    }
    let mut parts = vec![format!("a  {}\nb  {}", difference.a, difference.b)];
    for field in &difference.fields {
        parts.push(format!("{}: {} → {}", field.field, plain(&field.a), plain(&field.b)));
    }
    for text in &difference.texts {
        parts.push(text.unified.trim_end().to_owned());
    }
    if let Some(reference) = &difference.reference {
        parts.push(format!("in the reference:\n{}", describe(reference)));
    }
    parts.extend(order);
    if difference.fields.is_empty() && difference.texts.is_empty() && difference.reference.is_none() {
        parts.push("only the order or presence of parts differs".to_owned());
    }
    parts.join("\n")
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        other => other.to_string(),
    }
}
