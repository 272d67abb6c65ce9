//! What the verbs that walk the line share: its options, its progress, its report.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use packager::{Arch, Artifact, Gencode};
use serde_json::{Value, json};

use super::cache::{self, Place};
use super::console::Console;
use super::exit_code::ExitCode;
use super::failure::Failure;
use super::toolchain::ConsoleProgress;
use crate::build::Limits;
use crate::pipeline::{self, Built, CacheUse, Event, Freshness, PipelineError, ProvenBuild, Rooms};
use crate::proof::{Stance, demangle};
use crate::toolchain::install::{ObtainError, WheelSource};
use crate::toolchain::{self, FileDigests, Search, Toolchain, Trust};

/// Longest time that the compiler may take unless said otherwise, in seconds: heavily templated
/// kernels take minutes on a slow machine, and ten of them are more likely a mistake.
const TIMEOUT_SECONDS: u64 = 600;

/// How the line is walked.
#[derive(Debug, Clone, Args)]
pub struct LineOptions {
    /// What to build for [default: `[target] arch` of the submission, else sm_100a].
    #[arg(long)]
    pub arch: Option<Arch>,
    /// Run the compiler even if the cache has the build.
    #[arg(long)]
    pub fresh: bool,
    /// The CUDA toolkit [default: $CUDA_HOME, $CUDA_PATH, nvcc on PATH, /usr/local/cuda, the pinned one].
    #[arg(long, value_name = "DIR")]
    pub cuda_home: Option<PathBuf>,
    /// Never download the pinned toolchain.
    #[arg(long)]
    pub offline: bool,
    /// Longest time that the compiler may take.
    #[arg(long, value_name = "SECONDS", default_value_t = TIMEOUT_SECONDS)]
    pub timeout: u64,
    #[command(flatten)]
    pub place: Place,
}

impl Default for LineOptions {
    /// What the command line gives when nothing is said.
    fn default() -> Self {
        let place = Place { cache_dir: None };
        Self { arch: None, fresh: false, cuda_home: None, offline: false, timeout: TIMEOUT_SECONDS, place }
    }
}

impl LineOptions {
    /// Builds and proves one artifact, telling what takes time.
    pub fn build(&self, artifact: &Artifact, arch: Arch, console: &Console) -> Result<Built, Failure> {
        let language = artifact.manifest().build.language;
        if !language.is_compiled() {
            let text =
                format!("`{}` submissions are not compiled by nvcc: nothing to build", language.as_str());
            return Err(Failure::request(text).hint("`pack`, `inspect`, `diff` and `unpack` take them"));
        }
        let store = self.place.open()?;
        let mut digests = FileDigests::open(store.root(), Trust::ChangeTime);
        let toolchain = self.toolchain(arch, &mut digests, console)?;
        let limits = Limits { time: Duration::from_secs(self.timeout), ..Limits::default() };
        let freshness = if self.fresh { Freshness::Fresh } else { Freshness::Cached };
        let mut narrate = |event: Event<'_>| match event {
            Event::Waiting => console.say("waiting: another process builds this"),
            Event::Building(reason) => console.say(format!("building for {arch}: {reason}")),
        };
        let mut rooms = Rooms {
            toolchain: &toolchain,
            digests: &mut digests,
            store: &store,
            limits: &limits,
            freshness,
            narrate: &mut narrate,
        };
        let built = pipeline::build(artifact, Gencode::exact(arch), &mut rooms).map_err(explain)?;
        // What is not remembered is hashed again next time: slower, never wrong.
        let _ = digests.save();
        Ok(built)
    }

    /// Finds the library that kernels are called through.
    pub fn tvm_ffi(&self) -> Result<PathBuf, Failure> {
        let store = self.place.open()?;
        let mut digests = FileDigests::open(store.root(), Trust::ChangeTime);
        let search = Search { cuda_home: self.cuda_home.clone(), ..Search::from_environment() };
        let found = toolchain::search::find_tvm_ffi(&search, &mut digests).map_err(|error| {
            Failure::could_not_judge(error).hint("name libtvm_ffi.so with --tvm-ffi FILE")
        })?;
        Ok(found.library())
    }

    /// Finds the toolchain, and installs the pinned one if there is none.
    fn toolchain(
        &self,
        arch: Arch,
        digests: &mut FileDigests,
        console: &Console,
    ) -> Result<Toolchain, Failure> {
        let search =
            Search { cuda_home: self.cuda_home.clone(), arch: Some(arch), ..Search::from_environment() };
        let found = if self.offline {
            toolchain::find(&search, digests).map_err(ObtainError::from)
        } else {
            let wheels = WheelSource::Pip { python: PathBuf::from("python3") };
            toolchain::find_or_install(&search, digests, wheels, &mut ConsoleProgress::new(*console))
        };
        found.map_err(|error| {
            let ways_out = error.ways_out();
            ways_out.into_iter().fold(Failure::could_not_judge(error), Failure::hint)
        })
    }
}

fn explain(error: PipelineError) -> Failure {
    match error {
        PipelineError::Plan(error) => {
            Failure::request(error).hint("`[target] nvcc_flags` in config.toml sets flags")
        }
        PipelineError::Build(error) => {
            let ways_out = error.ways_out();
            ways_out.into_iter().fold(Failure::could_not_judge(error), Failure::hint)
        }
        PipelineError::Cache(error) => cache::explain(error),
    }
}

/// Reports a build that is no proven one.
pub(super) fn report_finding(schema: &str, finding: &Built, console: &Console) -> Result<ExitCode, Failure> {
    match finding {
        Built::Proven(_) => unreachable!("callers handle the proven build"),
        Built::CompileError(diagnostics) => {
            console.say(diagnostics.log.trim_end());
            console.print("compile error: nothing was built")?;
            let mut body = unproven("compile_error");
            body["diagnostics"] = json!(diagnostics);
            console.document(schema, 1, &body)?;
        }
        Built::Unproven(judgement) => {
            for reason in judgement.reasons() {
                console.say(format!("  {reason}"));
            }
            console.print(format!(
                "unproven: the build is {}",
                json!(judgement.verdict()).as_str().unwrap_or_default()
            ))?;
            let mut body = unproven("unproven");
            body["proof"] = json!({
                "verdict": judgement.verdict(), "reasons": judgement.reasons(), "witnesses": judgement.witnesses(),
            });
            console.document(schema, 1, &body)?;
        }
    }
    Ok(ExitCode::No)
}

/// The fields that a reader of any outcome may ask for, for an outcome without a library.
fn unproven(verdict: &str) -> Value {
    json!({
        "verdict": verdict,
        "cache": "miss",
        "library": null,
        "library_sha256": null,
        "identical": false,
        "proof": { "verdict": null },
    })
}

/// The JSON that every verb gives for a proven build.
pub(super) fn document(build: &ProvenBuild) -> Value {
    let (cache, reason, disagrees_with) = match &build.cache {
        CacheUse::Hit => ("hit", None, None),
        CacheUse::Miss { reason, disagrees_with } => ("miss", Some(reason), *disagrees_with),
    };
    let mut proof = json!(build.proof);
    proof["verdict"] = json!("exact");
    json!({
        "verdict": "proven",
        "arch": build.proof.arch(),
        "cache": cache,
        "miss": reason,
        "miss_text": reason.map(ToString::to_string),
        "disagrees_with_earlier_build": disagrees_with,
        "library": build.library,
        "library_sha256": build.proof.library_digest(),
        "library_size_bytes": build.library_bytes.len(),
        "gencode": build.ingredients.gencode.to_string(),
        "toolchain": {
            "digest": build.ingredients.toolchain.digest(),
            "release": build.ingredients.toolchain.release.to_string(),
            "host_compiler": build.ingredients.toolchain.host_compiler,
            "tvm_ffi": build.ingredients.toolchain.tvm_ffi,
        },
        "kernels": build.proof.kernels().collect::<Vec<_>>(),
        "proof": proof,
        "log": build.log,
    })
}

/// The same for people.
pub(super) fn describe_proof(build: &ProvenBuild) -> String {
    let mut lines = vec![format!(
        "proven       {}: the build holds this architecture and nothing else",
        build.proof.arch()
    )];
    lines.push(format!("  library    {}", build.proof.library_digest()));
    for image in build.proof.device_images() {
        lines.push(format!(
            "  image      {} {} ({} bytes at {:#x})",
            image.arch, image.digest, image.image_bytes, image.offset
        ));
        lines.extend(image.kernels.iter().map(|kernel| format!("    kernel   {}", demangle(kernel))));
    }
    let confirmed =
        build.proof.witnesses().iter().filter(|witness| witness.stance == Stance::Confirms).count();
    lines.push(format!("  witnesses  {confirmed} confirm, none contradicts"));
    lines.push(format!(
        "  toolchain  nvcc {}, {}",
        build.ingredients.toolchain.release, build.ingredients.toolchain.host_compiler
    ));
    lines.push(match &build.cache {
        CacheUse::Hit => "  cache      hit: re-hashed and proven again".to_owned(),
        CacheUse::Miss { reason, .. } => format!("  cache      miss: {reason}"),
    });
    if let CacheUse::Miss { disagrees_with: Some(earlier), .. } = &build.cache {
        lines.push(format!(
            "  warning    an earlier build from the same inputs gave {earlier}: not reproducible"
        ));
    }
    lines.push(format!("  at         {}", build.library.display()));
    lines.join("\n")
}
