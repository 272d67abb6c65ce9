//! What a Python player is started with: an interpreter, this crate as a library, and folders.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Serialize;

/// The file that this crate is as a library.
pub const PLAYER_LIBRARY: &str = "libproofmark_player.so";
/// The variable that names it where it lies elsewhere.
pub const PLAYER_VARIABLE: &str = "PROOFMARK_PLAYER";
/// What the interpreter runs.
const SCRIPT: &str = concat!(include_str!("definition.py"), include_str!("host.py"));
/// Variables by which libraries find where they keep things, and the folder of each. Some make theirs when they are
/// imported, others when they are first used, which is too late in a process that can no longer make any.
const FOLDERS: [(&str, &str); 14] = [
    ("HOME", "home"),
    ("XDG_CACHE_HOME", "other"),
    ("TMPDIR", TEMPORARY),
    ("TRITON_HOME", "triton-home"),
    ("TRITON_CACHE_DIR", "triton"),
    ("TORCHINDUCTOR_CACHE_DIR", "inductor"),
    ("TORCH_EXTENSIONS_DIR", "torch-extensions"),
    ("PYTORCH_KERNEL_CACHE_PATH", "torch-kernels"),
    ("TVM_FFI_CACHE_DIR", "tvm-ffi"),
    ("TILELANG_CACHE_DIR", "tilelang"),
    ("TILELANG_TMP_DIR", "tilelang-temporary"),
    ("CUTE_DSL_CACHE_DIR", "cute-dsl"),
    ("CUPY_CACHE_DIR", "cupy"),
    ("FLASHINFER_WORKSPACE_BASE", "flashinfer"),
];
/// What is gone with the player.
const TEMPORARY: &str = "temporary";
/// Where compilers are found.
const PROGRAMS: &str = "/usr/local/bin:/usr/bin:/bin";
/// Where a program may be whose libraries lie beside the folder of programs.
const BESIDE_PROGRAMS: &str = "../lib/proofmark";

/// The library is not where it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{PLAYER_LIBRARY} is not there, by which Python is measured; looked in {}", looked_in(places))]
pub struct PlayerLibraryError {
    /// Where it was looked for.
    pub places: Vec<PathBuf>,
}

fn looked_in(places: &[PathBuf]) -> String {
    places.iter().map(|place| place.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// Finds the library: as named, else beside the program, in `deps` below it, or in `../lib/proofmark`.
pub fn player_library(named: Option<&Path>, program: &Path) -> Result<PathBuf, PlayerLibraryError> {
    let folder = program.parent().unwrap_or(Path::new("/"));
    let beside = ["", "deps", BESIDE_PROGRAMS].map(|place| folder.join(place).join(PLAYER_LIBRARY));
    let places = named.map_or_else(|| beside.to_vec(), |named| vec![named.to_owned()]);
    let found = places.iter().find(|place| place.is_file()).and_then(|place| place.canonicalize().ok());
    found.ok_or(PlayerLibraryError { places })
}

/// What a Python player is started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PythonProgram {
    /// The interpreter.
    pub interpreter: PathBuf,
    /// This crate as a library.
    pub player: PathBuf,
    /// Where the interpreter's modules lie, in the order in which they are searched.
    pub paths: Vec<PathBuf>,
    /// Further folders that may be read: the interpreter's own.
    pub reads: Vec<PathBuf>,
    /// The folder that holds the submission as a package; absent for a definition's own code.
    pub sources: Option<PathBuf>,
    /// Where libraries keep what they compile at run time; absent where nothing is compiled.
    pub cache: Option<PathBuf>,
    /// What stands in for functions that compile, and the libraries that it gives for them; absent where the
    /// submission asks for none.
    pub answers: Option<PathBuf>,
    /// Modules that are imported before anything is bounded, where they are there.
    pub modules: Vec<String>,
}

/// What the script is told.
#[derive(Serialize)]
struct Told<'program> {
    paths: Vec<String>,
    reads: Vec<String>,
    sources: Option<String>,
    answers: Option<String>,
    modules: &'program [String],
    /// The variables that name folders.
    folders: [&'static str; FOLDERS.len()],
}

impl PythonProgram {
    /// The command, without a user's settings: no variables, no site of the user's, nothing written beside sources.
    pub(crate) fn command(&self) -> Command {
        let text = |path: &PathBuf| path.display().to_string();
        let told = Told {
            paths: self.paths.iter().map(text).collect(),
            reads: self.reads.iter().map(text).collect(),
            sources: self.sources.as_ref().map(text),
            answers: self.answers.as_ref().map(text),
            modules: &self.modules,
            folders: FOLDERS.map(|(variable, _)| variable),
        };
        let told = serde_json::to_string(&told).expect("texts");
        let mut command = Command::new(&self.interpreter);
        command.args(["-I", "-B", "-c", SCRIPT]).arg(&self.player).arg(told);
        command
    }

    /// Variables by which libraries find their folders, and which keep them from starting processes and threads. What
    /// is to be found again by another player lies in the cache, everything else in the player's own folder.
    pub(crate) fn variables(&self, own: &Path) -> Vec<(&'static str, OsString)> {
        let kept = self.cache.as_deref().unwrap_or(own);
        let place = |folder: &str| if folder == TEMPORARY { own.join(folder) } else { kept.join(folder) };
        let folders = FOLDERS.map(|(variable, folder)| (variable, place(folder).into_os_string()));
        let settings = [
            ("PATH", PROGRAMS),
            ("CUBLAS_WORKSPACE_CONFIG", ":4096:8"),
            ("TORCHINDUCTOR_COMPILE_THREADS", "1"),
            ("TOKENIZERS_PARALLELISM", "false"),
            ("USER", "player"),
        ];
        settings.map(|(variable, value)| (variable, value.into())).into_iter().chain(folders).collect()
    }

    /// The folder of what is compiled at run time; empty where there is none.
    pub fn cache_text(&self) -> String {
        self.cache.as_ref().map(|cache| cache.display().to_string()).unwrap_or_default()
    }

    /// The folders that the process reads while it runs.
    pub fn folder_texts(&self) -> Vec<String> {
        let own = self.player.parent();
        let named =
            self.paths.iter().chain(&self.reads).chain(&self.sources).chain(&self.cache).chain(&self.answers);
        let all = named.map(PathBuf::as_path).chain(own);
        all.filter(|path| path.is_absolute() && path.parent().is_some())
            .map(|path| path.display().to_string())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_library_beside_the_program_and_below_and_says_where_it_looked() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("bin/proofmark");
        let missing = player_library(None, &program).unwrap_err();
        assert_eq!(missing.places.len(), 3);
        assert!(missing.to_string().contains("bin/deps/libproofmark_player.so"), "{missing}");
        for place in ["lib/proofmark", "bin/deps", "bin"] {
            let place = folder.path().join(place);
            std::fs::create_dir_all(&place).unwrap();
            std::fs::create_dir_all(program.parent().unwrap()).unwrap();
            std::fs::write(place.join(PLAYER_LIBRARY), "").unwrap();
            let found = player_library(None, &program).unwrap();
            assert_eq!(found, place.canonicalize().unwrap().join(PLAYER_LIBRARY));
        }
        assert!(player_library(Some(Path::new("/nowhere/x.so")), &program).is_err());
    }
}
