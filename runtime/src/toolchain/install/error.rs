//! Why an installation did not happen.

use std::io;
use std::path::{Path, PathBuf};

use proofmark_packager::Digest;

use super::pip::PipError;
use super::wheel::WheelError;
use crate::toolchain::search::ToolchainError;

/// Why an installation did not happen. Nothing is left in the place of the component.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// No wheels are pinned for this kind of machine.
    #[error("no {component} is pinned for {machine}: only for x86_64 and aarch64 Linux")]
    Machine {
        /// Which component.
        component: &'static str,
        /// The machine.
        machine: String,
    },
    /// The data folder cannot be written.
    #[error("cannot write {}", path.display())]
    Folder {
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Too little space for it.
    #[error("{} has {free_bytes} bytes free, and the installation needs {needed_bytes}", path.display())]
    Space {
        /// The data folder.
        path: PathBuf,
        /// What is free.
        free_bytes: u64,
        /// What is needed while installing.
        needed_bytes: u64,
    },
    /// Fetching failed.
    #[error(transparent)]
    Fetch(#[from] PipError),
    /// A wheel is not in the folder of wheels.
    #[error("no {file} in {}", folder.display())]
    NoWheel {
        /// The wheel's file name.
        file: String,
        /// Where it was expected.
        folder: PathBuf,
    },
    /// A wheel is not the pinned one.
    #[error("{file} has SHA-256 {found}, and {expected} is pinned")]
    WrongWheel {
        /// The wheel's file name.
        file: String,
        /// The pinned digest.
        expected: Digest,
        /// The digest of what came.
        found: Digest,
    },
    /// The part of a wheel that a kit is holds something else.
    #[error("what came of {file} has SHA-256 {found}, and {expected} is pinned")]
    WrongPart {
        /// The wheel's file name.
        file: String,
        /// The pinned digest over names and contents.
        expected: Digest,
        /// The digest of what came.
        found: Digest,
    },
    /// A wheel cannot be unpacked.
    #[error("cannot unpack {file}")]
    Wheel {
        /// The wheel's file name.
        file: String,
        /// Why not.
        source: WheelError,
    },
}

impl InstallError {
    /// The ways out, for people.
    pub fn ways_out(&self) -> Vec<String> {
        match self {
            Self::Machine { .. } => {
                vec!["install a CUDA toolkit yourself and name it in CUDA_HOME".to_owned()]
            }
            Self::Folder { .. } | Self::Space { .. } => {
                vec!["choose another place with --data-dir or PROOFMARK_DATA".to_owned()]
            }
            Self::Fetch(error) => error.ways_out(),
            Self::NoWheel { .. } => {
                vec!["`proofmark toolchain list` names the wheels that are needed".to_owned()]
            }
            Self::WrongWheel { .. } | Self::WrongPart { .. } => vec![
                "the index serves another file under this name; nothing of it was used".to_owned(),
                "try another index, or `proofmark toolchain install --wheels FOLDER`".to_owned(),
            ],
            Self::Wheel { .. } => Vec::new(),
        }
    }
}

/// Why a toolchain could be neither found nor installed.
#[derive(Debug, thiserror::Error)]
pub enum ObtainError {
    /// What is missing cannot be installed.
    #[error(transparent)]
    Search(#[from] ToolchainError),
    /// Installing what is missing failed.
    #[error(transparent)]
    Install(#[from] InstallError),
}

impl ObtainError {
    /// The ways out, for people.
    pub fn ways_out(&self) -> Vec<String> {
        match self {
            Self::Search(error) => error.ways_out(),
            Self::Install(error) => error.ways_out(),
        }
    }
}

/// For `map_err` where the data folder is written.
pub(super) fn cannot_write(path: &Path) -> impl FnOnce(io::Error) -> InstallError {
    let path = path.to_owned();
    move |source| InstallError::Folder { path, source }
}
