//! What a program in the sandbox may read, write and use.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::toolchain::Toolchain;

/// Folders of the system in which compilers, their libraries and their headers are.
const SYSTEM_FOLDERS: [&str; 14] = [
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/usr/bin",
    "/usr/include",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/libx32",
    "/usr/libexec",
    "/usr/local/include",
];

/// Files of the system that starting a program needs: where libraries are, and what `g++` leads to.
const SYSTEM_FILES: [&str; 3] = ["/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/alternatives"];

/// Places where a package manager keeps all of its packages, each with links into others.
const PACKAGE_STORES: [&str; 2] = ["/nix/store", "/gnu/store"];

/// What one process may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// Address space: the heaviest templated kernels take four to six gigabytes.
    pub memory_bytes: u64,
    /// One file: a hundred times a large library.
    pub file_bytes: u64,
    /// Processes and threads of the whole sandbox.
    pub processes: u64,
    /// Open files of one process.
    pub open_files: u64,
    /// Processor time of one process, in seconds.
    pub processor_seconds: u64,
}

impl Bounds {
    /// What compilers get, given the wall time that they get.
    pub fn of_compilers(time: Duration) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
        Self {
            memory_bytes: 12 << 30,
            file_bytes: 1 << 30,
            processes: 512,
            open_files: 1024,
            processor_seconds: time.as_secs().saturating_add(1).saturating_mul(processors),
        }
    }
}

/// What a program may read, write and use. Whatever is not named here does not exist for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    read: Vec<OsString>,
    write: Vec<OsString>,
    /// What each process may use.
    pub bounds: Bounds,
}

impl Policy {
    /// The system's compiler parts, and nothing to write.
    pub fn of_system() -> Self {
        let read = SYSTEM_FOLDERS.iter().chain(&SYSTEM_FILES).map(OsString::from).collect();
        Self { read, write: Vec::new(), bounds: Bounds::of_compilers(Duration::from_secs(60)) }
    }

    /// The same with other bounds.
    #[must_use]
    pub fn bounded(self, bounds: Bounds) -> Self {
        Self { bounds, ..self }
    }

    /// What a build with this toolchain reads.
    pub fn of_toolchain(toolchain: &Toolchain) -> Self {
        let host = &toolchain.host_compiler;
        Self::of_system()
            .with_installation(toolchain.home())
            .with_installation(&toolchain.tvm_ffi.home)
            .with_program(&host.driver)
            .with_program(&host.assembler)
            .with_program(&host.linker)
            .reading(host.include_folders.iter().map(PathBuf::as_path))
    }

    /// Adds files or folders to read.
    #[must_use]
    pub fn reading<'a>(mut self, paths: impl IntoIterator<Item = &'a Path>) -> Self {
        self.read.extend(paths.into_iter().map(OsString::from));
        self
    }

    /// Adds folders to write.
    #[must_use]
    pub fn writing<'a>(mut self, paths: impl IntoIterator<Item = &'a Path>) -> Self {
        self.write.extend(paths.into_iter().map(OsString::from));
        self
    }

    /// Adds a folder, and whatever links right below it lead to: an installation may be a forest of links.
    #[must_use]
    pub fn with_installation(mut self, home: &Path) -> Self {
        let real = home.canonicalize().unwrap_or_else(|_| home.to_owned());
        self.read.extend([OsString::from(home), OsString::from(&real)]);
        let walk = walkdir::WalkDir::new(&real).min_depth(1).max_depth(3).into_iter().flatten();
        let links = walk.filter(walkdir::DirEntry::path_is_symlink);
        let outside = links.filter_map(|link| link.path().canonicalize().ok());
        self.read.extend(outside.filter(|target| !target.starts_with(&real)).map(OsString::from));
        self
    }

    /// Adds a program. One that is not of the system brings the installation that it belongs to.
    #[must_use]
    pub fn with_program(mut self, program: &Path) -> Self {
        let real = program.canonicalize().unwrap_or_else(|_| program.to_owned());
        for path in [program, &real] {
            self.read.push(OsString::from(path));
            let of_system = SYSTEM_FOLDERS.iter().any(|folder| path.starts_with(folder));
            let store = PACKAGE_STORES.iter().find(|store| path.starts_with(store));
            let folder = path.parent().unwrap_or(path);
            // `<prefix>/bin/g++` has its parts in `<prefix>/lib` and `<prefix>/libexec`.
            let prefix =
                folder.parent().filter(|prefix| folder.ends_with("bin") && *prefix != Path::new("/"));
            if of_system {
                continue;
            }
            match (store, prefix) {
                (Some(store), _) => self.read.push(OsString::from(store)),
                (None, Some(prefix)) => {
                    let parts = ["bin", "lib", "lib64", "libexec", "include"].map(|part| prefix.join(part));
                    self.read.extend(parts.into_iter().map(OsString::from));
                }
                (None, None) => {}
            }
        }
        self
    }

    /// What may be read, sorted, each once.
    pub(super) fn read(&self) -> Vec<&Path> {
        let mut paths: Vec<&Path> = self.read.iter().map(Path::new).collect();
        paths.sort();
        paths.dedup();
        paths
    }

    /// Whether this is a file that may be read, links on the way to it followed.
    pub(crate) fn allows_reading(&self, path: &Path) -> bool {
        let Ok(real) = path.canonicalize() else { return false };
        let below = |allowed: &OsString| {
            let allowed = Path::new(allowed);
            real.starts_with(allowed) || allowed.canonicalize().is_ok_and(|allowed| real.starts_with(allowed))
        };
        path.is_absolute() && real.is_file() && self.read.iter().any(below)
    }

    /// What may be written.
    pub(super) fn write(&self) -> Vec<&Path> {
        self.write.iter().map(Path::new).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compiler_in_a_place_of_its_own_brings_its_parts_but_not_the_folder_above() {
        let policy = Policy::of_system().with_program(Path::new("/home/a/conda/bin/g++"));
        let read = policy.read();
        assert!(read.contains(&Path::new("/home/a/conda/libexec")), "{read:?}");
        assert!(!read.contains(&Path::new("/home/a/conda")) && !read.contains(&Path::new("/home/a")));
        let policy = Policy::of_system().with_program(Path::new("/opt/g++"));
        assert!(!policy.read().contains(&Path::new("/opt")) && !policy.read().contains(&Path::new("/")));
    }

    #[test]
    fn a_name_is_not_read_because_somebody_printed_it() {
        let policy = Policy::of_system();
        assert!(policy.allows_reading(Path::new("/bin/sh")));
        for path in ["/etc/passwd", "/lib/../etc/passwd", "bin/sh", "/usr/lib", "/usr/lib/no-such-file"] {
            assert!(!policy.allows_reading(Path::new(path)), "{path}");
        }
    }

    #[test]
    fn what_an_installation_links_to_is_readable_too() {
        let folder = tempfile::tempdir().unwrap();
        let [home, elsewhere] = ["home", "elsewhere"].map(|name| folder.path().join(name));
        std::fs::create_dir_all(home.join("bin")).unwrap();
        std::fs::create_dir_all(&elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, home.join("bin/crt")).unwrap();
        let policy = Policy::of_system().with_installation(&home);
        assert!(policy.read().contains(&elsewhere.canonicalize().unwrap().as_path()));
    }
}
