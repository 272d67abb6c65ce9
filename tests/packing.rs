//! `pack`, `inspect`, `unpack`, `diff`, `new` and `target` on real folders.

use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use crate::support::{CONFIG, Sandbox, repository, run};

const FILES: &[(&str, &str)] = &[
    ("kernel.cu", "#include \"tiles/mma.cuh\"\n// run\n"),
    ("tiles/mma.cuh", "// mma\n"),
    ("binding.py", "x = 1\n"),
];

#[test]
fn the_same_content_gives_the_same_bytes_whatever_else_changes() {
    let sandbox = Sandbox::new();
    let one = sandbox.submission("one", FILES);
    sandbox.run(["pack", "one", "-o", "one.zip"]).expect(0);
    // Other order of creation, other times, other modes, other environment.
    for (path, content) in FILES.iter().rev() {
        let file = sandbox.write(format!("elsewhere/two/{path}"), content);
        File::options()
            .write(true)
            .open(&file)
            .unwrap()
            .set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1))
            .unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(file, mode).unwrap();
    }
    sandbox.write("elsewhere/two/config.toml", CONFIG);
    let mut command = sandbox.command();
    command.args(["pack", "elsewhere/two", "-o", "two.zip"]);
    command.env("SOURCE_DATE_EPOCH", "1").env("LC_ALL", "tr_TR.UTF-8").env("TZ", "Asia/Tokyo");
    run(&mut command).expect(0);
    assert_eq!(fs::read(sandbox.path("one.zip")).unwrap(), fs::read(sandbox.path("two.zip")).unwrap());
    assert!(one.is_dir());
}

#[test]
fn every_input_form_is_taken_everywhere() {
    let sandbox = Sandbox::new();
    sandbox.submission("folder", FILES);
    sandbox.run(["pack", "folder", "-o", "a.zip"]).expect(0);
    sandbox.run(["pack", "folder", "--format", "flashinfer", "-o", "solution.json"]).expect(0);
    let digest = |path: &str| sandbox.run(["inspect", path, "--json"]).expect(0).json()["digest"].clone();
    assert_eq!(digest("folder"), digest("a.zip"));
    assert_eq!(digest("folder"), digest("solution.json"));
    for path in ["folder", "a.zip", "solution.json"] {
        sandbox.run(["diff", "folder", path]).expect(0);
        let out = format!("unpacked-{}", path.replace('.', "-"));
        sandbox.run(["unpack", path, "-o", &out]).expect(0);
        assert_eq!(digest(&out), digest("folder"), "{path}");
        sandbox.run(["pack", path, "--format", "flashinfer", "-o", "again.json"]).expect(0);
        assert_eq!(
            fs::read(sandbox.path("again.json")).unwrap(),
            fs::read(sandbox.path("solution.json")).unwrap()
        );
    }
}

#[test]
fn inspect_names_digest_solution_and_sources() {
    let sandbox = Sandbox::new();
    sandbox.submission("folder", FILES);
    let json = sandbox.run(["inspect", "folder", "--json"]).expect(0).json();
    assert_eq!(json["schema"], "proofmark.inspect");
    assert_eq!(json["solution"]["name"], "sample");
    assert_eq!(json["target"]["arch"], "sm_100a");
    let paths: Vec<_> =
        json["sources"].as_array().unwrap().iter().map(|source| source["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["binding.py", "kernel.cu", "tiles/mma.cuh"]);
    for source in json["sources"].as_array().unwrap() {
        assert_eq!(source["sha256"].as_str().unwrap().len(), 64);
    }
}

#[test]
fn diff_shows_what_changed_and_says_so_by_exit_code() {
    let sandbox = Sandbox::new();
    sandbox.submission("a", FILES);
    sandbox.submission("b", FILES);
    sandbox.write("b/kernel.cu", "#include \"tiles/mma.cuh\"\n// faster\n");
    sandbox.write("b/config.toml", format!("{CONFIG}[target]\narch = \"sm_90a\"\n"));
    let outcome = sandbox.run(["diff", "a", "b"]).expect(1);
    for part in ["target.arch: \"sm_100a\" → \"sm_90a\"", "-// run", "+// faster"] {
        assert!(outcome.stdout.contains(part), "{part} not in {}", outcome.stdout);
    }
    let json = sandbox.run(["diff", "a", "b", "--json"]).expect(1).json();
    assert_eq!(json["fields"][0]["field"], "target.arch");
    assert_eq!(json["texts"][0]["change"], "changed");
}

#[test]
fn a_folder_of_several_packs_each_or_the_one_named() {
    let sandbox = Sandbox::new();
    for name in ["alpha", "beta"] {
        sandbox.write(
            format!("all/{name}/config.toml"),
            CONFIG.replace("sample_definition", name).replace("\"sample\"", &format!("\"{name}\"")),
        );
        sandbox.write(format!("all/{name}/kernel.cu"), "// run\n");
    }
    let json = sandbox.run(["pack", "all", "-o", "out", "--json"]).expect(0).json();
    assert_eq!(json["packed"].as_array().unwrap().len(), 2);
    assert_eq!(fs::read_dir(sandbox.path("out")).unwrap().count(), 2);
    sandbox.run(["pack", "all", "--definition", "beta", "-o", "beta.zip"]).expect(0);
    assert_eq!(
        sandbox.run(["inspect", "beta.zip", "--json"]).expect(0).json()["solution"]["definition"],
        "beta"
    );
    let several = sandbox.run(["inspect", "all"]).expect(2);
    assert!(several.stderr.contains("holds 2 submissions: alpha, beta"), "{}", several.stderr);
    sandbox.run(["pack", "all", "--definition", "gamma"]).expect(2);
}

/// A task folder: definition, workloads, a reference, and one submission.
fn task_folder(sandbox: &Sandbox) {
    for name in ["reference", "fast"] {
        let config = CONFIG.replace("\"sample\"", &format!("\"{name}\""));
        sandbox.write(format!("task/{name}/config.toml"), config);
        sandbox.write(format!("task/{name}/kernel.cu"), format!("// {name}: run\n"));
    }
    sandbox.write("task/definition.json", "{\"name\": \"sample_definition\"}");
    sandbox.write("task/workloads.jsonl", "{\"definition\": \"sample_definition\"}\n");
}

#[test]
fn the_reference_of_a_task_folder_travels_in_the_artifact_and_back_into_a_folder() {
    let sandbox = Sandbox::new();
    task_folder(&sandbox);
    let inspect = |path: &str| sandbox.run(["inspect", path, "--json"]).expect(0).json();
    sandbox.run(["pack", "task", "-o", "out.zip"]).expect(0);
    let artifact = inspect("out.zip");
    assert_eq!(artifact["reference"]["solution"]["name"], "reference");
    assert_eq!(artifact["reference"]["digest"], inspect("task/reference")["digest"]);
    assert_eq!(artifact["digest"], inspect("task/fast")["digest"]);
    assert!(artifact["definition"].is_object() && artifact["workloads"].is_object());
    let unpacked = sandbox.run(["unpack", "out.zip", "-o", "again", "--json"]).expect(0).json();
    assert_eq!(unpacked["packs_to_same_digest"], true, "{unpacked}");
    assert_eq!(unpacked["submission"], "again/fast");
    sandbox.run(["pack", "again", "-o", "again.zip"]).expect(0);
    assert_eq!(fs::read(sandbox.path("out.zip")).unwrap(), fs::read(sandbox.path("again.zip")).unwrap());
    // Another reference is another artifact, and the diff says what of it changed.
    sandbox.write("task/reference/kernel.cu", "// changed: run\n");
    let outcome = sandbox.run(["diff", "out.zip", "task"]).expect(1);
    for part in ["in the reference:", "-// reference: run", "+// changed: run"] {
        assert!(outcome.stdout.contains(part), "{part} not in {}", outcome.stdout);
    }
}

#[test]
fn the_contests_file_is_the_same_with_and_without_a_task_folder() {
    let sandbox = Sandbox::new();
    task_folder(&sandbox);
    sandbox.run(["pack", "task/fast", "--format", "flashinfer", "-o", "inside.json"]).expect(0);
    fs::rename(sandbox.path("task/fast"), sandbox.path("alone")).unwrap();
    sandbox.run(["pack", "alone", "--format", "flashinfer", "-o", "alone.json"]).expect(0);
    assert_eq!(fs::read(sandbox.path("inside.json")).unwrap(), fs::read(sandbox.path("alone.json")).unwrap());
}

#[test]
fn every_broken_rule_is_reported_at_once_and_nothing_is_written() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "bad/config.toml",
        "[solution]\nname = \"\"\n[build]\nlanguage = \"cuda\"\nentry_point = \"kernel\"\n",
    );
    sandbox.write("bad/kernel.cu", "#include \"../outside.h\"\n");
    let before = sandbox.files();
    let outcome = sandbox.run(["pack", "bad", "-o", "out.zip"]).expect(2);
    for part in [
        "`solution.name`",
        "`solution.definition`",
        "`solution.author`",
        "entry point `kernel`",
        "kernel.cu:1",
    ] {
        assert!(outcome.stderr.contains(part), "{part} not in {}", outcome.stderr);
    }
    assert_eq!(sandbox.files(), before);
}

#[test]
fn new_scaffolds_a_submission_that_packs_with_the_definitions_arguments() {
    let sandbox = Sandbox::new();
    let definition = repository().join("kernels/gdn_decode_qk4_v8_d128_k_last/definition.json");
    let definition = definition.to_str().unwrap();
    sandbox.run(["new", definition, "-o", "mine", "--arch", "sm_90a"]).expect(0);
    let kernel = fs::read_to_string(sandbox.path("mine/solution/cuda/kernel.cu")).unwrap();
    for part in ["Optional<tvm::ffi::TensorView> state_", "double scale_", "new_state_) {"] {
        assert!(kernel.contains(part), "{part} not in {kernel}");
    }
    let json = sandbox.run(["inspect", "mine", "--json"]).expect(0).json();
    assert_eq!(json["target"]["arch"], "sm_90a");
    assert!(json["workloads"].is_object(), "the workloads beside the definition come along");
    let unknown = sandbox.run(["new", "anything"]).expect(0);
    assert!(
        unknown.stderr.contains("\"anything\" is not known here: the kernel takes one input"),
        "{unknown:?}"
    );
    let packed = sandbox.run(["pack", "anything"]).expect(0);
    assert!(!packed.stderr.contains("note"), "{}", packed.stderr);
    let again = sandbox.run(["new", "anything"]).expect(2);
    assert!(again.stderr.contains("not empty"), "{}", again.stderr);
}

#[test]
fn target_edits_keep_comments() {
    let sandbox = Sandbox::new();
    sandbox.submission("folder", FILES);
    sandbox.write(
        "folder/config.toml",
        format!("# mine\n{CONFIG}\n[target] # ours\narch = \"sm_90a\" # exact\n"),
    );
    sandbox.run(["target", "folder", "--arch", "sm_103a", "--nvcc-flag=-use_fast_math"]).expect(0);
    let text = fs::read_to_string(sandbox.path("folder/config.toml")).unwrap();
    for part in ["# mine", "[target] # ours", "arch = \"sm_103a\" # exact", "-use_fast_math"] {
        assert!(text.contains(part), "{part} not in {text}");
    }
    sandbox.run(["target", "folder", "--arch", "103a"]).expect(2);
}

#[test]
fn target_repairs_follows_a_link_and_keeps_crlf() {
    let sandbox = Sandbox::new();
    sandbox.submission("folder", FILES);
    let text = format!("{CONFIG}[target]\narch = \"100a\"\n").replace('\n', "\r\n");
    sandbox.write("folder/shared/mine.toml", &text);
    let link = sandbox.path("folder/config.toml");
    fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink("shared/mine.toml", &link).unwrap();
    sandbox.run(["target", "folder"]).expect(2);
    sandbox.run(["target", "folder", "--arch", "sm_90a"]).expect(0);
    assert!(link.is_symlink());
    assert_eq!(fs::read_to_string(&link).unwrap(), text.replace("100a", "sm_90a"));
    let json = sandbox.run(["inspect", "folder", "--json"]).expect(0).json();
    assert_eq!(json["target"]["arch"], "sm_90a");
    sandbox.run(["target", "nowhere"]).expect(2);
}

#[test]
fn the_help_of_pack_lists_the_rules_that_a_refusal_points_to() {
    let sandbox = Sandbox::new();
    let help = sandbox.run(["pack", "--help"]).expect(0).stdout;
    for part in ["[solution]", "entry_point", "control characters", "links", "UTF-8", "differ only in case"] {
        assert!(help.contains(part), "{part} not in {help}");
    }
}

#[test]
fn an_output_that_cannot_be_written_is_an_error_and_leaves_nothing() {
    let sandbox = Sandbox::new();
    sandbox.submission("folder", FILES);
    let before = sandbox.files();
    sandbox.run(["pack", "folder", "-o", "no/such/folder/out.zip"]).expect(2);
    sandbox.run(["unpack", "folder", "-o", "folder"]).expect(2);
    assert_eq!(sandbox.files(), before);
}

#[test]
fn a_sealed_artifact_is_not_replaced_by_a_packed_one() {
    let sandbox = Sandbox::new();
    let kernel = repository().join("kernels/rmsnorm_h4096/block_per_row").display().to_string();
    let sealed = fs::read(repository().join("solutions/rmsnorm-e3bbbc890b80.zip")).unwrap();
    sandbox.write("out.zip", &sealed);
    let refused = sandbox.run(["pack", &kernel, "-o", "out.zip"]).expect(2);
    assert!(refused.stderr.contains("out.zip is a sealed artifact"), "{}", refused.stderr);
    assert_eq!(fs::read(sandbox.path("out.zip")).unwrap(), sealed);
    let other = repository().join("solutions/rmsnorm_reference-61ab62d0ffdb.zip").display().to_string();
    sandbox.run(["pack", &other, "-o", "out.zip"]).expect(2);
    sandbox.run(["pack", "out.zip", "--format", "flashinfer", "-o", "out.zip"]).expect(2);
    assert_eq!(fs::read(sandbox.path("out.zip")).unwrap(), sealed);
    // Nothing is written over what is read; from the submission a packed artifact can be packed anew.
    sandbox.run(["pack", "out.zip", "-o", "out.zip"]).expect(2);
    assert_eq!(fs::read(sandbox.path("out.zip")).unwrap(), sealed);
    for _ in 0..2 {
        sandbox.run(["pack", &kernel, "-o", "packed.zip"]).expect(0);
    }
}

#[test]
fn the_name_of_the_output_says_the_format_where_none_is_named() {
    let sandbox = Sandbox::new();
    sandbox.submission("folder", FILES);
    sandbox.run(["pack", "folder", "-o", "by-name.json"]).expect(0);
    sandbox.run(["pack", "folder", "--format", "flashinfer", "-o", "named.json"]).expect(0);
    sandbox.run(["pack", "folder", "--format", "zip", "-o", "zip.json"]).expect(0);
    let read = |name: &str| fs::read(sandbox.path(name)).unwrap();
    assert_eq!(read("by-name.json"), read("named.json"));
    assert!(read("zip.json").starts_with(b"PK"));
}

#[test]
fn inspect_shows_how_it_is_called_and_what_was_measured() {
    let sandbox = Sandbox::new();
    let folder = sandbox.submission("folder", FILES);
    let shown = sandbox.run(["inspect", "folder"]).expect(0).stdout;
    assert!(shown.contains("binding      tvm-ffi, as none is named"), "{shown}");
    assert!(shown.contains("outputs      passed in as the last arguments"), "{shown}");
    fs::write(
        folder.join("config.toml"),
        format!("{CONFIG}binding = \"torch\"\ndestination_passing_style = false\n"),
    )
    .unwrap();
    let shown = sandbox.run(["inspect", "folder"]).expect(0).stdout;
    assert!(shown.contains("binding      torch") && shown.contains("outputs      returned"), "{shown}");
    let sealed = repository().join("solutions/gdn_decode-0c1bddef06c8-sm_90a-h200.zip");
    let sealed = sealed.to_str().unwrap();
    let json = sandbox.run(["inspect", sealed, "--json"]).expect(0).json();
    let summary = &json["evidence"]["sealed"];
    let figures = summary["figures"].as_array().unwrap();
    assert_eq!(figures.len() as u64, summary["measured_workloads"].as_u64().unwrap());
    assert!(figures.iter().all(|figure| figure["median_us"].as_f64().unwrap() > 0.0));
    let shown = sandbox.run(["inspect", sealed]).expect(0).stdout;
    let mean = format!("workloads, {:.3} µs on average", summary["mean_us"].as_f64().unwrap());
    assert!(shown.contains(&mean) && shown.contains("batch_size="), "{shown}");
}

#[test]
fn a_dash_writes_the_artifact_to_stdout_and_nothing_else() {
    let sandbox = Sandbox::new();
    sandbox.submission("folder", FILES);
    sandbox.run(["pack", "folder", "-o", "file.zip"]).expect(0);
    let piped = sandbox.command().args(["pack", "folder", "-o", "-"]).output().unwrap();
    assert_eq!(piped.stdout, fs::read(sandbox.path("file.zip")).unwrap());
}

#[test]
fn unpack_says_whether_the_folder_packs_to_the_same_digest() {
    let sandbox = Sandbox::new();
    sandbox.submission("folder", FILES);
    let same = sandbox.run(["unpack", "folder", "-o", "same", "--json"]).expect(0).json();
    assert_eq!((&same["packs_to_same_digest"], same["losses"].as_array().unwrap().len()), (&true.into(), 0));
    sandbox.run(["pack", "folder", "--format", "flashinfer", "-o", "solution.json"]).expect(0);
    let text = fs::read_to_string(sandbox.path("solution.json")).unwrap();
    sandbox.write("foreign.json", text.replacen('{', "{\"extra\": 1,", 1));
    let other = sandbox.run(["unpack", "foreign.json", "-o", "other", "--json"]).expect(0).json();
    assert_eq!(other["packs_to_same_digest"], false);
    assert!(other["losses"][0].as_str().unwrap().contains("`extra`"), "{other}");
    let told = sandbox.run(["unpack", "foreign.json", "-o", "told"]).expect(0);
    assert!(told.stdout.contains("packs to another digest:\n  `extra`"), "{}", told.stdout);
}

#[test]
fn diff_tells_one_artifact_with_two_orders_of_sources() {
    let sandbox = Sandbox::new();
    sandbox.submission("folder", FILES);
    sandbox.run(["pack", "folder", "--format", "flashinfer", "-o", "a.json"]).expect(0);
    let mut solution: serde_json::Value =
        serde_json::from_slice(&fs::read(sandbox.path("a.json")).unwrap()).unwrap();
    solution["sources"].as_array_mut().unwrap().reverse();
    sandbox.write("b.json", solution.to_string());
    let outcome = sandbox.run(["diff", "a.json", "b.json"]).expect(0);
    for part in ["the same artifact", "order of sources", "FlashInfer hashes differ"] {
        assert!(outcome.stdout.contains(part), "{part} not in {}", outcome.stdout);
    }
    let json = sandbox.run(["diff", "a.json", "b.json", "--json"]).expect(0).json();
    assert_eq!(json["source_order_differs"], true);
}

#[test]
fn new_refuses_names_that_are_no_folder_and_outputs_that_are_no_tensors() {
    let sandbox = Sandbox::new();
    let before = sandbox.files();
    for name in ["..", "../up", "/tmp/x", "a/b", ".", "a/"] {
        let outcome = sandbox.run(["new", name]).expect(2);
        let is_path = ["is a folder, and no problem's", "nothing stands at"];
        assert!(is_path.iter().any(|said| outcome.stderr.contains(said)), "{}", outcome.stderr);
    }
    let empty = sandbox.run(["new", ""]).expect(2);
    assert!(empty.stderr.contains("DEFINITION is empty"), "{}", empty.stderr);
    sandbox.run(["new", "a/b", "-o", "named"]).expect(2);
    assert_eq!(sandbox.files(), before);
    let path = repository().join("kernels/gdn_decode_qk4_v8_d128_k_last/definition.json");
    let mut definition: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    definition["outputs"]["output"]["shape"] = serde_json::Value::Null;
    sandbox.write("scalar.json", definition.to_string());
    let outcome = sandbox.run(["new", "scalar.json", "-o", "scalar"]).expect(2);
    assert!(outcome.stderr.contains("scalars (\"output\")"), "{}", outcome.stderr);
    assert!(!sandbox.path("scalar").exists());
}
