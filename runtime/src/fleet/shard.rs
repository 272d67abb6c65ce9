//! One job and its name.

use proofmark_packager::{Arch, Digest, DigestBuilder};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::job::{Action, Freshness, Input, Job, Measure, Measuring};
use crate::path_text;
use crate::record::RunId;

/// Domain of a shard's digest.
const DOMAIN: &str = "proofmark/fleet-shard/1";

/// One job of a plan, with what people and schedulers need to know of it.
#[derive(Debug, Clone)]
pub struct Shard {
    /// Its name: the digest of all that its job says.
    pub id: Digest,
    /// What is built or measured; two where they are compared, the incumbent first.
    pub subjects: Vec<ShardSubject>,
    /// What that is for.
    pub definition: String,
    /// How many workloads are measured.
    pub workloads: usize,
    /// The job. Whoever does it gives the run a name of its own.
    pub job: Job,
}

/// What a shard is about, and where it was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardSubject {
    /// The solution's name.
    pub solution: String,
    /// Who wrote it; empty for a bare library.
    pub author: String,
    /// The artifact's identity, or the digest of a bare library.
    pub digest: Digest,
    /// Where it was found.
    pub path: String,
}

impl ShardSubject {
    /// What stands at a path.
    pub fn of(input: &Input, path: &std::path::Path) -> Self {
        let author = input.artifact().map(|artifact| artifact.manifest().solution.author.clone());
        Self {
            solution: input.name().to_owned(),
            author: author.unwrap_or_default(),
            digest: input.digest(),
            path: path_text::text(path),
        }
    }
}

impl Shard {
    /// A shard that does one thing.
    pub fn new(subjects: Vec<ShardSubject>, arch: Arch, freshness: Freshness, action: Action) -> Self {
        let (definition, workloads) = match measuring(&action) {
            Some(measuring) => (measuring.task.definition.name().to_owned(), measuring.task.workloads.len()),
            None => (definition_of(&action), 0),
        };
        // A name that follows from the content, so that the same plan is the same bytes.
        let job = Job { run_id: RunId::derived(Digest::of_bytes(&[])), arch, freshness, action };
        let id = id_of(&job);
        Self { id, subjects, definition, workloads, job: Job { run_id: RunId::derived(id), ..job } }
    }
}

/// The digest of all that a job says but the name of its run.
pub fn id_of(job: &Job) -> Digest {
    let mut document = job.document();
    if let Value::Object(fields) = &mut document {
        fields.shift_remove("run_id");
    }
    DigestBuilder::new(DOMAIN).text(&document.to_string()).finish()
}

fn measuring(action: &Action) -> Option<&Measuring> {
    match action {
        Action::Build { .. } => None,
        Action::Seal { measure, .. } | Action::Replay { measure, .. } => match measure {
            Measure::Not { .. } => None,
            Measure::WherePossible { measuring } => Some(measuring),
        },
        Action::Bench { measuring, .. } | Action::Compare { measuring, .. } => Some(measuring),
    }
}

fn definition_of(action: &Action) -> String {
    match action {
        Action::Build { subject } | Action::Seal { subject, .. } | Action::Replay { subject, .. } => {
            subject.artifact.manifest().solution.definition.clone()
        }
        Action::Bench { measuring, .. } | Action::Compare { measuring, .. } => {
            measuring.task.definition.name().to_owned()
        }
    }
}
