//! What became of a plan: every shard with its answer, or why it has none.

use proofmark_packager::Digest;
use serde::Serialize;
use serde_json::Value;

use super::attempt::Attempt;
use super::{FleetPlan, PlannedShard, Results, ResultsError, ShardAnswer, ShardState, ShardSubject};
use crate::record::Record;

/// How far a shard is, as documents say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It has an outcome.
    Finished,
    /// The request is wrong: trying again changes nothing.
    Refused,
    /// The last attempt could not judge it.
    NotJudged,
    /// The last attempt was killed, or its machine died.
    Lost,
    /// Somebody does it now.
    Running,
    /// Nobody tried.
    Untried,
}

/// One shard of the plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ShardSummary {
    /// Its name.
    pub shard: Digest,
    /// What it is about.
    pub subjects: Vec<ShardSubject>,
    /// What that is for.
    pub definition: String,
    /// What it is built for.
    pub arch: String,
    /// The verb that is done.
    pub verb: String,
    /// How far it is.
    pub standing: Standing,
    /// What its outcome says.
    pub answer: Option<ShardAnswer>,
    /// Why there is none, in words.
    pub reason: Option<String>,
    /// How often it was tried.
    pub attempts: usize,
    /// How many attempts were killed, or died with their machine.
    pub lost_attempts: usize,
    /// How long the last attempt took that ended by itself.
    pub seconds: Option<f64>,
}

/// What became of a plan.
#[derive(Debug, Default)]
pub struct FleetSummary {
    /// Its shards in the order of the plan.
    pub shards: Vec<ShardSummary>,
    /// Every record of every outcome, in the same order.
    pub records: Vec<Record>,
}

/// The exit code of a request that is wrong.
const WRONG_REQUEST: u8 = 2;

/// Whether an attempt ended because the request is wrong.
pub fn is_refused(state: &ShardState) -> bool {
    matches!(state, ShardState::Ended(ended) if ended.exit_code == WRONG_REQUEST)
}

impl FleetSummary {
    /// Reads every outcome.
    pub fn read(plan: &FleetPlan, results: &Results) -> Result<Self, ResultsError> {
        let mut summary = Self::default();
        for shard in &plan.shards {
            let state = results.state(shard.id)?;
            let attempts = results.attempts(shard.id)?;
            if let ShardState::Finished(outcome) = &state {
                summary.records.extend(records(results, shard.id, outcome)?);
            }
            summary.shards.push(ShardSummary::of(shard, &state, &attempts));
        }
        Ok(summary)
    }

    /// How many shards stand so.
    pub fn count(&self, standing: Standing) -> usize {
        self.shards.iter().filter(|shard| shard.standing == standing).count()
    }

    /// How many have neither an outcome nor a refusal.
    pub fn missing(&self) -> usize {
        self.shards.len() - self.count(Standing::Finished) - self.count(Standing::Refused)
    }

    /// Whether every shard has an answer, and every answer is positive.
    pub fn is_positive(&self) -> bool {
        let is_yes = |shard: &ShardSummary| shard.answer.as_ref().is_some_and(|answer| answer.exit_code == 0);
        self.shards.iter().all(is_yes)
    }
}

impl ShardSummary {
    fn of(shard: &PlannedShard, state: &ShardState, attempts: &[Attempt]) -> Self {
        let (standing, answer, reason) = match state {
            ShardState::Finished(outcome) => (Standing::Finished, Some(ShardAnswer::of(outcome)), None),
            ShardState::Ended(ended) => {
                let refused = is_refused(state);
                let standing = if refused { Standing::Refused } else { Standing::NotJudged };
                (standing, None, ended.error.clone())
            }
            ShardState::Lost => {
                let begun = attempts.last().map(|last| &last.begun);
                let reason = begun.map(|begun| {
                    let task =
                        begun.scheduled_as.as_ref().map(|task| format!(", {task}")).unwrap_or_default();
                    format!("its process {} on {}{task} was killed", begun.process, begun.host)
                });
                (Standing::Lost, None, reason)
            }
            ShardState::Running => (Standing::Running, None, None),
            ShardState::Untried => (Standing::Untried, None, None),
        };
        let is_running = standing == Standing::Running;
        let unended = attempts.iter().filter(|one| one.ended.is_none()).count();
        Self {
            shard: shard.id,
            subjects: shard.subjects.clone(),
            definition: shard.definition.clone(),
            arch: shard.arch.clone(),
            verb: shard.verb.clone(),
            standing,
            answer,
            reason,
            attempts: attempts.len(),
            lost_attempts: unended.saturating_sub(usize::from(is_running)),
            seconds: attempts.iter().rev().find_map(|one| one.ended.as_ref()).map(|ended| ended.seconds),
        }
    }
}

/// The records of an outcome, as they were measured.
fn records(results: &Results, shard: Digest, outcome: &Value) -> Result<Vec<Record>, ResultsError> {
    let records = outcome["records"].as_array().map(Vec::as_slice).unwrap_or_default();
    let refuse = |error: &dyn std::fmt::Display| ResultsError::NoOutcome {
        path: results.outcome_path(shard),
        reason: format!("a record in it is none: {error}"),
    };
    let read = |record: &Value| {
        let record: Record = serde_json::from_value(record.clone()).map_err(|error| refuse(&error))?;
        record.check().map_err(|error| refuse(&error))?;
        Ok(record)
    };
    records.iter().map(read).collect()
}
