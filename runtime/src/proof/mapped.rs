//! Maps a file into memory, so that gigabytes are read without a copy.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::path::Path;

use memmap2::Mmap;

/// A file's bytes, mapped.
pub(super) struct MappedFile(Option<Mmap>);

impl MappedFile {
    /// Maps a whole file. An empty one, which cannot be mapped, reads as no bytes.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        if file.metadata()?.len() == 0 {
            return Ok(Self(None));
        }
        // SAFETY: the mapping is valid as long as `Mmap` lives, which owns it. What cannot be
        // promised is that no other process changes the file meanwhile: if it is cut short, the
        // kernel ends this process with SIGBUS before any verdict is printed; if it is overwritten,
        // reads see old or new bytes. Every read here is of plain bytes with its own bounds check
        // against the fixed length of the mapping, so changed bytes can mislead the answer about a
        // file that no longer is what it was, but not the memory of this process. A proof is never
        // made over a mapping: `prove` takes bytes that the caller owns.
        let map = unsafe { Mmap::map(&file) }?;
        Ok(Self(Some(map)))
    }
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }
}
