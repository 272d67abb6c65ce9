//! Turns stored payloads into entries: decompress, then read what is in them.

use proofmark_packager::Digest;

use super::allotment::Share;
use super::bytes::{first_nonzero, slice};
use super::compression::{self, Compression};
use super::cubin::Cubin;
use super::cubin_reader;
use super::depth::Depth;
use super::embedded::{self, Budget};
use super::examination::{Entry, EntryPlace};
use super::fatbin::{EntryHeader, EntryKind, RawEntry, RawPart, first_nonzero_in, flags};
use super::host;
use super::problem::Problem;
use super::ptx;
use super::scan::{self, Mark};

/// One payload that waits to be read.
pub(super) struct PayloadJob<'a> {
    /// The entry as the container has it.
    pub(super) raw: RawEntry<'a>,
    /// Index of its container.
    pub(super) container: usize,
    /// Where it lies.
    pub(super) place: EntryPlace,
    /// Whether the file's allowance covers its decompressed size.
    pub(super) affordable: bool,
}

impl PayloadJob<'_> {
    /// Whether its payload is not looked at: a list shows what the header of a compressed image says.
    pub(super) fn stays_packed(&self, depth: Depth) -> bool {
        let header = &self.raw.header;
        depth == Depth::Headers && header.is_compressed() && header.kind() != EntryKind::Concat
    }
}

/// Reads one payload.
pub(super) fn read(job: PayloadJob<'_>, depth: Depth) -> Vec<Entry> {
    let stays_packed = job.stays_packed(depth);
    let PayloadJob { raw, container, place, affordable } = job;
    let RawEntry { offset, header, payload_offset, payload, parts, violations } = raw;
    let (is_compressed, unpacked_bytes) = (header.is_compressed(), header.uncompressed_bytes);
    let mut entry = entry_of(header, offset, container, &place, payload_offset);
    entry.problems.extend(violations.into_iter().map(|(offset, reason)| Problem::at(offset, reason)));
    if stays_packed {
        entry.image_bytes = unpacked_bytes;
        return vec![entry];
    }
    entry.image_bytes = payload.len() as u64;
    let _share = is_compressed.then(|| Share::of(unpacked_bytes));
    let unpacked = if affordable {
        unpack(&entry, payload)
    } else {
        Err((payload_offset, "the file decompresses to more than any honest file does".to_owned()))
    };
    let image = match &unpacked {
        Ok(image) => image.as_deref().unwrap_or(payload),
        Err((offset, reason)) => {
            entry.problems.push(Problem::at(*offset, reason.clone()));
            return vec![entry];
        }
    };
    if entry.kind == EntryKind::Concat && entry.problems.is_empty() {
        return concatenated(&entry, parts, image, depth);
    }
    read_image(&mut entry, image, depth);
    vec![entry]
}

fn entry_of(
    header: EntryHeader,
    offset: u64,
    container: usize,
    place: &EntryPlace,
    payload_offset: u64,
) -> Entry {
    Entry {
        kind: header.kind(),
        arch: Some(header.arch()),
        offset,
        container: Some(container),
        place: place.clone(),
        payload_offset,
        compression: header.compression(),
        image_bytes: 0,
        digest: None,
        header: Some(header),
        cubin: None,
        ptx: None,
        problems: Vec::new(),
    }
}

/// The decompressed payload, or `None` when it is stored as it is.
fn unpack(entry: &Entry, payload: &[u8]) -> Result<Option<Vec<u8>>, (u64, String)> {
    let Some(header) = &entry.header else { return Ok(None) };
    let at = entry.offset;
    let scheme = entry.compression.ok_or((at + 40, "flags name two compression schemes".to_owned()))?;
    if header.flags & flags::SCRAMBLED != 0 {
        return Ok(None);
    }
    let (compressed, declared) = (u64::from(header.compressed_bytes), header.uncompressed_bytes);
    if scheme == Compression::None {
        return match (compressed, declared) {
            (0, 0) => Ok(None),
            _ => Err((at + 16, "a compressed size without a compression flag".to_owned())),
        };
    }
    let stream =
        slice(payload, 0, compressed).ok_or((at + 16, "compressed size exceeds the payload".to_owned()))?;
    let padding = payload.len() as u64 - compressed;
    if padding >= 8 || first_nonzero_in(payload, compressed, payload.len() as u64).is_some() {
        return Err((entry.payload_offset + compressed, "bytes behind the compressed stream".to_owned()));
    }
    compression::decompress(scheme, stream, declared)
        .map(Some)
        .map_err(|error| (entry.payload_offset, error.to_string()))
}

/// Reads the images of a concatenated entry, which must fill its payload.
fn concatenated(outer: &Entry, parts: Vec<RawPart>, blob: &[u8], depth: Depth) -> Vec<Entry> {
    let mut found = Vec::new();
    let mut at = 0;
    let mut problems = Vec::new();
    for part in parts {
        let RawPart { offset, image_offset, header, violations } = part;
        let size = header.payload_bytes;
        let mut entry =
            entry_of(header, offset, outer.container.unwrap_or_default(), &outer.place, outer.payload_offset);
        entry.compression = outer.compression;
        entry.problems.extend(violations.into_iter().map(|(offset, reason)| Problem::at(offset, reason)));
        match slice(blob, image_offset, size).filter(|_| is_padding(blob, at, image_offset)) {
            Some(image) => {
                entry.image_bytes = size;
                read_image(&mut entry, image, depth);
                at = image_offset + size;
            }
            None => problems.push(Problem::at(offset, "concatenated images do not follow one another")),
        }
        found.push(entry);
    }
    if !is_padding(blob, at, blob.len() as u64) || found.is_empty() {
        problems.push(Problem::at(outer.offset, "bytes that belong to no concatenated image"));
    }
    if found.is_empty() {
        found.push(outer.clone());
    }
    if let Some(last) = found.last_mut() {
        last.problems.extend(problems);
    }
    found
}

/// Whether `[start, end)` holds fewer than 8 bytes, all of them zero.
fn is_padding(bytes: &[u8], start: u64, end: u64) -> bool {
    end.checked_sub(start)
        .filter(|&size| size < 8)
        .and_then(|size| slice(bytes, start, size))
        .is_some_and(|gap| first_nonzero(gap).is_none())
}

/// Reads an image by its kind.
fn read_image(entry: &mut Entry, image: &[u8], depth: Depth) {
    let scrambled = entry.header.as_ref().is_some_and(|header| header.flags & flags::SCRAMBLED != 0);
    match entry.kind {
        EntryKind::Elf if !scrambled => elf_image(entry, image, depth),
        EntryKind::Ptx if !scrambled => ptx_image(entry, image, depth),
        _ => entry.digest = digest(image, depth),
    }
}

fn digest(image: &[u8], depth: Depth) -> Option<Digest> {
    depth.has_digests().then(|| Digest::of_bytes(image))
}

/// Digests the code of each kernel, where that is asked for.
pub(super) fn digest_code(cubin: &mut Cubin, image: &[u8], depth: Depth) {
    // Each byte belongs to one kernel, whatever sections lie over each other.
    let mut budget = image.len() as u64;
    for kernel in cubin.kernels.iter_mut().filter(|_| depth == Depth::Code) {
        let Some(rest) = budget.checked_sub(kernel.code_bytes) else { break };
        budget = rest;
        kernel.code = slice(image, kernel.code_offset, kernel.code_bytes).map(Digest::of_bytes);
    }
}

fn elf_image(entry: &mut Entry, image: &[u8], depth: Depth) {
    let base = entry.payload_offset;
    let mut cubin = match cubin_reader::read(image) {
        Ok(cubin) => cubin,
        Err(error) => {
            return entry.problems.push(Problem::at(base, error.to_string()));
        }
    };
    let end = cubin.size_bytes;
    if !is_padding(image, end, image.len() as u64) {
        entry.problems.push(Problem::at(base + end, "bytes behind the cubin"));
    }
    entry.image_bytes = end;
    entry.digest = slice(image, 0, end).and_then(|image| digest(image, depth));
    digest_code(&mut cubin, image, depth);
    entry.cubin = Some(Box::new(cubin));
    if entry.compression != Some(Compression::None) {
        entry.problems.extend(inner_sightings(image));
    }
    if depth.is_whole() {
        entry.problems.extend(packed_code(image, base));
    }
}

/// Sections of a cubin whose bytes the program chooses: initial values, constants, and names.
const CHOSEN: [&str; 4] = [".nv.global", ".nv.constant", ".nv.shared", ".strtab"];

/// Device code in another form in what a cubin holds as data, for a program to read it there.
pub(super) fn packed_code(image: &[u8], base: u64) -> Vec<Problem> {
    let sections = host::sections(image).unwrap_or_default();
    let chosen = sections.iter().filter(|section| CHOSEN.iter().any(|name| section.name.starts_with(name)));
    let budget = Budget::of(image.len());
    let found = chosen.flat_map(|section| {
        let data = slice(image, section.offset, section.size).unwrap_or_default();
        let found = embedded::find(data, 0..data.len(), &budget).found;
        found.into_iter().map(move |problem| problem.moved(base.saturating_add(section.offset)))
    });
    found.collect()
}

/// Reads PTX, whose text may be followed by zero bytes alone.
pub(super) fn ptx_image(entry: &mut Entry, image: &[u8], depth: Depth) {
    let end = memchr::memchr(0, image).unwrap_or(image.len());
    let (text, rest) = image.split_at(end);
    if let Some(offset) = first_nonzero(rest) {
        let offset = entry.payload_offset + (end + offset) as u64;
        entry.problems.push(Problem::at(offset, "bytes behind the end of the PTX text"));
    }
    entry.image_bytes = text.len() as u64;
    entry.digest = digest(text, depth);
    entry.ptx = Some(Box::new(ptx::read(text)));
}

/// An entry for an image that stands alone.
pub(super) fn bare(kind: EntryKind, offset: u64, image_bytes: u64, place: &EntryPlace) -> Entry {
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

/// Whatever looks like device code inside a decompressed cubin, its own header aside.
fn inner_sightings(image: &[u8]) -> Vec<Problem> {
    let sightings = scan::scan(image);
    let beyond_header = |sighting: &scan::Sighting| sighting.mark != Mark::CudaElf || sighting.offset != 0;
    if !sightings.iter().any(beyond_header) {
        return Vec::new();
    }
    let texts = debug_texts(image);
    let is_debug = |at: u64| texts.iter().any(|&(start, end)| (start..end).contains(&at));
    sightings
        .into_iter()
        .filter(beyond_header)
        .filter(|sighting| sighting.mark != Mark::PtxTarget || !is_debug(sighting.offset))
        .map(|sighting| {
            Problem::at(sighting.offset, format!("{} inside a decompressed cubin", sighting.mark.name()))
        })
        .collect()
}

/// Ranges of the sections in which a cubin repeats its PTX for debuggers.
pub(super) fn debug_texts(image: &[u8]) -> Vec<(u64, u64)> {
    let sections = host::sections(image).unwrap_or_default();
    let debug = sections.iter().filter(|section| cubin_reader::is_debug_ptx(section.name.as_bytes()));
    debug.map(|section| (section.offset, section.end())).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    #[test]
    fn device_code_that_is_packed_in_constants_is_found() {
        let mut image = include_bytes!("../../../tests/fixtures/proof/exact_13.0.cubin").to_vec();
        assert!(packed_code(&image, 0).is_empty());
        let sections = host::sections(&image).unwrap();
        let constants = sections.iter().find(|section| section.name.starts_with(".nv.constant")).unwrap();
        let at = usize::try_from(constants.offset).unwrap();
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(b".version 9.0\n.target sm_90\n.visible .entry k() { ret; }\n").unwrap();
        let packed = gzip.finish().unwrap();
        assert!(packed.len() as u64 <= constants.size);
        image[at..at + packed.len()].copy_from_slice(&packed);
        let [problem] = &packed_code(&image, 100)[..] else { panic!("one finding") };
        assert_eq!(problem.offset, 100 + at as u64);
    }
}
