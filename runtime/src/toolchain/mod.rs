//! Finds, installs and identifies everything that turns sources into a library.
//!
//! A toolchain is a CUDA compiler, a host compiler and TVM-FFI. CUDA is taken from the first of
//! `--cuda-home`, `CUDA_HOME`/`CUDA_PATH`, `nvcc` on `PATH`, `/usr/local/cuda`, and the pinned one
//! that [`install()`] installs. TVM-FFI is always the pinned one, and the host compiler is the
//! machine's g++.
//!
//! | file | noun |
//! |---|---|
//! | [`search`] | the order, and the toolchain that comes out |
//! | [`toolkit`] | a CUDA installation and its release |
//! | [`host_compiler`] | g++ and the programs behind it |
//! | [`tvm_ffi`] | headers and library of the kernel interface |
//! | [`kit_name`] | libraries whose headers only some submissions need |
//! | [`kit`] | the headers of one, where they are |
//! | [`kit_search`] | where these come from |
//! | [`fingerprint`] | the identity of all of it |
//! | [`file_digests`] | why identifying costs milliseconds |
//! | [`data_folder`] | where pinned components live |
//! | [`lock_file`] | what is pinned |
//! | [`mod@install`] | how it gets there |

pub mod data_folder;
pub mod file_digests;
pub mod fingerprint;
pub mod host_compiler;
pub mod install;
pub mod kit;
pub mod kit_name;
pub mod kit_search;
pub mod lock_file;
pub mod search;
pub mod toolkit;
pub mod tvm_ffi;

pub use data_folder::DataFolder;
pub use file_digests::{DigestTrust, FileDigests};
pub use fingerprint::Fingerprint;
pub use host_compiler::{HostCompiler, HostCompilerError};
pub use install::{InstallError, InstallRequest, ObtainError, Progress, Step, find_or_install, install};
pub use kit::Kit;
pub use kit_name::KitName;
pub use kit_search::{KitSearch, KitSearchError, PythonFault, UnansweringPython};
pub use search::{Origin, Search, Toolchain, ToolchainError, find};
pub use toolkit::{Release, Toolkit, ToolkitFault};
pub use tvm_ffi::TvmFfi;
