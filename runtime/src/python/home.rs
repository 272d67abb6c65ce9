//! Where Python code of one run lives: its folders, its interpreter.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proofmark_packager::Artifact;
use proofmark_player::PythonProgram;
use proofmark_player::python::{PlayerLibraryError, player_library};
use tempfile::TempDir;

use super::document::package;
use super::interpreter::Interpreter;

/// What text in a source lets a module be imported before anything is bounded, and the module. Some of these start
/// programs, which is no longer possible once the submission is loaded.
const IMPORTED: [(&str, &str); 14] = [
    ("torch", "torch"),
    ("torch._dynamo", "torch._dynamo"),
    ("torch.compile", "torch._inductor.compile_fx"),
    ("torch._inductor", "torch._inductor.compile_fx"),
    ("triton", "triton"),
    ("triton", "triton.language"),
    ("numpy", "numpy"),
    ("tvm_ffi", "tvm_ffi"),
    ("tvm_ffi.cpp", "tvm_ffi.cpp"),
    ("tilelang", "tilelang"),
    ("cutlass", "cutlass"),
    ("cutlass.cute", "cutlass.cute"),
    ("cupy", "cupy"),
    ("cuda.core", "cuda.core"),
];

/// Where Python code of one run lives.
#[derive(Debug, Clone)]
pub struct PythonHome {
    /// What its players are started with.
    pub program: PythonProgram,
    /// The interpreter, by version.
    pub interpreter: Interpreter,
    /// Kept as long as players may read them.
    _folders: Arc<Vec<TempDir>>,
}

/// Why there is no place for Python code.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// The player's library is missing.
    #[error(transparent)]
    Library(#[from] PlayerLibraryError),
    /// A folder cannot be made or filled.
    #[error("cannot write {}", path.display())]
    Folder {
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl PythonHome {
    /// A place for a definition's own reference.
    pub fn of_definition(
        interpreter: &Interpreter,
        named: Option<&Path>,
        program: &Path,
    ) -> Result<Self, HomeError> {
        let program = Self::program(interpreter, named, program)?;
        Ok(Self { program, interpreter: interpreter.clone(), _folders: Arc::default() })
    }

    /// A place for a submission: its sources as a package, and a folder for what is compiled at run time.
    pub fn of_submission(
        artifact: &Artifact,
        interpreter: &Interpreter,
        named: Option<&Path>,
        program: &Path,
    ) -> Result<Self, HomeError> {
        let program = Self::program(interpreter, named, program)?;
        let (sources, cache) = (fresh()?, fresh()?);
        let root = sources.path().join(package(artifact));
        for source in artifact.sources() {
            let path = root.join(source.path.as_str());
            let folder = path.parent().unwrap_or(&root);
            let refuse = |source| HomeError::Folder { path: path.clone(), source };
            fs::create_dir_all(folder).map_err(refuse)?;
            fs::write(&path, &source.content).map_err(refuse)?;
        }
        let mentions = |text: &str| artifact.sources().iter().any(|source| source.content.contains(text));
        let modules = IMPORTED.iter().filter(|(text, module)| *module == "torch" || mentions(text));
        let program = PythonProgram {
            sources: Some(sources.path().to_owned()),
            cache: Some(cache.path().to_owned()),
            modules: modules.map(|(_, module)| (*module).to_owned()).collect(),
            ..program
        };
        let folders = Arc::new(vec![sources, cache]);
        Ok(Self { program, interpreter: interpreter.clone(), _folders: folders })
    }

    fn program(
        interpreter: &Interpreter,
        named: Option<&Path>,
        program: &Path,
    ) -> Result<PythonProgram, HomeError> {
        Ok(PythonProgram {
            interpreter: interpreter.executable.clone(),
            player: player_library(named, program)?,
            paths: interpreter.paths.clone(),
            reads: interpreter.prefixes.clone(),
            sources: None,
            cache: None,
            modules: vec!["torch".to_owned()],
        })
    }
}

fn fresh() -> Result<TempDir, HomeError> {
    tempfile::tempdir().map_err(|source| HomeError::Folder { path: std::env::temp_dir(), source })
}
