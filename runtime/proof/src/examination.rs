//! What a file contains: every entry, and everything that could not be accounted for.

use proofmark_packager::{Arch, Digest};
use serde::Serialize;

use super::compression::Compression;
use super::cubin::Cubin;
use super::fatbin::{EntryHeader, EntryKind};
use super::loader::MissingLibrary;
use super::problem::Problem;
use super::ptx::Ptx;
use super::runtime_jit::RuntimeJit;

/// What kind of file it is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FileFormat {
    /// A bare CUDA ELF.
    Cubin,
    /// Bare fatbin containers.
    Fatbin,
    /// PTX text.
    Ptx,
    /// A relocatable host object.
    Object,
    /// A host shared library or position-independent executable.
    Library,
    /// A host executable.
    Executable,
    /// An `ar` archive.
    Archive,
    /// A Windows library or program; it is only scanned.
    Windows,
    /// Intermediate code that something compiles later: LLVM or NVVM bitcode, Tile IR.
    Intermediate,
    /// A compressed stream or a tar; what it holds is examined part by part.
    Packed,
    /// A zip or wheel; its members are examined one by one.
    Zip,
    /// Anything else; it is still scanned.
    #[default]
    Other,
}

/// One container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Container {
    /// Offset in the file.
    pub offset: u64,
    /// Size in bytes, header included.
    pub size_bytes: u64,
    /// Where in the file it lies.
    #[serde(flatten)]
    pub place: EntryPlace,
}

/// Where something lies, in the words of the file around it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct EntryPlace {
    /// The archive member.
    pub member: Option<String>,
    /// The section of the host ELF.
    pub section: Option<String>,
    /// Found by the scan alone, where no toolkit puts device code.
    pub loose: bool,
}

/// One image for a GPU: machine code, PTX or intermediate code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// What it is.
    pub kind: EntryKind,
    /// The architecture it claims: by the entry header in a container, else by its own bytes.
    pub arch: Option<Arch>,
    /// Offset in the file of the entry header, or of the image where there is none.
    pub offset: u64,
    /// Index of its container.
    pub container: Option<usize>,
    /// Where in the file it lies.
    #[serde(flatten)]
    pub place: EntryPlace,
    /// Offset of the payload in the file.
    pub payload_offset: u64,
    /// How the payload is stored.
    pub compression: Option<Compression>,
    /// Size of the image as the driver sees it, in bytes, decompressed.
    pub image_bytes: u64,
    /// SHA-256 of the image, decompressed and without padding.
    pub digest: Option<Digest>,
    /// The entry header.
    pub header: Option<EntryHeader>,
    /// What the machine code says.
    pub cubin: Option<Box<Cubin>>,
    /// What the PTX says.
    pub ptx: Option<Box<Ptx>>,
    /// What was violated or not understood.
    pub problems: Vec<Problem>,
}

impl Entry {
    /// Whether it is machine code that holds nothing: nvlink's stub, or an empty source.
    pub fn is_stub(&self) -> bool {
        self.cubin.as_ref().is_some_and(|cubin| cubin.is_empty())
    }

    /// Whether it is machine code, in a container or alone.
    pub fn is_machine_code(&self) -> bool {
        matches!(self.kind, EntryKind::Elf | EntryKind::Cubin)
    }
}

/// The whole answer about one file.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Examination {
    /// What kind of file it is.
    pub format: FileFormat,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Its entries, by offset.
    pub entries: Vec<Entry>,
    /// Its containers, by offset.
    pub containers: Vec<Container>,
    /// Wrappers in `.nvFatBinSegment`.
    pub wrappers: u64,
    /// Signs that more device code may appear while the program runs.
    pub runtime_jit: Vec<RuntimeJit>,
    /// What may be device code but could not be read or does not belong where it is.
    pub unaccounted: Vec<Problem>,
    /// Bytes around device code that no rule explains. They keep a file from being exact; where there
    /// is no device code they are not listed.
    pub unexplained: Vec<Problem>,
    /// Libraries of CUDA that it calls without naming them.
    pub missing_libraries: Vec<MissingLibrary>,
}

impl Examination {
    /// The entries that hold machine code.
    pub fn machine_code(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.is_machine_code())
    }
}
