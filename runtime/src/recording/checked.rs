//! A recording that can be launched, or why there is none.

use std::rc::Rc;

use proofmark_player::PlayerEnd;
use proofmark_player::recording::Recording;

use super::images::DeviceImages;

/// A recording whose modules are proven images.
#[derive(Debug, Clone)]
pub struct CheckedRecording {
    /// The recording; every module names its image.
    pub recording: Recording,
    /// What memory held, by number.
    pub contents: Rc<Vec<Vec<u8>>>,
    /// The machine code.
    pub images: Rc<DeviceImages>,
    /// Host time of one call of the entry point in nanoseconds, as the process that ran it says.
    pub host_ns: Option<f64>,
}

impl CheckedRecording {
    /// The images that are launched.
    pub fn code(&self) -> impl Iterator<Item = &[u8]> {
        self.recording.modules.iter().filter_map(|module| self.images.code(module.image?))
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
