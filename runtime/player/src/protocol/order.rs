//! What the judge asks for.

use super::{Argument, Block, Clock, Home, L2, Role, Tracing, VERSION};
use crate::wire::{Garbled, Reader, Writer};

/// What the judge asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Order {
    /// Get ready: open the device, the tracer and TVM-FFI.
    Start(Start),
    /// Give up privileges, then load the library from the inherited descriptor.
    Load {
        /// The exported symbol, without TVM-FFI's prefix.
        symbol: String,
    },
    /// Map two blocks; replaces earlier ones. Where memory is shared, two descriptors follow.
    Map {
        /// Sizes of inputs and outputs in bytes.
        sizes: [u64; 2],
    },
    /// Describe the call.
    Bind {
        /// How many slots there are.
        slots: u32,
        /// The arguments in call order.
        arguments: Vec<Argument>,
    },
    /// Bring a part of a block from shared host memory to the device.
    Push(Block, u64, u64),
    /// Bring a part of a block from the device to shared host memory.
    Pull(Block, u64, u64),
    /// One call.
    Call(u32, Clock, L2),
    /// Many calls behind one held stream; the judge lets go and watches the done word.
    Batch {
        /// The slots in order.
        slots: Vec<u32>,
        /// The word that lets go, and then says done.
        token: u32,
    },
    /// Start or stop activity records.
    Trace(Tracing),
    /// Count clock cycles over a stretch of nanoseconds.
    Cycles(u64),
    /// List the modules that were loaded.
    Modules,
    /// Record a call of each slot that was bound.
    Record {
        /// Names of variables that the submission's modules may have.
        variables: Vec<String>,
    },
    /// Give a piece of what memory held when the last recording was made.
    Fetch {
        /// The contents' number.
        number: u32,
        /// Where the piece begins, in bytes.
        offset: u64,
    },
    /// Load a proven image.
    Image(Vec<u8>),
    /// Take a piece of what memory is to hold; pieces come in order.
    Contents {
        /// The contents' number.
        number: u32,
        /// The piece.
        bytes: Vec<u8>,
    },
    /// Launch this recording from now on.
    Stage {
        /// The recording, as JSON.
        document: Vec<u8>,
    },
    /// Say whether what memory is put back from is as it was.
    Inspect,
}

/// The first order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// What the player is for.
    pub role: Role,
    /// Where tensors live.
    pub home: Home,
    /// Part of the names of our own kernels, so that they cannot be guessed.
    pub nonce: String,
    /// Absolute path of `libtvm_ffi.so`; empty for a stage and for Python.
    pub tvm_ffi: String,
    /// Where CUPTI may be; empty for none.
    pub cupti: Vec<String>,
    /// Folders that Python code is read from; empty without Python.
    pub folders: Vec<String>,
    /// The folder that a builder writes; empty for every other role.
    pub cache: String,
}

impl Order {
    /// Writes the frame.
    pub fn encode(&self) -> (u32, Vec<u8>) {
        let writer = Writer::default();
        let (kind, writer) = match self {
            Self::Start(start) => (1, encode_start(writer, start)),
            Self::Load { symbol } => (2, writer.text(symbol)),
            Self::Map { sizes } => (3, writer.long(sizes[0]).long(sizes[1])),
            Self::Bind { slots, arguments } => (4, writer.word(*slots).list(arguments, encode_argument)),
            Self::Push(block, offset, length) => (5, writer.byte(*block as u8).long(*offset).long(*length)),
            Self::Pull(block, offset, length) => (6, writer.byte(*block as u8).long(*offset).long(*length)),
            Self::Call(slot, clock, l2) => (7, writer.word(*slot).byte(*clock as u8).byte(*l2 as u8)),
            Self::Batch { slots, token } => {
                (8, writer.word(*token).list(slots, |writer, slot| writer.word(*slot)))
            }
            Self::Trace(tracing) => (9, writer.byte(*tracing as u8)),
            Self::Cycles(stretch_ns) => (10, writer.long(*stretch_ns)),
            Self::Modules => (11, writer),
            Self::Record { variables } => (12, writer.list(variables, |writer, name| writer.text(name))),
            Self::Fetch { number, offset } => (13, writer.word(*number).long(*offset)),
            Self::Image(bytes) => (14, writer.bytes(bytes)),
            Self::Contents { number, bytes } => (15, writer.word(*number).bytes(bytes)),
            Self::Stage { document } => (16, writer.bytes(document)),
            Self::Inspect => (17, writer),
        };
        (kind, writer.0)
    }

    /// Reads the frame.
    pub fn decode(kind: u32, payload: &[u8]) -> Result<Self, Garbled> {
        let mut reader = Reader(payload);
        let order = match kind {
            1 => Self::Start(decode_start(&mut reader)?),
            2 => Self::Load { symbol: reader.text()? },
            3 => Self::Map { sizes: [reader.long()?, reader.long()?] },
            4 => Self::Bind { slots: reader.word()?, arguments: reader.list(decode_argument)? },
            5 => Self::Push(decode_block(&mut reader)?, reader.long()?, reader.long()?),
            6 => Self::Pull(decode_block(&mut reader)?, reader.long()?, reader.long()?),
            7 => Self::Call(reader.word()?, decode_clock(&mut reader)?, decode_l2(&mut reader)?),
            8 => Self::Batch { token: reader.word()?, slots: reader.list(Reader::word)? },
            9 => Self::Trace(if reader.truth()? { Tracing::On } else { Tracing::Off }),
            10 => Self::Cycles(reader.long()?),
            11 => Self::Modules,
            12 => Self::Record { variables: reader.list(Reader::text)? },
            13 => Self::Fetch { number: reader.word()?, offset: reader.long()? },
            14 => Self::Image(reader.bytes()?),
            15 => Self::Contents { number: reader.word()?, bytes: reader.bytes()? },
            16 => Self::Stage { document: reader.bytes()? },
            17 => Self::Inspect,
            _ => return Err(Garbled { what: "an unknown order" }),
        };
        reader.end(order)
    }
}

fn encode_start(writer: Writer, start: &Start) -> Writer {
    writer
        .word(VERSION)
        .byte(start.role as u8)
        .byte(start.home as u8)
        .text(&start.nonce)
        .text(&start.tvm_ffi)
        .list(&start.cupti, |writer, path| writer.text(path))
        .list(&start.folders, |writer, path| writer.text(path))
        .text(&start.cache)
}

fn decode_start(reader: &mut Reader<'_>) -> Result<Start, Garbled> {
    if reader.word()? != VERSION {
        return Err(Garbled { what: "another version of the conversation" });
    }
    let role = match reader.byte()? {
        0 => Role::Live,
        1 => Role::Recorder,
        2 => Role::Stage,
        3 => Role::Builder,
        _ => return Err(Garbled { what: "an unknown role" }),
    };
    let home = match reader.byte()? {
        0 => Home::Cpu,
        1 => Home::Shared,
        2 => Home::Copies,
        _ => return Err(Garbled { what: "an unknown home" }),
    };
    Ok(Start {
        role,
        home,
        nonce: reader.text()?,
        tvm_ffi: reader.text()?,
        cupti: reader.list(Reader::text)?,
        folders: reader.list(Reader::text)?,
        cache: reader.text()?,
    })
}

fn encode_argument(writer: Writer, argument: &Argument) -> Writer {
    match argument {
        Argument::Tensor { block, code, bits, shape, strides, offsets } => writer
            .byte(0)
            .byte(*block as u8)
            .byte(*code)
            .byte(*bits)
            .list(shape, |writer, extent| writer.long(extent.cast_unsigned()))
            .list(strides, |writer, stride| writer.long(stride.cast_unsigned()))
            .list(offsets, |writer, offset| writer.long(*offset)),
        Argument::Int(value) => writer.byte(1).long(value.cast_unsigned()),
        Argument::Float(value) => writer.byte(2).float(*value),
        Argument::Bool(value) => writer.byte(3).byte(u8::from(*value)),
        Argument::None => writer.byte(4),
    }
}

fn decode_argument(reader: &mut Reader<'_>) -> Result<Argument, Garbled> {
    Ok(match reader.byte()? {
        0 => Argument::Tensor {
            block: decode_block(reader)?,
            code: reader.byte()?,
            bits: reader.byte()?,
            shape: reader.list(|reader| reader.long().map(u64::cast_signed))?,
            strides: reader.list(|reader| reader.long().map(u64::cast_signed))?,
            offsets: reader.list(Reader::long)?,
        },
        1 => Argument::Int(reader.long()?.cast_signed()),
        2 => Argument::Float(reader.float()?),
        3 => Argument::Bool(reader.truth()?),
        4 => Argument::None,
        _ => return Err(Garbled { what: "an unknown argument" }),
    })
}

fn decode_block(reader: &mut Reader<'_>) -> Result<Block, Garbled> {
    match reader.byte()? {
        0 => Ok(Block::Inputs),
        1 => Ok(Block::Outputs),
        _ => Err(Garbled { what: "an unknown block" }),
    }
}

fn decode_clock(reader: &mut Reader<'_>) -> Result<Clock, Garbled> {
    match reader.byte()? {
        0 => Ok(Clock::Host),
        1 => Ok(Clock::Cupti),
        2 => Ok(Clock::Events),
        _ => Err(Garbled { what: "an unknown clock" }),
    }
}

fn decode_l2(reader: &mut Reader<'_>) -> Result<L2, Garbled> {
    match reader.byte()? {
        0 => Ok(L2::Cold),
        1 => Ok(L2::AsIs),
        _ => Err(Garbled { what: "an unknown L2 state" }),
    }
}
