//! What people read, held by snapshots: `INSTA_UPDATE=always cargo test human_output` writes them anew.

use insta::{assert_snapshot, with_settings};

use crate::support::snapshot::answer;
use crate::support::{CONFIG, Outcome, Sandbox, repository, run};

/// Kernels that say nothing compile fast.
const KERNEL: &str = "#include <tvm/ffi/c_api.h>\n#include \"scale.cuh\"\n__global__ void scale(float* x) { *x *= FACTOR; }\nextern \"C\" TVM_FFI_DLL_EXPORT int __tvm_ffi_run(void*, const TVMFFIAny*, int32_t, TVMFFIAny*) {\n  scale<<<1, 1>>>(nullptr);\n  return 0;\n}\n";
const FILES: &[(&str, &str)] = &[("kernel.cu", KERNEL), ("scale.cuh", "#define FACTOR 2.0f\n")];

fn shows(name: &str, sandbox: &Sandbox, outcome: &Outcome) {
    with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        assert_snapshot!(name, answer(sandbox, outcome));
    });
}

#[test]
fn packing_inspecting_unpacking_and_comparing() {
    let sandbox = Sandbox::new();
    sandbox.submission("mine", FILES);
    sandbox.submission("other", FILES);
    sandbox.write("other/scale.cuh", "#define FACTOR 3.0f\n");
    sandbox.write("other/config.toml", format!("{CONFIG}[target]\narch = \"sm_90a\"\n"));
    for (name, arguments) in [
        ("pack", &["pack", "mine", "-o", "mine.zip"][..]),
        ("inspect", &["inspect", "mine.zip"]),
        ("unpack", &["unpack", "mine.zip", "-o", "again"]),
        ("diff", &["diff", "mine.zip", "other"]),
        ("diff_nothing", &["diff", "mine.zip", "again"]),
        ("new", &["new", "my_operator"]),
        ("target", &["target", "other", "--nvcc-flag=-use_fast_math"]),
        ("cache_list_of_nothing", &["cache", "list"]),
    ] {
        shows(name, &sandbox, &sandbox.run(arguments));
    }
}

#[test]
fn building_sealing_and_replaying() {
    let sandbox = Sandbox::new();
    sandbox.submission("mine", FILES);
    for (name, arguments) in [
        ("build", &["build", "mine"][..]),
        ("build_from_the_cache", &["build", "mine", "-o", "mine.so"]),
        ("seal", &["seal", "mine", "-o", "mine.zip", "--no-measure"]),
        ("inspect_sealed", &["inspect", "mine.zip"]),
        ("replay", &["replay", "mine.zip", "--no-measure"]),
        ("cache_list", &["cache", "list"]),
        ("cache_stats", &["cache", "stats"]),
    ] {
        shows(name, &sandbox, &sandbox.build(arguments));
    }
    sandbox.write("mine/scale.cuh", "#define FACTOR 2.0f +\n");
    shows("build_of_what_does_not_compile", &sandbox, &sandbox.build(["build", "mine"]));
}

#[test]
fn verifying() {
    let sandbox = Sandbox::new();
    for name in ["exact_13.0.so", "plain_13.0.cubin", "with_ptx_13.0.fatbin", "concatenated_13.5.fatbin"] {
        std::fs::copy(repository().join("tests/fixtures/proof").join(name), sandbox.path(name)).unwrap();
    }
    for (name, arguments) in [
        ("verify_exact", &["verify", "exact_13.0.so"][..]),
        ("verify_weaker", &["verify", "plain_13.0.cubin"]),
        ("verify_mixed", &["verify", "with_ptx_13.0.fatbin"]),
        ("verify_several", &["verify", "exact_13.0.so", "concatenated_13.5.fatbin"]),
        ("verify_list", &["verify", "with_ptx_13.0.fatbin", "--list"]),
        ("verify_explain", &["verify", "exact_13.0.so", "--explain"]),
    ] {
        shows(name, &sandbox, &sandbox.run(arguments));
    }
}

#[test]
fn a_doctor_where_nothing_is_installed() {
    let sandbox = Sandbox::new();
    let mut outcome = run(sandbox.command().env("PATH", "/nonexistent").arg("doctor"));
    // The machine and its disk differ everywhere.
    let own = ["machine", "cache folder", "data folder", "sandbox"];
    let shown = |line: &str| match own
        .iter()
        .find(|subject| line.get(6..).is_some_and(|rest| rest.starts_with(*subject)))
    {
        Some(subject) => format!("{}{subject}  <of this machine>\n", &line[..6]),
        None => format!("{line}\n"),
    };
    // What a GPU still needs stands at the end.
    let gpu = outcome.stdout.find("  gpu ").map_or(outcome.stdout.len(), |at| at - 4);
    let layers = |line: &&str| line.get(6..).is_some_and(|rest| rest.starts_with("sandbox"));
    let mut lines: Vec<&str> = outcome.stdout[..gpu].lines().collect();
    // Which layers a machine gives takes one line or two, the second with ways out below it.
    let first = lines.iter().position(layers).expect("the doctor speaks of the sandbox");
    let is_other = |line: &&str| !layers(line) && !line.starts_with(' ');
    let behind = lines[first..].iter().position(is_other).map_or(lines.len(), |length| first + length);
    lines.splice(first..behind, ["note  sandbox"]);
    outcome.stdout = lines.into_iter().map(shown).collect();
    shows("doctor", &sandbox, &outcome);
}

#[test]
fn errors_name_the_thing_and_the_way_out() {
    let sandbox = Sandbox::new();
    sandbox.submission("mine", FILES);
    sandbox.write("empty/notes.txt", "");
    sandbox.write(
        "broken/config.toml",
        "[solution]\nname = \"\"\n[build]\nlanguage = \"cuda\"\nentry_point = \"kernel\"\n",
    );
    sandbox.write("broken/kernel.cu", "#include \"../outside.h\"\n");
    sandbox.write(
        "flags/config.toml",
        format!("{CONFIG}[target]\nnvcc_flags = [\"-arch=sm_90\", \"-I/etc\"]\n"),
    );
    sandbox.write("flags/kernel.cu", KERNEL);
    sandbox.run(["pack", "mine", "-o", "packed.zip"]).expect(0);
    for (name, arguments) in [
        ("error_no_such_input", &["inspect", "missing"][..]),
        ("error_no_submission", &["pack", "empty"]),
        ("error_every_violation", &["pack", "broken"]),
        ("error_refused_flags", &["build", "flags"]),
        ("error_not_sealed", &["replay", "packed.zip"]),
        ("error_unknown_verb", &["verifi"]),
        ("error_unknown_option", &["pack", "mine", "--no-such-option"]),
        ("error_output_is_a_source", &["pack", "mine", "-o", "mine/kernel.cu"]),
        ("error_no_such_schema", &["schema", "nothing"]),
    ] {
        shows(name, &sandbox, &sandbox.build(arguments));
    }
}
