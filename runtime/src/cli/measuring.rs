//! How to measure, as typed on a command line.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use proofmark_packager::interop::flashinfer::Workload;
use proofmark_packager::{Arch, Artifact};
use proofmark_player::Refusals;
use proofmark_player::python::PLAYER_VARIABLE;

use super::console::Console;
use super::explain;
use super::failure::Failure;
use super::input;
use super::ledger_folder::{self, LedgerFolder};
use super::line::{self, LineOptions};
use super::number;
use super::task::TaskOptions;
use crate::job::input::Library;
use crate::job::{self, Action, Input, Measure, Outcome, Reference};
use crate::measure::{Live, Neighbours, Seed, Strides, TensorHome};
use crate::pipeline::Settings;
use crate::regular_file;

/// How the definition's own code is asked for as a reference.
const DEFINITION: &str = "definition";
/// Largest bare library that is measured, in bytes: it is in memory, and three times more where it travels.
const LARGEST_LIBRARY_BYTES: u64 = 96 << 20;

/// Where the libraries of measuring are on this machine.
#[derive(Debug, Clone, Args)]
pub struct DriverOptions {
    /// libcupti.so.13 [default: the toolkit's, then the loader's].
    #[arg(long, value_name = "FILE")]
    pub cupti: Option<PathBuf>,
    /// libtvm_ffi.so [default: the one that the toolchain builds against].
    #[arg(long, value_name = "FILE", env = "PROOFMARK_TVM_FFI")]
    pub tvm_ffi: Option<PathBuf>,
    /// Drop and count samples that are taken while another process uses the GPU, as far as the driver shows it
    /// [default: only with `fleet run`, which has a GPU to itself].
    #[arg(long)]
    pub alone: bool,
    /// Name on standard error the system calls that are refused while measuring, to find out what a driver
    /// lacks; foreign text then reaches the terminal unescaped.
    #[arg(long, hide = true)]
    pub show_refused_calls: bool,
}

/// Whether the subject's tensors have gaps.
#[derive(Debug, Clone, Args)]
pub struct StridedOption {
    /// Give inputs and outputs with gaps between their rows, or between all elements: to see whether strides are
    /// followed, or refused. Such times are nobody's score and have no traces.
    #[arg(long, value_name = "WHERE", num_args = 0..=1, default_missing_value = "rows")]
    strided: Option<Strides>,
}

impl StridedOption {
    /// How the subject's tensors lie.
    pub fn strides(&self) -> Strides {
        self.strided.unwrap_or_default()
    }
}

impl DriverOptions {
    /// Settings with these libraries.
    pub fn settings(&self, settings: Settings) -> Settings {
        let refusals = if self.show_refused_calls { Refusals::Shown } else { Refusals::Silent };
        Settings {
            tvm_ffi: self.tvm_ffi.clone(),
            cupti: self.cupti.clone(),
            player_library: std::env::var_os(PLAYER_VARIABLE).map(PathBuf::from),
            refusals,
            neighbours: if self.alone { Neighbours::Disturb } else { settings.neighbours },
            ..settings
        }
    }
}

/// How to measure.
#[derive(Debug, Args)]
pub struct MeasuringOptions {
    #[command(flatten)]
    pub line: LineOptions,
    #[command(flatten)]
    pub task: TaskOptions,
    /// The reference: a library or a submission of the same definition, or `definition` for the definition's
    /// own code in double precision, which needs a Python with torch [default: the one that the submission
    /// brings, else the definition's own].
    #[arg(long, value_name = "PATH|definition")]
    pub reference: Option<PathBuf>,
    /// The exported symbol, where a bare library is measured.
    #[arg(long, default_value = "run")]
    pub symbol: String,
    /// Seed of inputs and orders, to repeat a run [default: a fresh secret, recorded].
    #[arg(long)]
    pub seed: Option<Seed>,
    /// Seconds for each workload's samples.
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0, value_parser = number::decimal, allow_negative_numbers = true)]
    pub budget: f64,
    /// Milliseconds that one call may take.
    #[arg(long, value_name = "MS", default_value_t = 10_000, value_parser = number::whole::<u64>, allow_negative_numbers = true)]
    pub call_limit: u64,
    #[command(flatten)]
    pub driver: DriverOptions,
    #[command(flatten)]
    pub ledger: LedgerFolder,
    /// Measure live: in the process that runs the submission's host code, which can forge what is read in
    /// it. Alone it concerns what cannot be recorded; every place that shows such a number says so.
    #[arg(long, value_name = "WHEN", num_args = 0..=1, default_value = "never", default_missing_value = "where-needed")]
    pub live: Live,
    /// Pass tensors through host memory even where device memory can be shared.
    #[arg(long)]
    pub copies: bool,
}

impl MeasuringOptions {
    /// Where things are on this machine.
    pub fn settings(&self) -> Result<Settings, Failure> {
        Ok(self.driver.settings(self.line.machine.settings()?))
    }

    /// Does a job as [`LineOptions::run`] does, and keeps its records where a ledger was named.
    pub fn run(
        &self,
        arch: Arch,
        action: Action,
        settings: &Settings,
        console: &Console,
    ) -> Result<Option<Outcome>, Failure> {
        // Before anything takes time: a ledger that cannot be written must not cost a run.
        let ledger = self.ledger.open_named(console)?;
        let outcome = self.line.run(arch, action, settings, console)?;
        if let (Some(mut ledger), Some(outcome)) = (ledger, &outcome) {
            ledger.append_records(&outcome.records()).map_err(ledger_folder::explain)?;
        }
        Ok(outcome)
    }

    /// Opens what is to be measured: a submission, or a library as it is.
    pub fn input(&self, path: &Path, console: &Console) -> Result<Input, Failure> {
        if path.extension().is_some_and(|extension| extension == "so") {
            let bytes = regular_file::read_through_links(path, LARGEST_LIBRARY_BYTES)
                .map_err(|error| Failure::request(format!("cannot read {}: {error}", path.display())))?;
            return Ok(Input::Library(Library::new(path, &self.symbol, bytes)));
        }
        Ok(Input::Artifact(Box::new(input::open_one(path, console)?.bundle)))
    }

    /// What to build for: as asked, else as the submission says, else `sm_100a`.
    pub fn arch(&self, input: &Input, console: &Console) -> Arch {
        match input {
            Input::Artifact(bundle) => line::arch_of(bundle, self.line.arch, console),
            Input::Library(_) => self.line.arch.unwrap_or(Arch::SM_100A),
        }
    }

    /// How to measure what stands at `place`; finds what is wrong with a request while that costs nothing.
    pub fn measuring(
        &self,
        artifact: Option<&Artifact>,
        place: &Path,
        console: &Console,
    ) -> Result<job::Measuring, Failure> {
        let (task, passed_over) = self.task.sources()?.task(artifact, place).map_err(explain::task)?;
        if let Some(error) = passed_over {
            console.say(format!("note: {error}: the submission's own is used"));
        }
        // Only the definition's own code can make inputs, and judge outputs.
        let by_definition =
            task.definition.own_check().is_some() || task.workloads.iter().any(Workload::is_custom);
        let brought = artifact.filter(|_| !by_definition);
        let reference = self.reference(brought, task.definition.name(), console)?;
        let budget = Duration::try_from_secs_f64(self.budget)
            .map_err(|_| Failure::request("a budget is a positive number of seconds"))?;
        Ok(job::Measuring {
            task,
            reference,
            seed: self.seed,
            budget,
            samples: None,
            call_limit: Duration::from_millis(self.call_limit),
            sharing: if self.copies { TensorHome::Copies } else { TensorHome::Auto },
            live: self.live,
            strides: Strides::Contiguous,
        })
    }

    /// How to measure a submission where that is possible, or why it is not.
    pub fn measure(&self, artifact: &Artifact, place: &Path, console: &Console) -> Result<Measure, Failure> {
        let not = |reason: String| Ok(Measure::Not { reason });
        let brings_its_task = artifact.definition().is_some() && artifact.workloads().is_some();
        if !brings_its_task && !self.task.is_named() {
            return not("no definition.json and workloads.jsonl in it, and no --dataset named".to_owned());
        }
        let measuring = Box::new(self.measuring(Some(artifact), place, console)?);
        Ok(Measure::WherePossible { measuring })
    }

    /// The reference: as named, else the one that the submission brings, else the definition's own code. Whether
    /// there is a Python for that, the machine says that measures.
    fn reference(
        &self,
        artifact: Option<&Artifact>,
        definition: &str,
        console: &Console,
    ) -> Result<Reference, Failure> {
        if let Some(path) = &self.reference {
            if path.as_os_str() == DEFINITION {
                return Ok(Reference::Definition);
            }
            return Ok(Reference::Submission { input: self.input(path, console)? });
        }
        let Some(brought) = artifact.and_then(Artifact::reference) else {
            console
                .say(format!("note: no reference is known for {definition}: its definition's own is used"));
            return Ok(Reference::Definition);
        };
        Ok(Reference::Submission { input: Input::of_artifact(brought.clone()) })
    }
}
