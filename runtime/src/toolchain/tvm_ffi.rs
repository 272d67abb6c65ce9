//! The pinned TVM-FFI: the interface that kernels export and that calls them.

use std::io;
use std::path::{Path, PathBuf};

use proofmark_packager::Digest;
use serde::Serialize;

use super::file_digests::FileDigests;

/// The library's place inside the component.
const LIBRARY: &str = "lib/libtvm_ffi.so";

/// TVM-FFI's headers and library.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TvmFfi {
    /// The folder that holds `include` and `lib`.
    pub home: PathBuf,
    /// The version of the pinned wheel.
    pub version: String,
    /// The digest of the library, which kernels are linked against.
    pub library_digest: Digest,
}

impl TvmFfi {
    /// Looks into an installed component.
    pub fn open(home: &Path, version: &str, digests: &mut FileDigests) -> io::Result<Self> {
        let library_digest = digests.digest(&home.join(LIBRARY))?;
        Ok(Self { home: home.to_owned(), version: version.to_owned(), library_digest })
    }

    /// The folder for `-I`; the header of `DLPack` is in it as well.
    pub fn include_folder(&self) -> PathBuf {
        self.home.join("include")
    }

    /// The shared library that must be loaded, globally, before a kernel is.
    pub fn library(&self) -> PathBuf {
        self.home.join(LIBRARY)
    }
}
