//! What a call left, held against what was expected: on the GPU for every call, on the host for what is shown.

use super::comparison::{OutputComparison, verdict};
use super::device::JudgeDevice;
use super::element::decode;
use super::layout::{TensorPlace, number};
use super::null_gate::null_gate;
use super::session::Stop;
use super::set;
use super::trial::{Side, Trial};
use crate::measure::verdict::Verdict;
use proofmark_player::device::instruments::OutputPair;
use proofmark_player::device::memory::{DeviceBuffer, download};

/// The null gate looks at this many elements first; only where they would pass, at all of them.
const GATE_GLANCE: u64 = 1 << 16;
/// A comparison in full looks at this many elements at most: more would take seconds on the host.
const DETAIL_LIMIT: u64 = 4 << 20;

impl Trial<'_> {
    /// Says why this workload cannot judge: an output that nobody computed would pass.
    pub fn refusal(&self) -> Result<Option<String>, Stop> {
        match self.gate(GATE_GLANCE)? {
            None => Ok(None),
            Some(_) => self.gate(u64::MAX),
        }
    }

    fn gate(&self, limit: u64) -> Result<Option<String>, Stop> {
        // Content 2 is nobody's twin, so its expected outputs are those of other inputs.
        let (current, stale) = (0, 2.min(self.contents - 1));
        let secret = &self.device.secret;
        let mut inputs = Vec::new();
        for place in &self.layout.inputs.places {
            inputs.push((place.name.as_str(), self.values(&secret[0], current, Side::Inputs, place, limit)?));
        }
        for place in &self.layout.outputs.places {
            if self.sets.contains(&place.name) {
                let expected = self.whole(&secret[1], current, place)?;
                let previous = self.whole(&secret[1], stale, place)?;
                let refused = set::refusal(&place.name, &expected, &previous, row_of(place), &self.tolerance);
                if refused.is_some() {
                    return Ok(refused);
                }
                continue;
            }
            let expected = self.values(&secret[1], current, Side::Outputs, place, limit)?;
            if let Some(broken) = expected.iter().position(|value| !value.is_finite()) {
                let name = &place.name;
                return Ok(Some(format!(
                    "the reference's output `{name}` is not finite at element {broken}"
                )));
            }
            let previous = self.values(&secret[1], stale, Side::Outputs, place, limit)?;
            let named = inputs.iter().map(|(name, values)| (*name, values.as_slice()));
            if let Err(open) = null_gate(&place.name, &expected, Some(&previous), named, &self.tolerance) {
                return Ok(Some(open.to_string()));
            }
        }
        Ok(None)
    }

    /// Compares a slot's outputs with what was expected of a content, and its inputs with the content.
    pub(super) fn check(
        &mut self,
        content: usize,
        blocks: &[DeviceBuffer; 2],
        slot: usize,
    ) -> Result<(), Stop> {
        let JudgeDevice { secret, stream, instruments, .. } = self.device;
        let tolerances = (self.tolerance.atol, self.tolerance.rtol);
        let mut outputs = Vec::new();
        let in_order = || self.layout.outputs.places.iter().filter(|place| !self.sets.contains(&place.name));
        for place in in_order() {
            let dtype = number(place.tensor.dtype);
            outputs.push(OutputPair {
                found: self.tensor(&blocks[1], slot, Side::Outputs, place)?,
                found_dtype: dtype,
                expected: self.tensor(&secret[1], content, Side::Outputs, place)?,
                expected_dtype: dtype,
                count: place.tensor.element_count,
            });
        }
        let (found, made) =
            (self.slot(&blocks[0], slot, Side::Inputs)?, self.slot(&secret[0], content, Side::Inputs)?);
        let mut kept = Vec::new();
        for (offset, length) in &self.kept {
            kept.push((found.part(*offset, *length)?, made.part(*offset, *length)?));
        }
        let (comparisons, changed) = instruments.check(&outputs, tolerances, &kept, stream)?;
        for (place, compared) in in_order().zip(comparisons) {
            let count = place.tensor.element_count;
            if compared.non_finite > 0 || self.tolerance.is_too_many(compared.off, count) {
                return Err(Stop::Verdict(self.explain(content, blocks, slot, place)?));
            }
        }
        for place in self.layout.outputs.places.iter().filter(|place| self.sets.contains(&place.name)) {
            if self.compare_on_host(content, blocks, slot, place)?.is_none_or(|compared| !compared.accepted) {
                return Err(Stop::Verdict(self.explain(content, blocks, slot, place)?));
            }
        }
        if changed > 0 {
            return Err(Stop::Verdict(self.explain_change(content, blocks, slot, changed)?));
        }
        self.checked += 1;
        Ok(())
    }

    /// Names the input that a call changed; what lies between inputs belongs to nobody.
    fn explain_change(
        &self,
        content: usize,
        blocks: &[DeviceBuffer; 2],
        slot: usize,
        changed: u64,
    ) -> Result<Verdict, Stop> {
        let JudgeDevice { secret, stream, instruments, .. } = self.device;
        for place in &self.layout.inputs.places {
            if !self.kept.iter().any(|(offset, length)| (*offset..offset + length).contains(&place.offset)) {
                continue;
            }
            let pair = (
                self.tensor(&blocks[0], slot, Side::Inputs, place)?,
                self.tensor(&secret[0], content, Side::Inputs, place)?,
            );
            let (_, changed) = instruments.check(&[], (0.0, 0.0), &[pair], stream)?;
            if changed > 0 {
                let reason = format!(
                    "it changed its input `{}` at {changed} words, and the definition does not allow that",
                    place.name
                );
                return Ok(Verdict::IncorrectNumerical { reason });
            }
        }
        let reason = format!("it wrote {changed} words beside its inputs");
        Ok(Verdict::IncorrectNumerical { reason })
    }

    /// Compares every output of the slot that was called last in full, on the host.
    pub(super) fn details(
        &self,
        content: usize,
        blocks: &[DeviceBuffer; 2],
        slot: usize,
    ) -> Result<Vec<(String, OutputComparison)>, Stop> {
        let mut details = Vec::new();
        for place in &self.layout.outputs.places {
            if let Some(comparison) = self.compare_on_host(content, blocks, slot, place)? {
                details.push((place.name.clone(), comparison));
            }
        }
        Ok(details)
    }

    fn compare_on_host(
        &self,
        content: usize,
        blocks: &[DeviceBuffer; 2],
        slot: usize,
        place: &TensorPlace,
    ) -> Result<Option<OutputComparison>, Stop> {
        if self.sets.contains(&place.name) {
            let expected = self.whole(&self.device.secret[1], content, place)?;
            let found = self.whole(&blocks[1], slot, place)?;
            return Ok(Some(set::compare(&found, &expected, row_of(place), &self.tolerance)));
        }
        let expected = self.values(&self.device.secret[1], content, Side::Outputs, place, DETAIL_LIMIT)?;
        let found = self.head(&blocks[1], slot, Side::Outputs, place, DETAIL_LIMIT)?;
        Ok(OutputComparison::new(place.tensor.dtype, &found, &expected, &self.tolerance).ok())
    }

    fn explain(
        &self,
        content: usize,
        blocks: &[DeviceBuffer; 2],
        slot: usize,
        place: &TensorPlace,
    ) -> Result<Verdict, Stop> {
        let call = self.checked + 1;
        let comparison = self.compare_on_host(content, blocks, slot, place)?;
        let found = comparison.map(|comparison| verdict([(place.name.as_str(), &comparison)]));
        let reason = match found {
            Some(Verdict::IncorrectNumerical { reason }) => format!("call {call}: {reason}"),
            _ => format!("call {call}: output `{}` is off", place.name),
        };
        Ok(Verdict::IncorrectNumerical { reason })
    }

    /// The first bytes of a tensor, at most that many elements.
    fn head(
        &self,
        block: &DeviceBuffer,
        slot: usize,
        side: Side,
        place: &TensorPlace,
        limit: u64,
    ) -> Result<Vec<u8>, Stop> {
        let count = place.tensor.element_count.min(limit);
        let length = place.tensor.dtype.size_bytes(count).unwrap_or(0);
        let mut bytes = vec![0; usize::try_from(length).expect("what fits the device fits here")];
        let region = self.tensor(block, slot, side, place)?.part(0, length)?;
        download(region, &mut bytes, &self.device.stream)?;
        Ok(bytes)
    }

    /// A set's numbers: all of them.
    fn whole(&self, block: &DeviceBuffer, slot: usize, place: &TensorPlace) -> Result<Vec<i64>, Stop> {
        let values = self.values(block, slot, Side::Outputs, place, u64::MAX)?;
        #[expect(clippy::cast_possible_truncation, reason = "indices are far below 2^53")]
        Ok(values.into_iter().map(|value| value as i64).collect())
    }

    fn values(
        &self,
        block: &DeviceBuffer,
        slot: usize,
        side: Side,
        place: &TensorPlace,
        limit: u64,
    ) -> Result<Vec<f64>, Stop> {
        let bytes = self.head(block, slot, side, place, limit)?;
        let count = usize::try_from(place.tensor.element_count.min(limit)).expect("fits, as its bytes do");
        Ok((0..count).filter_map(|index| decode(place.tensor.dtype, &bytes, index)).collect())
    }
}

/// Entries of a row.
fn row_of(place: &TensorPlace) -> usize {
    let last = place.tensor.shape.as_deref().and_then(<[u64]>::last);
    last.and_then(|last| usize::try_from(*last).ok()).unwrap_or(1)
}
