//! The line with the real compiler: build, prove, cache, seal, replay.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::support::{CONFIG, Sandbox, repository, run};

/// A small honest kernel; `__LINE__`, an anonymous namespace and a template are the usual sources of
/// builds that differ. It exports through the C header, which compiles faster than the C++ one.
const KERNEL: &str = r#"#include <cuda_runtime.h>
#include <tvm/ffi/c_api.h>
#include "scale.cuh"

namespace {
template <int kFactor>
__global__ void scale_kernel(const float* x, float* y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = scale<kFactor>(x[i]);
}

void run(const DLTensor* x, const DLTensor* y) {
  int n = static_cast<int>(x->shape[0]);
  scale_kernel<2><<<(n + 255) / 256, 256>>>(static_cast<const float*>(x->data), static_cast<float*>(y->data), n);
}
}  // namespace

extern "C" TVM_FFI_DLL_EXPORT int __tvm_ffi_run(void*, const TVMFFIAny* arguments, int32_t, TVMFFIAny*) {
  auto tensor = [&](int i) { return static_cast<const DLTensor*>(arguments[i].v_ptr); };
  run(tensor(0), tensor(1));
  return 0;
}
"#;

const HEADER: &str = "template <int kFactor>\n__device__ float scale(float x) { return kFactor * x; }\n";

const OTHER: &str = "namespace { __global__ void second_kernel(int* p) { *p = __LINE__; } }\nvoid second(int* p) { second_kernel<<<1, 1>>>(p); }\n";

fn submission(sandbox: &Sandbox, name: &str) {
    sandbox.submission(name, &[("kernel.cu", KERNEL), ("scale.cuh", HEADER), ("other.cu", OTHER)]);
}

/// One unit with a header of its own and nothing of a library: it compiles in less than half of the time, for
/// tests of what surrounds a build.
const SMALL_KERNEL: &str = "#include \"scale.cuh\"\n__global__ void scale_kernel(float* x) { *x = scale(*x); }\n\
    extern \"C\" int __tvm_ffi_run(void*, const void*, int, void*) { scale_kernel<<<1, 1>>>(nullptr); return 0; }\n";
const SMALL_HEADER: &str = "__device__ inline float scale(float x) { return 2 * x; }\n";

fn small_submission(sandbox: &Sandbox, name: &str) {
    sandbox.submission(name, &[("kernel.cu", SMALL_KERNEL), ("scale.cuh", SMALL_HEADER)]);
}

#[test]
fn a_build_is_proven_cached_and_the_same_bytes_everywhere() {
    let sandbox = Sandbox::new();
    submission(&sandbox, "one");
    let first = sandbox.build(["build", "one", "--json"]).expect(0).json();
    assert_eq!(first["cache"], "miss");
    assert_eq!(first["miss"]["reason"], "never_built");
    assert_eq!(first["proof"]["verdict"], "exact");
    assert_eq!(first["arch"], "sm_100a");
    let library = first["library"].as_str().unwrap();
    let bytes = fs::read(library).unwrap();
    let again = sandbox.build(["build", "one", "--json"]).expect(0).json();
    assert_eq!((&again["cache"], &again["library_sha256"]), (&"hit".into(), &first["library_sha256"]));

    // Another folder, cache, home, time, order, locale, umask.
    let other = Sandbox::new();
    for (path, content) in [("other.cu", OTHER), ("scale.cuh", HEADER), ("kernel.cu", KERNEL)] {
        let file = other.write(format!("deep/er/two/{path}"), content);
        let file = fs::File::options().write(true).open(file).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(86_400)).unwrap();
    }
    other.write("deep/er/two/config.toml", CONFIG);
    let mut shell = std::process::Command::new("sh");
    let script = r#"umask 077; exec "$0" build deep/er/two --json"#;
    shell.args(["-c", script, env!("CARGO_BIN_EXE_proofmark")]);
    let template = other.builder();
    shell.current_dir(other.path("")).env_clear();
    for (name, value) in template.get_envs() {
        shell.env(name, value.unwrap_or_default());
    }
    for (name, value) in [
        ("SOURCE_DATE_EPOCH", "12345"),
        ("LC_ALL", "de_DE.UTF-8"),
        ("NVCC_PREPEND_FLAGS", "-lineinfo"),
        ("NVCC_APPEND_FLAGS", "-G"),
        ("CPATH", "/nonexistent"),
        ("CPLUS_INCLUDE_PATH", "/nonexistent"),
        ("CXXFLAGS", "-O0"),
    ] {
        shell.env(name, value);
    }
    let second = run(&mut shell).expect(0).json();
    assert_eq!(second["cache"], "miss");
    assert_eq!(second["library_sha256"], first["library_sha256"]);
    assert_eq!(fs::read(second["library"].as_str().unwrap()).unwrap(), bytes);
}

#[test]
fn a_miss_says_why() {
    let sandbox = Sandbox::new();
    small_submission(&sandbox, "one");
    sandbox.with_objects_of("one");
    sandbox.build(["build", "one"]).expect(0);
    let miss = |arguments: &[&str]| sandbox.build(arguments).expect(0).json()["miss"].clone();
    assert_eq!(miss(&["build", "one", "--json", "--arch", "sm_90a"])["reason"], "arch_changed");
    sandbox.write("one/scale.cuh", SMALL_HEADER.replace("2 * x", "x * 2"));
    let changed = miss(&["build", "one", "--json", "--arch", "sm_90a"]);
    assert_eq!(changed["reason"], "sources_changed");
    assert_eq!(changed["paths"][0], "scale.cuh");
    sandbox.run(["target", "one", "--nvcc-flag=-use_fast_math", "--arch", "sm_90a"]).expect(0);
    let changed = miss(&["build", "one", "--json"]);
    assert_eq!(changed["reason"], "command_changed", "{changed}");
    assert_eq!(miss(&["build", "one", "--json", "--fresh"])["reason"], "bypassed");
}

#[test]
fn what_only_people_read_is_no_reason_to_build_again() {
    let sandbox = Sandbox::new();
    small_submission(&sandbox, "one");
    sandbox.with_objects_of("one");
    let first = sandbox.build(["build", "one", "--json"]).expect(0).json();
    let renamed = CONFIG.replace("\"sample\"", "\"renamed\"").replace("\"team\"", "\"others\"");
    let renamed = renamed.replace("[build]", "description = \"words\"\n\n[build]");
    sandbox.write("one/config.toml", renamed);
    let again = sandbox.build(["build", "one", "--json"]).expect(0).json();
    assert_eq!((&again["cache"], &again["library"]), (&"hit".into(), &first["library"]));
    assert_ne!(again["digest"], first["digest"], "it is another artifact");
    // The new name remembers its last build, although the compiler never ran for it.
    sandbox.write("one/scale.cuh", SMALL_HEADER.replace("2 * x", "x * 2"));
    let changed = sandbox.build(["build", "one", "--json"]).expect(0).json();
    assert_eq!(changed["miss"]["reason"], "sources_changed", "{}", changed["miss_text"]);
    assert_eq!(changed["miss"]["paths"][0], "scale.cuh");
}

/// How many sources were compiled, and how many objects were used again.
fn units(build: &Value) -> (Value, Value) {
    (build["units"]["compiled"].clone(), build["units"]["reused"].clone())
}

/// Some sources with a kernel each; the first is the entry.
fn sources(sandbox: &Sandbox, name: &str, count: usize) {
    let entry = "__global__ void k0(int* p) { *p = 0; }\nextern \"C\" int __tvm_ffi_run(void*, const void*, int, void*) { return 0; }\n";
    sandbox.submission(
        name,
        &[("kernel.cu", entry), ("step.cuh", "__device__ inline int step(int v) { return v; }\n")],
    );
    for index in 1..count {
        let text = format!(
            "#include \"step.cuh\"\nnamespace {{ __global__ void inner(int* p) {{ *p = step({index}); }} }}\nvoid start{index}(int* p) {{ inner<<<1, 1>>>(p); }}\n"
        );
        sandbox.write(format!("{name}/unit{index}.cu"), text);
    }
}

#[test]
fn one_changed_source_of_eight_compiles_one_and_gives_the_bytes_of_a_clean_build() {
    let sandbox = Sandbox::new();
    sources(&sandbox, "one", 8);
    let first = sandbox.build(["build", "one", "--json"]).expect(0).json();
    assert_eq!(units(&first), (8.into(), 0.into()));
    let unit = fs::read_to_string(sandbox.path("one/unit3.cu")).unwrap();
    sandbox.write("one/unit3.cu", unit.replace("step(3)", "step(33)"));
    let second = sandbox.build(["build", "one", "--json"]).expect(0).json();
    assert_eq!(units(&second), (1.into(), 7.into()), "{}", second["miss_text"]);
    assert_eq!((&second["proof"]["verdict"], &second["rebuilt"]), (&"exact".into(), &false.into()));
    assert_ne!(second["library_sha256"], first["library_sha256"]);
    // A fresh build takes nothing from before, and agrees.
    let fresh = sandbox.build(["build", "one", "--json", "--fresh"]).expect(0).json();
    assert_eq!((units(&fresh), &fresh["rebuilt"]), ((8.into(), 0.into()), &true.into()));
    assert_eq!(fresh["library_sha256"], second["library_sha256"]);
    assert_eq!(fresh["disagrees_with_earlier_build"], Value::Null);
}

#[test]
fn a_header_a_flag_and_a_damaged_object_compile_what_they_concern() {
    let sandbox = Sandbox::new();
    sources(&sandbox, "one", 3);
    sandbox.build(["build", "one"]).expect(0);
    // A header is read by two of them; a flag is in every command.
    sandbox.write("one/step.cuh", "__device__ inline int step(int v) { return v + 1; }\n");
    assert_eq!(units(&sandbox.build(["build", "one", "--json"]).expect(0).json()), (2.into(), 1.into()));
    sandbox.run(["target", "one", "--nvcc-flag=-use_fast_math"]).expect(0);
    assert_eq!(units(&sandbox.build(["build", "one", "--json"]).expect(0).json()), (3.into(), 0.into()));
    // A damaged object is compiled again, and the others are not.
    let folder = sandbox.cache().join("v2/units");
    for entry in walkdir::WalkDir::new(&folder).into_iter().map(Result::unwrap) {
        if entry.file_type().is_file() {
            let mut bytes = fs::read(entry.path()).unwrap();
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            fs::write(entry.path(), bytes).unwrap();
        }
    }
    sandbox.write("one/unit1.cu", "void start1() {}\n");
    let repaired = sandbox.build(["build", "one", "--json"]).expect(0).json();
    assert_eq!(units(&repaired), (3.into(), 0.into()));
    assert_eq!(sandbox.run(["cache", "stats", "--json"]).json()["stats"]["units"].as_u64().unwrap(), 6);
    sandbox.run(["cache", "clear"]).expect(0);
    assert_eq!(sandbox.run(["cache", "stats", "--json"]).json()["stats"]["units"], 0);
}

#[test]
fn a_build_shows_what_kernels_use_and_what_the_compilers_doubt_from_the_cache_too() {
    let sandbox = Sandbox::new();
    submission(&sandbox, "one");
    sandbox.write("one/other.cu", OTHER.replace("{ *p", "{ int unused; *p"));
    for cache in ["miss", "hit"] {
        let json = sandbox.build(["build", "one", "--json"]).expect(0).json();
        assert_eq!(json["cache"], cache);
        let kernels = json["resources"].as_array().unwrap();
        assert_eq!(kernels.len(), 2, "{kernels:?}");
        assert!(kernels.iter().all(|kernel| kernel["registers"].as_u64().unwrap() > 0), "{kernels:?}");
        let warning = &json["warnings"][0];
        assert_eq!((&warning["file"], &warning["line"]), (&"other.cu".into(), &1.into()), "{warning}");
        let text = sandbox.build(["build", "one"]).expect(0).stdout;
        assert!(text.contains("registers") && text.contains("other.cu(1): warning: "), "{text}");
    }
}

#[test]
fn a_library_without_kernels_is_told_as_such() {
    let sandbox = Sandbox::new();
    let entry = "template <int N> __global__ void k(int* p) { *p = N; }\nextern \"C\" int __tvm_ffi_run(void*, const void*, int, void*) { return 0; }\n";
    sandbox.submission("one", &[("kernel.cu", entry)]);
    let outcome = sandbox.build(["build", "one"]).expect(1);
    assert!(outcome.stderr.contains("no kernel was compiled: "), "{outcome:?}");
    assert!(!outcome.stderr.contains("absent") && !outcome.stdout.contains("absent"), "{outcome:?}");
}

#[test]
fn a_missing_header_of_a_library_is_exit_code_three_and_names_the_package() {
    let sandbox = Sandbox::new();
    sandbox.submission("one", &[("kernel.cu", "#include <cudnn.h>\n__global__ void k() {}\n")]);
    let outcome = sandbox.build(["build", "one"]).expect(3);
    for word in ["cudnn.h", "kernel.cu(1)", "`nvidia-cudnn-cu13`", "hint: "] {
        assert!(outcome.stderr.contains(word), "{word}: {}", outcome.stderr);
    }
}

#[test]
fn a_compile_error_is_a_finding_with_the_packed_file_and_line() {
    let sandbox = Sandbox::new();
    small_submission(&sandbox, "one");
    sandbox.write("one/scale.cuh", "\n\nthis is not C++\n");
    let outcome = sandbox.build(["build", "one"]).expect(1);
    assert!(
        outcome.stderr.contains("scale.cuh(3)") || outcome.stderr.contains("scale.cuh:3"),
        "{}",
        outcome.stderr
    );
    assert!(!outcome.stderr.contains("/proc/") && !outcome.stderr.contains("staging"), "{}", outcome.stderr);
    let json = sandbox.build(["build", "one", "--json"]).expect(1).json();
    assert_eq!(json["verdict"], "compile_error");
    assert_eq!(sandbox.run(["cache", "stats", "--json"]).json()["stats"]["entries"], 0);
    sandbox.build(["seal", "one", "-o", "out.zip"]).expect(1);
    assert!(!sandbox.path("out.zip").exists());
}

#[test]
fn flags_that_change_the_architecture_or_leave_the_folder_are_refused() {
    let sandbox = Sandbox::new();
    for flag in [
        "-gencode=arch=compute_90,code=sm_90",
        "-arch=sm_90",
        "-o/tmp/x",
        "-I/etc",
        "--options-file=x",
        "-ccbin=/bin/false",
    ] {
        small_submission(&sandbox, "one");
        sandbox.write("one/config.toml", format!("{CONFIG}[target]\nnvcc_flags = [\"{flag}\"]\n"));
        let outcome = sandbox.build(["build", "one"]).expect(2);
        assert!(outcome.stderr.contains(flag), "{flag} not in {}", outcome.stderr);
    }
}

#[test]
fn what_is_sealed_replays_identically_and_a_change_is_caught() {
    let sandbox = Sandbox::new();
    small_submission(&sandbox, "one");
    let sealed = sandbox.build(["seal", "one", "-o", "sealed.zip", "--json"]).expect(0).json();
    assert_eq!(sealed["proof"]["verdict"], "exact");
    // Sealing again gives the same file.
    sandbox.build(["seal", "one", "-o", "again.zip", "--fresh"]).expect(0);
    assert_eq!(fs::read(sandbox.path("sealed.zip")).unwrap(), fs::read(sandbox.path("again.zip")).unwrap());
    // Elsewhere, with an empty cache.
    let other = Sandbox::new();
    fs::copy(sandbox.path("sealed.zip"), other.path("sealed.zip")).unwrap();
    let replayed = other.build(["replay", "sealed.zip", "--json"]).expect(0).json();
    assert_eq!((&replayed["identical"], &replayed["cache"]), (&true.into(), &"miss".into()));
    assert_eq!(replayed["library_sha256"], sealed["library_sha256"]);
    assert_eq!(replayed["compared"], "rebuilt");
    // Packed only: nothing to compare with.
    other.run(["pack", "sealed.zip", "-o", "still-sealed.zip"]).expect(0);
    other.build(["replay", "still-sealed.zip", "--cached"]).expect(0);
    sandbox.run(["pack", "one", "-o", "packed.zip"]).expect(0);
    let outcome = sandbox.build(["replay", "packed.zip"]).expect(2);
    assert!(outcome.stderr.contains("packed, not sealed"), "{}", outcome.stderr);
    // A byte of the evidence.
    let mut bytes = fs::read(sandbox.path("sealed.zip")).unwrap();
    let at = bytes.windows(9).position(|window| window == b"evidence/").unwrap() + 400;
    bytes[at] ^= 1;
    other.write("changed.zip", bytes);
    other.build(["replay", "changed.zip"]).expect(2);
}

#[test]
fn a_replay_of_a_cached_build_says_that_nothing_was_rebuilt() {
    let sandbox = Sandbox::new();
    small_submission(&sandbox, "one");
    let sealed = sandbox.build(["seal", "one", "-o", "sealed.zip", "--json"]).expect(0).json();
    let replay = ["replay", "sealed.zip", "--cached", "--json"];
    let compared = sandbox.build(replay).expect(0).json();
    assert_eq!((&compared["compared"], &compared["identical"]), (&"cached".into(), &true.into()));
    let text = sandbox.build(["replay", "sealed.zip", "--cached"]).expect(0).stdout;
    assert!(text.contains("compared     identical: the cached build is the same library"), "{text}");
    assert!(text.contains("not rebuilt") && !text.contains("replayed"), "{text}");
    // Without the library, objects of the earlier build are linked again: no rebuild either.
    let folder = std::path::Path::new(sealed["library"].as_str().unwrap()).parent().unwrap();
    fs::remove_dir_all(folder).unwrap();
    let linked = sandbox.build(replay).expect(0).json();
    assert_eq!((&linked["compared"], &linked["identical"]), (&"partly_rebuilt".into(), &true.into()));
    // With an empty cache it builds, and says so.
    sandbox.run(["cache", "clear"]).expect(0);
    let rebuilt = sandbox.build(replay).expect(0).json();
    assert_eq!((&rebuilt["compared"], &rebuilt["identical"]), (&"rebuilt".into(), &true.into()));
}

#[test]
fn a_flipped_byte_in_any_file_of_an_entry_is_caught_and_rebuilt() {
    let sandbox = Sandbox::new();
    small_submission(&sandbox, "one");
    sandbox.with_objects_of("one");
    let first = sandbox.build(["build", "one", "--json"]).expect(0).json();
    let folder = std::path::Path::new(first["library"].as_str().unwrap()).parent().unwrap().to_owned();
    let names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 5);
    let good: Vec<_> = names.iter().map(|name| (name, fs::read(folder.join(name)).unwrap())).collect();
    for (name, content) in &good {
        for at in [0, content.len() / 2, content.len() - 1] {
            let mut bad = content.clone();
            bad[at] ^= 0x20;
            fs::write(folder.join(name), bad).unwrap();
            let json = sandbox.run(["cache", "verify", "--json"]).expect(1).json();
            assert_eq!(json["damaged"].as_array().unwrap().len(), 1, "{name:?} at {at}");
            // It was set aside; an undamaged one takes its place for the next flip.
            fs::create_dir(&folder).unwrap();
            for (name, content) in &good {
                fs::write(folder.join(name), content).unwrap();
            }
        }
    }
    sandbox.run(["cache", "verify"]).expect(0);
    // Damage that a build finds by itself.
    let library = folder.join("library.so");
    let mut bad = fs::read(&library).unwrap();
    bad[100] ^= 1;
    fs::write(&library, bad).unwrap();
    let again = sandbox.build(["build", "one", "--json"]).expect(0).json();
    assert_eq!(again["miss"]["reason"], "damaged", "{}", again["miss_text"]);
    assert_eq!(sandbox.build(["build", "one", "--json"]).expect(0).json()["cache"], "hit");
}

#[test]
fn many_processes_at_once_run_the_compiler_once() {
    let sandbox = Sandbox::new();
    small_submission(&sandbox, "one");
    let builders: Vec<_> = (0..20)
        .map(|_| {
            let mut command = sandbox.builder();
            command.args(["build", "one", "--json"]);
            command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let outcomes: Vec<_> = builders
        .into_iter()
        .map(|builder| {
            let output = builder.wait_with_output().unwrap();
            assert!(output.status.success(), "{output:?}");
            serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
        })
        .collect();
    assert_eq!(outcomes.iter().filter(|outcome| outcome["cache"] == "miss").count(), 1);
    let digests: BTreeSet<_> =
        outcomes.iter().map(|outcome| outcome["library_sha256"].as_str().unwrap()).collect();
    assert_eq!(digests.len(), 1);
}

#[test]
fn a_killed_build_leaves_nothing_that_looks_built() {
    let sandbox = Sandbox::new();
    small_submission(&sandbox, "one");
    for delay_ms in [5, 40, 150, 400, 900, 1600, 2500] {
        let mut command = sandbox.builder();
        command.args(["build", "one", "--json", "--fresh"]).stdout(std::process::Stdio::null());
        let mut child = command.stderr(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(delay_ms));
        child.kill().unwrap();
        child.wait().unwrap();
        sandbox.run(["cache", "verify"]).expect(0);
    }
    let built = sandbox.build(["build", "one", "--json"]).expect(0).json();
    assert_eq!(built["proof"]["verdict"], "exact");
    // What the killed ones left is known to `gc`, and old enough it goes.
    let staging = sandbox.cache().join("v2/staging");
    for entry in fs::read_dir(&staging).into_iter().flatten() {
        let file = fs::File::open(entry.unwrap().path()).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(3600)).unwrap();
    }
    sandbox.run(["cache", "gc"]).expect(0);
    assert_eq!(sandbox.run(["cache", "stats", "--json"]).json()["stats"]["staging"], 0);
    assert_eq!(sandbox.build(["build", "one", "--json"]).expect(0).json()["cache"], "hit");
}

#[test]
fn a_cache_that_cannot_be_written_is_exit_code_three() {
    let sandbox = Sandbox::new();
    small_submission(&sandbox, "one");
    // Nobody makes a folder there, not even root.
    let outcome = sandbox.build(["build", "one", "--cache-dir", "/proc/proofmark"]).expect(3);
    assert!(outcome.stderr.contains("--cache-dir"), "{}", outcome.stderr);
    // What is no folder is a wrong request.
    let file = sandbox.write("file", "not a folder");
    let outcome = sandbox.build(["build", "one", "--cache-dir", file.to_str().unwrap()]).expect(2);
    assert!(
        outcome.stderr.contains("is no folder") && outcome.stderr.contains("--cache-dir"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn a_scaffold_builds_and_every_kind_of_architecture_is_proven() {
    let sandbox = Sandbox::sharing_builds();
    let definition = repository().join("kernels/rmsnorm_h4096/definition.json");
    sandbox.run(["new", definition.to_str().unwrap(), "-o", "mine"]).expect(0);
    small_submission(&sandbox, "small");
    for (folder, arch) in [("mine", "sm_100f"), ("small", "sm_100a"), ("small", "sm_90")] {
        let json = sandbox.build(["build", folder, "--json", "--arch", arch]).expect(0).json();
        assert_eq!((&json["arch"], &json["proof"]["verdict"]), (&arch.into(), &"exact".into()));
    }
    let outcome = sandbox.build(["build", "mine", "--arch", "sm_42a"]).expect(2);
    assert!(
        outcome.stderr.contains("compute_42a") && outcome.stderr.contains("sm_100 "),
        "{}",
        outcome.stderr
    );
}

#[test]
fn a_sealed_artifact_is_built_for_what_it_was_sealed_for_and_sealing_upgrades_a_packed_one() {
    let sandbox = Sandbox::new();
    small_submission(&sandbox, "one");
    let kernel = "one".to_owned();
    let packed = sandbox.run(["pack", &kernel, "--json"]).expect(0).json();
    let sealed = sandbox.build(["seal", &kernel, "--json"]).expect(0).json();
    assert_eq!(packed["output"], sealed["output"], "the packed artifact becomes the sealed one");
    sandbox.build(["seal", &kernel, "-o", "other.zip", "--arch", "sm_90a"]).expect(0);
    let built = sandbox.build(["build", "other.zip", "--json"]).expect(0);
    assert!(built.stderr.contains("sealed for sm_90a"), "{}", built.stderr);
    assert_eq!(built.json()["proof"]["arch"], "sm_90a", "{}", built.stdout);

    // Measurements are not lost to a seal without any.
    let name = "gdn_decode_straightforward-264a77956baf-sm_90a-h200.zip";
    let measured = fs::read(repository().join("solutions").join(name)).unwrap();
    sandbox.write("measured.zip", &measured);
    let refused = sandbox.build(["seal", &kernel, "-o", "measured.zip", "--no-measure"]).expect(2);
    assert!(refused.stderr.contains("measured.zip holds measurements"), "{}", refused.stderr);
    assert_eq!(fs::read(sandbox.path("measured.zip")).unwrap(), measured);
}
