//! One line of a JSONL file: a workload alone, or with a solution and its evaluation.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

use super::document::{self, Object};
use super::evaluation::{self, Evaluation};
use super::violation::{Invalid, Violation};
use super::workload::{self, Workload};

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

fn read(value: Value, violations: &mut Vec<Violation>) -> Option<Trace> {
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
}
