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
//! | [`submission`] | a folder as a contest team writes it, every violation at once |
//! | [`artifact`] | the validated submission with its identity |
//! | [`mod@format`] | the artifact's entries and versions |
//! | [`evidence`] | what was found out about an artifact |
//! | [`bundle`] | artifact and evidence as zip bytes, out and in |
//! | [`open`] | any of the three inputs as one artifact |
//! | [`unpack`] | the folder that packs to the artifact again |
//! | [`difference`] | what differs between two artifacts |
//! | [`interop`] | the formats of others |
//! | [`escape`] | texts of strangers, as a terminal may show them |
//! | [`json`] | JSON of strangers, parsed within a budget |
//! | `text_form` | types that a document holds as one text |

pub mod artifact;
pub mod bundle;
pub mod difference;
pub mod digest;
pub mod entry_point;
pub mod escape;
pub mod evidence;
pub mod format;
pub mod interop;
pub mod json;
pub mod open;
pub mod sources;
pub mod submission;
pub mod target;
mod text_form;
pub mod unpack;

pub use artifact::Artifact;
pub use bundle::Bundle;
pub use digest::{Digest, DigestBuilder};
pub use entry_point::EntryPoint;
pub use evidence::Evidence;
pub use open::{InputKind, Opened};
pub use sources::{SourceFile, SourcePath, SourcePathError};
pub use submission::Submission;
pub use target::{Arch, Feature, Gencode};
