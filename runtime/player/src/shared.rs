//! Memory that judge and player both map: a page of flags, and tensors where there is no device IPC.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};

use memmap2::MmapRaw;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};

/// Size of the page of flags in bytes: one page, what the driver can map.
pub const PAGE_BYTES: u64 = 4096;

/// The words of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Word {
    /// The judge lets a held batch go.
    Release = 0,
    /// The player's stream has come to the end of a batch.
    Done = 1,
    /// A hold gave up.
    GaveUp = 2,
    /// The player lets its own held call go.
    OwnRelease = 3,
}

/// A block of memory with a descriptor, mapped here.
#[derive(Debug)]
pub struct SharedMemory {
    map: Rc<MmapRaw>,
    file: File,
}

impl SharedMemory {
    /// Makes a block whose size can never change: a child that could shrink it could kill us.
    pub fn create(name: &str, size_bytes: u64) -> io::Result<Self> {
        let fd = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&fd, size_bytes.max(PAGE_BYTES).next_multiple_of(PAGE_BYTES))?;
        fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        Self::map(fd)
    }

    /// Maps a block that was inherited.
    pub fn map(fd: OwnedFd) -> io::Result<Self> {
        let file = File::from(fd);
        Ok(Self { map: Rc::new(MmapRaw::map_raw(&file)?), file })
    }

    /// The descriptor.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The mapping, for who needs it longer than this value.
    pub(crate) fn mapping(&self) -> Rc<MmapRaw> {
        Rc::clone(&self.map)
    }

    /// Where it is mapped.
    pub fn pointer(&self) -> *mut u8 {
        self.map.as_mut_ptr()
    }

    /// Its size in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.map.len() as u64
    }

    /// Copies bytes out.
    pub fn read(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let from = self.part(offset, into.len())?;
        // SAFETY: the part lies inside the map. The other side may write at the same time: then the
        // bytes are whatever they are, and the judge compares them as such.
        unsafe { std::ptr::copy_nonoverlapping(from, into.as_mut_ptr(), into.len()) };
        Ok(())
    }

    /// Copies bytes in.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let to = self.part(offset, bytes.len())?;
        // SAFETY: the part lies inside the map, and the bytes outside of it. The other side may read or
        // write at the same time: it then sees or leaves whatever it does.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
        Ok(())
    }

    /// One flag.
    pub fn word(&self, word: Word) -> &AtomicU32 {
        #[allow(clippy::cast_ptr_alignment)] // a mapping starts at a page
        let place = self.pointer().cast::<u32>().wrapping_add(word as usize);
        // SAFETY: every block is at least a page, aligned to one, so that the word lies inside and is
        // aligned; the mapping lives as long as `self`; both sides touch flags by atomics only.
        unsafe { AtomicU32::from_ptr(place) }
    }

    /// Reads one flag.
    pub fn get(&self, word: Word) -> u32 {
        self.word(word).load(Ordering::Acquire)
    }

    /// Writes one flag.
    pub fn set(&self, word: Word, value: u32) {
        self.word(word).store(value, Ordering::Release);
    }

    fn part(&self, offset: u64, length: usize) -> io::Result<*mut u8> {
        let end = offset.checked_add(length as u64).filter(|end| *end <= self.size_bytes());
        if end.is_none() {
            return Err(io::Error::other("outside the shared memory"));
        }
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        // SAFETY: checked just above: the offset lies inside the mapping or is its end.
        Ok(unsafe { self.pointer().add(offset) })
    }
}

/// Copies a file's bytes into sealed memory: what was hashed is what will be loaded.
pub fn seal_copy(name: &str, bytes: &[u8]) -> io::Result<OwnedFd> {
    let fd = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = File::from(fd);
    io::Write::write_all(&mut file, bytes)?;
    let fd = OwnedFd::from(file);
    fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL)?;
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::dup;

    #[test]
    fn shows_both_mappings_the_same_bytes_and_flags() {
        let here = SharedMemory::create("test", 10_000).unwrap();
        let there = SharedMemory::map(dup(here.file()).unwrap()).unwrap();
        here.write(4090, b"across a page").unwrap();
        here.set(Word::Done, 7);
        let mut read = [0; 13];
        there.read(4090, &mut read).unwrap();
        assert_eq!((&read, there.get(Word::Done)), (b"across a page", 7));
        assert!(here.write(here.size_bytes() - 1, b"ab").is_err());
        assert!(here.read(u64::MAX, &mut read).is_err());
    }

    #[test]
    fn cannot_be_shrunk_or_rewritten_by_the_other_side() {
        let shared = SharedMemory::create("test", 4096).unwrap();
        assert!(ftruncate(shared.file(), 0).is_err());
        let library = File::from(seal_copy("library", b"bytes").unwrap());
        assert!(io::Write::write(&mut &library, b"x").is_err());
    }
}
