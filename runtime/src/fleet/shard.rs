//! One job and what people and schedulers need to know of it.

use proofmark_packager::{Arch, Artifact, Digest};
use serde::{Deserialize, Serialize};

use crate::job::{Action, Input, Job};
use crate::rebuild::Freshness;
use crate::record::RunId;

/// One job of a plan.
#[derive(Debug, Clone)]
pub struct Shard {
    /// What is said of it.
    pub label: ShardLabel,
    /// The job. Whoever does it gives the run a name of its own.
    pub job: Job,
}

/// What a plan says of a shard, so that nobody needs to read its job for it. All but the paths follows from the
/// job, and is held against it before anything rests on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardLabel {
    /// Its name: the digest of its job.
    #[serde(rename = "shard")]
    pub id: Digest,
    /// What it is about; two where they are compared, the incumbent first.
    pub subjects: Vec<ShardSubject>,
    /// What that is for.
    pub definition: String,
    /// What it is built for.
    pub arch: Arch,
    /// The verb that is done.
    pub verb: String,
    /// How many workloads are measured.
    pub workloads: usize,
    /// Whether nothing can be answered without a GPU.
    pub needs_gpu: bool,
}

/// What a shard is about, and where it was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardSubject {
    /// The solution's name.
    pub solution: String,
    /// Who wrote it; empty for a bare library.
    pub author: String,
    /// The artifact's identity, or the digest of a bare library.
    pub digest: Digest,
    /// Where it was found, as the plan says it: no job tells, so nothing beside the plan repeats it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// A job of a kind that no plan holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a plan does not `{verb}`: expected `build`, `bench` or `compare`")]
pub struct NoShard {
    verb: &'static str,
}

impl Shard {
    /// A shard that does one thing with what was found at these paths, in the order of its subjects.
    pub fn new(paths: &[String], arch: Arch, freshness: Freshness, action: Action) -> Result<Self, NoShard> {
        // A name that follows from the content, so that the same plan is the same bytes.
        let mut job = Job { run_id: RunId::derived(Digest::of_bytes(&[])), arch, freshness, action };
        let mut label = ShardLabel::of(&job)?;
        job.run_id = RunId::derived(label.id);
        for (subject, path) in label.subjects.iter_mut().zip(paths) {
            subject.path = Some(path.clone());
        }
        Ok(Self { label, job })
    }
}

impl ShardLabel {
    /// What a job says, without paths.
    pub fn of(job: &Job) -> Result<Self, NoShard> {
        let (subjects, definition, workloads) = match &job.action {
            Action::Build { subject } => {
                let definition = &subject.artifact.manifest().solution.definition;
                (vec![ShardSubject::of_artifact(&subject.artifact)], definition.as_str(), 0)
            }
            Action::Bench { subject, measuring } => {
                let task = &measuring.task;
                (vec![ShardSubject::of(subject)], task.definition.name(), task.workloads.len())
            }
            Action::Compare { incumbent, candidate, measuring, .. } => {
                let task = &measuring.task;
                let both = vec![ShardSubject::of(incumbent), ShardSubject::of(candidate)];
                (both, task.definition.name(), task.workloads.len())
            }
            other @ (Action::Seal { .. } | Action::Replay { .. }) => {
                return Err(NoShard { verb: other.verb() });
            }
        };
        Ok(Self {
            id: job.digest(),
            subjects,
            definition: definition.to_owned(),
            arch: job.arch,
            verb: job.action.verb().to_owned(),
            workloads,
            needs_gpu: job.action.needs_gpu(),
        })
    }

    /// The first thing that another label says otherwise, paths apart.
    pub fn difference(&self, other: &Self) -> Option<&'static str> {
        let named = |label: &Self| {
            let names =
                label.subjects.iter().map(|one| (one.solution.clone(), one.author.clone(), one.digest));
            names.collect::<Vec<_>>()
        };
        let differences = [
            (self.id != other.id, "job"),
            (named(self) != named(other), "submission"),
            (self.definition != other.definition, "definition"),
            (self.arch != other.arch, "architecture"),
            (self.verb != other.verb, "verb"),
            (self.workloads != other.workloads, "number of workloads"),
            (self.needs_gpu != other.needs_gpu, "need of a GPU"),
        ];
        differences.into_iter().find_map(|(differs, what)| differs.then_some(what))
    }
}

impl ShardSubject {
    /// What its job says of it too.
    #[must_use]
    pub fn without_path(&self) -> Self {
        Self { path: None, ..self.clone() }
    }

    fn of(input: &Input) -> Self {
        match input {
            Input::Artifact(bundle) => Self::of_artifact(&bundle.artifact),
            Input::Library(library) => Self {
                solution: library.name.clone(),
                author: String::new(),
                digest: input.digest(),
                path: None,
            },
        }
    }

    fn of_artifact(artifact: &Artifact) -> Self {
        let solution = &artifact.manifest().solution;
        Self {
            solution: solution.name.clone(),
            author: solution.author.clone(),
            digest: artifact.digest(),
            path: None,
        }
    }
}
