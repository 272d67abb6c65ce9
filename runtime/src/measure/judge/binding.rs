//! How a call is described to a player: its arguments in order, for every slot.

use proofmark_player::PlayerEnd;
use proofmark_player::protocol::{Argument, Block, Order};

use super::layout::{CallLayout, SlotLayout, dlpack};
use super::session::{ORDER_LIMIT, PlayerSession};

/// What is asked of a definition's own reference.
#[derive(Debug, Clone, Copy)]
pub enum Asked<'workload> {
    /// What is right: every narrower float is a double.
    Double,
    /// What it computes as it stands.
    Plain,
    /// The inputs that the workload leaves to the definition.
    Inputs {
        /// What they are drawn from.
        seed: u32,
        /// The workload's variable axes, in the definition's order.
        axes: &'workload [i64],
    },
    /// Whether the outputs are right.
    Check {
        /// Bytes for the answer.
        answer: &'workload Argument,
    },
}

impl Asked<'_> {
    /// As the script of the player knows it.
    fn number(self) -> i64 {
        match self {
            Self::Double => -1,
            Self::Plain => -2,
            Self::Inputs { seed, .. } => i64::from(seed),
            Self::Check { .. } => -3,
        }
    }

    /// What stands before that number.
    fn arguments(self) -> Vec<Argument> {
        match self {
            Self::Double | Self::Plain => Vec::new(),
            Self::Inputs { axes, .. } => axes.iter().map(|axis| Argument::Int(*axis)).collect(),
            Self::Check { answer } => vec![answer.clone()],
        }
    }
}

impl PlayerSession {
    /// Whether it runs a definition's own reference.
    pub fn is_definition(&self) -> bool {
        self.is_definition
    }

    /// Describes the call for a number of slots; a definition's own reference is asked for what is right.
    pub fn bind(
        &mut self,
        layout: &CallLayout,
        values: &[Option<Argument>],
        slots: usize,
    ) -> Result<(), PlayerEnd> {
        self.bind_for(layout, values, slots, Asked::Double)
    }

    /// The same with what is asked of a definition's own reference.
    pub fn bind_for(
        &mut self,
        layout: &CallLayout,
        values: &[Option<Argument>],
        slots: usize,
        asked: Asked<'_>,
    ) -> Result<(), PlayerEnd> {
        let mut arguments = arguments(layout, values, slots);
        if self.is_definition {
            arguments.extend(asked.arguments());
            arguments.push(Argument::Int(asked.number()));
        }
        let slots = u32::try_from(slots).unwrap_or(u32::MAX);
        self.player.tell(&Order::Bind { slots, arguments }, ORDER_LIMIT)
    }
}

/// A call's arguments in order: the values, with the inputs' tensors between them, then the outputs.
pub fn arguments(layout: &CallLayout, values: &[Option<Argument>], slots: usize) -> Vec<Argument> {
    let mut inputs = tensors(&layout.inputs, Block::Inputs, slots).into_iter();
    let values = values.iter().filter_map(|value| value.clone().or_else(|| inputs.next()));
    values.chain(tensors(&layout.outputs, Block::Outputs, slots)).collect()
}

fn tensors(layout: &SlotLayout, block: Block, slots: usize) -> Vec<Argument> {
    let argument = |place: &super::layout::TensorPlace| {
        let (code, bits) = dlpack(place.tensor.dtype);
        let shape = place.tensor.shape.as_deref().unwrap_or(&[]);
        Argument::Tensor {
            block,
            code,
            bits,
            shape: shape.iter().map(|extent| signed(*extent)).collect(),
            strides: place.spread.strides.iter().map(|stride| signed(*stride)).collect(),
            offsets: (0..slots).map(|slot| layout.slot_offset(slot) + place.offset).collect(),
        }
    };
    layout.places.iter().map(argument).collect()
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
