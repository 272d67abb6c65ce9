//! Installing under disturbance, and compilers that misbehave.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use proofmark::sandbox::announce_launcher;
use proofmark::toolchain::{FileDigests, HostCompilerError, host_compiler};
use serde_json::Value;

use crate::support::{Sandbox, data_folder, run};

/// `toolchain install` of the small component, with this user's pip settings and nothing else.
fn install(sandbox: &Sandbox, data: &Path) -> Command {
    let mut command = sandbox.command();
    let settings = std::env::vars_os().filter(|(name, _)| {
        let name = name.to_string_lossy().to_lowercase();
        name.starts_with("pip_") || name.ends_with("_proxy") || name.starts_with("ssl_cert")
    });
    command
        .envs(settings)
        .args(["toolchain", "install", "--only", "tvm-ffi", "--json", "--data-dir"])
        .arg(data);
    command
}

fn listed(sandbox: &Sandbox, data: &Path) -> Value {
    run(sandbox.command().args(["toolchain", "list", "--json", "--data-dir"]).arg(data)).expect(0).json()
}

fn is_installed(sandbox: &Sandbox, data: &Path) -> bool {
    let list = listed(sandbox, data);
    let pinned = list["pinned"].as_array().unwrap();
    pinned.iter().any(|one| one["component"] == "tvm-ffi" && !one["folder"].is_null())
}

#[test]
fn a_killed_installation_leaves_nothing_that_looks_installed_and_the_next_one_clears_it_away() {
    let sandbox = Sandbox::new();
    let data = sandbox.path("data");
    for delay_ms in [30, 150, 400, 700, 1000, 1300] {
        let mut child = install(&sandbox, &data).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(delay_ms));
        child.kill().unwrap();
        let finished = child.wait().unwrap().signal().is_none();
        if finished || is_installed(&sandbox, &data) {
            break;
        }
        let names = fs::read_dir(data.join("toolchains")).into_iter().flatten();
        let visible =
            names.filter(|entry| !entry.as_ref().unwrap().file_name().to_string_lossy().starts_with('.'));
        assert_eq!(visible.count(), 0, "something looks installed");
    }
    run(&mut install(&sandbox, &data)).expect(0);
    assert!(is_installed(&sandbox, &data));
    assert_eq!(listed(&sandbox, &data)["unfinished"], serde_json::json!([]));
}

#[test]
fn of_many_installations_at_once_one_installs_and_the_others_wait() {
    let sandbox = Sandbox::new();
    let data = sandbox.path("data");
    let start = |_| {
        let mut command = install(&sandbox, &data);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let children: Vec<Child> = (0..6).map(start).collect();
    let outputs: Vec<_> = children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    for output in &outputs {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.stdout, outputs[0].stdout);
    }
    let installs = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains("fetching tvm-ffi");
    assert_eq!(outputs.iter().filter(|output| installs(&output.stderr)).count(), 1);
}

#[test]
fn a_machine_without_python_is_told_the_ways_out() {
    let sandbox = Sandbox::new();
    let outcome =
        sandbox.run(["toolchain", "install", "--python", "/no/python", "--data-dir", "data"]).expect(3);
    assert!(outcome.stderr.contains("cannot run `/no/python`"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("hint: ") && outcome.stderr.contains("--wheels"), "{}", outcome.stderr);
}

#[test]
fn a_data_folder_that_cannot_be_written_is_named() {
    let sandbox = Sandbox::new();
    sandbox.write("data/toolchains", "a file where the folder should be");
    let outcome = sandbox.run(["toolchain", "install", "--data-dir", "data"]).expect(3);
    assert!(outcome.stderr.contains("data/toolchains"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("PROOFMARK_DATA"), "{}", outcome.stderr);
}

#[test]
fn the_doctor_names_all_that_is_missing_and_starts_nothing() {
    let sandbox = Sandbox::new();
    let outcome = sandbox.run(["doctor", "--json"]).expect(1);
    let document = outcome.json();
    assert_eq!(document["healthy"], false);
    let bad = |subject: &str| {
        document["checks"].as_array().unwrap().iter().any(|check| {
            check["subject"] == subject && check["state"] == "bad" && check["ways_out"][0].is_string()
        })
    };
    assert!(bad("cuda") && bad("tvm-ffi"), "{document:#}");
    assert!(fs::read_dir(sandbox.home()).unwrap().next().is_none());

    let mut with = sandbox.command();
    let healthy = run(with.env("PROOFMARK_DATA", data_folder()).args(["doctor", "--json"])).expect(0).json();
    assert_eq!(healthy["toolchain"]["release"], "13.0.88");
    let mut without = sandbox.command();
    without.env("PROOFMARK_DATA", data_folder()).env("PROOFMARK_PLAYER", "/nowhere/player.so");
    let without = run(without.arg("doctor")).expect(0);
    assert!(without.stdout.contains("looked in /nowhere/player.so; entries in Python"), "{}", without.stdout);
    let mut broken = sandbox.command();
    let broken = run(broken.env("CUDA_HOME", "/no/cuda").args(["doctor"])).expect(1);
    assert!(broken.stdout.contains("CUDA_HOME names /no/cuda"), "{}", broken.stdout);
}

#[test]
fn the_doctor_asks_nvcc_for_the_architecture_and_names_a_cache_that_cannot_be_written() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command();
    command.env("PROOFMARK_DATA", data_folder()).args(["doctor", "--arch", "sm_123a"]);
    let found = run(command.args(["--cache-dir", "/dev/null/cache"])).expect(1).stdout;
    assert!(found.contains("nvcc 13.0.88 does not know sm_123a"), "{found}");
    assert!(found.contains("/dev/null/cache cannot be written"), "{found}");
}

/// A CUDA installation whose nvcc is a script of ours; every other file is the pinned one's.
fn fake_cuda(sandbox: &Sandbox, script: &str) -> PathBuf {
    let list = listed(sandbox, data_folder());
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
    let nvcc = home.join("bin/nvcc");
    let version = "case \"$*\" in *--version*) echo 'release 13.0, V13.0.88'; exit 0;; esac";
    fs::write(&nvcc, format!("#!/bin/sh\n{version}\n{script}\n")).unwrap();
    fs::set_permissions(&nvcc, fs::Permissions::from_mode(0o755)).unwrap();
    home
}

fn build_with(script: &str) -> (Sandbox, Command) {
    let sandbox = Sandbox::new();
    sandbox.submission("one", &[("kernel.cu", "int nothing;\n")]);
    let home = fake_cuda(&sandbox, script);
    let mut command = sandbox.builder();
    command.env("CUDA_HOME", home).args(["build", "one"]);
    (sandbox, command)
}

/// Folders of builds that are still there.
fn build_folders(sandbox: &Sandbox) -> Vec<PathBuf> {
    let walk = walkdir::WalkDir::new(sandbox.cache()).into_iter().flatten();
    let of_build =
        |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("build-"));
    walk.map(walkdir::DirEntry::into_path).filter(|path| of_build(path)).collect()
}

/// Whether a process works below a folder.
fn is_inhabited(folder: &Path) -> bool {
    let folder = folder.canonicalize().unwrap();
    fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .any(|entry| fs::read_link(entry.path().join("cwd")).is_ok_and(|place| place.starts_with(&folder)))
}

#[test]
fn a_compiler_that_does_not_end_is_killed_with_all_it_started() {
    let (sandbox, mut command) = build_with("setsid sleep 300 & sleep 300");
    let began = Instant::now();
    let outcome = run(command.args(["--timeout", "1"])).expect(3);
    assert!(outcome.stderr.contains("did not end within"), "{}", outcome.stderr);
    assert!(began.elapsed() < Duration::from_secs(60));
    assert_eq!(build_folders(&sandbox), Vec::<PathBuf>::new());
    assert!(!is_inhabited(&sandbox.cache()));
}

/// Sends a build a signal while it compiles: it ends, says so, and leaves nothing.
fn interrupted(times: usize, signal: &str) {
    let (sandbox, mut command) = build_with("sleep 300");
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let began = Instant::now();
    while build_folders(&sandbox).is_empty() {
        assert!(began.elapsed() < Duration::from_secs(60), "the build does not begin");
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(100));
    let process = child.id().to_string();
    // Each is taken before the next is sent: pending ones of a kind are one.
    let again = format!("kill -s {signal} {process} && sleep 0.01; ").repeat(times - 1);
    let kill = Command::new("sh").args(["-c", &format!("{again}kill -s {signal} {process}")]).status();
    assert!(kill.unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stderr).contains("interrupted"));
    assert_eq!(build_folders(&sandbox), Vec::<PathBuf>::new());
    assert!(!is_inhabited(&sandbox.cache()));
}

#[test]
fn ctrl_c_and_sigterm_end_the_compiler_and_leave_nothing() {
    for signal in ["INT", "TERM", "HUP"] {
        interrupted(1, signal);
    }
}

#[test]
fn a_signal_that_comes_to_the_process_and_to_its_group_is_one() {
    for signal in ["INT", "TERM", "HUP"] {
        interrupted(2, signal);
    }
}

#[test]
fn what_a_killed_build_leaves_is_seen_and_swept() {
    let (sandbox, mut command) = build_with("sleep 300");
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let began = Instant::now();
    while !sandbox.cache().exists() || !is_inhabited(&sandbox.cache()) {
        assert!(began.elapsed() < Duration::from_secs(60), "the build does not begin");
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let killed = Instant::now();
    while is_inhabited(&sandbox.cache()) {
        assert!(killed.elapsed() < Duration::from_secs(20), "the compiler outlives a killed proofmark");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(build_folders(&sandbox).len(), 1);
    sandbox.run(["cache", "gc"]).expect(0);
    assert_eq!(build_folders(&sandbox), Vec::<PathBuf>::new());
    assert!(!is_inhabited(&sandbox.cache()));
}

#[test]
fn trouble_of_the_machine_is_not_blamed_on_the_sources() {
    for (script, words) in [
        ("echo 'fatal error: error writing to x.s: No space left on device' >&2; exit 1", "No space left"),
        ("kill -9 $$", "signal"),
        ("exit 137", "137"),
        ("echo 'fatbinary fatal   : Could not open output file' >&2; exit 1", "Could not open"),
        ("echo 'collect2: fatal error: ld terminated with signal 9 [Killed]' >&2; exit 1", "ld terminated"),
        ("exit 1", "without a word"),
    ] {
        let (sandbox, mut command) = build_with(script);
        let outcome = run(&mut command).expect(3);
        assert!(outcome.stderr.contains(words), "{script}: {}", outcome.stderr);
        assert_eq!(build_folders(&sandbox), Vec::<PathBuf>::new());
    }
}

#[test]
fn what_this_compiler_does_not_know_is_the_requests_fault() {
    let (sandbox, mut command) = build_with("echo 'nvcc fatal   : Unsupported gpu architecture' ; exit 1");
    let outcome = run(&mut command).expect(2);
    assert!(outcome.stderr.contains("Unsupported gpu"), "{}", outcome.stderr);
    assert_eq!(build_folders(&sandbox), Vec::<PathBuf>::new());
}

#[test]
fn a_compiler_that_talks_without_end_fills_no_memory() {
    let script =
        "head -c 300000000 /dev/zero | tr '\\0' x; echo; echo 'kernel.cu(1): error: last words'; exit 2";
    let (_sandbox, mut command) = build_with(script);
    let outcome = run(command.args(["--timeout", "86400"])).expect(1);
    assert!(outcome.stderr.contains("last words"));
    assert!(outcome.stderr.len() + outcome.stdout.len() < 8_000_000);
}

/// A host compiler that is a script, of this major version.
fn compiler(folder: &Path, name: &str, version: u32) -> PathBuf {
    let path = folder.join(name);
    let script = format!(
        "#!/bin/sh\ncase \"$1\" in -dumpversion) echo {version}.1.0;; --version) echo 'g++ {version}';; \
         -print-prog-name=*) echo /bin/true;; -E) printf '#include <...>\\n /usr/include\\nEnd\\n';; esac\n"
    );
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn takes_a_numbered_compiler_where_the_plain_one_is_too_new() {
    announce_launcher(env!("CARGO_BIN_EXE_proofmark"));
    let folder = tempfile::tempdir().unwrap();
    let path = [folder.path().to_owned()];
    let plain = compiler(folder.path(), "g++", 16);
    let mut digests = FileDigests::forgetful();
    let error = host_compiler::find(None, &path, Some(15), &mut digests).unwrap_err();
    assert!(matches!(error, HostCompilerError::TooNew { found: 16, supported: 15, .. }), "{error}");
    let older = compiler(folder.path(), "g++-14", 14);
    assert_eq!(host_compiler::find(None, &path, Some(15), &mut digests).unwrap().driver, older);
    assert_eq!(host_compiler::find(None, &path, None, &mut digests).unwrap().driver, plain);
    // What was asked for is never replaced.
    assert!(host_compiler::find(Some(&plain), &path, Some(15), &mut digests).is_err());
    let answers = host_compiler::find(Some(Path::new("g++-14")), &path, Some(15), &mut digests).unwrap();
    assert_eq!((answers.version.as_str(), answers.major), ("g++ 14", 14));
    assert_eq!(answers.include_folders, [Path::new("/usr/include")]);
}
