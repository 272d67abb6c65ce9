//! Streams, exit codes, help and completions.

use crate::support::Sandbox;

#[test]
fn help_teaches_by_example_and_is_an_answer() {
    let sandbox = Sandbox::new();
    let verbs = [
        "pack",
        "build",
        "verify",
        "seal",
        "replay",
        "inspect",
        "diff",
        "unpack",
        "cache",
        "toolchain",
        "doctor",
        "new",
        "target",
    ];
    let top = sandbox.run(["--help"]).expect(0).stdout;
    for verb in verbs {
        assert!(top.contains(&format!("\n  {verb} ")), "{verb} is not in {top}");
        let help = sandbox.run([verb, "--help"]).expect(0).stdout;
        assert!(help.contains("proofmark "), "{verb} shows no example: {help}");
    }
}

#[test]
fn a_wrong_request_is_exit_code_two() {
    let sandbox = Sandbox::new();
    for arguments in
        [&["no-such-verb"][..], &["pack"], &["pack", "x", "--no-such-option"], &["inspect", "missing"]]
    {
        let outcome = sandbox.run(arguments).expect(2);
        assert!(outcome.stdout.is_empty(), "talk belongs on stderr: {outcome:?}");
        assert!(!outcome.stderr.is_empty());
    }
}

#[test]
fn json_gives_one_document_with_schema_and_version_for_errors_too() {
    let sandbox = Sandbox::new();
    let json = sandbox.run(["inspect", "missing", "--json"]).expect(2).json();
    assert_eq!(json["schema"], "proofmark.error");
    assert_eq!(json["schema_version"], 1);
    assert_eq!(json["exit_code"], 2);
    assert!(json["error"].as_str().unwrap().contains("missing"));
    assert!(!json["hints"].as_array().unwrap().is_empty());
    let json = sandbox.run(["cache", "stats", "--json"]).expect(0).json();
    assert_eq!(json["schema"], "proofmark.cache-stats");
}

#[test]
fn completions_name_the_verbs() {
    let sandbox = Sandbox::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = sandbox.run(["completions", shell]).expect(0).stdout;
        assert!(script.contains("inspect") && script.contains("replay"), "{shell}");
    }
}

#[test]
fn nothing_is_coloured_when_it_is_not_a_terminal() {
    let sandbox = Sandbox::new();
    sandbox.submission("folder", &[("kernel.cu", "// run\n")]);
    let outcome = sandbox.run(["inspect", "folder"]).expect(0);
    assert!(!outcome.stdout.contains('\u{1b}') && !outcome.stderr.contains('\u{1b}'));
}
