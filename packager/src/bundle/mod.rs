//! Artifacts as zip bytes: the same artifact and evidence give the same bytes.
//!
//! Reading trusts nothing. The archive is bounded before and while it is read, every entry must be
//! one that [`crate::format`] names, and every digest must hold; what comes out is an [`Artifact`]
//! that validated.
//!
//! Bytes that no entry owns are refused, so that nothing travels in an artifact unseen. An artifact
//! that another tool zipped again is still read: deflated, with its own times and order.

mod archive;
mod error;
#[cfg(test)]
mod fixtures;
mod layout;
mod read;
mod seal;
mod write;

use std::borrow::Cow;

use crate::Evidence;
use crate::artifact::Artifact;

pub use archive::{LARGEST_ARCHIVE_BYTES, unzip};
pub use error::BundleError;
pub use read::read;
pub use write::{write, zip_of};

/// An artifact and what was found out about it.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// The submission.
    pub artifact: Artifact,
    /// The evidence; empty before sealing.
    pub evidence: Evidence,
}

/// The bytes of one entry.
pub type Content<'a> = Cow<'a, [u8]>;
