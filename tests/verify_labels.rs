//! The label `runtime-jit`: on what makes device code while it runs, and on nothing else.

use std::fs;
use std::process::Command;

use crate::support::{Sandbox, repository};

/// Compiles a C++ source into a file, and says whether it carries the label.
fn is_labelled(source: &str, output: &str) -> bool {
    let sandbox = Sandbox::new();
    let file = sandbox.write("k.cpp", source);
    let object = sandbox.path("k.o");
    let tool = |program: &str, arguments: &[&str]| {
        let status = Command::new(program).args(arguments).current_dir(sandbox.path("")).status();
        assert!(status.expect("a host compiler").success(), "{program} {arguments:?}");
    };
    tool("g++", &["-O1", "-fPIC", "-c", file.to_str().unwrap(), "-o", object.to_str().unwrap()]);
    match output {
        "k.o" => {}
        "k.a" => tool("ar", &["rc", "k.a", "k.o"]),
        _ => tool("g++", &["-shared", "k.o", "-o", output]),
    }
    let document = sandbox.run(["verify", output, "--list", "--json"]).expect(0).json();
    document["labels"] == serde_json::json!(["runtime-jit"])
}

const LOADERS: [(&str, &str); 16] = [
    (
        "the driver's entry points",
        "extern \"C\" int cuGetProcAddress_v2(...); int f() { return cuGetProcAddress_v2(0); }",
    ),
    (
        "the runtime's",
        "extern \"C\" int cudaGetDriverEntryPoint(...); int f() { return cudaGetDriverEntryPoint(0); }",
    ),
    ("modules", "extern \"C\" int cuModuleLoadData(...); int f() { return cuModuleLoadData(0); }"),
    ("the linker", "extern \"C\" int cuLinkAddData_v2(...); int f() { return cuLinkAddData_v2(0); }"),
    (
        "nvJitLink",
        "extern \"C\" int __nvJitLinkCreate_13_0(...); int f() { return __nvJitLinkCreate_13_0(0); }",
    ),
    ("NVVM", "extern \"C\" int nvvmCompileProgram(...); int f() { return nvvmCompileProgram(0); }"),
    (
        "a computed name",
        "extern \"C\" void* dlopen(const char*, int); extern \"C\" int cudaMalloc(void**, long);\n\
         void* f(const char* n) { cudaMalloc(0, 0); return dlopen(n, 1); }",
    ),
    (
        "a table of the driver's",
        "extern \"C\" int cuGetExportTable(...); int f() { return cuGetExportTable(0); }",
    ),
    (
        "OpenCL",
        "extern \"C\" void* clCreateProgramWithBinary(...); void* f() { return clCreateProgramWithBinary(0); }",
    ),
    (
        "a program of OpenCL",
        "extern \"C\" int clBuildProgram(...); int f(void* p) { return clBuildProgram(p); }",
    ),
    (
        "a callback that cuFFT links",
        "extern \"C\" int cufftXtSetJITCallback(...); int f(void* p) { return cufftXtSetJITCallback(p); }",
    ),
    (
        "an interpreter",
        "extern \"C\" int PyRun_SimpleStringFlags(...); extern \"C\" int cudaMalloc(...);\n\
         int f(const char* text) { cudaMalloc(0, 0); return PyRun_SimpleStringFlags(text, 0); }",
    ),
    (
        "a loader under another name",
        "extern \"C\" void* __libc_dlopen_mode(const char*, int); extern \"C\" int cudaMalloc(void**, long);\n\
         void* f(const char* n) { cudaMalloc(0, 0); return __libc_dlopen_mode(n, 1); }",
    ),
    (
        "a compiler by the kernel's own call",
        "extern \"C\" long syscall(long, ...); long f() { return syscall(59, \"/usr/bin/ptxas\", 0, 0); }",
    ),
    (
        "a PTX template",
        "extern \"C\" int printf(const char*, ...); void f(const char* t) { printf(\".version 8.0\\n.target %s\\n\", t); }",
    ),
    (
        "a compiler",
        "extern \"C\" int system(const char*); int f() { return system(\"ptxas -arch=sm_90 k.ptx\"); }",
    ),
];

#[test]
fn whatever_loads_or_compiles_at_run_time_is_labelled_as_object_archive_and_library() {
    for (name, source) in LOADERS {
        for output in ["k.o", "k.a", "k.so"] {
            assert!(is_labelled(source, output), "{name} in {output}");
        }
    }
}

#[test]
fn whatever_does_nothing_of_the_kind_is_not_labelled() {
    for (name, source) in [
        ("plain code", "int f() { return 1; }"),
        (
            "plugins without CUDA",
            "extern \"C\" void* dlopen(const char*, int); void* f(const char* n) { return dlopen(n, 1); }",
        ),
        ("programs without CUDA", "extern \"C\" int system(const char*); int f() { return system(\"ls\"); }"),
        (
            "launches",
            "extern \"C\" int cudaLaunchKernel(...); extern \"C\" int cudaMalloc(...);\n\
             int f() { return cudaLaunchKernel(0) + cudaMalloc(0); }",
        ),
        (
            "tensor maps of the driver",
            "extern \"C\" int cuTensorMapEncodeTiled(...); int f() { return cuTensorMapEncodeTiled(0); }",
        ),
        (
            "an interpreter without CUDA",
            "extern \"C\" int PyRun_SimpleStringFlags(...); int f(const char* t) { return PyRun_SimpleStringFlags(t, 0); }",
        ),
        (
            "plans of transforms",
            "extern \"C\" int cufftPlan1d(...); extern \"C\" int cufftXtSetCallback(...);\n\
             int f() { return cufftPlan1d(0) + cufftXtSetCallback(0); }",
        ),
        (
            "modules of Python",
            "extern \"C\" void* PyImport_ImportModule(...); extern \"C\" int cudaMalloc(...);\n\
             void* f() { cudaMalloc(0, 0); return PyImport_ImportModule(\"numpy\"); }",
        ),
        ("words", "const char* f() { return \"nvcc and ptxas are compilers; .target is a directive\"; }"),
    ] {
        for output in ["k.o", "k.so"] {
            assert!(!is_labelled(source, output), "{name} in {output}");
        }
    }
}

#[test]
fn a_call_of_the_static_runtime_is_a_sign_in_what_was_stripped() {
    let runtime = "#define OWN extern \"C\" __attribute__((visibility(\"hidden\"), noinline))\n\
        const char* volatile called; const char* volatile text = \"cudaErrorInsufficientDriver\";\n\
        OWN int cudaMalloc(void* p) { called = \"cudaMalloc\"; return p != 0; }\n\
        OWN int cudaLibraryLoadData(void* p) { called = \"cudaLibraryLoadData\"; return p == 0; }\n";
    for (function, body, expected) in [
        ("loads", "return cudaLibraryLoadData(p);", serde_json::json!(["runtime-jit"])),
        (
            "hands it on",
            "called = (const char*)cudaLibraryLoadData; return 0;",
            serde_json::json!(["runtime-jit"]),
        ),
        (
            "calls it by a table",
            "static int (*const table[])(void*) = {cudaMalloc, cudaLibraryLoadData}; return table[called != 0](p);",
            serde_json::json!(["runtime-jit"]),
        ),
        ("allocates", "return cudaMalloc(p);", serde_json::json!([])),
    ] {
        let sandbox = Sandbox::new();
        sandbox.write("k.cpp", format!("{runtime}int f(void* p) {{ {body} }}"));
        let arguments = ["-O1", "-fPIC", "-shared", "-s", "-fno-toplevel-reorder", "k.cpp", "-o", "k.so"];
        let status = Command::new("g++").args(arguments).current_dir(sandbox.path("")).status();
        assert!(status.expect("a host compiler").success());
        let labels = sandbox.run(["verify", "k.so", "--list", "--json"]).expect(0).json()["labels"].clone();
        assert_eq!(labels, expected, "{function}");
    }
}

#[test]
fn no_honest_fixture_is_labelled() {
    let sandbox = Sandbox::new();
    let folder = repository().join("tests/fixtures/proof");
    for item in fs::read_dir(folder).unwrap() {
        let path = item.unwrap().path();
        let document = sandbox.run(["verify", path.to_str().unwrap(), "--list", "--json"]).expect(0).json();
        assert_eq!(document["labels"], serde_json::json!([]), "{}", path.display());
    }
}

#[test]
fn python_that_compiles_labels_a_folder_and_other_python_does_not() {
    let sandbox = Sandbox::new();
    sandbox.write("honest/a.py", "import numpy\n# triton, nvcc and ptxas are compilers\n");
    sandbox.write("jit/a.py", "import triton\n@triton.jit\ndef k(): pass\n");
    let labels = |folder: &str| sandbox.run(["verify", folder, "--list", "--json"]).json()["labels"].clone();
    assert_eq!(labels("honest"), serde_json::json!([]));
    assert_eq!(labels("jit"), serde_json::json!(["runtime-jit"]));
}

#[test]
fn what_stands_behind_ptx_in_a_text_is_read() {
    let sandbox = Sandbox::new();
    let ptx = ".version 9.0\n.target sm_90\n.address_size 64\n.visible .entry k() { ret; }\n";
    let template = "TEXT = \"\"\"\n.version 9.0\n.target {arch}\n\"\"\"\n";
    let compiles = "import triton\n@triton.jit\ndef k(): pass\n";
    for (name, rest, expected) in [
        ("plain.py", "import numpy\n", serde_json::json!([])),
        ("compiles.py", compiles, serde_json::json!(["runtime-jit"])),
        ("template.py", template, serde_json::json!(["runtime-jit"])),
        ("source.txt", "nvrtcCompileProgram(p, 0, 0);", serde_json::json!(["runtime-jit"])),
    ] {
        sandbox.write(name, format!("PTX = \"\"\"\n{ptx}\"\"\"\n{rest}"));
        let document = sandbox.run(["verify", name, "--list", "--json"]).expect(0).json();
        assert_eq!(document["labels"], expected, "{name}");
        assert_eq!(document["entries"][0]["kind"], "ptx", "{name}");
    }
}

#[test]
fn what_one_object_of_an_archive_looks_up_is_a_sign_where_another_is_about_cuda() {
    let sandbox = Sandbox::new();
    let finder =
        "extern \"C\" void* dlsym(void*, const char*); void* f(const char* n) { return dlsym(0, n); }";
    let tool = |program: &str, arguments: &[&str]| {
        let status = Command::new(program).args(arguments).current_dir(sandbox.path("")).status();
        assert!(status.expect("a host compiler").success(), "{program} {arguments:?}");
    };
    let labels = |name: &str| sandbox.run(["verify", name, "--list", "--json"]).json()["labels"].clone();
    for (name, source) in [("finder", finder), ("other", "int g() { return 1; }")] {
        sandbox.write(format!("{name}.cpp"), source);
        tool("g++", &["-O1", "-fPIC", "-c", &format!("{name}.cpp"), "-o", &format!("{name}.o")]);
    }
    fs::copy(repository().join("tests/fixtures/proof/exact_13.0.o"), sandbox.path("exact.o")).unwrap();
    for (name, other, expected) in [
        ("with.a", "exact.o", serde_json::json!(["runtime-jit"])),
        ("without.a", "other.o", serde_json::json!([])),
    ] {
        tool("ar", &["rc", name, "finder.o", other]);
        assert_eq!(labels(name), expected, "{name}");
    }
}

#[test]
fn a_text_is_a_sign_in_any_section_of_data() {
    for section in [".rodata.of.mine", ".names", ".data.rel.ro"] {
        let source =
            format!("__attribute__((section(\"{section}\"), used)) const char name[] = \"libnvrtc.so.13\";");
        assert!(is_labelled(&source, "k.so"), "{section}");
    }
}
