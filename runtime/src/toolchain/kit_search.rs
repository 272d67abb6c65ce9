//! Brings in the kits that a build asks for.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use proofmark_packager::{DigestBuilder, escape};

use super::data_folder::DataFolder;
use super::file_digests::FileDigests;
use super::install::{Existing, InstallError, InstallRequest, Progress, WheelSource, install};
use super::kit::Kit;
use super::kit_name::KitName;
use super::lock_file::ComponentName;
use crate::process_tree::{ProcessError, RunLimits};
use crate::sandbox::{self, Ending, SandboxError};

/// Asking Python where its headers are takes a tenth of a second.
const ASKING: RunLimits = RunLimits { time: Duration::from_secs(30), log_bytes: 4096 };

/// Python's own words for the folder of its headers and for its version.
const QUESTION: &str = "import sys, sysconfig; print(sysconfig.get_path('include')); \
    print('.'.join(map(str, sys.version_info[:3])))";

/// Why kits were not looked for to the end.
#[derive(Debug, thiserror::Error)]
pub enum KitSearchError {
    /// One could not be installed.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// Python did not say where its headers are.
    #[error(transparent)]
    Python(#[from] UnansweringPython),
}

/// A Python that does not say where its headers are: what is the matter with it is not that it has none.
#[derive(Debug, thiserror::Error)]
#[error("the Python `{}`, asked where its headers are, {fault}", program.display())]
pub struct UnansweringPython {
    /// What was asked.
    pub program: PathBuf,
    /// What it did instead.
    pub fault: PythonFault,
}

/// What a program does that does not answer as Python does.
#[derive(Debug, thiserror::Error)]
pub enum PythonFault {
    /// There is none, or it is no program.
    #[error("is no program that starts: {reason}")]
    NotStarted {
        /// The system's reason.
        reason: String,
    },
    /// It failed.
    #[error("ended with {code}{}", after_colon(said))]
    Code {
        /// Its exit code.
        code: i32,
        /// What it wrote, escaped.
        said: String,
    },
    /// A signal ended it.
    #[error("was ended by signal {signal}")]
    Signal {
        /// The signal's number.
        signal: i32,
    },
    /// It did not end.
    #[error("gave no answer in {} s", limit.as_secs())]
    Silent {
        /// How long was waited.
        limit: Duration,
    },
    /// It says something else.
    #[error("gave no answer{}", after_colon(said))]
    Other {
        /// What it wrote, escaped.
        said: String,
    },
    /// It was not run to its end.
    #[error("was not run to its end: {0}")]
    NotRun(SandboxError),
}

fn after_colon(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(": {said}") }
}

/// Where kits come from.
#[derive(Debug, Clone, Copy)]
pub struct KitSearch<'a> {
    /// The folder of pinned components, if a home folder is known.
    pub data: Option<&'a DataFolder>,
    /// The kind of machine.
    pub machine: &'a str,
    /// The CUDA installation, which may have the headers itself.
    pub cuda_home: &'a Path,
    /// The Python that will load what is built, and whose pip fetches.
    pub python: &'a Path,
}

impl KitSearch<'_> {
    /// Finds the kits of these names, and installs what is missing where that is allowed. What is not there in the
    /// end is left out: the compilers then say which header they miss.
    pub fn find(
        &self,
        names: &BTreeSet<KitName>,
        digests: &mut FileDigests,
        may_fetch: bool,
        progress: &mut dyn Progress,
    ) -> Result<Vec<Kit>, KitSearchError> {
        let wanted = names.iter().copied().filter(|name| !name.is_in_toolkit(self.cuda_home));
        let mut kits = Vec::new();
        for name in wanted {
            let found = match (name, self.data) {
                (KitName::Python, _) => self.python_headers(digests)?,
                (_, None) => None,
                (_, Some(data)) => {
                    let installed = || Kit::installed(name, data, self.machine);
                    if installed().is_none() && may_fetch {
                        self.install(name, data, progress)?;
                    }
                    installed()
                }
            };
            kits.extend(found);
        }
        Ok(kits)
    }

    fn install(
        &self,
        name: KitName,
        data: &DataFolder,
        progress: &mut dyn Progress,
    ) -> Result<(), InstallError> {
        let request = InstallRequest {
            data: data.clone(),
            machine: self.machine.to_owned(),
            components: vec![ComponentName::Kit(name)],
            wheels: WheelSource::Pip { python: self.python.to_owned() },
            existing: Existing::Keep,
        };
        install(&request, progress).map(drop)
    }

    /// The headers of the Python that is there; `None` if it has none.
    fn python_headers(&self, digests: &mut FileDigests) -> Result<Option<Kit>, UnansweringPython> {
        let (home, version) = ask(self.python, ASKING)
            .map_err(|fault| UnansweringPython { program: self.python.to_owned(), fault })?;
        // These two say which Python and how it was built; every header that is read is a dependency besides.
        let files = ["patchlevel.h", "pyconfig.h"].map(|name| digests.digest(&home.join(name)).ok());
        let [Some(level), Some(config)] = files else { return Ok(None) };
        if !home.join("Python.h").is_file() {
            return Ok(None);
        }
        let digest = DigestBuilder::new("proofmark/python-headers/1").digest(&level).digest(&config).finish();
        Ok(Some(Kit { name: KitName::Python, version, home, digest }))
    }
}

/// Where a Python has its headers, and which version it is.
fn ask(python: &Path, limits: RunLimits) -> Result<(PathBuf, String), PythonFault> {
    let mut command = Command::new(python);
    command.args(["-I", "-c", QUESTION]);
    let run = sandbox::supervise(command, limits, &mut |_| ()).map_err(|error| match error {
        SandboxError::Process(ProcessError::Start { source, .. }) => {
            PythonFault::NotStarted { reason: source.to_string() }
        }
        SandboxError::Process(ProcessError::TimedOut { limit, .. }) => PythonFault::Silent { limit },
        error => PythonFault::NotRun(error),
    })?;
    let log = run.log.trim();
    let said = escape::line(log);
    match run.ending {
        Ending::Code(0) => {}
        Ending::Code(code) => return Err(PythonFault::Code { code, said }),
        Ending::Signal(signal) => return Err(PythonFault::Signal { signal }),
        Ending::NotStarted(reason) => return Err(PythonFault::NotStarted { reason }),
    }
    // A program that is Python may say something before: the answer stands at the end.
    let mut lines = log.lines().rev();
    match (lines.next(), lines.next()) {
        (Some(version), Some(home)) if Path::new(home).is_absolute() => {
            Ok((PathBuf::from(home), version.trim().to_owned()))
        }
        _ => Err(PythonFault::Other { said }),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// What is said of a program in Python's place.
    fn fault_of(text: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("python");
        fs::write(&program, text).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let limits = RunLimits { time: Duration::from_secs(1), ..ASKING };
        ask(&program, limits).unwrap_err().to_string()
    }

    #[test]
    fn what_does_not_answer_as_python_does_is_named_by_what_it_does() {
        assert_eq!(fault_of("#!/bin/sh\necho broken\nexit 1\n"), "ended with 1: broken");
        assert_eq!(fault_of("#!/bin/sh\nkill -9 $$\n"), "was ended by signal 9");
        assert_eq!(fault_of("#!/bin/sh\nexit 0\n"), "gave no answer");
        assert_eq!(fault_of("#!/bin/sh\nexec sleep 100\n"), "gave no answer in 1 s");
        let missing = ask(Path::new("/nowhere/python"), ASKING).unwrap_err();
        assert!(matches!(missing, PythonFault::NotStarted { .. }), "{missing}");
    }

    #[test]
    fn a_python_says_where_its_headers_are_and_its_version() {
        let (home, version) = ask(Path::new("python3"), ASKING).unwrap();
        assert!(home.is_absolute() && version.starts_with("3."), "{} {version}", home.display());
    }
}
