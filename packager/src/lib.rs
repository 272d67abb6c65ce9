//! Turns submission folders into artifacts: files in, bytes out.
//!
//! This crate knows nothing of CUDA and starts no process. Read it in this order:
//!
//! | room | noun |
//! |---|---|
//! | [`target`] | the architecture a submission asks for |
//! | [`digest`] | length-framed, domain-tagged SHA-256 |
//! | [`interop`] | the formats of other tools |

pub mod digest;
pub mod interop;
pub mod target;

pub use digest::{Digest, DigestBuilder};
pub use target::{Arch, Feature, Gencode};
