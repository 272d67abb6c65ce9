//! A recording that can be launched, or why there is none.

use std::collections::BTreeSet;
use std::rc::Rc;

use proofmark_packager::Digest;
use proofmark_player::PlayerEnd;
use proofmark_player::recording::{Node, Recording, Work};

use super::images::DeviceImages;
use super::run_time_code::RunTimeCode;

/// A recording whose modules are proven images.
#[derive(Debug, Clone)]
pub struct CheckedRecording {
    /// The recording; every module names its image.
    pub recording: Recording,
    /// What memory held, by number.
    pub contents: Rc<Vec<Vec<u8>>>,
    /// The machine code.
    pub images: Rc<DeviceImages>,
    /// What is launched of code that was compiled at run time; empty for a library's own.
    pub launched: Rc<RunTimeCode>,
    /// Host time of one call of the entry point in nanoseconds, as the process that ran it says.
    pub host_ns: Option<f64>,
}

impl CheckedRecording {
    /// The images that are launched.
    pub fn code(&self) -> impl Iterator<Item = &[u8]> {
        let images: BTreeSet<Digest> =
            self.recording.modules.iter().filter_map(|module| module.image).collect();
        images.into_iter().filter_map(|digest| self.images.code(digest))
    }

    /// Pieces of work by which a stage puts memory back before a call: one for each block and variable, and one
    /// more where zeros follow bytes.
    pub fn restores(&self) -> usize {
        self.recording.contents().map(|(contents, _)| if contents.number().is_some() { 2 } else { 1 }).sum()
    }

    /// Kernels that a call launches: those of the first slot's, since all are of the same calls.
    pub fn launches(&self) -> usize {
        let first = self.recording.calls.first();
        let is_launch = |node: &&Node| matches!(node.work, Work::Launch(_));
        first.map_or(0, |call| call.nodes.iter().filter(is_launch).count())
    }

    /// Bytes of device memory that a stage takes for it: the memory itself, and what it is put back from.
    pub fn device_bytes(&self) -> u64 {
        let memory = self.recording.memory.iter().map(|block| block.size_bytes);
        let contents = self.contents.iter().map(|bytes| bytes.len() as u64);
        memory.chain(contents).fold(0, u64::saturating_add)
    }

    /// Bytes of the host that what memory held takes.
    pub fn host_bytes(&self) -> u64 {
        self.contents.iter().map(|bytes| bytes.len() as u64).sum()
    }
}

/// Why there is no recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unrecorded {
    /// The submission does what a recording does not carry.
    Refused(String),
    /// The submission failed while it was recorded, and what it wrote.
    Ended(PlayerEnd, String),
}
