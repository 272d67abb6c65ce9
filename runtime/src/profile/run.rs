//! Nsight Compute over the profiled process: started, supervised, and its page read.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use proofmark_player::process::own_program;

use super::ncu::{ClockControl, NsightCompute};
use super::page::{self, KernelRow, PageError};
use super::plan::{PLAN_VERB, ProfilePlan};
use crate::process_tree::RunLimits;
use crate::regular_file;
use crate::sandbox::{self, Run, SandboxError};

/// Most bytes of what Nsight Compute and the profiled process say that are kept.
const LOG_BYTES: usize = 1 << 20;
/// Largest page that is read, in bytes: a million launches.
const LARGEST_PAGE_BYTES: u64 = 512 << 20;
/// How the driver names that this user may not read counters.
const FORBIDDEN: &str = "ERR_NVGPUCTRPERM";

/// Why there are no launches.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// This program's own file is unknown.
    #[error(transparent)]
    Program(io::Error),
    /// The plan cannot be written for the profiled process.
    #[error("cannot write the plan for Nsight Compute")]
    Plan(#[source] io::Error),
    /// Nsight Compute was not started, or took too long.
    #[error(transparent)]
    Process(#[from] SandboxError),
    /// What it wrote cannot be read.
    #[error("cannot read Nsight Compute's page")]
    Page(#[source] io::Error),
    /// It ended without a launch.
    #[error("Nsight Compute profiled nothing{}", reason(complaints, fault.as_ref()))]
    Nothing {
        /// Its own words, and those of what it profiled, in one line.
        complaints: String,
        /// What is wrong with its page.
        fault: Option<PageError>,
        /// Whether this user may not read the GPU's counters.
        is_forbidden: bool,
    },
}

fn reason(complaints: &str, fault: Option<&PageError>) -> String {
    match (complaints, fault) {
        ("", None) => ", and says nothing about it".to_owned(),
        ("", Some(fault)) => format!(": {fault}"),
        (complaints, _) => format!(": {complaints}"),
    }
}

/// Every launch that Nsight Compute sees while a plan is followed. The folder takes the plan and the page.
pub fn launches(
    ncu: &NsightCompute,
    plan: &ProfilePlan,
    clocks: ClockControl,
    within: Duration,
    folder: &Path,
) -> Result<Vec<KernelRow>, RunError> {
    let (order, written) = (folder.join("plan.json"), folder.join("page.csv"));
    let text = serde_json::to_vec(plan).map_err(|error| RunError::Plan(error.into()))?;
    fs::write(&order, text).map_err(RunError::Plan)?;
    let program = own_program().map_err(RunError::Program)?;
    let words: [OsString; 3] = [program.into(), PLAN_VERB.into(), order.into()];
    let limits = RunLimits { time: within, log_bytes: LOG_BYTES };
    let command = ncu.command(&words, clocks, &written);
    let Run { ending, log, .. } = sandbox::supervise(command, limits, &mut |_| ())?;
    let page = if written.exists() {
        let bytes = regular_file::read_through_links(&written, LARGEST_PAGE_BYTES).map_err(RunError::Page)?;
        String::from_utf8_lossy(&bytes).into_owned()
    } else {
        String::new()
    };
    match page::read(&page) {
        Ok(rows) if ending.is_success() && !rows.is_empty() => Ok(rows),
        outcome => Err(nothing(outcome.err(), &format!("{log}{page}"))),
    }
}

fn nothing(fault: Option<PageError>, said: &str) -> RunError {
    let complaints = page::complaints(said).join("; ");
    RunError::Nothing { complaints, fault, is_forbidden: said.contains(FORBIDDEN) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_go_before_what_is_wrong_with_the_page() {
        let said = "==ERROR== ERR_NVGPUCTRPERM - no permission\n==PROF== Connected\n";
        let forbidden = nothing(Some(PageError::NoHeader), said);
        assert!(matches!(forbidden, RunError::Nothing { is_forbidden: true, .. }));
        let text = forbidden.to_string();
        assert_eq!(text, "Nsight Compute profiled nothing: ==ERROR== ERR_NVGPUCTRPERM - no permission");
        let text = nothing(Some(PageError::NoHeader), "").to_string();
        assert!(
            text.starts_with("Nsight Compute profiled nothing: Nsight Compute's page has no line"),
            "{text}"
        );
        assert_eq!(
            nothing(None, "").to_string(),
            "Nsight Compute profiled nothing, and says nothing about it"
        );
    }
}
