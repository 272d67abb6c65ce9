//! `proofmark profile`: a proven build's kernels under Nsight Compute.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use proofmark_packager::{Arch, Bundle, Digest};

use super::console::{AnswerFormat, Console, write_out};
use super::exit_code::{self, ExitCode};
use super::failure::Failure;
use super::line::{self, MachineOptions};
use super::task::TaskOptions;
use super::{explain, input};
use crate::job::{Action, Input, Job, Measuring, Outcome, Reference, Task, is_extension};
use crate::measure::Seed;
use crate::measure::judge::device::nonce;
use crate::pipeline::{PipelineError, Recorded, Settings};
use crate::profile::findings::by_workload;
use crate::profile::recorded::proven_kernels;
use crate::profile::run::launches;
use crate::profile::{ClockControl, NsightCompute, ProfilePlan, ProfiledSubject, RecordedWorkload, RunError};
use crate::rebuild::Freshness;
use crate::record::RunId;
use crate::recording::Unrecorded;
use crate::report;
use crate::report::profile::{Launched, ProfileReport};
use crate::toolchain::{FileDigests, search::find_tvm_ffi};

/// Time that one call may take while it is recorded.
const CALL_LIMIT: Duration = Duration::from_secs(10);

/// Show what each kernel takes on each workload, by Nsight Compute.
///
/// The submission is built and proven as ever. One process then calls the library on every workload, and Nsight Compute
/// times each kernel, its caches flushed and the GPU's clocks left as they are. Kernels that ran and are not in the
/// library that was proven stand in a column of their own: what it fell back to.
///
/// An entry in Python, or one with `binding = "torch"`, is recorded first, as `bench` does it, which needs a Python with
/// torch. What it launched is then launched again in one process, without its Python. Kernels of torch's own stand in the column of what is not proven.
///
/// Nothing is judged: outputs are not looked at, and these durations are no score. `bench` gives those.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  proofmark profile my-kernel --arch sm_90a
  proofmark profile my-kernel --batch 1,64 --each 1 --csv > kernels.csv
  proofmark profile out.zip --ncu /opt/nvidia/nsight-compute/2025.3.1/ncu --json

Exit code 0: profiled. 1: it does not compile, or is not proven. 3: there is no Nsight Compute, or no GPU.")]
pub struct Arguments {
    /// Submission folder, artifact or solution.json.
    path: PathBuf,
    #[command(flatten)]
    task: TaskOptions,
    /// What to build for [default: what an artifact was sealed for, else `[target] arch` of the submission].
    #[arg(long)]
    arch: Option<Arch>,
    /// Nsight Compute's program [default: `ncu` on PATH, in the toolkit, in /opt/nvidia/nsight-compute].
    #[arg(long, value_name = "FILE")]
    ncu: Option<PathBuf>,
    /// What is done to the GPU's clocks meanwhile.
    #[arg(long, value_enum, default_value_t)]
    clock_control: ClockControl,
    /// Profiled calls of each workload.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=1000))]
    calls: u16,
    /// Print a line a workload and kernel, as CSV.
    #[arg(long)]
    csv: bool,
    /// Seed of the inputs.
    #[arg(long, default_value = "1")]
    seed: Seed,
    /// Seconds that profiling may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    within: u64,
    /// libtvm_ffi.so [default: the one that the toolchain builds against].
    #[arg(long, value_name = "FILE", env = "PROOFMARK_TVM_FFI")]
    tvm_ffi: Option<PathBuf>,
    #[command(flatten)]
    machine: MachineOptions,
}

/// Runs the verb.
pub fn run(arguments: &Arguments, console: &Console) -> Result<ExitCode, Failure> {
    if arguments.csv && console.format() == AnswerFormat::Json {
        return Err(Failure::request("--csv and --json: expected one of them"));
    }
    let settings = arguments.machine.settings()?;
    // Before anything is built for it.
    let ncu = find(arguments, &settings)?;
    let opened = input::open_one(&arguments.path, console)?;
    let artifact = &opened.bundle.artifact;
    let (task, _) = arguments.task.sources()?.task(Some(artifact), &arguments.path).map_err(explain::task)?;
    let arch = line::arch_of(&opened.bundle, arguments.arch, console);
    let is_python = !artifact.manifest().build.language.is_compiled() || is_extension(artifact);
    // Kept until the profiled process has read what is in it.
    let folder = tempfile::tempdir().map_err(Failure::could_not_judge)?;
    let target = if is_python {
        recorded(arguments, &settings, opened.bundle, &task, arch, folder.path(), console)?
    } else {
        built(arguments, &settings, opened.bundle, arch, console)?
    };
    let target = match target {
        Ok(target) => target,
        Err(outcome) => {
            line::answer("proofmark.build", &outcome, [], console)?;
            return Ok(exit_code::of(&outcome));
        }
    };
    let plan = ProfilePlan {
        subject: target.subject.clone(),
        task,
        seed: arguments.seed,
        nonce: nonce(),
        calls: usize::from(arguments.calls),
    };
    let report = profile(arguments, &ncu, &plan, &target, folder.path())?;
    if arguments.csv {
        write_out(report.csv().as_bytes())?;
    } else {
        console.print(report.text())?;
    }
    console.document("proofmark.profile", 1, &report)?;
    Ok(ExitCode::Yes)
}

/// What is profiled.
struct Target {
    name: String,
    arch: Arch,
    library: Digest,
    /// The kernels whose code is proven, as linked.
    proven: BTreeSet<String>,
    subject: ProfiledSubject,
}

/// What is profiled, or what building it came to.
type Found = Result<Result<Target, Outcome>, Failure>;

/// A proven library.
fn built(arguments: &Arguments, settings: &Settings, bundle: Bundle, arch: Arch, console: &Console) -> Found {
    let manifest = bundle.artifact.manifest();
    let (name, symbol) = (manifest.solution.name.clone(), manifest.build.entry_point.symbol.clone());
    let action = Action::Build { subject: Box::new(bundle) };
    let job = Job { run_id: RunId::fresh(), arch, freshness: Freshness::Cached, action };
    let build = match line::do_job(&job, settings, console)? {
        Outcome::Built(build) => build,
        outcome => return Ok(Err(outcome)),
    };
    let proof = &build.entry.proof;
    Ok(Ok(Target {
        name,
        arch: proof.arch(),
        library: proof.library_digest(),
        proven: proof.kernels().map(str::to_owned).collect(),
        subject: ProfiledSubject::Library {
            library: build.entry.library.clone(),
            symbol,
            tvm_ffi: tvm_ffi(arguments, settings)?,
        },
    }))
}

/// What an entry in Python launches, proven.
fn recorded(
    arguments: &Arguments,
    settings: &Settings,
    bundle: Bundle,
    task: &Task,
    arch: Arch,
    folder: &Path,
    console: &Console,
) -> Found {
    let reference = bundle.artifact.reference().map_or(Reference::Definition, |reference| {
        Reference::Submission { input: Input::of_artifact(reference.clone()) }
    });
    let measuring = Measuring {
        seed: Some(arguments.seed),
        call_limit: CALL_LIMIT,
        ..Measuring::recording(task.clone(), reference)
    };
    let action = Action::Bench { subject: Input::Artifact(Box::new(bundle)), measuring: Box::new(measuring) };
    let job = Job { run_id: RunId::fresh(), arch, freshness: Freshness::Cached, action };
    let (subject, recordings) = match line::record(&job, settings, console)? {
        Recorded::Taken { subject, recordings } => (subject, recordings),
        Recorded::Ended(outcome) => return Ok(Err(*outcome)),
    };
    let mut workloads = Vec::new();
    for (number, workload) in task.workloads.iter().enumerate() {
        let recording = recordings.of(workload).map_err(|reason| unrecorded(workload.uuid(), &reason))?;
        let written = RecordedWorkload::write(recording, folder, number);
        workloads.push(written.map_err(Failure::could_not_judge)?);
    }
    Ok(Ok(Target {
        name: subject.subject.name.clone(),
        arch,
        library: subject.library(),
        proven: proven_kernels(recordings.recorded().map(|(_, recording)| recording)),
        subject: ProfiledSubject::Recordings { workloads },
    }))
}

fn unrecorded(workload: &str, reason: &Unrecorded) -> Failure {
    let reason = match reason {
        Unrecorded::Refused(reason) => reason.clone(),
        Unrecorded::Ended(end, said) if said.trim().is_empty() => end.to_string(),
        Unrecorded::Ended(end, said) => format!("{end}; it wrote: {}", said.trim()),
    };
    Failure::could_not_judge(format!("workload {workload} cannot be recorded: {reason}")).hint(
        "an entry in Python or with binding `torch` is profiled by what was recorded of it; \
             `proofmark bench --live` measures without",
    )
}

fn find(arguments: &Arguments, settings: &Settings) -> Result<NsightCompute, Failure> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    NsightCompute::find(arguments.ncu.as_deref(), &folders, settings.search.cuda_home.as_deref()).map_err(
        |missing| {
            Failure::could_not_judge(missing)
                .hint("name it with --ncu FILE; it comes with the CUDA toolkit, or alone as Nsight Compute")
                .hint("`proofmark bench` measures without it")
        },
    )
}

fn tvm_ffi(arguments: &Arguments, settings: &Settings) -> Result<PathBuf, Failure> {
    if let Some(path) = &arguments.tvm_ffi {
        return Ok(path.clone());
    }
    // The build has just read it: what is remembered of it is as good as it was for that.
    let mut digests = FileDigests::open(&settings.cache, settings.trust);
    let found = find_tvm_ffi(&settings.search, &mut digests);
    let found = found.map_err(|source| PipelineError::TvmFfi { source: Box::new(source) });
    found.map(|found| found.library()).map_err(explain::pipeline)
}

/// Runs the plan under Nsight Compute and reads what it wrote.
fn profile(
    arguments: &Arguments,
    ncu: &NsightCompute,
    plan: &ProfilePlan,
    target: &Target,
    folder: &Path,
) -> Result<ProfileReport, Failure> {
    let within = Duration::from_secs(arguments.within);
    let rows = launches(ncu, plan, arguments.clock_control, within, folder).map_err(unprofiled)?;
    let workloads: Vec<(String, String)> = plan.task.workloads.iter().map(report::profile::named).collect();
    let workloads = by_workload(
        &rows,
        |kernel| plan.is_mark(kernel),
        &workloads,
        plan.calls,
        |kernel| target.proven.contains(kernel),
    )
    .map_err(Failure::could_not_judge)?;
    Ok(ProfileReport {
        solution: target.name.clone(),
        definition: plan.task.definition.name().to_owned(),
        arch: target.arch,
        library_sha256: target.library,
        launched: match plan.subject {
            ProfiledSubject::Library { .. } => Launched::Called,
            ProfiledSubject::Recordings { .. } => Launched::AsRecorded,
        },
        ncu: crate::path_text::text(&ncu.program),
        clock_control: arguments.clock_control,
        seed: plan.seed,
        workloads,
    })
}

/// Why there is no table, with the way out where its cause is known.
fn unprofiled(error: RunError) -> Failure {
    let way_out = match &error {
        RunError::Nothing { is_forbidden: true, .. } => {
            "this user may not read the GPU's counters: as root, or with the driver's option \
             NVreg_RestrictProfilingToAdminUsers=0"
        }
        RunError::Nothing { .. } => "`proofmark doctor` says what this machine has",
        _ => return Failure::could_not_judge(error),
    };
    Failure::could_not_judge(error).hint(way_out)
}
