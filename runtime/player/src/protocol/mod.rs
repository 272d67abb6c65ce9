//! The messages between judge and player: fixed layout, little-endian, no objects. The judge reads
//! answers as hostile input; `wire` says how they travel.

mod answer;
mod order;

pub use answer::{Activity, Answer, CallReport, Instrument};
pub use order::{Order, Start};

/// Version of the conversation. Both ends are the same binary; a mismatch means that they are not.
pub const VERSION: u32 = 5;
/// The slot that stands for no call at all: what the clock itself costs.
pub const NO_CALL: u32 = u32::MAX;

/// What a player is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Calls the entry point, and reads the clocks beside it.
    Live,
    /// Calls the entry point, and says what it puts on the GPU.
    Recorder,
    /// Launches what was recorded; loads no foreign code of the host.
    Stage,
    /// Calls an entry point in Python once, so that what it compiles at run time lies in its cache. It may start
    /// programs and write there, and meets nothing of the judge's.
    Builder,
}

/// Where tensors live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Home {
    /// Host memory that both map; kernels run on the CPU.
    Cpu,
    /// The judge's device memory, mapped by descriptors.
    Shared,
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
        /// How many elements lie from one index of an axis to the next, as many as there are extents.
        strides: Vec<i64>,
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

#[cfg(test)]
mod tests {
    use proofmark_packager::Digest;

    use super::*;
    use proptest::prelude::*;

    fn orders() -> Vec<Order> {
        let tensor = Argument::Tensor {
            block: Block::Outputs,
            code: 4,
            bits: 16,
            shape: vec![1, 8, -1],
            strides: vec![8, 1, 2],
            offsets: vec![0, 4096],
        };
        vec![
            Order::Start(Start {
                role: Role::Stage,
                home: Home::Copies,
                nonce: "ab".to_owned(),
                tvm_ffi: "/x".to_owned(),
                cupti: vec!["/y".to_owned()],
                folders: vec!["/z".to_owned()],
                cache: "/c".to_owned(),
            }),
            Order::Load { symbol: "run".to_owned() },
            Order::Map { sizes: [1, 2] },
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
            Order::Record { variables: vec!["table".to_owned()] },
            Order::Fetch { number: 1, offset: 7 },
            Order::Image(vec![0x7f]),
            Order::Contents { number: 0, bytes: vec![1, 2] },
            Order::Stage { document: b"{}".to_vec() },
            Order::Inspect,
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
            Answer::Recorded {
                document: b"{}".to_vec(),
                sizes: vec![3],
                code_sizes: vec![7],
                host_ns: vec![4.5],
            },
            Answer::Unrecorded("a host function".to_owned()),
            Answer::Bytes(vec![9]),
            Answer::Intact(false),
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
            Answer::Unrecorded(said.clone()),
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
        fn never_panics_on_what_a_hostile_player_says(kind in 0_u32..18, payload: Vec<u8>) {
            let _ = Answer::decode(kind, &payload);
            let _ = Order::decode(kind, &payload);
        }
    }
}
