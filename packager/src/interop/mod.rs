//! Speaks the formats of other tools, so that what we read and write is theirs as well.

pub mod flashinfer;
