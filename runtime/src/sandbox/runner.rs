//! Our side of the sandbox: starts the keeper, watches it, reads its report.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use super::layer::Layers;
use super::lifeline::{Ending, Lifeline, Orders, Report};
use super::policy::Policy;
use crate::process_tree::{self, Finished, ProcessError, RunLimits};

/// A program that came to its end in the sandbox.
#[derive(Debug)]
pub struct Run {
    /// How it ended.
    pub ending: Ending,
    /// What it said.
    pub log: String,
    /// Which layers it had.
    pub layers: Layers,
    /// The most memory that one process of it held, in bytes; zero where nobody looked.
    pub peak_bytes: u64,
}

/// Why a program was not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// It was not started, did not end in time, or was interrupted.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// Nobody said which program makes sandboxes.
    #[error("no sandbox for `{program}`: this program did not begin with `proofmark::sandbox::take_part`")]
    NoLauncher {
        /// The program that was to be confined, and was not started.
        program: String,
    },
    /// A layer that was asked for is not to be had.
    #[error("the sandbox lacks {missing}")]
    Incomplete {
        /// The missing layers, each with its reason.
        missing: String,
    },
    /// The keeper ended without a report.
    #[error("the sandbox around `{program}` ended without a report: {log}")]
    Silent {
        /// The program.
        program: String,
        /// What was said before.
        log: String,
    },
}

/// The program that knows the hidden verbs.
static LAUNCHER: OnceLock<PathBuf> = OnceLock::new();

/// Says which program knows the hidden verbs: [`super::take_part`] says it of the one that runs. Where nobody
/// has, nothing that strangers' sources steer is started.
pub fn announce_launcher(path: impl Into<PathBuf>) {
    let _ = LAUNCHER.set(path.into());
}

/// Runs a program behind every layer that is to be had. Its environment is what the command names.
pub fn run(
    command: &Command,
    policy: &Policy,
    limits: RunLimits,
    on_line: &mut dyn FnMut(&str),
) -> Result<Run, SandboxError> {
    let Some(launcher) = LAUNCHER.get() else {
        let program = command.get_program().to_string_lossy().into_owned();
        return Err(SandboxError::NoLauncher { program });
    };
    let named = command.get_envs().filter_map(|(name, value)| Some((name.into(), value?.into())));
    let environment = Some(named.collect());
    let orders = Orders { policy: Some(policy.clone()), layers: Layers::default(), environment };
    let mut keeper = keeper_of(launcher, command);
    // Loaders read their variables before any of our code runs.
    keeper.env_clear();
    run_behind(keeper, command, &orders, limits, on_line)
}

/// Runs a program that is trusted and needs the network, such as pip: it ends with us, however we end.
pub fn supervise(
    command: Command,
    limits: RunLimits,
    on_line: &mut dyn FnMut(&str),
) -> Result<Run, SandboxError> {
    let Some(launcher) = LAUNCHER.get() else {
        let Finished { status, log } = process_tree::run(command, limits, on_line)?;
        return Ok(Run {
            ending: Ending::of(status),
            log,
            layers: Layers::none("not asked for"),
            peak_bytes: 0,
        });
    };
    let orders = Orders { policy: None, layers: Layers::default(), environment: None };
    run_behind(keeper_of(launcher, &command), &command, &orders, limits, on_line)
}

fn run_behind(
    keeper: Command,
    command: &Command,
    orders: &Orders,
    limits: RunLimits,
    on_line: &mut dyn FnMut(&str),
) -> Result<Run, SandboxError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let start = |source| ProcessError::Start { program: program.clone(), source };
    let (ours, theirs) = UnixStream::pair().map_err(start)?;
    let mut ours = Lifeline(ours);
    let input = Stdio::from(OwnedFd::from(theirs));
    let finished = process_tree::run_behind(keeper, input, (&mut ours, orders), limits, on_line);
    let Finished { log, .. } = finished.map_err(|error| error.naming(&program))?;
    match ours.report() {
        Some(Report { ending: Ending::NotStarted(reason), .. }) => {
            Err(start(io::Error::other(reason)).into())
        }
        Some(Report { layers, ending, peak_bytes }) => Ok(Run { ending, log, layers, peak_bytes }),
        None => Err(SandboxError::Silent { program, log }),
    }
}

fn keeper_of(launcher: &Path, command: &Command) -> Command {
    let mut keeper = Command::new(launcher);
    keeper.arg0("proofmark");
    keeper.arg(super::KEEPER_VERB).arg(command.get_program()).args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        keeper.current_dir(folder);
    }
    keeper
}

/// Which layers this machine gives, tried with a program that does nothing.
pub fn probe() -> Layers {
    let limits = RunLimits { time: Duration::from_secs(20), log_bytes: 4096 };
    let policy = Policy::of_system();
    let mut nothing = Command::new("/bin/true");
    nothing.env_clear().current_dir("/");
    match run(&nothing, &policy, limits, &mut |_| ()) {
        Ok(run) => run.layers,
        Err(error) => Layers::none(&error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_cannot_start_sandboxes_starts_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut touch = Command::new("touch");
        touch.arg("here").current_dir(folder.path());
        let limits = RunLimits { time: Duration::from_secs(9), log_bytes: 99 };
        let refused = run(&touch, &Policy::of_system(), limits, &mut |_| ()).unwrap_err().to_string();
        assert!(refused.contains("`touch`") && refused.contains("sandbox::take_part"), "{refused}");
        assert!(!folder.path().join("here").exists());
        assert!(!probe().missing.is_empty());
    }
}
