//! What is to be built, wherever it came from.

use proofmark_packager::submission::Binding;
use proofmark_packager::{Artifact, SourceFile, SourcePath};

use super::interface::{Interface, TORCH_MODULE};
use super::other_flags::OtherFlags;

/// Sources, and what they shall become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildRequest {
    /// Every file.
    pub sources: Vec<SourceFile>,
    /// The file that must be compiled, if a certain one must.
    pub entry_file: Option<SourcePath>,
    /// The sources that are compiled; `None` where all are that can be.
    pub units: Option<Vec<SourcePath>>,
    /// How the library meets its caller.
    pub interface: Interface,
    /// Flags for nvcc.
    pub nvcc_flags: Vec<String>,
    /// Flags for sources without device code, where they are others.
    pub host_flags: Option<Vec<String>>,
    /// Libraries that the submission names.
    pub dependencies: Vec<String>,
}

impl BuildRequest {
    /// What a submission of a compiled language asks for.
    pub fn of(artifact: &Artifact) -> Self {
        let manifest = artifact.manifest();
        let entry = &manifest.build.entry_point;
        let interface = match manifest.build.binding {
            Some(Binding::Torch) => Interface::Torch { module: TORCH_MODULE.to_owned() },
            Some(Binding::TvmFfi) | None => Interface::TvmFfi { symbol: Some(entry.symbol.clone()) },
        };
        let OtherFlags { host, linker, left_out: _ } = OtherFlags::of(artifact);
        let mut nvcc_flags = manifest.target.nvcc_flags.clone();
        nvcc_flags.extend(linker);
        Self {
            sources: artifact.sources().to_vec(),
            entry_file: Some(entry.file.clone()),
            units: None,
            interface,
            nvcc_flags,
            host_flags: host,
            dependencies: manifest.build.dependencies.clone(),
        }
    }
}
