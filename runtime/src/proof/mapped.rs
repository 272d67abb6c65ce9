//! Maps a file into memory, so that gigabytes are read without a copy. What cannot be mapped, such
//! as a pipe, is read to its end.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, Read};
use std::ops::Deref;
use std::path::Path;

use memmap2::Mmap;

/// Most that is read from a pipe, in bytes: more than the largest library released.
const PIPE_LIMIT_BYTES: u64 = 1 << 30;

/// A file's bytes.
pub(super) enum MappedFile {
    /// Of a file that says how long it is.
    Mapped(Mmap),
    /// Of a pipe, or of a file that says that it is empty.
    Read(Vec<u8>),
}

impl MappedFile {
    /// Maps a whole file, or reads it where its length is not known. An empty one reads as no bytes.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        if file.metadata()?.len() == 0 {
            return read_to_end(file, PIPE_LIMIT_BYTES).map(Self::Read);
        }
        // SAFETY: the mapping is valid as long as `Mmap` lives, which owns it. What cannot be
        // promised is that no other process changes the file meanwhile: if it is cut short, the
        // kernel ends this process with SIGBUS before any verdict is printed; if it is overwritten,
        // reads see old or new bytes. Every read here is of plain bytes with its own bounds check
        // against the fixed length of the mapping, so changed bytes can mislead the answer about a
        // file that no longer is what it was, but not the memory of this process. A proof is never
        // made over a mapping: `prove` takes bytes that the caller owns.
        let map = unsafe { Mmap::map(&file) }?;
        Ok(Self::Mapped(map))
    }
}

fn read_to_end(source: impl Read, limit_bytes: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(limit_bytes + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit_bytes {
        let reason = format!("more than {limit_bytes} bytes came from what is no plain file");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
    }
    Ok(bytes)
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Read(bytes) => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endless_source_is_refused_at_the_limit() {
        assert_eq!(read_to_end(io::repeat(7).take(8), 8).unwrap().len(), 8);
        let error = read_to_end(io::repeat(7), 8).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }
}
