//! FlashInfer-Bench traces of our records.
//!
//! Their trace knows one latency, two errors and seven statuses. What it cannot say stands in
//! `correctness.extra.proofmark` and in the log, so that nothing of a verdict is lost on the way
//! out.

use proofmark_packager::interop::flashinfer::{
    Correctness, Evaluation, EvaluationEnvironment, EvaluationOutcome, Performance, Status, Trace,
};
use serde_json::{Map, json};

use super::line::WorkloadRecord;
use crate::measure::judge::OutputComparison;
use crate::measure::measurement::Measurement;
use crate::measure::verdict::Verdict;

/// Nanoseconds in a millisecond.
const NS_PER_MS: f64 = 1e6;

/// Why a record has no trace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    /// The workload could not judge; their format has no status for that.
    #[error("workload {uuid} has no verdict")]
    NoVerdict {
        /// The workload.
        uuid: String,
    },
    /// It passed, but was not timed; their `PASSED` demands a latency.
    #[error("workload {uuid} passed without a latency")]
    NoLatency {
        /// The workload.
        uuid: String,
    },
    /// Its tensors were strided, which no board's are.
    #[error("workload {uuid} was measured with strided tensors")]
    Strided {
        /// The workload.
        uuid: String,
    },
    /// The definition has no name.
    #[error("workload {uuid} belongs to a definition without a name")]
    NoDefinition {
        /// The workload.
        uuid: String,
    },
}

/// Turns a finished workload into a trace that their model accepts.
pub fn to_trace(record: &WorkloadRecord) -> Result<Trace, ExportError> {
    let workload = record.finding.workload.clone();
    let uuid = || workload.uuid().to_owned();
    if !record.context.strides.is_contiguous() {
        return Err(ExportError::Strided { uuid: uuid() });
    }
    let verdict = record.finding.verdict.as_ref().ok_or_else(|| ExportError::NoVerdict { uuid: uuid() })?;
    let evaluation = Evaluation {
        outcome: outcome(record, verdict).ok_or_else(|| ExportError::NoLatency { uuid: uuid() })?,
        environment: environment(record),
        timestamp: record.timestamp.clone(),
        log: log(record, verdict),
    };
    let context = &record.context;
    let trace = Trace::of_evaluation(&context.definition, workload.clone(), &context.solution, evaluation);
    trace.ok_or_else(|| ExportError::NoDefinition { uuid: uuid() })
}

/// `None` where it passed without a latency.
fn outcome(record: &WorkloadRecord, verdict: &Verdict) -> Option<EvaluationOutcome> {
    Some(match verdict.flashinfer_status() {
        Status::Passed => EvaluationOutcome::Passed(correctness(record, verdict), performance(record)?),
        Status::IncorrectNumerical => EvaluationOutcome::IncorrectNumerical(correctness(record, verdict)),
        Status::IncorrectShape => EvaluationOutcome::IncorrectShape,
        Status::IncorrectDtype => EvaluationOutcome::IncorrectDtype,
        Status::RuntimeError => EvaluationOutcome::RuntimeError,
        Status::CompileError => EvaluationOutcome::CompileError,
        Status::Timeout => EvaluationOutcome::Timeout,
    })
}

/// The largest errors over all outputs. Without any that were kept, a pass has unknown errors: NaN.
/// A wrong answer whose kept outputs were all right, because a later call was the wrong one, is
/// wrong by an unknown amount: infinite.
fn correctness(record: &WorkloadRecord, verdict: &Verdict) -> Correctness {
    let comparisons = &record.finding.comparisons;
    let least = match (verdict.is_passed(), comparisons.is_empty()) {
        (true, true) => f64::NAN,
        (true, false) => 0.0,
        (false, _) if comparisons.iter().any(|(_, output)| !output.accepted) => 0.0,
        (false, _) => f64::INFINITY,
    };
    let errors = comparisons.iter().filter_map(|(_, output)| output.correctness());
    let (relative, absolute) = errors.fold((least, least), |(relative, absolute), error| {
        (error.max_relative_error().max(relative), error.max_absolute_error().max(absolute))
    });
    let mut correctness =
        Correctness::new(relative, absolute).expect("NaN, or maxima that start from zero up");
    correctness.extra = Some(extra(record));
    correctness
}

fn extra(record: &WorkloadRecord) -> Map<String, serde_json::Value> {
    let finding = &record.finding;
    let output = |(name, comparison): &(String, OutputComparison)| (name.clone(), json!(comparison));
    let clock = finding.measurements.first();
    let summary = json!({
        "artifact": record.context.artifact,
        "library": record.context.library,
        "arch": record.context.arch,
        "tolerance": record.tolerance,
        "trust": finding.trust,
        "seed": record.seed.to_string(),
        "checked_calls": finding.checked_calls,
        "outputs": finding.comparisons.iter().map(output).collect::<Map<_, _>>(),
        "method": clock.map(|clock| clock.method),
        "l2_state": clock.map(|clock| clock.l2_state),
        "samples_ns": clock.and_then(Measurement::summary),
        "notes": finding.notes,
    });
    Map::from_iter([("proofmark".to_owned(), summary)])
}

fn performance(record: &WorkloadRecord) -> Option<Performance> {
    let latency = record.finding.latency_ns()?;
    let reference = record.finding.reference_ns.filter(|time| time.is_finite() && *time > 0.0);
    Performance::new(latency / NS_PER_MS, reference.unwrap_or_default() / NS_PER_MS)
}

fn environment(record: &WorkloadRecord) -> EvaluationEnvironment {
    let environment = &record.context.environment;
    let library = |name: &str, version: &Option<String>| Some((name.to_owned(), version.clone()?));
    let libs = [
        Some(("proofmark".to_owned(), environment.proofmark.clone())),
        library("cuda_driver", &environment.driver),
        library("cupti", &environment.cupti),
    ];
    EvaluationEnvironment::new(&environment.device, libs.into_iter().flatten().collect())
}

/// Our own verdict first, because some have no status of theirs; then what the player wrote.
fn log(record: &WorkloadRecord, verdict: &Verdict) -> String {
    let output = record.finding.output.as_deref().unwrap_or_default();
    if verdict.is_passed() {
        return output.to_owned();
    }
    if output.is_empty() { verdict.to_string() } else { format!("{verdict}\n{output}") }
}

#[cfg(test)]
mod tests {
    use super::super::line::tests::record;
    use super::*;
    use crate::measure::judge::Tolerance;

    fn judged(verdict: Verdict) -> WorkloadRecord {
        let mut record = record("u");
        record.finding.verdict = Some(verdict);
        record
    }

    fn compared(found: f32) -> OutputComparison {
        let bytes = found.to_le_bytes();
        let dtype = proofmark_packager::interop::flashinfer::Dtype::Float32;
        OutputComparison::new(dtype, &bytes, &[1.0], &Tolerance::default()).unwrap()
    }

    #[test]
    fn a_pass_carries_latency_and_speedup() {
        let mut record = judged(Verdict::Passed);
        record.finding.comparisons.push(("y".to_owned(), compared(1.005)));
        let trace = to_trace(&record).unwrap();
        let EvaluationOutcome::Passed(correctness, performance) = &trace.evaluation().unwrap().outcome else {
            panic!("{trace:?}")
        };
        assert!((performance.latency_ms() - 0.003_712).abs() < 1e-12);
        assert!((performance.speedup_factor() - 75_500.5 / 3712.0).abs() < 1e-9);
        assert!((correctness.max_absolute_error() - 0.005).abs() < 1e-6);
        assert_eq!(Trace::from_json(&trace.to_line()).unwrap(), trace);
    }

    #[test]
    fn every_verdict_has_a_trace_that_reads_back() {
        let reason = || "because".to_owned();
        for verdict in [
            Verdict::Passed,
            Verdict::IncorrectNumerical { reason: reason() },
            Verdict::IncorrectShape { reason: reason() },
            Verdict::IncorrectDtype { reason: reason() },
            Verdict::RuntimeError { reason: reason() },
            Verdict::Timeout { reason: reason() },
            Verdict::UntrustedTiming { reason: reason() },
        ] {
            let trace = to_trace(&judged(verdict.clone())).unwrap();
            let evaluation = trace.evaluation().unwrap();
            assert_eq!(evaluation.outcome.status(), verdict.flashinfer_status());
            let explained =
                if verdict.is_passed() { String::new() } else { format!("{}: because", verdict.name()) };
            assert_eq!(evaluation.log, explained);
            assert_eq!(Trace::from_json(&trace.to_line()).unwrap().to_line(), trace.to_line());
        }
    }

    /// One trace of every status, with every special number that a trace can hold.
    fn gallery() -> String {
        let mut records = vec![judged(Verdict::Passed)];
        records[0].finding.comparisons.push(("y".to_owned(), compared(1.005)));
        let mut broken = judged(Verdict::IncorrectNumerical { reason: "output `y`: NaN".to_owned() });
        broken.finding.comparisons.push(("y".to_owned(), compared(f32::NAN)));
        broken.finding.output = Some("printed \"this\"\n\u{1} and é".to_owned());
        records.push(broken);
        for verdict in [
            Verdict::RuntimeError { reason: "ended by SIGSEGV".to_owned() },
            Verdict::Timeout { reason: "no answer after 300 s".to_owned() },
            Verdict::UntrustedTiming { reason: "no kernel ran".to_owned() },
        ] {
            records.push(judged(verdict));
        }
        let mut unnamed = judged(Verdict::Passed);
        unnamed.context.environment.device.clear();
        unnamed.finding.reference_ns = None;
        records.push(unnamed);
        records.iter().map(|record| to_trace(record).unwrap().to_line() + "\n").collect()
    }

    /// The golden file was accepted line by line by the `Trace` model of flashinfer-bench 0.1.2
    /// under pydantic 2.14.3, which wrote every line back byte for byte. A difference here needs
    /// that proof again.
    #[test]
    fn writes_what_their_models_were_seen_to_accept() {
        assert_eq!(gallery(), include_str!("../../../tests/golden/flashinfer_traces.jsonl"));
    }

    #[test]
    fn a_wrong_answer_never_shows_small_errors() {
        let mut record = judged(Verdict::IncorrectNumerical { reason: "call 7".to_owned() });
        record.finding.comparisons.push(("y".to_owned(), compared(1.0)));
        let error_of = |record: &WorkloadRecord| {
            let trace = to_trace(record).unwrap();
            trace.evaluation().unwrap().outcome.correctness().unwrap().max_absolute_error()
        };
        assert!(error_of(&record).is_infinite(), "the kept call was right; the wrong one is unknown");
        record.finding.comparisons.push(("z".to_owned(), compared(3.0)));
        assert!((error_of(&record) - 2.0).abs() < 1e-6);
        record.finding.comparisons.push(("w".to_owned(), compared(f32::NAN)));
        assert!(error_of(&record).is_infinite());
    }

    #[test]
    fn what_their_format_cannot_say_is_an_error() {
        let mut untimed = judged(Verdict::Passed);
        untimed.finding.measurements.clear();
        assert_eq!(to_trace(&untimed), Err(ExportError::NoLatency { uuid: "u".to_owned() }));
        untimed.finding.verdict = None;
        assert_eq!(to_trace(&untimed), Err(ExportError::NoVerdict { uuid: "u".to_owned() }));
    }
}
