//! Why nobody can tell whether a submission builds.

use std::io;
use std::path::PathBuf;

use proofmark_packager::Arch;

use super::headers::MissingHeader;
use crate::process_tree::ProcessError;
use crate::sandbox::SandboxError;
use crate::sandbox::limits::OWN_LIMIT;
use crate::toolchain::toolkit::ARCH_SIGN;

/// Why we cannot tell whether the submission builds.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The build folder could not be made, read or removed.
    #[error("cannot use the build folder in {}", scratch.display())]
    Folder {
        /// The folder above it.
        scratch: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A compiler could not be started, or did not end in time.
    #[error(transparent)]
    Process(ProcessError),
    /// The sandbox lacks a layer and all of them were asked for, or it did not work.
    #[error(transparent)]
    Sandbox(SandboxError),
    /// Ctrl-C or a request to terminate.
    #[error("the build was interrupted")]
    Interrupted,
    /// This nvcc does not know the architecture, or a flag or its value: a fault of the request.
    #[error("{}", unsupported(complaint, archs))]
    Unsupported {
        /// What nvcc says.
        complaint: String,
        /// What it can build for, if the architecture is what it does not know.
        archs: Vec<Arch>,
    },
    /// The compiler failed for a reason that is not in the sources.
    #[error("the compiler could not work: {reason}")]
    Environment {
        /// Its own words.
        reason: String,
        /// The whole log.
        log: String,
    },
    /// A header of a known library is not there: whether the submission builds, nobody can tell.
    #[error("{missing}")]
    MissingHeader {
        /// Which one, and whose.
        missing: Box<MissingHeader>,
        /// What the compilers said.
        log: String,
    },
    /// The linker wrote something that is no library.
    #[error("the linker's output is not a shared library")]
    Library {
        /// What the reader said.
        source: object::Error,
    },
}

fn unsupported(complaint: &str, archs: &[Arch]) -> String {
    if archs.is_empty() {
        return format!("nvcc does not support what the submission asks for: {complaint}");
    }
    let archs = archs.iter().map(Arch::to_string).collect::<Vec<_>>().join(" ");
    format!(
        "nvcc does not support what is asked for: {complaint}: expected one of {archs}, some also with `a` or `f`"
    )
}

impl BuildError {
    /// The ways out, for people.
    pub fn ways_out(&self) -> Vec<String> {
        let way = match self {
            Self::MissingHeader { missing, .. } => return missing.ways_out(),
            Self::Folder { .. } => "choose another cache folder, or free some space",
            Self::Unsupported { complaint, .. } if complaint.contains(ARCH_SIGN) => {
                "choose another with --arch or `[target] arch`, or another CUDA with --cuda-home"
            }
            Self::Unsupported { .. } => "change `[target] nvcc_flags` in config.toml",
            Self::Process(ProcessError::TimedOut { .. }) => "allow more with --timeout",
            Self::Environment { reason, .. } if reason.contains("unsupported GNU version") => {
                "name a host compiler that this CUDA supports in PROOFMARK_HOST_COMPILER"
            }
            Self::Environment { reason, .. } if reason.ends_with(OWN_LIMIT) => {
                "no option raises it; a build that asks for less stays below it"
            }
            Self::Environment { .. } => "look at space, memory and the toolchain: `proofmark doctor`",
            Self::Process(_) | Self::Library { .. } => "look at the toolchain: `proofmark doctor`",
            Self::Sandbox(SandboxError::Incomplete { .. }) => {
                "`proofmark doctor` shows what this machine gives; without --require-sandbox the build goes on"
            }
            Self::Sandbox(_) => "look at the sandbox: `proofmark doctor`",
            Self::Interrupted => return Vec::new(),
        };
        vec![way.to_owned()]
    }
}
