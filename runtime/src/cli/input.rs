//! Opens the inputs that verbs take: an artifact, a `solution.json` or a submission folder.

use std::path::{Path, PathBuf};

use proofmark_packager::interop::flashinfer::Dataset;
use proofmark_packager::open::{self, OpenError};
use proofmark_packager::submission::{self, CONFIG_NAME, SubmissionError};
use proofmark_packager::{Opened, bundle::BundleError};

use super::console::Console;
use super::failure::Failure;

/// FlashInfer-Bench's own variable for the place of its data set.
const DATASET_VARIABLE: &str = "FIB_DATASET_PATH";

/// Opens one input and says what the packer did on the way in.
pub(super) fn open_one(path: &Path, console: &Console) -> Result<Opened, Failure> {
    let opened = open::open(path).map_err(explain)?;
    for note in &opened.notes {
        console.say(format!("note: {}: {}", note.path, note.what));
    }
    Ok(opened)
}

/// Opens every submission that a path holds, or the one that implements a definition.
pub(super) fn open_all(
    path: &Path,
    definition: Option<&str>,
    console: &Console,
) -> Result<Vec<(PathBuf, Opened)>, Failure> {
    let places = if path.is_dir() {
        submission::find(path).map_err(|error| explain(error.into()))?
    } else {
        vec![path.to_owned()]
    };
    let mut opened = Vec::new();
    for place in places {
        // A folder of another definition need not be valid to pack this one.
        let named =
            place.file_name().is_some_and(|name| definition.is_some_and(|definition| name == definition));
        match open_one(&place, console) {
            Ok(one) => opened.push((place, one)),
            Err(failure) if named || definition.is_none() => return Err(failure),
            Err(_) => {}
        }
    }
    if let Some(definition) = definition {
        opened.retain(|(_, one)| one.bundle.artifact.manifest().solution.definition == definition);
        if opened.is_empty() {
            let text = format!("no submission for the definition `{definition}` in {}", path.display());
            return Err(Failure::request(text).hint("`[solution] definition` in each config.toml names it"));
        }
    }
    Ok(opened)
}

/// The data set that the environment names; an empty variable names none.
pub(super) fn dataset_variable() -> Option<PathBuf> {
    std::env::var_os(DATASET_VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The data set that an option or else the environment names.
pub(super) fn dataset(option: Option<&Path>) -> Result<Option<Dataset>, Failure> {
    match (option, dataset_variable()) {
        (Some(root), _) => Dataset::open(root).map(Some).map_err(Failure::request),
        (None, Some(root)) => Dataset::open(&root).map(Some).map_err(|error| {
            Failure::request(error).hint(format!("{DATASET_VARIABLE} names it: unset it, or use --dataset"))
        }),
        (None, None) => Ok(None),
    }
}

fn explain(error: OpenError) -> Failure {
    let way_out = match &error {
        OpenError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            Some("name a submission folder, an artifact (.zip) or a solution.json".to_owned())
        }
        OpenError::Unknown { path, .. } if path.extension().is_some_and(|end| end == "py") => Some(
            "a file for GPU MODE lies in a submission folder: `proofmark new PROBLEM -o DIR` makes one, and the file \
             takes the place of DIR/solution/python/submission.py"
                .to_owned(),
        ),
        OpenError::Unknown { path, .. } if path.extension().is_some_and(|end| end == "cu") => Some(
            "a kernel lies in a submission folder beside a config.toml: `proofmark new DEFINITION` makes one".to_owned(),
        ),
        OpenError::Unknown { path, .. } if path.file_name().is_some_and(|name| name == CONFIG_NAME) => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            Some(format!("name its folder: {}", folder.unwrap_or(Path::new(".")).display()))
        }
        OpenError::Definition { path } => {
            Some(format!("`proofmark new {}` writes a submission for it", path.display()))
        }
        OpenError::Several { path, found } => {
            Some(format!("name one of them, such as {}", path.join(&found[0]).display()))
        }
        OpenError::Submission(SubmissionError::NoConfig { .. }) => {
            Some("`proofmark new DEFINITION` writes a submission to start from".to_owned())
        }
        OpenError::Submission(SubmissionError::Invalid { .. }) => {
            Some("the rules: `proofmark pack --help`".to_owned())
        }
        OpenError::Bundle { source: BundleError::Version { .. }, .. } => Some(
            "`proofmark --version` says what this one is; a newer release reads newer formats".to_owned(),
        ),
        OpenError::Bundle { source: BundleError::Digest { .. }, .. } => {
            Some("the artifact was changed after it was packed: take it from its source again".to_owned())
        }
        _ => None,
    };
    let is_io = matches!(
        &error,
        OpenError::Io { source, .. } | OpenError::Submission(SubmissionError::Io { source, .. })
            if source.kind() != std::io::ErrorKind::NotFound
    );
    let failure = if is_io { Failure::could_not_judge(error) } else { Failure::request(error) };
    way_out.into_iter().fold(failure, Failure::hint)
}
