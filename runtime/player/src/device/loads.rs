//! The machine code that a submission loads at run time, as it was handed to the driver.
//!
//! Python compiles while it runs, so no library holds what is launched. The driver's loading functions are replaced
//! ([`super::redirection`]) by functions that note what was loaded and go on. Code in a compiled file is noted by its
//! place and copied when it is asked for; everything else is copied at once, since it may be gone later.

use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_uint, c_void};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cudarc::driver::sys::CUresult;

use super::capture::Handle;
use super::error::DeviceError;
use super::redirection::{Redirection, replace};

/// `ELF`, a wrapper of a fat binary in a compiled file, and a fat binary, by their first four bytes.
const ELF: u32 = 0x464c_457f;
const WRAPPER: u32 = 0x4662_43b1;
const FAT_BINARY: u32 = 0xba55_ed50;
/// Most bytes of one image: what travels in a recording.
const IMAGE_LIMIT_BYTES: usize = 256 << 20;

/// Code that was loaded.
#[derive(Debug, Clone)]
enum Code {
    /// A copy.
    Copied(Vec<u8>),
    /// Where it stands in a file that stays mapped.
    Mapped { address: usize, size_bytes: usize },
}

static LOADED: Mutex<Option<HashMap<usize, Code>>> = Mutex::new(None);

type Hook = Mutex<Option<(Redirection, usize)>>;
static MODULE_DATA: Hook = Mutex::new(None);
static MODULE_DATA_EX: Hook = Mutex::new(None);
static MODULE_FAT_BINARY: Hook = Mutex::new(None);
static MODULE_FILE: Hook = Mutex::new(None);
static LIBRARY_DATA: Hook = Mutex::new(None);
static LIBRARY_FILE: Hook = Mutex::new(None);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Replaces the driver's loading functions, for the life of the process.
pub(crate) fn install() -> Result<(), DeviceError> {
    *lock(&LOADED) = Some(HashMap::new());
    let hooks: [(&Hook, &'static str, *const ()); 6] = [
        (&MODULE_DATA, "cuModuleLoadData", module_data as *const ()),
        (&MODULE_DATA_EX, "cuModuleLoadDataEx", module_data_ex as *const ()),
        (&MODULE_FAT_BINARY, "cuModuleLoadFatBinary", module_fat_binary as *const ()),
        (&MODULE_FILE, "cuModuleLoad", module_file as *const ()),
        (&LIBRARY_DATA, "cuLibraryLoadData", library_data as *const ()),
        (&LIBRARY_FILE, "cuLibraryLoadFromFile", library_file as *const ()),
    ];
    for (hook, function, replacement) in hooks {
        let redirection = replace(function, replacement)?;
        let target = redirection.target();
        *lock(hook) = Some((redirection, target));
    }
    Ok(())
}

/// Whether loads are noted.
pub(crate) fn are_noted() -> bool {
    lock(&LOADED).is_some()
}

/// The code that a handle was loaded from; `None` where that was not seen.
pub(crate) fn code_of(handle: Handle) -> Option<Vec<u8>> {
    let key = match handle {
        Handle::Library(library) => library as usize,
        Handle::Module(module) => module as usize,
    };
    match lock(&LOADED).as_ref()?.get(&key)?.clone() {
        Code::Copied(bytes) => Some(bytes),
        Code::Mapped { address, size_bytes } => {
            // SAFETY: a compiled file that registered its code keeps it mapped; this process can be lost.
            Some(unsafe { std::slice::from_raw_parts(address as *const u8, size_bytes) }.to_vec())
        }
    }
}

/// Notes what a handle was loaded from, if the driver took it.
fn note(code: CUresult, handle: *const usize, found: Option<Code>) -> CUresult {
    if code == CUresult::CUDA_SUCCESS
        && !handle.is_null()
        && let (Some(found), Some(loaded)) = (found, lock(&LOADED).as_mut())
    {
        // SAFETY: the driver has just written the caller's variable.
        loaded.insert(unsafe { *handle }, found);
    }
    code
}

/// What stands at an address that the driver is about to read as code.
fn read(image: *const c_void) -> Option<Code> {
    if image.is_null() {
        return None;
    }
    let start = image.cast::<u8>();
    match word(start, 0) {
        ELF => Some(Code::Copied(bytes(start, elf_bytes(start)))),
        WRAPPER => {
            let inner = long(start, 8) as *const u8;
            let is_fat = !inner.is_null() && word(inner, 0) == FAT_BINARY;
            is_fat.then(|| Code::Mapped { address: inner as usize, size_bytes: fat_bytes(inner) })
        }
        FAT_BINARY => Some(Code::Copied(bytes(start, fat_bytes(start)))),
        _ => {
            // SAFETY: what is neither is text, which the driver reads to its terminator as well.
            let text = unsafe { CStr::from_ptr(start.cast()) };
            Some(Code::Copied(text.to_bytes().to_vec()))
        }
    }
}

/// The size of an ELF file in memory: up to the end of what its headers name.
fn elf_bytes(start: *const u8) -> usize {
    let table =
        |offset: u64, size: u16, count: u16| offset.saturating_add(u64::from(size) * u64::from(count));
    let (sections, section_size, section_count) = (long(start, 40), half(start, 58), half(start, 60));
    let mut end = table(long(start, 32), half(start, 54), half(start, 56));
    end = end.max(table(sections, section_size, section_count));
    for number in 0..u64::from(section_count) {
        /// A section without bytes in the file.
        const NO_BITS: u32 = 8;
        let at = usize::try_from(sections + number * u64::from(section_size)).unwrap_or(0);
        if word(start, at + 4) != NO_BITS {
            end = end.max(long(start, at + 24).saturating_add(long(start, at + 32)));
        }
    }
    usize::try_from(end).unwrap_or(usize::MAX)
}

/// The size of a fat binary: its header, and what that says follows.
fn fat_bytes(start: *const u8) -> usize {
    usize::try_from(long(start, 8).saturating_add(u64::from(half(start, 6)))).unwrap_or(usize::MAX)
}

fn bytes(start: *const u8, size_bytes: usize) -> Vec<u8> {
    // SAFETY: the driver is about to read these bytes by the same headers; this process can be lost.
    unsafe { std::slice::from_raw_parts(start, size_bytes.min(IMAGE_LIMIT_BYTES)) }.to_vec()
}

fn half(start: *const u8, offset: usize) -> u16 {
    // SAFETY: as the driver reads it: a header that is as long as its kind of file has it.
    unsafe { start.wrapping_add(offset).cast::<u16>().read_unaligned() }
}

fn word(start: *const u8, offset: usize) -> u32 {
    // SAFETY: as above.
    unsafe { start.wrapping_add(offset).cast::<u32>().read_unaligned() }
}

fn long(start: *const u8, offset: usize) -> u64 {
    // SAFETY: as above.
    unsafe { start.wrapping_add(offset).cast::<u64>().read_unaligned() }
}

fn file(name: *const c_char) -> Option<Code> {
    if name.is_null() {
        return None;
    }
    // SAFETY: the caller's terminated text.
    let name = unsafe { CStr::from_ptr(name) }.to_str().ok()?;
    std::fs::read(name).ok().map(Code::Copied)
}

/// Runs the driver's own function: `call` gets its address.
fn original(hook: &Hook, call: impl FnOnce(usize) -> CUresult) -> CUresult {
    match &*lock(hook) {
        // SAFETY: the lock keeps this file's own calls apart. Foreign code that loads on two threads at once can run
        // torn bytes; it ends this process at worst, which is there to be lost.
        Some((redirection, target)) => unsafe { redirection.original(|| call(*target)) },
        None => CUresult::CUDA_ERROR_NOT_INITIALIZED,
    }
}

type LoadImage = unsafe extern "C" fn(*mut usize, *const c_void) -> CUresult;
type LoadImageWith =
    unsafe extern "C" fn(*mut usize, *const c_void, c_uint, *mut c_void, *mut c_void) -> CUresult;
type LoadFile = unsafe extern "C" fn(*mut usize, *const c_char) -> CUresult;
type LoadLibrary<T> = unsafe extern "C" fn(
    *mut usize,
    *const T,
    *mut c_void,
    *mut c_void,
    c_uint,
    *mut c_void,
    *mut c_void,
    c_uint,
) -> CUresult;

unsafe extern "C" fn module_data(module: *mut usize, image: *const c_void) -> CUresult {
    let found = read(image);
    let code = original(&MODULE_DATA, |target| {
        // SAFETY: the driver's function of this name has this type.
        let function = unsafe { std::mem::transmute::<usize, LoadImage>(target) };
        // SAFETY: the caller's own arguments.
        unsafe { function(module, image) }
    });
    note(code, module, found)
}

unsafe extern "C" fn module_fat_binary(module: *mut usize, image: *const c_void) -> CUresult {
    let found = read(image);
    let code = original(&MODULE_FAT_BINARY, |target| {
        // SAFETY: the driver's function of this name has this type.
        let function = unsafe { std::mem::transmute::<usize, LoadImage>(target) };
        // SAFETY: the caller's own arguments.
        unsafe { function(module, image) }
    });
    note(code, module, found)
}

unsafe extern "C" fn module_data_ex(
    module: *mut usize,
    image: *const c_void,
    count: c_uint,
    options: *mut c_void,
    values: *mut c_void,
) -> CUresult {
    let found = read(image);
    let code = original(&MODULE_DATA_EX, |target| {
        // SAFETY: the driver's function of this name has this type.
        let function = unsafe { std::mem::transmute::<usize, LoadImageWith>(target) };
        // SAFETY: the caller's own arguments.
        unsafe { function(module, image, count, options, values) }
    });
    note(code, module, found)
}

unsafe extern "C" fn module_file(module: *mut usize, name: *const c_char) -> CUresult {
    let found = file(name);
    let code = original(&MODULE_FILE, |target| {
        // SAFETY: the driver's function of this name has this type.
        let function = unsafe { std::mem::transmute::<usize, LoadFile>(target) };
        // SAFETY: the caller's own arguments.
        unsafe { function(module, name) }
    });
    note(code, module, found)
}

unsafe extern "C" fn library_data(
    library: *mut usize,
    image: *const c_void,
    options: *mut c_void,
    values: *mut c_void,
    count: c_uint,
    library_options: *mut c_void,
    library_values: *mut c_void,
    library_count: c_uint,
) -> CUresult {
    let found = read(image);
    let code = original(&LIBRARY_DATA, |target| {
        // SAFETY: the driver's function of this name has this type.
        let function = unsafe { std::mem::transmute::<usize, LoadLibrary<c_void>>(target) };
        // SAFETY: the caller's own arguments.
        unsafe {
            function(library, image, options, values, count, library_options, library_values, library_count)
        }
    });
    note(code, library, found)
}

unsafe extern "C" fn library_file(
    library: *mut usize,
    name: *const c_char,
    options: *mut c_void,
    values: *mut c_void,
    count: c_uint,
    library_options: *mut c_void,
    library_values: *mut c_void,
    library_count: c_uint,
) -> CUresult {
    let found = file(name);
    let code = original(&LIBRARY_FILE, |target| {
        // SAFETY: the driver's function of this name has this type.
        let function = unsafe { std::mem::transmute::<usize, LoadLibrary<c_char>>(target) };
        // SAFETY: the caller's own arguments.
        unsafe {
            function(library, name, options, values, count, library_options, library_values, library_count)
        }
    });
    note(code, library, found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copied(bytes: &[u8]) -> Vec<u8> {
        match read(bytes.as_ptr().cast()) {
            Some(Code::Copied(copy)) => copy,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn takes_as_much_as_the_headers_name_and_no_more() {
        let mut elf = vec![0_u8; 64 + 64 + 10 + 5];
        elf[..4].copy_from_slice(&ELF.to_le_bytes());
        elf[40..48].copy_from_slice(&64_u64.to_le_bytes());
        elf[58..60].copy_from_slice(&64_u16.to_le_bytes());
        elf[60..62].copy_from_slice(&1_u16.to_le_bytes());
        elf[64 + 24..64 + 32].copy_from_slice(&128_u64.to_le_bytes());
        elf[64 + 32..64 + 40].copy_from_slice(&10_u64.to_le_bytes());
        assert_eq!(copied(&elf), elf[..138]);
        let mut fat = vec![0_u8; 16 + 8 + 3];
        fat[..4].copy_from_slice(&FAT_BINARY.to_le_bytes());
        fat[6..8].copy_from_slice(&16_u16.to_le_bytes());
        fat[8..16].copy_from_slice(&8_u64.to_le_bytes());
        assert_eq!(copied(&fat), fat[..24]);
        let mut wrapper = [0_u8; 24];
        wrapper[..4].copy_from_slice(&WRAPPER.to_le_bytes());
        wrapper[8..16].copy_from_slice(&(fat.as_ptr() as u64).to_le_bytes());
        let found = read(wrapper.as_ptr().cast());
        let expected = fat.as_ptr() as usize;
        assert!(matches!(found, Some(Code::Mapped { address, size_bytes: 24 }) if address == expected));
        assert_eq!(copied(b".version 8.0\n\0rest"), b".version 8.0\n");
    }
}
