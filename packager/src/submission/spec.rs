//! What a submission says of itself: who made it, how it is built, what it must come out as.

use serde::{Deserialize, Serialize};

use crate::entry_point::EntryPoint;
use crate::target::Arch;

/// Who made what, for which operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SolutionMeta {
    /// The submission's name; it is no part of a build's key.
    pub name: String,
    /// The FlashInfer-Bench definition that it implements.
    pub definition: String,
    /// The team.
    pub author: String,
    /// Free text; the contest's packer writes an empty one.
    pub description: Option<String>,
}

/// The primary language of a submission, spelled as FlashInfer-Bench spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// Python source.
    Python,
    /// Triton, in Python files.
    Triton,
    /// C++ without device code.
    Cpp,
    /// CUDA C++.
    Cuda,
    /// `TileLang`, in Python files.
    Tilelang,
}

impl Language {
    /// Every language, in FlashInfer-Bench's order.
    pub const ALL: [Self; 5] = [Self::Python, Self::Triton, Self::Cpp, Self::Cuda, Self::Tilelang];

    /// The word in `config.toml` and `solution.json`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Triton => "triton",
            Self::Cpp => "cpp",
            Self::Cuda => "cuda",
            Self::Tilelang => "tilelang",
        }
    }

    /// Whether nvcc builds it.
    #[must_use]
    pub fn is_compiled(self) -> bool {
        matches!(self, Self::Cpp | Self::Cuda)
    }
}

/// How the compiled code meets its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Binding {
    /// The TVM-FFI C ABI; what no binding means for compiled languages.
    #[serde(rename = "tvm-ffi")]
    TvmFfi,
    /// A `PyTorch` extension.
    #[serde(rename = "torch")]
    Torch,
}

impl Binding {
    /// The word in `config.toml` and `solution.json`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TvmFfi => "tvm-ffi",
            Self::Torch => "torch",
        }
    }
}

/// How a submission is built and called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildSpec {
    /// The primary language.
    pub language: Language,
    /// Free-text hardware names; the contest's packer writes `["cuda"]`.
    pub target_hardware: Vec<String>,
    /// The exported function.
    pub entry_point: EntryPoint,
    /// Libraries that the contest should link, such as `cublas`.
    pub dependencies: Vec<String>,
    /// Whether outputs are passed in as the last arguments.
    pub destination_passing_style: bool,
    /// The calling convention; `None` means TVM-FFI for compiled languages.
    pub binding: Option<Binding>,
}

/// Our own table: what the build must come out as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The one architecture.
    pub arch: Arch,
    /// Further flags for nvcc.
    pub nvcc_flags: Vec<String>,
}

impl Default for Target {
    fn default() -> Self {
        Self { arch: Arch::SM_100A, nvcc_flags: Vec::new() }
    }
}
