//! What is said of a sealed artifact: in-toto statements out of its evidence.

use proofmark_packager::format::{ATTESTATION_EVIDENCE, EVIDENCE_PREFIX};
use proofmark_packager::interop::flashinfer::Timestamp;
use proofmark_packager::{Bundle, Digest};
use serde_json::{Map, Value, json};

use crate::evidence::{ReplayError, Sealed, sealed};
use crate::record::BenchReport;

/// The type of every statement.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// How the library was built.
pub const PROVENANCE: &str = "https://slsa.dev/provenance/v1";
/// What was found about it.
pub const VERDICT: &str = "https://in-toto.io/attestation/svr/v0.2";
/// What was measured.
pub const TEST_RESULT: &str = "https://in-toto.io/attestation/test-result/v0.1";

/// How our builds are made; its parameters are this crate's build plan.
const BUILD_TYPE: &str = "urn:proofmark:build:nvcc:1";
/// Who builds and who judges.
const BUILDER: &str = "urn:proofmark:builder";
const VERIFIER: &str = "urn:proofmark:verifier";
/// The name of an artifact's identity among digests, which is no digest of a file.
const IDENTITY: &str = "proofmarkArtifact";

/// Why nothing can be stated.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    /// It is not sealed, or its evidence contradicts itself.
    #[error(transparent)]
    Evidence(#[from] ReplayError),
}

/// The statements about an artifact, in the order of the bundle.
pub fn statements(bundle: &Bundle, time: &Timestamp) -> Result<Vec<Value>, StatementError> {
    let sealed = sealed::read(bundle)?;
    let subject = subject(bundle, &sealed);
    let statement = |kind: &str, predicate: Value| json!({ "_type": STATEMENT_TYPE, "subject": subject, "predicateType": kind, "predicate": predicate });
    let mut all =
        vec![statement(PROVENANCE, provenance(bundle, &sealed)), statement(VERDICT, verdict(&sealed, time))];
    if let Some(result) = test_result(&sealed) {
        all.push(statement(TEST_RESULT, result));
    }
    Ok(all)
}

/// What every statement is about: the artifact, the library, its images, and each file of the evidence.
pub fn subject(bundle: &Bundle, sealed: &Sealed) -> Value {
    let sha256 = |digest: Digest| json!({ "sha256": digest });
    let mut all = vec![
        json!({ "name": "artifact", "digest": { IDENTITY: bundle.artifact.digest() } }),
        json!({ "name": "library", "digest": sha256(sealed.build.library.sha256) }),
    ];
    for (index, image) in sealed.build.device_images.iter().enumerate() {
        all.push(json!({ "name": format!("image {index} {}", image.arch), "digest": sha256(image.sha256) }));
    }
    for (name, content) in bundle.evidence.files().filter(|(name, _)| *name != ATTESTATION_EVIDENCE) {
        let name = format!("{EVIDENCE_PREFIX}{name}");
        all.push(json!({ "name": name, "digest": sha256(Digest::of_bytes(content)) }));
    }
    json!(all)
}

fn provenance(bundle: &Bundle, sealed: &Sealed) -> Value {
    let build = &sealed.build;
    let dependency = |name: &str, digest: &Digest| json!({ "name": name, "digest": { "sha256": digest } });
    let toolchain = build.toolchain.parts.iter().map(|part| dependency(&part.role, &part.sha256));
    let headers = build.dependencies.iter().map(|(label, digest)| dependency(label, digest));
    json!({
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {
                "artifact": bundle.artifact.digest(),
                "solution": bundle.artifact.manifest().solution.name,
                "definition": bundle.artifact.manifest().solution.definition,
                "gencode": build.gencode,
            },
            "internalParameters": { "commands": build.commands },
            "resolvedDependencies": toolchain.chain(headers).collect::<Vec<_>>(),
        },
        "runDetails": {
            "builder": { "id": BUILDER, "version": { "proofmark": env!("CARGO_PKG_VERSION") } },
            "metadata": {},
        },
    })
}

/// What the evidence comes to, as properties that a policy can ask for.
pub fn properties(sealed: &Sealed) -> Vec<String> {
    let arch = sealed.build.gencode.real_arch.to_string().to_ascii_uppercase();
    let mut properties = vec![format!("PROOFMARK_BUILT_EXACT_{arch}")];
    let findings = || sealed.measurements.iter().map(|record| &record.finding);
    if findings().next().is_some() {
        let is_passed = findings().all(|finding| finding.latency_ns().is_some());
        properties.extend(is_passed.then(|| "PROOFMARK_EVERY_WORKLOAD_PASSED".to_owned()));
        let is_hermetic = findings().all(|finding| finding.trust.is_hermetic());
        let is_live = findings().all(|finding| !finding.trust.is_hermetic());
        properties.extend(is_hermetic.then(|| "PROOFMARK_MEASURED_HERMETIC".to_owned()));
        properties.extend(is_live.then(|| "PROOFMARK_MEASURED_LIVE".to_owned()));
    }
    properties
}

fn verdict(sealed: &Sealed, time: &Timestamp) -> Value {
    json!({
        "verifier": { "id": VERIFIER, "policies": [] },
        "timeCreated": crate::ledger::moment::normal(time.as_str()),
        "properties": properties(sealed),
    })
}

fn test_result(sealed: &Sealed) -> Option<Value> {
    let last = sealed.measurements.last()?;
    let findings = || sealed.measurements.iter().map(|record| &record.finding);
    let uuids = |is_passed: bool| {
        let of = findings().filter(move |finding| finding.latency_ns().is_some() == is_passed);
        of.map(|finding| finding.workload.uuid().to_owned()).collect::<Vec<_>>()
    };
    let (passed, failed) = (uuids(true), uuids(false));
    let report = BenchReport::of_records(&sealed.measurements)?;
    let mut latencies = Map::new();
    for finding in findings() {
        latencies.insert(finding.workload.uuid().to_owned(), json!(finding.latency_ns()));
    }
    let annotations = json!({
        "device": last.context.environment.device,
        "driver": last.context.environment.driver,
        "trust": findings().map(|finding| finding.trust.name()).collect::<std::collections::BTreeSet<_>>(),
        "mean_ns": report.overall.map(|means| means.arithmetic_mean_ns),
        "median_ns": latencies,
    });
    let library = json!({ "name": "library", "digest": { "sha256": last.context.library } });
    Some(json!({
        "result": if failed.is_empty() { "PASSED" } else { "FAILED" },
        "configuration": [
            { "name": "reference library", "digest": { "sha256": last.context.reference_library } },
            { "name": library["name"], "digest": library["digest"], "annotations": annotations },
        ],
        "passedTests": passed,
        "warnedTests": [],
        "failedTests": failed,
    }))
}
