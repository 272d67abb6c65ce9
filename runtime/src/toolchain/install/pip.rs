//! Fetches wheels through the user's own pip, with the index settings that the user has.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::super::lock_file::Component;
use super::{Progress, Step};
use crate::process_tree::{ProcessError, RunLimits, spelled_out};
use crate::sandbox::{self, SandboxError};

/// 105 MB in half an hour is 60 kB/s; slower networks retry with what pip has cached.
pub(super) const FETCH_LIMITS: RunLimits =
    RunLimits { time: Duration::from_secs(1800), log_bytes: 64 * 1024 };

/// The wheel of TVM-FFI is one for this Python; nothing of Python is used from it.
const PYTHON_VERSION: &str = "3.12";

/// Why pip did not bring the wheels.
#[derive(Debug, thiserror::Error)]
pub enum PipError {
    /// No Python to run pip with.
    #[error("cannot run `{}`, which fetches the wheels", python.display())]
    NoPython {
        /// The Python that was tried.
        python: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Python has no pip.
    #[error("`{}` has no pip, which fetches the wheels", python.display())]
    NoPip {
        /// The Python that was tried.
        python: PathBuf,
    },
    /// pip ended with an error.
    #[error("pip could not fetch the pinned wheels: {reason}")]
    Refused {
        /// pip's own words: its last lines that start with `ERROR`, or the last line.
        reason: String,
    },
    /// pip was interrupted or took too long.
    #[error("fetching did not end")]
    Unfinished {
        /// How it ended.
        source: SandboxError,
    },
    /// The list of wheels could not be written for pip.
    #[error("cannot write {}", path.display())]
    Folder {
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl PipError {
    /// The ways out, for people.
    pub fn ways_out(&self) -> Vec<String> {
        let ways: &[&str] = match self {
            Self::NoPython { .. } => &[
                "install it: `apt install python3-pip`, `dnf install python3-pip` or the like",
                "or name another Python with --python",
                "or bring the wheels yourself: `proofmark toolchain install --wheels FOLDER`",
            ],
            Self::NoPip { .. } => &[
                "install it: `apt install python3-pip`, `dnf install python3-pip`, or \
                 `python3 -m ensurepip`",
                "or name a Python that has it with --python",
            ],
            Self::Refused { .. } | Self::Unfinished { .. } => &[
                "check that `python3 -m pip download nvidia-cuda-nvcc` works; pip's own settings \
                 (PIP_INDEX_URL, pip.conf, proxies) are used as they are",
                "or bring the wheels yourself: `proofmark toolchain install --wheels FOLDER`",
            ],
            Self::Folder { .. } => &["choose another place with --data-dir or PROOFMARK_DATA"],
        };
        ways.iter().map(|&way| way.to_owned()).collect()
    }
}

/// Downloads a component's wheels into a folder. pip checks the digests; the caller does again.
pub(super) fn download(
    python: &Path,
    component: &Component,
    machine: &str,
    folder: &Path,
    progress: &mut dyn Progress,
) -> Result<(), PipError> {
    let list = folder.join("requirements.txt");
    fs::write(&list, requirements(component))
        .map_err(|source| PipError::Folder { path: list.clone(), source })?;
    let mut command = Command::new(spelled_out(python));
    // pip works in the folder that it fills, and ends with us, however we end.
    command.args(arguments(machine, folder, &list)).current_dir(folder);
    let watch = &mut |line: &str| progress.step(&Step::Said { line: line.to_owned() });
    match sandbox::supervise(command, FETCH_LIMITS, watch) {
        Ok(run) if run.ending.is_success() => Ok(()),
        Ok(run) if run.log.contains("No module named pip") => {
            Err(PipError::NoPip { python: python.to_owned() })
        }
        Ok(run) => Err(PipError::Refused { reason: reason(&run.log) }),
        Err(SandboxError::Process(ProcessError::Start { source, .. })) => {
            Err(PipError::NoPython { python: python.to_owned(), source })
        }
        Err(source) => Err(PipError::Unfinished { source }),
    }
}

fn requirements(component: &Component) -> String {
    component.wheels.iter().fold(String::new(), |mut text, wheel| {
        let _ = writeln!(text, "{}=={} --hash=sha256:{}", wheel.project, wheel.version, wheel.sha256);
        text
    })
}

fn arguments(machine: &str, folder: &Path, list: &Path) -> Vec<String> {
    let fixed = [
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--require-hashes",
        "--only-binary=:all:",
        "--disable-pip-version-check",
        "--no-input",
        "--progress-bar=off",
        "--implementation=cp",
    ];
    // Older pips know only the tags that they are told, so each tag in the lock file is told.
    let tags = [
        "manylinux_2_28",
        "manylinux_2_24",
        "manylinux_2_17",
        "manylinux2014",
        "manylinux2010",
        "manylinux_2_12",
    ];
    let tags = tags.iter().map(|tag| format!("--platform={tag}_{machine}"));
    let abi = PYTHON_VERSION.replace('.', "");
    let rest = [
        format!("--python-version={PYTHON_VERSION}"),
        format!("--abi=cp{abi}"),
        "--abi=none".to_owned(),
        format!("--dest={}", folder.display()),
        format!("--requirement={}", list.display()),
    ];
    fixed.iter().map(|&argument| argument.to_owned()).chain(tags).chain(rest).collect()
}

fn reason(log: &str) -> String {
    let errors: Vec<&str> = log.lines().filter_map(|line| line.trim().strip_prefix("ERROR: ")).collect();
    match errors.last() {
        Some(_) => errors.join("; "),
        None => log.lines().last().unwrap_or("it said nothing").to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::lock_file::ComponentName;
    use super::super::Unwatched;
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn fetch_with(script: &str) -> PipError {
        let folder = tempfile::tempdir().unwrap();
        let python = folder.path().join("python");
        fs::write(&python, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).unwrap();
        let component = Component::pinned(ComponentName::TvmFfi, "x86_64").unwrap();
        download(&python, &component, "x86_64", folder.path(), &mut Unwatched).unwrap_err()
    }

    #[test]
    fn tells_a_missing_python_from_a_missing_pip_from_a_refusal() {
        assert!(matches!(fetch_with("echo 'python: No module named pip'; exit 1"), PipError::NoPip { .. }));
        let refused = fetch_with("echo 'Looking in indexes'; echo 'ERROR: no network' >&2; exit 1");
        assert_eq!(refused.to_string(), "pip could not fetch the pinned wheels: no network");
        let component = Component::pinned(ComponentName::TvmFfi, "x86_64").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let gone = download(Path::new("/no/python"), &component, "x86_64", folder.path(), &mut Unwatched);
        assert!(matches!(gone.unwrap_err(), PipError::NoPython { .. }));
    }

    #[test]
    fn every_wheel_is_pinned_by_version_and_digest() {
        let component = Component::pinned(ComponentName::Cuda, "x86_64").unwrap();
        let text = requirements(&component);
        assert_eq!(text.lines().count(), component.wheels.len());
        assert!(text.lines().all(|line| line.contains("==") && line.contains(" --hash=sha256:")));
    }
}
