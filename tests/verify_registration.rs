//! Device code registered at addresses that are no wrappers: by a call, by a pointer in data, by a jump into the
//! function. Never exact, whatever runtime a file is linked with; what only calls as compilers do stays exact.

use std::fs;
use std::process::Command;

use proofmark::proof::{ProofVerdict, examine};

use crate::support::Sandbox;
use crate::support::forge::{Forgeries, content, fixture, index, number, put, section_header, verdict};

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

/// A registration of the object's wrapper as nvcc writes it, with names for its parts: what stands in these sections
/// stands where the object's begin.
const SITE: &str = "asm(\".section .nvFatBinSegment,\\\"aw\\\",@progbits\\nwrappers:\\n\\
.section .nv_fatbin,\\\"a\\\",@progbits\\ncontainer:\\n\\
.section .init_array,\\\"aw\\\",@init_array\\n.balign 8\\n.quad own\\n\\
.text\\nown: sub $8, %rsp\\nfrom: lea wrappers(%rip), %rdi\\nlast: call __cudaRegisterFatBinary@PLT\\n\\
add $8, %rsp\\nret\\n\");
";

/// Ways around what it registers: into its middle, or to the wrapper.
const AROUND: [(&str, &str); 26] = [
    ("a short jump to the call", "g: mov %rsp, %rdi\njmp last"),
    ("a short jump that depends", "g: mov %rsp, %rdi\nje last"),
    ("a jump to the call", ".section .text.far,\"ax\"\ng: mov %rsp, %rdi\njmp last"),
    ("a call of the call", ".section .text.far,\"ax\"\ng: mov %rsp, %rdi\ncall last\nret"),
    ("a jump that depends", ".section .text.far,\"ax\"\ng: mov %rsp, %rdi\njne last"),
    ("a jump into the load", ".section .text.far,\"ax\"\ng: jmp from + 1"),
    ("a jump to the last byte of the load", "g: jmp last - 1"),
    ("the address of the call", "g: lea last(%rip), %rax\njmp *%rax"),
    ("an address in the load", ".section .text.far,\"ax\"\ng: lea from + 3(%rip), %rax\njmp *%rax"),
    (
        "the address of the registering code",
        ".section .text.far,\"ax\"\ng: lea own(%rip), %rax\nadd $11, %rax\njmp *%rax",
    ),
    ("a pointer to the call", ".data\n.balign 8\ng: .quad last"),
    ("a constant pointer to the call", ".section .data.rel.ro,\"aw\"\n.balign 8\ng: .quad last"),
    ("a pointer to the registering code", ".data\n.balign 8\ng: .quad own"),
    ("a pointer that stands anywhere", ".data\n.byte 1\ng: .quad last"),
    ("a constructor in the middle", ".section .init_array,\"aw\",@init_array\ng: .quad last"),
    ("a distance to the call", ".section .rodata\n.balign 4\ng: .long last - ."),
    (
        "a distance to the call that stands anywhere",
        ".section .rodata\n.balign 4\n.byte 1\ng: .long last - .",
    ),
    ("a write", "g: mov %rax, wrappers + 8(%rip)\nret"),
    ("a write of a number", "g: movq $0, wrappers + 8(%rip)\nret"),
    ("a write of a byte", "g: movb $1, wrappers + 9(%rip)\nret"),
    ("a write of a vector", "g: movups %xmm0, wrappers(%rip)\nret"),
    ("an exchange", "g: xchg %rax, wrappers + 8(%rip)\nret"),
    ("the address of a wrapper", "g: lea wrappers(%rip), %rax\nmov %rsi, 8(%rax)\nret"),
    ("a pointer to a wrapper", ".data\n.balign 8\ng: .quad wrappers + 8"),
    (
        "a look for the end of the data that goes on",
        "g: lea wrappers(%rip), %rdi\nlea wrappers(%rip), %rax\n\
      cmp %rdi, %rax\nje 1f\nret\n1: mov %rsi, 8(%rdi)\nret",
    ),
    ("an address in device code", "g: lea container + 80(%rip), %rax\nret"),
];

/// Host code with a registration and a way around it.
fn around(way: &str) -> String {
    let way: Vec<String> = way.lines().map(|line| line.replace('"', "\\\"") + "\\n").collect();
    format!("{DECLARED}{SITE}\nasm(\"{}.text\\n\");\n", way.concat())
}

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
fn what_leads_around_a_registration_is_found_in_libraries() {
    let mut forgeries = Forgeries::default();
    for (name, way) in AROUND {
        let host = around(way);
        forgeries.refuse(format!("{name}, shared runtime"), &built(&host, &["-shared", "-fPIC"]));
        for arguments in [&["-shared", "-fPIC"][..], &["-shared", "-fPIC", "-s"]] {
            forgeries.refuse(format!("{name}, {arguments:?}"), &built_with_runtime(&host, arguments));
        }
    }
    forgeries.finish(78);
}

#[test]
fn a_number_in_data_that_reads_as_a_distance_to_the_call_is_a_doubt() {
    for (way, is_doubt) in [("last - .", true), ("last - . + 64", false)] {
        let host = around(&format!(".section .rodata\n.balign 4\ng: .long {way}"));
        let found = examine(&built_with_runtime(&host, &["-shared", "-fPIC"]));
        assert!(found.unaccounted.is_empty(), "{:?}", found.unaccounted);
        let doubts = found.unexplained.iter().filter(|one| one.reason.contains("reads as a distance"));
        assert_eq!(doubts.count(), usize::from(is_doubt), "{way}: {:?}", found.unexplained);
    }
}

#[test]
fn what_leads_around_a_registration_is_found_in_programs() {
    let mut forgeries = Forgeries::default();
    for (name, way) in AROUND {
        let host = around(way) + "int main() {}";
        for arguments in [&["-no-pie", "-fno-pic"][..], &["-no-pie", "-fno-pic", "-s"], &["-pie", "-fpie"]] {
            // Where addresses are known when it is linked, nothing need stand in data for a distance.
            forgeries.refuse(format!("{name}, {arguments:?}"), &built_with_runtime(&host, arguments));
        }
    }
    forgeries.finish(78);
}

/// An object of some host code and an exact one, joined but not linked.
fn joined(host: &str) -> Vec<u8> {
    let sandbox = beside_exact(host);
    compile(&sandbox, &["-c", "-O1", "-fPIC", "k.cpp", "-o", "k.o"]);
    compile(&sandbox, &["-r", "-nostdlib", "k.o", "exact.o", "-o", "joined.o"]);
    fs::read(sandbox.path("joined.o")).unwrap()
}

#[test]
fn what_leads_around_a_registration_is_found_in_objects() {
    let mut forgeries = Forgeries::default();
    for (name, way) in AROUND {
        forgeries.refuse(name, &joined(&around(way)));
    }
    forgeries.finish(26);
}

/// Ways to the function by its neighbours in the tables that linkers make.
const NEIGHBOURS: [(&str, &str); 4] = [
    ("another function of the runtime and a distance", ".data\n.balign 8\ng: .quad cudaMalloc + 16"),
    (
        "a distance that stands anywhere",
        ".section .rodata\n.balign 4\n.byte 1\ng: .long __cudaRegisterFatBinary - .",
    ),
    (
        "a stub of somebody's own",
        ".section .plt.own,\"ax\"\n.balign 16\ng: mov %rsp, %rdi\njmp *__cudaRegisterFatBinary@GOTPCREL(%rip)",
    ),
    (
        "a table of addresses with a sum",
        ".section .got,\"aw\"\n.balign 8\ng: .quad __cudaRegisterFatBinary + 4",
    ),
];

#[test]
fn what_separate_compilation_hands_on_is_a_wrapper() {
    let honest = fixture("exact_unlinked_13.0.o");
    assert_eq!(verdict(&honest).0, ProofVerdict::Exact);
    let (symbols, _) = content(&honest, ".symtab");
    let (code, _) = content(&honest, ".text");
    let entry_at = |table: &str, place: u64| {
        let (at, size) = content(&honest, table);
        (at..at + size).step_by(24).find(|&at| number(&honest, at, 8) == place).expect("a relocation")
    };
    // `lea …(%rip), %rax; mov %rax, %rsi` at 0x35f, the callback's address in %rdi, and the call at 0x373.
    let load = entry_at(".rela.text", 0x362);
    let wrapper = symbols + index(&honest, load + 12, 4) * 24;
    let pointer = entry_at(".rela.nvFatBinSegment", 8);
    let mut forgeries = Forgeries::default();
    let mut refuse = |name: &str, at: usize, width: usize, value: u64, words: &str| {
        let mut forged = honest.clone();
        put(&mut forged, at, width, value);
        forgeries.refuse_because(format!("{name} {value:#x}"), &forged, words);
    };
    for symbol in [2, 3, 11, 16, 27, 33] {
        refuse("another symbol", load + 12, 4, symbol, "no wrapper");
    }
    for addend in [0, 4, 8, 20] {
        refuse("another place", load + 16, 8, addend, "no wrapper");
    }
    for kind in [0, 1, 9, 10, 42] {
        refuse("another kind", load + 8, 4, kind, "no wrapper");
    }
    refuse("a load that is moved", load, 8, 0x10, "no wrapper");
    for (at, width, value) in [(6, 2, 5), (6, 2, 0), (8, 8, 8), (8, 8, u64::MAX)] {
        refuse("a wrapper's symbol", wrapper + at, width, value, "no wrapper");
    }
    refuse("a second load", code + 0x370, 3, 0x00C6_8948, "no wrapper");
    refuse("a call that is none", code + 0x373, 1, 0x68, "is taken");
    // Half of the pointer, beside which the other half stays.
    for kind in [10, 11] {
        refuse("half a pointer", pointer + 8, 4, kind, "not in this file");
    }
    forgeries.finish(22);
}

#[test]
fn what_leads_to_the_function_by_a_detour_is_found() {
    let mut forgeries = Forgeries::default();
    for (name, way) in NEIGHBOURS {
        let host = around(way);
        if !name.contains("anywhere") {
            forgeries.refuse(name, &built(&host, &["-shared", "-fPIC"]));
        }
        if !name.contains("another") {
            forgeries
                .refuse(format!("{name}, static"), &built_with_runtime(&host, &["-shared", "-fPIC", "-s"]));
        }
    }
    forgeries.finish(6);
}

#[test]
fn a_function_that_is_called_in_its_place_and_calls_it_with_something_else_is_found() {
    let between = "extern \"C\" void** __real___cudaRegisterFatBinary(void*);
        extern \"C\" void** __wrap___cudaRegisterFatBinary(void* p) {
            made.v = p != 0; return __real___cudaRegisterFatBinary(&made);
        }";
    let host = format!("{DECLARED}{between}");
    let mut forgeries = Forgeries::default();
    for optimised in ["-O0", "-O2"] {
        let arguments = ["-shared", "-fPIC", "-Wl,--wrap=__cudaRegisterFatBinary", optimised];
        forgeries.refuse_because(
            format!("{optimised}, shared runtime"),
            &built(&host, &arguments),
            "no wrapper",
        );
        forgeries.refuse(format!("{optimised}, static runtime"), &built_with_runtime(&host, &arguments));
    }
    forgeries.finish(4);
}

#[test]
fn a_slot_that_leads_to_it_until_the_loader_fills_it_is_found() {
    let host =
        "extern \"C\" int puts(const char*); extern \"C\" void g(); void f(const char* p) { puts(p); g(); }";
    let honest = built(host, &["-shared", "-fPIC", "-Wl,-z,lazy"]);
    assert_eq!(verdict(&honest).0, ProofVerdict::Exact);
    let (table, size) = content(&honest, ".rela.plt");
    let (got, _) = content(&honest, ".got.plt");
    let (symbols, names) = (content(&honest, ".dynsym").0, content(&honest, ".dynstr").0);
    let first = number(&honest, section_header(&honest, ".got.plt") + 16, 8);
    let mut slots = Vec::new();
    for entry in (table..table + size).step_by(24) {
        let at = got + usize::try_from(number(&honest, entry, 8) - first).unwrap();
        let name = names + index(&honest, symbols + 24 * index(&honest, entry + 12, 4), 4);
        let is_it = honest[name..].starts_with(b"__cudaRegisterFatBinary\0");
        slots.push((at, is_it));
    }
    let stub =
        slots.iter().find(|(_, is_it)| *is_it).map(|&(at, _)| number(&honest, at, 8)).expect("its slot");
    let mut forgeries = Forgeries::default();
    for (at, _) in slots.iter().filter(|(_, is_it)| !is_it) {
        let mut forged = honest.clone();
        put(&mut forged, *at, 8, stub);
        forgeries.refuse_because(format!("slot {at:#x}"), &forged, "is taken");
    }
    forgeries.finish(2);
}

/// A call of the function from some section.
fn calling_from(section: &str) -> String {
    let code = "g: mov %rsp, %rdi\\ncall __cudaRegisterFatBinary@PLT\\nret\\n.text\\n";
    format!(
        "{DECLARED}asm(\"{}\\n.globl g\\n{code}\");\nextern \"C\" int f() {{ return 1; }}",
        section.replace('"', "\\\"")
    )
}

/// The same file with the segment of a section executed.
fn executed(mut file: Vec<u8>, section: &str) -> Vec<u8> {
    const RUNS: u64 = 1;
    let (offset, _) = content(&file, section);
    let (table, count) = (index(&file, 32, 8), index(&file, 56, 2));
    let headers = (0..count).map(|one| table + one * 56);
    let of_section = |at: &usize| {
        let begin = index(&file, at + 8, 8);
        number(&file, *at, 4) == 1 && (begin..begin + index(&file, at + 32, 8)).contains(&offset)
    };
    let found = headers.into_iter().find(of_section).expect("a segment");
    let flags = number(&file, found + 4, 4) | RUNS;
    put(&mut file, found + 4, 4, flags);
    file
}

#[test]
fn code_in_data_that_can_run_is_found() {
    let mut forgeries = Forgeries::default();
    let constant = calling_from(".section .rodata,\"a\"");
    let apart = ["-shared", "-fPIC", "-Wl,-z,separate-code"];
    let (found, why) = verdict(&built(&constant, &apart));
    assert_eq!(found, ProofVerdict::Exact, "what cannot run is no code: {why}");
    for (section, host) in [(".rodata", &constant), (".data", &calling_from(".data"))] {
        forgeries.refuse(format!("{section}, shared runtime"), &executed(built(host, &apart), section));
        forgeries.refuse(
            format!("{section}, static runtime"),
            &executed(built_with_runtime(host, &apart), section),
        );
    }
    let together = ["-shared", "-fPIC", "-Wl,-z,noseparate-code"];
    forgeries.refuse("in one segment with code", &built(&constant, &together));
    forgeries.finish(5);
}

/// A program at fixed addresses whose runtime is a library that it needs.
fn program_with_shared_runtime(arguments: &[&str]) -> Vec<u8> {
    let sandbox = beside_exact("int main() { return 0; }");
    sandbox.write("runtime.cpp", STATIC_RUNTIME.replace("__attribute__((visibility(\"hidden\"))) ", ""));
    compile(&sandbox, &["-shared", "-fPIC", "runtime.cpp", "-o", "libruntime.so"]);
    let inputs =
        ["-O2", "k.cpp", "exact.o", "-L.", "-lruntime", "-Wl,--unresolved-symbols=ignore-all", "-o", "k"];
    compile(&sandbox, &[arguments, &inputs].concat());
    fs::read(sandbox.path("k")).unwrap()
}

#[test]
fn a_slot_of_a_program_that_leads_to_its_stub_takes_no_address() {
    for arguments in [&["-no-pie", "-Wl,-z,lazy"][..], &["-no-pie", "-Wl,-z,now"], &["-pie", "-Wl,-z,lazy"]] {
        let (found, why) = verdict(&program_with_shared_runtime(arguments));
        assert_eq!(found, ProofVerdict::Exact, "{arguments:?}: {why}");
    }
}

#[test]
fn calls_as_compilers_make_them_stay_exact() {
    let shared = "extern \"C\" int f() { return 1; }";
    let program = "int main() { return 0; }";
    for arguments in [
        &["-shared", "-fPIC"][..],
        &["-shared", "-fPIC", "-Wl,-z,lazy"],
        &["-shared", "-fPIC", "-fcf-protection=full", "-Wl,-z,now"],
        &["-shared", "-fPIC", "-Wl,-z,noseparate-code"],
    ] {
        for host in [shared.to_owned(), around("nop")] {
            let (found, why) = verdict(&built(&host, arguments));
            assert_eq!(found, ProofVerdict::Exact, "{arguments:?}: {why}");
        }
    }
    let (found, why) = verdict(&joined(&around("nop")));
    assert_eq!(found, ProofVerdict::Exact, "{why}");
    for (host, arguments) in [
        (shared, &["-shared", "-fPIC"][..]),
        (shared, &["-shared", "-fPIC", "-s"]),
        (program, &["-no-pie"]),
        (program, &["-no-pie", "-s"]),
        (program, &["-pie", "-s"]),
    ] {
        for host in [host.to_owned(), around("nop") + host] {
            let (found, why) = verdict(&built_with_runtime(&host, arguments));
            assert_eq!(found, ProofVerdict::Exact, "{arguments:?}: {why}");
        }
    }
}
