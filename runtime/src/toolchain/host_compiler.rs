//! Finds the host compiler that nvcc works with, and says exactly which one it is.
//!
//! nvcc preprocesses and compiles host code with g++, and we link with it. Its identity is the
//! digest of every program that takes part: the driver, `cc1plus`, `collect2`, the assembler and
//! the linker. The driver is asked where they are once per driver and place, and remembered.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use proofmark_packager::{Digest, DigestBuilder};
use serde::{Deserialize, Serialize};

use super::file_digests::FileDigests;
use crate::process_tree::RunLimits;
use crate::sandbox::{self, Policy};

/// Where programs are looked up that the driver does not find beside itself. Builds use the same.
pub const PROGRAM_FOLDERS: [&str; 2] = ["/usr/bin", "/bin"];

/// Newest first, so that the first one that CUDA supports is the best one.
const NUMBERED_DRIVERS: [&str; 6] = ["g++-15", "g++-14", "g++-13", "g++-12", "g++-11", "g++-10"];

/// A question to a compiler is answered in milliseconds; more means that the machine is stuck.
const PROBE_LIMITS: RunLimits = RunLimits { time: Duration::from_secs(30), log_bytes: 256 * 1024 };

/// The host compiler of a toolchain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostCompiler {
    /// The driver, `g++`.
    pub driver: PathBuf,
    /// What it calls itself: the first line of its `--version`.
    pub version: String,
    /// The major version, which CUDA sets limits on.
    pub major: u32,
    /// The assembler.
    pub assembler: PathBuf,
    /// The linker.
    pub linker: PathBuf,
    /// What the linker calls itself.
    pub linker_version: String,
    /// The folders that angle includes are searched in, in order.
    pub include_folders: Vec<PathBuf>,
    /// Every program that takes part, by name, with the digest of its file.
    pub programs: Vec<(String, Digest)>,
}

/// Why there is no host compiler to work with.
#[derive(Debug, thiserror::Error)]
pub enum HostCompilerError {
    /// No g++ anywhere.
    #[error("no host compiler: found no `g++` on PATH")]
    Missing,
    /// The one that was asked for is not a program.
    #[error("no host compiler at {}", path.display())]
    NotThere {
        /// The path as given.
        path: PathBuf,
    },
    /// Found one, but CUDA's headers refuse its version.
    #[error("host compiler {} is version {found}, and this CUDA takes at most {supported}", path.display())]
    TooNew {
        /// The driver.
        path: PathBuf,
        /// Its major version.
        found: u32,
        /// The newest one that CUDA supports.
        supported: u32,
    },
    /// It did not answer the questions that a compiler answers.
    #[error("host compiler {} does not answer `{question}`: {answer}", path.display())]
    Mute {
        /// The driver.
        path: PathBuf,
        /// The arguments it was given.
        question: String,
        /// What came instead.
        answer: String,
    },
    /// One of its programs is missing or unreadable.
    #[error("host compiler {} has no usable `{program}`", path.display())]
    Incomplete {
        /// The driver.
        path: PathBuf,
        /// The missing part.
        program: String,
    },
}

/// What the driver says about itself; remembered by the driver's digest and place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Answers {
    version: String,
    major: u32,
    compiler: String,
    collector: String,
    assembler: String,
    linker: String,
    include_folders: Vec<PathBuf>,
}

/// Finds the host compiler: the one asked for, else `g++` on the path, else a numbered one that
/// this CUDA supports.
pub fn find(
    asked: Option<&Path>,
    path: &[PathBuf],
    newest_supported: Option<u32>,
    digests: &mut FileDigests,
) -> Result<HostCompiler, HostCompilerError> {
    if let Some(asked) = asked {
        let driver = lookup(asked.as_os_str(), path)
            .ok_or_else(|| HostCompilerError::NotThere { path: asked.to_owned() })?;
        return supported(identify(&driver, digests)?, newest_supported);
    }
    let plain = lookup(OsStr::new("g++"), path).ok_or(HostCompilerError::Missing);
    let first = plain.and_then(|driver| supported(identify(&driver, digests)?, newest_supported));
    let Err(reason @ (HostCompilerError::TooNew { .. } | HostCompilerError::Missing)) = first else {
        return first;
    };
    NUMBERED_DRIVERS
        .iter()
        .filter_map(|name| lookup(OsStr::new(name), path))
        .find_map(|driver| supported(identify(&driver, digests).ok()?, newest_supported).ok())
        .ok_or(reason)
}

fn supported(found: HostCompiler, newest: Option<u32>) -> Result<HostCompiler, HostCompilerError> {
    match newest {
        Some(newest) if found.major > newest => {
            Err(HostCompilerError::TooNew { path: found.driver, found: found.major, supported: newest })
        }
        _ => Ok(found),
    }
}

/// Looks a program up as a shell does. A compiler cache that poses as the compiler is passed over:
/// we cache ourselves, and its digest would stand for a compiler that it is not.
fn lookup(name: &OsStr, path: &[PathBuf]) -> Option<PathBuf> {
    if name.as_encoded_bytes().contains(&b'/') {
        return Some(PathBuf::from(name)).filter(|path| is_program(path));
    }
    path.iter().map(|folder| folder.join(name)).find(|candidate| is_program(candidate) && !poses(candidate))
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.is_absolute()
        && fs::metadata(path)
            .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

fn poses(path: &Path) -> bool {
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let name = real.file_name().and_then(OsStr::to_str).unwrap_or_default();
    ["ccache", "sccache", "distcc", "icecc"].contains(&name)
}

fn identify(driver: &Path, digests: &mut FileDigests) -> Result<HostCompiler, HostCompilerError> {
    let incomplete = |program: &str| HostCompilerError::Incomplete {
        path: driver.to_owned(),
        program: program.to_owned(),
    };
    let digest = digests.digest(driver).map_err(|_| incomplete("driver"))?;
    let answers = answers(driver, digest, digests)?;
    let folders: Vec<PathBuf> = PROGRAM_FOLDERS.iter().map(PathBuf::from).collect();
    let part = |name: &str| lookup(OsStr::new(name), &folders).ok_or_else(|| incomplete(name));
    let parts = [&answers.compiler, &answers.collector, &answers.assembler, &answers.linker].map(|p| part(p));
    let [compiler, collector, assembler, linker] = parts;
    let (compiler, collector, assembler, linker) = (compiler?, collector?, assembler?, linker?);
    let mut programs = vec![("g++".to_owned(), digest)];
    for (name, path) in
        [("cc1plus", &compiler), ("collect2", &collector), ("as", &assembler), ("ld", &linker)]
    {
        programs.push((name.to_owned(), digests.digest(path).map_err(|_| incomplete(name))?));
    }
    let linker_version = linker_version(driver, &linker, programs[4].1, digests)?;
    Ok(HostCompiler {
        driver: driver.to_owned(),
        version: answers.version,
        major: answers.major,
        assembler,
        linker,
        linker_version,
        include_folders: answers.include_folders,
        programs,
    })
}

fn answers(driver: &Path, digest: Digest, digests: &mut FileDigests) -> Result<Answers, HostCompilerError> {
    let key = DigestBuilder::new("proofmark/host-compiler-answers/1")
        .bytes(driver.as_os_str().as_encoded_bytes())
        .digest(&digest)
        .finish();
    if let Some(known) = digests.note(&key).and_then(|note| serde_json::from_str(note).ok()) {
        return Ok(known);
    }
    let asked = ask(driver)?;
    let note = serde_json::to_string(&asked).expect("texts, numbers and paths from text");
    digests.take_note(key, note);
    Ok(asked)
}

fn ask(driver: &Path) -> Result<Answers, HostCompilerError> {
    let line = |arguments: &[&str]| answer(driver, arguments).map(|text| first_line(&text));
    let version_number = line(&["-dumpversion"])?;
    let major = version_number.split('.').next().and_then(|major| major.parse().ok());
    let search = answer(driver, &["-E", "-v", "-x", "c++", "/dev/null"])?;
    Ok(Answers {
        version: line(&["--version"])?,
        major: major.ok_or_else(|| mute(driver, &["-dumpversion"], version_number))?,
        compiler: line(&["-print-prog-name=cc1plus"])?,
        collector: line(&["-print-prog-name=collect2"])?,
        assembler: line(&["-print-prog-name=as"])?,
        linker: line(&["-print-prog-name=ld"])?,
        include_folders: include_folders(&search),
    })
}

fn linker_version(
    driver: &Path,
    linker: &Path,
    digest: Digest,
    digests: &mut FileDigests,
) -> Result<String, HostCompilerError> {
    let key = DigestBuilder::new("proofmark/linker-version/1").digest(&digest).finish();
    if let Some(known) = digests.note(&key) {
        return Ok(known.to_owned());
    }
    let version = answer(linker, &["--version"])
        .map(|text| first_line(&text))
        .map_err(|_| HostCompilerError::Incomplete { path: driver.to_owned(), program: "ld".to_owned() })?;
    digests.take_note(key, version.clone());
    Ok(version)
}

/// Asks a program one question, in the environment in which builds run.
pub(crate) fn answer(program: &Path, arguments: &[&str]) -> Result<String, HostCompilerError> {
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("PATH", PROGRAM_FOLDERS.join(":")).env("LC_ALL", "C");
    // nvcc wants to write a file even to say what it would do.
    let folder = tempfile::tempdir().map_err(|error| mute(program, arguments, error.to_string()))?;
    command.current_dir(folder.path()).env("TMPDIR", folder.path());
    // A compiler that is only looked at may be anybody's.
    let policy = Policy::of_system().with_program(program).with_installation(installation_of(program));
    let policy = policy.reading([folder.path()]).writing([folder.path()]);
    match sandbox::run(&command, &policy, PROBE_LIMITS, &mut |_| ()) {
        Ok(run) if run.ending.is_success() => Ok(run.log),
        Ok(run) => Err(mute(program, arguments, first_line(&run.log))),
        Err(error) => Err(mute(program, arguments, error.to_string())),
    }
}

/// The folder that a program's parts are in: `<installation>/bin/nvcc`.
fn installation_of(program: &Path) -> &Path {
    let folder = program.parent().unwrap_or(program);
    folder.parent().filter(|above| folder.ends_with("bin") && above.parent().is_some()).unwrap_or(folder)
}

fn mute(path: &Path, arguments: &[&str], answer: String) -> HostCompilerError {
    HostCompilerError::Mute { path: path.to_owned(), question: arguments.join(" "), answer }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim().to_owned()
}

/// The angle-include search list of `g++ -E -v`.
fn include_folders(log: &str) -> Vec<PathBuf> {
    log.lines()
        .skip_while(|line| !line.starts_with("#include <...>"))
        .skip(1)
        .take_while(|line| line.starts_with(' '))
        .map(|line| PathBuf::from(line.trim()))
        .map(|folder| folder.canonicalize().unwrap_or(folder))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn program(path: &Path) {
        fs::write(path, "#!/bin/sh\n").unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn passes_over_a_compiler_cache_that_poses_as_the_compiler() {
        let folder = tempfile::tempdir().unwrap();
        let [masks, real] = ["masks", "real"].map(|name| folder.path().join(name));
        for place in [&masks, &real] {
            fs::create_dir(place).unwrap();
        }
        program(&folder.path().join("ccache"));
        symlink("../ccache", masks.join("g++")).unwrap();
        program(&real.join("g++"));
        let path = [masks, real.clone()];
        assert_eq!(lookup(OsStr::new("g++"), &path), Some(real.join("g++")));
        assert_eq!(lookup(OsStr::new("g++"), &path[..1]), None);
    }

    #[test]
    fn reads_the_search_list_between_its_two_lines() {
        let log = "ignoring nonexistent directory \"/x\"\n#include \"...\" search starts here:\n\
                   #include <...> search starts here:\n /no/such/c++/12\n /no/such/include\n\
                   End of search list.\n # 0 \"/dev/null\"\n";
        assert_eq!(include_folders(log), [Path::new("/no/such/c++/12"), Path::new("/no/such/include")]);
    }

    #[test]
    fn a_path_without_a_compiler_says_so() {
        let error = find(None, &[], None, &mut FileDigests::forgetful()).unwrap_err();
        assert_eq!(error.to_string(), "no host compiler: found no `g++` on PATH");
    }
}
