//! What `bench` and `compare` share: which libraries, which workloads, and how to measure.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use packager::interop::flashinfer::{Definition, Trace, Workload, dataset};
use packager::{Arch, Artifact, Digest};

use super::console::Console;
use super::exit_code::ExitCode;
use super::failure::Failure;
use super::input;
use super::line::{self, LineOptions};
use crate::bench::judge::house::secret_number;
use crate::bench::judge::out_of_scope;
use crate::bench::player::child::own_program;
use crate::bench::statistics::StoppingRule;
use crate::bench::{BenchError, Options, Sharing, Subject};
use crate::device::DeviceError;
use crate::pipeline::{Built, ProvenBuild};
use crate::proof::{self, RequestedClaim};

/// How to measure.
#[derive(Debug, Args)]
pub struct Measuring {
    #[command(flatten)]
    pub line: LineOptions,
    /// The definition [default: definition.json beside the submission].
    #[arg(long, value_name = "FILE")]
    pub definition: Option<PathBuf>,
    /// Workloads, one JSON document a line [default: workloads.jsonl beside the definition].
    #[arg(long, value_name = "FILE")]
    pub workloads: Option<PathBuf>,
    /// Only workloads whose first variable axis has one of these values, such as `1,8,64`.
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    pub batch: Vec<u64>,
    /// At most this many workloads of each axis value.
    #[arg(long, value_name = "N")]
    pub each: Option<usize>,
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
    /// Folder of captured tensors [default: the definition's].
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Pass tensors through host memory even where device IPC works.
    #[arg(long)]
    pub copies: bool,
}

impl Measuring {
    /// The options of a run.
    pub fn options(&self, tvm_ffi: PathBuf, data_root: Option<PathBuf>) -> Result<Options, Failure> {
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
            data_root: self.data.clone().or(data_root),
            sharing: if self.copies { Sharing::Copies } else { Sharing::Auto },
        })
    }

    /// The definition and the workloads that were chosen.
    pub fn workload(&self, played: &Played) -> Result<(Definition, Vec<Workload>), Failure> {
        let definition = match (&self.definition, &played.definition) {
            (Some(path), _) => dataset::read_definition(path).map_err(Failure::request)?,
            (None, Some(text)) => Definition::from_json(text).map_err(Failure::request)?,
            (None, None) => {
                let text = "no definition is known for this library";
                return Err(Failure::request(text).hint("name it with --definition FILE"));
            }
        };
        if let Some(reason) = out_of_scope(&definition) {
            let name = definition.name();
            return Err(Failure::could_not_judge(format!(
                "{name} cannot be judged element by element: {reason}"
            )));
        }
        let beside = self.definition.as_ref().map(|path| path.with_file_name("workloads.jsonl"));
        let text = match (&self.workloads, &played.workloads, beside) {
            (Some(path), ..) => read(path)?,
            (None, Some(text), _) => text.clone(),
            (None, None, Some(path)) => read(&path)?,
            (None, None, None) => {
                return Err(
                    Failure::request("no workloads are known").hint("name them with --workloads FILE")
                );
            }
        };
        let mut all = Vec::new();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let trace = Trace::from_json(line).map_err(Failure::request)?;
            if trace.definition() == definition.name() {
                all.push(trace.into_workload());
            }
        }
        let chosen = self.choose(&definition, all);
        if chosen.is_empty() {
            let text = format!("no workload of {} was chosen", definition.name());
            return Err(Failure::request(text).hint("--batch picks by the first variable axis"));
        }
        Ok((definition, chosen))
    }

    fn choose(&self, definition: &Definition, all: Vec<Workload>) -> Vec<Workload> {
        let axis = definition.variable_axes().next().map(str::to_owned);
        let value = |workload: &Workload| {
            axis.as_deref().and_then(|axis| workload.axes().get(axis).copied()).unwrap_or(0)
        };
        let mut taken = std::collections::BTreeMap::<u64, usize>::new();
        all.into_iter()
            .filter(|workload| self.batch.is_empty() || self.batch.contains(&value(workload)))
            .filter(|workload| {
                let count = taken.entry(value(workload)).or_default();
                *count += 1;
                self.each.is_none_or(|each| *count <= each)
            })
            .collect()
    }

    /// What is to be played: a library as it is, or a submission that is built and proven first. A
    /// build that fails is a finding, reported here.
    pub fn play(
        &self,
        path: &Path,
        schema: &str,
        console: &Console,
    ) -> Result<Result<Played, ExitCode>, Failure> {
        if path.extension().is_some_and(|extension| extension == "so") {
            let subject = self.library(path)?;
            let nothing =
                Played { subject, artifact: None, author: String::new(), definition: None, workloads: None };
            return Ok(Ok(nothing));
        }
        let opened = input::open_one(path, console)?;
        let artifact = &opened.bundle.artifact;
        let manifest = artifact.manifest();
        if !manifest.build.destination_passing_style {
            let text = format!("{} returns its outputs", manifest.solution.name);
            return Err(Failure::request(text)
                .hint("measuring needs destination_passing_style = true: outputs are the judge's buffers"));
        }
        let arch = self.line.arch.unwrap_or(manifest.target.arch);
        match self.line.build(artifact, arch, console)? {
            Built::Proven(build) => Ok(Ok(Played::of(artifact, &build))),
            Built::Finding(finding) => line::report_finding(schema, &finding, console).map(Err),
        }
    }

    /// The reference: as named, or the submission beside this one whose name ends in `_reference` and
    /// that implements the same definition.
    pub fn play_reference(
        &self,
        beside: &Path,
        definition: &str,
        schema: &str,
        console: &Console,
    ) -> Result<Result<Played, ExitCode>, Failure> {
        let path = self.reference_of(beside, definition).ok_or_else(|| {
            Failure::request(format!("no reference is known for {definition}"))
                .hint("name it with --reference PATH")
        })?;
        self.play(&path, schema, console)
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

    fn library_arch(&self) -> Arch {
        self.line.arch.unwrap_or(Arch::SM_100A)
    }

    /// A library that was built before: it is proven here and now.
    fn library(&self, path: &Path) -> Result<Subject, Failure> {
        let fail = |error| Failure::request(format!("cannot read {}: {error}", path.display()));
        let library = std::fs::read(path).map_err(fail)?;
        let gencode = packager::Gencode::exact(self.library_arch());
        let claim = RequestedClaim::from_command([format!("-gencode={gencode}")]);
        let proven = proof::prove(&claim, &library, self.library_arch()).map_err(|judgement| {
            let reasons = judgement.reasons().join("; ");
            Failure::request(format!(
                "{} is not proven to be {}: {reasons}",
                path.display(),
                self.library_arch()
            ))
            .hint("`proofmark verify` shows what it holds; --arch names what to expect")
        })?;
        let name = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        Ok(Subject {
            name,
            symbol: self.symbol.clone(),
            arch: self.library_arch(),
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
    /// The text of its definition.
    pub definition: Option<String>,
    /// The text of its workloads.
    pub workloads: Option<String>,
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
        Self {
            subject,
            artifact: Some(artifact.digest()),
            author: manifest.solution.author.clone(),
            definition: artifact.definition().map(str::to_owned),
            workloads: artifact.workloads().map(str::to_owned),
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
        packager::open::open(path)
            .is_ok_and(|opened| opened.bundle.artifact.manifest().solution.definition == definition)
    };
    candidates.into_iter().find(implements)
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|error| Failure::request(format!("cannot read {}: {error}", path.display())))
}

/// Refuses at once where there is no GPU, before anything is built.
pub fn require_gpu() -> Result<(), Failure> {
    let readiness = crate::device::probe();
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
