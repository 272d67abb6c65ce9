//! Reads a cubin: an ELF for `EM_CUDA`, and everything in it that names an architecture.
//!
//! | fact | 12.8, 12.9 up to `sm_90` | 12.8, 12.9 from `sm_100` | 13.0-13.5 |
//! |---|---|---|---|
//! | `EI_OSABI` / `EI_ABIVERSION` | 0x33 / 7 | 0x41 / 8 | 0x41 / 8 |
//! | architecture number in `e_flags` | bits 0-7 | bits 8-15 | bits 8-15 |
//! | the `a` | `e_flags & 0x800` | `e_flags & 0x8` | `.nv.compat` attribute 9 = 1 |
//!
//! All of it seen in our own builds with these toolkits. The `f` leaves no mark in a cubin but the
//! tool's options text, so `e_flags` alone proves neither letter.

use object::LittleEndian;
use object::elf::{self, FileHeader64, SectionHeader64};
use object::read::elf::{FileHeader as _, SectionHeader as _, SectionTable};
use proofmark_packager::{Arch, Feature};
use serde::Serialize;

use super::compat::{self, CompatRecord};
use super::kernel::{Kernel, read_kernels};
use super::marker::{Marker, marker};
use super::note::{self, ArchNote, ArchNoteKind, ToolNote};

/// `e_machine` of a cubin.
pub(super) const EM_CUDA: u16 = 190;
/// Where `e_flags` lies in a 64-bit ELF header.
pub(super) const E_FLAGS_OFFSET: u64 = 48;
/// Bits of `e_flags` that no toolkit from 12.7 to 13.5 sets in this layout: all but the number, the
/// marker, two bits of unknown meaning and the highest byte, which each toolkit sets anew. Seen in
/// 38,000 cubins, 21,000 of them in released libraries.
const E_FLAGS_UNKNOWN: u32 = 0x00FF_00F1;
/// How the ELF identifies itself, which decides where the other facts lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
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

/// The ELF type of an extensible whole program.
const ET_EXTENSIBLE: elf::FileType = elf::FileType(0xFF00);

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
    pub layout: Layout,
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
    /// What contradicts or was not understood, each with an offset from the start of the cubin.
    pub problems: Vec<CubinProblem>,
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

    pub(super) fn problem(&mut self, offset: u64, reason: impl Into<String>) {
        self.problems.push(CubinProblem { offset, reason: reason.into() });
    }
}

/// Why bytes that start like a cubin cannot be read as one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum CubinError {
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

/// Reads the cubin at the start of `bytes`, which may be followed by more.
pub(super) fn read(bytes: &[u8]) -> Result<Cubin, CubinError> {
    let header = Header::parse(bytes).map_err(|error| broken(&error))?;
    let machine = header.e_machine.get(ENDIAN).0;
    if machine != EM_CUDA {
        return Err(CubinError::NotCuda { found: machine });
    }
    let sections = header.sections(ENDIAN, bytes).map_err(|error| broken(&error))?;
    let mut cubin = from_header(header)?;
    let unknown = cubin.e_flags & E_FLAGS_UNKNOWN;
    if cubin.layout == Layout::Abi8 && unknown != 0 {
        cubin.problem(E_FLAGS_OFFSET, format!("bits {unknown:#x} of e_flags are unknown"));
    }
    cubin.size_bytes = extent(header, &sections, bytes)?;
    read_sections(&mut cubin, &sections, bytes)?;
    read_kernels(&mut cubin, &sections, bytes)?;
    cubin.marker = marker(&mut cubin);
    Ok(cubin)
}

fn from_header(header: &Header) -> Result<Cubin, CubinError> {
    let (os_abi, abi_version) = (header.e_ident.os_abi.0, header.e_ident.abi_version);
    let e_flags = header.e_flags.get(ENDIAN).0;
    let (layout, number) = match (os_abi, abi_version) {
        (0x33, 1..=7) => (Layout::Abi7, e_flags & 0xFF),
        (0x41, 8) => (Layout::Abi8, e_flags >> 8 & 0xFF),
        _ => return Err(CubinError::UnknownLayout { os_abi, abi_version }),
    };
    let elf_type = match header.e_type.get(ENDIAN) {
        elf::ET_EXEC => CubinType::Executable,
        elf::ET_REL => CubinType::Relocatable,
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
        problems: Vec::new(),
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
            cubin.problem(at, format!("a second {} section", String::from_utf8_lossy(name)));
            continue;
        }
        notes.extend(is_note.then_some(name));
        // A reader that goes by type and one that goes by name must see the same section.
        if (section.sh_type.get(ENDIAN).0 == SHT_COMPAT) != (name == b".nv.compat") {
            mistyped.push((at, section.sh_type.get(ENDIAN) == elf::SHT_PROGBITS));
        }
        match name {
            b".nv.compat" => read_compat(cubin, body, at),
            b".note.nv.tkinfo" => match note::tools(body, at) {
                Some(tools) => cubin.tools.extend(tools),
                None => cubin.problem(at, ".note.nv.tkinfo is malformed"),
            },
            b".note.nv.cuver" => read_arch_note(cubin, body, at, ArchNoteKind::Cuver),
            b".note.nv.cuinfo" => read_arch_note(cubin, body, at, ArchNoteKind::Cuinfo),
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

/// Machine code by its name or by its flags: whichever says so.
pub(super) fn is_code(name: &[u8], section: &SectionHeader64<LittleEndian>) -> bool {
    let executable = section.sh_flags.get(ENDIAN).contains(elf::SHF_EXECINSTR);
    section.sh_type.get(ENDIAN) == elf::SHT_PROGBITS && (executable || name.starts_with(b".text"))
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
