//! The folder tree of a data set.
//!
//! ```text
//! definitions/<op_type>/<definition>.json
//! workloads/<op_type>/<definition>.jsonl            one trace a line, workloads alone
//! traces/<author>/<op_type>/<definition>.jsonl      one trace a line, evaluated
//! blob/workloads/<op_type>/<definition>/<definition>_<uuid>.safetensors
//! ```
//!
//! Only contents count, as for their reader: a definition is found by the name inside the file,
//! wherever under `definitions/` the file lies. Unlike their reader, one bad file does not take
//! the rest of the data set down; it is an error when it is the file that was asked for.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::definition::Definition;
use super::trace::Trace;
use super::violation::Invalid;
use super::workload::Workload;

const DEFINITIONS: &str = "definitions";
const WORKLOADS: &str = "workloads";
const TRACES: &str = "traces";

/// Largest number of bytes of an author's or operator's name in a path.
const NAME_LENGTH_BYTES: usize = 100;

/// Why a data set, or a file of it, could not be used.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// The folder has no `definitions/` in it.
    #[error("`{}` is no data set: it has no folder `{DEFINITIONS}`", root.display())]
    NotADataset {
        /// The folder.
        root: PathBuf,
    },
    /// A file or folder could not be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file could not be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A definition's file breaks its format.
    #[error("`{}`", path.display())]
    Definition {
        /// The file.
        path: PathBuf,
        /// Every violation.
        source: Invalid,
    },
    /// A line of a JSONL file breaks its format.
    #[error("`{}`, line {line}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from one.
        line: usize,
        /// Every violation.
        source: Invalid,
    },
    /// No file holds a definition of that name.
    #[error("no definition `{name}` in `{}`: {known} are known{}", root.display(), unreadable(*.unread))]
    UnknownDefinition {
        /// The name asked for.
        name: String,
        /// The data set.
        root: PathBuf,
        /// How many definitions were read.
        known: usize,
        /// How many files could not be.
        unread: usize,
    },
    /// Two files hold a definition of that name.
    #[error("definition `{name}` stands twice: in `{}` and `{}`", first.display(), second.display())]
    DuplicateDefinition {
        /// The name.
        name: String,
        /// One file.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
}

fn unreadable(unread: usize) -> String {
    if unread == 0 { String::new() } else { format!(", {unread} files could not be read") }
}

/// An opened data set: every definition read, workloads and traces read when asked for.
#[derive(Debug)]
pub struct Dataset {
    root: PathBuf,
    definitions: Vec<(PathBuf, Definition)>,
    problems: Vec<DatasetError>,
}

impl Dataset {
    /// Opens the folder that holds `definitions/`.
    pub fn open(root: &Path) -> Result<Self, DatasetError> {
        if !root.join(DEFINITIONS).is_dir() {
            return Err(DatasetError::NotADataset { root: root.to_owned() });
        }
        let (mut definitions, mut problems) = (Vec::new(), Vec::new());
        for path in files_under(&root.join(DEFINITIONS), "json")? {
            match read_definition(&path) {
                Ok(definition) => definitions.push((path, definition)),
                Err(problem) => problems.push(problem),
            }
        }
        Ok(Self { root: root.to_owned(), definitions, problems })
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Every definition, in the order of the files' paths.
    pub fn definitions(&self) -> impl Iterator<Item = &Definition> {
        self.definitions.iter().map(|(_, definition)| definition)
    }

    /// The definition files that could not be used.
    pub fn problems(&self) -> &[DatasetError] {
        &self.problems
    }

    /// The definition of that name.
    pub fn definition(&self, name: &str) -> Result<&Definition, DatasetError> {
        let mut named = self.definitions.iter().filter(|(_, definition)| definition.name() == name);
        let (first, definition) = named.next().ok_or_else(|| DatasetError::UnknownDefinition {
            name: name.to_owned(),
            root: self.root.clone(),
            known: self.definitions.len(),
            unread: self.problems.len(),
        })?;
        match named.next() {
            None => Ok(definition),
            Some((second, _)) => Err(DatasetError::DuplicateDefinition {
                name: name.to_owned(),
                first: first.clone(),
                second: second.clone(),
            }),
        }
    }

    /// The workloads of one definition, in file order.
    pub fn workloads(&self, definition: &str) -> Result<Vec<Workload>, DatasetError> {
        let traces = self.matching_lines(WORKLOADS, definition)?;
        Ok(traces.into_iter().filter(Trace::is_workload).map(Trace::into_workload).collect())
    }

    /// The evaluated traces of one definition, in file order.
    pub fn traces(&self, definition: &str) -> Result<Vec<Trace>, DatasetError> {
        let traces = self.matching_lines(TRACES, definition)?;
        Ok(traces.into_iter().filter(|trace| !trace.is_workload()).collect())
    }

    fn matching_lines(&self, folder: &str, definition: &str) -> Result<Vec<Trace>, DatasetError> {
        let mut matching = Vec::new();
        for path in files_under(&self.root.join(folder), "jsonl")? {
            let text = read_text(&path)?;
            // A file that never spells the name holds no such line; other files' faults are theirs.
            if text.contains(definition) {
                let traces = parse_lines(&path, &text)?;
                matching.extend(traces.into_iter().filter(|trace| trace.definition() == definition));
            }
        }
        Ok(matching)
    }
}

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

/// Reads a definition from a file of its own.
pub fn read_definition(path: &Path) -> Result<Definition, DatasetError> {
    let text = read_text(path)?;
    Definition::from_json(&text).map_err(|source| DatasetError::Definition { path: path.to_owned(), source })
}

/// Reads every trace of a JSONL file; empty lines are skipped.
pub fn read_traces(path: &Path) -> Result<Vec<Trace>, DatasetError> {
    parse_lines(path, &read_text(path)?)
}

fn parse_lines(path: &Path, text: &str) -> Result<Vec<Trace>, DatasetError> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let parse = |(index, line): (usize, &str)| {
        Trace::from_json(line).map_err(|source| DatasetError::Line {
            path: path.to_owned(),
            line: index + 1,
            source,
        })
    };
    lines.map(parse).collect()
}

fn read_text(path: &Path) -> Result<String, DatasetError> {
    fs::read_to_string(path).map_err(|source| DatasetError::Read { path: path.to_owned(), source })
}

/// Every file with that extension, in the order of the paths; a folder that is not there is empty.
fn files_under(folder: &Path, extension: &str) -> Result<Vec<PathBuf>, DatasetError> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut files = Vec::new();
    for entry in WalkDir::new(folder).sort_by_file_name() {
        let entry = entry.map_err(|error| DatasetError::Read {
            path: error.path().unwrap_or(folder).to_owned(),
            source: error.into(),
        })?;
        let matches = entry.path().extension().is_some_and(|found| found == extension);
        if matches && entry.path().is_file() {
            files.push(entry.into_path());
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFINITION: &str = r#"{"name": "double", "op_type": "toy", "axes": {"n": {}},
        "inputs": {"x": {"shape": ["n"], "dtype": "float32"}},
        "outputs": {"y": {"shape": ["n"], "dtype": "float32"}}, "reference": "def run(x): return 2 * x"}"#;

    fn dataset(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    fn workload_line(definition: &str, uuid: &str) -> String {
        format!(
            r#"{{"definition": "{definition}", "workload": {{"uuid": "{uuid}", "axes": {{"n": 2}}, "inputs": {{}}}}}}"#
        )
    }

    #[test]
    fn finds_definitions_and_workloads_by_their_content() {
        let lines = format!("{}\n\n{}\n", workload_line("double", "a"), workload_line("other", "b"));
        let folder = dataset(&[("definitions/x/y/z.json", DEFINITION), ("workloads/toy/any.jsonl", &lines)]);
        let dataset = Dataset::open(folder.path()).unwrap();
        let workloads = dataset.workloads("double").unwrap();
        assert_eq!(workloads.iter().map(Workload::uuid).collect::<Vec<_>>(), ["a"]);
        let shapes = dataset.definition("double").unwrap().shapes(&workloads[0]).unwrap();
        assert_eq!(shapes.traffic_bytes(), 16);
    }

    #[test]
    fn one_bad_file_does_not_hide_the_others() {
        let folder = dataset(&[("definitions/a.json", "{"), ("definitions/b.json", DEFINITION)]);
        let dataset = Dataset::open(folder.path()).unwrap();
        assert!(dataset.definition("double").is_ok());
        assert_eq!(dataset.problems().len(), 1);
        let unknown = dataset.definition("triple").unwrap_err();
        assert!(unknown.to_string().ends_with("1 are known, 1 files could not be read"), "{unknown}");
    }

    #[test]
    fn names_the_line_of_a_bad_workload_and_both_files_of_a_duplicate() {
        let lines = format!("{}\n{{\"definition\": \"double\"}}", workload_line("double", "a"));
        let folder = dataset(&[
            ("definitions/a.json", DEFINITION),
            ("definitions/b.json", DEFINITION),
            ("workloads/a.jsonl", &lines),
        ]);
        let dataset = Dataset::open(folder.path()).unwrap();
        assert!(matches!(dataset.workloads("double"), Err(DatasetError::Line { line: 2, .. })));
        assert!(matches!(dataset.definition("double"), Err(DatasetError::DuplicateDefinition { .. })));
        assert!(matches!(
            Dataset::open(&folder.path().join("workloads")),
            Err(DatasetError::NotADataset { .. })
        ));
    }

    #[test]
    fn the_projects_own_definitions_resolve_at_every_workload() {
        let kernels = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernels");
        let mut resolved = 0;
        for path in files_under(&kernels, "json").unwrap() {
            if path.file_name().is_some_and(|name| name == "definition.json") {
                let definition = read_definition(&path).unwrap();
                let traces = read_traces(&path.with_file_name("workloads.jsonl")).unwrap();
                for trace in &traces {
                    assert_eq!(trace.definition(), definition.name());
                    assert!(definition.shapes(trace.workload()).unwrap().traffic_bytes() > 0);
                }
                resolved += traces.len();
            }
        }
        assert!(resolved >= 54, "{resolved}");
    }

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
