//! Runs an entry's import where it can reach nothing, and reads what it would compile.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use proofmark_packager::json::JsonError;
use proofmark_packager::{Arch, Artifact, Digest};
use serde_json::json;

use super::document::Document;
use crate::build::folder::ScratchFolder;
use crate::process_tree::{ProcessError, RunLimits};
use crate::python::Interpreter;
use crate::regular_file;
use crate::sandbox::{self, Bounds, Policy, Run, SandboxError};

/// Importing an entry and calling a dozen functions of it, each for at most twenty seconds.
const LIMITS: RunLimits = RunLimits { time: Duration::from_secs(300), log_bytes: 64 * 1024 };

/// Sources of 32 MiB, once for each of some requests.
const LARGEST_DOCUMENT_BYTES: u64 = 256 << 20;

const CAPTURE: &str = include_str!("capture.py");

/// The package that the entry's sources are imported as.
pub const PACKAGE: &str = "proofmark_entry";

/// Texts by which a source shows that it may compile CUDA while it runs.
const SIGNS: [&str; 4] = ["tvm_ffi", "cpp_extension", "load_inline", "nvcc"];

/// Why nobody can tell what an entry compiles.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The folder could not be written or read.
    #[error("cannot use a folder in {}", scratch.display())]
    Folder {
        /// The folder above it.
        scratch: std::path::PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The sandbox.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The entry file cannot be a Python module.
    #[error("entry file `{file}` is no Python module: expected a .py file")]
    NoModule {
        /// The file.
        file: String,
    },
    /// It ended without a report.
    #[error("the entry ended its Python: {said}")]
    Silent {
        /// What it said last.
        said: String,
    },
    /// The report cannot be read.
    #[error("what the entry's Python reported is not readable")]
    Report(#[from] JsonError),
}

/// Whether anything in the sources of an artifact may compile CUDA while it runs.
pub fn may_compile(artifact: &Artifact) -> bool {
    let python = artifact.sources().iter().filter(|source| source.path.extension() == "py");
    python.into_iter().any(|source| SIGNS.iter().any(|sign| source.content.contains(sign)))
}

/// What an entry may look for while it is imported.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// Where CUTLASS stands.
    pub cutlass: Option<&'a Path>,
    /// The libraries that were built for it, by what it asks for: it may look into what it is given.
    pub built: &'a [(Digest, &'a [u8])],
}

/// Imports the entry of an artifact and gives what it would compile.
pub fn run(
    artifact: &Artifact,
    python: &Interpreter,
    arch: Arch,
    surroundings: Surroundings<'_>,
    scratch: &Path,
) -> Result<Document, CaptureError> {
    let cutlass = surroundings.cutlass;
    let no_folder = |source| CaptureError::Folder { scratch: scratch.to_owned(), source };
    let folder = ScratchFolder::create(scratch).map_err(no_folder)?;
    let place = folder.path();
    fill(artifact, arch, surroundings, place)?.map_err(no_folder)?;
    let mut command = Command::new(&python.executable);
    let [code, home, temporary] = ["code", "home", "temporary"].map(|name| place.join(name));
    command.args(["-s", "-B"]).arg(code.join("capture.py"));
    command.args([place.join("job.json"), temporary.join("found.json")]).current_dir(&temporary).env_clear();
    command
        .env("HOME", &home)
        .env("TMPDIR", &temporary)
        .env("PATH", "/usr/bin:/bin")
        .env("LC_ALL", "C.UTF-8");
    if let Some(cutlass) = cutlass {
        command.envs(["CUTLASS_PATH", "CUTLASS_HOME", "CUTLASS_DIR"].map(|name| (name, cutlass)));
    }
    let bounds = Bounds { memory_bytes: 32 << 30, ..Bounds::of_compilers(LIMITS.time) };
    let written = [place.join("package"), home, temporary.clone()];
    let policy = Policy::of_system()
        .with_program(&python.executable)
        .bounded(bounds)
        .reading(python.paths.iter().map(std::path::PathBuf::as_path))
        .reading([place])
        .reading(cutlass)
        .writing(written.iter().map(std::path::PathBuf::as_path));
    let run = sandbox::run(&command, &policy, LIMITS, &mut |_| ());
    let Run { log, .. } = run.map_err(|error| match error {
        SandboxError::Process(ProcessError::TimedOut { limit, log, .. }) => {
            CaptureError::Sandbox(SandboxError::Process(ProcessError::TimedOut {
                program: "the entry's Python".to_owned(),
                limit,
                log,
            }))
        }
        other => CaptureError::Sandbox(other),
    })?;
    let report = regular_file::read(&temporary.join("found.json"), LARGEST_DOCUMENT_BYTES);
    let Ok(report) = report else {
        let said = log.lines().last().unwrap_or("it said nothing").to_owned();
        return Err(CaptureError::Silent { said });
    };
    Ok(Document::read(&String::from_utf8_lossy(&report))?)
}

/// Writes the entry as FlashInfer-Bench would, our code beside it, and what it is to do.
fn fill(
    artifact: &Artifact,
    arch: Arch,
    surroundings: Surroundings<'_>,
    place: &Path,
) -> Result<io::Result<()>, CaptureError> {
    let entry = &artifact.manifest().build.entry_point;
    let Some(module) = entry.file.as_str().strip_suffix(".py") else {
        return Err(CaptureError::NoModule { file: entry.file.to_string() });
    };
    let package = place.join("package");
    let site = place.join("home/.local/lib/python3.12/site-packages");
    let job = json!({
        "folder": package,
        "package": PACKAGE,
        "module": module.replace('/', "."),
        "symbol": entry.symbol,
        "files": artifact.sources().iter().map(|source| source.path.as_str()).collect::<Vec<_>>(),
        "libraries": place.join("temporary"),
        "built": place.join("built"),
        "capability": [arch.number / 10, arch.number % 10],
        "site": site,
    });
    let write = || {
        for name in ["code", "home", "temporary", "built"] {
            fs::create_dir(place.join(name))?;
        }
        for source in artifact.sources() {
            let path = package.join(PACKAGE).join(source.path.as_str());
            fs::create_dir_all(path.parent().unwrap_or(&package))?;
            fs::write(path, &source.content)?;
        }
        for (request, library) in surroundings.built {
            fs::write(place.join("built").join(format!("{request}.so")), library)?;
        }
        // Entries that start nvcc themselves look for these first; the headers come from the kits.
        for folder in ["tvm_ffi/include", "tvm_ffi/lib"] {
            fs::create_dir_all(site.join(folder))?;
        }
        // Where entries look for CUTLASS: inside of the packages that bring it.
        if let Some(cutlass) = surroundings.cutlass {
            for (folder, name) in [("flashinfer/data", "cutlass"), ("cutlass_library", "source")] {
                fs::create_dir_all(site.join(folder))?;
                std::os::unix::fs::symlink(cutlass, site.join(folder).join(name))?;
            }
        }
        fs::write(place.join("code/intercept.py"), super::INTERCEPT)?;
        fs::write(place.join("code/capture.py"), CAPTURE)?;
        fs::write(place.join("job.json"), job.to_string())
    };
    Ok(write())
}
