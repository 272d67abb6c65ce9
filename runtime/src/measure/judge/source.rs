//! Where each input's contents come from, and how a fresh one is made on the GPU.

use std::borrow::Cow;
use std::path::Path;
use std::rc::Rc;

use proofmark_packager::DigestBuilder;
use proofmark_packager::interop::flashinfer::{Definition, Dtype, InputSpec, Scalar, Workload};

use super::distribution::{Distribution, Profile};
use super::generator::{Recipe, Stream as RandomStream, generate_scalar};
use super::layout::{CallLayout, TensorPlace, number};
use super::safetensors::TensorFile;
use super::structure::Structure;
use crate::measure::subject::BenchError;
use proofmark_player::device::error::DeviceError;
use proofmark_player::device::instruments::{FillRecipe, Instruments};
use proofmark_player::device::memory::{Region, copy, upload};
use proofmark_player::device::stream::Stream;
use proofmark_player::protocol::Argument;

/// Of this many contents in a row, the last is [`Profile::Wide`] and the one before
/// [`Profile::Plausible`]; the others are what FlashInfer-Bench draws.
const PROFILE_PERIOD: u32 = 8;
/// Every content whose number leaves this rest in four is a twin of the one before it: a kernel that
/// knows its inputs by a few of their bytes answers with the wrong output.
const TWIN_PERIOD: u32 = 4;
const TWIN_REST: u32 = 1;
/// A twin differs in one part in this many of its largest tensor.
const TWIN_SHARE: u64 = 16;
/// Iterations from here on belong to twins' fresh parts.
const TWIN_ITERATIONS: u32 = 1 << 24;

/// One tensor's source.
#[derive(Debug, Clone)]
enum TensorSource {
    Random(Drawn),
    Captured {
        bytes: Rc<Vec<u8>>,
        drawn: Drawn,
    },
    Structured(Structure),
    /// The definition's own function makes it.
    Custom,
}

/// How a tensor's random elements are made.
#[derive(Debug, Clone)]
struct Drawn {
    recipes: [Recipe; 3],
    name: String,
}

/// The sources of all of a workload's inputs.
#[derive(Debug)]
pub struct Sources {
    seed: u64,
    uuid: String,
    tensors: Vec<(TensorPlace, TensorSource)>,
    /// Every input in call order: a value, or `None` for the next tensor.
    values: Vec<Option<Argument>>,
    /// Scalars that the definition's own function gives: place among the values, and type.
    unknown_scalars: Vec<(usize, Dtype)>,
    /// The workload's variable axes in the definition's order, where the definition's own function makes inputs.
    axes: Option<Vec<i64>>,
}

impl Sources {
    /// Resolves a workload's inputs; reads captured ones.
    pub fn new(
        definition: &Definition,
        workload: &Workload,
        layout: &CallLayout,
        seed: u64,
        data_root: &Path,
    ) -> Result<Self, BenchError> {
        let mut sources = Self {
            seed,
            uuid: workload.uuid().to_owned(),
            tensors: Vec::new(),
            values: Vec::new(),
            unknown_scalars: Vec::new(),
            axes: workload.is_custom().then(|| axes_of(definition, workload)),
        };
        for (name, spec) in definition.inputs().iter() {
            let recipe = |profile| Recipe::from(Distribution::of_input(definition, name, spec, profile));
            let place = layout.inputs.places.iter().find(|place| place.name == name);
            let Some(place) = place else {
                if sources.axes.is_some() && !matches!(workload.source_of(name), InputSpec::Scalar(_)) {
                    sources.unknown_scalars.push((sources.values.len(), spec.dtype));
                }
                sources.values.push(Some(sources.scalar(
                    name,
                    spec.dtype,
                    workload,
                    &recipe(Profile::Standard),
                )));
                continue;
            };
            let drawn = Drawn { recipes: Profile::ALL.map(recipe), name: name.to_owned() };
            let source = match workload.source_of(name) {
                InputSpec::Safetensors { path, tensor_key } => {
                    let bytes = captured(&path.under(data_root), tensor_key, place, workload)?;
                    TensorSource::Captured { bytes: Rc::new(bytes), drawn }
                }
                InputSpec::Custom => TensorSource::Custom,
                _ => match Structure::of(definition, workload, name, &place.tensor) {
                    Some(structure) => TensorSource::Structured(structure),
                    None => TensorSource::Random(drawn),
                },
            };
            sources.values.push(None);
            sources.tensors.push((place.clone(), source));
        }
        Ok(sources)
    }

    /// The sources of contents that no scored call sees: the same scalars, since they are baked into a recorded
    /// launch, and the same captured whole numbers, which may be indices or lengths; every other element is drawn
    /// from another secret, captured floats too.
    #[must_use]
    pub fn decoys(&self, secret: u64) -> Self {
        let decoy = |(place, source): &(TensorPlace, TensorSource)| {
            let source = match source {
                TensorSource::Captured { drawn, .. } if place.tensor.dtype.is_float() => {
                    TensorSource::Random(drawn.clone())
                }
                source => source.clone(),
            };
            (place.clone(), source)
        };
        Self {
            seed: secret,
            uuid: self.uuid.clone(),
            tensors: self.tensors.iter().map(decoy).collect(),
            values: self.values.clone(),
            unknown_scalars: Vec::new(),
            axes: self.axes.clone(),
        }
    }

    /// Whether the definition's own function makes the tensors.
    pub(super) fn is_custom(&self) -> bool {
        self.axes.is_some()
    }

    /// The workload's variable axes, as the definition's own function is told them.
    pub(super) fn axes(&self) -> &[i64] {
        self.axes.as_deref().unwrap_or(&[])
    }

    /// The workload.
    pub(super) fn uuid(&self) -> &str {
        &self.uuid
    }

    /// The seed of a content, for the definition's own function.
    pub(super) fn function_seed(&self, index: u32) -> u32 {
        let content = DigestBuilder::new("proofmark/custom/1").number(self.seed).text(&self.uuid);
        let bytes = *content.number(index.into()).finish().as_bytes();
        u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    }

    /// Scalars that the definition's own function gives and that are not known yet: place among the values, and type.
    pub(super) fn unknown_scalars(&self) -> &[(usize, Dtype)] {
        &self.unknown_scalars
    }

    /// Sets the scalars that were not known.
    pub(super) fn set_scalars(&mut self, scalars: Vec<Scalar>) {
        for ((place, dtype), scalar) in std::mem::take(&mut self.unknown_scalars).into_iter().zip(scalars) {
            self.values[place] = Some(argument(scalar, dtype));
        }
    }

    /// Whether a content is made from the one before it.
    pub(super) fn is_twin(index: u32, has_previous: bool) -> bool {
        has_previous && index % TWIN_PERIOD == TWIN_REST
    }

    /// Every input in call order: a value, or `None` where a tensor stands.
    pub fn values(&self) -> &[Option<Argument>] {
        &self.values
    }

    /// Makes content number `index` in a slot. Contents must be made in order: a twin starts from
    /// the slot of the one before it.
    pub fn make(
        &self,
        index: u32,
        slot: Region,
        previous: Option<Region>,
        instruments: &Instruments,
        stream: &Stream,
    ) -> Result<(), DeviceError> {
        if let Some(previous) = previous.filter(|_| Self::is_twin(index, true)) {
            copy(previous, slot, stream)?;
            return self.differ(index, slot, instruments, stream);
        }
        for (place, source) in &self.tensors {
            let region = slot.part(place.offset, place.tensor.size_bytes)?;
            match source {
                TensorSource::Random(Drawn { recipes, name }) => {
                    let recipe = &recipes[profile_of(index)];
                    let random = RandomStream::new(self.seed, &self.uuid, name, index);
                    let count = place.tensor.element_count;
                    instruments.make(
                        region,
                        number(place.tensor.dtype),
                        &fill(recipe, &random),
                        count,
                        stream,
                    )?;
                }
                TensorSource::Structured(structure) => {
                    let bytes = structure.make(&place.tensor, self.seed, &self.uuid, &place.name, index);
                    upload(&bytes, region, stream)?;
                }
                TensorSource::Custom => {}
                TensorSource::Captured { bytes, .. } => {
                    upload(
                        &turned(bytes, place.tensor.dtype, index, self.order(index, place)),
                        region,
                        stream,
                    )?;
                    if index > 0 {
                        shuffle(region, place.tensor.dtype, self.order(index, place), stream)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Makes a part of the largest random tensor anew.
    fn differ(
        &self,
        index: u32,
        slot: Region,
        instruments: &Instruments,
        stream: &Stream,
    ) -> Result<(), DeviceError> {
        let largest = self
            .tensors
            .iter()
            .filter(|(place, source)| {
                let tensor = &place.tensor;
                let is_drawn = !matches!(source, TensorSource::Structured(_));
                is_drawn
                    && tensor.dtype.is_float()
                    && tensor.dtype.size_bits() >= 8
                    && tensor.element_count > 0
            })
            .max_by_key(|(place, _)| place.tensor.size_bytes);
        let Some((place, source)) = largest else { return Ok(()) };
        let region = slot.part(place.offset, place.tensor.size_bytes)?;
        match source {
            TensorSource::Random(Drawn { recipes, name }) => {
                let element_bytes = place.tensor.dtype.size_bits() / 8;
                let count = (place.tensor.element_count / TWIN_SHARE).max(1);
                let room = place.tensor.element_count - count + 1;
                let first = self.order(index, place) % room;
                let part = region.part(first * element_bytes, count * element_bytes)?;
                let random = RandomStream::new(self.seed, &self.uuid, name, TWIN_ITERATIONS + index);
                let recipe = fill(&recipes[0], &random);
                instruments.make(part, number(place.tensor.dtype), &recipe, count, stream)
            }
            TensorSource::Structured(_) => Ok(()),
            TensorSource::Captured { .. } | TensorSource::Custom => {
                shuffle(region, place.tensor.dtype, self.order(index, place), stream)
            }
        }
    }

    /// A secret number for one content and tensor.
    fn order(&self, index: u32, place: &TensorPlace) -> u64 {
        let secret = RandomStream::new(self.seed ^ 0x6F72_6465_7221, &self.uuid, &place.name, index);
        u64::from(secret.key[0]) << 32 | u64::from(secret.key[1])
    }

    fn scalar(&self, name: &str, dtype: Dtype, workload: &Workload, recipe: &Recipe) -> Argument {
        let scalar = match workload.source_of(name) {
            InputSpec::Scalar(scalar) => *scalar,
            _ => generate_scalar(recipe, &RandomStream::new(self.seed, &self.uuid, name, 0), dtype),
        };
        argument(scalar, dtype)
    }
}

/// A scalar as a call takes it.
fn argument(scalar: Scalar, dtype: Dtype) -> Argument {
    match (scalar, dtype) {
        (Scalar::Bool(value), Dtype::Bool) => Argument::Bool(value),
        (Scalar::Integer(value), dtype) if !dtype.is_float() => Argument::Int(value),
        (value, _) => Argument::Float(value.as_f64()),
    }
}

/// The values of a definition's variable axes, in its order.
fn axes_of(definition: &Definition, workload: &Workload) -> Vec<i64> {
    let value = |axis| workload.axes().get(axis).copied().unwrap_or_default();
    definition.variable_axes().map(|axis| i64::try_from(value(axis)).unwrap_or(i64::MAX)).collect()
}

fn profile_of(index: u32) -> usize {
    match PROFILE_PERIOD - 1 - index % PROFILE_PERIOD {
        0 => 2,
        1 => 1,
        _ => 0,
    }
}

/// Captured bytes for one content: the first as they are, later floats turned by a secret multiple of 16 bytes, so
/// that no element stands where it stood. Whole numbers stay: they may be indices that belong together.
fn turned(bytes: &[u8], dtype: Dtype, index: u32, secret: u64) -> Cow<'_, [u8]> {
    let steps = bytes.len() / 16;
    if index == 0 || !dtype.is_float() || steps < 2 {
        return Cow::Borrowed(bytes);
    }
    let by = 16 * (1 + usize::try_from(secret % (steps as u64 - 1)).unwrap_or(0));
    let mut turned = bytes.to_vec();
    turned.rotate_left(by);
    Cow::Owned(turned)
}

/// Fresh contents from captured ones: one stretch is overwritten with another of the same tensor, so
/// every value stays one that was captured. Only floats: integers may be indices that belong together.
fn shuffle(region: Region, dtype: Dtype, secret: u64, stream: &Stream) -> Result<(), DeviceError> {
    let length = region.size_bytes() / TWIN_SHARE / 16 * 16;
    if !dtype.is_float() || length == 0 {
        return Ok(());
    }
    let room = (region.size_bytes() - length) / 16 + 1;
    let from = region.part(secret % room * 16, length)?;
    let to = region.part((secret >> 20) % room * 16, length)?;
    if from.pointer().abs_diff(to.pointer()) < length {
        return Ok(()); // overlapping copies are undefined; this content stays as captured
    }
    copy(from, to, stream)
}

fn fill(recipe: &Recipe, random: &RandomStream) -> FillRecipe {
    FillRecipe {
        form: recipe.form as u32,
        multiplier: recipe.multiplier,
        offset: recipe.offset,
        limit: recipe.limit,
        low: recipe.low,
        span: recipe.span,
        key: random.key,
        iteration: random.iteration,
    }
}

fn captured(path: &Path, key: &str, place: &TensorPlace, workload: &Workload) -> Result<Vec<u8>, BenchError> {
    TensorFile::open(path).and_then(|file| file.tensor(key, &place.tensor)).map_err(|error| {
        BenchError::Captured { workload: workload.uuid().to_owned(), detail: error.to_string() }
    })
}

/// The recipe and stream of one input as the CPU generator takes them: what a GPU test compares with.
pub fn fill_recipe(recipe: &Recipe, random: &RandomStream) -> FillRecipe {
    fill(recipe, random)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captured_floats_are_turned_and_nothing_else_is() {
        let bytes: Vec<u8> = (0..64).collect();
        assert_eq!(&*turned(&bytes, Dtype::Float32, 0, 5), bytes);
        assert_eq!(&*turned(&bytes, Dtype::Int32, 3, 5), bytes);
        for secret in 0..20 {
            let turned = turned(&bytes, Dtype::Float32, 1, secret);
            assert_ne!(&*turned, bytes, "never as it was");
            let mut sorted = turned.to_vec();
            sorted.sort_unstable();
            assert_eq!(sorted, bytes);
        }
        assert_eq!(&*turned(&bytes[..20], Dtype::Float32, 1, 1), &bytes[..20], "too short to turn");
    }

    #[test]
    fn goes_round_the_families_of_inputs() {
        let families: Vec<_> = (0..8).map(profile_of).collect();
        assert_eq!(families, [0, 0, 0, 0, 0, 0, 1, 2]);
    }
}
