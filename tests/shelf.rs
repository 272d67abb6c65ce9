//! Replaying a shelf: one row each, one bad artifact ends nothing, and what was done is not done again.

use std::fs;

use serde_json::Value;

use crate::support::{Sandbox, repository};

const KERNEL: &str = "#include <tvm/ffi/c_api.h>\nextern \"C\" TVM_FFI_DLL_EXPORT int __tvm_ffi_run(void*, const TVMFFIAny*, int32_t, TVMFFIAny*) { return 0; }\n";

/// A shelf of one that replays, one that was packed only, one that is damaged.
fn shelf() -> Sandbox {
    let sandbox = Sandbox::sharing_builds();
    let name = "rmsnorm_reference-61ab62d0ffdb.zip";
    fs::create_dir(sandbox.path("shelf")).unwrap();
    fs::copy(repository().join("solutions").join(name), sandbox.path("shelf/a.zip")).unwrap();
    sandbox.submission("mine", &[("kernel.cu", KERNEL)]);
    sandbox.run(["pack", "mine", "-o", "shelf/b.zip"]).expect(0);
    sandbox.write("shelf/\u{202e}c.zip", "no zip");
    sandbox
}

fn builds(document: &Value) -> Vec<String> {
    let rows = document["artifacts"].as_array().unwrap();
    rows.iter().map(|row| row["build"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_artifact_has_a_row_and_an_interrupted_replay_goes_on() {
    let sandbox = shelf();
    let arguments = ["replay", "shelf", "--cached", "--no-measure", "--resume", "done.jsonl"];
    let first = sandbox.build(arguments.iter().chain(&["--json"])).json();
    let found = builds(&first);
    assert!(["identical", "device_code"].contains(&found[0].as_str()), "{first:#}");
    assert_eq!(found[1..], ["unsealed", "not judged"]);
    // The same device code in another library is a difference, unless it is said to be enough.
    assert_eq!(first["exit_code"], if found[0] == "identical" { 2 + 1 } else { 1 });
    let rows = fs::read_to_string(sandbox.path("done.jsonl")).unwrap();
    assert_eq!(rows.lines().count(), 3);
    // What was torn counts for nothing, what is finished is not judged again, what failed is.
    let torn = rows.clone() + &rows[..40];
    sandbox.write("done.jsonl", torn);
    let again = sandbox.build(arguments);
    assert!(!again.stderr.contains("a.zip") && again.stderr.contains("c.zip"), "{}", again.stderr);
    assert_eq!(fs::read_to_string(sandbox.path("done.jsonl")).unwrap().lines().count(), 4);
    assert!(
        !again.stdout.contains('\u{202e}') && again.stdout.contains("\\u{202e}c.zip"),
        "{}",
        again.stdout
    );
    // Only what replays is asked about: exit code 0.
    fs::remove_file(sandbox.path("shelf/\u{202e}c.zip")).unwrap();
    sandbox.build(arguments.iter().chain(&["--device-code-suffices"])).expect(0);
    sandbox.write("done.jsonl", "{\"file\": 1}\n");
    sandbox.build(arguments).expect(2);
}
