//! Proves from bytes alone which GPU architectures a build contains.
//!
//! Three claims are kept apart: **requested** is what a compiler command asked for
//! ([`RequestedClaim`]); **built** is what the bytes hold ([`examine`]); **executed** is what a
//! driver really loaded, which no file can show. [`judge`] holds the first two against a
//! [`Policy`]; [`prove`] turns an exact judgement into a [`Proof`], the one value that the cache
//! accepts.
//!
//! | file | noun |
//! |---|---|
//! | `bytes` | checked little-endian reads |
//! | `compression` | payloads, unpacked within bounds |
//! | `fatbin` | containers and entries |
//! | `compat`, `note`, `cubin` | machine code and what it says about itself |
//! | `ptx` | PTX and its target |
//! | `scan` | every byte offset of a file |
//! | `examiner`, `examination` | the walk over a file, and what it found |
//! | `command` | the requested claim |
//! | `witness`, `verdict` | questions, and the judgement |
//! | `proven` | the proof, stored and checked again |
//!
//! Bytes prove consistency, not provenance: whoever can forge every witness alike can forge a
//! build. Only a rebuild that gives the same bytes goes further.

mod bytes;
mod command;
mod compat;
mod compression;
mod cubin;
mod examination;
mod examiner;
mod fatbin;
mod note;
mod proven;
mod ptx;
mod scan;
mod verdict;
mod witness;

pub use command::{RequestedClaim, RequestedForm, RequestedImage};
pub use compat::CompatRecord;
pub use compression::Compression;
pub use cubin::{Cubin, CubinProblem, CubinType, Kernel, Layout, Marker, MarkerSource};
pub use examination::{Container, Entry, Examination, Format, Place, Problem};
pub use examiner::examine;
pub use fatbin::{EntryHeader, EntryKind, flags};
pub use note::{ArchNote, ArchNoteKind, ToolNote};
pub use proven::{Proof, ProvenImage, RecheckError, RecordedProof, prove};
pub use ptx::Ptx;
pub use verdict::{Judgement, Loose, Policy, Unlinked, Verdict, judge};
pub use witness::{Stance, Witness};
