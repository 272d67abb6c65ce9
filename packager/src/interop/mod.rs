//! The formats of others.

pub mod flashinfer;
