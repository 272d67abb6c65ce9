//! Inputs that hold sources: they are rebuilt before there are bytes to judge.

use std::fs::File;
use std::path::Path;

use proofmark_packager::submission::CONFIG_NAME;
use proofmark_packager::{Arch, format::MANIFEST_NAME};
use zip::ZipArchive;

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
        let solution =
            std::fs::read(path).ok().and_then(|text| serde_json::from_slice::<serde_json::Value>(&text).ok());
        return solution.is_some_and(|value| value.get("spec").is_some() && value.get("sources").is_some());
    }
    let names = || ZipArchive::new(File::open(path).ok()?).ok();
    ends_with("zip") && names().is_some_and(|archive| archive.index_for_name(MANIFEST_NAME).is_some())
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
        outcome => line::answer(SCHEMA, &outcome, [], console).map(Err),
    }
}
