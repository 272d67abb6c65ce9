//! Random inputs that are the same bytes on every machine, whether a CPU or a GPU makes them.
//!
//! # Exact specification, version 1
//!
//! **Identity.** A tensor is named by seed, workload uuid, tensor name and iteration. Its key is
//! the first eight bytes, read as two little-endian words, of the framed digest with domain
//! `proofmark/input/1` over the number `seed`, the text `uuid` and the text `name`. An element is
//! made from [`philox`] with that key and the counter
//! `[low word of b, high word of b, iteration, 0]`, where `b` numbers the block that the element
//! belongs to. No element depends on another.
//!
//! **Element `e` of a [`Recipe`]**, with every float operation a single IEEE binary32 operation
//! rounded to nearest even (on a GPU: `__fmul_rn`, `__fadd_rn`, never contracted):
//!
//! | form | block `b` | integer `i` | value |
//! |---|---|---|---|
//! | [`Form::Bell`] | `e` | Σ over the block's four words of (low half + high half), minus 262140 | `clamp(f32(i) × multiplier + offset, −limit, limit)` |
//! | [`Form::Flat`] | `e / 4` | word `e mod 4` of the block, shifted right by 8 | the same |
//! | [`Form::Whole`] | `e / 4` | (word `e mod 4` as 64 bits × `span`) shifted right by 32 | `low + i` |
//!
//! Both integers of the float forms are below 2^24, so `f32(i)` is exact. The sum of eight
//! uniforms of 16 bits has mean 262140 and variance 8·(2^32 − 1)/12 = 2863311530; it stands in
//! for a normal variable because it needs neither logarithm nor sine, which differ between
//! libraries. It is symmetric, its kurtosis is 2.85 instead of 3, and it ends at 4.9 deviations.
//! A `Bell`'s multiplier is `f32(f64(deviation) / sqrt(2863311530.0))`, a `Flat`'s is
//! `(high − low) × 2^−24` in binary32; both are computed on the host and handed to the kernel.
//!
//! **Bits.** Floats become elements by the rules of [`element`](super::element): to nearest, ties
//! to even. Whole numbers keep their low bits. Elements lie densely, little-endian; four-bit
//! elements lie two a byte, the even one in the low half, and a last unpaired half is zero.

use proofmark_packager::DigestBuilder;
use proofmark_packager::interop::flashinfer::{Dtype, Scalar};

use super::distribution::Distribution;
use super::element::{decode, encode_float};
use super::philox::philox;

/// Variance of the sum of eight uniforms on 0 to 65535.
const BELL_VARIANCE: f64 = 2_863_311_530.0;
/// Twice the mean of such a sum is its largest value.
const BELL_MEAN: i32 = 262_140;

/// Which stream of random numbers: one tensor of one workload at one iteration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stream {
    /// The generator's key.
    pub key: [u32; 2],
    /// Third word of the counter.
    pub iteration: u32,
}

impl Stream {
    /// The stream of a tensor.
    pub fn new(seed: u64, workload_uuid: &str, tensor: &str, iteration: u32) -> Self {
        let digest =
            DigestBuilder::new("proofmark/input/1").number(seed).text(workload_uuid).text(tensor).finish();
        let bytes = digest.as_bytes();
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        Self { key: [word(0), word(4)], iteration }
    }

    #[expect(clippy::cast_possible_truncation, reason = "the two halves of a counter")]
    fn block(&self, index: u64) -> [u32; 4] {
        philox([index as u32, (index >> 32) as u32, self.iteration, 0], self.key)
    }
}

/// Which integer an element starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Form {
    /// The centred sum of eight halves of words.
    Bell = 0,
    /// 24 bits of one word.
    Flat = 1,
    /// A whole number below the span.
    Whole = 2,
}

/// The numbers that a kernel needs to make elements; computed on the host, once.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C)]
pub struct Recipe {
    /// Which integer an element starts from.
    pub form: Form,
    /// Factor of the float forms.
    pub multiplier: f32,
    /// Summand of the float forms.
    pub offset: f32,
    /// Largest magnitude of the float forms; may be infinite.
    pub limit: f32,
    /// Summand of the whole form.
    pub low: i64,
    /// How many values the whole form has.
    pub span: u32,
}

impl From<Distribution> for Recipe {
    #[expect(clippy::cast_possible_truncation, reason = "the rounding is part of the specification")]
    fn from(distribution: Distribution) -> Self {
        let blank =
            Self { form: Form::Bell, multiplier: 0.0, offset: 0.0, limit: f32::INFINITY, low: 0, span: 1 };
        match distribution {
            Distribution::Bell { mean, deviation, limit } => {
                let multiplier = (f64::from(deviation) / BELL_VARIANCE.sqrt()) as f32;
                Self { multiplier, offset: mean, limit, ..blank }
            }
            Distribution::Flat { low, high } => {
                let multiplier = (high - low) * f32::powi(2.0, -24);
                Self { form: Form::Flat, multiplier, offset: low, ..blank }
            }
            Distribution::Whole { low, span } => Self { form: Form::Whole, low, span, ..blank },
        }
    }
}

impl Recipe {
    fn float(&self, stream: &Stream, element: u64) -> f32 {
        #[expect(clippy::cast_precision_loss, reason = "both integers are below 2^24")]
        let integer = match self.form {
            Form::Bell => bell(stream.block(element)) as f32,
            Form::Flat | Form::Whole => (word(stream, element) >> 8) as f32,
        };
        // Two roundings, never a fused one: Rust does not contract.
        (integer * self.multiplier + self.offset).clamp(-self.limit, self.limit)
    }

    fn whole(&self, stream: &Stream, element: u64) -> i64 {
        let scaled = (u64::from(word(stream, element)) * u64::from(self.span)) >> 32;
        self.low.wrapping_add_unsigned(scaled)
    }
}

#[expect(clippy::cast_possible_wrap, reason = "a sum of eight halves is below 2^20")]
fn bell(words: [u32; 4]) -> i32 {
    words.iter().map(|word| ((word & 0xffff) + (word >> 16)) as i32).sum::<i32>() - BELL_MEAN
}

fn word(stream: &Stream, element: u64) -> u32 {
    stream.block(element / 4)[(element % 4) as usize]
}

/// Makes the elements of a tensor from `first` on, `count` of them, as dense bytes. `first` must be
/// even for four-bit elements; an odd one counts as the even one before it.
///
/// A float recipe for an integer type truncates towards zero, and a whole recipe for a float type
/// narrows: [`Distribution`] pairs neither.
pub fn generate(recipe: &Recipe, stream: &Stream, dtype: Dtype, first: u64, count: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(count.saturating_mul(8).min(1 << 30));
    if dtype == Dtype::Float4E2m1 {
        let first = first & !1;
        for pair in 0..count.div_ceil(2) {
            let at = |offset: usize| bits(recipe, stream, dtype, first + offset as u64) & 0xf;
            let high = if 2 * pair + 1 < count { at(2 * pair + 1) } else { 0 };
            bytes.push((at(2 * pair) | high << 4).to_le_bytes()[0]);
        }
        return bytes;
    }
    for element in first..first + count as u64 {
        let bits = bits(recipe, stream, dtype, element).to_le_bytes();
        bytes.extend_from_slice(&bits[..(dtype.size_bits() / 8) as usize]);
    }
    bytes
}

/// Makes the value of a scalar that a workload leaves to us: element 0 of its stream.
pub fn generate_scalar(recipe: &Recipe, stream: &Stream, dtype: Dtype) -> Scalar {
    match dtype {
        Dtype::Bool => Scalar::Bool(recipe.whole(stream, 0) != 0),
        dtype if !dtype.is_float() => Scalar::Integer(recipe.whole(stream, 0)),
        dtype => {
            let bytes = generate(recipe, stream, dtype, 0, 1);
            Scalar::Float(decode(dtype, &bytes, 0).unwrap_or_default())
        }
    }
}

#[expect(
    clippy::cast_sign_loss,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "bits of a signed number; the mixed pairs are documented as narrowing"
)]
fn bits(recipe: &Recipe, stream: &Stream, dtype: Dtype, element: u64) -> u64 {
    match (dtype.is_float(), recipe.form) {
        (true, Form::Whole) => encode_float(dtype, recipe.whole(stream, element) as f32),
        (true, _) => encode_float(dtype, recipe.float(stream, element)),
        (false, Form::Whole) => recipe.whole(stream, element) as u64,
        (false, _) => recipe.float(stream, element) as i64 as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(distribution: Distribution, dtype: Dtype, count: usize) -> Vec<f64> {
        let stream = Stream::new(7, "uuid", "x", 3);
        let bytes = generate(&distribution.into(), &stream, dtype, 0, count);
        (0..count).map(|index| decode(dtype, &bytes, index).unwrap()).collect()
    }

    #[expect(clippy::cast_precision_loss, reason = "a count of samples")]
    fn moment(values: &[f64], power: i32) -> f64 {
        values.iter().map(|value| value.powi(power)).sum::<f64>() / values.len() as f64
    }

    #[test]
    fn the_bell_has_the_moments_that_it_claims() {
        let values = values(Distribution::of_dtype(Dtype::Float32), Dtype::Float32, 200_000);
        assert!(moment(&values, 1).abs() < 0.01);
        assert!((moment(&values, 2) - 1.0).abs() < 0.01);
        assert!(moment(&values, 3).abs() < 0.03);
        assert!((moment(&values, 4) - 2.85).abs() < 0.05);
        let largest = values.iter().copied().fold(0.0, f64::max);
        assert!((3.8..4.9).contains(&largest), "{largest}");
    }

    #[test]
    fn whole_numbers_fill_their_range_and_no_more() {
        let bytes = values(Distribution::of_dtype(Dtype::Int8), Dtype::Int8, 20_000);
        for expected in -128..128 {
            assert!(bytes.contains(&f64::from(expected)), "{expected}");
        }
        let wide = values(Distribution::of_dtype(Dtype::Int64), Dtype::Int64, 50_000);
        assert!(wide.iter().all(|value| (-1024.0..1024.0).contains(value)));
        let both = values(Distribution::of_dtype(Dtype::Bool), Dtype::Bool, 10_000);
        assert!((moment(&both, 1) - 0.5).abs() < 0.02);
    }

    #[test]
    fn limits_and_bounds_hold() {
        let clamped = values(Distribution::of_dtype(Dtype::Float8E4m3fn), Dtype::Float8E4m3fn, 10_000);
        assert!(clamped.iter().all(|value| value.abs() <= 2.0));
        assert!(clamped.contains(&2.0) && clamped.contains(&-2.0));
        let flat = values(Distribution::Flat { low: -6.5, high: -2.25 }, Dtype::Float32, 10_000);
        assert!(flat.iter().all(|value| (-6.5..-2.25).contains(value)));
        assert!((moment(&flat, 1) + 4.375).abs() < 0.05);
    }

    #[test]
    fn every_part_of_the_identity_changes_the_bytes() {
        let recipe = Recipe::from(Distribution::of_dtype(Dtype::Bfloat16));
        let make = |stream: Stream| generate(&recipe, &stream, Dtype::Bfloat16, 0, 64);
        let base = make(Stream::new(1, "u", "x", 0));
        assert_eq!(base, make(Stream::new(1, "u", "x", 0)));
        for other in [
            Stream::new(2, "u", "x", 0),
            Stream::new(1, "v", "x", 0),
            Stream::new(1, "u", "y", 0),
            Stream::new(1, "u", "x", 1),
            Stream::new(1, "ux", "", 0),
        ] {
            assert_ne!(base, make(other), "{other:?}");
        }
    }

    #[test]
    fn a_part_of_a_tensor_is_the_same_as_in_the_whole() {
        let stream = Stream::new(1, "u", "x", 9);
        for dtype in Dtype::ALL {
            let recipe = Recipe::from(Distribution::of_dtype(dtype));
            let whole = generate(&recipe, &stream, dtype, 0, 103);
            let part = generate(&recipe, &stream, dtype, 38, 65);
            let start = usize::try_from(38 * dtype.size_bits() / 8).unwrap();
            assert_eq!(whole[start..], part, "{dtype}");
            assert_eq!(Some(whole.len() as u64), dtype.size_bytes(103));
        }
        let far =
            generate(&Recipe::from(Distribution::of_dtype(Dtype::Int8)), &stream, Dtype::Int8, 1 << 40, 4);
        assert_eq!(far.len(), 4);
    }

    /// Version 1 of the specification, pinned: whoever changes these bytes must change the domain.
    #[test]
    fn the_bytes_of_version_1_never_change() {
        let stream = Stream::new(2026, "known", "x", 5);
        assert_eq!(stream.key, [0xdfc9_9a0a, 0x3eb1_65e0]);
        let standard = |dtype| (dtype, Recipe::from(Distribution::of_dtype(dtype)));
        let flat = Recipe::from(Distribution::Flat { low: 0.0, high: 2.772_588_7 });
        for ((dtype, recipe), expected) in [
            (standard(Dtype::Float32), "e32fd43d9255de3f8120c13dcb3034be"),
            (standard(Dtype::Float16), "a12ef33e092ea2b1"),
            (standard(Dtype::Bfloat16), "d43dde3fc13d34be"),
            (standard(Dtype::Float8E4m3fn), "1d3e1ca3"),
            (standard(Dtype::Float8E5m2), "2f3f2eb2"),
            (standard(Dtype::Float4E2m1), "3080"),
            (standard(Dtype::Int64), "e80100000000000064ffffffffffffff93fcfffffffffffff3feffffffffffff"),
            (standard(Dtype::Int32), "e801000064ffffff93fcfffff3feffff"),
            (standard(Dtype::Int16), "e80164ff93fcf3fe"),
            (standard(Dtype::Int8), "3dec92de"),
            (standard(Dtype::Bool), "01000000"),
            ((Dtype::Float32, flat), "26020340897f963fdd4a4c3ea4ea823f"),
        ] {
            let made = generate(&recipe, &stream, dtype, 0, 4);
            let pinned =
                (0..expected.len()).step_by(2).map(|at| u8::from_str_radix(&expected[at..at + 2], 16));
            assert_eq!(made, pinned.collect::<Result<Vec<_>, _>>().unwrap(), "{dtype}");
        }
    }
}
