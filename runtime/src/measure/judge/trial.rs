//! One workload: its contents, the expected outputs, and calls that are checked.
//!
//! Contents are numbered, and each is used for one call only: nothing that a subject remembers of a call helps
//! it in another. They are made many at once, together with the outputs that the reference computes, and lie in
//! the secret blocks. For a call, one of them is brought to one slot of the shared blocks, both chosen by secret
//! dice, the outputs are poisoned, and only then is the player told. Afterwards outputs are compared with what
//! was expected, and inputs with what they were.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Instant;

use proofmark_packager::DigestBuilder;
use proofmark_packager::interop::flashinfer::{Definition, Workload};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;

use super::binding::Asked;
use super::comparison::OutputComparison;
use super::device::JudgeDevice;
use super::layout::{CallLayout, SlotLayout, TensorPlace};
use super::session::{BatchReport, PlayerSession, Stop};
use super::set::is_set;
use super::source::Sources;
use super::strided::Strided;
use super::tolerance::Tolerance;
use crate::measure::seed::Seed;
use crate::measure::subject::{BenchError, Options, mutable_inputs};
use proofmark_player::device::memory::{DeviceBuffer, Region, copy, fill};
use proofmark_player::protocol::{CallReport, Clock, L2};

/// All ones: a NaN in every float type.
pub(super) const POISON: u8 = 0xFF;
/// What a subject's integers are poisoned with: all ones would be -1, by which operators say "none".
const INTEGER_POISON: u8 = 0xA5;
/// A definition's own reference computes for about this long before the first call that counts…
const ROUND_SECONDS: f64 = 4.0;
/// …but this many contents at least, so that one can be confused with another.
const LEAST_CONTENTS: usize = 8;

/// Secret dice of one purpose: what was seen of them says nothing about what comes.
#[derive(Debug)]
pub struct Dice(ChaCha12Rng);

impl Dice {
    /// Dice of a run or a workload for one purpose.
    pub fn new(seed: Seed, purpose: &str) -> Self {
        let key = DigestBuilder::new("proofmark/dice/1").number(seed.0).text(purpose).finish();
        Self(ChaCha12Rng::from_seed(*key.as_bytes()))
    }

    /// A number below a bound that is not zero.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0.random_range(0..bound)
    }

    /// The numbers below a bound in a random order.
    pub fn permutation(&mut self, bound: usize) -> Vec<usize> {
        let mut numbers: Vec<usize> = (0..bound).collect();
        numbers.shuffle(&mut self.0);
        numbers
    }
}

/// One workload under measurement.
#[derive(Debug)]
pub struct Trial<'device> {
    pub(super) device: &'device JudgeDevice,
    /// Blocks of one slot: what a stage maps for calls one at a time.
    single: Rc<[DeviceBuffer; 2]>,
    pub(super) layout: CallLayout,
    /// What the subject's tensors need where they have gaps.
    pub(super) strided: Option<Strided>,
    pub(super) sources: Sources,
    /// Whether the definition's own function judges outputs: then nothing is held against the reference's.
    pub(super) has_own_check: bool,
    /// Outputs whose rows are sets, by name.
    pub(super) sets: BTreeSet<String>,
    pub(super) tolerance: Tolerance,
    /// Offset and length of the stretches of a slot's inputs that no call may change.
    pub(super) kept: Vec<(u64, u64)>,
    dice: Dice,
    pub(super) slots: usize,
    pub(super) contents: usize,
    /// Rounds of contents that were made.
    rounds: u32,
    /// Contents of the round that no call has seen, the next one last.
    unused: Vec<usize>,
    /// Calls whose outputs were checked.
    pub checked: u64,
    /// Of these, calls that are right by the definition's own precision alone.
    pub plain_calls: u64,
}

impl<'device> Trial<'device> {
    /// Resolves a workload; nothing is made yet.
    pub fn new(
        device: &'device JudgeDevice,
        definition: &Definition,
        workload: &Workload,
        layout: CallLayout,
        options: &Options,
    ) -> Result<Self, BenchError> {
        let seed = options.seed.of_workload(workload.uuid());
        let sources = Sources::new(definition, workload, &layout, seed.0, &options.data_root)?;
        let mutable: Vec<&str> = mutable_inputs(definition).collect();
        let may_change = |place: &TensorPlace| mutable.contains(&place.name.as_str());
        let strided = Strided::new(device, &layout, options.strides)?;
        let given = strided.as_ref().map_or(&layout, |strided| &strided.layout);
        let single = [given.inputs.slot_bytes, given.outputs.slot_bytes]
            .map(|bytes| DeviceBuffer::allocate_shared(&device.gpu, bytes));
        let [inputs, outputs] = single;
        let sets = definition.outputs().iter().filter(|(name, spec)| is_set(name, spec));
        Ok(Self {
            single: Rc::new([inputs?, outputs?]),
            kept: layout.inputs.stretches(|place| !may_change(place)),
            sources,
            has_own_check: definition.own_check().is_some(),
            sets: sets.map(|(name, _)| name.to_owned()).collect(),
            tolerance: options.tolerance.for_workload(workload),
            dice: Dice::new(seed, "schedule"),
            slots: device.slots(given),
            contents: device.contents(&layout),
            device,
            strided,
            layout,
            rounds: 0,
            unused: Vec::new(),
            checked: 0,
            plain_calls: 0,
        })
    }

    /// How many slots there are.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// The blocks that a session's calls one at a time are made in, and a slot of them. A stage maps that slot
    /// alone: what a kernel leaves beside it is gone, and what other calls had is not there.
    fn window(&mut self, session: &PlayerSession) -> (Rc<[DeviceBuffer; 2]>, usize) {
        if session.is_stage() {
            return (Rc::clone(&self.single), 0);
        }
        (Rc::clone(&self.device.shared), self.dice.below(self.slots))
    }

    /// The tensors' places.
    pub fn layout(&self) -> &CallLayout {
        &self.layout
    }

    /// Describes the call to the subject's player.
    pub fn bind(&self, session: &mut PlayerSession) -> Result<(), Stop> {
        Ok(session.bind(self.given(), self.sources.values(), self.slots)?)
    }

    /// The same for a definition's own reference, which is asked for its plain run.
    pub fn bind_plain(&self, session: &mut PlayerSession) -> Result<(), Stop> {
        Ok(session.bind_for(self.given(), self.sources.values(), self.slots, Asked::Plain)?)
    }

    /// Makes contents that nobody has seen, and lets the reference compute what is expected of them.
    pub fn prepare(&mut self, reference: &mut PlayerSession) -> Result<(), Stop> {
        let JudgeDevice { secret, stream, instruments, .. } = self.device;
        // A round begins where contents follow one another as in the first: twins keep their partner.
        let stride = self.contents.next_multiple_of(usize::from(u8::MAX) + 1);
        let first = (self.rounds as usize).saturating_mul(stride);
        let mut previous = None;
        self.learn_scalars(reference)?;
        for slot in 0..self.contents {
            let region = self.slot(&secret[0], slot, Side::Inputs)?;
            let index = u32::try_from(first + slot).unwrap_or(u32::MAX);
            self.sources.make(index, region, previous, instruments, stream)?;
            self.let_function_make(&self.sources, index, previous.is_some(), region, reference)?;
            previous = Some(region);
        }
        stream.synchronize()?;
        reference.bind(&self.layout, self.sources.values(), self.slots)?;
        if self.rounds == 0 && reference.is_definition() {
            self.limit_contents(reference)?;
        }
        let all: Vec<usize> = (0..self.contents).collect();
        for some in all.chunks(self.slots) {
            self.compute(reference, some)?;
        }
        self.rounds += 1;
        self.unused = self.dice.permutation(self.contents);
        Ok(())
    }

    /// Makes fewer contents at once where the reference takes long for one: the rest is made when it is needed.
    fn limit_contents(&mut self, reference: &mut PlayerSession) -> Result<(), Stop> {
        // The first call loads libraries, so the second is timed.
        self.compute(reference, &[0])?;
        let begun = Instant::now();
        self.compute(reference, &[1.min(self.contents - 1)])?;
        let one = begun.elapsed().as_secs_f64().max(1e-6);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a small positive number"
        )]
        let room = (ROUND_SECONDS / one) as usize;
        self.contents = self.contents.min(room.max(LEAST_CONTENTS));
        Ok(())
    }

    /// How far the definition's own precision lies off what is right: its reference as it stands, on the first
    /// content, against the same in double precision. Leaves the reference bound so, for timing it.
    pub fn rounding(&self, reference: &mut PlayerSession) -> Result<Vec<(String, OutputComparison)>, Stop> {
        reference.bind_for(&self.layout, self.sources.values(), self.slots, Asked::Plain)?;
        let content = 0;
        self.compute_into(reference, &[content], Keep::InPlace)?;
        self.details(content, &self.device.reference, 0)
    }

    /// Lets the reference compute some contents' outputs.
    fn compute(&self, reference: &mut PlayerSession, contents: &[usize]) -> Result<(), Stop> {
        self.compute_into(reference, contents, Keep::Expected)
    }

    pub(super) fn compute_into(
        &self,
        reference: &mut PlayerSession,
        contents: &[usize],
        keep: Keep,
    ) -> Result<(), Stop> {
        let JudgeDevice { secret, reference: blocks, stream, .. } = self.device;
        for (slot, content) in contents.iter().enumerate() {
            let made = self.slot(&secret[0], *content, Side::Inputs)?;
            copy(made, self.slot(&blocks[0], slot, Side::Inputs)?, stream)?;
            fill(self.slot(&blocks[1], slot, Side::Outputs)?, POISON, stream)?;
        }
        stream.synchronize()?;
        for slot in 0..contents.len() {
            reference.publish(self.device, blocks, &self.layout, slot)?;
        }
        if reference.is_definition() {
            // It waits for the device as it likes: nothing is held for it.
            for slot in all_slots(contents.len()) {
                reference.call(slot, Clock::Host, L2::AsIs)?;
            }
        } else {
            reference.batch(all_slots(contents.len()))?;
        }
        for (slot, content) in contents.iter().enumerate() {
            reference.collect(self.device, blocks, &self.layout, slot)?;
            if keep == Keep::Expected {
                let computed = self.slot(&blocks[1], slot, Side::Outputs)?;
                copy(computed, self.slot(&secret[1], *content, Side::Outputs)?, stream)?;
            }
        }
        Ok(stream.synchronize()?)
    }

    /// Puts contents into slots of the shared blocks that no scored call will see, for a recorder or a builder.
    pub fn place_decoys(
        &mut self,
        session: &mut PlayerSession,
        reference: &mut PlayerSession,
        secret: Seed,
        count: usize,
    ) -> Result<(), Stop> {
        self.learn_scalars(reference)?;
        let decoys = self.sources.decoys(secret.0);
        let JudgeDevice { shared, stream, instruments, .. } = self.device;
        let mut previous = None;
        for slot in 0..count {
            let region = self.decoy_slot(shared, slot)?;
            let index = u32::try_from(slot).expect("a few at most");
            decoys.make(index, region, previous, instruments, stream)?;
            self.let_function_make(&decoys, index, previous.is_some(), region, reference)?;
            self.bring(region, shared, slot)?;
            previous = Some(region);
        }
        stream.synchronize()?;
        for slot in 0..count {
            session.publish(self.device, shared, self.given(), slot)?;
        }
        Ok(())
    }

    /// Makes sure that a number of calls can be made.
    pub fn provide(&mut self, calls: usize, reference: &mut PlayerSession) -> Result<(), Stop> {
        if self.unused.len() < calls.min(self.contents) { self.prepare(reference) } else { Ok(()) }
    }

    /// A content that no call has seen.
    fn take(&mut self) -> usize {
        self.unused.pop().expect("callers provide for their calls")
    }

    /// One checked call with a content that no call has seen, in a slot that nobody can foresee.
    pub fn call(
        &mut self,
        session: &mut PlayerSession,
        reference: &mut PlayerSession,
        clock: Clock,
    ) -> Result<CallReport, Stop> {
        self.provide(1, reference)?;
        let (blocks, slot) = self.window(session);
        let content = self.take();
        self.call_with(session, reference, (clock, content), (&blocks, slot))
    }

    fn call_with(
        &mut self,
        session: &mut PlayerSession,
        reference: &mut PlayerSession,
        (clock, content): (Clock, usize),
        (blocks, slot): (&Rc<[DeviceBuffer; 2]>, usize),
    ) -> Result<CallReport, Stop> {
        session.map(blocks)?;
        self.place(content, blocks, slot)?;
        if session.is_stage() {
            self.clear_beside(blocks)?;
        }
        self.device.stream.synchronize()?;
        session.publish(self.device, blocks, self.given(), slot)?;
        let slot_number = u32::try_from(slot).expect("a few at most");
        let report = session.call(slot_number, clock, L2::Cold)?;
        session.collect(self.device, blocks, self.given(), slot)?;
        self.check(content, blocks, slot, reference)?;
        Ok(report)
    }

    /// Clears what lies behind the one slot of a block.
    fn clear_beside(&self, blocks: &[DeviceBuffer; 2]) -> Result<(), Stop> {
        for (block, side) in blocks.iter().zip([Side::Inputs, Side::Outputs]) {
            let used = side.of(self.given()).slot_bytes;
            let size = block.whole().size_bytes();
            fill(block.region(used, size - used)?, 0, &self.device.stream)?;
        }
        Ok(())
    }

    /// Most calls of a batch: each has a slot, and a content that no call has seen. A slow reference makes fewer
    /// contents than there are slots.
    pub fn largest_batch(&self) -> usize {
        self.slots.min(self.contents)
    }

    /// A held batch over fresh contents in a secret order, every output checked.
    pub fn batch(
        &mut self,
        session: &mut PlayerSession,
        reference: &mut PlayerSession,
        count: usize,
    ) -> Result<BatchReport, Stop> {
        let count = count.clamp(1, self.largest_batch());
        self.provide(count, reference)?;
        let contents: Vec<usize> = (0..count).map(|_| self.take()).collect();
        let shared = Rc::clone(&self.device.shared);
        session.map(&shared)?;
        for (slot, content) in contents.iter().enumerate() {
            self.place(*content, &shared, slot)?;
        }
        self.device.stream.synchronize()?;
        for slot in 0..count {
            session.publish(self.device, &shared, self.given(), slot)?;
        }
        let report = session.batch(all_slots(count))?;
        for slot in 0..count {
            session.collect(self.device, &shared, self.given(), slot)?;
        }
        for (slot, content) in contents.iter().enumerate() {
            self.check(*content, &shared, slot, reference)?;
        }
        Ok(report)
    }

    /// Brings a content to a slot and poisons its outputs.
    fn place(&self, content: usize, blocks: &[DeviceBuffer; 2], slot: usize) -> Result<(), Stop> {
        let made = self.slot(&self.device.secret[0], content, Side::Inputs)?;
        self.bring(made, blocks, slot)
    }

    /// Fills a slot of a subject's outputs with what no call writes.
    pub(super) fn poison(&self, outputs: Region, layout: &SlotLayout) -> Result<(), Stop> {
        let stream = &self.device.stream;
        fill(outputs, POISON, stream)?;
        for (offset, length) in layout.stretches(|place| !place.tensor.dtype.is_float()) {
            fill(outputs.part(offset, length)?, INTEGER_POISON, stream)?;
        }
        Ok(())
    }

    /// A checked call whose outputs are then compared in full.
    pub fn detailed_call(
        &mut self,
        session: &mut PlayerSession,
        reference: &mut PlayerSession,
    ) -> Result<Vec<(String, OutputComparison)>, Stop> {
        self.provide(1, reference)?;
        let (blocks, slot) = self.window(session);
        let content = self.take();
        self.call_with(session, reference, (Clock::Host, content), (&blocks, slot))?;
        let (blocks, slot) = self.gathered(content, &blocks, slot)?;
        self.details(content, &blocks, slot)
    }

    pub(super) fn slot(&self, block: &DeviceBuffer, slot: usize, side: Side) -> Result<Region, Stop> {
        let layout = side.of(&self.layout);
        Ok(block.region(layout.slot_offset(slot), layout.slot_bytes)?)
    }

    pub(super) fn tensor(
        &self,
        block: &DeviceBuffer,
        slot: usize,
        side: Side,
        place: &TensorPlace,
    ) -> Result<Region, Stop> {
        Ok(self.slot(block, slot, side)?.part(place.offset, place.tensor.size_bytes)?)
    }
}

/// Where what the reference computes belongs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// It is what is expected.
    Expected,
    /// It stays in the reference's own block.
    InPlace,
}

/// One of the two blocks of a call.
#[derive(Debug, Clone, Copy)]
pub(super) enum Side {
    Inputs,
    Outputs,
}

impl Side {
    pub(super) fn of(self, layout: &CallLayout) -> &SlotLayout {
        match self {
            Self::Inputs => &layout.inputs,
            Self::Outputs => &layout.outputs,
        }
    }
}

fn all_slots(count: usize) -> Vec<u32> {
    (0..u32::try_from(count).expect("a few hundred")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deals_every_number_once() {
        let mut dice = Dice::new(Seed(7), "test");
        let mut dealt = dice.permutation(100);
        assert_ne!(dealt, (0..100).collect::<Vec<_>>());
        dealt.sort_unstable();
        assert_eq!(dealt, (0..100).collect::<Vec<_>>());
        assert!((0..1000).all(|_| dice.below(3) < 3));
    }
}
