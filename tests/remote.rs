//! `job run --on ssh:HOST`, over a server of ssh on this machine.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Sandbox, program, repository, run, skipped};

/// A server of ssh for one user with one key, ended with the value.
struct Server {
    child: Child,
    /// What connects to it.
    ssh: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn key(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&path).status();
    assert!(made.expect("ssh-keygen runs").success());
    path
}

/// Starts a server; `None`, with a word, where this machine has none.
fn server(sandbox: &Sandbox) -> Option<Server> {
    let sshd = ["/usr/sbin/sshd", "/usr/bin/sshd"].map(Path::new).into_iter().find(|path| path.is_file());
    let Some(sshd) = sshd else {
        skipped("this machine has no sshd; `apt-get install openssh-server` brings it");
        return None;
    };
    let folder = sandbox.path("ssh");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
    let (host_key, user_key) = (key(&folder, "host"), key(&folder, "user"));
    let allowed = folder.join("allowed");
    fs::copy(user_key.with_extension("pub"), &allowed).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = format!(
        "ListenAddress 127.0.0.1\nPort {port}\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\n\
         PermitRootLogin yes\nPidFile none\n",
        host_key.display(),
        allowed.display()
    );
    fs::write(folder.join("sshd_config"), config).unwrap();
    // The server refuses to start without the folder that it gives up its rights in.
    let _ = fs::create_dir_all("/run/sshd");
    let child = Command::new(sshd)
        .args(["-D", "-f"])
        .arg(folder.join("sshd_config"))
        .stderr(Stdio::null())
        .spawn()
        .expect("sshd starts");
    let ssh = folder.join("connect");
    let script = format!(
        "#!/bin/sh\nexec ssh -F none -p {port} -i {} -o IdentitiesOnly=yes -o StrictHostKeyChecking=no \
         -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR \"$@\"\n",
        user_key.display()
    );
    fs::write(&ssh, script).unwrap();
    fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).unwrap();
    let server = Server { child, ssh };
    let begun = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(20), "sshd does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
    Some(server)
}

#[test]
fn a_job_is_done_on_the_other_side_of_ssh() {
    let sandbox = Sandbox::new();
    let Some(server) = server(&sandbox) else { return };
    // The other machine's program is this one, in an environment of its own.
    let there = sandbox.write(
        "there",
        format!(
            "#!/bin/sh\nexport HOME={home} PROOFMARK_CACHE={home}/cache\necho 'a word from there' >&2\nexec {program} \"$@\"\n",
            home = sandbox.home().display(),
            program = Path::new(&program()).display()
        ),
    );
    fs::set_permissions(&there, fs::Permissions::from_mode(0o755)).unwrap();
    // What does not reach a compiler is enough: the flags are refused on the other side.
    let config = format!("{}[target]\nnvcc_flags = [\"-arch=sm_90\"]\n", crate::support::CONFIG);
    sandbox.write("one/config.toml", config);
    sandbox.write("one/kernel.cu", "int x;\n");
    let job = sandbox.run(["build", "one", "--as-job"]).expect(0).stdout;
    sandbox.write("job.json", &job);
    let on = |target: &str, remote: &str| {
        let mut command = sandbox.command();
        command.args(["job", "run", "job.json", "--on", target, "--remote-program", remote]);
        command.env("PROOFMARK_SSH", &server.ssh);
        run(&mut command)
    };
    let here = sandbox.run(["job", "run", "job.json"]);
    let user = Command::new("id").arg("-un").output().unwrap();
    let target = format!("ssh:{}@127.0.0.1", String::from_utf8_lossy(&user.stdout).trim());
    let answer = on(&target, there.to_str().unwrap());
    assert_eq!(answer.code, here.code, "{answer:#?}\n{here:#?}");
    assert!(answer.stderr.contains("a word from there"), "{}", answer.stderr);
    let (found, expected): (Value, Value) = (answer.json(), here.json());
    assert_eq!(found["schema"], expected["schema"]);
    assert_eq!(found["error"], expected["error"]);

    let missing = on(&target, "/no/such/proofmark").expect(3);
    assert!(missing.stderr.contains("has no program \"/no/such/proofmark\""), "{}", missing.stderr);
    let other = on(&target, "/bin/echo").expect(3);
    assert!(other.stderr.contains("answered with no outcome"), "{}", other.stderr);
}

#[test]
fn a_host_that_is_not_reached_is_told_apart_from_a_negative_answer() {
    let sandbox = Sandbox::new();
    sandbox.submission("one", &[("kernel.cu", "int x;\n")]);
    sandbox.write("job.json", sandbox.run(["build", "one", "--as-job"]).expect(0).stdout);
    let ssh = sandbox.write("ssh", "#!/bin/sh\ncat >/dev/null\necho 'no route' >&2\nexit 255\n");
    fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).unwrap();
    let ssh = ssh.to_str().unwrap();
    let refused = sandbox.run(["job", "run", "job.json", "--on", "ssh:gpu", "--ssh", ssh]).expect(3);
    assert!(refused.stderr.contains("did not reach ssh:gpu: no route"), "{}", refused.stderr);
    sandbox.run(["job", "run", "job.json", "--on", "ssh:-oProxyCommand=x"]).expect(2);
}

#[test]
fn an_outcome_of_another_job_is_not_taken_for_this_one_s() {
    let sandbox = Sandbox::new();
    sandbox.submission("one", &[("kernel.cu", "int x;\n")]);
    sandbox.write("job.json", sandbox.run(["build", "one", "--as-job"]).expect(0).stdout);
    let answers = |job: &str| {
        let outcome = format!("{{\"schema\":\"proofmark.outcome\",\"job\":{job},\"verdict\":\"proven\"}}");
        let ssh = sandbox.write("ssh", format!("#!/bin/sh\ncat >/dev/null\necho '{outcome}'\n"));
        fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).unwrap();
        sandbox.run(["job", "run", "job.json", "--on", "ssh:gpu", "--ssh", ssh.to_str().unwrap()])
    };
    let text = fs::read_to_string(sandbox.path("job.json")).unwrap();
    let own = proofmark::job::Job::from_document(&text).unwrap().digest();
    for job in ["null".to_owned(), format!("\"{}\"", "0".repeat(64))] {
        let other = answers(&job).expect(3);
        assert!(other.stderr.contains("ssh:gpu answered"), "{other:?}");
    }
    assert!(answers(&format!("\"{own}\"")).expect(0).stdout.contains("proven"));
}

#[test]
fn what_a_shell_prints_around_an_outcome_is_named_and_costs_nothing() {
    let sandbox = Sandbox::new();
    sandbox.submission("one", &[("kernel.cu", "int x;\n")]);
    sandbox.write("job.json", sandbox.run(["build", "one", "--as-job"]).expect(0).stdout);
    let text = fs::read_to_string(sandbox.path("job.json")).unwrap();
    let job = proofmark::job::Job::from_document(&text).unwrap().digest();
    let outcome = format!(
        "{{\n  \"schema\": \"proofmark.outcome\",\n  \"job\": \"{job}\",\n  \"exit_code\": 1,\n  \"verdict\": \"x\"\n}}\n"
    );
    let answers = |printed: &str, code: i32| {
        sandbox.write("printed", printed);
        let ssh = sandbox.write(
            "ssh",
            format!("#!/bin/sh\ncat >/dev/null\ncat '{}'\nexit {code}\n", sandbox.path("printed").display()),
        );
        fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).unwrap();
        let mut command = sandbox.command();
        command.args(["job", "run", "job.json", "--on", "ssh:gpu", "--ssh"]).arg(&ssh);
        command.env("TMPDIR", sandbox.path(""));
        run(&mut command)
    };
    let plain = answers(&outcome, 1).expect(1);
    assert!(!plain.stderr.contains("note: "), "{plain:?}");
    let banner = "welcome to \u{1b}[31mgpu\n";
    for (before, after) in [
        (banner, ""),
        ("", banner),
        ("{ \"not\": ours }\n{\"a\": 1}", ""),
        ("no line end: ", ""),
        ("\u{feff}\n", "bye"),
    ] {
        let answer = answers(&format!("{before}{outcome}{after}"), 1).expect(1);
        assert_eq!(answer.stdout, plain.stdout, "{before:?} {after:?}");
        assert!(answer.stderr.contains("note: ssh:gpu printed more than the document"), "{answer:?}");
        assert!(!answer.stderr.contains('\u{1b}'), "{answer:?}");
    }
    // The connection broke when all had come.
    assert_eq!(answers(&outcome, 255).expect(1).stdout, plain.stdout);
    // What cannot be taken is kept.
    for (printed, said) in [
        (outcome[..outcome.len() - 3].to_owned(), "an outcome that cannot be read"),
        (outcome.repeat(2), "2 outcomes"),
    ] {
        let answer = answers(&printed, 1).expect(3);
        assert!(answer.stderr.contains(said), "{answer:?}");
        let kept = answer.stderr.split("all that came is kept in ").nth(1).unwrap();
        let kept = kept.split(".txt").next().unwrap().to_owned() + ".txt";
        assert_eq!(fs::read_to_string(kept).unwrap(), printed);
    }
    let answer = answers("welcome\n", 0).expect(3);
    assert!(
        answer.stderr.contains("answered with no outcome") && answer.stderr.contains("`welcome`"),
        "{answer:?}"
    );
}

/// A Python that has Modal's package; `None`, with a word, where there is none.
fn python_with_modal() -> Option<String> {
    let python = std::env::var("PROOFMARK_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let has = Command::new(&python).args(["-c", "import modal"]).stderr(Stdio::null()).status();
    if has.is_ok_and(|status| status.success()) {
        return Some(python);
    }
    skipped(&format!(
        "{python} has no `modal`; `pip install modal` brings it, PROOFMARK_TEST_PYTHON names another"
    ));
    None
}

#[test]
fn the_app_for_modal_is_built_with_the_wheel_that_is_named() {
    let Some(python) = python_with_modal() else { return };
    let sandbox = Sandbox::new();
    let wheel = sandbox.write("proofmark-0.1.0-py3-none-any.whl", "a wheel\n");
    let script = "import importlib.util, sys\n\
                  sys.argv = ['modal', '--job', 'job.json', '--wheel', sys.argv[2], sys.argv[1]]\n\
                  spec = importlib.util.spec_from_file_location('modal_app', sys.argv[-1])\n\
                  module = importlib.util.module_from_spec(spec)\nspec.loader.exec_module(module)\n\
                  print(module.app.name, sorted(module.app.registered_functions), module.wheel_named(sys.argv).name)\n\
                  print(module.wheel_named(['--wheel=a.whl']), module.wheel_named([]))\n";
    let app = repository().join("scripts/modal_app.py");
    let mut command = Command::new(python);
    command.args(["-c", script]).arg(&app).arg(&wheel).env("HOME", sandbox.home());
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    let built = run(&mut command).expect(0);
    assert_eq!(
        built.stdout, "proofmark ['run_job'] proofmark-0.1.0-py3-none-any.whl\na.whl None\n",
        "{}",
        built.stderr
    );
}
