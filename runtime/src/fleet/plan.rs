//! The file of shards: written once, read line by line.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use proofmark_packager::{Digest, json};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::shard::{NoShard, Shard, ShardLabel};
use super::{SCHEMA, VERSION};
use crate::job::request::LARGEST_JOB_BYTES;
use crate::job::{Job, JobError};
use crate::regular_file;

/// The first line is no longer, in bytes: ten thousand things that were passed over, with their reasons.
const LARGEST_HEAD_BYTES: u64 = 16 << 20;

/// The line before a job is no longer, in bytes: two submissions with the longest of names and paths.
const LARGEST_LABEL_BYTES: u64 = 64 << 10;

/// All lines before jobs together are no longer, in bytes: they are kept in memory, several times over while a table
/// is made of them. One takes some 450.
const LARGEST_LABELS_BYTES: u64 = 64 << 20;

/// What was found and is no shard, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PassedOver {
    /// Where it was found.
    pub path: String,
    /// Why it is no shard.
    pub reason: String,
    /// What that means.
    pub kind: PassedKind,
    /// The shard that does it all the same.
    pub same_as: Option<Digest>,
}

/// What it means that something is no shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PassedKind {
    /// It is, or may be, a submission that nobody does.
    LeftOut,
    /// Another shard does it.
    Same,
    /// It is no submission: a reference, a text, a definition.
    Beside,
}

impl PassedOver {
    /// What nobody does, although it may be a submission.
    pub fn left_out(path: String, reason: String) -> Self {
        Self { path, reason, kind: PassedKind::LeftOut, same_as: None }
    }

    /// What is no submission.
    pub fn beside(path: String, reason: String) -> Self {
        Self { path, reason, kind: PassedKind::Beside, same_as: None }
    }

    /// Whether nobody does it, although it may be a submission.
    pub fn is_left_out(&self) -> bool {
        self.kind == PassedKind::LeftOut
    }
}

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanHead {
    /// How many shards follow.
    pub shards: usize,
    /// What was found and is no shard.
    pub passed_over: Vec<PassedOver>,
}

/// A shard as its two lines have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedShard {
    /// What the plan says of it.
    pub label: ShardLabel,
    /// Where its lines stand in the file.
    pub place: ShardPlace,
    /// Where its job stands in the file, in bytes.
    job_offset: u64,
    /// How long that is, in bytes.
    job_length: u64,
}

/// Where the lines of a shard begin in the file of a plan, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardPlace(pub u64);

/// A plan that was read; its jobs stay in the file until they are asked for.
#[derive(Debug, Clone)]
pub struct FleetPlan {
    path: PathBuf,
    /// What was found and is no shard.
    pub passed_over: Vec<PassedOver>,
    /// The shards in the order of the file.
    pub shards: Vec<PlannedShard>,
    by_name: HashMap<Digest, usize>,
}

/// Why a plan cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FleetPlanError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A line is none of a plan.
    #[error("{}, line {line}: {reason}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from one.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// It ends too early or too late.
    #[error("{} holds {found} shards where its first line says {expected}", path.display())]
    Count {
        /// The file.
        path: PathBuf,
        /// What its first line says.
        expected: usize,
        /// What follows.
        found: usize,
    },
    /// The job of a shard is none.
    #[error("{}: the job of shard {}", path.display(), id.short())]
    Job {
        /// The file.
        path: PathBuf,
        /// The shard.
        id: Digest,
        /// What is wrong with it.
        source: Box<JobError>,
    },
    /// The job of a shard is of a kind that no plan holds.
    #[error("{}: the job of shard {}", path.display(), id.short())]
    Kind {
        /// The file.
        path: PathBuf,
        /// The shard.
        id: Digest,
        /// Which kind.
        source: NoShard,
    },
    /// What the plan says of a shard is not what its job says.
    #[error("{}: shard {} was changed after it was planned: its {what} is another one", path.display(), id.short())]
    Changed {
        /// The file.
        path: PathBuf,
        /// The shard.
        id: Digest,
        /// What differs.
        what: &'static str,
    },
}

/// A plan that nobody could read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the plan would hold {found} bytes beside its jobs: expected at most {most}")]
pub struct TooLargePlan {
    found: u64,
    most: u64,
}

/// Sorts shards for a plan: by definition, names and digest. Of the same shard twice, one stays; gives what went.
pub fn arrange(shards: &mut Vec<Shard>) -> Vec<PassedOver> {
    let key = |Shard { label, .. }: &Shard| {
        let names = label.subjects.iter().map(|one| (one.solution.clone(), one.author.clone(), one.digest));
        (label.definition.clone(), names.collect::<Vec<_>>(), label.id)
    };
    shards.sort_by_cached_key(key);
    let mut seen = std::collections::HashSet::new();
    let (stay, gone) = std::mem::take(shards).into_iter().partition(|shard| seen.insert(shard.label.id));
    *shards = stay;
    let twice = |Shard { label, .. }: Shard| PassedOver {
        path: label.subjects.last().and_then(|one| one.path.clone()).unwrap_or_default(),
        reason: format!("the same as shard {}: it is done once", label.id.short()),
        kind: PassedKind::Same,
        same_as: Some(label.id),
    };
    let gone: Vec<Shard> = gone;
    gone.into_iter().map(twice).collect()
}

/// The text of a plan: the same shards give the same bytes.
pub fn text(shards: &[Shard], passed_over: &[PassedOver]) -> Result<String, TooLargePlan> {
    let bounded = |found: usize, most: u64| {
        let found = found as u64;
        if found <= most { Ok(()) } else { Err(TooLargePlan { found, most }) }
    };
    let head = PlanHead { shards: shards.len(), passed_over: passed_over.to_vec() };
    let mut text = line_of("plan", head) + "\n";
    bounded(text.len(), LARGEST_HEAD_BYTES)?;
    let mut labels = 0;
    for shard in shards {
        let label = line_of("shard", &shard.label) + "\n";
        labels += label.len();
        text += &label;
        text += &serde_json::to_string(&shard.job.written()).expect("a job is plain JSON");
        text.push('\n');
    }
    bounded(labels, LARGEST_LABELS_BYTES)?;
    Ok(text)
}

/// Whether a shard is small enough for whoever reads it; a plan takes no other.
pub fn fits(shard: &Shard) -> bool {
    json::size_bytes(&shard.job.written()) < LARGEST_JOB_BYTES
        && (line_of("shard", &shard.label).len() as u64) < LARGEST_LABEL_BYTES
}

/// The lines of a plan, one after the other.
struct Lines<'a> {
    path: &'a Path,
    reader: BufReader<File>,
    offset: u64,
    number: usize,
}

impl<'a> Lines<'a> {
    /// From some place on.
    fn open(path: &'a Path, place: ShardPlace) -> Result<Self, FleetPlanError> {
        let failed = |source| FleetPlanError::File { path: path.to_owned(), source };
        let mut file = regular_file::open(path, File::options().read(true)).map_err(failed)?;
        file.seek(SeekFrom::Start(place.0)).map_err(failed)?;
        Ok(Self { path, reader: BufReader::new(file), offset: place.0, number: 0 })
    }

    fn failed(&self) -> impl FnOnce(io::Error) -> FleetPlanError {
        let path = self.path.to_owned();
        move |source| FleetPlanError::File { path, source }
    }

    fn refuse(&self, reason: impl Into<String>) -> FleetPlanError {
        FleetPlanError::Line { path: self.path.to_owned(), line: self.number, reason: reason.into() }
    }

    /// The next line, of at most so many bytes with its line feed; `None` at the end.
    fn next(&mut self, most_bytes: u64) -> Result<Option<String>, FleetPlanError> {
        self.number += 1;
        let mut bytes = Vec::new();
        let read = self.reader.by_ref().take(most_bytes).read_until(b'\n', &mut bytes);
        read.map_err(self.failed())?;
        if bytes.is_empty() {
            return Ok(None);
        }
        self.offset += bytes.len() as u64;
        if bytes.pop() != Some(b'\n') {
            return Err(
                self.refuse("it has no end: the file was cut, or the line is larger than any of its kind")
            );
        }
        String::from_utf8(bytes).map(Some).map_err(|_| self.refuse("it is no text"))
    }

    /// Passes over the next line, a job; gives its length without the line feed. Nothing of it is kept.
    fn skip_job(&mut self) -> Result<u64, FleetPlanError> {
        self.number += 1;
        let length = skip_line(&mut self.reader.by_ref().take(LARGEST_JOB_BYTES));
        let Some(length) = length.map_err(self.failed())? else {
            return Err(self.refuse("the job has no end: the file was cut, or it is larger than any job"));
        };
        self.offset += length + 1;
        Ok(length)
    }

    /// The next shard; `None` at the end.
    fn shard(&mut self) -> Result<Option<PlannedShard>, FleetPlanError> {
        let place = ShardPlace(self.offset);
        let Some(text) = self.next(LARGEST_LABEL_BYTES)? else { return Ok(None) };
        let label = content("shard", &text).map_err(|reason| self.refuse(reason))?;
        let job_offset = self.offset;
        let job_length = self.skip_job()?;
        Ok(Some(PlannedShard { label, place, job_offset, job_length }))
    }
}

impl FleetPlan {
    /// Reads a plan, but for its jobs.
    pub fn read(path: &Path) -> Result<Self, FleetPlanError> {
        let place = canonical(path)?;
        let mut lines = Lines::open(&place, ShardPlace(0))?;
        let first = lines.next(LARGEST_HEAD_BYTES)?;
        let first = first.ok_or_else(|| lines.refuse("it is empty: expected a plan"))?;
        let head: PlanHead = content("plan", &first).map_err(|reason| lines.refuse(reason))?;
        let (mut shards, mut by_name, mut labels): (Vec<PlannedShard>, _, _) =
            (Vec::new(), HashMap::new(), 0);
        while let Some(shard) = lines.shard()? {
            labels += shard.job_offset - shard.place.0;
            if labels > LARGEST_LABELS_BYTES {
                return Err(lines.refuse("there are too many: expected at most 64 MiB beside the jobs"));
            }
            if by_name.insert(shard.label.id, shards.len()).is_some() {
                return Err(lines.refuse("its shard stands there before"));
            }
            shards.push(shard);
        }
        if shards.len() != head.shards {
            let (expected, found) = (head.shards, shards.len());
            return Err(FleetPlanError::Count { path: place, expected, found });
        }
        Ok(Self { path: place, passed_over: head.passed_over, shards, by_name })
    }

    /// Reads one shard of a plan that was read before, and nothing else of it.
    pub fn read_one(path: &Path, id: Digest, place: ShardPlace) -> Result<Self, FleetPlanError> {
        let path = canonical(path)?;
        let shard = Lines::open(&path, place)?.shard()?;
        let changed = || FleetPlanError::Changed { path: path.clone(), id, what: "place in the plan" };
        let shard = shard.filter(|shard| shard.label.id == id).ok_or_else(changed)?;
        Ok(Self { path, passed_over: Vec::new(), shards: vec![shard], by_name: HashMap::from([(id, 0)]) })
    }

    /// The job of a shard, which must be what the plan says of it.
    pub fn job(&self, shard: &PlannedShard) -> Result<Job, FleetPlanError> {
        let failed = |source| FleetPlanError::File { path: self.path.clone(), source };
        let (path, id) = (|| self.path.clone(), shard.label.id);
        let mut file = regular_file::open(&self.path, File::options().read(true)).map_err(failed)?;
        file.seek(SeekFrom::Start(shard.job_offset)).map_err(failed)?;
        let mut text = String::new();
        file.take(shard.job_length).read_to_string(&mut text).map_err(failed)?;
        let job = Job::from_document(&text).map_err(|source| FleetPlanError::Job {
            path: path(),
            id,
            source: Box::new(source),
        })?;
        drop(text);
        let label =
            ShardLabel::of(&job).map_err(|source| FleetPlanError::Kind { path: path(), id, source })?;
        match label.difference(&shard.label) {
            None => Ok(job),
            Some(what) => Err(FleetPlanError::Changed { path: path(), id, what }),
        }
    }

    /// Every `of`th shard from the `index`th on: what one task of `of` does.
    pub fn part(&self, index: usize, of: usize) -> Vec<&PlannedShard> {
        self.shards.iter().skip(index).step_by(of.max(1)).collect()
    }

    /// The shard of a name.
    pub fn shard(&self, id: Digest) -> Option<&PlannedShard> {
        self.by_name.get(&id).and_then(|index| self.shards.get(*index))
    }
}

/// Passes over one line; gives its length without the line feed, or `None` where it has none.
fn skip_line(reader: &mut impl BufRead) -> io::Result<Option<u64>> {
    let mut length = 0;
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok(None);
        }
        if let Some(at) = memchr::memchr(b'\n', buffer) {
            reader.consume(at + 1);
            return Ok(Some(length + at as u64));
        }
        let all = buffer.len();
        reader.consume(all);
        length += all as u64;
    }
}

fn canonical(path: &Path) -> Result<PathBuf, FleetPlanError> {
    path.canonicalize().map_err(|source| FleetPlanError::File { path: path.to_owned(), source })
}

/// Writes a line of a kind, without the line feed.
pub(super) fn line_of<T: Serialize>(kind: &'static str, content: T) -> String {
    #[derive(Serialize)]
    struct Line<T> {
        schema: &'static str,
        version: u32,
        #[serde(rename = "line")]
        kind: &'static str,
        #[serde(flatten)]
        content: T,
    }
    let line = Line { schema: SCHEMA, version: VERSION, kind, content };
    serde_json::to_string(&line).expect("a line is plain JSON")
}

/// What a line of a kind holds.
pub(super) fn content<T: for<'de> Deserialize<'de>>(kind: &str, text: &str) -> Result<T, String> {
    #[derive(Deserialize)]
    struct Head {
        #[serde(default)]
        schema: Value,
        #[serde(default)]
        version: Value,
        #[serde(default)]
        line: Value,
    }
    let Head { schema, version, line } = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if schema != SCHEMA {
        return Err(format!("schema is {schema}: expected `{SCHEMA}`"));
    }
    if version != VERSION {
        return Err(format!("version is {version}: this program reads version {VERSION}"));
    }
    if line != kind {
        return Err(format!("it is a line of the kind {line}: expected `{kind}`"));
    }
    serde_json::from_str(text).map_err(|error| error.to_string())
}
