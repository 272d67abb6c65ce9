//! `proofmark inspect`: what is in an artifact?

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use proofmark_packager::artifact::{Manifest, PartEntry, SourceEntry};
use proofmark_packager::interop::flashinfer::solution::{self, SolutionHashes};
use proofmark_packager::submission::{
    BuildSpec, Include, IncludeKind, Note, SolutionMeta, Target, includes_of,
};
use proofmark_packager::{Arch, Artifact, Digest, InputKind, Opened};
use serde::Serialize;
use serde_json::{Map, Value};

use super::console::Console;
use super::exit_code::ExitCode;
use super::failure::Failure;
use super::input;
use crate::evidence::sealed;
use crate::measure::finding::WorkloadFinding;
use crate::measure::judge::Tolerance;
use crate::record::BenchReport;
use crate::report::figures::{tolerance_lines, tolerances};
use crate::report::sparkline::{BARS, sparkline};

/// Show what a submission or artifact holds.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  proofmark inspect out.zip
  proofmark inspect my-kernel --json | jq -r .digest")]
pub struct Arguments {
    /// Submission folder, artifact or solution.json.
    path: PathBuf,
}

#[derive(Debug, Serialize)]
struct Inspection<'a> {
    origin: InputKind,
    digest: Digest,
    file_name: String,
    solution: &'a SolutionMeta,
    build: &'a BuildSpec,
    target: &'a Target,
    sources: &'a [SourceEntry],
    definition: Option<&'a PartEntry>,
    workloads: Option<&'a PartEntry>,
    /// The submission that says what is right, if it was packed.
    reference: Option<ReferenceSummary<'a>>,
    flashinfer_hashes: SolutionHashes,
    /// Includes that the toolchain resolves, by source.
    toolchain_includes: BTreeMap<String, Vec<Include>>,
    unknown: &'a Map<String, Value>,
    evidence: Option<EvidenceSummary>,
    notes: &'a [Note],
}

#[derive(Debug, Serialize)]
struct ReferenceSummary<'a> {
    digest: Digest,
    solution: &'a SolutionMeta,
    build: &'a BuildSpec,
    target: &'a Target,
    sources: &'a [SourceEntry],
}

impl<'a> From<&'a Artifact> for ReferenceSummary<'a> {
    fn from(reference: &'a Artifact) -> Self {
        let Manifest { solution, build, target, sources, .. } = reference.manifest();
        Self { digest: reference.digest(), solution, build, target, sources }
    }
}

#[derive(Debug, Serialize)]
struct EvidenceSummary {
    digest: Digest,
    files: BTreeMap<String, u64>,
    /// What it claims was built; `replay` proves it again.
    sealed: Option<SealedSummary>,
}

#[derive(Debug, Serialize)]
struct SealedSummary {
    arch: Arch,
    library_sha256: Digest,
    toolchain: String,
    measured_workloads: usize,
    /// How far outputs could be off, as its records say.
    tolerances: Vec<SealedTolerance>,
    /// Mean over all workloads of the medians, in microseconds; absent where one has none, or one that no kernel can have.
    mean_us: Option<f64>,
    figures: Vec<Figure>,
}

/// How far outputs of so many workloads could be off.
#[derive(Debug, Serialize)]
struct SealedTolerance {
    #[serde(flatten)]
    tolerance: Tolerance,
    workloads: usize,
}

/// What one sealed workload says: the median of the scored clock, beside the reference's.
#[derive(Debug, Serialize)]
struct Figure {
    workload: String,
    axes: String,
    /// Absent where nothing was judged.
    verdict: Option<String>,
    /// Whether the numbers rest on a recording.
    trust: &'static str,
    /// The distribution of the scored clock's samples, as a line of bars.
    #[serde(skip)]
    bars: String,
    /// Absent where it did not pass.
    median_us: Option<f64>,
    reference_us: Option<f64>,
}

impl Figure {
    fn of(finding: &WorkloadFinding) -> Self {
        let axes = finding.workload.axes().iter().map(|(name, value)| format!("{name}={value}"));
        Self {
            workload: finding.workload.uuid().to_owned(),
            axes: axes.collect::<Vec<_>>().join(" "),
            verdict: finding.verdict.as_ref().map(ToString::to_string),
            trust: finding.trust.name(),
            bars: match (finding.latency_ns(), finding.measurements.first()) {
                (Some(_), Some(clock)) => sparkline(&clock.samples_ns),
                _ => String::new(),
            },
            median_us: finding.latency_ns().map(|median| median / NANOSECONDS_A_MICROSECOND),
            reference_us: finding.reference_ns.map(|median| median / NANOSECONDS_A_MICROSECOND),
        }
    }
}

const NANOSECONDS_A_MICROSECOND: f64 = 1e3;

/// Most includes that are listed: enough for any kernel, few enough for any machine.
const MOST_INCLUDES: usize = 10_000;

/// Runs the verb.
pub fn run(arguments: &Arguments, console: &Console) -> Result<ExitCode, Failure> {
    let opened = input::open_one(&arguments.path, console)?;
    let inspection = inspect(&opened);
    console.print(describe(&inspection))?;
    console.document("proofmark.inspect", 1, &inspection)?;
    Ok(ExitCode::Yes)
}

fn inspect(opened: &Opened) -> Inspection<'_> {
    let Opened { origin, bundle, notes } = opened;
    let manifest = bundle.artifact.manifest();
    let evidence = (!bundle.evidence.is_empty()).then(|| EvidenceSummary {
        digest: bundle.evidence.digest(bundle.artifact.digest()),
        files: bundle
            .evidence
            .files()
            .map(|(name, content)| (name.to_owned(), content.len() as u64))
            .collect(),
        sealed: sealed::read(bundle).ok().map(|sealed| {
            let figures: Vec<_> =
                sealed.measurements.iter().map(|record| Figure::of(&record.finding)).collect();
            SealedSummary {
                arch: sealed.build.gencode.real_arch,
                library_sha256: sealed.build.library.sha256,
                toolchain: format!("nvcc {}", sealed.build.toolchain.release),
                measured_workloads: figures.len(),
                tolerances: tolerances(sealed.measurements.iter().map(|record| record.tolerance))
                    .into_iter()
                    .map(|(tolerance, workloads)| SealedTolerance { tolerance, workloads })
                    .collect(),
                mean_us: BenchReport::of_records(&sealed.measurements).and_then(|report| report.mean_us()),
                figures,
            }
        }),
    });
    Inspection {
        origin: *origin,
        digest: bundle.artifact.digest(),
        file_name: bundle.artifact.file_name(),
        solution: &manifest.solution,
        build: &manifest.build,
        target: &manifest.target,
        sources: &manifest.sources,
        definition: manifest.definition.as_ref(),
        workloads: manifest.workloads.as_ref(),
        reference: bundle.artifact.reference().map(ReferenceSummary::from),
        flashinfer_hashes: solution::hashes(&bundle.artifact),
        toolchain_includes: toolchain_includes(opened),
        unknown: &manifest.unknown,
        evidence,
        notes,
    }
}

/// What the packed sources include from elsewhere: everything but the quoted names of packed files.
fn toolchain_includes(opened: &Opened) -> BTreeMap<String, Vec<Include>> {
    let sources = opened.bundle.artifact.sources();
    let packed = |include: &Include| {
        let name = include.name.rsplit('/').next().unwrap_or_default();
        include.kind == IncludeKind::Quoted && sources.iter().any(|source| source.path.name() == name)
    };
    let foreign =
        |text: &str| includes_of(text).into_iter().filter(|include| !packed(include)).collect::<Vec<_>>();
    let compiled = sources.iter().filter(|source| !source.path.extension().eq_ignore_ascii_case("py"));
    let mut room = MOST_INCLUDES;
    let mut listed = BTreeMap::new();
    for source in compiled {
        let mut includes = foreign(&source.content);
        includes.truncate(room);
        room -= includes.len();
        if !includes.is_empty() {
            listed.insert(source.path.to_string(), includes);
        }
    }
    listed
}

fn binding_in_words(build: &BuildSpec) -> &'static str {
    match build.binding {
        Some(binding) => binding.as_str(),
        None if build.language.is_compiled() => "tvm-ffi, as none is named",
        None => "none: called from Python",
    }
}

fn outputs_in_words(build: &BuildSpec) -> &'static str {
    if build.destination_passing_style { "passed in as the last arguments" } else { "returned" }
}

fn figures_in_words(sealed: &SealedSummary) -> Vec<String> {
    let trust = sealed.figures.first().map_or("", |figure| figure.trust);
    let mean = sealed.mean_us.map_or_else(String::new, |mean| format!(", {mean:.3} µs on average, {trust}"));
    let mut lines = vec![format!("  measured   {} workloads{mean}", sealed.measured_workloads)];
    let counted: Vec<_> = sealed.tolerances.iter().map(|one| (one.tolerance, one.workloads)).collect();
    lines.extend(tolerance_lines(&counted).into_iter().map(|line| format!("  tolerance  {line}")));
    for Figure { workload, axes, verdict, trust, bars, median_us, reference_us } in &sealed.figures {
        let time = |time: &Option<f64>| time.map_or_else(|| "-".to_owned(), |time| format!("{time:.3}"));
        let verdict = verdict.as_deref().unwrap_or("not judged");
        lines.push(format!(
            "  {:>10} µs  {bars:BARS$}  reference {:>10} µs  {verdict}, {trust}  {axes}  {workload}",
            time(median_us),
            time(reference_us)
        ));
    }
    lines
}

fn describe(inspection: &Inspection<'_>) -> String {
    let Inspection { solution, build, target, .. } = inspection;
    let mut lines = vec![
        format!("digest       {}", inspection.digest),
        format!("solution     {} by {}", solution.name, solution.author),
        format!("definition   {}", solution.definition),
        format!("language     {}", build.language.as_str()),
        format!("entry point  {}", build.entry_point),
        format!("binding      {}", binding_in_words(build)),
        format!("outputs      {}", outputs_in_words(build)),
        format!("target       {} {}", target.arch, target.nvcc_flags.join(" ")).trim_end().to_owned(),
        format!("flashinfer   {}", inspection.flashinfer_hashes.repository),
        format!("  0.1.2      {}", inspection.flashinfer_hashes.release_0_1_2),
        "sources".to_owned(),
    ];
    for source in inspection.sources {
        lines.push(format!("  {}  {:>9}  {}", source.sha256.short(), source.size_bytes, source.path));
    }
    let attachments = [("definition.json", inspection.definition), ("workloads.jsonl", inspection.workloads)];
    for (name, part) in attachments {
        if let Some(part) = part {
            lines.push(format!("  {}  {:>9}  {name}", part.sha256.short(), part.size_bytes));
        }
    }
    if let Some(reference) = &inspection.reference {
        lines.push(format!("reference    {}  {}", reference.digest, reference.solution.name));
        for source in reference.sources {
            lines.push(format!("  {}  {:>9}  {}", source.sha256.short(), source.size_bytes, source.path));
        }
    }
    match &inspection.evidence {
        None => lines.push("evidence     none: not sealed".to_owned()),
        Some(evidence) => {
            lines.push(format!("evidence     {}", evidence.digest));
            if let Some(sealed) = &evidence.sealed {
                lines.push(format!(
                    "  claims     {} in {} by {}",
                    sealed.arch, sealed.library_sha256, sealed.toolchain
                ));
                lines.extend(figures_in_words(sealed));
            }
            lines.extend(evidence.files.iter().map(|(name, size)| format!("  {size:>23}  {name}")));
        }
    }
    lines.join("\n")
}
