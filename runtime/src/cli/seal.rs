//! `proofmark seal`: the whole line, written into the artifact.

use std::path::{Path, PathBuf};

use clap::Args;
use proofmark_packager::format::{MEASUREMENTS_EVIDENCE, RECORDINGS_EVIDENCE};
use proofmark_packager::{Arch, Artifact, Digest, Evidence, InputKind, bundle};
use serde_json::json;

use super::console::Console;
use super::exit_code::{self, ExitCode};
use super::failure::Failure;
use super::measuring::MeasuringOptions;
use super::signing_key::{self, KeyOptions};
use super::{input, line, output, protected};
use crate::job::{Action, Measure, MeasurementOutcome, Measuring, Outcome, Reference};

/// Pack, rebuild, prove, and write the evidence into the artifact.
///
/// Sealed is only what is proven: a build that does not compile, or whose bytes hold anything but
/// the one architecture, writes nothing and exits with 1. Where there is a GPU that can run it, and
/// the submission brings definition.json and workloads.jsonl, it is measured as `bench` does, and
/// the raw samples become evidence too.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  proofmark seal my-kernel                         writes <name>-<digest12>.zip here
  proofmark seal my-kernel -o out.zip --arch sm_90a
  proofmark seal my-kernel -o out.zip --json | jq .proof")]
pub struct Arguments {
    /// Submission folder, artifact or solution.json.
    path: PathBuf,
    /// Where to write the sealed artifact.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Do not measure, even where there is a GPU.
    #[arg(long)]
    no_measure: bool,
    /// Sign it too, with your OpenSSH key: ~/.ssh/id_ed25519, else the agent's first.
    #[arg(long)]
    sign: bool,
    #[command(flatten)]
    key: KeyOptions,
    #[command(flatten)]
    measuring: MeasuringOptions,
}

/// Whether a reference was named that is not the one that the artifact brings.
fn named_reference(options: &MeasuringOptions, artifact: &Artifact, how: &Measuring) -> bool {
    let brought = artifact.reference().map(Artifact::digest);
    let Reference::Submission { input } = &how.reference else { return false };
    options.reference.is_some() && Some(input.digest()) != brought
}

/// What runs in Python is compiled while it runs: there is no build whose bytes a seal could hold.
fn require_compiled(artifact: &Artifact) -> Result<(), Failure> {
    let manifest = artifact.manifest();
    let language = manifest.build.language;
    if language.is_compiled() {
        return Ok(());
    }
    let (name, language) = (&manifest.solution.name, language.as_str());
    let text = format!("{name} is a `{language}` entry, which is compiled while it runs: no seal holds it");
    let mut failure = Failure::request(text).hint(
        "`proofmark pack` makes an artifact of it, and `bench --record FILE` keeps, for each workload, what it launched \
         by digest and whether that is proven",
    );
    if artifact.sources().iter().any(|source| source.path.extension() == "cu") {
        failure = failure.hint(
            "its CUDA sources can be sealed as a submission of their own, with language = \"cuda\"; \
             `pack --surface python` makes a Python entry of that",
        );
    }
    Err(failure)
}

/// Runs the verb.
pub fn run(arguments: &Arguments, console: &Console) -> Result<ExitCode, Failure> {
    let measuring = &arguments.measuring;
    // Before anything takes time: without a key there is no signature.
    let key = if arguments.sign { Some(arguments.key.open()?) } else { None };
    let opened = input::open_one(&arguments.path, console)?;
    let arch = line::arch_of(&opened.bundle, measuring.line.arch, console);
    let was_measured = opened.bundle.evidence.get(MEASUREMENTS_EVIDENCE).is_some();
    let artifact = &opened.bundle.artifact;
    require_compiled(artifact)?;
    let path = match &arguments.output {
        None => PathBuf::from(name_for(artifact, arch)),
        Some(folder) if folder.is_dir() => folder.join(name_for(artifact, arch)),
        Some(file) => file.clone(),
    };
    // What was packed is sealed where it stands; what holds evidence would lose it.
    let in_place = opened.origin == InputKind::Artifact && is_packed(&path, artifact.digest());
    if arguments.output.is_some() && !in_place {
        protected::refuse(&path, &[&arguments.path])
            .map_err(|failure| failure.hint("name another file with `-o`"))?;
    }
    output::check(&path)?;
    let measure = if arguments.no_measure {
        Measure::Not { reason: "not asked for".to_owned() }
    } else {
        measuring.measure(artifact, &arguments.path, console)?
    };
    if let Measure::WherePossible { measuring: how } = &measure
        && (artifact.definition().is_none() || named_reference(measuring, artifact, how))
    {
        console.say(
            "note: definition, workloads or reference were named beside the submission: they do not travel in the \
             sealed artifact, so whoever measures it must name them too",
        );
    }
    let artifact = artifact.clone();
    let action = Action::Seal { subject: Box::new(opened.bundle), measure };
    let Some(outcome) = measuring.run(arch, action, &measuring.settings()?, console)? else {
        return Ok(ExitCode::Yes);
    };
    let Outcome::Sealed { measurement, sealed, .. } = &outcome else {
        return line::answer("proofmark.seal", &outcome, [], console);
    };
    if let MeasurementOutcome::Skipped(reason) = measurement {
        let is_lost = |there: &Evidence| there.get(MEASUREMENTS_EVIDENCE).is_some();
        let why = format!("holds measurements, and this seal has none ({reason}): they would be lost");
        output::refuse_to_lose(&path, is_lost, &why)?;
        if was_measured {
            console
                .say("note: the measurements that it was sealed with belong to that seal: not carried over");
        }
    }
    let digest = artifact.digest();
    if measurement.is_recorded() && sealed.evidence.get(RECORDINGS_EVIDENCE).is_none() {
        console.say("note: what it launched is too large to travel: only a rebuild can be measured again");
    }
    let sealed = match &key {
        Some(key) => &signing_key::signed(sealed, key)?,
        None => &**sealed,
    };
    let evidence_digest = sealed.evidence.digest(digest);
    let bytes = bundle::write(sealed);
    if arguments.output.is_some() || is_packed(&path, digest) {
        output::write_to(&path, &bytes)?;
    } else {
        output::write_unnamed(&path, &bytes)?;
    }
    if path == Path::new("-") {
        // Stdout belongs to the file.
        return Ok(exit_code::of(&outcome));
    }
    let extra = [
        ("digest", json!(digest)),
        ("evidence_digest", json!(evidence_digest)),
        ("output", json!(crate::path_text::text(&path))),
        ("output_sha256", json!(Digest::of_bytes(&bytes))),
    ];
    let code = line::answer("proofmark.seal", &outcome, extra, console)?;
    console.print(format!("sealed       {} ({} bytes)", path.display(), bytes.len()))?;
    console.print(format!("  digest     {digest}"))?;
    console.print(format!("  evidence   {evidence_digest}"))?;
    if let Some(key) = &key {
        console.print(format!("  signed     by {}", key.fingerprint()))?;
    }
    Ok(code)
}

/// Whether the same artifact stands there without any evidence, as `pack` writes it.
fn is_packed(path: &Path, digest: Digest) -> bool {
    output::artifact_at(path)
        .is_some_and(|there| there.artifact.digest() == digest && there.evidence.is_empty())
}

/// The artifact's name; with the architecture where it is not the submission's own.
fn name_for(artifact: &Artifact, arch: Arch) -> String {
    let name = artifact.file_name();
    if arch == artifact.manifest().target.arch {
        return name;
    }
    format!("{}-{arch}.zip", name.trim_end_matches(".zip"))
}
