//! Reads the host ELF around device code: its sections.

use object::Endianness;
use object::elf::{FileHeader32, FileHeader64, SHF_ALLOC, SHF_EXECINSTR, SHT_PROGBITS};
use object::read::elf::{FileHeader, SectionHeader as _};

use super::bytes::text_of;

/// What the names of all sections together may take, in bytes.
const NAMES_LIMIT_BYTES: usize = 64 << 20;

/// One section that has bytes in the file.
pub(super) struct HostSection {
    /// Its name.
    pub(super) name: String,
    /// Offset in the ELF.
    pub(super) offset: u64,
    /// Size in bytes.
    pub(super) size: u64,
    /// Whether the processor may run it.
    pub(super) executable: bool,
    /// Whether it is data that the program maps, and none of the tables of linkers.
    pub(super) mapped_data: bool,
    /// Alignment as declared.
    pub(super) align: u64,
}

/// What a toolkit keeps in a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Containers.
    Fatbin,
    /// Pointers to containers.
    Wrappers,
}

/// What a toolkit keeps in a section of this name, if anything.
pub(super) fn role_of(name: &str) -> Option<Role> {
    match name {
        ".nv_fatbin" | "__nv_relfatbin" => Some(Role::Fatbin),
        ".nvFatBinSegment" => Some(Role::Wrappers),
        _ => None,
    }
}

impl HostSection {
    /// What a toolkit keeps here, if anything.
    pub(super) fn role(&self) -> Option<Role> {
        role_of(&self.name)
    }

    /// Whether the constants in it may be names or sources that the program hands to a compiler.
    pub(super) fn holds_text(&self) -> bool {
        self.mapped_data && self.role().is_none() && !self.name.starts_with(".eh_frame")
    }

    /// Offset of the first byte behind it.
    pub(super) fn end(&self) -> u64 {
        self.offset.saturating_add(self.size)
    }
}

/// The sections of an ELF, 32-bit or 64-bit.
pub(super) fn sections(bytes: &[u8]) -> Result<Vec<HostSection>, String> {
    match bytes.get(4) {
        Some(1) => sections_of::<FileHeader32<Endianness>>(bytes),
        _ => sections_of::<FileHeader64<Endianness>>(bytes),
    }
}

fn sections_of<Elf: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> Result<Vec<HostSection>, String> {
    let broken = |error: object::Error| error.to_string();
    let header = Elf::parse(bytes).map_err(broken)?;
    let endian = header.endian().map_err(broken)?;
    let sections = header.sections(endian, bytes).map_err(broken)?;
    let mut found = Vec::new();
    let mut to_keep = NAMES_LIMIT_BYTES;
    for section in sections.iter() {
        let Some((offset, size)) = section.file_range(endian) else { continue };
        let name = sections.section_name(endian, section).map_err(broken)?;
        // Names may lie over each other, and each of them is kept.
        to_keep = to_keep.checked_sub(name.len()).ok_or("very long names of sections")?;
        let name = text_of(name);
        let executable = section.sh_flags(endian).contains(SHF_EXECINSTR);
        let mapped_data = !executable
            && section.sh_flags(endian).contains(SHF_ALLOC)
            && section.sh_type(endian) == SHT_PROGBITS;
        let align = section.sh_addralign(endian).into();
        found.push(HostSection { name, offset, size, executable, mapped_data, align });
    }
    Ok(found)
}
