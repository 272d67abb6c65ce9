//! What `bench` and `compare` share: which libraries, which workloads, and how to measure.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use proofmark_packager::{Arch, Artifact, Digest};

use super::console::Console;
use super::exit_code::ExitCode;
use super::failure::Failure;
use super::input;
use super::line::{self, LineOptions};
use super::task::{Brought, Task, TaskOptions};
use crate::measure::environment::Environment;
use crate::measure::judge::device::secret_number;
use crate::measure::judge::out_of_scope;
use crate::measure::statistics::StoppingRule;
use crate::measure::{BenchError, Options, Sharing, Subject};
use crate::pipeline::{Built, ProvenBuild};
use crate::proof::{self, RequestedClaim};
use crate::record::Context;
use proofmark_player::device::DeviceError;
use proofmark_player::process::own_program;

/// How to measure.
#[derive(Debug, Args)]
pub struct Measuring {
    #[command(flatten)]
    pub line: LineOptions,
    #[command(flatten)]
    pub task: TaskOptions,
    /// The reference: a library or a submission of the same definition [default: the one that
    /// belongs to the definition].
    #[arg(long, value_name = "PATH")]
    pub reference: Option<PathBuf>,
    /// The exported symbol, where a bare library is measured.
    #[arg(long, default_value = "run")]
    pub symbol: String,
    /// Seed of inputs and orders, to repeat a run [default: a fresh secret, recorded].
    #[arg(long)]
    pub seed: Option<u64>,
    /// Seconds for each workload's samples.
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    pub budget: f64,
    /// Milliseconds that one call may take.
    #[arg(long, value_name = "MS", default_value_t = 10_000)]
    pub call_limit: u64,
    /// libcupti.so.13 [default: the toolkit's, then the loader's].
    #[arg(long, value_name = "FILE")]
    pub cupti: Option<PathBuf>,
    /// libtvm_ffi.so [default: the one that the toolchain builds against].
    #[arg(long, value_name = "FILE", env = "PROOFMARK_TVM_FFI")]
    pub tvm_ffi: Option<PathBuf>,
    /// Pass tensors through host memory even where device IPC works.
    #[arg(long)]
    pub copies: bool,
}

impl Measuring {
    /// The options of a run.
    pub fn options(&self, tvm_ffi: PathBuf, data_root: PathBuf) -> Result<Options, Failure> {
        let refuse = || Failure::request("a budget is a positive number of seconds");
        let budget = Duration::try_from_secs_f64(self.budget).map_err(|_| refuse())?;
        Ok(Options {
            program: own_program().map_err(Failure::could_not_judge)?,
            tvm_ffi,
            cupti: self.cupti.clone(),
            seed: self.seed.unwrap_or_else(secret_number),
            tolerance: None,
            stopping: StoppingRule { budget, ..StoppingRule::default() },
            call_limit: Duration::from_millis(self.call_limit),
            data_root,
            sharing: if self.copies { Sharing::Copies } else { Sharing::Auto },
        })
    }

    /// The task of a submission at `place`, if it is one that can be judged.
    pub fn task(&self, place: &Path, brought: &Brought, console: &Console) -> Result<Task, Failure> {
        let task = self.task.task(place, brought, console)?;
        match out_of_scope(&task.definition) {
            None => Ok(task),
            Some(reason) => {
                let name = task.definition.name();
                let text = format!("{name} cannot be judged element by element: {reason}");
                Err(Failure::could_not_judge(text))
            }
        }
    }

    /// The task of a request: finds what is wrong with it while that costs nothing, and then whether
    /// there is a GPU, before anything is built.
    pub fn require(&self, subject: &Path, others: &[&Path], console: &Console) -> Result<Task, Failure> {
        let brought = brought_by(subject)?;
        for other in others {
            brought_by(other)?;
        }
        let task = self.task(subject, &brought, console)?;
        let reference = self.known_reference(subject, task.definition.name())?;
        if !reference.exists() {
            return Err(Failure::request(format!("no reference at {}", reference.display())));
        }
        require_gpu()?;
        Ok(task)
    }

    /// What is to be played: a library as it is, or a submission that is built and proven first, for
    /// the architecture asked for, else its own. A build that fails is a finding, reported here.
    pub fn play(
        &self,
        path: &Path,
        arch: Option<Arch>,
        schema: &str,
        console: &Console,
    ) -> Result<Result<Played, ExitCode>, Failure> {
        if is_library(path) {
            let subject = self.library(path, arch.unwrap_or(Arch::SM_100A))?;
            return Ok(Ok(Played { subject, artifact: None, author: String::new() }));
        }
        let opened = input::open_one(path, console)?;
        let artifact = &opened.bundle.artifact;
        require_passed_outputs(artifact)?;
        let arch = line::arch_of(&opened.bundle, arch, console);
        match self.line.build(artifact, arch, console)? {
            Built::Proven(build) => Ok(Ok(Played::of(artifact, &build))),
            Built::Finding(finding) => line::report_finding(schema, &finding, console).map(Err),
        }
    }

    /// The reference: as named, or the submission beside this one whose name ends in `_reference` and
    /// that implements the same definition. It is built for the subject's architecture; where it does
    /// not build, nothing can be judged.
    pub fn play_reference(
        &self,
        beside: &Path,
        definition: &str,
        arch: Arch,
        schema: &str,
        console: &Console,
    ) -> Result<Subject, Failure> {
        let path = self.known_reference(beside, definition)?;
        match self.play(&path, Some(arch), schema, console)? {
            Ok(reference) => Ok(reference.subject),
            Err(_reported) => Err(Failure::could_not_judge("the reference is not proven")),
        }
    }

    fn known_reference(&self, beside: &Path, definition: &str) -> Result<PathBuf, Failure> {
        self.reference_of(beside, definition).ok_or_else(|| {
            Failure::request(format!("no reference is known for {definition}"))
                .hint("name it with --reference PATH")
        })
    }

    /// Where the reference is, if one is known.
    pub fn reference_of(&self, beside: &Path, definition: &str) -> Option<PathBuf> {
        self.reference.clone().or_else(|| find_reference(beside, definition))
    }

    /// Where `libtvm_ffi.so` is.
    pub fn tvm_ffi_library(&self) -> Result<PathBuf, Failure> {
        let path = match &self.tvm_ffi {
            Some(path) => path.clone(),
            None => self.line.tvm_ffi()?,
        };
        path.canonicalize()
            .map_err(|error| Failure::request(format!("cannot find {}: {error}", path.display())))
    }

    /// A library that was built before: it is proven here and now.
    fn library(&self, path: &Path, arch: Arch) -> Result<Subject, Failure> {
        let library = std::fs::read(path).map_err(|error| cannot_read(path, &error))?;
        let gencode = proofmark_packager::Gencode::exact(arch);
        let claim = RequestedClaim::from_command([format!("-gencode={gencode}")]);
        let proven = proof::prove(&claim, &library, arch).map_err(|judgement| {
            let reasons = judgement.reasons().join("; ");
            Failure::request(format!("{} is not proven to be {}: {reasons}", path.display(), arch))
                .hint("`proofmark verify` shows what it holds; --arch names what to expect")
        })?;
        let name = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        Ok(Subject {
            name,
            symbol: self.symbol.clone(),
            arch,
            images: proven.device_images().iter().map(|image| image.digest).collect(),
            library,
        })
    }
}

/// What is measured, and what came with it.
pub struct Played {
    /// The library and its entry.
    pub subject: Subject,
    /// The artifact's digest; absent for a bare library.
    pub artifact: Option<Digest>,
    /// Who wrote it.
    pub author: String,
}

impl Played {
    /// What the line just built and proved.
    pub fn of(artifact: &Artifact, build: &ProvenBuild) -> Self {
        let manifest = artifact.manifest();
        let subject = Subject {
            name: manifest.solution.name.clone(),
            symbol: manifest.build.entry_point.symbol.clone(),
            arch: build.proof.arch(),
            images: build.proof.device_images().iter().map(|image| image.digest).collect(),
            library: build.library_bytes.clone(),
        };
        Self { subject, artifact: Some(artifact.digest()), author: manifest.solution.author.clone() }
    }

    /// What every line of a record says of it.
    pub fn context(&self, reference: &Subject, definition: &str, environment: Environment) -> Context {
        Context {
            solution: self.subject.name.clone(),
            author: self.author.clone(),
            artifact: self.artifact,
            library: Digest::of_bytes(&self.subject.library),
            reference: Digest::of_bytes(&reference.library),
            definition: definition.to_owned(),
            arch: self.subject.arch,
            environment,
            copy_bytes_per_second: None,
        }
    }
}

/// Looks beside a submission, and for a sealed one in the `kernels` folder next to its own.
fn find_reference(beside: &Path, definition: &str) -> Option<PathBuf> {
    let place = beside.canonicalize().ok()?;
    let folder = place.parent()?;
    let mut candidates: Vec<PathBuf> = [folder.to_owned(), folder.join("../kernels")]
        .iter()
        .flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten())
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.is_dir() && path.to_string_lossy().ends_with("_reference"))
        .collect();
    candidates.sort();
    let implements = |path: &PathBuf| {
        proofmark_packager::open::open(path)
            .is_ok_and(|opened| opened.bundle.artifact.manifest().solution.definition == definition)
    };
    candidates.into_iter().find(implements)
}

/// What a subject says of its task, if it is one that can be measured.
fn brought_by(path: &Path) -> Result<Brought, Failure> {
    if is_library(path) {
        let found = std::fs::metadata(path).map_err(|error| cannot_read(path, &error));
        return found.map(|_| Brought::default());
    }
    let artifact = input::open_quietly(path)?;
    require_passed_outputs(&artifact)?;
    Ok(Brought::of(&artifact))
}

fn is_library(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "so")
}

fn cannot_read(path: &Path, error: &std::io::Error) -> Failure {
    Failure::request(format!("cannot read {}: {error}", path.display()))
}

fn require_passed_outputs(artifact: &Artifact) -> Result<(), Failure> {
    let manifest = artifact.manifest();
    if manifest.build.destination_passing_style {
        return Ok(());
    }
    let text = format!("{} returns its outputs", manifest.solution.name);
    Err(Failure::request(text)
        .hint("measuring needs destination_passing_style = true: outputs are the judge's buffers"))
}

/// Refuses at once where there is no GPU.
fn require_gpu() -> Result<(), Failure> {
    let readiness = proofmark_player::device::probe();
    if readiness.is_ready() {
        return Ok(());
    }
    Err(explain(BenchError::Device(DeviceError::NotReady { readiness })))
}

/// Explains why nothing could be measured: exit code 3, but for what the request got wrong.
pub fn explain(error: BenchError) -> Failure {
    let way_out = match &error {
        BenchError::Device(DeviceError::NotReady { readiness }) => readiness.hint(),
        BenchError::Device(DeviceError::WrongArchitecture { .. }) => {
            Some("--arch builds for the GPU that is here, such as --arch sm_90a on an H200")
        }
        BenchError::Reference { .. } => Some("--reference names another one"),
        _ => None,
    };
    let is_request = matches!(error, BenchError::Workload { .. } | BenchError::Captured { .. });
    let failure = if is_request { Failure::request(error) } else { Failure::could_not_judge(error) };
    match way_out {
        Some(way_out) => failure.hint(way_out),
        None => failure,
    }
}
