//! A kernel as a Python entry that compiles it.

use std::path::Path;
use std::process::Command;

use crate::support::{Outcome, Sandbox, run};

const MODULE: &str = "__global__ void first(int* p) { *p = 1; }\n\
    void start(int* p) { first<<<1, 1>>>(p); }\n\
    extern \"C\" int __tvm_ffi_run(void*, const void*, int, void*) { start(nullptr); return 0; }\n";

/// A TVM-FFI whose compiler copies a library that is there; what it was asked for is printed.
const TVM_FFI: &str = "import os, shutil, sys, types\n\
    __version__ = 'stand-in'\n\
    cpp = sys.modules['tvm_ffi.cpp'] = types.ModuleType('tvm_ffi.cpp')\n\
    def build(name, cuda_files, build_directory, extra_cuda_cflags, **rest):\n    \
        print('builds', os.environ['TVM_FFI_CUDA_ARCH_LIST'], [os.path.basename(one) for one in cuda_files], extra_cuda_cflags)\n    \
        return shutil.copy(os.environ['BUILT'], os.path.join(build_directory, 'kernel.so'))\n\
    cpp.build = build\n\
    def load_module(path):\n    \
        return {'run': lambda *given: given}\n";

/// Imports the entry as a package's module and calls both of its functions.
const CALLER: &str = "import os, sys; sys.path[:0] = sys.argv[1:3]; before = dict(os.environ)\n\
    import package.entry as entry\n\
    print('restored', dict(os.environ) == before)\n\
    class Tensor:\n    \
        def __init__(self, text, whole): self.text, self.whole = text, whole\n    \
        def is_contiguous(self): return self.whole\n    \
        def contiguous(self): return Tensor('copy of ' + self.text, True)\n    \
        def copy_(self, other): print('back from', other.text)\n\
    print([one.text for one in entry.run_strided(Tensor('a', True), Tensor('b', False))], entry.run(1, 2))\n";

fn library(sandbox: &Sandbox, arch: &str) -> String {
    let document =
        run(sandbox.builder().args(["build", "kernel", "--json", "--arch", arch])).expect(0).json();
    document["library"].as_str().unwrap().to_owned()
}

fn import(sandbox: &Sandbox, built: &str) -> Outcome {
    let mut python = Command::new("python3");
    python.args(["-B", "-c", CALLER]).args([sandbox.path("site"), sandbox.path("")]);
    python.env("BUILT", built).env("XDG_CACHE_HOME", sandbox.path("kept"));
    run(&mut python)
}

#[test]
fn the_python_surface_loads_what_is_for_the_architecture_alone_and_nothing_else() {
    let sandbox = Sandbox::sharing_builds();
    sandbox.submission("kernel", &[("kernel.cu", MODULE), ("unused.cuh", "\n")]);
    run(sandbox.command().args(["pack", "kernel", "--surface", "python", "-o", "solution.json"])).expect(0);
    let solution: serde_json::Value =
        serde_json::from_slice(&std::fs::read(sandbox.path("solution.json")).unwrap()).unwrap();
    assert_eq!(solution["spec"]["language"], "python");
    assert_eq!(solution["spec"]["entry_point"], "entry.py::run");
    for source in solution["sources"].as_array().unwrap() {
        let path = Path::new("package").join(source["path"].as_str().unwrap());
        sandbox.write(path, source["content"].as_str().unwrap());
    }
    sandbox.write("site/tvm_ffi/__init__.py", TVM_FFI);

    let refused = import(&sandbox, &library(&sandbox, "sm_90a"));
    assert_ne!(refused.code, 0);
    assert!(refused.stderr.contains("NotProven") && refused.stderr.contains("sm_90"), "{}", refused.stderr);
    assert_eq!(std::fs::read_dir(sandbox.path("kept/proofmark-entry")).unwrap().count(), 0);

    let proven = library(&sandbox, "sm_100a");
    let loaded = import(&sandbox, &proven).expect(0).stdout;
    assert!(loaded.contains("builds 10.0a ['kernel.cu'] []") && loaded.contains("restored True"), "{loaded}");
    assert!(loaded.contains("back from copy of b\n['a', 'copy of b'] (1, 2)"), "{loaded}");
    let again = import(&sandbox, "/nonexistent").expect(0).stdout;
    assert!(!again.contains("builds"), "a kept build is built again: {again}");

    // A kept library that is another, with a digest that fits it.
    let kept =
        std::fs::read_dir(sandbox.path("kept/proofmark-entry")).unwrap().next().unwrap().unwrap().path();
    let other = std::fs::read(library(&sandbox, "sm_90a")).unwrap();
    std::fs::write(kept.join("kernel.so"), &other).unwrap();
    std::fs::write(kept.join("sha256"), proofmark_packager::Digest::of_bytes(&other).to_string()).unwrap();
    assert!(import(&sandbox, &proven).stderr.contains("NotProven"));
}

#[test]
fn what_is_given_out_as_a_python_surface_is_taken_in_and_proven() {
    let sandbox = Sandbox::sharing_builds();
    sandbox.submission("kernel", &[("kernel.cu", MODULE)]);
    run(sandbox.command().args(["pack", "kernel", "--surface", "python", "-o", "solution.json"])).expect(0);
    let build =
        |arch: &str| run(sandbox.builder().args(["build", "solution.json", "--json", "--arch", arch]));
    let proven = build("sm_100a").expect(0).json();
    assert_eq!((&proven["verdict"], &proven["import_error"]), (&"proven".into(), &serde_json::Value::Null));
    let library = &proven["libraries"][0];
    assert_eq!((&library["verdict"], &library["kernels"]), (&"proven".into(), &1.into()), "{proven:#}");
    // It looks into what it is given, and loads nothing that is for another architecture than its own.
    let other = build("sm_90a").expect(3).json();
    assert_eq!((&other["verdict"], &other["libraries"][0]["verdict"]), (&"unknown".into(), &"proven".into()));
    let said = other["import_error"].as_str().unwrap();
    assert!(said.contains("NotProven") && said.contains("sm_90"), "{said}");
}

#[test]
fn a_python_submission_has_no_second_python_surface() {
    let sandbox = Sandbox::new();
    sandbox.submission("kernel", &[("kernel.py", "def run(x): pass\n")]);
    let config =
        crate::support::CONFIG.replace("\"cuda\"", "\"python\"").replace("kernel.cu::run", "kernel.py::run");
    sandbox.write("kernel/config.toml", config);
    let refused = sandbox.run(["pack", "kernel", "--surface", "python", "-o", "s.json"]).expect(2);
    assert!(refused.stderr.contains("Python already"), "{}", refused.stderr);
}
