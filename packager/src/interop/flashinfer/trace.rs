//! One line of a JSONL file: a workload alone, or with a solution and its evaluation.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

use super::evaluation::{self, Evaluation};
use super::workload::{self, Workload};
use crate::interop::document::{self, Object};
use crate::interop::violation::{FormatViolation, Invalid};

/// A trace; without solution and evaluation it is how a data set stores a workload.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    definition: String,
    workload: Workload,
    solution: Option<String>,
    evaluation: Option<Evaluation>,
}

impl Trace {
    /// A workload as a data set stores it; `None` where the definition's name is empty.
    #[must_use]
    pub fn of_workload(definition: &str, workload: Workload) -> Option<Self> {
        (!definition.is_empty()).then(|| Self {
            definition: definition.to_owned(),
            workload,
            solution: None,
            evaluation: None,
        })
    }

    /// An evaluated workload; `None` where the definition's name is empty.
    #[must_use]
    pub fn of_evaluation(
        definition: &str,
        workload: Workload,
        solution: &str,
        evaluation: Evaluation,
    ) -> Option<Self> {
        let trace = Self::of_workload(definition, workload)?;
        Some(Self { solution: Some(solution.to_owned()), evaluation: Some(evaluation), ..trace })
    }

    /// Reads one line.
    pub fn from_json(json: &str) -> Result<Self, Invalid> {
        document::read("trace", json, read)
    }

    /// Writes one line, compact, without the line feed.
    pub fn to_line(&self) -> String {
        self.to_value().to_string()
    }

    fn to_value(&self) -> Value {
        json!({
            "definition": self.definition,
            "workload": self.workload.to_value(),
            "solution": self.solution,
            "evaluation": self.evaluation.as_ref().map(Evaluation::to_value),
        })
    }

    /// The definition's name.
    pub fn definition(&self) -> &str {
        &self.definition
    }

    /// The workload.
    pub fn workload(&self) -> &Workload {
        &self.workload
    }

    /// The solution's name.
    pub fn solution(&self) -> Option<&str> {
        self.solution.as_deref()
    }

    /// How the solution did.
    pub fn evaluation(&self) -> Option<&Evaluation> {
        self.evaluation.as_ref()
    }

    /// Whether this is a workload alone.
    pub fn is_workload(&self) -> bool {
        self.solution.is_none() && self.evaluation.is_none()
    }

    /// The workload by itself.
    #[must_use]
    pub fn into_workload(self) -> Workload {
        self.workload
    }
}

impl Serialize for Trace {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_value().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Trace {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        document::read_value("trace", value, read).map_err(serde::de::Error::custom)
    }
}

fn read(value: Value, violations: &mut Vec<FormatViolation>) -> Option<Trace> {
    let mut root = Object::root(value, violations)?;
    let definition = root.text("definition", violations);
    let workload = root.take_required("workload", "an object", violations);
    let workload = workload.and_then(|value| workload::read("workload".to_owned(), value, violations));
    let solution = root.optional_text("solution", violations);
    let evaluation = match root.take_optional("evaluation") {
        Some(value) => Some(evaluation::read("evaluation".to_owned(), value, violations)?),
        None => None,
    };
    Some(Trace { definition: definition?, workload: workload?, solution, evaluation })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_a_workload_line_and_writes_it_back() {
        let line = r#"{"definition":"d","workload":{"axes":{"n":1},"inputs":{"x":{"type":"random"}},"uuid":"u"},"solution":null,"evaluation":null}"#;
        let trace = Trace::from_json(line).unwrap();
        assert!(trace.is_workload());
        assert_eq!(trace.to_line(), line);
    }

    #[test]
    fn names_the_violations_of_all_parts() {
        let line =
            r#"{"workload": {"axes": {}, "inputs": {}}, "evaluation": {"status": "OK", "timestamp": ""}}"#;
        let invalid = Trace::from_json(line).unwrap_err();
        let places: Vec<_> = invalid.violations.iter().map(|violation| violation.place.as_str()).collect();
        assert_eq!(
            places,
            [
                "definition",
                "workload.uuid",
                "evaluation.status",
                "evaluation.environment",
                "evaluation.timestamp"
            ]
        );
    }

    proptest! {
        /// Whatever stands where, the answer is a trace or a list of violations, never a panic;
        /// and what was accepted is written so that it reads back the same.
        #[test]
        fn any_json_is_a_trace_or_names_its_violations(
            place in proptest::sample::select(PLACES.to_vec()), value in any_json()
        ) {
            let mut document: Value = serde_json::from_str(EVALUATED).unwrap();
            *document.pointer_mut(place).unwrap() = value;
            match Trace::from_json(&document.to_string()) {
                Ok(trace) => {
                    let written = trace.to_line();
                    prop_assert_eq!(Trace::from_json(&written).unwrap().to_line(), written);
                }
                Err(invalid) => prop_assert!(!invalid.violations.is_empty()),
            }
        }
    }

    const EVALUATED: &str = r#"{"definition": "d", "solution": "s",
        "workload": {"uuid": "u", "axes": {"n": 1}, "inputs": {"x": {"type": "random"}}},
        "evaluation": {"status": "PASSED", "timestamp": "t", "log": "",
            "environment": {"hardware": "h", "libs": {"l": "1"}},
            "correctness": {"max_relative_error": 0.1, "max_absolute_error": 0.1, "extra": null},
            "performance": {"latency_ms": 1.0, "reference_latency_ms": 1.0, "speedup_factor": 1.0}}}"#;

    const PLACES: [&str; 14] = [
        "/definition",
        "/solution",
        "/workload",
        "/workload/axes",
        "/workload/axes/n",
        "/workload/inputs/x",
        "/workload/inputs/x/type",
        "/evaluation",
        "/evaluation/status",
        "/evaluation/environment/libs",
        "/evaluation/correctness",
        "/evaluation/correctness/max_absolute_error",
        "/evaluation/performance",
        "/evaluation/performance/latency_ms",
    ];

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[a-z./]{0,6}".prop_map(Value::from),
            proptest::sample::select(vec!["NaN", "Infinity", "random", "PASSED", "TIMEOUT"])
                .prop_map(Value::from),
        ];
        let key =
            proptest::sample::select(vec!["type", "value", "path", "tensor_key", "extra", "latency_ms", "n"]);
        leaf.prop_recursive(2, 8, 3, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                proptest::collection::vec((key.clone(), inner), 0..3).prop_map(|fields| {
                    Value::Object(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
                }),
            ]
        })
    }
}
