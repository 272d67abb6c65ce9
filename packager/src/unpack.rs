//! Writes an artifact back as the folder that packs to it again.
//!
//! ```text
//! <folder>/
//! ├── config.toml
//! ├── definition.json     if packed
//! ├── workloads.jsonl     if packed
//! ├── solution/<language>/kernel.cu …   the sources
//! └── evidence/…          if sealed
//! ```
//!
//! An artifact with a reference becomes a task folder, which holds both:
//!
//! ```text
//! <folder>/
//! ├── definition.json
//! ├── workloads.jsonl     if packed
//! ├── reference/          config.toml and sources
//! └── <name>/             config.toml and sources of the submission, evidence/… if sealed
//! ```
//!
//! Not every artifact has such a folder: one that came from a foreign `solution.json` may hold what
//! no folder does, such as an absent description, fields that the format does not know, CRLF line
//! ends, or files that no include reaches. The folder is therefore packed again on the spot, and
//! what would become different is reported.
//!
//! This is the layout of the contest's kit. What the kit does not read in it, such as a description or
//! dependencies, is kept by putting the sources beside `config.toml` instead.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::artifact::{Artifact, Manifest};
use crate::bundle::Bundle;
use crate::difference::{self, Change, Difference};
use crate::format::{DEFINITION_NAME, EVIDENCE_PREFIX, WORKLOADS_NAME};
use crate::sources::SourcePath;
use crate::submission::{
    self, CONFIG_NAME, FolderContents, REFERENCE_NAME, SubmissionError, Violations, write_config,
};

/// The submission's folder beside a reference, where its own name is taken.
const SUBMISSION_NAME: &str = "submission";

/// Longest value that is shown where it has no place, in characters.
const LONGEST_VALUE: usize = 200;

/// Why nothing was unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The folder holds something already.
    #[error("{} exists and is not empty: expected a new or empty folder", folder.display())]
    Occupied {
        /// The folder.
        folder: PathBuf,
    },
    /// No folder can hold these sources so that they pack to the same artifact.
    #[error(
        "source `{path}` collides with a file of the submission folder, and the kit layout cannot keep `{field}`"
    )]
    Collision {
        /// The colliding source.
        path: SourcePath,
        /// What the kit layout would lose.
        field: &'static str,
    },
    /// The file system refused.
    #[error("cannot write {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// What was unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpacked {
    /// The folder with the submission's `config.toml`.
    pub submission: PathBuf,
    /// The files, in the order in which they were written.
    pub files: Vec<PathBuf>,
    /// Why the folder packs to another digest; empty if it packs to the same.
    pub losses: Vec<String>,
}

impl Unpacked {
    /// Whether the folder packs to the artifact that it came from.
    #[must_use]
    pub fn packs_to_same_digest(&self) -> bool {
        self.losses.is_empty()
    }
}

/// Unpacks into a new or empty folder: all of it or nothing.
pub fn unpack(bundle: &Bundle, folder: &Path) -> Result<Unpacked, UnpackError> {
    let occupied = fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
    if occupied || folder.is_file() {
        return Err(UnpackError::Occupied { folder: folder.to_owned() });
    }
    let files = files_of(bundle)?;
    let parent = match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent).map_err(io_error(parent))?;
    let staging = tempfile::Builder::new().prefix(".proofmark-unpack-").tempdir_in(parent);
    // The kind alone: the temporary folder's name means nothing to anybody.
    let staging = staging.map_err(|error| io_error(folder)(error.kind().into()))?;
    // Its own folder inside, because the staging folder itself is private to the user.
    let root = staging.path().join("tree");
    for (path, content) in &files {
        let place = root.join(path);
        let above = place.parent().unwrap_or(&root);
        fs::create_dir_all(above)
            .and_then(|()| fs::write(&place, content))
            .map_err(io_error(&folder.join(path)))?;
    }
    let submission = submission_folder(&bundle.artifact);
    let losses = losses_of(&bundle.artifact, &root.join(&submission))?;
    fs::rename(&root, folder).map_err(io_error(folder))?;
    let files = files.into_iter().map(|(path, _)| folder.join(path)).collect();
    Ok(Unpacked { submission: folder.join(submission), files, losses })
}

/// Packs an unpacked folder again and says what became different.
fn losses_of(artifact: &Artifact, root: &Path) -> Result<Vec<String>, UnpackError> {
    let in_words = |Violations(found): Violations| found.iter().map(ToString::to_string).collect();
    let submission = match submission::read(root) {
        Ok(FolderContents { submission, notes: _ }) => submission,
        Err(SubmissionError::Invalid { violations, .. }) => return Ok(in_words(violations)),
        Err(SubmissionError::Io { path, source }) => return Err(UnpackError::Io { path, source }),
        Err(error @ SubmissionError::NoConfig { .. }) => return Ok(vec![error.to_string()]),
    };
    Ok(match Artifact::pack(submission) {
        Ok(again) => difference_in_words(&difference::compare(artifact, &again)),
        Err(violations) => in_words(violations),
    })
}

fn difference_in_words(difference: &Difference) -> Vec<String> {
    if difference.is_empty() {
        return Vec::new();
    }
    let fields = difference.fields.iter().map(|one| match one.field.strip_prefix("unknown.") {
        Some(field) => {
            let value = shortened(&one.a.to_string());
            format!(
                "`{field}`: no place for it in a config.toml, so {value} is lost: only the file itself has it"
            )
        }
        None => format!("`{}`: {} becomes {}", one.field, one.a, one.b),
    });
    let texts = difference.texts.iter().map(|text| {
        let why = match text.change {
            Change::Changed => "line ends become LF, and an empty file one newline",
            Change::Removed => "the packer would leave it out",
            Change::Added => "the packer would add it",
        };
        format!("{}: {why}", text.path)
    });
    let reference = difference.reference.iter().flat_map(|inside| {
        difference_in_words(inside).into_iter().map(|loss| format!("in the reference: {loss}"))
    });
    fields.chain(texts).chain(reference).collect()
}

/// The beginning of a text that may be long.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST_VALUE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Where the submission stands in the unpacked folder: at the top, or in a folder beside the reference.
fn submission_folder(artifact: &Artifact) -> PathBuf {
    if artifact.reference().is_none() {
        return PathBuf::new();
    }
    let name = artifact.plain_name();
    let taken = [REFERENCE_NAME, DEFINITION_NAME, WORKLOADS_NAME];
    let is_taken = taken.iter().any(|taken| name.eq_ignore_ascii_case(taken));
    PathBuf::from(if is_taken { SUBMISSION_NAME.to_owned() } else { name })
}

/// A path below the unpacked folder, and what is written there.
type UnpackedFile = (PathBuf, Vec<u8>);

fn files_of(bundle: &Bundle) -> Result<Vec<UnpackedFile>, UnpackError> {
    let artifact = &bundle.artifact;
    let place = submission_folder(artifact);
    let mut files = attachments_of(Path::new(""), artifact, None);
    if let Some(reference) = artifact.reference() {
        files.extend(submission_files(Path::new(REFERENCE_NAME), reference)?);
        files.extend(attachments_of(Path::new(REFERENCE_NAME), reference, Some(artifact)));
    }
    files.extend(submission_files(&place, artifact)?);
    let evidence = bundle.evidence.files();
    files.extend(
        evidence.map(|(name, content)| (place.join(format!("{EVIDENCE_PREFIX}{name}")), content.to_vec())),
    );
    Ok(files)
}

/// Definition and workloads, without those that the task folder around has as well.
fn attachments_of(place: &Path, artifact: &Artifact, around: Option<&Artifact>) -> Vec<UnpackedFile> {
    let attachments = [
        (DEFINITION_NAME, artifact.definition(), around.and_then(Artifact::definition)),
        (WORKLOADS_NAME, artifact.workloads(), around.and_then(Artifact::workloads)),
    ];
    attachments
        .into_iter()
        .filter(|(_, text, around)| text != around)
        .filter_map(|(name, text, _)| Some((place.join(name), text?.as_bytes().to_vec())))
        .collect()
}

/// `config.toml` and the sources.
fn submission_files(place: &Path, artifact: &Artifact) -> Result<Vec<UnpackedFile>, UnpackError> {
    let Manifest { build, .. } = artifact.manifest();
    let config = write_config(artifact.manifest()).into_bytes();
    let mut files = vec![(place.join(CONFIG_NAME), config)];
    let collision = artifact.sources().iter().find(|source| collides(&source.path));
    let prefix = match (lost_in_the_kit_layout(artifact), collision) {
        (None, _) => format!("solution/{}/", build.language.as_str()),
        (Some(_), None) => String::new(),
        (Some(field), Some(source)) => {
            return Err(UnpackError::Collision { path: source.path.clone(), field });
        }
    };
    for source in artifact.sources() {
        files.push((place.join(format!("{prefix}{}", source.path)), source.content.clone().into_bytes()));
    }
    Ok(files)
}

fn collides(path: &SourcePath) -> bool {
    let first = path.as_str().split('/').next().unwrap_or_default().to_lowercase();
    [CONFIG_NAME, DEFINITION_NAME, WORKLOADS_NAME, "evidence", "solution"].contains(&first.as_str())
}

fn lost_in_the_kit_layout(artifact: &Artifact) -> Option<&'static str> {
    let manifest = artifact.manifest();
    let described = manifest.solution.description.as_deref().is_some_and(|text| !text.is_empty());
    let lost = [
        (!manifest.build.dependencies.is_empty(), "dependencies"),
        (manifest.build.target_hardware != ["cuda"], "target_hardware"),
        (described, "description"),
    ];
    lost.into_iter().find(|(is_lost, _)| *is_lost).map(|(_, field)| field)
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> UnpackError {
    let path = path.to_owned();
    move |source| UnpackError::Io { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interop::flashinfer::solution;
    use crate::open::open;
    use crate::submission::{SolutionMeta, Submission};
    use crate::{Bundle, Evidence};

    fn bundle(path: &str, binding: &str) -> Bundle {
        let text = format!(
            r#"{{"name":"n","definition":"d","author":"a","description":"",
            "spec":{{"language":"cuda","target_hardware":["cuda"],"entry_point":"{path}::run","binding":{binding}}},
            "sources":[{{"path":"z.h","content":"z"}},{{"path":"{path}","content":"kernel"}}]}}"#
        );
        Bundle { artifact: solution::read(&text).unwrap(), evidence: Evidence::default() }
    }

    #[test]
    fn packs_to_the_same_artifact_again() {
        for (path, binding) in
            [("k.cu", "\"torch\""), ("k.cu", "null"), ("src/k.cu", "null"), ("solution/cuda/k.cu", "null")]
        {
            let place = tempfile::tempdir().unwrap();
            let bundle = bundle(path, binding);
            unpack(&bundle, &place.path().join("out")).unwrap();
            assert!(place.path().join("out/solution/cuda").join(path).is_file());
            // `z.h` stands at the top, so it is packed wherever the entry file is.
            let opened = open(&place.path().join("out")).unwrap();
            assert_eq!(opened.bundle.artifact.digest(), bundle.artifact.digest(), "{path} {binding}");
        }
    }

    #[test]
    fn an_artifact_with_a_reference_becomes_a_task_folder_that_packs_to_it_again() {
        let submission = |name: &str, definition: &str, workloads: &str| {
            let artifact = bundle("k.cu", "null").artifact;
            let Manifest { solution, build, target, .. } = artifact.manifest().clone();
            Submission {
                solution: SolutionMeta { name: name.to_owned(), ..solution },
                build,
                target,
                sources: artifact.sources().to_vec(),
                definition: Some(definition.to_owned()),
                workloads: Some(workloads.to_owned()),
                reference: None,
                unknown: serde_json::Map::new(),
            }
        };
        let (ours, theirs) = (r#"{"name": "d"}"#, r#"{"name": "d", "of": "the reference"}"#);
        for (name, definition) in [("fast", ours), ("fast", theirs), ("Reference", ours), ("../up", ours)] {
            let reference = Some(Box::new(submission("right", definition, "")));
            let artifact = Artifact::pack(Submission { reference, ..submission(name, ours, "") }).unwrap();
            let digest = artifact.digest();
            let place = tempfile::tempdir().unwrap();
            let folder = place.path().join("out");
            let unpacked = unpack(&Bundle { artifact, evidence: Evidence::default() }, &folder).unwrap();
            assert_eq!(unpacked.losses, Vec::<String>::new(), "{name} {definition}");
            assert_eq!(open(&folder).unwrap().bundle.artifact.digest(), digest, "{name} {definition}");
            assert!(
                unpacked.submission.join(CONFIG_NAME).is_file() && unpacked.submission.starts_with(&folder)
            );
            assert!(folder.join("reference/config.toml").is_file());
            assert_eq!(folder.join("reference/definition.json").exists(), definition == theirs);
        }
    }

    #[test]
    fn says_what_would_become_different() {
        let losses = |text: &str| {
            let place = tempfile::tempdir().unwrap();
            let bundle = Bundle { artifact: solution::read(text).unwrap(), evidence: Evidence::default() };
            let unpacked = unpack(&bundle, &place.path().join("out")).unwrap();
            let same = open(&place.path().join("out"))
                .is_ok_and(|opened| opened.bundle.artifact.digest() == bundle.artifact.digest());
            assert_eq!(unpacked.packs_to_same_digest(), same, "{unpacked:?}");
            unpacked.losses
        };
        let plain = r#"{"name":"n","definition":"d","author":"a","description":"",
            "spec":{"language":"cuda","target_hardware":["cuda"],"entry_point":"k.cu::run"},
            "sources":[{"path":"k.cu","content":"kernel"}]}"#;
        assert_eq!(losses(plain), Vec::<String>::new());
        assert_eq!(losses(&plain.replace("kernel", "a\\n\\tb")), Vec::<String>::new());
        let sources = |more: &str| plain.replace("}]}", &format!("}},{more}]}}"));
        for (text, expected) in [
            (plain.replace(r#""description":"","#, ""), "`solution.description`: null becomes \"\""),
            (
                plain.replace(r#""name""#, r#""extra":1,"name""#),
                "`extra`: no place for it in a config.toml, so 1 is lost",
            ),
            (plain.replace("kernel", "a\\r\\nb"), "k.cu: line ends become LF"),
            (sources(r#"{"path":"empty.h","content":""}"#), "empty.h: line ends become LF, and an empty"),
            (
                sources(r#"{"path":"in/unused.h","content":"x"}"#),
                "in/unused.h: the packer would leave it out",
            ),
            (plain.replace(r#"["cuda"]"#, r#"[""]"#), "`build.target_hardware` is of type array"),
        ] {
            let found = losses(&text);
            assert!(found.len() == 1 && found[0].contains(expected), "{expected} not in {found:?}");
        }
    }

    #[test]
    fn a_solution_of_sol_execbench_keeps_its_languages_and_the_flags_of_every_compiler() {
        let read = |languages: &str, entry: &str, options: &str| {
            let text = format!(
                r#"{{"name":"n","definition":"d","author":"a","description":"","spec":{{"languages":{languages},
                "target_hardware":["B200"],"entry_point":"{entry}::run"{options}}},
                "sources":[{{"path":"{entry}","content":"x\n"}}]}}"#
            );
            crate::interop::solexec::solution::read(&text).unwrap().artifact
        };
        for artifact in [
            read("[\"cutlass\"]", "k.cu", r#","compile_options":{"cflags":["-std=c++17"],"ld_flags":[]}"#),
            read("[\"cudnn\"]", "k.cu", r#","compile_options":{"ld_flags":["-lcudnn"]}"#),
            read("[\"cuda_cpp\"]", "k.cu", ""),
            read("[\"cute_dsl\",\"triton\"]", "k.py", ""),
        ] {
            let place = tempfile::tempdir().unwrap();
            let folder = place.path().join("out");
            let bundle = Bundle { artifact, evidence: Evidence::default() };
            assert_eq!(unpack(&bundle, &folder).unwrap().losses, Vec::<String>::new());
            let again = open(&folder).unwrap();
            assert_eq!(again.bundle.artifact.digest(), bundle.artifact.digest());
            assert!(again.notes.is_empty(), "{:?}", again.notes);
        }
    }

    #[test]
    fn refuses_to_lose_a_field_or_to_overwrite() {
        let place = tempfile::tempdir().unwrap();
        let described = |path: &str| {
            let text = solution::write(&bundle(path, "null").artifact);
            let text = text.replace("\"description\": \"\"", "\"description\": \"fast\"");
            Bundle { artifact: solution::read(&text).unwrap(), evidence: Evidence::default() }
        };
        let lossy = unpack(&described("solution/k.cu"), &place.path().join("out"));
        assert!(matches!(lossy, Err(UnpackError::Collision { field: "description", .. })));
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
        let beside = tempfile::tempdir().unwrap();
        unpack(&described("k.cu"), &beside.path().join("out")).unwrap();
        assert!(beside.path().join("out/k.cu").is_file());
        assert_eq!(
            open(&beside.path().join("out")).unwrap().bundle.artifact.digest(),
            described("k.cu").artifact.digest()
        );
        fs::write(place.path().join("mine.txt"), "kept").unwrap();
        assert!(matches!(unpack(&bundle("k.cu", "null"), place.path()), Err(UnpackError::Occupied { .. })));
    }
}
