//! How a tensor's elements lie in its place: stretches of one length, one a pitch.

use proofmark_packager::interop::flashinfer::Tensor;

use crate::measure::strides::Strides;

/// Bytes between two rows that lie apart. What a row's start is aligned to by its length stays so up to this many
/// bytes: a kernel that follows strides may go on loading vectors.
const GAP_BYTES: u64 = 64;

/// How a tensor's elements lie in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spread {
    /// Elements from one index of an axis to the next, outermost first.
    pub strides: Vec<u64>,
    /// Bytes of a stretch without gaps.
    pub length: u64,
    /// Bytes from the start of one stretch to the start of the next.
    pub pitch: u64,
    /// How many stretches there are.
    pub count: u64,
}

impl Spread {
    /// Elements without gaps.
    pub fn contiguous(tensor: &Tensor) -> Self {
        Self {
            strides: row_major(tensor),
            length: tensor.size_bytes,
            pitch: tensor.size_bytes,
            count: u64::from(tensor.size_bytes > 0),
        }
    }

    /// Elements with gaps between them, where a tensor can have such: a single row has none between its rows, and
    /// elements of less than a byte have none between themselves.
    pub fn new(tensor: &Tensor, strides: Strides) -> Self {
        let bits = tensor.dtype.size_bits();
        let apart = match strides {
            Strides::Contiguous => None,
            Strides::Rows => Self::rows(tensor, bits),
            Strides::Elements => Self::elements(tensor, bits),
        };
        apart.filter(Self::has_gaps).unwrap_or_else(|| Self::contiguous(tensor))
    }

    fn rows(tensor: &Tensor, bits: u64) -> Option<Self> {
        let row = *tensor.shape.as_deref()?.last()?;
        let count = tensor.element_count.checked_div(row)?;
        let row_bits = row.checked_mul(bits)?;
        if !row_bits.is_multiple_of(8) {
            return None;
        }
        let (length, gap) = (row_bits / 8, GAP_BYTES * 8 / bits);
        let wider = |stride: u64| if stride < row { stride } else { stride / row * (row + gap) };
        let mut strides: Vec<u64> = row_major(tensor).into_iter().map(wider).collect();
        *strides.last_mut()? = 1;
        Some(Self { strides, length, pitch: length + GAP_BYTES, count })
    }

    fn elements(tensor: &Tensor, bits: u64) -> Option<Self> {
        if !bits.is_multiple_of(8) {
            return None;
        }
        let strides = row_major(tensor).into_iter().map(|stride| stride.saturating_mul(2)).collect();
        Some(Self { strides, length: bits / 8, pitch: bits / 4, count: tensor.element_count })
    }

    /// Whether something lies between the elements.
    pub fn has_gaps(&self) -> bool {
        self.count > 1
    }

    /// Bytes that the place takes, the gap behind the last stretch included.
    pub fn room_bytes(&self) -> u64 {
        self.pitch.saturating_mul(self.count)
    }
}

fn row_major(tensor: &Tensor) -> Vec<u64> {
    let shape = tensor.shape.as_deref().unwrap_or(&[]);
    let mut strides = vec![1_u64; shape.len()];
    for axis in (0..shape.len().saturating_sub(1)).rev() {
        strides[axis] = strides[axis + 1].saturating_mul(shape[axis + 1]);
    }
    strides
}

#[cfg(test)]
mod tests {
    use proofmark_packager::interop::flashinfer::Dtype;

    use super::*;

    fn tensor(dtype: Dtype, shape: &[u64]) -> Tensor {
        let element_count = shape.iter().product();
        let size_bytes = dtype.size_bytes(element_count).unwrap();
        Tensor { dtype, shape: Some(shape.to_vec()), element_count, size_bytes }
    }

    /// Where each element lies, in bits, by its strides and by the stretches: both must say the same.
    fn places(tensor: &Tensor, spread: &Spread) -> [Vec<u64>; 2] {
        let (shape, bits) = (tensor.shape.as_deref().unwrap(), tensor.dtype.size_bits());
        let by_strides = |element: u64| {
            let (mut rest, mut place) = (element, 0);
            for (extent, stride) in shape.iter().zip(&spread.strides).rev() {
                place += rest % extent * stride;
                rest /= extent;
            }
            place * bits
        };
        let by_stretches = |element: u64| {
            let at = element * bits;
            at / (spread.length * 8) * spread.pitch * 8 + at % (spread.length * 8)
        };
        let all = 0..tensor.element_count;
        [all.clone().map(by_strides).collect(), all.map(by_stretches).collect()]
    }

    #[test]
    fn strides_and_stretches_place_every_element_alike() {
        for dtype in [Dtype::Float32, Dtype::Bfloat16, Dtype::Float8E4m3fn, Dtype::Int64, Dtype::Float4E2m1] {
            for shape in [&[2, 3, 4][..], &[5, 2], &[7], &[1, 6], &[3, 1], &[]] {
                let tensor = tensor(dtype, shape);
                for strides in [Strides::Contiguous, Strides::Rows, Strides::Elements] {
                    let spread = Spread::new(&tensor, strides);
                    let [by_strides, by_stretches] = places(&tensor, &spread);
                    assert_eq!(by_strides, by_stretches, "{dtype} {shape:?} {strides:?} {spread:?}");
                    let end = by_strides.last().unwrap() + tensor.dtype.size_bits();
                    assert!(end.div_ceil(8) <= spread.room_bytes(), "{dtype} {shape:?} {strides:?}");
                    assert!(spread.length * spread.count >= tensor.size_bytes, "{dtype} {shape:?}");
                }
            }
        }
    }

    #[test]
    fn what_can_have_no_gaps_stays_contiguous() {
        let gaps = |dtype, shape: &[u64], strides| Spread::new(&tensor(dtype, shape), strides).has_gaps();
        assert!(gaps(Dtype::Bfloat16, &[2, 128], Strides::Rows));
        assert!(!gaps(Dtype::Bfloat16, &[128], Strides::Rows));
        assert!(!gaps(Dtype::Bfloat16, &[1, 1, 128], Strides::Rows));
        assert!(gaps(Dtype::Bfloat16, &[128], Strides::Elements));
        assert!(!gaps(Dtype::Float4E2m1, &[4, 32], Strides::Elements));
        assert!(gaps(Dtype::Float4E2m1, &[4, 32], Strides::Rows));
        assert!(!gaps(Dtype::Float4E2m1, &[4, 33], Strides::Rows));
        assert!(!gaps(Dtype::Float32, &[0, 4], Strides::Rows));
        assert!(!gaps(Dtype::Float32, &[4, 0], Strides::Elements));
    }

    #[test]
    fn rows_keep_their_alignment() {
        let spread = Spread::new(&tensor(Dtype::Bfloat16, &[3, 128]), Strides::Rows);
        assert_eq!((spread.strides.as_slice(), spread.pitch), (&[160, 1][..], 320));
    }
}
