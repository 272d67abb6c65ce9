//! Inputs whose elements belong together: lengths, offsets, page tables, packed caches.
//!
//! Drawn element by element they would lead outside of their tensors, or select nothing. They are known by the
//! names that FlashInfer-Bench's definitions give them, and made on the host. Every content has its own.

use proofmark_packager::DigestBuilder;
use proofmark_packager::interop::flashinfer::{Definition, Dtype, InputSpec, Tensor, Workload};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;

use super::distribution::Distribution;
use super::element::encode_float;
use super::generator::{Recipe, Stream, generate};

/// Of this many rows of selected indices, one is padded.
const PADDED_EVERY: usize = 4;
/// What stands where nothing is selected.
const PADDING: i64 = -1;
/// How much likelier experts of this rank are: of two normal scores, the higher one as a rule.
const FAVOUR: f32 = 0.4;
/// How far a bias varies: less than the scores that it is added to.
const BIAS_DEVIATION: f32 = 0.1;

/// What of an input belongs together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Structure {
    /// Rising from zero to a total: where each sequence begins.
    Offsets {
        /// The last one.
        total: u64,
    },
    /// Lengths of sequences, from one bound to the other, both included.
    Lengths {
        /// The shortest.
        least: u64,
        /// The longest.
        most: u64,
    },
    /// Rows of numbers below a bound, each once in a row where there are enough.
    Numbers {
        /// The bound.
        below: u64,
        /// Whether some rows end with −1, which selects nothing.
        padded: bool,
    },
    /// Pages of eight-bit floats, followed by a binary32 scale for each token.
    PackedFloats {
        /// Tokens of a page.
        tokens: usize,
        /// Bytes of a token, its scale included.
        token_bytes: usize,
    },
    /// A bias of experts that favours those of this rank, so that a token selects some of them.
    Bias {
        /// The first favoured expert.
        first: u64,
        /// How many are favoured.
        count: u64,
    },
}

impl Structure {
    /// What of a workload's input belongs together; `None` where its elements are drawn one by one.
    pub fn of(definition: &Definition, workload: &Workload, input: &str, tensor: &Tensor) -> Option<Self> {
        let axis = |name: &str| {
            let constant = definition.axes().get(name).and_then(|axis| axis.constant);
            constant.or_else(|| workload.axes().get(name).copied())
        };
        let numbers = |below, padded| Self::Numbers { below, padded };
        match input {
            "cu_seqlens" => Some(Self::Offsets { total: axis("total_seq_len")? }),
            "qo_indptr" => Some(Self::Offsets { total: axis("total_q")? }),
            "kv_indptr" => Some(Self::Offsets { total: axis("num_kv_indices")? }),
            "seq_lens" => {
                let most = axis("max_num_pages")?.checked_mul(axis("page_size")?)?;
                Some(Self::Lengths { least: most.div_ceil(2).max(1), most })
            }
            "kv_last_page_len" => Some(Self::Lengths { least: 1, most: axis("page_size")? }),
            "block_table" | "kv_indices" => Some(numbers(axis("num_pages")?, false)),
            "sparse_indices" => Some(numbers(axis("num_pages")?.checked_mul(axis("page_size")?)?, true)),
            "k_index_cache_fp8" if tensor.dtype == Dtype::Int8 => {
                let extents = tensor.shape.as_deref()?;
                let last = usize::try_from(*extents.last()?).ok()?;
                Some(Self::PackedFloats {
                    tokens: usize::try_from(axis("page_size")?).ok()?,
                    token_bytes: last.checked_sub(SCALE_BYTES).map(|_| last)?,
                })
            }
            "routing_bias" => {
                let first = match workload.source_of("local_expert_offset") {
                    InputSpec::Scalar(scalar) => scalar.as_f64(),
                    _ => 0.0,
                };
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
                Some(Self::Bias { first: first as u64, count: axis("num_local_experts")? })
            }
            _ => None,
        }
    }

    /// The bytes of one content.
    pub fn make(&self, tensor: &Tensor, seed: u64, uuid: &str, input: &str, index: u32) -> Vec<u8> {
        let key = DigestBuilder::new("proofmark/structure/1").number(seed).text(uuid).text(input);
        let mut dice = ChaCha12Rng::from_seed(*key.number(index.into()).finish().as_bytes());
        let count = usize::try_from(tensor.element_count).unwrap_or(0);
        let row = tensor.shape.as_deref().and_then(<[u64]>::last).map_or(1, |last| (*last).max(1));
        let row = usize::try_from(row).unwrap_or(1);
        match *self {
            Self::Offsets { total } => whole(tensor.dtype, &offsets(count, total, &mut dice)),
            Self::Lengths { least, most } => {
                let draw = |_| dice.random_range(least..=most.max(least)).cast_signed();
                whole(tensor.dtype, &(0..count).map(draw).collect::<Vec<_>>())
            }
            Self::Numbers { below, padded } => {
                let mut all = Vec::with_capacity(count);
                for number in 0..count / row {
                    let mut drawn = distinct(row, below, &mut dice);
                    if padded && number % PADDED_EVERY == PADDED_EVERY - 1 {
                        let kept = dice.random_range(row / 2..=row);
                        drawn[kept..].fill(PADDING);
                    }
                    all.extend(drawn);
                }
                whole(tensor.dtype, &all)
            }
            Self::PackedFloats { tokens, token_bytes } => {
                let random = Stream::new(seed, uuid, input, index);
                packed(count, tokens, token_bytes, &random, &mut dice)
            }
            Self::Bias { first, count: favoured } => {
                let random = Stream::new(seed, uuid, input, index);
                let bell = Distribution::Bell { mean: 0.0, deviation: BIAS_DEVIATION, limit: f32::INFINITY };
                let drawn = generate(&bell.into(), &random, Dtype::Float32, 0, count);
                let (words, _) = drawn.as_chunks();
                let values = (0..).zip(words).map(|(expert, word)| {
                    let favour = if (first..first + favoured).contains(&expert) { FAVOUR } else { 0.0 };
                    f32::from_le_bytes(*word) + favour
                });
                floats(tensor.dtype, values)
            }
        }
    }
}

/// Bytes of a token's scale.
const SCALE_BYTES: usize = 4;

/// Numbers that rise from zero to a total.
fn offsets(count: usize, total: u64, dice: &mut ChaCha12Rng) -> Vec<i64> {
    let mut all: Vec<i64> = (1..count.saturating_sub(1))
        .map(|_| dice.random_range(0..=total).cast_signed())
        .chain([0, total.cast_signed()])
        .take(count)
        .collect();
    all.sort_unstable();
    all
}

/// Numbers below a bound, each once where there are enough.
fn distinct(count: usize, below: u64, dice: &mut ChaCha12Rng) -> Vec<i64> {
    /// Up to this bound numbers are dealt; above it two equal ones are drawn again.
    const DEALT: u64 = 1 << 20;
    if below <= DEALT {
        let mut all: Vec<i64> = (0..below.cast_signed()).collect();
        let (dealt, _) = all.partial_shuffle(dice, count);
        let dealt = dealt.to_vec();
        return dealt.iter().copied().cycle().take(if dealt.is_empty() { 0 } else { count }).collect();
    }
    let mut seen = std::collections::HashSet::new();
    std::iter::repeat_with(|| dice.random_range(0..below).cast_signed())
        .filter(|number| seen.insert(*number))
        .take(count)
        .collect()
}

/// Pages of floats and scales.
fn packed(
    size: usize,
    tokens: usize,
    token_bytes: usize,
    random: &Stream,
    dice: &mut ChaCha12Rng,
) -> Vec<u8> {
    let floats = Recipe::from(Distribution::of_dtype(Dtype::Float8E4m3fn));
    let page = tokens * token_bytes;
    // One page is drawn, and the others are it, turned: what counts is that no two are alike.
    let values = generate(&floats, random, Dtype::Float8E4m3fn, 0, tokens * (token_bytes - SCALE_BYTES));
    let mut bytes = Vec::with_capacity(size);
    while bytes.len() + page <= size {
        let turn = dice.random_range(0..values.len());
        bytes.extend_from_slice(&values[turn..]);
        bytes.extend_from_slice(&values[..turn]);
        for _ in 0..tokens {
            bytes.extend(dice.random_range(0.5_f32..1.5).to_le_bytes());
        }
    }
    bytes.resize(size, 0);
    bytes
}

fn whole(dtype: Dtype, values: &[i64]) -> Vec<u8> {
    let width = usize::try_from(dtype.size_bits() / 8).expect("eight bytes at most");
    values.iter().flat_map(|value| value.to_le_bytes().into_iter().take(width)).collect()
}

fn floats(dtype: Dtype, values: impl Iterator<Item = f32>) -> Vec<u8> {
    let width = usize::try_from(dtype.size_bits() / 8).expect("eight bytes at most");
    values.flat_map(|value| encode_float(dtype, value).to_le_bytes().into_iter().take(width)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(shape: &[u64], dtype: Dtype) -> Tensor {
        let element_count = shape.iter().product();
        Tensor {
            dtype,
            shape: Some(shape.to_vec()),
            element_count,
            size_bytes: dtype.size_bytes(element_count).unwrap(),
        }
    }

    fn numbers(structure: &Structure, shape: &[u64], index: u32) -> Vec<i32> {
        let bytes = structure.make(&tensor(shape, Dtype::Int32), 7, "uuid", "x", index);
        bytes.as_chunks().0.iter().map(|word| i32::from_le_bytes(*word)).collect()
    }

    #[test]
    fn offsets_rise_from_zero_to_their_total_and_differ_from_content_to_content() {
        let structure = Structure::Offsets { total: 300 };
        let found = numbers(&structure, &[9], 0);
        assert!(found.is_sorted() && found[0] == 0 && found[8] == 300, "{found:?}");
        assert_ne!(found, numbers(&structure, &[9], 1));
        assert_eq!(found, numbers(&structure, &[9], 0));
        assert_eq!(numbers(&structure, &[2], 0), [0, 300]);
    }

    #[test]
    fn numbers_of_a_row_are_distinct_below_their_bound_and_some_rows_are_padded() {
        for below in [20, 1 << 30] {
            let found = numbers(&Structure::Numbers { below, padded: true }, &[8, 16], 3);
            for row in found.chunks(16) {
                let mut selected: Vec<_> = row.iter().filter(|number| **number != -1).collect();
                assert!(
                    selected.len() >= 8
                        && selected.iter().all(|number| u64::from(number.cast_unsigned()) < below)
                );
                selected.sort_unstable();
                selected.dedup();
                assert_eq!(selected.len(), row.iter().filter(|number| **number != -1).count());
            }
        }
        assert_eq!(numbers(&Structure::Numbers { below: 1, padded: false }, &[1, 3], 0), [0, 0, 0]);
    }

    #[test]
    fn a_packed_page_holds_finite_floats_and_scales_of_about_one() {
        let structure = Structure::PackedFloats { tokens: 4, token_bytes: 12 };
        let bytes = structure.make(&tensor(&[3, 4, 1, 12], Dtype::Int8), 1, "u", "k", 0);
        assert_eq!(bytes.len(), 3 * 48);
        for page in bytes.chunks(48) {
            assert!(page[..32].iter().all(|code| code & 0x7f <= 0x40));
            let scales = page[32..].as_chunks().0.iter().map(|word| f32::from_le_bytes(*word));
            assert!(scales.into_iter().all(|scale| (0.5..1.5).contains(&scale)));
        }
    }

    #[test]
    fn a_bias_favours_the_experts_of_this_rank() {
        let bytes =
            Structure::Bias { first: 4, count: 4 }.make(&tensor(&[16], Dtype::Float32), 1, "u", "b", 0);
        let values: Vec<f32> = bytes.as_chunks().0.iter().map(|word| f32::from_le_bytes(*word)).collect();
        let mean = |part: &[f32]| part.iter().sum::<f32>() / 4.0;
        assert!(mean(&values[4..8]) > mean(&values[8..12]) + 0.2, "{values:?}");
    }
}
