//! The system calls that a player may make once foreign code is loaded.
//!
//! What the driver, the CUDA runtime, CUPTI and the C library need once a context exists: memory, the
//! descriptors that are open, opening what the bound on files lets through, threads, waiting, clocks,
//! and questions about itself. Everything else fails. Arguments of 32 bits are compared as such: the
//! kernel ignores what stands above them.

use libc::c_long;
use seccompiler::{SeccompCmpArgLen as Width, SeccompCmpOp as Op, SeccompCondition, SeccompRule};

/// Allowed whatever the arguments are, on every processor.
const ALWAYS: &[c_long] = &[
    // Descriptors that are open.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_preadv,
    libc::SYS_pwritev,
    libc::SYS_preadv2,
    libc::SYS_pwritev2,
    libc::SYS_lseek,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_fadvise64,
    libc::SYS_readahead,
    libc::SYS_getdents64,
    // Files by name: looking only; opening is below.
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_getcwd,
    libc::SYS_umask,
    // Memory.
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_pkey_mprotect,
    libc::SYS_pkey_alloc,
    libc::SYS_pkey_free,
    libc::SYS_madvise,
    libc::SYS_msync,
    libc::SYS_mincore,
    libc::SYS_mlock,
    libc::SYS_mlock2,
    libc::SYS_munlock,
    libc::SYS_mlockall,
    libc::SYS_munlockall,
    libc::SYS_mbind,
    libc::SYS_get_mempolicy,
    libc::SYS_set_mempolicy,
    libc::SYS_set_mempolicy_home_node,
    libc::SYS_mseal,
    libc::SYS_brk,
    libc::SYS_memfd_create,
    // Threads: `clone` is below. `clone3` is answered as unknown by the other filter.
    libc::SYS_clone3,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_set_tid_address,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_membarrier,
    libc::SYS_futex,
    libc::SYS_futex_waitv,
    FUTEX_WAKE,
    FUTEX_WAIT,
    FUTEX_REQUEUE,
    libc::SYS_sched_yield,
    libc::SYS_wait4,
    libc::SYS_waitid,
    // Signals within the process; sending them is below.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigpending,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_rt_sigsuspend,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    // Waiting, and talking to the judge.
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_signalfd4,
    libc::SYS_pipe2,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_sendmsg,
    libc::SYS_recvmsg,
    libc::SYS_shutdown,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    // Clocks and timers.
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_timerfd_gettime,
    libc::SYS_timer_create,
    libc::SYS_timer_settime,
    libc::SYS_timer_gettime,
    libc::SYS_timer_getoverrun,
    libc::SYS_timer_delete,
    libc::SYS_setitimer,
    libc::SYS_getitimer,
    // Questions.
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getppid,
    libc::SYS_getpgid,
    libc::SYS_getsid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getresuid,
    libc::SYS_getresgid,
    libc::SYS_getgroups,
    libc::SYS_capget,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    libc::SYS_times,
    libc::SYS_getrusage,
    libc::SYS_getcpu,
    libc::SYS_getpriority,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_getscheduler,
    libc::SYS_sched_getparam,
    libc::SYS_sched_getattr,
    libc::SYS_sched_get_priority_max,
    libc::SYS_sched_get_priority_min,
    libc::SYS_getrandom,
];

/// The same, older forms that only some processors have.
#[cfg(target_arch = "x86_64")]
const ALWAYS_HERE: &[c_long] = &[
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_getdents,
    libc::SYS_dup2,
    libc::SYS_pipe,
    libc::SYS_poll,
    libc::SYS_select,
    libc::SYS_epoll_create,
    libc::SYS_epoll_wait,
    libc::SYS_eventfd,
    libc::SYS_signalfd,
    libc::SYS_pause,
    libc::SYS_alarm,
    libc::SYS_time,
    libc::SYS_getpgrp,
    libc::SYS_getrlimit,
    libc::SYS_arch_prctl,
    MAP_SHADOW_STACK,
];
#[cfg(target_arch = "aarch64")]
const ALWAYS_HERE: &[c_long] = &[MAP_SHADOW_STACK];

/// Numbers that the C library's headers do not have yet; the same on every processor.
const MAP_SHADOW_STACK: c_long = 453;
const FUTEX_WAKE: c_long = 454;
const FUTEX_WAIT: c_long = 455;
const FUTEX_REQUEUE: c_long = 456;

/// Flags by which opening makes, empties or hides a file.
const MAKING: u64 = (libc::O_CREAT | libc::O_TRUNC | UNNAMED) as u64;
/// What `O_TMPFILE` has beside `O_DIRECTORY`.
const UNNAMED: libc::c_int = 0o20_000_000;

/// What `fcntl` may do: descriptors, flags, sizes and seals. Not owners, signals, leases or notices: by these
/// the kernel sends signals to others. Not locks: others wait for them.
const DESCRIPTOR_COMMANDS: [libc::c_int; 9] = [
    libc::F_DUPFD,
    libc::F_DUPFD_CLOEXEC,
    libc::F_GETFD,
    libc::F_SETFD,
    libc::F_GETFL,
    libc::F_GETPIPE_SZ,
    libc::F_SETPIPE_SZ,
    libc::F_GET_SEALS,
    libc::F_ADD_SEALS,
];

/// What `prctl` may do: names, and questions about itself.
const PROCESS_COMMANDS: [libc::c_int; 10] = [
    libc::PR_SET_NAME,
    libc::PR_GET_NAME,
    libc::PR_SET_VMA,
    libc::PR_GET_DUMPABLE,
    libc::PR_GET_NO_NEW_PRIVS,
    libc::PR_GET_SECCOMP,
    libc::PR_CAPBSET_READ,
    libc::PR_SET_TIMERSLACK,
    libc::PR_GET_TIMERSLACK,
    libc::PR_GET_THP_DISABLE,
];

/// The commands of terminals, and of sockets and network devices: 256 numbers each. Typing into a terminal
/// and asking for signals to others are among them.
const TERMINAL_COMMANDS: (u64, u64) = (0x5400, 0x54FF);
const SOCKET_COMMANDS: (u64, u64) = (0x8900, 0x89FF);
/// Of these, what only asks or concerns the descriptor alone: `TCGETS`, `TIOCGWINSZ`, `FIONREAD`,
/// `FIONBIO`, `FIONCLEX`, `FIOCLEX`.
const HARMLESS_COMMANDS: [u64; 6] = [0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451];

/// Every allowed call with the rules one of which must hold; none for no condition.
pub(super) fn calls(own_pid: u32) -> seccompiler::Result<Vec<(c_long, Vec<SeccompRule>)>> {
    let own = u64::from(own_pid);
    let mut calls: Vec<(c_long, Vec<SeccompRule>)> =
        ALWAYS.iter().chain(ALWAYS_HERE).map(|number| (*number, Vec::new())).collect();
    calls.extend([
        // Threads, but no processes.
        (libc::SYS_clone, vec![rule([with(0, libc::CLONE_THREAD as u64, libc::CLONE_THREAD as u64)?])?]),
        // What is there, but nothing new and nothing emptied.
        (libc::SYS_openat, vec![rule([with(2, MAKING, 0)?])?]),
        // Pairs of streams, which reach nobody: a datagram socket sends to any address.
        (libc::SYS_socketpair, vec![pair(libc::SOCK_STREAM)?, pair(libc::SOCK_SEQPACKET)?]),
        // Signals to itself, as abort() sends them.
        (libc::SYS_kill, vec![rule([is(0, own)?])?]),
        (libc::SYS_tgkill, vec![rule([is(0, own)?])?]),
        (libc::SYS_rt_sigqueueinfo, vec![rule([is(0, own)?])?]),
        (libc::SYS_rt_tgsigqueueinfo, vec![rule([is(0, own)?])?]),
        // Its own limits and pages.
        (libc::SYS_prlimit64, vec![rule([is(0, 0)?])?]),
        (libc::SYS_move_pages, vec![rule([is(0, 0)?])?]),
        (libc::SYS_personality, vec![rule([is(0, u64::from(u32::MAX))?])?]),
        (libc::SYS_fcntl, descriptor_rules()?),
        (libc::SYS_ioctl, device_rules()?),
        (libc::SYS_prctl, one_of(0, PROCESS_COMMANDS.map(number))?),
    ]);
    #[cfg(target_arch = "x86_64")]
    calls.push((libc::SYS_open, vec![rule([with(1, MAKING, 0)?])?]));
    Ok(calls)
}

fn descriptor_rules() -> seccompiler::Result<Vec<SeccompRule>> {
    let mut rules = one_of(1, DESCRIPTOR_COMMANDS.map(number))?;
    rules.push(rule([is(1, libc::F_SETFL as u64)?, with(2, libc::O_ASYNC as u64, 0)?])?);
    Ok(rules)
}

fn device_rules() -> seccompiler::Result<Vec<SeccompRule>> {
    let mut rules = one_of(1, HARMLESS_COMMANDS)?;
    rules.extend([
        rule([compare(1, Op::Lt, TERMINAL_COMMANDS.0)?])?,
        rule([compare(1, Op::Gt, TERMINAL_COMMANDS.1)?, compare(1, Op::Lt, SOCKET_COMMANDS.0)?])?,
        rule([compare(1, Op::Gt, SOCKET_COMMANDS.1)?])?,
    ]);
    Ok(rules)
}

fn pair(kind: libc::c_int) -> seccompiler::Result<SeccompRule> {
    /// A socket's type without the flags that share its argument.
    const KIND: u64 = 0xF;
    rule([is(0, libc::AF_UNIX as u64)?, with(1, KIND, number(kind))?])
}

/// A number of the C library's headers as a filter compares it.
fn number(value: libc::c_int) -> u64 {
    u64::from(value.cast_unsigned())
}

fn one_of(argument: u8, values: impl IntoIterator<Item = u64>) -> seccompiler::Result<Vec<SeccompRule>> {
    values.into_iter().map(|value| rule([is(argument, value)?])).collect()
}

/// All of the conditions.
fn rule<const COUNT: usize>(conditions: [SeccompCondition; COUNT]) -> seccompiler::Result<SeccompRule> {
    Ok(SeccompRule::new(conditions.into())?)
}

fn is(argument: u8, value: u64) -> seccompiler::Result<SeccompCondition> {
    compare(argument, Op::Eq, value)
}

/// Of the mask's bits, exactly these.
fn with(argument: u8, mask: u64, bits: u64) -> seccompiler::Result<SeccompCondition> {
    compare(argument, Op::MaskedEq(mask), bits)
}

fn compare(argument: u8, operator: Op, value: u64) -> seccompiler::Result<SeccompCondition> {
    Ok(SeccompCondition::new(argument, Width::Dword, operator, value)?)
}
