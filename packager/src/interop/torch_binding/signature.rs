//! A definition's interface as C++ and Python parameters.

use std::collections::BTreeSet;

use crate::interop::flashinfer::{Definition, Dtype, TensorSpec};

/// Words that are no names in C++ or Python.
const RESERVED: [&str; 115] = [
    "alignas",
    "alignof",
    "and",
    "and_eq",
    "as",
    "asm",
    "assert",
    "async",
    "auto",
    "await",
    "bitand",
    "bitor",
    "bool",
    "break",
    "case",
    "catch",
    "char",
    "char16_t",
    "char32_t",
    "char8_t",
    "class",
    "co_await",
    "co_return",
    "co_yield",
    "compl",
    "concept",
    "const",
    "const_cast",
    "consteval",
    "constexpr",
    "constinit",
    "continue",
    "decltype",
    "def",
    "default",
    "del",
    "delete",
    "do",
    "double",
    "dynamic_cast",
    "elif",
    "else",
    "enum",
    "except",
    "explicit",
    "export",
    "extern",
    "False",
    "false",
    "finally",
    "float",
    "for",
    "friend",
    "from",
    "global",
    "goto",
    "if",
    "import",
    "in",
    "inline",
    "int",
    "is",
    "lambda",
    "long",
    "mutable",
    "namespace",
    "new",
    "noexcept",
    "None",
    "nonlocal",
    "not",
    "not_eq",
    "nullptr",
    "operator",
    "or",
    "or_eq",
    "pass",
    "private",
    "protected",
    "public",
    "raise",
    "register",
    "reinterpret_cast",
    "requires",
    "return",
    "short",
    "signed",
    "sizeof",
    "static",
    "static_assert",
    "static_cast",
    "struct",
    "switch",
    "template",
    "this",
    "thread_local",
    "throw",
    "True",
    "true",
    "try",
    "typedef",
    "typeid",
    "typename",
    "union",
    "unsigned",
    "using",
    "virtual",
    "void",
    "volatile",
    "wchar_t",
    "while",
    "with",
    "xor",
    "xor_eq",
    "yield",
];

/// Names that the generated files use themselves.
const TAKEN: [&str; 14] = [
    "arguments",
    "at",
    "data",
    "given",
    "isinstance",
    "len",
    "list",
    "module",
    "none",
    "proofmark",
    "std",
    "tensor",
    "torch",
    "tuple",
];

/// One parameter of a call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Parameter {
    /// Its name as a variable.
    pub name: String,
    /// What it is, in words: name, shape and dtype of the definition.
    pub described: String,
    /// Axis names, outermost first; `None` is a scalar.
    pub shape: Option<Vec<String>>,
    /// The element type.
    pub dtype: Dtype,
    /// Whether a caller may leave it out.
    pub optional: bool,
}

/// What a call passes: the inputs, then the outputs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Signature {
    /// The inputs in call order.
    pub inputs: Vec<Parameter>,
    /// The outputs in call order.
    pub outputs: Vec<Parameter>,
}

impl Signature {
    /// The interface of a definition.
    pub(crate) fn of(definition: &Definition) -> Self {
        let mut names = BTreeSet::new();
        let mut parameters = |room: &str, specs: Vec<(&str, &TensorSpec)>| {
            let specs = specs.into_iter().enumerate();
            specs
                .map(|(index, (name, spec))| parameter(name, spec, &format!("{room}_{index}"), &mut names))
                .collect::<Vec<_>>()
        };
        let inputs = parameters("input", definition.inputs().iter().collect());
        let outputs = parameters("output", definition.outputs().iter().collect());
        Self { inputs, outputs }
    }

    /// Inputs and outputs, as they are passed.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Parameter> {
        self.inputs.iter().chain(&self.outputs)
    }
}

fn parameter(name: &str, spec: &TensorSpec, fallback: &str, names: &mut BTreeSet<String>) -> Parameter {
    let is_plain = is_identifier(name) && !RESERVED.contains(&name) && !TAKEN.contains(&name);
    let variable = if is_plain && !names.contains(name) { name } else { fallback };
    names.insert(variable.to_owned());
    let shape = match &spec.shape {
        Some(axes) => format!("[{}] ", axes.join(", ")),
        None => String::new(),
    };
    Parameter {
        name: variable.to_owned(),
        described: format!("{name} {shape}{}", spec.dtype),
        shape: spec.shape.clone(),
        dtype: spec.dtype,
        optional: spec.optional,
    }
}

/// Whether a text is a name in C++ and Python, of plain letters.
pub(crate) fn is_identifier(text: &str) -> bool {
    let is_letter = |one: char| one.is_ascii_alphabetic() || one == '_';
    text.starts_with(is_letter) && text.chars().all(|one| is_letter(one) || one.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_none_in_code_gets_another() {
        let definition = Definition::from_json(
            r#"{"name": "d", "op_type": "toy", "axes": {"n": {}}, "inputs": {"None": {"shape": ["n"],
                "dtype": "float32"}, "x y": {"shape": null, "dtype": "int32"}, "data": {"shape": [], "dtype": "bool"}},
                "outputs": {"y": {"shape": ["n"], "dtype": "float16"}}, "reference": "def run(x): pass"}"#,
        )
        .unwrap();
        let signature = Signature::of(&definition);
        let names: Vec<_> = signature.all().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["input_0", "input_1", "input_2", "y"]);
        assert_eq!(signature.inputs[0].described, "None [n] float32");
        assert_eq!(signature.inputs[1].described, "x y int32");
    }
}
