//! `submission.py`: the one file that a leaderboard takes.
//!
//! ```text
//! #!POPCORN leaderboard NAME      only the first block of comments is read
//! #!POPCORN gpus NAME …
//! SOURCES, FLAGS                  the files as they are, the architecture among the flags
//! custom_kernel(data)             what the problem calls
//! ```

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::python_entry;
use super::{adapter, literal, word};
use crate::artifact::Artifact;
use crate::interop::flashinfer::Definition;
use crate::interop::python;
use crate::interop::solexec::CompileOptions;
use crate::interop::torch_binding::{self, CallersStream};
use crate::interop::violation::{FormatViolation, Invalid};
use crate::target::{Arch, Feature, Gencode};
use crate::{DigestBuilder, SourceFile};

pub use super::python_entry::ENTRY;

/// Largest file that the server takes, in bytes.
pub const LARGEST_BYTES: usize = 1_000_000;

/// The header that says CUDA's type and member without the word.
const QUEUE_HEADER: &str = "proofmark_queue.h";

/// GPUs of the server.
const GPUS: [&str; 7] = ["T4", "A100", "L4", "L4x4", "H100", "B200", "B200_Nebius"];

/// The architecture of a GPU that is known by name: that of the server's machines stands in front of what else
/// their names say.
fn arch_of(gpu: &str) -> Option<Arch> {
    let plain = gpu.split_once(['x', '_']).map_or(gpu, |(plain, _)| plain);
    Arch::of_gpu(gpu).or_else(|| Arch::of_gpu(plain))
}

/// The server's first GPU of an architecture, whatever its features.
#[must_use]
pub fn gpu_of(arch: Arch) -> Option<&'static str> {
    GPUS.into_iter().find(|gpu| arch_of(gpu).is_some_and(|own| own.number == arch.number))
}

/// Whether a GPU is one of AMD's, which the server has too.
fn is_amd(gpu: &str) -> bool {
    gpu.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("MI"))
        && gpu[2..].starts_with(|one: char| one.is_ascii_digit())
}

/// Whether a directive can hold a name.
pub(super) fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|one| one.is_ascii_alphanumeric() || "_-.".contains(one))
}

/// Where a submission goes.
#[derive(Debug, Clone)]
pub struct Leaderboard {
    name: String,
    gpus: Vec<String>,
}

/// A name that no directive can hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} names no {what}: expected letters, digits, `_`, `-` or `.`")]
pub struct NameError {
    what: &'static str,
    found: String,
}

impl Leaderboard {
    /// A leaderboard and at least one GPU.
    pub fn new(name: &str, gpus: &[String]) -> Result<Self, NameError> {
        let refuse = |what, found: &str| NameError { what, found: found.to_owned() };
        if !is_plain(name) {
            return Err(refuse("leaderboard", name));
        }
        match gpus.iter().find(|gpu| !is_plain(gpu)) {
            Some(gpu) => Err(refuse("GPU", gpu)),
            None if gpus.is_empty() => Err(refuse("GPU", "")),
            None => Ok(Self { name: name.to_owned(), gpus: gpus.to_vec() }),
        }
    }
}

/// A file, and what was done on the way.
#[derive(Debug, Clone)]
pub struct Packed {
    /// The text.
    pub text: String,
    /// What its user may want to know.
    pub notes: Vec<String>,
}

/// Writes an artifact as a leaderboard takes it, or says everything that it would not take.
pub fn write(artifact: &Artifact, leaderboard: &Leaderboard) -> Result<Packed, Invalid> {
    let mut notes = gpu_notes(leaderboard);
    let manifest = artifact.manifest();
    let head = [
        format!("#!POPCORN leaderboard {}", leaderboard.name),
        format!("#!POPCORN gpus {}", leaderboard.gpus.join(" ")),
    ];
    let body = if manifest.build.language.is_compiled() {
        check_gpus(manifest.target.arch, leaderboard)?;
        compiled(artifact, &mut notes)?
    } else {
        python(artifact, leaderboard, [&head[0], &head[1]], &mut notes)?
    };
    let mut text = format!(
        "{}\n{}\n\n# {} by {}, packed by Proofmark from {}.\n\n",
        head[0],
        head[1],
        word::replaced(&crate::escape::line(&manifest.solution.name)),
        word::replaced(&crate::escape::line(&manifest.solution.author)),
        artifact.digest().short(),
    );
    text += &body;
    let mut violations = Vec::new();
    if text.len() > LARGEST_BYTES {
        let expected = format!("at most {LARGEST_BYTES} bytes in all");
        violations.push(FormatViolation::new("submission.py", expected, text.len().to_string()));
    }
    name_the_word("submission.py", &text, &mut violations);
    if violations.is_empty() { Ok(Packed { text, notes }) } else { Err(invalid(violations)) }
}

/// Names every line with the word that the server refuses.
fn name_the_word(path: &str, text: &str, violations: &mut Vec<FormatViolation>) {
    let code = python::without_comments(text);
    let lines = text.lines().zip(code.lines()).zip(1..).filter(|((line, _), _)| word::stands_in(line));
    for ((line, code), number) in lines {
        let place = format!("{path} line {number}");
        let expected = if word::stands_in(code) {
            "no `stream` in any case: the server takes it for work on another one. It calls on the default one, so a \
             launch needs to name none: `kernel<<<blocks, threads>>>(…)`"
        } else {
            "no `stream` in any case, in comments neither: the server looks for the word wherever it stands"
        };
        violations.push(FormatViolation::new(place, expected, crate::escape::line(line.trim())));
    }
}

/// What is not known of the named GPUs.
fn gpu_notes(leaderboard: &Leaderboard) -> Vec<String> {
    let is_known = |gpu: &&String| is_amd(gpu) || GPUS.iter().any(|name| gpu.eq_ignore_ascii_case(name));
    let known: Vec<_> = GPUS.iter().filter_map(|name| Some(format!("{name} ({})", arch_of(name)?))).collect();
    let others = leaderboard.gpus.iter().filter(|gpu| !is_known(gpu));
    others
        .map(|gpu| {
            let unchecked =
                if arch_of(gpu).is_some() { "" } else { ", and its architecture is not known here" };
            format!("GPU MODE is not known to have a GPU `{gpu}`{unchecked}: known are {}", known.join(", "))
        })
        .collect()
}

fn invalid(violations: Vec<FormatViolation>) -> Invalid {
    Invalid { document: "submission for a leaderboard", violations }
}

/// The architecture is forced, so it must be one that the named GPUs run.
fn check_gpus(arch: Arch, leaderboard: &Leaderboard) -> Result<(), Invalid> {
    let mut violations = Vec::new();
    for gpu in &leaderboard.gpus {
        let expected = match arch_of(gpu) {
            _ if is_amd(gpu) => format!("no CUDA for {gpu}, a GPU of AMD: its submissions are Python"),
            Some(own) if own.number != arch.number => {
                format!("an architecture of {gpu}, such as {own}, in `[target] arch`")
            }
            _ => continue,
        };
        violations.push(FormatViolation::new("target.arch", expected, arch.to_string()));
    }
    if violations.is_empty() { Ok(()) } else { Err(invalid(violations)) }
}

/// A torch extension, built where the file is loaded.
fn compiled(artifact: &Artifact, notes: &mut Vec<String>) -> Result<String, Invalid> {
    let is_made = torch_binding::is_needed(artifact);
    let bound =
        if is_made { torch_binding::bind(artifact, CallersStream::Default)? } else { artifact.clone() };
    let definition = definition_of(artifact)?;
    let sources = without_the_word(bound.sources(), notes)?;
    if is_made {
        notes.push(format!("{} was made from the definition's signature", torch_binding::EXTENSION_NAME));
    }
    let CompileOptions { cflags, cuda_cflags, ld_flags } = CompileOptions::of(&bound);
    let arch = bound.manifest().target.arch;
    let plain = Arch { feature: Feature::Plain, ..arch };
    notes.push(format!(
        "the architecture is forced by {}: without it the server's torch adds that of its GPU, plain {plain}",
        cuda_cflags[0]
    ));
    let mut files = String::new();
    for source in &sources {
        let _ = writeln!(
            files,
            "    {}: {},",
            literal::python(source.path.as_str()),
            literal::python(&source.content)
        );
    }
    let is_built = |source: &&SourceFile| {
        [".cu", ".cpp", ".cc", ".cxx", ".c"].iter().any(|ending| source.path.as_str().ends_with(ending))
    };
    let built: Vec<_> =
        sources.iter().filter(is_built).map(|one| literal::python(one.path.as_str())).collect();
    let symbol = &bound.manifest().build.entry_point.symbol;
    let callee = format!("_extension.{symbol}");
    Ok(format!(
        "import pathlib\nimport tempfile\n\nimport torch\nfrom torch.utils.cpp_extension import load\n\n\
         SOURCES = {{\n{files}}}\n\n# The architecture is asked for by name: nothing is left to a default.\n\
         FLAGS = [{flags}]\n\n\ndef _build():\n    folder = pathlib.Path(tempfile.mkdtemp(prefix=\"kernel-\"))\n    \
         for path, text in SOURCES.items():\n        place = folder / path\n        \
         place.parent.mkdir(parents=True, exist_ok=True)\n        place.write_text(text)\n    return load(\n        \
         name=\"kernel_{name}\",\n        sources=[str(folder / path) for path in [{built}]],\n        \
         extra_cuda_cflags=FLAGS,\n{cflags}        extra_ldflags=[{ld_flags}],\n        \
         extra_include_paths=[str(folder)],\n        build_directory=str(folder),\n    )\n\n\n\
         _extension = _build()\n\n\n{adapter}",
        flags = list_of(&cuda_cflags),
        cflags = match cflags.as_slice() {
            [] => String::new(),
            flags => format!("        extra_cflags=[{}],\n", list_of(flags)),
        },
        ld_flags = list_of(&ld_flags),
        name = digest_of(&sources),
        built = built.join(", "),
        adapter = adapter::text(&definition, &callee)?,
    ))
}

/// The texts of a list in Python.
fn list_of(texts: &[String]) -> String {
    texts.iter().map(|text| literal::python(text)).collect::<Vec<_>>().join(", ")
}

/// Names the extension by its sources, so that torch never takes another's.
fn digest_of(sources: &[SourceFile]) -> String {
    let hash = DigestBuilder::new("proofmark/popcorn/1");
    let hash =
        hash.list(sources.iter(), |hash, source| hash.text(source.path.as_str()).text(&source.content));
    hash.finish().short()
}

fn definition_of(artifact: &Artifact) -> Result<Definition, Invalid> {
    let text = artifact.definition().ok_or_else(|| {
        let expected = "a definition.json in the folder or above it: its signature is what `data` holds";
        invalid(vec![FormatViolation::new(torch_binding::DEFINITION_PLACE, expected, "none")])
    })?;
    Definition::from_json(text)
}

/// The sources without the server's word, and the header that they need for that.
fn without_the_word(sources: &[SourceFile], notes: &mut Vec<String>) -> Result<Vec<SourceFile>, Invalid> {
    let (mut said, mut violations, mut changed) = (Vec::new(), Vec::new(), 0);
    for source in sources {
        match word::without(source.path.as_str(), &source.content) {
            Ok(found) if found.text == source.content => said.push(source.clone()),
            Ok(word::Said { text: content, notes: found, .. }) => {
                notes.extend(found);
                changed += source.content.to_ascii_lowercase().matches("stream").count();
                let depth = source.path.as_str().matches('/').count();
                let include = format!("#include \"{}{QUEUE_HEADER}\"\n", "../".repeat(depth));
                said.push(SourceFile { path: source.path.clone(), content: include + &content });
            }
            Err(found) => violations.extend(found),
        }
    }
    if !violations.is_empty() {
        return Err(invalid(violations));
    }
    if changed > 0 {
        let path = QUEUE_HEADER.parse().expect("a plain name");
        said.push(SourceFile { path, content: word::HEADER.to_owned() });
        notes.push(format!(
            "`stream` is said as `queue` in {changed} places: the server refuses a file with the word, wherever it stands"
        ));
    }
    Ok(said)
}

/// A Python file, but for directives that say otherwise; an entry of another name is called with the problem's data.
fn python(
    artifact: &Artifact,
    leaderboard: &Leaderboard,
    head: [&str; 2],
    notes: &mut Vec<String>,
) -> Result<String, Invalid> {
    let [source] = artifact.sources() else {
        let found: Vec<_> = artifact.sources().iter().map(|source| source.path.as_str()).collect();
        let violation = FormatViolation::new("sources", "one Python file", found.join(", "));
        return Err(invalid(vec![violation]));
    };
    let (path, symbol) = (source.path.as_str(), &artifact.manifest().build.entry_point.symbol);
    let mut violations = Vec::new();
    if !python::gives(&source.content, symbol) {
        let expected = format!("a function `{symbol}`, which the problem calls with its data");
        violations.push(FormatViolation::new(path, expected, "none"));
    }
    name_the_word(path, &source.content, &mut violations);
    if !violations.is_empty() {
        return Err(invalid(violations));
    }
    if let Some((line, statement)) = python_entry::placeholder(&source.content) {
        notes.push(format!("{path} line {line}: {ENTRY} does nothing yet: its body is `{statement}`"));
    }
    note_the_default(path, &source.content, leaderboard, notes);
    note_another(path, &source.content, leaderboard, notes);
    let (text, dropped) = python_entry::without_directives(&source.content, head);
    for (line, directive) in dropped {
        notes.push(format!("{path} line {line}: `{directive}` is left out: --leaderboard and --gpus say it"));
    }
    if symbol == ENTRY {
        return Ok(text);
    }
    let definition = definition_of(artifact)?;
    let mut body = text.trim_end().to_owned();
    if artifact.manifest().build.destination_passing_style {
        let _ = write!(body, "\n\n\nimport torch\n\n\n{}", adapter::text(&definition, symbol)?);
    } else {
        let _ = write!(body, "\n\n\n{}", adapter::returning(&definition, symbol));
    }
    Ok(body)
}

/// Torch compiles for the plain architecture where nothing names one, and a Python file is not ours to change.
fn note_the_default(path: &str, text: &str, leaderboard: &Leaderboard, notes: &mut Vec<String>) {
    let archs = leaderboard.gpus.iter().filter_map(|gpu| arch_of(gpu));
    let Some(arch) = archs.filter(|arch| arch.feature == Feature::Specific).max() else { return };
    let plain = Arch { feature: Feature::Plain, ..arch };
    for line in python_entry::compiles_for_the_default(text) {
        notes.push(format!(
            "{path} line {line}: no flag names an architecture, so the server's torch adds plain {plain}: put \
             \"-gencode={}\" into its extra_cuda_cflags",
            Gencode::exact(arch)
        ));
    }
}

/// Code for another GPU does not load on this one.
fn note_another(path: &str, text: &str, leaderboard: &Leaderboard, notes: &mut Vec<String>) {
    let asked = python_entry::architectures(text);
    let Some(first) = asked.first() else { return };
    for gpu in &leaderboard.gpus {
        let Some(own) = arch_of(gpu).filter(|own| !asked.iter().any(|one| one.runs_on(*own))) else {
            continue;
        };
        let named: BTreeSet<_> = asked.iter().map(|one| one.arch.to_string()).collect();
        notes.push(format!(
            "{path} line {}: it asks for {}, which {gpu} ({own}) does not run: \"-gencode={}\" asks for that of {gpu}",
            first.line,
            named.into_iter().collect::<Vec<_>>().join(", "),
            Gencode::exact(own)
        ));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;
    use crate::interop::flashinfer::solution;
    use crate::submission::{Submission, Target};

    const DEFINITION: &str = r#"{"name": "scale", "op_type": "toy", "axes": {"n": {}, "k": {"value": 8}},
        "inputs": {"x": {"shape": ["n", "k"], "dtype": "bfloat16"}, "factor": {"shape": null, "dtype": "float32"}},
        "outputs": {"y": {"shape": ["n", "k"], "dtype": "bfloat16"}}, "reference": "def run(x, factor): pass"}"#;

    fn artifact(language: &str, entry: &str, content: &str) -> Artifact {
        built_with(
            language,
            entry,
            content,
            Target { nvcc_flags: vec!["-use_fast_math".to_owned()], ..Target::default() },
        )
    }

    fn built_with(language: &str, entry: &str, content: &str, target: Target) -> Artifact {
        let file = entry.split("::").next().unwrap();
        let text = json!({"name": "up-Stream", "definition": "scale", "author": "a", "spec": {"language": language,
            "target_hardware": ["cuda"], "entry_point": entry}, "sources": [{"path": file, "content": content}]});
        let read = solution::read(&text.to_string()).unwrap();
        Artifact::pack(Submission {
            solution: read.manifest().solution.clone(),
            build: read.manifest().build.clone(),
            target,
            sources: read.sources().to_vec(),
            definition: Some(DEFINITION.to_owned()),
            workloads: None,
            reference: None,
            unknown: Map::new(),
        })
        .unwrap()
    }

    fn b200() -> Leaderboard {
        Leaderboard::new("scale_v2", &["B200".to_owned()]).unwrap()
    }

    const KERNEL: &str = "#include <tvm/ffi/tvm_ffi.h>\nvoid run(TensorView x, double factor, TensorView y) {\n  \
                          k<<<1, 1, 0, static_cast<cudaStream_t>(TVMFFIEnvGetStream(0, 0))>>>();\n}\n\
                          TVM_FFI_DLL_EXPORT_TYPED_FUNC(run, run);\n";

    #[test]
    fn a_tvm_ffi_kernel_becomes_one_file_with_the_architecture_and_without_the_word() {
        let packed = write(&artifact("cuda", "k.cu::run", KERNEL), &b200()).unwrap();
        let start = "#!POPCORN leaderboard scale_v2\n#!POPCORN gpus B200\n\n# up-Queue by a, packed by Proofmark from ";
        assert!(packed.text.starts_with(start), "{}", packed.text);
        assert!(!word::stands_in(&packed.text));
        for part in [
            "FLAGS = [\"-gencode=arch=compute_100a,code=sm_100a\", \"-use_fast_math\"]",
            "    x = given[0]\n    factor = given[1]\n    y = given[2] if len(given) > 2 else torch.empty([x.shape[0], 8], dtype=torch.bfloat16, device=x.device)\n    _extension.run(x, factor, y)\n    return y\n",
            "r'''#include \"proofmark_queue.h\"\n#include \"proofmark_tvm_ffi.h\"\n",
            "static_cast<proofmark::Queue>(TVMFFIEnvGetQueue(0, 0))",
        ] {
            assert!(packed.text.contains(part), "{part} not in {}", packed.text);
        }
        assert_eq!(packed.notes.len(), 3, "{:?}", packed.notes);
    }

    #[test]
    fn what_only_a_linker_reads_is_told_to_the_linker_and_the_note_names_the_gpus_own_architecture() {
        let target = Target {
            arch: "sm_90a".parse().unwrap(),
            nvcc_flags: ["-lcurand", "-lineinfo"].map(str::to_owned).to_vec(),
        };
        let board = Leaderboard::new("scale", &["H100".to_owned()]).unwrap();
        let packed = write(&built_with("cuda", "k.cu::run", KERNEL, target), &board).unwrap();
        for part in [
            "FLAGS = [\"-gencode=arch=compute_90a,code=sm_90a\", \"-lineinfo\"]",
            "extra_ldflags=[\"-lcuda\", \"-lcurand\"],",
        ] {
            assert!(packed.text.contains(part), "{part} not in {}", packed.text);
        }
        assert!(packed.notes.iter().any(|note| note.ends_with("plain sm_90")), "{:?}", packed.notes);
    }

    #[test]
    fn a_python_file_stays_as_it_is() {
        let content = "import torch\n\ndef custom_kernel(data):\n    return data\n";
        let packed = write(&artifact("triton", "s.py::custom_kernel", content), &b200()).unwrap();
        assert!(packed.text.ends_with(content) && packed.notes.is_empty());
        let other = write(&artifact("python", "s.py::run", "def run(x, f, y): pass"), &b200()).unwrap();
        assert!(other.text.contains("    run(x, factor, y)\n    return y\n"), "{}", other.text);
        // Lines are those of the user's file.
        let bad = "#!POPCORN gpus T4\na = 1\ntorch.cuda.Stream()\n";
        let refused = write(&artifact("python", "s.py::custom_kernel", bad), &b200()).unwrap_err();
        let places: Vec<_> = refused.violations.iter().map(|one| one.place.as_str()).collect();
        assert_eq!(places, ["s.py", "s.py line 3"]);
        assert!(refused.violations[1].expected.contains("a launch needs to name none"));
        let said = "def custom_kernel(data):\n    return data  # no Stream here\n";
        let refused = write(&artifact("python", "s.py::custom_kernel", said), &b200()).unwrap_err();
        let expected = &refused.violations[0].expected;
        assert!(refused.violations.len() == 1 && expected.contains("in comments neither"), "{refused}");
    }

    #[test]
    fn what_a_python_file_lacks_is_told_with_its_line() {
        let content = "#!POPCORN leaderboard other\n#!POPCORN gpus B200\nfrom torch.utils.cpp_extension import load_inline\n\
                       m = load_inline(name='m')\n\n\ndef custom_kernel(data):\n    pass\n";
        let packed = write(&artifact("python", "s.py::custom_kernel", content), &b200()).unwrap();
        assert_eq!(packed.text.matches("#!POPCORN").count(), 2, "{}", packed.text);
        let starts: Vec<_> = packed.notes.iter().map(|note| note.split(':').next().unwrap()).collect();
        assert_eq!(starts, ["s.py line 8", "s.py line 4", "s.py line 1"], "{:?}", packed.notes);
        assert!(packed.notes[1].contains("-gencode=arch=compute_100a,code=sm_100a"), "{:?}", packed.notes);
        let older = Leaderboard::new("scale", &["A100".to_owned()]).unwrap();
        let packed = write(&artifact("python", "s.py::custom_kernel", content), &older).unwrap();
        assert!(!packed.notes.iter().any(|note| note.contains("-gencode")), "{:?}", packed.notes);
    }

    #[test]
    fn a_python_file_that_asks_for_another_gpus_architecture_is_told_with_its_line() {
        let notes = |flag: &str, gpu: &str| {
            let content = format!(
                "from torch.utils.cpp_extension import load_inline\nm = load_inline(name='m',\n    extra_cuda_cflags=['{flag}'])\n\n\n\
                 def custom_kernel(data):\n    return data\n"
            );
            let board = Leaderboard::new("scale", &[gpu.to_owned()]).unwrap();
            write(&artifact("python", "s.py::custom_kernel", &content), &board).unwrap().notes
        };
        let told = notes("-gencode=arch=compute_90a,code=sm_90a", "B200");
        assert!(
            told.len() == 1 && told[0].starts_with("s.py line 3: it asks for sm_90a, which B200 (sm_100a)"),
            "{told:?}"
        );
        for (flag, gpu) in [
            ("-gencode=arch=compute_80,code=sm_80", "H100"),
            ("-gencode=arch=compute_100,code=sm_100", "H100"),
            ("-arch=sm_90a", "B200"),
        ] {
            assert_eq!(notes(flag, gpu).len(), 1, "{flag} {gpu}");
        }
        for (flag, gpu) in [
            ("-gencode=arch=compute_90a,code=sm_90a", "H100"),
            ("-gencode=arch=compute_80,code=[sm_80,compute_80]", "B200"),
            ("-arch=sm_90", "B200"),
            ("-gencode=arch=compute_100f,code=sm_100f", "B200"),
            ("-gencode=arch=compute_80,code=sm_80", "A10"),
            ("-gencode=arch=compute_{cc},code=sm_{cc}", "B200"),
        ] {
            let told = notes(flag, gpu);
            assert!(!told.iter().any(|note| note.contains("asks for")), "{flag} {gpu}: {told:?}");
        }
    }

    #[test]
    fn every_gpu_is_checked_or_said_to_be_unknown() {
        let on = |gpu: &str| {
            let board = Leaderboard::new("scale", &[gpu.to_owned()]).unwrap();
            write(&artifact("cuda", "k.cu::run", KERNEL), &board)
        };
        for gpu in ["H200", "RTX5090", "B300", "MI300", "a100"] {
            let refused = on(gpu).unwrap_err().to_string();
            assert!(refused.contains("sm_100a") && refused.contains(gpu), "{refused}");
        }
        for gpu in ["B2000", "Blackwell"] {
            let notes = on(gpu).unwrap().notes;
            assert!(notes[0].contains(gpu) && notes[0].contains("B200 (sm_100a)"), "{notes:?}");
        }
        assert!(!on("b200").unwrap().notes[0].contains("known"));
    }

    #[test]
    fn refuses_a_gpu_that_cannot_run_the_architecture_and_names_that_break_out() {
        let gpus = ["H100".to_owned(), "B200".to_owned()];
        let board = Leaderboard::new("scale", &gpus).unwrap();
        let refused = write(&artifact("cuda", "k.cu::run", KERNEL), &board).unwrap_err();
        assert_eq!(refused.violations.len(), 1);
        assert!(refused.violations[0].expected.contains("H100"));
        for name in ["", "a b", "a\n#!POPCORN gpus T4"] {
            assert!(Leaderboard::new(name, &gpus).is_err(), "{name:?}");
        }
        assert!(Leaderboard::new("a", &[]).is_err());
    }

    #[test]
    fn refuses_a_file_that_is_too_large() {
        let large = format!("# {}\n{KERNEL}", "x".repeat(LARGEST_BYTES));
        let refused =
            write(&artifact("cuda", "k.cu::run", &large.replacen('#', "//", 1)), &b200()).unwrap_err();
        assert!(refused.to_string().contains("at most 1000000 bytes"), "{refused}");
    }
}
