//! What the child may no longer do once foreign code is about to be loaded.
//!
//! No new programs or processes, so that ending one process ends everything; no network; no look into
//! other processes; no writing to files; no capabilities, even where the child runs as root. The GPU,
//! memory, threads and reading stay allowed: kernels need them. Each protection is tried on its own,
//! and what the kernel refuses is reported, never hidden.

use std::ffi::{c_int, c_long, c_ulong, c_void};
use std::io;

use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

/// `PR_SET_SECCOMP`, `SECCOMP_SET_MODE_FILTER`, `SECCOMP_FILTER_FLAG_TSYNC`.
const SYS_SECCOMP: c_long = 317;
const MODE_FILTER: c_ulong = 1;
const ALL_THREADS: c_ulong = 1;
/// `AUDIT_ARCH_X86_64`.
const ARCH_X86_64: u32 = 0xC000_003E;
/// The x32 calling convention numbers its calls from here.
const X32_BIT: u32 = 0x4000_0000;
/// Return values of a filter: allow; fail with the error in the low bits; kill.
const ALLOW: u32 = 0x7FFF_0000;
const FAIL: u32 = 0x0005_0000;
const KILL: u32 = 0x8000_0000;
const EPERM: u32 = 1;
const ENOSYS: u32 = 38;
/// `CLONE_THREAD`.
const CLONE_THREAD: u32 = 0x0001_0000;
const AF_UNIX: u32 = 1;

/// System calls that always fail: programs, processes, other processes' memory, kernel surfaces.
const REFUSED: [u32; 30] = [
    57,  // fork
    58,  // vfork
    59,  // execve
    322, // execveat
    101, // ptrace
    310, // process_vm_readv
    311, // process_vm_writev
    438, // pidfd_getfd
    434, // pidfd_open
    424, // pidfd_send_signal
    200, // tkill
    129, // rt_sigqueueinfo
    297, // rt_tgsigqueueinfo
    440, // process_madvise
    321, // bpf
    272, // unshare
    308, // setns
    165, // mount
    166, // umount2
    155, // pivot_root
    161, // chroot
    169, // reboot
    175, // init_module
    313, // finit_module
    246, // kexec_load
    250, // keyctl
    323, // userfaultfd
    425, // io_uring_setup
    298, // perf_event_open
    303, // name_to_handle_at
];
const CLONE: u32 = 56;
const CLONE3: u32 = 435;
const SOCKET: u32 = 41;
const KILL_CALL: u32 = 62;
const TGKILL: u32 = 234;

/// One instruction of a classic BPF program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
struct Instruction {
    code: u16,
    if_true: u8,
    if_false: u8,
    value: u32,
}

#[repr(C)]
struct Program {
    length: u16,
    instructions: *const Instruction,
}

const LOAD_WORD: u16 = 0x20;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER_OR_EQUAL: u16 = 0x35;
const JUMP_BITS: u16 = 0x45;
const RETURN: u16 = 0x06;
/// Offsets in `seccomp_data`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const FIRST_ARGUMENT: u32 = 16;

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
    fn signal(number: c_int, handler: usize) -> usize;
}

/// Gives up everything that foreign code does not need. Returns what could not be had.
pub fn confine() -> Vec<String> {
    let mut problems = Vec::new();
    let mut note = |what: &str, outcome: io::Result<()>| {
        if let Err(error) = outcome {
            problems.push(format!("{what}: {error}"));
        }
    };
    note("dumpable", set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(Into::into));
    note("landlock", forbid_writing_files());
    note("capabilities", drop_capabilities());
    note("seccomp", refuse_system_calls());
    problems
}

/// Gives crashes back to the kernel: TVM-FFI replaces these handlers when it is loaded, and a crash
/// must end the process so that the judge sees it.
pub fn restore_crash_signals() {
    // SIGILL, SIGABRT, SIGBUS, SIGFPE, SIGSEGV.
    for number in [4, 6, 7, 8, 11] {
        // SAFETY: the default action is always valid.
        unsafe { signal(number, 0) };
    }
}

fn drop_capabilities() -> io::Result<()> {
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    Ok(set_capabilities(None, none)?)
}

fn refuse_system_calls() -> io::Result<()> {
    if !cfg!(target_arch = "x86_64") {
        return Err(io::Error::other("no filter is written for this processor"));
    }
    let program = filter(std::process::id());
    let length = u16::try_from(program.len()).map_err(io::Error::other)?;
    let program = Program { length, instructions: program.as_ptr() };
    // SAFETY: the program lives across the call; `no_new_privs` was set before the child started.
    let code = unsafe { syscall(SYS_SECCOMP, MODE_FILTER, ALL_THREADS, &raw const program) };
    if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Builds the filter: every test either returns at once or falls through to the next.
fn filter(own_pid: u32) -> Vec<Instruction> {
    let load = |offset| Instruction { code: LOAD_WORD, if_true: 0, if_false: 0, value: offset };
    let back = |value| Instruction { code: RETURN, if_true: 0, if_false: 0, value };
    let jump = |code, value, if_true, if_false| Instruction { code, if_true, if_false, value };
    let mut program = vec![
        load(ARCH),
        jump(JUMP_EQUAL, ARCH_X86_64, 1, 0),
        back(KILL),
        load(NUMBER),
        jump(JUMP_GREATER_OR_EQUAL, X32_BIT, 0, 1),
        back(FAIL | ENOSYS),
        // Its flags lie behind a pointer that a filter cannot follow: make libc fall back to clone.
        jump(JUMP_EQUAL, CLONE3, 0, 1),
        back(FAIL | ENOSYS),
    ];
    for number in REFUSED {
        program.extend([jump(JUMP_EQUAL, number, 0, 1), back(FAIL | EPERM)]);
    }
    // Threads, but no processes.
    program.extend([
        jump(JUMP_EQUAL, CLONE, 0, 4),
        load(FIRST_ARGUMENT),
        jump(JUMP_BITS, CLONE_THREAD, 0, 1),
        back(ALLOW),
        back(FAIL | EPERM),
    ]);
    // Local sockets, but no network.
    program.extend([
        jump(JUMP_EQUAL, SOCKET, 0, 4),
        load(FIRST_ARGUMENT),
        jump(JUMP_EQUAL, AF_UNIX, 0, 1),
        back(ALLOW),
        back(FAIL | EPERM),
    ]);
    // Signals to itself, as abort() sends them, but to nobody else.
    for number in [KILL_CALL, TGKILL] {
        program.extend([
            jump(JUMP_EQUAL, number, 0, 4),
            load(FIRST_ARGUMENT),
            jump(JUMP_EQUAL, own_pid, 0, 1),
            back(ALLOW),
            back(FAIL | EPERM),
        ]);
    }
    program.push(back(ALLOW));
    program
}

const SYS_LANDLOCK_CREATE: c_long = 444;
const SYS_LANDLOCK_ADD_RULE: c_long = 445;
const SYS_LANDLOCK_RESTRICT: c_long = 446;
/// Writing files, and making or removing anything, as of Landlock's first version.
const WRITING: u64 = 0b1_1111_1111_0010;
const WRITE_FILE: u64 = 0b10;
const RULE_PATH_BENEATH: c_int = 1;

#[repr(C, packed)]
struct PathBeneath {
    allowed: u64,
    folder: c_int,
}

/// Refuses every write to the file system but to devices, which the GPU needs.
fn forbid_writing_files() -> io::Result<()> {
    let handled = WRITING;
    let devices = std::fs::File::open("/dev")?;
    let rule = PathBeneath { allowed: WRITE_FILE, folder: std::os::fd::AsRawFd::as_raw_fd(&devices) };
    // SAFETY: each structure lives across its call and has the layout and size that the kernel asks for.
    unsafe {
        let ruleset = syscall(SYS_LANDLOCK_CREATE, &raw const handled, size_of::<u64>(), 0);
        let ruleset = positive(ruleset)?;
        let ruleset = <std::os::fd::OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(ruleset);
        let raw = std::os::fd::AsRawFd::as_raw_fd(&ruleset);
        positive(syscall(
            SYS_LANDLOCK_ADD_RULE,
            raw,
            RULE_PATH_BENEATH,
            (&raw const rule).cast::<c_void>(),
            0,
        ))?;
        positive(syscall(SYS_LANDLOCK_RESTRICT, raw, 0)).map(|_| ())
    }
}

fn positive(code: c_long) -> io::Result<c_int> {
    if code < 0 {
        return Err(io::Error::last_os_error());
    }
    c_int::try_from(code).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the filter on one call, as the kernel would.
    fn verdict(number: u32, first_argument: u32, arch: u32) -> u32 {
        let program = filter(1234);
        let (mut at, mut accumulator) = (0, 0);
        loop {
            let instruction = program[at];
            at += 1;
            let jump =
                |taken: bool| usize::from(if taken { instruction.if_true } else { instruction.if_false });
            match instruction.code {
                LOAD_WORD => {
                    accumulator = match instruction.value {
                        NUMBER => number,
                        ARCH => arch,
                        _ => first_argument,
                    }
                }
                JUMP_EQUAL => at += jump(accumulator == instruction.value),
                JUMP_GREATER_OR_EQUAL => at += jump(accumulator >= instruction.value),
                JUMP_BITS => at += jump(accumulator & instruction.value != 0),
                _ => return instruction.value,
            }
        }
    }

    #[test]
    fn allows_what_kernels_need_and_refuses_the_rest() {
        let ask = |number, argument| verdict(number, argument, ARCH_X86_64);
        for harmless in [0, 1, 9, 16, 202, 257] {
            assert_eq!(ask(harmless, 0), ALLOW, "call {harmless}");
        }
        for refused in REFUSED {
            assert_eq!(ask(refused, 0), FAIL | EPERM, "call {refused}");
        }
        assert_eq!(ask(CLONE, 0x003D_0F00 | CLONE_THREAD), ALLOW);
        assert_eq!(ask(CLONE, 17), FAIL | EPERM);
        assert_eq!(ask(CLONE3, 0), FAIL | ENOSYS);
        assert_eq!(ask(SOCKET, AF_UNIX), ALLOW);
        assert_eq!(ask(SOCKET, 2), FAIL | EPERM);
        assert_eq!(ask(TGKILL, 1234), ALLOW);
        assert_eq!(ask(KILL_CALL, 1), FAIL | EPERM);
        assert_eq!(ask(X32_BIT + 59, 0), FAIL | ENOSYS);
        assert_eq!(verdict(0, 0, 0x4000_0003), KILL);
    }
}
