//! How much of a file is read.

/// How much is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Everything, with the digest of every image and of each kernel's code: what a comparison needs.
    Code,
    /// Everything, with the digest of every image: what a proof needs.
    Digests,
    /// Everything but digests: what a list needs.
    Facts,
    /// Compressed images stay packed; headers, images stored as they are, and the scan of the whole
    /// file remain. Reads at the speed of memory.
    Headers,
}

impl Depth {
    /// Whether images are digested.
    pub(super) fn has_digests(self) -> bool {
        matches!(self, Self::Code | Self::Digests)
    }
}
