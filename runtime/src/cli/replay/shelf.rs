//! Replays a shelf of artifacts: one row each, and what was done before an interruption is not done again.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use comfy_table::{CellAlignment, Table, TableStyle};
use proofmark_packager::{Arch, Digest, json as json_budget};
use proofmark_player::device::probe;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Arguments, Request, request};
use crate::cli::console::Console;
use crate::cli::exit_code::{self, ExitCode};
use crate::cli::failure::Failure;
use crate::cli::{input, protected};
use crate::device::sensors;
use crate::evidence::{ReplayError, Sameness, sealed};
use crate::job::{Job, Outcome, ReplayedSpeed};
use crate::ledger::import;
use crate::measure::statistics::Interval;
use crate::path_text;
use crate::record::RunId;
use crate::report::figures::{NONE, change, or_none};
use crate::toolchain::{self, FileDigests, Search};

/// Largest file of finished rows that is read, in bytes.
const LARGEST_BYTES: u64 = 64 << 20;

/// What a line of finished rows is, and its version.
const SCHEMA: &str = "proofmark.replay-row";
const VERSION: u32 = 1;

/// What became of one artifact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ShelfRow {
    /// Its file, as it was named.
    file: String,
    /// The SHA-256 of the file.
    sha256: Digest,
    /// What decides the row beside the file: the release of this program, the job, the toolchain and the GPU.
    how: String,
    /// The artifact.
    digest: Option<Digest>,
    /// What it was built for.
    arch: Option<Arch>,
    /// What became of the build.
    build: RowBuild,
    /// What became of the sealed speed.
    speed: RowSpeed,
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

/// What became of a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RowBuild {
    /// The sealed bytes.
    Identical,
    /// The sealed device code in another library.
    DeviceCode,
    /// Something else.
    Different,
    /// Nothing was built: what was sealed was launched.
    Relaunched,
    /// It does not compile, or is not proven.
    Unproven,
    /// The artifact was packed, and claims nothing.
    Unsealed,
    /// Why stands in the row.
    #[serde(rename = "not judged")]
    NotJudged,
}

/// What became of a sealed speed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RowSpeed {
    /// Nothing speaks against it.
    Holds,
    /// It is another today.
    #[serde(rename = "does not hold")]
    DoesNotHold,
    /// It was not measured.
    Skipped,
    /// None was sealed.
    None,
}

impl RowBuild {
    fn words(self) -> &'static str {
        match self {
            Self::Identical => "identical",
            Self::DeviceCode => "same device code",
            Self::Different => "different",
            Self::Relaunched => "relaunched",
            Self::Unproven => "unproven",
            Self::Unsealed => "unsealed",
            Self::NotJudged => "not judged",
        }
    }
}

impl RowSpeed {
    fn words(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::DoesNotHold => "does not hold",
            Self::Skipped => "skipped",
            Self::None => "none",
        }
    }
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
    let mut rows = Vec::new();
    for (index, file) in files.iter().enumerate() {
        let sha256 = File::open(file).and_then(Digest::of_reader);
        let sha256 = sha256.map_err(|error| Failure::request(format!("{}: {error}", file.display())))?;
        let replay = Replay::of(file, arguments, console);
        let how = replay.as_ref().map_or_else(|_| String::new(), Replay::how);
        let is_done = |row: &&ShelfRow| row.sha256 == sha256 && row.how == how && row.exit_code < 2;
        let done = log.as_ref().and_then(|log| log.rows.iter().rev().find(is_done)).cloned();
        let row = if let Some(done) = done {
            ShelfRow { file: path_text::text(file), ..done }
        } else {
            console.say(format!("{} of {}: {}", index + 1, files.len(), file.display()));
            let row = judge(ShelfRow::new(path_text::text(file), sha256, how), replay, console);
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

/// What is to be done with one artifact.
enum Replay {
    /// It was packed, and claims nothing that could differ.
    Unsealed(ReplayError),
    /// A job.
    Sealed(Box<Request>),
}

impl Replay {
    fn of(file: &Path, arguments: &Arguments, console: &Console) -> Result<Self, Failure> {
        let opened = input::open_one(file, console)?;
        match sealed::read(&opened.bundle) {
            Err(error) if error.is_unsealed() => Ok(Self::Unsealed(error)),
            // Whatever else is wrong with its evidence, the replay says.
            _ => Ok(Self::Sealed(Box::new(request(opened, file, arguments, console)?))),
        }
    }

    /// What its answer rests on beside the file: where all of it is the same, it is not asked again.
    fn how(&self) -> String {
        let mut how = vec![concat!("proofmark ", env!("CARGO_PKG_VERSION")).to_owned()];
        if let Self::Sealed(request) = self {
            let Request { arch, action, options, settings, .. } = &**request;
            let freshness = options.freshness();
            let job = Job { run_id: RunId::fresh(), arch: *arch, freshness, action: action.clone() };
            how.push(format!("job {}", job.digest()));
            let search = Search { arch: Some(*arch), ..settings.search.clone() };
            let mut digests = FileDigests::open(&settings.cache, settings.trust);
            how.push(toolchain::find(&search, &mut digests).map_or_else(
                |_| "no toolchain yet".to_owned(),
                |toolchain| format!("toolchain {}", toolchain.fingerprint.digest()),
            ));
            how.push(format!("{:?}", settings.link_rule));
            if job.action.measuring().is_some() {
                how.push(probe().to_string());
                how.extend(sensors::uuids());
            }
        }
        how.join(", ")
    }
}

impl ShelfRow {
    fn new(file: String, sha256: Digest, how: String) -> Self {
        Self {
            file,
            sha256,
            how,
            digest: None,
            arch: None,
            build: RowBuild::NotJudged,
            speed: RowSpeed::None,
            ratio: None,
            trust: None,
            changed: Vec::new(),
            reason: None,
            exit_code: ExitCode::Yes as u8,
        }
    }
}

/// One bad artifact never ends the others.
fn judge(row: ShelfRow, replay: Result<Replay, Failure>, console: &Console) -> ShelfRow {
    let request = match replay {
        Ok(Replay::Sealed(request)) => request,
        Ok(Replay::Unsealed(error)) => {
            return ShelfRow { build: RowBuild::Unsealed, reason: Some(error.to_string()), ..row };
        }
        Err(failure) => {
            return ShelfRow { reason: Some(failure.to_string()), exit_code: failure.code() as u8, ..row };
        }
    };
    let row = ShelfRow { digest: Some(request.digest), arch: Some(request.arch), ..row };
    match request.replay(console) {
        Ok(None) => row,
        Ok(Some(outcome)) => {
            let exit_code = exit_code::of(&outcome) as u8;
            of_outcome(ShelfRow { exit_code, ..row }, &outcome)
        }
        Err(failure) => {
            ShelfRow { reason: Some(failure.to_string()), exit_code: failure.code() as u8, ..row }
        }
    }
}

fn of_outcome(mut row: ShelfRow, outcome: &Outcome) -> ShelfRow {
    match outcome {
        Outcome::Replayed { comparison, speed, .. } => {
            let same_device_code = comparison.lost_images.is_empty() && comparison.new_images.is_empty();
            row.build = match comparison.sameness {
                Sameness::Identical => RowBuild::Identical,
                Sameness::Different if same_device_code => RowBuild::DeviceCode,
                Sameness::Different => RowBuild::Different,
            };
            row.changed.clone_from(&comparison.causes);
            if let Some(speed) = speed {
                add_speed(&mut row, speed);
            }
        }
        Outcome::Relaunched { speed, .. } => {
            row.build = RowBuild::Relaunched;
            add_speed(&mut row, speed);
        }
        Outcome::Finding { finding, .. } => {
            row.build = RowBuild::Unproven;
            row.reason = Some(crate::report::build::describe_finding(finding));
        }
        _ => row.build = RowBuild::NotJudged,
    }
    row
}

fn add_speed(row: &mut ShelfRow, speed: &ReplayedSpeed) {
    row.speed = match speed {
        ReplayedSpeed::Skipped { skipped } => {
            row.reason = Some(format!("speed: {skipped}"));
            RowSpeed::Skipped
        }
        ReplayedSpeed::NothingInCommon { reason, .. } => {
            row.reason = Some(format!("speed: {reason}"));
            RowSpeed::DoesNotHold
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
            if speed.holds { RowSpeed::Holds } else { RowSpeed::DoesNotHold }
        }
    };
}

/// A negative finding counts before what could not be judged.
fn worst(rows: &[ShelfRow], device_code_suffices: bool) -> ExitCode {
    let is_no = |row: &ShelfRow| {
        let is_excused =
            device_code_suffices && row.build == RowBuild::DeviceCode && row.speed != RowSpeed::DoesNotHold;
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
        let changed = match (row.changed.as_slice(), &row.reason) {
            ([], Some(reason)) => reason.lines().next().unwrap_or_default().to_owned(),
            ([], None) => NONE.to_owned(),
            ([one], _) => one.clone(),
            ([first, rest @ ..], _) => format!("{first}, and {} more", rest.len()),
        };
        table.add_row([
            name,
            or_none(row.arch.map(|arch| arch.to_string())),
            row.build.words().to_owned(),
            row.speed.words().to_owned(),
            or_none(row.ratio.as_ref().map(change)),
            or_none(row.trust.clone()),
            changed,
        ]);
    }
    if let Some(column) = table.column_mut(4) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let count = |wanted: RowBuild| rows.iter().filter(|row| row.build == wanted).count();
    format!(
        "{}\n{} of {} identical, {} with the same device code",
        table.trim_fmt(),
        count(RowBuild::Identical),
        rows.len(),
        count(RowBuild::DeviceCode)
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
            rows.push(read_line(&String::from_utf8_lossy(line)).map_err(|reason| {
                let what = format!("{}, line {}: {reason}", path.display(), index + 1);
                Failure::request(what).hint("name a file that `replay --resume` wrote, or a new one")
            })?);
        }
        if whole < bytes.len() {
            file.set_len(whole as u64).map_err(fail)?;
        }
        Ok(Self { path: path.to_owned(), file, rows })
    }

    fn append(&mut self, row: &ShelfRow) -> Result<(), Failure> {
        let mut fields = json!({ "schema": SCHEMA, "version": VERSION });
        let Value::Object(rest) = json!(row) else { unreachable!("a row is an object") };
        fields.as_object_mut().expect("made just above").extend(rest);
        let line = format!("{fields}\n");
        self.file.write_all(line.as_bytes()).and_then(|()| self.file.sync_data()).map_err(|error| {
            Failure::could_not_judge(format!("cannot write {}: {error}", self.path.display()))
        })
    }
}

/// A row in the file of finished ones.
fn read_line(text: &str) -> Result<ShelfRow, String> {
    let mut fields: Map<String, Value> =
        json_budget::parse(text, json_budget::Budget::DOCUMENT).map_err(|error| error.to_string())?;
    let mut take = |name: &str| fields.shift_remove(name).unwrap_or(Value::Null);
    if (take("schema"), take("version")) != (json!(SCHEMA), json!(VERSION)) {
        return Err(format!("its schema is another: expected `{SCHEMA}`, version {VERSION}"));
    }
    serde_json::from_value(Value::Object(fields)).map_err(|error| error.to_string())
}
