//! `proofmark profiled`: the process that Nsight Compute looks at. Internal.

use std::path::PathBuf;

use clap::Args;

use super::exit_code::ExitCode;
use super::failure::Failure;
use crate::profile::ProfilePlan;
use crate::regular_file;

/// Largest plan that is read, in bytes: a definition and its workloads.
const LARGEST_PLAN_BYTES: u64 = 64 << 20;

/// Internal: what `profile` starts under Nsight Compute. It loads a library and calls it, unconfined.
#[derive(Debug, Args)]
#[command(hide = true)]
pub(super) struct Arguments {
    /// What to do
    plan: PathBuf,
}

/// Runs the verb.
pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let bytes =
        regular_file::read_through_links(&arguments.plan, LARGEST_PLAN_BYTES).map_err(Failure::request)?;
    let plan: ProfilePlan = serde_json::from_slice(&bytes).map_err(Failure::request)?;
    plan.follow().map_err(Failure::could_not_judge)?;
    Ok(ExitCode::Yes)
}
