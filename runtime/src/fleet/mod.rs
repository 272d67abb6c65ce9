//! Many jobs on many machines: a plan, workers that do its shards, and a folder where results meet.
//!
//! ```text
//! <plan>.jsonl                 one line for the plan, two lines a shard; written once
//! <results>/
//! ├── outcomes/<shard>.json    what came out, as `job run` prints it: by one rename, never replaced
//! ├── attempts/<shard>.jsonl   one line when an attempt begins, has an outcome, ends; locked meanwhile
//! ├── attempts/<shard>.log     what attempts said
//! ├── records/<shard>.jsonl    finished workloads of a shard that measures: an interrupted one goes on there
//! └── slurm/                   scripts for a cluster, and what their tasks said
//! ```
//!
//! Lines of a plan and of attempts:
//!
//! ```text
//! {"schema": "proofmark.fleet", "version": 1, "line": "plan",  …}   how many shards follow, what was passed over
//! {"schema": "proofmark.fleet", "version": 1, "line": "shard", …}   what the job on the next line is about
//! {"schema": "proofmark.job", …}                                     the job, as `job run` takes it
//! {"schema": "proofmark.fleet", "version": 1, "line": "begun", …}   who began when
//! {"schema": "proofmark.fleet", "version": 1, "line": "outcome", …} the SHA-256 of the outcome that it publishes next
//! {"schema": "proofmark.fleet", "version": 1, "line": "ended", …}   how that ended
//! ```
//!
//! What comes back is believed as far as it agrees: what a plan says of a shard must be what its job says, an
//! outcome must name the digest of that job and be one that an attempt wrote, its records must be of what the
//! job measures, and its figures and exit code must follow from them. What does not agree, or is no file at all, is
//! named and counts for nothing; the other shards do not suffer. No part of the folder may be a link.
//!
//! A shard is one job, and is named by the digest of what its job says. So the same shard in two plans, done
//! twice or killed half way, has one outcome; a plan that grew does only what is new. What is compared with
//! each other is one job, and stays on one GPU.
//!
//! | file | what it holds |
//! |---|---|
//! | [`shard`] | one job and its name |
//! | [`plan`] | the file of shards |
//! | [`attempt`] | one try at a shard |
//! | [`results`] | the folder where results meet |
//! | [`gpu`] | the GPUs of a machine, one worker each |
//! | [`worker`] | workers of one machine |
//! | [`answer`] | what an outcome says, held against its job |
//! | [`summary`] | what became of a plan |
//! | [`mod@table`] | the same as a table |
//! | [`slurm`] | a plan on a Slurm cluster |
//! | [`mod@estimate`] | how long a plan takes on so many GPUs |

pub mod answer;
pub mod attempt;
pub mod estimate;
pub mod gpu;
pub mod plan;
pub mod results;
pub mod shard;
pub mod slurm;
pub mod summary;
pub mod table;
pub mod worker;

pub use answer::ShardAnswer;
pub use plan::{FleetPlan, FleetPlanError, PlannedShard, ShardPlace};
pub use results::{Results, ResultsError, ShardState};
pub use shard::{Shard, ShardLabel, ShardSubject};

/// Name of the format, in every line of a plan and of attempts.
pub const SCHEMA: &str = "proofmark.fleet";
/// Its version. Changes whenever an older reader would misunderstand.
pub const VERSION: u32 = 1;
