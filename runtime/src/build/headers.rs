//! Which package brings a header that is not there.
//!
//! A kernel that includes headers of `torch` or CUTLASS may be right: we cannot tell without them.
//! So a missing header of a known library is no compile error but a reason why we could not judge.

use super::diagnostics::{Diagnostic, Severity};
use crate::toolchain::KitName;

/// A library whose headers a kernel may include.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Library {
    /// Its name for people.
    pub name: &'static str,
    /// The Python package that brings the headers; `None` where none does.
    pub package: Option<&'static str>,
    /// What can be done here.
    pub way_out: WayOut,
}

/// What helps where a library's headers are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WayOut {
    /// A kit of ours, or an installation of it.
    Kit,
    /// A whole CUDA toolkit has them.
    Toolkit,
    /// A whole CUDA toolkit has them, and the library is not linked.
    NotLinked,
    /// No CUDA toolkit has them: NVIDIA ships the library by itself.
    Packed,
    /// No CUDA toolkit has them, and the library is not linked.
    PackedNotLinked,
}

/// A header of a known library that the compilers did not find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingHeader {
    /// The header as included.
    pub header: String,
    /// Where it is included: a packed path and a line, if the compiler says so.
    pub place: Option<String>,
    /// The library that it belongs to.
    pub library: Library,
}

const fn library(name: &'static str, package: &'static str, way_out: WayOut) -> Library {
    Library { name, package: Some(package), way_out }
}

/// The libraries, by the first folder of an include or, without a folder, by how the name starts.
#[rustfmt::skip]
const LIBRARIES: &[(&[&str], &[&str], Library)] = &[
    (&["torch", "ATen", "c10"], &[], library("PyTorch", "torch", WayOut::Kit)),
    (&["pybind11"], &[], library("pybind11", "pybind11", WayOut::Kit)),
    (&["cutlass", "cute"], &[], library("CUTLASS", "nvidia-cutlass", WayOut::Kit)),
    (&["cub", "thrust", "cccl", "nv"], &[], library("CCCL", "nvidia-cuda-cccl", WayOut::Toolkit)),
    (&["nvtx3"], &["nvToolsExt"], library("NVTX", "nvidia-nvtx", WayOut::Toolkit)),
    (&[], &["cuda_profiler_api.h", "cudaProfiler.h"],
      library("the CUDA profiler interface", "nvidia-cuda-profiler-api", WayOut::Toolkit)),
    (&[], &["cublas"], library("cuBLAS", "nvidia-cublas", WayOut::Toolkit)),
    (&[], &["cudnn"], library("cuDNN", "nvidia-cudnn-cu13", WayOut::Packed)),
    (&[], &["curand"], library("cuRAND", "nvidia-curand", WayOut::Toolkit)),
    (&[], &["cufft"], library("cuFFT", "nvidia-cufft", WayOut::NotLinked)),
    (&[], &["cusolver"], library("cuSOLVER", "nvidia-cusolver", WayOut::Toolkit)),
    (&[], &["cusparse"], library("cuSPARSE", "nvidia-cusparse", WayOut::Toolkit)),
    (&[], &["nvrtc"], library("NVRTC", "nvidia-cuda-nvrtc", WayOut::Toolkit)),
    (&[], &["cupti"], library("CUPTI", "nvidia-cuda-cupti", WayOut::NotLinked)),
    (&[], &["nvml.h"], library("NVML", "nvidia-nvml-dev", WayOut::NotLinked)),
    (&[], &["nccl"], library("NCCL", "nvidia-nccl-cu13", WayOut::PackedNotLinked)),
    (&[], &["nvshmem"], library("NVSHMEM", "nvidia-nvshmem-cu13", WayOut::PackedNotLinked)),
];

/// The library that a header belongs to by its name.
fn library_of(header: &str) -> Option<Library> {
    let found = |(folders, starts, _): &&(&[&str], &[&str], Library)| match header.split_once('/') {
        Some((folder, _)) => folders.contains(&folder),
        None => starts.iter().any(|start| header.starts_with(start)),
    };
    if header == "Python.h" {
        let python = Library { name: "Python", package: None, way_out: WayOut::Kit };
        return Some(python);
    }
    LIBRARIES.iter().find(found).map(|(.., library)| *library)
}

/// What the compilers say of a header that they do not find.
fn missing(message: &str) -> Option<&str> {
    let host = message.strip_suffix(": No such file or directory");
    let device =
        || message.strip_prefix("cannot open source file \"").and_then(|rest| rest.strip_suffix('"'));
    host.or_else(device)
}

/// The first header of a known library that is missing.
pub(super) fn first_missing(messages: &[Diagnostic]) -> Option<MissingHeader> {
    messages.iter().filter(|one| one.severity == Severity::Error).find_map(|one| {
        let header = missing(&one.message)?;
        let place = one.file.as_ref().map(|file| match one.line {
            Some(line) => format!("{file}({line})"),
            None => file.clone(),
        });
        Some(MissingHeader { header: header.to_owned(), place, library: library_of(header)? })
    })
}

impl MissingHeader {
    /// The ways out, for people.
    pub fn ways_out(&self) -> Vec<String> {
        if self.header == "Python.h" {
            return vec![
                "install Python's headers, such as with `apt install python3-dev`, or name a Python that has them \
                 with --python"
                    .to_owned(),
            ];
        }
        if let Some(kit) = KitName::with_header(&self.header) {
            return vec![format!(
                "`proofmark toolchain install --only {}` brings it; without --offline a build does so by itself",
                kit.as_str()
            )];
        }
        let toolkit = "a whole CUDA toolkit has its headers: name one with --cuda-home";
        let packed = match self.library.package {
            Some(package) if matches!(self.library.way_out, WayOut::Packed | WayOut::PackedNotLinked) => {
                format!(
                    "no CUDA toolkit has its headers: those of the package `{package}` can be packed with the submission, in \
                 its folder"
                )
            }
            _ => "headers can be packed with the submission: put them in its folder".to_owned(),
        };
        let not_linked =
            format!("{} itself is not linked: a kernel that calls it cannot be built", self.library.name);
        match self.library.way_out {
            WayOut::Toolkit => vec![toolkit.to_owned()],
            WayOut::NotLinked => vec![toolkit.to_owned(), not_linked],
            WayOut::Kit | WayOut::Packed => vec![packed],
            // Headers alone would lead nowhere, unless a kernel calls nothing of it.
            WayOut::PackedNotLinked => vec![not_linked],
        }
    }
}

impl std::fmt::Display for MissingHeader {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { header, place, library } = self;
        write!(formatter, "`{header}` is a header of {}, which the toolchain does not have", library.name)?;
        if let Some(place) = place {
            write!(formatter, "; {place} includes it")?;
        }
        match library.package {
            Some(package) => write!(formatter, "; the package `{package}` brings it"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::diagnostics::read;
    use super::super::stand_in::Linkable;
    use super::*;

    #[test]
    fn names_the_package_of_each_known_library() {
        for (header, package) in [
            ("torch/extension.h", "torch"),
            ("ATen/cuda/CUDAContext.h", "torch"),
            ("cutlass/gemm/device/gemm.h", "nvidia-cutlass"),
            ("cute/tensor.hpp", "nvidia-cutlass"),
            ("cublas_v2.h", "nvidia-cublas"),
            ("cublasLt.h", "nvidia-cublas"),
            ("cuda_profiler_api.h", "nvidia-cuda-profiler-api"),
            ("nvtx3/nvToolsExt.h", "nvidia-nvtx"),
            ("curand_kernel.h", "nvidia-curand"),
        ] {
            let line = format!("a/k.cu:3:10: fatal error: {header}: No such file or directory");
            let found = first_missing(&read(&line)).unwrap();
            assert_eq!(found.library.package, Some(package), "{header}");
            let text = found.to_string();
            assert!(
                text.contains("a/k.cu(3)") && text.contains(package) && !found.ways_out().is_empty(),
                "{text}"
            );
        }
        let device = "k.cu(1): catastrophic error: cannot open source file \"cute/tensor.hpp\"";
        assert!(first_missing(&read(device)).is_some());
    }

    #[test]
    fn no_way_out_names_a_toolkit_without_the_header_or_denies_what_is_linked() {
        let ways = |header: &str| {
            let line = format!("k.cu:1:10: fatal error: {header}: No such file or directory");
            first_missing(&read(&line)).unwrap().ways_out()
        };
        for header in ["cudnn.h", "nccl.h", "nvshmem.h"] {
            assert!(ways(header).iter().all(|way| !way.contains("--cuda-home")), "{header}");
        }
        assert!(ways("cudnn.h")[0].contains("`nvidia-cudnn-cu13` can be packed"), "{:?}", ways("cudnn.h"));
        for library in Linkable::ALL {
            let header = format!("{}.h", library.name());
            let line = format!("k.cu:1:10: fatal error: {header}: No such file or directory");
            let found = first_missing(&read(&line)).map(|one| one.ways_out()).unwrap_or_default();
            assert!(found.iter().all(|way| !way.contains("is not linked")), "{header}: {found:?}");
        }
    }

    #[test]
    fn a_header_of_the_submission_and_an_error_of_its_own_are_the_submissions() {
        for line in [
            "k.cu:1:10: fatal error: tile.cuh: No such file or directory",
            "k.cu:1:10: fatal error: ours/cublas_v2.h: No such file or directory",
            "k.cu:1:2: error: #error torch/extension.h: No such file or directory",
            "k.cu:1:10: warning: torch/extension.h: No such file or directory",
        ] {
            assert_eq!(first_missing(&read(line)), None, "{line}");
        }
    }
}
