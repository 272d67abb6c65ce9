//! `proofmark job`: the seam to other machines.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::console::{Console, write_out};
use super::exit_code::{self, ExitCode};
use super::failure::Failure;
use super::line::{self, MachineOptions};
use super::measuring::DriverOptions;
use crate::job::request::LARGEST_JOB_BYTES;
use crate::job::{Job, Outcome};
use crate::pipeline::Settings;
use crate::remote::{self, Host, RemoteError};
use crate::report;

/// Do what a document says, and answer with a document.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  proofmark bench my-kernel --arch sm_90a --as-job > job.json
  proofmark job run job.json > outcome.json
  proofmark bench my-kernel --as-job | proofmark job run - --on ssh:gpu-host > outcome.json

A job holds the submission's bytes, the definition, the workloads and the reference; where the toolchain,
the cache and the driver are is this machine's affair. Captured tensors do not travel: their folder must be
there.")]
pub struct Arguments {
    #[command(subcommand)]
    action: JobVerb,
}

#[derive(Debug, Subcommand)]
enum JobVerb {
    /// Do the job that a document describes.
    ///
    /// Prints one document, `proofmark.outcome`: what the verb itself would print, with the run's name and
    /// every record. The exit code is the verb's.
    Run {
        /// The document; `-` for standard input.
        job: PathBuf,
        /// Append results to this file, and skip workloads that it already holds for the same job.
        #[arg(long, value_name = "FILE", conflicts_with = "on")]
        record: Option<PathBuf>,
        #[command(flatten)]
        elsewhere: RemoteOptions,
        #[command(flatten)]
        machine: MachineOptions,
        #[command(flatten)]
        driver: DriverOptions,
    },
}

/// Where a job is done, if not here.
#[derive(Debug, Args)]
struct RemoteOptions {
    /// Do it there: `ssh:HOST`, as ssh knows it. The options of this machine do not concern that one.
    #[arg(long, value_name = "ssh:HOST")]
    on: Option<Host>,
    /// This program on the other machine.
    #[arg(long, value_name = "PROGRAM", default_value = "proofmark", requires = "on")]
    remote_program: String,
    /// The program that connects.
    #[arg(long, value_name = "PROGRAM", default_value = "ssh", env = "PROOFMARK_SSH")]
    ssh: PathBuf,
}

/// Runs the verb.
pub fn run(arguments: &Arguments, console: &Console) -> Result<ExitCode, Failure> {
    let JobVerb::Run { job, record, elsewhere, machine, driver } = &arguments.action;
    let text = read(job)?;
    let job = Job::from_document(&text).map_err(Failure::request)?;
    if let Some(host) = &elsewhere.on {
        return run_on(host, elsewhere, &text, console);
    }
    let settings = Settings { record: record.clone(), ..driver.settings(machine.settings()?) };
    let outcome = line::do_job(&job, &settings, console)?;
    console.document(OUTCOME, 1, &outcome_body(&job, &outcome))?;
    Ok(exit_code::of(&outcome))
}

/// The document of an outcome.
pub(super) const OUTCOME: &str = "proofmark.outcome";

/// Its fields: what the verb itself would print, with the run's name and every record.
pub(super) fn outcome_body(job: &Job, outcome: &Outcome) -> Value {
    let mut body = report::outcome::body(outcome);
    body["run_id"] = json!(job.run_id);
    body["exit_code"] = json!(exit_code::of(outcome) as u8);
    body["records"] = json!(outcome.records());
    body
}

/// Has the job done elsewhere, and gives its answer as if it had been done here.
fn run_on(host: &Host, options: &RemoteOptions, job: &str, console: &Console) -> Result<ExitCode, Failure> {
    let answer = remote::run(&options.ssh, host, &options.remote_program, job).map_err(|error| {
        let way_out = match &error {
            RemoteError::Talk { .. } => "`--ssh PROGRAM` names the program that connects",
            RemoteError::NoConnection { .. } => "`ssh HOST true` must work without asking for anything",
            RemoteError::NoProgram { .. } => {
                "`pip install proofmark` there, or name it with --remote-program"
            }
            RemoteError::NoOutcome { .. } => "the program there may be of another version",
        };
        Failure::could_not_judge(error).hint(way_out)
    })?;
    if !answer.said.is_empty() {
        console.say(&answer.said);
    }
    let mut text = serde_json::to_string_pretty(&answer.document).map_err(Failure::could_not_judge)?;
    text.push('\n');
    write_out(text.as_bytes())?;
    let all = [ExitCode::Yes, ExitCode::No, ExitCode::Request, ExitCode::CouldNotJudge];
    Ok(all.into_iter().find(|code| *code as i32 == answer.code).unwrap_or(ExitCode::CouldNotJudge))
}

fn read(path: &Path) -> Result<String, Failure> {
    let refuse = |error: io::Error| Failure::request(format!("cannot read {}: {error}", path.display()));
    let mut source: Box<dyn Read> = if path.as_os_str() == "-" {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(path).map_err(refuse)?)
    };
    let mut text = String::new();
    source.by_ref().take(LARGEST_JOB_BYTES + 1).read_to_string(&mut text).map_err(refuse)?;
    if text.len() as u64 > LARGEST_JOB_BYTES {
        let limit = LARGEST_JOB_BYTES >> 20;
        return Err(Failure::request(format!("{} is larger than {limit} MiB: no job is", path.display())));
    }
    Ok(text)
}
