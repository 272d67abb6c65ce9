//! Records what an entry point puts on the GPU, in the process that runs it.

use std::ffi::CString;
use std::time::Instant;

use crate::clocks::{CallOutcome, nanoseconds};
use crate::device::DeviceError;
use crate::device::capture::{Handle, Reader, is_carried, is_known};
use crate::device::interception::blocks;
use crate::device::loads;
use crate::device::memory::{Region, download};
use crate::device::stream::Stream;
use crate::device::uncaptured::Uncaptured;
use crate::recording::{
    Allocation, CONTENTS_LIMIT_BYTES, Contents, Module, Recording, Relocation, VERSION, Variable, Work,
};

/// Calls before anything is recorded: loading code lazily, first-call tuning.
const WARMUP_COUNT: usize = 2;
/// Calls whose host time is taken.
const TIMED_COUNT: usize = 9;
/// Bytes of an address.
const WORD_BYTES: usize = 8;
/// Addresses below are small numbers.
const LEAST_ADDRESS: u64 = 1 << 16;

/// A recording, and the bytes that travel apart.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) recording: Recording,
    pub(crate) contents: Vec<Vec<u8>>,
    /// The code of each module, empty where it was not seen; none where the judge has the library.
    pub(crate) code: Vec<Vec<u8>>,
    /// Host nanoseconds of each timed call.
    pub(crate) host_ns: Vec<f64>,
}

/// Where a module's variable lies in this process.
struct VariablePlace {
    start: u64,
    end: u64,
    module: u32,
    variable: u32,
}

/// Calls every slot, then records a call of each from the same state.
pub(crate) fn record(
    stream: &Stream,
    slots: u32,
    variables: &[String],
    call: &mut dyn FnMut(u32) -> CallOutcome,
) -> Result<Recorded, Uncaptured> {
    let mut host_ns = Vec::new();
    let mut run = |slot: u32| -> Result<f64, Uncaptured> {
        let begun = Instant::now();
        call(slot).map_err(Uncaptured::Raised)?;
        let elapsed = nanoseconds(begun.elapsed());
        stream.synchronize()?;
        Ok(elapsed)
    };
    for _ in 0..WARMUP_COUNT {
        run(0)?;
    }
    for slot in 0..slots {
        run(slot)?;
    }
    for _ in 0..TIMED_COUNT {
        host_ns.push(run(0)?);
    }
    let mut reader = Reader::default();
    let mut calls = Vec::new();
    for slot in 0..slots {
        calls.push(reader.capture(stream, &mut || call(slot))?);
    }
    stream.synchronize()?;
    let mut snapshot =
        Snapshot { stream, places: Vec::new(), contents: Vec::new(), left: CONTENTS_LIMIT_BYTES };
    let code = if loads::are_noted() {
        reader.modules.iter().map(|seen| loads::code_of(seen.handle).unwrap_or_default()).collect()
    } else {
        Vec::new()
    };
    let modules = snapshot.modules(reader, variables)?;
    let mut memory = Vec::new();
    for block in blocks() {
        let contents = if block.live {
            snapshot.take(Region::at(block.address, block.size_bytes))?
        } else {
            Contents::Zeros
        };
        memory.push(Allocation { address: block.address, size_bytes: block.size_bytes, contents });
    }
    for launch in calls.iter_mut().flat_map(|call| &mut call.nodes).filter_map(|node| match &mut node.work {
        Work::Launch(launch) => Some(launch),
        Work::Copy(_) | Work::Fill(_) => None,
    }) {
        let layout = &modules[launch.module as usize].kernels[launch.kernel as usize].parameters;
        launch.relocations = snapshot.relocate_parameters(layout, &mut launch.parameters)?;
    }
    for node in calls.iter().flat_map(|call| &call.nodes) {
        let carried = match &node.work {
            Work::Launch(_) => true,
            Work::Copy(copy) => is_carried(copy.from) && is_carried(copy.to),
            Work::Fill(fill) => is_carried(fill.to),
        };
        if !carried {
            let text = "it copies or fills memory that a recording does not carry: a module's variable, or memory of the host";
            return Err(Uncaptured::Refused(text.to_owned()));
        }
    }
    let recording = Recording { version: VERSION, modules, memory, calls };
    Ok(Recorded { recording, contents: snapshot.contents, code, host_ns })
}

/// Takes what memory holds.
struct Snapshot<'stream> {
    stream: &'stream Stream,
    places: Vec<VariablePlace>,
    contents: Vec<Vec<u8>>,
    left: u64,
}

impl Snapshot<'_> {
    /// The modules with what their variables hold. All places are known before any contents are read.
    fn modules(&mut self, reader: Reader, names: &[String]) -> Result<Vec<Module>, Uncaptured> {
        let mut found = Vec::new();
        for (number, seen) in reader.modules.into_iter().enumerate() {
            let module = u32::try_from(number).unwrap_or(u32::MAX);
            let variables = self.place(seen.handle, module, names);
            found.push((seen.kernels, variables));
        }
        self.places.sort_by_key(|place| place.start);
        let mut modules = Vec::new();
        for (kernels, places) in found {
            let mut variables = Vec::new();
            for (name, region) in places {
                let contents = self.take(region)?;
                variables.push(Variable { name, size_bytes: region.size_bytes(), contents });
            }
            modules.push(Module { image: None, kernels, variables, unread: Vec::new() });
        }
        Ok(modules)
    }

    fn place(&mut self, handle: Handle, module: u32, names: &[String]) -> Vec<(String, Region)> {
        let mut variables = Vec::new();
        for name in names {
            let terminated = CString::new(name.as_str()).ok();
            let Some((start, size)) = terminated.and_then(|name| handle.variable(&name)) else { continue };
            let variable = u32::try_from(variables.len()).unwrap_or(u32::MAX);
            self.places.push(VariablePlace { start, end: start.saturating_add(size), module, variable });
            variables.push((name.clone(), Region::at(start, size)));
        }
        variables
    }

    /// What a region holds: up to its last byte that is not zero, with addresses of variables taken out.
    fn take(&mut self, region: Region) -> Result<Contents, Uncaptured> {
        // Memory that holds more than is carried is scratch, as a rule: it is put back to zeros, and outputs show
        // whether that will do.
        if region.size_bytes() > CONTENTS_LIMIT_BYTES {
            return Ok(Contents::Zeros);
        }
        let mut bytes = vec![0; usize::try_from(region.size_bytes()).unwrap_or(usize::MAX)];
        download(region, &mut bytes, self.stream)?;
        let length = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        if length == 0 {
            return Ok(Contents::Zeros);
        }
        bytes.truncate(length.next_multiple_of(WORD_BYTES).min(bytes.len()));
        let Some(left) = self.left.checked_sub(bytes.len() as u64) else { return Ok(Contents::Zeros) };
        self.left = left;
        let mut relocations = Vec::new();
        if !self.places.is_empty() {
            for (index, word) in bytes.chunks_exact_mut(WORD_BYTES).enumerate() {
                let address = u64::from_le_bytes(word.try_into().expect("eight bytes"));
                relocations
                    .extend(self.relocation(address, (index * WORD_BYTES) as u64).inspect(|_| word.fill(0)));
            }
        }
        let number = u32::try_from(self.contents.len()).unwrap_or(u32::MAX);
        self.contents.push(bytes);
        Ok(Contents::Bytes { number, relocations })
    }

    fn relocation(&self, address: u64, offset: u64) -> Option<Relocation> {
        let behind = self.places.partition_point(|place| place.start <= address);
        let place = self.places[..behind].last().filter(|place| address < place.end)?;
        let VariablePlace { start, module, variable, .. } = *place;
        Some(Relocation { offset, module, variable, addend: address - start })
    }

    fn relocate_parameters(
        &self,
        layout: &[(u32, u32)],
        bytes: &mut [u8],
    ) -> Result<Vec<Relocation>, Uncaptured> {
        let mut relocations = Vec::new();
        let mut start = 0;
        for (offset, size) in layout {
            let end = start + *size as usize;
            // Addresses are aligned in the parameters as the kernel sees them.
            let first = start + (*offset as usize).next_multiple_of(WORD_BYTES) - *offset as usize;
            let mut at = first;
            while at + WORD_BYTES <= end {
                let word = &mut bytes[at..at + WORD_BYTES];
                let address = u64::from_le_bytes((&*word).try_into().expect("eight bytes"));
                if let Some(relocation) = self.relocation(address, at as u64) {
                    word.fill(0);
                    relocations.push(relocation);
                } else if address >= LEAST_ADDRESS && !is_carried(address) && is_known(address) {
                    let text = "it gives a kernel memory that a recording does not carry: pinned, managed or \
                                mapped memory of the host, or memory of the driver";
                    return Err(Uncaptured::Refused(text.to_owned()));
                }
                at += WORD_BYTES;
            }
            start = end;
        }
        Ok(relocations)
    }
}

impl From<Uncaptured> for crate::protocol::Answer {
    fn from(uncaptured: Uncaptured) -> Self {
        match uncaptured {
            Uncaptured::Raised(text) => Self::Raised(text),
            Uncaptured::Refused(text) => Self::Unrecorded(text),
        }
    }
}

impl From<DeviceError> for crate::protocol::Answer {
    fn from(error: DeviceError) -> Self {
        Self::Refused(error.to_string())
    }
}
