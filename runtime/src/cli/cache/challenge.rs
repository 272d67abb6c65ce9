//! `proofmark cache challenge`: does what others shared come out here as well?

use serde_json::json;

use crate::cli::console::Console;
use crate::cli::exit_code::ExitCode;
use crate::cli::explain;
use crate::cli::failure::Failure;
use crate::cli::line::MachineOptions;
use crate::cli::progress::ProgressDisplay;
use crate::pipeline::{self, AuditAnswer, AuditedEntry, CacheAudit};

/// Builds a sample again and says what came of it.
pub(super) fn run(count: usize, machine: &MachineOptions, console: &Console) -> Result<ExitCode, Failure> {
    let settings = machine.settings()?;
    let Some(sharing) = settings.sharing.as_ref().filter(|sharing| sharing.allowed.is_some()) else {
        return Err(Failure::request("no shared cache is named whose builds could be challenged")
            .hint("name it with --remote-cache, and whose builds with --cache-signers")
            .hint("`build --fresh` compares a submission's build with the one that is kept here"));
    };
    let place = sharing.place.to_string();
    let mut progress = ProgressDisplay::new(*console);
    let audit = pipeline::audit_cache(&settings, count, &mut |event| progress.hear(event));
    progress.finish();
    let audit = audit.map_err(explain::pipeline)?;
    for one in &audit.challenged {
        console.print(line(one))?;
    }
    let identical = audit.count(|answer| matches!(answer, AuditAnswer::Identical));
    let other_inputs = audit.count(|answer| matches!(answer, AuditAnswer::OtherInputs { .. }));
    let against = audit.challenged.len() - identical - other_inputs;
    console.print(format!(
        "{} of {} entries of {place}: {identical} identical, {against} not, {other_inputs} that cannot be built here as they were",
        audit.challenged.len(),
        audit.entries,
    ))?;
    let CacheAudit { entries, challenged } = &audit;
    let body = json!({
        "place": place, "entries": entries, "challenged": challenged,
        "identical": identical, "against": against, "other_inputs": other_inputs,
    });
    console.document("proofmark.cache-challenge", 1, &body)?;
    Ok(match (against, other_inputs, identical) {
        (0, 0, 1..) => ExitCode::Yes,
        (0, ..) => ExitCode::CouldNotJudge,
        _ => ExitCode::No,
    })
}

fn line(one: &AuditedEntry) -> String {
    let (word, reason) = match &one.answer {
        AuditAnswer::Identical => ("identical", String::new()),
        AuditAnswer::Differs { here_sha256 } => ("differs", format!(": here it is {here_sha256}")),
        AuditAnswer::Unproven { reason } => ("unproven", format!(": {reason}")),
        AuditAnswer::Refused { reason } => ("refused", format!(": {reason}")),
        AuditAnswer::OtherInputs { reason } => ("not judged", format!(": {reason}")),
    };
    match &one.stated {
        Some(stated) => {
            let (key, by) = (stated.key.to_string(), stated.signed_by.join(" and "));
            let (name, arch) = (&stated.first_built_as.solution, stated.arch);
            format!("{word:<10}  {}  {arch}  {name}, by {by}{reason}", &key[..12])
        }
        None => format!("{word:<10}  {}{reason}", one.name),
    }
}
