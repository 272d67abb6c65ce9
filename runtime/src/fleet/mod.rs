//! Many jobs on many machines: a plan, workers that do its shards, and a folder where results meet.
//!
//! ```text
//! <plan>.jsonl                 one line for the plan, one line a shard; written once
//! <results>/
//! ├── outcomes/<shard>.json    what came out, as `job run` prints it: by one rename, never replaced
//! ├── attempts/<shard>.jsonl   one line when an attempt begins and one when it ends; locked meanwhile
//! ├── attempts/<shard>.log     what attempts said
//! ├── records/<shard>.jsonl    finished workloads of a shard that measures: an interrupted one goes on there
//! └── slurm/                   scripts for a cluster, and what their tasks said
//! ```
//!
//! Lines of a plan and of attempts:
//!
//! ```text
//! {"schema": "proofmark.fleet", "version": 1, "line": "plan",  …}   how many shards follow, what was passed over
//! {"schema": "proofmark.fleet", "version": 1, "line": "shard", …}   one job, and what it is about
//! {"schema": "proofmark.fleet", "version": 1, "line": "begun", …}   who began when
//! {"schema": "proofmark.fleet", "version": 1, "line": "ended", …}   how that ended
//! ```
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
//! | [`answer`] | what an outcome says, in a word and a figure |
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
pub use plan::{FleetPlan, PlanError, PlannedShard};
pub use results::{Results, ResultsError, ShardState};
pub use shard::{Shard, ShardSubject};

/// Name of the format, in every line of a plan and of attempts.
pub const SCHEMA: &str = "proofmark.fleet";
/// Its version. Changes whenever an older reader would misunderstand.
pub const VERSION: u32 = 1;
