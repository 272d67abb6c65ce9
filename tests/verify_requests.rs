//! What `proofmark verify` makes of the files that build systems leave beside their output.

use std::fs;

use serde_json::Value;

use crate::support::{Sandbox, repository};

fn fixture(name: &str) -> Vec<u8> {
    fs::read(repository().join("tests/fixtures/proof").join(name)).unwrap()
}

fn verdict(sandbox: &Sandbox, path: &str) -> String {
    verified(sandbox, path)["verdict"].as_str().unwrap().to_owned()
}

fn verified(sandbox: &Sandbox, path: &str) -> Value {
    sandbox.run(["verify", path, "--json"]).json()
}

const EXACT: &str = "-gencode=arch=compute_100a,code=sm_100a";
const OLDER: &str = "-gencode=arch=compute_90a,code=sm_90a";

/// A build folder as the Ninja generator of `CMake` leaves one: rules in a file of their own, flags on each statement.
fn cmake_ninja(sandbox: &Sandbox, folder: &str, flags: &str) {
    sandbox.write(
        format!("{folder}/CMakeFiles/rules.ninja"),
        "rule CUDA\n  command = ${LAUNCHER}/opt/cuda/bin/nvcc $DEFINES $INCLUDES $FLAGS -x cu -c $in -o $out\n\
         rule LINK\n  command = : && /usr/bin/g++ -shared -o $TARGET_FILE $in && :\n",
    );
    sandbox.write(
        format!("{folder}/build.ninja"),
        format!(
            "include CMakeFiles/rules.ninja\n\
             build CMakeFiles/k.dir/k.cu.o: CUDA /src/k.cu\n  FLAGS = -O3 {flags}\n\
             build libk.so: LINK CMakeFiles/k.dir/k.cu.o\n  TARGET_FILE = libk.so\n"
        ),
    );
}

#[test]
fn a_stale_library_of_cmake_and_ninja_is_found_and_a_fresh_one_is_not_accused() {
    let sandbox = Sandbox::new();
    sandbox.write("build/libk.so", fixture("exact_13.0.so"));
    cmake_ninja(&sandbox, "build", EXACT);
    assert_eq!(verdict(&sandbox, "build"), "exact");
    cmake_ninja(&sandbox, "build", OLDER);
    assert_eq!(verdict(&sandbox, "build"), "contradicted");
}

#[test]
fn a_build_folder_inside_of_the_folder_is_read_too() {
    let sandbox = Sandbox::new();
    sandbox.write("project/out/deep/libk.so", fixture("exact_13.0.so"));
    cmake_ninja(&sandbox, "project/out/deep", OLDER);
    assert_eq!(verdict(&sandbox, "project"), "contradicted");
}

#[test]
fn two_libraries_for_two_architectures_are_each_held_against_their_own_command() {
    let sandbox = Sandbox::new();
    let ninja = |second: &str| {
        format!(
            "rule c\n  command = nvcc $f -c $in -o $out\nrule l\n  command = g++ -shared $in -o $out\n\
             build a.o: c a.cu\n  f = {EXACT}\nbuild b.o: c b.cu\n  f = {second}\n\
             build a.so: l a.o\nbuild b.cubin: l b.o\n"
        )
    };
    sandbox.write("build/a.so", fixture("exact_13.0.so"));
    sandbox.write("build/b.cubin", fixture("hopper_12.9.cubin"));
    sandbox.write("build/build.ninja", ninja(OLDER));
    let document = verified(&sandbox, "build");
    assert_eq!(document["verdict"], "mixed", "{document:#}");
    assert_eq!(document["requested"], Value::Null);
    assert_eq!(document["targets"].as_array().unwrap().len(), 2);
    assert_eq!(document["files"][0]["verdict"], "exact");
    sandbox.write("build/build.ninja", ninja("-arch=compute_80 -code=sm_80"));
    let document = sandbox.run(["verify", "build", "--arch", "sm_90a", "--json"]).json();
    assert_eq!(document["verdict"], "contradicted", "{document:#}");
    let accused =
        document["findings"].as_array().unwrap().iter().find(|one| one["verdict"] == "contradicted");
    assert!(accused.unwrap()["file"].as_str().unwrap().ends_with("b.cubin"), "{document:#}");
}

#[test]
fn a_compilation_database_beside_a_ninja_file_is_read_as_well() {
    let sandbox = Sandbox::new();
    sandbox.write("build/libk.so", fixture("exact_13.0.so"));
    cmake_ninja(&sandbox, "build", EXACT);
    let folder = sandbox.path("build");
    let command = |flags: &str| {
        serde_json::json!([{ "directory": folder, "command": format!("nvcc {flags} -c k.cu -o CMakeFiles/k.dir/k.cu.o") }])
            .to_string()
    };
    sandbox.write("build/compile_commands.json", command(EXACT));
    assert_eq!(verdict(&sandbox, "build"), "exact");
    sandbox.write("build/compile_commands.json", command(OLDER));
    assert_eq!(verdict(&sandbox, "build"), "contradicted");
}

#[test]
fn a_file_of_options_counts_where_it_is_and_accuses_nobody_where_it_is_gone() {
    let sandbox = Sandbox::new();
    sandbox.write("build/k.so", fixture("exact_13.0.so"));
    let ninja = format!(
        "rule c\n  command = nvcc {EXACT} --options-file more.rsp -c $in -o $out\n\
         rule l\n  command = g++ $in -o $out\nbuild k.o: c k.cu\nbuild k.so: l k.o\n"
    );
    sandbox.write("build/build.ninja", ninja);
    assert_eq!(verdict(&sandbox, "build"), "exact");
    sandbox.write("build/more.rsp", "-I/include\n");
    assert_eq!(verdict(&sandbox, "build"), "exact");
    sandbox.write("build/more.rsp", OLDER);
    assert_eq!(verdict(&sandbox, "build"), "contradicted");
}

#[test]
fn what_stands_around_nvcc_in_a_command_counts() {
    for (command, expected) in [
        (format!("nvcc {EXACT} -c $in -o $out"), "exact"),
        (format!("cd . && ccache nvcc-13 {EXACT} -c $in -o $out; true"), "exact"),
        (format!("sh -c 'nvcc.exe {EXACT} -c $in -o $out'"), "exact"),
        (format!("NVCC_APPEND_FLAGS='{OLDER}' nvcc {EXACT} -c $in -o $out"), "contradicted"),
        (format!("export NVCC_PREPEND_FLAGS='{OLDER}'; nvcc {EXACT} -c $in -o $out"), "contradicted"),
        (format!("nvcc {EXACT} -c $in -o $out && nvcc {OLDER} -c $in -o $out"), "contradicted"),
        (format!("(nvcc-13 {OLDER} -c $in -o $out) || true"), "contradicted"),
        ("clang++ -x cuda --cuda-gpu-arch=sm_90a -c $in -o $out".to_owned(), "contradicted"),
        (format!("echo nvcc {OLDER} k.cu; nvcc {EXACT} -c $in -o $out"), "exact"),
    ] {
        let sandbox = Sandbox::new();
        sandbox.write("build/k.so", fixture("exact_13.0.so"));
        let ninja = format!(
            "rule c\n  command = {command}\nrule l\n  command = g++ $in -o $out\n\
             build k.o: c k.cu\nbuild k.so: l k.o\n"
        );
        sandbox.write("build/build.ninja", ninja);
        assert_eq!(verdict(&sandbox, "build"), expected, "{command}");
    }
}

#[test]
fn what_cmake_leaves_of_its_own_is_passed_over_unless_it_holds_a_kernel() {
    let sandbox = Sandbox::new();
    sandbox.write("build/libk.so", fixture("exact_13.0.so"));
    sandbox.write("build/CMakeCache.txt", "");
    sandbox.write("build/CMakeFiles/4.1.0/CMakeSystem.cmake", "");
    let empty = ".version 9.0\n.target sm_75\n.address_size 64\n";
    sandbox.write("build/CMakeFiles/4.1.0/CompilerIdCUDA/tmp/CMakeCUDACompilerId.ptx", empty);
    let document = verified(&sandbox, "build");
    assert_eq!(
        (&document["verdict"], &document["passed_over"]),
        (&"exact".into(), &1.into()),
        "{document:#}"
    );
    // The same file elsewhere, and a kernel in its place, are judged.
    sandbox.write("build/other/CMakeFiles/4.1.0/CompilerIdCUDA/tmp/k.ptx", empty);
    assert_eq!(verdict(&sandbox, "build"), "mixed");
    fs::remove_dir_all(sandbox.path("build/other")).unwrap();
    sandbox.write("build/CMakeFiles/4.1.0/CompilerIdCUDA/a.out", fixture("hopper_12.9.cubin"));
    assert_eq!(verdict(&sandbox, "build"), "mixed");
}

#[test]
fn a_ninja_file_that_refers_to_itself_costs_little_and_is_named() {
    let sandbox = Sandbox::new();
    sandbox.write("build/k.so", fixture("exact_13.0.so"));
    let mut ninja = "a = 0123456789\n".to_owned() + &"a = $a$a$a$a\n".repeat(200_000);
    ninja += "rule r\n  x = $y$y\n  y = $x$x\n  command = nvcc $x $a -c $in\nbuild k.o: r k.cu\ninclude build.ninja\n";
    sandbox.write("build/build.ninja", ninja);
    let started = std::time::Instant::now();
    let text = sandbox.run(["verify", "build"]).stdout;
    assert!(text.contains("note  "), "{text}");
    assert!(started.elapsed().as_secs() < 60, "{:?}", started.elapsed());
}

#[test]
fn sources_are_built_only_when_asked_and_binaries_beside_them_are_read() {
    let sandbox = Sandbox::new();
    sandbox.submission("sample", &[("kernel.cu", "no C++")]);
    let text = sandbox.run(["verify", "sample"]).expect(1).stdout;
    assert!(text.starts_with("ABSENT"), "{text}");
    sandbox.write("sample/kernel.so", fixture("exact_13.0.so"));
    sandbox.run(["verify", "sample"]).expect(0);
    sandbox.write("sample/other.cubin", fixture("hopper_12.9.cubin"));
    assert_eq!(verdict(&sandbox, "sample"), "mixed");
    assert!(!sandbox.cache().exists(), "nothing was built");
    let outcome = sandbox.run(["verify", "sample/kernel.so", "--build"]).expect(2);
    assert!(outcome.stderr.contains("holds no sources"), "{outcome:?}");
}
