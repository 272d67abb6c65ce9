//! What a call left, held against what was expected: on the GPU for every call, on the host for what is shown.
//!
//! # Against a definition's own reference
//!
//! What is right is what the definition's code computes in double precision. A definition in half precision may
//! itself lie further off that than the tolerance allows, in a few elements of many. So a call whose outputs are
//! off there is held against the definition's plain run, in its own precision, on the same inputs, and fails only if
//! it fails against both. Exactly:
//!
//! 1. Only where the reference is the definition's own code; a submission's reference is right by itself.
//! 2. Nothing changes for outputs that are not finite and for inputs that were changed: they fail at once.
//! 3. The call as a whole is held against the plain run: every output of it, by the same tolerance. No output is
//!    held against one run and its neighbour against the other.
//! 4. The plain run must be able to judge on these inputs: it is finite everywhere, and what nobody computed (a
//!    constant, a copy of an input, the answer to other inputs) fails against it as well.
//!
//! How many calls passed so stands among the workload's notes.

use std::rc::Rc;

use super::binding::Asked;
use super::comparison::{OutputComparison, verdict};
use super::device::JudgeDevice;
use super::element::decode_all;
use super::layout::{TensorPlace, number};
use super::null_gate::null_gate;
use super::session::{PlayerSession, Stop};
use super::set;
use super::strided::Strided;
use super::trial::{Keep, Side, Trial};
use crate::measure::verdict::Verdict;
use proofmark_player::device::instruments::OutputPair;
use proofmark_player::device::memory::{DeviceBuffer, download};

/// The null gate looks at this many elements first; only where they would pass, at all of them.
const GATE_GLANCE: u64 = 1 << 16;
/// A comparison in full looks at this many elements at most: more would take seconds on the host.
const DETAIL_LIMIT: u64 = 4 << 20;

/// The slot of the reference's own block that a plain run of one content is left in.
const PLAIN_SLOT: usize = 0;

/// What outputs are held against: a slot of a block.
type Expected<'block> = (&'block DeviceBuffer, usize);

/// An output that is off, and whether it is infinite or NaN somewhere.
struct Off {
    place: TensorPlace,
    is_finite: bool,
}

impl Trial<'_> {
    /// Says why this workload cannot judge: an output that nobody computed would pass.
    pub fn refusal(&self, reference: &mut PlayerSession) -> Result<Option<String>, Stop> {
        if let Some(reason) = self.strided.as_ref().and_then(Strided::refusal) {
            return Ok(Some(reason));
        }
        if self.has_own_check {
            return self.refusal_of_check(reference);
        }
        self.gate_against(0, (&self.device.secret[1], 0))
    }

    /// Why what is expected of a content cannot judge.
    fn gate_against(&self, content: usize, expected: Expected<'_>) -> Result<Option<String>, Stop> {
        match self.gate(content, expected, GATE_GLANCE)? {
            None => Ok(None),
            Some(_) => self.gate(content, expected, u64::MAX),
        }
    }

    fn gate(&self, current: usize, (block, slot): Expected<'_>, limit: u64) -> Result<Option<String>, Stop> {
        let stale = other_content(current, self.contents);
        let secret = &self.device.secret;
        let mut inputs = Vec::new();
        for place in &self.layout.inputs.places {
            inputs.push((place.name.as_str(), self.values(&secret[0], current, Side::Inputs, place, limit)?));
        }
        for place in &self.layout.outputs.places {
            if self.sets.contains(&place.name) {
                let expected = self.whole(block, slot, place)?;
                let previous = self.whole(&secret[1], stale, place)?;
                let refused = set::refusal(&place.name, &expected, &previous, row_of(place), &self.tolerance);
                if refused.is_some() {
                    return Ok(refused);
                }
                continue;
            }
            let expected = self.values(block, slot, Side::Outputs, place, limit)?;
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
        blocks: &Rc<[DeviceBuffer; 2]>,
        slot: usize,
        reference: &mut PlayerSession,
    ) -> Result<(), Stop> {
        let (gathered, place) = self.gathered(content, blocks, slot)?;
        let found = self.check_contiguous(content, &gathered, place, reference);
        self.with_gaps(found, blocks, slot)?;
        self.checked += 1;
        Ok(())
    }

    fn check_contiguous(
        &mut self,
        content: usize,
        blocks: &[DeviceBuffer; 2],
        slot: usize,
        reference: &mut PlayerSession,
    ) -> Result<(), Stop> {
        let expected = (&self.device.secret[1], content);
        let (off, changed) = self.off(blocks, slot, expected, Some(content))?;
        if let Some(Off { place, is_finite }) = off {
            if !(is_finite && self.is_right_by_plain_run(content, blocks, slot, reference)?) {
                return Err(Stop::Verdict(self.explain(content, blocks, slot, &place)?));
            }
            self.plain_calls += 1;
        }
        if self.has_own_check {
            self.check_by_definition(content, blocks, slot, reference)?;
        }
        if changed > 0 {
            return Err(Stop::Verdict(self.explain_change(content, blocks, slot, changed)?));
        }
        Ok(())
    }

    /// The first output of a slot that is off, and how many words of the inputs of a content were changed.
    fn off(
        &self,
        blocks: &[DeviceBuffer; 2],
        slot: usize,
        expected: Expected<'_>,
        content: Option<usize>,
    ) -> Result<(Option<Off>, u64), Stop> {
        let JudgeDevice { secret, stream, instruments, .. } = self.device;
        let tolerances = (self.tolerance.atol, self.tolerance.rtol);
        let mut kept = Vec::new();
        if let Some(content) = content {
            let (found, made) =
                (self.slot(&blocks[0], slot, Side::Inputs)?, self.slot(&secret[0], content, Side::Inputs)?);
            for (offset, length) in &self.kept {
                kept.push((found.part(*offset, *length)?, made.part(*offset, *length)?));
            }
        }
        let outputs = self.pairs(self.in_order(), (&blocks[1], slot), expected)?;
        let (comparisons, changed) = instruments.check(&outputs, tolerances, &kept, stream)?;
        for (place, compared) in self.in_order().zip(comparisons) {
            let is_finite = compared.non_finite == 0;
            if !is_finite || self.tolerance.is_too_many(compared.off, place.tensor.element_count) {
                return Ok((Some(Off { place: place.clone(), is_finite }), changed));
            }
        }
        for place in self.compared().filter(|place| self.sets.contains(&place.name)) {
            let compared = self.compare_on_host(expected, blocks, slot, place)?;
            if compared.is_none_or(|compared| !compared.accepted) {
                return Ok((Some(Off { place: place.clone(), is_finite: true }), changed));
            }
        }
        Ok((None, changed))
    }

    /// Whether a call's outputs are those of the definition in its own precision, which can judge on these inputs.
    fn is_right_by_plain_run(
        &self,
        content: usize,
        blocks: &[DeviceBuffer; 2],
        slot: usize,
        reference: &mut PlayerSession,
    ) -> Result<bool, Stop> {
        if !reference.is_definition() {
            return Ok(false);
        }
        reference.bind_for(&self.layout, self.sources.values(), self.slots, Asked::Plain)?;
        self.compute_into(reference, &[content], Keep::InPlace)?;
        let plain = (&self.device.reference[1], PLAIN_SLOT);
        // What is not finite would match everything.
        if self.not_finite(plain.0, plain.1)?.is_some() {
            return Ok(false);
        }
        let (off, _) = self.off(blocks, slot, plain, None)?;
        Ok(off.is_none() && self.gate_against(content, plain)?.is_none())
    }

    /// Outputs that are held against the reference's.
    fn compared(&self) -> impl Iterator<Item = &TensorPlace> {
        self.layout.outputs.places.iter().filter(|_| !self.has_own_check)
    }

    /// Outputs that are compared element by element.
    fn in_order(&self) -> impl Iterator<Item = &TensorPlace> {
        self.compared().filter(|place| !self.sets.contains(&place.name))
    }

    /// The first output of a slot that is infinite or NaN somewhere.
    pub(super) fn not_finite(&self, block: &DeviceBuffer, slot: usize) -> Result<Option<&str>, Stop> {
        let JudgeDevice { stream, instruments, .. } = self.device;
        let places = &self.layout.outputs.places;
        let itself = self.pairs(places.iter(), (block, slot), (block, slot))?;
        let (compared, _) = instruments.check(&itself, (0.0, 0.0), &[], stream)?;
        let broken = places.iter().zip(compared).find(|(_, compared)| compared.reference_broken > 0);
        Ok(broken.map(|(place, _)| place.name.as_str()))
    }

    fn pairs<'place>(
        &self,
        places: impl Iterator<Item = &'place TensorPlace>,
        found: Expected<'_>,
        expected: Expected<'_>,
    ) -> Result<Vec<OutputPair>, Stop> {
        let mut pairs = Vec::new();
        for place in places {
            let dtype = number(place.tensor.dtype);
            pairs.push(OutputPair {
                found: self.tensor(found.0, found.1, Side::Outputs, place)?,
                found_dtype: dtype,
                expected: self.tensor(expected.0, expected.1, Side::Outputs, place)?,
                expected_dtype: dtype,
                count: place.tensor.element_count,
            });
        }
        Ok(pairs)
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
        let expected = (&self.device.secret[1], content);
        for place in self.compared() {
            if let Some(comparison) = self.compare_on_host(expected, blocks, slot, place)? {
                details.push((place.name.clone(), comparison));
            }
        }
        Ok(details)
    }

    fn compare_on_host(
        &self,
        expected: Expected<'_>,
        blocks: &[DeviceBuffer; 2],
        slot: usize,
        place: &TensorPlace,
    ) -> Result<Option<OutputComparison>, Stop> {
        if self.sets.contains(&place.name) {
            let expected = self.whole(expected.0, expected.1, place)?;
            let found = self.whole(&blocks[1], slot, place)?;
            return Ok(Some(set::compare(&found, &expected, row_of(place), &self.tolerance)));
        }
        let expected = self.values(expected.0, expected.1, Side::Outputs, place, DETAIL_LIMIT)?;
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
        let comparison = self.compare_on_host((&self.device.secret[1], content), blocks, slot, place)?;
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
        Ok(decode_all(place.tensor.dtype, &bytes, count).expect("as many bytes as elements have"))
    }
}

/// A content with other inputs: the one before or behind may be a twin, the next but one is none.
pub(super) fn other_content(current: usize, contents: usize) -> usize {
    let last = contents.saturating_sub(1);
    match current {
        _ if current + 2 < contents => current + 2,
        2.. => current - 2,
        _ if current == last => 0,
        _ => last,
    }
}

/// Entries of a row.
fn row_of(place: &TensorPlace) -> usize {
    let last = place.tensor.shape.as_deref().and_then(<[u64]>::last);
    last.and_then(|last| usize::try_from(*last).ok()).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_content_is_never_the_same_nor_its_twin_where_there_are_enough() {
        for contents in 2..20 {
            for current in 0..contents {
                let other = other_content(current, contents);
                assert!(other < contents && other != current, "{current} of {contents}: {other}");
                assert!(contents < 5 || other.abs_diff(current) == 2, "{current} of {contents}: {other}");
            }
        }
    }
}
