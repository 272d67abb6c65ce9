//! A problem's folder, `definition.json` and `workload.jsonl`, and what of it can be measured.
//!
//! ```text
//! <problem>/
//! ├── definition.json
//! └── workload.jsonl     one workload a line, without a trace around it
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::definition::{AxisValue, Definition, TensorSpec};
use super::element_type::ElementType;
use super::workload::Workload;
use crate::escape;
use crate::interop::flashinfer::{self, InputSpec};
use crate::interop::violation::{FormatViolation, Invalid};
use crate::sources::{LARGEST_DEFINITION_BYTES, LARGEST_WORKLOADS_BYTES};

/// The definition's file.
pub const DEFINITION_NAME: &str = "definition.json";

/// The workloads' file.
pub const WORKLOADS_NAME: &str = "workload.jsonl";

/// What FlashInfer-Bench's definition demands and theirs may leave out.
const NO_OP_TYPE: &str = "unspecified";

/// A problem.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// The operator.
    pub definition: Definition,
    /// The points of use, in the file's order.
    pub workloads: Vec<Workload>,
}

/// Why a folder is no problem.
#[derive(Debug, thiserror::Error)]
pub enum ProblemError {
    /// The file system refused.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file that is larger than anything we read.
    #[error("{} is {found_bytes} bytes: expected at most {most_bytes}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        found_bytes: u64,
        /// The limit in bytes.
        most_bytes: u64,
    },
    /// The definition breaks a rule.
    #[error("{}", path.display())]
    Definition {
        /// The file.
        path: PathBuf,
        /// Every violation.
        source: Invalid,
    },
    /// A workload breaks a rule.
    #[error("{} line {line}", path.display())]
    Workload {
        /// The file.
        path: PathBuf,
        /// The line, from one.
        line: usize,
        /// Every violation.
        source: Invalid,
    },
    /// There is no workload.
    #[error("{} holds no workload: expected one a line", path.display())]
    NoWorkload {
        /// The file.
        path: PathBuf,
    },
}

/// The workloads of a problem in FlashInfer-Bench's terms.
#[derive(Debug, Clone)]
pub struct Measurable {
    /// The operator; axes that were expressions are variable, and each workload gives their values.
    pub definition: flashinfer::Definition,
    /// The workloads that can be measured; each keeps its tolerance.
    pub workloads: Vec<flashinfer::Workload>,
    /// The others by uuid, each with the reason.
    pub left_out: Vec<(String, String)>,
}

impl Problem {
    /// Whether a folder looks like a problem: its workloads have the name that theirs have.
    pub fn is_at(folder: &Path) -> bool {
        folder.join(DEFINITION_NAME).is_file() && folder.join(WORKLOADS_NAME).is_file()
    }

    /// Reads a folder.
    pub fn read(folder: &Path) -> Result<Self, ProblemError> {
        let path = folder.join(DEFINITION_NAME);
        let definition = Definition::from_json(&read_text(&path, LARGEST_DEFINITION_BYTES)?)
            .map_err(|source| ProblemError::Definition { path, source })?;
        let path = folder.join(WORKLOADS_NAME);
        let text = read_text(&path, LARGEST_WORKLOADS_BYTES)?;
        let mut workloads = Vec::new();
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let workload = Workload::from_json(line).and_then(|read| check(&definition, read, &workloads));
            workloads.push(workload.map_err(|source| ProblemError::Workload {
                path: path.clone(),
                line: index + 1,
                source,
            })?);
        }
        if workloads.is_empty() {
            return Err(ProblemError::NoWorkload { path });
        }
        Ok(Self { definition, workloads })
    }

    /// Says the problem in FlashInfer-Bench's terms, which is what can be measured; what has none there
    /// is refused by name, or left out where it concerns one workload.
    pub fn measurable(&self) -> Result<Measurable, Invalid> {
        let document = definition_value(&self.definition)?;
        let definition = flashinfer::Definition::from_json(&document.to_string())?;
        let (mut workloads, mut left_out) = (Vec::new(), Vec::new());
        for workload in &self.workloads {
            match self.workload(workload) {
                Ok(shared) => workloads.push(workload.tolerance.keep_in(shared)),
                Err(reason) => left_out.push((escape::line(&workload.uuid), reason)),
            }
        }
        Ok(Measurable { definition, workloads, left_out })
    }

    fn workload(&self, workload: &Workload) -> Result<flashinfer::Workload, String> {
        if workload.tolerance.max_error_cap.is_some() {
            return Err("its tolerance has a `max_error_cap`, which Proofmark does not judge by".to_owned());
        }
        if workload.tolerance.allow_negative_inf {
            return Err("its outputs may be minus infinity, which Proofmark does not judge".to_owned());
        }
        let constant = |name: &str| match self.definition.axes().get(name)?.value {
            AxisValue::Constant(value) => Some(value),
            _ => None,
        };
        let of = |name: &str| constant(name).or_else(|| workload.axes.get(name).copied());
        let given = workload.axes.iter().filter(|(name, _)| constant(name).is_none());
        let mut axes: Vec<_> = given.map(|(name, &value)| (name.to_owned(), value)).collect();
        for (name, axis) in self.definition.axes().iter() {
            if let AxisValue::Expression(expression) = &axis.value {
                let value = expression.value(&of).map_err(|error| format!("axis `{name}`: {error}"))?;
                axes.retain(|(known, _)| known != name);
                axes.push((name.to_owned(), value));
            }
        }
        let inputs = workload.inputs.iter().map(|(name, source)| (name.to_owned(), source.clone()));
        flashinfer::Workload::new(&workload.uuid, axes, inputs).map_err(|invalid| invalid.to_string())
    }
}

/// Holds a workload against its definition and those before it.
fn check(definition: &Definition, workload: Workload, before: &[Workload]) -> Result<Workload, Invalid> {
    let mut violations = Vec::new();
    for (name, axis) in definition.axes().iter() {
        if axis.value == AxisValue::Variable && !workload.axes.contains(name) {
            let place = format!("axes.{name}");
            violations.push(FormatViolation::new(
                place,
                "a whole number: the definition leaves it open",
                "nothing",
            ));
        }
    }
    check_values(definition, &workload, &mut violations);
    check_kinds(definition, &workload, &mut violations);
    for name in definition.inputs().names().filter(|name| !workload.inputs.contains(name)) {
        let expected = "`random`, `scalar`, `safetensors` or `custom`, as for every input of the definition";
        violations.push(FormatViolation::new(format!("inputs.{name}"), expected, "nothing"));
    }
    for name in workload.inputs.names().filter(|name| !definition.inputs().contains(name)) {
        let names: Vec<_> = definition.inputs().names().collect();
        let expected = format!("an input of the definition: {}", names.join(", "));
        violations.push(FormatViolation::new(format!("inputs.{name}"), expected, format!("`{name}`")));
    }
    if workload.is_custom() && definition.custom_inputs().is_none() {
        let expected = "no `custom` input where the definition has no custom_inputs_entrypoint to make it";
        violations.push(FormatViolation::new("inputs", expected, "`custom`"));
    }
    if before.iter().any(|other| other.uuid == workload.uuid) {
        let expected = "a uuid that no line before has";
        violations.push(FormatViolation::new(
            "uuid",
            expected,
            format!("`{}`", escape::line(&workload.uuid)),
        ));
    }
    if violations.is_empty() {
        Ok(workload)
    } else {
        Err(Invalid { document: "SOL-ExecBench workload", violations })
    }
}

/// Their models take a value for any name: one that no axis has is a slip, and another one than the definition's would
/// be in force there.
fn check_values(definition: &Definition, workload: &Workload, violations: &mut Vec<FormatViolation>) {
    let of = |name: &str| match definition.axes().get(name)?.value {
        AxisValue::Constant(value) => Some(value),
        AxisValue::Variable | AxisValue::Expression(_) => workload.axes.get(name).copied(),
    };
    for (name, &value) in workload.axes.iter() {
        let expected = match definition.axes().get(name).map(|axis| &axis.value) {
            None => {
                let names: Vec<_> = definition.axes().names().collect();
                format!("an axis of the definition: {}", names.join(", "))
            }
            Some(AxisValue::Variable) => continue,
            Some(AxisValue::Constant(constant)) if *constant == value => continue,
            Some(AxisValue::Constant(constant)) => format!("{constant}, as the definition says, or nothing"),
            Some(AxisValue::Expression(expression)) => match expression.value(&of) {
                Ok(result) if result == value => continue,
                Ok(result) => format!("{result}, which is `{expression}`, or nothing"),
                Err(_) => continue,
            },
        };
        violations.push(FormatViolation::new(format!("axes.{name}"), expected, value.to_string()));
    }
}

/// A tensor is never given as a number, nor a scalar as a file.
fn check_kinds(definition: &Definition, workload: &Workload, violations: &mut Vec<FormatViolation>) {
    for (name, source) in workload.inputs.iter() {
        let Some(spec) = definition.inputs().get(name) else { continue };
        let (expected, found) = match (&spec.shape, source) {
            (Some(_), InputSpec::Scalar(_)) => {
                ("`random`, `safetensors` or `custom`: it is a tensor", "`scalar`")
            }
            (None, InputSpec::Safetensors { .. }) => {
                ("`random`, `scalar` or `custom`: it is a scalar", "`safetensors`")
            }
            _ => continue,
        };
        violations.push(FormatViolation::new(format!("inputs.{name}"), expected, found));
    }
}

fn definition_value(definition: &Definition) -> Result<Value, Invalid> {
    let mut violations = Vec::new();
    let mut axes = Map::new();
    for (name, axis) in definition.axes().iter() {
        let description = match &axis.value {
            AxisValue::Expression(expression) => Some(format!("{expression}")),
            _ => axis.description.clone(),
        };
        let value = match axis.value {
            AxisValue::Constant(value) => {
                json!({"type": "const", "value": value, "description": description})
            }
            _ => json!({"type": "var", "description": description}),
        };
        axes.insert(name.to_owned(), value);
    }
    let mut tensors = |room: &str, specs: &mut dyn Iterator<Item = (&str, &TensorSpec)>| {
        let mut fields = Map::new();
        for (name, spec) in specs {
            let ElementType::Shared(dtype) = spec.dtype else {
                let place = format!("{room}.{name}.dtype");
                let expected = "an element type that Proofmark measures";
                violations.push(FormatViolation::new(place, expected, format!("`{}`", spec.dtype)));
                continue;
            };
            // A number in a shape is an axis of that length.
            for number in spec.shape.iter().flatten() {
                let length = || json!({"type": "const", "value": number.parse::<u64>().ok()});
                axes.entry(number.clone()).or_insert_with(length);
            }
            let value = json!({"shape": spec.shape, "dtype": dtype, "description": spec.description});
            fields.insert(name.to_owned(), value);
        }
        fields
    };
    let inputs = tensors("inputs", &mut definition.inputs().iter());
    let outputs = tensors("outputs", &mut definition.outputs().iter());
    if !violations.is_empty() {
        return Err(Invalid { document: "problem for measuring", violations });
    }
    let mut document = json!({
        "name": definition.name,
        "op_type": definition.op_type.as_deref().unwrap_or(NO_OP_TYPE),
        "axes": axes,
        "inputs": inputs,
        "outputs": outputs,
        "reference": definition.reference,
        "description": definition.description,
    });
    if let Some(function) = definition.custom_inputs() {
        document["custom_inputs_entrypoint"] = json!(function);
    }
    Ok(document)
}

fn read_text(path: &Path, most_bytes: u64) -> Result<String, ProblemError> {
    let unreadable = |source| ProblemError::Io { path: path.to_owned(), source };
    let found_bytes = fs::metadata(path).map_err(unreadable)?.len();
    if found_bytes > most_bytes {
        return Err(ProblemError::TooLarge { path: path.to_owned(), found_bytes, most_bytes });
    }
    fs::read_to_string(path).map_err(unreadable)
}

#[cfg(test)]
mod tests {
    use super::super::ToleranceSpec;
    use super::*;

    const DEFINITION: &str = r#"{"name": "rotate", "axes": {"rows": {"type": "var"},
        "head": {"type": "const", "value": 128}, "half": {"type": "expr", "expression": "head // 2 * rows"}},
        "inputs": {"x": {"shape": ["rows", "head", "1"], "dtype": "bfloat16"}},
        "outputs": {"y": {"shape": ["half"], "dtype": "bfloat16"}},
        "custom_inputs_entrypoint": "make", "reference": "def make(axes, device): pass\ndef run(x): return x"}"#;

    fn problem(definition: &str, workloads: &str) -> Result<Problem, ProblemError> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(DEFINITION_NAME), definition).unwrap();
        fs::write(folder.path().join(WORKLOADS_NAME), workloads).unwrap();
        Problem::read(folder.path())
    }

    #[test]
    fn an_axis_that_is_an_expression_gets_its_value_in_each_workload() {
        let lines = r#"{"axes": {"rows": 3}, "inputs": {"x": {"type": "random"}}, "uuid": "a", "tolerance": {"required_matched_ratio": 0.5}}

            {"axes": {"rows": 5}, "inputs": {"x": {"type": "custom"}}, "uuid": "b"}"#;
        let measurable = problem(DEFINITION, lines).unwrap().measurable().unwrap();
        let workload = &measurable.workloads[0];
        assert_eq!(workload.axes().get("half"), Some(&192));
        let written = serde_json::to_string(workload).unwrap();
        let read = flashinfer::Workload::from_json(&written).unwrap();
        assert_eq!(
            ToleranceSpec::kept_in(&read).unwrap().required_matched_ratio.to_bits(),
            0.5_f64.to_bits()
        );
        let shapes = measurable.definition.shapes(workload).unwrap();
        assert_eq!(shapes.inputs.get("x").unwrap().shape.as_deref(), Some(&[3, 128, 1][..]));
        assert_eq!(shapes.outputs.get("y").unwrap().shape.as_deref(), Some(&[192][..]));
        let capped = lines.replace("0.5}", "0.5, \"max_error_cap\": 1}");
        let measurable_now = problem(DEFINITION, &capped).unwrap().measurable().unwrap();
        assert!(
            measurable_now.workloads.len() == 1 && measurable_now.left_out[0].1.contains("max_error_cap")
        );
        assert!(measurable.left_out.is_empty() && measurable.workloads[1].is_custom());
        assert_eq!(measurable.definition.custom_inputs(), Some("make"));
        assert!(measurable.definition.shapes(&measurable.workloads[1]).is_ok());
    }

    #[test]
    fn an_element_type_that_is_not_measured_is_refused_by_name() {
        let wide = DEFINITION
            .replace("\"bfloat16\"}},\n        \"custom", "\"float4_e2m1fn_x2\"}},\n        \"custom");
        let line = r#"{"axes": {"rows": 3}, "inputs": {"x": {}}, "uuid": "a"}"#;
        let refused = problem(&wide, line).unwrap().measurable().unwrap_err();
        assert_eq!(refused.violations[0].place, "outputs.y.dtype");
    }

    #[test]
    fn a_workload_that_does_not_fit_its_definition_is_refused_with_its_line() {
        let good = r#"{"axes": {"rows": 3}, "inputs": {"x": {"type": "custom"}}, "uuid": "a"}"#;
        let refused = |definition: &str, second: &str| match problem(definition, &format!("{good}\n{second}"))
        {
            Err(ProblemError::Workload { line, source, .. }) => {
                (line, source.violations.into_iter().map(|one| one.place).collect::<Vec<_>>().join(" "))
            }
            other => panic!("{other:?}"),
        };
        for (second, places) in [
            (good.replace("\"a\"", "\"b\"").replace("\"rows\": 3", ""), "axes.rows"),
            (good.replace("\"a\"", "\"b\"").replace("\"x\"", "\"y\""), "inputs.x inputs.y"),
            (good.to_owned(), "uuid"),
            (good.replace("\"a\"", "\"b\"").replace("3}", "3, \"rwos\": 4}"), "axes.rwos"),
            (
                good.replace("\"a\"", "\"b\"").replace("3}", "3, \"head\": 127, \"half\": 9}"),
                "axes.head axes.half",
            ),
            (good.replace("\"a\"", "\"b\"").replace("\"custom\"", "\"scalar\", \"value\": 1"), "inputs.x"),
        ] {
            assert_eq!(refused(DEFINITION, &second), (2, places.to_owned()));
        }
        let same = good.replace("\"a\"", "\"b\"").replace("3}", "3, \"head\": 128, \"half\": 192}");
        assert_eq!(problem(DEFINITION, &same).unwrap().workloads.len(), 1);
        let none = DEFINITION.replace("\"custom_inputs_entrypoint\": \"make\", ", "");
        assert_eq!(refused(&none, good), (1, "inputs".to_owned()));
        assert!(matches!(problem(DEFINITION, "\n"), Err(ProblemError::NoWorkload { .. })));
    }

    #[test]
    fn a_wrong_line_is_named() {
        let wrong = problem(DEFINITION, "\n{\"axes\": {}}\n").unwrap_err();
        assert!(matches!(wrong, ProblemError::Workload { line: 2, .. }), "{wrong}");
    }
}
