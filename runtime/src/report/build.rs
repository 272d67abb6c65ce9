//! A build in words and as a document: proven, or why not.

use serde_json::{Value, json};

use super::kernel_table::{kernel_table, warning_lines};
use crate::cache::FetchedFrom;
use crate::proof::{Stance, demangle};
use crate::rebuild::{CacheUse, Finding, ProvenBuild, Said};

/// The JSON that every verb gives for a proven build.
pub fn document(build: &ProvenBuild) -> Value {
    let (cache, reason, disagrees_with, units) = match &build.cache {
        CacheUse::Hit => ("hit", None, None, None),
        CacheUse::Fetched { reason, disagrees_with } => ("fetched", Some(reason), *disagrees_with, None),
        CacheUse::Miss { reason, disagrees_with, units } => {
            ("miss", Some(reason), *disagrees_with, Some(units))
        }
    };
    let mut proof = json!(build.entry.proof);
    proof["verdict"] = json!("exact");
    json!({
        "verdict": "proven",
        "arch": build.entry.proof.arch(),
        "cache": cache,
        "fetched_from": build.entry.fetched_from,
        "miss": reason,
        "miss_text": reason.map(ToString::to_string),
        "disagrees_with_earlier_build": disagrees_with,
        "units": units,
        "rebuilt": build.is_rebuilt(),
        "library": crate::path_text::text(&build.entry.library),
        "library_sha256": build.entry.proof.library_digest(),
        "library_size_bytes": build.entry.library_bytes.len(),
        "gencode": build.entry.ingredients.gencode.to_string(),
        "toolchain": {
            "digest": build.entry.ingredients.toolchain.digest(),
            "release": build.entry.ingredients.toolchain.release.to_string(),
            "host_compiler": build.entry.ingredients.toolchain.host_compiler,
            "tvm_ffi": build.entry.ingredients.toolchain.tvm_ffi,
        },
        "kernels": build.entry.proof.kernels().collect::<Vec<_>>(),
        "resources": build.resources,
        "warnings": build.warnings,
        "proof": proof,
        "log": build.entry.log,
        "sandbox": build.sandbox,
    })
}

/// The same as text.
pub fn describe_proof(build: &ProvenBuild) -> String {
    let mut lines = vec![format!(
        "proven       {}: the build holds this architecture and nothing else",
        build.entry.proof.arch()
    )];
    lines.push(format!("  library    {}", build.entry.proof.library_digest()));
    for image in build.entry.proof.device_images() {
        lines.push(format!(
            "  image      {} {} ({} bytes at {:#x})",
            image.arch, image.digest, image.image_bytes, image.offset
        ));
        lines.extend(image.kernels.iter().map(|kernel| format!("    kernel   {}", demangle(kernel))));
    }
    let confirmed =
        build.entry.proof.witnesses().iter().filter(|witness| witness.stance == Stance::Confirms).count();
    lines.push(format!("  witnesses  {confirmed} confirm, none contradicts"));
    lines.push(format!(
        "  toolchain  nvcc {}, {}",
        build.entry.ingredients.toolchain.release, build.entry.ingredients.toolchain.host_compiler
    ));
    lines.push(match &build.cache {
        CacheUse::Hit => "  cache      hit: re-hashed and proven again".to_owned(),
        CacheUse::Fetched { reason, .. } => {
            format!("  cache      fetched: re-hashed and proven again; not here: {reason}")
        }
        CacheUse::Miss { reason, .. } => format!("  cache      miss: {reason}"),
    });
    if let Some(FetchedFrom { place, signed_by }) = &build.entry.fetched_from {
        lines.push(format!("  from       {place}, signed by {}", signed_by.join(" and ")));
    }
    if let CacheUse::Miss { units, .. } = &build.cache {
        lines.push(format!("  sources    {units}"));
    }
    if let CacheUse::Miss { disagrees_with: Some(earlier), .. }
    | CacheUse::Fetched { disagrees_with: Some(earlier), .. } = &build.cache
    {
        lines.push(format!(
            "  warning    an earlier build from the same inputs gave {earlier}: not reproducible"
        ));
    }
    if let Some(layers) = build.sandbox.as_ref().filter(|layers| !layers.is_whole()) {
        lines.push(format!("  note       the sandbox lacked {}", layers.missing_words()));
    }
    lines.push(format!("  at         {}", build.entry.library.display()));
    let more = [kernel_table(&build.resources), warning_lines(&build.warnings)];
    lines.extend(more.into_iter().filter(|text| !text.is_empty()));
    lines.join("\n")
}

/// What the compiler or the prover said of a build that is no proven one.
pub fn details(finding: &Finding) -> String {
    match finding {
        Finding::CompileError { diagnostics, .. } => {
            let hints = diagnostics.hints.iter().map(|way_out| format!("\nhint: {way_out}"));
            hints.fold(diagnostics.log.trim_end().to_owned(), |text, hint| text + &hint)
        }
        Finding::Unproven(judgement) => {
            let lines = judgement.reasons().iter().map(|reason| format!("  {reason}"));
            lines.collect::<Vec<_>>().join("\n")
        }
    }
}

/// One line of text for a build that is no proven one.
pub fn describe_finding(finding: &Finding) -> String {
    match finding {
        Finding::CompileError { said: Said::Now, .. } => "compile error: nothing was built".to_owned(),
        Finding::CompileError { said: Said::Recently, .. } => {
            "compile error: nothing was built, as the compiler said some seconds ago; --fresh asks it again"
                .to_owned()
        }
        Finding::Unproven(judgement) => {
            format!("unproven: the build is {}", json!(judgement.verdict()).as_str().unwrap_or_default())
        }
    }
}

/// The JSON that every verb gives for a build that is no proven one.
pub fn finding_document(finding: &Finding) -> Value {
    match finding {
        Finding::CompileError { diagnostics, said } => {
            let mut body = unproven("compile_error");
            if *said == Said::Recently {
                body["cache"] = json!("remembered");
            }
            body["diagnostics"] = json!(diagnostics);
            body
        }
        Finding::Unproven(judgement) => {
            let mut body = unproven("unproven");
            body["proof"] = json!({
                "verdict": judgement.verdict(), "reasons": judgement.reasons(), "witnesses": judgement.witnesses(),
            });
            body
        }
    }
}

/// The fields that a reader of any outcome may ask for, for an outcome without a library.
fn unproven(verdict: &str) -> Value {
    json!({
        "verdict": verdict,
        "cache": "miss",
        "library": null,
        "library_sha256": null,
        "identical": false,
        "proof": { "verdict": null },
    })
}
