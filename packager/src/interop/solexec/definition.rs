//! The operator: axes that may be expressions, tensors in call order, and its reference.

use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::element_type::ElementType;
use super::expression::Expression;
use crate::interop::document::{self, Object, quote};
use crate::interop::named::Named;
use crate::interop::operator::{check_dimensions, check_names, constant, named, object, shape};
use crate::interop::python;
use crate::interop::violation::{FormatViolation, Invalid};

/// Where an axis takes its value from.
#[derive(Debug, Clone, PartialEq)]
pub enum AxisValue {
    /// The definition itself.
    Constant(u64),
    /// The workload.
    Variable,
    /// Other axes.
    Expression(Expression),
}

/// One symbolic dimension.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// Where its value comes from.
    pub value: AxisValue,
    /// A description in plain words.
    pub description: Option<String>,
}

/// One tensor or scalar of the interface.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorSpec {
    /// Axis names or numbers, outermost first; empty is a tensor without dimensions, `None` a scalar.
    pub shape: Option<Vec<String>>,
    /// The element type.
    pub dtype: ElementType,
    /// A description in plain words.
    pub description: Option<String>,
}

/// A valid definition.
///
/// Their rules are checked, but for one: that the reference is Python.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    pub(super) name: String,
    pub(super) op_type: Option<String>,
    pub(super) axes: Named<Axis>,
    pub(super) custom_inputs: Option<String>,
    pub(super) inputs: Named<TensorSpec>,
    pub(super) outputs: Named<TensorSpec>,
    pub(super) reference: String,
    pub(super) description: Option<String>,
    hf_id: Option<String>,
    unknown: Map<String, Value>,
}

impl Definition {
    /// Reads a definition's JSON document.
    pub fn from_json(json: &str) -> Result<Self, Invalid> {
        document::read("SOL-ExecBench definition", json, definition)
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The axes.
    pub fn axes(&self) -> &Named<Axis> {
        &self.axes
    }

    /// The inputs in call order.
    pub fn inputs(&self) -> &Named<TensorSpec> {
        &self.inputs
    }

    /// The outputs in call order.
    pub fn outputs(&self) -> &Named<TensorSpec> {
        &self.outputs
    }

    /// The function of the reference that makes inputs, where a workload says `custom`.
    pub fn custom_inputs(&self) -> Option<&str> {
        self.custom_inputs.as_deref()
    }

    /// The reference in Python.
    pub fn reference(&self) -> &str {
        &self.reference
    }
}

impl Serialize for Definition {
    /// Writes the declared fields in the order of their model, then the unknown ones.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = Map::new();
        let mut put = |name: &str, value: Value| fields.insert(name.to_owned(), value);
        put("name", json!(self.name));
        put("op_type", json!(self.op_type));
        put("axes", object(self.axes.iter().map(|(name, axis)| (name, axis_value(axis)))));
        put("custom_inputs_entrypoint", json!(self.custom_inputs));
        put("inputs", object(self.inputs.iter().map(|(name, spec)| (name, tensor_value(spec)))));
        put("outputs", object(self.outputs.iter().map(|(name, spec)| (name, tensor_value(spec)))));
        put("reference", json!(self.reference));
        put("description", json!(self.description));
        put("hf_id", json!(self.hf_id));
        fields.extend(self.unknown.clone());
        fields.serialize(serializer)
    }
}

fn axis_value(axis: &Axis) -> Value {
    let Axis { value, description } = axis;
    match value {
        AxisValue::Constant(value) => json!({"type": "const", "value": value, "description": description}),
        AxisValue::Variable => json!({"type": "var", "description": description}),
        AxisValue::Expression(expression) => {
            json!({"type": "expr", "expression": expression.to_string(), "description": description})
        }
    }
}

fn tensor_value(spec: &TensorSpec) -> Value {
    json!({"shape": spec.shape, "dtype": spec.dtype.name(), "description": spec.description})
}

fn definition(value: Value, violations: &mut Vec<FormatViolation>) -> Option<Definition> {
    let mut root = Object::root(value, violations)?;
    let name = root.text("name", violations);
    let op_type = optional_name(&mut root, "op_type", violations);
    let axes: Named<Axis> = named(root.entries("axes", violations), axis, violations);
    let custom_inputs = optional_name(&mut root, "custom_inputs_entrypoint", violations);
    let before = violations.len();
    let inputs: Named<TensorSpec> = named(root.entries("inputs", violations), tensor, violations);
    let are_inputs_whole = violations.len() == before;
    let outputs: Named<TensorSpec> = named(root.entries("outputs", violations), tensor, violations);
    let reference = root.text("reference", violations);
    let description = root.optional_text("description", violations);
    let hf_id = optional_name(&mut root, "hf_id", violations);
    check_expressions(&axes, violations);
    let is_number = |text: &str| text.bytes().all(|one| one.is_ascii_digit());
    for (side, tensors) in [("inputs", &inputs), ("outputs", &outputs)] {
        let shapes = tensors.iter().map(|(name, spec)| (name, spec.shape.as_ref()));
        check_dimensions(side, shapes, |axis| is_number(axis) || axes.contains(axis), violations);
    }
    check_names("inputs", inputs.names(), |name| axes.contains(name), "a name that no axis has", violations);
    check_names(
        "outputs",
        outputs.names(),
        |name| inputs.contains(name),
        "a name that no input has",
        violations,
    );
    let reference = reference?;
    // An input that was refused is among the function's all the same.
    let whole_inputs = are_inputs_whole.then_some(&inputs);
    check_reference(&reference, whole_inputs, custom_inputs.as_deref(), violations);
    let (name, unknown) = (name?, root.rest());
    Some(Definition {
        name,
        op_type,
        axes,
        custom_inputs,
        inputs,
        outputs,
        reference,
        description,
        hf_id,
        unknown,
    })
}

/// A text that may be absent or null, but not empty.
fn optional_name(root: &mut Object, field: &str, violations: &mut Vec<FormatViolation>) -> Option<String> {
    let text = root.optional_text(field, violations)?;
    if text.is_empty() {
        root.refuse(field, "a non-empty text or null", &json!(text), violations)
    } else {
        Some(text)
    }
}

fn axis(place: String, value: Value, violations: &mut Vec<FormatViolation>) -> Option<Axis> {
    let mut fields = Object::open(place, value, violations)?;
    // Their reader tries constant, variable and expression in turn; the type has a default in each.
    let kind = match fields.take_optional("type") {
        None if fields.has("value") => "const".to_owned(),
        None if fields.has("expression") => "expr".to_owned(),
        None => "var".to_owned(),
        Some(Value::String(kind)) => kind,
        Some(other) => other.to_string(),
    };
    let value = match kind.as_str() {
        "const" => AxisValue::Constant(constant(&mut fields, violations)?),
        "var" => AxisValue::Variable,
        "expr" => {
            let text = fields.text("expression", violations)?;
            match Expression::parse(&text) {
                Ok(expression) => AxisValue::Expression(expression),
                Err(error) => {
                    let expected = format!("arithmetic over axes ({error})");
                    return fields.refuse("expression", &expected, &json!(text), violations);
                }
            }
        }
        other => return fields.refuse("type", "`const`, `var` or `expr`", &json!(other), violations),
    };
    Some(Axis { value, description: fields.optional_text("description", violations) })
}

fn tensor(place: String, value: Value, violations: &mut Vec<FormatViolation>) -> Option<TensorSpec> {
    let mut fields = Object::open(place, value, violations)?;
    let shape = shape(&mut fields, violations)?;
    let name = fields.text("dtype", violations)?;
    let Ok(dtype) = name.parse() else {
        return fields.refuse("dtype", &ElementType::names(), &json!(name), violations);
    };
    Some(TensorSpec { shape, dtype, description: fields.optional_text("description", violations) })
}

/// Names in an expression stand for constant or variable axes, never for other expressions.
fn check_expressions(axes: &Named<Axis>, violations: &mut Vec<FormatViolation>) {
    for (axis, expression) in axes.iter().filter_map(|(name, axis)| match &axis.value {
        AxisValue::Expression(expression) => Some((name, expression)),
        _ => None,
    }) {
        let is_known =
            |name: &str| axes.get(name).is_some_and(|axis| !matches!(axis.value, AxisValue::Expression(_)));
        for name in expression.names().into_iter().filter(|name| !is_known(name)) {
            let place = format!("axes.{axis}.expression");
            let expected = "names of constant or variable axes";
            violations.push(FormatViolation::new(place, expected, format!("`{name}`")));
        }
    }
}

fn check_reference(
    reference: &str,
    inputs: Option<&Named<TensorSpec>>,
    custom_inputs: Option<&str>,
    violations: &mut Vec<FormatViolation>,
) {
    let names: Option<Vec<&str>> = inputs.map(|inputs| inputs.names().collect());
    match (python::parameters(reference, "run"), names) {
        (Some(found), Some(names)) if found != names => violations.push(FormatViolation::new(
            "reference",
            format!("`def run({})`, the inputs in their order", names.join(", ")),
            format!("`def run({})`", found.join(", ")),
        )),
        (Some(_), _) => {}
        (None, _) => {
            let first_line = json!(reference.lines().next().unwrap_or_default());
            violations.push(FormatViolation::new(
                "reference",
                "a top-level `def run(…)`",
                quote(&first_line),
            ));
        }
    }
    let Some(function) = custom_inputs else { return };
    if !python::is_identifier(function) || python::parameters(reference, function).is_none() {
        violations.push(FormatViolation::new(
            "custom_inputs_entrypoint",
            "a top-level function of the reference",
            format!("`{function}`"),
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rope() -> Value {
        json!({
            "name": "rotate", "axes": {
                "rows": {"type": "var"}, "head": {"type": "const", "value": 128, "description": "numbers"},
                "half": {"type": "expr", "expression": "head // 2"}},
            "inputs": {"x": {"shape": ["rows", "head"], "dtype": "bfloat16"},
                "angle": {"shape": ["rows", "half", "1"], "dtype": "float64"},
                "scale": {"shape": null, "dtype": "float32"}, "one": {"shape": [], "dtype": "float32"}},
            "outputs": {"y": {"shape": ["rows", "head"], "dtype": "bfloat16"}},
            "custom_inputs_entrypoint": "make",
            "reference": "def make(axes, device):\n    pass\n\ndef run(x, angle, scale, one):\n    return x\n"
        })
    }

    fn places(value: &Value) -> Vec<String> {
        let invalid = Definition::from_json(&value.to_string()).unwrap_err();
        invalid.violations.into_iter().map(|violation| violation.place).collect()
    }

    #[test]
    fn writes_what_it_read_with_every_declared_field() {
        let read = Definition::from_json(&rope().to_string()).unwrap();
        let written = serde_json::to_string(&read).unwrap();
        assert_eq!(Definition::from_json(&written).unwrap(), read);
        assert!(written.contains(r#""half":{"type":"expr","expression":"head // 2","description":null}"#));
        assert!(written.contains(r#""one":{"shape":[],"dtype":"float32","description":null}"#), "{written}");
        assert!(written.ends_with(r#""description":null,"hf_id":null}"#));
    }

    #[test]
    fn names_every_violation_at_once() {
        let mut broken = rope();
        broken["op_type"] = json!("");
        broken["axes"]["half"]["expression"] = json!("width // 2");
        broken["axes"]["other"] = json!({"type": "expr", "expression": "f(rows)"});
        broken["axes"]["scale"] = json!({"type": "var"});
        broken["inputs"]["x"]["shape"] = json!(["rows", "columns"]);
        broken["inputs"]["one"]["dtype"] = json!("uint8");
        broken["outputs"]["x"] = json!({"shape": [], "dtype": "bool"});
        broken["custom_inputs_entrypoint"] = json!("maker");
        assert_eq!(
            places(&broken),
            [
                "op_type",
                "axes.other.expression",
                "inputs.one.dtype",
                "axes.half.expression",
                "inputs.x.shape",
                "inputs.scale",
                "outputs.x",
                "custom_inputs_entrypoint"
            ]
        );
        // Of a function that lacks an input nothing is said where that input was refused.
        broken["inputs"]["one"]["dtype"] = json!("float32");
        broken["reference"] = json!("def run(x, angle):\n    return x\n");
        assert!(places(&broken).contains(&"reference".to_owned()));
    }

    #[test]
    fn an_expression_over_an_expression_is_refused() {
        let mut nested = rope();
        nested["axes"]["quarter"] = json!({"type": "expr", "expression": "half // 2"});
        assert_eq!(places(&nested), ["axes.quarter.expression"]);
    }
}
