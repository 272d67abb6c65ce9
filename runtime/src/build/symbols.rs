//! Which functions a library gives and which it lacks.
//!
//! A shared library may be linked although nobody defines what it calls; then loading it fails, or
//! the call does. The linker does not say so, so we look: what the library leaves undefined must be
//! defined by one of the libraries that it was linked against.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use object::{Object, ObjectSymbol};

use super::stand_in::Linkable;
use crate::proof::demangle;

/// What the library calls and none of the linked libraries defines, sorted.
pub(super) fn undefined<'a>(
    library: &[u8],
    linked: impl Iterator<Item = &'a Path>,
) -> Result<BTreeSet<String>, object::Error> {
    let file = object::File::parse(library)?;
    let wanted = file.dynamic_symbols().filter(|symbol| symbol.is_undefined() && !symbol.is_weak());
    let mut missing: BTreeSet<String> = wanted
        .filter_map(|symbol| symbol.name().ok().filter(|name| !name.is_empty()).map(str::to_owned))
        .collect();
    for path in linked {
        if missing.is_empty() {
            break;
        }
        // Archives and linker scripts are in the library already, or name others of the list.
        let Ok(bytes) = fs::read(path) else { continue };
        let Ok(shared) = object::File::parse(&*bytes) else { continue };
        // Not `is_definition`: libc chooses some functions at load time, and these are of a type of their own.
        for symbol in shared.dynamic_symbols().filter(|symbol| !symbol.is_undefined()) {
            if let Ok(name) = symbol.name() {
                missing.remove(name);
            }
        }
    }
    Ok(missing)
}

/// Whether an object file calls a function that it does not define.
pub(super) fn calls(object: &[u8], symbol: &str) -> bool {
    let Ok(file) = object::File::parse(object) else { return false };
    file.symbols().any(|found| found.is_undefined() && found.name() == Ok(symbol))
}

/// Whether a function is the CUDA driver's by its name: `cuLaunchKernel`.
pub(super) fn is_drivers(symbol: &str) -> bool {
    symbol.strip_prefix("cu").is_some_and(|rest| rest.starts_with(|one: char| one.is_ascii_uppercase()))
}

/// What may be done about a function that nobody defines.
pub(super) fn hint(symbol: &str) -> String {
    let library = ["cublas", "cudnn", "cufft", "curand", "cusolver", "cusparse", "nccl", "nvrtc"]
        .into_iter()
        .find(|library| symbol.starts_with(library));
    let torch = ["2at", "3c10", "5torch", "6caffe2", "8pybind11"];
    let is_torchs = symbol.starts_with("Py")
        || symbol.starts_with("_Py")
        || symbol.starts_with("THP")
        || (symbol.starts_with("_Z") && torch.iter().any(|part| symbol.contains(part)));
    if is_drivers(symbol) {
        "the CUDA driver defines it: add `-lcuda` to `[target] nvcc_flags` in config.toml".to_owned()
    } else if let Some(library) = library.filter(|library| Linkable::named(library).is_none()) {
        format!("{library} is not linked here: a kernel that calls it cannot be built")
    } else if let Some(library) = library {
        format!("{library} is not linked: add `-l{library}` to `[target] nvcc_flags` in config.toml")
    } else if is_torchs {
        "PyTorch and Python are there for `binding = \"torch\"` alone: set it, or pass tensors as `tvm::ffi::TensorView`".to_owned()
    } else if symbol.starts_with("__cudaRegisterLinkedBinary") {
        "with `-rdc=true` every source with device code must be packed".to_owned()
    } else {
        format!("is the source that defines `{}` packed, and is the signature the same?", demangle(symbol))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_whose_a_function_is() {
        for (symbol, word) in [
            ("cuTensorMapEncodeTiled", "-lcuda"),
            ("cublasSgemm_v2", "-lcublas"),
            ("_ZN2at5emptyEv", "PyTorch"),
            ("_Z7outsidef", "`outside(float)`"),
        ] {
            assert!(hint(symbol).contains(word), "{symbol}: {}", hint(symbol));
        }
        let hint = hint("ncclAllReduce");
        assert!(!hint.contains("-lnccl") && hint.contains("cannot be built"), "{hint}");
        assert!(!is_drivers("cudaMalloc") && !is_drivers("custom"));
    }
}
