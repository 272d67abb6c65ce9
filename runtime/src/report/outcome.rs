//! What came out of a job, in words and as a document.

use proofmark_packager::escape;
use serde_json::{Value, json};

use super::bench_table::bench_table;
use super::build::{describe_finding, describe_proof, document, finding_document};
use super::comparison_table::comparison_table;
use super::entry::{describe_entry, entry_document};
use crate::evidence::{BuildComparison, RecordingComparison, Sameness, SpeedComparison};
use crate::job::{BuiltSubject, Input, Job, Measured, MeasurementOutcome, Outcome, ReplayedSpeed};
use crate::measure::Compared;
use crate::measure::decision::Arm;
use crate::rebuild::RebuildExtent;

/// What the verb prints without `--json`.
pub fn text(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Finding { finding, .. } => describe_finding(finding),
        Outcome::Built(build) => describe_proof(build),
        Outcome::Entry(entry) => describe_entry(entry),
        Outcome::Sealed { build, measurement, .. } => {
            format!("{}\n{}", describe_proof(build), measurement_text(measurement))
        }
        Outcome::Replayed { build, sealed_library, comparison, speed, recordings } => {
            let mut text =
                format!("{}\n{}", describe_proof(build), comparison_text(comparison, build.extent()));
            if comparison.sameness != Sameness::Identical {
                let now = build.entry.proof.library_digest();
                text.push_str(&format!("\n  library    {sealed_library} sealed\n             {now} now"));
            }
            if let Some(speed) = speed {
                text.push_str(&format!("\n{}", speed_text(speed)));
            }
            if let Some(recordings) = recordings {
                text.push_str(&format!("\n{}", launches_text(recordings)));
            }
            text
        }
        Outcome::Relaunched { name, arch, images, speed } => format!(
            "proven       {} of machine code for {arch}, as sealed with {}\n\
             launched     as sealed: nothing was built, so whether its sources give this is not known\n{}",
            counted(images.len(), "image"),
            escape::line(name),
            speed_text(speed)
        ),
        Outcome::Measured { measured, .. } => bench_table(&measured.report()).trim_end().to_owned(),
        Outcome::Compared { incumbent, candidate, compared, .. } => {
            let (a, b) = (&incumbent.subject.name, &candidate.subject.name);
            match compared {
                Compared::Decided(settled) => {
                    comparison_table(a, b, &settled.report, &settled.trust).trim_end().to_owned()
                }
                Compared::Disqualified { arm, workload, verdict } => {
                    let name = if *arm == Arm::B { b } else { a };
                    format!("{name} cannot be compared on workload {workload}: {verdict}")
                }
            }
        }
    }
}

/// The fields of an outcome's document: what the verb itself would print, with the job that it answers, the run's
/// name and every record.
pub fn job_body(job: &Job, outcome: &Outcome, exit_code: u8) -> Value {
    let mut body = body(outcome);
    body["job"] = json!(job.digest());
    body["run_id"] = json!(job.run_id);
    body["exit_code"] = json!(exit_code);
    body["records"] = json!(outcome.records());
    if let Outcome::Sealed { sealed, .. } = outcome {
        body["sealed"] = json!(Input::Artifact(sealed.clone()));
    }
    body
}

/// The fields of the verb's document.
pub fn body(outcome: &Outcome) -> Value {
    match outcome {
        Outcome::Finding { finding, .. } => finding_document(finding),
        Outcome::Built(build) => document(build),
        Outcome::Entry(entry) => entry_document(entry),
        Outcome::Sealed { build, measurement, .. } => {
            let mut body = document(build);
            body["measured"] = match measurement {
                MeasurementOutcome::Skipped(reason) => json!({ "skipped": reason }),
                MeasurementOutcome::Taken(measured) => json!({
                    "mean_us": measured.mean_us(), "device": measured.device(), "workloads": findings(measured),
                }),
            };
            body
        }
        Outcome::Replayed { build, sealed_library, comparison, speed, recordings } => {
            let mut body = document(build);
            body["compared"] = json!(build.extent());
            body["identical"] = json!(comparison.sameness == Sameness::Identical);
            body["device_code_identical"] =
                json!(comparison.lost_images.is_empty() && comparison.new_images.is_empty());
            body["sealed_library_sha256"] = json!(sealed_library);
            body["comparison"] = json!(comparison);
            if let Some(speed) = speed {
                body["speed"] = json!(speed);
            }
            if let Some(recordings) = recordings {
                body["recordings"] = json!(recordings);
            }
            body
        }
        Outcome::Relaunched { name, arch, images, speed } => json!({
            "verdict": "launched_as_sealed", "solution": name, "arch": arch, "image_sha256": images, "speed": speed,
        }),
        Outcome::Measured { subject, measured } => measured_body(subject, measured),
        Outcome::Compared { incumbent, candidate, compared, .. } => {
            let arm = |built: &BuiltSubject| json!({ "name": built.subject.name, "library_sha256": built.library() });
            match compared {
                Compared::Decided(settled) => {
                    json!({
                        "a": arm(incumbent), "b": arm(candidate), "trust": settled.trust, "report": settled.report,
                    })
                }
                Compared::Disqualified { arm, workload, verdict } => json!({
                    "decision": "disqualified", "arm": arm, "workload": workload, "verdict": verdict,
                }),
            }
        }
    }
}

fn measured_body(subject: &BuiltSubject, measured: &Measured) -> Value {
    let report = measured.report();
    json!({
        "run_id": measured.context.run_id,
        "solution": subject.subject.name,
        "library_sha256": subject.library(),
        "arch": subject.subject.arch,
        "definition_digest": measured.context.definition_digest,
        "reference": measured.context.reference,
        "run": measured.facts,
        "seed": measured.seed,
        "seed_commitment": measured.seed.commitment(),
        "overall": report.overall,
        "no_overall": report.no_overall,
        "passed": report.passed,
        "expected": report.expected,
        "workloads": findings(measured),
    })
}

fn findings(measured: &Measured) -> Value {
    json!(measured.records.iter().map(|record| &record.finding).collect::<Vec<_>>())
}

fn measurement_text(measurement: &MeasurementOutcome) -> String {
    match measurement {
        MeasurementOutcome::Skipped(reason) => format!("measured     skipped: {reason}"),
        MeasurementOutcome::Taken(measured) => match measured.mean_us() {
            Some(mean) => format!(
                "measured     {mean:.3} µs over {} workloads on {}",
                measured.records.len(),
                measured.device()
            ),
            None => "measured     not every workload passed: `proofmark bench` shows which".to_owned(),
        },
    }
}

fn comparison_text(comparison: &BuildComparison, extent: RebuildExtent) -> String {
    // Equal bytes out of the cache say nothing about whether they can be made again.
    let (word, library, not_rebuilt) = match extent {
        RebuildExtent::Rebuilt => ("replayed", "the same library", ""),
        RebuildExtent::PartlyRebuilt => (
            "compared",
            "linked from objects of earlier builds, the same library",
            "\n  not all rebuilt: without `--cached` every source is compiled again",
        ),
        RebuildExtent::Cached => (
            "compared",
            "the cached build is the same library",
            "\n  not rebuilt: without `--cached` every source is compiled again",
        ),
    };
    let same_device_code = comparison.lost_images.is_empty() && comparison.new_images.is_empty();
    let found = match comparison.sameness {
        Sameness::Identical if comparison.causes.is_empty() => {
            return format!("{word:13}identical: {library}, byte for byte{not_rebuilt}");
        }
        Sameness::Identical => &format!("identical: {library}, byte for byte, although other things changed"),
        Sameness::Different if same_device_code => {
            "different: the device code is identical, the host code around it is not"
        }
        Sameness::Different => "different: the device code is not the same",
    };
    let causes = comparison.causes.iter().fold(String::new(), |text, cause| text + "\n  " + cause);
    let because = if causes.is_empty() {
        ", and nothing that was recorded explains it".to_owned()
    } else {
        format!("; the evidence says that this was otherwise:{causes}")
    };
    format!("{word:13}{found}{because}{not_rebuilt}")
}

fn speed_text(speed: &ReplayedSpeed) -> String {
    match speed {
        ReplayedSpeed::Skipped { skipped } => format!("speed        skipped: {skipped}"),
        ReplayedSpeed::NothingInCommon { reason, .. } => format!("speed        does not hold: {reason}"),
        ReplayedSpeed::Compared(comparison) => compared_speed_text(comparison),
    }
}

fn launches_text(recordings: &RecordingComparison) -> String {
    let RecordingComparison { same, different } = recordings;
    if different.is_empty() {
        return format!("launches     as sealed, on {}", counted(*same, "workload"));
    }
    let all = same + different.len();
    let mut text = format!("launches     otherwise than sealed, on {} of {all} workloads", different.len());
    for one in different.iter().take(3) {
        text.push_str(&format!("\n  {}: {}", escape::line(&one.workload), one.what));
    }
    text
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn compared_speed_text(comparison: &SpeedComparison) -> String {
    let SpeedComparison { workloads, sealed_mean_us, mean_us, ratio, holds, sealed_device, device, .. } =
        comparison;
    let SpeedComparison { sealed_trust, trust, .. } = comparison;
    let verdict = if *holds { "holds" } else { "does not hold" };
    let change = 100.0 * (ratio - 1.0);
    let mut text = format!(
        "speed        {verdict}: {mean_us:.3} µs over {workloads} workloads, sealed {sealed_mean_us:.3} µs ({change:+.1} %)"
    );
    if sealed_trust != trust {
        text.push_str(&format!("\n  measured otherwise: sealed {sealed_trust}, now {trust}"));
    }
    if sealed_device != device {
        text.push_str(&format!("\n  other device: sealed on {sealed_device}, now {device}"));
    }
    text
}
