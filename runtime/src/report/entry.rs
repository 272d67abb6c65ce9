//! A Python entry in words and as a document: what it compiles, and what came of each library.

use serde_json::{Value, json};

use super::build::{describe_finding, details};
use crate::capture::{CapturedEntry, CapturedLibrary};
use crate::rebuild::Finding;
use proofmark_packager::escape;

/// What a build prints of it.
pub fn describe_entry(entry: &CapturedEntry) -> String {
    let mut lines = vec![format!(
        "captured     {} compiles {} while it runs; each is built here instead, and proven before anything loads it",
        escape::line(&entry.name),
        counted(entry.libraries.len())
    )];
    for library in &entry.libraries {
        lines.extend(library_lines(library));
    }
    for one in &entry.unreached {
        lines.push(format!("not reached  {}: {}", escape::line(&one.place), escape::line(&one.reason)));
    }
    if let Some(error) = &entry.error {
        lines.push(format!("import       ended early: {}", escape::line(error)));
    }
    let stood_in: Vec<_> = entry.stand_ins.iter().map(|name| escape::line(name)).collect();
    if !stood_in.is_empty() {
        lines.push(format!("  stand-ins  {}: nothing of them ran", stood_in.join(", ")));
    }
    lines.push(format!("  python     {}", escape::line(&entry.python)));
    lines.join("\n")
}

fn counted(libraries: usize) -> String {
    match libraries {
        1 => "one library".to_owned(),
        count => format!("{count} libraries"),
    }
}

fn library_lines(library: &CapturedLibrary) -> Vec<String> {
    let CapturedLibrary { place, name, interface, units, .. } = library;
    let units: Vec<_> = units.iter().map(|unit| escape::line(unit)).collect();
    let mut lines = Vec::new();
    if let Some(build) = library.proven() {
        let proof = &build.entry.proof;
        lines.push(format!("proven       {} as {interface}: {} alone", escape::line(name), proof.arch()));
        lines.push(format!("  library    {}", proof.library_digest()));
        lines.push(format!("  kernels    {}", proof.kernels().count()));
        lines.push(format!("  at         {}", build.entry.library.display()));
    } else {
        let words = library.finding().map(describe_finding).unwrap_or_default();
        lines.push(format!("not proven   {} as {interface}: {words}", escape::line(name)));
    }
    lines.push(format!("  asked for  {}", escape::line(place)));
    lines.push(format!("  sources    {}", units.join(", ")));
    lines.extend(library.left_out.iter().map(|one| format!("  left out   {}", escape::line(one))));
    lines
}

/// What the compilers or the prover said of libraries that are not proven.
pub fn entry_details(entry: &CapturedEntry) -> String {
    let findings = entry.libraries.iter().filter_map(|one| Some((one, one.finding()?)));
    let texts = findings.map(|(one, finding)| format!("{}:\n{}", escape::line(&one.name), details(finding)));
    texts.collect::<Vec<_>>().join("\n")
}

/// The fields of the document.
pub fn entry_document(entry: &CapturedEntry) -> Value {
    let verdict = match (entry.is_proven(), entry.is_complete()) {
        (false, _) => "not_proven",
        (true, false) => "unknown",
        (true, true) => "proven",
    };
    json!({
        "verdict": verdict,
        "libraries": entry.libraries.iter().map(library_document).collect::<Vec<_>>(),
        "unreached": entry.unreached,
        "import_error": entry.error,
        "stand_ins": entry.stand_ins,
        "python": entry.python,
    })
}

fn library_document(library: &CapturedLibrary) -> Value {
    let (verdict, messages) = match library.finding() {
        None => ("proven", Vec::new()),
        Some(Finding::CompileError { diagnostics, .. }) => {
            ("compile_error", diagnostics.errors().map(ToString::to_string).collect())
        }
        Some(Finding::Unproven(judgement)) => ("unproven", judgement.reasons().to_vec()),
    };
    let build = library.proven();
    json!({
        "request": library.request,
        "place": library.place,
        "name": library.name,
        "interface": library.interface,
        "units": library.units,
        "left_out": library.left_out,
        "verdict": verdict,
        "messages": messages,
        "library": build.map(|build| crate::path_text::text(&build.entry.library)),
        "library_sha256": build.map(|build| build.entry.proof.library_digest()),
        "kernels": build.map_or(0, |build| build.entry.proof.kernels().count()),
    })
}
