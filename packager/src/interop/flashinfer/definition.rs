//! The operator: its axes, its tensors in call order, and its reference.

use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::dtype::Dtype;
use crate::interop::document::{self, Object, quote};
use crate::interop::named::Named;
use crate::interop::operator::{check_dimensions, check_names, constant, named, object, shape};
use crate::interop::python;
use crate::interop::violation::{FormatViolation, Invalid};

/// The field that names the function which says whether outputs are right.
pub const OWN_CHECK: &str = "check_entrypoint";

/// One symbolic dimension.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// The value of a constant axis; a variable axis takes its value from the workload.
    pub constant: Option<u64>,
    /// A description in plain words.
    pub description: Option<String>,
    /// Fields that the format does not know.
    pub unknown: Map<String, Value>,
}

/// One tensor or scalar of the interface.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorSpec {
    /// Axis names, outermost first; `None` is a scalar passed by value.
    pub shape: Option<Vec<String>>,
    /// The element type.
    pub dtype: Dtype,
    /// Whether a caller may leave it out. Their models drop this field; some definitions carry it.
    pub optional: bool,
    /// A description in plain words.
    pub description: Option<String>,
    /// Fields that the format does not know.
    pub unknown: Map<String, Value>,
}

/// A valid definition: every shape names known axes, no output is called like an input.
///
/// Two of their rules need a Python parser: that the reference parses, and that constraints are
/// expressions. Here a reference must have a top-level `def run(…)`, and constraints are kept as they are.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    name: String,
    op_type: String,
    axes: Named<Axis>,
    inputs: Named<TensorSpec>,
    outputs: Named<TensorSpec>,
    reference: String,
    tags: Vec<String>,
    description: Option<String>,
    constraints: Vec<String>,
    unknown: Map<String, Value>,
}

impl Definition {
    /// Reads a definition's JSON document.
    pub fn from_json(json: &str) -> Result<Self, Invalid> {
        document::read("definition", json, definition)
    }

    /// The name, unique in a data set.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The kind of operator, such as `gdn`.
    pub fn op_type(&self) -> &str {
        &self.op_type
    }

    /// The axes.
    pub fn axes(&self) -> &Named<Axis> {
        &self.axes
    }

    /// The inputs in call order.
    pub fn inputs(&self) -> &Named<TensorSpec> {
        &self.inputs
    }

    /// The outputs in call order; with destination passing they follow the inputs.
    pub fn outputs(&self) -> &Named<TensorSpec> {
        &self.outputs
    }

    /// The reference in Python.
    pub fn reference(&self) -> &str {
        &self.reference
    }

    /// Labels such as `stage:decode`.
    pub fn tags(&self) -> &[String] {
        &self.tags
    }

    /// A description in plain words.
    pub fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    /// Python expressions over axes; kept, not evaluated.
    pub fn constraints(&self) -> &[String] {
        &self.constraints
    }

    /// The function of the reference that makes the inputs which a workload leaves to the definition, as
    /// SOL-ExecBench's definitions name it.
    pub fn custom_inputs(&self) -> Option<&str> {
        self.unknown("custom_inputs_entrypoint").and_then(Value::as_str)
    }

    /// The function of the reference that says whether outputs are right, where no comparison with the reference's
    /// own can: `fn(inputs, outputs)` gives `(right, why not)`. An extension of ours, which other readers pass over.
    pub fn own_check(&self) -> Option<&str> {
        self.unknown(OWN_CHECK).and_then(Value::as_str)
    }

    /// A field that the format does not know.
    pub(in crate::interop) fn unknown(&self, field: &str) -> Option<&Value> {
        self.unknown.get(field)
    }

    /// The axes that a workload must give a value.
    pub fn variable_axes(&self) -> impl Iterator<Item = &str> {
        self.axes.iter().filter(|(_, axis)| axis.constant.is_none()).map(|(name, _)| name)
    }
}

impl Serialize for Definition {
    /// Writes the declared fields in the order of their model, then the unknown ones.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = Map::new();
        fields.insert("name".to_owned(), json!(self.name));
        fields.insert("op_type".to_owned(), json!(self.op_type));
        fields
            .insert("axes".to_owned(), object(self.axes.iter().map(|(name, axis)| (name, axis_value(axis)))));
        fields
            .insert("inputs".to_owned(), object(self.inputs.iter().map(|(n, spec)| (n, tensor_value(spec)))));
        fields.insert(
            "outputs".to_owned(),
            object(self.outputs.iter().map(|(n, spec)| (n, tensor_value(spec)))),
        );
        fields.insert("reference".to_owned(), json!(self.reference));
        fields.insert("tags".to_owned(), json!(self.tags));
        fields.insert("description".to_owned(), json!(self.description));
        fields.insert("constraints".to_owned(), json!(self.constraints));
        fields.extend(self.unknown.clone());
        fields.serialize(serializer)
    }
}

fn axis_value(axis: &Axis) -> Value {
    let mut fields = Map::new();
    match axis.constant {
        Some(value) => {
            fields.insert("type".to_owned(), json!("const"));
            fields.insert("value".to_owned(), json!(value));
        }
        None => fields.extend([("type".to_owned(), json!("var"))]),
    }
    fields.insert("description".to_owned(), json!(axis.description));
    fields.extend(axis.unknown.clone());
    Value::Object(fields)
}

fn tensor_value(spec: &TensorSpec) -> Value {
    let mut fields = Map::new();
    fields.insert("shape".to_owned(), json!(spec.shape));
    fields.insert("dtype".to_owned(), json!(spec.dtype));
    fields.insert("description".to_owned(), json!(spec.description));
    if spec.optional {
        fields.insert("optional".to_owned(), json!(true));
    }
    fields.extend(spec.unknown.clone());
    Value::Object(fields)
}

fn definition(value: Value, violations: &mut Vec<FormatViolation>) -> Option<Definition> {
    let mut root = Object::root(value, violations)?;
    let name = root.text("name", violations);
    let op_type = root.text("op_type", violations);
    let axes: Named<Axis> = named(root.entries("axes", violations), axis, violations);
    let inputs: Named<TensorSpec> = named(root.entries("inputs", violations), tensor, violations);
    let outputs: Named<TensorSpec> = named(root.entries("outputs", violations), tensor, violations);
    for (side, tensors) in [("inputs", &inputs), ("outputs", &outputs)] {
        let shapes = tensors.iter().map(|(name, spec)| (name, spec.shape.as_ref()));
        check_dimensions(side, shapes, |axis| axes.contains(axis), violations);
    }
    let is_input = |name: &str| inputs.contains(name);
    check_names("outputs", outputs.names(), is_input, "a name that no input has", violations);
    let reference = root.text("reference", violations).filter(|text| defines_run(text, violations));
    let tags = root.texts("tags", violations);
    let description = root.optional_text("description", violations);
    let constraints = root.texts("constraints", violations);
    let (name, op_type, reference) = (name?, op_type?, reference?);
    let unknown = root.rest();
    Some(Definition {
        name,
        op_type,
        axes,
        inputs,
        outputs,
        reference,
        tags,
        description,
        constraints,
        unknown,
    })
}

fn axis(place: String, value: Value, violations: &mut Vec<FormatViolation>) -> Option<Axis> {
    let mut fields = Object::open(place, value, violations)?;
    let has_value = fields.has("value");
    let constant = match fields.take_optional("type") {
        None if has_value => constant(&mut fields, violations),
        None => None,
        Some(Value::String(kind)) if kind == "const" => constant(&mut fields, violations),
        Some(Value::String(kind)) if kind == "var" => None,
        Some(other) => fields.refuse("type", "`const` or `var`", &other, violations),
    };
    let description = fields.optional_text("description", violations);
    Some(Axis { constant, description, unknown: fields.rest() })
}

fn tensor(place: String, value: Value, violations: &mut Vec<FormatViolation>) -> Option<TensorSpec> {
    let mut fields = Object::open(place, value, violations)?;
    let shape = shape(&mut fields, violations)?;
    let dtype_name = fields.text("dtype", violations)?;
    let Ok(dtype) = dtype_name.parse::<Dtype>() else {
        return fields.refuse("dtype", &dtypes(), &json!(dtype_name), violations);
    };
    let optional = match fields.take_optional("optional") {
        None => false,
        Some(Value::Bool(optional)) => optional,
        Some(other) => return fields.refuse("optional", "true or false", &other, violations),
    };
    let description = fields.optional_text("description", violations);
    Some(TensorSpec { shape, dtype, optional, description, unknown: fields.rest() })
}

fn dtypes() -> String {
    format!("one of {}", Dtype::ALL.map(Dtype::name).join(", "))
}

fn defines_run(reference: &str, violations: &mut Vec<FormatViolation>) -> bool {
    let defined = python::parameters(reference, "run").is_some();
    if !defined {
        let first_line = reference.lines().next().unwrap_or_default();
        violations.push(FormatViolation::new(
            "reference",
            "a top-level `def run(…)`",
            quote(&json!(first_line)),
        ));
    }
    defined
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scale() -> Value {
        json!({
            "name": "scale_rows", "op_type": "toy", "new_field": {"kept": true},
            "axes": {"rows": {}, "columns": {"value": 4, "unit": "elements"}},
            "inputs": {
                "x": {"shape": ["rows", "columns"], "dtype": "bfloat16", "optional": true},
                "factor": {"shape": null, "dtype": "float32"},
            },
            "outputs": {"y": {"shape": ["rows", "columns"], "dtype": "float32"}},
            "reference": "import torch\n\ndef run(x, factor):\n    return x * factor",
        })
    }

    #[test]
    fn infers_the_type_of_an_axis_that_names_none() {
        let definition = Definition::from_json(&scale().to_string()).unwrap();
        assert_eq!(definition.axes().get("rows").unwrap().constant, None);
        assert_eq!(definition.axes().get("columns").unwrap().constant, Some(4));
        assert_eq!(definition.variable_axes().collect::<Vec<_>>(), ["rows"]);
        assert_eq!(definition.inputs().names().collect::<Vec<_>>(), ["x", "factor"]);
        assert!(definition.inputs().get("x").unwrap().optional);
    }

    #[test]
    fn keeps_unknown_fields_and_reads_back_what_it_writes() {
        let definition = Definition::from_json(&scale().to_string()).unwrap();
        let written = serde_json::to_string(&definition).unwrap();
        assert!(written.contains(r#""new_field":{"kept":true}"#), "{written}");
        assert!(
            written.contains(r#""columns":{"type":"const","value":4,"description":null,"unit":"elements"}"#)
        );
        assert_eq!(Definition::from_json(&written).unwrap(), definition);
    }

    #[test]
    fn names_every_violation_at_once() {
        let mut broken = scale();
        broken["name"] = json!("");
        broken["axes"]["columns"] = json!({"type": "const", "value": -1});
        broken["inputs"]["x"]["dtype"] = json!("uint16");
        broken["outputs"]["factor"] = json!({"shape": ["depth"], "dtype": "float32"});
        broken["reference"] = json!("def running(x): pass\n  def run(x): pass");
        let invalid = Definition::from_json(&broken.to_string()).unwrap_err();
        let places: Vec<_> = invalid.violations.iter().map(|violation| violation.place.as_str()).collect();
        assert_eq!(
            places,
            [
                "name",
                "axes.columns.value",
                "inputs.x.dtype",
                "outputs.factor.shape",
                "outputs.factor",
                "reference"
            ]
        );
    }

    #[test]
    fn refuses_what_is_no_object() {
        for text in ["", "[]", "null", "\u{feff}{}", "{"] {
            assert!(Definition::from_json(text).is_err(), "{text}");
        }
    }
}
