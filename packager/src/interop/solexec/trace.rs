//! One line of a file of results: a workload, and how a solution did on it.
//!
//! Their statuses are FlashInfer-Bench's seven and two more: the reference failed, and the submission
//! was caught cheating. Which parts stand with which status is the same rule.

use std::str::FromStr;

use serde_json::{Value, json};

use super::workload::{self, Workload};
use crate::interop::document::{self, Object};
use crate::interop::flashinfer::{
    self, Correctness as Errors, EvaluationEnvironment, Performance, Timestamp, evaluation,
};
use crate::interop::violation::{FormatViolation, Invalid};

/// The nine statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// One of FlashInfer-Bench's.
    Shared(flashinfer::Status),
    /// The definition's reference failed.
    InvalidReference,
    /// The submission was caught cheating.
    RewardHack,
}

impl Status {
    /// The name in a document.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Shared(status) => status.name(),
            Self::InvalidReference => "INVALID_REFERENCE",
            Self::RewardHack => "REWARD_HACK",
        }
    }

    fn names() -> String {
        let shared = flashinfer::Status::ALL.map(flashinfer::Status::name).join(", ");
        format!("one of {shared}, {}, {}", Self::InvalidReference.name(), Self::RewardHack.name())
    }
}

impl FromStr for Status {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let own = [Self::InvalidReference, Self::RewardHack].into_iter().find(|one| one.name() == text);
        own.or_else(|| text.parse().ok().map(Self::Shared)).ok_or(())
    }
}

/// Errors against the reference, and whether there were values that have none.
#[derive(Debug, Clone, PartialEq)]
pub struct Correctness {
    /// The largest errors; zero where values were not finite.
    pub errors: Errors,
    /// Whether there was a NaN.
    pub has_nan: bool,
    /// Whether there was an infinity and no NaN.
    pub has_inf: bool,
}

/// What a status brings with it.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Right and timed.
    Passed(Correctness, Performance),
    /// Values are off.
    IncorrectNumerical(Correctness),
    /// Anything else: neither errors nor times.
    Failed(Status),
}

impl Outcome {
    /// The status alone.
    pub fn status(&self) -> Status {
        match self {
            Self::Passed(..) => Status::Shared(flashinfer::Status::Passed),
            Self::IncorrectNumerical(_) => Status::Shared(flashinfer::Status::IncorrectNumerical),
            Self::Failed(status) => *status,
        }
    }
}

/// One evaluation.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// How it went.
    pub outcome: Outcome,
    /// Where it ran.
    pub environment: EvaluationEnvironment,
    /// When it ran.
    pub timestamp: Timestamp,
    /// What it printed.
    pub log: String,
}

/// A trace; without solution and evaluation it is a workload alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// The definition's name.
    pub definition: String,
    /// The workload.
    pub workload: Workload,
    /// The solution's name.
    pub solution: Option<String>,
    /// How the solution did.
    pub evaluation: Option<Evaluation>,
}

impl Trace {
    /// Reads one line.
    pub fn from_json(json: &str) -> Result<Self, Invalid> {
        document::read("SOL-ExecBench trace", json, read)
    }

    /// A result of ours for one of their workloads; their model has a place for whether values were
    /// finite, which a FlashInfer-Bench trace says by an error that is none.
    #[must_use]
    pub fn of_result(workload: Workload, trace: &flashinfer::Trace) -> Self {
        Self {
            definition: trace.definition().to_owned(),
            workload,
            solution: trace.solution().map(str::to_owned),
            evaluation: trace.evaluation().map(|found| Evaluation {
                outcome: outcome_of(&found.outcome),
                environment: found.environment.clone(),
                timestamp: found.timestamp.clone(),
                log: found.log.clone(),
            }),
        }
    }

    /// Writes one line, compact, without the line feed.
    pub fn to_line(&self) -> String {
        json!({
            "definition": self.definition,
            "workload": self.workload.to_value(),
            "solution": self.solution,
            "evaluation": self.evaluation.as_ref().map(evaluation_value),
        })
        .to_string()
    }
}

fn outcome_of(outcome: &flashinfer::EvaluationOutcome) -> Outcome {
    match (outcome.correctness(), outcome.performance()) {
        (Some(errors), Some(times)) => Outcome::Passed(finite(errors), *times),
        (Some(errors), None) => Outcome::IncorrectNumerical(finite(errors)),
        (None, _) => Outcome::Failed(Status::Shared(outcome.status())),
    }
}

/// Their errors are zero where values were not finite, and a flag says which.
fn finite(errors: &Errors) -> Correctness {
    let (relative, absolute) = (errors.max_relative_error(), errors.max_absolute_error());
    let has_nan = relative.is_nan() || absolute.is_nan();
    let has_inf = !has_nan && (relative.is_infinite() || absolute.is_infinite());
    let plain = |error: f64| if has_nan || has_inf { 0.0 } else { error };
    let mut kept = Errors::new(plain(relative), plain(absolute))
        .expect("errors are never negative, and neither is zero");
    kept.extra.clone_from(&errors.extra);
    Correctness { errors: kept, has_nan, has_inf }
}

fn evaluation_value(evaluation: &Evaluation) -> Value {
    let (errors, times) = match &evaluation.outcome {
        Outcome::Passed(errors, times) => (Some(errors), Some(times)),
        Outcome::IncorrectNumerical(errors) => (Some(errors), None),
        Outcome::Failed(_) => (None, None),
    };
    let errors = errors.map(|found| {
        let shared = evaluation::correctness_value(&found.errors);
        json!({
            "max_relative_error": shared["max_relative_error"],
            "max_absolute_error": shared["max_absolute_error"],
            "has_nan": found.has_nan,
            "has_inf": found.has_inf,
            "extra": shared["extra"],
        })
    });
    json!({
        "status": evaluation.outcome.status().name(),
        "environment": evaluation::environment_value(&evaluation.environment),
        "timestamp": evaluation.timestamp,
        "log": evaluation.log,
        "correctness": errors,
        "performance": times.map(evaluation::performance_value),
    })
}

fn read(value: Value, violations: &mut Vec<FormatViolation>) -> Option<Trace> {
    let mut root = Object::root(value, violations)?;
    let definition = root.text("definition", violations);
    let workload = root.take_required("workload", "an object", violations);
    let workload = workload.and_then(|value| workload::read("workload".to_owned(), value, violations));
    let solution = root.optional_text("solution", violations);
    let evaluation = match root.take_optional("evaluation") {
        Some(value) => Some(read_evaluation(value, violations)?),
        None => None,
    };
    Some(Trace { definition: definition?, workload: workload?, solution, evaluation })
}

fn read_evaluation(value: Value, violations: &mut Vec<FormatViolation>) -> Option<Evaluation> {
    let mut root = Object::open("evaluation".to_owned(), value, violations)?;
    let text = root.text("status", violations);
    let status = text.and_then(|text| {
        text.parse().ok().or_else(|| root.refuse("status", &Status::names(), &json!(text), violations))
    });
    let environment = evaluation::environment(&mut root, violations);
    let timestamp = root.text("timestamp", violations).and_then(|text| Timestamp::try_from(text).ok());
    let log = root.optional_text("log", violations).unwrap_or_default();
    let errors = evaluation::part(&mut root, "correctness", violations, |fields, violations| {
        let mut flag = |field: &str| match fields.take_optional(field) {
            None => Some(false),
            Some(Value::Bool(flag)) => Some(flag),
            Some(other) => fields.refuse(field, "true or false", &other, violations),
        };
        let (has_nan, has_inf) = (flag("has_nan"), flag("has_inf"));
        let errors = evaluation::correctness(fields, violations);
        Some(Correctness { errors: errors?, has_nan: has_nan?, has_inf: has_inf? })
    });
    let times = evaluation::part(&mut root, "performance", violations, evaluation::performance);
    let passed = Status::Shared(flashinfer::Status::Passed);
    let incorrect = Status::Shared(flashinfer::Status::IncorrectNumerical);
    let outcome = match (status?, errors?, times?) {
        (status, Some(errors), Some(times)) if status == passed => Outcome::Passed(errors, times),
        (status, Some(errors), None) if status == incorrect => Outcome::IncorrectNumerical(errors),
        (status, None, None) if status != passed && status != incorrect => Outcome::Failed(status),
        (status, errors, times) => {
            let expected = match status {
                _ if status == passed => "both correctness and performance",
                _ if status == incorrect => "correctness and no performance",
                _ => "neither correctness nor performance",
            };
            let found = format!(
                "{} correctness, {} performance",
                if errors.is_some() { "a" } else { "no" },
                if times.is_some() { "a" } else { "no" }
            );
            let expected = format!("{expected} with {}", status.name());
            violations.push(FormatViolation::new("evaluation.status", expected, found));
            return None;
        }
    };
    Some(Evaluation { outcome, environment: environment?, timestamp: timestamp?, log })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(status: &str, correctness: &Value, performance: &Value) -> String {
        json!({"definition": "d", "workload": {"axes": {"n": 1}, "inputs": {"x": {"type": "random"}}, "uuid": "u"},
            "solution": "s", "evaluation": {"status": status, "environment": {"hardware": "NVIDIA B200"},
                "timestamp": "2026-11-28T00:00:00", "correctness": correctness, "performance": performance}})
        .to_string()
    }

    #[test]
    fn every_status_comes_back_with_its_parts() {
        let (errors, times) =
            (json!({"max_absolute_error": 0.5, "has_inf": false}), json!({"latency_ms": 0.01}));
        for (status, correctness, performance) in [
            ("PASSED", &errors, &times),
            ("INCORRECT_NUMERICAL", &errors, &Value::Null),
            ("INVALID_REFERENCE", &Value::Null, &Value::Null),
            ("REWARD_HACK", &Value::Null, &Value::Null),
            ("TIMEOUT", &Value::Null, &Value::Null),
        ] {
            let trace = Trace::from_json(&line(status, correctness, performance)).unwrap();
            assert_eq!(trace.evaluation.as_ref().unwrap().outcome.status().name(), status);
            assert_eq!(Trace::from_json(&trace.to_line()).unwrap(), trace);
        }
        for (status, correctness) in
            [("REWARD_HACK", &errors), ("PASSED", &errors), ("CHEATED", &Value::Null)]
        {
            assert!(Trace::from_json(&line(status, correctness, &Value::Null)).is_err(), "{status}");
        }
    }

    #[test]
    fn a_result_of_ours_says_by_a_flag_that_values_were_not_finite() {
        let ours = flashinfer::Trace::from_json(&line(
            "INCORRECT_NUMERICAL",
            &json!({"max_relative_error": "Infinity", "max_absolute_error": 2.0}),
            &Value::Null,
        ))
        .unwrap();
        let theirs = Trace::from_json(&line("TIMEOUT", &Value::Null, &Value::Null)).unwrap();
        let line = Trace::of_result(theirs.workload, &ours).to_line();
        let part = r#""correctness":{"max_relative_error":0.0,"max_absolute_error":0.0,"has_nan":false,"has_inf":true,"extra":null}"#;
        assert!(line.contains(part), "{line}");
    }
}
