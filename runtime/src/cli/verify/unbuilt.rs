//! Inputs that hold sources: they are rebuilt before there are bytes to judge.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use proofmark_packager::Arch;
use proofmark_packager::bundle::LARGEST_ARCHIVE_BYTES;
use proofmark_packager::format::{LARGEST_SOLUTION_BYTES, MANIFEST_NAME};
use proofmark_packager::json::{self, Budget};
use proofmark_packager::submission::CONFIG_NAME;

use crate::cli::console::Console;
use crate::cli::exit_code::ExitCode;
use crate::cli::failure::Failure;
use crate::cli::line::{self, LineOptions};
use crate::cli::{input, verify::SCHEMA};
use crate::job::{Action, Job, Outcome};
use crate::rebuild::ProvenBuild;
use crate::record::RunId;

/// Whether a path is a submission folder, an artifact or a `solution.json`.
pub(super) fn holds_sources(path: &Path) -> bool {
    if path.is_dir() {
        return path.join(CONFIG_NAME).is_file();
    }
    // A pipe can be read but once.
    if !path.is_file() {
        return false;
    }
    let ends_with = |ending: &str| path.extension().is_some_and(|found| found == ending);
    if ends_with("json") {
        let text = read_at_most(path, LARGEST_SOLUTION_BYTES).and_then(|bytes| String::from_utf8(bytes).ok());
        let solution = text.and_then(|text| json::parse::<serde_json::Value>(&text, Budget::DOCUMENT).ok());
        return solution.is_some_and(|value| value.get("spec").is_some() && value.get("sources").is_some());
    }
    ends_with("zip")
        && read_at_most(path, LARGEST_ARCHIVE_BYTES).is_some_and(|bytes| has_entry(&bytes, MANIFEST_NAME))
}

/// The bytes of a file that is not larger; a larger one is none of ours.
fn read_at_most(path: &Path, most_bytes: u64) -> Option<Vec<u8>> {
    let file = File::open(path).ok()?;
    if file.metadata().ok()?.len() > most_bytes {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(most_bytes).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Whether a zip has an entry of this name, without reading its directory: that may be of any size.
fn has_entry(zip: &[u8], name: &str) -> bool {
    /// Length of a local header, which stands in front of the name (APPNOTE 6.3.10, 4.3.7).
    const LOCAL_HEADER_BYTES: usize = 30;
    let is_header = |at: usize| {
        let header = at.checked_sub(LOCAL_HEADER_BYTES).map(|start| &zip[start..at]);
        header.is_some_and(|header| header.starts_with(b"PK\x03\x04"))
    };
    memchr::memmem::find_iter(zip, name).any(is_header)
}

/// Rebuilds and proves; a build that is no proven one is reported here.
pub(super) fn rebuild(
    path: &Path,
    arch: Option<Arch>,
    console: &Console,
) -> Result<Result<Box<ProvenBuild>, ExitCode>, Failure> {
    let opened = input::open_one(path, console)?;
    let arch = line::arch_of(&opened.bundle, arch, console);
    let action = Action::Build { subject: Box::new(opened.bundle) };
    let options = LineOptions::default();
    let job = Job { run_id: RunId::fresh(), arch, freshness: options.freshness(), action };
    match line::do_job(&job, &options.machine.settings()?, console)? {
        Outcome::Built(build) => Ok(Ok(build)),
        Outcome::Entry(_) => Err(Failure::request("a Python entry is no one library")
            .hint("`proofmark build` builds and proves each library that it compiles")),
        outcome => line::answer(SCHEMA, &outcome, [], console).map(Err),
    }
}
