//! Launches a recording: proven images, recorded launches, memory put back before each call. No foreign host
//! code runs in the process that holds this.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::rc::Rc;

use proofmark_packager::Digest;

use crate::device::arena::{BLOCKS, FOREIGN};
use crate::device::instruments::SCRUBBED_FRAME_BYTES;
use crate::device::launch::{Configured, LoadedImage};
use crate::device::memory::{DeviceBuffer, Region, copy, download, fill, upload};
use crate::device::ready_graph::ReadyGraph;
use crate::device::stream::{Fence, Stream};
use crate::device::{DeviceError, Gpu};
use crate::recording::{Contents, Recording, Relocation, VERSION, Work};

/// Most streams that one call uses.
const STREAM_LIMIT: usize = 64;

/// Why a recording cannot be launched.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unplayable {
    /// The driver.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The recording contradicts itself or the images.
    #[error("the recording does not fit: {0}")]
    Unfit(String),
}

fn unfit(what: impl Into<String>) -> Unplayable {
    Unplayable::Unfit(what.into())
}

/// Images, and the recording that is being launched.
#[derive(Debug)]
pub(crate) struct Stage {
    // Dropped in this order: what points into memory and images goes before them.
    plan: Option<Plan>,
    images: BTreeMap<Digest, Rc<LoadedImage>>,
    contents: Vec<Vec<u8>>,
    gpu: Rc<Gpu>,
}

#[derive(Debug)]
struct Plan {
    // Dropped before what its graphs use.
    calls: Vec<Planned>,
    restores: Vec<Restore>,
    /// Streams beside the player's own.
    streams: Vec<Stream>,
    /// The point at which other streams may begin.
    begun: Fence,
    _modules: Vec<Rc<LoadedImage>>,
    /// What memory is put back from, with the digest of its bytes.
    kept: Vec<(DeviceBuffer, Digest)>,
    _memory: Vec<DeviceBuffer>,
}

/// One call.
#[derive(Debug)]
struct Planned {
    /// The whole as one graph, where the submission launches it so.
    graph: Option<ReadyGraph>,
    steps: Vec<Step>,
}

/// What a region is put back to.
#[derive(Debug)]
enum Restore {
    Zeros(Region),
    Bytes { to: Region, from: Region },
}

/// One piece of work on a stream: 0 is the player's own.
#[derive(Debug)]
struct Step {
    stream: usize,
    waits: Vec<usize>,
    /// Signalled when the work has ended, where something on another stream waits for it.
    done: Option<Fence>,
    work: Prepared,
}

#[derive(Debug)]
enum Prepared {
    Launch(Configured),
    Copy(crate::recording::CopyRows),
    Fill(crate::recording::FillRows),
}

impl Stage {
    pub(crate) fn new(gpu: &Rc<Gpu>) -> Self {
        Self { plan: None, images: BTreeMap::new(), contents: Vec::new(), gpu: Rc::clone(gpu) }
    }

    /// Loads an image that the judge has proven.
    pub(crate) fn image(&mut self, bytes: &[u8]) -> Result<(), DeviceError> {
        let digest = Digest::of_bytes(bytes);
        if !self.images.contains_key(&digest) {
            self.images.insert(digest, Rc::new(LoadedImage::load(&self.gpu, bytes)?));
        }
        Ok(())
    }

    /// Takes a piece of contents; pieces come in order.
    pub(crate) fn contents(&mut self, number: u32, bytes: &[u8]) -> Result<(), Unplayable> {
        match (number as usize).checked_sub(self.contents.len()) {
            Some(0) => self.contents.push(bytes.to_vec()),
            None if number as usize + 1 == self.contents.len() => {
                self.contents.last_mut().expect("just counted").extend_from_slice(bytes);
            }
            _ => return Err(unfit("contents out of order")),
        }
        Ok(())
    }

    /// Gives up the recording that was launched before.
    pub(crate) fn clear(&mut self) {
        self.plan = None;
        self.contents.clear();
    }

    /// Prepares a recording: maps its memory, looks up its kernels, resolves its addresses.
    pub(crate) fn prepare(&mut self, recording: &Recording, stream: &Stream) -> Result<(), Unplayable> {
        self.plan = None;
        if recording.version != VERSION {
            return Err(unfit(format!("version {} where {VERSION} is known", recording.version)));
        }
        let contents = std::mem::take(&mut self.contents);
        let mut modules = Vec::new();
        for module in &recording.modules {
            let image = module.image.and_then(|digest| self.images.get(&digest));
            modules.push(Rc::clone(image.ok_or_else(|| unfit("a module without an image"))?));
        }
        let addresses = variables(recording, &modules)?;
        let mut memory = Vec::new();
        for block in &recording.memory {
            let end = block.address.checked_add(block.size_bytes);
            if block.address < FOREIGN.start || end.is_none_or(|end| end > FOREIGN.end) {
                return Err(unfit(format!("memory at {:#x}", block.address)));
            }
            memory.push(DeviceBuffer::map_fresh(&self.gpu, block.address, block.size_bytes)?);
        }
        let (mut restores, mut kept) = (Vec::new(), Vec::new());
        let mut restore = |what: &Contents, to: Region| -> Result<(), Unplayable> {
            let Contents::Bytes { number, relocations } = what else {
                restores.push(Restore::Zeros(to));
                return Ok(());
            };
            let bytes = contents.get(*number as usize).ok_or_else(|| unfit("contents that did not come"))?;
            let mut bytes = bytes.clone();
            relocate(&mut bytes, relocations, &addresses)?;
            let length = bytes.len() as u64;
            if length > to.size_bytes() {
                return Err(unfit("contents larger than their memory"));
            }
            let from = DeviceBuffer::allocate(&self.gpu, length)?;
            // Slack and all: a kernel that found it must leave nothing there.
            bytes.resize(usize::try_from(from.whole().size_bytes()).unwrap_or(usize::MAX), 0);
            upload(&bytes, from.whole(), stream)?;
            restores.push(Restore::Bytes { to: to.part(0, length)?, from: from.region(0, length)? });
            if length < to.size_bytes() {
                restores.push(Restore::Zeros(to.part(length, to.size_bytes() - length)?));
            }
            kept.push((from, Digest::of_bytes(&bytes)));
            Ok(())
        };
        for block in &recording.memory {
            restore(&block.contents, Region::at(block.address, block.size_bytes))?;
        }
        for (module, places) in recording.modules.iter().zip(&addresses) {
            for (variable, place) in module.variables.iter().zip(places) {
                restore(&variable.contents, *place)?;
            }
        }
        let mut calls = Vec::new();
        let mut stream_count = 0;
        for call in &recording.calls {
            let steps = plan(&call.nodes, recording, &modules, &addresses, &self.gpu)?;
            stream_count = stream_count.max(steps.iter().map(|step| step.stream).max().unwrap_or(0));
            calls.push(Planned { graph: None, steps });
        }
        if stream_count > STREAM_LIMIT {
            return Err(unfit("work on too many streams"));
        }
        let streams =
            (0..stream_count).map(|_| Stream::new(&self.gpu)).collect::<Result<Vec<_>, DeviceError>>()?;
        let begun = Fence::new(&self.gpu)?;
        let mut plan = Plan { calls, restores, streams, begun, _modules: modules, kept, _memory: memory };
        for (number, _) in recording.calls.iter().enumerate().filter(|(_, call)| call.graph) {
            let ready = ReadyGraph::of(stream, || plan.queue(&plan.calls[number].steps, stream))?;
            plan.calls[number].graph = Some(ready);
        }
        stream.synchronize()?;
        self.plan = Some(plan);
        Ok(())
    }

    /// Whether a kernel of the recording has memory of its own for each thread.
    pub(crate) fn uses_local_memory(&self) -> bool {
        let mut steps = self.plan.iter().flat_map(|plan| &plan.calls).flat_map(|call| &call.steps);
        steps.any(|step| matches!(&step.work, Prepared::Launch(launch) if launch.local_bytes() > 0))
    }

    /// Puts memory and variables back to what they were at the start of the recorded call.
    pub(crate) fn restore(&self, stream: &Stream) -> Result<(), DeviceError> {
        for restore in self.plan.iter().flat_map(|plan| &plan.restores) {
            match restore {
                Restore::Zeros(region) => fill(*region, 0, stream)?,
                Restore::Bytes { to, from } => copy(*from, *to, stream)?,
            }
        }
        Ok(())
    }

    /// Whether what memory is put back from is as it was: no call is given its address.
    pub(crate) fn is_intact(&self, stream: &Stream) -> Result<bool, DeviceError> {
        for (buffer, digest) in self.plan.iter().flat_map(|plan| &plan.kept) {
            let mut bytes = vec![0; usize::try_from(buffer.whole().size_bytes()).unwrap_or(usize::MAX)];
            download(buffer.whole(), &mut bytes, stream)?;
            if Digest::of_bytes(&bytes) != *digest {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Queues the recorded launches of a slot's call.
    pub(crate) fn launch(&self, slot: u32, own: &Stream) -> Result<(), Unplayable> {
        let plan = self.plan.as_ref().ok_or_else(|| unfit("a call came before a recording"))?;
        let call = plan.calls.get(slot as usize).ok_or_else(|| unfit("a slot that was not recorded"))?;
        match &call.graph {
            Some(graph) => Ok(graph.launch(own)?),
            None => plan.queue(&call.steps, own),
        }
    }
}

impl Plan {
    /// Queues a call's work, piece by piece.
    fn queue(&self, steps: &[Step], own: &Stream) -> Result<(), Unplayable> {
        let stream = |number: usize| match number {
            0 => own,
            number => &self.streams[number - 1],
        };
        let mut begun = vec![false; self.streams.len() + 1];
        begun[0] = true;
        if steps.iter().any(|step| step.stream > 0) {
            self.begun.record(own)?;
        }
        for step in steps {
            let on = stream(step.stream);
            if !std::mem::replace(&mut begun[step.stream], true) {
                self.begun.wait(on)?;
            }
            for other in &step.waits {
                let fence = steps[*other].done.as_ref().expect("made for every step that is waited for");
                fence.wait(on)?;
            }
            match &step.work {
                Prepared::Launch(launch) => launch.launch(on)?,
                Prepared::Copy(work) => crate::device::launch::copy_rows(work, on)?,
                Prepared::Fill(work) => crate::device::launch::fill_rows(work, on)?,
            }
            if let Some(fence) = &step.done {
                fence.record(on)?;
            }
        }
        // Whatever ran beside the player's stream ends before the call does.
        for step in steps.iter().filter(|step| step.stream > 0) {
            if let Some(fence) = &step.done {
                fence.wait(own)?;
            }
        }
        Ok(())
    }
}

/// Where each module's variables lie in this process.
fn variables(recording: &Recording, modules: &[Rc<LoadedImage>]) -> Result<Vec<Vec<Region>>, Unplayable> {
    let mut addresses = Vec::new();
    for (module, image) in recording.modules.iter().zip(modules) {
        let mut places = Vec::new();
        for variable in &module.variables {
            let name = CString::new(variable.name.as_str()).map_err(|_| unfit("a variable's name"))?;
            let place = image.variable(&name)?;
            if place.size_bytes() != variable.size_bytes {
                return Err(unfit(format!("variable `{}` has another size", variable.name)));
            }
            places.push(place);
        }
        for name in &module.unread {
            let terminated = CString::new(name.as_str()).map_err(|_| unfit("a variable's name"))?;
            if image.variable(&terminated).is_ok() {
                return Err(unfit(format!("variable `{name}` was not recorded")));
            }
        }
        addresses.push(places);
    }
    Ok(addresses)
}

/// Writes the addresses of variables where they belong.
fn relocate(
    bytes: &mut [u8],
    relocations: &[Relocation],
    addresses: &[Vec<Region>],
) -> Result<(), Unplayable> {
    for one in relocations {
        let place = addresses.get(one.module as usize).and_then(|places| places.get(one.variable as usize));
        let place = place.ok_or_else(|| unfit("an address of a variable that is not there"))?;
        let offset = usize::try_from(one.offset).map_err(|_| unfit("an address outside of its bytes"))?;
        let word = bytes.get_mut(offset..).and_then(|rest| rest.first_chunk_mut::<8>());
        let word = word.ok_or_else(|| unfit("an address outside of its bytes"))?;
        if one.addend >= place.size_bytes() {
            return Err(unfit("an address behind its variable"));
        }
        *word = (place.pointer() + one.addend).to_le_bytes();
    }
    Ok(())
}

/// Spreads a call's nodes over streams: a node follows the first one before it that nobody else follows yet.
fn plan(
    nodes: &[crate::recording::Node],
    recording: &Recording,
    modules: &[Rc<LoadedImage>],
    addresses: &[Vec<Region>],
    gpu: &Rc<Gpu>,
) -> Result<Vec<Step>, Unplayable> {
    let mut steps: Vec<Step> = Vec::new();
    for (at, (stream, waits)) in streams_of(nodes)?.into_iter().enumerate() {
        let work = match &nodes[at].work {
            Work::Launch(launch) if launch.programmatic && nodes[at].after.is_empty() => {
                return Err(unfit("a first launch that may begin before its call"));
            }
            Work::Launch(launch) => {
                let kernel = recording
                    .modules
                    .get(launch.module as usize)
                    .and_then(|module| module.kernels.get(launch.kernel as usize))
                    .ok_or_else(|| unfit("a launch of no kernel"))?;
                let mut launch = launch.clone();
                let relocations = std::mem::take(&mut launch.relocations);
                relocate(&mut launch.parameters, &relocations, addresses)?;
                let ready = modules[launch.module as usize]
                    .configure(kernel, &launch)?
                    .ok_or_else(|| unfit(format!("kernel `{}` takes other parameters", kernel.name)))?;
                if ready.local_bytes() > SCRUBBED_FRAME_BYTES {
                    return Err(unfit(format!(
                        "kernel `{}` has {} bytes of local memory a thread; up to {SCRUBBED_FRAME_BYTES} are \
                         overwritten before each call",
                        kernel.name,
                        ready.local_bytes()
                    )));
                }
                Prepared::Launch(ready)
            }
            Work::Copy(copy) => {
                let last = |start: u64, pitch: u64| {
                    pitch.checked_mul(copy.rows.max(1) - 1)?.checked_add(copy.width_bytes)?.checked_add(start)
                };
                let ends = [last(copy.from, copy.from_pitch), last(copy.to, copy.to_pitch)];
                inside(&[copy.from, copy.to], &ends)?;
                Prepared::Copy(copy.clone())
            }
            Work::Fill(fill) if ![1, 2, 4].contains(&fill.element_bytes) => {
                return Err(unfit(format!("a fill by elements of {} bytes", fill.element_bytes)));
            }
            Work::Fill(fill) => {
                let row = fill.width.checked_mul(u64::from(fill.element_bytes));
                let end = row.and_then(|row| {
                    fill.pitch.checked_mul(fill.rows.max(1) - 1)?.checked_add(row)?.checked_add(fill.to)
                });
                inside(&[fill.to], &[end])?;
                Prepared::Fill(fill.clone())
            }
        };
        steps.push(Step { stream, waits, done: None, work });
    }
    let waited: Vec<usize> = steps.iter().flat_map(|step| step.waits.clone()).collect();
    for at in 0..steps.len() {
        let is_last_beside =
            steps[at].stream > 0 && !steps[at + 1..].iter().any(|later| later.stream == steps[at].stream);
        if waited.contains(&at) || is_last_beside {
            steps[at].done = Some(Fence::new(gpu)?);
        }
    }
    Ok(steps)
}

/// Copies and fills stay inside the range that recordings carry.
fn inside(starts: &[u64], ends: &[Option<u64>]) -> Result<(), Unplayable> {
    let range = BLOCKS[0]..=FOREIGN.end;
    let is_inside = |address: &u64| range.contains(address);
    if starts.iter().all(is_inside) && ends.iter().all(|end| end.as_ref().is_some_and(is_inside)) {
        return Ok(());
    }
    Err(unfit("a copy or fill outside of the memory that it carries"))
}

/// For each node its stream, and the nodes on other streams that it waits for.
fn streams_of(nodes: &[crate::recording::Node]) -> Result<Vec<(usize, Vec<usize>)>, Unplayable> {
    let mut placed: Vec<(usize, Vec<usize>)> = Vec::new();
    let mut followed = vec![false; nodes.len()];
    let mut count = 0;
    for (at, node) in nodes.iter().enumerate() {
        let before: Vec<usize> = node.after.iter().map(|number| *number as usize).collect();
        if before.iter().any(|number| *number >= at) {
            return Err(unfit("work that waits for later work"));
        }
        let leader = before.iter().copied().find(|number| !followed[*number]);
        let stream = if let Some(leader) = leader {
            followed[leader] = true;
            placed[leader].0
        } else {
            count += 1;
            count - 1
        };
        let waits = before.into_iter().filter(|number| placed[*number].0 != stream).collect();
        placed.push((stream, waits));
    }
    Ok(placed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::{FillRows, Node};

    fn node(after: &[u32]) -> Node {
        let fill = FillRows { to: FOREIGN.start, pitch: 0, value: 0, element_bytes: 1, width: 1, rows: 1 };
        Node { after: after.to_vec(), work: Work::Fill(fill) }
    }

    #[test]
    fn a_chain_stays_on_one_stream() {
        let placed = streams_of(&[node(&[]), node(&[0]), node(&[1])]).unwrap();
        assert!(placed.iter().all(|(stream, waits)| *stream == 0 && waits.is_empty()));
    }

    #[test]
    fn a_fork_takes_a_second_stream_and_the_join_waits_for_it() {
        let placed = streams_of(&[node(&[]), node(&[0]), node(&[0]), node(&[1, 2])]).unwrap();
        assert_eq!(placed, [(0, vec![]), (0, vec![]), (1, vec![0]), (0, vec![2])]);
    }

    #[test]
    fn work_that_waits_for_itself_or_for_later_work_is_refused() {
        assert!(streams_of(&[node(&[0])]).is_err());
        assert!(streams_of(&[node(&[]), node(&[7])]).is_err());
    }

    #[test]
    fn copies_and_fills_stay_inside() {
        assert!(inside(&[FOREIGN.start], &[Some(FOREIGN.end)]).is_ok());
        assert!(inside(&[FOREIGN.start], &[Some(FOREIGN.end + 1)]).is_err());
        assert!(inside(&[4096], &[Some(FOREIGN.start)]).is_err());
        assert!(inside(&[FOREIGN.start], &[None]).is_err());
    }

    #[test]
    fn an_address_is_written_where_it_belongs_and_nowhere_else() {
        let addresses = vec![vec![Region::at(0x1000, 16)]];
        let relocation = |offset, addend| Relocation { offset, module: 0, variable: 0, addend };
        let mut bytes = vec![0; 16];
        relocate(&mut bytes, &[relocation(8, 4)], &addresses).unwrap();
        assert_eq!(bytes[8..], 0x1004_u64.to_le_bytes());
        for wrong in [relocation(9, 0), relocation(u64::MAX, 0), relocation(0, 16)] {
            assert!(relocate(&mut bytes, &[wrong], &addresses).is_err());
        }
    }
}
