//! What the verbs that walk the line share: its options, its progress, its report.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use proofmark_packager::format::BUILD_EVIDENCE;
use proofmark_packager::submission::{Binding, Language};
use proofmark_packager::{Arch, Artifact, Bundle, Gencode};
use serde_json::{Value, json};

use super::cache::{self, Place};
use super::console::Console;
use super::exit_code::ExitCode;
use super::failure::Failure;
use super::toolchain::ConsoleProgress;
use crate::build::{BuildError, Limits, PlanError};
use crate::evidence::BuildEvidence;
use crate::pipeline::{self, Built, CacheUse, Event, Finding, Freshness, PipelineError, ProvenBuild, Rooms};
use crate::proof::{Stance, demangle};
use crate::toolchain::install::{ObtainError, WheelSource};
use crate::toolchain::{self, FileDigests, Search, Toolchain, Trust};

/// Longest time that can be asked for, in seconds: a day.
const LONGEST_TIMEOUT_SECONDS: u64 = 86_400;

/// How the line is walked.
#[derive(Debug, Clone, Args)]
pub struct LineOptions {
    /// What to build for [default: what an artifact was sealed for, else `[target] arch` of the
    /// submission, else sm_100a].
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
    #[arg(long, value_name = "SECONDS", default_value_t = Limits::TIME_SECONDS,
        value_parser = clap::value_parser!(u64).range(1..=LONGEST_TIMEOUT_SECONDS))]
    pub timeout: u64,
    /// Do not trust remembered file digests: read every file of the toolchain again.
    #[arg(long)]
    pub rehash: bool,
    #[command(flatten)]
    pub place: Place,
}

/// What a verb builds for: what was asked for, else what the artifact was sealed for, else its own
/// `[target]`.
pub(super) fn arch_of(bundle: &Bundle, asked: Option<Arch>, console: &Console) -> Arch {
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

impl Default for LineOptions {
    /// What the command line gives when nothing is said.
    fn default() -> Self {
        let place = Place { cache_dir: None };
        let timeout = Limits::TIME_SECONDS;
        Self { arch: None, fresh: false, cuda_home: None, offline: false, timeout, rehash: false, place }
    }
}

impl LineOptions {
    /// Builds and proves one artifact, telling what takes time.
    pub fn build(&self, artifact: &Artifact, arch: Arch, console: &Console) -> Result<Built, Failure> {
        check_buildable(artifact)?;
        let store = self.place.open()?;
        let mut digests = FileDigests::open(store.root(), self.trust());
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

    fn trust(&self) -> Trust {
        if self.rehash { Trust::Nothing } else { Trust::ChangeTime }
    }

    /// Finds the library that kernels are called through.
    pub fn tvm_ffi(&self) -> Result<PathBuf, Failure> {
        let store = self.place.open()?;
        let mut digests = FileDigests::open(store.root(), self.trust());
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

/// Refuses what cannot become a proven TVM-FFI module, before anything is looked for or built.
fn check_buildable(artifact: &Artifact) -> Result<(), Failure> {
    let build = &artifact.manifest().build;
    let language = build.language;
    if !language.is_compiled() {
        let text = format!("`{}` submissions are not compiled by nvcc: nothing to build", language.as_str());
        return Err(Failure::request(text).hint("`pack`, `inspect`, `diff` and `unpack` take them"));
    }
    if build.binding == Some(Binding::Torch) {
        let text = "binding `torch`: expected `tvm-ffi`, the only kind of module that is built";
        let way_out = "export the kernel with TVM_FFI_DLL_EXPORT_TYPED_FUNC and leave `binding` out";
        return Err(Failure::request(text).hint(way_out));
    }
    let has_device_code = artifact.sources().iter().any(|source| source.path.extension() == "cu");
    if language == Language::Cpp && !has_device_code {
        let text = "a `cpp` submission without a .cu source holds no device code: nothing to prove";
        return Err(Failure::request(text).hint("put kernels in a .cu file and set `language = \"cuda\"`"));
    }
    Ok(())
}

fn explain(error: PipelineError) -> Failure {
    match error {
        PipelineError::Plan(error) => {
            let way_out = match &error {
                PlanError::Flags { .. } => "`[target] nvcc_flags` in config.toml sets flags",
                PlanError::FileName { .. } => "rename the file",
                PlanError::NoEntryFile { .. } | PlanError::EntryNotCompiled { .. } => {
                    "`[build] entry_point` in config.toml names the entry file"
                }
            };
            Failure::request(error).hint(way_out)
        }
        PipelineError::Build(error) => {
            let ways_out = error.ways_out();
            let failure = match error {
                BuildError::Unsupported { .. } => Failure::request(error),
                _ => Failure::could_not_judge(error),
            };
            ways_out.into_iter().fold(failure, Failure::hint)
        }
        PipelineError::Cache(error) => cache::explain(error),
    }
}

/// Reports a build that is no proven one.
pub(super) fn report_finding(
    schema: &str,
    finding: &Finding,
    console: &Console,
) -> Result<ExitCode, Failure> {
    match finding {
        Finding::CompileError(diagnostics) => {
            console.say(diagnostics.log.trim_end());
            console.print("compile error: nothing was built")?;
            let mut body = unproven("compile_error");
            body["diagnostics"] = json!(diagnostics);
            console.document(schema, 1, &body)?;
        }
        Finding::Unproven(judgement) => {
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

#[cfg(test)]
mod tests {
    use clap::Parser;
    use proofmark_packager::interop::flashinfer::solution;

    use super::super::exit_code::ExitCode;
    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        options: LineOptions,
    }

    fn parse(arguments: &[&str]) -> Result<LineOptions, clap::Error> {
        let arguments = std::iter::once("line").chain(arguments.iter().copied());
        Ok(Line::try_parse_from(arguments)?.options)
    }

    fn artifact(language: &str, binding: &str, file: &str) -> Artifact {
        let text = format!(
            r#"{{"name":"n","definition":"d","author":"a",
            "spec":{{"language":"{language}","target_hardware":["cuda"],"entry_point":"{file}::run",
            "dependencies":[],"destination_passing_style":true,"binding":{binding}}},
            "sources":[{{"path":"{file}","content":"x"}}]}}"#
        );
        solution::read(&text).unwrap()
    }

    #[test]
    fn the_time_is_bounded_and_the_default_is_the_rooms_own() {
        assert_eq!(Duration::from_secs(parse(&[]).unwrap().timeout), Limits::default().time);
        assert_eq!(LineOptions::default().timeout, parse(&[]).unwrap().timeout);
        assert_eq!(parse(&["--timeout", "86400"]).unwrap().timeout, 86_400);
        for seconds in ["0", "86401", "18446744073709551615", "-1"] {
            assert!(parse(&["--timeout", seconds]).is_err(), "{seconds}");
        }
    }

    #[test]
    fn remembered_digests_are_trusted_unless_asked_otherwise() {
        assert_eq!(parse(&[]).unwrap().trust(), Trust::ChangeTime);
        assert_eq!(parse(&["--rehash"]).unwrap().trust(), Trust::Nothing);
    }

    #[test]
    fn what_cannot_become_a_proven_module_is_refused_before_building() {
        for (language, binding, file, said) in [
            ("triton", "null", "k.py", "not compiled"),
            ("cuda", "\"torch\"", "k.cu", "binding `torch`"),
            ("cpp", "null", "k.cpp", "no device code"),
        ] {
            let failure = check_buildable(&artifact(language, binding, file)).unwrap_err();
            assert_eq!(failure.code(), ExitCode::Request);
            assert!(failure.to_string().contains(said) && !failure.hints().is_empty(), "{failure}");
        }
        for (language, binding, file) in
            [("cuda", "null", "k.cu"), ("cuda", "\"tvm-ffi\"", "k.cu"), ("cpp", "null", "k.cu")]
        {
            assert!(check_buildable(&artifact(language, binding, file)).is_ok(), "{language} {binding}");
        }
    }

    #[test]
    fn the_way_out_of_a_plan_error_fits_it() {
        let file: proofmark_packager::SourcePath = "a b.cu".parse().unwrap();
        let failure = explain(PipelineError::Plan(PlanError::FileName { file }));
        assert_eq!(failure.hints(), ["rename the file"]);
    }

    #[test]
    fn what_nvcc_does_not_support_is_a_fault_of_the_request() {
        let complaint = "Unsupported gpu architecture 'compute_42a'".to_owned();
        let error = BuildError::Unsupported { complaint, archs: Vec::new() };
        assert_eq!(explain(PipelineError::Build(error)).code(), ExitCode::Request);
        assert_eq!(explain(PipelineError::Build(BuildError::Interrupted)).code(), ExitCode::CouldNotJudge);
    }
}
