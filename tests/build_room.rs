//! Builds with the real nvcc: bit for bit, whatever the folder, the names and the machine's habits.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use proofmark::build::{
    BuildError, BuildLimits, BuildOutcome, BuildOutput, BuildPlan, Diagnostics, Ended, Interface, LinkRule,
    PlanRequest, Unit, UnitCounts, diagnostics, plan, resources, run,
};
use proofmark::toolchain::data_folder::DataFolder;
use proofmark::toolchain::{DigestTrust, FileDigests, Search, Toolchain, find};
use proofmark_packager::{Arch, EntryPoint, Gencode, SourceFile};

use crate::support::data_folder;

/// An entry file with device code of internal linkage, an assertion, and a header of its own. It exports
/// through the C header: that compiles in a quarter of the time of the C++ one.
const ENTRY: &str = r#"
#include <tvm/ffi/c_api.h>
#include <cuda_runtime.h>
#include <cassert>
#include "include/shift.cuh"

namespace {
__global__ void scale(float* x, float factor, int count) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  assert(count > 0);
  if (i < count) x[i] = shift(x[i]) * factor;
}
}  // namespace

int run() {
  scale<<<1, 256>>>(nullptr, 1.0f, 1);
  return 0;
}
#define EXPORT_FUNC(name, function) \
  extern "C" TVM_FFI_DLL_EXPORT int __tvm_ffi_##name(void*, const TVMFFIAny*, int32_t, TVMFFIAny*) { return function(); }
EXPORT_FUNC(run, run)
"#;
/// The same through the C++ headers, as submissions do it.
const WHOLE_ENTRY: &str = r#"
#include <tvm/ffi/tvm_ffi.h>
#include <cuda_runtime.h>
#include <cassert>
#include "include/shift.cuh"

namespace {
__global__ void scale(float* x, float factor, int count) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  assert(count > 0);
  if (i < count) x[i] = shift(x[i]) * factor;
}
}  // namespace

void run(tvm::ffi::TensorView x, double factor) {
  TVM_FFI_ICHECK(x.ndim() == 1) << "expected one dimension";
  scale<<<1, 256>>>(static_cast<float*>(x.data_ptr()), float(factor), int(x.size(0)));
}
TVM_FFI_DLL_EXPORT_TYPED_FUNC(run, run);
"#;
const HEADER: &str = "#pragma once\n__device__ inline float shift(float v) { return v + 1.0f; }\n";
/// A second unit with the same kernel name, which only the file tells apart.
const SECOND: &str = "namespace { __global__ void scale(int* p) { *p = 1; } }\n\
                      void launch(int* p) { scale<<<1, 1>>>(p); }\n";

fn search() -> Search {
    proofmark::sandbox::announce_launcher(env!("CARGO_BIN_EXE_proofmark"));
    let path = |name: &str| (name == "PATH").then(|| "/usr/bin:/bin".into());
    let mut search = Search::from_variables(path);
    search.data = Some(DataFolder::at(data_folder()));
    search.system = PathBuf::from("/nonexistent");
    search
}

fn toolchain() -> Toolchain {
    static TOOLCHAIN: OnceLock<Toolchain> = OnceLock::new();
    let search = || find(&search(), &mut FileDigests::forgetful()).expect("the pinned toolchain is found");
    TOOLCHAIN.get_or_init(search).clone()
}

fn sources(files: &[(&str, &str)]) -> Vec<SourceFile> {
    let file = |(path, content): &(&str, &str)| SourceFile {
        path: path.parse().unwrap(),
        content: (*content).to_owned(),
    };
    files.iter().map(file).collect()
}

fn make_plan(files: &[(&str, &str)], flags: &[&str]) -> BuildPlan {
    make_plan_by(LinkRule::BenchMain, files, flags)
}

fn make_plan_by(link_rule: LinkRule, files: &[(&str, &str)], flags: &[&str]) -> BuildPlan {
    let flags: Vec<String> = flags.iter().map(|&flag| flag.to_owned()).collect();
    let entry: EntryPoint = "kernel.cu::run".parse().unwrap();
    plan(PlanRequest {
        sources: &sources(files),
        entry_file: Some(&entry.file),
        units: None,
        interface: &Interface::TvmFfi { symbol: Some(entry.symbol) },
        nvcc_flags: &flags,
        host_flags: None,
        gencode: Gencode::exact(Arch::SM_100A),
        toolchain: &toolchain(),
        kits: &[],
        link_rule,
    })
    .unwrap()
}

fn build_in(scratch: &Path, plan: &BuildPlan) -> BuildOutcome {
    build_with(scratch, plan, Vec::new()).outcome
}

fn build_with(scratch: &Path, plan: &BuildPlan, reused: Vec<Option<Unit>>) -> Ended {
    let ended = run(plan, reused, scratch, &BuildLimits::default(), &mut FileDigests::forgetful()).unwrap();
    assert_eq!(fs::read_dir(scratch).unwrap().count(), 0, "a build folder is left");
    ended
}

fn built(plan: &BuildPlan) -> BuildOutput {
    let scratch = tempfile::tempdir().unwrap();
    match build_in(scratch.path(), plan) {
        BuildOutcome::Built(output) => output,
        BuildOutcome::CompileError(found) => panic!("{}", found.log),
    }
}

fn refused(plan: &BuildPlan) -> Diagnostics {
    let scratch = tempfile::tempdir().unwrap();
    match build_in(scratch.path(), plan) {
        BuildOutcome::Built(_) => panic!("it builds"),
        BuildOutcome::CompileError(found) => found,
    }
}

const FILES: [(&str, &str); 3] =
    [("kernel.cu", ENTRY), ("include/shift.cuh", HEADER), ("b/second.cu", SECOND)];

const WHOLE: [(&str, &str); 3] = [("kernel.cu", WHOLE_ENTRY), FILES[1], FILES[2]];

/// The plain build of the three files, made once.
fn plain() -> &'static BuildOutput {
    static OUTPUT: OnceLock<BuildOutput> = OnceLock::new();
    OUTPUT.get_or_init(|| built(&make_plan(&FILES, &[])))
}

/// The plain build through the C++ headers, made once.
fn whole() -> &'static BuildOutput {
    static OUTPUT: OnceLock<BuildOutput> = OnceLock::new();
    OUTPUT.get_or_init(|| built(&make_plan(&WHOLE, &[])))
}

#[test]
fn builds_the_same_bytes_in_another_folder_at_another_time_with_another_toolchain_path() {
    let one = whole();
    assert!(!one.library.is_empty());

    // The toolchain under another name, the build in a longer path, the files in another order.
    let elsewhere = tempfile::tempdir().unwrap();
    let mut moved = WHOLE;
    moved.reverse();
    let mut plan = make_plan(&moved, &[]);
    for link in &mut plan.links {
        let alias = elsewhere.path().join(link.name.replace('/', "-"));
        std::os::unix::fs::symlink(&link.target, &alias).unwrap();
        link.target = alias;
    }
    let deep = elsewhere.path().join("a/longer/path with spaces");
    let BuildOutcome::Built(other) = build_in(&deep, &plan) else { panic!("it builds") };
    assert_eq!(one.library, other.library);
    assert_eq!(one.log, other.log);
}

#[test]
fn host_files_and_unusual_names_are_built_too() {
    let entry = ENTRY.replace("include/shift.cuh", "include/my shíft (1)#$x.cuh");
    let entry = format!("extern \"C\" int plain(int);\n{entry}\nint use() {{ return plain(1); }}\n");
    let files = [
        ("kernel.cu", entry.as_str()),
        ("include/my shíft (1)#$x.cuh", HEADER),
        ("hóst.cpp", "extern \"C\" int plain(int a) { return a; }\n"),
        ("a/b.cc", "int b() { return 1; }\n"),
        ("c.c", "int c() { return 2; }\n"),
    ];
    let plan = make_plan(&files, &[]);
    assert_eq!(built(&plan).library, built(&plan).library);
}

#[test]
fn a_source_whose_name_looks_like_a_flag_or_an_argument_file_is_compiled() {
    let files = [
        ("kernel.cu", ENTRY),
        FILES[1],
        ("@x.cu", "int first() { return 1; }\n"),
        ("-wrapper.cu", "int second() { return 2; }\n"),
        ("@y/@z.cpp", "int third() { return 3; }\n"),
    ];
    built(&make_plan(&files, &["-I@y", "-Xcompiler=-Wall"]));
}

#[test]
fn line_information_is_the_same_everywhere_too() {
    let plan = make_plan(&FILES, &["-lineinfo"]);
    let one = built(&plan);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(one.library, built(&plan).library);
    assert_ne!(one.library, plain().library);
}

#[test]
fn dates_in_sources_are_fixed() {
    let dated =
        format!("{ENTRY}\nextern \"C\" const char* stamp() {{ return __DATE__ __TIME__ __TIMESTAMP__; }}\n");
    let plan = make_plan(&[("kernel.cu", &dated), FILES[1]], &[]);
    let one = built(&plan);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(one.library, built(&plan).library);
    assert!(one.library.windows(11).any(|window| window == b"Jan  1 1970"));
}

#[test]
fn names_every_file_it_read_and_what_each_kernel_uses() {
    let output = whole();
    let labels: Vec<&str> = output.dependencies.keys().map(String::as_str).collect();
    for label in [
        "<source>/kernel.cu",
        "<source>/b/second.cu",
        "<source>/include/shift.cuh",
        "<cuda>/include/cuda_runtime.h",
        "<tvm-ffi>/include/tvm/ffi/function.h",
        "<tvm-ffi>/lib/libtvm_ffi.so",
        "<system>/usr/include/stdio.h",
    ] {
        assert!(labels.contains(&label), "{label} is not among {labels:#?}");
    }
    assert!(labels.iter().any(|label| label.ends_with("/libcudart_static.a")));
    assert!(labels.is_sorted());
    let kernels = resources::read(&output.log);
    assert_eq!(kernels.len(), 2, "{kernels:?}");
    assert!(kernels.iter().all(|kernel| kernel.registers > 0 && kernel.arch == "sm_100a"));
    let text = String::from_utf8_lossy(&output.library);
    assert!(!text.contains(env!("CARGO_MANIFEST_DIR")) && !text.contains("/tmp/"));
    assert!(!text.contains(data_folder().to_str().unwrap()), "the library names the toolchain's place");
}

#[test]
fn a_compile_error_names_the_packed_file_and_line() {
    let broken = ENTRY.replace("factor;", "factr;");
    let found = refused(&make_plan(&[("kernel.cu", &broken), FILES[1]], &[]));
    let first = found.errors().next().unwrap();
    assert_eq!(first.file.as_deref(), Some("kernel.cu"));
    assert_eq!(first.line, Some(11));
    assert!(first.message.contains("factr"), "{}", first.message);
    assert!(!found.log.contains("/proc/self"));
}

#[test]
fn a_missing_export_is_a_finding() {
    let silent = ENTRY.replace("FUNC(run, run)", "FUNC(launch, run)");
    let found = refused(&make_plan(&[("kernel.cu", &silent), FILES[1]], &[]));
    assert!(found.messages[0].message.contains("does not export `run`"), "{:?}", found.messages);
}

#[test]
fn reading_a_file_of_the_machine_is_refused() {
    let spy = |line: &str| {
        let text = format!("{line}\n{ENTRY}");
        refused(&make_plan(&[("kernel.cu", &text), FILES[1]], &[])).messages[0].message.clone()
    };
    let assembler = spy("asm(\".pushsection .rodata; .incbin \\\"/etc/hostname\\\"; .popsection\");");
    assert!(assembler.contains("/etc/hostname"), "{assembler}");
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret.h");
    fs::write(&secret, "int secret;\n").unwrap();
    let climbing =
        spy("asm(\".pushsection .rodata; .incbin \\\"../../../../../../etc/hostname\\\"; .popsection\");");
    assert!(climbing.contains("etc/hostname"), "{climbing}");
    let include = spy(&format!("#include \"{}\"", secret.display()));
    assert!(include.contains("secret.h"), "{include}");
}

#[test]
fn reading_what_the_build_itself_made_is_refused() {
    for name in ["host/g++", "/proc/self/cwd/host/as", "cuda/../host/ld", "source/../host/ld"] {
        let text = format!("asm(\".pushsection .rodata; .incbin \\\"{name}\\\"; .popsection\");\n{BARE}");
        let found = refused(&make_plan(&[("kernel.cu", &text)], &[]));
        assert!(found.messages[0].message.contains("host/"), "{name}: {:?}", found.messages);
    }
}

/// A whole module without a header: compiled in a second.
const BARE: &str = "__global__ void first(int* p) { *p = 1; }\n\
    void start(int* p) { first<<<1, 1>>>(p); }\n\
    extern \"C\" int __tvm_ffi_run(void*, const void*, int, void*) { start(nullptr); return 0; }\n";

/// Sources whose objects hold what is made differently in each: internal linkage, static objects,
/// dates, host code alone.
const UNITS: [(&str, &str); 5] = [
    ("kernel.cu", BARE),
    (
        "b/inner.cu",
        "#include \"step.cuh\"\n#include <cassert>\nnamespace { __global__ void inner(int* p) { assert(*p); *p = step(1); } }\n\
         static int* at = new int(1);\nvoid second(int* p) { inner<<<1, 1>>>(p + *at); }\n",
    ),
    ("b/step.cuh", "__device__ inline int step(int v) { return v + 1; }\n"),
    (
        "dated.cu",
        "__global__ void dated(int* p) { *p = __LINE__; }\nconst char* stamp() { return __DATE__ __FILE__; }\n",
    ),
    ("host.cpp", "static int* made = new int(2);\nint host() { return *made; }\n"),
];

/// The units of a build by their sources.
fn units_by_source(plan: &BuildPlan, ended: &Ended) -> BTreeMap<String, Unit> {
    let sources: Vec<String> = plan.units().map(ToString::to_string).collect();
    ended.compiled.iter().map(|(index, unit)| (sources[*index].clone(), unit.clone())).collect()
}

#[test]
fn a_library_of_reused_units_has_the_bytes_of_a_clean_build() {
    // Flags that make an object depend on more than its own source; without them `line.rs` shows the same.
    let flags = &["-rdc=true", "-lineinfo"];
    let scratch = tempfile::tempdir().unwrap();
    let plan = make_plan(&UNITS, flags);
    let clean = build_with(scratch.path(), &plan, Vec::new());
    let units = units_by_source(&plan, &clean);
    assert_eq!(units.len(), 4, "{:?}", units.keys());
    // One file changed, and a new one in front: every other unit has another number.
    let changed = UNITS[0].1.replace("= 1;", "= 7;");
    let files: Vec<_> =
        [("kernel.cu", changed.as_str()), ("a.cu", "__global__ void a(int* p) { *p = 3; }\n")]
            .into_iter()
            .chain(UNITS.into_iter().skip(1))
            .collect();
    let plan = make_plan(&files, flags);
    let reused: Vec<Option<Unit>> = plan
        .units()
        .map(|source| units.get(source.as_str()).filter(|_| source.as_str() != "kernel.cu").cloned())
        .collect();
    let mixed = build_with(scratch.path(), &plan, reused);
    let (BuildOutcome::Built(mixed), BuildOutcome::Built(clean)) =
        (mixed.outcome, build_with(scratch.path(), &plan, Vec::new()).outcome)
    else {
        panic!("both build")
    };
    assert_eq!(mixed.units, UnitCounts { compiled: 2, reused: 3 });
    assert_eq!(clean.units, UnitCounts { compiled: 5, reused: 0 });
    assert_eq!(mixed.library, clean.library, "{flags:?}");
    assert_eq!((mixed.log, mixed.dependencies), (clean.log, clean.dependencies));
}

#[test]
fn a_unit_names_what_it_read_and_nothing_of_the_others() {
    let scratch = tempfile::tempdir().unwrap();
    let asm = "asm(\".pushsection .rodata; .incbin \\\"b/step.cuh\\\"; .popsection\");\nint plain() { return 0; }\n";
    let files: Vec<_> = UNITS.into_iter().chain([("asm.cpp", asm)]).collect();
    let plan = make_plan(&files, &[]);
    let units = units_by_source(&plan, &build_with(scratch.path(), &plan, Vec::new()));
    let packed = |source: &str| -> Vec<String> {
        units[source].reads.keys().filter(|label| label.starts_with("<source>/")).cloned().collect()
    };
    assert_eq!(packed("host.cpp"), ["<source>/host.cpp"]);
    assert_eq!(packed("b/inner.cu"), ["<source>/b/inner.cu", "<source>/b/step.cuh"]);
    assert_eq!(packed("asm.cpp"), ["<source>/asm.cpp", "<source>/b/step.cuh"]);
}

#[test]
fn a_unit_that_compiles_is_kept_where_another_does_not() {
    let scratch = tempfile::tempdir().unwrap();
    let plan = make_plan(&[("kernel.cu", BARE), ("broken.cu", "this is not C++\n")], &[]);
    let ended = build_with(scratch.path(), &plan, Vec::new());
    assert!(matches!(ended.outcome, BuildOutcome::CompileError(_)));
    assert_eq!(units_by_source(&plan, &ended).into_keys().collect::<Vec<_>>(), ["kernel.cu"]);
}

#[test]
fn angle_includes_find_packed_files_from_the_top() {
    let text = BARE.replace("*p = 1", "*p = step(1)");
    built(&make_plan(
        &[("k/kernel.cu", &format!("#include <b/step.cuh>\n{text}")), ("kernel.cu", "\n"), UNITS[2]],
        &[],
    ));
}

#[test]
fn a_missing_header_of_a_known_library_is_no_compile_error() {
    for header in ["torch/extension.h", "cutlass/cutlass.h", "cute/tensor.hpp", "cublas_v2.h"] {
        let text = format!("#include <{header}>\n{BARE}");
        let scratch = tempfile::tempdir().unwrap();
        let plan = make_plan(&[("kernel.cu", &text)], &[]);
        let error =
            run(&plan, Vec::new(), scratch.path(), &BuildLimits::default(), &mut FileDigests::forgetful());
        let Err(error @ BuildError::MissingHeader { .. }) = error else { panic!("{header}: {error:?}") };
        let said = error.to_string();
        assert!(said.contains(header) && said.contains("kernel.cu(1)") && said.contains("package"), "{said}");
        assert!(!error.ways_out().is_empty());
    }
}

#[test]
fn a_function_that_two_sources_define_is_told_with_both() {
    let other = "void start(int*) {}\n";
    let found = refused(&make_plan(&[("kernel.cu", BARE), ("b/other.cu", other)], &[]));
    let first = found.errors().next().unwrap().to_string();
    assert_eq!(first, "kernel.cu: error: multiple definition of `start(int*)', first defined in b/other.cu");
    assert!(found.hints[0].contains(".cuh"), "{:?}", found.hints);
    assert!(!found.log.contains("object/"), "{}", found.log);
}

#[test]
fn device_code_of_another_file_is_told_by_its_name_with_the_flag_that_links_it() {
    let text = format!(
        "__device__ float outside(float);\n__global__ void k(float* p) {{ *p = outside(*p); }}\n\
         void go(float* p) {{ k<<<1, 1>>>(p); }}\n{BARE}"
    );
    let found = refused(&make_plan(&[("kernel.cu", &text)], &[]));
    assert!(found.messages[0].message.contains("'outside(float)'"), "{:?}", found.messages);
    assert!(found.hints[0].contains("-rdc=true"), "{:?}", found.hints);
    let found = refused(&make_plan(&[("kernel.cu", &text)], &["-rdc=true"]));
    let first = found.errors().next().unwrap();
    assert!(first.message.contains("'outside(float)' in 'kernel.cu'"), "{first}");
    assert!(found.hints[0].contains("packed"), "{:?}", found.hints);
}

#[test]
fn a_function_that_nobody_defines_is_a_finding_and_the_drivers_are_known() {
    let text =
        format!("#include <cuda.h>\nvoid lost(int);\n{BARE}\nint use() {{ lost(1); return cuInit(0); }}\n");
    let said = |rule: LinkRule, flags: &[&str]| {
        let found = refused(&make_plan_by(rule, &[("kernel.cu", &text)], flags));
        (found.messages.iter().map(ToString::to_string).collect::<Vec<_>>(), found.hints)
    };
    let (messages, hints) = said(LinkRule::BenchReleased, &[]);
    assert_eq!(messages.len(), 2, "{messages:?}");
    assert!(messages[0].starts_with("kernel.cu: error: undefined symbol `lost(int)`"), "{messages:?}");
    assert!(hints.iter().any(|hint| hint.contains("-lcuda")), "{hints:?}");
    assert_eq!(said(LinkRule::BenchReleased, &["-lcuda"]).0.len(), 1);
    assert_eq!(said(LinkRule::BenchMain, &[]).0.len(), 1);
}

#[test]
fn warnings_of_the_linker_do_not_reject_an_honest_build() {
    let text = format!(
        "#include <cstdio>\n{BARE}\nchar name[L_tmpnam];\nbool use() {{ thread_local int n = 0; return tmpnam(name) && n++; }}\n\
         asm(\".section .note.GNU-stack,\\\"x\\\",@progbits\\n.text\");\n"
    );
    let warned = diagnostics::warnings(&built(&make_plan(&[("kernel.cu", &text)], &[])).log);
    let words: Vec<String> = warned.iter().map(ToString::to_string).collect();
    assert!(
        words.iter().any(|text| text.starts_with("kernel.cu: warning: ") && text.contains("tmpnam")),
        "{words:?}"
    );
    assert!(words.iter().any(|text| text.contains("executable stack")), "{words:?}");
}

#[test]
fn device_code_links_across_files_when_asked() {
    let entry = format!("__device__ float outside(float);\n{ENTRY}").replace("shift(x[i])", "outside(x[i])");
    let other = "__device__ float outside(float v) { return v * 2.0f; }\n";
    let files = [("kernel.cu", entry.as_str()), FILES[1], ("outside.cu", other)];
    let plan = make_plan(&files, &["-rdc=true"]);
    assert_eq!(built(&plan).library, built(&plan).library);
}

#[test]
fn the_driver_library_is_needed_by_name() {
    let entry = format!(
        "#include <cuda.h>\n{ENTRY}\nextern \"C\" int count() {{ int n = 0; cuDeviceGetCount(&n); return n; }}\n"
    );
    let output = built(&make_plan(&[("kernel.cu", &entry), FILES[1]], &["-lcuda"]));
    assert!(output.library.windows(12).any(|window| window == b"libcuda.so.1"));
}

#[test]
fn a_warm_search_reads_no_compiler_and_starts_none() {
    let cache = tempfile::tempdir().unwrap();
    let mut cold = FileDigests::open(cache.path(), DigestTrust::ChangeTime);
    let began = std::time::Instant::now();
    let first = find(&search(), &mut cold).unwrap();
    let reading = began.elapsed();
    cold.save().unwrap();
    let began = std::time::Instant::now();
    let mut warm = FileDigests::open(cache.path(), DigestTrust::ChangeTime);
    let second = find(&search(), &mut warm).unwrap();
    let elapsed = began.elapsed();
    assert_eq!(first.fingerprint.digest(), second.fingerprint.digest());
    // Reading 200 MB and starting compilers is what the first search did, on the same machine.
    assert!(elapsed * 5 < reading, "{elapsed:?} after {reading:?}");
}
