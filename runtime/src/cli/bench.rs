//! `proofmark bench`: how fast is this artifact, and is what it computes right?

use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use proofmark_packager::Digest;
use proofmark_packager::interop::flashinfer::{Dataset, Definition, Timestamp, Trace, Workload, dataset};
use serde_json::json;

use super::console::Console;
use super::exit_code::ExitCode;
use super::failure::Failure;
use super::measuring::{Measuring, Played, explain};
use super::task::Task;
use crate::measure::environment::RunFacts;
use crate::measure::judge::Tolerance;
use crate::measure::{Progress, Subject, WorkloadFinding, measure};
use crate::record::{Context, Journal, Record, WorkloadRecord, to_trace};
use crate::report::BenchReport;
use crate::report::bench_table::bench_table;

/// Name of this verb's document.
const SCHEMA: &str = "proofmark.bench";

/// Measure a submission on the GPU: every call checked, three clocks, raw samples kept.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  proofmark bench kernels/gdn_decode_qk4_v8_d128_k_last --arch sm_90a
  proofmark bench my_kernel.so --definition definition.json --reference reference.so --arch sm_90a
  proofmark bench kernels/rmsnorm_h4096 --batch 1,64 --record results.jsonl

Outputs are held against a reference: a submission for the same definition that is trusted to be
right and may be slow, such as kernels/gdn_decode_reference. A folder beside the subject whose name
ends in _reference is found; --reference names another.

With --record, an interrupted run goes on where it stopped: finished workloads are not repeated.
Exit code 0: every workload passed. 1: one did not. 3: there is no GPU that can run it.")]
pub struct Arguments {
    /// What to measure: a submission folder, an artifact, a solution.json or a built library (.so).
    subject: PathBuf,
    #[command(flatten)]
    measuring: Measuring,
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
    let task = measuring.require(&arguments.subject, &[], console)?;
    let played = match measuring.play(&arguments.subject, measuring.line.arch, SCHEMA, console)? {
        Ok(played) => played,
        Err(finding) => return Ok(finding),
    };
    let record = arguments.record.as_deref();
    let measured = measure_played(measuring, &arguments.subject, &played, task, record, console)?;
    if let Some(path) = &arguments.traces {
        write_traces(path, &measured, &played.author)?;
    }
    answer(&measured, &played.subject, console)
}

/// Writes a run's traces to a file, or adds them to a data set.
fn write_traces(path: &Path, measured: &Measured, author: &str) -> Result<(), Failure> {
    let traces = measured.traces();
    if !path.is_dir() {
        let lines: String = traces.iter().map(|trace| trace.to_line() + "\n").collect();
        return super::output::write_file(path, lines.as_bytes());
    }
    let dataset = Dataset::open(path).map_err(Failure::request)?;
    let added = dataset::append_traces(dataset.root(), author, &measured.definition, &traces);
    added.map(|_| ()).map_err(Failure::could_not_judge)
}

/// What a run showed, with what every line of its record has in common.
pub(super) struct Measured {
    log: Log,
    facts: RunFacts,
    /// One finding a workload, in the workloads' order.
    pub(super) findings: Vec<WorkloadFinding>,
    /// How many workloads were asked for.
    expected: usize,
    seed: u64,
    tolerance: Tolerance,
    definition: Definition,
}

impl Measured {
    /// One trace for every finding that their format can say.
    fn traces(&self) -> Vec<Trace> {
        let line = |finding| self.log.line(finding, self.seed, self.tolerance);
        self.findings.iter().filter_map(|finding| to_trace(&line(finding)).ok()).collect()
    }

    /// The run's numbers.
    pub(super) fn report(&self) -> BenchReport {
        BenchReport::new(&self.log.context, &self.findings, self.expected)
    }

    /// Every finding as a line of a record.
    pub(super) fn lines(&self) -> Result<Vec<u8>, Failure> {
        let mut text = String::new();
        for finding in &self.findings {
            let record = Record::Workload(Box::new(self.log.line(finding, self.seed, self.tolerance)));
            text.push_str(&record.to_line().map_err(Failure::could_not_judge)?);
            text.push('\n');
        }
        Ok(text.into_bytes())
    }

    /// The device that ran it.
    pub(super) fn device(&self) -> &str {
        &self.facts.environment.device
    }
}

/// Measures what was built and proven, against the reference that belongs to its definition.
pub(super) fn measure_played(
    measuring: &Measuring,
    place: &Path,
    played: &Played,
    task: Task,
    record: Option<&Path>,
    console: &Console,
) -> Result<Measured, Failure> {
    let Task { definition, workloads, data_root } = task;
    let arch = played.subject.arch;
    let reference = measuring.play_reference(place, definition.name(), arch, SCHEMA, console)?;
    let subject = &played.subject;
    let options = measuring.options(measuring.tvm_ffi_library()?, data_root)?;
    let tolerance = Tolerance::of(&definition);
    let mut log = Log::open(record, played, &reference, definition.name())?;
    let (known, todo) = log.split(&workloads);
    let bar = progress_bar(console, todo.len());
    let mut problem = None;
    let mut listen = |event: Progress<'_>| match event {
        Progress::Opened(facts) => {
            facts
                .warnings()
                .iter()
                .for_each(|warning| bar.suspend(|| console.say(format!("note: {warning}"))));
            log.facts(facts);
        }
        Progress::Begun { workload, .. } => bar.set_message(axes(workload)),
        Progress::Ended { finding, .. } => {
            bar.inc(1);
            if let Err(failure) = log.append(finding, options.seed, tolerance) {
                problem.get_or_insert(failure);
            }
        }
    };
    let (facts, measured) =
        measure(subject, &reference, &definition, &todo, &options, &mut listen).map_err(explain)?;
    bar.finish_and_clear();
    if let Some(failure) = problem {
        return Err(failure);
    }
    let findings = in_order(&workloads, known, measured);
    let expected = workloads.len();
    Ok(Measured { log, facts, findings, expected, seed: options.seed, tolerance, definition })
}

/// The record file, if there is one, and what its lines have in common.
struct Log {
    journal: Option<Journal>,
    known: Vec<WorkloadRecord>,
    context: Context,
}

impl Log {
    fn open(
        path: Option<&Path>,
        played: &Played,
        reference: &Subject,
        definition: &str,
    ) -> Result<Self, Failure> {
        let environment = crate::measure::judge::device::environment_here().map_err(explain)?;
        let context = played.context(reference, definition, environment);
        let Some(path) = path else { return Ok(Self { journal: None, known: Vec::new(), context }) };
        let (journal, contents) = Journal::open(path).map_err(Failure::could_not_judge)?;
        let known = contents.records.into_iter().filter_map(|record| match record {
            Record::Workload(record) if record.context.continues(&context) => Some(*record),
            _ => None,
        });
        Ok(Self { known: known.collect(), journal: Some(journal), context })
    }

    /// What is known already, and what is to be measured.
    fn split(&mut self, workloads: &[Workload]) -> (Vec<WorkloadFinding>, Vec<Workload>) {
        let known: Vec<WorkloadFinding> = self.known.drain(..).map(|record| record.finding).collect();
        let is_known = |workload: &Workload| {
            known.iter().any(|finding| {
                finding.workload.uuid() == workload.uuid()
                    && (finding.verdict.is_some() || finding.refusal.is_some())
            })
        };
        let todo = workloads.iter().filter(|workload| !is_known(workload)).cloned().collect();
        (known, todo)
    }

    fn facts(&mut self, facts: &RunFacts) {
        self.context.environment = facts.environment.clone();
        self.context.copy_bytes_per_second = Some(facts.copy_bandwidth);
    }

    fn line(&self, finding: &WorkloadFinding, seed: u64, tolerance: Tolerance) -> WorkloadRecord {
        WorkloadRecord {
            timestamp: Timestamp::now(),
            context: self.context.clone(),
            seed,
            tolerance,
            finding: finding.clone(),
        }
    }

    fn append(&mut self, finding: &WorkloadFinding, seed: u64, tolerance: Tolerance) -> Result<(), Failure> {
        let line = self.line(finding, seed, tolerance);
        let Some(journal) = &mut self.journal else { return Ok(()) };
        journal.append(&Record::Workload(Box::new(line))).map_err(Failure::could_not_judge)
    }
}

fn in_order(
    workloads: &[Workload],
    known: Vec<WorkloadFinding>,
    measured: Vec<WorkloadFinding>,
) -> Vec<WorkloadFinding> {
    let all: Vec<WorkloadFinding> = known.into_iter().chain(measured).collect();
    let latest =
        |workload: &Workload| all.iter().rev().find(|one| one.workload.uuid() == workload.uuid()).cloned();
    workloads.iter().filter_map(latest).collect()
}

fn progress_bar(console: &Console, count: usize) -> ProgressBar {
    if !console.is_lively() {
        return ProgressBar::hidden();
    }
    let style =
        ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} {elapsed}").expect("a valid template");
    ProgressBar::new(count as u64).with_style(style)
}

/// Prints a run. Only a verdict of "passed" for every workload that was asked for is a yes.
fn answer(measured: &Measured, subject: &Subject, console: &Console) -> Result<ExitCode, Failure> {
    let report = measured.report();
    console.print(bench_table(&report).trim_end())?;
    let body = json!({
        "solution": subject.name,
        "library_sha256": Digest::of_bytes(&subject.library),
        "arch": subject.arch,
        "run": measured.facts,
        "seed": measured.seed,
        "overall": report.overall,
        "no_overall": report.no_overall,
        "passed": report.passed,
        "expected": report.expected,
        "workloads": measured.findings,
    });
    console.document(SCHEMA, 1, &body)?;
    Ok(if report.is_complete() { ExitCode::Yes } else { ExitCode::No })
}

fn axes(workload: &Workload) -> String {
    let texts: Vec<String> = workload.axes().iter().map(|(name, value)| format!("{name}={value}")).collect();
    texts.join(" ")
}
