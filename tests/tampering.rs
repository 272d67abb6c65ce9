//! Evidence and cache entries forged by somebody who can recompute every digest.

use std::fs;
use std::path::Path;

use proofmark_packager::{Bundle, bundle};
use serde_json::{Value, json};

use crate::support::Sandbox;

const KERNEL: &str = "#include <tvm/ffi/c_api.h>\n__global__ void one(float* x) { *x = FACTOR; }\nextern \"C\" TVM_FFI_DLL_EXPORT int __tvm_ffi_run(void*, const TVMFFIAny*, int32_t, TVMFFIAny*) {\n  one<<<1, 1>>>(nullptr);\n  return 0;\n}\n";

fn sealed(sandbox: &Sandbox, name: &str, factor: &str) {
    sandbox.submission(name, &[("kernel.cu", &KERNEL.replace("FACTOR", factor))]);
    sandbox.build(["seal", name, "-o", &format!("{name}.zip")]).expect(0);
}

/// Edits one piece of evidence and seals the artifact again.
fn forge(sandbox: &Sandbox, name: &str, edit: impl Fn(&mut Value)) {
    let Bundle { artifact, evidence } = bundle::read(&fs::read(sandbox.path("one.zip")).unwrap()).unwrap();
    let mut document = serde_json::from_slice(evidence.get(name).unwrap()).unwrap();
    edit(&mut document);
    let evidence = evidence.with(name, serde_json::to_vec(&document).unwrap());
    fs::write(sandbox.path("forged.zip"), bundle::write(&Bundle { artifact, evidence })).unwrap();
}

#[test]
fn forged_evidence_contradicts_the_rebuild() {
    let sandbox = Sandbox::sharing_builds();
    sealed(&sandbox, "one", "1.0f");
    let zeros = "0".repeat(64);
    let contradicted = |expected: &str| {
        let outcome = sandbox.build(["replay", "forged.zip", "--cached"]).expect(2);
        assert!(outcome.stderr.contains(expected), "{expected} not in {}", outcome.stderr);
    };
    forge(&sandbox, "proof.json", |proof| proof["images"] = json!([]));
    contradicted("device images in proof.json");
    forge(&sandbox, "proof.json", |proof| proof["requested"]["images"] = json!([]));
    contradicted("proof.json");
    forge(&sandbox, "build.json", |build| build["device_images"][0]["sha256"] = json!(zeros));
    contradicted("device images");
    forge(&sandbox, "build.json", |build| build["gencode"]["virtual_arch"] = json!("sm_100"));
    contradicted("gencode");
    forge(&sandbox, "build.json", |build| build["artifact"] = json!(zeros));
    contradicted("the artifact in build.json");
    let Bundle { artifact, evidence } = bundle::read(&fs::read(sandbox.path("one.zip")).unwrap()).unwrap();
    let evidence = evidence.with("measurements.jsonl", b"{\"fastest\":\"ever\"}\n".to_vec());
    fs::write(sandbox.path("forged.zip"), bundle::write(&Bundle { artifact, evidence })).unwrap();
    contradicted("measurements.jsonl");
}

#[test]
fn another_library_is_not_excused_by_a_header_of_the_device_compiler() {
    let sandbox = Sandbox::sharing_builds();
    sealed(&sandbox, "one", "1.0f");
    let ones = "1".repeat(64);
    forge(&sandbox, "build.json", |build| build["library"]["sha256"] = json!(ones));
    let bytes = fs::read(sandbox.path("forged.zip")).unwrap();
    fs::write(sandbox.path("one.zip"), &bytes).unwrap();
    forge(&sandbox, "proof.json", |proof| proof["library_digest"] = json!(ones));
    fs::write(sandbox.path("one.zip"), fs::read(sandbox.path("forged.zip")).unwrap()).unwrap();
    let json = sandbox.build(["replay", "one.zip", "--cached", "--json"]).expect(1).json();
    assert_eq!((&json["identical"], &json["comparison"]["sameness"]), (&json!(false), &json!("different")));
    forge(&sandbox, "build.json", |build| {
        let headers = build["dependencies"].as_object_mut().unwrap();
        let cuda = headers.keys().find(|label| label.starts_with("<cuda>/")).unwrap().clone();
        headers[&cuda] = json!(ones);
    });
    sandbox.build(["replay", "forged.zip", "--cached"]).expect(1);
}

#[test]
fn a_forged_library_is_not_excused_by_what_the_evidence_says_of_the_host() {
    let sandbox = Sandbox::new();
    sealed(&sandbox, "one", "1.0f");
    let ones = "1".repeat(64);
    let adopt = || fs::copy(sandbox.path("forged.zip"), sandbox.path("one.zip")).unwrap();
    forge(&sandbox, "build.json", |build| build["library"]["sha256"] = json!(ones));
    adopt();
    forge(&sandbox, "proof.json", |proof| proof["library_digest"] = json!(ones));
    adopt();
    let differs = || {
        let outcome = sandbox.build(["replay", "forged.zip"]).expect(1);
        assert!(outcome.stdout.contains("replayed     different"), "{}", outcome.stdout);
        assert!(!outcome.stdout.lines().any(|line| line.starts_with("replayed     identical")));
        assert!(!outcome.stdout.contains(['\u{1b}', '\u{202e}', '\r']), "{:?}", outcome.stdout);
        let json = sandbox.build(["replay", "forged.zip", "--json"]).expect(1).json();
        assert_eq!(
            (&json["identical"], &json["comparison"]["sameness"]),
            (&json!(false), &json!("different"))
        );
    };
    forge(&sandbox, "build.json", |build| {
        let headers = build["dependencies"].as_object_mut().unwrap();
        let system = headers.keys().find(|label| label.starts_with("<system>/")).unwrap().clone();
        headers[&system] = json!(ones);
    });
    differs();
    let lie = "g++ 99\u{1b}[2K\rreplayed     identical\nreplayed     identical: the same library\u{202e}";
    forge(&sandbox, "build.json", |build| build["toolchain"]["host_compiler"] = json!(lie));
    differs();
    forge(&sandbox, "build.json", |build| {
        build["dependencies"].as_object_mut().unwrap().insert(format!("<system>/{lie}"), json!(ones));
    });
    differs();
}

#[test]
fn a_whole_entry_in_the_place_of_another_is_caught() {
    let sandbox = Sandbox::new();
    for (name, factor) in [("one", "1.0f"), ("two", "2.0f")] {
        sandbox.submission(name, &[("kernel.cu", &KERNEL.replace("FACTOR", factor))]);
    }
    let library = |name: &str| sandbox.build(["build", name, "--json"]).expect(0).json();
    let (one, two) = (library("one"), library("two"));
    let folder = |built: &Value| Path::new(built["library"].as_str().unwrap()).parent().unwrap().to_owned();
    for file in ["library.so", "proof.json"] {
        fs::copy(folder(&two).join(file), folder(&one).join(file)).unwrap();
    }
    let sums: String = ["build.log", "entry.json", "library.so", "proof.json"]
        .map(|file| {
            let content = fs::read(folder(&one).join(file)).unwrap();
            format!("{}  {file}\n", proofmark_packager::Digest::of_bytes(&content))
        })
        .concat();
    fs::write(folder(&one).join("SHA256SUMS"), sums).unwrap();
    let again = library("one");
    assert_eq!(again["miss"]["reason"], "damaged", "{}", again["miss_text"]);
    assert_eq!(again["library_sha256"], one["library_sha256"]);
}

#[test]
fn a_result_that_nobody_named_replaces_nothing() {
    let sandbox = Sandbox::sharing_builds();
    sealed(&sandbox, "one", "1.0f");
    let first = sandbox.build(["seal", "one", "--json"]).expect(0).json();
    let name = first["output"].as_str().unwrap().to_owned();
    let kept = fs::read(sandbox.path(&name)).unwrap();
    sandbox.run(["pack", "one"]).expect(2);
    assert_eq!(fs::read(sandbox.path(&name)).unwrap(), kept);
    let other = sandbox.build(["seal", "one", "--arch", "sm_90a", "--json"]).expect(0).json();
    assert_ne!(other["output"], first["output"]);
    sandbox.write("solution.json", "mine");
    sandbox.run(["pack", "one", "--format", "flashinfer"]).expect(2);
    sandbox.run(["pack", "one", "-o", "one/kernel.cu"]).expect(2);
    assert_eq!(fs::read_to_string(sandbox.path("solution.json")).unwrap(), "mine");
    assert!(fs::read_to_string(sandbox.path("one/kernel.cu")).unwrap().contains("TVM_FFI_DLL_EXPORT"));
    let inspected = sandbox.run(["inspect", &name, "--json"]).expect(0).json();
    assert_eq!(inspected["evidence"]["sealed"]["arch"], "sm_100a");
}

#[test]
fn a_finding_has_the_fields_that_readers_ask_for() {
    let sandbox = Sandbox::new();
    sandbox.submission("one", &[("kernel.cu", "this is not C++\n")]);
    let json = sandbox.build(["build", "one", "--json"]).expect(1).json();
    for field in ["cache", "library", "library_sha256", "proof", "diagnostics"] {
        assert!(json.get(field).is_some(), "{field} is not in {json}");
    }
}
