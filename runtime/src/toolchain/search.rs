//! Decides which toolchain to use, from values alone.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use proofmark_packager::Arch;
use serde::Serialize;

use super::data_folder::DataFolder;
use super::file_digests::FileDigests;
use super::fingerprint::Fingerprint;
use super::host_compiler::{self, HostCompiler, HostCompilerError};
use super::lock_file::{Component, ComponentName};
use super::toolkit::{Release, Toolkit, ToolkitFault};
use super::tvm_ffi::TvmFfi;

/// Where distributions and NVIDIA's installers put CUDA.
const SYSTEM_HOME: &str = "/usr/local/cuda";

/// Everything that the decision depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    /// `--cuda-home`.
    pub cuda_home: Option<PathBuf>,
    /// `CUDA_HOME` or `CUDA_PATH`, with the variable's name.
    pub variable: Option<(String, PathBuf)>,
    /// The folders of `PATH`.
    pub path: Vec<PathBuf>,
    /// Where the system's CUDA would be.
    pub system: PathBuf,
    /// The host compiler that was asked for, by path or name.
    pub host_compiler: Option<PathBuf>,
    /// Where pinned components are; `None` if no home folder is known.
    pub data: Option<DataFolder>,
    /// The kind of machine: `x86_64`, `aarch64`.
    pub machine: String,
    /// What is to be built: a toolchain that cannot is passed over.
    pub arch: Option<Arch>,
}

impl Search {
    /// The search that environment variables describe.
    pub fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let cuda = ["CUDA_HOME", "CUDA_PATH"]
            .into_iter()
            .find_map(|name| Some((name.to_owned(), PathBuf::from(set(name)?))));
        Self {
            cuda_home: None,
            variable: cuda,
            path: set("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default(),
            system: PathBuf::from(SYSTEM_HOME),
            host_compiler: set("PROOFMARK_HOST_COMPILER").map(PathBuf::from),
            data: DataFolder::from_environment(set("PROOFMARK_DATA"), set("XDG_DATA_HOME"), set("HOME")),
            machine: env::consts::ARCH.to_owned(),
            arch: None,
        }
    }

    /// The search that this process's environment describes.
    pub fn from_environment() -> Self {
        Self::from_variables(|name| env::var_os(name))
    }
}

/// How a toolchain was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Origin {
    /// `--cuda-home`.
    Flag,
    /// An environment variable.
    Variable {
        /// Its name.
        name: String,
    },
    /// `nvcc` on `PATH`.
    Path,
    /// The usual place of a system's CUDA.
    System,
    /// Installed by Proofmark.
    Pinned,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => formatter.write_str("--cuda-home"),
            Self::Variable { name } => formatter.write_str(name),
            Self::Path => formatter.write_str("nvcc on PATH"),
            Self::System => formatter.write_str("the system's place"),
            Self::Pinned => formatter.write_str("installed by proofmark"),
        }
    }
}

/// Everything that a build needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Toolchain {
    /// The CUDA installation.
    pub toolkit: Toolkit,
    /// How it was found.
    pub origin: Origin,
    /// The host compiler.
    pub host_compiler: HostCompiler,
    /// TVM-FFI.
    pub tvm_ffi: TvmFfi,
    /// The identity of all of it.
    pub fingerprint: Fingerprint,
    /// What stood before it in the order but could not be used.
    pub passed_over: Vec<PassedOver>,
}

impl Toolchain {
    /// The folder that `CUDA_HOME` would name.
    pub fn home(&self) -> &Path {
        &self.toolkit.home
    }

    /// The CUDA compiler's release.
    pub fn release(&self) -> Release {
        self.toolkit.release
    }
}

/// A place that was looked at and could not be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PassedOver {
    /// Where it came from.
    pub origin: Origin,
    /// The folder.
    pub home: PathBuf,
    /// Why not.
    pub reason: String,
}

/// Why there is no toolchain.
#[derive(Debug, thiserror::Error)]
pub enum ToolchainError {
    /// The one that was asked for cannot be used. Another one is never taken in its stead.
    #[error("{origin} names {}, which cannot be used: {fault}", home.display())]
    Unfit {
        /// Where the request came from.
        origin: Origin,
        /// The folder.
        home: PathBuf,
        /// Why not.
        fault: ToolkitFault,
    },
    /// No CUDA compiler anywhere.
    #[error("found no CUDA compiler{}", describe(passed_over))]
    NoCompiler {
        /// What was looked at.
        passed_over: Vec<PassedOver>,
    },
    /// The pinned TVM-FFI is not installed.
    #[error("TVM-FFI's headers and library are not installed")]
    NoTvmFfi,
    /// The installed TVM-FFI cannot be read.
    #[error("cannot read TVM-FFI in {}", home.display())]
    BrokenTvmFfi {
        /// The component's folder.
        home: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// No host compiler that fits.
    #[error(transparent)]
    HostCompiler(#[from] HostCompilerError),
}

fn describe(passed_over: &[PassedOver]) -> String {
    let phrase = |one: &PassedOver| format!("; {} ({}): {}", one.home.display(), one.origin, one.reason);
    passed_over.iter().map(phrase).collect::<Vec<_>>().concat()
}

impl ToolchainError {
    /// Whether `toolchain install` would help.
    pub fn installable(&self) -> bool {
        matches!(self, Self::NoCompiler { .. } | Self::NoTvmFfi | Self::BrokenTvmFfi { .. })
    }

    /// The ways out, for people.
    pub fn ways_out(&self) -> Vec<String> {
        let ways: &[&str] = match self {
            Self::Unfit { origin: Origin::Flag, .. } => {
                &["leave it out to let proofmark find another one, or name another folder"]
            }
            Self::Unfit { .. } => &["unset it to let proofmark find another one, or name another folder"],
            Self::NoCompiler { .. } | Self::NoTvmFfi => &["run `proofmark toolchain install`"],
            Self::BrokenTvmFfi { .. } => &["run `proofmark toolchain install --force`"],
            Self::HostCompiler(HostCompilerError::Missing) => {
                &["install it: `apt install g++`, `dnf install gcc-c++` or the like"]
            }
            Self::HostCompiler(HostCompilerError::TooNew { .. }) => &[
                "install an older one beside it, such as `apt install g++-14`: it is found by its name",
                "or name one in PROOFMARK_HOST_COMPILER",
            ],
            Self::HostCompiler(_) => &["name another one in PROOFMARK_HOST_COMPILER"],
        };
        ways.iter().map(|&way| way.to_owned()).collect()
    }
}

/// One place to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Where it comes from.
    pub origin: Origin,
    /// The folder.
    pub home: PathBuf,
}

impl Candidate {
    /// Whether someone asked for exactly this one.
    pub fn is_demanded(&self) -> bool {
        matches!(self.origin, Origin::Flag | Origin::Variable { .. })
    }
}

/// Every place to look at, in order. Only what is there is listed, except what was asked for.
pub fn candidates(search: &Search) -> Vec<Candidate> {
    let demanded = search.cuda_home.iter().map(|home| Candidate { origin: Origin::Flag, home: home.clone() });
    let variable = search.variable.iter().map(|(name, home)| Candidate {
        origin: Origin::Variable { name: name.clone() },
        home: home.clone(),
    });
    let on_path = search.path.iter().filter(|folder| folder.is_absolute()).filter_map(|folder| {
        let nvcc = folder.join("nvcc").canonicalize().ok()?;
        Some(Candidate { origin: Origin::Path, home: nvcc.parent()?.parent()?.to_owned() })
    });
    let system = Some(&search.system)
        .filter(|home| home.is_dir())
        .map(|home| Candidate { origin: Origin::System, home: home.clone() });
    let pinned = search
        .data
        .as_ref()
        .and_then(|data| data.installed(ComponentName::Cuda, &search.machine))
        .map(|home| Candidate { origin: Origin::Pinned, home });
    demanded.chain(variable).chain(on_path.take(1)).chain(system).chain(pinned).collect()
}

/// Finds the toolchain: the first place in the order that can be used.
pub fn find(search: &Search, digests: &mut FileDigests) -> Result<Toolchain, ToolchainError> {
    let mut passed_over = Vec::new();
    for candidate in candidates(search) {
        match usable(&candidate.home, search, digests) {
            Ok(toolkit) => return complete(toolkit, candidate.origin, passed_over, search, digests),
            Err(fault) if candidate.is_demanded() => {
                let Candidate { origin, home } = candidate;
                return Err(ToolchainError::Unfit { origin, home, fault });
            }
            Err(fault) => passed_over.push(PassedOver {
                origin: candidate.origin,
                home: candidate.home,
                reason: fault.to_string(),
            }),
        }
    }
    Err(ToolchainError::NoCompiler { passed_over })
}

fn usable(home: &Path, search: &Search, digests: &mut FileDigests) -> Result<Toolkit, ToolkitFault> {
    let home = home.canonicalize().unwrap_or_else(|_| home.to_owned());
    let toolkit = Toolkit::open(&home, &search.machine, digests)?;
    search.arch.map_or(Ok(()), |arch| toolkit.check(arch))?;
    Ok(toolkit)
}

fn complete(
    toolkit: Toolkit,
    origin: Origin,
    passed_over: Vec<PassedOver>,
    search: &Search,
    digests: &mut FileDigests,
) -> Result<Toolchain, ToolchainError> {
    let tvm_ffi = find_tvm_ffi(search, digests)?;
    let newest = toolkit.newest_host_compiler;
    let asked = search.host_compiler.as_deref();
    let host_compiler = host_compiler::find(asked, &search.path, newest, digests)?;
    let fingerprint = Fingerprint::of(&toolkit, &host_compiler, &tvm_ffi);
    Ok(Toolchain { toolkit, origin, host_compiler, tvm_ffi, fingerprint, passed_over })
}

/// Finds the host compiler as it would be found beside a CUDA that takes every version.
pub fn search_host_compiler(
    search: &Search,
    digests: &mut FileDigests,
) -> Result<HostCompiler, ToolchainError> {
    Ok(host_compiler::find(search.host_compiler.as_deref(), &search.path, None, digests)?)
}

/// Finds the pinned TVM-FFI; it is the same beside every CUDA.
pub fn find_tvm_ffi(search: &Search, digests: &mut FileDigests) -> Result<TvmFfi, ToolchainError> {
    let component =
        Component::pinned(ComponentName::TvmFfi, &search.machine).ok_or(ToolchainError::NoTvmFfi)?;
    let data = search.data.as_ref().ok_or(ToolchainError::NoTvmFfi)?;
    let home = data.installed(component.name, &search.machine).ok_or(ToolchainError::NoTvmFfi)?;
    TvmFfi::open(&home, &component.version, digests)
        .map_err(|source| ToolchainError::BrokenTvmFfi { home, source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn search(root: &Path, variables: &[(&str, &str)]) -> Search {
        let mut search = Search::from_variables(|name| {
            let value = variables.iter().find(|(key, _)| *key == name)?.1;
            Some(OsString::from(value.replace("ROOT", root.to_str().unwrap())))
        });
        search.system = root.join("system");
        search
    }

    fn origins(search: &Search) -> Vec<String> {
        candidates(search).into_iter().map(|candidate| candidate.origin.to_string()).collect()
    }

    #[test]
    fn looks_in_the_documented_order() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for home in ["path/bin", "other/bin", "system/bin"] {
            fs::create_dir_all(root.join(home)).unwrap();
            fs::write(root.join(home).join("nvcc"), "").unwrap();
        }
        let mut all = search(
            root,
            &[("CUDA_PATH", "ROOT/b"), ("CUDA_HOME", "ROOT/a"), ("PATH", "x:ROOT/path/bin:ROOT/other/bin")],
        );
        assert_eq!(origins(&all), ["CUDA_HOME", "nvcc on PATH", "the system's place"]);
        all.cuda_home = Some(root.join("c"));
        assert_eq!(origins(&all)[0], "--cuda-home");
        assert_eq!(candidates(&all)[2].home, root.join("path").canonicalize().unwrap());
        assert!(origins(&search(Path::new("/nowhere"), &[])).is_empty());
    }

    #[test]
    fn never_replaces_what_was_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let asked = search(folder.path(), &[("CUDA_HOME", "ROOT/gone")]);
        let error = find(&asked, &mut FileDigests::forgetful()).unwrap_err();
        assert!(matches!(error, ToolchainError::Unfit { .. }), "{error}");
        assert!(!error.installable());
    }

    #[test]
    fn an_empty_machine_lacks_a_compiler_that_can_be_installed() {
        let folder = tempfile::tempdir().unwrap();
        let error = find(&search(folder.path(), &[]), &mut FileDigests::forgetful()).unwrap_err();
        assert!(error.installable());
        assert_eq!(error.to_string(), "found no CUDA compiler");
    }
}
