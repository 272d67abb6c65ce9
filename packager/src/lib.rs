//! Turns submission folders into artifacts: files in, bytes out.
//!
//! This crate knows nothing of CUDA and starts no process. Read it in this order:
//!
//! | room | noun |
//! |---|---|
//! | [`target`] | the architecture a submission asks for |
//! | [`digest`] | length-framed, domain-tagged SHA-256 |
//! | [`sources`] | source files and the paths they may have |
//! | [`entry_point`] | the exported function, `kernel.cu::run` |

pub mod digest;
pub mod entry_point;
pub mod sources;
pub mod target;

pub use digest::{Digest, DigestBuilder};
pub use entry_point::EntryPoint;
pub use sources::{SourceFile, SourcePath};
pub use target::{Arch, Feature, Gencode};
