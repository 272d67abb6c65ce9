//! Where the tensors of one call lie in a block: a slot. All slots of a workload are alike.

use proofmark_packager::interop::flashinfer::{Definition, Dtype, Named, Shapes, Tensor, Workload};

use super::spread::Spread;
use crate::measure::strides::Strides;
use crate::measure::subject::BenchError;

use proofmark_player::protocol::Block;

/// Tensors start at multiples of this many bytes: what CUDA's own allocator gives.
const ALIGNMENT: u64 = 256;

/// One tensor's place in its slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorPlace {
    /// The tensor's name.
    pub name: String,
    /// What it is.
    pub tensor: Tensor,
    /// Byte offset in the slot.
    pub offset: u64,
    /// How its elements lie there.
    pub spread: Spread,
}

/// The places of one block's tensors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotLayout {
    /// The tensors in call order; scalars travel by value and have no place.
    pub places: Vec<TensorPlace>,
    /// Size of a slot in bytes.
    pub slot_bytes: u64,
}

impl SlotLayout {
    fn new<'a>(tensors: impl Iterator<Item = (&'a str, &'a Tensor)>, strides: Strides) -> Self {
        let mut places = Vec::new();
        let mut offset = 0_u64;
        for (name, tensor) in tensors.filter(|(_, tensor)| !tensor.is_scalar()) {
            let spread = Spread::new(tensor, strides);
            let end = offset.saturating_add(spread.room_bytes());
            places.push(TensorPlace { name: name.to_owned(), tensor: tensor.clone(), offset, spread });
            offset = end.next_multiple_of(ALIGNMENT);
        }
        Self { places, slot_bytes: offset.max(ALIGNMENT) }
    }

    /// Offset and length of the stretches of a slot whose tensors are `wanted`, gaps included.
    pub fn stretches(&self, wanted: impl Fn(&TensorPlace) -> bool) -> Vec<(u64, u64)> {
        let mut stretches: Vec<(u64, u64)> = Vec::new();
        let mut goes_on = false;
        for place in &self.places {
            let is_wanted = wanted(place);
            let end = place.offset + place.spread.room_bytes().next_multiple_of(ALIGNMENT);
            match stretches.last_mut() {
                Some((offset, length)) if is_wanted && goes_on => *length = end - *offset,
                _ if is_wanted => stretches.push((place.offset, end - place.offset)),
                _ => {}
            }
            goes_on = is_wanted;
        }
        stretches
    }

    /// Where a slot begins in its block.
    pub fn slot_offset(&self, slot: usize) -> u64 {
        self.slot_bytes.saturating_mul(slot as u64)
    }
}

/// The places of one call's tensors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallLayout {
    /// In the inputs' block.
    pub inputs: SlotLayout,
    /// In the outputs' block.
    pub outputs: SlotLayout,
}

impl CallLayout {
    /// Lays out a workload's tensors, or says why it does not fit its definition.
    pub fn of(definition: &Definition, workload: &Workload) -> Result<Self, BenchError> {
        let shapes = definition.shapes(workload).map_err(|invalid| BenchError::Workload {
            workload: workload.uuid().to_owned(),
            detail: invalid.to_string(),
        })?;
        Ok(Self::new(&shapes))
    }

    /// Lays out a workload's tensors.
    pub fn new(shapes: &Shapes) -> Self {
        let layout = |tensors: &Named<Tensor>| SlotLayout::new(tensors.iter(), Strides::Contiguous);
        Self { inputs: layout(&shapes.inputs), outputs: layout(&shapes.outputs) }
    }

    /// The same tensors with gaps between their elements.
    #[must_use]
    pub fn spread(&self, strides: Strides) -> Self {
        let layout = |slot: &SlotLayout| {
            let tensors = slot.places.iter().map(|place| (place.name.as_str(), &place.tensor));
            SlotLayout::new(tensors, strides)
        };
        Self { inputs: layout(&self.inputs), outputs: layout(&self.outputs) }
    }

    /// One block's places.
    pub fn block(&self, block: Block) -> &SlotLayout {
        match block {
            Block::Inputs => &self.inputs,
            Block::Outputs => &self.outputs,
        }
    }

    /// Bytes of one slot in both blocks.
    pub fn slot_bytes(&self) -> u64 {
        self.inputs.slot_bytes.saturating_add(self.outputs.slot_bytes)
    }
}

/// `DLPack`'s type code and bits of an element type.
pub fn dlpack(dtype: Dtype) -> (u8, u8) {
    match dtype {
        Dtype::Float32 => (2, 32),
        Dtype::Float16 => (2, 16),
        Dtype::Bfloat16 => (4, 16),
        Dtype::Float8E4m3fn => (10, 8),
        Dtype::Float8E5m2 => (12, 8),
        Dtype::Float4E2m1 => (17, 4),
        Dtype::Int64 => (0, 64),
        Dtype::Int32 => (0, 32),
        Dtype::Int16 => (0, 16),
        Dtype::Int8 => (0, 8),
        Dtype::Bool => (6, 8),
        Dtype::Uint8 => (1, 8),
        Dtype::Float64 => (2, 64),
    }
}

/// The number by which the instruments know an element type: its place among all.
pub fn number(dtype: Dtype) -> u32 {
    let place = Dtype::ALL.iter().position(|known| *known == dtype);
    u32::try_from(place.expect("every type is among all")).expect("a few types")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_every_tensor_an_aligned_place_of_its_own_and_scalars_none() {
        let definition = Definition::from_json(
            r#"{"name": "d", "op_type": "t", "axes": {"n": {}}, "reference": "def run(x, s, y): pass",
                "inputs": {"x": {"shape": ["n"], "dtype": "bfloat16"}, "s": {"shape": null, "dtype": "float32"},
                           "y": {"shape": ["n"], "dtype": "int8"}},
                "outputs": {"z": {"shape": ["n"], "dtype": "float32"}}}"#,
        )
        .unwrap();
        let workload = Workload::new("w", [("n".to_owned(), 300)], []).unwrap();
        let layout = CallLayout::new(&definition.shapes(&workload).unwrap());
        let places: Vec<_> =
            layout.inputs.places.iter().map(|place| (place.name.as_str(), place.offset)).collect();
        assert_eq!(places, [("x", 0), ("y", 768)]);
        assert_eq!((layout.inputs.slot_bytes, layout.outputs.slot_bytes), (1280, 1280));
        assert_eq!(layout.inputs.slot_offset(3), 3840);
        assert_eq!(layout.inputs.stretches(|_| true), [(0, 1280)]);
        assert_eq!(layout.inputs.stretches(|place| place.name == "y"), [(768, 512)]);
        assert_eq!(layout.inputs.stretches(|_| false), []);
        let apart = layout.spread(Strides::Elements);
        let places: Vec<_> = apart.inputs.places.iter().map(|place| place.offset).collect();
        assert_eq!((places.as_slice(), apart.inputs.slot_bytes), (&[0, 1280][..], 2048));
        assert_eq!(layout.spread(Strides::Contiguous), layout);
    }

    #[test]
    fn numbers_types_as_the_instruments_do() {
        assert_eq!((number(Dtype::Float32), number(Dtype::Bfloat16), number(Dtype::Bool)), (0, 2, 10));
        assert_eq!((number(Dtype::Uint8), number(Dtype::Float64)), (11, 12));
    }
}
