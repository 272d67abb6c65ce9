//! The messages between judge and player: fixed layout, little-endian, no objects. The judge reads
//! answers as hostile input; `wire` says how they travel.

use proofmark_packager::Digest;

use super::wire::{Garbled, Reader, Writer};

/// Version of the conversation. Both ends are the same binary; a mismatch means that they are not.
pub const VERSION: u32 = 2;
/// The slot that stands for no call at all: what the clock itself costs.
pub const NO_CALL: u32 = u32::MAX;

/// Where tensors live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Home {
    /// Host memory that both map; kernels run on the CPU.
    Cpu,
    /// The judge's device memory, mapped by IPC.
    Ipc,
    /// Device memory of the child's own; contents travel through host memory that both map.
    Copies,
}

/// Which clock a call is timed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Clock {
    /// Host time around the call and nothing else.
    Host,
    /// Activity records.
    Cupti,
    /// A pair of events behind a kernel that holds the stream.
    Events,
}

/// What stays in L2 before a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum L2 {
    /// Flushed by writing twice its size.
    Cold,
    /// Left as it is.
    AsIs,
}

/// Whether activity records are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tracing {
    /// They are not.
    Off,
    /// They are.
    On,
}

/// One argument of the kernel.
#[derive(Debug, Clone, PartialEq)]
pub enum Argument {
    /// A tensor; its place in each slot follows in `Binding::offsets`.
    Tensor {
        /// Whether it lies in the inputs or the outputs.
        block: Block,
        /// `DLPack`'s type code.
        code: u8,
        /// `DLPack`'s element size in bits.
        bits: u8,
        /// The extents, outermost first.
        shape: Vec<i64>,
        /// Its byte offset in each slot.
        offsets: Vec<u64>,
    },
    /// A whole number.
    Int(i64),
    /// A float.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// Nothing: an optional argument that is left out.
    None,
}

/// One of the two blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Block {
    /// Inputs, and whatever the definition lets a kernel change.
    Inputs,
    /// Outputs.
    Outputs,
}

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
    /// Map two blocks; replaces earlier ones.
    Map {
        /// Sizes of inputs and outputs in bytes.
        sizes: [u64; 2],
        /// IPC handles of inputs and outputs; zeros where there is no IPC.
        handles: [[u8; 64]; 2],
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
}

/// The first order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// Where tensors live.
    pub home: Home,
    /// Part of the names of our own kernels, so that they cannot be guessed.
    pub nonce: String,
    /// Absolute path of `libtvm_ffi.so`.
    pub tvm_ffi: String,
    /// Where CUPTI may be; empty for none.
    pub cupti: Vec<String>,
}

/// One piece of work on the GPU, as the player claims it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activity {
    /// 0 kernel, 1 copy, 2 fill.
    pub work: u8,
    /// Whether it is an instrument of ours, by its secret name.
    pub instrument: Instrument,
    /// Start in nanoseconds.
    pub start_ns: u64,
    /// End in nanoseconds.
    pub end_ns: u64,
    /// CUPTI's number for the stream.
    pub stream: u32,
    /// Mangled name of a foreign kernel.
    pub name: String,
}

/// Which of our own kernels, if any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instrument {
    /// Not ours.
    Foreign,
    /// The L2 flush before a call.
    Flush,
    /// The mark behind a call.
    Mark,
    /// Any other of ours.
    Other,
}

/// What one call looked like from inside the player.
#[derive(Debug, Clone, PartialEq)]
pub struct CallReport {
    /// Host nanoseconds that the entry point took to return.
    pub host_ns: f64,
    /// Nanoseconds between the events; `None` for other clocks.
    pub event_ns: Option<f64>,
    /// Whether the entry point kept the host until the hold gave up: it waits for the device.
    pub waits: bool,
    /// Bytes of L2 set aside for persisting accesses after the call.
    pub persisting_bytes: u64,
    /// Bytes of the stream's access window after the call.
    pub window_bytes: u64,
    /// Activity records, for [`Clock::Cupti`].
    pub activities: Vec<Activity>,
}

/// What the player answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// Done.
    Done,
    /// Ready; texts say what is missing.
    Ready {
        /// Why there are no activity records; `None` when there are.
        cupti_problem: Option<String>,
        /// Which protections could not be had; `None` when all could.
        confinement_problem: Option<String>,
    },
    /// The call.
    Called(CallReport),
    /// The batch ended: host nanoseconds for all calls, event nanoseconds, and whether the hold gave up.
    Batched(f64, f64, bool),
    /// Cycles and nanoseconds.
    Cycles(u64, u64),
    /// Digests of loaded modules.
    Modules(Vec<Digest>),
    /// The kernel raised an error.
    Raised(String),
    /// The device or the loader refused.
    Refused(String),
}

impl Order {
    /// Writes the frame.
    pub fn encode(&self) -> (u32, Vec<u8>) {
        let writer = Writer::default();
        let (kind, writer) = match self {
            Self::Start(start) => (1, encode_start(writer, start)),
            Self::Load { symbol } => (2, writer.text(symbol)),
            Self::Map { sizes, handles } => {
                (3, writer.long(sizes[0]).long(sizes[1]).raw(&handles[0]).raw(&handles[1]))
            }
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
        };
        (kind, writer.0)
    }

    /// Reads the frame.
    pub fn decode(kind: u32, payload: &[u8]) -> Result<Self, Garbled> {
        let mut reader = Reader(payload);
        let order = match kind {
            1 => Self::Start(decode_start(&mut reader)?),
            2 => Self::Load { symbol: reader.text()? },
            3 => Self::Map {
                sizes: [reader.long()?, reader.long()?],
                handles: [reader.take()?, reader.take()?],
            },
            4 => Self::Bind { slots: reader.word()?, arguments: reader.list(decode_argument)? },
            5 => Self::Push(decode_block(&mut reader)?, reader.long()?, reader.long()?),
            6 => Self::Pull(decode_block(&mut reader)?, reader.long()?, reader.long()?),
            7 => Self::Call(reader.word()?, decode_clock(&mut reader)?, decode_l2(&mut reader)?),
            8 => Self::Batch { token: reader.word()?, slots: reader.list(Reader::word)? },
            9 => Self::Trace(if reader.truth()? { Tracing::On } else { Tracing::Off }),
            10 => Self::Cycles(reader.long()?),
            11 => Self::Modules,
            _ => return Err(Garbled { what: "an unknown order" }),
        };
        reader.end(order)
    }
}

fn encode_start(writer: Writer, start: &Start) -> Writer {
    writer
        .word(VERSION)
        .byte(start.home as u8)
        .text(&start.nonce)
        .text(&start.tvm_ffi)
        .list(&start.cupti, |writer, path| writer.text(path))
}

fn decode_start(reader: &mut Reader<'_>) -> Result<Start, Garbled> {
    if reader.word()? != VERSION {
        return Err(Garbled { what: "another version of the conversation" });
    }
    let home = match reader.byte()? {
        0 => Home::Cpu,
        1 => Home::Ipc,
        2 => Home::Copies,
        _ => return Err(Garbled { what: "an unknown home" }),
    };
    Ok(Start { home, nonce: reader.text()?, tvm_ffi: reader.text()?, cupti: reader.list(Reader::text)? })
}

fn encode_argument(writer: Writer, argument: &Argument) -> Writer {
    match argument {
        Argument::Tensor { block, code, bits, shape, offsets } => writer
            .byte(0)
            .byte(*block as u8)
            .byte(*code)
            .byte(*bits)
            .list(shape, |writer, extent| writer.long(extent.cast_unsigned()))
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

impl Answer {
    /// Writes the frame.
    pub fn encode(&self) -> (u32, Vec<u8>) {
        let writer = Writer::default();
        let (kind, writer) = match self {
            Self::Done => (1, writer),
            Self::Ready { cupti_problem, confinement_problem } => {
                let problem = |writer: Writer, text: &String| writer.text(text);
                (
                    2,
                    writer
                        .option(cupti_problem.as_ref(), problem)
                        .option(confinement_problem.as_ref(), problem),
                )
            }
            Self::Called(report) => (3, encode_report(writer, report)),
            Self::Batched(host_ns, event_ns, waits) => {
                (4, writer.float(*host_ns).float(*event_ns).byte(u8::from(*waits)))
            }
            Self::Cycles(cycles, elapsed_ns) => (5, writer.long(*cycles).long(*elapsed_ns)),
            Self::Modules(modules) => {
                (6, writer.list(modules, |writer, module| writer.raw(module.as_bytes())))
            }
            Self::Raised(text) => (7, writer.text(text)),
            Self::Refused(text) => (8, writer.text(text)),
        };
        (kind, writer.0)
    }

    /// Reads the frame, trusting nothing.
    pub fn decode(kind: u32, payload: &[u8]) -> Result<Self, Garbled> {
        let mut reader = Reader(payload);
        let answer = match kind {
            1 => Self::Done,
            2 => Self::Ready {
                cupti_problem: reader.option(Reader::foreign_text)?,
                confinement_problem: reader.option(Reader::foreign_text)?,
            },
            3 => Self::Called(decode_report(&mut reader)?),
            4 => Self::Batched(reader.duration()?, reader.duration()?, reader.truth()?),
            5 => Self::Cycles(reader.long()?, reader.long()?),
            6 => Self::Modules(reader.list(|reader| reader.take().map(digest))?),
            7 => Self::Raised(reader.foreign_text()?),
            8 => Self::Refused(reader.foreign_text()?),
            _ => return Err(Garbled { what: "an unknown answer" }),
        };
        reader.end(answer)
    }
}

fn digest(bytes: [u8; 32]) -> Digest {
    let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    hex.concat().parse().expect("64 lower-case digits were just written")
}

fn encode_report(writer: Writer, report: &CallReport) -> Writer {
    writer
        .float(report.host_ns)
        .option(report.event_ns.as_ref(), |writer, event_ns| writer.float(*event_ns))
        .byte(u8::from(report.waits))
        .long(report.persisting_bytes)
        .long(report.window_bytes)
        .list(&report.activities, |writer, activity| {
            writer
                .byte(activity.work)
                .byte(activity.instrument as u8)
                .long(activity.start_ns)
                .long(activity.end_ns)
                .word(activity.stream)
                .text(&activity.name)
        })
}

fn decode_report(reader: &mut Reader<'_>) -> Result<CallReport, Garbled> {
    Ok(CallReport {
        host_ns: reader.duration()?,
        event_ns: reader.option(Reader::duration)?,
        waits: reader.truth()?,
        persisting_bytes: reader.long()?,
        window_bytes: reader.long()?,
        activities: reader.list(decode_activity)?,
    })
}

fn decode_activity(reader: &mut Reader<'_>) -> Result<Activity, Garbled> {
    let work = reader.byte()?;
    let instrument = match reader.byte()? {
        0 => Instrument::Foreign,
        1 => Instrument::Flush,
        2 => Instrument::Mark,
        3 => Instrument::Other,
        _ => return Err(Garbled { what: "an unknown instrument" }),
    };
    Ok(Activity {
        work,
        instrument,
        start_ns: reader.long()?,
        end_ns: reader.long()?,
        stream: reader.word()?,
        name: reader.foreign_text()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn orders() -> Vec<Order> {
        let tensor = Argument::Tensor {
            block: Block::Outputs,
            code: 4,
            bits: 16,
            shape: vec![1, 8, -1],
            offsets: vec![0, 4096],
        };
        vec![
            Order::Start(Start {
                home: Home::Copies,
                nonce: "ab".to_owned(),
                tvm_ffi: "/x".to_owned(),
                cupti: vec!["/y".to_owned()],
            }),
            Order::Load { symbol: "run".to_owned() },
            Order::Map { sizes: [1, 2], handles: [[7; 64], [8; 64]] },
            Order::Bind {
                slots: 2,
                arguments: vec![
                    tensor,
                    Argument::Int(-3),
                    Argument::Float(0.5),
                    Argument::Bool(true),
                    Argument::None,
                ],
            },
            Order::Push(Block::Inputs, 1, 2),
            Order::Pull(Block::Outputs, 3, 4),
            Order::Call(NO_CALL, Clock::Events, L2::AsIs),
            Order::Batch { slots: vec![1, 0, 1], token: 9 },
            Order::Trace(Tracing::On),
            Order::Cycles(1000),
            Order::Modules,
        ]
    }

    fn answers() -> Vec<Answer> {
        let activity = Activity {
            work: 0,
            instrument: Instrument::Mark,
            start_ns: 1,
            end_ns: 2,
            stream: 3,
            name: "k".to_owned(),
        };
        vec![
            Answer::Done,
            Answer::Ready { cupti_problem: None, confinement_problem: Some("no seccomp".to_owned()) },
            Answer::Called(CallReport {
                host_ns: 1.0,
                event_ns: Some(2.0),
                waits: false,
                persisting_bytes: 0,
                window_bytes: 1,
                activities: vec![activity],
            }),
            Answer::Batched(1.0, 2.0, true),
            Answer::Cycles(1, 2),
            Answer::Modules(vec![Digest::of_bytes(b"x")]),
            Answer::Raised("TypeError".to_owned()),
            Answer::Refused("no GPU".to_owned()),
        ]
    }

    #[test]
    fn reads_back_every_message_it_writes() {
        for order in orders() {
            let (kind, payload) = order.encode();
            assert_eq!(Order::decode(kind, &payload), Ok(order));
        }
        for answer in answers() {
            let (kind, payload) = answer.encode();
            assert_eq!(Answer::decode(kind, &payload), Ok(answer));
        }
    }

    #[test]
    fn refuses_messages_cut_short_or_too_long() {
        for answer in answers() {
            let (kind, payload) = answer.encode();
            for length in 0..payload.len() {
                assert!(Answer::decode(kind, &payload[..length]).is_err(), "{answer:?} cut at {length}");
            }
            let longer = [payload.as_slice(), &[0]].concat();
            assert!(Answer::decode(kind, &longer).is_err(), "{answer:?}");
        }
        assert!(crate::wire::parse_head([0xFF; 8]).is_err());
    }

    #[test]
    fn escapes_what_a_player_says_where_it_enters() {
        let said = "\u{1b}]0;x\u{7}\u{202e}".to_owned();
        for answer in [
            Answer::Raised(said.clone()),
            Answer::Refused(said.clone()),
            Answer::Ready { cupti_problem: Some(said.clone()), confinement_problem: Some(said) },
        ] {
            let (kind, payload) = answer.encode();
            let shown = format!("{:?}", Answer::decode(kind, &payload).unwrap());
            assert!(
                shown.contains("u{1b}]0;x") && shown.chars().all(|one| one.is_ascii_graphic() || one == ' ')
            );
            assert!(!shown.contains("\"\\u{1b}"), "the text itself holds the escape: {shown}");
        }
    }

    #[test]
    fn a_duration_is_a_number_of_nanoseconds_and_nothing_else() {
        for forged in [f64::NAN, f64::INFINITY, -1.0] {
            let (kind, payload) = Answer::Batched(1.0, forged, false).encode();
            assert!(Answer::decode(kind, &payload).is_err(), "{forged}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_on_what_a_hostile_player_says(kind in 0_u32..12, payload: Vec<u8>) {
            let _ = Answer::decode(kind, &payload);
            let _ = Order::decode(kind, &payload);
        }
    }
}
