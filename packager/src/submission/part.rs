//! Reads the named files of a submission: `config.toml` and what may stand beside it.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::config::CONFIG_NAME;
use super::{SubmissionError, Violation, Violations};
use crate::json::{self, Budget};
use crate::sources::{LARGEST_DEFINITION_BYTES, LARGEST_WORKLOADS_BYTES};

/// The operator's definition, beside `config.toml`.
pub const DEFINITION_NAME: &str = "definition.json";

/// The operator's workloads, beside `config.toml`.
pub const WORKLOADS_NAME: &str = "workloads.jsonl";

/// Largest `config.toml`, in bytes: a hundred times a long one. Its parser takes some hundred bytes of
/// memory for each byte of text.
const LARGEST_CONFIG_BYTES: u64 = 256 << 10;

/// Finds and reads the `config.toml` of a folder; gives its real place, behind links, and its text.
pub fn open_config(folder: &Path) -> Result<(PathBuf, String), SubmissionError> {
    let mut violations = Vec::new();
    let text = read_config(folder, &mut violations)?;
    let Some(text) = text else {
        let violations = Violations(violations);
        return Err(SubmissionError::Invalid { folder: folder.to_owned(), violations });
    };
    let place = folder.join(CONFIG_NAME);
    Ok((place.canonicalize().map_err(io_error(&place))?, text))
}

/// Reads `config.toml`; violations and `None` if something else has its name.
pub(super) fn read_config(
    folder: &Path,
    violations: &mut Vec<Violation>,
) -> Result<Option<String>, SubmissionError> {
    let text = read_part(folder, CONFIG_NAME, CONFIG_NAME, LARGEST_CONFIG_BYTES, violations)?;
    if text.is_none() && violations.is_empty() {
        return Err(SubmissionError::NoConfig { folder: folder.to_owned() });
    }
    Ok(text)
}

/// Reads one named file; `None` if nothing has that name, and `None` with a violation if what has
/// it is no file of this folder. Violations call it by its path as seen from the submission.
fn read_part(
    folder: &Path,
    name: &str,
    path: &'static str,
    most_bytes: u64,
    violations: &mut Vec<Violation>,
) -> Result<Option<String>, SubmissionError> {
    let place = folder.join(name);
    match place.symlink_metadata() {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        other => other.map_err(io_error(&place))?,
    };
    let mut not_a_file = |found| violations.push(Violation::NotAFile { path, found });
    let real = match place.canonicalize() {
        // Dangling or going in circles.
        Err(error) if error.kind() != io::ErrorKind::PermissionDenied => {
            not_a_file("a link that leads nowhere");
            return Ok(None);
        }
        other => other.map_err(io_error(&place))?,
    };
    if !real.starts_with(folder.canonicalize().map_err(io_error(folder))?) {
        let target = real.display().to_string();
        violations.push(Violation::LinkLeavesFolder { path: path.to_owned(), target });
        return Ok(None);
    }
    let metadata = real.metadata().map_err(io_error(&place))?;
    if !metadata.is_file() {
        not_a_file(if metadata.is_dir() { "a folder" } else { "a pipe, socket or device" });
        return Ok(None);
    }
    read_text(&place, path, most_bytes, violations)
}

/// Reads one text, bounded; a violation and `None` if it is too large or not UTF-8.
pub(super) fn read_text(
    place: &Path,
    path: &str,
    most_bytes: u64,
    violations: &mut Vec<Violation>,
) -> Result<Option<String>, SubmissionError> {
    let file = File::open(place).map_err(io_error(place))?;
    let metadata = file.metadata().map_err(io_error(place))?;
    let mut bytes = Vec::new();
    let found_bytes = match metadata.len() {
        length if length > most_bytes => length,
        _ => file.take(most_bytes + 1).read_to_end(&mut bytes).map_err(io_error(place))? as u64,
    };
    if found_bytes > most_bytes {
        violations.push(Violation::TooLarge { path: path.to_owned(), found_bytes, most_bytes });
        return Ok(None);
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(text)),
        Err(error) => {
            let offset = error.utf8_error().valid_up_to();
            violations.push(Violation::NotUtf8 { path: path.to_owned(), offset });
            Ok(None)
        }
    }
}

/// Reads `definition.json`, which must belong to the definition of that name.
pub(super) fn read_definition(
    folder: &Path,
    path: &'static str,
    name: Option<&str>,
    violations: &mut Vec<Violation>,
) -> Result<Option<String>, SubmissionError> {
    let text = read_part(folder, DEFINITION_NAME, path, LARGEST_DEFINITION_BYTES, violations)?;
    if let (Some(text), Some(name)) = (&text, name) {
        let fault = json_fault(text, "name", name);
        violations.extend(fault.map(|message| Violation::Attachment { path, message }));
    }
    Ok(text)
}

/// Reads `workloads.jsonl`, whose every line must belong to the definition of that name.
pub(super) fn read_workloads(
    folder: &Path,
    path: &'static str,
    name: Option<&str>,
    violations: &mut Vec<Violation>,
) -> Result<Option<String>, SubmissionError> {
    let text = read_part(folder, WORKLOADS_NAME, path, LARGEST_WORKLOADS_BYTES, violations)?;
    if let (Some(text), Some(name)) = (&text, name) {
        // One bad line is enough: a wrong definition is wrong in every line.
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let fault =
            lines.into_iter().find_map(|(index, line)| Some((index, json_fault(line, "definition", name)?)));
        if let Some((index, fault)) = fault {
            let message = format!("line {}: {fault}", index + 1);
            violations.push(Violation::Attachment { path, message });
        }
    }
    Ok(text)
}

/// What keeps a JSON text from belonging to one definition.
fn json_fault(text: &str, key: &str, expected: &str) -> Option<String> {
    match json::parse::<serde_json::Value>(text, Budget::DOCUMENT) {
        Err(error) => Some(error.to_string()),
        Ok(value) => match value.get(key).and_then(serde_json::Value::as_str) {
            Some(found) if found == expected => None,
            Some(found) => Some(format!(
                "`{key}` is `{}`: expected `{expected}`, as in config.toml",
                found.escape_debug()
            )),
            None => Some(format!("`{key}` is missing: expected `{expected}`, as in config.toml")),
        },
    }
}

pub(super) fn io_error(path: &Path) -> impl FnOnce(io::Error) -> SubmissionError {
    let path = path.to_owned();
    move |source| SubmissionError::Io { path, source }
}
