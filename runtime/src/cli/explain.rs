//! Library errors as failures: the exit code that each has, and the way out.

use std::path::Path;

use proofmark_player::device::DeviceError;

use super::cache_folder;
use super::failure::Failure;
use crate::build::{BuildError, PlanError};
use crate::capture::CaptureError;
use crate::job::{ActionError, TaskError};
use crate::measure::BenchError;
use crate::pipeline::PipelineError;
use crate::process_tree::ProcessError;
use crate::python::interpreter::{DEFAULT_PYTHON, InterpreterError};
use crate::rebuild::RebuildError;
use crate::shared_cache::ObjectError;
use crate::toolchain::install::ObtainError;
use crate::toolchain::search::Origin;
use crate::toolchain::{PythonFault, ToolchainError};

/// The way out where the library is missing that Python loads to be measured.
pub(super) const KEEP_PLAYER_LIBRARY: &str =
    "keep libproofmark_player.so beside the program, or name it with PROOFMARK_PLAYER";

/// Why a job could not be judged.
pub(super) fn pipeline(error: PipelineError) -> Failure {
    match error {
        PipelineError::Unbuildable(error) => Failure::request(error).hint(error.way_out()),
        PipelineError::Capture(error) => capture(error),
        error @ PipelineError::Request { .. } => Failure::request(error)
            .hint("FlashInfer-Bench would run it; here a library has to be buildable without the entry"),
        PipelineError::Rebuild(error) => rebuild(error),
        PipelineError::Cache(error) => cache_folder::explain(error),
        error @ PipelineError::Sharing(ObjectError::NotBuilt) => Failure::request(error)
            .hint("a release of proofmark speaks to buckets; `--features buckets` builds one that does"),
        error @ PipelineError::Sharing(_) => Failure::could_not_judge(error),
        PipelineError::Toolchain { source } => {
            let ways_out = source.ways_out();
            // What an option names is the request's own fault; what a variable names is the machine's.
            let is_request = matches!(
                &*source,
                ObtainError::Search(ToolchainError::Unfit { origin: Origin::Flag, .. })
            );
            let failure =
                if is_request { Failure::request(*source) } else { Failure::could_not_judge(*source) };
            ways_out.into_iter().fold(failure, Failure::hint)
        }
        PipelineError::TvmFfi { source } => {
            Failure::could_not_judge(*source).hint("name libtvm_ffi.so with --tvm-ffi FILE")
        }
        PipelineError::Replay(error) => {
            let unsealed = error.is_unsealed();
            let failure = Failure::request(error);
            if unsealed { failure.hint("`proofmark seal` writes evidence into an artifact") } else { failure }
        }
        error @ PipelineError::Action(ActionError::Definition(_)) => Failure::request(error)
            .hint("`--definition`, `--reference` and what is compared must be for one definition"),
        error @ PipelineError::Action(ActionError::CustomInputs { .. }) => {
            Failure::request(error).hint("`--reference definition` names it")
        }
        error @ PipelineError::Action(ActionError::ReturnsOutputs { .. }) => Failure::request(error)
            .hint("`destination_passing_style = true` in config.toml says that outputs are passed in"),
        error @ PipelineError::NoTvmFfi { is_named: true, .. } => {
            Failure::request(error).hint("--tvm-ffi names it: name another one, or leave it out")
        }
        error @ PipelineError::NoTvmFfi { .. } => {
            Failure::could_not_judge(error).hint("name libtvm_ffi.so with --tvm-ffi FILE")
        }
        error @ PipelineError::Action(_) => Failure::request(error),
        error @ PipelineError::SealedForAnother { .. } => Failure::request(error)
            .hint("`proofmark build --arch` builds an artifact for another architecture"),
        error @ PipelineError::Reference { .. } => {
            Failure::could_not_judge(error).hint("--reference names another one")
        }
        PipelineError::Interpreter(error) => interpreter(error),
        PipelineError::NoReference { definition, source } => {
            let way_out = source.way_out();
            Failure::could_not_judge(PipelineError::NoReference { definition, source })
                .hint("name it with --reference PATH, or keep it in `reference/` of the task folder")
                .hint(way_out)
        }
        PipelineError::Headers(error) => {
            let is_missing = matches!(error.fault, PythonFault::NotStarted { .. });
            let is_named = error.program != Path::new(DEFAULT_PYTHON);
            let failure = if is_missing && is_named {
                Failure::request(error)
            } else {
                Failure::could_not_judge(error)
            };
            failure.hint(if is_named {
                "--python names it: name another one, or leave it out"
            } else {
                "name another one with --python PROGRAM"
            })
        }
        PipelineError::PythonHome(error) => Failure::could_not_judge(error)
            .hint(KEEP_PLAYER_LIBRARY),
        error @ PipelineError::OtherTorch { .. } => Failure::could_not_judge(error)
            .hint("name a Python that has this torch with --python PATH: its interface differs from release to release"),
        PipelineError::Measure(error) => measure(error),
        error @ (PipelineError::Program { .. } | PipelineError::Journal(_) | PipelineError::Seal(_)) => {
            Failure::could_not_judge(error)
        }
    }
}

/// Why a Python cannot be used; one that is named and not there is the request's own fault.
fn interpreter(error: InterpreterError) -> Failure {
    let way_out = error.way_out();
    let is_missing = matches!(
        &error,
        InterpreterError::Process { program, source: ProcessError::Start { .. } }
            if program != Path::new(DEFAULT_PYTHON)
    );
    let failure = if is_missing { Failure::request(error) } else { Failure::could_not_judge(error) };
    failure.hint(way_out)
}

fn capture(error: CaptureError) -> Failure {
    match error {
        error @ CaptureError::NoModule { .. } => {
            Failure::request(error).hint("`[build] entry_point` in config.toml names the entry file")
        }
        error => Failure::could_not_judge(error),
    }
}

fn rebuild(error: RebuildError) -> Failure {
    match error {
        RebuildError::Plan(error) => {
            let way_out = match &error {
                PlanError::Flags { .. } => {
                    "`[target] nvcc_flags` in config.toml sets flags; `proofmark build --help` lists them"
                }
                PlanError::FileName { .. } => "rename the file",
                PlanError::NothingCompiled => "put kernels in a .cu file",
                PlanError::NoEntryFile { .. } | PlanError::EntryNotCompiled { .. } => {
                    "`[build] entry_point` in config.toml names the entry file"
                }
            };
            Failure::request(error).hint(way_out)
        }
        RebuildError::Build(error) => {
            let ways_out = error.ways_out();
            let failure = match error {
                BuildError::Unsupported { .. } => Failure::request(error),
                _ => Failure::could_not_judge(error),
            };
            ways_out.into_iter().fold(failure, Failure::hint)
        }
        RebuildError::Cache(error) => cache_folder::explain(error),
    }
}

/// Why nothing could be measured: exit code 3, but for what the request got wrong.
fn measure(error: BenchError) -> Failure {
    let way_out = match &error {
        BenchError::Device(DeviceError::NotReady { readiness }) => readiness.hint(),
        BenchError::Device(DeviceError::WrongArchitecture { .. }) => {
            Some("--arch builds for the GPU that is here, such as --arch sm_90a on an H200")
        }
        BenchError::Reference { .. } => Some("--reference names another one"),
        BenchError::Captured { .. } => Some("--data DIR names the folder of captured tensors"),
        _ => None,
    };
    let is_request = matches!(error, BenchError::Workload { .. } | BenchError::Captured { .. });
    let failure = if is_request { Failure::request(error) } else { Failure::could_not_judge(error) };
    way_out.into_iter().fold(failure, Failure::hint)
}

/// Why there is nothing to compute.
pub(super) fn task(error: TaskError) -> Failure {
    let way_out = match &error {
        TaskError::NoName => Some("name it with --definition FILE"),
        TaskError::NoDefinition { .. } => {
            Some("name its file with --definition, or a data set with --dataset")
        }
        TaskError::NoWorkloads => Some("name them with --workloads FILE, or a data set with --dataset"),
        TaskError::NothingChosen { .. } => {
            Some("--batch picks by the first variable axis, --workloads and --dataset name others")
        }
        TaskError::OutOfScope { .. } | TaskError::Dataset(_) | TaskError::Invalid(_) => None,
    };
    let failure = match error {
        error @ TaskError::OutOfScope { .. } => Failure::could_not_judge(error),
        error => Failure::request(error),
    };
    way_out.into_iter().fold(failure, Failure::hint)
}

#[cfg(test)]
mod tests {
    use super::super::exit_code::ExitCode;
    use super::*;

    fn explain(error: RebuildError) -> Failure {
        pipeline(error.into())
    }

    #[test]
    fn the_way_out_of_a_plan_error_fits_it() {
        let file: proofmark_packager::SourcePath = "a b.cu".parse().unwrap();
        assert_eq!(explain(PlanError::FileName { file }.into()).hints(), ["rename the file"]);
    }

    #[test]
    fn what_nvcc_does_not_support_is_a_fault_of_the_request() {
        let complaint = "Unsupported gpu architecture 'compute_42a'".to_owned();
        let error = BuildError::Unsupported { complaint, archs: Vec::new() };
        assert_eq!(explain(error.into()).code(), ExitCode::Request);
        assert_eq!(explain(BuildError::Interrupted.into()).code(), ExitCode::CouldNotJudge);
    }
}
