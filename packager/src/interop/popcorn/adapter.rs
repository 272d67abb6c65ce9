//! `custom_kernel(data)`: unpacks what the problem gives, makes outputs, and calls the entry.

use crate::interop::flashinfer::{Definition, Dtype};
use crate::interop::torch_binding::signature::{Parameter, Signature};
use crate::interop::violation::{FormatViolation, Invalid};

/// The function's text; `callee` is what it calls with inputs and outputs.
pub(super) fn text(definition: &Definition, callee: &str) -> Result<String, Invalid> {
    let signature = Signature::of(definition);
    let mut violations = Vec::new();
    let mut made = Vec::new();
    for (index, output) in signature.outputs.iter().enumerate() {
        match empty_tensor(definition, &signature, output) {
            Ok(tensor) => made.push(format!(
                "    {name} = given[{place}] if len(given) > {place} else {tensor}\n",
                name = output.name,
                place = signature.inputs.len() + index,
            )),
            Err(violation) => violations.push(violation),
        }
    }
    if !violations.is_empty() {
        return Err(Invalid { document: "signature for a leaderboard", violations });
    }
    let names = |parameters: &[Parameter]| {
        parameters.iter().map(|one| one.name.as_str()).collect::<Vec<_>>().join(", ")
    };
    let unpacked = match signature.inputs.as_slice() {
        [] => String::new(),
        [one] => format!("    {} = given[0]\n", one.name),
        inputs => format!("    {} = given[:{}]\n", names(inputs), inputs.len()),
    };
    let described: Vec<&str> = signature.all().map(|one| one.described.as_str()).collect();
    let comment = described
        .iter()
        .fold(String::new(), |lines, one| lines + &format!("# {}\n", crate::escape::line(one)));
    Ok(format!(
        "# The problem gives inputs in this order, and may give the outputs behind them:\n{comment}\
         def custom_kernel(data):\n    given = list(data) if isinstance(data, (tuple, list)) else [data]\n\
         {unpacked}{made}    {callee}({arguments})\n    return {outputs}\n",
        made = made.concat(),
        arguments = signature.all().map(|one| one.name.as_str()).collect::<Vec<_>>().join(", "),
        outputs = names(&signature.outputs),
    ))
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
