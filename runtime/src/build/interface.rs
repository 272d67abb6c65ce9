//! How a library meets its caller.

use object::{Object, ObjectSymbol};
use serde::{Deserialize, Serialize};

/// How a library meets its caller, which decides how it is compiled, linked and loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Interface {
    /// TVM-FFI functions: a certain one, or any where the caller asks for it only when it runs.
    TvmFfi {
        /// The function that must be exported.
        symbol: Option<String>,
    },
    /// A Python module, as `torch.utils.cpp_extension` builds it.
    Torch {
        /// The module's name.
        module: String,
    },
    /// Operators that register themselves with torch when the library is loaded.
    TorchLibrary {
        /// The name that its sources see in `TORCH_EXTENSION_NAME`.
        name: String,
    },
    /// A shared library that its caller loads and asks by itself.
    Library,
}

/// What stands before the name of a TVM-FFI function in the symbol table.
const TVM_FFI_PREFIX: &str = "__tvm_ffi_";

/// The name of the module that a submission with `binding = "torch"` becomes.
pub const TORCH_MODULE: &str = "proofmark_extension";

impl Interface {
    /// The exported name that a build's key holds: as the source spells it, or as Python looks for it.
    pub fn key(&self) -> String {
        match self {
            Self::TvmFfi { symbol: Some(symbol) } => symbol.clone(),
            Self::TvmFfi { symbol: None } => format!("{TVM_FFI_PREFIX}*"),
            Self::Torch { module } => format!("PyInit_{module}"),
            Self::TorchLibrary { name } => format!("torch.ops {name}"),
            Self::Library => "*".to_owned(),
        }
    }

    /// Whether torch and Python are in the process that loads the library.
    pub fn is_torchs(&self) -> bool {
        matches!(self, Self::Torch { .. } | Self::TorchLibrary { .. })
    }

    /// Whether the headers and the library of TVM-FFI are at hand.
    pub(super) fn has_tvm_ffi(&self) -> bool {
        !self.is_torchs()
    }

    /// Whether a library exports what its caller looks for.
    pub(crate) fn is_exported_by(&self, library: &[u8]) -> Result<bool, object::Error> {
        let file = object::File::parse(library)?;
        let found = |fits: &dyn Fn(&str) -> bool| {
            file.dynamic_symbols().any(|one| one.is_definition() && one.name().is_ok_and(fits))
        };
        Ok(match self {
            Self::TvmFfi { symbol: Some(symbol) } => {
                let wanted = format!("{TVM_FFI_PREFIX}{symbol}");
                found(&|name| name == wanted)
            }
            Self::TvmFfi { symbol: None } => found(&|name| name.starts_with(TVM_FFI_PREFIX)),
            Self::Torch { module } => {
                let wanted = format!("PyInit_{module}");
                found(&|name| name == wanted)
            }
            // Nobody says for which name of it.
            Self::TorchLibrary { .. } | Self::Library => true,
        })
    }

    /// What is wrong where it is not exported.
    pub(super) fn not_exported(&self) -> String {
        match self {
            Self::TvmFfi { symbol: Some(symbol) } => format!(
                "the library does not export `{symbol}`: expected \
                 `TVM_FFI_DLL_EXPORT_TYPED_FUNC({symbol}, …)` in one of the sources"
            ),
            Self::TvmFfi { symbol: None } => "the library exports no TVM-FFI function: expected \
                 `TVM_FFI_DLL_EXPORT_TYPED_FUNC` in one of the sources"
                .to_owned(),
            Self::Torch { module } => format!(
                "the library is no Python module `{module}`: expected \
                 `PYBIND11_MODULE(TORCH_EXTENSION_NAME, m)` in one of the sources"
            ),
            Self::TorchLibrary { name } => format!("the library `{name}` exports nothing"),
            Self::Library => "the library exports nothing".to_owned(),
        }
    }

    /// What is defined on every nvcc command line beside the submission's own flags, as the interface's own
    /// builder does it (torch 2.11, `cpp_extension.py`).
    pub(super) fn arguments(&self) -> Vec<String> {
        match self {
            Self::TvmFfi { .. } | Self::Library => Vec::new(),
            Self::Torch { module: name } | Self::TorchLibrary { name } => [
                &format!("-DTORCH_EXTENSION_NAME={name}"),
                "-DTORCH_API_INCLUDE_EXTENSION_H",
                "-D__CUDA_NO_HALF_OPERATORS__",
                "-D__CUDA_NO_HALF_CONVERSIONS__",
                "-D__CUDA_NO_BFLOAT16_CONVERSIONS__",
                "-D__CUDA_NO_HALF2_OPERATORS__",
                "--expt-relaxed-constexpr",
            ]
            .map(str::to_owned)
            .to_vec(),
        }
    }

    /// Whether whoever loads the library has loaded the definition of a symbol before: `PyTorch` and Python are
    /// in the process.
    pub(super) fn is_given_by_caller(&self, symbol: &str) -> bool {
        const OF_TORCH: [&str; 12] = [
            "2at",
            "3c10",
            "5torch",
            "6caffe2",
            "8pybind11",
            "_ZN2at",
            "_ZNK2at",
            "_ZN3c10",
            "_ZNK3c10",
            "_ZN5torch",
            "_ZNK5torch",
            "THP",
        ];
        self.is_torchs()
            && (symbol.starts_with("Py")
                || symbol.starts_with("_Py")
                || symbol.starts_with("THP")
                || (symbol.starts_with("_Z") && OF_TORCH.iter().any(|part| symbol.contains(part))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn torch_and_python_are_there_for_a_torch_module_alone() {
        let torch = Interface::Torch { module: "m".to_owned() };
        let plain = Interface::TvmFfi { symbol: Some("run".to_owned()) };
        for symbol in
            ["_ZN2at5emptyEv", "_ZTIN3c105ErrorE", "PyErr_Fetch", "_Py_Dealloc", "_ZN8pybind115errorE"]
        {
            assert!(torch.is_given_by_caller(symbol) && !plain.is_given_by_caller(symbol), "{symbol}");
        }
        assert!(!torch.is_given_by_caller("_Z7outsidef") && !torch.is_given_by_caller("cublasCreate_v2"));
    }
}
