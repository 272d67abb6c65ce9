//! The gate for releases: policies, differences, extraction, reach.

use std::fs;
use std::io::{Cursor, Write as _};

use serde_json::{Value, json};

use crate::support::{Sandbox, repository, run, schema};

fn fixture(name: &str) -> Vec<u8> {
    fs::read(repository().join("tests/fixtures/proof").join(name)).unwrap()
}

/// A wheel with these members.
fn wheel(sandbox: &Sandbox, name: &str, members: &[(&str, &str)]) -> String {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (member, source) in members {
        writer.start_file(*member, zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(&fixture(source)).unwrap();
    }
    sandbox.write(name, writer.finish().unwrap().into_inner()).display().to_string()
}

const TWO: &[(&str, &str)] = &[("pkg/libnew.so", "exact_13.0.so"), ("pkg/libold.so", "hopper_12.9.cubin")];

fn policy(sandbox: &Sandbox, text: &str) -> String {
    sandbox.write("policy.toml", format!("policy = 1\n{text}")).display().to_string()
}

#[test]
fn a_wheel_whose_libraries_hold_what_each_rule_requires_conforms() {
    let sandbox = Sandbox::new();
    let wheel = wheel(&sandbox, "p.whl", TWO);
    let file = policy(
        &sandbox,
        "[[rule]]\nfiles = [\"pkg/libnew.so\"]\nrequire = [\"sm_100a\"]\n\
         [[rule]]\nfiles = [\"pkg/*.so\"]\nrequire = [\"sm_90a\"]\nruns_on = [\"sm_90\"]\n",
    );
    let text = sandbox.run(["verify", &wheel, "--policy", &file]).expect(0).stdout;
    assert!(text.starts_with("CONFORMS"), "{text}");
}

#[test]
fn a_release_without_device_code_conforms_to_no_policy_about_device_code() {
    let sandbox = Sandbox::new();
    sandbox.write("plain/pkg/__init__.py", "x = 1\n");
    let allows = "[[rule]]\nfiles = [\"**\"]\nallow = [\"sm_100a\"]\n";
    let file = policy(&sandbox, allows);
    for policy in ["only:sm_100a", file.as_str()] {
        let document = sandbox.run(["verify", "plain", "--policy", policy, "--json"]).expect(1).json();
        let findings = document["inputs"][0]["findings"].as_array().unwrap();
        assert_eq!((findings.len(), &findings[0]["kind"]), (1, &"no-device-code".into()), "{document:#}");
    }
    let waiver =
        "[[waiver]]\nfiles = [\"**\"]\nfindings = [\"no-device-code\"]\nreason = \"for processors\"\n";
    let file = policy(&sandbox, &format!("{allows}{waiver}"));
    sandbox.run(["verify", "plain", "--policy", &file]).expect(0);
    let file = policy(&sandbox, "[[rule]]\nfiles = [\"**\"]\ndevice_code = false\n");
    sandbox.run(["verify", "plain", "--policy", &file]).expect(0);
}

#[test]
fn what_holds_no_device_code_is_no_model_and_is_the_same_as_nothing() {
    let sandbox = Sandbox::new();
    let lost = wheel(&sandbox, "lost.whl", &[]);
    let python = sandbox.write("plain/run.py", "import torch\ntorch.compile(f)\n").display().to_string();
    let folder = sandbox.path("plain").display().to_string();
    let text = policy(&sandbox, "[[rule]]\nfiles = [\"**\"]\nrequire = [\"sm_100a\"]\n");
    for model in [&lost, &python, &folder, &text] {
        for released in [&lost, &folder] {
            let outcome = sandbox.run(["verify", released, "--policy", &format!("like:{model}")]).expect(2);
            let said = format!("{model} holds no device code: expected a wheel, folder or library that does");
            assert!(outcome.stderr.contains(&said), "{outcome:?}");
            assert!(outcome.stderr.contains("without `like:`"), "{outcome:?}");
            let outcome = sandbox.run(["verify", "--diff", model, released]).expect(1);
            assert!(outcome.stdout.contains("no device code in either"), "{outcome:?}");
            let document = sandbox.run(["verify", "--diff", model, released, "--json"]).expect(1).json();
            assert_eq!(document["difference"]["answer"], "no_device_code", "{document:#}");
        }
    }
    fs::create_dir(sandbox.path("empty")).unwrap();
    sandbox.run(["verify", &lost, "--policy", "like:empty"]).expect(2);
}

#[test]
fn a_list_says_no_where_something_could_not_be_read() {
    let sandbox = Sandbox::new();
    let (library, wheel) = (fixture("exact_13.0.so"), wheel(&sandbox, "p.whl", TWO));
    let wheel = fs::read(wheel).unwrap();
    for (name, bytes) in [("half.so", &library), ("half.whl", &wheel)] {
        sandbox.write(name, &bytes[..bytes.len() / 2]);
        sandbox.run(["verify", name, "--list"]).expect(1);
        sandbox.run(["verify", name, "--list", "--json"]).expect(1);
        sandbox.write(name, bytes);
        sandbox.run(["verify", name, "--list"]).expect(0);
    }
}

#[test]
fn a_file_in_a_folder_s_place_is_a_wrong_request() {
    let sandbox = Sandbox::new();
    sandbox.write("k.so", fixture("exact_13.0.so"));
    sandbox.write("file", "");
    for place in ["file", "file/inner"] {
        for arguments in [
            &["verify", "k.so", "--extract", place][..],
            &["cache", "list", "--cache-dir", place],
            &["build", "one", "--cache-dir", place],
        ] {
            sandbox.submission("one", &[("kernel.cu", "__global__ void k() {}\n")]);
            let outcome = sandbox.run(arguments).expect(2);
            assert!(outcome.stderr.contains(&format!("{place} ")), "{outcome:?}");
            assert!(outcome.stderr.contains("no folder: expected "), "{outcome:?}");
            assert!(outcome.stderr.contains("hint: "), "{outcome:?}");
        }
    }
}

#[test]
fn an_extraction_that_finds_the_disk_full_at_any_image_leaves_nothing_and_can_be_tried_again() {
    let sandbox = Sandbox::new();
    let wheel = wheel(&sandbox, "p.whl", &[TWO[1], TWO[0]]);
    let program = sandbox.command().get_program().to_owned();
    // No file may grow beyond so many KiB: the write that would fails, as on a full disk.
    for (kibibytes, place) in [(0, "new"), (4, "new"), (0, "empty"), (4, "empty")] {
        fs::create_dir_all(sandbox.path("empty")).unwrap();
        let before = sandbox.files();
        let mut command = std::process::Command::new("bash");
        command.args(["-c", "trap '' XFSZ; ulimit -f $0; exec \"$@\"", &kibibytes.to_string()]);
        command.arg(&program).args(["verify", &wheel, "--extract", place]).current_dir(sandbox.path(""));
        let outcome = run(&mut command).expect(3);
        assert!(outcome.stderr.contains(&format!("cannot write {place}/000")), "{outcome:?}");
        assert_eq!(sandbox.files(), before, "{kibibytes} KiB, {place}");
        assert!(!sandbox.path("new").exists(), "{kibibytes} KiB");
    }
    for place in ["new", "empty"] {
        sandbox.run(["verify", &wheel, "--extract", place]).expect(0);
        assert_eq!(fs::read_dir(sandbox.path(place)).unwrap().count(), 3, "two images and the index");
    }
}

#[test]
fn a_library_that_lacks_an_architecture_is_named_though_another_has_a_kernel_of_that_name() {
    let sandbox = Sandbox::new();
    let both = wheel(&sandbox, "p.whl", &[TWO[0], ("pkg/libnewer.so", "exact_13.0.so"), TWO[1]]);
    let outcome = sandbox.run(["verify", &both, "--kernels-missing", "--arch", "sm_100a"]).expect(1);
    assert!(outcome.stdout.contains("pkg/libold.so: 1\n"), "{outcome:?}");
    assert!(!outcome.stdout.contains("pkg/libnew"), "{outcome:?}");
    let asked = ["verify", &both, "--kernels-missing", "--json"];
    let document = sandbox.run(asked).expect(1).json();
    let lacking = |arch: usize| {
        let files = document["inputs"][0]["archs"][arch]["files"].as_array().unwrap().iter();
        let lacking = files.filter(|one| one["missing"] != json!([]));
        lacking.map(|one| one["file"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(lacking(0), ["pkg/libnew.so", "pkg/libnewer.so"], "{document:#}");
    assert_eq!(lacking(1), ["pkg/libold.so"], "{document:#}");
}

#[test]
fn a_gpu_that_nobody_knows_runs_nothing() {
    let sandbox = Sandbox::new();
    sandbox.write("k.fatbin", fixture("with_ptx_13.0.fatbin"));
    sandbox.run(["verify", "k.fatbin", "--runs-on", "sm_103"]).expect(0);
    let outcome = sandbox.run(["verify", "k.fatbin", "--runs-on", "sm_103,sm_1000"]).expect(2);
    assert!(outcome.stderr.contains("no architecture sm_1000 is known: expected one of "), "{outcome:?}");
}

#[test]
fn a_finding_names_its_file_and_a_waiver_its_reason() {
    let sandbox = Sandbox::new();
    let wheel = wheel(&sandbox, "p.whl", TWO);
    let rule = "[[rule]]\nfiles = [\"**\"]\nrequire = [\"sm_100a\"]\n";
    let file = policy(&sandbox, rule);
    let document = sandbox.run(["verify", &wheel, "--policy", &file, "--json"]).expect(1).json();
    let findings = document["inputs"][0]["findings"].as_array().unwrap();
    assert!(findings.iter().all(|one| one["file"] == "pkg/libold.so"), "{document:#}");
    let kinds: Vec<&str> = findings.iter().filter_map(|one| one["kind"].as_str()).collect();
    assert_eq!(kinds, ["missing", "machine-code"]);
    let waived = format!("{rule}[[waiver]]\nfiles = [\"pkg/libold.so\"]\nreason = \"for old boards\"\n");
    let file = policy(&sandbox, &waived);
    let text = sandbox.run(["verify", &wheel, "--policy", &file]).expect(0).stdout;
    assert!(text.contains("2 waived") && text.contains("waived: for old boards"), "{text}");
}

#[test]
fn a_policy_that_cannot_be_read_says_everything_that_is_wrong() {
    let sandbox = Sandbox::new();
    let wheel = wheel(&sandbox, "p.whl", TWO);
    let file = policy(&sandbox, "colour = 1\n[[rule]]\nfiles = [\"**\"]\nrequire = [\"gfx90\"]\n");
    let outcome = sandbox.run(["verify", &wheel, "--policy", &file]).expect(2);
    assert!(outcome.stderr.contains("colour") && outcome.stderr.contains("gfx90"), "{outcome:?}");
    sandbox.run(["verify", &wheel, "--policy", "nowhere.toml"]).expect(2);
    sandbox.run(["verify", &wheel, "--policy", "only:sm_9z"]).expect(2);
}

#[test]
fn presets_need_no_file() {
    let sandbox = Sandbox::new();
    let one = wheel(&sandbox, "one.whl", &TWO[..1]);
    let two = wheel(&sandbox, "two.whl", TWO);
    sandbox.run(["verify", &one, "--policy", "only:sm_100a"]).expect(0);
    sandbox.run(["verify", &two, "--policy", "only:sm_100a"]).expect(1);
    let like = |model: &str| format!("like:{model}");
    sandbox.run(["verify", &two, "--policy", &like(&two)]).expect(0);
    let missing = sandbox.run(["verify", &one, "--policy", &like(&two)]).expect(1).stdout;
    assert!(missing.contains("pkg/libold.so"), "{missing}");
    let stranger = sandbox.run(["verify", &two, "--policy", &like(&one)]).expect(1).stdout;
    assert!(stranger.contains("device-code"), "{stranger}");
}

#[test]
fn a_difference_names_what_appeared_and_what_went() {
    let sandbox = Sandbox::new();
    let old = wheel(&sandbox, "old.whl", TWO);
    let new = wheel(&sandbox, "new.whl", &[("pkg/libnew.so", "with_ptx_13.0.fatbin")]);
    sandbox.run(["verify", "--diff", &old, &old]).expect(0);
    let text = sandbox.run(["verify", "--diff", &old, &new]).expect(1).stdout;
    for word in ["gone", "sm_90a", "pkg/libold.so", "PTX"] {
        assert!(text.contains(word), "{word} is missing in {text}");
    }
    let document = sandbox.run(["verify", "--diff", &old, &new, "--json"]).expect(1).json();
    assert_eq!(document["difference"]["archs_gone"][0], "sm_90a", "{document:#}");
    sandbox.run(["verify", "--diff", &old]).expect(2);
}

#[test]
fn a_difference_of_code_alone_names_the_kernel() {
    let sandbox = Sandbox::new();
    let mut bytes = fixture("exact_13.0.so");
    let image = proofmark::proof::examine(&bytes).entries.remove(0);
    let kernel = &image.cubin.as_ref().unwrap().kernels[0];
    let old = sandbox.write("old.so", &bytes).display().to_string();
    bytes[usize::try_from(image.payload_offset + kernel.code_offset).unwrap() + 5] ^= 1;
    let new = sandbox.write("new.so", &bytes).display().to_string();
    let text = sandbox.run(["verify", "--diff", &old, &new]).expect(1).stdout;
    let line = format!("~ {}: other machine code", kernel.demangled());
    assert!(text.contains(&line) && text.matches('~').count() == 1, "{line} is missing in {text}");
    let document = sandbox.run(["verify", "--diff", &old, &new, "--json"]).expect(1).json();
    let images = &document["difference"]["files"][0]["images"][0];
    assert_eq!((&images["kernels_changed"], &images["images_changed"]), (&json!([kernel.name]), &json!(1)));
    sandbox.run(["verify", "--diff", &old, &old]).expect(0);
}

#[test]
fn two_files_are_compared_whatever_they_are_called() {
    let sandbox = Sandbox::new();
    let write = |name: &str, source: &str| sandbox.write(name, fixture(source)).display().to_string();
    let old = write("k-1.0.fatbin", "exact_13.0.fatbin");
    let same = write("k-1.1.fatbin", "exact_13.0.fatbin");
    let other = write("k-1.2.fatbin", "with_ptx_13.0.fatbin");
    sandbox.run(["verify", "--diff", &old, &same]).expect(0);
    let document = sandbox.run(["verify", "--diff", &old, &other, "--json"]).expect(1).json();
    let files = document["difference"]["files"].as_array().unwrap();
    assert_eq!(files.len(), 1, "{document:#}");
    assert_eq!((&files[0]["file"], &files[0]["change"]), (&json!("k-1.2.fatbin"), &json!("changed")));
    // One file of a wheel is no other one's successor.
    let wheels = [("a.whl", "pkg/k-1.0.so"), ("b.whl", "pkg/k-1.1.so")]
        .map(|(name, member)| wheel(&sandbox, name, &[(member, "exact_13.0.so")]));
    let text = sandbox.run(["verify", "--diff", &wheels[0], &wheels[1]]).expect(1).stdout;
    assert!(text.contains("gone  pkg/k-1.0.so") && text.contains("appeared  pkg/k-1.1.so"), "{text}");
}

#[test]
fn a_list_refuses_what_only_a_judgement_takes() {
    let sandbox = Sandbox::new();
    let exact = sandbox.write("k.so", fixture("exact_13.0.so")).display().to_string();
    for more in [&["--arch", "sm_90a"][..], &["--allow-ptx"], &["--allow", "sm_90a"], &["--explain"]] {
        let arguments = [&["verify", &exact, "--list"][..], more].concat();
        let outcome = sandbox.run(&arguments).expect(2);
        assert!(outcome.stderr.contains(more[0]) && outcome.stderr.contains("--list"), "{outcome:?}");
    }
}

#[test]
fn images_come_out_under_names_that_nobody_else_chose() {
    let sandbox = Sandbox::new();
    let wheel = wheel(&sandbox, "p.whl", &[("../../etc/\u{1b}[2Kk.so", "exact_13.0.so"), TWO[1]]);
    sandbox.run(["verify", &wheel, "--list", "--extract", "out"]).expect(0);
    let index: Value = serde_json::from_slice(&fs::read(sandbox.path("out/index.json")).unwrap()).unwrap();
    schema::check(&index);
    let images = index["images"].as_array().unwrap();
    let mut names: Vec<String> = fs::read_dir(sandbox.path("out"))
        .unwrap()
        .map(|item| item.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names.len(), images.len() + 1, "{names:?}");
    for image in images {
        let name = image["image"].as_str().unwrap();
        assert!(
            name.chars().all(|letter| letter.is_ascii_alphanumeric() || "._-".contains(letter)),
            "{name}"
        );
        if name.ends_with("sm_90a.cubin") {
            assert_eq!(fs::read(sandbox.path("out").join(name)).unwrap(), fixture("hopper_12.9.cubin"));
        }
    }
    sandbox.run(["verify", &wheel, "--list", "--extract", "out"]).expect(2);
}

#[test]
fn a_kernel_that_one_architecture_lacks_is_named() {
    let sandbox = Sandbox::new();
    let wheel = wheel(&sandbox, "p.whl", TWO);
    let outcome = sandbox.run(["verify", &wheel, "--kernels-missing", "--arch", "sm_103a"]).expect(1);
    assert!(outcome.stdout.contains("sm_103a  lacks"), "{outcome:?}");
    let lacking = ["verify", &wheel, "--kernels-missing", "--arch", "sm_103a", "--json"];
    let document = sandbox.run(lacking).expect(1).json();
    assert_eq!(document["inputs"][0]["archs"][0]["arch"], "sm_103a", "{document:#}");
    let exact = sandbox.write("k.so", fixture("exact_13.0.so")).display().to_string();
    sandbox.run(["verify", &exact, "--kernels-missing"]).expect(0);
}

#[test]
fn a_gpu_is_told_by_what_something_runs_there() {
    let sandbox = Sandbox::new();
    let wheel = wheel(&sandbox, "p.whl", &[TWO[0], ("pkg/family.fatbin", "family_13.0.fatbin")]);
    let text = sandbox.run(["verify", &wheel, "--runs-on", "sm_100,sm_103,sm_120"]).expect(1).stdout;
    for line in [
        "runs on sm_100: yes, by family",
        "runs on sm_103: no, nothing runs there in pkg/libnew.so",
        "sm_120: no",
    ] {
        assert!(text.contains(line), "{line} is missing in {text}");
    }
    let document = sandbox.run(["verify", &wheel, "--runs-on", "sm_100", "--json"]).expect(0).json();
    let by = &document["inputs"][0]["gpus"][0];
    assert_eq!(by["by"], "family", "{document:#}");
    assert_eq!(by["files"]["pkg/libnew.so"], "machine_code", "{document:#}");
}

#[test]
fn a_name_cannot_forge_a_line() {
    let sandbox = Sandbox::new();
    let forged = "pkg/\u{1b}[2K\nEXACT  machine code\u{202e}.so";
    let wheel = wheel(&sandbox, "p.whl", &[(forged, "plain_13.0.cubin"), TWO[0]]);
    for arguments in [
        &["verify", &wheel][..],
        &["verify", &wheel, "--list"],
        &["verify", &wheel, "--policy", "only:sm_100a"],
        &["verify", "--diff", &wheel, "policy-none.whl"],
        &["verify", &wheel, "--runs-on", "sm_90,sm_100"],
    ] {
        sandbox.write("policy-none.whl", "");
        let outcome = sandbox.run(arguments);
        let printed = outcome.stdout + &outcome.stderr;
        assert!(!printed.contains('\u{1b}') && !printed.contains('\u{202e}'), "{arguments:?}: {printed}");
        assert!(!printed.contains("\nEXACT  machine code"), "{arguments:?}: {printed}");
    }
}

#[test]
fn questions_exclude_each_other() {
    let sandbox = Sandbox::new();
    let wheel = wheel(&sandbox, "p.whl", TWO);
    sandbox.run(["verify", &wheel, "--list", "--policy", "only:sm_100a"]).expect(2);
    sandbox.run(["verify", &wheel, "--diff", "--list"]).expect(2);
}

#[test]
fn the_document_of_many_files_is_one_document() {
    let sandbox = Sandbox::new();
    for number in 0..300 {
        sandbox.write(format!("many/{number}.fatbin"), fixture("exact_13.0.fatbin"));
    }
    sandbox.write("many/k.so", fixture("exact_13.0.so"));
    let document = sandbox.run(["verify", "many", "--json"]).expect(0).json();
    assert_eq!(document["files"].as_array().unwrap().len(), 301);
    assert_eq!(document["schema"], "proofmark.verify");
    let both = sandbox.run(["verify", "many", "many", "--json"]).expect(0).json();
    assert_eq!(both["inputs"][1]["answer"]["files"].as_array().unwrap().len(), 301);
}

/// A wheel with a whole library, and half of one beside it.
fn half_read(sandbox: &Sandbox) -> String {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let whole = fixture("exact_13.0.so");
    for (member, bytes) in [("pkg/libnew.so", &whole[..]), ("pkg/libhalf.so", &whole[..whole.len() / 2])] {
        writer.start_file(member, zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(bytes).unwrap();
    }
    sandbox.write("half.whl", writer.finish().unwrap().into_inner()).display().to_string()
}

#[test]
fn no_question_is_answered_for_what_could_not_be_read() {
    let sandbox = Sandbox::new();
    let old = wheel(&sandbox, "old.whl", &TWO[..1]);
    let half = half_read(&sandbox);
    let like = format!("like:{half}");
    for (question, words) in [
        (&["--diff", &old, &half][..], "not known  whether the device code is the same"),
        (&["--diff", &half, &half], "not known  whether the device code is the same"),
        (&[half.as_str(), "--kernels-missing"], "not known  which kernels are missing"),
        (&[half.as_str(), "--runs-on", "sm_100"], "runs on sm_100: not known, because of pkg/libhalf.so"),
        (&[half.as_str(), "--policy", "only:sm_100a"], "unreadable  pkg/libhalf.so"),
        (&[half.as_str(), "--policy", &like], "unreadable  pkg/libhalf.so"),
        (&[old.as_str(), "--policy", &like], "unreadable  pkg/libhalf.so"),
    ] {
        let arguments: Vec<&str> = ["verify"].iter().chain(question).copied().collect();
        let text = sandbox.run(&arguments).expect(1).stdout;
        assert!(text.contains(words) && text.contains("pkg/libhalf.so: "), "{arguments:?}: {text}");
        let document: Vec<&str> = arguments.into_iter().chain(["--json"]).collect();
        schema::check(&sandbox.run(&document).expect(1).json());
    }
    let difference = sandbox.run(["verify", "--diff", &old, &half, "--json"]).expect(1).json();
    assert_eq!(difference["difference"]["answer"], "not_known");
    assert_eq!(difference["unread"]["new"][0]["path"], "pkg/libhalf.so", "{difference:#}");
    let runs = sandbox.run(["verify", &half, "--runs-on", "sm_100", "--json"]).expect(1).json();
    assert_eq!(runs["inputs"][0]["gpus"][0]["runs"], Value::Null);
    assert_eq!(runs["inputs"][0]["gpus"][0]["files"]["pkg/libhalf.so"], "not_known");
    let kernels = sandbox.run(["verify", &half, "--kernels-missing", "--json"]).expect(1).json();
    assert_eq!(kernels["inputs"][0]["known"], false);
    let extracted = sandbox.run(["verify", &half, "--extract", "out"]).expect(1);
    assert!(extracted.stderr.contains("pkg/libhalf.so: "), "{extracted:?}");
    let index: Value = serde_json::from_slice(&fs::read(sandbox.path("out/index.json")).unwrap()).unwrap();
    schema::check(&index);
    assert_ne!(index["unread"], serde_json::json!([]));
}

#[test]
fn a_member_that_was_not_read_at_all_leaves_every_question_open() {
    let sandbox = Sandbox::new();
    fs::create_dir_all(sandbox.path("d")).unwrap();
    sandbox.write("d/k.so", fixture("exact_13.0.so"));
    std::os::unix::fs::symlink("nowhere", sandbox.path("d/gone.so")).unwrap();
    sandbox.write("k.so", fixture("exact_13.0.so"));
    for question in [&["--diff", "d", "d"][..], &["d", "--kernels-missing"], &["d", "--runs-on", "sm_100"]] {
        let arguments: Vec<&str> = ["verify"].iter().chain(question).copied().collect();
        let text = sandbox.run(&arguments).expect(1).stdout;
        assert!(text.contains("gone.so: a link that leads nowhere"), "{arguments:?}: {text}");
        assert!(text.contains("not known"), "{arguments:?}: {text}");
    }
    let text = sandbox.run(["verify", "--diff", "k.so", "d"]).expect(1).stdout;
    assert!(!text.contains("gone  k.so"), "{text}");
}

#[test]
fn a_release_runs_where_each_of_its_files_with_device_code_does() {
    let sandbox = Sandbox::new();
    let both = wheel(&sandbox, "p.whl", &[TWO[0], ("pkg/with_ptx.fatbin", "with_ptx_13.0.fatbin")]);
    let text = sandbox.run(["verify", &both, "--runs-on", "sm_120"]).expect(1).stdout;
    assert!(text.contains("runs on sm_120: no, nothing runs there in pkg/libnew.so"), "{text}");
    sandbox.run(["verify", &both, "--runs-on", "sm_100"]).expect(0);
    sandbox.run(["verify", &both, "--runs-on", "sm_100", "--arch", "sm_100a"]).expect(2);
    sandbox.run(["verify", &both, "--kernels-missing", "--allow-ptx"]).expect(2);
}

#[test]
fn images_are_taken_out_without_judging_unless_something_is_named_to_judge_by() {
    let sandbox = Sandbox::new();
    let wheel = wheel(&sandbox, "p.whl", TWO);
    let text = sandbox.run(["verify", &wheel, "--extract", "one"]).expect(0).stdout;
    assert!(!text.contains("MIXED") && text.contains("sm_90a"), "{text}");
    let text = sandbox.run(["verify", &wheel, "--extract", "two", "--arch", "sm_100a"]).expect(1).stdout;
    assert!(text.starts_with("MIXED"), "{text}");
}

#[test]
fn a_folder_is_no_policy_and_is_said_to_be_one() {
    let sandbox = Sandbox::new();
    let wheel = wheel(&sandbox, "p.whl", TWO);
    fs::create_dir_all(sandbox.path("rules")).unwrap();
    let outcome = sandbox.run(["verify", &wheel, "--policy", "rules"]).expect(2);
    assert!(outcome.stderr.contains("rules: it is a folder, expected a TOML file"), "{outcome:?}");
}

#[test]
fn a_folder_with_sources_alone_is_told_how_it_is_built() {
    let sandbox = Sandbox::new();
    sandbox.submission("one", &[("kernel.cu", "__global__ void k() {}\n")]);
    let outcome = sandbox.run(["verify", "one"]).expect(1);
    assert!(outcome.stderr.contains("--build builds them"), "{outcome:?}");
}

#[test]
fn a_note_on_a_library_that_is_not_named_says_whose() {
    let sandbox = Sandbox::new();
    let wheel = wheel(&sandbox, "p.whl", TWO);
    let text = sandbox.run(["verify", &wheel]).expect(1).stdout;
    assert!(text.contains("pkg/libnew.so: it will not load without libcudart"), "{text}");
}

#[test]
fn where_nothing_is_looked_at_no_question_is_answered_with_yes() {
    let sandbox = Sandbox::new();
    fs::create_dir_all(sandbox.path("empty/inner")).unwrap();
    for question in [
        &["empty", "--kernels-missing"][..],
        &["empty", "--kernels-missing", "--arch", "sm_100a"],
        &["empty", "--policy", "only:sm_100a"],
        &["empty", "--runs-on", "sm_100"],
        &["--diff", "empty", "empty"],
        &["empty", "--extract", "out"],
        &["empty"],
        &["empty", "--list"],
    ] {
        let outcome = sandbox.run(["verify"].iter().chain(question)).expect(2);
        assert!(outcome.stderr.contains("empty is a folder without a file"), "{question:?}: {outcome:?}");
        assert!(!sandbox.path("out").exists());
    }
    sandbox.write("empty/readme.txt", "no device code");
    for question in [
        &["empty", "--kernels-missing"][..],
        &["empty", "--kernels-missing", "--arch", "sm_100a"],
        &["empty", "--runs-on", "sm_100"],
    ] {
        let outcome = sandbox.run(["verify"].iter().chain(question)).expect(1);
        let words = ["no machine code", "there is no device code"];
        assert!(words.iter().any(|words| outcome.stdout.contains(words)), "{question:?}: {outcome:?}");
    }
}
