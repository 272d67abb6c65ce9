//! The `a` in a cubin, and where it was read.

use serde::Serialize;

/// Where the `a` marker was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MarkerSource {
    /// `e_flags & 0x800`.
    EFlags800,
    /// `e_flags & 0x8`.
    EFlags8,
    /// `.nv.compat` attribute 9.
    Compat9,
    /// No marker exists for this number.
    TooOld,
}

/// Whether the machine code is marked as for one compute capability alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Marker {
    /// The `a`.
    pub specific: bool,
    /// Where it was read.
    pub source: MarkerSource,
    /// Its offset from the start of the cubin.
    pub offset: u64,
}
