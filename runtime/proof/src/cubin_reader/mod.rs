//! Reads a cubin: header, sections, kernels, and the `a`.

use object::LittleEndian;
use object::elf::{self as elf_words, SectionHeader64};
use object::read::elf::{FileHeader as _, SectionHeader as _};
use proofmark_packager::Arch;

use super::bytes::text_of;
use super::compat;
use super::cubin::{Cubin, CubinLayout, CubinType, DebugPtx, E_FLAGS_OFFSET};
use super::note::{self, ArchNoteKind, ToolNote};
use super::ptx;
use elf::{CubinError, ENDIAN, Header, Sections, broken, is_code};

mod elf;
mod instructions;
mod kernels;
mod letter;
mod parts;

pub(super) use elf::EM_CUDA;

/// Bits of `e_flags` that no toolkit from 12.7 to 13.5 sets in this layout: all but the number, the
/// marker, two bits of unknown meaning and the highest byte, which each toolkit sets anew. Seen in
/// 38,000 cubins, 21,000 of them in released libraries.
const E_FLAGS_UNKNOWN: u32 = 0x00FF_00F1;

/// The ELF type of an extensible whole program.
const ET_EXTENSIBLE: elf_words::FileType = elf_words::FileType(0xFF00);

/// Reads the cubin at the start of `bytes`, which may be followed by more.
pub(super) fn read(bytes: &[u8]) -> Result<Cubin, CubinError> {
    let header = Header::parse(bytes).map_err(|error| broken(&error))?;
    let machine = header.e_machine.get(ENDIAN).0;
    if machine != EM_CUDA {
        return Err(CubinError::NotCuda { found: machine });
    }
    let sections = header.sections(ENDIAN, bytes).map_err(|error| broken(&error))?;
    check_sizes(&sections, bytes)?;
    let mut cubin = from_header(header)?;
    let unknown = cubin.e_flags & E_FLAGS_UNKNOWN;
    if cubin.layout == CubinLayout::Abi8 && unknown != 0 {
        cubin.problem(E_FLAGS_OFFSET, format!("bits {unknown:#x} of e_flags are unknown"));
    }
    cubin.size_bytes = extent(header, &sections, bytes)?;
    read_sections(&mut cubin, &sections, bytes)?;
    kernels::read_kernels(&mut cubin, &sections, bytes)?;
    cubin.marker = letter::marker(&mut cubin);
    parts::explain(&mut cubin, header, &sections, bytes);
    instructions::check(&mut cubin, &sections, bytes);
    Ok(cubin)
}

/// Sections that lie over each other would be read again and again; builds for debuggers name some bytes
/// twice.
fn check_sizes(sections: &Sections<'_>, bytes: &[u8]) -> Result<(), CubinError> {
    let bodies = sections.iter().filter(|section| has_body(section));
    let sizes = bodies.filter_map(|section| section.file_range(ENDIAN)).map(|(_, size)| size);
    let together = sizes.fold(0_u64, u64::saturating_add);
    if together > (bytes.len() as u64).saturating_mul(4) {
        return Err(CubinError::Broken { reason: "its sections lie over each other".to_owned() });
    }
    Ok(())
}

fn from_header(header: &Header) -> Result<Cubin, CubinError> {
    let (os_abi, abi_version) = (header.e_ident.os_abi.0, header.e_ident.abi_version);
    let e_flags = header.e_flags.get(ENDIAN).0;
    let (layout, number) = match (os_abi, abi_version) {
        (0x33, 1..=7) => (CubinLayout::Abi7, e_flags & 0xFF),
        (0x41, 8) => (CubinLayout::Abi8, e_flags >> 8 & 0xFF),
        _ => return Err(CubinError::UnknownLayout { os_abi, abi_version }),
    };
    let elf_type = match header.e_type.get(ENDIAN) {
        elf_words::ET_EXEC => CubinType::Executable,
        elf_words::ET_REL => CubinType::Relocatable,
        ET_EXTENSIBLE => CubinType::Extensible,
        found => return Err(CubinError::UnknownType { found: found.0 }),
    };
    Ok(Cubin {
        layout,
        os_abi,
        abi_version,
        elf_type,
        e_flags,
        number,
        marker: None,
        size_bytes: 0,
        compat_offset: None,
        compat: Vec::new(),
        compat_bytes: Vec::new(),
        tools: Vec::new(),
        arch_notes: Vec::new(),
        kernels: Vec::new(),
        code_bytes: 0,
        api_version: None,
        special: Vec::new(),
        debug_ptx: Vec::new(),
        problems: Vec::new(),
        unexplained: Vec::new(),
    })
}

/// The end of the last thing that the headers place in the file.
fn extent(header: &Header, sections: &Sections<'_>, bytes: &[u8]) -> Result<u64, CubinError> {
    let table =
        |offset: u64, count: u64, size: u16| offset.saturating_add(count.saturating_mul(u64::from(size)));
    let section_headers =
        table(header.e_shoff.get(ENDIAN), sections.len() as u64, header.e_shentsize.get(ENDIAN));
    let program_headers = table(
        header.e_phoff.get(ENDIAN),
        u64::from(header.e_phnum.get(ENDIAN)),
        header.e_phentsize.get(ENDIAN),
    );
    let bodies =
        sections.iter().filter(|section| has_body(section)).filter_map(|section| section.file_range(ENDIAN));
    let end = bodies
        .map(|(offset, size)| offset.saturating_add(size))
        .chain([section_headers, program_headers, size_of::<Header>() as u64])
        .max()
        .unwrap_or_default();
    if end > bytes.len() as u64 {
        return Err(CubinError::Broken {
            reason: format!("ends at {end:#x}, but only {:#x} bytes exist", bytes.len()),
        });
    }
    Ok(end)
}

/// Types of sections that take no room in the file: global, local, shared and reserved shared
/// memory. Seen in `-rdc` and finalized cubins of 13.4 and 13.5; older ones say `SHT_NOBITS`.
const WITHOUT_BODY: [u32; 4] = [0x7000_0007, 0x7000_0009, 0x7000_000A, 0x7000_0015];

/// Type of `.nv.compat`; seen in every cubin that has one, 12.8-13.5.
const SHT_COMPAT: u32 = 0x7000_0086;

fn has_body(section: &SectionHeader64<LittleEndian>) -> bool {
    !WITHOUT_BODY.contains(&section.sh_type.get(ENDIAN).0)
}

fn read_sections(cubin: &mut Cubin, sections: &Sections<'_>, bytes: &[u8]) -> Result<(), CubinError> {
    let mut notes = Vec::new();
    let mut mistyped = Vec::new();
    for section in sections.iter().filter(|section| has_body(section)) {
        let name = sections.section_name(ENDIAN, section).map_err(|error| broken(&error))?;
        let body = section.data(ENDIAN, bytes).map_err(|error| broken(&error))?;
        let at = section.sh_offset.get(ENDIAN);
        let is_note = name.starts_with(b".note.nv.") || name == b".nv.compat";
        if is_note && notes.contains(&name) {
            cubin.problem(at, format!("a second {} section", text_of(name)));
            continue;
        }
        notes.extend(is_note.then_some(name));
        // A reader that goes by type and one that goes by name must see the same section.
        if (section.sh_type.get(ENDIAN).0 == SHT_COMPAT) != (name == b".nv.compat") {
            mistyped.push((at, section.sh_type.get(ENDIAN) == elf_words::SHT_PROGBITS));
        }
        match name {
            b".nv.compat" => read_compat(cubin, body, at),
            b".note.nv.tkinfo" => match note::tools(body, at) {
                Some(tools) => cubin.tools.extend(tools),
                None => cubin.problem(at, ".note.nv.tkinfo is malformed"),
            },
            b".note.nv.cuver" => read_arch_note(cubin, body, at, ArchNoteKind::Cuver),
            b".note.nv.cuinfo" => read_arch_note(cubin, body, at, ArchNoteKind::Cuinfo),
            _ if is_debug_ptx(name) => {
                cubin.debug_ptx.push(DebugPtx { offset: at, target: debug_target(body) });
            }
            _ if is_code(name, section) => cubin.code_bytes += body.len() as u64,
            _ => {}
        }
    }
    // NVIDIA's assembler alone leaves the type at PROGBITS (seen in FlashInfer's cubins, 12.9.90).
    let assembled = cubin.tools.iter().any(ToolNote::is_assembler_without_arch);
    for (at, is_plain) in mistyped {
        if !(is_plain && assembled) {
            cubin.problem(at, "a section has the name or the type of .nv.compat, but not both");
        }
    }
    Ok(())
}

/// Whether a section repeats the PTX for debuggers (`-lineinfo`, `-G`); with `-rdc=true` its name ends with a
/// number.
pub(super) fn is_debug_ptx(name: &[u8]) -> bool {
    let name = name.strip_prefix(b".nv.merc").unwrap_or(name);
    name.strip_prefix(b".nv_debug_ptx_txt").is_some_and(|rest| match rest {
        [] => true,
        [b'.', number @ ..] => !number.is_empty() && number.iter().all(u8::is_ascii_digit),
        _ => false,
    })
}

/// The target in such a section, whose lines end with zero bytes.
fn debug_target(body: &[u8]) -> Option<Arch> {
    let text: Vec<u8> = body.iter().map(|&byte| if byte == 0 { b'\n' } else { byte }).collect();
    ptx::read(&text).target
}

fn read_compat(cubin: &mut Cubin, body: &[u8], at: u64) {
    cubin.compat_offset = Some(at);
    cubin.compat_bytes = body.to_vec();
    match compat::read(body) {
        Some(records) => cubin.compat = records,
        None => cubin.problem(at, ".nv.compat is malformed"),
    }
}

fn read_arch_note(cubin: &mut Cubin, body: &[u8], at: u64, kind: ArchNoteKind) {
    match note::archs(body, at, kind) {
        Some(notes) => cubin.arch_notes.extend(notes),
        None => cubin.problem(at, "the architecture note is malformed"),
    }
}
