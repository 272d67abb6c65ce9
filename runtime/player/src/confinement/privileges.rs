//! The process's own standing: session, capabilities, limits, and whom its end follows.

use std::io;

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, Signal, set_dumpable_behavior, set_parent_process_death_signal,
    setrlimit, setsid,
};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs};

/// Open files that a player may have.
const FILE_LIMIT: u64 = 1024;
/// The signals of a crash.
const CRASHES: [libc::c_int; 5] = [libc::SIGILL, libc::SIGABRT, libc::SIGBUS, libc::SIGFPE, libc::SIGSEGV];

/// Gives up every privilege, while the process has one thread. Whatever fails ends the player: each of
/// these is granted to every process of every kernel that runs here.
///
/// A judge that ended before the death signal was set has closed its end of the conversation, and the
/// player ends when it reads that.
pub fn give_up_privileges() -> io::Result<()> {
    setsid()?;
    set_parent_process_death_signal(Some(Signal::KILL))?;
    set_no_new_privs(true)?;
    for (resource, limit) in [(Resource::Core, 0), (Resource::Nofile, FILE_LIMIT)] {
        setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) })?;
    }
    set_capabilities(None, kept(rustix::process::geteuid().is_root()))?;
    // Last: giving up capabilities would set it anew.
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// Gives up what opening libraries needed.
pub fn drop_all_capabilities() -> io::Result<()> {
    Ok(set_capabilities(None, kept(false))?)
}

/// Root may run a toolchain that lies in somebody's closed home: reading past that is kept until the
/// libraries are loaded.
fn kept(reading: bool) -> CapabilitySets {
    let kept = if reading { CapabilitySet::DAC_READ_SEARCH } else { CapabilitySet::empty() };
    let held = rustix::thread::capabilities(None).map_or(CapabilitySet::empty(), |held| held.permitted);
    CapabilitySets { effective: kept & held, permitted: kept & held, inheritable: CapabilitySet::empty() }
}

/// Gives crashes back to the kernel: TVM-FFI replaces these handlers when it is loaded, and a crash
/// must end the process so that the judge sees it.
pub fn restore_crash_signals() {
    for number in CRASHES {
        // SAFETY: the number is that of a signal whose action may be set, and the default action is no
        // function of ours that would have to outlive anything.
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
}
