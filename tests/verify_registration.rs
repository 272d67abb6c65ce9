//! Device code registered at addresses that are no wrappers: by a call, by a pointer in data, by a jump into the
//! function. Never exact, whatever runtime a file is linked with; what only calls as compilers do stays exact.

use std::fs;
use std::process::Command;

use proofmark::proof::ProofVerdict;

use crate::support::Sandbox;
use crate::support::forge::{Forgeries, fixture, verdict};

/// What each way of registering begins with: memory that no file fills stands for what is computed at run time.
const DECLARED: &str = "extern \"C\" void** __cudaRegisterFatBinary(void*);
struct W { int m, v; const void *d, *f; };
W made;
";
/// In place of the static runtime: a function of that name in the file itself.
const STATIC_RUNTIME: &str =
    "extern \"C\" __attribute__((visibility(\"hidden\"))) void** __cudaRegisterFatBinary(void* wrapper) {
    static void* registered; registered = wrapper; return &registered;
}
extern \"C\" __attribute__((visibility(\"hidden\"))) void __cudaRegisterFatBinaryEnd(void**) {}
";

/// Ways that compilers make of ordinary sources.
const COMPILED: [(&str, &str); 9] = [
    ("an argument", "void f(void* p) { __cudaRegisterFatBinary(p); }"),
    ("a last call", "void** f(void* p) { return __cudaRegisterFatBinary((char*)p + 8); }"),
    ("the stack", "void f(const void* d) { W w = {0x466243B1, 1, d, 0}; __cudaRegisterFatBinary(&w); }"),
    ("a pointer in data", "void** (*g)(void*) = __cudaRegisterFatBinary;"),
    ("its address", "void* f() { return (void*)__cudaRegisterFatBinary; }"),
    (
        "a constructor's entry",
        "__attribute__((section(\".init_array\"), used)) void** (*g)(void*) = __cudaRegisterFatBinary;",
    ),
    (
        "a table",
        "void** (*const g[])(void*) = {0, __cudaRegisterFatBinary}; void** f(int i) { return g[i](&made); }",
    ),
    (
        "a constant table",
        "struct T { long n; void** (*r)(void*); }; extern const T t = {7, __cudaRegisterFatBinary};",
    ),
    (
        "one of two addresses",
        "struct T { void* a; void* b; } t; void f() { t.a = (void*)f; t.b = (void*)__cudaRegisterFatBinary; }",
    ),
];
/// Ways that only somebody makes who writes them.
const WRITTEN: [(&str, &str); 7] = [
    ("a jump if", "asm(\".globl g\\ng: test %eax, %eax\\nje __cudaRegisterFatBinary\\nret\\n\");"),
    ("a jump behind its first instruction", "asm(\".globl g\\ng: jmp __cudaRegisterFatBinary + 4\\n\");"),
    (
        "a pointer behind its beginning",
        "asm(\".data\\n.globl g\\ng: .quad __cudaRegisterFatBinary + 1\\n.text\\n\");",
    ),
    (
        "a distance in data",
        "asm(\".section .rodata\\n.balign 4\\n.globl g\\ng: .long __cudaRegisterFatBinary - .\\n.text\\n\");",
    ),
    (
        "a distance in code",
        "asm(\".globl g\\n.balign 4\\ng: nop\\n.balign 4\\n.long __cudaRegisterFatBinary - .\\n\");",
    ),
    ("pushed", "asm(\".globl g\\ng: lea __cudaRegisterFatBinary(%rip), %rax\\npush %rax\\nret\\n\");"),
    (
        "a load that is jumped over",
        "asm(\".globl g\\ng: test %esi, %esi\\nje 1f\\nlea wrappers(%rip), %rdi\\n1: call __cudaRegisterFatBinary\\nret\\n\
         .section .nvFatBinSegment,\\\"aw\\\",@progbits\\n.reloc ., R_X86_64_NONE, made\\nwrappers:\\n.text\\n\");",
    ),
];

fn compile(sandbox: &Sandbox, arguments: &[&str]) {
    let status = Command::new("g++").args(arguments).current_dir(sandbox.path("")).status();
    assert!(status.expect("a host compiler").success(), "{arguments:?}");
}

/// A folder with an exact object and some host code.
fn beside_exact(host: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("exact.o"), fixture("exact_13.0.o")).unwrap();
    sandbox.write("k.cpp", host);
    sandbox
}

/// A file of some host code and an exact object, whose runtime lies elsewhere.
fn built(host: &str, arguments: &[&str]) -> Vec<u8> {
    let sandbox = beside_exact(host);
    compile(&sandbox, &[arguments, &["-O2", "k.cpp", "exact.o", "-o", "k"]].concat());
    fs::read(sandbox.path("k")).unwrap()
}

/// The same with a runtime in the file.
fn built_with_runtime(host: &str, arguments: &[&str]) -> Vec<u8> {
    let sandbox = beside_exact(host);
    sandbox.write("runtime.cpp", STATIC_RUNTIME);
    // What else the object calls is never called here.
    let inputs = ["-O2", "k.cpp", "exact.o", "runtime.cpp", "-Wl,--unresolved-symbols=ignore-all", "-o", "k"];
    compile(&sandbox, &[arguments, &inputs].concat());
    fs::read(sandbox.path("k")).unwrap()
}

#[test]
fn is_found_with_the_shared_runtime() {
    let mut forgeries = Forgeries::default();
    for (name, code) in COMPILED {
        forgeries.refuse(name, &built(&format!("{DECLARED}{code}"), &["-shared", "-fPIC"]));
    }
    for (name, code) in [
        ("a stub that asks for its slot", "asm(\".globl g\\ng: jmp __cudaRegisterFatBinary@PLT\\n\");"),
        (
            "a slot that is added up",
            "asm(\".globl g\\ng: xor %eax, %eax\\nadd __cudaRegisterFatBinary@GOTPCREL(%rip), %rax\\njmp *%rax\\n\");",
        ),
        (
            "a slot in a register for vectors",
            "asm(\".globl g\\ng: movq __cudaRegisterFatBinary@GOTPCREL(%rip), %xmm0\\nmovq %xmm0, %rax\\njmp *%rax\\n\");",
        ),
    ] {
        forgeries.refuse(name, &built(&format!("{DECLARED}{code}"), &["-shared", "-fPIC", "-Wl,-z,lazy"]));
    }
    forgeries.finish(12);
}

#[test]
fn is_found_with_the_static_runtime() {
    let mut forgeries = Forgeries::default();
    for (name, code) in COMPILED.into_iter().chain(WRITTEN) {
        let host = format!("{DECLARED}{code}");
        for arguments in [&["-shared", "-fPIC"][..], &["-shared", "-fPIC", "-s"]] {
            forgeries.refuse(format!("{name}, {arguments:?}"), &built_with_runtime(&host, arguments));
        }
    }
    forgeries.finish(32);
}

#[test]
fn is_found_in_programs_at_fixed_addresses() {
    let mut forgeries = Forgeries::default();
    for (name, code) in COMPILED.into_iter().chain(WRITTEN) {
        let host = format!("{DECLARED}{code}\nint main() {{}}");
        for arguments in [&["-no-pie", "-fno-pic"][..], &["-no-pie", "-fno-pic", "-s"], &["-pie", "-fpie"]] {
            forgeries.refuse(format!("{name}, {arguments:?}"), &built_with_runtime(&host, arguments));
        }
    }
    forgeries.finish(48);
}

#[test]
fn is_found_in_archives() {
    let mut forgeries = Forgeries::default();
    for (name, code) in COMPILED.into_iter().chain(WRITTEN) {
        let sandbox = beside_exact(&format!("{DECLARED}{code}"));
        compile(&sandbox, &["-c", "-O1", "-fPIC", "k.cpp", "-o", "k.o"]);
        let status =
            Command::new("ar").args(["rc", "k.a", "k.o", "exact.o"]).current_dir(sandbox.path("")).status();
        assert!(status.expect("an archiver").success());
        forgeries.refuse(name, &fs::read(sandbox.path("k.a")).unwrap());
    }
    forgeries.finish(16);
}

#[test]
fn calls_as_compilers_make_them_stay_exact() {
    let shared = "extern \"C\" int f() { return 1; }";
    let program = "int main() { return 0; }";
    for arguments in [
        &["-shared", "-fPIC"][..],
        &["-shared", "-fPIC", "-Wl,-z,lazy"],
        &["-shared", "-fPIC", "-fcf-protection=full", "-Wl,-z,now"],
    ] {
        let (found, why) = verdict(&built(shared, arguments));
        assert_eq!(found, ProofVerdict::Exact, "{arguments:?}: {why}");
    }
    for (host, arguments) in [
        (shared, &["-shared", "-fPIC"][..]),
        (shared, &["-shared", "-fPIC", "-s"]),
        (program, &["-no-pie"]),
        (program, &["-no-pie", "-s"]),
        (program, &["-pie", "-s"]),
    ] {
        let (found, why) = verdict(&built_with_runtime(host, arguments));
        assert_eq!(found, ProofVerdict::Exact, "{arguments:?}: {why}");
    }
}
