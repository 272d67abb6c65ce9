//! Streams, exit codes, help and completions.

use crate::support::{CONFIG, Sandbox, run};

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
fn a_number_that_is_none_is_answered_with_what_was_expected() {
    let sandbox = Sandbox::new();
    let wrong = [
        ("bench --samples", "0", "expected a whole number, at least 1"),
        ("bench --samples", "-5", "expected a whole number, at least 1"),
        ("bench --budget", "long", "expected a number such as 0.5"),
        ("bench --call-limit", "1.5", "expected a whole number"),
        ("bench --batch", "1,b", "expected a whole number"),
        ("bench --each", "all", "expected a whole number"),
        ("bench --seed", "12a", "expected a whole number below 2^64"),
        ("compare --margin", "%", "expected a number such as 0.5"),
        ("compare --looks", "3,", "expected a whole number"),
        ("compare --blocks", "-1", "expected a whole number"),
        ("build --timeout", "0", "expected a whole number from 1 to 86400"),
        ("build --timeout", "1e9", "expected a whole number from 1 to 86400"),
        ("ledger list --limit", "none", "expected a whole number"),
    ];
    for (option, value, expected) in wrong {
        let said = sandbox.run(option.split(' ').chain([value])).expect(2).stderr;
        assert!(said.contains(&format!(": {expected}")), "{option} {value}: {said}");
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
    let json = sandbox.run(["pack", "--no-such-option", "--json"]).expect(2).json();
    assert_eq!((&json["schema"], &json["exit_code"]), (&"proofmark.error".into(), &2.into()));
    assert_eq!(json["error"], "unexpected argument '--no-such-option' found");
    assert!(json["hints"][0].as_str().unwrap().contains("-- --no-such-option"), "{json:#}");
    let json = sandbox.run(["verifi", "--json"]).expect(2).json();
    assert!(
        json["hints"]
            .as_array()
            .unwrap()
            .iter()
            .all(|hint| hint.as_str().unwrap().matches("tip:").count() == 0)
    );
    for arguments in [&["--json"][..], &["--json", "cache"]] {
        assert_eq!(sandbox.run(arguments).expect(2).json()["error"], "a subcommand is missing");
    }
    assert!(sandbox.run(["pack", "--no-such-option", "--", "--json"]).expect(2).stdout.is_empty());
    let json = sandbox.run(["cache", "stats", "--json"]).expect(0).json();
    assert_eq!(json["schema"], "proofmark.cache-stats");
}

#[test]
fn completions_name_the_verbs() {
    let sandbox = Sandbox::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = sandbox.run(["completions", shell]).expect(0).stdout;
        assert!(script.contains("inspect") && script.contains("replay"), "{shell}");
        assert!(script.contains("version") && !script.contains("player"), "{shell}");
    }
}

#[test]
fn nothing_is_coloured_when_it_is_not_a_terminal() {
    let sandbox = Sandbox::new();
    sandbox.submission("folder", &[("kernel.cu", "// run\n")]);
    let outcome = sandbox.run(["inspect", "folder"]).expect(0);
    assert!(!outcome.stdout.contains('\u{1b}') && !outcome.stderr.contains('\u{1b}'));
}

#[test]
fn whatever_is_wrong_with_a_job_is_told_by_a_document() {
    let sandbox = Sandbox::new();
    sandbox.write("job.json", "{}");
    for arguments in [
        &["job", "run", "job.json"][..],
        &["job", "run", "missing.json"],
        &["job", "run"],
        &["job", "run", "job.json", "--nonsense"],
        &["job", "run", "job.json", "--on", "ssh:-o"],
    ] {
        let document = sandbox.run(arguments).expect(2).json();
        assert_eq!(document["schema"], "proofmark.error", "{arguments:?}");
        crate::support::schema::check(&document);
    }
}

#[test]
fn options_for_a_shared_cache_without_one_are_refused_and_variables_wait_for_it() {
    let sandbox = Sandbox::new();
    sandbox.submission("mine", &[("kernel.cu", "// run\n")]);
    for (option, value) in [("--cache-key", "k"), ("--cache-signers", "s"), ("--cache-patience", "5")] {
        let outcome = sandbox.run(["build", "mine", option, value]).expect(2);
        assert!(outcome.stderr.contains(&format!("{option} is about a shared cache")), "{outcome:?}");
    }
    let mut command = sandbox.command();
    command.args(["build", "mine", "--cuda-home", "nowhere"]).env("PROOFMARK_CACHE_KEY", "k");
    let outcome = run(&mut command);
    assert!(!outcome.stderr.contains("shared cache"), "{outcome:?}");
}

#[test]
fn a_folder_that_cannot_be_made_is_named_as_it_was_asked_for() {
    let sandbox = Sandbox::new();
    sandbox.submission("mine", &[("kernel.cu", "// run\n")]);
    sandbox.run(["pack", "mine", "-o", "mine.zip"]).expect(0);
    // Not even root can make a folder there.
    for arguments in [&["new", "fresh", "-o", "/proc/1/y"][..], &["unpack", "mine.zip", "-o", "/proc/1/y"]] {
        let outcome = sandbox.run(arguments).expect(3);
        assert!(outcome.stderr.contains("cannot write /proc/1/y: "), "{outcome:?}");
        assert!(!outcome.stderr.contains(".proofmark"), "{outcome:?}");
        assert!(outcome.stderr.contains("hint: name a folder that you can write with `-o`"), "{outcome:?}");
    }
}

#[test]
fn a_request_is_judged_before_anything_is_spent_on_it() {
    let sandbox = Sandbox::new();
    sandbox.submission("mine", &[("kernel.cu", "// run\n")]);
    let source = sandbox.path("mine/kernel.cu").display().to_string();
    let (before, sandbox_files) = (std::fs::read(&source).unwrap(), sandbox.files());
    let wrong: [(&[&str], &str); 6] = [
        (&["build", "mine", "-o", &source], "is a part of the submission"),
        (&["seal", "mine", "-o", "no/such/folder/out.zip"], "cannot write"),
        (&["bench", "missing"], "cannot read missing"),
        (&["bench", "mine", "--dataset", "missing"], "is no data set"),
        (&["compare", "mine", "missing"], "cannot read missing"),
        (&["target", "mine", "--nvcc-flag=-arch=sm_90"], "is refused"),
    ];
    for (arguments, expected) in wrong {
        let outcome = sandbox.run(arguments);
        assert!([2, 3].contains(&outcome.code), "{outcome:?}");
        assert!(outcome.stderr.contains(expected), "{expected} is not in {}", outcome.stderr);
        assert!(!sandbox.cache().join("v1").exists(), "{arguments:?} reached the cache");
    }
    assert_eq!((std::fs::read(&source).unwrap(), sandbox.files()), (before, sandbox_files));
}

#[test]
fn an_empty_variable_names_no_data_set_and_a_wrong_one_is_named() {
    let sandbox = Sandbox::new();
    run(sandbox.command().args(["new", "fresh"]).env("FIB_DATASET_PATH", "")).expect(0);
    let refused = run(sandbox.command().args(["new", "other"]).env("FIB_DATASET_PATH", "/missing")).expect(2);
    assert!(refused.stderr.contains("FIB_DATASET_PATH"), "{}", refused.stderr);
}

#[test]
fn what_looks_like_a_misplaced_target_is_named() {
    let sandbox = Sandbox::new();
    let folder = sandbox.submission("mine", &[("kernel.cu", "// run\n")]);
    let config = folder.join("config.toml");
    for (misplaced, key) in
        [("[targets]\narch = \"sm_90a\"\n", "`targets`"), ("[tools.mine]\nx = 1\n", "`tools`")]
    {
        std::fs::write(&config, format!("{CONFIG}\n{misplaced}")).unwrap();
        let outcome = sandbox.run(["pack", "mine", "-o", "out.zip"]).expect(0);
        assert!(outcome.stderr.contains(&format!("{key} is unknown and ignored")), "{}", outcome.stderr);
        assert_eq!(outcome.stderr.contains("[target]"), key == "`targets`", "{}", outcome.stderr);
    }
}

/// What every file below the working folder holds.
fn contents(sandbox: &Sandbox) -> Vec<(String, Vec<u8>)> {
    let files = sandbox.files().into_iter();
    let read = |name: String| std::fs::read(sandbox.path(&name)).ok().map(|content| (name, content));
    files.filter_map(read).collect()
}

/// Artifacts, records and submissions, of which each is an input of some verb.
fn with_inputs() -> Sandbox {
    let sandbox = Sandbox::new();
    let shelf = crate::support::repository().join("solutions");
    for (name, sealed) in [
        ("s.zip", "gdn_decode-0c1bddef06c8-sm_90a-h200.zip"),
        ("t.zip", "gdn_decode-a2fb7a1b80a0-sm_90a-h200.zip"),
    ] {
        std::fs::copy(shelf.join(sealed), sandbox.path(name)).unwrap();
    }
    sandbox
        .submission("task/mine", &[("kernel.cu", "#include \"tile.inl\"\n// run\n"), ("tile.inl", "// t\n")]);
    sandbox.write("task/definition.json", "{}");
    sandbox.submission("kit", &[("solution/cuda/kernel.cu", "// run\n")]);
    sandbox.run(["pack", "kit", "-o", "a.zip"]).expect(0);
    sandbox.run(["pack", "kit", "-o", "solution.json"]).expect(0);
    std::os::unix::fs::symlink("s.zip", sandbox.path("linked.zip")).unwrap();
    std::fs::hard_link(sandbox.path("s.zip"), sandbox.path("second.zip")).unwrap();
    std::fs::create_dir(sandbox.path("shelf")).unwrap();
    std::fs::copy(sandbox.path("s.zip"), sandbox.path("shelf/s.zip")).unwrap();
    sandbox.write("signers", "");
    sandbox.write("bounds.jsonl", "");
    sandbox.write("data/definitions/one.json", "{}");
    sandbox
}

#[test]
fn no_verb_writes_over_what_it_reads_or_over_a_part_of_a_submission() {
    let sandbox = with_inputs();
    let before = contents(&sandbox);
    for line in [
        "report s.zip -o s.zip",
        "report s.zip t.zip -o t.zip",
        "report s.zip -o ./shelf/../s.zip",
        "report s.zip -o linked.zip",
        "report linked.zip -o s.zip",
        "report s.zip -o second.zip",
        "report shelf -o shelf/s.zip",
        "report s.zip -o kit/solution/cuda/kernel.cu",
        "report s.zip -o kit/config.toml",
        "report s.zip -o task/mine/tile.inl",
        "report s.zip -o task/definition.json",
        "fleet plan s.zip -o s.zip",
        "fleet plan kit task -o kit/config.toml",
        "fleet plan shelf -o shelf/s.zip",
        "fleet plan s.zip --verb compare --against t.zip -o t.zip",
        "fleet reduce t.zip --report t.zip",
        "fleet submit t.zip --slurm --report t.zip --dry-run",
        "pack a.zip --format flashinfer -o a.zip",
        "pack a.zip --format popcorn --leaderboard l --gpus B200 -o a.zip",
        "pack solution.json --format sol-execbench -o solution.json",
        "pack solution.json --format flashinfer -o .",
        "pack kit -o kit/solution/cuda/kernel.cu",
        "build a.zip -o a.zip",
        "build kit -o task/mine/kernel.cu",
        "seal s.zip -o s.zip --no-measure",
        "seal solution.json -o solution.json",
        "seal a.zip -o bounds.jsonl --workloads bounds.jsonl",
        "bench s.zip --record s.zip",
        "bench s.zip --traces s.zip",
        "bench s.zip --bounds bounds.jsonl --record bounds.jsonl",
        "bench s.zip --dataset data --traces data/definitions/one.json",
        "bench kit --record kit/config.toml",
        "compare s.zip t.zip --record t.zip",
        "job run s.zip --record s.zip",
        "job run s.zip -o s.zip",
        "replay s.zip t.zip --resume s.zip",
        "replay shelf --resume shelf/s.zip",
        "sign s.zip --key signers -o signers",
    ] {
        let outcome = sandbox.run(line.split(' ')).expect(2);
        let words = ["it would be lost", "is a part of"];
        assert!(words.iter().any(|words| outcome.stderr.contains(words)), "{line}: {outcome:?}");
        assert!(outcome.stderr.contains("hint: name another file with `-"), "{line}: {outcome:?}");
        assert!(contents(&sandbox) == before, "{line} changed a file");
    }
}

#[test]
fn nothing_is_written_where_it_would_become_a_part_of_a_submission() {
    let sandbox = with_inputs();
    let before = contents(&sandbox);
    for line in [
        "report s.zip -o task/mine/page.PY",
        "pack a.zip --format popcorn --leaderboard l --gpus B200 -o kit/solution/cuda/submission.py",
        "build a.zip -o task/mine/kernel_2.cu",
        "fleet plan s.zip -o task/workloads.jsonl",
        "bench s.zip --traces task/mine/definition.json",
        "bench s.zip --record task/workloads.jsonl",
    ] {
        let outcome = sandbox.run(line.split(' ')).expect(2);
        assert!(outcome.stderr.contains("would become a part of the submission"), "{line}: {outcome:?}");
        assert!(contents(&sandbox) == before, "{line} wrote a file");
    }
    let config = CONFIG.replace("\"cuda\"", "\"python\"").replace("kernel.cu::run", "k.py::custom_kernel");
    sandbox.write("entry/config.toml", config);
    sandbox.write("entry/k.py", "def custom_kernel(data):\n    return data\n");
    let board = ["pack", "../../entry", "--format", "popcorn", "--leaderboard", "l", "--gpus", "B200"];
    let unnamed = run(sandbox.command().args(board).current_dir(sandbox.path("task/mine"))).expect(2);
    assert!(unnamed.stderr.contains("submission.py would become a part"), "{unnamed:?}");
    // Beside the sources of a kit's layout nothing is taken for one.
    sandbox.run(["report", "s.zip", "-o", "kit/page.py"]).expect(0);
    sandbox.run(["report", "s.zip", "-o", "task/page.py"]).expect(0);
}

#[test]
fn a_dash_is_standard_output_or_refused() {
    let sandbox = with_inputs();
    let before = sandbox.files();
    for line in [
        "job run job.json -o -",
        "bench s.zip --record -",
        "bench s.zip --traces -",
        "unpack s.zip -o -",
        "new fresh -o -",
        "replay s.zip --resume -",
        "verify s.zip --extract -",
        "verify-signature s.zip --allowed-signers signers --extract -",
        "man --into -",
        "fleet submit t.zip --slurm --report - --dry-run",
    ] {
        let outcome = sandbox.run(line.split(' ')).expect(2);
        assert!(outcome.stderr.contains("does not go to standard output"), "{line}: {outcome:?}");
        assert!(outcome.stderr.contains("`./-`"), "{line}: {outcome:?}");
    }
    for line in ["report s.zip -o -", "fleet plan kit -o -"] {
        assert!(!sandbox.run(line.split(' ')).expect(0).stdout.is_empty(), "{line}");
    }
    assert_eq!(sandbox.files(), before);
}

#[test]
fn a_result_is_written_again_beside_what_it_is_made_from() {
    let sandbox = with_inputs();
    for line in [
        "report shelf -o shelf/report.html",
        "pack kit -o kit/out.zip",
        "fleet plan kit -o kit/plan.jsonl",
        "report s.zip -o kit/report.html",
    ] {
        sandbox.run(line.split(' ')).expect(0);
        sandbox.run(line.split(' ')).expect(0);
    }
}

#[test]
fn what_is_no_document_refuses_json_instead_of_printing_none() {
    let sandbox = Sandbox::new();
    sandbox.submission("mine", &[("kernel.cu", "// run\n")]);
    for line in [
        "skill show --json",
        "completions bash --json",
        "man --json",
        "man verify --json",
        "pack mine -o - --json",
        "fleet plan mine -o - --json",
    ] {
        let outcome = sandbox.run(line.split(' ')).expect(2);
        let document = outcome.json();
        assert_eq!(document["schema"], "proofmark.error", "{line}");
        assert!(document["error"].as_str().unwrap().starts_with("--json: "), "{line}: {document}");
    }
}

#[test]
fn a_toolkit_that_an_option_names_wrongly_is_a_wrong_request_and_one_of_a_variable_is_not() {
    let sandbox = Sandbox::new();
    sandbox.submission("mine", &[("kernel.cu", "// run\n")]);
    let by_option = sandbox.run(["build", "mine", "--cuda-home", "/nonexist"]).expect(2);
    assert!(by_option.stderr.contains("leave it out"), "{by_option:?}");
    let by_variable = run(sandbox.command().args(["build", "mine"]).env("CUDA_HOME", "/nonexist")).expect(3);
    assert!(by_variable.stderr.contains("unset it"), "{by_variable:?}");
}
