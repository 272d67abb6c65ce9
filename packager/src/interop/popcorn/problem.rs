//! A problem's folder, and a submission to start from.
//!
//! ```text
//! <problem>/
//! ├── task.yml        tests and benchmarks: the arguments of generate_input, limits, the language
//! ├── reference.py    generate_input, ref_kernel, check_implementation
//! └── template.py     optional: where `templates` says
//! ```
//!
//! What `data` holds is known to `generate_input` alone, which is Python: a [`Signature`](super::Signature) says it
//! where the problem is to be measured.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Map, Number, Value};
use yaml_rust2::parser::{EventReceiver, Parser};
use yaml_rust2::{Event, Yaml, YamlLoader};

use super::competition::{self, Listing};
use super::python_entry::ENTRY;
use super::submission;
use crate::escape;
use crate::interop::python;
use crate::interop::violation::{FormatViolation, Invalid};
use crate::target::Arch;

/// The task's file.
pub const TASK_NAME: &str = "task.yml";

/// The file of the reference and the checker.
pub const REFERENCE_NAME: &str = "reference.py";

/// Largest file of a problem that is read, in bytes.
const LARGEST_BYTES: u64 = 1 << 20;

/// Deepest nesting of a task; real ones have three levels.
const MOST_LEVELS: usize = 32;

/// Most files of a task; real ones have five.
const MOST_MODULES: usize = 32;

/// What a reference must define.
const FUNCTIONS: [&str; 2] = ["generate_input", "check_implementation"];

/// A problem.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// The folder's name.
    pub name: String,
    /// What the competition around it says, if there is one.
    pub listing: Option<Listing>,
    /// What is asked for, in words.
    pub description: String,
    /// The arguments of each test.
    pub tests: Vec<Map<String, Value>>,
    /// The arguments of each benchmark.
    pub benchmarks: Vec<Map<String, Value>>,
    /// The reference and the checker.
    pub reference: String,
    /// The Python files that it is made of beside these, by the names of their modules.
    pub modules: Vec<(String, String)>,
    /// The submission that the problem offers to start from.
    pub template: Option<String>,
}

/// Why a folder is no problem.
#[derive(Debug, thiserror::Error)]
pub enum ProblemError {
    /// The file system refused.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file is too large.
    #[error("{} is {found_bytes} bytes: expected at most {LARGEST_BYTES}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        found_bytes: u64,
    },
    /// Rules are broken.
    #[error("{}", folder.display())]
    Invalid {
        /// The folder.
        folder: PathBuf,
        /// Every violation.
        source: Invalid,
    },
}

impl Problem {
    /// The leaderboard's name: what the competition says, else the folder's.
    #[must_use]
    pub fn leaderboard(&self) -> &str {
        self.listing.as_ref().map_or(&self.name, |listing| &listing.leaderboard)
    }

    /// One of its GPUs: that of an architecture, else the first that the competition names.
    #[must_use]
    pub fn gpu(&self, arch: Arch) -> &str {
        let gpus = self.listing.as_ref().map_or(&[][..], |listing| &listing.gpus);
        let own = submission::gpu_of(arch);
        match (gpus, own) {
            ([], own) => own.unwrap_or("GPU"),
            (gpus, Some(own)) if gpus.iter().any(|gpu| gpu == own) => own,
            (gpus, _) => &gpus[0],
        }
    }

    /// Whether a folder looks like a problem.
    pub fn is_at(folder: &Path) -> bool {
        folder.join(TASK_NAME).is_file() && folder.join(REFERENCE_NAME).is_file()
    }

    /// Reads a folder.
    pub fn read(folder: &Path) -> Result<Self, ProblemError> {
        let task = read_text(&folder.join(TASK_NAME))?;
        let reference = read_text(&folder.join(REFERENCE_NAME))?;
        let mut violations = Vec::new();
        let document = parse(&task, &mut violations);
        let name = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        let name = name.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(other) = text(&document, "lang").filter(|lang| *lang != "py") {
            violations.push(FormatViolation::new("lang", "`py`", format!("`{}`", escape::line(other))));
        }
        for function in FUNCTIONS.iter().filter(|function| !python::gives(&reference, function)) {
            violations.push(FormatViolation::new(
                REFERENCE_NAME,
                format!("a top-level `{function}`"),
                "none".to_owned(),
            ));
        }
        let tests = cases(&document, "tests", &mut violations);
        let benchmarks = cases(&document, "benchmarks", &mut violations);
        if !violations.is_empty() {
            let source = Invalid { document: "problem of GPU MODE", violations };
            return Err(ProblemError::Invalid { folder: folder.to_owned(), source });
        }
        let template = text(&document["templates"], "Python").and_then(|path| text_at(folder, path));
        let modules = modules(folder, &document);
        let description = text(&document, "description").unwrap_or_default().trim().to_owned();
        let listing = competition::listing(folder);
        Ok(Self { name, listing, description, tests, benchmarks, reference, modules, template })
    }

    /// A submission to start from: the problem's own, or one that says what is missing.
    #[must_use]
    pub fn scaffold(&self) -> String {
        if let Some(template) = self.template.as_ref().filter(|text| python::gives(text, ENTRY)) {
            return template.clone();
        }
        "import torch\n\n\n# `data` is what generate_input of the problem's reference.py gives.\n\
         def custom_kernel(data):\n    raise NotImplementedError(\"the kernel is not written\")\n"
            .to_owned()
    }
}

pub(super) fn read_text(path: &Path) -> Result<String, ProblemError> {
    let unreadable = |source| ProblemError::Io { path: path.to_owned(), source };
    let found_bytes = fs::metadata(path).map_err(unreadable)?.len();
    if found_bytes > LARGEST_BYTES {
        return Err(ProblemError::TooLarge { path: path.to_owned(), found_bytes });
    }
    fs::read_to_string(path).map_err(unreadable)
}

/// The Python files that the task names, but for the submission and what runs it.
fn modules(folder: &Path, document: &Yaml) -> Vec<(String, String)> {
    const NOT_ITS_OWN: [&str; 3] = ["submission", "eval", "reference"];
    let files = document["files"].as_vec().into_iter().flatten().take(MOST_MODULES);
    let module = |file: &Yaml| {
        let name = text(file, "name")?.strip_suffix(".py").filter(|name| !NOT_ITS_OWN.contains(name))?;
        let is_plain = name.chars().all(|one| one.is_ascii_alphanumeric() || one == '_');
        Some((name.to_owned(), text_at(folder, text(file, "source")?).filter(|_| is_plain)?))
    };
    files.filter_map(module).collect()
}

/// A file that the task names: beside it or one folder up, as their problems have it, and nowhere else.
fn text_at(folder: &Path, path: &str) -> Option<String> {
    let name = path.strip_prefix("../").unwrap_or(path);
    let is_plain = !name.contains(['/', '\\', ':']) && !name.starts_with('.') && !name.is_empty();
    let place = if path.starts_with("../") { folder.join("..").join(name) } else { folder.join(name) };
    is_plain.then(|| read_text(&place).ok()).flatten()
}

/// Notes what could make a small text large or deep.
#[derive(Default)]
struct Shape {
    level: usize,
    deepest: usize,
    has_alias: bool,
}

impl EventReceiver for Shape {
    fn on_event(&mut self, event: Event) {
        match event {
            Event::Alias(_) => self.has_alias = true,
            Event::SequenceStart(..) | Event::MappingStart(..) => {
                self.level += 1;
                self.deepest = self.deepest.max(self.level);
            }
            Event::SequenceEnd | Event::MappingEnd => self.level = self.level.saturating_sub(1),
            _ => {}
        }
    }
}

/// Parses the task; `Yaml::BadValue` where it is none.
pub(super) fn parse(text: &str, violations: &mut Vec<FormatViolation>) -> Yaml {
    let mut refuse = |expected: &str, found: String| {
        violations.push(FormatViolation::new(TASK_NAME, expected, found));
        Yaml::BadValue
    };
    let mut shape = Shape::default();
    if let Err(error) = Parser::new_from_str(text).load(&mut shape, true) {
        return refuse("YAML", escape::line(&error.to_string()));
    }
    if shape.has_alias {
        return refuse("no alias", "one".to_owned());
    }
    if shape.deepest > MOST_LEVELS {
        return refuse("a few levels", shape.deepest.to_string());
    }
    match YamlLoader::load_from_str(text) {
        Ok(mut documents) if documents.len() == 1 && documents[0].as_hash().is_some() => documents.remove(0),
        Ok(documents) => refuse("one mapping", format!("{} documents", documents.len())),
        Err(error) => refuse("YAML", escape::line(&error.to_string())),
    }
}

pub(super) fn text<'y>(document: &'y Yaml, key: &str) -> Option<&'y str> {
    document[key].as_str()
}

/// A list of keyword arguments.
fn cases(document: &Yaml, key: &str, violations: &mut Vec<FormatViolation>) -> Vec<Map<String, Value>> {
    const EXPECTED: &str = "a list of keyword arguments";
    let Some(list) = document[key].as_vec().filter(|list| !list.is_empty()) else {
        if *document != Yaml::BadValue {
            violations.push(FormatViolation::new(key, EXPECTED, "none"));
        }
        return Vec::new();
    };
    let mut cases = Vec::new();
    for (index, case) in list.iter().enumerate() {
        match to_json(case) {
            Some(Value::Object(arguments)) => cases.push(arguments),
            _ => violations.push(FormatViolation::new(format!("{key}.{index}"), EXPECTED, "something else")),
        }
    }
    cases
}

/// The same value as JSON; `None` where JSON has none.
fn to_json(value: &Yaml) -> Option<Value> {
    Some(match value {
        Yaml::Real(_) => Value::Number(Number::from_f64(value.as_f64()?)?),
        Yaml::Integer(number) => Value::from(*number),
        Yaml::String(text) => Value::from(text.as_str()),
        Yaml::Boolean(truth) => Value::from(*truth),
        Yaml::Null => Value::Null,
        Yaml::Array(list) => Value::Array(list.iter().map(to_json).collect::<Option<_>>()?),
        Yaml::Hash(entries) => {
            let entry = |(name, value): (&Yaml, &Yaml)| Some((name.as_str()?.to_owned(), to_json(value)?));
            Value::Object(entries.iter().map(entry).collect::<Option<_>>()?)
        }
        Yaml::Alias(_) | Yaml::BadValue => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: &str = "# a comment\nfiles:\n  - {\"name\": \"submission.py\", \"source\": \"@SUBMISSION@\"}\nlang: \"py\"\n\
                        description: |\n  Add two vectors.\n\n  Both are: float16.\ntemplates:\n  Python: \"../template.py\"\n\
                        tests:\n  - {\"size\": 127, \"seed\": 4242}\n  - {\"size\": 128, \"seed\": 5, \"mode\": \"a\", \"scale\": 0.5}\n\
                        benchmarks:\n  - size: 1024\n    seed: 1\nranking_by: \"geom\"\n";
    const REFERENCE: &str = "import torch\n\ndef generate_input(size: int, seed: int):\n    pass\n\n\
                             check_implementation = make_match_reference(ref_kernel)\n";

    fn problem(task: &str, reference: &str) -> Result<Problem, ProblemError> {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("vectoradd");
        fs::create_dir(&folder).unwrap();
        fs::write(root.path().join("template.py"), "def custom_kernel(data):\n    return data\n").unwrap();
        fs::write(folder.join(TASK_NAME), task).unwrap();
        fs::write(folder.join(REFERENCE_NAME), reference).unwrap();
        Problem::read(&folder)
    }

    #[test]
    fn reads_arguments_of_tests_and_benchmarks() {
        let read = problem(TASK, REFERENCE).unwrap();
        assert_eq!((read.name.as_str(), read.tests.len(), read.benchmarks.len()), ("vectoradd", 2, 1));
        assert_eq!(read.tests[1]["scale"], 0.5);
        assert_eq!(read.benchmarks[0]["size"], 1024);
        assert_eq!(read.description, "Add two vectors.\n\nBoth are: float16.");
        assert_eq!(read.scaffold(), "def custom_kernel(data):\n    return data\n");
        let without = problem(&TASK.replace("../template.py", "../../etc/template.py"), REFERENCE).unwrap();
        assert!(without.template.is_none() && without.scaffold().contains("NotImplementedError"));
    }

    #[test]
    fn names_every_violation_at_once() {
        let task = TASK.replace("\"py\"", "\"cu\"").replace("- {\"size\": 127, \"seed\": 4242}", "- 5");
        let ProblemError::Invalid { source, .. } = problem(&task, "x = 1\n").unwrap_err() else { panic!() };
        let places: Vec<_> = source.violations.iter().map(|one| one.place.as_str()).collect();
        assert_eq!(places, ["lang", "reference.py", "reference.py", "tests.0"]);
    }

    #[test]
    fn a_small_text_cannot_grow() {
        let deep = format!("a: {}{}", "[".repeat(5000), "]".repeat(5000));
        for task in [deep.as_str(), "a: &x [1]\nb: [*x, *x]\n", "a: [", "- 1\n", ""] {
            assert!(matches!(problem(task, REFERENCE), Err(ProblemError::Invalid { .. })), "{task:.20}");
        }
    }
}
