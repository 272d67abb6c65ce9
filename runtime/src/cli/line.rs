//! What the verbs that do a job share: its options, its progress, its report.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use proofmark_packager::format::BUILD_EVIDENCE;
use proofmark_packager::{Arch, Bundle, json};
use proofmark_player::Refusals;
use serde_json::Value;

use super::cache_folder::CacheFolder;
use super::console::Console;
use super::exit_code::{self, ExitCode};
use super::explain;
use super::failure::Failure;
use super::number;
use super::progress::ProgressDisplay;
use super::sharing::SharingOptions;
use crate::build::{BuildLimits, Demand, LinkRule, OtherFlags};
use crate::evidence::BuildEvidence;
use crate::job::request::LARGEST_JOB_BYTES;
use crate::job::{Action, Job, Outcome};
use crate::measure::Neighbours;
use crate::pipeline::{self, Download, Recorded, Settings};
use crate::python::interpreter::DEFAULT_PYTHON;
use crate::rebuild::Freshness;
use crate::record::RunId;
use crate::report;
use crate::toolchain::{DigestTrust, Search};

/// Longest time that can be asked for, in seconds: a day.
const LONGEST_TIMEOUT_SECONDS: u64 = 86_400;

/// Where things are on this machine, and what a build may cost.
#[derive(Debug, Clone, Args)]
pub struct MachineOptions {
    /// The CUDA toolkit [default: $CUDA_HOME, $CUDA_PATH, nvcc on PATH, /usr/local/cuda, the pinned one].
    #[arg(long, value_name = "DIR")]
    pub cuda_home: Option<PathBuf>,
    /// Never download the pinned toolchain.
    #[arg(long)]
    pub offline: bool,
    /// Longest time that the compiler may take.
    #[arg(long, value_name = "SECONDS", default_value_t = BuildLimits::TIME_SECONDS,
        value_parser = number::within(1..=LONGEST_TIMEOUT_SECONDS), allow_negative_numbers = true)]
    pub timeout: u64,
    /// Refuse to compile where the sandbox lacks a layer; `proofmark doctor` lists them.
    #[arg(long)]
    pub require_sandbox: bool,
    /// The Python that runs Python entries, whose headers torch bindings are built with, and whose pip fetches.
    #[arg(long, value_name = "PROGRAM", default_value = DEFAULT_PYTHON)]
    pub python: PathBuf,
    /// What is linked without being asked for: the driver and cuBLAS where something calls them, as
    /// flashinfer-bench's main branch does, or nothing, as its release 0.1.2 does.
    #[arg(long, value_name = "RULE", value_enum, default_value_t)]
    pub link_as: LinkRule,
    /// Do not trust remembered file digests: read every file of the toolchain again.
    #[arg(long)]
    pub rehash: bool,
    #[command(flatten)]
    pub place: CacheFolder,
    #[command(flatten)]
    pub sharing: SharingOptions,
}

/// What is built, and how.
#[derive(Debug, Clone, Args)]
pub struct LineOptions {
    /// What to build for [default: what an artifact was sealed for, else `[target] arch` of the
    /// submission, else sm_100a].
    #[arg(long)]
    pub arch: Option<Arch>,
    /// Run the compiler even if the cache has the build.
    #[arg(long)]
    pub fresh: bool,
    /// Print the job as a document instead of doing it; `proofmark job run` does it, here or elsewhere.
    #[arg(long)]
    pub as_job: bool,
    #[command(flatten)]
    pub machine: MachineOptions,
}

impl Default for LineOptions {
    /// What the command line gives when nothing is said.
    fn default() -> Self {
        let machine = MachineOptions {
            cuda_home: None,
            offline: false,
            timeout: BuildLimits::TIME_SECONDS,
            require_sandbox: false,
            rehash: false,
            python: PathBuf::from(DEFAULT_PYTHON),
            link_as: LinkRule::default(),
            place: CacheFolder { cache_dir: None },
            sharing: SharingOptions::default(),
        };
        Self { arch: None, fresh: false, as_job: false, machine }
    }
}

impl MachineOptions {
    /// The same as settings of a job.
    pub fn settings(&self) -> Result<Settings, Failure> {
        Ok(Settings {
            cache: self.place.folder()?,
            sharing: self.sharing.sharing()?,
            search: Search { cuda_home: self.cuda_home.clone(), ..Search::from_environment() },
            download: if self.offline { Download::Refused } else { Download::Allowed },
            trust: if self.rehash { DigestTrust::Nothing } else { DigestTrust::ChangeTime },
            limits: BuildLimits {
                time: Duration::from_secs(self.timeout),
                sandbox: if self.require_sandbox { Demand::Whole } else { Demand::BestEffort },
                ..BuildLimits::default()
            },
            link_rule: self.link_as,
            python: self.python.clone(),
            tvm_ffi: None,
            cupti: None,
            player_library: None,
            refusals: Refusals::Silent,
            neighbours: Neighbours::default(),
            record: None,
        })
    }
}

impl LineOptions {
    /// Whether a cached build will do.
    pub fn freshness(&self) -> Freshness {
        if self.fresh { Freshness::Fresh } else { Freshness::Cached }
    }

    /// Does a job and shows what takes time, or prints it as a document where that was asked for.
    pub fn run(
        &self,
        arch: Arch,
        action: Action,
        settings: &Settings,
        console: &Console,
    ) -> Result<Option<Outcome>, Failure> {
        let job = Job { run_id: RunId::fresh(), arch, freshness: self.freshness(), action };
        if self.as_job {
            job.action.check().map_err(|error| explain::pipeline(error.into()))?;
            let document = job.written();
            let found_bytes = json::size_bytes(&document);
            if found_bytes >= LARGEST_JOB_BYTES {
                let most = LARGEST_JOB_BYTES >> 20;
                return Err(Failure::request(format!(
                    "the job takes {found_bytes} bytes: no document of more than {most} MiB is read"
                ))
                .hint("without --as-job it is done here"));
            }
            super::console::write_document(&document)?;
            return Ok(None);
        }
        do_job(&job, settings, console).map(Some)
    }
}

/// Does a job and shows what takes time.
pub(super) fn do_job(job: &Job, settings: &Settings, console: &Console) -> Result<Outcome, Failure> {
    let mut progress = ProgressDisplay::new(*console);
    let outcome = pipeline::run(job, settings, &mut |event| progress.hear(event));
    progress.finish();
    outcome.map_err(explain::pipeline)
}

/// Records the calls of a job that measures, and shows what takes time.
pub(super) fn record(job: &Job, settings: &Settings, console: &Console) -> Result<Recorded, Failure> {
    let mut progress = ProgressDisplay::new(*console);
    let recorded = pipeline::record(job, settings, &mut |event| progress.hear(event));
    progress.finish();
    recorded.map_err(explain::pipeline)
}

/// What a verb builds for: what was asked for, else what the artifact was sealed for, else its own
/// `[target]`.
///
/// Says on the way which of its flags a build of ours leaves out.
pub(super) fn arch_of(bundle: &Bundle, asked: Option<Arch>, console: &Console) -> Arch {
    for left_out in OtherFlags::of(&bundle.artifact).left_out {
        console.say(format!("note: left out of the build: {left_out}"));
    }
    let own = bundle.artifact.manifest().target.arch;
    let sealed =
        BuildEvidence::read(bundle.evidence.get(BUILD_EVIDENCE)).map(|build| build.gencode.real_arch);
    match (asked, sealed) {
        (Some(asked), _) => asked,
        (None, Ok(sealed)) if sealed != own => {
            console.say(format!("note: sealed for {sealed}, although its target is {own}: --arch chooses"));
            sealed
        }
        (None, _) => own,
    }
}

/// Prints what came out: words, or the verb's one document with `extra` fields behind it.
pub(super) fn answer(
    schema: &str,
    outcome: &Outcome,
    extra: impl IntoIterator<Item = (&'static str, Value)>,
    console: &Console,
) -> Result<ExitCode, Failure> {
    if let Outcome::Finding { finding, .. } = outcome {
        console.say(report::build::details(finding));
    }
    if let Outcome::Entry(entry) = outcome {
        let details = report::entry::entry_details(entry);
        if !details.is_empty() {
            console.say(details.trim_end());
        }
    }
    console.print(report::outcome::text(outcome))?;
    let mut body = report::outcome::body(outcome);
    for (name, value) in extra {
        body[name] = value;
    }
    console.document(schema, 1, &body)?;
    Ok(exit_code::of(outcome))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct CommandLine {
        #[command(flatten)]
        options: MachineOptions,
    }

    fn parse(arguments: &[&str]) -> Result<Settings, String> {
        let arguments = ["line", "--cache-dir", "/c"].iter().chain(arguments).copied();
        let line = CommandLine::try_parse_from(arguments).map_err(|error| error.to_string())?;
        line.options.settings().map_err(|failure| failure.to_string())
    }

    #[test]
    fn the_time_is_bounded_and_the_default_is_the_rooms_own() {
        assert_eq!(parse(&[]).unwrap().limits, BuildLimits::default());
        assert_eq!(parse(&["--timeout", "86400"]).unwrap().limits.time.as_secs(), 86_400);
        for seconds in ["0", "86401", "18446744073709551615", "-1"] {
            assert!(parse(&["--timeout", seconds]).is_err(), "{seconds}");
        }
    }

    #[test]
    fn remembered_digests_are_trusted_unless_asked_otherwise() {
        assert_eq!(parse(&[]).unwrap().trust, DigestTrust::ChangeTime);
        assert_eq!(parse(&["--rehash"]).unwrap().trust, DigestTrust::Nothing);
    }
}
