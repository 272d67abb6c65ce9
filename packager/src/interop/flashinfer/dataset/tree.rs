//! An opened data set.

use std::path::{Path, PathBuf};

use super::error::DatasetError;
use super::files::{LARGEST_TRACES_BYTES, files_under, parse_lines, read_definition, read_text};
use super::{DEFINITIONS, TRACES, WORKLOADS};
use crate::interop::flashinfer::definition::Definition;
use crate::interop::flashinfer::trace::Trace;
use crate::interop::flashinfer::workload::Workload;

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
            nearest: self.nearest(name),
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

    /// The definition whose name is most like this one, if any is.
    fn nearest(&self, name: &str) -> Option<String> {
        /// Of names that are less alike, none is meant for the other.
        const LEAST_LIKENESS: f64 = 0.5;
        let names = self.definitions().map(Definition::name);
        let alike = names.map(|known| (strsim::normalized_damerau_levenshtein(known, name), known));
        let nearest = alike.filter(|(likeness, _)| *likeness >= LEAST_LIKENESS);
        nearest.max_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, known)| known.to_owned())
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
            let text = read_text(&path, LARGEST_TRACES_BYTES)?;
            // A file that never spells the name holds no such line; other files' faults are theirs.
            if text.contains(definition) {
                let traces = parse_lines(&path, &text)?;
                matching.extend(traces.into_iter().filter(|trace| trace.definition() == definition));
            }
        }
        Ok(matching)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{DEFINITION, dataset, workload_line};
    use super::*;

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
        let misspelt = dataset.definition("doubel").unwrap_err().to_string();
        assert!(misspelt.contains("1 are known, the nearest is `double`, 1 files"), "{misspelt}");
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
}
