//! Files, network, sockets and signals, by Landlock.
//!
//! What may be read is listed, because what must not be read can lie anywhere: the record, other
//! submissions, and in `/proc` the judge's command line with the seed. Programs, libraries and facts about
//! the machine may be read; devices of the GPU may be used; the names of its own threads may be written,
//! without which the driver does not start.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, LandlockStatus, PathFd, RestrictSelfAttr, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, Scope, make_bitflags, path_beneath_rules,
};

use super::protections::Files;

/// The newest version of Landlock whose bounds are known here. An older kernel gives what it has.
const NEWEST: ABI = ABI::V10;

/// How far files are bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent<'folder> {
    /// While the driver starts: it may also make files in shared memory and in the player's own folder.
    Starting,
    /// While a builder works: it may also run what it reads, and make files in a folder of its own.
    Building {
        /// The folder.
        cache: &'folder str,
    },
    /// When foreign code is loaded.
    Running,
}

/// Where libraries and what they read lie on every system.
const LIBRARIES: [&str; 6] = ["/usr", "/lib", "/lib32", "/lib64", "/nix/store", "/gnu/store"];
/// What of the machine's configuration: the beginnings of names in `/etc`.
const CONFIGURATION: [&str; 9] =
    ["ld.so.", "nv", "cuda", "OpenCL", "alternatives", "localtime", "passwd", "group", "nsswitch.conf"];
/// What of the running services: the beginnings of names in `/run`.
const SERVICES: [&str; 1] = ["nvidia"];
/// What the kernel says of the machine, and of this process alone.
const MACHINE: [&str; 24] = [
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/version",
    "/proc/devices",
    "/proc/modules",
    "/proc/filesystems",
    "/proc/interrupts",
    "/proc/vmstat",
    "/proc/zoneinfo",
    "/proc/driver",
    "/proc/sys",
    "/sys/bus",
    "/sys/class",
    "/sys/dev",
    "/sys/devices",
    "/sys/module",
    "/sys/firmware/devicetree",
    "/sys/fs/cgroup",
    "/sys/hypervisor",
    "/sys/kernel/mm",
];
/// The GPU: the beginnings of names in `/dev`. Disks are called `nvme`.
const DEVICES: [&str; 4] = ["nvidia", "nvhost", "nvmap", "nvgpu"];
/// Devices that everybody has.
const PLAIN_DEVICES: [&str; 5] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];
/// Where the driver keeps what processes share.
const SHARED: &str = "/dev/shm";
/// Where the driver writes the names of its threads.
const THREADS: &str = "/proc/self/task";

/// What a player may reach, found before anything is bounded: folders cannot be listed afterwards.
#[derive(Debug)]
pub struct Reach {
    read: Vec<PathBuf>,
    devices: Vec<PathBuf>,
}

impl Reach {
    /// Finds what is there. The folders of `libraries`, of those that are mapped now, and `folders` may be read.
    pub fn find(libraries: &[PathBuf], folders: impl IntoIterator<Item = PathBuf>) -> Self {
        let mut read: Vec<PathBuf> = LIBRARIES.iter().chain(&MACHINE).map(PathBuf::from).collect();
        read.extend(library_folders(libraries));
        // The player's own folder, in which start-up may have left something.
        read.push(PathBuf::from("."));
        read.extend(folders);
        read.extend(named_like(Path::new("/etc"), &CONFIGURATION));
        read.extend(named_like(Path::new("/run"), &SERVICES));
        Self { read, devices: named_like(Path::new("/dev"), &DEVICES) }
    }

    /// Bounds what this thread and all that it will start can reach; every thread, where the kernel can
    /// do that.
    pub fn bound(&self, extent: Extent<'_>) -> Files {
        // A bound belongs to the entry that the kernel has cached for a process: kept open, it stays cached.
        std::mem::forget(PathFd::new(THREADS));
        let restricted = self.ruleset(extent).and_then(RulesetCreated::restrict_self);
        match restricted.map(|status| status.landlock) {
            Ok(LandlockStatus::Available { effective_abi, .. }) => {
                Files::Bounded { version: effective_abi as i32 }
            }
            Ok(LandlockStatus::NotEnabled) => {
                Files::Unbounded { reason: "Landlock is not enabled".to_owned() }
            }
            Ok(LandlockStatus::NotImplemented) => {
                Files::Unbounded { reason: "this kernel has no Landlock".to_owned() }
            }
            Err(error) => Files::Unbounded { reason: error.to_string() },
        }
    }

    fn ruleset(&self, extent: Extent<'_>) -> Result<RulesetCreated, RulesetError> {
        let read = make_bitflags!(AccessFs::{ReadFile | ReadDir});
        let device = make_bitflags!(AccessFs::{ReadFile | ReadDir | WriteFile | IoctlDev});
        let name = make_bitflags!(AccessFs::{WriteFile | Truncate});
        let plain = make_bitflags!(AccessFs::{ReadFile | WriteFile | Truncate});
        let make = make_bitflags!(
            AccessFs::{ReadFile | ReadDir | WriteFile | Truncate | MakeReg | MakeDir | RemoveFile | RemoveDir}
        );
        let rules = Ruleset::default()
            .handle_access(AccessFs::from_all(NEWEST))?
            .handle_access(AccessNet::from_all(NEWEST))?
            .scope(Scope::from_all(NEWEST))?
            .create()?
            .add_rules(path_beneath_rules(&self.read, read))?
            .add_rules(path_beneath_rules(&self.devices, device))?
            .add_rules(path_beneath_rules(PLAIN_DEVICES, plain))?
            .add_rules(path_beneath_rules([THREADS], name))?;
        match extent {
            Extent::Starting => rules.add_rules(path_beneath_rules([SHARED, "."], make)),
            Extent::Building { cache } => rules
                .add_rules(path_beneath_rules(&self.read, AccessFs::Execute))?
                .add_rules(path_beneath_rules(
                    ["/bin", "/sbin"],
                    make_bitflags!(AccessFs::{ReadFile | Execute}),
                ))?
                .add_rules(path_beneath_rules([SHARED, "."], make))?
                .add_rules(path_beneath_rules([cache], AccessFs::from_all(NEWEST))),
            Extent::Running => rules.all_threads(true),
        }
    }
}

/// Entries of a folder whose names begin as one of these.
fn named_like(folder: &Path, beginnings: &[&str]) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| {
            let name = entry.file_name();
            beginnings.iter().any(|beginning| name.as_encoded_bytes().starts_with(beginning.as_bytes()))
        })
        .map(|entry| entry.path())
        .collect()
}

/// The folders of the libraries that are named or mapped, and those that the loader searches.
fn library_folders(named: &[PathBuf]) -> BTreeSet<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let searched = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let folder = |path: &Path| path.parent().map(Path::to_owned);
    let mut folders: BTreeSet<PathBuf> = named.iter().filter_map(|path| folder(path)).collect();
    folders.extend(mapped_libraries(&maps).filter_map(folder));
    folders.extend(std::env::split_paths(&searched));
    // A relative folder is one of the player's own empty folder; the root would be everything.
    folders.retain(|path| path.is_absolute() && path.parent().is_some());
    folders
}

/// The shared libraries in the kernel's list of mappings.
fn mapped_libraries(maps: &str) -> impl Iterator<Item = &Path> {
    maps.lines()
        .filter_map(|line| line.find('/').map(|start| Path::new(&line[start..])))
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().contains(".so")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_libraries_among_mappings() {
        let maps = "7f00-7f01 r-xp 00000000 08:01 12 /opt/driver/lib/libcuda.so.580.1\n\
                    7f02-7f03 rw-p 00000000 00:00 0 [heap]\n\
                    7f04-7f05 r--p 00000000 08:01 13 /home/one/proofmark\n\
                    7f06-7f07 r--s 00000000 00:01 14 /memfd:proofmark-page (deleted)\n";
        assert_eq!(
            mapped_libraries(maps).collect::<Vec<_>>(),
            [Path::new("/opt/driver/lib/libcuda.so.580.1")]
        );
    }

    #[test]
    fn reads_beside_a_library_but_never_the_root_or_a_relative_folder() {
        let folders = library_folders(&[
            PathBuf::from("/opt/ffi/lib/libtvm_ffi.so"),
            PathBuf::from("/libodd.so"),
            PathBuf::from("libcupti.so.13"),
        ]);
        assert!(folders.contains(Path::new("/opt/ffi/lib")), "{folders:?}");
        assert!(folders.iter().all(|folder| folder.is_absolute() && folder != Path::new("/")), "{folders:?}");
    }

    #[test]
    fn takes_disks_for_no_gpu() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["nvidia0", "nvidia-uvm", "nvme0n1", "sda"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let mut found = named_like(folder.path(), &DEVICES);
        found.sort();
        let names: Vec<_> = found.iter().filter_map(|path| path.file_name()?.to_str()).collect();
        assert_eq!(names, ["nvidia-uvm", "nvidia0"]);
    }
}
