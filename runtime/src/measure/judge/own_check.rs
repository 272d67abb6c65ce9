//! Outputs that the definition's own function judges, call by call: asked of the reference's player.
//!
//! Where many answers are right, as with the signs of a factorisation, nothing can be held against the reference's
//! element by element. The function gets a call's inputs and outputs and says whether they belong together. It must
//! take the reference's own answer, and neither zeros nor the answer to other inputs.

use proofmark_player::PlayerEnd;
use proofmark_player::device::memory::{DeviceBuffer, copy, download, fill};
use proofmark_player::protocol::{Argument, Block, Clock, L2};

use super::binding::Asked;
use super::check::other_content;
use super::device::JudgeDevice;
use super::session::{PlayerSession, Stop};
use super::trial::{Side, Trial};
use crate::measure::subject::BenchError;
use crate::measure::verdict::Verdict;

/// The slot of the reference's own blocks that is judged.
const SLOT: usize = 0;
/// The answer takes the place of the outputs, which are a copy: a byte that is 1 where they are right, and the reason.
const ANSWER_BYTES: u64 = 512;
/// Whole numbers without a sign, of one byte.
const BYTE: (u8, u8) = (1, 8);

/// What is judged.
#[derive(Clone, Copy)]
enum Outputs<'block> {
    /// Those of a slot.
    Slot(&'block DeviceBuffer, usize),
    /// Nothing but zeros.
    Zeros,
}

impl Trial<'_> {
    /// What is noted of a workload that the definition's own function judges.
    pub fn check_note(&self) -> Option<String> {
        let note = "judged by the definition's own check, not against the reference's outputs";
        self.has_own_check.then(|| note.to_owned())
    }

    /// Why the definition's own function cannot judge this workload.
    pub(super) fn refusal_of_check(&self, reference: &mut PlayerSession) -> Result<Option<String>, Stop> {
        let expected = &self.device.secret[1];
        if let Some(name) = self.not_finite(expected, 0)? {
            return Ok(Some(format!("the reference's output `{name}` is not finite")));
        }
        let said = |outputs| self.ask_check(0, outputs, reference);
        let [own, zeros, other] = [
            Outputs::Slot(expected, 0),
            Outputs::Zeros,
            Outputs::Slot(expected, other_content(0, self.contents)),
        ]
        .map(said);
        Ok(match (own?, zeros?, other?) {
            (Some(reason), _, _) => {
                Some(format!("the definition's own check refuses its own reference: {reason}"))
            }
            (None, None, _) => Some("the definition's own check takes zeros for an answer".to_owned()),
            (None, Some(_), None) => {
                Some("the definition's own check takes the answer to other inputs for one".to_owned())
            }
            (None, Some(_), Some(_)) => None,
        })
    }

    /// Has the definition's own function judge a slot's outputs for the inputs of a content.
    pub(super) fn check_by_definition(
        &self,
        content: usize,
        blocks: &[DeviceBuffer; 2],
        slot: usize,
        reference: &mut PlayerSession,
    ) -> Result<(), Stop> {
        let call = self.checked + 1;
        let wrong = |reason: String| {
            Err(Stop::Verdict(Verdict::IncorrectNumerical { reason: format!("call {call}: {reason}") }))
        };
        if let Some(name) = self.not_finite(&blocks[1], slot)? {
            return wrong(format!("output `{name}` is not finite"));
        }
        match self.ask_check(content, Outputs::Slot(&blocks[1], slot), reference)? {
            None => Ok(()),
            Some(reason) => wrong(format!("the definition's own check: {reason}")),
        }
    }

    /// Why outputs are not right for the inputs of a content; nothing where they are.
    fn ask_check(
        &self,
        content: usize,
        outputs: Outputs<'_>,
        reference: &mut PlayerSession,
    ) -> Result<Option<String>, Stop> {
        let failed =
            |end| Stop::Bench(BenchError::Reference { workload: self.sources.uuid().to_owned(), end });
        if !reference.is_definition() {
            let text = "its outputs are judged by the definition's own code, which must be the reference";
            return Err(failed(PlayerEnd::Refused { text: text.to_owned() }));
        }
        let JudgeDevice { secret, reference: blocks, stream, .. } = self.device;
        copy(
            self.slot(&secret[0], content, Side::Inputs)?,
            self.slot(&blocks[0], SLOT, Side::Inputs)?,
            stream,
        )?;
        let place = self.slot(&blocks[1], SLOT, Side::Outputs)?;
        match outputs {
            Outputs::Slot(block, slot) => copy(self.slot(block, slot, Side::Outputs)?, place, stream)?,
            Outputs::Zeros => fill(place, 0, stream)?,
        }
        stream.synchronize()?;
        let length = ANSWER_BYTES.min(place.size_bytes());
        let answer = answer_place(length);
        reference
            .bind_for(&self.layout, self.sources.values(), SLOT + 1, Asked::Check { answer: &answer })
            .map_err(failed)?;
        reference.publish(self.device, blocks, &self.layout, SLOT)?;
        reference.call(0, Clock::Host, L2::AsIs).map_err(failed)?;
        reference.collect(self.device, blocks, &self.layout, SLOT)?;
        let mut said = vec![0; usize::try_from(length).expect("a few hundred")];
        download(place.part(0, length)?, &mut said, stream)?;
        Ok((said[0] != 1).then(|| reason_of(&said[1..])))
    }
}

/// A place that the answer is written to.
fn answer_place(length: u64) -> Argument {
    let (code, bits) = BYTE;
    let shape = vec![i64::try_from(length).expect("a few hundred")];
    Argument::Tensor { block: Block::Outputs, code, bits, shape, strides: vec![1], offsets: vec![0] }
}

/// The text up to the first zero.
fn reason_of(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    match String::from_utf8_lossy(&bytes[..end]).trim() {
        "" => "it does not say why".to_owned(),
        reason => reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_ends_at_the_first_zero_and_is_never_empty() {
        assert_eq!(reason_of(b" off by 3\0\0x"), "off by 3");
        assert_eq!(reason_of(b"cut \xc3"), "cut \u{fffd}");
        assert_eq!(reason_of(b"\0"), "it does not say why");
    }
}
