//! What the player answers: claims of a process that runs foreign code.

use proofmark_packager::Digest;

use crate::wire::{Garbled, Reader, Writer};

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
    /// Activity records, for [`super::Clock::Cupti`].
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
    /// What calls put on the GPU.
    Recorded {
        /// The recording, as JSON.
        document: Vec<u8>,
        /// Bytes of each contents, by number.
        sizes: Vec<u64>,
        /// Bytes of the code of each module, by the numbers behind; zero where it was not seen, none where the
        /// judge has the library.
        code_sizes: Vec<u64>,
        /// Host nanoseconds of each timed call.
        host_ns: Vec<f64>,
    },
    /// Calls cannot be recorded, and why.
    Unrecorded(String),
    /// A piece of bytes.
    Bytes(Vec<u8>),
    /// Whether what memory is put back from is as it was.
    Intact(bool),
    /// The kernel raised an error.
    Raised(String),
    /// The device or the loader refused.
    Refused(String),
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
            Self::Recorded { document, sizes, code_sizes, host_ns } => (
                9,
                writer
                    .bytes(document)
                    .list(sizes, |writer, size| writer.long(*size))
                    .list(code_sizes, |writer, size| writer.long(*size))
                    .list(host_ns, |writer, time| writer.float(*time)),
            ),
            Self::Unrecorded(text) => (10, writer.text(text)),
            Self::Bytes(bytes) => (11, writer.bytes(bytes)),
            Self::Intact(intact) => (12, writer.byte(u8::from(*intact))),
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
            9 => Self::Recorded {
                document: reader.bytes()?,
                sizes: reader.list(Reader::long)?,
                code_sizes: reader.list(Reader::long)?,
                host_ns: reader.list(Reader::duration)?,
            },
            10 => Self::Unrecorded(reader.foreign_text()?),
            11 => Self::Bytes(reader.bytes()?),
            12 => Self::Intact(reader.truth()?),
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
