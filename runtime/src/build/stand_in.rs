//! Libraries that are linked by name alone: the machine that loads the result has the real ones.
//!
//! A stand-in is an empty function for each symbol of the library that the objects ask for. Where nothing asks,
//! the linker leaves its name out.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use object::{Object, ObjectSymbol};
use proofmark_packager::SourceFile;
use serde::{Deserialize, Serialize};

use super::symbols::is_drivers;

/// A library of CUDA that a submission may link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Linkable {
    /// The driver.
    Cuda,
    /// cuBLAS.
    Cublas,
    /// cuBLASLt.
    CublasLt,
    /// cuRAND.
    Curand,
    /// cuSPARSE.
    Cusparse,
    /// cuSOLVER.
    Cusolver,
    /// NVRTC.
    Nvrtc,
    /// cuDNN.
    Cudnn,
}

impl Linkable {
    /// Every one of them.
    pub const ALL: [Self; 8] = [
        Self::Cuda,
        Self::Cublas,
        Self::CublasLt,
        Self::Curand,
        Self::Cusparse,
        Self::Cusolver,
        Self::Nvrtc,
        Self::Cudnn,
    ];

    /// The name behind `-l`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cuda => "cuda",
            Self::Cublas => "cublas",
            Self::CublasLt => "cublasLt",
            Self::Curand => "curand",
            Self::Cusparse => "cusparse",
            Self::Cusolver => "cusolver",
            Self::Nvrtc => "nvrtc",
            Self::Cudnn => "cudnn",
        }
    }

    /// The library that is meant by `-l<name>`.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }

    /// The name under which it is loaded, in the releases of one major version of CUDA.
    pub fn soname(self, cuda_major: u32) -> String {
        let version = match (self, cuda_major) {
            (Self::Cuda, _) => 1,
            (Self::Cublas | Self::CublasLt | Self::Nvrtc, major) => major,
            (Self::Curand, _) => 10,
            (Self::Cudnn, _) => 9,
            (Self::Cusparse, _) => 12,
            (Self::Cusolver, major) => major - 1,
        };
        format!("lib{}.so.{version}", self.name())
    }

    /// Whether a function is of this library, by its name.
    pub fn owns(self, symbol: &str) -> bool {
        match self {
            Self::Cuda => is_drivers(symbol),
            Self::Cublas => symbol.starts_with("cublas") && !Self::CublasLt.owns(symbol),
            one => symbol.starts_with(one.name()),
        }
    }
}

/// Which libraries are linked without being asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum, Serialize, Deserialize)]
pub enum LinkRule {
    /// The driver and cuBLAS, where something calls them: flashinfer-bench's main branch.
    #[default]
    #[serde(rename = "bench-main")]
    BenchMain,
    /// None: flashinfer-bench 0.1.2.
    #[value(name = "bench-0.1.2")]
    #[serde(rename = "bench-0.1.2")]
    BenchReleased,
}

impl LinkRule {
    /// The libraries to offer to the linker for these sources. Only names in their text decide, so that what calls
    /// nothing of them keeps its command.
    pub(super) fn offered(self, sources: &[SourceFile]) -> Vec<Linkable> {
        const OFFERED: [Linkable; 3] = [Linkable::Cuda, Linkable::Cublas, Linkable::CublasLt];
        if self == Self::BenchReleased {
            return Vec::new();
        }
        let named = |library: &Linkable| sources.iter().any(|source| names(&source.content, *library));
        OFFERED.into_iter().filter(named).collect()
    }
}

fn names(text: &str, library: Linkable) -> bool {
    let is_part = |one: char| one.is_ascii_alphanumeric() || one == '_';
    text.split(|one| !is_part(one)).any(|word| library.owns(word))
}

/// Writes the assembly of a stand-in for what these objects ask of a library.
pub(super) fn write_assembly(library: Linkable, objects: &[Vec<u8>], path: &Path) -> io::Result<()> {
    let mut asked = BTreeSet::new();
    for object in objects {
        let Ok(file) = object::File::parse(&**object) else { continue };
        let undefined = file.symbols().filter(ObjectSymbol::is_undefined);
        let names = undefined.filter_map(|symbol| symbol.name().ok().map(str::to_owned));
        // A source chooses its symbols' names: what is no name would be text for the assembler.
        let is_plain = |name: &String| name.bytes().all(|one| one.is_ascii_alphanumeric() || one == b'_');
        asked.extend(names.filter(is_plain).filter(|name| library.owns(name)));
    }
    let functions = asked.iter().map(|name| format!(".globl {name}\n.type {name}, %function\n{name}:\n"));
    let text = functions.collect::<String>() + ".section .note.GNU-stack,\"\",%progbits\n";
    fs::write(path, format!(".text\n{text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_whose_a_function_is() {
        for (symbol, library) in [
            ("cuTensorMapEncodeTiled", Linkable::Cuda),
            ("cublasCreate_v2", Linkable::Cublas),
            ("cublasLtMatmul", Linkable::CublasLt),
            ("curandCreateGenerator", Linkable::Curand),
            ("cudnnCreate", Linkable::Cudnn),
        ] {
            let owners: Vec<_> = Linkable::ALL.into_iter().filter(|one| one.owns(symbol)).collect();
            assert_eq!(owners, [library], "{symbol}");
        }
        assert!(Linkable::ALL.iter().all(|one| !one.owns("cudaMalloc") && !one.owns("cute")));
        assert_eq!(Linkable::Cublas.soname(13), "libcublas.so.13");
        assert_eq!(Linkable::Cudnn.soname(13), "libcudnn.so.9");
    }

    #[test]
    fn what_no_source_names_is_not_offered() {
        let source = |text: &str| SourceFile { path: "k.cu".parse().unwrap(), content: text.to_owned() };
        let offered = |text: &str| LinkRule::BenchMain.offered(&[source(text)]);
        assert_eq!(offered("cudaMemcpy(a); cute::copy(b);"), []);
        assert_eq!(offered("cuTensorMapEncodeTiled(&map)"), [Linkable::Cuda]);
        assert_eq!(offered("cublasSgemm(h)"), [Linkable::Cublas]);
        assert_eq!(LinkRule::BenchReleased.offered(&[source("cublasSgemm(h)")]), []);
    }
}
