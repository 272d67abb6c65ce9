//! How much of a file is read.

/// How much is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Everything, with the digest of every image and of each kernel's code: what a comparison needs.
    Code,
    /// Everything, with the digest of every image: what a proof needs.
    Digests,
    /// Everything but digests: what a question about many files needs.
    Facts,
    /// Every image and every mark of one, unpacked to name kernels: what a list shows. Device code in other forms is
    /// not looked for, nor who registers device code, nor what only looks random; of signs of code made at run time one
    /// is enough.
    Images,
    /// The same, and compressed images stay packed. Reads at the speed of memory.
    Headers,
}

impl Depth {
    /// Whether images are digested.
    pub(super) fn has_digests(self) -> bool {
        matches!(self, Self::Code | Self::Digests)
    }

    /// Whether everything is looked at that a judgement rests on.
    pub(super) fn is_whole(self) -> bool {
        matches!(self, Self::Code | Self::Digests | Self::Facts)
    }
}
