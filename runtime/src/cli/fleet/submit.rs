//! `proofmark fleet submit`: hands a plan to a cluster.

use std::ffi::OsString;
use std::fs;
use std::num::NonZeroUsize;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf, absolute};

use clap::parser::ValueSource;
use clap::{Args, CommandFactory, Parser};
use serde_json::json;

use super::run::RunArguments;
use super::{ResultsFolder, explain_plan, explain_results, words};
use crate::cli::console::Console;
use crate::cli::exit_code::ExitCode;
use crate::cli::failure::Failure;
use crate::cli::output;
use crate::fleet::slurm::{self, Campaign, MOST_TASKS, SlurmError};
use crate::fleet::{FleetPlan, Results};
use crate::path_text;

/// Hand a plan to a cluster: an array of tasks, and a last one that puts results together.
///
/// Two scripts are written into the folder of results and submitted. Each task does its part of the plan by
/// `fleet run` and may be requeued: what is finished is skipped. The last one runs `fleet reduce`, whatever became
/// of the tasks. Plan, results, the cache and this program must be where all nodes see them.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  proofmark fleet submit plan.jsonl --slurm --dry-run          shows the scripts, submits nothing
  proofmark fleet submit plan.jsonl --slurm --tasks 64 --at-once 16 -- --offline
  proofmark fleet submit plan.jsonl --slurm --with=--partition=gpu --with=--time=60 --ledger /shared/ledger

What stands behind `--` goes to `fleet run`. Submitted again, tasks do only what is left.")]
pub(super) struct SubmitArguments {
    /// The plan.
    plan: PathBuf,
    /// Slurm, by its program sbatch.
    #[arg(long, required = true)]
    slurm: bool,
    #[command(flatten)]
    results: ResultsFolder,
    /// How many tasks share the plan [default: one for each shard, at most 1000].
    #[arg(long, value_name = "N")]
    tasks: Option<NonZeroUsize>,
    /// How many tasks run at once [default: as many as the cluster lets].
    #[arg(long, value_name = "N")]
    at_once: Option<NonZeroUsize>,
    /// Processors of each task; without a GPU it does as many shards at once.
    #[arg(long, value_name = "N", default_value = "1")]
    processors: NonZeroUsize,
    /// Another option for sbatch, such as `--with=--partition=gpu`.
    #[arg(long, value_name = "OPTION", allow_hyphen_values = true)]
    with: Vec<String>,
    /// Have `fleet reduce` write into this ledger.
    #[arg(long, value_name = "DIR")]
    ledger: Option<PathBuf>,
    /// Have `fleet reduce` write this page.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// This program on the nodes [default: where it is here].
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// The program that submits.
    #[arg(long, value_name = "PROGRAM", default_value = "sbatch")]
    sbatch: PathBuf,
    /// Show the scripts, write and submit nothing.
    #[arg(long)]
    dry_run: bool,
    /// Options for `fleet run`.
    #[arg(last = true, value_name = "OPTIONS")]
    run: Vec<String>,
}

/// Runs the verb.
pub(super) fn run(arguments: &SubmitArguments, console: &Console) -> Result<ExitCode, Failure> {
    let plan = FleetPlan::read(&arguments.plan).map_err(explain_plan)?;
    check_options(&arguments.run)?;
    let campaign = campaign(arguments, &plan)?;
    let scripts = [
        ("array.sh", campaign.array_script().map_err(explain)?),
        ("reduce.sh", campaign.reduce_script().map_err(explain)?),
    ];
    if arguments.dry_run {
        for (name, script) in &scripts {
            console.print(format!("# {}\n{script}", campaign.scripts().join(name).display()))?;
        }
        return document(arguments, &campaign, [None, None], console);
    }
    Results::open(&campaign.results).map_err(explain_results)?;
    let paths = [0, 1].map(|index| campaign.scripts().join(scripts[index].0));
    for (path, (_, script)) in paths.iter().zip(&scripts) {
        write_script(path, script)?;
    }
    let tasks = slurm::submit(&arguments.sbatch, &paths[0], None).map_err(explain)?;
    let last = slurm::submit(&arguments.sbatch, &paths[1], Some(&tasks)).map_err(explain)?;
    console.print(format!(
        "submitted    {} as {} tasks of job {tasks}; job {last} puts results together",
        words::shards(plan.shards.len()),
        campaign.tasks
    ))?;
    console.print(format!("logs         {}", campaign.scripts().display()))?;
    document(arguments, &campaign, [Some(tasks), Some(last)], console)
}

fn document(
    arguments: &SubmitArguments,
    campaign: &Campaign,
    jobs: [Option<slurm::SlurmId>; 2],
    console: &Console,
) -> Result<ExitCode, Failure> {
    let script = |name: &str| path_text::text(campaign.scripts().join(name));
    let [tasks, last] = jobs;
    let body = json!({
        "plan": path_text::text(&arguments.plan), "results": path_text::text(&campaign.results),
        "dry_run": arguments.dry_run, "tasks": campaign.tasks, "needs_gpu": campaign.needs_gpu,
        "array": { "script": script("array.sh"), "job": tasks },
        "reduce": { "script": script("reduce.sh"), "job": last },
    });
    console.document("proofmark.fleet-submit", 1, &body)?;
    Ok(ExitCode::Yes)
}

fn campaign(arguments: &SubmitArguments, plan: &FleetPlan) -> Result<Campaign, Failure> {
    let place = |path: &Path| {
        absolute(path).map_err(|error| Failure::request(format!("{}: {error}", path.display())))
    };
    let program = match &arguments.program {
        Some(program) => program.clone(),
        None => std::env::current_exe().map_err(Failure::could_not_judge)?,
    };
    let mut reduce = Vec::new();
    for (option, path) in [("--ledger", &arguments.ledger), ("--report", &arguments.report)] {
        if let Some(path) = path {
            reduce.extend([option.to_owned(), place(path)?.display().to_string()]);
        }
    }
    let tasks = arguments.tasks.map_or(MOST_TASKS, NonZeroUsize::get).min(plan.shards.len()).max(1);
    Ok(Campaign {
        program,
        plan: place(&arguments.plan)?,
        results: place(&arguments.results.results)?,
        folder: place(Path::new("."))?,
        tasks,
        at_once: arguments.at_once.map(NonZeroUsize::get),
        needs_gpu: plan.shards.iter().any(|shard| shard.label.needs_gpu),
        processors: arguments.processors.get(),
        sbatch: arguments.with.clone(),
        run: arguments.run.clone(),
        reduce,
    })
}

/// Options of `fleet run` that each task gets from its script, and a person not beside it.
const SET_BY_SCRIPTS: [&str; 6] = ["results", "shard", "workers", "only", "at", "parent"];

/// Finds out now what every task would find out later.
fn check_options(options: &[String]) -> Result<(), Failure> {
    #[derive(Debug, Parser)]
    #[command(name = "fleet run", no_binary_name = true)]
    struct RunLine {
        #[command(flatten)]
        _run: RunArguments,
    }
    let line = std::iter::once(OsString::from("plan.jsonl")).chain(options.iter().map(OsString::from));
    let wrong = |error: clap::Error| error.to_string().lines().next().unwrap_or_default().to_owned();
    let matches = RunLine::command().try_get_matches_from(line).map_err(|error| {
        Failure::request(format!("`fleet run` does not take this: {}", wrong(error)))
            .hint("`proofmark fleet run --help` lists what may stand behind `--`")
    })?;
    let is_given = |name: &&&str| matches.value_source(name) == Some(ValueSource::CommandLine);
    match SET_BY_SCRIPTS.iter().find(is_given) {
        None => Ok(()),
        Some(name) => {
            Err(Failure::request(format!("`--{name}` behind `--` is what the scripts say themselves"))
                .hint("--results, --tasks and --processors before the `--` set it"))
        }
    }
}

fn write_script(path: &Path, script: &str) -> Result<(), Failure> {
    let failed = |error| Failure::could_not_judge(format!("cannot write {}: {error}", path.display()));
    fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).map_err(failed)?;
    output::write_file(path, script.as_bytes())?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(failed)
}

fn explain(error: SlurmError) -> Failure {
    match &error {
        SlurmError::Unspeakable { .. } => Failure::request(error).hint("another folder has a plainer name"),
        SlurmError::NoProgram { .. } => Failure::could_not_judge(error)
            .hint("Slurm's programs must be on PATH here, or named with --sbatch")
            .hint("`fleet run` does a plan on this machine; --dry-run shows the scripts"),
        SlurmError::Refused { .. } => {
            Failure::could_not_judge(error).hint("--with=OPTION gives sbatch what your cluster asks for")
        }
    }
}
