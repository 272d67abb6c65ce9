//! One point of use, with the tolerance that it is judged by.

use serde_json::{Map, Value, json};

use crate::interop::document::{self, Object, quote, whole_number};
use crate::interop::flashinfer::{self, BlobPath, InputSpec, Scalar};
use crate::interop::named::Named;
use crate::interop::unread;
use crate::interop::violation::{FormatViolation, Invalid};

/// How far an output may be off: an element matches where |o − r| ≤ atol + rtol·|r|.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ToleranceSpec {
    /// Allowed absolute error.
    pub max_atol: f64,
    /// Allowed relative error.
    pub max_rtol: f64,
    /// Share of elements that must match.
    pub required_matched_ratio: f64,
    /// Largest absolute error that any element may have, whatever the share.
    pub max_error_cap: Option<f64>,
    /// Whether minus infinity in both matches.
    pub allow_negative_inf: bool,
}

impl Default for ToleranceSpec {
    /// Their default.
    fn default() -> Self {
        Self {
            max_atol: 1e-2,
            max_rtol: 1e-2,
            required_matched_ratio: 0.99,
            max_error_cap: None,
            allow_negative_inf: false,
        }
    }
}

/// The field of a workload that holds its tolerance.
const TOLERANCE: &str = "tolerance";

/// What a tolerance has.
const TOLERANCE_FIELDS: [&str; 5] =
    ["max_atol", "max_rtol", "required_matched_ratio", "max_error_cap", "allow_negative_inf"];

impl ToleranceSpec {
    /// The tolerance that a workload of FlashInfer-Bench's format keeps, where it came from a problem.
    #[must_use]
    pub fn kept_in(workload: &flashinfer::Workload) -> Option<Self> {
        tolerance(TOLERANCE, workload.unknown(TOLERANCE)?.clone(), &mut Vec::new())
    }

    /// Lets a workload keep it.
    pub(super) fn keep_in(self, workload: flashinfer::Workload) -> flashinfer::Workload {
        workload.with_unknown(TOLERANCE, self.to_value())
    }

    pub(super) fn to_value(self) -> Value {
        json!({
            "max_atol": self.max_atol,
            "max_rtol": self.max_rtol,
            "required_matched_ratio": self.required_matched_ratio,
            "max_error_cap": self.max_error_cap,
            "allow_negative_inf": self.allow_negative_inf,
        })
    }
}

/// A valid workload.
#[derive(Debug, Clone, PartialEq)]
pub struct Workload {
    /// Any non-empty text.
    pub uuid: String,
    /// The values of the variable axes.
    pub axes: Named<u64>,
    /// Where the inputs come from: all of them custom, or none.
    pub inputs: Named<InputSpec>,
    /// How outputs are judged.
    pub tolerance: ToleranceSpec,
}

impl Workload {
    /// Reads a workload's JSON document.
    pub fn from_json(json: &str) -> Result<Self, Invalid> {
        document::read("SOL-ExecBench workload", json, |value, violations| {
            read(String::new(), value, violations)
        })
    }

    /// The workload that one of FlashInfer-Bench's format came from; `None` where it keeps no tolerance. Axes
    /// that were expressions keep the values that they got.
    #[must_use]
    pub fn of_shared(shared: &flashinfer::Workload) -> Option<Self> {
        let tolerance = ToleranceSpec::kept_in(shared)?;
        let inputs = shared.inputs().iter();
        Some(Self {
            uuid: shared.uuid().to_owned(),
            axes: shared.axes().clone(),
            inputs: inputs.map(|(name, spec)| (name.to_owned(), spec.clone())).collect(),
            tolerance,
        })
    }

    /// Whether the definition's own function makes its inputs.
    pub fn is_custom(&self) -> bool {
        self.inputs.values().any(|source| *source == InputSpec::Custom)
    }

    /// The document, with every declared field in the order of their model.
    pub fn to_value(&self) -> Value {
        let axes: Map<String, Value> =
            self.axes.iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
        let inputs: Map<String, Value> =
            self.inputs.iter().map(|(name, source)| (name.to_owned(), source_value(source))).collect();
        json!({"axes": axes, "inputs": inputs, "uuid": self.uuid, "tolerance": self.tolerance.to_value()})
    }
}

fn source_value(source: &InputSpec) -> Value {
    match source {
        InputSpec::Custom => json!({"type": "custom"}),
        InputSpec::Random => json!({"type": "random"}),
        InputSpec::Scalar(value) => json!({"type": "scalar", "value": value.to_json()}),
        InputSpec::Safetensors { path, tensor_key } => {
            json!({"type": "safetensors", "path": path.as_str(), "tensor_key": tensor_key})
        }
    }
}

/// Reads a workload at a place of a larger document.
pub(super) fn read(place: String, value: Value, violations: &mut Vec<FormatViolation>) -> Option<Workload> {
    let mut root = Object::open(place, value, violations)?;
    let mut axes = Vec::new();
    for (place, name, value) in root.entries("axes", violations) {
        match whole_number(&value) {
            Some(number) => axes.push((name, number)),
            None => {
                violations.push(FormatViolation::new(place, "a whole number from zero up", quote(&value)));
            }
        }
    }
    let entries = root.entries("inputs", violations).into_iter();
    let inputs: Named<InputSpec> =
        entries.filter_map(|(place, name, value)| Some((name, source(place, value, violations)?))).collect();
    let customs = inputs.values().filter(|source| **source == InputSpec::Custom).count();
    if customs > 0 && customs < inputs.len() {
        let found = format!("{customs} of {}", inputs.len());
        violations.push(FormatViolation::new(root.place("inputs"), "all inputs `custom`, or none", found));
    }
    let uuid = root.text("uuid", violations);
    let tolerance = match root.take_optional(TOLERANCE) {
        None => ToleranceSpec::default(),
        Some(value) => tolerance(&root.place(TOLERANCE), value, violations)?,
    };
    Some(Workload { uuid: uuid?, axes: axes.into_iter().collect(), inputs, tolerance })
}

fn source(place: String, value: Value, violations: &mut Vec<FormatViolation>) -> Option<InputSpec> {
    let mut fields = Object::open(place, value, violations)?;
    let kind = match fields.take_optional("type") {
        None if fields.has("path") && fields.has("tensor_key") => "safetensors".to_owned(),
        None if fields.has("value") => "scalar".to_owned(),
        None => "random".to_owned(),
        Some(Value::String(kind)) => kind,
        Some(other) => other.to_string(),
    };
    Some(match kind.as_str() {
        "random" => InputSpec::Random,
        "custom" => InputSpec::Custom,
        "scalar" => {
            const EXPECTED: &str = "a number, true or false";
            let value = fields.take_required("value", EXPECTED, violations)?;
            let scalar =
                Scalar::from_json(&value).or_else(|| fields.refuse("value", EXPECTED, &value, violations));
            InputSpec::Scalar(scalar?)
        }
        "safetensors" => {
            const EXPECTED: &str = "a file inside the data set: relative, without `..`";
            let text = fields.text("path", violations);
            let tensor_key = fields.text("tensor_key", violations);
            let text = text?;
            let path =
                BlobPath::new(&text).or_else(|| fields.refuse("path", EXPECTED, &json!(text), violations));
            InputSpec::Safetensors { path: path?, tensor_key: tensor_key? }
        }
        other => {
            let expected = "`random`, `scalar`, `safetensors` or `custom`";
            return fields.refuse("type", expected, &json!(other), violations);
        }
    })
}

fn tolerance(place: &str, value: Value, violations: &mut Vec<FormatViolation>) -> Option<ToleranceSpec> {
    let mut fields = Object::open(place.to_owned(), value, violations)?;
    let default = ToleranceSpec::default();
    // Below zero nothing could match, and no more than all can.
    let mut number = |field: &str, most: Option<f64>, default: Option<f64>| match fields.take_optional(field)
    {
        None => Some(default),
        Some(value) => match (value.as_f64(), most) {
            (Some(number), Some(most)) if (0.0..=most).contains(&number) => Some(Some(number)),
            (Some(number), None) if number >= 0.0 => Some(Some(number)),
            (_, Some(_)) => fields.refuse(field, "a number from 0 to 1", &value, violations),
            (_, None) => fields.refuse(field, "a number from 0 up", &value, violations),
        },
    };
    let absolute = number("max_atol", None, Some(default.max_atol));
    let relative = number("max_rtol", None, Some(default.max_rtol));
    let ratio = number("required_matched_ratio", Some(1.0), Some(default.required_matched_ratio));
    let max_error_cap = number("max_error_cap", None, None);
    let allow_negative_inf = match fields.take_optional("allow_negative_inf") {
        None => Some(false),
        Some(Value::Bool(allowed)) => Some(allowed),
        Some(other) => fields.refuse("allow_negative_inf", "true or false", &other, violations),
    };
    // A bound that nothing reads would judge by the default.
    for (name, value) in fields.rest() {
        let place = format!("{place}.{name}");
        let expected = match unread::meant(&name, &TOLERANCE_FIELDS) {
            Some(meant) => format!("`{meant}`: no such bound is known"),
            None => format!("one of {}", TOLERANCE_FIELDS.join(", ")),
        };
        violations.push(FormatViolation::new(place, expected, quote(&value)));
    }
    Some(ToleranceSpec {
        max_atol: absolute??,
        max_rtol: relative??,
        required_matched_ratio: ratio??,
        max_error_cap: max_error_cap?,
        allow_negative_inf: allow_negative_inf?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_its_tolerance_and_writes_every_field_of_it() {
        let json = r#"{"axes": {"n": 4}, "inputs": {"x": {"type": "custom"}}, "uuid": "u",
            "tolerance": {"max_atol": 1, "max_error_cap": 0.5, "allow_negative_inf": true}}"#;
        let workload = Workload::from_json(json).unwrap();
        assert!(workload.is_custom());
        let expected = ToleranceSpec {
            max_atol: 1.0,
            max_error_cap: Some(0.5),
            allow_negative_inf: true,
            ..ToleranceSpec::default()
        };
        assert_eq!(workload.tolerance, expected);
        assert_eq!(Workload::from_json(&workload.to_value().to_string()).unwrap(), workload);
        let plain = Workload::from_json(r#"{"axes": {}, "inputs": {}, "uuid": "u"}"#).unwrap();
        assert_eq!(plain.tolerance, ToleranceSpec::default());
    }

    #[test]
    fn names_every_violation_at_once() {
        let json = r#"{"axes": {"n": -1}, "inputs": {"x": {"type": "custom"}, "y": {}, "z": {"type": "zeros"},
            "w": {"path": "/w", "tensor_key": "w"}}, "tolerance": {"max_atol": "1", "max_rtol": -1, "required_matched_ratio": 1.5,
            "allow_negative_inf": 1, "max_rtoll": 1}}"#;
        let places: Vec<_> =
            Workload::from_json(json).unwrap_err().violations.into_iter().map(|one| one.place).collect();
        let expected = ["axes.n", "inputs.z.type", "inputs.w.path", "inputs", "uuid", "tolerance.max_atol"];
        assert_eq!(places[..6], expected);
        let bounds = ["max_rtol", "required_matched_ratio", "allow_negative_inf", "max_rtoll"];
        assert_eq!(places[6..], bounds.map(|bound| format!("tolerance.{bound}")));
    }
}
