//! What a problem's `data` and answer hold, as a person says it: `a: float16[m, k], c: float32[m] -> c: float32[m]`.
//!
//! A problem says so in its Python alone. Dimensions are names of the problem's arguments, or numbers; without any, it
//! is a number and no tensor. A dictionary is said with its keys: `w: {norm.weight: float32[k], eps: float32}`; a
//! kernel gets what it holds as `w_norm_weight` and `w_eps`. A tensor that stands on both sides is a buffer that `data`
//! brings for an output.

use std::fmt;
use std::str::FromStr;

use super::data::{Data, Held};
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

/// One tensor or number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureTensor {
    /// Its name.
    pub name: String,
    /// Its element type.
    pub dtype: Dtype,
    /// Its dimensions, outermost first; `None` is a number.
    pub shape: Option<Vec<Dimension>>,
}

/// What goes in and what comes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// How `data` holds it, in its order.
    pub(super) data: Data,
    /// What `data` holds, dictionaries taken apart.
    pub tensors: Vec<SignatureTensor>,
    /// What the answer holds, in its order.
    pub outputs: Vec<SignatureTensor>,
}

/// A text that is no signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{reason}: expected such as `x: float16[rows, 128], w: {{scale: float32[128], eps: float32}} -> y: float32[rows]`"
)]
pub struct SignatureError {
    /// What is wrong, and where.
    pub reason: String,
}

impl Signature {
    /// Whether an output has its buffer in `data`.
    pub fn brings(&self, output: &str) -> bool {
        self.tensors.iter().any(|one| one.name == output)
    }

    /// What a kernel reads: `data` without the buffers of outputs.
    pub fn inputs(&self) -> impl Iterator<Item = &SignatureTensor> {
        self.tensors.iter().filter(|one| self.outputs.iter().all(|output| output.name != one.name))
    }

    /// Every dimension of what goes in and what comes out.
    pub(super) fn dimensions(&self) -> impl Iterator<Item = &Dimension> {
        self.tensors.iter().chain(&self.outputs).flat_map(|one| one.shape.iter().flatten())
    }

    /// The arguments that dimensions name, each once, in their order.
    pub fn arguments(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for dimension in self.dimensions() {
            if let Dimension::Argument(name) = dimension
                && !names.contains(&name.as_str())
            {
                names.push(name);
            }
        }
        names
    }

    fn check(&self) -> Result<(), SignatureError> {
        let refuse = |reason: String| Err(SignatureError { reason });
        if self.outputs.is_empty() || self.inputs().all(|one| one.shape.is_none()) {
            return refuse("a tensor that goes in and one that comes out are needed".to_owned());
        }
        for tensors in [&self.tensors, &self.outputs] {
            for (index, tensor) in tensors.iter().enumerate() {
                if tensors[..index].iter().any(|other| other.name == tensor.name) {
                    return refuse(format!("`{}` stands twice on one side", tensor.name));
                }
            }
        }
        for output in &self.outputs {
            if output.shape.is_none() {
                return refuse(format!("`{}` is an answer without dimensions", output.name));
            }
            if let Some(buffer) = self.tensors.iter().find(|one| one.name == output.name)
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
        let (data, tensors) = data_of(data)?;
        let outputs = parts(outputs).into_iter().map(tensor).collect::<Result<_, _>>()?;
        let signature = Self { data, tensors, outputs };
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

/// What `data` holds, and the same with its dictionaries taken apart.
fn data_of(text: &str) -> Result<(Data, Vec<SignatureTensor>), SignatureError> {
    let (mut held, mut tensors) = (Vec::new(), Vec::new());
    for part in parts(text) {
        let (name, rest) = named(part, is_name)?;
        if let Some(entries) = rest.strip_prefix('{') {
            let entries = entries.strip_suffix('}').ok_or_else(|| refuse(part, "does not end with `}`"))?;
            let mut keys = Vec::new();
            for entry in parts(entries) {
                let (key, rest) = named(entry, is_key)?;
                let name = format!("{name}_{}", key.replace('.', "_"));
                tensors.push(typed(entry, name.clone(), rest)?);
                keys.push((key.to_owned(), name));
            }
            if keys.is_empty() {
                return Err(refuse(part, "is a dictionary that holds nothing"));
            }
            held.push(Held::Dictionary(keys));
        } else {
            tensors.push(typed(part, name.to_owned(), rest)?);
            held.push(Held::Value(name.to_owned()));
        }
    }
    Ok((Data(held), tensors))
}

/// The parts of a list: commas stand between them, and between what stands in brackets.
fn parts(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut begin, mut depth) = (0, 0_i32);
    for (at, one) in text.char_indices() {
        match one {
            '[' | '{' => depth += 1,
            ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[begin..]);
    parts.into_iter().map(str::trim).filter(|part| !part.is_empty()).collect()
}

fn refuse(part: &str, what: &str) -> SignatureError {
    SignatureError { reason: format!("`{}` {what}", escape::line(part)) }
}

/// The name in front of a part, and what is behind its colon.
fn named(part: &str, is_name: fn(&str) -> bool) -> Result<(&str, &str), SignatureError> {
    let (name, rest) = part.split_once(':').ok_or_else(|| refuse(part, "has no type"))?;
    let (name, rest) = (name.trim(), rest.trim());
    if !is_name(name) {
        return Err(refuse(part, "does not begin with a name of letters, digits and `_`"));
    }
    if rest.to_ascii_lowercase().starts_with("dict") {
        let way_out = "is a dictionary: say what it holds, as in `w: {scale: float32[128], eps: float32}`";
        return Err(refuse(part, way_out));
    }
    Ok((name, rest))
}

fn tensor(part: &str) -> Result<SignatureTensor, SignatureError> {
    let (name, rest) = named(part, is_name)?;
    typed(part, name.to_owned(), rest)
}

/// A tensor or a number by its type.
fn typed(part: &str, name: String, text: &str) -> Result<SignatureTensor, SignatureError> {
    let (dtype, shape) = text.split_once('[').map_or((text, None), |(dtype, shape)| (dtype, Some(shape)));
    let dtype =
        dtype.trim().parse::<Dtype>().map_err(|error| SignatureError { reason: error.to_string() })?;
    let dimension = |text: &str| match text.parse() {
        Ok(number) if number > 0 => Ok(Dimension::Number(number)),
        _ if is_name(text) => Ok(Dimension::Argument(text.to_owned())),
        _ => Err(refuse(part, "has a dimension that is neither a name nor a positive number")),
    };
    let shape = match shape {
        None => None,
        Some(shape) => {
            let shape =
                shape.trim().strip_suffix(']').ok_or_else(|| refuse(part, "does not end with `]`"))?;
            Some(shape.split(',').map(str::trim).map(dimension).collect::<Result<_, _>>()?)
        }
    };
    Ok(SignatureTensor { name, dtype, shape })
}

/// A key of a dictionary: names with dots between them, as torch names weights.
fn is_key(text: &str) -> bool {
    let is_part =
        |part: &str| !part.is_empty() && part.chars().all(|one| one.is_ascii_alphanumeric() || one == '_');
    text.split('.').all(is_part)
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
        let shape = vec![Dimension::Argument("m".to_owned()), Dimension::Number(128)];
        assert_eq!(read.tensors[0].shape, Some(shape));
        assert_eq!(read.inputs().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["a"]);
        assert!(read.brings("c"));
    }

    #[test]
    fn a_dictionary_is_taken_apart_and_a_type_without_dimensions_is_a_number() {
        let text = "x: uint8[n], w: {norm.weight: float32[n], 0.eps: float64}, k: int32 -> y: float32[n]";
        let read: Signature = text.parse().unwrap();
        let names: Vec<_> = read.inputs().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["x", "w_norm_weight", "w_0_eps", "k"]);
        let are_numbers: Vec<_> = read.inputs().map(|one| one.shape.is_none()).collect();
        assert_eq!(are_numbers, [false, false, true, true]);
        assert_eq!(
            read.data.to_value().to_string(),
            r#"["x",{"norm.weight":"w_norm_weight","0.eps":"w_0_eps"},"k"]"#
        );
    }

    #[test]
    fn what_is_none_is_refused_by_name() {
        for (text, expected) in [
            ("a: float16[m]", "no `->`"),
            ("a: float16[m] ->", "a tensor that goes in and one that comes out"),
            ("a: float16 -> b: float32[m]", "a tensor that goes in and one that comes out"),
            ("a: float16[m] -> b: float32", "`b` is an answer without dimensions"),
            ("a: float16[m], w: {} -> b: float32[m]", "is a dictionary that holds nothing"),
            ("a: float16[m], w: {s: {t: float16[m]}} -> b: float32[m]", "names no dtype"),
            ("a: float16[m], w: {s: float16[m] -> b: float32[m]", "does not end with `}`"),
            ("a: float16[m], w: {s t: float16[m]} -> b: float32[m]", "does not begin with a name"),
            ("a: float16[m], w: {a.b: float16, a_b: float16} -> b: float32[m]", "`w_a_b` stands twice"),
            ("a: float16[m] -> w: {s: float16[m]}", "names no dtype"),
            ("a: float17[m] -> b: float32[m]", "`float17` names no dtype"),
            ("a: float16[m], w: dict[str, float16] -> b: float32[m]", "is a dictionary: say what it holds"),
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
