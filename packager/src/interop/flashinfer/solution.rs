//! `solution.json`: what the contest takes.
//!
//! Written byte for byte as FlashInfer-Bench's packer writes it (pydantic's
//! `model_dump_json(indent=2)`: declared field order, nulls and empty lists kept, raw UTF-8, no
//! newline at the end). Read leniently: fields that the format does not know are kept.
//!
//! FlashInfer-Bench names a solution by an SHA-1 over bare concatenated fields. Its two releases
//! differ: 0.1.2 on `PyPI` hashes the name first, the repository since then leaves it out.
//! Both are printed for reference; Proofmark's own identity is [`Artifact::digest`].

use std::io;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha1::{Digest as _, Sha1};

use crate::artifact::Artifact;
use crate::entry_point::{EntryPoint, EntryPointError};
use crate::interop::unread::Reader;
use crate::json::{self, Budget, JsonError};
use crate::sources::{SourceFile, SourcePath, SourcePathError};
use crate::submission::{
    Binding, BuildSpec, Language, SolutionMeta, Submission, Target, Violation, Violations,
    violations_of_texts,
};

/// What the format has in `spec`.
const SPEC_FIELDS: [&str; 6] =
    ["language", "target_hardware", "entry_point", "dependencies", "destination_passing_style", "binding"];

#[derive(Serialize)]
struct Written<'a> {
    name: &'a str,
    definition: &'a str,
    author: &'a str,
    spec: &'a BuildSpec,
    sources: Vec<WrittenSource<'a>>,
    description: Option<&'a str>,
}

#[derive(Serialize)]
struct WrittenSource<'a> {
    path: &'a SourcePath,
    content: &'a str,
}

impl<'a> Written<'a> {
    fn of(artifact: &'a Artifact) -> Self {
        let manifest = artifact.manifest();
        let sources = artifact.sources().iter();
        Self {
            name: &manifest.solution.name,
            definition: &manifest.solution.definition,
            author: &manifest.solution.author,
            spec: &manifest.build,
            sources: sources
                .map(|source| WrittenSource { path: &source.path, content: &source.content })
                .collect(),
            description: manifest.solution.description.as_deref(),
        }
    }
}

/// Writes an artifact as the contest's packer would.
#[must_use]
pub fn write(artifact: &Artifact) -> String {
    serde_json::to_string_pretty(&Written::of(artifact)).expect("strings, lists and flags always serialise")
}

/// Whether [`write()`] would give these bytes; takes no memory for them.
pub(crate) fn is_written_as(artifact: &Artifact, expected: &[u8]) -> bool {
    let mut rest = Expected(expected);
    serde_json::to_writer_pretty(&mut rest, &Written::of(artifact)).is_ok() && rest.0.is_empty()
}

/// Takes what is written while it is what is expected; the rest is still to come.
struct Expected<'a>(&'a [u8]);

impl io::Write for Expected<'_> {
    fn write(&mut self, written: &[u8]) -> io::Result<usize> {
        self.0 = self.0.strip_prefix(written).ok_or(io::ErrorKind::InvalidData)?;
        Ok(written.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// FlashInfer-Bench's two names for one solution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SolutionHashes {
    /// `Solution.hash()` of the repository: without the name.
    pub repository: String,
    /// `Solution.hash()` of release 0.1.2: with the name in front.
    pub release_0_1_2: String,
}

/// Computes both hashes.
#[must_use]
pub fn hashes(artifact: &Artifact) -> SolutionHashes {
    let manifest = artifact.manifest();
    let entry_point = manifest.build.entry_point.to_string();
    let mut fields = vec![
        manifest.solution.definition.as_str(),
        manifest.build.language.as_str(),
        &entry_point,
        manifest.build.binding.map_or("", Binding::as_str),
    ];
    fields.extend(manifest.build.dependencies.iter().map(String::as_str));
    for source in artifact.sources() {
        fields.extend([source.path.as_str(), source.content.as_str()]);
    }
    let hash = |prefix: &str| {
        let mut hash = Sha1::new_with_prefix(prefix);
        for field in &fields {
            hash.update(field);
        }
        hash.finalize().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    };
    SolutionHashes { repository: hash(""), release_0_1_2: hash(&manifest.solution.name) }
}

#[derive(Deserialize)]
struct Foreign {
    name: String,
    definition: String,
    author: String,
    spec: ForeignSpec,
    sources: Vec<ForeignSource>,
    #[serde(default)]
    description: Option<String>,
    #[serde(flatten)]
    unknown: Map<String, Value>,
}

#[derive(Deserialize)]
struct ForeignSpec {
    language: Language,
    target_hardware: Vec<String>,
    entry_point: String,
    #[serde(default)]
    dependencies: Vec<String>,
    #[serde(default = "yes")]
    destination_passing_style: bool,
    #[serde(default)]
    binding: Option<Binding>,
    #[serde(flatten)]
    unknown: Map<String, Value>,
}

#[derive(Deserialize)]
struct ForeignSource {
    path: String,
    content: String,
    #[serde(flatten)]
    unknown: Map<String, Value>,
}

fn yes() -> bool {
    true
}

/// Why a text is not a usable `solution.json`.
#[derive(Debug, thiserror::Error)]
pub enum SolutionError {
    /// Not JSON, or a field is absent or of the wrong type.
    #[error("not a solution.json")]
    Json(#[from] JsonError),
    /// The file of another board, which has the same name.
    #[error(
        "a solution.json of NVIDIA SOL-ExecBench, which lists `spec.languages`: expected FlashInfer-Bench's, with \
         one `spec.language` of python, triton, cpp, cuda or tilelang, and no `spec.compile_options`"
    )]
    SolExecBench,
    /// Rules are broken.
    #[error("not a valid solution:\n  {0}")]
    Invalid(Violations),
}

/// Reads a `solution.json` as an artifact for the default target.
pub fn read(text: &str) -> Result<Artifact, SolutionError> {
    let foreign = json::parse(text, Budget::DOCUMENT);
    let Foreign { name, definition, author, spec, sources, description, mut unknown } = match foreign {
        Err(_) if is_of_sol_execbench(text) => return Err(SolutionError::SolExecBench),
        foreign => foreign?,
    };
    let mut violations = Vec::new();
    let entry_point: Result<EntryPoint, EntryPointError> = spec.entry_point.parse();
    let entry_point = entry_point.map_err(|error| violations.push(Violation::SpecEntryPoint(error))).ok();
    let mut unknown_sources = Map::new();
    let mut files = Vec::new();
    for source in sources {
        let path: Result<SourcePath, SourcePathError> = source.path.parse();
        if let Some(offset) = source.content.find('\0') {
            violations.push(Violation::Nul { path: source.path.clone(), offset });
        }
        match path {
            Ok(path) => files.push(SourceFile { path, content: source.content }),
            Err(error) => violations.push(error.into()),
        }
        if !source.unknown.is_empty() {
            unknown_sources.insert(source.path, Value::Object(source.unknown));
        }
    }
    keep_unknown(&mut unknown, "spec", spec.unknown);
    keep_unknown(&mut unknown, "sources", unknown_sources);
    let solution = SolutionMeta { name, definition, author, description };
    let lists = [("dependencies", &spec.dependencies), ("target_hardware", &spec.target_hardware)];
    violations.extend(violations_of_texts(&solution, lists));
    let (Some(entry_point), true) = (entry_point, violations.is_empty()) else {
        return Err(SolutionError::Invalid(Violations(violations)));
    };
    let build = BuildSpec {
        language: spec.language,
        target_hardware: spec.target_hardware,
        entry_point,
        dependencies: spec.dependencies,
        destination_passing_style: spec.destination_passing_style,
        binding: spec.binding,
    };
    let submission = Submission {
        solution,
        build,
        target: Target::default(),
        sources: files,
        definition: None,
        workloads: None,
        reference: None,
        unknown,
    };
    Artifact::pack(submission).map_err(SolutionError::Invalid)
}

/// What is to be noted of fields that nothing reads.
#[must_use]
pub fn unread(artifact: &Artifact) -> Vec<String> {
    Reader { spec: &SPEC_FIELDS, flags: "`[target] nvcc_flags` of a folder's config.toml" }
        .notes(&artifact.manifest().unknown)
}

/// Whether a text that does not fit is what SOL-ExecBench takes instead.
fn is_of_sol_execbench(text: &str) -> bool {
    let Ok(value) = json::parse::<Value>(text, Budget::DOCUMENT) else {
        return false;
    };
    let spec = value.get("spec");
    spec.and_then(|spec| spec.get("languages")).is_some_and(Value::is_array)
        && spec.is_some_and(|spec| spec.get("language").is_none())
}

fn keep_unknown(unknown: &mut Map<String, Value>, key: &str, fields: Map<String, Value>) {
    if !fields.is_empty() {
        unknown.insert(key.to_owned(), Value::Object(fields));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = r#"{
  "name": "n",
  "definition": "d",
  "author": "a",
  "spec": {
    "language": "cuda",
    "target_hardware": [
      "cuda"
    ],
    "entry_point": "k.cu::run",
    "dependencies": [],
    "destination_passing_style": true,
    "binding": null
  },
  "sources": [
    {
      "path": "k.cu",
      "content": "é\t\"\n"
    }
  ],
  "description": ""
}"#;

    #[test]
    fn reads_back_what_it_writes() {
        let artifact = read(PLAIN).unwrap();
        assert_eq!(write(&artifact), PLAIN);
        assert!(is_written_as(&artifact, PLAIN.as_bytes()));
        for other in [&PLAIN[..PLAIN.len() - 1], &format!("{PLAIN}\n"), &PLAIN.replace("cuda", "cpp"), ""] {
            assert!(!is_written_as(&artifact, other.as_bytes()));
        }
    }

    #[test]
    fn keeps_unknown_fields_and_gives_defaults_to_absent_ones() {
        let text = r#"{"name":"n","definition":"d","author":"a","extra":1,
            "spec":{"language":"cuda","target_hardware":["B200"],"entry_point":"k.cu::run","compile_flags":["-O3"]},
            "sources":[{"path":"k.cu","content":"x","mode":7}]}"#;
        let artifact = read(text).unwrap();
        let manifest = artifact.manifest();
        assert_eq!(manifest.unknown["extra"], 1);
        assert_eq!(manifest.unknown["spec"]["compile_flags"][0], "-O3");
        assert_eq!(manifest.unknown["sources"]["k.cu"]["mode"], 7);
        assert_eq!(manifest.build.target_hardware, ["B200"]);
        assert!(manifest.build.destination_passing_style);
        assert!(!write(&artifact).contains("compile_flags"));
    }

    #[test]
    fn reports_every_violation_of_a_foreign_file() {
        let text = r#"{"name":"","definition":"d","author":"a",
            "spec":{"language":"cuda","target_hardware":["cuda"],"entry_point":"k"},
            "sources":[{"path":"../k.cu","content":"x"},{"path":"z.h","content":"a\u0000"}]}"#;
        let SolutionError::Invalid(found) = read(text).unwrap_err() else { panic!("expected violations") };
        assert_eq!(found.0.len(), 4, "{found}");
    }

    #[test]
    fn a_file_of_sol_execbench_is_called_by_its_name() {
        let theirs = PLAIN.replace(r#""language": "cuda""#, r#""languages": ["cuda_cpp"]"#);
        assert_ne!(theirs, PLAIN);
        assert!(read(&theirs).unwrap_err().to_string().contains("NVIDIA SOL-ExecBench"));
        assert!(matches!(read(r#"{"spec": {"languages": "cuda"}}"#), Err(SolutionError::Json(_))));
    }

    #[test]
    fn what_is_no_json_is_told_once() {
        use std::error::Error;
        let error = read("{").unwrap_err();
        assert_eq!(error.to_string(), "not a solution.json");
        assert!(error.source().is_some_and(|cause| cause.to_string().contains("line 1")));
    }

    #[test]
    fn refuses_control_characters_and_never_speaks_of_a_config_toml() {
        let text = PLAIN
            .replace(r#""n""#, r#""n\u001b]0;x""#)
            .replace(r#""a""#, r#""""#)
            .replace(r#""description": """#, r#""description": "a\rb""#)
            .replace("\"cuda\"\n", "\"cuda\\n\"\n");
        let error = read(&text).unwrap_err().to_string();
        for part in ["`name` is \"n\\u{1b}]0;x\"", "`author` is \"\"", "`description`", "`target_hardware`"] {
            assert!(error.contains(part), "{part} not in {error}");
        }
        let error = format!("{error}{}", read(&PLAIN.replace("k.cu::run", "k\u{9b}")).unwrap_err());
        assert!(error.contains("`spec.entry_point`: entry point `k\\u{9b}`"), "{error}");
        assert!(!error.contains("config.toml") && !error.contains('\u{9b}'), "{error}");
        assert!(read(&PLAIN.replace(r#""description": """#, r#""description": "a\n\tb""#)).is_ok());
    }

    #[test]
    fn hashes_as_both_releases_of_flashinfer_bench_do() {
        // Values computed with `hashlib.sha1` over the fields that the module documentation names.
        let found = hashes(&read(PLAIN).unwrap());
        assert_eq!(found.repository, "f404af1d49b0142c07f1a69973044ab040aebe4c");
        assert_eq!(found.release_0_1_2, "268eaa34fbaddfe376f53710f144eb8b75dc1da9");
    }
}
