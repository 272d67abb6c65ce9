//! Looks into a CUDA installation: is it whole, and which release is it?

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use proofmark_packager::{Arch, Digest, DigestBuilder, Feature, Gencode};
use serde::{Deserialize, Serialize};

use super::file_digests::FileDigests;
use super::host_compiler::{HostCompilerError, answer};

/// Every file of the toolkit that takes part in a build, headers aside, by its place in CUDA's
/// layout. Headers are named by each build's own dependency list.
const STAGES: [&str; 8] = [
    "bin/nvcc",
    "bin/nvcc.profile",
    "bin/cudafe++",
    "nvvm/bin/cicc",
    "nvvm/libdevice/libdevice.10.bc",
    "bin/ptxas",
    "bin/fatbinary",
    "bin/nvlink",
];

/// What only some releases have, or only some builds need.
const EXTRAS: [&str; 2] = ["bin/crt/link.stub", "bin/crt/prelink.stub"];

/// The runtime library that every build links.
pub const RUNTIME_LIBRARY: &str = "libcudart_static.a";
/// The device runtime, linked when device code of several files calls each other.
const DEVICE_RUNTIME: &str = "libcudadevrt.a";

/// A release of the CUDA compiler, such as `13.0.88`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Release {
    /// 13 in `13.0.88`.
    pub major: u32,
    /// 0 in `13.0.88`.
    pub minor: u32,
    /// 88 in `13.0.88`.
    pub patch: u32,
}

impl Release {
    /// The first release whose compiler knows an architecture.
    pub fn first_with(arch: Arch) -> Self {
        let (major, minor) = match (arch.number, arch.feature) {
            (number, Feature::Family) if number >= 100 => (12, 9),
            (103 | 121, _) => (12, 9),
            (110 | 88, _) => (13, 0),
            (number, _) if number >= 100 => (12, 8),
            (90, _) => (12, 0),
            _ => (11, 8),
        };
        Self { major, minor, patch: 0 }
    }
}

impl fmt::Display for Release {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl FromStr for Release {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers: Vec<u32> = text.split('.').filter_map(|part| part.parse().ok()).collect();
        match numbers[..] {
            [major, minor, patch] if text.split('.').count() == 3 => Ok(Self { major, minor, patch }),
            _ => Err(format!("`{text}` is not a release such as `13.0.88`")),
        }
    }
}

impl From<Release> for String {
    fn from(release: Release) -> Self {
        release.to_string()
    }
}

impl TryFrom<String> for Release {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// A whole CUDA installation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Toolkit {
    /// The folder that `CUDA_HOME` names.
    pub home: PathBuf,
    /// Which release its compiler is.
    pub release: Release,
    /// Where its runtime library is, relative to the home.
    pub libraries: PathBuf,
    /// The newest major version of g++ that its headers accept.
    pub newest_host_compiler: Option<u32>,
    /// Every file that takes part in a build, with its digest.
    pub stages: Vec<(String, Digest)>,
}

/// Why a folder is not a CUDA installation that we can build with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ToolkitFault {
    /// A file of a compiler stage is missing or unreadable.
    #[error("it has no readable `{file}`")]
    Incomplete {
        /// The file, relative to the home.
        file: String,
    },
    /// The static runtime library is in none of its usual places.
    #[error("it has no `{RUNTIME_LIBRARY}`")]
    NoRuntime,
    /// Its nvcc does not say which release it is.
    #[error("its nvcc does not tell its release: {answer}")]
    Mute {
        /// What came instead.
        answer: String,
    },
    /// Its compiler is older than the architecture.
    #[error("its compiler is {found}, and {arch} needs {needed} or later")]
    TooOld {
        /// The release found.
        found: Release,
        /// What is to be built.
        arch: Arch,
        /// The first release that can.
        needed: Release,
    },
    /// Its compiler does not know the architecture.
    #[error("nvcc {found} does not know {arch}")]
    UnknownArch {
        /// The release found.
        found: Release,
        /// What is to be built.
        arch: Arch,
    },
    /// Its compiler cannot even say what it would do.
    #[error("nvcc cannot work: {answer}")]
    Broken {
        /// What it said.
        answer: String,
    },
}

/// What nvcc calls an architecture that it does not know.
pub(crate) const ARCH_SIGN: &str = "Unsupported gpu architecture";

impl Toolkit {
    /// Looks into a folder.
    pub fn open(home: &Path, machine: &str, digests: &mut FileDigests) -> Result<Self, ToolkitFault> {
        let libraries = libraries(home, machine);
        let mut stages = Vec::with_capacity(STAGES.len() + EXTRAS.len() + 2);
        for file in STAGES {
            let digest = digests.digest(&home.join(file));
            let digest = digest.map_err(|_| ToolkitFault::Incomplete { file: file.to_owned() })?;
            stages.push((file.to_owned(), digest));
        }
        for file in EXTRAS {
            stages.extend(digests.digest(&home.join(file)).ok().map(|digest| (file.to_owned(), digest)));
        }
        let libraries = libraries.ok_or(ToolkitFault::NoRuntime)?;
        for file in [RUNTIME_LIBRARY, DEVICE_RUNTIME] {
            let digest = digests.digest(&home.join(&libraries).join(file)).ok();
            stages.extend(digest.map(|digest| (format!("lib/{file}"), digest)));
        }
        let release = release(home, stages[0].1, digests)?;
        let newest_host_compiler = newest_host_compiler(home, machine);
        Ok(Self { home: home.to_owned(), release, libraries, newest_host_compiler, stages })
    }

    /// Whether its compiler knows an architecture.
    pub fn check(&self, arch: Arch) -> Result<(), ToolkitFault> {
        let needed = Release::first_with(arch);
        if self.release >= needed {
            return Ok(());
        }
        Err(ToolkitFault::TooOld { found: self.release, arch, needed })
    }

    /// Asks the compiler itself: what would it do for an empty source?
    pub fn ask(&self, arch: Arch, host_compiler: &Path) -> Result<(), ToolkitFault> {
        let gencode = format!("-gencode={}", Gencode::exact(arch));
        let host_compiler = host_compiler.to_string_lossy();
        let empty = ["-c", "-x", "cu", "/dev/null", "-o", "/dev/null"];
        let question = [&[&gencode, "--dryrun", "-ccbin", &*host_compiler][..], &empty].concat();
        match answer(&self.home.join("bin/nvcc"), &question) {
            Ok(_) => Ok(()),
            Err(HostCompilerError::Mute { answer, .. }) if answer.contains(ARCH_SIGN) => {
                Err(ToolkitFault::UnknownArch { found: self.release, arch })
            }
            Err(HostCompilerError::Mute { answer, .. }) => Err(ToolkitFault::Broken { answer }),
            Err(error) => Err(ToolkitFault::Broken { answer: error.to_string() }),
        }
    }
}

/// The name that CUDA gives to this machine's folder below `targets`.
fn target_folder(machine: &str) -> String {
    match machine {
        "aarch64" => "sbsa-linux".to_owned(),
        other => format!("{other}-linux"),
    }
}

fn libraries(home: &Path, machine: &str) -> Option<PathBuf> {
    let target = PathBuf::from("targets").join(target_folder(machine)).join("lib");
    [PathBuf::from("lib64"), PathBuf::from("lib"), target]
        .into_iter()
        .find(|folder| home.join(folder).join(RUNTIME_LIBRARY).is_file())
}

/// nvcc is asked once per content; the answer depends on nothing else.
fn release(home: &Path, nvcc: Digest, digests: &mut FileDigests) -> Result<Release, ToolkitFault> {
    let key = DigestBuilder::new("proofmark/nvcc-release/1").digest(&nvcc).finish();
    if let Some(release) = digests.note(&key).and_then(|note| note.parse().ok()) {
        return Ok(release);
    }
    let text = answer(&home.join("bin/nvcc"), &["--version"])
        .map_err(|error| ToolkitFault::Mute { answer: error.to_string() })?;
    let release: Release =
        read_release(&text).ok_or_else(|| ToolkitFault::Mute { answer: text.trim().to_owned() })?;
    digests.take_note(key, release.to_string());
    Ok(release)
}

/// Reads `Cuda compilation tools, release 13.0, V13.0.88`.
fn read_release(text: &str) -> Option<Release> {
    text.split_whitespace().filter_map(|word| word.strip_prefix('V')).find_map(|word| word.parse().ok())
}

/// Reads the limit out of `crt/host_config.h`: `#if __GNUC__ > 15`.
fn newest_host_compiler(home: &Path, machine: &str) -> Option<u32> {
    let target = Path::new("targets").join(target_folder(machine)).join("include");
    let text = [PathBuf::from("include"), target]
        .into_iter()
        .find_map(|folder| fs::read(home.join(folder).join("crt/host_config.h")).ok())?;
    String::from_utf8_lossy(&text)
        .lines()
        .find_map(|line| line.trim().strip_prefix("#if __GNUC__ >")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_release_that_nvcc_prints() {
        let text = "nvcc: NVIDIA (R) Cuda compiler driver\nBuilt on Wed\n\
                    Cuda compilation tools, release 13.0, V13.0.88\nBuild cuda_13.0.r13.0\n";
        assert_eq!(read_release(text).unwrap().to_string(), "13.0.88");
        assert_eq!(read_release("gcc 12"), None);
    }

    #[test]
    fn knows_which_release_first_built_an_architecture() {
        for (arch, release) in [
            ("sm_90a", "12.0.0"),
            ("sm_100a", "12.8.0"),
            ("sm_100f", "12.9.0"),
            ("sm_103a", "12.9.0"),
            ("sm_120a", "12.8.0"),
            ("sm_75", "11.8.0"),
        ] {
            assert_eq!(Release::first_with(arch.parse().unwrap()).to_string(), release, "{arch}");
        }
    }

    #[test]
    fn names_the_first_missing_file() {
        let folder = tempfile::tempdir().unwrap();
        let fault = Toolkit::open(folder.path(), "x86_64", &mut FileDigests::forgetful()).unwrap_err();
        assert_eq!(fault.to_string(), "it has no readable `bin/nvcc`");
    }
}
