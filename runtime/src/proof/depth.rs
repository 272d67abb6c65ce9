//! How much of a file is read.

/// How much is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Everything, with the digest of every image: what a proof needs.
    Digests,
    /// Everything but digests: what a list needs.
    Facts,
    /// Compressed images stay packed; headers, images stored as they are, and the scan of the whole
    /// file remain. Reads at the speed of memory.
    Headers,
}
