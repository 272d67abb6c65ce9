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
//! | `cubin`, `marker`, `kernel`, `compat`, `note` | what machine code says about itself |
//! | `cubin_reader`, `nvinfo` | reading it: header, sections, kernels, the `a` |
//! | `ptx` | PTX and its target |
//! | `image` | payloads turned into entries |
//! | `host`, `runtime_jit` | the host ELF around device code, and signs of more at run time |
//! | `loader` | the same as the loader sees it, and every byte of it |
//! | `archive`, `thin_archive` | every byte of an `ar` archive, and one that only names its members |
//! | `signature` | formats by their first bytes |
//! | `embedded` | device code in other data: packed, written out as text, intermediate |
//! | `distance` | what code refers to |
//! | `prefilter`, `search`, `scan`, `coverage` | every byte offset of a file, and which are accounted for |
//! | `allotment` | how much memory that takes |
//! | `task` | pieces of the reading, spread over every core |
//! | `examiner`, `depth`, `examination`, `problem` | the walk over a file, and what it found |
//! | `requested` | the requested claim, and where build systems keep it |
//! | `input`, `folder`, `mapped` | files, folders and wheels, one specimen after the other |
//! | `zip_file`, `tar_file`, `stream` | what archives and compressed streams hold, every byte of them |
//! | `witness`, `verdict` | questions, and the judgement |
//! | `reach`, `extract` | on which GPUs an image runs, and the image itself |
//! | `held_images` | whether a file holds an image, packed or not |
//! | `gate` | what a maintainer asks of every file of a release |
//! | `proven` | the proof, stored and checked again |
//!
//! Bytes prove consistency, not provenance: whoever can forge every witness alike can forge a
//! build. Only a rebuild that gives the same bytes goes further.

mod allotment;
mod archive;
mod bytes;
mod compat;
mod compression;
mod coverage;
mod cubin;
mod cubin_reader;
mod depth;
mod distance;
mod embedded;
mod examination;
mod examiner;
mod extract;
mod fatbin;
mod folder;
pub mod gate;
mod held_images;
mod host;
mod image;
mod input;
mod kernel;
mod loader;
mod mapped;
mod marker;
mod note;
mod nvinfo;
mod prefilter;
mod problem;
mod proven;
mod ptx;
mod reach;
mod requested;
mod runtime_jit;
mod scan;
mod search;
mod signature;
mod stream;
mod tar_file;
mod task;
mod thin_archive;
mod verdict;
mod witness;
mod zip_file;

pub use compat::CompatRecord;
pub use compression::Compression;
pub use cubin::{Cubin, CubinLayout, CubinProblem, CubinType, DebugPtx, SpecialInstructions};
pub use depth::Depth;
pub use examination::{Container, Entry, EntryPlace, Examination, FileFormat};
pub use examiner::{examine, examine_to};
pub use extract::image_of;
pub use fatbin::{EntryHeader, EntryKind, flags};
pub use folder::Unread;
pub use held_images::HeldImages;
pub use input::{InputError, Specimen, VisitTally, visit, visit_bytes, visit_to};
pub use kernel::{Kernel, demangle};
pub use loader::MissingLibrary;
pub use marker::{Marker, MarkerSource};
pub use note::{ArchNote, ArchNoteKind, ToolNote};
pub use problem::Problem;
pub use proven::{Proof, ProvenImage, RecheckError, RecordedProof, prove};
pub use ptx::Ptx;
pub use reach::{Reach, known_gpus, reach};
pub use requested::{
    RequestedClaim, RequestedForm, RequestedImage, Requests, TargetClaim, claim_of_file, is_compiler_check,
    requests_in_folder,
};
pub use runtime_jit::RuntimeJit;
pub use verdict::{Judgement, Loose, Policy, ProofVerdict, Unlinked, combine, judge, say};
pub use witness::{Stance, Witness};
