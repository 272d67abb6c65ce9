//! Element types as bytes: how a value becomes bits, and bits a value.
//!
//! Floats narrow to nearest, ties to even, and saturate at the largest finite value where the
//! type is eight bits or less. The narrow formats are coded by one rule that needs no table and no
//! library, so that a GPU can follow it bit for bit: with `e` the exponent of |x|, at least that
//! of the smallest normal number, and `m` the mantissa bits,
//!
//! ```text
//! n    = |x| / 2^(e − m) rounded to nearest, ties to even      (exact scaling, 0 ≤ n ≤ 2^(m+1))
//! code = ((e + bias − 1) << m) + n, at most the largest finite code;   sign bit on top
//! ```
//!
//! A carry out of `n` lands in the exponent by itself, and subnormals need no case of their own.

use half::{bf16, f16};
use proofmark_packager::interop::flashinfer::Dtype;
use rayon::prelude::*;

/// A float format of at most eight bits.
struct Narrow {
    exponent_bits: u32,
    mantissa_bits: u32,
    largest_code: u8,
}

const E4M3FN: Narrow = Narrow { exponent_bits: 4, mantissa_bits: 3, largest_code: 0x7e };
const E5M2: Narrow = Narrow { exponent_bits: 5, mantissa_bits: 2, largest_code: 0x7b };
const E2M1: Narrow = Narrow { exponent_bits: 2, mantissa_bits: 1, largest_code: 0x7 };

impl Narrow {
    fn bias(&self) -> i32 {
        (1 << (self.exponent_bits - 1)) - 1
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "codes fit their type by construction"
    )]
    fn encode(&self, value: f32) -> u8 {
        let bits = value.to_bits();
        let magnitude = f32::from_bits(bits & 0x7fff_ffff);
        let exponent = ((bits >> 23 & 0xff).cast_signed() - 127).max(1 - self.bias());
        let quantum = power_of_two(exponent - self.mantissa_bits.cast_signed());
        // Infinite values and those beyond the range all end at the largest code.
        let count = (magnitude / quantum).round_ties_even().min(512.0) as i32;
        let code = ((exponent + self.bias() - 1) << self.mantissa_bits) + count;
        let sign = (bits >> 31) as u8;
        (sign << (self.exponent_bits + self.mantissa_bits)) | code.min(i32::from(self.largest_code)) as u8
    }

    fn decode(&self, code: u8) -> f32 {
        let mantissa = u32::from(code) & ((1 << self.mantissa_bits) - 1);
        let exponent = u32::from(code) >> self.mantissa_bits & ((1 << self.exponent_bits) - 1);
        let hidden = if exponent == 0 { 0 } else { 1 << self.mantissa_bits };
        let scale =
            power_of_two(exponent.max(1).cast_signed() - self.bias() - self.mantissa_bits.cast_signed());
        #[expect(clippy::cast_precision_loss, reason = "at most four bits")]
        let significand = (hidden + mantissa) as f32;
        self.sign(code) * significand * scale
    }

    fn sign(&self, code: u8) -> f32 {
        if code >> (self.exponent_bits + self.mantissa_bits) & 1 == 1 { -1.0 } else { 1.0 }
    }
}

/// Two to a power within the normal range of binary32.
#[expect(clippy::cast_sign_loss, reason = "every caller's power lies within −126 to 127")]
fn power_of_two(power: i32) -> f32 {
    f32::from_bits(((power + 127) as u32) << 23)
}

/// Makes a value an element of a float type; the bits stand in the low end.
///
/// # Panics
/// For a type that is no float: callers match on the type first.
pub(super) fn encode_float(dtype: Dtype, value: f32) -> u64 {
    u64::from(match dtype {
        Dtype::Float64 => return f64::from(value).to_bits(),
        Dtype::Float32 => value.to_bits(),
        Dtype::Float16 => u32::from(f16::from_f32(value).to_bits()),
        Dtype::Bfloat16 => u32::from(bf16::from_f32(value).to_bits()),
        Dtype::Float8E4m3fn => u32::from(E4M3FN.encode(value)),
        Dtype::Float8E5m2 => u32::from(E5M2.encode(value)),
        Dtype::Float4E2m1 => u32::from(E2M1.encode(value)),
        Dtype::Int64 | Dtype::Int32 | Dtype::Int16 | Dtype::Int8 | Dtype::Uint8 | Dtype::Bool => {
            unreachable!("an integer type has no float coding")
        }
    })
}

/// The value of one element of a dense little-endian tensor; `None` past its end. Whole numbers
/// beyond 2^53 round.
#[expect(clippy::cast_precision_loss, reason = "documented")]
pub fn decode(dtype: Dtype, bytes: &[u8], index: usize) -> Option<f64> {
    Some(match dtype {
        Dtype::Float32 => f64::from(f32::from_le_bytes(element(bytes, index)?)),
        Dtype::Float16 => f16::from_le_bytes(element(bytes, index)?).to_f64(),
        Dtype::Bfloat16 => bf16::from_le_bytes(element(bytes, index)?).to_f64(),
        Dtype::Float8E4m3fn => f64::from(decode_e4m3fn(*bytes.get(index)?)),
        Dtype::Float8E5m2 => f64::from(decode_e5m2(*bytes.get(index)?)),
        Dtype::Float4E2m1 => f64::from(E2M1.decode(nibble(*bytes.get(index / 2)?, index))),
        Dtype::Int64 => i64::from_le_bytes(element(bytes, index)?) as f64,
        Dtype::Int32 => f64::from(i32::from_le_bytes(element(bytes, index)?)),
        Dtype::Int16 => f64::from(i16::from_le_bytes(element(bytes, index)?)),
        Dtype::Int8 => f64::from(i8::from_le_bytes(element(bytes, index)?)),
        Dtype::Bool => f64::from(u8::from(*bytes.get(index)? != 0)),
        Dtype::Uint8 => f64::from(*bytes.get(index)?),
        Dtype::Float64 => f64::from_le_bytes(element(bytes, index)?),
    })
}

/// The values of a whole dense little-endian tensor; `None` where its size does not match. Whole
/// numbers beyond 2^53 round.
#[expect(clippy::cast_precision_loss, reason = "documented")]
pub fn decode_all(dtype: Dtype, bytes: &[u8], count: usize) -> Option<Vec<f64>> {
    if dtype.size_bytes(count as u64) != Some(bytes.len() as u64) {
        return None;
    }
    Some(match dtype {
        Dtype::Float32 => each(bytes, |word| f64::from(f32::from_le_bytes(word))),
        Dtype::Float16 => each(bytes, |word| f16::from_le_bytes(word).to_f64()),
        Dtype::Bfloat16 => each(bytes, |word| bf16::from_le_bytes(word).to_f64()),
        Dtype::Float8E4m3fn => each(bytes, |[code]| f64::from(decode_e4m3fn(code))),
        Dtype::Float8E5m2 => each(bytes, |[code]| f64::from(decode_e5m2(code))),
        Dtype::Float4E2m1 => {
            let value = |index: usize| f64::from(E2M1.decode(nibble(bytes[index / 2], index)));
            (0..count).map(value).collect()
        }
        Dtype::Int64 => each(bytes, |word| i64::from_le_bytes(word) as f64),
        Dtype::Int32 => each(bytes, |word| f64::from(i32::from_le_bytes(word))),
        Dtype::Int16 => each(bytes, |word| f64::from(i16::from_le_bytes(word))),
        Dtype::Int8 => each(bytes, |word| f64::from(i8::from_le_bytes(word))),
        Dtype::Bool => each(bytes, |[byte]| f64::from(u8::from(byte != 0))),
        Dtype::Uint8 => each(bytes, |[byte]| f64::from(byte)),
        Dtype::Float64 => each(bytes, f64::from_le_bytes),
    })
}

fn each<const SIZE: usize>(bytes: &[u8], value: impl Fn([u8; SIZE]) -> f64 + Sync + Send) -> Vec<f64> {
    /// Elements that are worth a thread.
    const SHARE: usize = 1 << 16;
    bytes.as_chunks().0.par_iter().with_min_len(SHARE).map(|word| value(*word)).collect()
}

/// The distance of neighbouring values of a float type around a value: one unit in the last
/// place. `None` for an integer type or a value that is not finite.
pub fn spacing(dtype: Dtype, value: f64) -> Option<f64> {
    let (mantissa_bits, least_exponent) = match dtype {
        Dtype::Float32 => (23, -126),
        Dtype::Float16 => (10, -14),
        Dtype::Bfloat16 => (7, -126),
        Dtype::Float8E4m3fn => (3, -6),
        Dtype::Float8E5m2 => (2, -14),
        Dtype::Float4E2m1 => (1, 0),
        // Below this the unit is no normal number, and no output is that small.
        Dtype::Float64 => (52, -970),
        Dtype::Int64 | Dtype::Int32 | Dtype::Int16 | Dtype::Int8 | Dtype::Uint8 | Dtype::Bool => {
            return None;
        }
    };
    // The exponent's bits, not a logarithm: exact just below a power of two.
    let exponent = (value.to_bits() >> 52 & 0x7ff) as i32 - 1023;
    let power = exponent.max(least_exponent) - mantissa_bits;
    // From −1022 on: always a normal number of double precision.
    value.is_finite().then(|| f64::from_bits(u64::from((power + 1023).unsigned_abs()) << 52))
}

fn element<const SIZE: usize>(bytes: &[u8], index: usize) -> Option<[u8; SIZE]> {
    let start = index.checked_mul(SIZE)?;
    bytes.get(start..start.checked_add(SIZE)?)?.try_into().ok()
}

fn nibble(byte: u8, index: usize) -> u8 {
    if index.is_multiple_of(2) { byte & 0xf } else { byte >> 4 }
}

fn decode_e4m3fn(code: u8) -> f32 {
    if code & 0x7f == 0x7f { f32::NAN } else { E4M3FN.decode(code) }
}

fn decode_e5m2(code: u8) -> f32 {
    match code & 0x7f {
        0x7c => E5M2.sign(code) * f32::INFINITY,
        0x7d.. => f32::NAN,
        _ => E5M2.decode(code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finite_code_of_the_narrow_formats_reads_back() {
        for (dtype, codes) in
            [(Dtype::Float8E4m3fn, 256_u32), (Dtype::Float8E5m2, 256), (Dtype::Float4E2m1, 16)]
        {
            for code in 0..codes {
                let byte = u8::try_from(code).unwrap();
                let value = decode(dtype, &[byte], 0).unwrap();
                if value.is_finite() {
                    #[expect(clippy::cast_possible_truncation, reason = "a narrow value fits")]
                    let back = encode_float(dtype, value as f32);
                    assert_eq!(back, u64::from(code), "{dtype} {code:#x} {value}");
                }
            }
        }
    }

    #[test]
    fn narrow_formats_round_to_the_nearest_value_and_ties_to_even() {
        for dtype in [Dtype::Float8E4m3fn, Dtype::Float8E5m2, Dtype::Float4E2m1] {
            let highest = if dtype == Dtype::Float4E2m1 { 0x7 } else { 0x77 };
            let value = |code: u8| decode(dtype, &[code], 0).unwrap();
            for code in 0..highest {
                #[expect(clippy::cast_possible_truncation, reason = "a narrow midpoint fits")]
                let middle = f64::midpoint(value(code), value(code + 1)) as f32;
                let even = u64::from(code + code % 2);
                assert_eq!(encode_float(dtype, middle), even, "{dtype} {code:#x}");
                assert_eq!(encode_float(dtype, middle.next_down()), u64::from(code), "{dtype} {code:#x}");
                assert_eq!(encode_float(dtype, middle.next_up()), u64::from(code + 1), "{dtype} {code:#x}");
            }
        }
    }

    #[test]
    fn narrow_formats_saturate() {
        for value in [1e9, f32::INFINITY, f32::MAX] {
            assert_eq!(encode_float(Dtype::Float8E4m3fn, value), 0x7e);
            assert_eq!(encode_float(Dtype::Float8E5m2, -value), 0xfb);
            assert_eq!(encode_float(Dtype::Float4E2m1, value), 0x7);
        }
        assert_eq!(decode(Dtype::Float8E4m3fn, &[0x7e], 0), Some(448.0));
        assert_eq!(decode(Dtype::Float8E5m2, &[0x7b], 0), Some(57_344.0));
        assert_eq!(decode(Dtype::Float4E2m1, &[0x7], 0), Some(6.0));
    }

    #[test]
    fn reads_a_whole_tensor_as_it_reads_each_element() {
        let bytes: Vec<u8> = (0..=255).collect();
        for dtype in Dtype::ALL {
            let count = usize::try_from(256 * 8 / dtype.size_bits()).unwrap();
            let all = decode_all(dtype, &bytes, count).unwrap();
            for (index, value) in all.iter().enumerate() {
                assert_eq!(decode(dtype, &bytes, index).map(f64::to_bits), Some(value.to_bits()), "{dtype}");
            }
            assert_eq!(decode_all(dtype, &bytes, count + 2), None);
        }
    }

    #[test]
    fn knows_the_distance_of_neighbouring_values() {
        for dtype in [Dtype::Float8E4m3fn, Dtype::Float8E5m2, Dtype::Float4E2m1] {
            let highest = if dtype == Dtype::Float4E2m1 { 0x7 } else { 0x77 };
            let value = |code: u8| decode(dtype, &[code], 0).unwrap();
            for code in 0..highest {
                assert_eq!(
                    spacing(dtype, value(code)),
                    Some(value(code + 1) - value(code)),
                    "{dtype} {code:#x}"
                );
            }
        }
        assert_eq!(spacing(Dtype::Bfloat16, 1.0), Some(f64::powi(2.0, -7)));
        assert_eq!(spacing(Dtype::Float16, 0.0), Some(f64::powi(2.0, -24)));
        assert_eq!(spacing(Dtype::Int32, 1.0), None);
        assert_eq!(spacing(Dtype::Float64, 1.0), Some(f64::EPSILON));
        assert_eq!(spacing(Dtype::Float64, 0.0), Some(f64::MIN_POSITIVE));
        assert_eq!(spacing(Dtype::Float32, f64::INFINITY), None);
    }

    #[test]
    fn knows_where_a_tensor_ends() {
        assert_eq!(decode(Dtype::Bfloat16, &[0x80, 0x3f, 0], 0), Some(1.0));
        assert_eq!(decode(Dtype::Bfloat16, &[0x80, 0x3f, 0], 1), None);
        assert_eq!(decode(Dtype::Float4E2m1, &[0x21], 1), Some(1.0));
        assert_eq!(decode(Dtype::Int64, &[0xff; 8], 0), Some(-1.0));
        assert_eq!(decode(Dtype::Float32, &[], usize::MAX), None);
        assert_eq!(decode(Dtype::Uint8, &[1, 0xff], 1), Some(255.0));
        assert_eq!(decode(Dtype::Float64, &0.1_f64.to_le_bytes(), 0), Some(0.1));
        assert_eq!(encode_float(Dtype::Float64, -0.5), (-0.5_f64).to_bits());
        assert!(decode(Dtype::Float8E5m2, &[0xfc], 0).unwrap().is_infinite());
        assert!(decode(Dtype::Float8E4m3fn, &[0xff], 0).unwrap().is_nan());
    }
}
