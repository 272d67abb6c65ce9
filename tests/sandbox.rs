//! Sources that try to get out of their build: to files, to the network, to other processes, into logs.
//!
//! What a hostile source can make a compiler do is played by a compiler that is a script of ours, so that
//! every layer is tried by name; what sources alone can ask for is tried with the real one.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Outcome, Sandbox, data_folder, run, skipped};

/// It exports through the C header, which compiles in a quarter of the time of the C++ one.
const KERNEL: &str = "#include <tvm/ffi/c_api.h>\n__global__ void one(float* x) { *x = 1.0f; }\nextern \"C\" TVM_FFI_DLL_EXPORT int __tvm_ffi_run(void*, const TVMFFIAny*, int32_t, TVMFFIAny*) { one<<<1, 1>>>(nullptr); return 0; }\n";

/// A CUDA installation whose nvcc is a script; every other file is the pinned one's.
fn fake_cuda(sandbox: &Sandbox, script: &str) -> PathBuf {
    let list = run(sandbox.command().args(["toolchain", "list", "--json", "--data-dir"]).arg(data_folder()));
    let list = list.expect(0).json();
    let pinned = list["pinned"].as_array().unwrap().iter().find(|one| one["component"] == "cuda").unwrap();
    let real = PathBuf::from(pinned["folder"].as_str().unwrap());
    let home = sandbox.path("cuda");
    fs::create_dir_all(home.join("bin")).unwrap();
    for name in ["include", "lib", "nvvm"] {
        symlink(real.join(name), home.join(name)).unwrap();
    }
    for entry in fs::read_dir(real.join("bin")).unwrap().map(Result::unwrap) {
        if entry.file_name() != "nvcc" {
            symlink(entry.path(), home.join("bin").join(entry.file_name())).unwrap();
        }
    }
    let version = "case \"$*\" in *--version*) echo 'release 13.0, V13.0.88'; exit 0;; esac";
    let nvcc = home.join("bin/nvcc");
    fs::write(&nvcc, format!("#!/bin/sh\n{version}\n{script}\n")).unwrap();
    fs::set_permissions(&nvcc, fs::Permissions::from_mode(0o755)).unwrap();
    home
}

/// Builds once with a compiler that runs a script, then fails with the script's output as its errors.
fn attempt(sandbox: &Sandbox, script: &str) -> Outcome {
    sandbox.submission("one", &[("kernel.cu", "int nothing;\n")]);
    let home = fake_cuda(sandbox, &format!("({script}) 2>&1; echo 'kernel.cu(1): error: done'; exit 2"));
    let mut command = sandbox.builder();
    command.env("CUDA_HOME", home).args(["build", "one"]);
    run(&mut command).expect(1)
}

/// The layers that this machine gives.
fn layers() -> Value {
    let sandbox = Sandbox::new();
    sandbox.build(["doctor", "--json"]).json()["sandbox"].clone()
}

fn gives(layer: &str) -> bool {
    layers()["held"].get(layer).is_some()
}

/// Whether this machine gives one of these layers; says so where it does not.
fn gives_one_of(wanted: &[&str]) -> bool {
    let found = wanted.iter().any(|layer| gives(layer));
    if !found {
        skipped(&format!("this machine gives no {}", wanted.join(" and no ")));
    }
    found
}

#[test]
fn a_compiler_reads_no_file_of_the_user_and_not_even_sees_that_it_is_there() {
    if !gives_one_of(&["mounts", "landlock"]) {
        return;
    }
    let sandbox = Sandbox::new();
    let secret = sandbox.write("secret.txt", "the secret");
    let script = format!(
        "cat '{}'; cat /etc/passwd; cat /etc/hostname; ls '{}'; test -e /etc/passwd && echo seen",
        secret.display(),
        sandbox.home().display(),
    );
    let said = attempt(&sandbox, &script).stderr;
    assert!(!said.contains("the secret") && !said.contains("root:"), "{said}");
    assert!(!gives("mounts") || !said.contains("seen"), "{said}");
}

#[test]
fn a_compiler_writes_nowhere_but_into_its_build() {
    if !gives_one_of(&["mounts", "landlock"]) {
        return;
    }
    let sandbox = Sandbox::new();
    let victim = sandbox.write("victim", "as it was");
    let toolchain = data_folder().join("toolchains");
    let script = format!(
        "echo x > '{0}'; echo x >> '{0}'; rm -f '{0}'; mv '{0}' '{0}2'; chmod 000 '{0}'; touch '{0}'; \
         echo x > '{1}/new'; echo x > source/kernel.cu; rm -f source/kernel.cu; echo x > here; \
         for f in cuda/bin/*; do chmod 777 $f; echo x > $f; rm -f $f; done; \
         echo x > /tmp/proofmark-was-here; echo x > ../escaped; echo x > object/fine && echo wrote",
        victim.display(),
        toolchain.display(),
    );
    let before = fs::metadata(&victim).unwrap();
    let said = attempt(&sandbox, &script).stderr;
    assert!(said.contains("wrote"), "{said}");
    assert_eq!(fs::read_to_string(&victim).unwrap(), "as it was");
    let after = fs::metadata(&victim).unwrap();
    assert_eq!(
        (before.permissions(), before.modified().unwrap()),
        (after.permissions(), after.modified().unwrap())
    );
    assert!(!toolchain.join("new").exists() && !Path::new("/tmp/proofmark-was-here").exists());
    assert!(fs::read_to_string(sandbox.path("cuda/bin/nvcc")).unwrap().contains("V13.0.88"));
    assert!(sandbox.path("cuda/bin/cudafe++").exists());
    sandbox.submission("two", &[("kernel.cu", KERNEL)]);
    sandbox.build(["build", "two"]).expect(0);
}

#[test]
fn a_compiler_reaches_no_network_and_no_other_process() {
    if !gives_one_of(&["seccomp"]) {
        return;
    }
    let sandbox = Sandbox::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut bystander = Command::new("sleep").arg("300").spawn().unwrap();
    let script = format!(
        "bash -c 'echo x > /dev/tcp/127.0.0.1/{port}'; kill -9 {0} && echo killed; cat /proc/{0}/cmdline",
        bystander.id(),
    );
    let said = attempt(&sandbox, &script).stderr;
    assert!(listener.accept().is_err());
    // Landlock keeps signals in since its sixth version.
    if gives_one_of(&["pid_namespace"]) {
        assert!(bystander.try_wait().unwrap().is_none() && !said.contains("killed"), "{said}");
    }
    bystander.kill().unwrap();
    bystander.wait().unwrap();
}

#[test]
fn system_calls_that_no_compiler_needs_fail_under_every_number_that_they_have() {
    if !gives_one_of(&["seccomp"]) {
        return;
    }
    if !Path::new("/usr/bin/perl").exists() || !cfg!(target_arch = "x86_64") {
        skipped("no perl to call the system by number, or other numbers");
        return;
    }
    // socket, ptrace, chmod, mount, unshare, bpf, mq_open, io_uring_setup, open_tree, fchmodat2, setxattrat;
    // the x32 numbering of three of them.
    let numbers = "41,101,90,165,272,321,240,425,428,452,463,0x40000000+41,0x40000000+90,0x40000000+272";
    let script = format!(
        "perl -e 'for my $n ({numbers}) {{ my $r = syscall($n, 1, 1, 0, 0, 0); \
         print \"call $n gave $r: \", $!+0, \"\\n\"; }}'"
    );
    let said = attempt(&Sandbox::new(), &script).stderr;
    let lines: Vec<&str> = said.lines().filter(|line| line.contains("call ")).collect();
    assert_eq!(lines.len(), 14, "{said}");
    // Not permitted, or no such call.
    assert!(lines.iter().all(|line| line.ends_with("gave -1: 1") || line.ends_with("gave -1: 38")), "{said}");
}

#[test]
fn memory_files_and_processes_are_bounded() {
    if !gives_one_of(&["limits"]) {
        return;
    }
    let sandbox = Sandbox::new();
    let said = attempt(&sandbox, "ulimit -v; ulimit -f; ulimit -n; ulimit -c; id -u; pwd").stderr;
    let limits: Vec<&str> = said.lines().filter(|line| line.parse::<u64>().is_ok()).collect();
    assert!(limits.len() >= 4 && !said.contains("unlimited"), "{said}");
    let large =
        attempt(&Sandbox::new(), "dd if=/dev/zero of=object/large bs=1M count=1200; wc -c object/large")
            .stderr;
    assert!(!large.contains("1258291200"), "{large}");
}

#[test]
fn a_compiler_that_comes_to_a_limit_is_nobodys_fault_and_the_limit_is_named_with_whose_it_is() {
    if !gives_one_of(&["limits"]) {
        return;
    }
    let own = "a file of a build may take 1024 MiB, a limit that proofmark sets";
    let started = ", as this program was started (ulimit -f)";
    for (limit, expected) in [("unlimited", own), ("200000", started)] {
        let sandbox = Sandbox::new();
        sandbox.submission("one", &[("kernel.cu", "int nothing;\n")]);
        // What the compiler's driver says of an assembler that the limit ended, as it ends this `dd`.
        let words = "g++: internal compiler error: File size limit exceeded signal terminated program as";
        let write = "dd if=/dev/zero of=object/large bs=1M count=1200 status=none";
        let home = fake_cuda(
            &sandbox,
            &format!("{write} && exit 0; rm -f object/large; echo '{words}' >&2; exit 4"),
        );
        let mut command = sandbox.command();
        let program = command.get_program().to_owned();
        let mut limited = Command::new("sh");
        limited.args(["-c", &format!("ulimit -f {limit}; exec \"$0\" build one")]).arg(program);
        limited.current_dir(sandbox.path("")).env_clear();
        command.env("PROOFMARK_DATA", data_folder()).env("CUDA_HOME", home);
        limited.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        // Nothing of it is remembered as the sources' fault.
        for _ in 0..2 {
            let ended = run(&mut limited).expect(3);
            assert!(ended.stderr.contains(expected), "{limit}: {}", ended.stderr);
        }
    }
}

/// Builds once under a limit of 3.25 GiB of memory, with a compiler that runs a script and then aborts as one does that
/// ran out of memory.
fn runs_out_of_memory(script: &str) -> Outcome {
    let sandbox = Sandbox::new();
    sandbox.submission("one", &[("kernel.cu", "int nothing;\n")]);
    let words = "terminate called after throwing an instance of 'std::bad_alloc'";
    let death = "nvcc error   : 'cicc' died due to signal 6 ";
    let home = fake_cuda(&sandbox, &format!("{script}\necho \"{words}\"\necho \"{death}\"\nexit 6"));
    let mut command = sandbox.command();
    let program = command.get_program().to_owned();
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -v 3407872; exec \"$0\" build one"]).arg(program);
    limited.current_dir(sandbox.path("")).env_clear();
    command.env("PROOFMARK_DATA", data_folder()).env("CUDA_HOME", home);
    limited.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    run(&mut limited)
}

#[test]
fn a_compiler_that_ran_out_of_memory_is_nobodys_fault_where_it_held_much_and_the_sources_where_it_did_not() {
    // `tail` keeps what has no line break.
    let starved = runs_out_of_memory("head -c 1400000000 /dev/zero | tail > /dev/null").expect(3);
    assert!(starved.stderr.contains("a compiler ran out of memory: it held 1"), "{}", starved.stderr);
    assert!(starved.stderr.contains("of 3328 MiB"), "{}", starved.stderr);
    runs_out_of_memory("true").expect(1);
}

#[test]
fn every_process_of_a_build_ends_with_it_whatever_ends_it() {
    for signal in ["KILL", "QUIT", "TERM", "HUP"] {
        let sandbox = Sandbox::new();
        sandbox.submission("one", &[("kernel.cu", "int nothing;\n")]);
        let home = fake_cuda(&sandbox, "setsid sh -c 'sleep 301 & sleep 302' & sleep 303");
        let builder = sandbox.builder();
        // Shells let what they start in the background ignore some of these signals, the suite and its children too.
        let mut command = Command::new("env");
        command.arg("--default-signal").arg(builder.get_program()).args(["build", "one"]);
        command.current_dir(sandbox.path("")).env_clear().env("CUDA_HOME", home);
        command.envs(builder.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let cache = sandbox.cache();
        wait("the build does not begin", || inhabitants(&cache) >= 4);
        let kill = Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap();
        assert!(kill.success());
        child.wait().unwrap();
        wait(&format!("processes outlive {signal}"), || inhabitants(&cache) == 0);
    }
}

fn wait(complaint: &str, is_done: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_done() {
        assert!(began.elapsed() < Duration::from_secs(60), "{complaint}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// How many processes work below a folder.
fn inhabitants(folder: &Path) -> usize {
    let Ok(folder) = folder.canonicalize() else { return 0 };
    let works_there = |entry: &fs::DirEntry| {
        fs::read_link(entry.path().join("cwd")).is_ok_and(|place| place.starts_with(&folder))
    };
    fs::read_dir("/proc").unwrap().flatten().filter(works_there).count()
}

/// Builds a submission whose kernel has a line more; gives what came of it.
/// Builds with a line in a file for the host's compiler; the kernel beside it is compiled once.
fn build_with_line(sandbox: &Sandbox, line: &str) -> Outcome {
    sandbox.submission("one", &[("kernel.cu", KERNEL), ("asks.cpp", line), ("notes.h", "int noted;\n")]);
    sandbox.build(["build", "one", "--json"])
}

/// Builds with a line in front of the kernel, where every part of nvcc reads it.
fn build_with_line_in_front(sandbox: &Sandbox, line: &str) -> Outcome {
    sandbox.submission("one", &[("kernel.cu", &format!("{line}\n{KERNEL}"))]);
    sandbox.build(["build", "one", "--json"])
}

#[test]
fn however_a_source_asks_for_a_foreign_file_it_does_not_get_it() {
    if !gives_one_of(&["mounts", "landlock"]) {
        return;
    }
    let sandbox = Sandbox::new();
    let secret =
        sandbox.write("secret.h", "#error the_very_secret\nint the_very_secret = the_very_secret;\n");
    let path = secret.display();
    let incbin = |name: &str| format!("asm(\".pushsection .rodata; .incbin \\\"{name}\\\"; .popsection\");");
    let climbing = format!("../../../../../../../../../../../..{path}");
    let in_front = [
        format!("#include \"{path}\""),
        incbin(&path.to_string()),
        format!("#pragma GCC dependency \"{path}\"\n#error no"),
    ];
    let lines = [
        format!("#include \"{path}\""),
        format!("#include <{climbing}>"),
        format!("#include_next \"{path}\""),
        format!("#define WANTED \"{path}\"\n#include WANTED"),
        format!("#line 1 \"{path}\"\n#error here"),
        format!("#import \"{path}\""),
        incbin(&path.to_string()),
        incbin(&climbing),
        incbin(&format!("source/{climbing}")),
        incbin("no/such/file"),
        incbin("/proc/self/environ"),
        incbin("/proc/self/maps"),
        format!("asm(\".include \\\"{path}\\\"\");"),
        "#include \"/proc/self/environ\"".to_owned(),
        "#include \"/etc/passwd\"".to_owned(),
        // What was looked up from here and what is looked up there are two things.
        "#include \"/proc/1/cwd/etc/passwd\"".to_owned(),
        format!("#include \"/proc/self/cwd/../../../../../../..{path}\""),
        format!("#embed \"{path}\""),
        format!("const char embedded[] = {{\n#embed \"{path}\"\n}};"),
        format!("#pragma GCC dependency \"{path}\"\n#error no"),
        format!("#pragma GCC pch_preprocess \"{path}\"\n#error no"),
        format!("#define PART(x) <x>\n#include PART({})", path.to_string().trim_start_matches('/')),
        incbin(&format!("/proc/self/root{path}")),
        incbin("/dev/stdin"),
        incbin("/proc/self/fd/0"),
    ];
    let built = in_front.iter().map(|line| (line, build_with_line_in_front(&sandbox, line)));
    for (line, outcome) in built.chain(lines.iter().map(|line| (line, build_with_line(&sandbox, line)))) {
        let said = format!("{}{}", outcome.stdout, outcome.stderr);
        // What the packer sees through is refused by it; what only a compiler sees, by the sandbox.
        assert!(matches!(outcome.code, 1 | 2), "{line}: {outcome:?}");
        assert!(!said.contains("the_very_secret") && !said.contains("root:x"), "{line}: {said}");
    }
    for probed in [path.to_string(), "/etc/passwd".to_owned()] {
        let line = format!("#if __has_include(\"{probed}\")\n#error it_is_seen\n#endif");
        let outcome = build_with_line(&sandbox, &line);
        let said = format!("{}{}", outcome.stdout, outcome.stderr);
        assert!(!said.contains("it_is_seen"), "{said}");
        assert!(!gives("mounts") || outcome.code == 0, "{probed}: {said}");
    }
}

#[test]
fn intermediate_code_for_the_linker_is_a_finding() {
    let sandbox = Sandbox::new();
    for line in [
        "asm(\".section .gnu.lto_.opts,\\\"e\\\",@progbits\\n.byte 0\\n.text\");",
        "asm(\".globl __gnu_lto_v1\\n.comm __gnu_lto_v1,1,1\");",
        "asm(\".section .llvm.lto,\\\"e\\\",@progbits\\n.byte 0\\n.text\");",
    ] {
        let outcome = build_with_line(&sandbox, line).expect(1);
        let said = format!("{}{}", outcome.stdout, outcome.stderr);
        assert!(said.contains("intermediate code"), "{line}: {said}");
    }
}

#[test]
fn a_file_whose_name_an_object_makes_the_linker_print_is_not_looked_at() {
    let sandbox = Sandbox::new();
    let warning = "asm(\".section .gnu.warning.absent,\\\"a\\\"; .ascii \\\"see\\\\n/etc/passwd\\\\n\\\"; .text\"); \
                   int absent() __attribute__((weak)); int use() { return absent ? absent() : 0; }";
    let outcome = build_with_line(&sandbox, warning);
    let said = format!("{}{}", outcome.stdout, outcome.stderr);
    assert!(!said.contains("<system>/etc/passwd"), "{said}");
    let entries = walkdir::WalkDir::new(sandbox.cache()).into_iter().flatten();
    for entry in entries.filter(|entry| entry.file_name() == "entry.json") {
        let text = fs::read_to_string(entry.path()).unwrap();
        assert!(!text.contains("<system>/etc/passwd"), "{text}");
    }
}

#[test]
fn sources_that_speak_of_a_full_disk_are_to_blame_for_their_own_errors() {
    let sandbox = Sandbox::new();
    for line in [
        "#error No space left on device",
        "#error Killed",
        "#pragma message \"No space left on device\"\n#error no",
        "#pragma GCC dependency \"/no/such/file\"",
        "asm(\".print \\\"nvcc fatal   : Unknown option 'x'\\\"\\n.error \\\"no\\\"\");",
        "static_assert(false, \"Cannot allocate memory\");",
        "#line 1 \"x\\ncollect2: fatal error: ld terminated with signal 9 [Killed]\"\n#error no",
        "asm(\".print \\\"virtual memory exhausted: Cannot allocate memory\\\"\\n.error \\\"no\\\"\");",
        "int absent(); int use() { return absent(); } asm(\".print \\\"Too many open files\\\"\\n bogus\");",
    ] {
        build_with_line(&sandbox, line).expect(1);
    }
}

#[test]
fn the_record_of_a_build_names_its_layers_and_a_whole_sandbox_can_be_required() {
    let sandbox = Sandbox::new();
    sandbox.submission("one", &[("kernel.cu", KERNEL)]);
    let found = layers();
    let is_whole = found["missing"].as_object().unwrap().is_empty();
    let outcome = sandbox.build(["build", "one", "--require-sandbox", "--json"]);
    if is_whole {
        let built = outcome.expect(0).json();
        assert_eq!(built["sandbox"]["held"].as_object().unwrap().len(), 9, "{built:#}");
    } else {
        let outcome = outcome.expect(3);
        assert!(outcome.stderr.contains("the sandbox lacks"), "{}", outcome.stderr);
        let built = sandbox.build(["build", "one", "--json"]).expect(0).json();
        assert_eq!(built["sandbox"]["missing"], found["missing"]);
    }
    let again = sandbox.build(["build", "one", "--json"]).expect(0).json();
    assert!(again["sandbox"].is_null(), "nothing ran: {again:#}");
}

#[test]
fn a_kernel_without_namespaces_still_confines_and_says_what_is_missing() {
    // The whole tool in a namespace in which no further ones can be made.
    let sandbox = Sandbox::new();
    sandbox.submission("one", &[("kernel.cu", KERNEL)]);
    let script = "echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --bounding-set -all --inh-caps -all \
                  --no-new-privs \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["-Ur", "sh", "-c", script, "sh", env!("CARGO_BIN_EXE_proofmark")]);
    command.args(["build", "one", "--json"]).current_dir(sandbox.path("")).env("HOME", sandbox.home());
    command.env("PROOFMARK_DATA", data_folder()).env("PROOFMARK_CACHE", sandbox.cache());
    let output = command.output().unwrap();
    if !output.status.success() && String::from_utf8_lossy(&output.stderr).contains("unshare") {
        // A machine that gives no namespace at all is the case itself: every other test has it.
        return;
    }
    let built: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    assert!(built["sandbox"]["missing"].get("pid_namespace").is_some(), "{built:#}");
    assert!(built["sandbox"]["held"].get("seccomp").is_some(), "{built:#}");
}
