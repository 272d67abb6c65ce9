//! Whether a file holds an image, as it stands or packed: in a container, or as a Zstandard stream of its own, as
//! cuBLASLt keeps some of its cubins.
//!
//! One pass over the file finds where images may stand, and how large each packed one is unpacked. Only those that
//! have the size of the image that is asked for are unpacked, one after the other. The file is mapped, not read into
//! memory.
//!
//! Measured in an unoptimised build on one core of an AMD EPYC, on cuBLASLt (542 MB, 5,832 cubins in containers and 393
//! in streams): 0.6 to 1.3 s to look it over, and 28 to 42 ms for each further image (median; 0.26 s the most).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, OnceLock};

use super::allotment::{ENTRIES, Share};
use super::bytes::{first_nonzero, slice};
use super::compression::{self, Compression, ZSTD_FRAME_MAGIC};
use super::fatbin::{self, CONTAINER_MAGIC, EntryHeader, EntryKind, RawEntry};
use super::mapped::MappedFile;
use super::search::Search;

/// How an ELF file begins.
const ELF_MAGIC: [u8; 4] = *b"\x7FELF";
/// What may be unpacked to answer one question, in bytes. All images of one size in cuBLASLt take 20 MB.
const UNPACKED_LIMIT_BYTES: u64 = 1 << 30;
/// An image in a container is followed by fewer zero bytes than this.
const ALIGNMENT_BYTES: u64 = 8;

static BEGINNINGS: LazyLock<Search> = LazyLock::new(|| {
    const CONTAINER: [u8; 4] = CONTAINER_MAGIC.to_le_bytes();
    Search::of(&[&CONTAINER, &ZSTD_FRAME_MAGIC, &ELF_MAGIC])
});

/// A file, and where the images stand that it holds.
#[derive(Debug)]
pub struct HeldImages {
    path: PathBuf,
    /// Made when it is first asked for.
    places: OnceLock<Places>,
}

impl HeldImages {
    /// Of a file, which is not opened yet.
    pub fn of(path: PathBuf) -> Self {
        Self { path, places: OnceLock::new() }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file holds an image of machine code, byte for byte.
    pub fn holds(&self, image: &[u8]) -> io::Result<bool> {
        let file = MappedFile::open(&self.path)?;
        let places = self.places.get_or_init(|| Places::of(&file));
        let is_held = places.hold(&file, image, UNPACKED_LIMIT_BYTES);
        match file.disturbance() {
            Some(reason) => Err(io::Error::other(reason)),
            None => Ok(is_held),
        }
    }
}

/// Where images may stand in a file.
#[derive(Debug, Default)]
struct Places {
    /// Those that are stored as they are: the offset of each.
    plain: Vec<u64>,
    /// Those that are packed.
    packed: Vec<PackedImage>,
}

/// An image that is packed, alone or with others.
#[derive(Debug, Clone, Copy)]
struct PackedImage {
    scheme: Compression,
    /// Where the stream lies in the file, and how long it is.
    stream: (u64, u64),
    /// What it unpacks to, in bytes.
    unpacked_bytes: u64,
    /// Where the image lies in that, and how long it is with what pads it.
    image: (u64, u64),
}

impl Places {
    /// Looks a file over once.
    fn of(file: &[u8]) -> Self {
        let mut places = Self::default();
        BEGINNINGS.each_but(file, |at, beginning| {
            if places.plain.len() + places.packed.len() >= ENTRIES {
                return file.len();
            }
            let end = match beginning {
                0 => places.container(file, at as u64),
                1 => places.stream(file, at as u64),
                _ => {
                    places.plain.push(at as u64);
                    None
                }
            };
            end.and_then(|end| usize::try_from(end).ok()).unwrap_or(0)
        });
        places
    }

    /// Takes the images of a container; gives the offset up to which it was read.
    fn container(&mut self, file: &[u8], at: u64) -> Option<u64> {
        let container = fatbin::read(file, at).ok()?;
        for entry in &container.entries {
            match entry.header.kind() {
                EntryKind::Elf => self.image(entry, (0, unpacked_bytes(entry))),
                EntryKind::Concat => {
                    let is_code = |header: &EntryHeader| header.kind() == EntryKind::Elf;
                    for part in entry.parts.iter().filter(|part| is_code(&part.header)) {
                        self.image(entry, (part.image_offset, part.header.payload_bytes));
                    }
                }
                _ => {}
            }
        }
        Some(container.broken.map_or(container.end, |(offset, _)| offset))
    }

    fn image(&mut self, entry: &RawEntry<'_>, image: (u64, u64)) {
        match entry.header.compression() {
            Some(Compression::None) => self.plain.extend(entry.payload_offset.checked_add(image.0)),
            Some(scheme) => self.packed.push(PackedImage {
                scheme,
                stream: (entry.payload_offset, entry.header.compressed_bytes.into()),
                unpacked_bytes: unpacked_bytes(entry),
                image,
            }),
            None => {}
        }
    }

    /// Takes a stream that says how long it is unpacked; gives the offset behind it.
    fn stream(&mut self, file: &[u8], at: u64) -> Option<u64> {
        let rest = slice(file, at, (file.len() as u64).checked_sub(at)?)?;
        let unpacked_bytes = zstd::zstd_safe::get_frame_content_size(rest).ok()??;
        let length = zstd::zstd_safe::find_frame_compressed_size(rest).ok()? as u64;
        let (stream, image) = ((at, length), (0, unpacked_bytes));
        self.packed.push(PackedImage { scheme: Compression::Zstd, stream, unpacked_bytes, image });
        at.checked_add(length)
    }

    /// Whether an image stands at one of them. Unpacks no more than so many bytes.
    fn hold(&self, file: &[u8], image: &[u8], limit_bytes: u64) -> bool {
        let size = image.len() as u64;
        if !image.starts_with(&ELF_MAGIC) {
            return false;
        }
        if self.plain.iter().any(|&at| slice(file, at, size) == Some(image)) {
            return true;
        }
        let mut left = limit_bytes;
        let padded = size..size.saturating_add(ALIGNMENT_BYTES);
        let affordable =
            self.packed.iter().filter(|packed| padded.contains(&packed.image.1)).take_while(|packed| {
                let rest = left.checked_sub(packed.unpacked_bytes);
                left = rest.unwrap_or(0);
                rest.is_some()
            });
        affordable.into_iter().any(|packed| packed.is(file, image))
    }
}

impl PackedImage {
    /// Whether it is this image and nothing behind it.
    fn is(&self, file: &[u8], image: &[u8]) -> bool {
        let _share = Share::of(self.unpacked_bytes);
        let stream = slice(file, self.stream.0, self.stream.1);
        let unpacked =
            stream.and_then(|stream| compression::decompress(self.scheme, stream, self.unpacked_bytes).ok());
        let found = unpacked.as_deref().and_then(|unpacked| slice(unpacked, self.image.0, self.image.1));
        let padding = found.and_then(|found| found.strip_prefix(image));
        padding.is_some_and(|padding| first_nonzero(padding).is_none())
    }
}

/// What the payload of an entry is unpacked, in bytes.
fn unpacked_bytes(entry: &RawEntry<'_>) -> u64 {
    match entry.header.compression() {
        Some(Compression::None) => entry.payload.len() as u64,
        _ => entry.header.uncompressed_bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fatbin::flags;
    use crate::{examine, image_of};

    const CUBIN: &[u8] = include_bytes!("../../../tests/fixtures/proof/exact_13.0.cubin");

    /// Whether a file of these bytes holds an image.
    fn holds(file: &[u8], image: &[u8]) -> bool {
        Places::of(file).hold(file, image, UNPACKED_LIMIT_BYTES)
    }

    /// The same image with one bit changed.
    fn changed(image: &[u8], at: usize) -> Vec<u8> {
        let mut image = image.to_vec();
        image[at] ^= 1;
        image
    }

    /// A container with one packed entry.
    fn container(flag: u64, stream: &[u8], unpacked_bytes: u64) -> Vec<u8> {
        let payload_bytes = stream.len().next_multiple_of(8);
        let mut entry = vec![0; 64 + payload_bytes];
        let mut put = |at: usize, bytes: &[u8]| entry[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &2_u16.to_le_bytes());
        put(2, &0x0101_u16.to_le_bytes());
        put(4, &64_u32.to_le_bytes());
        put(8, &(payload_bytes as u64).to_le_bytes());
        put(16, &u32::try_from(stream.len()).unwrap().to_le_bytes());
        put(28, &100_u32.to_le_bytes());
        put(40, &(flags::ADDRESS_64 | flags::LINUX | flag).to_le_bytes());
        put(56, &unpacked_bytes.to_le_bytes());
        put(64, stream);
        let mut bytes = CONTAINER_MAGIC.to_le_bytes().to_vec();
        bytes.extend([1, 0, 16, 0]);
        bytes.extend((entry.len() as u64).to_le_bytes());
        bytes.extend(entry);
        bytes
    }

    /// The image as files hold it.
    fn ways(image: &[u8]) -> [Vec<u8>; 5] {
        let size = image.len() as u64;
        let zstd = zstd::bulk::compress(image, 3).unwrap();
        let padded = [image, &[0; 5]].concat();
        [
            image.to_vec(),
            container(flags::ZSTD, &zstd, size),
            container(flags::LZ4, &lz4_flex::block::compress(image), size),
            container(flags::ZSTD, &zstd::bulk::compress(&padded, 3).unwrap(), size + 5),
            zstd,
        ]
    }

    #[test]
    fn an_image_is_found_however_it_is_stored_and_wherever_it_stands() {
        for way in ways(CUBIN) {
            for before in 0..9 {
                let file = [&b"x\x7FELF\x28\xB5\x2F\xFD"[..before], &way, b"behind"].concat();
                assert!(holds(&file, CUBIN));
            }
            for at in [0, 1, 400, CUBIN.len() - 1] {
                assert!(!holds(&way, &changed(CUBIN, at)), "one bit at {at}");
            }
            assert!(!holds(&way, b"") && !holds(&way, &CUBIN[1..]) && !holds(&way, &[CUBIN, b"x"].concat()));
            assert!(!holds(&way[..way.len() - 9], CUBIN), "cut off");
        }
    }

    #[test]
    fn every_image_that_is_taken_out_of_a_file_is_found_in_it() {
        for file in [
            &include_bytes!("../../../tests/fixtures/proof/exact_13.0.so")[..],
            include_bytes!("../../../tests/fixtures/proof/exact_13.0.fatbin"),
            include_bytes!("../../../tests/fixtures/proof/exact_compressed_13.0.fatbin"),
            include_bytes!("../../../tests/fixtures/proof/concatenated_13.5.fatbin"),
            include_bytes!("../../../tests/fixtures/proof/with_ptx_13.0.fatbin"),
            include_bytes!("../../../tests/fixtures/proof/exact_lineinfo_13.0.fatbin"),
        ] {
            let examination = examine(file);
            for entry in examination.machine_code() {
                let image = image_of(file, &examination, entry).unwrap();
                assert!(holds(file, &image), "at {:#x}", entry.offset);
            }
            assert!(examination.machine_code().count() > 0);
        }
    }

    #[test]
    fn text_and_intermediate_code_are_no_images() {
        let file = include_bytes!("../../../tests/fixtures/proof/with_ptx_13.0.fatbin");
        let examination = examine(file);
        let text = examination.entries.iter().find(|entry| entry.kind == EntryKind::Ptx).unwrap();
        assert!(!holds(file, &image_of(file, &examination, text).unwrap()));
    }

    #[test]
    fn what_declares_another_size_than_it_has_is_no_image() {
        let size = CUBIN.len() as u64;
        let zstd = zstd::bulk::compress(CUBIN, 3).unwrap();
        for declared in [0, 1, size - 1, size + 1, size + 8, 1 << 40, u64::MAX] {
            assert!(!holds(&container(flags::ZSTD, &zstd, declared), CUBIN), "{declared}");
        }
        let mut cut = container(flags::ZSTD, &zstd, size);
        cut[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
        let found = Places::of(&cut);
        assert_eq!(found.packed.len(), 1, "the stream itself is found, its container is none");
    }

    #[test]
    fn a_file_full_of_images_of_one_size_ends_the_search() {
        let other = changed(CUBIN, CUBIN.len() - 1);
        let one = zstd::bulk::compress(&other, 3).unwrap();
        let file = [one.repeat(20), zstd::bulk::compress(CUBIN, 3).unwrap()].concat();
        let (places, size) = (Places::of(&file), CUBIN.len() as u64);
        assert_eq!(places.packed.len(), 21);
        assert!(places.hold(&file, CUBIN, 21 * size));
        assert!(!places.hold(&file, CUBIN, 21 * size - 1));
    }

    #[test]
    fn a_file_full_of_beginnings_is_looked_over_to_a_limit() {
        let file = ELF_MAGIC.repeat(ENTRIES + 10);
        assert_eq!(Places::of(&file).plain.len(), ENTRIES);
    }

    #[test]
    fn a_file_that_is_not_there_or_holds_nothing_says_so() {
        assert!(HeldImages::of("/nowhere/at/all.so".into()).holds(CUBIN).is_err());
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(!HeldImages::of(file.path().to_owned()).holds(CUBIN).unwrap());
        std::fs::write(file.path(), CUBIN).unwrap();
        let held = HeldImages::of(file.path().to_owned());
        assert!(held.holds(CUBIN).unwrap() && !held.holds(&changed(CUBIN, 9)).unwrap());
    }
}
