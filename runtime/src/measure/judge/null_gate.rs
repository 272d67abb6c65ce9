//! Whether a workload can tell a kernel from nothing.
//!
//! A tolerance may be so loose, or an expected output so small, that zeros pass. Before a workload
//! judges anybody, outputs that no kernel computed must fail on it, every output on its own; where
//! one would pass, the workload is refused as unable to judge.

use std::fmt;

use super::tolerance::Tolerance;
use crate::measure::statistics::median;

/// An output that nobody computed.
#[derive(Debug, Clone, PartialEq)]
pub enum NullOutput {
    /// The same value everywhere.
    Constant(f64),
    /// An input's values, repeated to the output's length.
    Input(String),
    /// The right answer to the previous call's inputs.
    Stale,
}

impl fmt::Display for NullOutput {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant(value) => write!(formatter, "{value} everywhere"),
            Self::Input(name) => write!(formatter, "a copy of input `{name}`"),
            Self::Stale => formatter.write_str("the previous call's output"),
        }
    }
}

/// A null output that the tolerance would accept: the workload cannot judge.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("output `{output}` cannot be judged on this workload: {null} would pass")]
pub struct OpenGate {
    /// The output.
    pub output: String,
    /// What would pass.
    pub null: NullOutput,
}

/// Tries every null output against one expected output. `previous` is the expected output for
/// other inputs of the same workload; `inputs` are this call's tensors by name. An output without
/// elements has nothing to judge and passes the gate.
pub fn null_gate<'a>(
    output: &str,
    expected: &[f64],
    previous: Option<&[f64]>,
    inputs: impl IntoIterator<Item = (&'a str, &'a [f64])>,
    tolerance: &Tolerance,
) -> Result<(), OpenGate> {
    if expected.is_empty() {
        return Ok(());
    }
    let refuse = |null| Err(OpenGate { output: output.to_owned(), null });
    for constant in constants(expected) {
        if tolerance.accepts(|_| constant, expected) {
            return refuse(NullOutput::Constant(constant));
        }
    }
    for (name, values) in inputs.into_iter().filter(|(_, values)| !values.is_empty()) {
        if tolerance.accepts(|index| values[index % values.len()], expected) {
            return refuse(NullOutput::Input(name.to_owned()));
        }
    }
    match previous {
        Some(stale) if stale.len() == expected.len() && tolerance.accepts(|index| stale[index], expected) => {
            refuse(NullOutput::Stale)
        }
        _ => Ok(()),
    }
}

/// Zero and one, and the two constants that come closest to most elements.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn constants(expected: &[f64]) -> impl Iterator<Item = f64> {
    let mean = expected.iter().sum::<f64>() / expected.len() as f64;
    [Some(0.0), Some(1.0), Some(mean), median(expected)].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOSE: Tolerance = Tolerance { atol: 1.0, rtol: 0.3, required_matched_ratio: 0.9 };

    fn gate(expected: &[f64], tolerance: &Tolerance) -> Result<(), OpenGate> {
        null_gate("y", expected, None, [], tolerance)
    }

    #[test]
    fn zeros_under_a_loose_tolerance_close_the_workload() {
        let small: Vec<f64> = (0..100).map(|index| f64::from(index) / 100.0 - 0.5).collect();
        let open = gate(&small, &LOOSE).unwrap_err();
        assert_eq!(open.null, NullOutput::Constant(0.0));
        assert_eq!(open.to_string(), "output `y` cannot be judged on this workload: 0 everywhere would pass");
        assert_eq!(gate(&small, &Tolerance::default()), Ok(()));
    }

    #[test]
    fn an_output_that_hardly_varies_is_no_judge() {
        let flat: Vec<f64> = (0..100).map(|index| 40.0 + f64::from(index) / 1000.0).collect();
        assert!(
            matches!(gate(&flat, &Tolerance::default()).unwrap_err().null, NullOutput::Constant(value) if value > 39.0)
        );
    }

    #[test]
    fn an_output_equal_to_an_input_or_to_the_last_answer_is_no_judge() {
        let expected: Vec<f64> = (0..8).map(f64::from).collect();
        let half = &expected[..4];
        let tolerance = Tolerance::default();
        let with = |previous, inputs: &[(&'static str, &[f64])]| {
            null_gate("y", &expected, previous, inputs.iter().copied(), &tolerance)
        };
        assert_eq!(with(None, &[("x", half)]), Ok(()), "repeated, it differs");
        assert_eq!(
            with(None, &[("x", half), ("z", &expected)]).unwrap_err().null,
            NullOutput::Input("z".to_owned())
        );
        assert_eq!(with(Some(&expected), &[]).unwrap_err().null, NullOutput::Stale);
        assert_eq!(with(Some(half), &[("none", &[])]), Ok(()));
    }
}
