//! An interpreter and what it has.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;

use crate::process_tree::{self, ProcessError, RunLimits};

/// The Python that is taken where none is named.
pub const DEFAULT_PYTHON: &str = "python3";

/// What is asked for by name: what a result may depend on.
const PACKAGES: [&str; 14] = [
    "torch",
    "triton",
    "numpy",
    "apache-tvm-ffi",
    "tilelang",
    "nvidia-cutlass-dsl",
    "nvidia-cutlass",
    "cuda-core",
    "cuda-python",
    "cupy-cuda13x",
    "cupy-cuda12x",
    "flashinfer-python",
    "flashinfer-bench",
    "nvidia-cublas",
];
const PROBE: &str = include_str!("probe.py");
/// A cold start from a slow disk takes seconds, and nothing large is imported.
const LIMITS: RunLimits = RunLimits { time: Duration::from_secs(60), log_bytes: 1 << 20 };
/// The first version whose interface the player knows.
const LEAST_VERSION: (u32, u32) = (3, 9);

/// An interpreter and what it has.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Interpreter {
    /// Its version, such as `3.12.3`.
    pub version: String,
    /// Its file.
    pub executable: PathBuf,
    /// Where its modules lie, in the order in which they are searched.
    pub paths: Vec<PathBuf>,
    /// Its own folders.
    pub prefixes: Vec<PathBuf>,
    /// Versions of the packages that a result may depend on, by name.
    pub packages: BTreeMap<String, String>,
}

/// Why an interpreter cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InterpreterError {
    /// It does not run.
    #[error("cannot run the Python `{}`", program.display())]
    Process {
        /// What was tried.
        program: PathBuf,
        /// How it ended.
        source: ProcessError,
    },
    /// It ended with an error, or said something else.
    #[error("the Python `{}` does not say what it has: {said}", program.display())]
    Answer {
        /// What was tried.
        program: PathBuf,
        /// What it wrote.
        said: String,
    },
    /// It is too old.
    #[error("the Python `{}` has version {found}: {}.{} is needed", program.display(), LEAST_VERSION.0, LEAST_VERSION.1)]
    TooOld {
        /// What was tried.
        program: PathBuf,
        /// Its version.
        found: String,
    },
    /// It has no torch.
    #[error("the Python `{}` has no torch", program.display())]
    NoTorch {
        /// What was tried.
        program: PathBuf,
    },
}

impl Interpreter {
    /// Asks an interpreter what it has, in an empty folder: it imports modules from the one that it runs in, and
    /// where `PYTHONPATH` has an empty part it counts that among the folders of its own modules. A stranger's
    /// submission may lie in the current one.
    pub fn find(program: &Path) -> Result<Self, InterpreterError> {
        let refuse = |source| InterpreterError::Process { program: program.to_owned(), source };
        let name = || program.display().to_string();
        let empty =
            tempfile::tempdir().map_err(|source| refuse(ProcessError::Start { program: name(), source }))?;
        let mut command = Command::new(process_tree::spelled_out(program));
        command.current_dir(empty.path()).args(["-B", "-c", PROBE]).args(PACKAGES);
        let finished = process_tree::run(command, LIMITS, &mut |_| {}).map_err(refuse)?;
        let answer = finished.log.lines().rev().find_map(|line| serde_json::from_str::<Self>(line).ok());
        let Some(found) = answer.filter(|_| finished.status.success()) else {
            let said = proofmark_packager::escape::line(finished.log.trim());
            return Err(InterpreterError::Answer { program: program.to_owned(), said });
        };
        if found.number() < LEAST_VERSION {
            return Err(InterpreterError::TooOld { program: program.to_owned(), found: found.version });
        }
        Ok(found)
    }

    /// The same, refused without torch: tensors need it.
    pub fn with_torch(program: &Path) -> Result<Self, InterpreterError> {
        let found = Self::find(program)?;
        if found.has("torch") {
            return Ok(found);
        }
        Err(InterpreterError::NoTorch { program: found.executable })
    }

    /// Whether it has a package.
    pub fn has(&self, package: &str) -> bool {
        self.packages.contains_key(package)
    }

    /// Versions of Python itself and of its packages, by name.
    pub fn versions(&self) -> BTreeMap<String, String> {
        let own = ("python".to_owned(), self.version.clone());
        self.packages.clone().into_iter().chain([own]).collect()
    }

    fn number(&self) -> (u32, u32) {
        let mut parts = self.version.split('.').map(|part| part.parse().unwrap_or(0));
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
    }
}

impl InterpreterError {
    /// The way out, for people.
    pub fn way_out(&self) -> &'static str {
        match self {
            Self::NoTorch { .. } => "name a Python that has torch with --python PATH, or `pip install torch`",
            _ => "name another Python with --python PATH",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_the_machine_s_python_is() {
        let found = Interpreter::find(Path::new("python3")).unwrap();
        assert!(found.number() >= LEAST_VERSION && found.executable.is_absolute());
        assert!(found.paths.iter().all(|path| path.is_absolute()), "{:?}", found.paths);
        assert_eq!(found.versions()["python"], found.version);
    }

    #[test]
    fn what_is_no_python_says_so() {
        let missing = Interpreter::find(Path::new("/nowhere/python3")).unwrap_err();
        assert!(matches!(missing, InterpreterError::Process { .. }), "{missing}");
        let other = Interpreter::find(Path::new("/bin/echo")).unwrap_err();
        assert!(matches!(other, InterpreterError::Answer { .. }), "{other}");
    }
}
