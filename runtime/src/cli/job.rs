//! `proofmark job`: the seam to other machines.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use proofmark_packager::{Digest, bundle, escape};
use serde_json::{Value, json};

use super::console::{Console, write_out};
use super::exit_code::{self, ExitCode};
use super::failure::Failure;
use super::line::{self, MachineOptions};
use super::measuring::DriverOptions;
use super::output::write_file;
use crate::job::request::LARGEST_JOB_BYTES;
use crate::job::{Action, Input, Job, Outcome, outcome};
use crate::pipeline::Settings;
use crate::remote::{self, Answer, Host, RemoteError};
use crate::report;

/// Do what a document says, and answer with a document.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  proofmark bench my-kernel --arch sm_90a --as-job > job.json
  proofmark job run job.json > outcome.json
  proofmark bench my-kernel --as-job | proofmark job run - --on ssh:gpu-host > outcome.json
  proofmark seal my-kernel --as-job | proofmark job run - --on ssh:gpu-host --output sealed.zip

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
        /// Also write the sealed artifact to this file, where the job is a seal; the document holds it too.
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
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
    let JobVerb::Run { job, record, output, elsewhere, machine, driver } = &arguments.action;
    let text = read(job)?;
    let job = Job::from_document(&text)
        .map_err(|error| Failure::request(escape::line(&Failure::request(error).to_string())))?;
    let keep = Keep::of(&job, output.as_deref())?;
    if let Some(host) = &elsewhere.on {
        let answer = answer_of(host, elsewhere, &text, console)?;
        require_answer_to(&job, &answer.document, host)?;
        return give(&answer, keep.as_ref(), console);
    }
    let settings = Settings { record: record.clone(), ..driver.settings(machine.settings()?) };
    let done = line::do_job(&job, &settings, console)?;
    let code = exit_code::of(&done);
    let body = report::outcome::job_body(&job, &done, code as u8);
    console.document(outcome::SCHEMA, outcome::VERSION, &body)?;
    match (keep, &done) {
        (Some(keep), Outcome::Sealed { sealed, .. }) => Ok(keep.write(&bundle::write(sealed), code, console)),
        _ => Ok(code),
    }
}

/// Where the sealed artifact goes, and which one it must be.
struct Keep<'a> {
    path: &'a Path,
    digest: Digest,
}

impl<'a> Keep<'a> {
    fn of(job: &Job, output: Option<&'a Path>) -> Result<Option<Self>, Failure> {
        match (output, &job.action) {
            (None, _) => Ok(None),
            (Some(path), Action::Seal { subject, .. }) => {
                Ok(Some(Self { path, digest: subject.artifact.digest() }))
            }
            (Some(_), _) => Err(Failure::request("this job seals nothing that could be written")
                .hint("`proofmark seal PATH --as-job` makes one that does")),
        }
    }

    /// The file that an outcome holds; a finding holds none. It may be a stranger's.
    fn file(&self, outcome: &Value) -> Result<Option<Vec<u8>>, Failure> {
        let Some(sealed) = outcome.get("sealed") else { return Ok(None) };
        match serde_json::from_value(sealed.clone()).map_err(Failure::could_not_judge)? {
            Input::Artifact(sealed) if sealed.artifact.digest() == self.digest => {
                Ok(Some(bundle::write(&sealed)))
            }
            other => {
                let (found, expected) = (other.digest().short(), self.digest.short());
                Err(Failure::could_not_judge(format!(
                    "{found} was sealed: expected {expected}, as the job asks"
                )))
            }
        }
    }

    /// Writes the file behind the document, which is given out whatever becomes of the file: it holds the artifact too.
    fn write(&self, file: &[u8], code: ExitCode, console: &Console) -> ExitCode {
        match write_file(self.path, file) {
            Ok(()) => code,
            Err(failure) => {
                console
                    .say(format!("error: {failure}: the artifact is in the document alone, as `sealed.zip`"));
                ExitCode::CouldNotJudge
            }
        }
    }
}

/// Has the job done elsewhere.
fn answer_of(host: &Host, options: &RemoteOptions, job: &str, console: &Console) -> Result<Answer, Failure> {
    let answer = remote::run(&options.ssh, host, &options.remote_program, job).map_err(|error| {
        let way_out = match &error {
            RemoteError::Talk { .. } => "`--ssh PROGRAM` names the program that connects",
            RemoteError::NoConnection { .. } => "`ssh HOST true` must work without asking for anything",
            RemoteError::NoProgram { .. } => {
                "install the wheel of a release there, or name the program with --remote-program"
            }
            RemoteError::NoOutcome { .. } => "`ssh HOST PROGRAM --version` must print the version of this program there",
            RemoteError::Unreadable { .. } | RemoteError::Several { .. } => {
                "start-up files of the shell there must print nothing between or beside the lines of the document"
            }
        };
        Failure::could_not_judge(error).hint(way_out)
    })?;
    if !answer.said.is_empty() {
        console.say(&answer.said);
    }
    if let Some(line) = &answer.printed_beside {
        console.say(format!("note: {host} printed more than the document, such as `{line}`: passed over"));
    }
    Ok(answer)
}

/// Refuses an outcome of another job.
fn require_answer_to(job: &Job, document: &Value, host: &Host) -> Result<(), Failure> {
    let expected = job.digest();
    if document["schema"] != outcome::SCHEMA || document["job"] == json!(expected) {
        return Ok(());
    }
    let found = document["job"].as_str().map_or_else(|| "no job".to_owned(), escape::line);
    Err(Failure::could_not_judge(format!("{host} answered {found}: expected {expected}, the job's digest"))
        .hint("the program there may be of another version"))
}

/// Gives an answer from elsewhere as if it had been found here.
fn give(answer: &Answer, keep: Option<&Keep<'_>>, console: &Console) -> Result<ExitCode, Failure> {
    let file = keep.map_or(Ok(None), |keep| keep.file(&answer.document))?;
    let mut text = serde_json::to_string_pretty(&answer.document).map_err(Failure::could_not_judge)?;
    text.push('\n');
    write_out(escape::json(&text).as_bytes())?;
    let all = [ExitCode::Yes, ExitCode::No, ExitCode::Request, ExitCode::CouldNotJudge];
    let code = all.into_iter().find(|known| *known as i32 == answer.code).unwrap_or(ExitCode::CouldNotJudge);
    match (keep, file) {
        (Some(keep), Some(file)) => Ok(keep.write(&file, code, console)),
        _ => Ok(code),
    }
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
