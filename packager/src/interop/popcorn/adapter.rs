//! `custom_kernel(data)`: unpacks what the problem gives, makes outputs, and calls the entry.

use std::fmt::Write as _;

use super::data::Data;
use super::python_entry::ENTRY;
use crate::interop::flashinfer::{Definition, Dtype};
use crate::interop::torch_binding::signature::{Parameter, Signature};
use crate::interop::violation::{FormatViolation, Invalid};

/// Turns `data` into a list.
const GIVEN: &str = "    given = list(data) if isinstance(data, (tuple, list)) else [data]\n";

/// The function's text where the callee returns its outputs.
pub(super) fn returning(definition: &Definition, callee: &str) -> String {
    let places = Places::of(definition);
    let inputs: Vec<_> =
        definition.inputs().names().enumerate().map(|(index, name)| places.input(index, name)).collect();
    format!("def {ENTRY}(data):\n{GIVEN}    return {callee}({})\n", inputs.join(", "))
}

/// The function's text; `callee` is what it calls with inputs and outputs.
pub(super) fn text(definition: &Definition, callee: &str) -> Result<String, Invalid> {
    let signature = Signature::of(definition);
    let places = Places::of(definition);
    let mut violations = Vec::new();
    let mut made = Vec::new();
    for (index, (name, output)) in definition.outputs().names().zip(&signature.outputs).enumerate() {
        match empty_tensor(definition, &signature, output) {
            Ok(tensor) => {
                made.push(format!("    {} = {}\n", output.name, places.output(index, name, &tensor)));
            }
            Err(violation) => violations.push(violation),
        }
    }
    if !violations.is_empty() {
        return Err(Invalid { document: "signature for a leaderboard", violations });
    }
    let names = |parameters: &[Parameter]| {
        parameters.iter().map(|one| one.name.as_str()).collect::<Vec<_>>().join(", ")
    };
    let inputs = definition.inputs().names().zip(&signature.inputs).enumerate();
    let mut unpacked = String::new();
    for (index, (name, input)) in inputs {
        let _ = writeln!(unpacked, "    {} = {}", input.name, places.input(index, name));
    }
    let described: Vec<&str> = signature.all().map(|one| one.described.as_str()).collect();
    let comment = described
        .iter()
        .fold(String::new(), |lines, one| lines + &format!("# {}\n", crate::escape::line(one)));
    let order = if places.data.is_some() {
        "What the problem gives, and what it is called here"
    } else {
        "The problem gives inputs in this order, and may give the outputs behind them"
    };
    Ok(format!(
        "# {order}:\n{comment}def {ENTRY}(data):\n{GIVEN}{unpacked}{made}    {callee}({arguments})\n    return {outputs}\n",
        made = made.concat(),
        arguments = signature.all().map(|one| one.name.as_str()).collect::<Vec<_>>().join(", "),
        outputs = names(&signature.outputs),
    ))
}

/// Where inputs and outputs are found in what a problem gives.
struct Places {
    /// As the definition keeps it.
    data: Option<Data>,
    inputs: usize,
}

impl Places {
    fn of(definition: &Definition) -> Self {
        Self { data: Data::of(definition), inputs: definition.inputs().len() }
    }

    /// An input, in the order of inputs where nothing else is known.
    fn input(&self, index: usize, name: &str) -> String {
        let known = self.data.as_ref().and_then(|data| data.place_of(name));
        known.unwrap_or_else(|| format!("given[{index}]"))
    }

    /// An output: what the problem brings for it, or else a new one.
    fn output(&self, index: usize, name: &str, made: &str) -> String {
        if let Some(data) = &self.data {
            return data.place_of(name).unwrap_or_else(|| made.to_owned());
        }
        let place = self.inputs + index;
        format!("given[{place}] if len(given) > {place} else {made}")
    }
}

/// An output without contents, its extents taken from constants and from inputs.
fn empty_tensor(
    definition: &Definition,
    signature: &Signature,
    output: &Parameter,
) -> Result<String, FormatViolation> {
    let refuse = |expected: &str, found: String| {
        FormatViolation::new(format!("outputs.{}", output.name), expected, found)
    };
    let axes = output.shape.as_ref().ok_or_else(|| refuse("a tensor", "a scalar".to_owned()))?;
    if output.dtype == Dtype::Float4E2m1 {
        return Err(refuse("an output of whole bytes", output.dtype.to_string()));
    }
    let extent = |axis: &String| {
        if let Some(constant) = definition.axes().get(axis).and_then(|axis| axis.constant) {
            return Ok(constant.to_string());
        }
        let place = signature.inputs.iter().filter(|input| !input.optional).find_map(|input| {
            let place = input.shape.as_ref()?.iter().position(|known| known == axis)?;
            Some(format!("{}.shape[{place}]", input.name))
        });
        place.ok_or_else(|| refuse("axes that an input has too", format!("`{axis}`")))
    };
    let extents = axes.iter().map(extent).collect::<Result<Vec<_>, _>>()?;
    let device = signature.inputs.iter().find(|input| input.shape.is_some() && !input.optional);
    let device = device.map_or_else(|| "\"cuda\"".to_owned(), |input| format!("{}.device", input.name));
    Ok(format!("torch.empty([{}], dtype=torch.{}, device={device})", extents.join(", "), output.dtype))
}
