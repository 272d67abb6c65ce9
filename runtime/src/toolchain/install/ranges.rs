//! Reads a part of a wheel from the user's index by ranges of bytes, through the user's Python.
//!
//! Whether that works depends on the index and on the network between; where it does not, pip fetches the
//! whole wheel. What comes is checked either way.

use std::path::Path;
use std::process::Command;

use super::super::lock_file::{PinnedWheel, WheelPart};
use super::part;
use super::pip::FETCH_LIMITS;
use crate::process_tree::spelled_out;
use crate::sandbox;

const SCRIPT: &str = include_str!("ranges.py");

/// Writes the part as a zip to `into`; `false` if the index does not give it.
pub(super) fn read(python: &Path, wheel: &PinnedWheel, wanted: &WheelPart, into: &Path) -> bool {
    let licenses = format!("{}-{}.dist-info/licenses/", wheel.project.replace('-', "_"), wheel.version);
    let Ok(into) = std::path::absolute(into) else { return false };
    let Some(folder) = into.parent() else { return false };
    let mut command = Command::new(spelled_out(python));
    // Python imports modules from the folder that it runs in: a stranger's may lie in the current one.
    command.current_dir(folder);
    command.args(["-c", SCRIPT, &wheel.project, &wheel.file, &wheel.size_bytes.to_string()]);
    command.arg(&into).args(part::starts(wanted, &licenses));
    let run = sandbox::supervise(command, FETCH_LIMITS, &mut |_| ());
    run.is_ok_and(|run| run.ending.is_success()) && into.is_file()
}
