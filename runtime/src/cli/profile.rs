//! `proofmark profile`: a proven build's kernels under Nsight Compute.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use proofmark_packager::Arch;
use proofmark_player::process::own_program;

use super::console::{AnswerFormat, Console, write_out};
use super::exit_code::{self, ExitCode};
use super::failure::Failure;
use super::line::{self, MachineOptions};
use super::task::TaskOptions;
use super::{explain, input};
use crate::job::{Action, Freshness, Job, Outcome, is_extension};
use crate::measure::Seed;
use crate::measure::judge::device::nonce;
use crate::pipeline::Settings;
use crate::process_tree::RunLimits;
use crate::profile::findings::by_workload;
use crate::profile::{ClockControl, NsightCompute, PLAN_VERB, ProfilePlan, page};
use crate::rebuild::ProvenBuild;
use crate::record::RunId;
use crate::regular_file;
use crate::report::{self, profile::ProfileReport};
use crate::sandbox::{self, Run};
use crate::toolchain::{FileDigests, search::find_tvm_ffi};

/// Most bytes of what Nsight Compute and the profiled process say that are kept.
const LOG_BYTES: usize = 1 << 20;
/// Largest page that is read, in bytes: a million launches.
const LARGEST_PAGE_BYTES: u64 = 512 << 20;

/// Show what each kernel takes on each workload, by Nsight Compute.
///
/// The submission is built and proven as ever. One process then calls the library on every workload, and Nsight Compute
/// times each kernel, its caches flushed and the GPU's clocks left as they are. Kernels that ran and are not in the
/// library that was proven stand in a column of their own: what it fell back to.
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
    let name = artifact.manifest().solution.name.clone();
    if !artifact.manifest().build.language.is_compiled() || is_extension(artifact) {
        let text =
            format!("{name} is called through Python, which is not profiled: expected a compiled entry");
        return Err(Failure::request(text).hint(
            "`proofmark build` builds what it compiles; its libraries can be packed and profiled alone",
        ));
    }
    let (task, _) = arguments.task.sources()?.task(Some(artifact), &arguments.path).map_err(explain::task)?;
    let symbol = artifact.manifest().build.entry_point.symbol.clone();
    let arch = line::arch_of(&opened.bundle, arguments.arch, console);
    let action = Action::Build { subject: Box::new(opened.bundle) };
    let job = Job { run_id: RunId::fresh(), arch, freshness: Freshness::Cached, action };
    let build = match line::do_job(&job, &settings, console)? {
        Outcome::Built(build) => build,
        outcome => {
            line::answer("proofmark.build", &outcome, [], console)?;
            return Ok(exit_code::of(&outcome));
        }
    };
    let plan = ProfilePlan {
        library: build.entry.library.clone(),
        symbol,
        tvm_ffi: tvm_ffi(arguments, &settings)?,
        task,
        seed: arguments.seed,
        nonce: nonce(),
        calls: usize::from(arguments.calls),
    };
    let report = profile(arguments, &ncu, &plan, &build, name)?;
    if arguments.csv {
        write_out(report.csv().as_bytes())?;
    } else {
        console.print(report.text())?;
    }
    console.document("proofmark.profile", 1, &report)?;
    Ok(ExitCode::Yes)
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
    let found = find_tvm_ffi(&settings.search, &mut FileDigests::forgetful());
    found.map(|found| found.library()).map_err(Failure::could_not_judge)
}

/// Runs the plan under Nsight Compute and reads what it wrote.
fn profile(
    arguments: &Arguments,
    ncu: &NsightCompute,
    plan: &ProfilePlan,
    build: &ProvenBuild,
    name: String,
) -> Result<ProfileReport, Failure> {
    let folder = tempfile::tempdir().map_err(Failure::could_not_judge)?;
    let (order, written) = (folder.path().join("plan.json"), folder.path().join("page.csv"));
    let text = serde_json::to_vec(plan).map_err(Failure::could_not_judge)?;
    std::fs::write(&order, text).map_err(Failure::could_not_judge)?;
    let program = own_program().map_err(Failure::could_not_judge)?;
    let target: [OsString; 3] = [program.into(), PLAN_VERB.into(), order.into()];
    let command = ncu.command(&target, arguments.clock_control, &written);
    let limits = RunLimits { time: Duration::from_secs(arguments.within), log_bytes: LOG_BYTES };
    let Run { ending, log, .. } =
        sandbox::supervise(command, limits, &mut |_| ()).map_err(Failure::could_not_judge)?;
    let page = if written.exists() { read(&written)? } else { String::new() };
    let said = format!("{log}{page}");
    let rows = match page::read(&page) {
        Ok(rows) if ending.is_success() && !rows.is_empty() => rows,
        outcome => return Err(nothing_profiled(outcome.err(), &said)),
    };
    let workloads: Vec<(String, String)> = plan.task.workloads.iter().map(report::profile::named).collect();
    let proven: Vec<&str> = build.entry.proof.kernels().collect();
    let workloads = by_workload(
        &rows,
        |kernel| plan.is_mark(kernel),
        &workloads,
        plan.calls,
        |kernel| proven.contains(&kernel),
    )
    .map_err(Failure::could_not_judge)?;
    Ok(ProfileReport {
        solution: name,
        definition: plan.task.definition.name().to_owned(),
        arch: build.entry.proof.arch(),
        library_sha256: build.entry.proof.library_digest(),
        ncu: crate::path_text::text(&ncu.program),
        clock_control: arguments.clock_control,
        seed: plan.seed,
        workloads,
    })
}

fn read(path: &Path) -> Result<String, Failure> {
    let bytes = regular_file::read_through_links(path, LARGEST_PAGE_BYTES)
        .map_err(|error| Failure::could_not_judge(format!("cannot read Nsight Compute's page: {error}")))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Why there is no table: Nsight Compute's own words, or those of what it profiled.
fn nothing_profiled(error: Option<page::PageError>, said: &str) -> Failure {
    let complaints = page::complaints(said).join("; ");
    let text = match (complaints.is_empty(), error) {
        (false, _) => format!("Nsight Compute profiled nothing: {complaints}"),
        (true, Some(error)) => format!("Nsight Compute profiled nothing: {error}"),
        (true, None) => "Nsight Compute profiled nothing, and says nothing about it".to_owned(),
    };
    let failure = Failure::could_not_judge(text);
    if said.contains("ERR_NVGPUCTRPERM") {
        return failure.hint(
            "this user may not read the GPU's counters: as root, or with the driver's option \
             NVreg_RestrictProfilingToAdminUsers=0",
        );
    }
    failure.hint("`proofmark doctor` says what this machine has")
}
