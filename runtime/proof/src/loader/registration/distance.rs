//! Operands that are distances from the end of their instruction, and where they lead.

use std::ops::Range;

use super::argument::Operands;
use crate::bytes::u32_at;
pub(super) use crate::distance::target;
use crate::loader::wrapper::WRAPPER_BYTES;

/// A linked file's code: operands are distances from the instruction's end, or addresses of 32 bits.
pub(super) struct Linked<'a> {
    /// The bytes.
    pub(super) code: &'a [u8],
    /// Where they are loaded.
    pub(super) address: u64,
    /// Where wrappers stand.
    pub(super) wrappers: &'a [(u64, u64)],
}

impl Operands for Linked<'_> {
    fn is_wrapper(&self, at: usize) -> bool {
        self.wrapper_at(at).is_some()
    }
}

impl Linked<'_> {
    /// The wrapper whose address the operand at an offset is.
    pub(super) fn wrapper_at(&self, at: usize) -> Option<u64> {
        let absolute = u32_at(self.code, at).map(u64::from);
        let near = target(self.code, self.address, at);
        [near, absolute].into_iter().flatten().find(|&address| {
            self.wrappers.iter().any(|&(start, end)| {
                (start..end).contains(&address) && (address - start).is_multiple_of(WRAPPER_BYTES)
            })
        })
    }
}

/// Operands relative to the instruction (`mod` 0, `r/m` 5) that lead to what is meant: offset and place.
pub(super) fn near_operands(
    code: &[u8],
    address: u64,
    span: &Range<u64>,
    is_meant: impl Fn(u64) -> bool,
    range: Range<usize>,
) -> Vec<(usize, u64)> {
    let mut found = Vec::new();
    // The byte before an operand stands in the range, two opcodes before that in the code.
    let start = range.start.max(1);
    for (index, window) in code[start..code.len().min(range.end + 4)].windows(5).enumerate() {
        if window[0] & 0xC7 != 5 {
            continue;
        }
        let at = start + index + 1;
        let distance = i32::from_le_bytes([window[1], window[2], window[3], window[4]]);
        let place = address.wrapping_add(at as u64 + 4).wrapping_add_signed(distance.into());
        if span.contains(&place) && is_meant(place) {
            found.push((at, place));
        }
    }
    found
}
