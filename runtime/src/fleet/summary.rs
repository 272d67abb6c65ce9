//! What became of a plan: every shard with its answer, or why it has none.

use std::collections::HashMap;

use proofmark_packager::Digest;
use serde::Serialize;
use serde_json::Value;

use super::answer::{self, Answered};
use super::attempt::Attempt;
use super::results::Fault;
use super::shard::ShardLabel;
use super::{FleetPlan, FleetPlanError, PlannedShard, Results, ShardAnswer, ShardState, ShardSubject};
use crate::cause_text;
use crate::job::Job;
use crate::record::{Record, RunId};

/// How far a shard is, as documents say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It has an outcome that agrees with its job.
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
    /// What the plan, the outcome or the file of attempts says does not agree, or cannot be read: it counts for
    /// nothing.
    Invalid,
}

/// One shard of the plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ShardSummary {
    /// Its name.
    pub shard: Digest,
    /// What it is about, as its job says.
    pub subjects: Vec<ShardSubject>,
    /// Where those were found, where another shard has the same names: by the word of the plan, which no job confirms.
    pub planned_from: Option<Vec<String>>,
    /// What that is for.
    pub definition: String,
    /// What it is built for.
    pub arch: String,
    /// The verb that is done.
    pub verb: String,
    /// How far it is.
    pub standing: Standing,
    /// Whether its lines in the plan do not agree, so that no result is at fault.
    #[serde(skip)]
    pub is_misplanned: bool,
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
}

/// The exit code of a request that is wrong.
const WRONG_REQUEST: u8 = 2;

/// Whether an attempt ended because the request is wrong.
pub fn is_refused(state: &ShardState) -> bool {
    matches!(state, ShardState::Ended(ended) if ended.exit_code == WRONG_REQUEST)
}

impl FleetSummary {
    /// Reads every outcome and holds it against its job. The records of each are handed over as they come, in the
    /// order of the plan: all of them together may be more than fits.
    pub fn read<E>(
        plan: &FleetPlan,
        results: &Results,
        mut take: impl FnMut(Vec<Record>) -> Result<(), E>,
    ) -> Result<Self, E> {
        let mut summary = Self::default();
        let mut runs: HashMap<RunId, Digest> = HashMap::new();
        for shard in &plan.shards {
            let (mut one, mut records) = ShardSummary::read(plan, shard, results);
            // A run is of one shard: another's records under its name would be counted with it.
            let named = records.iter().find_map(run_of);
            if let Some(other) = named.and_then(|run| runs.insert(run, one.shard)) {
                let reason = format!("is not believed: its records are of a run of shard {}", other.short());
                let fault = Fault { path: results.outcome_path(one.shard), reason };
                one = Self::without_answer(one, &fault);
                records.clear();
            }
            summary.shards.push(one);
            take(records)?;
        }
        summary.tell_apart(plan);
        Ok(summary)
    }

    /// Says of shards with the same names where the plan found them.
    fn tell_apart(&mut self, plan: &FleetPlan) {
        let names = |shard: &ShardSummary| -> Vec<(String, String)> {
            shard.subjects.iter().map(|one| (one.solution.clone(), one.author.clone())).collect()
        };
        let mut count: HashMap<Vec<(String, String)>, usize> = HashMap::new();
        for shard in &self.shards {
            *count.entry(names(shard)).or_default() += 1;
        }
        for shard in &mut self.shards {
            if !shard.subjects.is_empty() && count.get(&names(shard)).is_some_and(|&count| count > 1) {
                let planned = plan.shard(shard.shard).into_iter().flat_map(|planned| &planned.label.subjects);
                shard.planned_from = Some(planned.filter_map(|one| one.path.clone()).collect());
            }
        }
    }

    fn without_answer(one: ShardSummary, fault: &Fault) -> ShardSummary {
        let (standing, reason) = (Standing::Invalid, Some(fault.to_string()));
        ShardSummary { standing, reason, answer: None, ..one }
    }

    /// How many shards stand so.
    pub fn count(&self, standing: Standing) -> usize {
        self.shards.iter().filter(|shard| shard.standing == standing).count()
    }

    /// How many have neither an outcome that counts nor a refusal.
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
    /// Reads what became of a shard, and its records.
    fn read(plan: &FleetPlan, shard: &PlannedShard, results: &Results) -> (Self, Vec<Record>) {
        let id = shard.label.id;
        let job = match plan.job(shard) {
            Ok(job) => job,
            Err(error) => return (Self::misplanned(&error, shard), Vec::new()),
        };
        // What tables say of a shard is what its job says; the plan's own words agree with it, or are not used.
        let label = &shard.label;
        let attempts = results.attempts(id);
        let no_attempts = Vec::new();
        let known = attempts.as_ref().unwrap_or(&no_attempts);
        match results.state(id) {
            ShardState::Finished(mut outcome) => match answered(&job, &mut outcome, results, id) {
                Ok(Answered { answer, records }) => {
                    let one = Self::of(label, Standing::Finished, None, known);
                    (Self { answer: Some(answer), ..one }, records)
                }
                Err(fault) => {
                    (Self::of(label, Standing::Invalid, Some(fault.to_string()), known), Vec::new())
                }
            },
            state => (Self::unanswered(label, &state, known), Vec::new()),
        }
    }

    /// A shard whose lines in the plan do not agree: nothing but its name is repeated.
    fn misplanned(error: &FleetPlanError, shard: &PlannedShard) -> Self {
        Self {
            shard: shard.label.id,
            subjects: Vec::new(),
            planned_from: None,
            definition: String::new(),
            arch: String::new(),
            verb: String::new(),
            standing: Standing::Invalid,
            is_misplanned: true,
            answer: None,
            reason: Some(cause_text::text(error)),
            attempts: 0,
            lost_attempts: 0,
            seconds: None,
        }
    }

    fn unanswered(label: &ShardLabel, state: &ShardState, attempts: &[Attempt]) -> Self {
        let (standing, reason) = match state {
            ShardState::Invalid(fault) => (Standing::Invalid, Some(fault.to_string())),
            ShardState::Ended(ended) => {
                let standing = if is_refused(state) { Standing::Refused } else { Standing::NotJudged };
                (standing, ended.error.clone())
            }
            ShardState::Lost => (Standing::Lost, attempts.last().map(lost)),
            ShardState::Running => (Standing::Running, None),
            ShardState::Finished(_) | ShardState::Untried => (Standing::Untried, None),
        };
        Self::of(label, standing, reason, attempts)
    }

    fn of(label: &ShardLabel, standing: Standing, reason: Option<String>, attempts: &[Attempt]) -> Self {
        let is_running = standing == Standing::Running;
        let unended = attempts.iter().filter(|one| one.ended.is_none()).count();
        Self {
            shard: label.id,
            subjects: label.subjects.iter().map(ShardSubject::without_path).collect(),
            planned_from: None,
            definition: label.definition.clone(),
            arch: label.arch.to_string(),
            verb: label.verb.clone(),
            standing,
            is_misplanned: false,
            answer: None,
            reason,
            attempts: attempts.len(),
            lost_attempts: unended.saturating_sub(usize::from(is_running)),
            seconds: attempts.iter().rev().find_map(|one| one.ended.as_ref()).map(|ended| ended.seconds),
        }
    }
}

fn answered(job: &Job, outcome: &mut Value, results: &Results, shard: Digest) -> Result<Answered, Fault> {
    answer::answered(job, outcome).map_err(|disagreement| Fault {
        path: results.outcome_path(shard),
        reason: format!("is not believed: {disagreement}"),
    })
}

/// The run of a record; a comparison's two sides are of one.
fn run_of(record: &Record) -> Option<RunId> {
    match record {
        Record::Workload(record) => record.context.run_id,
        Record::Comparison(record) => record.a.run_id,
    }
}

/// Which attempt came to no end.
fn lost(Attempt { begun, .. }: &Attempt) -> String {
    let task = begun.scheduled_as.as_ref().map(|task| format!(", {task}")).unwrap_or_default();
    format!("its process {} on {}{task} was killed", begun.process, begun.host)
}
