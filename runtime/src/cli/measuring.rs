//! What `bench` and `compare` share: which libraries, which workloads, and how to measure.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use packager::Arch;
use packager::interop::flashinfer::{Definition, Workload, dataset};

use super::failure::Failure;
use crate::bench::judge::house::secret_number;
use crate::bench::player::child::own_program;
use crate::bench::statistics::StoppingRule;
use crate::bench::{BenchError, Options, Sharing, Subject};
use crate::device::DeviceError;
use crate::proof::{self, RequestedClaim};

/// How to measure.
#[derive(Debug, Args)]
pub struct Measuring {
    /// The architecture to build, prove and measure.
    #[arg(long, value_name = "ARCH", default_value = "sm_100a")]
    pub arch: Arch,
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
    /// libtvm_ffi.so [default: the pinned one].
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
    pub fn workload(&self, submission: Option<&Path>) -> Result<(Definition, Vec<Workload>), Failure> {
        let beside = submission.filter(|path| path.is_dir()).map(|folder| folder.join("definition.json"));
        let path = self.definition.clone().or(beside).ok_or_else(|| {
            Failure::request("no definition is known for this library").hint("name it with --definition FILE")
        })?;
        let definition = dataset::read_definition(&path).map_err(Failure::request)?;
        let lines = self.workloads.clone().unwrap_or_else(|| path.with_file_name("workloads.jsonl"));
        let traces = dataset::read_traces(&lines).map_err(Failure::request)?;
        let all: Vec<Workload> = traces
            .into_iter()
            .filter(|trace| trace.definition() == definition.name())
            .map(packager::interop::flashinfer::Trace::into_workload)
            .collect();
        let chosen = self.choose(&definition, all);
        if chosen.is_empty() {
            let text = format!("no workload of {} was chosen from {}", definition.name(), lines.display());
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

    /// The reference's library.
    pub fn reference_library(&self) -> Result<Subject, Failure> {
        let path = self.reference.as_deref().ok_or_else(|| {
            Failure::request("no reference is known for this library").hint("name it with --reference PATH")
        })?;
        self.library(path)
    }

    /// Where `libtvm_ffi.so` is.
    pub fn tvm_ffi_library(&self) -> Result<PathBuf, Failure> {
        let path = self.tvm_ffi.clone().ok_or_else(|| {
            Failure::could_not_judge("libtvm_ffi.so was not found").hint("name it with --tvm-ffi FILE")
        })?;
        path.canonicalize().map_err(|error| {
            Failure::request(format!("cannot find {}: {error}", path.display()))
        })
    }

    /// A library that was built before: it is proven here and now.
    pub fn library(&self, path: &Path) -> Result<Subject, Failure> {
        let fail = |error| Failure::request(format!("cannot read {}: {error}", path.display()));
        let library = std::fs::read(path).map_err(fail)?;
        let gencode = packager::Gencode::exact(self.arch);
        let claim = RequestedClaim::from_command([format!("-gencode={gencode}")]);
        let proven = proof::prove(&claim, &library, self.arch).map_err(|judgement| {
            let reasons = judgement.reasons().join("; ");
            Failure::request(format!("{} is not proven to be {}: {reasons}", path.display(), self.arch))
                .hint("`proofmark verify` shows what it holds; --arch names what to expect")
        })?;
        let name = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        Ok(Subject {
            name,
            symbol: self.symbol.clone(),
            arch: self.arch,
            images: proven.device_images().iter().map(|image| image.digest).collect(),
            library,
        })
    }
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
