//! `proofmark bench`: how fast is this artifact, and is what it computes right?

use std::path::{Path, PathBuf};

use clap::Args;
use proofmark_packager::interop::flashinfer::{Dataset, Trace, dataset};

use super::console::Console;
use super::exit_code::ExitCode;
use super::failure::Failure;
use super::line;
use super::measuring::MeasuringOptions;
use crate::job::{Action, Measured, Outcome};
use crate::pipeline::Settings;
use crate::record::to_trace;

/// Measure a submission on the GPU: every call checked, three clocks, raw samples kept.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  proofmark bench kernels/gdn_decode_qk4_v8_d128_k_last/one_pass --arch sm_90a
  proofmark bench my_kernel.so --definition definition.json --reference reference.so --arch sm_90a
  proofmark bench kernels/rmsnorm_h4096/block_per_row --batch 1,64 --record results.jsonl

Outputs are held against a reference: a submission for the same definition that is trusted to be
right and may be slow. It travels in the artifact: a task folder keeps it in `reference/`, beside
definition.json, workloads.jsonl and the submissions; --reference names another.

With --record, an interrupted run goes on where it stopped: finished workloads are not repeated.
Exit code 0: every workload passed. 1: one did not. 3: there is no GPU that can run it.")]
pub struct Arguments {
    /// What to measure: a submission folder, an artifact, a solution.json or a built library (.so).
    subject: PathBuf,
    #[command(flatten)]
    measuring: MeasuringOptions,
    /// Append results to this file, and skip workloads that it already holds for the same build.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Also write FlashInfer-Bench traces, one a line: to a file, or into the folder of a data set at
    /// its author's place.
    #[arg(long, value_name = "FILE|DIR")]
    traces: Option<PathBuf>,
}

/// Runs the verb.
pub fn run(arguments: &Arguments, console: &Console) -> Result<ExitCode, Failure> {
    let measuring = &arguments.measuring;
    let subject = measuring.input(&arguments.subject, console)?;
    let arch = measuring.arch(&subject, console);
    let how = measuring.measuring(subject.artifact(), &arguments.subject, console)?;
    let action = Action::Bench { subject, measuring: Box::new(how) };
    let settings = Settings { record: arguments.record.clone(), ..measuring.settings()? };
    let Some(outcome) = measuring.run(arch, action, &settings, console)? else {
        return Ok(ExitCode::Yes);
    };
    if let (Outcome::Measured { subject, measured }, Some(path)) = (&outcome, &arguments.traces) {
        write_traces(path, measured, &subject.author)?;
    }
    line::answer("proofmark.bench", &outcome, [], console)
}

/// Writes a run's traces to a file, or adds them to a data set: one for every finding that their format
/// can say.
fn write_traces(path: &Path, measured: &Measured, author: &str) -> Result<(), Failure> {
    let traces: Vec<Trace> = measured.records.iter().filter_map(|record| to_trace(record).ok()).collect();
    if !path.is_dir() {
        let lines: String = traces.iter().map(|trace| trace.to_line() + "\n").collect();
        return super::output::write_file(path, lines.as_bytes());
    }
    let dataset = Dataset::open(path).map_err(Failure::request)?;
    let added = dataset::append_traces(dataset.root(), author, &measured.definition, &traces);
    added.map(|_| ()).map_err(Failure::could_not_judge)
}
