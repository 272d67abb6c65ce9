//! `proofmark compare`: is B faster than A, with a known error rate?

use std::path::PathBuf;

use clap::Args;
use proofmark_packager::Artifact;

use super::console::Console;
use super::exit_code::ExitCode;
use super::failure::Failure;
use super::line;
use super::measuring::{MeasuringOptions, StridedOption};
use super::protocol::ProtocolOptions;
use crate::job::{Action, Input, Measuring};
use crate::pipeline::Settings;

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
    measuring: MeasuringOptions,
    #[command(flatten)]
    protocol: ProtocolOptions,
    #[command(flatten)]
    strided: StridedOption,
    /// Append the outcome to this file.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Seconds after which what is not known stays unknown [default: no limit].
    #[arg(long, value_name = "SECONDS")]
    within: Option<u64>,
}

/// Runs the verb.
pub fn run(arguments: &Arguments, console: &Console) -> Result<ExitCode, Failure> {
    let measuring = &arguments.measuring;
    let incumbent = measuring.input(&arguments.a, console)?;
    let candidate = measuring.input(&arguments.b, console)?;
    let arch = measuring.arch(&incumbent, console);
    let how = Measuring {
        strides: arguments.strided.strides(),
        ..measuring.measuring(incumbent.artifact(), &arguments.a, console)?
    };
    note_other_task(&incumbent, &candidate, console);
    let protocol = Box::new(arguments.protocol.protocol(how.task.workloads.len()));
    let limit_s = arguments.within;
    let action = Action::Compare { incumbent, candidate, measuring: Box::new(how), protocol, limit_s };
    let settings = Settings { record: arguments.record.clone(), ..measuring.settings()? };
    let Some(outcome) = measuring.run(arch, action, &settings, console)? else {
        return Ok(ExitCode::Yes);
    };
    line::answer("proofmark.compare", &outcome, [], console)
}

/// Both arms do one task: what B brings beside another one is passed over, and said.
fn note_other_task(a: &Input, b: &Input, console: &Console) {
    let (Some(a), Some(b)) = (a.artifact(), b.artifact()) else { return };
    let reference = |one: &Artifact| one.reference().map(Artifact::digest);
    let others = [
        ("definition", b.definition().is_some() && b.definition() != a.definition()),
        ("workloads", b.workloads().is_some() && b.workloads() != a.workloads()),
        ("reference", reference(b).is_some() && reference(b) != reference(a)),
    ];
    let others: Vec<&str> = others.iter().filter(|(_, differs)| *differs).map(|(what, _)| *what).collect();
    if !others.is_empty() {
        console.say(format!(
            "note: B brings its own {}, other than A's: what is measured is named by the options, else by A",
            others.join(" and ")
        ));
    }
}
