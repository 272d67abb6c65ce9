//! Finds what the folder above a submission gives it: definition, workloads and reference.
//!
//! A task folder holds what all submissions for one definition share:
//!
//! ```text
//! <definition>/
//! ├── definition.json      makes it a task folder, for submissions of the definition that it names
//! ├── workloads.jsonl      optional
//! ├── reference/           optional: the submission that says what is right
//! └── <submission>/        one folder a submission
//! ```
//!
//! A file of the submission's own goes before the one above. The submission in `reference/` gets
//! definition and workloads as the others do, and no reference. A folder `reference/` inside of a
//! submission is sources like any other.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::config::CONFIG_NAME;
use super::part::{DEFINITION_NAME, io_error, read_definition, read_workloads};
use super::{Note, SubmissionError, Violation, Violations};
use crate::escape;

/// The folder of the reference inside a task folder.
pub const REFERENCE_NAME: &str = "reference";

/// The shared definition, as seen from the submission.
const DEFINITION_ABOVE: &str = "../definition.json";

/// The shared workloads, as seen from the submission.
const WORKLOADS_ABOVE: &str = "../workloads.jsonl";

/// The reference, as seen from the submission.
const REFERENCE_ABOVE: &str = "../reference";

/// The folder above a submission, where it holds the submission's definition.
pub(super) struct TaskFolder {
    /// The real place of the task folder, behind links.
    place: PathBuf,
    /// The real place of the submission in it.
    submission: PathBuf,
    /// The text of its `definition.json`.
    definition: String,
}

impl TaskFolder {
    /// Looks above a submission for the definition of that name; one that cannot be taken is noted.
    pub(super) fn above(folder: &Path, name: &str, notes: &mut Vec<Note>) -> Option<Self> {
        let submission = folder.canonicalize().ok()?;
        let place = submission.parent()?.to_owned();
        let mut violations = Vec::new();
        let found = read_definition(&place, DEFINITION_ABOVE, Some(name), &mut violations);
        let reason = match (found, violations.first()) {
            (Ok(Some(definition)), None) => return Some(Self { place, submission, definition }),
            (Ok(None), None) => return None,
            (_, Some(violation)) => violation.to_string(),
            (Err(error), None) => error.to_string(),
        };
        let reason = reason.strip_prefix(DEFINITION_ABOVE).unwrap_or(&reason);
        notes.push(note(DEFINITION_ABOVE, reason.trim_start_matches(": ")));
        None
    }

    /// The text of the shared definition.
    pub(super) fn definition(&self) -> &str {
        &self.definition
    }

    /// The text of the shared workloads, which must belong to the definition of that name.
    pub(super) fn workloads(
        &self,
        name: &str,
        violations: &mut Vec<Violation>,
    ) -> Result<Option<String>, SubmissionError> {
        read_workloads(&self.place, WORKLOADS_ABOVE, Some(name), violations)
    }

    /// The folder of the reference; `None` if there is none, or if the submission is the reference.
    pub(super) fn reference(&self, notes: &mut Vec<Note>) -> Result<Option<PathBuf>, SubmissionError> {
        let place = self.place.join(REFERENCE_NAME);
        match place.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(io_error(&place))?,
        };
        let Ok(real) = place.canonicalize() else {
            notes.push(note(REFERENCE_ABOVE, "a link that leads nowhere"));
            return Ok(None);
        };
        if real == self.submission {
            return Ok(None);
        }
        if !real.starts_with(&self.place) {
            let target = real.display().to_string();
            let violation = Violation::LinkLeavesFolder { path: REFERENCE_ABOVE.to_owned(), target };
            let violations = Violations(vec![violation]);
            return Err(SubmissionError::Invalid { folder: self.submission.clone(), violations });
        }
        if real.join(CONFIG_NAME).symlink_metadata().is_err() {
            notes.push(note(REFERENCE_ABOVE, "it has no config.toml"));
            return Ok(None);
        }
        Ok(Some(real))
    }
}

/// Forgets the reference among the submissions of a task folder, unless it is the only one.
pub(super) fn leave_out_the_reference(folder: &Path, found: &mut Vec<PathBuf>) {
    let is_task_folder = fs::metadata(folder.join(DEFINITION_NAME)).is_ok_and(|metadata| metadata.is_file());
    if is_task_folder && found.len() > 1 {
        found.retain(|path| path.file_name().is_none_or(|name| name != REFERENCE_NAME));
    }
}

/// A note of the reference, with the path as seen from the submission.
pub(super) fn note_of_reference(note: Note) -> Note {
    Note { path: format!("{REFERENCE_ABOVE}/{}", note.path), ..note }
}

fn note(path: &str, reason: &str) -> Note {
    Note { path: path.to_owned(), what: escape::line(&format!("not taken: {reason}")) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::super::{FolderContents, find, read};
    use super::*;
    use crate::Artifact;

    const DEFINITION: &str = "{\"name\": \"d\"}";
    const WORKLOADS: &str = "{\"definition\": \"d\"}\n";

    fn config(name: &str, definition: &str) -> String {
        format!(
            "[solution]\nname = \"{name}\"\ndefinition = \"{definition}\"\nauthor = \"a\"\n[build]\nlanguage = \"cuda\"\nentry_point = \"k.cu::run\"\n"
        )
    }

    fn write(top: &Path, path: &str, content: &str) {
        let place = top.join(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, content).unwrap();
    }

    fn submission(top: &Path, name: &str, definition: &str) -> PathBuf {
        write(top, &format!("{name}/config.toml"), &config(name, definition));
        write(top, &format!("{name}/k.cu"), name);
        top.join(name)
    }

    /// A task folder with two submissions and a reference.
    fn task() -> tempfile::TempDir {
        let top = tempfile::tempdir().unwrap();
        write(top.path(), "definition.json", DEFINITION);
        write(top.path(), "workloads.jsonl", WORKLOADS);
        for name in ["fast", "plain", "reference"] {
            submission(top.path(), name, "d");
        }
        top
    }

    fn contents(folder: &Path) -> FolderContents {
        read(folder).unwrap()
    }

    #[test]
    fn gives_definition_workloads_and_reference_to_every_submission_in_it() {
        let top = task();
        for name in ["fast", "plain"] {
            let FolderContents { submission, notes } = contents(&top.path().join(name));
            assert_eq!(submission.definition.as_deref(), Some(DEFINITION));
            assert_eq!(submission.workloads.as_deref(), Some(WORKLOADS));
            assert_eq!(submission.reference.as_ref().unwrap().sources[0].content, "reference");
            assert_eq!(notes, []);
        }
    }

    #[test]
    fn the_reference_packs_alone_to_the_digest_that_it_has_inside() {
        let top = task();
        let alone = contents(&top.path().join("reference")).submission;
        assert_eq!((alone.reference.is_none(), alone.definition.as_deref()), (true, Some(DEFINITION)));
        let alone = Artifact::pack(alone).unwrap();
        let fast = Artifact::pack(contents(&top.path().join("fast")).submission).unwrap();
        assert_eq!(fast.reference().unwrap().digest(), alone.digest());
        assert_eq!(fast.manifest().reference, Some(alone.digest()));
    }

    #[test]
    fn what_the_submission_has_of_its_own_goes_first() {
        let top = task();
        write(top.path(), "fast/definition.json", "{\"name\": \"d\", \"own\": true}");
        write(top.path(), "fast/workloads.jsonl", "");
        write(top.path(), "fast/reference/k.cu", "// sources that nothing includes");
        let submission = contents(&top.path().join("fast")).submission;
        assert!(submission.definition.unwrap().contains("own"));
        assert_eq!(submission.workloads.as_deref(), Some(""));
        assert_eq!(submission.reference.unwrap().sources[0].content, "reference");
        assert_eq!(submission.sources.len(), 1);
    }

    #[test]
    fn a_folder_of_another_definition_gives_nothing_and_is_noted() {
        let top = task();
        let folder = submission(top.path(), "other", "other_definition");
        let FolderContents { submission, notes } = contents(&folder);
        assert!(submission.definition.is_none() && submission.reference.is_none());
        assert_eq!(notes.len(), 1);
        assert_eq!(notes[0].path, "../definition.json");
        assert!(
            notes[0].what.starts_with("not taken: `name` is `d`: expected `other_definition`"),
            "{notes:?}"
        );
        fs::remove_file(top.path().join("definition.json")).unwrap();
        assert!(contents(&top.path().join("fast")).submission.workloads.is_none(), "no task folder");
    }

    #[test]
    fn a_reference_that_cannot_be_one_is_noted_or_refused() {
        let top = task();
        let config_of_reference = top.path().join("reference/config.toml");
        fs::remove_file(&config_of_reference).unwrap();
        let FolderContents { submission, notes } = contents(&top.path().join("fast"));
        assert!(submission.reference.is_none());
        assert_eq!(notes[0].what, "not taken: it has no config.toml");
        fs::write(&config_of_reference, config("reference", "other")).unwrap();
        let submission = contents(&top.path().join("fast")).submission;
        let refused = Artifact::pack(submission).unwrap_err().to_string();
        assert!(refused.contains("the reference implements `other`: expected `d`"), "{refused}");
        fs::write(&config_of_reference, "").unwrap();
        let refused = read(&top.path().join("fast")).unwrap_err().to_string();
        assert!(refused.contains("reference is not a valid submission"), "{refused}");
    }

    #[test]
    fn a_reference_outside_of_the_task_folder_is_refused_and_one_inside_is_followed() {
        let (top, elsewhere) = (task(), task());
        fs::remove_dir_all(top.path().join("reference")).unwrap();
        symlink(elsewhere.path().join("fast"), top.path().join("reference")).unwrap();
        let refused = read(&top.path().join("fast")).unwrap_err().to_string();
        assert!(refused.contains("../reference links to "), "{refused}");
        fs::remove_file(top.path().join("reference")).unwrap();
        symlink("plain", top.path().join("reference")).unwrap();
        let submission = contents(&top.path().join("fast")).submission;
        assert_eq!(submission.reference.unwrap().solution.name, "plain");
        assert!(contents(&top.path().join("plain")).submission.reference.is_none());
    }

    #[test]
    fn the_reference_is_no_submission_among_others() {
        let top = task();
        let names = |found: Vec<PathBuf>| {
            found.iter().map(|path| path.file_name().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names(find(top.path()).unwrap()), ["fast", "plain"]);
        for name in ["fast", "plain"] {
            fs::remove_dir_all(top.path().join(name)).unwrap();
        }
        assert_eq!(names(find(top.path()).unwrap()), ["reference"]);
    }
}
