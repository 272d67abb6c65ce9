//! Walks a file and accounts for every place in it that may hold device code.

use object::LittleEndian;
use object::elf::{self, FileHeader64};
use object::read::archive::ArchiveFile;
use object::read::elf::{FileHeader as _, SectionHeader as _};
use packager::Digest;

use super::bytes::{slice, u16_at};
use super::compression::{self, Compression};
use super::cubin::{self, EM_CUDA};
use super::examination::{Container, Entry, Examination, Format, Place, Problem};
use super::fatbin::{self, EntryKind, RawEntry, first_nonzero_in, flags};
use super::ptx;
use super::scan::{self, Mark, PTX_TARGET, Sighting};

/// Bytes that all payloads of one file may decompress to, beyond which the rest stays unread:
/// a floor for small files, and a multiple of the file for large ones.
const ALLOWANCE_FLOOR_BYTES: u64 = 1 << 30;
const ALLOWANCE_PER_BYTE: u64 = 64;
/// How deep archives may nest.
const NESTING_LIMIT: u32 = 4;

/// Finds everything in a file that a GPU could run. Never fails: what cannot be read is reported
/// in [`Examination::unaccounted`] or among an entry's problems.
pub fn examine(bytes: &[u8]) -> Examination {
    let format = format_of(bytes);
    let size_bytes = bytes.len() as u64;
    let mut examiner = Examiner {
        bytes,
        allowance: ALLOWANCE_FLOOR_BYTES.saturating_add(size_bytes.saturating_mul(ALLOWANCE_PER_BYTE)),
        known: Vec::new(),
        found: Examination {
            format,
            size_bytes,
            entries: Vec::new(),
            containers: Vec::new(),
            wrappers: 0,
            unaccounted: Vec::new(),
        },
    };
    examiner.region(0, size_bytes, &Place::default(), 0);
    examiner.sweep();
    examiner.finish()
}

/// What a range of the file is known to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ground {
    /// A container's header or an entry's header.
    Header,
    /// A payload whose stored bytes mean nothing before decompression.
    Opaque,
    /// Machine code that starts here.
    Cubin,
    /// PTX text.
    Ptx,
    /// `.nvFatBinSegment`.
    Wrappers,
    /// Debug sections of a cubin that repeat its PTX.
    DebugText,
}

struct Examiner<'a> {
    bytes: &'a [u8],
    allowance: u64,
    known: Vec<(u64, u64, Ground)>,
    found: Examination,
}

fn format_of(bytes: &[u8]) -> Format {
    if bytes.starts_with(b"\x7FELF") {
        let kind = elf::FileType(u16_at(bytes, 16).unwrap_or_default());
        return match (u16_at(bytes, 18), kind) {
            (Some(EM_CUDA), _) => Format::Cubin,
            (_, elf::ET_REL) => Format::Object,
            (_, elf::ET_DYN) => Format::Library,
            _ => Format::Executable,
        };
    }
    if fatbin::starts_at(bytes, 0) {
        Format::Fatbin
    } else if bytes.starts_with(b"!<arch>\n") {
        Format::Archive
    } else if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06") {
        Format::Zip
    } else if is_ptx(bytes) {
        Format::Ptx
    } else {
        Format::Other
    }
}

/// A text whose first directive is `.version`, behind blank lines and comments.
fn is_ptx(bytes: &[u8]) -> bool {
    let mut in_comment = false;
    for line in bytes.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii) {
        if in_comment || line.starts_with(b"/*") {
            in_comment = !line.ends_with(b"*/");
        } else if !line.is_empty() && !line.starts_with(b"//") {
            return line.starts_with(b".version ") || line.starts_with(b".version\t");
        }
    }
    false
}

impl Examiner<'_> {
    /// Reads the file, archive member or other range `[start, end)` by its own format.
    fn region(&mut self, start: u64, end: u64, place: &Place, depth: u32) {
        let Some(bytes) = slice(self.bytes, start, end - start) else { return };
        match format_of(bytes) {
            Format::Cubin => self.bare_cubin(start, end, place),
            Format::Fatbin => self.containers(start, end, place, Padding::None),
            Format::Ptx => self.bare_ptx(start, end, place),
            Format::Archive if depth < NESTING_LIMIT => self.archive(start, bytes, depth),
            Format::Archive => self.unaccounted(start, "archives nest too deeply"),
            Format::Object | Format::Library | Format::Executable => self.host_elf(start, bytes, place),
            Format::Zip | Format::Other => {}
        }
    }

    fn archive(&mut self, start: u64, bytes: &[u8], depth: u32) {
        let archive = match ArchiveFile::parse(bytes) {
            Ok(archive) if archive.is_thin() => {
                return self.unaccounted(start, "a thin archive: its members lie in other files");
            }
            Ok(archive) => archive,
            Err(error) => return self.unaccounted(start, format!("archive is broken: {error}")),
        };
        for member in archive.members() {
            match member {
                Ok(member) => {
                    let name = String::from_utf8_lossy(member.name()).into_owned();
                    let (offset, size) = member.file_range();
                    let place = Place { member: Some(name), ..Place::default() };
                    if slice(bytes, offset, size).is_some() {
                        self.region(start + offset, start + offset + size, &place, depth + 1);
                    } else {
                        self.unaccounted(start + offset, "archive member is cut off");
                    }
                }
                Err(error) => return self.unaccounted(start, format!("archive is broken: {error}")),
            }
        }
    }

    /// Reads the sections of a host ELF that the toolkit fills.
    fn host_elf(&mut self, start: u64, bytes: &[u8], place: &Place) {
        let sections = match host_sections(bytes) {
            Ok(sections) => sections,
            Err(reason) => return self.unaccounted(start, format!("host ELF is broken: {reason}")),
        };
        for (name, offset, size, align) in sections {
            let (from, to) =
                (start.saturating_add(offset), start.saturating_add(offset).saturating_add(size));
            if slice(bytes, offset, size).is_none() {
                self.unaccounted(from.min(start + bytes.len() as u64), format!("section {name} is cut off"));
                continue;
            }
            let place = Place { section: Some(name.clone()), ..place.clone() };
            match name.as_str() {
                ".nv_fatbin" | "__nv_relfatbin" => self.containers(from, to, &place, Padding::UpTo(align)),
                ".nvFatBinSegment" => self.known.push((from, to, Ground::Wrappers)),
                _ => {}
            }
        }
    }

    /// Reads a range that must consist of containers and padding.
    fn containers(&mut self, start: u64, end: u64, place: &Place, padding: Padding) {
        let mut at = start;
        while at < end {
            if fatbin::starts_at(self.bytes, at) {
                match self.container(at, end, place) {
                    Some(next) => at = next,
                    None => return,
                }
                continue;
            }
            let next = self.next_container(at, end);
            self.gap(at, next, padding, next == end);
            at = next;
        }
    }

    /// The offset of the next container magic on the 8-byte grid, or the end.
    fn next_container(&self, at: u64, end: u64) -> u64 {
        let mut next = at.next_multiple_of(8).max(at + 1);
        while next < end && !fatbin::starts_at(self.bytes, next) {
            next += 1;
        }
        next.min(end)
    }

    fn gap(&mut self, start: u64, end: u64, padding: Padding, is_tail: bool) {
        if let Some(offset) = first_nonzero_in(self.bytes, start, end) {
            self.unaccounted(offset, "bytes in a fatbin section that belong to no container");
            return;
        }
        let allowed = match padding {
            Padding::None => 0,
            Padding::UpTo(align) => align.max(8),
        };
        if end - start >= allowed.max(1) {
            let whose = if is_tail { "behind the last container" } else { "between containers" };
            self.unaccounted(start, format!("{} zero bytes {whose}", end - start));
        }
    }

    /// Reads one container; gives the offset behind it unless it is none.
    fn container(&mut self, at: u64, end: u64, place: &Place) -> Option<u64> {
        let raw = match fatbin::read(slice(self.bytes, 0, end)?, at) {
            Ok(raw) => raw,
            Err(reason) => {
                self.unaccounted(at, reason);
                self.known.push((at, end, Ground::Header));
                return None;
            }
        };
        let index = self.found.containers.len();
        self.found.containers.push(Container { offset: at, size_bytes: raw.end - at, place: place.clone() });
        self.known.push((at, at + fatbin::CONTAINER_HEADER_BYTES, Ground::Header));
        for entry in raw.entries {
            self.entry(entry, index, place);
        }
        if let Some((offset, reason)) = raw.broken {
            self.unaccounted(offset, reason);
            self.known.push((offset, raw.end, Ground::Header));
        }
        Some(raw.end)
    }

    fn entry(&mut self, raw: RawEntry<'_>, container: usize, place: &Place) {
        let RawEntry { offset, header, payload_offset, payload, violations } = raw;
        let payload_end = payload_offset + payload.len() as u64;
        self.known.push((offset, payload_offset, Ground::Header));
        let compression = header.compression();
        let ground = match (compression, header.kind(), header.flags & flags::SCRAMBLED != 0) {
            (Some(Compression::None), EntryKind::Elf, false) => Ground::Cubin,
            (Some(Compression::None), EntryKind::Ptx, false) => Ground::Ptx,
            _ => Ground::Opaque,
        };
        self.known.push((payload_offset, payload_end, ground));
        let mut entry = Entry {
            kind: header.kind(),
            arch: Some(header.arch()),
            offset,
            container: Some(container),
            place: place.clone(),
            payload_offset,
            compression,
            image_bytes: payload.len() as u64,
            digest: None,
            header: Some(header),
            cubin: None,
            ptx: None,
            problems: violations.into_iter().map(|(offset, reason)| Problem { offset, reason }).collect(),
        };
        self.image(&mut entry, payload);
        self.found.entries.push(entry);
    }

    /// Unpacks a payload and reads what is in it.
    fn image(&mut self, entry: &mut Entry, payload: &[u8]) {
        let Some(header) = &entry.header else { return };
        if header.flags & flags::SCRAMBLED != 0 || !matches!(entry.kind, EntryKind::Elf | EntryKind::Ptx) {
            return;
        }
        let image = match self.unpack(entry, payload) {
            Ok(image) => image,
            Err((offset, reason)) => return entry.problems.push(Problem { offset, reason }),
        };
        let image = image.as_deref().unwrap_or(payload);
        match entry.kind {
            EntryKind::Elf => self.elf_image(entry, image),
            _ => ptx_image(entry, image),
        }
    }

    /// The decompressed payload, or `None` when it is stored as it is.
    fn unpack(&mut self, entry: &Entry, payload: &[u8]) -> Result<Option<Vec<u8>>, (u64, String)> {
        let Some(header) = &entry.header else { return Ok(None) };
        let at = entry.offset;
        let scheme = entry.compression.ok_or((at + 40, "flags name two compression schemes".to_owned()))?;
        let sizes = (header.compressed_bytes, header.uncompressed_bytes);
        if scheme == Compression::None {
            return match sizes {
                (0, 0) => Ok(None),
                _ => Err((at + 16, "a compressed size without a compression flag".to_owned())),
            };
        }
        let exact = u64::from(sizes.0);
        let stream =
            slice(payload, 0, exact).ok_or((at + 16, "compressed size exceeds the payload".to_owned()))?;
        let padding = payload.len() as u64 - exact;
        if padding >= 8 || first_nonzero_in(payload, exact, payload.len() as u64).is_some() {
            return Err((entry.payload_offset + exact, "bytes behind the compressed stream".to_owned()));
        }
        let image = compression::decompress(scheme, stream, sizes.1, self.allowance)
            .map_err(|error| (entry.payload_offset, error.to_string()))?;
        self.allowance -= sizes.1;
        Ok(Some(image))
    }

    fn elf_image(&mut self, entry: &mut Entry, image: &[u8]) {
        let base = entry.payload_offset;
        let cubin = match cubin::read(image) {
            Ok(cubin) => cubin,
            Err(error) => return entry.problems.push(Problem { offset: base, reason: error.to_string() }),
        };
        let end = cubin.size_bytes;
        let whole = image.len() as u64;
        if whole - end >= 8 || first_nonzero_in(image, end, whole).is_some() {
            entry.problems.push(Problem { offset: base + end, reason: "bytes behind the cubin".to_owned() });
        }
        entry.image_bytes = end;
        entry.digest = slice(image, 0, end).map(Digest::of_bytes);
        if entry.compression == Some(Compression::None) {
            self.debug_text(image, base);
        } else {
            entry.problems.extend(inner_sightings(image));
        }
        entry.cubin = Some(cubin);
    }

    /// Marks the sections of a cubin that repeat PTX for debuggers.
    fn debug_text(&mut self, image: &[u8], base: u64) {
        for (start, end) in debug_text_ranges(image) {
            self.known.push((base + start, base + end, Ground::DebugText));
        }
    }

    fn bare_cubin(&mut self, start: u64, end: u64, place: &Place) {
        let Some(image) = slice(self.bytes, start, end - start) else { return };
        match cubin::read(image) {
            Ok(cubin) => {
                let size = cubin.size_bytes;
                if size < end - start && !place.loose {
                    self.unaccounted(start + size, "bytes behind the cubin");
                }
                self.known.push((start, start + size, Ground::Cubin));
                self.debug_text(image, start);
                let mut entry = bare(EntryKind::Cubin, start, size, place);
                entry.arch = cubin.arch();
                entry.digest = slice(image, 0, size).map(Digest::of_bytes);
                entry.cubin = Some(cubin);
                self.found.entries.push(entry);
            }
            Err(error) => {
                self.unaccounted(start, format!("starts like a cubin: {error}"));
                self.known.push((start, start + 4, Ground::Header));
            }
        }
    }

    fn bare_ptx(&mut self, start: u64, end: u64, place: &Place) {
        let Some(text) = slice(self.bytes, start, end - start) else { return };
        self.known.push((start, end, Ground::Ptx));
        let mut entry = bare(EntryKind::Ptx, start, end - start, place);
        ptx_image(&mut entry, text);
        entry.arch = entry.ptx.as_ref().and_then(|ptx| ptx.target);
        self.found.entries.push(entry);
    }

    /// Scans the whole file and follows up whatever the walk did not account for.
    fn sweep(&mut self) {
        for sighting in scan::scan(self.bytes) {
            if !self.is_expected(sighting) {
                self.follow(sighting);
            }
        }
    }

    /// Whether what was seen is already accounted for.
    fn is_expected(&mut self, sighting: Sighting) -> bool {
        let at = sighting.offset;
        if sighting.mark == Mark::Wrapper
            && self
                .known
                .iter()
                .any(|&(start, end, ground)| ground == Ground::Wrappers && (start..end).contains(&at))
        {
            self.found.wrappers += 1;
            return true;
        }
        self.known.iter().any(|&(start, end, ground)| {
            (start..end).contains(&at)
                && match ground {
                    Ground::Header | Ground::Opaque => true,
                    Ground::Cubin => at == start && sighting.mark == Mark::CudaElf,
                    Ground::Ptx | Ground::DebugText => sighting.mark == Mark::PtxTarget,
                    Ground::Wrappers => sighting.mark == Mark::Wrapper,
                }
        })
    }

    fn follow(&mut self, sighting: Sighting) {
        let at = sighting.offset;
        let end = self.bytes.len() as u64;
        let place = Place { loose: true, ..Place::default() };
        match sighting.mark {
            Mark::Container => {
                self.container(at, end, &place);
            }
            Mark::CudaElf => self.bare_cubin(at, end, &place),
            Mark::PtxTarget => self.loose_ptx(at, &place),
            Mark::Wrapper => self.unaccounted(at, "a fatbin wrapper outside .nvFatBinSegment"),
            Mark::Ancient => self.unaccounted(at, "the container magic of CUDA 2 and 3"),
        }
    }

    /// A PTX target in the middle of nowhere: takes the text around it up to the next zero.
    fn loose_ptx(&mut self, at: u64, place: &Place) {
        const LOOK_BACK: u64 = 4096;
        let is_number =
            slice(self.bytes, at + PTX_TARGET.len() as u64, 1).is_some_and(|next| next[0].is_ascii_digit());
        if !is_number {
            return;
        }
        let from = at.saturating_sub(LOOK_BACK);
        let before = slice(self.bytes, from, at - from).unwrap_or_default();
        let start = before
            .windows(9)
            .rposition(|window| window == b".version ")
            .map_or(at, |found| from + found as u64);
        let rest = usize::try_from(at).ok().and_then(|at| self.bytes.get(at..)).unwrap_or_default();
        let length = rest.iter().position(|&byte| byte == 0).unwrap_or(rest.len());
        self.bare_ptx(start, at + length as u64, place);
    }

    fn unaccounted(&mut self, offset: u64, reason: impl Into<String>) {
        self.found.unaccounted.push(Problem { offset, reason: reason.into() });
    }

    fn finish(mut self) -> Examination {
        self.found.entries.sort_by_key(|entry| entry.offset);
        self.found.unaccounted.sort_by_key(|problem| problem.offset);
        self.found
    }
}

/// How many zero bytes may stand around containers.
#[derive(Clone, Copy)]
enum Padding {
    /// None at all: a bare fatbin.
    None,
    /// Fewer than the section's alignment.
    UpTo(u64),
}

fn bare(kind: EntryKind, offset: u64, image_bytes: u64, place: &Place) -> Entry {
    Entry {
        kind,
        arch: None,
        offset,
        container: None,
        place: place.clone(),
        payload_offset: offset,
        compression: Some(Compression::None),
        image_bytes,
        digest: None,
        header: None,
        cubin: None,
        ptx: None,
        problems: Vec::new(),
    }
}

fn ptx_image(entry: &mut Entry, text: &[u8]) {
    let end = text.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    let text = &text[..end];
    entry.image_bytes = text.len() as u64;
    entry.digest = Some(Digest::of_bytes(text));
    entry.ptx = Some(ptx::read(text));
}

/// Whatever looks like device code inside a decompressed cubin, its own header aside.
fn inner_sightings(image: &[u8]) -> Vec<Problem> {
    let texts = debug_text_ranges(image);
    let is_debug = |at: u64| texts.iter().any(|&(start, end)| (start..end).contains(&at));
    scan::scan(image)
        .into_iter()
        .filter(|sighting| match sighting.mark {
            Mark::CudaElf => sighting.offset != 0,
            Mark::PtxTarget => !is_debug(sighting.offset),
            _ => true,
        })
        .map(|sighting| Problem {
            offset: sighting.offset,
            reason: format!("{:?} inside a decompressed cubin", sighting.mark),
        })
        .collect()
}

/// Ranges of the sections in which a cubin repeats its PTX for debuggers.
fn debug_text_ranges(image: &[u8]) -> Vec<(u64, u64)> {
    host_sections(image)
        .unwrap_or_default()
        .into_iter()
        .filter(|(name, ..)| name.contains("debug"))
        .map(|(_, offset, size, _)| (offset, offset.saturating_add(size)))
        .collect()
}

/// Name, offset, size and alignment of every section that has bytes in the file.
fn host_sections(bytes: &[u8]) -> Result<Vec<(String, u64, u64, u64)>, String> {
    let header = FileHeader64::<LittleEndian>::parse(bytes).map_err(|error| error.to_string())?;
    let sections = header.sections(LittleEndian, bytes).map_err(|error| error.to_string())?;
    sections
        .iter()
        .filter_map(|section| section.file_range(LittleEndian).map(|range| (section, range)))
        .map(|(section, (offset, size))| {
            let name = sections.section_name(LittleEndian, section).map_err(|error| error.to_string())?;
            let align = section.sh_addralign.get(LittleEndian);
            Ok((String::from_utf8_lossy(name).into_owned(), offset, size, align))
        })
        .collect()
}
