//! The layer of mounts: a file system that holds what the policy names and nothing else.
//!
//! A file that is refused still shows that it is there; one that is not mounted does not. So
//! `__has_include("/any/file")` has one answer on every machine.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{StatVfsMountFlags, statvfs};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind_recursive, mount_change,
    mount_remount, unmount,
};

use super::paths::DEVICES;
use super::policy::Policy;

/// Folders that every Linux has, one of which becomes the place of the new root until it is one.
const WORKSHOPS: [&str; 5] = ["/sys", "/mnt", "/media", "/srv", "/run"];

/// Most links that a path may lead through.
const MOST_LINKS: usize = 40;

/// Moves this process into the new file system. It must have a mount namespace of its own.
pub(super) fn enter(policy: &Policy) -> Result<String, String> {
    let here = std::env::current_dir().map_err(|error| format!("working folder: {error}"))?;
    let entered = move_into(policy, &here);
    if entered.is_err() {
        let _ = std::env::set_current_dir(&here);
    }
    entered
}

fn move_into(policy: &Policy, here: &Path) -> Result<String, String> {
    let write = policy.write();
    let in_use = |workshop: &Path| policy.read().iter().chain(&write).any(|path| path.starts_with(workshop));
    let workshop = WORKSHOPS.iter().map(Path::new).find(|place| place.is_dir() && !in_use(place));
    let workshop = workshop.ok_or("no folder to make it in")?;
    let words = |what: &'static str| move |error: rustix::io::Errno| format!("{what}: {error}");
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)
        .map_err(words("make private"))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("tmpfs", workshop, "tmpfs", flags, Some(c"mode=755")).map_err(words("new root"))?;
    let mut tree = Tree { root: workshop.to_owned(), linked: BTreeSet::new(), bound: Vec::new() };
    for path in policy.read() {
        tree.show(path, Access::Read).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    // The folder that we work in is seen, and its parts that may be written are bound once more.
    if here != Path::new("/") {
        tree.show(here, Access::Read).map_err(|error| format!("{}: {error}", here.display()))?;
    }
    for path in write {
        tree.show(path, Access::Write).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    for device in DEVICES {
        tree.show(Path::new(device), Access::Write).map_err(|error| format!("{device}: {error}"))?;
    }
    let processes = workshop.join("proc");
    fs::create_dir(&processes).map_err(|error| format!("proc: {error}"))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    // A container that hides parts of it lets nobody mount a whole one.
    if mount("proc", &processes, "proc", flags, None).is_err() {
        mount_bind_recursive("/proc", &processes).map_err(words("proc"))?;
    }
    // The new root over the old one; the old one then lies below it and is let go.
    std::env::set_current_dir(workshop).map_err(|error| format!("new root: {error}"))?;
    rustix::process::pivot_root(".", ".").map_err(words("pivot"))?;
    unmount(".", UnmountFlags::DETACH).map_err(words("old root"))?;
    std::env::set_current_dir("/").map_err(|error| format!("new root: {error}"))?;
    remount("/", Access::Read).map_err(|error| format!("new root: {error}"))?;
    std::env::set_current_dir(here).map_err(|error| format!("working folder: {error}"))?;
    Ok(format!("{} places", tree.bound.len()))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

/// The new file system while it is made.
struct Tree {
    root: PathBuf,
    linked: BTreeSet<PathBuf>,
    bound: Vec<(PathBuf, Access)>,
}

impl Tree {
    /// Shows a file or folder under its own name, the links on the way to it included.
    fn show(&mut self, path: &Path, access: Access) -> io::Result<()> {
        let Some(real) = self.follow(path)? else { return Ok(()) };
        let covers = |(bound, how): &(PathBuf, Access)| real.starts_with(bound) && *how == access;
        if self.bound.iter().any(covers) {
            return Ok(());
        }
        let place = self.place_of(&real);
        let is_folder = real.is_dir();
        if !place.exists() {
            if let Some(folder) = place.parent() {
                fs::create_dir_all(folder)?;
            }
            if is_folder { fs::create_dir(&place)? } else { fs::File::create_new(&place).map(drop)? }
        }
        mount_bind_recursive(&real, &place)?;
        remount(&place, access)?;
        self.bound.push((real, access));
        Ok(())
    }

    /// Where a path leads, with each link on the way made in the new file system. `None` if nothing is
    /// there.
    fn follow(&mut self, path: &Path) -> io::Result<Option<PathBuf>> {
        let mut links = 0;
        let mut rest: Vec<PathBuf> = vec![path.to_owned()];
        let mut real = PathBuf::from("/");
        while let Some(next) = rest.pop() {
            let mut parts = next.components();
            let Some(first) = parts.next() else { continue };
            rest.push(parts.as_path().to_owned());
            match first {
                Component::RootDir => real = PathBuf::from("/"),
                Component::ParentDir => {
                    real.pop();
                }
                Component::Normal(name) => {
                    real.push(name);
                    match fs::symlink_metadata(&real) {
                        Err(_) => return Ok(None),
                        Ok(found) if found.is_symlink() => {
                            links += 1;
                            if links > MOST_LINKS {
                                return Ok(None);
                            }
                            rest.push(self.link(&real)?);
                            real.pop();
                        }
                        Ok(_) => {}
                    }
                }
                Component::CurDir | Component::Prefix(_) => {}
            }
        }
        Ok(Some(real))
    }

    /// Makes a link as it is, unless the folder that it is in is bound and has it.
    fn link(&mut self, link: &Path) -> io::Result<PathBuf> {
        let target = fs::read_link(link)?;
        let place = self.place_of(link);
        if fs::symlink_metadata(&place).is_err() && self.linked.insert(link.to_owned()) {
            if let Some(folder) = place.parent() {
                fs::create_dir_all(folder)?;
            }
            symlink(&target, &place)?;
        }
        Ok(target)
    }

    fn place_of(&self, real: &Path) -> PathBuf {
        self.root.join(real.strip_prefix("/").unwrap_or(real))
    }
}

/// Makes what is mounted at a place read-only where it is, with the flags that its origin has: a user
/// namespace may not take these away.
fn remount(place: impl AsRef<Path>, access: Access) -> io::Result<()> {
    let place = place.as_ref();
    let there = statvfs(place)?.f_flag;
    let mut flags = MountFlags::BIND | MountFlags::NOSUID;
    for (has, flag) in [
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
        (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
    ] {
        if there.contains(has) {
            flags |= flag;
        }
    }
    if access == Access::Read || there.contains(StatVfsMountFlags::RDONLY) {
        flags |= MountFlags::RDONLY;
    }
    Ok(mount_remount(place, flags, c"")?)
}
