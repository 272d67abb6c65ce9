//! Submissions for a board's problem.

use std::path::Path;

use proofmark_packager::Artifact;
use proofmark_packager::interop::flashinfer::solution;
use proofmark_packager::interop::popcorn::{self, ProblemError};
use proofmark_packager::interop::solexec;
use serde_json::json;

use super::{Arguments, Operator, folder_named, lines_of, write};
use crate::cli::console::Console;
use crate::cli::exit_code::ExitCode;
use crate::cli::failure::Failure;

/// Most workloads that a refusal names.
const MOST_REASONS: usize = 5;

/// A problem of SOL-ExecBench, as far as it can be measured.
pub(super) fn of_sol_execbench(folder: &Path, console: &Console) -> Result<Operator, Failure> {
    let problem = solexec::Problem::read(folder).map_err(Failure::request)?;
    let measurable = problem.measurable().map_err(Failure::request)?;
    let left_out = measurable.left_out.iter();
    let mut notes: Vec<_> =
        left_out.map(|(uuid, reason)| format!("workload {uuid} is left out: {reason}")).collect();
    if measurable.workloads.is_empty() {
        let more = notes.len().saturating_sub(MOST_REASONS);
        notes.truncate(MOST_REASONS);
        notes.extend((more > 0).then(|| format!("and {more} more")));
        let text = format!("no workload of {} can be measured:\n  {}", folder.display(), notes.join("\n  "));
        return Err(Failure::request(text));
    }
    for note in &notes {
        console.say(format!("note: {note}"));
    }
    let definition = measurable.definition;
    let text = serde_json::to_string_pretty(&definition).map_err(Failure::could_not_judge)?;
    let workloads = lines_of(&definition, measurable.workloads);
    Ok(Operator { definition, text, workloads, notes })
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
        ProblemError::Io { .. } => Failure::could_not_judge(error),
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
    let gpu = popcorn::submission::gpu_of(arguments.arch).unwrap_or("GPU");
    let files: Vec<_> = unpacked.files.iter().map(crate::path_text::text).collect();
    console.print(format!(
        "wrote {}\nproblem  {} tests, {} benchmarks{}\nnext     proofmark pack {} --format popcorn --leaderboard {name} --gpus {gpu}\n\
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
