//! What a problem's `data` and answer hold, as a person says it: `a: float16[m, k], c: float32[m] -> c: float32[m]`.
//!
//! A problem says so in its Python alone. Dimensions are names of the problem's arguments, or numbers. A tensor
//! that stands on both sides is a buffer that `data` brings for an output.

use std::fmt;
use std::str::FromStr;

use crate::escape;
use crate::interop::flashinfer::Dtype;

/// One dimension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dimension {
    /// An argument of the problem.
    Argument(String),
    /// A number.
    Number(u64),
}

/// One tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureTensor {
    /// Its name.
    pub name: String,
    /// Its element type.
    pub dtype: Dtype,
    /// Its dimensions, outermost first.
    pub shape: Vec<Dimension>,
}

/// What goes in and what comes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// What `data` holds, in its order.
    pub data: Vec<SignatureTensor>,
    /// What the answer holds, in its order.
    pub outputs: Vec<SignatureTensor>,
}

/// A text that is no signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: expected such as `x: float16[rows, 128] -> y: float32[rows]`")]
pub struct SignatureError {
    /// What is wrong, and where.
    pub reason: String,
}

impl Signature {
    /// Whether an output has its buffer in `data`.
    pub fn brings(&self, output: &str) -> bool {
        self.data.iter().any(|one| one.name == output)
    }

    /// What a kernel reads: `data` without the buffers of outputs.
    pub fn inputs(&self) -> impl Iterator<Item = &SignatureTensor> {
        self.data.iter().filter(|one| self.outputs.iter().all(|output| output.name != one.name))
    }

    /// The arguments that dimensions name, each once, in their order.
    pub fn arguments(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for tensor in self.data.iter().chain(&self.outputs) {
            for dimension in &tensor.shape {
                if let Dimension::Argument(name) = dimension
                    && !names.contains(&name.as_str())
                {
                    names.push(name);
                }
            }
        }
        names
    }

    fn check(&self) -> Result<(), SignatureError> {
        let refuse = |reason: String| Err(SignatureError { reason });
        if self.outputs.is_empty() || self.inputs().next().is_none() {
            return refuse("an input and an output are needed".to_owned());
        }
        for tensors in [&self.data, &self.outputs] {
            for (index, tensor) in tensors.iter().enumerate() {
                if tensors[..index].iter().any(|other| other.name == tensor.name) {
                    return refuse(format!("`{}` stands twice on one side", tensor.name));
                }
            }
        }
        for output in &self.outputs {
            if let Some(buffer) = self.data.iter().find(|one| one.name == output.name)
                && buffer != output
            {
                return refuse(format!("`{}` is another tensor on the other side", output.name));
            }
        }
        Ok(())
    }
}

impl FromStr for Signature {
    type Err = SignatureError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let sides = text.split_once("->");
        let (data, outputs) =
            sides.ok_or_else(|| SignatureError { reason: "there is no `->`".to_owned() })?;
        let signature = Self { data: tensors(data)?, outputs: tensors(outputs)? };
        signature.check()?;
        Ok(signature)
    }
}

impl fmt::Display for Dimension {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argument(name) => formatter.write_str(name),
            Self::Number(number) => write!(formatter, "{number}"),
        }
    }
}

/// The tensors of one side: commas stand between them, and between dimensions inside brackets.
fn tensors(text: &str) -> Result<Vec<SignatureTensor>, SignatureError> {
    let mut parts = Vec::new();
    let (mut begin, mut depth) = (0, 0_i32);
    for (at, one) in text.char_indices() {
        match one {
            '[' => depth += 1,
            ']' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[begin..]);
    parts.into_iter().map(str::trim).filter(|part| !part.is_empty()).map(tensor).collect()
}

fn tensor(text: &str) -> Result<SignatureTensor, SignatureError> {
    let refuse = |what: &str| SignatureError { reason: format!("`{}` {what}", escape::line(text)) };
    let (name, rest) = text.split_once(':').ok_or_else(|| refuse("has no type"))?;
    let name = name.trim();
    if !is_name(name) {
        return Err(refuse("does not begin with a name of letters, digits and `_`"));
    }
    if rest.trim_start().to_ascii_lowercase().starts_with("dict") {
        return Err(refuse(
            "is a dictionary, which no signature can say: only tensors that stand by themselves",
        ));
    }
    let (dtype, shape) = rest.split_once('[').ok_or_else(|| refuse("has no dimensions"))?;
    let shape = shape.trim().strip_suffix(']').ok_or_else(|| refuse("does not end with `]`"))?;
    let dtype =
        dtype.trim().parse::<Dtype>().map_err(|error| SignatureError { reason: error.to_string() })?;
    let dimension = |text: &str| match text.parse() {
        Ok(number) if number > 0 => Ok(Dimension::Number(number)),
        _ if is_name(text) => Ok(Dimension::Argument(text.to_owned())),
        _ => Err(refuse("has a dimension that is neither a name nor a positive number")),
    };
    let shape = shape.split(',').map(str::trim).map(dimension).collect::<Result<_, _>>()?;
    Ok(SignatureTensor { name: name.to_owned(), dtype, shape })
}

fn is_name(text: &str) -> bool {
    let mut letters = text.chars();
    letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && letters.all(|one| one.is_ascii_alphanumeric() || one == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_tensors_with_names_and_numbers_as_dimensions() {
        let read: Signature = "a: float16[m, 128],c:float32[m] -> c: float32[m]".parse().unwrap();
        assert_eq!(read.arguments(), ["m"]);
        assert_eq!(read.data[0].shape, [Dimension::Argument("m".to_owned()), Dimension::Number(128)]);
        assert_eq!(read.inputs().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["a"]);
        assert!(read.brings("c"));
    }

    #[test]
    fn what_is_none_is_refused_by_name() {
        for (text, expected) in [
            ("a: float16[m]", "no `->`"),
            ("a: float16[m] ->", "an input and an output"),
            ("a: float17[m] -> b: float32[m]", "`float17` names no dtype"),
            ("a: float16 -> b: float32[m]", "`a: float16` has no dimensions"),
            (
                "a: float16[m], w: dict[str, float16] -> b: float32[m]",
                "is a dictionary, which no signature can say",
            ),
            ("a: float16[m*2] -> b: float32[m]", "neither a name nor a positive number"),
            ("a: float16[0] -> b: float32[m]", "neither a name nor a positive number"),
            ("a: float16[m], a: float16[m] -> b: float32[m]", "`a` stands twice"),
            ("a: float16[m], b: float16[m] -> b: float32[m]", "`b` is another tensor"),
            ("1a: float16[m] -> b: float32[m]", "does not begin with a name"),
            ("a: float16[m -> b: float32[m]", "does not end with `]`"),
        ] {
            let error = text.parse::<Signature>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
