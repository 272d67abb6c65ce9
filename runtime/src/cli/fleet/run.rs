//! `proofmark fleet run`: does the shards of a plan, or a part of them, on this machine.

use std::collections::HashSet;
use std::io;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use clap::Args;
use proofmark_packager::Digest;
use serde_json::json;

use super::{INVALID_IS_REMOVED, ResultsFolder, explain_plan, explain_results, explain_shard, words};
use crate::cli::console::{self, Console};
use crate::cli::exit_code::{self, ExitCode};
use crate::cli::failure::Failure;
use crate::cli::line::{self, MachineOptions};
use crate::cli::measuring::DriverOptions;
use crate::fleet::attempt::{AttemptEnd, AttemptStart, scheduled_as};
use crate::fleet::gpu::{self, GpuName};
use crate::fleet::summary::is_refused;
use crate::fleet::worker::{self, WorkEnd, WorkError, WorkEvent};
use crate::fleet::{FleetPlan, PlannedShard, Results, ShardPlace, ShardState};
use crate::job::{Action, Job, outcome};
use crate::measure::Neighbours;
use crate::path_text;
use crate::pipeline::Settings;
use crate::record::RunId;
use crate::report;

/// Do the shards of a plan that have no outcome yet.
///
/// Each shard is done in a process of its own, and its outcome appears in the folder of results as a whole. What
/// is finished is skipped, so a run that was killed is simply started again; two that run at once share the work,
/// on one machine or on several that see the same folder. Shards that need a GPU have one worker for each GPU,
/// which keeps others of the same kind away by a lock.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  proofmark fleet run plan.jsonl                       all of it, on this machine
  proofmark fleet run plan.jsonl --workers 8 --offline
  proofmark fleet run plan.jsonl --gpus 0,1,2,3
  proofmark fleet run plan.jsonl --shard 3/16          the fourth of sixteen parts

Exit code 0: every shard that was asked for has an answer, whatever it is. 3: one could not be judged, what stands in
the place of its outcome is none, or the run was ended early; start it again. Whether an outcome answers its job,
`fleet reduce` says.")]
pub(super) struct RunArguments {
    /// The plan.
    plan: PathBuf,
    #[command(flatten)]
    results: ResultsFolder,
    /// Only this part: every Nth shard from the Ith on, counted from 0.
    #[arg(long, value_name = "I/N", value_parser = parse_part)]
    shard: Option<PlanPart>,
    /// How many shards are done at once where no GPU is needed [default: as many as there are processors].
    #[arg(long, value_name = "K")]
    workers: Option<NonZeroUsize>,
    /// The GPUs, as CUDA_VISIBLE_DEVICES names them; one worker each [default: $CUDA_VISIBLE_DEVICES, else all].
    #[arg(long, value_name = "GPU,…", value_delimiter = ',')]
    gpus: Vec<String>,
    /// Do this shard, in this process, for the process that started it.
    #[arg(long, hide = true, value_name = "SHARD", requires_all = ["at", "parent"])]
    only: Option<Digest>,
    /// Where its lines begin in the plan, in bytes.
    #[arg(long, hide = true, value_name = "OFFSET")]
    at: Option<u64>,
    /// The process that started this one.
    #[arg(long, hide = true, value_name = "ID")]
    parent: Option<u32>,
    #[command(flatten)]
    machine: MachineOptions,
    #[command(flatten)]
    driver: DriverOptions,
}

/// A part of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct PlanPart {
    index: usize,
    of: usize,
}

fn parse_part(text: &str) -> Result<PlanPart, String> {
    let part = text.split_once('/').and_then(|(index, of)| {
        let part = PlanPart { index: index.parse().ok()?, of: of.parse().ok()? };
        (part.index < part.of).then_some(part)
    });
    part.ok_or_else(|| "expected I/N with I from 0 to N-1, such as 0/4".to_owned())
}

/// How many shards came to what.
#[derive(Debug, Default, serde::Serialize)]
struct RunTally {
    shards: usize,
    finished_before: usize,
    finished_here: usize,
    finished_elsewhere: usize,
    refused: usize,
    not_judged: usize,
    invalid: usize,
    elsewhere: usize,
    open: usize,
}

/// Runs the verb.
pub(super) fn run(arguments: &RunArguments, console: &Console) -> Result<ExitCode, Failure> {
    let results = Results::open(&arguments.results.results).map_err(explain_results)?;
    if let (Some(id), Some(at), Some(parent)) = (arguments.only, arguments.at, arguments.parent) {
        return do_one(arguments, id, ShardPlace(at), &results, parent, console);
    }
    let plan = FleetPlan::read(&arguments.plan).map_err(explain_plan)?;
    let begun = Instant::now();
    let asked = arguments.shard.map_or_else(|| plan.part(0, 1), |part| plan.part(part.index, part.of));
    let mut tally = RunTally { shards: asked.len(), ..RunTally::default() };
    let mut todo = Vec::new();
    for shard in asked {
        match results.state(shard.label.id) {
            ShardState::Finished(_) => tally.finished_before += 1,
            _ => todo.push(shard),
        }
    }
    let here = Mutex::new(HashSet::new());
    let progress = work(arguments, &results, &plan, (&todo, &here), console)?;
    let here = here.into_inner().unwrap_or_else(PoisonError::into_inner);
    for shard in &todo {
        match results.state(shard.label.id) {
            ShardState::Finished(_) if here.contains(&shard.label.id) => tally.finished_here += 1,
            ShardState::Finished(_) => tally.finished_elsewhere += 1,
            state @ ShardState::Ended(_) if is_refused(&state) => tally.refused += 1,
            ShardState::Ended(_) | ShardState::Lost => tally.not_judged += 1,
            ShardState::Invalid(_) => tally.invalid += 1,
            ShardState::Running => tally.elsewhere += 1,
            ShardState::Untried => tally.open += 1,
        }
    }
    let interrupted = progress == WorkEnd::Interrupted;
    let seconds = begun.elapsed().as_secs_f64();
    console.print(format!(
        "{:13}{} of {} have an outcome: {} before, {} by this run, {} by others meanwhile; {} refused, {} not judged, {} invalid, {} others do now, {} open ({seconds:.1} s)",
        if interrupted { "ended early" } else { "done" },
        tally.finished_before + tally.finished_here + tally.finished_elsewhere,
        words::shards(tally.shards),
        tally.finished_before,
        tally.finished_here,
        tally.finished_elsewhere,
        tally.refused,
        tally.not_judged,
        tally.invalid,
        tally.elsewhere,
        tally.open,
    ))?;
    if tally.invalid > 0 {
        console.say(format!("hint: {INVALID_IS_REMOVED}"));
    }
    let body = json!({
        "plan": path_text::text(&arguments.plan), "results": path_text::text(results.folder()),
        "interrupted": interrupted, "seconds": seconds, "tally": tally,
    });
    console.document("proofmark.fleet-run", 1, &body)?;
    let all = !interrupted && tally.not_judged + tally.invalid + tally.elsewhere + tally.open == 0;
    Ok(if all { ExitCode::Yes } else { ExitCode::CouldNotJudge })
}

/// Does what is left: first what needs no GPU, over the processors, then the rest, over the GPUs.
fn work(
    arguments: &RunArguments,
    results: &Results,
    plan: &FleetPlan,
    (todo, here): (&[&PlannedShard], &Mutex<HashSet<Digest>>),
    console: &Console,
) -> Result<WorkEnd, Failure> {
    let (done, elsewhere) = (AtomicUsize::new(0), Mutex::new(HashSet::new()));
    let listen = |event: WorkEvent<'_>| match event {
        WorkEvent::WaitingForGpu(gpu) => {
            console.say(format!("waiting for GPU {}: another worker has it", gpu.0));
        }
        WorkEvent::Elsewhere(id) => {
            if elsewhere.lock().unwrap_or_else(PoisonError::into_inner).insert(id) {
                let name = plan.shard(id).map(words::name).unwrap_or_default();
                console.say(format!("another run does {name}"));
            }
        }
        WorkEvent::FinishedElsewhere(_) => {
            done.fetch_add(1, Ordering::Relaxed);
        }
        WorkEvent::Ended(id, elapsed, state) => {
            here.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
            let count = done.fetch_add(1, Ordering::Relaxed) + 1;
            let name = plan.shard(id).map(words::name).unwrap_or_default();
            console.say(format!(
                "[{count}/{}] {} {name} ({:.1} s){}",
                todo.len(),
                words::state(state),
                elapsed.as_secs_f64(),
                words::reason(state)
            ));
        }
    };
    let start = |id: Digest, gpu: Option<&GpuName>| {
        let place = plan.shard(id).map(|shard| shard.place).ok_or(io::ErrorKind::NotFound)?;
        start(results, (id, place), gpu, console)
    };
    let (on_gpus, on_processors): (Vec<&PlannedShard>, Vec<&PlannedShard>) =
        todo.iter().partition(|shard| shard.label.needs_gpu);
    let ids = |shards: &[&PlannedShard]| shards.iter().map(|shard| shard.label.id).collect::<Vec<_>>();
    let mut progress = WorkEnd::Done;
    if !on_processors.is_empty() {
        let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let places = vec![None; arguments.workers.map_or(processors, NonZeroUsize::get)];
        progress = worker::work(results, &ids(&on_processors), &places, &start, &listen).map_err(explain)?;
    }
    if !on_gpus.is_empty() && progress == WorkEnd::Done {
        let variable = std::env::var("CUDA_VISIBLE_DEVICES").ok();
        let gpus = gpu::visible(&arguments.gpus, variable.as_deref());
        if gpus.is_empty() {
            return Err(Failure::could_not_judge(format!(
                "a GPU is needed for {}, and none is here",
                words::shards(on_gpus.len())
            ))
            .hint("`proofmark doctor` says what is missing; --gpus names them"));
        }
        let places: Vec<_> = gpus.into_iter().map(Some).collect();
        progress = worker::work(results, &ids(&on_gpus), &places, &start, &listen).map_err(explain)?;
    }
    Ok(progress)
}

/// Starts this program once more, with everything that it was started with, for one shard.
fn start(
    results: &Results,
    (id, place): (Digest, ShardPlace),
    gpu: Option<&GpuName>,
    console: &Console,
) -> io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(std::env::args_os().skip(1));
    command.args(["--only", &id.to_string(), "--at", &place.0.to_string()]);
    command.args(["--parent", &std::process::id().to_string()]);
    // What a shard comes to does not hang on what it says.
    let talk = match results.talk(id) {
        Ok(file) => Stdio::from(file),
        Err(error) => {
            console.say(format!("note: {}", Failure::could_not_judge(error)));
            Stdio::null()
        }
    };
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(talk);
    worker::on_gpu(command, gpu).spawn()
}

/// Does one shard: claim, attempt, outcome.
fn do_one(
    arguments: &RunArguments,
    id: Digest,
    place: ShardPlace,
    results: &Results,
    parent: u32,
    console: &Console,
) -> Result<ExitCode, Failure> {
    if !worker::end_with_parent(parent) {
        return Err(Failure::could_not_judge("the process that wanted this shard has ended"));
    }
    let Some(mut claim) = results.claim(id).map_err(explain_results)? else {
        return Err(Failure::could_not_judge("somebody else does this shard"));
    };
    // Whoever had the claim before may have finished.
    if results.has_outcome(id) {
        return Ok(ExitCode::Yes);
    }
    claim
        .begin(&AttemptStart::now(scheduled_as(|name| std::env::var(name).ok())))
        .map_err(explain_results)?;
    let begun = Instant::now();
    let answer = judge(arguments, (id, place), results, console).and_then(|(document, code)| {
        claim.publish(document.as_bytes()).map_err(explain_results)?;
        Ok(code)
    });
    let (code, error) = match &answer {
        Ok(code) => (*code, None),
        Err(failure) => (failure.code(), Some(failure.to_string())),
    };
    claim.end(&AttemptEnd::now(begun.elapsed().as_secs_f64(), code as u8, error)).map_err(explain_results)?;
    answer
}

/// The document of a shard's outcome.
fn judge(
    arguments: &RunArguments,
    (id, place): (Digest, ShardPlace),
    results: &Results,
    console: &Console,
) -> Result<(String, ExitCode), Failure> {
    let plan = FleetPlan::read_one(&arguments.plan, id, place).map_err(explain_shard)?;
    let shard = plan.shard(id).ok_or_else(|| Failure::request(format!("the plan has no shard {id}")))?;
    let planned = plan.job(shard).map_err(explain_shard)?;
    // A plan that is run again is another run.
    let job = Job { run_id: RunId::fresh(), ..planned };
    let record = match job.action {
        Action::Bench { .. } => Some(results.record(id).map_err(explain_results)?),
        _ => None,
    };
    // A worker has its GPU to itself: whoever else is there disturbs.
    let neighbours = Neighbours::Disturb;
    let settings =
        Settings { neighbours, record, ..arguments.driver.settings(arguments.machine.settings()?) };
    let done = line::do_job(&job, &settings, console)?;
    let code = exit_code::of(&done);
    let body = report::outcome::job_body(&job, &done, code as u8);
    Ok((console::render(outcome::SCHEMA, outcome::VERSION, &body)?, code))
}

fn explain(error: WorkError) -> Failure {
    match error {
        WorkError::Start(_) => Failure::could_not_judge(error),
        WorkError::Gpu { .. } => Failure::could_not_judge(error).hint("locks of GPUs are files in /dev/shm"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_one_of_its_whole() {
        assert_eq!(parse_part("0/1").unwrap(), PlanPart { index: 0, of: 1 });
        for text in ["", "1", "1/1", "2/1", "-1/2", "a/b", "0/0", "1/2/3"] {
            assert!(parse_part(text).is_err(), "{text}");
        }
    }
}
