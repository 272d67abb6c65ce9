//! The first process of a sandbox: confines itself, starts the program, reports how it ended.

use std::ffi::OsString;
use std::io;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use proofmark_player::process::largest_descendant_bytes;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs};

use super::keeper::lifeline;
use super::layer::{Layer, Layers};
use super::lifeline::{Ending, Orders, Report, receive, send};
use super::{limits, mounts, paths, system_calls};

/// Runs the verb: the keeper's end of the socket is standard input.
pub(super) fn run(program: &[OsString]) -> u8 {
    match report(program) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("sandbox: {error}");
            1
        }
    }
}

fn report(program: &[OsString]) -> io::Result<()> {
    let mut keeper = lifeline()?;
    // Should the keeper be killed, so are we, and the namespace with us.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if is_gone(&keeper) {
        return Ok(());
    }
    let Orders { policy, mut layers, environment } = receive(&mut keeper)?;
    let (path, arguments) = program.split_first().ok_or_else(|| io::Error::other("no program is named"))?;
    let mut command = Command::new(path);
    command.args(arguments).stdin(Stdio::null());
    if let Some(environment) = environment {
        command.env_clear().envs(environment);
    }
    if let Some(policy) = policy {
        put_on(&policy, &mut layers);
    }
    let ending = match command.spawn().and_then(|mut child| child.wait()) {
        Ok(status) => Ending::of(status),
        Err(error) => Ending::NotStarted(error.to_string()),
    };
    send(&mut keeper, &Report { layers, ending, peak_bytes: largest_descendant_bytes() })
}

fn is_gone(keeper: &UnixStream) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut one = [PollFd::new(keeper, PollFlags::IN)];
    poll(&mut one, Some(&now)).is_ok() && one[0].revents().contains(PollFlags::HUP)
}

/// Puts on every layer that the keeper could not: in this order, because each one takes away what the
/// ones before it need.
fn put_on(policy: &super::Policy, layers: &mut Layers) {
    if layers.has(Layer::Mounts) {
        layers.held.remove(&Layer::Mounts);
        layers.note(Layer::Mounts, mounts::enter(policy));
    }
    // The system ends these first when memory is short.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    let alone = layers.has(Layer::UserNamespace);
    layers.note(Layer::Limits, limits::lower(&policy.bounds, alone));
    let privileges = set_no_new_privs(true).and_then(|()| {
        let none = CapabilitySets {
            effective: CapabilitySet::empty(),
            permitted: CapabilitySet::empty(),
            inheritable: CapabilitySet::empty(),
        };
        set_capabilities(None, none)
    });
    let privileges = privileges.map(|()| String::new()).map_err(|error| error.to_string());
    layers.note(Layer::NoNewPrivileges, privileges);
    layers.note(Layer::Landlock, paths::confine(policy));
    layers.note(Layer::Seccomp, system_calls::refuse());
}
