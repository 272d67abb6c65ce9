//! Functions by which a program makes or loads device code.

/// Functions that find any other by a name made at run time.
pub(super) const LOADERS: [&str; 10] = [
    "dlopen",
    "dlmopen",
    "dlsym",
    "dlvsym",
    "__libc_dlopen_mode",
    "__libc_dlsym",
    "_dl_sym",
    "g_module_open",
    "g_module_symbol",
    "lt_dlopen",
];

/// Beginnings of functions that compile or load device code, or find such a function by its name.
pub(super) const FUNCTIONS: [&str; 25] = [
    "nvrtcCompileProgram",
    "nvrtcCreateProgram",
    "nvPTXCompilerC",
    "nvJitLink",
    "__nvJitLink",
    "nvvmCompileProgram",
    "nvvmCreateProgram",
    "nvFatbinCreate",
    "cuModuleLoad",
    "cuLibraryLoad",
    "cuLinkCreate",
    "cuLinkAdd",
    "cudaLibraryLoad",
    "cuGetProcAddress",
    "cudaGetDriverEntryPoint",
    "__nvrtc",
    // Tables of functions of the driver that no header names.
    "cuGetExportTable",
    "cudaGetExportTable",
    // Other ways to a driver that compiles, or takes machine code.
    "clCreateProgramWith",
    "clBuildProgram",
    "clCompileProgram",
    "clLinkProgram",
    "vkCreateCuModule",
    "optixModuleCreate",
    // A library that links what its caller hands over.
    "cufftXtSetJITCallback",
];

/// How functions begin by which Python's interpreter runs a text or a file. What only compiles a text says nothing:
/// every module of some bindings imports it (seen in Triton).
const INTERPRETER: &str = "PyRun_";

/// Whether a symbol is a function by which an interpreter runs a text or a file.
pub(super) fn is_interpreter(name: &str) -> bool {
    name.starts_with(INTERPRETER)
}

/// Whether a symbol is a function that compiles or loads device code.
pub(super) fn is_jit_function(name: &str) -> bool {
    FUNCTIONS.iter().any(|function| name.starts_with(function))
}

/// Whether the name at an offset of a table of names is one of C++: most of a program's are, and none of those that say
/// something here is, so that they need not be read to their ends.
pub(super) fn is_of_cpp(names: &[u8], offset: u32) -> bool {
    let name = usize::try_from(offset).ok().and_then(|at| names.get(at..)).unwrap_or_default();
    name.starts_with(b"_Z")
}
