//! The kernels of a cubin: what each of them takes, and its name as written.

use proofmark_packager::Digest;
use serde::Serialize;

/// One kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kernel {
    /// The symbol as linked.
    pub name: String,
    /// Size of its machine code, in bytes.
    pub code_bytes: u64,
    /// Registers a thread.
    pub registers: Option<u32>,
    /// Stack a thread, in bytes: local arrays and spilled registers.
    pub stack_bytes: Option<u32>,
    /// Static shared memory a block, in bytes, without what the system reserves.
    pub shared_bytes: u64,
    /// Offset of its machine code in the image, in bytes.
    #[serde(skip)]
    pub code_offset: u64,
    /// SHA-256 of its machine code, where that was asked for.
    #[serde(skip)]
    pub code: Option<Digest>,
}

impl Kernel {
    /// The name as its author wrote it; the symbol where that cannot be told.
    pub fn demangled(&self) -> String {
        demangle(&self.name)
    }
}

/// Longest symbol worth demangling, in bytes: template instances grow far longer when expanded.
const DEMANGLE_LIMIT: usize = 16 * 1024;

/// The name as its author wrote it; the symbol itself where that cannot be told.
pub fn demangle(symbol: &str) -> String {
    if symbol.len() > DEMANGLE_LIMIT {
        return symbol.to_owned();
    }
    let options = cpp_demangle::DemangleOptions::new().no_return_type();
    let written =
        cpp_demangle::Symbol::new(symbol).ok().and_then(|symbol| symbol.demangle_with_options(&options).ok());
    written.unwrap_or_else(|| symbol.to_owned())
}
