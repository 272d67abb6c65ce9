//! What is to be computed: a definition, the chosen workloads, and where their captured tensors lie.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proofmark_packager::interop::flashinfer::{
    Dataset, DatasetError, Definition, Invalid, Trace, Workload, dataset,
};
use proofmark_packager::{Artifact, Digest, DigestBuilder};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::measure::judge::{Tolerance, out_of_scope};

/// What is to be computed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// The operator.
    #[serde(serialize_with = "write_definition", deserialize_with = "read_definition")]
    pub definition: Definition,
    /// What was chosen of its workloads, at least one.
    pub workloads: Vec<Workload>,
    /// How far outputs may be off.
    pub tolerance: Tolerance,
    /// The folder that the paths of captured tensors start from, on the machine that runs the job.
    #[serde(serialize_with = "crate::path_text::serialize")]
    pub data_root: PathBuf,
}

impl Task {
    /// The digest of a definition: over its fields as they mean, whatever the file's white space.
    pub fn definition_digest(&self) -> Digest {
        let text = serde_json::to_string(&self.definition).expect("a definition is plain JSON");
        DigestBuilder::new("proofmark/definition/1").text(&text).finish()
    }
}

fn write_definition<S: Serializer>(definition: &Definition, serializer: S) -> Result<S::Ok, S::Error> {
    definition.serialize(serializer)
}

fn read_definition<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Definition, D::Error> {
    let text = Value::deserialize(deserializer)?.to_string();
    Definition::from_json(&text).map_err(serde::de::Error::custom)
}

/// Where a task may come from, beside what the submission brings.
#[derive(Debug, Default)]
pub struct TaskSources {
    /// A data set; what it holds of the submission's definition goes before what the submission brings.
    pub dataset: Option<Dataset>,
    /// The definition's file.
    pub definition: Option<PathBuf>,
    /// The workloads' file, one JSON document a line.
    pub workloads: Option<PathBuf>,
    /// Only workloads whose first variable axis has one of these values; empty for all.
    pub axis_values: Vec<u64>,
    /// At most this many workloads of each axis value.
    pub each: Option<usize>,
    /// The folder that the paths of captured tensors start from.
    pub data_root: Option<PathBuf>,
}

/// Why there is no task.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// A bare library says nothing of its definition.
    #[error("no definition is known for this library")]
    NoName,
    /// Nobody brought the definition.
    #[error("the definition {name} is not known")]
    NoDefinition {
        /// Its name.
        name: String,
    },
    /// Nobody brought workloads.
    #[error("no workloads are known")]
    NoWorkloads,
    /// The choice left none.
    #[error("no workload of {name} was chosen")]
    NothingChosen {
        /// The definition's name.
        name: String,
    },
    /// The element-wise rule cannot judge it.
    #[error("{name} cannot be judged element by element: {reason}")]
    OutOfScope {
        /// The definition's name.
        name: String,
        /// Why.
        reason: &'static str,
    },
    /// A file or data set could not be used.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// What the submission brings is not valid.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

/// What a submission says of its task itself; a bare library says nothing.
#[derive(Debug, Clone, Default)]
struct Brought<'a> {
    name: Option<&'a str>,
    definition: Option<&'a str>,
    workloads: Option<&'a str>,
}

impl<'a> Brought<'a> {
    fn of(artifact: Option<&'a Artifact>) -> Self {
        let Some(artifact) = artifact else { return Self::default() };
        Self {
            name: Some(&artifact.manifest().solution.definition),
            definition: artifact.definition(),
            workloads: artifact.workloads(),
        }
    }
}

impl TaskSources {
    /// The task of a submission, or of a bare library, that stands at `place`. Also returns why a data
    /// set that was named was passed over.
    pub fn task(
        &self,
        artifact: Option<&Artifact>,
        place: &Path,
    ) -> Result<(Task, Option<DatasetError>), TaskError> {
        let brought = Brought::of(artifact);
        let name = match (&self.definition, brought.name) {
            (Some(path), _) => dataset::read_definition(path)?.name().to_owned(),
            (None, Some(name)) => name.to_owned(),
            (None, None) => return Err(TaskError::NoName),
        };
        let (dataset, passed_over) = self.dataset_with(&name, brought.definition.is_some())?;
        let definition = self.read_definition(&name, &brought, dataset)?;
        let workloads = self.choose(&definition, self.read_workloads(&definition, &brought, dataset)?);
        if workloads.is_empty() {
            return Err(TaskError::NothingChosen { name });
        }
        if let Some(reason) = out_of_scope(&definition) {
            return Err(TaskError::OutOfScope { name, reason });
        }
        let tolerance = Tolerance::of(&definition);
        let data_root = self.data_root(place, dataset);
        Ok((Task { definition, workloads, tolerance, data_root }, passed_over))
    }

    /// The data set, if one is named and holds that definition; without it, what the submission brings
    /// must do.
    fn dataset_with(
        &self,
        name: &str,
        brings_its_own: bool,
    ) -> Result<(Option<&Dataset>, Option<DatasetError>), TaskError> {
        let Some(dataset) = &self.dataset else { return Ok((None, None)) };
        match dataset.definition(name) {
            Ok(_) => Ok((Some(dataset), None)),
            Err(error @ DatasetError::UnknownDefinition { .. })
                if brings_its_own || self.definition.is_some() =>
            {
                Ok((None, Some(error)))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn read_definition(
        &self,
        name: &str,
        brought: &Brought<'_>,
        dataset: Option<&Dataset>,
    ) -> Result<Definition, TaskError> {
        match (&self.definition, dataset, brought.definition) {
            (Some(path), ..) => Ok(dataset::read_definition(path)?),
            (None, Some(dataset), _) => Ok(dataset.definition(name)?.clone()),
            (None, None, Some(text)) => Ok(Definition::from_json(text)?),
            (None, None, None) => Err(TaskError::NoDefinition { name: name.to_owned() }),
        }
    }

    fn read_workloads(
        &self,
        definition: &Definition,
        brought: &Brought<'_>,
        dataset: Option<&Dataset>,
    ) -> Result<Vec<Workload>, TaskError> {
        let beside = self.definition.as_ref().map(|path| path.with_file_name("workloads.jsonl"));
        let traces = match (&self.workloads, dataset, brought.workloads, beside) {
            (Some(path), ..) => dataset::read_traces(path)?,
            (None, Some(dataset), ..) => return Ok(dataset.workloads(definition.name())?),
            (None, None, Some(text), _) => {
                let lines = text.lines().filter(|line| !line.trim().is_empty());
                lines.map(Trace::from_json).collect::<Result<_, _>>()?
            }
            (None, None, None, Some(path)) => dataset::read_traces(&path)?,
            (None, None, None, None) => return Err(TaskError::NoWorkloads),
        };
        let solves = |trace: &Trace| trace.definition() == definition.name();
        Ok(traces.into_iter().filter(solves).map(Trace::into_workload).collect())
    }

    fn choose(&self, definition: &Definition, all: Vec<Workload>) -> Vec<Workload> {
        let axis = definition.variable_axes().next().map(str::to_owned);
        let value = |workload: &Workload| {
            axis.as_deref().and_then(|axis| workload.axes().get(axis).copied()).unwrap_or(0)
        };
        let mut taken = BTreeMap::<u64, usize>::new();
        all.into_iter()
            .filter(|workload| self.axis_values.is_empty() || self.axis_values.contains(&value(workload)))
            .filter(|workload| {
                let count = taken.entry(value(workload)).or_default();
                *count += 1;
                self.each.is_none_or(|each| *count <= each)
            })
            .collect()
    }

    fn data_root(&self, place: &Path, dataset: Option<&Dataset>) -> PathBuf {
        let folder = |file: &Path| file.parent().map_or_else(PathBuf::new, Path::to_owned);
        match (&self.data_root, dataset, self.definition.as_ref().or(self.workloads.as_ref())) {
            (Some(folder), ..) => folder.clone(),
            (None, Some(dataset), _) => dataset.root().to_owned(),
            (None, None, Some(file)) => folder(file),
            (None, None, None) if place.is_dir() => place.to_owned(),
            (None, None, None) => folder(place),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proofmark_packager::interop::flashinfer::solution;

    const DEFINITION: &str = r#"{"name": "double", "op_type": "elementwise",
        "axes": {"n": {"type": "var"}}, "inputs": {"x": {"shape": ["n"], "dtype": "float32"}},
        "outputs": {"y": {"shape": ["n"], "dtype": "float32"}}, "reference": "def run(x):\n    return 2 * x\n"}"#;

    fn line(definition: &str, uuid: &str, n: u32, input: &str) -> String {
        format!(
            r#"{{"definition": "{definition}", "workload": {{"axes": {{"n": {n}}}, "inputs": {{"x": {input}}}, "uuid": "{uuid}"}}}}"#
        )
    }

    /// A kit folder's artifact: it names the definition and brings neither it nor workloads.
    fn kit() -> Artifact {
        solution::read(
            r#"{"name":"n","definition":"double","author":"a",
            "spec":{"language":"cuda","target_hardware":["cuda"],"entry_point":"k.cu::run",
            "dependencies":[],"destination_passing_style":true,"binding":null},
            "sources":[{"path":"k.cu","content":"x"}]}"#,
        )
        .unwrap()
    }

    fn dataset() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("definitions/elementwise/double.json", DEFINITION);
        let captured = r#"{"type": "safetensors", "path": "./blob/x.safetensors", "tensor_key": "x"}"#;
        let lines = [line("double", "a", 4, captured), line("double", "b", 8, r#"{"type": "random"}"#)];
        write("workloads/elementwise/double.jsonl", &lines.join("\n"));
        root
    }

    fn files(root: &Path, lines: &[String]) -> TaskSources {
        std::fs::write(root.join("definition.json"), DEFINITION).unwrap();
        std::fs::write(root.join("workloads.jsonl"), lines.join("\n")).unwrap();
        TaskSources { definition: Some(root.join("definition.json")), ..TaskSources::default() }
    }

    fn uuids(task: &Task) -> Vec<&str> {
        task.workloads.iter().map(Workload::uuid).collect()
    }

    #[test]
    fn a_data_set_gives_definition_workloads_and_captured_tensors_to_a_kit_folder_without_any() {
        let root = dataset();
        let sources =
            TaskSources { dataset: Some(Dataset::open(root.path()).unwrap()), ..TaskSources::default() };
        let (task, _) = sources.task(Some(&kit()), Path::new("kit")).unwrap();
        assert_eq!((uuids(&task), task.data_root.as_path()), (vec!["a", "b"], root.path()));
        let sources = TaskSources { axis_values: vec![8], ..sources };
        assert_eq!(uuids(&sources.task(Some(&kit()), Path::new("kit")).unwrap().0), ["b"]);
    }

    #[test]
    fn a_data_set_without_the_definition_is_passed_over_where_a_file_names_it_and_else_refused() {
        let root = dataset();
        std::fs::remove_dir_all(root.path().join("definitions/elementwise")).unwrap();
        let own = tempfile::tempdir().unwrap();
        let sources = files(own.path(), &[line("double", "own", 4, "{}")]);
        let dataset = || Some(Dataset::open(root.path()).unwrap());
        let sources = TaskSources { dataset: dataset(), ..sources };
        let (task, passed_over) = sources.task(Some(&kit()), Path::new("/s/x.zip")).unwrap();
        assert_eq!((uuids(&task), task.data_root.as_path()), (vec!["own"], own.path()));
        assert!(passed_over.unwrap().to_string().contains("double"));
        let sources = TaskSources { dataset: dataset(), ..TaskSources::default() };
        assert!(matches!(sources.task(Some(&kit()), Path::new("kit")), Err(TaskError::Dataset(_))));
    }

    #[test]
    fn lines_of_other_definitions_do_not_count_and_an_empty_choice_is_refused() {
        let own = tempfile::tempdir().unwrap();
        let sources = files(own.path(), &[line("double", "a", 4, "{}"), line("triple", "b", 4, "{}")]);
        assert_eq!(uuids(&sources.task(None, Path::new("kit")).unwrap().0), ["a"]);
        let none = TaskSources { axis_values: vec![5], ..sources };
        assert!(matches!(none.task(None, Path::new("kit")), Err(TaskError::NothingChosen { .. })));
        let nothing = TaskSources::default();
        assert!(matches!(nothing.task(None, Path::new("x.so")), Err(TaskError::NoName)));
        assert!(matches!(nothing.task(Some(&kit()), Path::new("k")), Err(TaskError::NoDefinition { .. })));
    }

    #[test]
    fn a_task_reads_back_and_its_definition_has_one_digest_whatever_its_white_space() {
        let own = tempfile::tempdir().unwrap();
        let sources = files(own.path(), &[line("double", "a", 4, "{}")]);
        let (task, _) = sources.task(None, Path::new("kit")).unwrap();
        let read: Task = serde_json::from_str(&serde_json::to_string(&task).unwrap()).unwrap();
        assert_eq!(read, task);
        let edited = DEFINITION.replace("float32\"}},\n", "float32\"}},   ");
        std::fs::write(own.path().join("definition.json"), edited).unwrap();
        assert_eq!(
            sources.task(None, Path::new("kit")).unwrap().0.definition_digest(),
            task.definition_digest()
        );
        std::fs::write(own.path().join("definition.json"), DEFINITION.replace("2 * x", "3 * x")).unwrap();
        assert_ne!(
            sources.task(None, Path::new("kit")).unwrap().0.definition_digest(),
            task.definition_digest()
        );
    }
}
