//! Something in a file that is not as any toolkit writes it.

use std::fmt;

use serde::Serialize;

/// Something that is not as any toolkit writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Offset in the file; inside a compressed image, in the decompressed bytes.
    pub offset: u64,
    /// How many bytes it concerns, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// What is wrong.
    pub reason: String,
}

impl Problem {
    /// Something wrong at an offset.
    pub(super) fn at(offset: u64, reason: impl Into<String>) -> Self {
        Self { offset, size_bytes: None, reason: reason.into() }
    }

    /// Something wrong with so many bytes.
    pub(super) fn over(offset: u64, size_bytes: u64, reason: impl Into<String>) -> Self {
        Self { offset, size_bytes: Some(size_bytes), reason: reason.into() }
    }

    /// The same for bytes that lie `start` bytes further behind.
    pub(super) fn moved(mut self, start: u64) -> Self {
        self.offset = self.offset.saturating_add(start);
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offset, size_bytes, reason } = self;
        match size_bytes {
            Some(size) => write!(out, "at {offset:#x}, {size} bytes: {reason}"),
            None => write!(out, "at {offset:#x}: {reason}"),
        }
    }
}
