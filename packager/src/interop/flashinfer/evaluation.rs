//! How a solution did on a workload, shaped so that a wrong combination cannot be built.
//!
//! Their model demands correctness and performance with `PASSED`, correctness alone with
//! `INCORRECT_NUMERICAL`, and neither with any other status; [`EvaluationOutcome`] holds just that.

use std::str::FromStr;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::timestamp::Timestamp;
use crate::interop::document::{Object, quote};
use crate::interop::violation::FormatViolation;

/// The seven statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Right and timed.
    Passed,
    /// An output has another shape.
    IncorrectShape,
    /// Values are off.
    IncorrectNumerical,
    /// An output has another element type.
    IncorrectDtype,
    /// It failed while running.
    RuntimeError,
    /// It did not compile.
    CompileError,
    /// It did not end in time.
    Timeout,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 7] = [
        Self::Passed,
        Self::IncorrectShape,
        Self::IncorrectNumerical,
        Self::IncorrectDtype,
        Self::RuntimeError,
        Self::CompileError,
        Self::Timeout,
    ];

    /// The name in a document.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Passed => "PASSED",
            Self::IncorrectShape => "INCORRECT_SHAPE",
            Self::IncorrectNumerical => "INCORRECT_NUMERICAL",
            Self::IncorrectDtype => "INCORRECT_DTYPE",
            Self::RuntimeError => "RUNTIME_ERROR",
            Self::CompileError => "COMPILE_ERROR",
            Self::Timeout => "TIMEOUT",
        }
    }
}

impl FromStr for Status {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|status| status.name() == text).ok_or(())
    }
}

/// Errors against the reference: never negative, but possibly infinite or NaN.
#[derive(Debug, Clone, PartialEq)]
pub struct Correctness {
    max_relative_error: f64,
    max_absolute_error: f64,
    /// Further measures, any JSON.
    pub extra: Option<Map<String, Value>>,
}

impl Correctness {
    /// Holds two errors; `None` where one is negative.
    #[must_use]
    pub fn new(max_relative_error: f64, max_absolute_error: f64) -> Option<Self> {
        let allowed = |error: f64| error.is_nan() || error >= 0.0;
        (allowed(max_relative_error) && allowed(max_absolute_error)).then_some(Self {
            max_relative_error,
            max_absolute_error,
            extra: None,
        })
    }

    /// The largest |x − y| / (|y| + 1e-8).
    pub fn max_relative_error(&self) -> f64 {
        self.max_relative_error
    }

    /// The largest |x − y|.
    pub fn max_absolute_error(&self) -> f64 {
        self.max_absolute_error
    }
}

/// Times in milliseconds: finite and never negative, because their reader cannot take back the
/// `null` that an infinite one becomes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Performance {
    latency_ms: f64,
    reference_latency_ms: f64,
    speedup_factor: f64,
}

impl Performance {
    /// Holds the two latencies and their quotient, zero where the solution's latency is zero.
    /// `None` where a number is negative, infinite or NaN.
    #[must_use]
    pub fn new(latency_ms: f64, reference_latency_ms: f64) -> Option<Self> {
        let quotient = reference_latency_ms / latency_ms;
        let speedup_factor = if quotient.is_finite() { quotient } else { 0.0 };
        Self::with_speedup(latency_ms, reference_latency_ms, speedup_factor)
    }

    fn with_speedup(latency_ms: f64, reference_latency_ms: f64, speedup_factor: f64) -> Option<Self> {
        let allowed = |time: f64| time.is_finite() && time >= 0.0;
        let all = allowed(latency_ms) && allowed(reference_latency_ms) && allowed(speedup_factor);
        all.then_some(Self { latency_ms, reference_latency_ms, speedup_factor })
    }

    /// The solution's latency.
    pub fn latency_ms(&self) -> f64 {
        self.latency_ms
    }

    /// The reference's latency; zero where it was not measured.
    pub fn reference_latency_ms(&self) -> f64 {
        self.reference_latency_ms
    }

    /// The reference's latency over the solution's.
    pub fn speedup_factor(&self) -> f64 {
        self.speedup_factor
    }
}

/// What a status brings with it.
#[derive(Debug, Clone, PartialEq)]
pub enum EvaluationOutcome {
    /// Right and timed.
    Passed(Correctness, Performance),
    /// Values are off.
    IncorrectNumerical(Correctness),
    /// An output has another shape.
    IncorrectShape,
    /// An output has another element type.
    IncorrectDtype,
    /// It failed while running.
    RuntimeError,
    /// It did not compile.
    CompileError,
    /// It did not end in time.
    Timeout,
}

impl EvaluationOutcome {
    /// The status alone.
    pub fn status(&self) -> Status {
        match self {
            Self::Passed(..) => Status::Passed,
            Self::IncorrectNumerical(_) => Status::IncorrectNumerical,
            Self::IncorrectShape => Status::IncorrectShape,
            Self::IncorrectDtype => Status::IncorrectDtype,
            Self::RuntimeError => Status::RuntimeError,
            Self::CompileError => Status::CompileError,
            Self::Timeout => Status::Timeout,
        }
    }

    /// The errors, where the status has them.
    pub fn correctness(&self) -> Option<&Correctness> {
        match self {
            Self::Passed(correctness, _) | Self::IncorrectNumerical(correctness) => Some(correctness),
            _ => None,
        }
    }

    /// The times, where the status has them.
    pub fn performance(&self) -> Option<&Performance> {
        match self {
            Self::Passed(_, performance) => Some(performance),
            _ => None,
        }
    }
}

/// Where it ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvaluationEnvironment {
    hardware: String,
    /// Versions by library name.
    pub libs: Vec<(String, String)>,
}

impl EvaluationEnvironment {
    /// Names the device; `unknown` stands for an empty name, which their model refuses.
    pub fn new(hardware: &str, libs: Vec<(String, String)>) -> Self {
        let hardware = if hardware.is_empty() { "unknown" } else { hardware };
        Self { hardware: hardware.to_owned(), libs }
    }

    /// The device's name.
    pub fn hardware(&self) -> &str {
        &self.hardware
    }
}

/// One evaluation.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// How it went.
    pub outcome: EvaluationOutcome,
    /// Where it ran.
    pub environment: EvaluationEnvironment,
    /// When it ran.
    pub timestamp: Timestamp,
    /// What it printed.
    pub log: String,
}

impl Evaluation {
    /// The document: every declared field in the order of their model, nulls included.
    pub(super) fn to_value(&self) -> Value {
        json!({
            "status": self.outcome.status().name(),
            "environment": environment_value(&self.environment),
            "timestamp": self.timestamp,
            "log": self.log,
            "correctness": self.outcome.correctness().map(correctness_value),
            "performance": self.outcome.performance().map(performance_value),
        })
    }
}

impl Serialize for Evaluation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_value().serialize(serializer)
    }
}

pub(in crate::interop) fn correctness_value(correctness: &Correctness) -> Value {
    json!({
        "max_relative_error": error_value(correctness.max_relative_error),
        "max_absolute_error": error_value(correctness.max_absolute_error),
        "extra": correctness.extra,
    })
}

pub(in crate::interop) fn performance_value(performance: &Performance) -> Value {
    json!({
        "latency_ms": performance.latency_ms,
        "reference_latency_ms": performance.reference_latency_ms,
        "speedup_factor": performance.speedup_factor,
    })
}

pub(in crate::interop) fn environment_value(environment: &EvaluationEnvironment) -> Value {
    let libs = environment.libs.iter().map(|(name, version)| (name.clone(), json!(version)));
    json!({"hardware": environment.hardware, "libs": libs.collect::<Map<_, _>>()})
}

/// JSON has no spelling for these; pydantic writes and reads the two texts.
fn error_value(error: f64) -> Value {
    if error.is_nan() {
        json!("NaN")
    } else if error.is_infinite() {
        json!("Infinity")
    } else {
        json!(error)
    }
}

/// Reads an evaluation at a place of a larger document.
pub(super) fn read(place: String, value: Value, violations: &mut Vec<FormatViolation>) -> Option<Evaluation> {
    let mut root = Object::open(place, value, violations)?;
    let status = status(&mut root, violations);
    let environment = environment(&mut root, violations);
    let timestamp = root.text("timestamp", violations).and_then(|text| Timestamp::try_from(text).ok());
    let log = root.optional_text("log", violations).unwrap_or_default();
    let errors = part(&mut root, "correctness", violations, correctness);
    let times = part(&mut root, "performance", violations, performance);
    let outcome = match (status?, errors?, times?) {
        (Status::Passed, Some(errors), Some(times)) => EvaluationOutcome::Passed(errors, times),
        (Status::IncorrectNumerical, Some(errors), None) => EvaluationOutcome::IncorrectNumerical(errors),
        (Status::IncorrectShape, None, None) => EvaluationOutcome::IncorrectShape,
        (Status::IncorrectDtype, None, None) => EvaluationOutcome::IncorrectDtype,
        (Status::RuntimeError, None, None) => EvaluationOutcome::RuntimeError,
        (Status::CompileError, None, None) => EvaluationOutcome::CompileError,
        (Status::Timeout, None, None) => EvaluationOutcome::Timeout,
        (status, errors, times) => {
            violations.push(presence(&root, status, errors.is_some(), times.is_some()));
            return None;
        }
    };
    Some(Evaluation { outcome, environment: environment?, timestamp: timestamp?, log })
}

fn presence(root: &Object, status: Status, errors: bool, times: bool) -> FormatViolation {
    let expected = match status {
        Status::Passed => "both correctness and performance",
        Status::IncorrectNumerical => "correctness and no performance",
        _ => "neither correctness nor performance",
    };
    let found = match (errors, times) {
        (true, true) => "both",
        (true, false) => "correctness alone",
        (false, true) => "performance alone",
        (false, false) => "neither",
    };
    FormatViolation::new(root.place("status"), format!("{expected} with {}", status.name()), found)
}

fn status(root: &mut Object, violations: &mut Vec<FormatViolation>) -> Option<Status> {
    let text = root.text("status", violations)?;
    let expected = format!("one of {}", Status::ALL.map(Status::name).join(", "));
    text.parse().ok().or_else(|| root.refuse("status", &expected, &json!(text), violations))
}

pub(in crate::interop) fn environment(
    root: &mut Object,
    violations: &mut Vec<FormatViolation>,
) -> Option<EvaluationEnvironment> {
    let value = root.take_required("environment", "an object", violations)?;
    let mut fields = Object::open(root.place("environment"), value, violations)?;
    let hardware = fields.text("hardware", violations)?;
    let entries = if fields.has("libs") { fields.entries("libs", violations) } else { Vec::new() };
    let mut libs = Vec::new();
    for (place, name, version) in entries {
        match version {
            Value::String(version) => libs.push((name, version)),
            other => violations.push(FormatViolation::new(place, "a text", quote(&other))),
        }
    }
    Some(EvaluationEnvironment::new(&hardware, libs))
}

/// Reads a part that may be absent: the outer `None` is a violation, the inner an absence.
#[expect(clippy::option_option, reason = "the two absences mean different things, and only here")]
pub(in crate::interop) fn part<T>(
    root: &mut Object,
    field: &str,
    violations: &mut Vec<FormatViolation>,
    read: impl Fn(&mut Object, &mut Vec<FormatViolation>) -> Option<T>,
) -> Option<Option<T>> {
    let Some(value) = root.take_optional(field) else { return Some(None) };
    let mut fields = Object::open(root.place(field), value, violations)?;
    read(&mut fields, violations).map(Some)
}

pub(in crate::interop) fn correctness(
    fields: &mut Object,
    violations: &mut Vec<FormatViolation>,
) -> Option<Correctness> {
    let expected = "a number from zero up, `NaN` or `Infinity`";
    let relative = number(fields, "max_relative_error", expected, violations)?;
    let absolute = number(fields, "max_absolute_error", expected, violations)?;
    let extra = match fields.take_optional("extra") {
        None => None,
        Some(Value::Object(extra)) => Some(extra),
        Some(other) => return fields.refuse("extra", "an object or null", &other, violations),
    };
    let errors = Correctness::new(relative, absolute);
    let mut errors = errors.or_else(|| {
        fields.refuse("max_relative_error", expected, &json!([relative, absolute]), violations)
    })?;
    errors.extra = extra;
    Some(errors)
}

pub(in crate::interop) fn performance(
    fields: &mut Object,
    violations: &mut Vec<FormatViolation>,
) -> Option<Performance> {
    let expected = "a finite number from zero up";
    let latency = number(fields, "latency_ms", expected, violations)?;
    let reference = number(fields, "reference_latency_ms", expected, violations)?;
    let speedup = number(fields, "speedup_factor", expected, violations)?;
    Performance::with_speedup(latency, reference, speedup)
        .or_else(|| fields.refuse("latency_ms", expected, &json!([latency, reference, speedup]), violations))
}

fn number(
    fields: &mut Object,
    field: &str,
    expected: &str,
    violations: &mut Vec<FormatViolation>,
) -> Option<f64> {
    match fields.take(field) {
        None => Some(0.0),
        Some(value) => match &value {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => special(text),
            _ => None,
        }
        .or_else(|| fields.refuse(field, expected, &value, violations)),
    }
}

fn special(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interop::{document, violation::Invalid};

    fn from_json(json: &str) -> Result<Evaluation, Invalid> {
        document::read("evaluation", json, |value, violations| read(String::new(), value, violations))
    }

    fn evaluation(status: &str, correctness: &Value, performance: &Value) -> String {
        json!({"status": status, "environment": {"hardware": "NVIDIA_H200"}, "timestamp": "2026-11-21",
            "correctness": correctness, "performance": performance})
        .to_string()
    }

    #[test]
    fn holds_every_status_to_its_parts() {
        let (errors, times, null) =
            (json!({"max_absolute_error": 0.5}), json!({"latency_ms": 0.01}), Value::Null);
        for status in Status::ALL.map(Status::name) {
            let allowed =
                |errors: &Value, times: &Value| from_json(&evaluation(status, errors, times)).is_ok();
            assert_eq!(allowed(&errors, &times), status == "PASSED", "{status}");
            assert_eq!(allowed(&errors, &null), status == "INCORRECT_NUMERICAL", "{status}");
            assert_eq!(
                allowed(&null, &null),
                !matches!(status, "PASSED" | "INCORRECT_NUMERICAL"),
                "{status}"
            );
            assert!(!allowed(&null, &times), "{status}");
        }
    }

    #[test]
    fn spells_infinite_and_nan_errors_as_their_reader_does() {
        let json = evaluation(
            "INCORRECT_NUMERICAL",
            &json!({"max_relative_error": "Infinity", "max_absolute_error": "NaN", "extra": {"k": [1]}}),
            &Value::Null,
        );
        let read = from_json(&json).unwrap();
        let written = serde_json::to_string(&read).unwrap();
        let expected =
            r#""correctness":{"max_relative_error":"Infinity","max_absolute_error":"NaN","extra":{"k":[1]}}"#;
        assert!(written.contains(expected), "{written}");
        assert!(from_json(&written).is_ok());
    }

    #[test]
    fn refuses_numbers_that_their_models_refuse() {
        assert!(Correctness::new(-1e-9, 0.0).is_none());
        for wrong in [f64::NAN, f64::INFINITY, -1.0] {
            assert!(Performance::new(wrong, 1.0).is_none());
            assert!(Performance::new(1.0, wrong).is_none());
        }
        assert_eq!(Performance::new(0.0, 1.0).unwrap().speedup_factor().to_bits(), 0);
        let null_latency = evaluation("PASSED", &json!({}), &json!({"latency_ms": null}));
        assert!(from_json(&null_latency).is_err());
        let negative = evaluation("PASSED", &json!({"max_relative_error": "-Infinity"}), &json!({}));
        assert!(from_json(&negative).is_err());
    }
}
