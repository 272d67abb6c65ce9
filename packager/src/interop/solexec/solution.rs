//! `solution.json` of SOL-ExecBench, read as an artifact and written from one.
//!
//! | theirs | an artifact's |
//! |---|---|
//! | `spec.languages` of the C++ group, `binding` null or `torch` | `cuda`, binding `torch` |
//! | `spec.languages` of the Python group | `triton` where it is among them, else `python` |
//! | `spec.compile_options` | as [`compile_options`] says |
//! | `spec.languages` | kept beside, and written again; `[sol-execbench]` in a folder's config.toml |
//! | fields that nobody knows | kept beside |
//!
//! What is written names every field of their model, the architecture among the flags: nothing is left to
//! what the board adds. The text is what pydantic's `model_dump_json(indent=2)` gives.

use serde::Serialize;
use serde_json::{Map, Value, json};
use sha1::{Digest as _, Sha1};

use super::architecture::{self, Asked};
use super::compile_options::{self, CompileOptions, ReadOptions};
use super::extension::Extension;
use super::languages::{self, COMPILED, COMPILED_ENDINGS, ONLY_THEIRS, PYTHON};
use crate::artifact::{Artifact, Manifest};
use crate::entry_point::EntryPoint;
use crate::interop::document::{self, Object, texts_of};
use crate::interop::unread::Reader;
use crate::interop::violation::{FormatViolation, Invalid};
use crate::sources::{SourceFile, SourcePath};
use crate::submission::{Binding, BuildSpec, Language, SolutionMeta, Submission, Target};
use crate::target::Feature;

/// What a violation says that the document is.
const DOCUMENT: &str = "SOL-ExecBench solution";

/// The hardware that the board knows.
const HARDWARE: [&str; 2] = ["B200", "LOCAL"];

/// Compute capability of the board's GPU, as an architecture's number.
const B200_NUMBER: u32 = 100;

/// What their model of `spec` has.
const SPEC_FIELDS: [&str; 7] = [
    "languages",
    "target_hardware",
    "entry_point",
    "dependencies",
    "destination_passing_style",
    "binding",
    "compile_options",
];

#[derive(Serialize)]
struct Written<'a> {
    name: &'a str,
    definition: &'a str,
    author: &'a str,
    spec: WrittenSpec<'a>,
    sources: Vec<WrittenSource<'a>>,
    description: Option<&'a str>,
}

#[derive(Serialize)]
struct WrittenSpec<'a> {
    languages: Vec<String>,
    target_hardware: Vec<String>,
    entry_point: &'a EntryPoint,
    dependencies: &'a [String],
    destination_passing_style: bool,
    binding: Option<&'static str>,
    compile_options: Option<CompileOptions>,
}

#[derive(Serialize)]
struct WrittenSource<'a> {
    path: &'a SourcePath,
    content: &'a str,
}

/// Whether a text is a solution of this board: `spec` has `languages` where FlashInfer-Bench's has one
/// `language`, or `compile_options`, or a language that only this board has.
pub fn is_one(text: &str) -> bool {
    let value = crate::json::parse::<Value>(text, crate::json::Budget::DOCUMENT);
    value.is_ok_and(|value| {
        let spec = &value["spec"];
        let is_theirs = |name: &str| ONLY_THEIRS.contains(&name);
        !spec["compile_options"].is_null()
            || !spec["languages"].is_null() && spec["language"].is_null()
            || spec["language"].as_str().is_some_and(is_theirs)
    })
}

/// What is to be noted of fields that nothing reads.
fn unread(artifact: &Artifact) -> Vec<String> {
    Reader { spec: &SPEC_FIELDS, flags: "`spec.compile_options.cuda_cflags`" }
        .notes(&artifact.manifest().unknown)
}

/// Writes an artifact as the board takes it, or says every rule of theirs that it breaks.
pub fn write(artifact: &Artifact) -> Result<String, Invalid> {
    let mut violations = Vec::new();
    let manifest = artifact.manifest();
    let build = &manifest.build;
    let is_compiled = build.language.is_compiled();
    let languages = languages_to_write(artifact, &mut violations);
    let target_hardware = hardware_to_write(artifact, &mut violations);
    check_entry(build, &mut violations);
    if is_compiled {
        check_module(artifact, &mut violations);
        check_architecture(&manifest.target, &target_hardware, &mut violations);
    }
    if !violations.is_empty() {
        return Err(Invalid { document: DOCUMENT, violations });
    }
    let spec = WrittenSpec {
        languages,
        target_hardware,
        entry_point: &build.entry_point,
        dependencies: &build.dependencies,
        destination_passing_style: build.destination_passing_style,
        binding: is_compiled.then_some("torch"),
        compile_options: is_compiled.then(|| CompileOptions::of(artifact)),
    };
    let sources = artifact.sources().iter();
    let written = Written {
        name: &manifest.solution.name,
        definition: &manifest.solution.definition,
        author: &manifest.solution.author,
        spec,
        sources: sources
            .map(|source| WrittenSource { path: &source.path, content: &source.content })
            .collect(),
        description: manifest.solution.description.as_deref(),
    };
    Ok(serde_json::to_string_pretty(&written).expect("strings, lists and flags always serialise"))
}

/// The fields of `spec` that an artifact has no place for, null where there are none.
fn spec_beside(artifact: &Artifact) -> &Value {
    artifact.manifest().unknown.get("spec").unwrap_or(&Value::Null)
}

fn languages_to_write(artifact: &Artifact, violations: &mut Vec<FormatViolation>) -> Vec<String> {
    let build = &artifact.manifest().build;
    let is_compiled = build.language.is_compiled();
    let kept = texts_of(&spec_beside(artifact)["languages"]);
    let mut refuse = |found: String| {
        let group: &[&str] = if is_compiled { &COMPILED } else { &PYTHON };
        let expected = format!("some of {}", group.join(", "));
        violations.push(FormatViolation::new("spec.languages", expected, found));
        Vec::new()
    };
    match kept {
        Some(kept) if languages::language_of(&kept).is_none_or(|one| one.is_compiled() != is_compiled) => {
            refuse(kept.join(", "))
        }
        Some(kept) => kept,
        None => languages::languages_of(build.language, &build.dependencies)
            .unwrap_or_else(|| refuse(format!("`{}`", build.language.as_str()))),
    }
}

fn hardware_to_write(artifact: &Artifact, violations: &mut Vec<FormatViolation>) -> Vec<String> {
    let named = &artifact.manifest().build.target_hardware;
    // What the contest's packer writes for every submission says nothing.
    if named.is_empty() || named == &["cuda"] {
        return vec!["B200".to_owned()];
    }
    for other in named.iter().filter(|name| !HARDWARE.contains(&name.as_str())) {
        violations.push(FormatViolation::new(
            "spec.target_hardware",
            "`B200` or `LOCAL`",
            format!("`{other}`"),
        ));
    }
    named.clone()
}

fn check_entry(build: &BuildSpec, violations: &mut Vec<FormatViolation>) {
    let file = build.entry_point.file.as_str();
    let (endings, expected): (&[&str], _) = if build.language.is_compiled() {
        (&COMPILED_ENDINGS, "a C++ or CUDA file")
    } else {
        (&[".py"], "a .py file")
    };
    if !endings.iter().any(|ending| file.ends_with(ending)) {
        violations.push(FormatViolation::new("spec.entry_point", expected, format!("`{file}`")));
    }
}

/// Their builder makes a torch extension of the sources.
fn check_module(artifact: &Artifact, violations: &mut Vec<FormatViolation>) {
    if artifact.manifest().build.binding == Some(Binding::Torch) {
        Extension::of(artifact).check(artifact, violations);
    } else {
        let expected = "`torch`: the board calls C++ as a torch extension";
        violations.push(FormatViolation::new("spec.binding", expected, "`tvm-ffi`"));
    }
}

/// What the board may do otherwise than the user expects of what is written.
pub fn notes(artifact: &Artifact) -> Vec<String> {
    let Manifest { build, target, .. } = artifact.manifest();
    if !build.language.is_compiled() {
        let mentions = artifact.sources().iter().filter(|source| source.content.contains("cpp_extension"));
        return mentions
            .map(|source| {
                let path = &source.path;
                format!(
                    "{path} names cpp_extension: the board forbids load() and load_inline() to Python entries"
                )
            })
            .collect();
    }
    let mut notes = Extension::of(artifact).notes(artifact);
    let arch = target.arch;
    if arch.feature == Feature::Plain && arch.number == B200_NUMBER {
        notes.push(format!("{arch} is kept: what B200 has beyond it, such as tcgen05, needs sm_100a"));
    }
    if build.target_hardware.iter().any(|name| name == "LOCAL") {
        notes.push(format!(
            "`LOCAL` is the GPU of whoever runs it, and {arch} is asked for by name: on a GPU of another \
             architecture it does not load"
        ));
    }
    notes
}

fn check_architecture(target: &Target, hardware: &[String], violations: &mut Vec<FormatViolation>) {
    if hardware.iter().any(|name| name == "B200") && target.arch.number != B200_NUMBER {
        let expected = "an architecture of B200, such as sm_100a, or `LOCAL` alone as hardware";
        violations.push(FormatViolation::new(
            "spec.compile_options.cuda_cflags",
            expected,
            target.arch.to_string(),
        ));
    }
    if architecture::split(&target.nvcc_flags).0 != Asked::Nothing {
        let expected = "no architecture beside that of `[target] arch`";
        let found = target.nvcc_flags.join(" ");
        violations.push(FormatViolation::new("spec.compile_options.cuda_cflags", expected, found));
    }
}

/// A solution that was read.
#[derive(Debug)]
pub struct ReadSolution {
    /// What it holds.
    pub artifact: Artifact,
    /// What of it does not mean what it looks like, and fields that nothing reads.
    pub notes: Vec<String>,
}

/// Reads a solution as an artifact; every violation of their rules comes back at once.
pub fn read(text: &str) -> Result<ReadSolution, Invalid> {
    document::read(DOCUMENT, text, solution)
}

fn solution(value: Value, violations: &mut Vec<FormatViolation>) -> Option<ReadSolution> {
    let mut root = Object::root(value, violations)?;
    let name = root.text("name", violations);
    let definition = root.text("definition", violations);
    let author = root.text("author", violations);
    let description = root.optional_text("description", violations);
    let spec = root.take_required("spec", "an object", violations);
    let spec = spec.and_then(|value| read_spec(value, violations));
    let sources = read_sources(&mut root, violations);
    let (spec, sources) = (spec?, sources?);
    let (sources, unknown_sources) = sources;
    let mut unknown = root.rest();
    unknown.insert("spec".to_owned(), Value::Object(spec.beside));
    if !unknown_sources.is_empty() {
        unknown.insert("sources".to_owned(), Value::Object(unknown_sources));
    }
    let submission = Submission {
        solution: SolutionMeta { name: name?, definition: definition?, author: author?, description },
        build: spec.build,
        target: spec.target,
        sources,
        definition: None,
        workloads: None,
        reference: None,
        unknown,
    };
    if !violations.is_empty() {
        return None;
    }
    let packed = Artifact::pack(submission).map_err(|found| {
        let found = found.0.iter().map(FormatViolation::of_packing);
        violations.extend(found.collect::<Vec<_>>());
    });
    let artifact = packed.ok()?;
    let mut notes: Vec<_> = spec.notes.iter().map(|note| crate::escape::line(note)).collect();
    notes.extend(unread(&artifact));
    Some(ReadSolution { artifact, notes })
}

struct Spec {
    build: BuildSpec,
    target: Target,
    beside: Map<String, Value>,
    notes: Vec<String>,
}

fn read_spec(value: Value, violations: &mut Vec<FormatViolation>) -> Option<Spec> {
    let mut fields = Object::open("spec".to_owned(), value, violations)?;
    let expected = format!("a list of some of {}, or of some of {}", PYTHON.join(", "), COMPILED.join(", "));
    let languages = match fields.take("languages") {
        // FlashInfer-Bench's field, in a file that is otherwise this board's.
        None => match fields.take("language") {
            Some(one) => fields.refuse("language", &format!("`languages`, {expected}"), &one, violations),
            None => fields.refuse("languages", &expected, &Value::Null, violations),
        },
        Some(value) => texts_of(&value).or_else(|| fields.refuse("languages", &expected, &value, violations)),
    };
    let language = languages.as_ref().and_then(|languages| {
        languages::language_of(languages)
            .or_else(|| fields.refuse("languages", &expected, &json!(languages), violations))
    });
    let target_hardware = fields.texts("target_hardware", violations);
    if target_hardware.is_empty() || target_hardware.iter().any(|name| !HARDWARE.contains(&name.as_str())) {
        let found = json!(target_hardware);
        let _: Option<()> =
            fields.refuse("target_hardware", "at least one of B200, LOCAL", &found, violations);
    }
    let entry_text = fields.text("entry_point", violations);
    let entry_point = entry_text.and_then(|text| {
        text.parse().ok().or_else(|| fields.refuse("entry_point", "file::function", &json!(text), violations))
    });
    let dependencies = fields.texts("dependencies", violations);
    let destination_passing_style = match fields.take_optional("destination_passing_style") {
        None => Some(true),
        Some(Value::Bool(style)) => Some(style),
        Some(other) => fields.refuse("destination_passing_style", "true or false", &other, violations),
    };
    let is_torch = match fields.take_optional("binding") {
        None => Some(()),
        Some(Value::String(text)) if text == "torch" => Some(()),
        Some(other) => fields.refuse("binding", "`torch` or null", &other, violations),
    };
    let options = fields.take_optional("compile_options");
    let options = compile_options::read(options, violations);
    is_torch?;
    let (language, entry_point) = (language?, entry_point?);
    let ReadOptions { target, beside, notes } = options?;
    let build = BuildSpec {
        language,
        target_hardware,
        entry_point,
        dependencies,
        destination_passing_style: destination_passing_style?,
        binding: (language == Language::Cuda).then_some(Binding::Torch),
    };
    check_entry(&build, violations);
    let mut rest = fields.rest();
    rest.insert("languages".to_owned(), json!(languages));
    if language.is_compiled() {
        rest.insert("compile_options".to_owned(), beside);
    }
    Some(Spec { build, target, beside: rest, notes })
}

/// The sources, and the fields of each that nobody knows, by path.
fn read_sources(
    root: &mut Object,
    violations: &mut Vec<FormatViolation>,
) -> Option<(Vec<SourceFile>, Map<String, Value>)> {
    const EXPECTED: &str = "a list of at least one source";
    let list = match root.take_required("sources", EXPECTED, violations)? {
        Value::Array(list) if !list.is_empty() => list,
        other => return root.refuse("sources", EXPECTED, &other, violations),
    };
    let (mut sources, mut unknown) = (Vec::new(), Map::new());
    for (index, value) in list.into_iter().enumerate() {
        let Some(mut fields) = Object::open(format!("sources.{index}"), value, violations) else { continue };
        let path = fields.text("path", violations);
        let content = fields.text("content", violations);
        let (Some(path), Some(content)) = (path, content) else { continue };
        if let Some(offset) = content.find('\0') {
            let place = fields.place("content");
            violations.push(FormatViolation::new(place, "text", format!("NUL at byte {offset}")));
        }
        match path.parse::<SourcePath>() {
            Ok(path) => sources.push(SourceFile { path, content }),
            Err(error) => {
                let place = fields.place("path");
                violations.push(FormatViolation::new(place, "a path inside the folder", error.to_string()));
            }
        }
        let rest = fields.rest();
        if let (Some(file), false) = (sources.last(), rest.is_empty()) {
            unknown.insert(file.path.to_string(), Value::Object(rest));
        }
    }
    Some((sources, unknown))
}

/// The name that the board's code gives a solution: an SHA-1 over bare fields, without compile options,
/// hardware and passing style.
pub fn hash(artifact: &Artifact) -> String {
    let manifest = artifact.manifest();
    let languages = languages_to_write(artifact, &mut Vec::new());
    let entry_point = manifest.build.entry_point.to_string();
    let mut fields = vec![manifest.solution.name.as_str(), manifest.solution.definition.as_str()];
    fields.extend(languages.iter().map(String::as_str));
    fields.push(&entry_point);
    fields.push(if manifest.build.language.is_compiled() { "torch" } else { "" });
    fields.extend(manifest.build.dependencies.iter().map(String::as_str));
    for source in artifact.sources() {
        fields.extend([source.path.as_str(), source.content.as_str()]);
    }
    let mut hash = Sha1::new();
    for field in fields {
        hash.update(field);
    }
    hash.finalize().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn solution() -> Value {
        json!({
            "name": "n", "definition": "d", "author": "a", "spec": {
                "languages": ["cuda_cpp"], "target_hardware": ["B200", "LOCAL"], "entry_point": "main.cpp::run",
                "dependencies": [], "destination_passing_style": false, "binding": "torch"},
            "sources": [{"path": "kernel.cu", "content": "__global__ void k() {}\n"},
                {"path": "main.cpp", "content": "PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) { m.def(\"run\", &run); }\n"}]
        })
    }

    fn with(change: impl FnOnce(&mut Value)) -> Value {
        let mut value = solution();
        change(&mut value);
        value
    }

    fn written(value: &Value) -> Value {
        let text = write(&read(&value.to_string()).unwrap().artifact).unwrap();
        let again = read(&text).unwrap().artifact;
        assert_eq!(write(&again).unwrap(), text, "the same bytes again");
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn writes_the_architecture_that_the_board_would_have_added() {
        let options = &written(&solution())["spec"]["compile_options"];
        assert_eq!(
            options,
            &json!({"cflags": [], "cuda_cflags": ["-gencode=arch=compute_100a,code=sm_100a"],
                "ld_flags": ["-lcuda"]})
        );
        let bare = with(|value| value["spec"]["compile_options"] = json!({"cflags": ["-std=c++20"]}));
        assert_eq!(
            written(&bare)["spec"]["compile_options"],
            json!({"cflags": ["-std=c++20"], "ld_flags": ["-lcuda"],
                "cuda_cflags": ["-gencode=arch=compute_100a,code=sm_100a", "-O3", "--use_fast_math"]})
        );
    }

    #[test]
    fn what_only_a_linker_reads_is_written_for_the_linker_and_links_nothing_elsewhere() {
        let options =
            |cuda: &[&str], linked: &[&str]| json!({"cflags": [], "cuda_cflags": cuda, "ld_flags": linked});
        let gencode = "-gencode=arch=compute_100a,code=sm_100a";
        let idle = with(|value| {
            value["spec"]["compile_options"] = options(&["-lcurand", "-lineinfo", "-L/opt"], &["-lcublas"]);
        });
        let ReadSolution { artifact, notes } = read(&idle.to_string()).unwrap();
        assert!(notes.len() == 1 && notes[0].contains("`-lcurand -L/opt`"), "{notes:?}");
        assert_eq!(
            written(&idle)["spec"]["compile_options"],
            options(&[gencode, "-lineinfo"], &["-lcublas"])
        );
        let mut submission = in_a_folder(&artifact, Map::new());
        submission.target.nvcc_flags = ["-lcurand", "-O3", "-Xlinker", "-z,now"].map(str::to_owned).to_vec();
        let text = write(&Artifact::pack(submission).unwrap()).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            value["spec"]["compile_options"],
            options(&[gencode, "-O3"], &["-lcuda", "-lcurand", "-Wl,-z,now"])
        );
    }

    /// The same sources as a submission of one's own, with fields that no format of ours knows.
    fn in_a_folder(artifact: &Artifact, unknown: Map<String, Value>) -> Submission {
        let manifest = artifact.manifest();
        Submission {
            solution: manifest.solution.clone(),
            build: manifest.build.clone(),
            target: manifest.target.clone(),
            sources: artifact.sources().to_vec(),
            definition: None,
            workloads: None,
            reference: None,
            unknown,
        }
    }

    #[test]
    fn an_architecture_with_ptx_is_read_as_the_exact_one_and_said() {
        let short = with(|value| value["spec"]["compile_options"] = json!({"cuda_cflags": ["-arch=sm_100"]}));
        let notes = read(&short.to_string()).unwrap().notes;
        assert!(notes.len() == 1 && notes[0].contains("`-arch=sm_100` puts PTX"), "{notes:?}");
        assert_eq!(
            written(&short)["spec"]["compile_options"]["cuda_cflags"],
            json!(["-gencode=arch=compute_100,code=sm_100"])
        );
    }

    #[test]
    fn keeps_languages_and_hardware() {
        let several = with(|value| value["spec"]["languages"] = json!(["cutlass", "cuda_cpp"]));
        assert_eq!(written(&several)["spec"]["languages"], json!(["cutlass", "cuda_cpp"]));
        assert_eq!(written(&several)["spec"]["target_hardware"], json!(["B200", "LOCAL"]));
        let python = with(|value| {
            value["spec"]["languages"] = json!(["cute_dsl", "triton"]);
            value["spec"]["entry_point"] = json!("kernel.py::run");
            value["spec"]["binding"] = Value::Null;
            value["sources"] = json!([{"path": "kernel.py", "content": "def run(): pass"}]);
        });
        let spec = &written(&python)["spec"];
        assert_eq!(spec["languages"], json!(["cute_dsl", "triton"]));
        assert!(spec["binding"].is_null() && spec["compile_options"].is_null());
        assert_eq!(read(&python.to_string()).unwrap().artifact.manifest().build.language, Language::Triton);
    }

    #[test]
    fn languages_that_do_not_fit_the_submission_are_refused() {
        let ReadSolution { artifact, .. } = read(&solution().to_string()).unwrap();
        for (languages, found) in
            [(json!(["triton"]), "triton"), (json!(["rust", "cutlass"]), "rust, cutlass")]
        {
            let unknown = Map::from_iter([("spec".to_owned(), json!({"languages": languages}))]);
            let submission = in_a_folder(&artifact, unknown);
            let refused = write(&Artifact::pack(submission).unwrap()).unwrap_err().violations;
            assert_eq!((refused.len(), refused[0].found.as_str()), (1, found));
        }
    }

    #[test]
    fn names_every_violation_of_a_foreign_file() {
        let broken = json!({"name": "", "definition": "d", "spec": {
            "languages": ["cuda_cpp", "triton"], "target_hardware": ["H100"], "entry_point": "k",
            "binding": "tvm-ffi", "destination_passing_style": 3,
            "compile_options": {"cuda_cflags": ["-arch=native"], "ld_flags": "-lcuda"}},
            "sources": [{"path": "../k.cu", "content": "x"}, {"path": "k.cu", "content": ""}]});
        let found: Vec<_> =
            read(&broken.to_string()).unwrap_err().violations.into_iter().map(|one| one.place).collect();
        assert_eq!(
            found,
            [
                "name",
                "author",
                "spec.languages",
                "spec.target_hardware",
                "spec.entry_point",
                "spec.destination_passing_style",
                "spec.binding",
                "spec.compile_options.ld_flags",
                "spec.compile_options.cuda_cflags",
                "sources.0.path",
                "sources.1.content"
            ]
        );
    }

    #[test]
    fn what_the_board_may_do_otherwise_is_noted() {
        let found = notes(&read(&solution().to_string()).unwrap().artifact);
        assert!(
            found.len() == 1 && found[0].contains("`LOCAL`") && found[0].contains("sm_100a"),
            "{found:?}"
        );
        let plain = with(|value| {
            value["spec"]["target_hardware"] = json!(["B200"]);
            value["spec"]["compile_options"] =
                json!({"cuda_cflags": ["-gencode=arch=compute_100,code=sm_100"]});
        });
        let found = notes(&read(&plain.to_string()).unwrap().artifact);
        assert!(found.len() == 1 && found[0].starts_with("sm_100 is kept"), "{found:?}");
        let python = with(|value| {
            value["spec"]["languages"] = json!(["pytorch"]);
            value["spec"]["entry_point"] = json!("k.py::run");
            value["sources"] =
                json!([{"path": "k.py", "content": "from torch.utils.cpp_extension import load_inline\n"}]);
        });
        assert!(notes(&read(&python.to_string()).unwrap().artifact)[0].contains("k.py names cpp_extension"));
    }

    #[test]
    fn no_field_with_flags_is_passed_over() {
        let places = |change: &dyn Fn(&mut Value)| {
            let value = with(change).to_string();
            assert!(is_one(&value), "{value}");
            let found = read(&value).unwrap_err().violations;
            found.into_iter().map(|one| (one.place, one.expected)).collect::<Vec<_>>()
        };
        let misspelt = places(&|value| value["spec"]["compile_options"] = json!({"cuda_flags": ["-O1"]}));
        assert_eq!(misspelt.len(), 1);
        assert_eq!(misspelt[0].0, "spec.compile_options.cuda_flags");
        assert!(misspelt[0].1.starts_with("`cuda_cflags`"), "{misspelt:?}");
        let of_docs = places(&|value| {
            let spec = value["spec"].as_object_mut().unwrap();
            spec.remove("languages");
            spec.insert("language".to_owned(), json!("cuda"));
            spec.insert("compile_options".to_owned(), json!({"cuda_cflags": ["-use_fast_math"]}));
        });
        assert_eq!(of_docs[0].0, "spec.language");
        assert!(of_docs[0].1.starts_with("`languages`, a list"), "{of_docs:?}");
        let one_word = places(&|value| value["spec"]["languages"] = json!("cuda_cpp"));
        assert_eq!(one_word[0].0, "spec.languages");
    }

    #[test]
    fn fields_that_nothing_reads_are_named() {
        let extra = with(|value| {
            value["licence"] = json!("MIT");
            value["spec"]["dependancies"] = json!(["cublas"]);
            value["spec"]["compile_flags"] = json!(["-O1"]);
            value["sources"][0]["mode"] = json!(7);
        });
        let found = unread(&read(&extra.to_string()).unwrap().artifact);
        assert_eq!(
            found,
            [
                "`licence` is unknown and ignored",
                "`spec.dependancies` is unknown and ignored: `spec.dependencies` is what is read",
                "`spec.compile_flags` is unknown and ignored: flags are read from `spec.compile_options.cuda_cflags`",
                "`sources kernel.cu: mode` is unknown and ignored",
            ]
        );
        assert!(unread(&read(&solution().to_string()).unwrap().artifact).is_empty());
    }

    #[test]
    fn names_every_reason_why_the_board_would_not_take_an_artifact() {
        let flashinfer = r#"{"name":"n","definition":"d","author":"a","spec":{"language":"cuda",
            "target_hardware":["H100"],"entry_point":"k.cu::run"},"sources":[{"path":"k.cu","content":"x"}]}"#;
        let artifact = crate::interop::flashinfer::solution::read(flashinfer).unwrap();
        let places: Vec<_> =
            write(&artifact).unwrap_err().violations.into_iter().map(|one| one.place).collect();
        assert_eq!(places, ["spec.target_hardware", "spec.binding"]);
        let bare = with(|value| value["sources"][1]["content"] = json!("int x;"));
        let refused = write(&read(&bare.to_string()).unwrap().artifact).unwrap_err().to_string();
        assert!(refused.contains("PYBIND11_MODULE"), "{refused}");
    }

    #[test]
    fn hashes_as_the_board_does() {
        // `hashlib.sha1` over name, definition, languages, entry point, binding, dependencies, paths and contents.
        assert_eq!(
            hash(&read(&solution().to_string()).unwrap().artifact),
            "9100456ebb8bc8146c9264e4c0278be714ddc303"
        );
    }
}
