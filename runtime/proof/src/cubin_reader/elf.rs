//! The ELF of a cubin: machine, header, sections, and why one cannot be read.

use object::LittleEndian;
use object::elf::{self, FileHeader64, SectionHeader64};
use object::read::elf::SectionTable;

/// `e_machine` of a cubin.
pub(crate) const EM_CUDA: u16 = 190;

/// Why bytes that start like a cubin cannot be read as one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CubinError {
    /// The ELF structure is broken.
    #[error("broken ELF: {reason}")]
    Broken {
        /// What the reader said.
        reason: String,
    },
    /// An ELF for another machine.
    #[error("an ELF for machine {found}, expected 190 (CUDA)")]
    NotCuda {
        /// `e_machine` as found.
        found: u16,
    },
    /// OS ABI and ABI version of no known toolkit.
    #[error("OS ABI {os_abi:#x} with ABI version {abi_version} belongs to no toolkit that we know")]
    UnknownLayout {
        /// `EI_OSABI` as found.
        os_abi: u8,
        /// `EI_ABIVERSION` as found.
        abi_version: u8,
    },
    /// Neither executable nor relocatable.
    #[error("ELF type {found} is neither executable nor relocatable")]
    UnknownType {
        /// `e_type` as found.
        found: u16,
    },
}

pub(super) type Header = FileHeader64<LittleEndian>;
pub(super) type Sections<'a> = SectionTable<'a, Header>;

pub(super) const ENDIAN: LittleEndian = LittleEndian;

pub(super) fn broken(error: &object::Error) -> CubinError {
    CubinError::Broken { reason: error.to_string() }
}

/// Machine code by its name or by its flags: whichever says so.
pub(super) fn is_code(name: &[u8], section: &SectionHeader64<LittleEndian>) -> bool {
    let executable = section.sh_flags.get(ENDIAN).contains(elf::SHF_EXECINSTR);
    section.sh_type.get(ENDIAN) == elf::SHT_PROGBITS && (executable || name.starts_with(b".text"))
}
