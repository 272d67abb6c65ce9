//! What is to be computed: a definition, its workloads, and where their captured tensors lie.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use proofmark_packager::Artifact;
use proofmark_packager::interop::flashinfer::{Dataset, DatasetError, Definition, Trace, Workload, dataset};

use super::console::Console;
use super::failure::Failure;
use super::input;

/// Which task.
#[derive(Debug, Args)]
pub struct TaskOptions {
    /// A FlashInfer-Bench data set, with definitions/, workloads/ and captured tensors in it. What it
    /// holds of the submission's definition goes before what the submission brings [default:
    /// $FIB_DATASET_PATH].
    #[arg(long, value_name = "DIR")]
    pub dataset: Option<PathBuf>,
    /// The definition's file [default: the data set's, else definition.json beside the submission].
    #[arg(long, value_name = "FILE")]
    pub definition: Option<PathBuf>,
    /// Workloads, one JSON document a line [default: the data set's, else workloads.jsonl beside the
    /// definition].
    #[arg(long, value_name = "FILE")]
    pub workloads: Option<PathBuf>,
    /// Only workloads whose first variable axis has one of these values, such as `1,8,64`.
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    pub batch: Vec<u64>,
    /// At most this many workloads of each axis value.
    #[arg(long, value_name = "N")]
    pub each: Option<usize>,
    /// Folder that the paths of captured tensors start from [default: the data set, else the folder
    /// of the definition or the submission].
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

/// What a submission says of its task itself; a bare library says nothing.
#[derive(Debug, Clone, Default)]
pub struct Brought {
    /// The name of its definition.
    pub name: Option<String>,
    /// The text of its definition.
    pub definition: Option<String>,
    /// The text of its workloads.
    pub workloads: Option<String>,
}

impl Brought {
    /// What an artifact brings.
    pub fn of(artifact: &Artifact) -> Self {
        Self {
            name: Some(artifact.manifest().solution.definition.clone()),
            definition: artifact.definition().map(str::to_owned),
            workloads: artifact.workloads().map(str::to_owned),
        }
    }
}

/// What is to be computed.
#[derive(Debug)]
pub struct Task {
    /// The operator.
    pub definition: Definition,
    /// What was chosen of its workloads, at least one.
    pub workloads: Vec<Workload>,
    /// The folder that the paths of captured tensors start from.
    pub data_root: PathBuf,
}

impl TaskOptions {
    /// Whether the request says where definition and workloads are.
    pub fn is_named(&self) -> bool {
        self.dataset.is_some() || self.definition.is_some() || input::dataset_variable().is_some()
    }

    /// The task of a submission at `place`.
    pub fn task(&self, place: &Path, brought: &Brought, console: &Console) -> Result<Task, Failure> {
        let name = match (&self.definition, &brought.name) {
            (Some(path), _) => dataset::read_definition(path).map_err(Failure::request)?.name().to_owned(),
            (None, Some(name)) => name.clone(),
            (None, None) => {
                return Err(Failure::request("no definition is known for this library")
                    .hint("name it with --definition FILE"));
            }
        };
        let dataset = self.dataset_with(&name, brought.definition.is_some(), console)?;
        let definition = self.read_definition(&name, brought, dataset.as_ref())?;
        let all = self.read_workloads(&definition, brought, dataset.as_ref())?;
        let workloads = self.choose(&definition, all);
        if workloads.is_empty() {
            return Err(Failure::request(format!("no workload of {name} was chosen"))
                .hint("--batch picks by the first variable axis, --workloads and --dataset name others"));
        }
        let data_root = self.data_root(place, dataset.as_ref());
        Ok(Task { definition, workloads, data_root })
    }

    /// The data set, if one is named and holds that definition; without it, what the submission
    /// brings must do.
    fn dataset_with(
        &self,
        name: &str,
        brings_its_own: bool,
        console: &Console,
    ) -> Result<Option<Dataset>, Failure> {
        let Some(dataset) = input::dataset(self.dataset.as_deref())? else { return Ok(None) };
        match dataset.definition(name) {
            Ok(_) => Ok(Some(dataset)),
            Err(error @ DatasetError::UnknownDefinition { .. })
                if brings_its_own || self.definition.is_some() =>
            {
                console.say(format!("note: {error}: the submission's own is used"));
                Ok(None)
            }
            Err(error) => Err(Failure::request(error)),
        }
    }

    fn read_definition(
        &self,
        name: &str,
        brought: &Brought,
        dataset: Option<&Dataset>,
    ) -> Result<Definition, Failure> {
        match (&self.definition, dataset, &brought.definition) {
            (Some(path), ..) => dataset::read_definition(path).map_err(Failure::request),
            (None, Some(dataset), _) => dataset.definition(name).cloned().map_err(Failure::request),
            (None, None, Some(text)) => Definition::from_json(text).map_err(Failure::request),
            (None, None, None) => Err(Failure::request(format!("the definition {name} is not known"))
                .hint("name its file with --definition, or a data set with --dataset")),
        }
    }

    fn read_workloads(
        &self,
        definition: &Definition,
        brought: &Brought,
        dataset: Option<&Dataset>,
    ) -> Result<Vec<Workload>, Failure> {
        let beside = self.definition.as_ref().map(|path| path.with_file_name("workloads.jsonl"));
        let traces = match (&self.workloads, dataset, &brought.workloads, beside) {
            (Some(path), ..) => dataset::read_traces(path).map_err(Failure::request)?,
            (None, Some(dataset), ..) => {
                return dataset.workloads(definition.name()).map_err(Failure::request);
            }
            (None, None, Some(text), _) => {
                let lines = text.lines().filter(|line| !line.trim().is_empty());
                lines.map(Trace::from_json).collect::<Result<_, _>>().map_err(Failure::request)?
            }
            (None, None, None, Some(path)) => dataset::read_traces(&path).map_err(Failure::request)?,
            (None, None, None, None) => {
                return Err(Failure::request("no workloads are known")
                    .hint("name them with --workloads FILE, or a data set with --dataset"));
            }
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
            .filter(|workload| self.batch.is_empty() || self.batch.contains(&value(workload)))
            .filter(|workload| {
                let count = taken.entry(value(workload)).or_default();
                *count += 1;
                self.each.is_none_or(|each| *count <= each)
            })
            .collect()
    }

    fn data_root(&self, place: &Path, dataset: Option<&Dataset>) -> PathBuf {
        let folder = |file: &Path| file.parent().map_or_else(PathBuf::new, Path::to_owned);
        match (&self.data, dataset, self.definition.as_ref().or(self.workloads.as_ref())) {
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
    use crate::cli::console::Format;

    const DEFINITION: &str = r#"{"name": "double", "op_type": "elementwise",
        "axes": {"n": {"type": "var"}}, "inputs": {"x": {"shape": ["n"], "dtype": "float32"}},
        "outputs": {"y": {"shape": ["n"], "dtype": "float32"}}, "reference": "def run(x):\n    return 2 * x\n"}"#;

    fn line(definition: &str, uuid: &str, n: u32, input: &str) -> String {
        format!(
            r#"{{"definition": "{definition}", "workload": {{"axes": {{"n": {n}}}, "inputs": {{"x": {input}}}, "uuid": "{uuid}"}}}}"#
        )
    }

    fn brought(definition: Option<&str>, workloads: Option<String>) -> Brought {
        Brought { name: Some("double".to_owned()), definition: definition.map(str::to_owned), workloads }
    }

    fn nothing() -> TaskOptions {
        TaskOptions {
            dataset: None,
            definition: None,
            workloads: None,
            batch: Vec::new(),
            each: None,
            data: None,
        }
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

    fn uuids(task: &Task) -> Vec<&str> {
        task.workloads.iter().map(Workload::uuid).collect()
    }

    #[test]
    fn a_data_set_gives_definition_workloads_and_captured_tensors_to_a_kit_folder_without_any() {
        let root = dataset();
        let options = TaskOptions { dataset: Some(root.path().to_owned()), ..nothing() };
        let console = Console::new(Format::Human);
        let task = options.task(Path::new("kit"), &brought(None, None), &console).unwrap();
        assert_eq!((uuids(&task), task.data_root.as_path()), (vec!["a", "b"], root.path()));
        let options = TaskOptions { batch: vec![8], ..options };
        let own = line("double", "own", 4, "{}");
        let task = options.task(Path::new("kit"), &brought(Some(DEFINITION), Some(own)), &console).unwrap();
        assert_eq!(uuids(&task), ["b"], "the data set goes before what the submission brings");
    }

    #[test]
    fn a_data_set_without_the_definition_leaves_it_to_the_submission_or_is_refused() {
        let root = dataset();
        std::fs::remove_dir_all(root.path().join("definitions/elementwise")).unwrap();
        let options = TaskOptions { dataset: Some(root.path().to_owned()), ..nothing() };
        let console = Console::new(Format::Human);
        let own = line("double", "own", 4, "{}");
        let task =
            options.task(Path::new("/s/x.zip"), &brought(Some(DEFINITION), Some(own)), &console).unwrap();
        assert_eq!((uuids(&task), task.data_root.as_path()), (vec!["own"], Path::new("/s")));
        let refused = options.task(Path::new("kit"), &brought(None, None), &console).unwrap_err();
        assert!(refused.to_string().contains("double"), "{refused}");
    }

    #[test]
    fn lines_of_other_definitions_do_not_count_and_an_empty_choice_is_refused() {
        let text = [line("double", "a", 4, "{}"), line("triple", "b", 4, "{}")].join("\n");
        let (brought, console) = (brought(Some(DEFINITION), Some(text)), Console::new(Format::Human));
        assert_eq!(uuids(&nothing().task(Path::new("kit"), &brought, &console).unwrap()), ["a"]);
        let none = TaskOptions { batch: vec![5], ..nothing() };
        assert!(none.task(Path::new("kit"), &brought, &console).unwrap_err().to_string().contains("chosen"));
    }
}
