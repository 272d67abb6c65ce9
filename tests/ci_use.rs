//! The action and the hooks do what they say: their steps run as a workflow runs them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::support::{Outcome, Sandbox, program, repository, run};

/// A shell in a sandbox's environment, with the program on its PATH.
fn shell(sandbox: &Sandbox) -> Command {
    let folder = sandbox.path("bin");
    if !folder.is_dir() {
        fs::create_dir(&folder).unwrap();
        std::os::unix::fs::symlink(program(), folder.join("proofmark")).unwrap();
    }
    let mut command = Command::new("bash");
    command.env_clear().current_dir(sandbox.path(""));
    let environment = sandbox.builder();
    command.envs(environment.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", folder.display()));
    command
}

/// A step of the action, with its inputs as the workflow passes them and this program on the PATH.
fn step(sandbox: &Sandbox, script: &str, inputs: &[(&str, &str)]) -> Outcome {
    let mut command = shell(sandbox);
    command.arg(repository().join("scripts/action").join(script));
    command.env("GITHUB_STEP_SUMMARY", sandbox.path("summary.md"));
    command.envs(inputs.iter().copied());
    run(&mut command)
}

#[test]
fn the_action_names_every_step_and_each_of_its_inputs() {
    let folder = repository().join("scripts/action");
    let text = fs::read_to_string(folder.join("action.yml")).unwrap();
    for script in ["install.sh", "verify.sh", "replay.sh"] {
        assert!(text.contains(&format!("run: bash \"$GITHUB_ACTION_PATH/{script}\"")), "{script}");
        let uses = fs::read_to_string(folder.join(script)).unwrap();
        for variable in uses.split("PROOFMARK_").skip(1) {
            let name: String = variable.chars().take_while(char::is_ascii_uppercase).collect();
            assert!(
                text.contains(&format!("PROOFMARK_{name}: ${{{{ inputs.{} }}}}", name.to_lowercase())),
                "{name}"
            );
        }
    }
}

/// What the book's page says between two words.
fn of_the_book<'a>(page: &'a str, from: &str, to: &str) -> &'a str {
    page.split_once(from).unwrap().1.split_once(to).unwrap().0
}

#[test]
fn the_book_shows_every_input_of_the_action_and_every_hook() {
    let page = fs::read_to_string(repository().join("runtime/book/src/elsewhere.md")).unwrap();
    let action = fs::read_to_string(repository().join("scripts/action/action.yml")).unwrap();
    let inputs = action.split_once("\ninputs:\n").unwrap().1.split_once("\nruns:").unwrap().0;
    let is_name = |line: &&str| line.starts_with("  ") && !line.starts_with("   ");
    let inputs: Vec<&str> =
        inputs.lines().filter(is_name).map(|line| line.trim().trim_end_matches(':')).collect();
    let table = of_the_book(&page, "| input |", "\n\n");
    let listed = table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let mut listed: Vec<&str> = listed.collect();
    let mut expected = inputs.clone();
    listed.sort_unstable();
    expected.sort_unstable();
    assert_eq!(listed, expected);
    let example = of_the_book(&page, "        with:\n", "```");
    let used =
        example.lines().filter(|line| line.starts_with("          ") && !line.starts_with("           "));
    for name in used.filter_map(|line| line.trim().split(':').next()) {
        assert!(inputs.contains(&name), "{name} is no input of the action");
    }
    let hooks = fs::read_to_string(repository().join(".pre-commit-hooks.yaml")).unwrap();
    let ids = |text: &str| -> Vec<String> {
        let ids = text.lines().filter_map(|line| line.trim().strip_prefix("- id: "));
        let mut ids: Vec<String> = ids.map(str::to_owned).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids(of_the_book(&page, "repos:\n", "```")), ids(&hooks));
}

#[test]
fn the_hook_for_libraries_takes_the_arguments_that_the_book_gives_it() {
    let sandbox = Sandbox::new();
    let cubin = repository().join("tests/fixtures/proof/exact_13.0.cubin");
    fs::copy(cubin, sandbox.path("one.cubin")).unwrap();
    let page = fs::read_to_string(repository().join("runtime/book/src/elsewhere.md")).unwrap();
    let arguments = of_the_book(&page, "args: [", "]");
    let hook = |arguments: &str| {
        let line = arguments.split(',').map(str::trim).filter(|word| !word.is_empty());
        sandbox.run(["verify"].into_iter().chain(line).chain(["one.cubin"]))
    };
    hook("").expect(0);
    hook(arguments).expect(1);
}

#[test]
fn a_wheel_is_held_against_a_policy_and_the_table_posted() {
    let sandbox = Sandbox::new();
    fs::copy(repository().join("tests/fixtures/proof/exact_13.0.cubin"), sandbox.path("one.cubin")).unwrap();
    step(&sandbox, "install.sh", &[("PROOFMARK_PACKAGE", "installed")]).expect(0);
    step(&sandbox, "verify.sh", &[("PROOFMARK_WHEEL", "*.cubin"), ("PROOFMARK_POLICY", "only:sm_100a")])
        .expect(0);
    step(&sandbox, "verify.sh", &[("PROOFMARK_WHEEL", "*.cubin"), ("PROOFMARK_POLICY", "only:sm_75")])
        .expect(1);
    step(&sandbox, "verify.sh", &[("PROOFMARK_WHEEL", "*.whl"), ("PROOFMARK_POLICY", "only:sm_100a")])
        .expect(2);
    let summary = fs::read_to_string(sandbox.path("summary.md")).unwrap();
    assert_eq!(summary.matches("### Architectures, held against").count(), 2, "{summary}");
}

#[test]
fn patterns_come_one_a_line_and_are_not_split_at_spaces() {
    let sandbox = Sandbox::new();
    fs::create_dir_all(sandbox.path("dist dir")).unwrap();
    let cubin = repository().join("tests/fixtures/proof/exact_13.0.cubin");
    for name in ["dist dir/a b.cubin", "one.cubin"] {
        fs::copy(&cubin, sandbox.path(name)).unwrap();
    }
    let verify = |patterns: &str| {
        let inputs = [("PROOFMARK_WHEEL", patterns), ("PROOFMARK_POLICY", "only:sm_100a")];
        step(&sandbox, "verify.sh", &inputs)
    };
    let text = verify("dist dir/*.cubin\none.cubin\n").expect(0).stdout;
    assert!(text.contains("dist dir/a b.cubin:") && text.contains("one.cubin:"), "{text}");
    let text = verify("one.cubin\ndist dir/*.whl\n").expect(2).stdout;
    assert!(text.contains("no file is named by dist dir/*.whl"), "{text}");
}

#[test]
fn only_a_wheel_with_its_checksum_is_installed() {
    let sandbox = Sandbox::new();
    sandbox.write("proofmark-1-py3-none-any.whl", "no wheel");
    let zeros = "0".repeat(64);
    for (package, checksum, words) in [
        ("", "", "expected the path or https address"),
        ("proofmark", &zeros[..], "expected the path or https address"),
        ("http://localhost/p.whl", &zeros[..], "expected an https address"),
        ("proofmark-1-py3-none-any.whl", "", "expected the 64 digits"),
        ("proofmark-1-py3-none-any.whl", &zeros[..], "nothing was installed"),
    ] {
        let inputs = [("PROOFMARK_PACKAGE", package), ("PROOFMARK_CHECKSUM", checksum)];
        let text = step(&sandbox, "install.sh", &inputs).expect(2).stdout;
        assert!(text.contains(words), "{package}: {text}");
    }
}

#[test]
fn the_version_that_is_shown_is_that_of_what_was_installed() {
    let sandbox = Sandbox::new();
    let executable = |name: &str, text: String| {
        let path = sandbox.write(name, text);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    let folder = sandbox.path("scripts");
    executable("first/python3", format!("#!/bin/sh\n[ \"$1\" = -m ] || echo '{}'\n", folder.display()));
    executable("first/proofmark", "#!/bin/sh\necho proofmark 1.0\n".to_owned());
    executable("scripts/proofmark", "#!/bin/sh\necho proofmark 2.0\n".to_owned());
    let wheel = sandbox.write("proofmark-2.0-py3-none-any.whl", "a wheel");
    let checksum = proofmark_packager::Digest::of_bytes(b"a wheel").to_string();
    let first = sandbox.path("first").display().to_string();
    let path = format!("{first}:{}", std::env::var("PATH").unwrap());
    let inputs = [
        ("PATH", path.as_str()),
        ("PROOFMARK_PACKAGE", wheel.to_str().unwrap()),
        ("PROOFMARK_CHECKSUM", checksum.as_str()),
    ];
    let text = step(&sandbox, "install.sh", &inputs).expect(0).stdout;
    assert!(text.contains("proofmark 2.0") && !text.contains("proofmark 1.0"), "{text}");
    assert!(text.contains("::warning::") && text.contains(&first), "{text}");
}

#[test]
fn a_shelf_is_replayed_and_what_is_not_sealed_is_told() {
    let sandbox = Sandbox::new();
    fs::create_dir_all(sandbox.path("empty")).unwrap();
    step(&sandbox, "replay.sh", &[("PROOFMARK_SHELF", "empty")]).expect(2);
    sandbox.submission("one", &[("kernel.cu", "__global__ void k() {}\n")]);
    fs::create_dir_all(sandbox.path("shelf")).unwrap();
    sandbox.run(["pack", "one", "-o", "shelf/one.zip"]).expect(0);
    let outcome = step(&sandbox, "replay.sh", &[("PROOFMARK_SHELF", "shelf")]).expect(2);
    assert!(outcome.stdout.contains("shelf/one.zip: exit code 2"), "{}", outcome.stdout);
    let compared =
        |how| step(&sandbox, "replay.sh", &[("PROOFMARK_SHELF", "shelf"), ("PROOFMARK_COMPARISON", how)]);
    let outcome = compared("device-code").expect(2);
    assert!(outcome.stdout.contains("shelf/one.zip: exit code 2"), "{}", outcome.stdout);
    assert!(compared("bytes").expect(2).stdout.contains("expected library or device-code"));
    assert!(
        fs::read_to_string(sandbox.path("summary.md")).unwrap().contains("### Sealed artifacts, rebuilt")
    );
}

#[test]
fn the_hooks_refuse_what_the_program_refuses() {
    let sandbox = Sandbox::new();
    let hooks = fs::read_to_string(repository().join(".pre-commit-hooks.yaml")).unwrap();
    let entry = hooks.split("entry: bash -c '").nth(1).unwrap();
    let script = entry.split("' --\n").next().unwrap();
    sandbox.submission("good", &[("kernel.cu", "// k\n")]);
    sandbox.submission("bad", &[("other.cu", "// k\n")]);
    let hook = |files: &[&str]| {
        let mut command = shell(&sandbox);
        command.args(["-c", script, "--"]).args(files);
        run(&mut command)
    };
    hook(&["good/config.toml"]).expect(0);
    hook(&["good/config.toml", "bad/config.toml"]).expect(2);
    sandbox.write(".cargo/config.toml", "[build]\nrustflags = []\n");
    hook(&[".cargo/config.toml", "good/config.toml"]).expect(0);
    assert!(hooks.contains("entry: proofmark verify\n"));
}
