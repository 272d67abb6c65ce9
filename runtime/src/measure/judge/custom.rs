//! Inputs that the definition's own function makes: asked of the reference's player, a fresh seed for each content.
//!
//! The function makes every tensor of a content, and every scalar that the workload gives no value. A recorded launch
//! has its scalars baked in, so these are asked for once, with the workload's own seed, and stay; where a content comes
//! with another value the function's own check refuses it. A content that is a twin is made from the one before it,
//! without the function.

use proofmark_packager::interop::flashinfer::{Dtype, Scalar};
use proofmark_player::PlayerEnd;
use proofmark_player::device::memory::{Region, copy, download};
use proofmark_player::protocol::{Argument, Block, Clock, L2};

use super::binding::Asked;
use super::device::JudgeDevice;
use super::session::{PlayerSession, Stop};
use super::source::Sources;
use super::trial::{Side, Trial};
use crate::measure::subject::BenchError;

/// The slot of the reference's own blocks that a content is made in.
const SLOT: usize = 0;
/// A scalar travels as one number in double precision, in the place of the outputs.
const SCALAR_BYTES: u64 = 8;
const DOUBLE: (u8, u8) = (2, 64);

impl Trial<'_> {
    /// Learns the scalars that the definition's own function gives; nothing where it makes no inputs.
    pub(super) fn learn_scalars(&mut self, reference: &mut PlayerSession) -> Result<(), Stop> {
        if self.sources.unknown_scalars().is_empty() {
            return Ok(());
        }
        self.ask_function(reference, self.sources.function_seed(0))?;
        let block = &self.device.reference[1];
        let mut found = Vec::new();
        for (number, (_, dtype)) in (0_u64..).zip(self.sources.unknown_scalars()) {
            let mut bytes = [0; 8];
            let place = block.region(number * SCALAR_BYTES, SCALAR_BYTES)?;
            download(place, &mut bytes, &self.device.stream)?;
            found.push(value_of(f64::from_le_bytes(bytes), *dtype));
        }
        self.sources.set_scalars(found);
        Ok(())
    }

    /// Lets the definition's own function make a content; nothing where it makes no inputs, or where the content is
    /// another's twin.
    pub(super) fn let_function_make(
        &self,
        sources: &Sources,
        index: u32,
        has_previous: bool,
        slot: Region,
        reference: &mut PlayerSession,
    ) -> Result<(), Stop> {
        if !sources.is_custom() || Sources::is_twin(index, has_previous) {
            return Ok(());
        }
        self.ask_function(reference, sources.function_seed(index))?;
        let made = self.slot(&self.device.reference[0], SLOT, Side::Inputs)?;
        copy(made, slot, &self.device.stream)?;
        Ok(self.device.stream.synchronize()?)
    }

    fn ask_function(&self, reference: &mut PlayerSession, seed: u32) -> Result<(), Stop> {
        let failed =
            |end| Stop::Bench(BenchError::Reference { workload: self.sources.uuid().to_owned(), end });
        if !reference.is_definition() {
            let text = "its inputs are made by the definition's own code, which must be the reference";
            return Err(failed(PlayerEnd::Refused { text: text.to_owned() }));
        }
        let JudgeDevice { reference: blocks, .. } = self.device;
        let mut values = self.sources.values().to_vec();
        for (number, (place, _)) in (0_u64..).zip(self.sources.unknown_scalars()) {
            values[*place] = Some(scalar_place(number * SCALAR_BYTES));
        }
        let asked = Asked::Inputs { seed, axes: self.sources.axes() };
        reference.bind_for(&self.layout, &values, SLOT + 1, asked).map_err(failed)?;
        reference.publish(self.device, blocks, &self.layout, SLOT)?;
        reference.call(0, Clock::Host, L2::AsIs).map_err(failed)?;
        reference.collect(self.device, blocks, &self.layout, SLOT)
    }
}

/// A place that the function's scalar is written to.
fn scalar_place(offset: u64) -> Argument {
    let (code, bits) = DOUBLE;
    let (shape, strides) = (Vec::new(), Vec::new());
    Argument::Tensor { block: Block::Outputs, code, bits, shape, strides, offsets: vec![offset] }
}

#[expect(clippy::cast_possible_truncation, reason = "a whole number of the function's, and saturating")]
fn value_of(value: f64, dtype: Dtype) -> Scalar {
    match dtype {
        Dtype::Bool => Scalar::Bool(value != 0.0),
        dtype if dtype.is_float() => Scalar::Float(value),
        _ => Scalar::Integer(value as i64),
    }
}
