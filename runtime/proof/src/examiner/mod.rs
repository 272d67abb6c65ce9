//! Walks a file and accounts for every place in it that may hold device code.
//!
//! | file | noun |
//! |---|---|
//! | `containers` | ranges that must consist of containers |
//! | `host_file` | a host ELF: its sections, the loader's view, what it can load by itself |
//! | `sightings` | what the scan came upon |
//! | `cross_checks` | what is held against each other at the end |

mod containers;
mod cross_checks;
mod host_file;
mod sightings;

use std::collections::{HashMap, HashSet};

use object::read::archive::ArchiveFile;
use proofmark_packager::Digest;
use rayon::prelude::*;

use super::allotment::Kept;
use super::archive;
use super::bytes::{slice, text_of};
use super::coverage::{Coverage, CoverageMap, joined, overlaps, without};
use super::cubin_reader;
use super::depth::Depth;
use super::embedded::{Budget, Embedded};
use super::examination::{EntryPlace, Examination, FileFormat};
use super::fatbin::{self, EntryKind};
use super::image::{self, PayloadJob, bare};
use super::problem::Problem;
use super::runtime_jit::{self, Word, Words};
use super::scan::{Mark, Packed, Sighting};
use super::signature::{self, format_of};
use super::task::{self, ReadingTask, TaskOutcome, chunks};
use super::thin_archive;
use containers::Padding;
use host_file::HostFile;

/// Bytes that all payloads of one file may decompress to, beyond which the rest stays unread:
/// a floor for small files, and a multiple of the file for large ones.
const ALLOWANCE_FLOOR_BYTES: u64 = 1 << 30;
const ALLOWANCE_PER_BYTE: u64 = 64;
/// How deep archives may nest.
const NESTING_LIMIT: u32 = 4;
/// Most signs of code made at run time that are kept.
const SIGNS_LIMIT: usize = 1000;
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
    host_files: Vec<HostFile>,
    /// Data of host ELFs that is none of the tables that linkers make.
    host_data: Vec<(u64, u64)>,
    /// How the file could load device code that it does not register, if it could.
    loads: Option<String>,
    /// Where relocations write, as offsets in the file with a width in bytes.
    written: Vec<(u64, u64)>,
    kept: Kept,
    budget: Budget,
    packed: Packed,
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
            host_files: Vec::new(),
            host_data: Vec::new(),
            loads: None,
            written: Vec::new(),
            kept: Kept::default(),
            budget: Budget::of(bytes.len()),
            packed: if depth.is_whole() { Packed::Scanned } else { Packed::PassedOver },
            found: Examination { format: format_of(bytes), size_bytes, ..Examination::default() },
        }
    }

    fn run(mut self) -> Examination {
        let end = self.bytes.len() as u64;
        self.region(0, end, &EntryPlace::default(), 0);
        let legible = self.coverage.legible(end);
        self.host_texts = joined(std::mem::take(&mut self.host_texts));
        let texts = chunks(self.bytes, &overlaps(&legible, &self.host_texts));
        let others = chunks(self.bytes, &without(&legible, &self.host_texts));
        let packed = self.packed;
        let texts = texts.into_iter().map(|range| ReadingTask::ScanText(range, packed));
        let scans = texts.chain(others.into_iter().map(|range| ReadingTask::Scan(range, packed))).collect();
        let (sightings, seen) = self.work_off(scans);
        for &sighting in &sightings {
            if self.found.unaccounted.len() >= UNACCOUNTED_LIMIT {
                break;
            }
            self.account(sighting);
        }
        if packed == Packed::PassedOver && self.may_hide_any(&sightings) {
            return Self { packed: Packed::Scanned, ..Self::new(self.bytes, self.depth) }.run();
        }
        // What the scan came upon has been scanned, and is none of the other data.
        let unknown = self.coverage.unknown(end);
        let texts = overlaps(&unknown, &self.host_texts);
        let words = task::words_in(self.bytes, &texts, &seen);
        let python = self.look_into_texts(&texts, &words);
        self.ask_host_files(&unknown, &words);
        self.work_off(python.chain(self.look_for_other_forms(&unknown)).collect());
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

    /// Whether something that is read as no container says that what follows is packed, which was passed over.
    fn may_hide_any(&self, sightings: &[Sighting]) -> bool {
        let read: HashSet<u64> = self.found.containers.iter().map(|one| one.offset).collect();
        let mut others =
            sightings.iter().filter(|one| one.mark == Mark::Container && !read.contains(&one.offset));
        others.any(|one| fatbin::end_of_packed(self.bytes, one.offset).is_some())
    }

    /// Takes the words of data and texts for signs, piece by piece, and leaves what may be Python for later.
    fn look_into_texts(
        &mut self,
        texts: &[(u64, u64)],
        words: &[Word],
    ) -> impl Iterator<Item = ReadingTask<'a>> + use<'a> {
        let pieces = chunks(self.bytes, texts);
        let signs = pieces.iter().flat_map(|piece| {
            runtime_jit::signs_of(runtime_jit::between(words, piece.start as u64, piece.end as u64))
        });
        self.found.runtime_jit.extend(signs);
        let file = self.bytes;
        pieces.into_iter().filter(move |piece| task::is_text(file, piece)).map(ReadingTask::Python)
    }

    /// Leaves for later what may be device code in other forms.
    fn look_for_other_forms(&self, unknown: &[(u64, u64)]) -> Vec<ReadingTask<'a>> {
        let unknown = if self.depth.is_whole() { unknown } else { &[] };
        let pieces = |&(start, end): &(u64, u64)| {
            let end_at = usize::try_from(end).unwrap_or(usize::MAX).min(self.bytes.len());
            chunks(self.bytes, &[(start, end)])
                .into_iter()
                .map(move |range| ReadingTask::Unpack(range, end_at))
        };
        unknown.iter().flat_map(pieces).collect()
    }

    /// Reads the payloads gathered so far, and does some other pieces of work: all of it on every core at once. Gives
    /// what scans came upon.
    fn work_off(&mut self, more: Vec<ReadingTask<'a>>) -> (Vec<Sighting>, Words) {
        let payloads = std::mem::take(&mut self.jobs).into_iter().map(|job| ReadingTask::Read(Box::new(job)));
        let mut tasks: Vec<ReadingTask<'a>> = payloads.chain(more).collect();
        tasks.sort_by_key(ReadingTask::turn);
        let (mut sightings, mut words) = (Vec::new(), Words::default());
        let (file, depth, kept, budget) = (self.bytes, self.depth, &self.kept, &self.budget);
        let outcomes: Vec<TaskOutcome> =
            tasks.into_par_iter().map(|task| task.run(file, depth, kept, budget)).collect();
        for outcome in outcomes {
            match outcome {
                TaskOutcome::Entries(entries) => self.found.entries.extend(entries),
                TaskOutcome::Signs(signs) => self.found.runtime_jit.extend(signs),
                TaskOutcome::Sightings(found, seen) => {
                    sightings.extend(found);
                    words.extend(seen);
                }
                TaskOutcome::Embedded(Embedded { found, unclear }) => {
                    for problem in found {
                        self.refuse(problem);
                    }
                    self.found.unexplained.extend(unclear);
                }
            }
        }
        (sightings, words)
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
                return self.unaccounted(start, thin_archive::describe(&archive));
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

    fn bare_cubin(&mut self, start: u64, end: u64, place: &EntryPlace) {
        let Some(image) = slice(self.bytes, start, end - start) else { return };
        let mut cubin = match cubin_reader::read(image) {
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
        let whole = slice(image, 0, size).filter(|_| self.depth.has_digests());
        entry.digest = whole.map(Digest::of_bytes);
        image::digest_code(&mut cubin, image, self.depth);
        entry.cubin = Some(Box::new(cubin));
        if self.depth.is_whole() {
            entry.problems.extend(image::packed_code(image, start));
        }
        task::keep(&mut entry, &self.kept);
        self.found.entries.push(entry);
    }

    fn bare_ptx(&mut self, start: u64, end: u64, place: &EntryPlace) {
        let Some(text) = slice(self.bytes, start, end - start) else { return };
        let coverage = if place.loose { Coverage::LoosePtx } else { Coverage::Ptx };
        self.coverage.mark(start, end, coverage);
        let mut entry = bare(EntryKind::Ptx, start, end - start, place);
        image::ptx_image(&mut entry, text, self.depth);
        entry.arch = entry.ptx.as_ref().and_then(|ptx| ptx.target);
        task::keep(&mut entry, &self.kept);
        self.found.entries.push(entry);
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

#[cfg(test)]
mod tests {
    use super::sightings::OPERAND;
    use super::*;
    use crate::host;

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
        bytes.extend_from_slice(include_bytes!("../../../../tests/fixtures/proof/exact_13.0.fatbin"));
        let found = examine(&bytes);
        assert_eq!(found.format, FileFormat::Windows);
        assert_eq!(found.entries.len(), 1);
        assert!(found.entries[0].place.loose);
    }

    #[test]
    fn what_lies_in_an_image_and_says_that_all_behind_is_packed_hides_no_container() {
        let mut holder = include_bytes!("../../../../tests/fixtures/proof/exact_13.0.fatbin").to_vec();
        let other = include_bytes!("../../../../tests/fixtures/proof/exact_compressed_13.0.fatbin");
        let at = {
            let entry = &fatbin::read(&holder, 0).unwrap().entries[0];
            let sections = host::sections(entry.payload).unwrap();
            let code = sections.iter().find(|section| section.executable && section.size >= 80).unwrap();
            usize::try_from(entry.payload_offset + code.offset).unwrap()
        };
        let size = holder.len() + other.len() - at - 16;
        holder[at..at + 80].fill(0);
        holder[at..at + 8].copy_from_slice(&[0x50, 0xED, 0x55, 0xBA, 1, 0, 16, 0]);
        holder[at + 8..at + 16].copy_from_slice(&(size as u64).to_le_bytes());
        holder[at + 16..at + 24].copy_from_slice(&[2, 0, 1, 1, 64, 0, 0, 0]);
        holder[at + 24..at + 32].copy_from_slice(&(size as u64 - 64).to_le_bytes());
        holder[at + 56..at + 64].copy_from_slice(&fatbin::flags::ZSTD.to_le_bytes());
        let file = [&[0; 64][..], &holder, other].concat();
        assert_eq!(fatbin::end_of_packed(&file, at as u64 + 64), Some(file.len() as u64));
        for depth in [Depth::Facts, Depth::Images, Depth::Headers] {
            assert_eq!(examine_to(&file, depth).containers.len(), 2, "{depth:?}");
        }
    }

    #[test]
    fn a_magic_in_an_instruction_stays_unread_and_says_why() {
        let mut bytes = include_bytes!("../../../../tests/fixtures/proof/exact_13.0.so").to_vec();
        let sections = host::sections(&bytes).unwrap();
        let code = sections.iter().find(|section| section.executable && section.size >= 12).unwrap();
        let at = usize::try_from(code.offset).unwrap() + 4;
        bytes[at..at + 4].copy_from_slice(&fatbin::CONTAINER_MAGIC.to_le_bytes());
        let found = examine(&bytes);
        let [problem] = &found.unaccounted[..] else { panic!("{:?}", found.unaccounted) };
        assert_eq!((problem.offset, problem.reason.as_str()), (at as u64, OPERAND));
    }
}
