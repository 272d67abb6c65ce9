//! The programs with which `CMake` and Meson find out what a compiler can do, and which they leave in the build
//! folder: they are built for the toolkit's default architecture, whatever the project asks for.

use std::path::Path;

use crate::{EntryKind, Examination};

/// The only kernel in Meson's check, and the most that its code takes: it does nothing.
const MESON_KERNEL: &str = "_Z6kernelv";
const MESON_CODE_BYTES: u64 = 4096;

/// Whether a file is one of them: it lies where `CMake` or Meson puts them, in a folder that they made, and
/// holds no kernel but Meson's empty one and nothing that was not understood. A file that does hold another
/// is judged like any other.
pub fn is_compiler_check(file: &Path, examination: &Examination) -> bool {
    (is_of_cmake(file) && holds_no_kernel(examination, |_| false))
        || (is_of_meson(file) && holds_no_kernel(examination, |name| name == MESON_KERNEL))
}

/// `meson-private/sanity_check_for_cuda.exe`.
fn is_of_meson(file: &Path) -> bool {
    let name = file.file_name().and_then(|name| name.to_str());
    let folder =
        file.parent().filter(|folder| folder.file_name().is_some_and(|name| name == "meson-private"));
    name.is_some_and(|name| name.starts_with("sanity_check_for_cuda") || name.starts_with("sanitycheckcuda"))
        && folder.is_some_and(|folder| folder.join("coredata.dat").is_file())
}

/// `CMakeFiles/<version>/CompilerIdCUDA/…`, `CMakeFiles/<version>/CMakeDetermineCompilerABI_CUDA.bin`.
fn is_of_cmake(file: &Path) -> bool {
    file.ancestors().any(|folder| {
        let Some(parent) =
            folder.parent().filter(|parent| parent.file_name().is_some_and(|it| it == "CMakeFiles"))
        else {
            return false;
        };
        // `folder` is the one with `CMake`'s version.
        let inner = file.strip_prefix(folder).ok().and_then(|inner| inner.iter().next()?.to_str());
        let is_check = inner.is_some_and(|name| {
            name.starts_with("CompilerId") || name.starts_with("CMakeDetermineCompilerABI_")
        });
        is_check
            && folder.join("CMakeSystem.cmake").is_file()
            && parent.parent().is_some_and(|top| top.join("CMakeCache.txt").is_file())
    })
}

fn holds_no_kernel(examination: &Examination, is_empty: impl Fn(&str) -> bool) -> bool {
    examination.unaccounted.is_empty()
        && examination.entries.iter().all(|entry| {
            let holds_none = match entry.kind {
                EntryKind::Elf | EntryKind::Cubin => entry.cubin.as_ref().is_some_and(|cubin| {
                    cubin.code_bytes <= MESON_CODE_BYTES
                        && cubin.kernels.iter().all(|one| is_empty(&one.name))
                }),
                EntryKind::Ptx => {
                    entry.ptx.as_ref().is_some_and(|ptx| ptx.kernels.iter().all(|name| is_empty(name)))
                }
                EntryKind::Lto | EntryKind::Concat | EntryKind::Unknown => false,
            };
            holds_none && entry.problems.is_empty()
        })
}
