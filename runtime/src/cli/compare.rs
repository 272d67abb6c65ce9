//! `proofmark compare`: is B faster than A, with a known error rate?

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use proofmark_packager::Digest;
use proofmark_packager::interop::flashinfer::Timestamp;
use serde_json::json;

use super::console::Console;
use super::exit_code::ExitCode;
use super::failure::Failure;
use super::measuring::{Measuring, Played, explain};
use super::task::Task;
use crate::measure::decision::{Arm, Decision, Protocol, Report};
use crate::measure::judge::device::environment_here;
use crate::measure::{Compared, Contest, Settled, Subject, compare};
use crate::record::{ComparisonRecord, Journal, Record};
use crate::report::comparison_table::comparison_table;

/// Name of this verb's document.
const SCHEMA: &str = "proofmark.compare";

/// Decide which of two submissions is faster, or say why that cannot be known.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  proofmark compare old.zip new.zip --arch sm_90a
  proofmark compare old.so new.so --definition definition.json --reference reference.so --arch sm_90a
  proofmark compare kernels/mine kernels/mine --batch 64        a check of the machine: never a difference

Fresh processes are what counts, not samples: each measures A, B and A again in interleaved blocks.
A difference must be found by two sessions. Exit code 0: B is better. 1: it is worse or equal, or it
is wrong. 3: undecided.")]
pub struct Arguments {
    /// The incumbent.
    a: PathBuf,
    /// The candidate.
    b: PathBuf,
    #[command(flatten)]
    measuring: Measuring,
    /// A difference below this many percent is not worth a finding [default: 0.5].
    #[arg(long, value_name = "PERCENT")]
    margin: Option<f64>,
    /// Sessions that must agree on a difference [default: 2].
    #[arg(long, value_name = "N")]
    sessions: Option<usize>,
    /// Processes after which a session looks at its data [default: 6,10,16].
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    looks: Vec<usize>,
    /// A/B blocks of each workload in each process [default: 30, down to 5 where workloads are many].
    #[arg(long, value_name = "N")]
    blocks: Option<usize>,
    /// Samples of a cell [default: 30].
    #[arg(long, value_name = "N")]
    samples: Option<usize>,
    /// Milliseconds that each process warms up [default: 1000].
    #[arg(long, value_name = "MS")]
    warmup: Option<u64>,
    /// Append the outcome to this file.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Seconds after which what is not known stays unknown [default: no limit].
    #[arg(long, value_name = "SECONDS")]
    within: Option<u64>,
}

impl Arguments {
    fn protocol(&self, workloads: usize) -> Protocol {
        let usual = Protocol::for_workloads(workloads);
        let usual = usual.clone().with_margin(self.margin.map_or(usual.margin, |percent| percent / 100.0));
        Protocol {
            sessions: self.sessions.unwrap_or(usual.sessions),
            looks: if self.looks.is_empty() { usual.looks.clone() } else { self.looks.clone() },
            blocks_per_process: self.blocks.unwrap_or(usual.blocks_per_process),
            samples_per_cell: self.samples.unwrap_or(usual.samples_per_cell),
            warmup_ms: self.warmup.unwrap_or(usual.warmup_ms),
            ..usual
        }
    }
}

/// Runs the verb.
pub fn run(arguments: &Arguments, console: &Console) -> Result<ExitCode, Failure> {
    let measuring = &arguments.measuring;
    let task = measuring.require(&arguments.a, &[&arguments.b], console)?;
    let Task { definition, workloads, data_root } = task;
    let mut played = Vec::new();
    for path in [&arguments.a, &arguments.b] {
        match measuring.play(path, measuring.line.arch, SCHEMA, console)? {
            Ok(one) => played.push(one),
            Err(finding) => return Ok(finding),
        }
    }
    let arch = played[0].subject.arch;
    let reference = measuring.play_reference(&arguments.a, definition.name(), arch, SCHEMA, console)?;
    let (a, b) = (&played[0].subject, &played[1].subject);
    let options = measuring.options(measuring.tvm_ffi_library()?, data_root)?;
    let bar = progress_bar(console);
    let mut listen = |(done, of): (usize, usize)| {
        bar.set_length(of as u64);
        bar.set_position(done as u64);
    };
    let contest = Contest { a, b, reference: &reference, definition: &definition, workloads: &workloads };
    let protocol = arguments.protocol(workloads.len());
    let budget = arguments.within.map(Duration::from_secs);
    let compared = compare(contest, protocol, &options, budget, &mut listen).map_err(explain)?;
    bar.finish_and_clear();
    match compared {
        Compared::Decided(settled) => {
            if let Some(path) = &arguments.record {
                append(path, &played, &reference, definition.name(), &settled)?;
            }
            decided(a, b, &settled.report, console)
        }
        Compared::Disqualified { arm, workload, verdict } => {
            let name = if arm == Arm::B { &b.name } else { &a.name };
            console.print(format!("{name} cannot be compared on workload {workload}: {verdict}"))?;
            let body = json!({
                "decision": "disqualified", "arm": arm, "workload": workload, "verdict": verdict,
            });
            console.document(SCHEMA, 1, &body)?;
            Ok(ExitCode::No)
        }
    }
}

fn append(
    path: &Path,
    played: &[Played],
    reference: &Subject,
    definition: &str,
    settled: &Settled,
) -> Result<(), Failure> {
    let environment = environment_here().map_err(explain)?;
    let context = |one: &Played| one.context(reference, definition, environment.clone());
    let record = ComparisonRecord {
        timestamp: Timestamp::now(),
        a: context(&played[0]),
        b: context(&played[1]),
        report: settled.report.clone(),
        events: settled.events.clone(),
        readings: settled.readings.clone(),
    };
    let (mut journal, _) = Journal::open(path).map_err(Failure::could_not_judge)?;
    journal.append(&Record::Comparison(Box::new(record))).map_err(Failure::could_not_judge)
}

fn progress_bar(console: &Console) -> ProgressBar {
    if !console.is_lively() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} cells to the next look {elapsed}")
        .expect("a valid template");
    ProgressBar::new(1).with_style(style)
}

fn decided(a: &Subject, b: &Subject, report: &Report, console: &Console) -> Result<ExitCode, Failure> {
    console.print(comparison_table(&a.name, &b.name, report).trim_end())?;
    let body = json!({
        "a": { "name": a.name, "library_sha256": Digest::of_bytes(&a.library) },
        "b": { "name": b.name, "library_sha256": Digest::of_bytes(&b.library) },
        "report": report,
    });
    console.document(SCHEMA, 1, &body)?;
    Ok(match report.decision {
        Decision::Better => ExitCode::Yes,
        Decision::Worse | Decision::Equal => ExitCode::No,
        Decision::Undecided { .. } => ExitCode::CouldNotJudge,
    })
}
