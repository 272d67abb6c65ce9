//! Where the includes of a submission are looked for, in the compiler's order.
//!
//! Beside the including file, in the folders that `-I` flags name, at the top of the submission: the
//! contest's builder and ours pass that folder as an include path. Angle includes skip the first.

use std::path::{Component, Path};

use super::includes::{Include, IncludeKind};

/// First parts of paths that belong to CUDA, TVM-FFI and the libraries that kernels are built with.
const TOOLCHAIN_FOLDERS: [&str; 18] = [
    "ATen",
    "c10",
    "cccl",
    "cooperative_groups",
    "cub",
    "cuco",
    "cuda",
    "cudaq",
    "cute",
    "cutlass",
    "dlpack",
    "mathdx",
    "nv",
    "nvtx3",
    "sys",
    "thrust",
    "torch",
    "tvm",
];

/// Starts of names that CUDA's own headers have.
const TOOLCHAIN_NAMES: [&str; 13] = [
    "cooperative_groups",
    "cublas",
    "cuComplex",
    "cuda",
    "cudnn",
    "cufft",
    "curand",
    "cusolver",
    "cusparse",
    "cutensor",
    "nvrtc",
    "sm_",
    "std",
];

/// CUDA's headers whose names tell nothing.
const TOOLCHAIN_HEADERS: [&str; 10] = [
    "assert.h",
    "device_launch_parameters.h",
    "driver_types.h",
    "fatbinary_section.h",
    "limits.h",
    "math.h",
    "math_constants.h",
    "mma.h",
    "string.h",
    "vector_types.h",
];

/// The folders of `-I` flags, relative to the source root.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SearchPath(Vec<String>);

impl SearchPath {
    /// Takes the include folders out of nvcc's flags. What leads outside is left to the builder,
    /// which refuses it.
    pub(super) fn of(flags: &[String]) -> Self {
        let mut folders = Vec::new();
        let mut rest = flags.iter().map(String::as_str);
        while let Some(flag) = rest.next() {
            let folder = match flag {
                "-I" | "--include-path" => rest.next(),
                _ => flag
                    .strip_prefix("--include-path=")
                    .or_else(|| flag.strip_prefix("-I").map(|folder| folder.trim_start_matches('='))),
            };
            folders.extend(folder.and_then(|folder| normalise(Path::new(folder))));
        }
        Self(folders)
    }

    /// Where an include may stand, as paths from the source root; `None` if it is a quoted one that
    /// leads outside.
    pub(super) fn candidates(&self, folder: &str, include: &Include) -> Option<Vec<String>> {
        let from = |folder: &str| normalise(&Path::new(folder).join(&include.name));
        let on_path = self.0.iter().filter_map(|folder| from(folder));
        match include.kind {
            IncludeKind::Quoted => {
                let beside = from(folder)?;
                Some(std::iter::once(beside).chain(on_path).chain(from("")).collect())
            }
            IncludeKind::Angle => Some(on_path.chain(from("")).collect()),
            IncludeKind::Computed => Some(Vec::new()),
        }
    }
}

/// Where a name leads from a folder and from the root.
pub(super) fn beside_or_root(folder: &str, name: &str) -> impl Iterator<Item = String> {
    let beside = normalise(&Path::new(folder).join(name));
    beside.into_iter().chain(normalise(Path::new(name)))
}

/// Whether a name looks like a header that the toolchain brings.
pub(super) fn is_toolchain_header(name: &str) -> bool {
    let first = name.split('/').next().unwrap_or_default();
    if name.contains('/') {
        return TOOLCHAIN_FOLDERS.contains(&first);
    }
    // The C++ library's own names have no extension.
    !name.contains('.')
        || TOOLCHAIN_HEADERS.contains(&name)
        || TOOLCHAIN_NAMES.iter().any(|start| name.starts_with(start))
}

/// Resolves `.` and `..` by text alone; `None` if the path leaves its root.
fn normalise(path: &Path) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::CurDir => {}
            Component::ParentDir => {
                parts.pop()?;
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_forms_that_the_builder_takes() {
        let flags =
            ["-Ia", "-I", "./b/", "--include-path", "c/d", "--include-path=e", "-I/usr", "-I../x", "-I."];
        let flags: Vec<_> = flags.map(str::to_owned).into();
        assert_eq!(SearchPath::of(&flags).0, ["a", "b", "c/d", "e", ""]);
        assert_eq!(SearchPath::of(&["-O3".to_owned(), "-I".to_owned()]), SearchPath::default());
    }

    #[test]
    fn searches_in_the_compilers_order() {
        let search = SearchPath(vec!["inc".to_owned()]);
        let include = |kind, name: &str| Include { line: 1, kind, name: name.to_owned() };
        let quoted = search.candidates("k", &include(IncludeKind::Quoted, "t.h"));
        assert_eq!(quoted.unwrap(), ["k/t.h", "inc/t.h", "t.h"]);
        assert_eq!(search.candidates("k", &include(IncludeKind::Angle, "t.h")).unwrap(), ["inc/t.h", "t.h"]);
        assert_eq!(search.candidates("", &include(IncludeKind::Quoted, "../t.h")), None);
        assert_eq!(search.candidates("", &include(IncludeKind::Angle, "/t.h")).unwrap(), [""; 0]);
    }

    #[test]
    fn knows_the_toolchains_headers_from_others() {
        for name in
            ["cuda_bf16.h", "tvm/ffi/any.h", "cutlass/a.h", "mma.h", "vector", "stdint.h", "sm_80_rt.h"]
        {
            assert!(is_toolchain_header(name), "{name}");
        }
        for name in ["tile.cuh", "mma.cuh", "ours/cuda.h", "helpers.h"] {
            assert!(!is_toolchain_header(name), "{name}");
        }
    }
}
