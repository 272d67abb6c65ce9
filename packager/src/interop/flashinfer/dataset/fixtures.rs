//! Small data sets that tests write.

use std::fs;

pub(super) const DEFINITION: &str = r#"{"name": "double", "op_type": "toy", "axes": {"n": {}},
    "inputs": {"x": {"shape": ["n"], "dtype": "float32"}},
    "outputs": {"y": {"shape": ["n"], "dtype": "float32"}}, "reference": "def run(x): return 2 * x"}"#;

pub(super) fn dataset(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

pub(super) fn workload_line(definition: &str, uuid: &str) -> String {
    format!(
        r#"{{"definition": "{definition}", "workload": {{"uuid": "{uuid}", "axes": {{"n": 2}}, "inputs": {{}}}}}}"#
    )
}
