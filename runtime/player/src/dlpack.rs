//! Tensors as `DLPack` describes them: what TVM-FFI and Python's libraries take without a copy.

use std::ffi::c_void;

/// Where a tensor lives, as `DLPack` numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TensorDevice {
    /// Host memory.
    Cpu,
    /// The GPU with ordinal 0.
    Cuda,
}

impl TensorDevice {
    pub(crate) fn device_type(self) -> i32 {
        match self {
            Self::Cpu => 1,
            Self::Cuda => 2,
        }
    }
}

/// An element type as `DLPack` writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct DlDtype {
    /// int 0, uint 1, float 2, bfloat 4, bool 6, e4m3fn 10, e5m2 12, e2m1 17.
    pub code: u8,
    /// Bits of one element.
    pub bits: u8,
    /// Elements of one vector; 1.
    pub lanes: u16,
}

/// A tensor without an owner.
#[repr(C)]
pub(crate) struct DlTensor {
    pub(crate) data: *mut c_void,
    pub(crate) device_type: i32,
    pub(crate) device_id: i32,
    pub(crate) ndim: i32,
    pub(crate) dtype: DlDtype,
    pub(crate) shape: *mut i64,
    pub(crate) strides: *mut i64,
    pub(crate) byte_offset: u64,
}

/// Shape and strides that live as long as the tensor that points at them.
#[derive(Debug)]
pub(crate) struct Extents {
    shape: Vec<i64>,
    strides: Vec<i64>,
}

impl Extents {
    /// Those of contiguous memory.
    pub(crate) fn contiguous(shape: &[i64]) -> Self {
        let mut strides = vec![1_i64; shape.len()];
        for axis in (0..shape.len().saturating_sub(1)).rev() {
            strides[axis] = strides[axis + 1].saturating_mul(shape[axis + 1]);
        }
        Self { shape: shape.to_vec(), strides }
    }

    /// Those of memory in which elements lie as far apart as is said; as many strides as extents.
    pub(crate) fn strided(shape: &[i64], strides: &[i64]) -> Self {
        debug_assert_eq!(shape.len(), strides.len(), "a stride for each axis");
        Self { shape: shape.to_vec(), strides: strides.to_vec() }
    }

    /// A tensor over memory; it must not outlive these extents.
    pub(crate) fn tensor(&mut self, place: TensorDevice, data: *mut c_void, dtype: DlDtype) -> DlTensor {
        DlTensor {
            data,
            device_type: place.device_type(),
            device_id: 0,
            ndim: i32::try_from(self.shape.len()).unwrap_or(i32::MAX),
            dtype,
            shape: self.shape.as_mut_ptr(),
            strides: self.strides.as_mut_ptr(),
            byte_offset: 0,
        }
    }
}

/// How many bytes lie from a tensor's first element to behind its last; `None` where a stride is negative, where
/// there are not as many strides as extents, or where that is more than 64 bits say.
pub(crate) fn span_bytes(shape: &[i64], strides: &[i64], bits: u8) -> Option<u64> {
    if shape.len() != strides.len() {
        return None;
    }
    let mut last = 0_u64;
    for (extent, stride) in shape.iter().zip(strides) {
        let Some(steps) = u64::try_from(*extent).ok()?.checked_sub(1) else { return Some(0) };
        last = last.checked_add(steps.checked_mul(u64::try_from(*stride).ok()?)?)?;
    }
    Some(last.checked_add(1)?.checked_mul(u64::from(bits))?.div_ceil(8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_how_far_a_tensor_reaches() {
        assert_eq!(span_bytes(&[2, 3], &[3, 1], 32), Some(24));
        assert_eq!(span_bytes(&[2, 3], &[5, 1], 32), Some(32));
        assert_eq!(span_bytes(&[4], &[2], 16), Some(14));
        assert_eq!(span_bytes(&[], &[], 32), Some(4));
        assert_eq!(span_bytes(&[3], &[1], 4), Some(2));
        assert_eq!(span_bytes(&[0, 4], &[4, 1], 64), Some(0));
        for (shape, strides) in [(&[2][..], &[-1][..]), (&[-2], &[1]), (&[2], &[]), (&[3], &[i64::MAX])] {
            assert_eq!(span_bytes(shape, strides, 64), None, "{shape:?} {strides:?}");
        }
    }

    #[test]
    fn gives_contiguous_strides() {
        assert_eq!(Extents::contiguous(&[2, 3, 4]).strides, [12, 4, 1]);
        assert_eq!(Extents::contiguous(&[]).strides, [0_i64; 0]);
        assert_eq!(size_of::<DlTensor>(), 48);
    }
}
