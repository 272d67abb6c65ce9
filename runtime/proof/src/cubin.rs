//! What a cubin says: an ELF for `EM_CUDA`, and everything in it that names an architecture.
//!
//! | fact | 12.8, 12.9 up to `sm_90` | 12.8, 12.9 from `sm_100` | 13.0-13.5 |
//! |---|---|---|---|
//! | `EI_OSABI` / `EI_ABIVERSION` | 0x33 / 7 | 0x41 / 8 | 0x41 / 8 |
//! | architecture number in `e_flags` | bits 0-7 | bits 8-15 | bits 8-15 |
//! | the `a` | `e_flags & 0x800` | `e_flags & 0x8` | `.nv.compat` attribute 9 = 1 |
//!
//! All of it seen in our own builds with these toolkits. The `f` leaves no mark in a cubin but the
//! tool's options text, so `e_flags` alone proves neither letter.

use proofmark_packager::{Arch, Feature};
use serde::Serialize;

use super::compat::CompatRecord;
use super::kernel::Kernel;
use super::marker::Marker;
use super::note::{ArchNote, ToolNote};

/// Where `e_flags` lies in a 64-bit ELF header.
pub(super) const E_FLAGS_OFFSET: u64 = 48;

/// Most problems of one cubin that are named.
const PROBLEM_LIMIT: usize = 200;

/// How the ELF identifies itself, which decides where the other facts lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CubinLayout {
    /// OS ABI 0x33, ABI version up to 7.
    Abi7,
    /// OS ABI 0x41, ABI version 8.
    Abi8,
}

/// The ELF type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CubinType {
    /// `ET_EXEC`: linked, the driver can load it.
    Executable,
    /// `ET_REL`: from `-dc` or `-rdc`, waits for the device linker.
    Relocatable,
    /// Type 0xFF00, from `-ewp`: a whole program that the device linker may still extend; seen in
    /// 13.0 and 13.5.
    Extensible,
}

/// Evidence that instructions are in the code which plain architectures lack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SpecialInstructions {
    /// What shows it.
    pub evidence: String,
    /// Offset from the start of the cubin.
    pub offset: u64,
}

/// What a cubin says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cubin {
    /// Identification.
    pub layout: CubinLayout,
    /// `EI_OSABI`.
    pub os_abi: u8,
    /// `EI_ABIVERSION`.
    pub abi_version: u8,
    /// Linked or relocatable.
    pub elf_type: CubinType,
    /// `e_flags` as found.
    pub e_flags: u32,
    /// The architecture number from `e_flags`.
    pub number: u32,
    /// The `a` marker; `None` when the places that could hold it disagree or say something new,
    /// which `problems` then names.
    pub marker: Option<Marker>,
    /// Bytes from the ELF header to the last byte that any header accounts for.
    pub size_bytes: u64,
    /// Offset of `.nv.compat`.
    pub compat_offset: Option<u64>,
    /// The records of `.nv.compat`.
    pub compat: Vec<CompatRecord>,
    /// The bytes of `.nv.compat`, to compare with the entry header's copy.
    #[serde(skip)]
    pub(super) compat_bytes: Vec<u8>,
    /// What the tools said.
    pub tools: Vec<ToolNote>,
    /// The architecture notes.
    pub arch_notes: Vec<ArchNote>,
    /// The kernels that have code.
    pub kernels: Vec<Kernel>,
    /// Bytes of machine code, kernels and device functions together.
    pub code_bytes: u64,
    /// Ten times the CUDA version that the kernels were compiled for, where `.nv.info` says so.
    pub api_version: Option<u32>,
    /// Signs of instructions that need an `a` or an `f`; none proves nothing.
    pub special: Vec<SpecialInstructions>,
    /// The targets that its debug copies of PTX name.
    pub debug_ptx: Vec<DebugPtx>,
    /// What contradicts or was not understood, each with an offset from the start of the cubin.
    pub problems: Vec<CubinProblem>,
    /// Bytes that no rule explains.
    pub unexplained: Vec<CubinProblem>,
}

/// The PTX that a build for debuggers repeats in its machine code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DebugPtx {
    /// Offset of its section from the start of the cubin.
    pub offset: u64,
    /// What it names as its target.
    pub target: Option<Arch>,
}

/// Something in a cubin that keeps it from being believed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CubinProblem {
    /// Offset from the start of the cubin.
    pub offset: u64,
    /// What is wrong.
    pub reason: String,
}

impl Cubin {
    /// The architecture by the machine's evidence: number and `a`. A family build (`f`) reads as
    /// plain here, because its machine code carries no mark of it.
    pub fn arch(&self) -> Option<Arch> {
        let feature = if self.marker?.specific { Feature::Specific } else { Feature::Plain };
        Some(Arch { number: self.number, feature })
    }

    /// Whether it holds no machine code at all: nvlink's stub, or an empty source.
    pub fn is_empty(&self) -> bool {
        self.code_bytes == 0
    }

    /// The toolkit release that made it, such as `13.0`, by its notes or else by `.nv.info`.
    pub fn toolkit(&self) -> Option<String> {
        let noted = self.tools.iter().find_map(ToolNote::toolkit);
        let release = noted.or_else(|| self.api_version.map(|version| (version / 10, version % 10)));
        release.map(|(major, minor)| format!("{major}.{minor}"))
    }

    pub(super) fn unexplained(&mut self, offset: u64, reason: impl Into<String>) {
        if self.unexplained.len() < PROBLEM_LIMIT {
            self.unexplained.push(CubinProblem { offset, reason: reason.into() });
        }
    }

    pub(super) fn problem(&mut self, offset: u64, reason: impl Into<String>) {
        if self.problems.len() < PROBLEM_LIMIT {
            self.problems.push(CubinProblem { offset, reason: reason.into() });
        }
    }
}
