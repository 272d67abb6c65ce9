//! Showing refused system calls, to find out what a driver that nobody has tried needs.
//!
//! Where refusals are shown, a refused call is trapped: a handler writes its number to standard error
//! and lets it fail as it would have. The player's standard error is then the judge's own, so foreign
//! text reaches the terminal as it is: this is for looking for a fault, with code that is trusted.
//! A thread that blocks every signal ends the player at its first refused call, by signal 31.

use std::ffi::{c_int, c_void};
use std::io;

/// What becomes of a refused system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Refusals {
    /// It fails with `EPERM`.
    #[default]
    Silent,
    /// It fails with `EPERM`, and its number is written to standard error.
    Shown,
}

/// The hidden verb's flag for [`Refusals::Shown`].
pub const FLAG: &str = "--show-refused-calls";

/// Puts an answer where the interrupted call's stands, and returns the call's number.
#[cfg(target_arch = "x86_64")]
fn answer(context: &mut libc::ucontext_t, answer: i64) -> u64 {
    let register = &mut context.uc_mcontext.gregs[libc::REG_RAX as usize];
    std::mem::replace(register, answer).cast_unsigned()
}

#[cfg(target_arch = "aarch64")]
fn answer(context: &mut libc::ucontext_t, answer: i64) -> u64 {
    context.uc_mcontext.regs[0] = answer.cast_unsigned();
    context.uc_mcontext.regs[8]
}

/// What is written of a refused call; the blanks are the number's place.
const LINE: &[u8; 39] = b"player: refused system call           \n";

/// Installs the handler.
pub(super) fn show() -> io::Result<()> {
    // SAFETY: all zeros is a valid value of this structure of plain numbers.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = on_trap;
    action.sa_sigaction = handler as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_NODEFER;
    // SAFETY: the structure lives across the call, and the handler makes one system call and touches
    // nothing but its own stack and the registers that it is given.
    let code = unsafe { libc::sigaction(libc::SIGSYS, &raw const action, std::ptr::null_mut()) };
    if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

extern "C" fn on_trap(_signal: c_int, _facts: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes the interrupted registers, which nothing else uses meanwhile.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    let number = answer(context, -i64::from(libc::EPERM));
    let line = line(number);
    // SAFETY: the line lives across the call.
    unsafe { libc::write(libc::STDERR_FILENO, line.as_ptr().cast(), line.len()) };
}

/// The line that is written, without allocating: the number, filled with blanks on its left.
fn line(number: u64) -> [u8; LINE.len()] {
    let mut line = *LINE;
    let mut rest = number;
    for place in line[..LINE.len() - 1].iter_mut().rev().take_while(|place| **place == b' ') {
        *place = b"0123456789"[(rest % 10) as usize];
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_a_number_of_any_length_that_a_call_can_have() {
        assert_eq!(&line(0), b"player: refused system call          0\n");
        assert_eq!(&line(41), b"player: refused system call         41\n");
        assert_eq!(&line(1_073_741_883), b"player: refused system call 1073741883\n");
    }
}
