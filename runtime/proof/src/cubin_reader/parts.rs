//! Every byte of a cubin, held against a closed list of parts.
//!
//! Types, flags and names are those of 36,000 cubins in 24 wheels (CUDA 11 to 13.5) and of our own
//! builds: sections of the ELF standard, and NVIDIA's from 0x70000000 on.

use object::LittleEndian;
use object::elf::ProgramHeader64;
use object::read::elf::{FileHeader as _, SectionHeader as _};

use super::elf::{ENDIAN, Header, Sections, is_code};
use super::has_body;
use crate::bytes::{first_nonzero, slice, text_of};
use crate::cubin::Cubin;

type ProgramHeader = ProgramHeader64<LittleEndian>;

/// `SHT_NULL`, `SYMTAB`, `STRTAB`, `RELA`, `NOTE`, `NOBITS`, `REL`; then information, call graph,
/// prototypes, kinds of shared and global memory, relocation actions, and the sections of Mercury.
const TYPES: [u32; 27] = [
    0,
    2,
    3,
    4,
    7,
    8,
    9,
    0x7000_0000,
    0x7000_0001,
    0x7000_0002,
    0x7000_0007,
    0x7000_0008,
    0x7000_0009,
    0x7000_000A,
    0x7000_000B,
    0x7000_0015,
    0x7000_0016,
    0x7000_007C,
    0x7000_007D,
    0x7000_0082,
    0x7000_0083,
    0x7000_0084,
    0x7000_0085,
    0x7000_0086,
    0x7000_008A,
    0x7000_008B,
    0x7000_008C,
];
/// First and last type of constant banks.
const BANKS: [u32; 2] = [0x7000_0064, 0x7000_0075];
/// `SHT_PROGBITS`, which says nothing, so the name must.
const PROGBITS: u32 = 1;
/// What such sections are called: code, constants, initial values, and what debuggers read.
const NAMES: [&[u8]; 8] = [
    b".text.",
    b".nv.constant",
    b".nv.global",
    b".nv.shared",
    b".debug_",
    b".nv_debug_",
    b".nv.compat",
    b".nv.merc.",
];
/// Zeros between two parts: less than the largest alignment seen, in bytes.
const PADDING_LIMIT_BYTES: u64 = 1024;

/// Zeros behind a table of names: ptxas leaves the room of names of sections that it dropped, which the templates of
/// CUTLASS make thousands of bytes long.
const NAMES_PADDING_BYTES: u64 = 64 << 10;
/// `SHT_STRTAB`.
const STRTAB: u32 = 3;

/// `PT_LOAD` and `PT_PHDR`.
const SEGMENTS: [u32; 2] = [1, 6];
/// `SHF_WRITE`, `SHF_ALLOC`, `SHF_EXECINSTR` and `SHF_COMPRESSED`.
const WRITE: u64 = 1;
const ALLOCATED: u64 = 2;
const RUNS: u64 = 4;
const COMPRESSED: u64 = 0x800;

/// Notes whatever no rule explains.
pub(super) fn explain(cubin: &mut Cubin, header: &Header, sections: &Sections<'_>, bytes: &[u8]) {
    let mut parts = vec![(0, size_of::<Header>() as u64)];
    let mut behind_names = Vec::new();
    let tables = [
        (header.e_shoff.get(ENDIAN), sections.len() as u64 * u64::from(header.e_shentsize.get(ENDIAN))),
        (
            header.e_phoff.get(ENDIAN),
            u64::from(header.e_phnum.get(ENDIAN)) * u64::from(header.e_phentsize.get(ENDIAN)),
        ),
    ];
    parts.extend(tables.map(|(start, size)| (start, start.saturating_add(size))));
    explain_segments(cubin, header, bytes);
    for section in sections.iter() {
        let Ok(name) = sections.section_name(ENDIAN, section) else { continue };
        let (kind, at) = (section.sh_type.get(ENDIAN).0, section.sh_offset.get(ENDIAN));
        let known = match kind {
            PROGBITS => name == b".text" || NAMES.iter().any(|known| name.starts_with(known)),
            kind => TYPES.contains(&kind) || (BANKS[0]..=BANKS[1]).contains(&kind),
        };
        if !known {
            let name = text_of(name);
            let reason = format!("section {name} of type {kind:#x} is no known part of a cubin");
            cubin.unexplained(at, reason);
        }
        let flags = section.sh_flags.get(ENDIAN).0;
        let is_unlinked_code =
            is_code(name, section) && flags & (WRITE | ALLOCATED | RUNS) != ALLOCATED | RUNS;
        if section.sh_addr.get(ENDIAN) != 0 || flags & COMPRESSED != 0 || is_unlinked_code {
            let reason =
                format!("section {} has an address or flags that no toolkit gives it", text_of(name));
            cubin.unexplained(at, reason);
        }
        if has_body(section)
            && let Some((start, size)) = section.file_range(ENDIAN)
        {
            parts.push((start, start.saturating_add(size)));
            if kind == STRTAB {
                behind_names.push(start.saturating_add(size));
            }
        }
    }
    parts.retain(|(start, end)| start < end);
    parts.sort_unstable();
    // A build for debuggers names some bytes twice: for itself, and for Mercury.
    parts.dedup();
    behind_names.sort_unstable();
    let mut at = 0;
    for (start, end) in parts {
        let limit =
            if behind_names.binary_search(&at).is_ok() { NAMES_PADDING_BYTES } else { PADDING_LIMIT_BYTES };
        if let Some(reason) = gap_doubt(bytes, at, start, limit) {
            cubin.unexplained(at.min(start), reason);
        }
        at = at.max(end);
    }
}

/// Notes program headers that are none: toolkits write segments without addresses, within the file.
fn explain_segments(cubin: &mut Cubin, header: &Header, bytes: &[u8]) {
    let start = header.e_phoff.get(ENDIAN);
    let Ok(segments) = header.program_headers(ENDIAN, bytes) else {
        cubin.unexplained(start, "program headers that cannot be read".to_owned());
        return;
    };
    for (segment, at) in segments.iter().zip((start..).step_by(size_of::<ProgramHeader>())) {
        let [offset, size, memory] =
            [&segment.p_offset, &segment.p_filesz, &segment.p_memsz].map(|field| field.get(ENDIAN));
        let is_within = offset.saturating_add(size) <= bytes.len() as u64 && size <= memory;
        let has_no_address = segment.p_vaddr.get(ENDIAN) == 0 && segment.p_paddr.get(ENDIAN) == 0;
        if !SEGMENTS.contains(&segment.p_type.get(ENDIAN).0) || !is_within || !has_no_address {
            cubin.unexplained(at, "a program header that no toolkit writes".to_owned());
        }
    }
}

/// Why the bytes between two parts are no padding.
fn gap_doubt(bytes: &[u8], start: u64, end: u64, limit: u64) -> Option<String> {
    let Some(size) = end.checked_sub(start) else {
        return Some("two parts of the cubin share bytes".to_owned());
    };
    let gap = slice(bytes, start, size)?;
    let is_padding = size < limit && first_nonzero(gap).is_none();
    (!is_padding).then(|| format!("{size} bytes between the parts of the cubin"))
}
