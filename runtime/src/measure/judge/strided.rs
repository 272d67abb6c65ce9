//! Tensors of the subject with gaps between their elements.
//!
//! The judge itself, and the reference, have every tensor contiguous. What the subject maps is filled with a pattern
//! first (a NaN in every float type, -1 in every integer), so that whoever reads a gap computes something else. After
//! the call the elements are gathered; spread over the pattern once more they must give what the subject left, or it
//! wrote into gaps.

use std::rc::Rc;

use proofmark_player::device::memory::DeviceBuffer;

use super::device::JudgeDevice;
use super::layout::{CallLayout, SlotLayout, TensorPlace};
use crate::measure::strides::Strides;
use crate::measure::subject::BenchError;

/// Contiguous slots that decoys are made in: a twin is made from the one before it.
pub(super) const CONTIGUOUS_SLOTS: u64 = 2;
/// Tensors whose strides are named.
const NAMED_COUNT: usize = 4;

/// What a trial with strided tensors needs beside.
#[derive(Debug)]
pub(super) struct Strided {
    strides: Strides,
    /// Where the subject's tensors lie.
    pub(super) layout: CallLayout,
    /// Slots as the judge has them.
    pub(super) contiguous: Rc<[DeviceBuffer; 2]>,
    /// One slot as the subject has it: what it is to look like.
    pub(super) due: [DeviceBuffer; 2],
}

impl Strided {
    /// Allocates what is needed; nothing for contiguous tensors.
    pub(super) fn new(
        device: &JudgeDevice,
        layout: &CallLayout,
        strides: Strides,
    ) -> Result<Option<Self>, BenchError> {
        if strides.is_contiguous() {
            return Ok(None);
        }
        let spread = layout.spread(strides);
        let allocate = |bytes| DeviceBuffer::allocate(&device.gpu, bytes);
        let slots = |layout: &SlotLayout| allocate(layout.slot_bytes.saturating_mul(CONTIGUOUS_SLOTS));
        Ok(Some(Self {
            strides,
            contiguous: Rc::new([slots(&layout.inputs)?, slots(&layout.outputs)?]),
            due: [allocate(spread.inputs.slot_bytes)?, allocate(spread.outputs.slot_bytes)?],
            layout: spread,
        }))
    }

    /// Why nothing can be seen of strides on this workload.
    pub(super) fn refusal(&self) -> Option<String> {
        let mut places = self.layout.inputs.places.iter().chain(&self.layout.outputs.places);
        if places.any(|place| place.spread.has_gaps()) {
            return None;
        }
        let reason = match self.strides {
            Strides::Rows => "every tensor of it is one row: `--strided elements` puts gaps into rows",
            Strides::Contiguous | Strides::Elements => "no tensor of it has two elements of whole bytes",
        };
        Some(format!("nothing of it can be strided: {reason}"))
    }

    /// Which tensors have gaps, and which have none.
    pub(super) fn note(&self) -> String {
        let places = || self.layout.inputs.places.iter().chain(&self.layout.outputs.places);
        let names = |gaps: bool| {
            let named = places().filter(|place| place.spread.has_gaps() == gaps);
            named.map(|place| format!("`{}`", place.name)).collect::<Vec<_>>().join(", ")
        };
        let contiguous = names(false);
        let rest = if contiguous.is_empty() { String::new() } else { format!("; contiguous: {contiguous}") };
        let how = if self.strides == Strides::Rows { "rows" } else { "elements" };
        format!("strided, with gaps between {how}: {}{rest}", names(true))
    }

    /// What is added to a finding that strides may explain.
    pub(super) fn explanation(&self) -> String {
        let places = self.layout.inputs.places.iter().chain(&self.layout.outputs.places);
        let apart = places.filter(|place| place.spread.has_gaps());
        let one = |place: &TensorPlace| format!("`{}` {:?}", place.name, place.spread.strides);
        let named: Vec<_> = apart.take(NAMED_COUNT).map(one).collect();
        format!(
            "its tensors are strided here, and not contiguous ({}): it may take them for contiguous",
            named.join(", ")
        )
    }
}
