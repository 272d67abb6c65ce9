//! How libraries reach the process that runs the entry: a folder that it may only read.

use std::fs;
use std::io;
use std::path::Path;

use serde_json::json;

use super::entry::CapturedEntry;

/// Names each request's library; `intercept.answer` reads it.
pub const ANSWERS_NAME: &str = "answers.json";

/// What stands in for the functions that compile.
const INTERCEPT_NAME: &str = "intercept.py";

/// Writes the proven libraries of an entry, which request each is for, and what gives them, into an empty folder.
pub fn write_answers(entry: &CapturedEntry, folder: &Path) -> io::Result<()> {
    let mut answers = Vec::new();
    for library in &entry.libraries {
        let Some(build) = library.proven() else { continue };
        let file = format!("{}.so", build.entry.proof.library_digest().short());
        fs::write(folder.join(&file), &build.entry.library_bytes)?;
        answers.push(json!({
            "request": library.request, "interface": library.interface, "name": library.name, "library": file,
        }));
    }
    fs::write(folder.join(INTERCEPT_NAME), super::INTERCEPT)?;
    let document = json!({ "version": 1, "answers": answers });
    fs::write(folder.join(ANSWERS_NAME), format!("{document:#}\n"))
}
