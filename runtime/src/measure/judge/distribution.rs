//! What random inputs look like: by element type as FlashInfer-Bench draws them, and for operators
//! that we know, also as a model would feed them.

use proofmark_packager::interop::flashinfer::{Definition, Dtype, TensorSpec};
use serde::{Deserialize, Serialize};

/// A family of inputs. A kernel that is only right for one of them is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// What FlashInfer-Bench draws: standard normal floats, integers of a fixed range.
    Standard,
    /// What a model feeds this operator, where we know it; otherwise as [`Profile::Standard`].
    Plausible,
    /// Floats four times as wide as [`Profile::Standard`]: finds kernels that rely on a range.
    Wide,
}

impl Profile {
    /// Every family, in the order in which a judge goes round.
    pub const ALL: [Self; 3] = [Self::Standard, Self::Plausible, Self::Wide];
}

/// How one tensor's elements are distributed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Distribution {
    /// Close to normal: the sum of eight uniforms, at most 4.9 deviations from the mean.
    Bell {
        /// The mean.
        mean: f32,
        /// The standard deviation.
        deviation: f32,
        /// Values beyond plus or minus this are moved onto it.
        limit: f32,
    },
    /// Uniform from `low` to just below `high`, in 2^24 steps.
    Flat {
        /// The smallest value.
        low: f32,
        /// The bound above.
        high: f32,
    },
    /// Whole numbers from `low` on, `span` of them.
    Whole {
        /// The smallest value.
        low: i64,
        /// How many values; at least one.
        span: u32,
    },
}

impl Distribution {
    const STANDARD: Self = Self::bell(1.0);

    const fn bell(deviation: f32) -> Self {
        Self::Bell { mean: 0.0, deviation, limit: f32::INFINITY }
    }

    /// The distribution of one input of a definition.
    pub fn of_input(definition: &Definition, input: &str, spec: &TensorSpec, profile: Profile) -> Self {
        let base = Self::of_dtype(spec.dtype);
        if let Some(bound) = bounded(definition, input, spec) {
            return bound;
        }
        match profile {
            Profile::Wide => base.widened(),
            Profile::Plausible if definition.op_type() == "gdn" && spec.dtype.is_float() => {
                gated_delta_net(input).unwrap_or(base)
            }
            Profile::Standard | Profile::Plausible => base,
        }
    }

    /// What FlashInfer-Bench draws for an element type: `randn`, clamped to ±2 for eight bits and
    /// less; all of int8 and uint8; −1024 to 1023 for wider integers; both booleans.
    pub fn of_dtype(dtype: Dtype) -> Self {
        match dtype {
            Dtype::Float64 | Dtype::Float32 | Dtype::Float16 | Dtype::Bfloat16 => Self::STANDARD,
            Dtype::Float8E4m3fn | Dtype::Float8E5m2 | Dtype::Float4E2m1 => {
                Self::Bell { mean: 0.0, deviation: 1.0, limit: 2.0 }
            }
            Dtype::Int8 => Self::Whole { low: -128, span: 256 },
            Dtype::Uint8 => Self::Whole { low: 0, span: 256 },
            Dtype::Int16 | Dtype::Int32 | Dtype::Int64 => Self::Whole { low: -1024, span: 2048 },
            Dtype::Bool => Self::Whole { low: 0, span: 2 },
        }
    }

    /// Four times as wide, where the type is a float; integers often are indices and stay.
    fn widened(self) -> Self {
        const FACTOR: f32 = 4.0;
        match self {
            Self::Bell { mean, deviation, limit } => {
                Self::Bell { mean, deviation: FACTOR * deviation, limit: FACTOR * limit }
            }
            other => other,
        }
    }
}

/// Inputs that must be as a model feeds them, in every family: drawn otherwise, what is computed of them is not
/// finite or selects nothing. Scales of quantised tensors and of softmax are small and positive; the keys of a gated
/// delta net that runs over many tokens have length one, or its state grows without bound; the experts of this
/// rank begin at the first.
fn bounded(definition: &Definition, input: &str, spec: &TensorSpec) -> Option<Distribution> {
    let is_scalar = spec.shape.is_none();
    let runs_over_many_tokens =
        definition.op_type() == "gdn" && definition.inputs().get("cu_seqlens").is_some();
    match input {
        "q" | "k" if runs_over_many_tokens => gated_delta_net(input),
        "local_expert_offset" if is_scalar => Some(Distribution::Whole { low: 0, span: 1 }),
        "routed_scaling_factor" if is_scalar => Some(Distribution::Flat { low: 1.0, high: 2.5 }),
        "scale" | "sm_scale" if is_scalar && spec.dtype.is_float() => Some(SMALL),
        name if name.ends_with("_scale") && !is_scalar && spec.dtype.is_float() => Some(SMALL),
        _ => None,
    }
}

/// Small and positive.
const SMALL: Distribution = Distribution::Flat { low: 0.05, high: 0.15 };

/// Gated delta networks as Qwen3-Next initialises and feeds them: unit-length queries and keys of
/// 128 elements, decay rates exp(`A_log`) of 1 to 16, and `dt_bias` the inverse softplus of step
/// sizes of 0.001 to 0.1. Gate inputs come from a projection and are close to standard normal.
fn gated_delta_net(input: &str) -> Option<Distribution> {
    const UNIT_LENGTH: f32 = 0.088_388_35; // 1 / sqrt(128)
    match input {
        "q" | "k" => Some(Distribution::bell(UNIT_LENGTH)),
        "A_log" => Some(Distribution::Flat { low: 0.0, high: 2.772_588_7 }),
        "dt_bias" => Some(Distribution::Flat { low: -6.907_255, high: -2.252_168_6 }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(op_type: &str) -> Definition {
        let json = format!(
            r#"{{"name": "d", "op_type": "{op_type}", "axes": {{"n": {{}}}}, "outputs": {{}},
                "inputs": {{"A_log": {{"shape": ["n"], "dtype": "float32"}}, "index": {{"shape": ["n"], "dtype": "int32"}}}},
                "reference": "def run(A_log, index): pass"}}"#
        );
        Definition::from_json(&json).unwrap()
    }

    #[test]
    fn knows_what_feeds_a_gated_delta_net_and_nothing_else() {
        let of = |op_type, profile| {
            let definition = definition(op_type);
            let spec = definition.inputs().get("A_log").unwrap();
            Distribution::of_input(&definition, "A_log", spec, profile)
        };
        assert!(matches!(of("gdn", Profile::Plausible), Distribution::Flat { .. }));
        assert_eq!(of("gdn", Profile::Standard), Distribution::STANDARD);
        assert_eq!(of("moe", Profile::Plausible), Distribution::STANDARD);
        assert_eq!(of("moe", Profile::Wide), Distribution::bell(4.0));
    }

    #[test]
    fn never_widens_what_may_be_an_index() {
        let definition = definition("gdn");
        let spec = definition.inputs().get("index").unwrap();
        for profile in Profile::ALL {
            let expected = Distribution::Whole { low: -1024, span: 2048 };
            assert_eq!(Distribution::of_input(&definition, "index", spec, profile), expected);
        }
    }
}
