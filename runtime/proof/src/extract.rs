//! Takes an image out of a file, decompressed, as the driver would see it.

use std::borrow::Cow;

use super::bytes::slice;
use super::compression::{self, Compression};
use super::examination::{Entry, Examination};
use super::fatbin::{self, RawEntry};

/// The bytes of an entry's image; `None` when they cannot be had from this file.
pub fn image_of<'a>(file: &'a [u8], examination: &Examination, entry: &Entry) -> Option<Cow<'a, [u8]>> {
    let Some(container) = entry.container else {
        return slice(file, entry.payload_offset, entry.image_bytes).map(Cow::Borrowed);
    };
    let container = examination.containers.get(container)?;
    let raw = fatbin::read(file, container.offset).ok()?;
    for found in raw.entries {
        if found.offset == entry.offset {
            return cut(unpacked(&found)?, 0, entry.image_bytes);
        }
        let part = found.parts.iter().find(|part| part.offset == entry.offset);
        if let Some(at) = part.map(|part| part.image_offset) {
            return cut(unpacked(&found)?, at, entry.image_bytes);
        }
    }
    None
}

fn unpacked<'a>(entry: &RawEntry<'a>) -> Option<Cow<'a, [u8]>> {
    match entry.header.compression()? {
        Compression::None => Some(Cow::Borrowed(entry.payload)),
        scheme => {
            let stream = slice(entry.payload, 0, entry.header.compressed_bytes.into())?;
            compression::decompress(scheme, stream, entry.header.uncompressed_bytes).ok().map(Cow::Owned)
        }
    }
}

fn cut(image: Cow<'_, [u8]>, at: u64, length: u64) -> Option<Cow<'_, [u8]>> {
    match image {
        Cow::Borrowed(bytes) => slice(bytes, at, length).map(Cow::Borrowed),
        Cow::Owned(bytes) => slice(&bytes, at, length).map(|part| Cow::Owned(part.to_vec())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examine;
    use proofmark_packager::Digest;

    #[test]
    fn every_image_of_every_packing_comes_out_as_it_was_digested() {
        for bytes in [
            &include_bytes!("../../../tests/fixtures/proof/exact_13.0.so")[..],
            include_bytes!("../../../tests/fixtures/proof/exact_compressed_13.0.fatbin"),
            include_bytes!("../../../tests/fixtures/proof/concatenated_13.5.fatbin"),
            include_bytes!("../../../tests/fixtures/proof/with_ptx_13.0.fatbin"),
            include_bytes!("../../../tests/fixtures/proof/exact_13.0.cubin"),
        ] {
            let examination = examine(bytes);
            assert!(!examination.entries.is_empty());
            for entry in &examination.entries {
                let image = image_of(bytes, &examination, entry).unwrap();
                assert_eq!(Some(Digest::of_bytes(&image)), entry.digest, "at {:#x}", entry.offset);
            }
        }
    }
}
