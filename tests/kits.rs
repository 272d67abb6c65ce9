//! Headers and libraries that only some submissions need.

use std::path::PathBuf;

use crate::support::{Sandbox, data_folder, run};

/// A whole module without a header of TVM-FFI: compiled in a second.
const MODULE: &str = "__global__ void first(int* p) { *p = 1; }\n\
    void start(int* p) { first<<<1, 1>>>(p); }\n\
    extern \"C\" int __tvm_ffi_run(void*, const void*, int, void*) { start(nullptr); return called(); }\n";

fn build(sandbox: &Sandbox, text: &str, arguments: &[&str]) -> crate::support::Outcome {
    let folder = sandbox.submission("entry", &[("kernel.cu", text)]);
    run(sandbox.builder().arg("build").arg(folder).args(arguments).arg("--json"))
}

/// A data folder of its own that has the toolchain and no kit.
fn without_kits(sandbox: &Sandbox) -> PathBuf {
    let data = sandbox.path("data");
    std::fs::create_dir_all(data.join("toolchains")).unwrap();
    for entry in std::fs::read_dir(data_folder().join("toolchains")).unwrap().flatten() {
        let name = entry.file_name();
        let text = name.to_string_lossy();
        if text.starts_with("cuda-") || text.starts_with("tvm-ffi-") {
            std::os::unix::fs::symlink(entry.path(), data.join("toolchains").join(&name)).unwrap();
        }
    }
    data
}

#[test]
fn an_include_brings_its_kit_which_is_in_the_fingerprint_and_among_the_dependencies() {
    let sandbox = Sandbox::sharing_builds();
    let data = without_kits(&sandbox);
    let text = format!(
        "#include <cuda_profiler_api.h>\nstatic int called() {{ return cudaProfilerStop(); }}\n{MODULE}"
    );
    sandbox.submission("entry", &[("kernel.cu", &text)]);
    let command = |arguments: &[&str]| {
        let mut command = sandbox.builder();
        let settings = std::env::vars_os().filter(|(name, _)| {
            let name = name.to_string_lossy().to_lowercase();
            name.starts_with("pip_") || name.ends_with("_proxy") || name.starts_with("ssl_cert")
        });
        run(command.env("PROOFMARK_DATA", &data).envs(settings).args(arguments))
    };
    let refused = command(&["build", "entry", "--offline"]).expect(3);
    assert!(refused.stderr.contains("toolchain install --only profiler-api"), "{}", refused.stderr);
    command(&["seal", "entry", "-o", "sealed.zip", "--no-measure"]).expect(0);
    let mut zip = zip::ZipArchive::new(std::fs::File::open(sandbox.path("sealed.zip")).unwrap()).unwrap();
    let evidence = std::io::read_to_string(zip.by_name("evidence/build.json").unwrap()).unwrap();
    assert!(evidence.contains("<kit>/profiler-api-13.0.85"), "{evidence}");
    assert!(evidence.contains("<kit>/profiler-api/include/cuda_profiler_api.h"), "{evidence}");
}

#[test]
fn what_a_source_calls_of_cublas_is_linked_by_name_as_the_contests_main_branch_does() {
    let sandbox = Sandbox::sharing_builds();
    let text = format!(
        "extern \"C\" int cublasCreate_v2(void**);\nstatic int called() {{ return cublasCreate_v2(nullptr); }}\n{MODULE}"
    );
    let built = build(&sandbox, &text, &[]).expect(0).json();
    let library = std::fs::read(built["library"].as_str().unwrap()).unwrap();
    let needed = |name: &[u8]| library.windows(name.len()).any(|bytes| bytes == name);
    assert!(needed(b"libcublas.so.13\0") && !needed(b"libcublasLt.so"));
    let refused = build(&sandbox, &text, &["--link-as", "bench-0.1.2"]).expect(1);
    let said = format!("{}{}", refused.stdout, refused.stderr);
    assert!(said.contains("undefined symbol `cublasCreate_v2`") && said.contains("-lcublas"), "{said}");
}

#[test]
fn a_python_that_does_not_answer_is_named_and_not_its_headers() {
    use std::os::unix::fs::PermissionsExt;
    let sandbox = Sandbox::sharing_builds();
    let text = format!("#include <Python.h>\nstatic int called() {{ return 0; }}\n{MODULE}");
    let failing = sandbox.write("failing", "#!/bin/sh\necho broken\nexit 1\n");
    std::fs::set_permissions(&failing, std::fs::Permissions::from_mode(0o755)).unwrap();
    for (python, code, words) in [
        (failing.to_str().unwrap(), 3, "ended with 1: broken"),
        ("/nonexist/py", 2, "is no program that starts"),
    ] {
        let refused = build(&sandbox, &text, &["--fresh", "--python", python]).expect(code);
        assert!(refused.stderr.contains(python) && refused.stderr.contains(words), "{refused:?}");
        assert!(refused.stderr.contains("--python names it"), "{refused:?}");
        assert!(!refused.stderr.contains("Python.h"), "{refused:?}");
    }
}
