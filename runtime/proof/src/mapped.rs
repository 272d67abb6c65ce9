//! Opens a file for reading: mapped, so that gigabytes are read without a copy; or read to its end, where it
//! is a pipe.
//!
//! Another process may cut a mapped file short. The kernel then sends SIGBUS at the next touch of what is
//! gone, so mappings are entered in a short list, and a handler puts zeros where the file was and notes
//! it there. Whoever reads a file asks [`MappedFile::disturbance`] afterwards: an answer about a file that
//! changed meanwhile is none.
#![allow(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Deref;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::SystemTime;

use memmap2::Mmap;
use rustix::fs::OFlags;

/// Largest file that is read, in bytes: several times the largest library released.
pub(super) const FILE_LIMIT_BYTES: u64 = 16 << 30;
/// Most that is read from a pipe, in bytes: more than the largest library released.
const PIPE_LIMIT_BYTES: u64 = 2 << 30;
/// Up to this size, in bytes, what comes from a pipe stays in memory.
const IN_MEMORY_BYTES: u64 = 64 << 20;
/// Types of file systems whose files the kernel makes up as they are read: proc, sysfs, debugfs,
/// tracefs, securityfs, configfs, bpf, both cgroups. A read of some never ends.
const MADE_UP: [i64; 9] = [
    0x9FA0,
    0x6265_6572,
    0x6462_6720,
    0x7472_6163,
    0x7363_6673,
    0x6265_6570,
    0xCAFE_4A11,
    0x0027_E0EB,
    0x6367_7270,
];

/// A file's bytes.
pub(super) enum MappedFile {
    /// Of a file that says how long it is.
    Mapped(Guarded),
    /// Of a pipe, or of a file that says that it is empty.
    Read(Vec<u8>),
}

/// A mapping, and what the file was when it was mapped. The slot goes before the mapping does.
pub(super) struct Guarded {
    slot: &'static Slot,
    map: Mmap,
    file: File,
    state: (u64, Option<SystemTime>),
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.slot.start.store(0, Ordering::SeqCst);
        self.slot.taken.store(false, Ordering::SeqCst);
    }
}

impl MappedFile {
    /// Maps a whole file, or reads it where its length is not known. An empty one reads as no bytes.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        // A pipe by name may have no writer; what is piped to this process has one.
        let is_own = ["/dev/stdin", "/dev/fd", "/proc/self/fd"].iter().any(|own| path.starts_with(own));
        let flags = if is_own { OFlags::NOCTTY } else { OFlags::NOCTTY | OFlags::NONBLOCK };
        let flags = i32::try_from(flags.bits()).unwrap_or_default();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        let facts = file.metadata()?;
        if facts.file_type().is_fifo() && !is_own {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a pipe by name, which may never end"));
        }
        if facts.file_type().is_char_device() && !is_own {
            return empty_device(file);
        }
        let kind = rustix::fs::fstatfs(&file)?.f_type;
        if facts.is_file() && MADE_UP.contains(&kind) {
            let reason = "a file that the kernel makes up as it is read";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        if facts.len() > FILE_LIMIT_BYTES {
            let reason = format!("{} bytes, more than any library has", facts.len());
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
        }
        if facts.len() == 0 {
            return read_to_end(file, PIPE_LIMIT_BYTES);
        }
        match Slot::take() {
            Some(slot) => map(file, slot).map(Self::Mapped),
            None => read_to_end(file, PIPE_LIMIT_BYTES),
        }
    }

    /// What happened to the file since it was opened, so that nothing is known about it.
    pub(super) fn disturbance(&self) -> Option<&'static str> {
        let Self::Mapped(Guarded { slot, file, state, .. }) = self else { return None };
        if slot.cut.load(Ordering::SeqCst) {
            return Some("it was cut short while it was read");
        }
        let now = file.metadata().map(|facts| (facts.len(), facts.modified().ok()));
        (now.ok() != Some(*state)).then_some("it was changed while it was read")
    }
}

/// A device that holds nothing, such as `/dev/null`; any other may never end.
fn empty_device(mut file: File) -> io::Result<MappedFile> {
    match file.read(&mut [0])? {
        0 => Ok(MappedFile::Read(Vec::new())),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "a character device, which may never end")),
    }
}

fn map(file: File, slot: &'static Slot) -> io::Result<Guarded> {
    let release = |error| {
        slot.taken.store(false, Ordering::SeqCst);
        error
    };
    let facts = file.metadata().map_err(release)?;
    // SAFETY: the mapping is valid as long as `Mmap` lives, which owns it. What cannot be promised is
    // that no other process changes the file meanwhile: where it is cut short, the handler below puts
    // zeros, and where it is overwritten, reads see old or new bytes. Every read is of plain bytes with
    // its own bounds check against the fixed length of the mapping, so changed bytes can mislead an
    // answer, which `disturbance` then takes back, but not the memory of this process. A proof is never
    // made over a mapping: `prove` takes bytes that the caller owns.
    let map = unsafe { Mmap::map(&file) }.map_err(release)?;
    slot.length.store(map.len(), Ordering::SeqCst);
    slot.start.store(map.as_ptr().addr(), Ordering::SeqCst);
    Ok(Guarded { slot, map, file, state: (facts.len(), facts.modified().ok()) })
}

/// One mapping that the handler knows.
pub(super) struct Slot {
    taken: AtomicBool,
    start: AtomicUsize,
    length: AtomicUsize,
    cut: AtomicBool,
}

/// Mappings at one time: a file, and what is unpacked from it level by level.
static SLOTS: [Slot; 32] = [const {
    Slot {
        taken: AtomicBool::new(false),
        start: AtomicUsize::new(0),
        length: AtomicUsize::new(0),
        cut: AtomicBool::new(false),
    }
}; 32];
static HANDLER: Once = Once::new();

impl Slot {
    /// A slot that nobody uses, with the handler in place.
    fn take() -> Option<&'static Self> {
        HANDLER.call_once(install);
        let slot = SLOTS.iter().find(|slot| !slot.taken.swap(true, Ordering::SeqCst))?;
        slot.start.store(0, Ordering::SeqCst);
        slot.cut.store(false, Ordering::SeqCst);
        Some(slot)
    }
}

/// Pages that the kernel maps around the one that is touched, in bytes.
const AROUND_BYTES: usize = 64 << 10;

/// Gives back the memory behind some bytes of a mapped file, which is read again where it is still needed:
/// so a file of any size takes little of it. Does nothing for bytes that lie elsewhere.
///
/// Whoever reads on from there shares the last pages that the kernel mapped at one time, so these stay until what
/// follows is given back: mapping them for each of many small pieces takes longer than reading them.
pub(super) fn release(bytes: &[u8]) {
    let (from, to) = (bytes.as_ptr().addr(), bytes.as_ptr().addr() + bytes.len());
    for slot in &SLOTS {
        let (start, length) = (slot.start.load(Ordering::SeqCst), slot.length.load(Ordering::SeqCst));
        if start == 0 || from < start || to > start + length || from == to {
            continue;
        }
        let from = (from / AROUND_BYTES * AROUND_BYTES).saturating_sub(AROUND_BYTES).max(start);
        let is_last = to == start + length;
        let to = if is_last { to.next_multiple_of(4096) } else { to / AROUND_BYTES * AROUND_BYTES };
        if from >= to {
            return;
        }
        let page = std::ptr::with_exposed_provenance_mut(from);
        // SAFETY: the range lies in a mapping of a file, private and never written, which lives as long as
        // `bytes` borrows from it; what is dropped is read from the file again, or is zeros that the
        // handler put there and that come back as zeros.
        unsafe { libc::madvise(page, to - from, libc::MADV_DONTNEED) };
        return;
    }
}

/// Puts the handler for SIGBUS in place.
fn install() {
    // SAFETY: the structure is plain data, for which zeros are valid: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = on_bus_error as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: `action` is initialised and outlives the call; no old action is asked for.
    unsafe { libc::sigaction(libc::SIGBUS, &raw const action, std::ptr::null_mut()) };
}

/// Puts zeros where a mapped file was cut short; any other fault ends the process as it would have.
extern "C" fn on_bus_error(signal: libc::c_int, facts: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid structure to a handler installed with SA_SIGINFO, and for SIGBUS
    // its address field is set.
    let at = unsafe { (*facts).si_addr() }.addr();
    for slot in &SLOTS {
        let (start, length) = (slot.start.load(Ordering::SeqCst), slot.length.load(Ordering::SeqCst));
        let Some(inside) = at.checked_sub(start).filter(|&inside| start != 0 && inside < length) else {
            continue;
        };
        slot.cut.store(true, Ordering::SeqCst);
        // The page is no smaller than this on any supported host, and mappings start with one.
        let page = start + inside / 4096 * 4096;
        let rest = length - inside / 4096 * 4096;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED | libc::MAP_NORESERVE;
        // SAFETY: the range lies in a mapping that `Guarded` owns and that its slot still names, so
        // nothing else is there; it stays mapped, readable, and of the same length. mmap is a plain
        // system call, which a handler may make.
        let mapped = unsafe {
            libc::mmap(std::ptr::with_exposed_provenance_mut(page), rest, libc::PROT_READ, flags, -1, 0)
        };
        if mapped != libc::MAP_FAILED {
            return;
        }
    }
    // SAFETY: restores the default; the fault then repeats and ends the process.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

/// Reads what does not say how long it is; a lot of it goes to a temporary file.
fn read_to_end(source: impl Read, limit_bytes: u64) -> io::Result<MappedFile> {
    let mut source = source.take(limit_bytes + 1);
    let mut bytes = Vec::new();
    source.by_ref().take(IN_MEMORY_BYTES.min(limit_bytes + 1)).read_to_end(&mut bytes)?;
    let refuse = || {
        let reason = format!("more than {limit_bytes} bytes came from what is no plain file");
        io::Error::new(io::ErrorKind::FileTooLarge, reason)
    };
    if bytes.len() as u64 > limit_bytes {
        return Err(refuse());
    }
    if (bytes.len() as u64) < IN_MEMORY_BYTES {
        return Ok(MappedFile::Read(bytes));
    }
    let mut file = tempfile::NamedTempFile::new()?;
    let start = io::copy(&mut bytes.as_slice(), &mut file)?;
    let rest = io::copy(&mut source, &mut file)?;
    if start + rest > limit_bytes {
        return Err(refuse());
    }
    file.seek(SeekFrom::Start(0))?;
    MappedFile::open(file.path())
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(guarded) => &guarded.map,
            Self::Read(bytes) => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use super::*;

    #[test]
    fn an_endless_source_is_refused_at_the_limit() {
        assert_eq!(read_to_end(io::repeat(7).take(8), 8).unwrap().len(), 8);
        let error = read_to_end(io::repeat(7), 8).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn a_file_cut_short_while_it_is_read_gives_zeros_and_says_so() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&vec![7; 1 << 20]).unwrap();
        let mapped = MappedFile::open(file.path()).unwrap();
        assert_eq!((mapped[0], mapped.disturbance()), (7, None));
        file.as_file().set_len(0).unwrap();
        let sum: u64 = mapped.iter().map(|&byte| u64::from(byte)).sum();
        assert!(sum < 7 << 20, "the end of the file is gone");
        assert_eq!(mapped.disturbance(), Some("it was cut short while it was read"));
    }

    #[test]
    fn memory_that_was_given_back_is_read_again() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let bytes: Vec<u8> = (0..1 << 20).map(|at: u32| at.to_le_bytes()[1]).collect();
        file.write_all(&bytes).unwrap();
        let mapped = MappedFile::open(file.path()).unwrap();
        assert!(*mapped == *bytes);
        for range in [0..bytes.len(), 70_000..70_001, 300_000..900_000, 5..5] {
            release(&mapped[range]);
        }
        release(&bytes);
        assert!(*mapped == *bytes && mapped.disturbance().is_none());
    }

    #[test]
    fn a_file_that_grows_is_no_longer_what_was_read() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"one").unwrap();
        let mapped = MappedFile::open(file.path()).unwrap();
        file.write_all(b"two").unwrap();
        assert_eq!(mapped.disturbance(), Some("it was changed while it was read"));
    }

    #[test]
    fn what_never_ends_is_refused_by_its_kind() {
        for path in ["/proc/kmsg", "/proc/self/maps", "/dev/zero"] {
            assert!(MappedFile::open(Path::new(path)).is_err(), "{path}");
        }
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let status = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(status.success());
        assert!(MappedFile::open(&pipe).is_err());
        let huge = folder.path().join("huge");
        fs::File::create(&huge).unwrap().set_len(100 << 30).unwrap();
        assert_eq!(MappedFile::open(&huge).err().unwrap().kind(), io::ErrorKind::FileTooLarge);
    }
}
