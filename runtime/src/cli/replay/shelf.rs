//! Replays a shelf of artifacts: one row each, and what was done before an interruption is not done again.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use comfy_table::{CellAlignment, Table, TableStyle};
use proofmark_packager::{Arch, Digest, json as json_budget};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Arguments, replay};
use crate::cli::console::Console;
use crate::cli::exit_code::{self, ExitCode};
use crate::cli::failure::Failure;
use crate::cli::protected;
use crate::evidence::Sameness;
use crate::job::{Outcome, ReplayedSpeed};
use crate::ledger::import;
use crate::measure::statistics::Interval;
use crate::path_text;
use crate::report::figures::{NONE, change, or_none};

/// Largest file of finished rows that is read, in bytes.
const LARGEST_BYTES: u64 = 64 << 20;

/// What became of one artifact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ShelfRow {
    /// Its file, as it was named.
    file: String,
    /// The SHA-256 of the file.
    sha256: Digest,
    /// How it was replayed: other options, or another release of this program, replay it again.
    how: String,
    /// The artifact.
    digest: Option<Digest>,
    /// What it was built for.
    arch: Option<Arch>,
    /// `identical`, `device_code`, `different`, `relaunched`, `unproven`, `unsealed`, or `not judged`.
    build: String,
    /// `holds`, `does not hold`, `skipped`, or `none` where no speed was sealed.
    speed: String,
    /// Today's time over the sealed one, with its interval over workloads.
    ratio: Option<Interval>,
    /// How today's speed and the sealed one were measured.
    trust: Option<String>,
    /// What changed since, in words.
    changed: Vec<String>,
    /// Why it could not be judged, or what was found instead of a proof.
    reason: Option<String>,
    /// The exit code that it alone would have.
    exit_code: u8,
}

/// Replays every artifact of the paths.
pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<ExitCode, Failure> {
    let is_artifact = |path: &PathBuf| path.extension().is_some_and(|end| end == "zip") || path.is_dir();
    let files: Vec<PathBuf> =
        arguments.paths.iter().flat_map(|path| import::files(path)).filter(is_artifact).collect();
    if files.is_empty() {
        return Err(
            Failure::request("there is no artifact").hint("name .zip files, or folders that hold some")
        );
    }
    let mut log = match &arguments.resume {
        Some(path) => {
            protected::refuse(path, &files)
                .map_err(|failure| failure.hint("name another file with `--resume`"))?;
            Some(ShelfLog::open(path)?)
        }
        None => None,
    };
    let how = how(arguments);
    let mut rows = Vec::new();
    for (index, file) in files.iter().enumerate() {
        let sha256 = File::open(file).and_then(Digest::of_reader);
        let sha256 = sha256.map_err(|error| Failure::request(format!("{}: {error}", file.display())))?;
        let is_done = |row: &&ShelfRow| row.sha256 == sha256 && row.how == how && row.exit_code < 2;
        let done = log.as_ref().and_then(|log| log.rows.iter().rev().find(is_done)).cloned();
        let row = if let Some(done) = done {
            ShelfRow { file: path_text::text(file), ..done }
        } else {
            console.say(format!("{} of {}: {}", index + 1, files.len(), file.display()));
            let row = judge(file, sha256, &how, arguments, console);
            if let Some(log) = &mut log {
                log.append(&row)?;
            }
            row
        };
        rows.push(row);
    }
    console.print(table(&rows))?;
    let code = worst(&rows, arguments.device_code_suffices);
    console.document("proofmark.replay-shelf", 1, &json!({ "artifacts": rows, "exit_code": code as u8 }))?;
    Ok(code)
}

fn how(arguments: &Arguments) -> String {
    let options = [
        ("cached", arguments.cached),
        ("recorded", arguments.recorded),
        ("no-measure", arguments.no_measure),
    ];
    let named = options.iter().filter(|(_, is_set)| *is_set).map(|(name, _)| *name);
    let arch = arguments.measuring.line.arch.map(|arch| arch.to_string());
    std::iter::once(concat!("proofmark ", env!("CARGO_PKG_VERSION")).to_owned())
        .chain(named.map(str::to_owned))
        .chain(arch)
        .collect::<Vec<_>>()
        .join(", ")
}

/// One bad artifact never ends the others.
fn judge(file: &Path, sha256: Digest, how: &str, arguments: &Arguments, console: &Console) -> ShelfRow {
    let empty = ShelfRow {
        file: path_text::text(file),
        sha256,
        how: how.to_owned(),
        digest: None,
        arch: None,
        build: String::new(),
        speed: "none".to_owned(),
        ratio: None,
        trust: None,
        changed: Vec::new(),
        reason: None,
        exit_code: ExitCode::Yes as u8,
    };
    match replay(file, arguments, console) {
        Ok(None) => ShelfRow { build: "not judged".to_owned(), ..empty },
        Ok(Some((digest, arch, outcome))) => {
            let exit_code = exit_code::of(&outcome) as u8;
            of_outcome(ShelfRow { digest: Some(digest), arch: Some(arch), exit_code, ..empty }, &outcome)
        }
        Err(failure) => {
            let reason = failure.to_string();
            let is_unsealed = reason.contains("packed, not sealed");
            let build = if is_unsealed { "unsealed" } else { "not judged" };
            // What was never sealed claims nothing that could differ.
            let exit_code = if is_unsealed { ExitCode::Yes as u8 } else { failure.code() as u8 };
            ShelfRow { build: build.to_owned(), reason: Some(reason), exit_code, ..empty }
        }
    }
}

fn of_outcome(mut row: ShelfRow, outcome: &Outcome) -> ShelfRow {
    match outcome {
        Outcome::Replayed { comparison, speed, .. } => {
            let same_device_code = comparison.lost_images.is_empty() && comparison.new_images.is_empty();
            let build = match comparison.sameness {
                Sameness::Identical => "identical",
                Sameness::Different if same_device_code => "device_code",
                Sameness::Different => "different",
            };
            build.clone_into(&mut row.build);
            row.changed.clone_from(&comparison.causes);
            if let Some(speed) = speed {
                add_speed(&mut row, speed);
            }
        }
        Outcome::Relaunched { speed, .. } => {
            "relaunched".clone_into(&mut row.build);
            add_speed(&mut row, speed);
        }
        Outcome::Finding { finding, .. } => {
            "unproven".clone_into(&mut row.build);
            row.reason = Some(crate::report::build::describe_finding(finding));
        }
        _ => "not judged".clone_into(&mut row.build),
    }
    row
}

fn add_speed(row: &mut ShelfRow, speed: &ReplayedSpeed) {
    let word = match speed {
        ReplayedSpeed::Skipped { skipped } => {
            row.reason = Some(format!("speed: {skipped}"));
            "skipped"
        }
        ReplayedSpeed::NothingInCommon { reason, .. } => {
            row.reason = Some(format!("speed: {reason}"));
            "does not hold"
        }
        ReplayedSpeed::Compared(speed) => {
            row.ratio = speed.interval;
            row.trust = Some(if speed.sealed_trust == speed.trust {
                speed.trust.to_owned()
            } else {
                format!("{} → {}", speed.sealed_trust, speed.trust)
            });
            if speed.sealed_device != speed.device {
                row.changed.push(format!("the device ({} → {})", speed.sealed_device, speed.device));
            }
            if speed.sealed_driver != speed.driver {
                let name = |driver: &Option<String>| driver.clone().unwrap_or_else(|| "unknown".to_owned());
                let words = format!("the driver ({} → {})", name(&speed.sealed_driver), name(&speed.driver));
                row.changed.push(words);
            }
            if speed.holds { "holds" } else { "does not hold" }
        }
    };
    word.clone_into(&mut row.speed);
}

/// A negative finding counts before what could not be judged.
fn worst(rows: &[ShelfRow], device_code_suffices: bool) -> ExitCode {
    let is_no = |row: &ShelfRow| {
        let is_excused = device_code_suffices && row.build == "device_code" && row.speed != "does not hold";
        row.exit_code == ExitCode::No as u8 && !is_excused
    };
    if rows.iter().any(is_no) {
        ExitCode::No
    } else if rows.iter().any(|row| row.exit_code > ExitCode::No as u8) {
        ExitCode::CouldNotJudge
    } else {
        ExitCode::Yes
    }
}

fn table(rows: &[ShelfRow]) -> String {
    let mut table = Table::new();
    let header = ["artifact", "arch", "build", "speed", "today over sealed", "trust", "what changed"];
    table.load_style(TableStyle::new()).set_header(header);
    for row in rows {
        let name = Path::new(&row.file)
            .file_name()
            .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let build = if row.build == "device_code" { "same device code" } else { &row.build };
        let changed = match (row.changed.as_slice(), &row.reason) {
            ([], Some(reason)) => reason.lines().next().unwrap_or_default().to_owned(),
            ([], None) => NONE.to_owned(),
            ([one], _) => one.clone(),
            ([first, rest @ ..], _) => format!("{first}, and {} more", rest.len()),
        };
        table.add_row([
            name,
            or_none(row.arch.map(|arch| arch.to_string())),
            build.to_owned(),
            row.speed.clone(),
            or_none(row.ratio.as_ref().map(change)),
            or_none(row.trust.clone()),
            changed,
        ]);
    }
    if let Some(column) = table.column_mut(4) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let count = |wanted: &str| rows.iter().filter(|row| row.build == wanted).count();
    format!(
        "{}\n{} of {} identical, {} with the same device code",
        table.trim_fmt(),
        count("identical"),
        rows.len(),
        count("device_code")
    )
}

/// Finished rows, one a line; a torn last one counts for nothing.
struct ShelfLog {
    path: PathBuf,
    file: File,
    rows: Vec<ShelfRow>,
}

impl ShelfLog {
    fn open(path: &Path) -> Result<Self, Failure> {
        let fail = |error: std::io::Error| {
            Failure::could_not_judge(format!("cannot use {}: {error}", path.display()))
        };
        let mut options = OpenOptions::new();
        let mut file = options.read(true).append(true).create(true).open(path).map_err(fail)?;
        if file.try_lock().is_err() {
            return Err(Failure::could_not_judge(format!(
                "{} is being written by another process",
                path.display()
            )));
        }
        let mut bytes = Vec::new();
        (&mut file).take(LARGEST_BYTES).read_to_end(&mut bytes).map_err(fail)?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let mut rows = Vec::new();
        for (index, line) in bytes[..whole].split(|byte| *byte == b'\n').enumerate() {
            if line.is_empty() {
                continue;
            }
            let text = String::from_utf8_lossy(line);
            rows.push(json_budget::parse(&text, json_budget::Budget::DOCUMENT).map_err(|error| {
                let what = format!("{}, line {}: {error}", path.display(), index + 1);
                Failure::request(what).hint("name a file that `replay --resume` wrote, or a new one")
            })?);
        }
        if whole < bytes.len() {
            file.set_len(whole as u64).map_err(fail)?;
        }
        Ok(Self { path: path.to_owned(), file, rows })
    }

    fn append(&mut self, row: &ShelfRow) -> Result<(), Failure> {
        let line = serde_json::to_string(row).map_err(Failure::could_not_judge)? + "\n";
        self.file.write_all(line.as_bytes()).and_then(|()| self.file.sync_data()).map_err(|error| {
            Failure::could_not_judge(format!("cannot write {}: {error}", self.path.display()))
        })
    }
}
