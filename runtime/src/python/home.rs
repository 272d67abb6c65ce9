//! Where Python code of one run lives: its folders, its interpreter.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proofmark_packager::{Artifact, Digest};
use proofmark_player::PythonProgram;
use proofmark_player::python::{PlayerLibraryError, player_library};
use tempfile::TempDir;

use super::document::{extension_file, package};
use super::interpreter::Interpreter;

/// What text in a source lets a module be imported before anything is bounded, and the module. Some of these start
/// programs, which is no longer possible once the submission is loaded.
const IMPORTED: [(&str, &str); 15] = [
    ("torch", "torch"),
    ("torch._dynamo", "torch._dynamo"),
    ("torch.compile", "torch._inductor.compile_fx"),
    ("cpp_extension", "torch.utils.cpp_extension"),
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
    /// Images of libraries that were built and proven before any of them is loaded, and each library's name.
    pub built: BTreeMap<Digest, String>,
    /// Kept as long as players may read them.
    folders: Vec<Arc<TempDir>>,
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
        Ok(Self::over(program, interpreter, []))
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
        Ok(Self::over(program, interpreter, [sources, cache]))
    }

    /// A place for a submission that was built as a module, which imports nothing but torch.
    pub fn of_extension(
        module: &str,
        library: &[u8],
        interpreter: &Interpreter,
        named: Option<&Path>,
        program: &Path,
    ) -> Result<Self, HomeError> {
        let program = Self::program(interpreter, named, program)?;
        let (sources, cache) = (fresh()?, fresh()?);
        let path = sources.path().join(extension_file(module));
        fs::write(&path, library).map_err(|source| HomeError::Folder { path, source })?;
        let program = PythonProgram {
            sources: Some(sources.path().to_owned()),
            cache: Some(cache.path().to_owned()),
            ..program
        };
        Ok(Self::over(program, interpreter, [sources, cache]))
    }

    fn over<const N: usize>(
        program: PythonProgram,
        interpreter: &Interpreter,
        folders: [TempDir; N],
    ) -> Self {
        let folders = folders.into_iter().map(Arc::new).collect();
        Self { program, interpreter: interpreter.clone(), built: BTreeMap::new(), folders }
    }

    /// The same with libraries for what the submission compiles while it runs: `fill` writes them into a folder.
    pub fn with_answers(self, fill: impl FnOnce(&Path) -> io::Result<()>) -> Result<Self, HomeError> {
        let answers = fresh()?;
        let path = answers.path().to_owned();
        fill(&path).map_err(|source| HomeError::Folder { path: path.clone(), source })?;
        let program = PythonProgram { answers: Some(path), ..self.program };
        let kept = self.folders.into_iter().chain([Arc::new(answers)]).collect();
        Ok(Self { program, folders: kept, ..self })
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
            answers: None,
            modules: vec!["torch".to_owned()],
        })
    }
}

fn fresh() -> Result<TempDir, HomeError> {
    tempfile::tempdir().map_err(|source| HomeError::Folder { path: std::env::temp_dir(), source })
}
