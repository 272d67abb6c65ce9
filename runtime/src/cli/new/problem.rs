//! Submissions for a board's problem.

use std::path::Path;

use proofmark_packager::Artifact;
use proofmark_packager::interop::flashinfer::solution;
use proofmark_packager::interop::popcorn;
use proofmark_packager::interop::solexec::problem::DEFINITION_NAME;
use proofmark_packager::interop::solexec::{self, ProblemError};
use serde_json::json;

use super::{Arguments, Operator, folder_named, lines_of, write};
use crate::cli::console::Console;
use crate::cli::exit_code::ExitCode;
use crate::cli::failure::Failure;

/// Most workloads that a refusal names.
const MOST_REASONS: usize = 5;

/// A problem of SOL-ExecBench, as far as it can be measured.
pub(super) fn of_sol_execbench(folder: &Path, console: &Console) -> Result<Operator, Failure> {
    let problem = solexec::Problem::read(folder).map_err(|error| match error {
        ProblemError::NoWorkload { .. } => {
            let definition = folder.join(DEFINITION_NAME);
            Failure::request(error)
                .hint(format!("without workloads: `proofmark new {}`", definition.display()))
        }
        other => Failure::request(other),
    })?;
    of_problem(&problem, console)
}

/// The operator of a problem; a kernel can be begun where nothing can be measured.
fn of_problem(problem: &solexec::Problem, console: &Console) -> Result<Operator, Failure> {
    let measurable = problem.measurable().map_err(Failure::request)?;
    let left_out = measurable.left_out.iter();
    let mut notes: Vec<_> =
        left_out.map(|(uuid, reason)| format!("workload {uuid} is left out: {reason}")).collect();
    if measurable.workloads.is_empty() {
        let more = notes.len().saturating_sub(MOST_REASONS);
        notes.truncate(MOST_REASONS);
        notes.extend((more > 0).then(|| format!("and {more} more are left out")));
    }
    for note in &notes {
        console.say(format!("note: {note}"));
    }
    let definition = measurable.definition;
    let text = serde_json::to_string_pretty(&definition).map_err(Failure::could_not_judge)?;
    let workloads = lines_of(&definition, measurable.workloads);
    Ok(Operator { definition, text, workloads, notes })
}

/// A definition of SOL-ExecBench by itself, or with the workloads beside it that can be read.
pub(super) fn of_sol_definition(
    path: &Path,
    definition: solexec::Definition,
    console: &Console,
) -> Result<Operator, Failure> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let is_its_own = path.file_name().is_some_and(|name| name == DEFINITION_NAME);
    let problem = if is_its_own && solexec::Problem::is_at(folder) {
        solexec::Problem::read(folder).map_err(|error| {
            let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |one| one.source());
            causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
        })
    } else {
        Ok(solexec::Problem { definition: definition.clone(), workloads: Vec::new() })
    };
    let (problem, note) = match problem {
        Ok(problem) => (problem, None),
        Err(reason) => (
            solexec::Problem { definition, workloads: Vec::new() },
            Some(format!("the workloads are left out: {reason}")),
        ),
    };
    let mut operator = of_problem(&problem, console)?;
    if let Some(note) = note {
        console.say(format!("note: {note}"));
        operator.notes.push(note);
    }
    Ok(operator)
}

/// A problem of GPU MODE as a task, by what its data and answer hold.
pub(super) fn of_signature(
    folder: &Path,
    signature: &popcorn::Signature,
    console: &Console,
) -> Result<Operator, Failure> {
    let popcorn::PopcornTask { definition, workloads, tolerance } =
        read(folder)?.task(signature).map_err(Failure::request)?;
    let own_checker = tolerance.is_none().then(|| {
        "the problem's checker is code of its own: it is asked of every call, and nothing is held against its \
         ref_kernel"
            .to_owned()
    });
    let notes: Vec<_> = own_checker.into_iter().collect();
    for note in &notes {
        console.say(format!("note: {note}"));
    }
    let text = serde_json::to_string_pretty(&definition).map_err(Failure::could_not_judge)?;
    let workloads = lines_of(&definition, workloads);
    Ok(Operator { definition, text, workloads, notes })
}

fn read(folder: &Path) -> Result<popcorn::Problem, Failure> {
    popcorn::Problem::read(folder).map_err(|error| match error {
        popcorn::ProblemError::Io { .. } => Failure::could_not_judge(error),
        other => Failure::request(other),
    })
}

/// A submission for a problem of GPU MODE: one Python file, which the problem's own template may be.
pub(super) fn of_gpu_mode(
    arguments: &Arguments,
    place: &Path,
    console: &Console,
) -> Result<ExitCode, Failure> {
    let problem = read(place)?;
    let name = &problem.name;
    let folder = match &arguments.output {
        Some(folder) => folder.clone(),
        None => folder_named(&format!("{name}-submission"))?,
    };
    let unpacked = write(artifact(arguments, &problem)?, &folder)?;
    let (leaderboard, gpu) = (problem.leaderboard(), problem.gpu(arguments.arch));
    let files: Vec<_> = unpacked.files.iter().map(crate::path_text::text).collect();
    console.print(format!(
        "wrote {}\nproblem  {} tests, {} benchmarks{}\nnext     proofmark pack {} --format popcorn --leaderboard {leaderboard} --gpus {gpu}\n\
         or       name with --signature what its data and answer hold: it becomes a task that `bench` measures",
        files.join(", "),
        problem.tests.len(),
        problem.benchmarks.len(),
        if problem.template.is_some() { "; its template is the start" } else { "; it offers no template" },
        folder.display(),
    ))?;
    let body = json!({
        "folder": crate::path_text::text(&folder), "files": files, "definition": name, "definition_is_known": false, "notes": [],
    });
    console.document("proofmark.new", 1, &body)?;
    Ok(ExitCode::Yes)
}

fn artifact(arguments: &Arguments, problem: &popcorn::Problem) -> Result<Artifact, Failure> {
    let solution = json!({
        "name": format!("{}-v1", problem.name), "definition": problem.name, "author": arguments.author, "description": "",
        "spec": {
            "language": "python", "target_hardware": ["cuda"], "entry_point": "submission.py::custom_kernel",
            "destination_passing_style": false, "binding": null,
        },
        "sources": [{ "path": "submission.py", "content": problem.scaffold() }],
    });
    solution::read(&solution.to_string()).map_err(Failure::request)
}
