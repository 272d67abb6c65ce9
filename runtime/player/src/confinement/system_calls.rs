//! The allowed system calls, by seccomp, on every thread of the process.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter_all_threads};

use super::allowed::calls;
use super::refusals::{self, Refusals};

/// Calls that are answered as unknown, because the C library then asks in a way that a filter can read:
/// their flags lie behind a pointer.
const UNKNOWN: [c_long; 2] = [libc::SYS_clone3, libc::SYS_openat2];

/// Refuses every system call that is not on the list, now and on every thread.
pub fn refuse_system_calls(refusals: Refusals) -> Result<(), String> {
    if refusals == Refusals::Shown {
        refusals::show().map_err(|error| error.to_string())?;
    }
    let (unknown, allowed) = filters(std::process::id(), refusals).map_err(|error| error.to_string())?;
    // The first lets the second be installed; of two answers, the kernel gives the stricter.
    apply_filter_all_threads(&unknown).map_err(|error| error.to_string())?;
    apply_filter_all_threads(&allowed).map_err(|error| error.to_string())
}

/// What answers some calls as unknown, and what refuses the others. Another processor's calls, such as
/// those of 32 bits, end the process.
fn filters(own_pid: u32, refusals: Refusals) -> seccompiler::Result<(BpfProgram, BpfProgram)> {
    let refuse = match refusals {
        Refusals::Silent => SeccompAction::Errno(libc::EPERM.cast_unsigned()),
        Refusals::Shown => SeccompAction::Trap,
    };
    let unknown = SeccompAction::Errno(libc::ENOSYS.cast_unsigned());
    let architecture = std::env::consts::ARCH.try_into()?;
    let program = |rules: BTreeMap<_, _>, otherwise, listed| -> seccompiler::Result<BpfProgram> {
        Ok(SeccompFilter::new(rules, otherwise, listed, architecture)?.try_into()?)
    };
    let is_unknown = UNKNOWN.iter().map(|number| (*number, Vec::new())).collect();
    Ok((
        program(is_unknown, SeccompAction::Allow, unknown)?,
        program(calls(own_pid)?.into_iter().collect(), refuse, SeccompAction::Allow)?,
    ))
}
