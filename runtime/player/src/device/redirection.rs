//! Replaces a function of the driver by one of ours, in this process only.
//!
//! The function's first bytes become a jump. That reaches every way by which code finds the function: the
//! runtime inside a library, an import, a look-up by name. The pages stay writable: this is done in a process
//! that runs foreign code and whose word counts for nothing.

use std::ffi::c_void;
use std::io;

use super::error::DeviceError;
use super::loader::{loader_words, open_driver};

/// A function that begins with a jump to another.
#[derive(Debug)]
pub(crate) struct Redirection {
    target: usize,
    original: [u8; JUMP_BYTES],
    jump: [u8; JUMP_BYTES],
}

impl Redirection {
    /// The function's address.
    pub(crate) fn target(&self) -> usize {
        self.target
    }

    /// Lets the function itself run once.
    ///
    /// # Safety
    /// Another thread that calls the function meanwhile may run torn bytes: only in a process that can be lost.
    pub(crate) unsafe fn original<T>(&self, call: impl FnOnce() -> T) -> T {
        // SAFETY: the pages are writable since the function was redirected; the caller answers for threads.
        unsafe { write(self.target as *mut u8, self.original) };
        let answer = call();
        // SAFETY: as above.
        unsafe { write(self.target as *mut u8, self.jump) };
        answer
    }
}

/// Replaces a function of the driver. The driver is started, and foreign code is not loaded yet.
pub(crate) fn replace(function: &'static str, replacement: *const ()) -> Result<Redirection, DeviceError> {
    let refuse = |detail: String| DeviceError::Interception { function, detail };
    let driver = open_driver().map_err(|error| refuse(loader_words(&error)))?;
    // SAFETY: the address is looked up and not called through this type.
    let found = unsafe { driver.get::<unsafe extern "C" fn()>(function.as_bytes()) };
    let target = *found.map_err(|error| refuse(loader_words(&error)))? as *mut u8;
    // What is replaced must stay.
    std::mem::forget(driver);
    // SAFETY: a function of the driver, longer than a jump, which no other thread runs: foreign code is not
    // loaded yet, and the driver's own threads do not come through its interface.
    unsafe { redirect(target, replacement) }.map_err(|error| refuse(error.to_string()))
}

/// Makes a function begin with a jump to another.
///
/// # Safety
/// `target` must be the start of a function that is at least [`JUMP_BYTES`] long and that no thread is in,
/// and `replacement` a function of the same type.
unsafe fn redirect(target: *mut u8, replacement: *const ()) -> io::Result<Redirection> {
    let jump = jump(replacement as u64);
    // SAFETY: sysconf takes a plain number.
    let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).map_err(io::Error::other)?;
    let first = target as usize / page * page;
    let length = (target as usize + JUMP_BYTES).next_multiple_of(page) - first;
    let protect = |protection: libc::c_int| {
        // SAFETY: the pages hold the function, so they are mapped.
        match unsafe { libc::mprotect(first as *mut c_void, length, protection) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    protect(libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC)?;
    let mut original = [0; JUMP_BYTES];
    // SAFETY: mapped; the caller answers for the length.
    unsafe { std::ptr::copy_nonoverlapping(target, original.as_mut_ptr(), JUMP_BYTES) };
    // SAFETY: writable since just now; the caller answers for the length and for other threads.
    unsafe { write(target, jump) };
    Ok(Redirection { target: target as usize, original, jump })
}

/// Writes a function's first bytes.
///
/// # Safety
/// They must be writable, and no thread may be in them.
unsafe fn write(target: *mut u8, bytes: [u8; JUMP_BYTES]) {
    // SAFETY: the caller answers for the target.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), target, JUMP_BYTES) };
    // SAFETY: the bytes that were just written.
    unsafe { forget_old_instructions(target) };
}

#[cfg(target_arch = "x86_64")]
const JUMP_BYTES: usize = 14;

/// `jmp [rip]`, and the address behind it.
#[cfg(target_arch = "x86_64")]
fn jump(to: u64) -> [u8; JUMP_BYTES] {
    let mut bytes = [0xFF, 0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    bytes[6..].copy_from_slice(&to.to_le_bytes());
    bytes
}

#[cfg(target_arch = "x86_64")]
unsafe fn forget_old_instructions(_target: *mut u8) {}

#[cfg(target_arch = "aarch64")]
const JUMP_BYTES: usize = 16;

/// `ldr x17, #8`, `br x17`, and the address behind them.
#[cfg(target_arch = "aarch64")]
fn jump(to: u64) -> [u8; JUMP_BYTES] {
    let mut bytes = [0x51, 0, 0, 0x58, 0x20, 0x02, 0x1F, 0xD6, 0, 0, 0, 0, 0, 0, 0, 0];
    bytes[8..].copy_from_slice(&to.to_le_bytes());
    bytes
}

/// Lets the processor read the instructions again.
///
/// # Safety
/// [`JUMP_BYTES`] bytes from `target` must be mapped.
#[cfg(target_arch = "aarch64")]
unsafe fn forget_old_instructions(target: *mut u8) {
    unsafe extern "C" {
        fn __clear_cache(start: *mut std::ffi::c_char, end: *mut std::ffi::c_char);
    }
    // SAFETY: the caller answers for the range.
    unsafe { __clear_cache(target.cast(), target.add(JUMP_BYTES).cast()) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[inline(never)]
    extern "C" fn three(seed: u64) -> u64 {
        // Longer than a jump, and nothing that the compiler can know beforehand.
        let mut value = std::hint::black_box(seed);
        for step in 0..std::hint::black_box(3_u64) {
            value = value.wrapping_mul(31).wrapping_add(step);
        }
        value
    }

    extern "C" fn seven(_seed: u64) -> u64 {
        7
    }

    #[test]
    fn a_redirected_function_runs_what_took_its_place() {
        let call: extern "C" fn(u64) -> u64 = std::hint::black_box(three);
        assert_ne!(call(1), 7);
        let before = call(1);
        // SAFETY: the function is longer than a jump, and only this test calls it.
        let redirection = unsafe { redirect(three as *mut u8, seven as *const ()) }.unwrap();
        assert_eq!(call(1), 7);
        // SAFETY: as above.
        assert_eq!(unsafe { redirection.original(|| call(1)) }, before);
        assert_eq!(call(1), 7);
    }
}
