//! `proofmark fleet plan`: everything below some folders, as a file of jobs.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use proofmark_packager::escape;
use serde_json::json;

use super::{places, words};
use crate::cli::console::Console;
use crate::cli::exit_code::ExitCode;
use crate::cli::failure::Failure;
use crate::cli::measuring::MeasuringOptions;
use crate::cli::protocol::ProtocolOptions;
use crate::cli::{input, line, output, protected};
use crate::fleet::Shard;
use crate::fleet::plan::{self as file, PassedOver};
use crate::job::{Action, Input};
use crate::{cause_text, path_text};

/// What is done with each submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PlannedVerb {
    /// Build and prove: no GPU.
    Build,
    /// Measure with every call checked.
    Bench,
    /// Decide whether it is faster than the incumbent.
    Compare,
}

/// Write a plan: one job for each submission below some folders.
///
/// Folders with a config.toml are found down to 16 folders deep, and so are artifacts (.zip) and solutions in JSON,
/// whatever they are called. Whatever else is there is named in the plan with its reason, links too, which are not
/// followed: nothing is left out silently, and one bad entry stops nobody. The same submissions give the same plan,
/// byte for byte.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  proofmark fleet plan entries -o plan.jsonl
  proofmark fleet plan entries --verb bench --arch sm_90a --dataset dataset -o plan.jsonl
  proofmark fleet plan entries --verb compare --against champion.zip --arch sm_90a -o plan.jsonl

Exit code 0: everything that was found is done by the plan. 1: something was left out.")]
pub(super) struct PlanArguments {
    /// Folders of submissions, or single ones.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// What to do with each.
    #[arg(long, value_enum, default_value = "build")]
    verb: PlannedVerb,
    /// The incumbent that each submission for the same definition is compared with; several for several
    /// definitions.
    #[arg(long, value_name = "PATH")]
    against: Vec<PathBuf>,
    /// Where to write the plan; `-` for standard output.
    #[arg(short, long, value_name = "FILE", default_value = "plan.jsonl")]
    output: PathBuf,
    #[command(flatten)]
    measuring: MeasuringOptions,
    #[command(flatten)]
    protocol: ProtocolOptions,
}

/// Runs the verb.
pub(super) fn run(arguments: &PlanArguments, console: &Console) -> Result<ExitCode, Failure> {
    if arguments.measuring.line.as_job {
        return Err(
            Failure::request("a plan is many jobs").hint("`build --as-job` and `bench --as-job` print one")
        );
    }
    if arguments.measuring.ledger.ledger.is_some() && std::env::var_os("PROOFMARK_LEDGER").is_none() {
        return Err(
            Failure::request("a plan measures nothing yet").hint("`fleet reduce --ledger` keeps records")
        );
    }
    if (arguments.verb == PlannedVerb::Compare) == arguments.against.is_empty() {
        return Err(Failure::request("`--verb compare` and `--against PATH` belong together"));
    }
    let incumbents = incumbents(arguments, console)?;
    let (mut shards, mut passed_over) = (Vec::new(), Vec::new());
    for named in &arguments.paths {
        let found = places::places(named)
            .map_err(|error| Failure::request(format!("cannot list {}: {error}", named.display())))?;
        if found.submissions.is_empty() && !found.passed_over.iter().any(PassedOver::is_left_out) {
            return Err(Failure::request(format!("no submission is below {}", named.display()))
                .hint("a submission is a folder with a config.toml, an artifact (.zip) or a solution in a .json file"));
        }
        protected::refuse(&arguments.output, &found.submissions)
            .map_err(|failure| failure.hint("name another file with `-o`"))?;
        passed_over.extend(found.passed_over);
        for path in found.submissions {
            match shard(arguments, &path, &incumbents, console) {
                Ok(shard) if file::fits(&shard) => shards.push(shard),
                Ok(_) => passed_over.push(left_out(&path, &"its job is larger than any that is read")),
                // What a person named alone is no bad entry among many, but a wrong request.
                Err(failure) if path == *named && arguments.paths.len() == 1 => return Err(failure),
                Err(failure) => passed_over.push(left_out(&path, &failure)),
            }
        }
    }
    passed_over.extend(file::arrange(&mut shards));
    passed_over.sort_by(|one, other| one.path.cmp(&other.path));
    for one in &passed_over {
        let (path, reason) = (escape::line(&one.path), escape::line(&one.reason));
        console.say(format!("note: passed over {path}: {reason}"));
    }
    if shards.is_empty() {
        return Err(Failure::request("nothing there can be planned"));
    }
    let text = file::text(&shards, &passed_over).map_err(|error| {
        Failure::request(error).hint("name fewer folders, or those of the submissions alone")
    })?;
    output::write_to(&arguments.output, text.as_bytes())?;
    let needs_gpu = shards.iter().filter(|shard| shard.job.action.needs_gpu()).count();
    if arguments.output != Path::new("-") {
        console.print(format!(
            "planned      {}: {}, {needs_gpu} of them for a GPU; {} passed over",
            arguments.output.display(),
            words::shards(shards.len()),
            passed_over.len()
        ))?;
        let body = json!({
            "output": path_text::text(&arguments.output), "shards": shards.len(), "need_gpu": needs_gpu,
            "passed_over": passed_over,
        });
        console.document("proofmark.fleet-plan", 1, &body)?;
    }
    Ok(if passed_over.iter().any(PassedOver::is_left_out) { ExitCode::No } else { ExitCode::Yes })
}

fn left_out(path: &Path, reason: &impl ToString) -> PassedOver {
    PassedOver::left_out(path_text::text(path), cause_text::one_line(&reason.to_string()))
}

/// What stands, by definition.
fn incumbents(arguments: &PlanArguments, console: &Console) -> Result<Vec<(PathBuf, Input)>, Failure> {
    let open = |path: &PathBuf| Ok((path.clone(), arguments.measuring.input(path, console)?));
    arguments.against.iter().map(open).collect()
}

/// What is done with what stands at a path.
fn shard(
    arguments: &PlanArguments,
    path: &Path,
    incumbents: &[(PathBuf, Input)],
    console: &Console,
) -> Result<Shard, Failure> {
    let how = &arguments.measuring;
    let freshness = how.line.freshness();
    let here = path_text::text(path);
    let (paths, arch, action) = match arguments.verb {
        PlannedVerb::Build => {
            let bundle = Box::new(input::open_one(path, console)?.bundle);
            let arch = line::arch_of(&bundle, how.line.arch, console);
            (vec![here], arch, Action::Build { subject: bundle })
        }
        PlannedVerb::Bench => {
            let subject = how.input(path, console)?;
            let arch = how.arch(&subject, console);
            let measuring = Box::new(how.measuring(subject.artifact(), path, console)?);
            (vec![here], arch, Action::Bench { subject, measuring })
        }
        PlannedVerb::Compare => {
            let candidate = how.input(path, console)?;
            let arch = how.arch(&candidate, console);
            let measuring = how.measuring(candidate.artifact(), path, console)?;
            let (place, incumbent) = incumbent(incumbents, measuring.task.definition.name())?;
            if incumbent.digest() == candidate.digest() {
                return Err(Failure::request("it is the incumbent"));
            }
            let protocol = Box::new(arguments.protocol.protocol(measuring.task.workloads.len()));
            let (incumbent, measuring) = (incumbent.clone(), Box::new(measuring));
            (
                vec![path_text::text(place), here],
                arch,
                Action::Compare { incumbent, candidate, measuring, protocol, limit_s: None },
            )
        }
    };
    action.check().map_err(Failure::request)?;
    Shard::new(&paths, arch, freshness, action).map_err(Failure::request)
}

/// The one incumbent of a definition; a bare library is one for any.
fn incumbent<'a>(
    incumbents: &'a [(PathBuf, Input)],
    definition: &str,
) -> Result<&'a (PathBuf, Input), Failure> {
    let stands = |input: &Input| {
        input.artifact().is_none_or(|artifact| artifact.manifest().solution.definition == definition)
    };
    let mut fitting = incumbents.iter().filter(|(_, input)| stands(input));
    match (fitting.next(), fitting.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => Err(Failure::request(format!("no incumbent is for {definition}"))
            .hint("`--against PATH` names one for each definition")),
        (Some(_), Some(_)) => Err(Failure::request(format!("several incumbents are for {definition}"))),
    }
}
