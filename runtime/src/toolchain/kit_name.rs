//! Libraries whose headers can be brought in, and how an include shows that one is asked for.

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// A library whose headers can be brought in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KitName {
    /// CUTLASS and `CuTe`.
    Cutlass,
    /// `PyTorch`, pybind11 with it.
    Torch,
    /// cuBLAS and cuBLASLt.
    Cublas,
    /// cuSPARSE.
    Cusparse,
    /// cuSOLVER.
    Cusolver,
    /// cuRAND.
    Curand,
    /// NVRTC.
    Nvrtc,
    /// NVTX.
    Nvtx,
    /// The CUDA profiler's interface.
    ProfilerApi,
    /// Python itself.
    Python,
}

/// What is known of a kit.
struct Facts {
    name: &'static str,
    /// First folders of includes that ask for it.
    folders: &'static [&'static str],
    /// Starts of include names without a folder that ask for it.
    starts: &'static [&'static str],
    /// Its folders to search, below its home.
    include: &'static [&'static str],
    /// Kits whose headers its own include.
    requires: &'static [KitName],
    /// A header by which a CUDA installation shows that it has all of them.
    sign: Option<&'static str>,
}

const INCLUDE: &[&str] = &["include"];

impl KitName {
    /// Those that are pinned.
    pub const PINNED: [Self; 9] = [
        Self::Cutlass,
        Self::Torch,
        Self::Cublas,
        Self::Cusparse,
        Self::Cusolver,
        Self::Curand,
        Self::Nvrtc,
        Self::Nvtx,
        Self::ProfilerApi,
    ];

    #[rustfmt::skip]
    fn facts(self) -> Facts {
        let (name, folders, starts, sign): (_, &[&str], &[&str], _) = match self {
            Self::Cutlass => ("cutlass", &["cutlass", "cute"], &[], None),
            Self::Torch => ("torch", &["torch", "ATen", "c10", "pybind11"], &[], None),
            Self::Cublas => ("cublas", &[], &["cublas"], Some("cublas_v2.h")),
            Self::Cusparse => ("cusparse", &[], &["cusparse"], Some("cusparse.h")),
            Self::Cusolver => ("cusolver", &[], &["cusolver"], Some("cusolverDn.h")),
            Self::Curand => ("curand", &[], &["curand"], Some("curand_kernel.h")),
            Self::Nvrtc => ("nvrtc", &[], &["nvrtc"], Some("nvrtc.h")),
            Self::Nvtx => ("nvtx", &["nvtx3"], &["nvToolsExt"], Some("nvtx3/nvToolsExt.h")),
            Self::ProfilerApi =>
                ("profiler-api", &[], &["cuda_profiler_api.h", "cudaProfiler.h"], Some("cuda_profiler_api.h")),
            Self::Python => ("python", &[], &["Python.h"], None),
        };
        let (include, requires): (&[&str], &[Self]) = match self {
            Self::Cutlass => (&["include", "tools/util/include"], &[]),
            Self::Torch => (
                &["include", "include/torch/csrc/api/include"],
                &[Self::Cublas, Self::Cusparse, Self::Cusolver, Self::Python],
            ),
            Self::Cusolver => (INCLUDE, &[Self::Cublas, Self::Cusparse]),
            Self::Python => (&[""], &[]),
            _ => (INCLUDE, &[]),
        };
        Facts { name, folders, starts, include, requires, sign }
    }

    /// The name in the lock file, in folder names and in `dependencies`.
    pub fn as_str(self) -> &'static str {
        self.facts().name
    }

    /// The kit that has a header, by the header's name.
    pub fn with_header(header: &str) -> Option<Self> {
        let all = Self::PINNED.into_iter().chain([Self::Python]);
        let mut all = all.map(|kit| (kit, kit.facts()));
        let found = match header.split_once('/') {
            Some((folder, _)) => all.find(|(_, facts)| facts.folders.contains(&folder)),
            None => all.find(|(_, facts)| facts.starts.iter().any(|start| header.starts_with(start))),
        };
        found.map(|(kit, _)| kit)
    }

    /// The kit that a name in `dependencies` means, if it means one.
    pub fn of_dependency(name: &str) -> Option<Self> {
        let plain = name.to_ascii_lowercase();
        let plain = plain.trim_start_matches("lib").trim_start_matches("nvidia-");
        Self::PINNED
            .into_iter()
            .find(|kit| kit.as_str() == plain || plain.starts_with(&format!("{}-", kit.as_str())))
    }

    /// Adds what the kits' own headers include.
    pub fn with_required(mut kits: BTreeSet<Self>) -> BTreeSet<Self> {
        let required: Vec<Self> = kits
            .iter()
            .flat_map(|kit| kit.facts().requires.iter().copied())
            .filter(|kit| !kits.contains(kit))
            .collect();
        if required.is_empty() {
            return kits;
        }
        kits.extend(required);
        Self::with_required(kits)
    }

    /// Whether a CUDA installation has the headers itself.
    pub fn is_in_toolkit(self, home: &Path) -> bool {
        self.facts().sign.is_some_and(|sign| home.join("include").join(sign).is_file())
    }

    /// The folders to search, relative to its home.
    pub fn include_folders(self) -> &'static [&'static str] {
        self.facts().include
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_which_kit_a_header_asks_for() {
        for (header, kit) in [
            ("cute/tensor.hpp", KitName::Cutlass),
            ("torch/extension.h", KitName::Torch),
            ("ATen/cuda/CUDAContext.h", KitName::Torch),
            ("cublasLt.h", KitName::Cublas),
            ("nvtx3/nvToolsExt.h", KitName::Nvtx),
            ("cuda_profiler_api.h", KitName::ProfilerApi),
            ("Python.h", KitName::Python),
        ] {
            assert_eq!(KitName::with_header(header), Some(kit), "{header}");
        }
        for header in ["cuda_bf16.h", "tile.cuh", "ours/cublas_v2.h", "cub/cub.cuh", "tvm/ffi/any.h"] {
            assert_eq!(KitName::with_header(header), None, "{header}");
        }
        assert_eq!(KitName::of_dependency("cuBLAS"), Some(KitName::Cublas));
        assert_eq!(KitName::of_dependency("nvidia-cutlass"), Some(KitName::Cutlass));
        assert_eq!(KitName::of_dependency("triton"), None);
    }

    #[test]
    fn a_kit_brings_what_its_headers_include() {
        let kits = KitName::with_required(BTreeSet::from([KitName::Torch]));
        assert!(
            [KitName::Cublas, KitName::Cusparse, KitName::Cusolver, KitName::Python]
                .iter()
                .all(|kit| kits.contains(kit))
        );
        assert!(!kits.contains(&KitName::Cutlass));
    }
}
