//! The file of shards: written once, read line by line.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use proofmark_packager::Digest;
use proofmark_packager::json::{self, Budget};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::shard::{self, Shard, ShardSubject};
use super::{SCHEMA, VERSION};
use crate::job::request::LARGEST_JOB_BYTES;
use crate::job::{Job, JobError};
use crate::regular_file;

/// No line is longer, in bytes: a job, and what stands beside it.
const LARGEST_LINE_BYTES: u64 = LARGEST_JOB_BYTES + (1 << 20);

/// Most shards of a plan: a scheduler's array is shorter, and a contest is smaller by a thousand times.
const MOST_SHARDS: usize = 1_000_000;

/// What was found and is no shard, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassedOver {
    /// Where it was found.
    pub path: String,
    /// Why it is no shard.
    pub reason: String,
    /// The shard that does it all the same.
    pub same_as: Option<Digest>,
}

impl PassedOver {
    /// Whether nobody does it.
    pub fn is_left_out(&self) -> bool {
        self.same_as.is_none()
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

/// A shard as its line has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedShard {
    /// Its name.
    #[serde(rename = "shard")]
    pub id: Digest,
    /// What it is about; two where they are compared, the incumbent first.
    pub subjects: Vec<ShardSubject>,
    /// What that is for.
    pub definition: String,
    /// What it is built for.
    pub arch: String,
    /// The verb that is done.
    pub verb: String,
    /// How many workloads are measured.
    pub workloads: usize,
    /// Whether nothing can be answered without a GPU.
    pub needs_gpu: bool,
    /// Where its line stands in the file, in bytes.
    #[serde(skip)]
    offset: u64,
    /// How long that is, in bytes.
    #[serde(skip)]
    length: u64,
}

/// A plan that was read; its jobs stay in the file until they are asked for.
#[derive(Debug, Clone)]
pub struct FleetPlan {
    path: PathBuf,
    /// What was found and is no shard.
    pub passed_over: Vec<PassedOver>,
    /// The shards in the order of the file.
    pub shards: Vec<PlannedShard>,
}

/// Why a plan cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
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
    /// The job is not the one that the shard is named by.
    #[error("{}: shard {} was changed after it was planned", path.display(), id.short())]
    Changed {
        /// The file.
        path: PathBuf,
        /// The shard.
        id: Digest,
    },
}

/// Sorts shards for a plan: by definition, names and digest. Of the same shard twice, one stays; gives what went.
pub fn arrange(shards: &mut Vec<Shard>) -> Vec<PassedOver> {
    let key = |shard: &Shard| {
        let names = shard.subjects.iter().map(|one| (one.solution.clone(), one.author.clone(), one.digest));
        (shard.definition.clone(), names.collect::<Vec<_>>(), shard.id)
    };
    shards.sort_by_cached_key(key);
    let mut seen = HashSet::new();
    let (stay, gone) = std::mem::take(shards).into_iter().partition(|shard| seen.insert(shard.id));
    *shards = stay;
    let twice = |shard: Shard| PassedOver {
        path: shard.subjects.last().map(|one| one.path.clone()).unwrap_or_default(),
        reason: format!("the same as shard {}: it is done once", shard.id.short()),
        same_as: Some(shard.id),
    };
    let gone: Vec<Shard> = gone;
    gone.into_iter().map(twice).collect()
}

/// The text of a plan: the same shards give the same bytes.
pub fn text(shards: &[Shard], passed_over: &[PassedOver]) -> String {
    let head = PlanHead { shards: shards.len(), passed_over: passed_over.to_vec() };
    let mut text = line_of("plan", head) + "\n";
    for shard in shards {
        text += &shard_line(shard);
        text.push('\n');
    }
    text
}

fn shard_line(shard: &Shard) -> String {
    #[derive(Serialize)]
    struct WithJob {
        #[serde(flatten)]
        planned: PlannedShard,
        job: Value,
    }
    let job = shard.job.document();
    let planned = PlannedShard {
        id: shard.id,
        subjects: shard.subjects.clone(),
        definition: shard.definition.clone(),
        arch: shard.job.arch.to_string(),
        verb: job["action"]["verb"].as_str().unwrap_or_default().to_owned(),
        workloads: shard.workloads,
        needs_gpu: shard.job.action.needs_gpu(),
        offset: 0,
        length: 0,
    };
    line_of("shard", WithJob { planned, job })
}

/// Whether a job is small enough for whoever reads it; a plan takes no other.
pub fn fits(shard: &Shard) -> bool {
    shard.job.document().to_string().len() as u64 <= LARGEST_JOB_BYTES
}

impl FleetPlan {
    /// Reads a plan, but for its jobs.
    pub fn read(path: &Path) -> Result<Self, PlanError> {
        let failed = |source| PlanError::File { path: path.to_owned(), source };
        let place = path.canonicalize().map_err(failed)?;
        let file = regular_file::open(&place, File::options().read(true)).map_err(failed)?;
        let mut reader = BufReader::new(file);
        let mut offset = 0;
        let mut bytes = Vec::new();
        let mut next = |number: usize| -> Result<Option<(u64, String)>, PlanError> {
            let refuse = |reason: &str| PlanError::Line {
                path: path.to_owned(),
                line: number,
                reason: reason.to_owned(),
            };
            bytes.clear();
            reader.by_ref().take(LARGEST_LINE_BYTES).read_until(b'\n', &mut bytes).map_err(failed)?;
            if bytes.is_empty() {
                return Ok(None);
            }
            if bytes.pop() != Some(b'\n') {
                return Err(refuse("it has no end: the file was cut, or the line is larger than any job"));
            }
            let at = offset;
            offset += bytes.len() as u64 + 1;
            let text = String::from_utf8(bytes.clone()).map_err(|_| refuse("it is no text"))?;
            Ok(Some((at, text)))
        };
        let refuse =
            |line: usize| move |reason: String| PlanError::Line { path: path.to_owned(), line, reason };
        let first = next(1)?.ok_or_else(|| refuse(1)("it is empty: expected a plan".to_owned()))?;
        let head: PlanHead = content("plan", &first.1).map_err(refuse(1))?;
        let mut shards: Vec<PlannedShard> = Vec::new();
        let mut seen = HashSet::new();
        while let Some((offset, text)) = next(shards.len() + 2)? {
            let refuse = refuse(shards.len() + 2);
            let shard: PlannedShard = content("shard", &text).map_err(&refuse)?;
            if !seen.insert(shard.id) || shards.len() >= MOST_SHARDS {
                return Err(refuse("it stands there before, or there are too many".to_owned()));
            }
            shards.push(PlannedShard { offset, length: text.len() as u64, ..shard });
        }
        if shards.len() != head.shards {
            let (expected, found) = (head.shards, shards.len());
            return Err(PlanError::Count { path: path.to_owned(), expected, found });
        }
        Ok(Self { path: place, passed_over: head.passed_over, shards })
    }

    /// The job of a shard, which must be the one that it is named by.
    pub fn job(&self, shard: &PlannedShard) -> Result<Job, PlanError> {
        #[derive(Deserialize)]
        struct WithJob {
            job: Value,
        }
        let failed = |source| PlanError::File { path: self.path.clone(), source };
        let wrong =
            |source| PlanError::Job { path: self.path.clone(), id: shard.id, source: Box::new(source) };
        let mut file = regular_file::open(&self.path, File::options().read(true)).map_err(failed)?;
        file.seek(SeekFrom::Start(shard.offset)).map_err(failed)?;
        let mut text = String::new();
        file.take(shard.length).read_to_string(&mut text).map_err(failed)?;
        json::check(text.as_bytes(), Budget::SAMPLES).map_err(|error| wrong(JobError::Document(error)))?;
        let WithJob { job } = serde_json::from_str(&text).map_err(|error| wrong(error.into()))?;
        let job = Job::from_document(&job.to_string()).map_err(wrong)?;
        if shard::id_of(&job) != shard.id {
            return Err(PlanError::Changed { path: self.path.clone(), id: shard.id });
        }
        Ok(job)
    }

    /// Every `of`th shard from the `index`th on: what one task of `of` does.
    pub fn part(&self, index: usize, of: usize) -> Vec<&PlannedShard> {
        self.shards.iter().skip(index).step_by(of.max(1)).collect()
    }

    /// The shard of a name.
    pub fn shard(&self, id: Digest) -> Option<&PlannedShard> {
        self.shards.iter().find(|shard| shard.id == id)
    }
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
