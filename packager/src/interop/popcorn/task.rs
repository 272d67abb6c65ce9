//! A problem as a task that can be measured: its own Python makes the inputs and says what is right.
//!
//! What is made is a definition of FlashInfer-Bench whose reference is the problem's files, as texts, with two
//! functions that call them (`task.py` beside this file), and one workload for each benchmark and test. A workload's
//! axis `case` says which; the problem's arguments that name dimensions are axes too. Seeds are the judge's.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::data;
use super::literal::python;
use super::problem::Problem;
use super::signature::{Dimension, Signature, SignatureTensor};
use crate::interop::flashinfer::{Definition, OWN_CHECK, Workload};
use crate::interop::violation::{FormatViolation, Invalid};

/// What calls the problem's files.
const CALLS: &str = include_str!("task.py");

/// The axis that says which case.
const CASE: &str = "case";

/// The function that makes inputs.
const MAKE_INPUTS: &str = "make_inputs";

/// The function that asks the problem's own checker.
const CHECK: &str = "check";

/// How the board's own comparison is called, whose tolerances are read where they stand as numbers.
const MATCH: &str = "make_match_reference(";

/// What that comparison allows where the problem says nothing.
const USUAL: (f64, f64) = (1e-8, 1e-5);

/// A problem as a task.
#[derive(Debug, Clone, PartialEq)]
pub struct PopcornTask {
    /// Inputs, outputs and the reference.
    pub definition: Definition,
    /// Benchmarks first, then tests.
    pub workloads: Vec<Workload>,
    /// The problem's own absolute and relative tolerance; `None` where its checker is code of its own, which
    /// the definition then names.
    pub tolerance: Option<(f64, f64)>,
}

impl Problem {
    /// The problem as a task, by what its data and answer hold.
    pub fn task(&self, signature: &Signature) -> Result<PopcornTask, Invalid> {
        let tolerance = tolerance_of(&self.reference);
        let mut document = self.definition(signature);
        if tolerance.is_none() {
            document[OWN_CHECK] = json!(CHECK);
        }
        let definition = Definition::from_json(&document.to_string())?;
        let mut violations = Vec::new();
        let mut workloads = Vec::new();
        let kinds = [("benchmark", &self.benchmarks), ("test", &self.tests)];
        let cases = kinds.iter().flat_map(|(kind, cases)| (1..).zip(*cases).map(move |case| (*kind, case)));
        for (index, (kind, (number, arguments))) in cases.enumerate() {
            let mut axes = Map::from_iter([(CASE.to_owned(), json!(index))]);
            for name in signature.arguments() {
                match arguments.get(name).and_then(Value::as_u64) {
                    Some(value) => drop(axes.insert(name.to_owned(), json!(value))),
                    None => violations.push(FormatViolation::new(
                        format!("{kind}s.{}", number - 1),
                        format!("an argument `{name}` that is a whole number, as the signature says"),
                        arguments.get(name).map_or_else(|| "none".to_owned(), Value::to_string),
                    )),
                }
            }
            let inputs: Map<String, Value> =
                signature.inputs().map(|one| (one.name.clone(), json!({"type": "custom"}))).collect();
            let mut document = json!({"uuid": format!("{kind}-{number}"), "axes": axes, "inputs": inputs});
            if let Some((absolute, relative)) = tolerance {
                document["tolerance"] =
                    json!({"max_atol": absolute, "max_rtol": relative, "required_matched_ratio": 1.0});
            }
            if violations.is_empty() {
                workloads.push(Workload::from_json(&document.to_string())?);
            }
        }
        if !violations.is_empty() {
            return Err(Invalid { document: "problem of GPU MODE with this signature", violations });
        }
        Ok(PopcornTask { definition, workloads, tolerance })
    }

    fn definition(&self, signature: &Signature) -> Value {
        let tensors = |all: &mut dyn Iterator<Item = &SignatureTensor>| -> Map<String, Value> {
            all.map(|one| {
                let shape: Option<Vec<String>> =
                    one.shape.as_ref().map(|shape| shape.iter().map(axis_name).collect());
                (one.name.clone(), json!({"shape": shape, "dtype": one.dtype.name()}))
            })
            .collect()
        };
        let mut axes = Map::from_iter([(CASE.to_owned(), json!({"type": "var"}))]);
        axes.extend(signature.arguments().into_iter().map(|name| (name.to_owned(), json!({"type": "var"}))));
        for dimension in signature.dimensions() {
            if let Dimension::Number(number) = dimension {
                axes.insert(axis_name(dimension), json!({"type": "const", "value": number}));
            }
        }
        json!({
            "name": self.name,
            "op_type": "gpu_mode",
            "description": self.description,
            "axes": axes,
            "inputs": tensors(&mut signature.inputs()),
            "outputs": tensors(&mut signature.outputs.iter()),
            "reference": self.reference_code(signature),
            "custom_inputs_entrypoint": MAKE_INPUTS,
            (data::FIELD): signature.data.to_value(),
        })
    }

    /// The problem's files as texts, what the signature says, and what calls them.
    fn reference_code(&self, signature: &Signature) -> String {
        let mut code =
            String::from("# The problem's own files, and below how they are called.\n\nFILES = {\n");
        let own = [("reference".to_owned(), self.reference.clone())];
        for (module, text) in own.iter().chain(&self.modules) {
            code += &format!("    {}: {},\n", json!(module), python(text));
        }
        code += "}\n\nCASES = [\n";
        for case in self.benchmarks.iter().chain(&self.tests) {
            let arguments =
                case.iter().map(|(name, value)| format!("{}: {}", json!(name), python_value(value)));
            code += &format!("    {{{}}},\n", arguments.collect::<Vec<_>>().join(", "));
        }
        let outputs: Vec<&String> = signature.outputs.iter().map(|one| &one.name).collect();
        let shape = |one: &SignatureTensor| {
            let dimensions = one.shape.iter().flatten().map(|dimension| match dimension {
                Dimension::Argument(name) => json!(name),
                Dimension::Number(number) => json!(number),
            });
            json!(dimensions.collect::<Vec<_>>())
        };
        let buffers: Map<String, Value> = signature
            .outputs
            .iter()
            .filter(|one| signature.brings(&one.name))
            .map(|one| (one.name.clone(), json!([one.dtype.name(), shape(one)])))
            .collect();
        let shapes: Vec<Value> = signature.inputs().map(shape).collect();
        code += &format!(
            "]\n\nDATA = {}\nOUTPUTS = {}\nBUFFERS = {}\nSHAPES = {}\n",
            signature.data.to_value(),
            json!(outputs),
            json!(buffers),
            json!(shapes)
        );
        code + CALLS
    }
}

fn axis_name(dimension: &Dimension) -> String {
    match dimension {
        Dimension::Argument(name) => name.clone(),
        Dimension::Number(number) => format!("size_{number}"),
    }
}

/// A JSON value as Python writes it.
fn python_value(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Array(list) => format!("[{}]", list.iter().map(python_value).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) => {
            let fields =
                fields.iter().map(|(name, value)| format!("{}: {}", json!(name), python_value(value)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
        }
        Value::String(text) => python(text),
        Value::Number(number) => number.to_string(),
    }
}

/// The tolerances of a problem whose checker is the board's own comparison.
fn tolerance_of(reference: &str) -> Option<(f64, f64)> {
    let line =
        reference.lines().find(|line| line.starts_with("check_implementation") && line.contains(MATCH))?;
    let arguments = line.split_once(MATCH)?.1;
    let words: BTreeSet<&str> = arguments.split([',', '(', ')']).map(str::trim).collect();
    let number = |name: &str, usual: f64| {
        let word = words.iter().find_map(|word| word.strip_prefix(name)?.trim_start().strip_prefix('='));
        word.map_or(Some(usual), |text| text.trim().parse().ok().filter(|number: &f64| *number >= 0.0))
    };
    Some((number("atol", USUAL.0)?, number("rtol", USUAL.1)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(checker: &str) -> Problem {
        let case = |text: &str| serde_json::from_str(text).unwrap();
        Problem {
            listing: None,
            name: "rowsum".to_owned(),
            description: "Sums rows.".to_owned(),
            tests: vec![case(r#"{"rows": 3, "seed": 1, "mode": "it's"}"#)],
            benchmarks: vec![case(r#"{"rows": 1024, "seed": 2, "mode": null}"#)],
            reference: format!("def generate_input(rows, seed, mode):\n    pass\n\n{checker}\n"),
            modules: vec![("utils".to_owned(), "x = 1\n".to_owned())],
            template: None,
        }
    }

    fn signature() -> Signature {
        "x: float16[rows, 128], y: float32[rows] -> y: float32[rows]".parse().unwrap()
    }

    #[test]
    fn cases_become_workloads_with_the_problems_own_tolerance() {
        let task = problem("check_implementation = make_match_reference(ref_kernel, rtol=2e-2, atol=1e-3)")
            .task(&signature())
            .unwrap();
        assert_eq!(task.tolerance, Some((1e-3, 2e-2)));
        let uuids: Vec<_> = task.workloads.iter().map(Workload::uuid).collect();
        assert_eq!(uuids, ["benchmark-1", "test-1"]);
        assert_eq!(task.workloads[1].axes().get("rows"), Some(&3));
        let shapes = task.definition.shapes(&task.workloads[0]).unwrap();
        assert_eq!(shapes.inputs.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["x"]);
        assert_eq!(shapes.outputs.get("y").unwrap().size_bytes, 4 * 1024);
        assert_eq!(task.definition.custom_inputs(), Some("make_inputs"));
    }

    #[test]
    fn a_checker_of_its_own_is_named_and_gives_no_tolerance() {
        let own = problem("def check_implementation(data, output):\n    return True, ''");
        let own = own.task(&signature()).unwrap();
        assert_eq!((own.tolerance, own.definition.own_check()), (None, Some("check")));
        let usual = problem("check_implementation = make_match_reference(ref_kernel)");
        let usual = usual.task(&signature()).unwrap();
        assert_eq!((usual.tolerance, usual.definition.own_check()), (Some(USUAL), None));
        let named = problem("check_implementation = make_match_reference(ref_kernel, rtol=TOLERANCE)");
        assert_eq!(named.task(&signature()).unwrap().tolerance, None);
    }

    #[test]
    fn a_dimension_that_is_no_argument_is_named_with_its_case() {
        let signature = "x: float16[columns] -> y: float32[rows]".parse().unwrap();
        let refused = problem("check_implementation = 1").task(&signature).unwrap_err();
        let places: Vec<_> = refused.violations.iter().map(|one| one.place.as_str()).collect();
        assert_eq!(places, ["benchmarks.0", "tests.0"]);
        assert!(refused.to_string().contains("`columns`"), "{refused}");
    }
}
