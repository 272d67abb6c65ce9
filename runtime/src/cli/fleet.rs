//! `proofmark fleet`: many submissions, on many machines or over the GPUs of one.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::console::Console;
use super::exit_code::ExitCode;
use super::failure::Failure;
use crate::fleet::{FleetPlanError, ResultsError};

mod estimate;
mod places;
mod plan;
mod reduce;
mod run;
mod submit;
mod words;

/// Plan many jobs, share them out, and put together what came of them.
///
/// A plan is a file with one job a line. Each shard is one job and is named by what it says: done twice, or
/// killed half way and done again, it has one outcome. What is compared with each other is one shard, and stays
/// on one GPU.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  proofmark fleet plan entries -o plan.jsonl             build and prove everything below a folder
  proofmark fleet plan entries --verb bench --arch sm_90a -o plan.jsonl
  proofmark fleet run plan.jsonl                         over the processors or GPUs of this machine
  proofmark fleet submit plan.jsonl --slurm --dry-run    the same on a cluster
  proofmark fleet reduce plan.jsonl --report all.html    a table, a report, and what is missing
  proofmark fleet estimate plan.jsonl --gpus 1,8,64      how long it takes, and what breaks first")]
pub struct Arguments {
    #[command(subcommand)]
    action: FleetVerb,
}

#[derive(Debug, Subcommand)]
enum FleetVerb {
    Plan(Box<plan::PlanArguments>),
    Run(Box<run::RunArguments>),
    Reduce(reduce::ReduceArguments),
    Submit(Box<submit::SubmitArguments>),
    Estimate(estimate::EstimateArguments),
}

/// What helps where a file of the results counts for nothing.
const INVALID_IS_REMOVED: &str = "remove the files that are named invalid: their shards are then done again";

/// What helps where a plan is at fault.
const PLANNED_ANEW: &str = "`proofmark fleet plan` writes it anew; what was done stays done";

/// Where results are.
#[derive(Debug, Clone, Args)]
struct ResultsFolder {
    /// The folder of results.
    #[arg(long, value_name = "DIR", default_value = "results")]
    results: PathBuf,
}

/// Runs the verb.
pub fn run(arguments: &Arguments, console: &Console) -> Result<ExitCode, Failure> {
    match &arguments.action {
        FleetVerb::Plan(arguments) => plan::run(arguments, console),
        FleetVerb::Run(arguments) => run::run(arguments, console),
        FleetVerb::Reduce(arguments) => reduce::run(arguments, console),
        FleetVerb::Submit(arguments) => submit::run(arguments, console),
        FleetVerb::Estimate(arguments) => estimate::run(arguments, console),
    }
}

/// Says what a plan's failure means for the caller.
fn explain_plan(error: FleetPlanError) -> Failure {
    match &error {
        FleetPlanError::File { .. } => Failure::request(error),
        FleetPlanError::Line { .. }
        | FleetPlanError::Count { .. }
        | FleetPlanError::Changed { .. }
        | FleetPlanError::Kind { .. }
        | FleetPlanError::Job { .. } => Failure::request(error).hint(PLANNED_ANEW),
    }
}

/// Says what a plan's failure means for one of its shards: nothing about the shard, which a plan that is right again does.
fn explain_shard(error: FleetPlanError) -> Failure {
    Failure::could_not_judge(error).hint(PLANNED_ANEW)
}

/// Says what a failure of the results means for the caller.
fn explain_results(error: ResultsError) -> Failure {
    match &error {
        ResultsError::File { .. } => {
            Failure::could_not_judge(error).hint("name a folder that you can read and write with --results")
        }
        ResultsError::Folder { .. } => {
            Failure::could_not_judge(error).hint("remove it, or name another folder with --results")
        }
        ResultsError::TooLarge { .. } => {
            Failure::could_not_judge(error).hint("fewer workloads or samples make it smaller")
        }
    }
}
