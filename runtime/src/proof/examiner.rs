//! Walks a file and accounts for every place in it that may hold device code.

use std::collections::{HashMap, HashSet};

use object::read::archive::ArchiveFile;
use proofmark_packager::Digest;

use super::allotment::{self, Kept};
use super::archive;
use super::bytes::{slice, text_of};
use super::coverage::{Coverage, CoverageMap};
use super::cubin_reader;
use super::embedded::{Budget, Embedded, opaque};
use super::examination::{Container, Depth, Entry, EntryPlace, Examination, FileFormat};
use super::fatbin::{self, EntryKind, first_nonzero_in, flags};
use super::host::{self, Role};
use super::image::{self, PayloadJob, bare};
use super::loader::{self, Elf, Section};
use super::problem::Problem;
use super::ptx;
use super::runtime_jit::{self, ElfSigns, RuntimeJit};
use super::scan::{self, Mark, Sighting};
use super::signature::{self, format_of};
use super::task::{self, ReadingTask, TaskOutcome, chunks};
use rayon::prelude::*;

/// Bytes that all payloads of one file may decompress to, beyond which the rest stays unread:
/// a floor for small files, and a multiple of the file for large ones.
const ALLOWANCE_FLOOR_BYTES: u64 = 1 << 30;
const ALLOWANCE_PER_BYTE: u64 = 64;
/// Seen in Triton, cuDNN and cuSPARSELt, whose instructions compare with the magic and write it. Such a
/// program can load what no scan of its file can show, so it stays unread.
const OPERAND: &str = "the magic of containers in an instruction: this program reads or makes containers \
                       itself, and what it loads is in no file";
/// How deep archives may nest.
const NESTING_LIMIT: u32 = 4;
/// Most signs of code made at run time that are kept.
const SIGNS_LIMIT: usize = 1000;
/// Most ranges that are named because they look random.
const OPAQUE_LIMIT: usize = 16;
/// Most places that are reported as unaccounted one by one; a file full of them needs no more.
const UNACCOUNTED_LIMIT: usize = 1000;

/// Finds everything in a file that a GPU could run. Never fails: what cannot be read is reported
/// in [`Examination::unaccounted`] or among an entry's problems.
pub fn examine(bytes: &[u8]) -> Examination {
    examine_to(bytes, Depth::Digests)
}

/// The same, only as deep as needed.
pub fn examine_to(bytes: &[u8], depth: Depth) -> Examination {
    Examiner::new(bytes, depth).run()
}

/// A wrapper and the container that it registers, as offsets in the file.
struct Registered {
    wrapper: u64,
    container: u64,
}

struct Examiner<'a> {
    bytes: &'a [u8],
    depth: Depth,
    allowance: u64,
    coverage: CoverageMap,
    jobs: Vec<PayloadJob<'a>>,
    debug_texts: HashMap<u64, Vec<(u64, u64)>>,
    host_texts: Vec<(u64, u64)>,
    host_code: Vec<(u64, u64)>,
    registered: Vec<Registered>,
    /// Data of host ELFs that is none of the tables that linkers make.
    host_data: Vec<(u64, u64)>,
    /// How the file could load device code that it does not register, if it could.
    loads: Option<String>,
    /// Where relocations write, as offsets in the file with a width in bytes.
    written: Vec<(u64, u64)>,
    kept: Kept,
    budget: Budget,
    found: Examination,
}

impl<'a> Examiner<'a> {
    fn new(bytes: &'a [u8], depth: Depth) -> Self {
        let size_bytes = bytes.len() as u64;
        Self {
            bytes,
            depth,
            allowance: ALLOWANCE_FLOOR_BYTES.saturating_add(size_bytes.saturating_mul(ALLOWANCE_PER_BYTE)),
            coverage: CoverageMap::default(),
            jobs: Vec::new(),
            debug_texts: HashMap::new(),
            host_texts: Vec::new(),
            host_code: Vec::new(),
            registered: Vec::new(),
            host_data: Vec::new(),
            loads: None,
            written: Vec::new(),
            kept: Kept::default(),
            budget: Budget::of(bytes.len()),
            found: Examination { format: format_of(bytes), size_bytes, ..Examination::default() },
        }
    }

    fn run(mut self) -> Examination {
        let end = self.bytes.len() as u64;
        self.region(0, end, &EntryPlace::default(), 0);
        let legible = self.coverage.legible(end);
        for sighting in self.work_off(&legible, &[]) {
            if self.found.unaccounted.len() >= UNACCOUNTED_LIMIT {
                break;
            }
            self.account(sighting);
        }
        // What the scan came upon has been scanned, and is none of the other data.
        let unknown = if self.depth == Depth::Headers { Vec::new() } else { self.coverage.unknown(end) };
        self.work_off(&[], &unknown);
        self.follow_wrappers();
        self.hold_against_writes();
        self.name_opaque_data();
        self.explain_the_rest();
        self.found.entries.sort_by_key(|entry| entry.offset);
        self.found.unaccounted.sort_by_key(|problem| problem.offset);
        self.found.unexplained.sort_by_key(|problem| problem.offset);
        self.found.runtime_jit.sort();
        self.found.runtime_jit.dedup();
        self.found.runtime_jit.truncate(SIGNS_LIMIT);
        self.found
    }

    /// Reads the payloads and texts gathered so far and scans some parts of the file, all of it on every
    /// core at once.
    fn work_off(&mut self, to_scan: &[(u64, u64)], to_unpack: &[(u64, u64)]) -> Vec<Sighting> {
        let payloads = std::mem::take(&mut self.jobs).into_iter().map(|job| ReadingTask::Read(Box::new(job)));
        let texts =
            chunks(self.bytes, &std::mem::take(&mut self.host_texts)).into_iter().map(ReadingTask::Text);
        let scans = chunks(self.bytes, to_scan).into_iter().map(ReadingTask::Scan);
        let unpacking = to_unpack.iter().flat_map(|&(start, end)| {
            let end_at = usize::try_from(end).unwrap_or(usize::MAX).min(self.bytes.len());
            chunks(self.bytes, &[(start, end)])
                .into_iter()
                .map(move |range| ReadingTask::Unpack(range, end_at))
        });
        let tasks: Vec<ReadingTask<'a>> = payloads.chain(texts).chain(scans).chain(unpacking).collect();
        let mut sightings = Vec::new();
        let (file, depth, kept, budget) = (self.bytes, self.depth, &self.kept, &self.budget);
        let outcomes: Vec<TaskOutcome> =
            tasks.into_par_iter().map(|task| task.run(file, depth, kept, budget)).collect();
        for outcome in outcomes {
            match outcome {
                TaskOutcome::Entries(entries) => self.found.entries.extend(entries),
                TaskOutcome::Signs(signs) => self.found.runtime_jit.extend(signs),
                TaskOutcome::Sightings(found) => sightings.extend(found),
                TaskOutcome::Embedded(Embedded { found, unclear }) => {
                    for problem in found {
                        self.refuse(problem);
                    }
                    self.found.unexplained.extend(unclear);
                }
            }
        }
        sightings
    }

    /// Every registered wrapper must lead to the start of a container in the sections for them.
    fn follow_wrappers(&mut self) {
        let placed: HashSet<u64> = {
            let containers = self.found.containers.iter().filter(|one| !one.place.loose);
            containers.map(|one| one.offset).collect()
        };
        for Registered { wrapper, container } in std::mem::take(&mut self.registered) {
            if !placed.contains(&container) {
                let reason =
                    format!("a registered wrapper points to {container:#x}, where no container starts");
                self.unaccounted(wrapper, reason);
            }
        }
    }

    /// Nothing may write into device code, wherever it lies, while it is loaded.
    fn hold_against_writes(&mut self) {
        let mut written = std::mem::take(&mut self.written);
        written.sort_unstable();
        let widest = written.iter().map(|&(_, width)| width).max().unwrap_or_default();
        let containers = self.found.containers.iter().map(|one| (one.offset, one.size_bytes));
        let bare = self.found.entries.iter().filter(|entry| entry.container.is_none());
        let images: Vec<(u64, u64)> =
            containers.chain(bare.map(|entry| (entry.offset, entry.image_bytes))).collect();
        for (start, size) in images {
            let near = start.saturating_sub(widest);
            let from = written.partition_point(|&(offset, _)| offset < near);
            let touching = written[from..]
                .iter()
                .take_while(|&&(offset, _)| offset < start.saturating_add(size))
                .find(|&&(offset, width)| offset.saturating_add(width) > start);
            if let Some(&(offset, width)) = touching {
                self.refuse(Problem::over(
                    offset,
                    width,
                    "a relocation changes device code when it is loaded",
                ));
            }
        }
    }

    /// Where device code can be loaded that nothing registers, what looks random could be such code, packed or
    /// enciphered.
    fn name_opaque_data(&mut self) {
        let named = self.found.runtime_jit.iter().find(|sign| matches!(sign, RuntimeJit::Names(_)));
        let Some(loads) = self.loads.take().or_else(|| named.map(RuntimeJit::words)) else { return };
        if self.depth == Depth::Headers {
            return;
        }
        let unknown = self.coverage.unknown(self.bytes.len() as u64);
        let unknown = chunks(self.bytes, &overlaps(&unknown, &self.host_data));
        let opaque: Vec<(usize, usize)> =
            unknown.into_par_iter().flat_map_iter(|range| opaque(self.bytes, range)).collect();
        let problems = opaque.into_iter().take(OPAQUE_LIMIT).map(|(start, size)| {
            let reason =
                format!("bytes that look random, in a file that can load device code from memory: {loads}");
            Problem::over(start as u64, size as u64, reason)
        });
        self.found.unexplained.extend(problems);
    }

    /// Unexplained bytes matter around device code alone: what is no device code needs no rule.
    fn explain_the_rest(&mut self) {
        if self.found.entries.iter().all(Entry::is_stub) {
            self.found.unexplained.clear();
        }
    }

    /// Reads the file, archive member or other range `[start, end)` by its own format.
    fn region(&mut self, start: u64, end: u64, place: &EntryPlace, depth: u32) {
        let Some(bytes) = slice(self.bytes, start, end - start) else { return };
        match format_of(bytes) {
            FileFormat::Cubin => self.bare_cubin(start, end, place),
            FileFormat::Fatbin => self.containers(start, end, place, Padding::None),
            FileFormat::Ptx => self.bare_ptx(start, end, place),
            FileFormat::Archive if depth < NESTING_LIMIT => self.archive(start, bytes, depth),
            FileFormat::Archive => self.unaccounted(start, "archives nest too deeply"),
            FileFormat::Object | FileFormat::Library | FileFormat::Executable => {
                self.host_elf(start, bytes, place);
            }
            FileFormat::Zip => self.unaccounted(start, "a zip archive: its members were not examined"),
            FileFormat::Windows | FileFormat::Other => {
                if !bytes.is_empty() {
                    let reason = "bytes of no format that holds device code by a known rule";
                    self.found.unexplained.push(Problem::over(start, end - start, reason));
                }
                self.host_texts.push((start, end));
            }
            FileFormat::Intermediate => {
                let name = signature::intermediate(bytes).unwrap_or("intermediate code");
                let reason = format!("{name}, which becomes device code later and is not read");
                self.refuse(Problem::over(start, end - start, reason));
            }
            FileFormat::Packed => {
                let name = signature::packed(bytes).unwrap_or("packed");
                let reason = format!("a {name} stream inside of another file, which is not read");
                self.refuse(Problem::over(start, end - start, reason));
            }
        }
    }

    fn archive(&mut self, start: u64, bytes: &[u8], depth: u32) {
        let archive = match ArchiveFile::parse(bytes) {
            Ok(archive) if archive.is_thin() => {
                return self.unaccounted(start, describe_thin(&archive));
            }
            Ok(archive) => archive,
            Err(error) => return self.unaccounted(start, format!("archive is broken: {error}")),
        };
        self.found.unexplained.extend(archive::unexplained(bytes).into_iter().map(|one| one.moved(start)));
        for member in archive.members() {
            match member {
                Ok(member) => {
                    let name = text_of(member.name());
                    let (offset, size) = member.file_range();
                    let place = EntryPlace { member: Some(name), ..EntryPlace::default() };
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
    fn host_elf(&mut self, start: u64, bytes: &[u8], place: &EntryPlace) {
        let sections = match host::sections(bytes) {
            Ok(sections) => sections,
            Err(reason) => return self.unaccounted(start, format!("host ELF is broken: {reason}")),
        };
        let ElfSigns { signs, hides_calls } = runtime_jit::elf_signs(bytes);
        if self.loads.is_none() {
            let hidden = hides_calls
                .then_some("its CUDA runtime's functions that load it, which it does not tell who calls");
            self.loads = signs.first().map(RuntimeJit::words).or_else(|| hidden.map(str::to_owned));
        }
        self.found.runtime_jit.extend(signs);
        match Elf::read(bytes) {
            Ok(elf) => self.loader_view(start, &elf),
            Err(reason) => {
                self.found.unexplained.push(Problem::over(start, bytes.len() as u64, reason));
            }
        }
        let texts = sections.iter().filter(|section| section.holds_text());
        self.host_texts.extend(texts.map(|text| (start + text.offset, start + text.end())));
        let code = sections.iter().filter(|section| section.executable);
        self.host_code.extend(code.map(|code| (start + code.offset, start + code.end())));
        let mut sections: Vec<_> = sections.into_iter().filter(|section| section.role().is_some()).collect();
        sections.sort_by_key(|section| section.offset);
        let mut read_up_to = 0;
        for section in sections {
            if slice(bytes, section.offset, section.size).is_none() || section.offset < read_up_to {
                self.unaccounted(start, format!("section {} is cut off or overlaps another", section.name));
                continue;
            }
            read_up_to = section.end();
            let (from, to) = (start + section.offset, start + section.end());
            if section.role() == Some(Role::Wrappers) {
                self.coverage.mark(from, to, Coverage::Wrappers);
            } else {
                let padding = Padding::UpTo(section.align);
                let place = EntryPlace { section: Some(section.name), ..place.clone() };
                self.containers(from, to, &place, padding);
            }
        }
    }

    /// Holds the sections against what the loader makes of them.
    fn loader_view(&mut self, start: u64, elf: &Elf<'_>) {
        self.found.unexplained.extend(loader::unexplained(elf).into_iter().map(|one| one.moved(start)));
        for section in elf.sections.iter().filter(|section| section.has_bytes()) {
            if loader::is_plain_data(section) {
                self.host_data.push((start + section.offset, start + section.end()));
            }
            if is_link_time_code(section, elf.content(section)) {
                let reason = format!(
                    "section {} holds code for link-time optimisation: what it will hold is decided when it is linked",
                    section.name
                );
                self.refuse(Problem::over(start + section.offset, section.size, reason));
            }
        }
        let view = loader::view(elf, self.depth);
        self.found.missing_libraries.extend(view.missing_libraries);
        let writes = view.writes.iter().map(|&(offset, width)| (start + offset, width));
        self.written.extend(writes);
        self.found.unexplained.extend(view.doubts.into_iter().map(|one| one.moved(start)));
        for problem in view.problems {
            self.refuse(problem.moved(start));
        }
        let registered = view
            .wrappers
            .iter()
            .map(|wrapper| Registered { wrapper: start + wrapper.offset, container: start + wrapper.target });
        self.registered.extend(registered);
    }

    /// Reads a range that must consist of containers and padding.
    fn containers(&mut self, start: u64, end: u64, place: &EntryPlace, padding: Padding) {
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
    fn container(&mut self, at: u64, end: u64, place: &EntryPlace) -> Option<u64> {
        let entries = self.jobs.len() + self.found.entries.len();
        if self.found.containers.len().max(entries) >= allotment::ENTRIES {
            self.unaccounted(at, "more device code than any library has, which is not read");
            return None;
        }
        let raw = match fatbin::read(slice(self.bytes, 0, end)?, at) {
            Ok(raw) => raw,
            Err(reason) => {
                self.unaccounted(at, reason);
                self.coverage.mark(at, at + 4, Coverage::Header);
                return None;
            }
        };
        let index = self.found.containers.len();
        self.found.containers.push(Container { offset: at, size_bytes: raw.end - at, place: place.clone() });
        self.coverage.mark(at, at + fatbin::CONTAINER_HEADER_BYTES, Coverage::Header);
        for entry in raw.entries {
            self.queue(entry, index, place);
        }
        if let Some((offset, reason)) = raw.broken {
            self.unaccounted(offset, reason);
            self.coverage.mark(offset, raw.end, Coverage::Header);
        }
        Some(raw.end)
    }

    /// Marks an entry's coverage and leaves its payload for later.
    fn queue(&mut self, raw: fatbin::RawEntry<'a>, container: usize, place: &EntryPlace) {
        let payload_end = raw.payload_offset + raw.payload.len() as u64;
        self.coverage.mark(raw.offset, raw.payload_offset, Coverage::Header);
        let stored = raw.header.flags & (flags::LZ4 | flags::ZSTD | flags::SCRAMBLED) == 0;
        let coverage = match raw.header.kind() {
            EntryKind::Elf if stored => Coverage::Cubin,
            EntryKind::Ptx if stored => Coverage::Ptx,
            _ => Coverage::Opaque,
        };
        self.coverage.mark(raw.payload_offset, payload_end, coverage);
        let rest = self.allowance.checked_sub(raw.header.uncompressed_bytes);
        self.allowance = rest.unwrap_or(self.allowance);
        self.jobs.push(PayloadJob { raw, container, place: place.clone(), affordable: rest.is_some() });
    }

    fn bare_cubin(&mut self, start: u64, end: u64, place: &EntryPlace) {
        let Some(image) = slice(self.bytes, start, end - start) else { return };
        let cubin = match cubin_reader::read(image) {
            Ok(cubin) => cubin,
            Err(error) => {
                self.unaccounted(start, format!("starts like a cubin: {error}"));
                return self.coverage.mark(start, start + 4, Coverage::Header);
            }
        };
        let size = cubin.size_bytes;
        if size < end - start && !place.loose {
            self.unaccounted(start + size, "bytes behind the cubin");
        }
        self.coverage.mark(start, start + size, Coverage::Cubin);
        let mut entry = bare(EntryKind::Cubin, start, size, place);
        entry.arch = cubin.arch();
        let whole = slice(image, 0, size).filter(|_| self.depth == Depth::Digests);
        entry.digest = whole.map(Digest::of_bytes);
        entry.cubin = Some(cubin);
        task::keep(&mut entry, &self.kept);
        self.found.entries.push(entry);
    }

    fn bare_ptx(&mut self, start: u64, end: u64, place: &EntryPlace) {
        let Some(text) = slice(self.bytes, start, end - start) else { return };
        self.coverage.mark(start, end, Coverage::Ptx);
        let mut entry = bare(EntryKind::Ptx, start, end - start, place);
        image::ptx_image(&mut entry, text, self.depth);
        entry.arch = entry.ptx.as_ref().and_then(|ptx| ptx.target);
        task::keep(&mut entry, &self.kept);
        self.found.entries.push(entry);
    }

    /// Holds a sighting against what is known of its coverage.
    fn account(&mut self, sighting: Sighting) {
        let Sighting { offset: at, mark } = sighting;
        let Some((start, coverage)) = self.coverage.at(at) else { return self.follow(sighting) };
        let expected = match coverage {
            Coverage::Header => mark == Mark::Container && at == start,
            Coverage::Opaque => true,
            Coverage::Cubin => match mark {
                Mark::CudaElf => at == start,
                Mark::PtxTarget => self.is_debug_text(start, at),
                _ => false,
            },
            Coverage::Ptx => mark == Mark::PtxTarget,
            Coverage::Wrappers => {
                self.found.wrappers += u64::from(mark == Mark::Wrapper);
                mark == Mark::Wrapper
            }
        };
        if !expected {
            self.unaccounted(at, format!("{} inside something else", mark.name()));
        }
    }

    /// Whether an offset lies in a section in which the cubin at `start` repeats its PTX for debuggers.
    fn is_debug_text(&mut self, start: u64, at: u64) -> bool {
        let image = usize::try_from(start).ok().and_then(|start| self.bytes.get(start..)).unwrap_or_default();
        let texts = self.debug_texts.entry(start).or_insert_with(|| image::debug_texts(image));
        texts.iter().any(|&(from, to)| (from..to).contains(&(at - start)))
    }

    fn follow(&mut self, sighting: Sighting) {
        let at = sighting.offset;
        let end = self.bytes.len() as u64;
        let place = EntryPlace { loose: true, ..EntryPlace::default() };
        let in_code = self.host_code.iter().any(|&(start, end)| (start..end).contains(&at));
        match sighting.mark {
            Mark::Wrapper | Mark::Ancient if in_code => self.unaccounted(at, OPERAND),
            Mark::Container if in_code && fatbin::read(self.bytes, at).is_err() => {
                self.unaccounted(at, OPERAND);
            }
            Mark::Container => drop(self.container(at, end, &place)),
            Mark::CudaElf if !scan::names_machine(self.bytes, at) => {
                let reason =
                    "the first bytes of a cubin, and not those further on: packed, or made by this program";
                self.found.unexplained.push(Problem::at(at, reason));
            }
            Mark::CudaElf => self.bare_cubin(at, end, &place),
            Mark::PtxTarget => self.loose_ptx(at, &place),
            Mark::Wrapper => self.unaccounted(at, "a fatbin wrapper outside .nvFatBinSegment"),
            Mark::Ancient => self.unaccounted(at, "the container magic of CUDA 2 and 3"),
        }
    }

    /// A PTX target in the middle of nowhere: takes the text around it up to the next zero.
    fn loose_ptx(&mut self, at: u64, place: &EntryPlace) {
        const LOOK_BACK: u64 = 4096;
        let rest = usize::try_from(at).ok().and_then(|at| self.bytes.get(at..)).unwrap_or_default();
        if !ptx::names_target(rest, false) {
            return;
        }
        let from = at.saturating_sub(LOOK_BACK);
        let before = slice(self.bytes, from, at - from).unwrap_or_default();
        let text_start = before.iter().rposition(|&byte| byte == 0).map_or(0, |zero| zero + 1);
        let version = before[text_start..].windows(8).rposition(|window| window == b".version");
        let start = version.map_or(at, |found| from + (text_start + found) as u64);
        let length = rest.iter().position(|&byte| byte == 0).unwrap_or(rest.len());
        self.bare_ptx(start, at + length as u64, place);
    }

    fn unaccounted(&mut self, offset: u64, reason: impl Into<String>) {
        self.refuse(Problem::at(offset, reason));
    }

    fn refuse(&mut self, problem: Problem) {
        if self.found.unaccounted.len() < UNACCOUNTED_LIMIT {
            self.found.unaccounted.push(problem);
        }
    }
}

/// The parts of some ranges in others; both lists in order of their starts, and without overlaps.
fn overlaps(ranges: &[(u64, u64)], others: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut found = Vec::new();
    for &(start, end) in others {
        let from = ranges.partition_point(|&(_, range_end)| range_end <= start);
        let near = ranges[from..].iter().take_while(|&&(range_start, _)| range_start < end);
        found.extend(near.map(|&(range_start, range_end)| (range_start.max(start), range_end.min(end))));
    }
    found
}

/// Whether a compiler left its own intermediate code in a section: GCC, clang, or NVVM.
fn is_link_time_code(section: &Section, content: &[u8]) -> bool {
    const LLVM_LTO: u32 = 0x6FFF_4C0C;
    const NAMES: [&str; 5] = [".gnu.lto_", ".gnu.debuglto_", ".llvm.lto", ".llvmbc", ".llvm.offloading"];
    section.kind == LLVM_LTO
        || NAMES.iter().any(|name| section.name.starts_with(name))
        || signature::intermediate(content).is_some()
}

/// Says which files a thin archive stands for, and the way out.
fn describe_thin(archive: &ArchiveFile<'_>) -> String {
    const SHOWN: usize = 3;
    let mut members = archive.members().map_while(Result::ok);
    let shown: Vec<_> = members.by_ref().take(SHOWN).map(|member| text_of(member.name())).collect();
    let more = match members.count() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "a thin archive, which names {}{more} but does not hold them; verify those files, or an archive \
         made without `T`",
        shown.join(", ")
    )
}

/// How many zero bytes may stand around containers.
#[derive(Clone, Copy)]
enum Padding {
    /// None at all: a bare fatbin.
    None,
    /// Fewer than the section's alignment.
    UpTo(u64),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A member of an archive: header and, in a thin one, no content.
    fn member(name: &str, size: usize) -> String {
        format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`\n", 0, 0, 0, 644)
    }

    #[test]
    fn a_thin_archive_says_where_its_members_are() {
        let names = "first.o/\nsecond.o/\n";
        let thin = ["!<thin>\n", &member("//", names.len()), names, "\n", &member("/0", 9), &member("/9", 9)];
        let found = examine(thin.concat().as_bytes());
        assert_eq!(found.format, FileFormat::Archive);
        let [problem] = &found.unaccounted[..] else { panic!("{:?}", found.unaccounted) };
        assert!(problem.reason.contains("names first.o, second.o but"), "{}", problem.reason);
    }

    #[test]
    fn a_windows_file_is_called_one_and_scanned() {
        let mut bytes = vec![0; 0x200];
        bytes[..2].copy_from_slice(b"MZ");
        bytes[0x3C] = 0x80;
        bytes[0x80..0x84].copy_from_slice(b"PE\0\0");
        assert!(examine(&bytes).unaccounted.is_empty());
        bytes.extend_from_slice(include_bytes!("../../../tests/fixtures/proof/exact_13.0.fatbin"));
        let found = examine(&bytes);
        assert_eq!(found.format, FileFormat::Windows);
        assert_eq!(found.entries.len(), 1);
        assert!(found.entries[0].place.loose);
    }

    #[test]
    fn a_magic_in_an_instruction_stays_unread_and_says_why() {
        let mut bytes = include_bytes!("../../../tests/fixtures/proof/exact_13.0.so").to_vec();
        let sections = host::sections(&bytes).unwrap();
        let code = sections.iter().find(|section| section.executable && section.size >= 12).unwrap();
        let at = usize::try_from(code.offset).unwrap() + 4;
        bytes[at..at + 4].copy_from_slice(&fatbin::CONTAINER_MAGIC.to_le_bytes());
        let found = examine(&bytes);
        let [problem] = &found.unaccounted[..] else { panic!("{:?}", found.unaccounted) };
        assert_eq!((problem.offset, problem.reason.as_str()), (at as u64, OPERAND));
    }
}
