//! Adds evaluated traces to a data set.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::TRACES;
use super::error::DatasetError;
use crate::interop::flashinfer::definition::Definition;
use crate::interop::flashinfer::trace::Trace;

/// Largest number of bytes of an author's or operator's name in a path.
const NAME_LENGTH_BYTES: usize = 100;

/// Where an author's traces of a definition belong under a data set's root. Names from a
/// submission cannot lead elsewhere: each becomes one plain path component.
#[must_use]
pub fn trace_path(root: &Path, author: &str, definition: &Definition) -> PathBuf {
    let file = format!("{}.jsonl", path_component(definition.name()));
    root.join(TRACES).join(path_component(author)).join(path_component(definition.op_type())).join(file)
}

/// Appends evaluated traces to the author's file under a data set's root, which their reader finds
/// there, and says which file that is. The lines are written at once, so that two writers do not
/// mix theirs.
pub fn append_traces(
    root: &Path,
    author: &str,
    definition: &Definition,
    traces: &[Trace],
) -> Result<PathBuf, DatasetError> {
    let path = trace_path(root, author, definition);
    let lines: String = traces.iter().map(|trace| trace.to_line() + "\n").collect();
    let append = || {
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        let mut file = fs::OpenOptions::new().append(true).create(true).open(&path)?;
        file.write_all(lines.as_bytes())
    };
    match append() {
        Ok(()) => Ok(path),
        Err(source) => Err(DatasetError::Write { path, source }),
    }
}

/// Makes one harmless path component of a name: letters, digits, `-`, `_` and inner dots stay.
fn path_component(name: &str) -> String {
    let plain = |letter: char| {
        if letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.') { letter } else { '_' }
    };
    let text: String = name.chars().map(plain).take(NAME_LENGTH_BYTES).collect();
    let text = text.trim_matches('.');
    if text.is_empty() { "unnamed".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::super::Dataset;
    use super::super::fixtures::{DEFINITION, dataset, workload_line};
    use super::*;

    #[test]
    fn appended_traces_are_found_again_and_stay_below_the_root() {
        let folder = dataset(&[("definitions/a.json", DEFINITION)]);
        let dataset = Dataset::open(folder.path()).unwrap();
        let definition = dataset.definition("double").unwrap();
        let line = workload_line("double", "a").replacen('{', r#"{"solution": "mine", "#, 1);
        let trace = Trace::from_json(&line).unwrap();
        for _ in 0..2 {
            let path =
                append_traces(folder.path(), "../me", definition, std::slice::from_ref(&trace)).unwrap();
            assert!(path.starts_with(folder.path().join("traces")), "{path:?}");
        }
        assert_eq!(dataset.traces("double").unwrap(), [trace.clone(), trace]);
    }

    #[test]
    fn an_authors_name_never_leads_out_of_the_data_set() {
        let definition = Definition::from_json(DEFINITION).unwrap();
        for (author, component) in [
            ("../../etc", "_.._etc"),
            ("..", "unnamed"),
            ("/root", "_root"),
            ("", "unnamed"),
            ("ok-team_1", "ok-team_1"),
            ("a\0b", "a_b"),
        ] {
            let path = trace_path(Path::new("/data"), author, &definition);
            assert_eq!(path, Path::new("/data/traces").join(component).join("toy/double.jsonl"));
        }
    }
}
