//! The keeper: makes namespaces, starts the first process in them, and ends everything when we end.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use proofmark_player::process::largest_descendant_bytes;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process, set_child_subreaper};
use rustix::thread::UnshareFlags;

use super::layer::{Layer, Layers};
use super::lifeline::{Ending, Orders, Report, receive, send};

/// The exit code of a keeper that could not work; its words are on stderr.
const FAILED: u8 = 125;

/// Runs the verb: our parent's end of the socket is standard input.
pub(super) fn run(program: &[OsString]) -> u8 {
    match keep(program) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("sandbox: {error}");
            FAILED
        }
    }
}

/// The socket that was given as standard input.
pub(super) fn lifeline() -> io::Result<UnixStream> {
    Ok(UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?))
}

fn keep(program: &[OsString]) -> io::Result<()> {
    let mut parent = lifeline()?;
    let mut orders: Orders = receive(&mut parent)?;
    if orders.policy.is_some() {
        separate(&mut orders.layers);
    }
    // Whatever loses its parent becomes our child, and is found when all is to end.
    let _ = set_child_subreaper(Some(rustix::process::getpid()));
    let (mut ours, theirs) = UnixStream::pair()?;
    let mut first = Command::new("/proc/self/exe");
    first.arg0("proofmark").arg(super::FIRST_VERB).args(program).stdin(Stdio::from(OwnedFd::from(theirs)));
    let child = first.spawn()?;
    drop(first);
    let alone = orders.layers.has(Layer::PidNamespace);
    let mut keeper = Keeper { child, alone };
    send(&mut ours, &orders)?;
    let report = keeper.watch(&parent, &mut ours);
    keeper.end();
    match report? {
        Some(report) => send(&mut parent, &report),
        None => Ok(()),
    }
}

/// Leaves the namespaces that we share with everybody, each on its own.
fn separate(layers: &mut Layers) {
    let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
    let leave = |flag| {
        // Nothing of this process's file table is shared, which is what makes the call unsafe elsewhere.
        #[expect(deprecated, reason = "its successor is unsafe because of one flag that is not used here")]
        rustix::thread::unshare(flag).map_err(|error| error.to_string())
    };
    let mapped = leave(UnshareFlags::NEWUSER).and_then(|()| {
        let write = |name: &str, text: String| {
            fs::write(format!("/proc/self/{name}"), text).map_err(|error| format!("{name}: {error}"))
        };
        write("uid_map", format!("0 {} 1\n", user.as_raw()))?;
        write("setgroups", "deny".to_owned())?;
        write("gid_map", format!("0 {} 1\n", group.as_raw()))?;
        Ok(String::new())
    });
    layers.note(Layer::UserNamespace, mapped);
    for (layer, flag) in [
        (Layer::PidNamespace, UnshareFlags::NEWPID),
        (Layer::NetworkNamespace, UnshareFlags::NEWNET),
        (Layer::IpcNamespace, UnshareFlags::NEWIPC),
        (Layer::Mounts, UnshareFlags::NEWNS),
    ] {
        layers.note(layer, leave(flag).map(|()| String::new()));
    }
}

struct Keeper {
    child: Child,
    /// The first process takes all others with it.
    alone: bool,
}

impl Keeper {
    /// Waits until the first process reports or somebody is gone. `None` if there is nothing to report.
    fn watch(&mut self, parent: &UnixStream, first: &mut UnixStream) -> io::Result<Option<Report>> {
        loop {
            let mut both = [PollFd::new(parent, PollFlags::IN), PollFd::new(&*first, PollFlags::IN)];
            match poll(&mut both, None) {
                Err(rustix::io::Errno::INTR) => continue,
                outcome => outcome?,
            };
            let [parent_says, first_says] = both.map(|one| one.revents());
            // Our parent says nothing more: whatever comes from there is its end.
            if !parent_says.is_empty() {
                return Ok(None);
            }
            if !first_says.is_empty() {
                return match receive(first) {
                    Ok(report) => Ok(Some(report)),
                    // Killed, by the system or by a person: that is how the program ended.
                    Err(_) => Ok(Some(self.ended_unheard())),
                };
            }
        }
    }

    fn ended_unheard(&mut self) -> Report {
        let ending = self.child.wait().map_or_else(|error| Ending::NotStarted(error.to_string()), Ending::of);
        Report {
            layers: Layers::none("the first process did not report"),
            ending,
            peak_bytes: largest_descendant_bytes(),
        }
    }

    /// Ends all that was started.
    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if self.alone {
            return;
        }
        // Without a namespace that ends with its first process, descendants are looked for. Several
        // rounds, because one may start another while we look.
        for _ in 0..100 {
            let left = descendants();
            if left.is_empty() {
                return;
            }
            for pid in left {
                let _ = kill_process(pid, Signal::KILL);
            }
            while let Ok(Some(_)) = rustix::process::wait(rustix::process::WaitOptions::NOHANG) {}
            let pause = Timespec { tv_sec: 0, tv_nsec: 2_000_000 };
            let _ = poll(&mut [], Some(&pause));
        }
    }
}

/// Every living process that descends from this one.
fn descendants() -> Vec<Pid> {
    let parents: Vec<(i32, i32)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, parent_of(pid)?)))
        .collect();
    let mut found = vec![rustix::process::getpid().as_raw_nonzero().get()];
    let mut next = 0;
    while let Some(&ancestor) = found.get(next) {
        found.extend(parents.iter().filter(|(_, parent)| *parent == ancestor).map(|(pid, _)| *pid));
        next += 1;
    }
    found.into_iter().skip(1).filter_map(Pid::from_raw).collect()
}

/// The parent of a living process.
fn parent_of(pid: i32) -> Option<i32> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold anything.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    (state != "Z" && state != "X").then(|| fields.next()?.parse().ok()).flatten()
}
