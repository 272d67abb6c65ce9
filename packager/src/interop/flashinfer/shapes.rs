//! A definition's tensors at one workload: every extent a number.

use super::definition::{Definition, TensorSpec};
use super::dtype::Dtype;
use super::workload::{InputSpec, Workload};
use crate::interop::named::Named;
use crate::interop::violation::{FormatViolation, Invalid};

/// One tensor or scalar with every extent known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// The element type.
    pub dtype: Dtype,
    /// Extents, outermost first; `None` is a scalar passed by value.
    pub shape: Option<Vec<u64>>,
    /// The product of the extents; one for a scalar.
    pub element_count: u64,
    /// Size of a dense row-major layout in bytes.
    pub size_bytes: u64,
}

impl Tensor {
    /// Whether it is passed by value.
    pub fn is_scalar(&self) -> bool {
        self.shape.is_none()
    }
}

/// The interface at one workload, in call order.
#[derive(Debug, Clone, PartialEq)]
pub struct Shapes {
    /// The inputs.
    pub inputs: Named<Tensor>,
    /// The outputs.
    pub outputs: Named<Tensor>,
}

impl Shapes {
    /// Bytes that a perfect kernel reads and writes once, tensors only.
    pub fn traffic_bytes(&self) -> u64 {
        let tensors = self.inputs.values().chain(self.outputs.values()).filter(|tensor| !tensor.is_scalar());
        tensors.map(|tensor| tensor.size_bytes).fold(0, u64::saturating_add)
    }
}

impl Definition {
    /// Resolves every tensor at a workload. Every disagreement between the two is named: a
    /// variable axis without value, an axis or input that the definition does not know, a literal
    /// where a tensor belongs or the reverse, and a tensor too large to address.
    pub fn shapes(&self, workload: &Workload) -> Result<Shapes, Invalid> {
        let mut violations = Vec::new();
        self.check_axes(workload, &mut violations);
        self.check_inputs(workload, &mut violations);
        let inputs = self.resolve("inputs", self.inputs(), workload, &mut violations);
        let outputs = self.resolve("outputs", self.outputs(), workload, &mut violations);
        if violations.is_empty() {
            Ok(Shapes { inputs, outputs })
        } else {
            Err(Invalid { document: "workload of this definition", violations })
        }
    }

    fn check_axes(&self, workload: &Workload, violations: &mut Vec<FormatViolation>) {
        for axis in self.variable_axes().filter(|axis| !workload.axes().contains(axis)) {
            violations.push(FormatViolation::new(
                format!("axes.{axis}"),
                "a value for this variable axis",
                "nothing",
            ));
        }
        for (name, &value) in workload.axes().iter() {
            let expected = match self.axes().get(name) {
                None => "an axis of the definition".to_owned(),
                // Their models take any value here and use the constant; a differing one is a mix-up.
                Some(axis) => match axis.constant {
                    Some(constant) if constant != value => constant.to_string(),
                    _ => continue,
                },
            };
            violations.push(FormatViolation::new(format!("axes.{name}"), expected, value.to_string()));
        }
    }

    fn check_inputs(&self, workload: &Workload, violations: &mut Vec<FormatViolation>) {
        if workload.is_custom() {
            self.check_custom(workload, violations);
        }
        for (name, source) in workload.inputs().iter() {
            let place = format!("inputs.{name}");
            match (self.inputs().get(name), source) {
                (None, _) => {
                    violations.push(FormatViolation::new(
                        place,
                        "an input of the definition",
                        format!("`{name}`"),
                    ));
                }
                (Some(TensorSpec { shape: Some(_), .. }), InputSpec::Scalar(_)) => {
                    violations.push(FormatViolation::new(place, "a tensor", "a literal"));
                }
                (Some(TensorSpec { shape: None, .. }), InputSpec::Safetensors { .. }) => {
                    violations.push(FormatViolation::new(place, "a literal", "a captured tensor"));
                }
                _ => {}
            }
        }
    }

    /// A function makes all tensors or none, and must be there.
    fn check_custom(&self, workload: &Workload, violations: &mut Vec<FormatViolation>) {
        if self.custom_inputs().is_none() {
            let expected = "a definition with `custom_inputs_entrypoint`, which makes `custom` inputs";
            violations.push(FormatViolation::new("inputs", expected, "none"));
        }
        for (name, _) in self.inputs().iter().filter(|(_, spec)| spec.shape.is_some()) {
            if *workload.source_of(name) != InputSpec::Custom {
                let place = format!("inputs.{name}");
                violations.push(FormatViolation::new(place, "all tensors `custom`, or none", "another"));
            }
        }
    }

    fn resolve(
        &self,
        room: &str,
        specs: &Named<TensorSpec>,
        workload: &Workload,
        violations: &mut Vec<FormatViolation>,
    ) -> Named<Tensor> {
        let mut tensors = Vec::new();
        for (name, spec) in specs.iter() {
            // A missing axis has been named already.
            let Some(shape) = self.extents(spec, workload) else { continue };
            match measure(spec.dtype, shape) {
                Ok(tensor) => tensors.push((name.to_owned(), tensor)),
                Err(shape) => violations.push(FormatViolation::new(
                    format!("{room}.{name}"),
                    "a tensor of less than 2^63 bytes",
                    format!("shape {shape:?}"),
                )),
            }
        }
        tensors.into_iter().collect()
    }

    /// The extents of one tensor: the outer `None` is an axis without value, the inner a scalar.
    #[expect(clippy::option_option, reason = "the two absences mean different things, and only here")]
    fn extents(&self, spec: &TensorSpec, workload: &Workload) -> Option<Option<Vec<u64>>> {
        let Some(names) = &spec.shape else { return Some(None) };
        let extent = |name: &String| {
            let constant = self.axes().get(name).and_then(|axis| axis.constant);
            constant.or_else(|| workload.axes().get(name).copied())
        };
        names.iter().map(extent).collect::<Option<Vec<u64>>>().map(Some)
    }
}

fn measure(dtype: Dtype, shape: Option<Vec<u64>>) -> Result<Tensor, Option<Vec<u64>>> {
    let product = |count: u64, extent: &u64| count.checked_mul(*extent);
    let element_count = shape.iter().flatten().try_fold(1, product);
    let size = element_count.and_then(|count| Some((count, dtype.size_bytes(count)?)));
    match size.filter(|(_, bytes)| i64::try_from(*bytes).is_ok()) {
        Some((element_count, size_bytes)) => Ok(Tensor { dtype, shape, element_count, size_bytes }),
        None => Err(shape),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition() -> Definition {
        Definition::from_json(
            r#"{"name": "d", "op_type": "toy", "axes": {"n": {}, "k": {"value": 8}},
                "inputs": {"x": {"shape": ["n", "k"], "dtype": "bfloat16"}, "s": {"shape": null, "dtype": "float32"}},
                "outputs": {"y": {"shape": ["n"], "dtype": "float32"}}, "reference": "def run(x, s): pass"}"#,
        )
        .unwrap()
    }

    #[test]
    fn multiplies_constant_and_variable_axes() {
        let workload = Workload::new("u", [("n".to_owned(), 3)], []).unwrap();
        let shapes = definition().shapes(&workload).unwrap();
        let x = shapes.inputs.get("x").unwrap();
        assert_eq!((x.shape.as_deref(), x.element_count, x.size_bytes), (Some(&[3, 8][..]), 24, 48));
        assert!(shapes.inputs.get("s").unwrap().is_scalar());
        assert_eq!(shapes.traffic_bytes(), 48 + 12);
    }

    #[test]
    fn names_every_disagreement_between_workload_and_definition() {
        let json = r#"{"uuid": "u", "axes": {"k": 9, "m": 1}, "inputs": {"x": {"value": 1},
            "s": {"path": "s", "tensor_key": "s"}, "z": {}}}"#;
        let invalid = definition().shapes(&Workload::from_json(json).unwrap()).unwrap_err();
        let places: Vec<_> = invalid.violations.iter().map(|violation| violation.place.as_str()).collect();
        assert_eq!(places, ["axes.n", "axes.k", "axes.m", "inputs.x", "inputs.s", "inputs.z"]);
    }

    #[test]
    fn a_function_makes_all_tensors_and_must_be_there() {
        let custom = r#"{"uuid": "u", "axes": {"n": 3}, "inputs": {"x": {"type": "custom"}}}"#;
        let workload = Workload::from_json(custom).unwrap();
        assert!(workload.is_custom());
        let invalid = definition().shapes(&workload).unwrap_err();
        assert!(invalid.to_string().contains("custom_inputs_entrypoint"), "{invalid}");
        let with_function = Definition::from_json(
            r#"{"name": "d", "op_type": "toy", "axes": {"n": {}}, "custom_inputs_entrypoint": "make",
                "inputs": {"x": {"shape": ["n"], "dtype": "int32"}, "z": {"shape": ["n"], "dtype": "int32"},
                           "s": {"shape": null, "dtype": "float32"}},
                "outputs": {"y": {"shape": ["n"], "dtype": "float32"}}, "reference": "def run(x, z, s): pass"}"#,
        )
        .unwrap();
        let invalid = with_function.shapes(&workload).unwrap_err();
        assert_eq!(invalid.violations[0].place, "inputs.z");
        let both = custom.replace("}}}", r#"}, "z": {"type": "custom"}}}"#);
        assert!(with_function.shapes(&Workload::from_json(&both).unwrap()).is_ok());
    }

    #[test]
    fn refuses_tensors_beyond_the_address_space() {
        let workload = Workload::new("u", [("n".to_owned(), u64::MAX / 8)], []).unwrap();
        let invalid = definition().shapes(&workload).unwrap_err();
        assert_eq!(invalid.violations[0].place, "inputs.x");
    }
}
