//! Why a job could not be judged.

use std::io;
use std::path::PathBuf;

use proofmark_packager::Arch;

use crate::build::Unbuildable;
use crate::cache::CacheError;
use crate::capture::{CaptureError, TranslateError};
use crate::evidence::ReplayError;
use crate::job::{ActionError, Outcome};
use crate::measure::BenchError;
use crate::python::{HomeError, InterpreterError};
use crate::rebuild::{Finding, RebuildError};
use crate::record::JournalError;
use crate::record::line::LineError;
use crate::shared_cache::ObjectError;
use crate::toolchain::install::ObtainError;
use crate::toolchain::{ToolchainError, UnansweringPython};

/// Why a job could not be judged.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// It cannot be done as asked.
    #[error(transparent)]
    Action(#[from] ActionError),
    /// The submission is of a kind that is not built.
    #[error(transparent)]
    Unbuildable(#[from] Unbuildable),
    /// What a Python entry compiles could not be found out.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// What a Python entry compiles is nothing that can be built.
    #[error("what {place} compiles cannot be built")]
    Request {
        /// Where in the entry the call stands.
        place: String,
        /// Why not.
        source: Box<TranslateError>,
    },
    /// The build.
    #[error(transparent)]
    Rebuild(#[from] RebuildError),
    /// The cache cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The shared cache cannot be used by this program.
    #[error("the shared cache cannot be used")]
    Sharing(#[from] ObjectError),
    /// No toolchain was found, or none could be installed.
    #[error(transparent)]
    Toolchain {
        /// Why.
        source: Box<ObtainError>,
    },
    /// TVM-FFI was not found.
    #[error(transparent)]
    TvmFfi {
        /// Why.
        source: Box<ToolchainError>,
    },
    /// A `libtvm_ffi.so` is not there.
    #[error("cannot find {}", path.display())]
    NoTvmFfi {
        /// The path.
        path: PathBuf,
        /// Whether the settings name it; else it is the toolchain's.
        is_named: bool,
        /// What the system said.
        source: io::Error,
    },
    /// Our own program cannot be started again as a player.
    #[error("cannot find this program")]
    Program {
        /// What the system said.
        source: io::Error,
    },
    /// The evidence cannot be written.
    #[error(transparent)]
    Seal(#[from] LineError),
    /// The evidence cannot be used.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The artifact was sealed for another architecture.
    #[error("sealed for {sealed}: cannot be replayed for {asked}")]
    SealedForAnother {
        /// What it was sealed for.
        sealed: Arch,
        /// What was asked for.
        asked: Arch,
    },
    /// The reference is not proven, so nothing can be said about the subject.
    #[error("the reference {name} is not proven: {}", finding.words())]
    Reference {
        /// The reference's name.
        name: String,
        /// Why.
        finding: Finding,
    },
    /// The definition's own code is the reference, and there is no Python that could run it.
    #[error("no reference is known for {definition} but its own code, which needs a Python with torch")]
    NoReference {
        /// The definition.
        definition: String,
        /// Why there is none.
        source: Box<InterpreterError>,
    },
    /// There is no Python that could run what is written in it.
    #[error(transparent)]
    Interpreter(#[from] InterpreterError),
    /// A Python does not say where its headers are.
    #[error(transparent)]
    Headers(#[from] UnansweringPython),
    /// There is no place for code in Python.
    #[error(transparent)]
    PythonHome(#[from] HomeError),
    /// A library for torch would be loaded by another torch.
    #[error(
        "the Python `{}` has torch {found}, and libraries for torch are built with the headers of {built}",
        python.display()
    )]
    OtherTorch {
        /// The interpreter.
        python: PathBuf,
        /// The version that is built for.
        built: String,
        /// The version that it has.
        found: String,
    },
    /// Measuring.
    #[error(transparent)]
    Measure(#[from] BenchError),
    /// The record file.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// Why the line was not walked to its end.
pub(super) enum Stop {
    /// A build is no proven one: an answer.
    Finding {
        /// The solution's name.
        name: String,
        /// Why it is not proven.
        finding: Finding,
    },
    /// We could not judge.
    Error(PipelineError),
}

impl Stop {
    /// The answer, if it is one.
    pub(super) fn outcome(self) -> Result<Outcome, PipelineError> {
        match self {
            Self::Finding { name, finding } => Ok(Outcome::Finding { name, finding }),
            Self::Error(error) => Err(error),
        }
    }
}

impl<E: Into<PipelineError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}
