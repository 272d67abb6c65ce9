//! `proofmark bench`: how fast is this artifact, and is what it computes right?

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::Args;
use proofmark_packager::interop::flashinfer::{Dataset, Trace, dataset};
use proofmark_packager::interop::solexec;
use serde_json::json;

use super::console::Console;
use super::exit_code::ExitCode;
use super::failure::Failure;
use super::line;
use super::measuring::{MeasuringOptions, StridedOption};
use super::number;
use crate::job::{self, Action, Measured, Outcome};
use crate::pipeline::Settings;
use crate::record::to_trace;
use crate::regular_file;
use crate::report::board_score::{self, Bounds};

/// Measure a submission on the GPU: every call checked, three clocks.
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
    /// Samples of each workload, as far as its budget goes [default: until the median is known to 0.5 %, 50 to
    /// 2000].
    #[arg(long, value_name = "N", value_parser = number::at_least_one, allow_negative_numbers = true)]
    samples: Option<NonZeroUsize>,
    #[command(flatten)]
    strided: StridedOption,
    /// Append results to this file, and skip workloads that it already holds for the same build.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Also write FlashInfer-Bench traces, one a line: to a file, or into the folder of a data set at
    /// its author's place. Workloads of SOL-ExecBench have that board's traces, in a file.
    #[arg(long, value_name = "FILE|DIR", conflicts_with = "strided")]
    traces: Option<PathBuf>,
    /// Also give SOL-ExecBench's score: a file with, for each workload, a line of `uuid`, `sol_ms` (what the
    /// hardware allows) and `baseline_ms` (what scores a half).
    #[arg(long, value_name = "FILE", conflicts_with = "strided")]
    bounds: Option<PathBuf>,
}

/// Largest file of bounds that is read, in bytes: a line for each of a hundred thousand workloads.
const LARGEST_BOUNDS_BYTES: u64 = 16 << 20;

/// Runs the verb.
pub fn run(arguments: &Arguments, console: &Console) -> Result<ExitCode, Failure> {
    let measuring = &arguments.measuring;
    let bounds = arguments.bounds.as_deref().map(read_bounds).transpose()?;
    let subject = measuring.input(&arguments.subject, console)?;
    let arch = measuring.arch(&subject, console);
    let how = job::Measuring {
        samples: arguments.samples,
        strides: arguments.strided.strides(),
        ..measuring.measuring(subject.artifact(), &arguments.subject, console)?
    };
    let action = Action::Bench { subject, measuring: Box::new(how) };
    let settings = Settings { record: arguments.record.clone(), ..measuring.settings()? };
    let Some(outcome) = measuring.run(arch, action, &settings, console)? else {
        return Ok(ExitCode::Yes);
    };
    if let (Outcome::Measured { subject, measured }, Some(path)) = (&outcome, &arguments.traces) {
        write_traces(path, measured, &subject.author)?;
    }
    let scores = match (&outcome, &bounds) {
        (Outcome::Measured { measured, .. }, Some(bounds)) => {
            Some(board_score::scores(&measured.records, bounds))
        }
        _ => None,
    };
    let extra = scores.iter().map(|scores| ("sol_execbench", json!(scores)));
    let code = line::answer("proofmark.bench", &outcome, extra, console)?;
    if let Some(scores) = &scores {
        console.print(scores.text())?;
    }
    Ok(code)
}

fn read_bounds(path: &Path) -> Result<BTreeMap<String, Bounds>, Failure> {
    let refuse =
        |error: &dyn std::error::Error| Failure::request(format!("cannot read {}: {error}", path.display()));
    let bytes =
        regular_file::read_through_links(path, LARGEST_BOUNDS_BYTES).map_err(|error| refuse(&error))?;
    let text = String::from_utf8(bytes).map_err(|error| refuse(&error))?;
    board_score::read_bounds(&text).map_err(|error| refuse(&error))
}

/// Writes a run's traces to a file, or adds them to a data set: one for every finding that their format
/// can say.
fn write_traces(path: &Path, measured: &Measured, author: &str) -> Result<(), Failure> {
    let traces: Vec<Trace> = measured.records.iter().filter_map(|record| to_trace(record).ok()).collect();
    if !path.is_dir() {
        let lines: String = traces.iter().map(|trace| line_of(trace) + "\n").collect();
        return super::output::write_file(path, lines.as_bytes());
    }
    let dataset = Dataset::open(path).map_err(Failure::request)?;
    let added = dataset::append_traces(dataset.root(), author, &measured.definition, &traces);
    added.map(|_| ()).map_err(Failure::could_not_judge)
}

/// A trace as the board of its workload reads it: those of a problem of SOL-ExecBench keep their tolerance.
fn line_of(trace: &Trace) -> String {
    match solexec::Workload::of_shared(trace.workload()) {
        Some(theirs) => solexec::Trace::of_result(theirs, trace).to_line(),
        None => trace.to_line(),
    }
}
