//! The tables of a 64-bit little-endian ELF: sections, segments and symbols, as they are.

use crate::bytes::{slice, text_of, u16_at, u32_at, u64_at};

/// Size of the ELF header, in bytes.
pub(super) const HEADER_BYTES: u64 = 64;
/// Size of an entry of the section table, in bytes.
const SECTION_BYTES: u64 = 64;
/// Size of an entry of the segment table, in bytes.
const SEGMENT_BYTES: u64 = 56;
/// Size of a symbol, in bytes.
const SYMBOL_BYTES: usize = 24;
/// `SHT_NOBITS`.
const NOBITS: u32 = 8;
/// `PT_LOAD`.
pub(super) const LOAD: u32 = 1;
/// Section index of symbols that are defined elsewhere.
pub(super) const UNDEFINED: u16 = 0;
/// Section index of symbols whose value is a plain number.
pub(super) const ABSOLUTE: u16 = 0xFFF1;
/// More symbols than any library has; beyond it a table is not read.
const SYMBOL_LIMIT: u64 = 50_000_000;

/// Longest name of a section, and what all names together may take, in bytes: `-ffunction-sections` makes a
/// section a function, and names it so.
const NAME_LIMIT_BYTES: usize = 64 << 10;
const NAMES_LIMIT_BYTES: usize = 64 << 20;

/// One section.
#[derive(Debug, Clone)]
pub(crate) struct Section {
    /// Its name.
    pub(crate) name: String,
    /// `sh_type`.
    pub(crate) kind: u32,
    /// `sh_flags`.
    pub(crate) flags: u64,
    /// `sh_addr`.
    pub(super) address: u64,
    /// `sh_offset`.
    pub(crate) offset: u64,
    /// `sh_size`, in bytes.
    pub(crate) size: u64,
    /// `sh_link`.
    pub(super) link: u32,
    /// `sh_info`.
    pub(super) info: u32,
}

impl Section {
    /// Whether it takes room in the file.
    pub(crate) fn has_bytes(&self) -> bool {
        self.kind != NOBITS && self.kind != 0 && self.size > 0
    }

    /// Whether it is mapped when the program runs.
    pub(super) fn is_allocated(&self) -> bool {
        self.flags & 0x2 != 0
    }

    /// Whether the program may write it.
    pub(super) fn is_writable(&self) -> bool {
        self.flags & 0x1 != 0
    }

    /// Whether the processor may run it.
    pub(crate) fn is_executable(&self) -> bool {
        self.flags & 0x4 != 0
    }

    /// Offset of the first byte behind it.
    pub(crate) fn end(&self) -> u64 {
        self.offset.saturating_add(self.size)
    }
}

/// One segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment {
    /// `p_type`.
    pub(super) kind: u32,
    /// `p_flags`: 1 runs, 2 writes, 4 reads.
    pub(super) flags: u32,
    /// `p_offset`.
    pub(super) offset: u64,
    /// `p_vaddr`.
    pub(super) address: u64,
    /// `p_filesz`, in bytes.
    pub(super) file_bytes: u64,
    /// `p_memsz`, in bytes.
    pub(super) memory_bytes: u64,
}

impl Segment {
    /// The offset in the file behind an address, where this segment maps one.
    pub(super) fn file_offset(&self, address: u64) -> Option<u64> {
        let inside = address.checked_sub(self.address)?;
        (inside < self.file_bytes).then(|| self.offset.saturating_add(inside))
    }
}

/// What a symbol says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Symbol {
    /// `st_info`: binding in the upper half, type in the lower.
    pub(super) info: u8,
    /// `st_other`: visibility in the two lowest bits.
    pub(super) other: u8,
    /// Its section's index, or one of the reserved numbers.
    pub(super) section: u16,
    /// Its value.
    pub(super) value: u64,
    /// Its size, in bytes.
    pub(super) size: u64,
    /// Offset of its name in the string table.
    pub(super) name: u32,
}

impl Symbol {
    /// Whether its value is what a function of the file returns when it is loaded (`STT_GNU_IFUNC`).
    pub(super) fn is_computed(&self) -> bool {
        self.info & 0xF == 10
    }

    /// Whether a linker takes another object's definition rather than this one (`STB_WEAK`).
    pub(super) fn is_weak(&self) -> bool {
        self.info >> 4 == 2
    }

    /// Whether the loader takes the definition of whatever was loaded before: neither `STB_LOCAL` nor of
    /// another visibility than `STV_DEFAULT`.
    pub(super) fn is_preemptible(&self) -> bool {
        self.info >> 4 != 0 && self.other.is_multiple_of(4)
    }
}

/// What an ELF file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `ET_REL`: an object that a linker reads.
    Relocatable,
    /// `ET_EXEC`: a program at fixed addresses.
    Executable,
    /// `ET_DYN`: a library or program that loads anywhere.
    Dynamic,
}

/// A host ELF.
#[derive(Debug)]
pub(crate) struct Elf<'a> {
    /// The whole of it.
    pub(super) bytes: &'a [u8],
    /// What it is for.
    pub(super) kind: Kind,
    /// `e_machine`.
    pub(super) machine: u16,
    /// Its sections, the null section included.
    pub(crate) sections: Vec<Section>,
    /// Its segments.
    pub(super) segments: Vec<Segment>,
    /// Where the tables lie: segments, then sections; each `(start, end)`.
    pub(super) tables: [(u64, u64); 2],
}

impl<'a> Elf<'a> {
    /// Reads the tables; `Err` says why there is no view of this file.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, String> {
        if bytes.get(4..6) != Some(&[2, 1]) {
            return Err("a 32-bit or big-endian ELF, which no CUDA of today loads from".to_owned());
        }
        let half = |at| u16_at(bytes, at).ok_or("the ELF header is cut off");
        let long = |at| u64_at(bytes, at).ok_or("the ELF header is cut off");
        let kind = match half(16)? {
            1 => Kind::Relocatable,
            2 => Kind::Executable,
            3 => Kind::Dynamic,
            other => return Err(format!("ELF type {other:#x} is neither object, program nor library")),
        };
        let (section_at, section_size, section_count) = (long(40)?, half(58)?, half(60)?);
        let (segment_at, segment_size, segment_count) = (long(32)?, half(54)?, half(56)?);
        let (section_size, segment_size) = (u64::from(section_size), u64::from(segment_size));
        let bad_size = (section_count > 0 && section_size != SECTION_BYTES)
            || (segment_count > 0 && segment_size != SEGMENT_BYTES);
        if bad_size || half(52)? != 64 {
            return Err("the entries of a table have another size than every linker writes".to_owned());
        }
        let (section_count, names) = section_numbers(bytes, section_at, section_count, half(62)?)?;
        let table = |at: u64, count: u64, size: u64| {
            let length = count.checked_mul(size).ok_or("a table is cut off")?;
            slice(bytes, at, length).ok_or("a table is cut off").map(|table| (table, (at, at + length)))
        };
        let (sections, section_range) = table(section_at, section_count, SECTION_BYTES)?;
        let (segments, segment_range) = table(segment_at, segment_count.into(), SEGMENT_BYTES)?;
        let segments = segments.chunks_exact(56).filter_map(segment).collect();
        let mut sections: Vec<(u32, Section)> = sections.chunks_exact(64).filter_map(section).collect();
        let names = usize::try_from(names).ok().and_then(|index| sections.get(index));
        let names = names.and_then(|(_, names)| slice(bytes, names.offset, names.size)).unwrap_or_default();
        let mut to_keep = NAMES_LIMIT_BYTES;
        for (name, section) in &mut sections {
            section.name = name_at(names, *name).ok_or("a section's name is cut off or very long")?;
            to_keep = to_keep.checked_sub(section.name.len()).ok_or("very long names of sections")?;
        }
        let sections = sections.into_iter().map(|(_, section)| section).collect();
        let machine = half(18)?;
        Ok(Self { bytes, kind, machine, sections, segments, tables: [segment_range, section_range] })
    }

    /// The bytes of a section.
    pub(crate) fn content(&self, section: &Section) -> &'a [u8] {
        if section.has_bytes() {
            slice(self.bytes, section.offset, section.size).unwrap_or_default()
        } else {
            &[]
        }
    }

    /// A symbol of the symbol table in section `table`.
    pub(super) fn symbol(&self, table: usize, index: u32) -> Option<Symbol> {
        let table = self.content(self.sections.get(table)?);
        let at = usize::try_from(index).ok()?.checked_mul(SYMBOL_BYTES)?;
        symbol_in(table.get(at..at.checked_add(SYMBOL_BYTES)?)?)
    }

    /// Every symbol of a table with its name; names that lie over each other end it.
    pub(super) fn symbols(&self, table: &Section) -> impl Iterator<Item = (Symbol, &'a [u8])> {
        let names = usize::try_from(table.link).ok().and_then(|index| self.sections.get(index));
        let names = names.map(|names| self.content(names)).unwrap_or_default();
        let limit = usize::try_from(SYMBOL_LIMIT).unwrap_or(usize::MAX);
        let mut to_read = self.bytes.len().saturating_mul(16);
        self.content(table).chunks_exact(SYMBOL_BYTES).take(limit).filter_map(symbol_in).map_while(
            move |symbol| {
                let name =
                    usize::try_from(symbol.name).ok().and_then(|at| names.get(at..)).unwrap_or_default();
                let end = memchr::memchr(0, name).unwrap_or(name.len());
                to_read = to_read.checked_sub(end)?;
                Some((symbol, &name[..end]))
            },
        )
    }

    /// Segments that are mapped.
    pub(super) fn loads(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter().filter(|segment| segment.kind == LOAD)
    }

    /// The mapped segment that holds an address, in the file or beyond it.
    pub(super) fn segment_at(&self, address: u64) -> Option<&Segment> {
        self.loads()
            .find(|load| address.checked_sub(load.address).is_some_and(|inside| inside < load.memory_bytes))
    }

    /// The offset in the file of what the loader puts at an address.
    pub(super) fn file_offset(&self, address: u64) -> Option<u64> {
        self.loads().find_map(|load| load.file_offset(address))
    }
}

/// How many sections there are and which holds their names: in the header, or in the first section
/// where the numbers are too large for it.
fn section_numbers(bytes: &[u8], at: u64, count: u16, names: u16) -> Result<(u64, u64), &'static str> {
    let first = |offset: u64| -> Option<&[u8]> { slice(bytes, at.checked_add(offset)?, 8) };
    let count = match count {
        0 if at != 0 => first(32).and_then(|size| u64_at(size, 0)).ok_or("the section table is cut off")?,
        count => count.into(),
    };
    let names = match names {
        0xFFFF => first(40).and_then(|link| u32_at(link, 0)).ok_or("the section table is cut off")?.into(),
        names => names.into(),
    };
    Ok((count, names))
}

fn section(entry: &[u8]) -> Option<(u32, Section)> {
    let section = Section {
        name: String::new(),
        kind: u32_at(entry, 4)?,
        flags: u64_at(entry, 8)?,
        address: u64_at(entry, 16)?,
        offset: u64_at(entry, 24)?,
        size: u64_at(entry, 32)?,
        link: u32_at(entry, 40)?,
        info: u32_at(entry, 44)?,
    };
    Some((u32_at(entry, 0)?, section))
}

fn segment(entry: &[u8]) -> Option<Segment> {
    Some(Segment {
        kind: u32_at(entry, 0)?,
        flags: u32_at(entry, 4)?,
        offset: u64_at(entry, 8)?,
        address: u64_at(entry, 16)?,
        file_bytes: u64_at(entry, 32)?,
        memory_bytes: u64_at(entry, 40)?,
    })
}

pub(super) fn symbol_in(entry: &[u8]) -> Option<Symbol> {
    Some(Symbol {
        name: u32_at(entry, 0)?,
        info: *entry.get(4)?,
        other: *entry.get(5)?,
        section: u16_at(entry, 6)?,
        value: u64_at(entry, 8)?,
        size: u64_at(entry, 16)?,
    })
}

fn name_at(names: &[u8], at: u32) -> Option<String> {
    if names.is_empty() {
        return Some(String::new());
    }
    let rest = names.get(usize::try_from(at).ok()?..)?;
    let end = memchr::memchr(0, &rest[..rest.len().min(NAME_LIMIT_BYTES)])?;
    Some(text_of(&rest[..end]))
}
