//! What the subject is given for a call, and what it left: brought to its places, gathered again, the gaps looked at.

use std::rc::Rc;

use proofmark_player::device::memory::{DeviceBuffer, Region, Rows, copy, copy_rows, fill};
use proofmark_player::device::stream::Stream;

use super::device::JudgeDevice;
use super::layout::{CallLayout, SlotLayout};
use super::session::Stop;
use super::strided::{CONTIGUOUS_SLOTS, Strided};
use super::trial::{POISON, Side, Trial};
use crate::measure::verdict::Verdict;

impl Trial<'_> {
    /// Where the subject's tensors lie.
    pub fn given(&self) -> &CallLayout {
        self.strided.as_ref().map_or(&self.layout, |strided| &strided.layout)
    }

    /// What is noted of strides; nothing for contiguous tensors.
    pub fn strides_note(&self) -> Option<String> {
        self.strided.as_ref().map(Strided::note)
    }

    /// A slot of a block that the subject maps.
    pub(super) fn given_slot(&self, block: &DeviceBuffer, slot: usize, side: Side) -> Result<Region, Stop> {
        let layout = side.of(self.given());
        Ok(block.region(layout.slot_offset(slot), layout.slot_bytes)?)
    }

    /// Brings a contiguous slot of inputs to a slot of the subject's, and poisons everything else there.
    pub(super) fn bring(&self, inputs: Region, blocks: &[DeviceBuffer; 2], slot: usize) -> Result<(), Stop> {
        let stream = &self.device.stream;
        let given = self.given_slot(&blocks[0], slot, Side::Inputs)?;
        if let Some(strided) = &self.strided {
            fill(given, POISON, stream)?;
            spread(inputs, &self.layout.inputs, given, &strided.layout.inputs, stream)?;
        } else if inputs.pointer() != given.pointer() {
            copy(inputs, given, stream)?;
        }
        self.poison(self.given_slot(&blocks[1], slot, Side::Outputs)?, &self.given().outputs)
    }

    /// Where a decoy's inputs are made: in the subject's own slot, or beside where that is strided.
    pub(super) fn decoy_slot(&self, blocks: &[DeviceBuffer; 2], slot: usize) -> Result<Region, Stop> {
        match &self.strided {
            None => self.slot(&blocks[0], slot, Side::Inputs),
            Some(strided) => {
                let slots = usize::try_from(CONTIGUOUS_SLOTS).expect("two");
                self.slot(&strided.contiguous[0], slot % slots, Side::Inputs)
            }
        }
    }

    /// What a call with a content left in a slot, contiguous.
    pub(super) fn gathered(
        &self,
        content: usize,
        blocks: &Rc<[DeviceBuffer; 2]>,
        slot: usize,
    ) -> Result<(Rc<[DeviceBuffer; 2]>, usize), Stop> {
        let Some(strided) = &self.strided else { return Ok((Rc::clone(blocks), slot)) };
        let JudgeDevice { secret, stream, .. } = self.device;
        // What lies between contiguous tensors is the content's.
        let made = self.slot(&secret[0], content, Side::Inputs)?;
        copy(made, self.slot(&strided.contiguous[0], 0, Side::Inputs)?, stream)?;
        for side in [Side::Inputs, Side::Outputs] {
            let block = side as usize;
            let left = self.given_slot(&blocks[block], slot, side)?;
            let to = self.slot(&strided.contiguous[block], 0, side)?;
            gather(left, side.of(&strided.layout), to, side.of(&self.layout), stream)?;
        }
        Ok((Rc::clone(&strided.contiguous), 0))
    }

    /// Adds what is known of strides to what was found of a call whose tensors were gathered.
    pub(super) fn with_gaps(
        &self,
        found: Result<(), Stop>,
        blocks: &[DeviceBuffer; 2],
        slot: usize,
    ) -> Result<(), Stop> {
        let Some(strided) = &self.strided else { return found };
        match found {
            Err(Stop::Verdict(Verdict::IncorrectNumerical { reason })) => {
                let reason = format!("{reason}; {}", strided.explanation());
                Err(Stop::Verdict(Verdict::IncorrectNumerical { reason }))
            }
            Err(other) => Err(other),
            Ok(()) => match self.gap_words(strided, blocks, slot)? {
                0 => Ok(()),
                words => {
                    let reason = format!(
                        "its elements are right, and it wrote {words} words into the gaps between them; {}",
                        strided.explanation()
                    );
                    Err(Stop::Verdict(Verdict::IncorrectNumerical { reason }))
                }
            },
        }
    }

    /// How many words between elements are not as they were. The elements have just been gathered.
    fn gap_words(&self, strided: &Strided, blocks: &[DeviceBuffer; 2], slot: usize) -> Result<u64, Stop> {
        let JudgeDevice { stream, instruments, .. } = self.device;
        let mut pairs = Vec::new();
        for side in [Side::Inputs, Side::Outputs] {
            let block = side as usize;
            let due = strided.due[block].region(0, side.of(&strided.layout).slot_bytes)?;
            let gathered = self.slot(&strided.contiguous[block], 0, side)?;
            match side {
                Side::Inputs => fill(due, POISON, stream)?,
                Side::Outputs => self.poison(due, &strided.layout.outputs)?,
            }
            spread(gathered, side.of(&self.layout), due, side.of(&strided.layout), stream)?;
            pairs.push((self.given_slot(&blocks[block], slot, side)?, due));
        }
        let (_, changed) = instruments.check(&[], (0.0, 0.0), &pairs, stream)?;
        Ok(changed)
    }
}

/// Brings contiguous tensors to places with gaps.
fn spread(
    from: Region,
    contiguous: &SlotLayout,
    to: Region,
    apart: &SlotLayout,
    stream: &Stream,
) -> Result<(), Stop> {
    each(contiguous, apart, |length, (offset, pitch), (wide_offset, wide_pitch), count| {
        let dense = Rows { region: from.part(offset, length * count)?, pitch_bytes: pitch };
        let wide = Rows { region: to.part(wide_offset, wide_pitch * count)?, pitch_bytes: wide_pitch };
        Ok(copy_rows(dense, wide, length, count, stream)?)
    })
}

/// Brings tensors with gaps to contiguous places.
fn gather(
    from: Region,
    apart: &SlotLayout,
    to: Region,
    contiguous: &SlotLayout,
    stream: &Stream,
) -> Result<(), Stop> {
    each(contiguous, apart, |length, (offset, pitch), (wide_offset, wide_pitch), count| {
        let dense = Rows { region: to.part(offset, length * count)?, pitch_bytes: pitch };
        let wide = Rows { region: from.part(wide_offset, wide_pitch * count)?, pitch_bytes: wide_pitch };
        Ok(copy_rows(wide, dense, length, count, stream)?)
    })
}

/// Offset and pitch of a tensor's stretches, in bytes.
type Stretches = (u64, u64);

/// Goes over the tensors of a slot: bytes of a stretch, the stretches contiguous and apart, and how many there are.
fn each(
    contiguous: &SlotLayout,
    apart: &SlotLayout,
    mut copy: impl FnMut(u64, Stretches, Stretches, u64) -> Result<(), Stop>,
) -> Result<(), Stop> {
    for (dense, wide) in contiguous.places.iter().zip(&apart.places) {
        let spread = &wide.spread;
        copy(spread.length, (dense.offset, spread.length), (wide.offset, spread.pitch), spread.count)?;
    }
    Ok(())
}
