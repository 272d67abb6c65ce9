//! One point of use: a value for every variable axis, and where each input comes from.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value, json};

use crate::interop::document::{self, Object, whole_number};
use crate::interop::named::Named;
use crate::interop::violation::{FormatViolation, Invalid};

/// A literal passed by value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scalar {
    /// A whole number.
    Integer(i64),
    /// A finite number written with a fraction or an exponent.
    Float(f64),
    /// True or false.
    Bool(bool),
}

impl Scalar {
    /// The value as a double, as a float parameter receives it.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a float parameter rounds a whole number as well")]
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Integer(value) => value as f64,
            Self::Float(value) => value,
            Self::Bool(value) => f64::from(u8::from(value)),
        }
    }

    pub(in crate::interop) fn from_json(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(value) => Some(Self::Bool(*value)),
            Value::Number(number) => {
                number.as_i64().map(Self::Integer).or_else(|| number.as_f64().map(Self::Float))
            }
            _ => None,
        }
    }

    pub(in crate::interop) fn to_json(self) -> Value {
        match self {
            Self::Integer(value) => json!(value),
            Self::Float(value) => json!(value),
            Self::Bool(value) => json!(value),
        }
    }
}

/// A path inside a data set: relative, forward-slashed, never upwards.
///
/// The text is confined, the folder is not: a data set may consist of links (the hub's cache
/// does), and those are its owner's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobPath(String);

impl BlobPath {
    /// Accepts a path that stays inside; a leading `./` is how the public data set writes it.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let escapes = text.starts_with('/') || text.split('/').any(|part| part == "..");
        let foreign = text.contains(['\\', '\0']) || text.as_bytes().get(1) == Some(&b':');
        let names_a_file = text.rsplit('/').next().is_some_and(|name| !matches!(name, "" | "."));
        (!escapes && !foreign && names_a_file).then(|| Self(text.to_owned()))
    }

    /// The path as the document writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where the file lies, given the data set's root.
    #[must_use]
    pub fn under(&self, root: &Path) -> PathBuf {
        root.join(self.0.trim_start_matches("./"))
    }
}

impl fmt::Display for BlobPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Where an input's values come from.
#[derive(Debug, Clone, PartialEq)]
pub enum InputSpec {
    /// Drawn anew by whoever runs the workload.
    Random,
    /// A literal.
    Scalar(Scalar),
    /// A captured tensor.
    Safetensors {
        /// The file inside the data set.
        path: BlobPath,
        /// The tensor inside the file.
        tensor_key: String,
    },
    /// Made by the definition's own function, as workloads of SOL-ExecBench may say.
    Custom,
}

/// A valid workload.
#[derive(Debug, Clone, PartialEq)]
pub struct Workload {
    uuid: String,
    axes: Named<u64>,
    inputs: Named<InputSpec>,
    unknown: Map<String, Value>,
}

impl Workload {
    /// A workload of one's own making; the uuid must hold at least one character.
    pub fn new(
        uuid: impl Into<String>,
        axes: impl IntoIterator<Item = (String, u64)>,
        inputs: impl IntoIterator<Item = (String, InputSpec)>,
    ) -> Result<Self, Invalid> {
        let uuid = uuid.into();
        if uuid.is_empty() {
            let violations = vec![FormatViolation::new("uuid", "a non-empty text", "``")];
            return Err(Invalid { document: "workload", violations });
        }
        let (axes, inputs) = (axes.into_iter().collect(), inputs.into_iter().collect());
        Ok(Self { uuid, axes, inputs, unknown: Map::new() })
    }

    /// The same with a field that the format does not know.
    #[must_use]
    pub(in crate::interop) fn with_unknown(mut self, field: &str, value: Value) -> Self {
        self.unknown.insert(field.to_owned(), value);
        self
    }

    /// A field that the format does not know.
    pub(in crate::interop) fn unknown(&self, field: &str) -> Option<&Value> {
        self.unknown.get(field)
    }

    /// Reads a workload's JSON document, without the trace around it.
    pub fn from_json(json: &str) -> Result<Self, Invalid> {
        document::read("workload", json, |value, violations| read(String::new(), value, violations))
    }

    /// The identifier: any non-empty text.
    pub fn uuid(&self) -> &str {
        &self.uuid
    }

    /// The values of the variable axes.
    pub fn axes(&self) -> &Named<u64> {
        &self.axes
    }

    /// Where the inputs come from; an input that is missing here is random.
    pub fn inputs(&self) -> &Named<InputSpec> {
        &self.inputs
    }

    /// Where one input comes from.
    pub fn source_of(&self, input: &str) -> &InputSpec {
        self.inputs.get(input).unwrap_or(&InputSpec::Random)
    }

    /// Whether the definition's own function makes its inputs.
    pub fn is_custom(&self) -> bool {
        self.inputs.values().any(|source| *source == InputSpec::Custom)
    }

    /// The document: declared fields in the order of their model, then the unknown ones.
    pub(super) fn to_value(&self) -> Value {
        let named = |entries: Vec<(String, Value)>| Value::Object(entries.into_iter().collect());
        let axes = self.axes.iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
        let inputs = self.inputs.iter().map(|(name, spec)| (name.to_owned(), input_value(spec))).collect();
        let mut fields = Map::new();
        fields.insert("axes".to_owned(), named(axes));
        fields.insert("inputs".to_owned(), named(inputs));
        fields.insert("uuid".to_owned(), json!(self.uuid));
        fields.extend(self.unknown.clone());
        Value::Object(fields)
    }
}

impl Serialize for Workload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_value().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Workload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        document::read_value("workload", value, |value, violations| read(String::new(), value, violations))
            .map_err(serde::de::Error::custom)
    }
}

fn input_value(spec: &InputSpec) -> Value {
    match spec {
        InputSpec::Random => json!({"type": "random"}),
        InputSpec::Custom => json!({"type": "custom"}),
        InputSpec::Scalar(value) => json!({"type": "scalar", "value": value.to_json()}),
        InputSpec::Safetensors { path, tensor_key } => {
            json!({"type": "safetensors", "path": path.as_str(), "tensor_key": tensor_key})
        }
    }
}

/// Reads a workload at a place of a larger document.
pub(super) fn read(place: String, value: Value, violations: &mut Vec<FormatViolation>) -> Option<Workload> {
    let mut root = Object::open(place, value, violations)?;
    let axes = root.entries("axes", violations).into_iter().filter_map(|(place, name, value)| {
        let number = whole_number(&value);
        if number.is_none() {
            violations.push(FormatViolation::new(
                place,
                "a whole number from zero up",
                document::quote(&value),
            ));
        }
        Some((name, number?))
    });
    let axes = axes.collect();
    let inputs = root.entries("inputs", violations).into_iter();
    let inputs = inputs.filter_map(|(place, name, value)| Some((name, input(place, value, violations)?)));
    let inputs = inputs.collect();
    let uuid = root.text("uuid", violations)?;
    Some(Workload { uuid, axes, inputs, unknown: root.rest() })
}

fn input(place: String, value: Value, violations: &mut Vec<FormatViolation>) -> Option<InputSpec> {
    let mut fields = Object::open(place, value, violations)?;
    let kind = match fields.take_optional("type") {
        None if fields.has("path") && fields.has("tensor_key") => "safetensors".to_owned(),
        None if fields.has("value") => "scalar".to_owned(),
        None => "random".to_owned(),
        Some(Value::String(kind)) => kind,
        Some(other) => other.to_string(),
    };
    match kind.as_str() {
        "random" => Some(InputSpec::Random),
        "custom" => Some(InputSpec::Custom),
        "scalar" => scalar(&mut fields, violations),
        "safetensors" => safetensors(&mut fields, violations),
        other => {
            let expected = "`random`, `scalar`, `safetensors` or `custom`";
            fields.refuse("type", expected, &json!(other), violations)
        }
    }
}

fn scalar(fields: &mut Object, violations: &mut Vec<FormatViolation>) -> Option<InputSpec> {
    const EXPECTED: &str = "a number, true or false";
    let value = fields.take_required("value", EXPECTED, violations)?;
    let scalar = Scalar::from_json(&value).or_else(|| fields.refuse("value", EXPECTED, &value, violations));
    scalar.map(InputSpec::Scalar)
}

fn safetensors(fields: &mut Object, violations: &mut Vec<FormatViolation>) -> Option<InputSpec> {
    const EXPECTED: &str = "a file inside the data set: relative, without `..`";
    let text = fields.text("path", violations);
    let tensor_key = fields.text("tensor_key", violations);
    let text = text?;
    let path = BlobPath::new(&text).or_else(|| fields.refuse("path", EXPECTED, &json!(text), violations));
    Some(InputSpec::Safetensors { path: path?, tensor_key: tensor_key? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn infers_the_type_of_an_input_that_names_none() {
        let json = r#"{"uuid": "u", "axes": {"rows": 3.0}, "extra": 1, "inputs": {
            "x": {}, "flag": {"value": true}, "eps": {"value": 1e-6}, "n": {"value": 3},
            "w": {"path": "./blob/w.safetensors", "tensor_key": "w"}}}"#;
        let workload = Workload::from_json(json).unwrap();
        assert_eq!(workload.axes().get("rows"), Some(&3));
        assert_eq!(workload.source_of("x"), &InputSpec::Random);
        assert_eq!(workload.source_of("flag"), &InputSpec::Scalar(Scalar::Bool(true)));
        assert_eq!(workload.source_of("eps"), &InputSpec::Scalar(Scalar::Float(1e-6)));
        assert_eq!(workload.source_of("n"), &InputSpec::Scalar(Scalar::Integer(3)));
        assert_eq!(workload.source_of("absent"), &InputSpec::Random);
        let written = serde_json::to_string(&workload).unwrap();
        assert!(written.ends_with(r#""uuid":"u","extra":1}"#), "{written}");
        assert_eq!(Workload::from_json(&written).unwrap(), workload);
    }

    #[test]
    fn refuses_blob_paths_that_leave_the_data_set() {
        for text in
            ["/etc/passwd", "../x", "blob/../../x", "a/..", "blob\\x", "C:/x", "x\0y", "", "blob/", "."]
        {
            assert_eq!(BlobPath::new(text), None, "{text}");
        }
        let inside = BlobPath::new("./blob/a..b/x.safetensors").unwrap();
        assert_eq!(inside.under(Path::new("/data")), Path::new("/data/blob/a..b/x.safetensors"));
    }

    #[test]
    fn names_every_violation_at_once() {
        let json = r#"{"axes": {"n": -1, "m": "4"}, "inputs": {"x": {"type": "zeros"},
            "y": {"type": "scalar", "value": "3"}, "z": {"path": "/z", "tensor_key": ""}}}"#;
        let invalid = Workload::from_json(json).unwrap_err();
        let places: Vec<_> = invalid.violations.iter().map(|violation| violation.place.as_str()).collect();
        assert_eq!(
            places,
            [
                "axes.n",
                "axes.m",
                "inputs.x.type",
                "inputs.y.value",
                "inputs.z.tensor_key",
                "inputs.z.path",
                "uuid"
            ]
        );
    }
}
