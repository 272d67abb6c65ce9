//! A cache under disturbance: others who write, links that lead out, pipes, sweeps during builds.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use crate::support::{Sandbox, run};

/// It exports through the C header, which compiles in a quarter of the time of the C++ one.
const KERNEL: &str = "#include <tvm/ffi/c_api.h>\n__global__ void one(float* x) { *x = FACTOR; }\nextern \"C\" TVM_FFI_DLL_EXPORT int __tvm_ffi_run(void*, const TVMFFIAny*, int32_t, TVMFFIAny*) { one<<<1, 1>>>(nullptr); return 0; }\n";

fn submission(sandbox: &Sandbox, name: &str, factor: &str) {
    sandbox.submission(name, &[("kernel.cu", &KERNEL.replace("FACTOR", factor))]);
}

#[test]
fn a_cache_that_others_can_write_is_not_used() {
    let sandbox = Sandbox::new();
    submission(&sandbox, "one", "1.0f");
    for place in [sandbox.cache(), sandbox.cache().join("v2"), sandbox.cache().join("v2/staging")] {
        fs::create_dir_all(&place).unwrap();
        fs::set_permissions(&place, fs::Permissions::from_mode(0o777)).unwrap();
        for arguments in [vec!["build", "one"], vec!["build", "one", "--fresh"]] {
            let outcome = sandbox.build(arguments).expect(3);
            assert!(outcome.stderr.contains("everybody can write"), "{}", outcome.stderr);
            assert!(outcome.stderr.contains("chmod go-w"), "{}", outcome.stderr);
        }
        fs::set_permissions(&place, fs::Permissions::from_mode(0o700)).unwrap();
    }
    sandbox.build(["build", "one"]).expect(0);
    let mode = fs::metadata(sandbox.cache().join("v2")).unwrap().permissions().mode();
    assert_eq!(mode & 0o022, 0, "{mode:o}");
}

#[test]
fn a_cache_with_a_link_in_a_part_s_place_is_swept_by_nobody() {
    for part in ["entries", "units", "failures", "staging", "plans", "names", "locks"] {
        let sandbox = Sandbox::new();
        let root = sandbox.cache().join("v2");
        fs::create_dir_all(&root).unwrap();
        for folder in [sandbox.cache(), root.clone()] {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).unwrap();
        }
        let key = "ab".repeat(32);
        let precious = ["old", "sub/old", &format!("ab/{key}.json"), &format!("cd/{key}/library.so")]
            .map(|name| sandbox.write(format!("outside/{name}"), "precious"));
        for file in &precious {
            fs::File::open(file).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        }
        symlink(sandbox.path("outside"), root.join(part)).unwrap();
        for arguments in [vec!["gc", "--max-age", "0s"], vec!["clear"], vec!["verify"]] {
            let outcome = sandbox.run(["cache"].into_iter().chain(arguments)).expect(3);
            assert!(outcome.stderr.contains("it is a link"), "{}", outcome.stderr);
        }
        assert!(precious.iter().all(|file| file.exists()), "{part}");
    }
}

#[test]
fn a_cache_that_cannot_be_listed_is_not_called_empty() {
    let sandbox = Sandbox::new();
    fs::create_dir_all(sandbox.cache().join("v2")).unwrap();
    fs::write(sandbox.cache().join("v2/entries"), "no folder").unwrap();
    for action in ["list", "stats", "verify", "gc", "clear"] {
        let outcome = sandbox.run(["cache", action]).expect(3);
        assert!(outcome.stderr.contains("cannot list"), "{action}: {}", outcome.stderr);
    }
}

#[test]
fn a_limit_of_file_sizes_is_the_machine_s_trouble() {
    let sandbox = Sandbox::new();
    submission(&sandbox, "one", "1.0f");
    let mut command = Command::new("bash");
    command.args(["-c", "ulimit -f 8; exec \"$0\" build one", crate::support::program().to_str().unwrap()]);
    command.current_dir(sandbox.path("")).env_clear();
    command.envs(sandbox.builder().get_envs().filter_map(|(name, value)| Some((name, value?))));
    run(&mut command).expect(3);
}

#[test]
fn a_sweep_removes_links_and_neither_follows_them_nor_ends_what_it_did_not_start() {
    let sandbox = Sandbox::new();
    let staging = sandbox.cache().join("v2/staging");
    fs::create_dir_all(&staging).unwrap();
    let outside = sandbox.path("outside");
    fs::create_dir_all(&outside).unwrap();
    let kept = sandbox.write("outside/kept", "kept");
    fs::write(outside.join(".lock"), "").unwrap();
    for name in ["build-x", "s-x", "damaged-x"] {
        symlink(&outside, staging.join(name)).unwrap();
    }
    symlink("/", staging.join("build-root")).unwrap();
    let left = staging.join("build-left");
    fs::create_dir(&left).unwrap();
    fs::write(left.join(".lock"), "").unwrap();
    symlink(&outside, left.join("inside")).unwrap();
    let mut near = Command::new("sleep").arg("300").current_dir(&outside).spawn().unwrap();
    let mut within = Command::new("sleep").arg("300").current_dir(&left).spawn().unwrap();
    for action in ["gc", "clear"] {
        sandbox.run(["cache", action]).expect(0);
    }
    assert!(near.try_wait().unwrap().is_none() && within.try_wait().unwrap().is_none());
    assert_eq!(fs::read_to_string(kept).unwrap(), "kept");
    assert!(!left.exists() && fs::symlink_metadata(staging.join("build-root")).is_err());
    for mut child in [near, within] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

fn fifo(path: &Path) {
    let _ = fs::remove_file(path);
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn pipes_and_devices_in_the_cache_are_waited_for_by_nobody() {
    let sandbox = Sandbox::new();
    submission(&sandbox, "one", "1.0f");
    sandbox.with_objects_of("one");
    sandbox.build(["build", "one"]).expect(0);
    let root = sandbox.cache().join("v2");
    let files = walkdir::WalkDir::new(&root).into_iter().flatten();
    let files: Vec<PathBuf> =
        files.filter(|entry| entry.file_type().is_file()).map(walkdir::DirEntry::into_path).collect();
    assert!(files.len() > 6, "{files:?}");
    for path in files.iter().filter(|path| !path.starts_with(root.join("staging"))) {
        fifo(path);
    }
    for name in ["build-pipe", "s-pipe"] {
        fifo(&root.join("staging").join(name));
    }
    let abandoned = root.join("staging/build-abandoned");
    fs::create_dir(&abandoned).unwrap();
    fifo(&abandoned.join(".lock"));
    for arguments in
        [vec!["build", "one"], vec!["cache", "list"], vec!["cache", "verify"], vec!["cache", "gc"]]
    {
        let mut command = sandbox.builder();
        let began = Instant::now();
        let child = command.args(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(began.elapsed() < Duration::from_secs(60), "{arguments:?}");
        let code = output.status.code();
        assert!(matches!(code, Some(0 | 1)), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    sandbox.build(["build", "one"]).expect(0);
}

#[test]
fn builds_do_not_fail_while_others_sweep_clear_and_verify() {
    let sandbox = Sandbox::new();
    for index in 0..3 {
        submission(&sandbox, &format!("s{index}"), &format!("{index}.0f"));
        sandbox.build(["build", &format!("s{index}")]).expect(0);
    }
    let until = Instant::now() + Duration::from_secs(4);
    std::thread::scope(|scope| {
        for action in [vec!["gc", "--max-size", "1"], vec!["clear"], vec!["verify"]] {
            let sandbox = &sandbox;
            scope.spawn(move || {
                while Instant::now() < until {
                    let outcome = sandbox.run([&["cache"], action.as_slice()].concat());
                    assert_eq!(outcome.code, 0, "{action:?}: {outcome:?}");
                }
            });
        }
        for index in 0..3 {
            let sandbox = &sandbox;
            scope.spawn(move || {
                while Instant::now() < until {
                    sandbox.build(["build", &format!("s{index}")]).expect(0);
                }
            });
        }
    });
}

#[test]
fn of_many_bad_builds_at_once_one_runs_the_compiler() {
    let sandbox = Sandbox::new();
    sandbox.submission("one", &[("kernel.cu", "this is not C++\n")]);
    let start = |_| {
        let mut command = sandbox.builder();
        command
            .args(["build", "one", "--json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let children: Vec<_> = (0..6).map(start).collect();
    let outputs: Vec<_> = children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    assert!(outputs.iter().all(|output| output.status.code() == Some(1)));
    let built =
        |output: &&std::process::Output| String::from_utf8_lossy(&output.stderr).contains("building ");
    assert_eq!(outputs.iter().filter(built).count(), 1);
    let fresh = sandbox.build(["build", "one", "--fresh"]).expect(1);
    assert!(fresh.stderr.contains("building "), "{}", fresh.stderr);
}

#[test]
fn the_time_limit_covers_waiting_for_another_builder() {
    let sandbox = Sandbox::new();
    submission(&sandbox, "one", "1.0f");
    sandbox.with_objects_of("one");
    sandbox.build(["build", "one"]).expect(0);
    let locks = fs::read_dir(sandbox.cache().join("v2/locks")).unwrap();
    let held: Vec<fs::File> =
        locks.map(|entry| fs::File::options().write(true).open(entry.unwrap().path()).unwrap()).collect();
    for file in &held {
        file.lock().unwrap();
    }
    let began = Instant::now();
    let outcome = sandbox.build(["build", "one", "--fresh", "--timeout", "2"]).expect(3);
    assert!(began.elapsed() < Duration::from_secs(20));
    assert!(outcome.stderr.contains("another process builds this"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("--timeout"), "{}", outcome.stderr);
}

#[test]
fn leftovers_of_killed_calls_are_swept() {
    let sandbox = Sandbox::new();
    submission(&sandbox, "one", "1.0f");
    sandbox.with_objects_of("one");
    sandbox.build(["build", "one"]).expect(0);
    let old = |path: PathBuf, content: &str| {
        fs::write(&path, content).unwrap();
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(2 * 86_400)).unwrap();
        path
    };
    let digests = old(sandbox.cache().join("v2/.file-digests-AbCdEf"), "");
    let beside = old(sandbox.path(".proofmark-AbCdEf"), "");
    let named = old(sandbox.path(".proofmark-notes.txt"), "mine");
    sandbox.run(["cache", "gc"]).expect(0);
    sandbox.build(["build", "one", "-o", "one.so"]).expect(0);
    assert!(!digests.exists() && !beside.exists() && named.exists());
}

#[test]
fn folders_of_an_old_layout_are_swept_once_nobody_uses_them_and_others_stay() {
    let sandbox = Sandbox::new();
    submission(&sandbox, "one", "1.0f");
    sandbox.with_objects_of("one");
    sandbox.build(["build", "one"]).expect(0);
    let old = sandbox.cache().join("v1");
    let outside = sandbox.path("outside");
    fs::create_dir_all(&outside).unwrap();
    fs::create_dir_all(old.join("entries/ab")).unwrap();
    fs::create_dir_all(old.join("plans")).unwrap();
    fs::write(old.join("entries/ab/library.so"), [0; 5000]).unwrap();
    symlink(&outside, old.join("entries/out")).unwrap();
    let gc = || sandbox.run(["cache", "gc", "--json"]).expect(0).json();
    gc();
    assert!(old.exists(), "an old program may be at work in it");
    let script = "find \"$0\" -exec touch -h -d '2 days ago' {} +";
    assert!(Command::new("sh").args(["-c", script]).arg(&old).status().unwrap().success());
    assert!(gc()["freed_bytes"].as_u64().unwrap() >= 5000);
    assert!(!old.exists() && outside.exists());
    // Somebody's own folder of that name.
    fs::create_dir_all(old.join("letters")).unwrap();
    assert!(Command::new("sh").args(["-c", script]).arg(&old).status().unwrap().success());
    gc();
    assert!(old.join("letters").exists());
}

#[test]
fn paths_that_are_no_text_and_a_full_stdout_make_nothing_panic() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let sandbox = Sandbox::new();
    submission(&sandbox, "one", "1.0f");
    sandbox.build(["seal", "one", "-o", "one.zip"]).expect(0);
    let odd = |name: &[u8]| sandbox.path("").join(OsStr::from_bytes(name));
    let folder = odd(b"s\xff");
    fs::create_dir(&folder).unwrap();
    for name in ["config.toml", "kernel.cu"] {
        fs::copy(sandbox.path("one").join(name), folder.join(name)).unwrap();
    }
    let artifact = odd(b"a\xff.zip");
    fs::copy(sandbox.path("one.zip"), &artifact).unwrap();
    let cache = odd(b"cache\xff");
    let out = odd(b"out\xff");
    let (folder, artifact, cache, out) =
        (folder.as_os_str(), artifact.as_os_str(), cache.as_os_str(), out.as_os_str());
    let text = OsStr::new;
    let lines: Vec<Vec<&OsStr>> = vec![
        vec![text("build"), folder, text("-o"), out],
        vec![text("build"), folder, text("--cache-dir"), cache],
        vec![text("seal"), folder, text("-o"), out],
        vec![text("pack"), folder, text("-o"), out],
        vec![text("replay"), artifact, text("--no-measure"), text("--cached")],
        vec![text("inspect"), artifact],
        vec![text("diff"), folder, artifact],
        vec![text("verify"), artifact, folder],
        vec![text("target"), folder],
        vec![text("unpack"), artifact, text("-o"), text("unpacked")],
        vec![text("unpack"), artifact, text("-o"), out],
        vec![text("cache"), text("--cache-dir"), cache, text("list")],
        vec![text("cache"), text("--cache-dir"), cache, text("stats")],
        vec![text("cache"), text("--cache-dir"), cache, text("verify")],
        vec![text("cache"), text("--cache-dir"), cache, text("gc")],
        vec![text("toolchain"), text("list"), text("--data-dir"), out],
        vec![text("toolchain"), text("list"), text("--cuda-home"), out],
        vec![text("doctor"), text("--cache-dir"), cache, text("--cuda-home"), out],
        vec![text("new"), text("some_definition"), text("-o"), out],
        vec![text("completions"), text("bash")],
        vec![text("--help")],
        vec![text("--version")],
        vec![text("verify"), text("--help")],
    ];
    for line in lines {
        for is_json in [false, true] {
            let mut command = sandbox.builder();
            command.args(&line).args(is_json.then_some("--json"));
            let outcome = run(&mut command);
            assert!(outcome.code <= 3 && !outcome.stderr.contains("panicked"), "{line:?}: {outcome:?}");
            let full = fs::File::options().write(true).open("/dev/full").unwrap();
            let mut command = sandbox.builder();
            command.args(&line).args(is_json.then_some("--json")).stdout(full).stderr(Stdio::piped());
            let output = command.output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.code().is_some_and(|code| code <= 3), "{line:?}: {said}");
            if line.iter().any(|word| *word == "--help" || *word == "--version") {
                assert_eq!(output.status.code(), Some(3), "{line:?} is not answered: {said}");
            }
            assert!(!said.contains("panicked"), "{line:?}: {said}");
        }
    }
}
