//! What every test needs: the binary under test in an environment of its own.

mod places;
pub mod players;
pub mod schema;
pub mod snapshot;

use std::ffi::OsStr;
use std::fs::{self, DirBuilder};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::Instant;

use proofmark::toolchain::file_digests::FILE_NAME;
use serde_json::Value;
use tempfile::TempDir;

pub mod forge;
pub mod image;
pub use places::{data_folder, program, repository};

/// A configuration that packs with a `kernel.cu`.
pub const CONFIG: &str = "[solution]\nname = \"sample\"\ndefinition = \"sample_definition\"\nauthor = \"team\"\n\n[build]\nlanguage = \"cuda\"\nentry_point = \"kernel.cu::run\"\n";

/// Says what this test did not look at here, and why: on the standard error of the suite itself, where it is seen
/// although the test passes.
pub fn skipped(why: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let _ = writeln!(io::stderr(), "skipped in {test}: {why}");
}

/// A folder of its own, with a home and a temporary folder inside.
pub struct Sandbox {
    folder: TempDir,
    cache: PathBuf,
}

/// How a call of the binary ended.
#[derive(Debug)]
pub struct Outcome {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    pub seconds: f64,
}

impl Outcome {
    fn of(output: &Output, seconds: f64) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("the tool prints UTF-8");
        let code = output.status.code().unwrap_or_else(|| panic!("died of a signal: {output:?}"));
        Self { code, stdout: text(&output.stdout), stderr: text(&output.stderr), seconds }
    }

    /// The one JSON document on stdout, which its published schema must allow.
    #[track_caller]
    pub fn json(&self) -> Value {
        let document = serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"));
        schema::check(&document);
        document
    }

    /// Asserts the exit code, showing everything else if it is another.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }
}

impl Sandbox {
    /// With a cache of its own, for tests that look at misses or at the cache itself.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in ["home", "tmp", "work"] {
            fs::create_dir(folder.path().join(name)).expect("a sub-folder");
        }
        let cache = folder.path().join("cache");
        Self { folder, cache }
    }

    /// With the cache that the suite shares: what another test built is not compiled again.
    pub fn sharing_builds() -> Self {
        Self { cache: places::shared_cache().to_owned(), ..Self::new() }
    }

    /// A path inside the working folder.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join("work").join(name)
    }

    /// The private home.
    pub fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// The cache.
    pub fn cache(&self) -> PathBuf {
        self.cache.clone()
    }

    /// Writes a file below the working folder.
    pub fn write(&self, name: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("inside the sandbox")).expect("a folder");
        fs::write(&path, content).expect("a file");
        path
    }

    /// Writes a submission folder with the sample configuration.
    pub fn submission(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        self.write(format!("{name}/config.toml"), CONFIG);
        for (path, content) in files {
            self.write(format!("{name}/{path}"), content);
        }
        self.path(name)
    }

    /// The binary with this sandbox's environment and nothing else, ready for more arguments.
    pub fn command(&self) -> Command {
        let mut command = Command::new(program());
        command.current_dir(self.path("")).env_clear();
        command.env("HOME", self.home()).env("TMPDIR", self.folder.path().join("tmp"));
        command.env("PROOFMARK_CACHE", self.cache());
        for name in ["PATH", "LLVM_PROFILE_FILE"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
    }

    /// Runs the binary.
    pub fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Outcome {
        run(self.command().args(arguments))
    }

    /// Everything below the working folder, sorted: to see what a call left behind.
    pub fn files(&self) -> Vec<String> {
        let root = self.path("");
        let walk = walkdir::WalkDir::new(&root).min_depth(1).sort_by_file_name().into_iter();
        walk.map(|entry| {
            entry.expect("readable").path().strip_prefix(&root).expect("inside").display().to_string()
        })
        .collect()
    }
}

/// Runs a prepared command.
pub fn run(command: &mut Command) -> Outcome {
    let begun = Instant::now();
    let output = command.output().expect("the binary starts");
    Outcome::of(&output, begun.elapsed().as_secs_f64())
}

impl Sandbox {
    /// The binary with the pinned toolchain at hand.
    pub fn builder(&self) -> Command {
        self.know_the_toolchain();
        self.first_builder()
    }

    /// The same, as on a machine that has built nothing.
    fn first_builder(&self) -> Command {
        let mut command = self.command();
        command.env("PROOFMARK_DATA", data_folder());
        command
    }

    /// Lets a cache that is not there yet begin with the digests of the compilers and their headers, as after a
    /// machine's first build: else every sandbox would read them all again.
    fn know_the_toolchain(&self) {
        static FIRST: OnceLock<PathBuf> = OnceLock::new();
        if self.cache.exists() || self.cache == places::shared_cache() {
            return;
        }
        let known = FIRST.get_or_init(|| {
            let first = Self::sharing_builds();
            let kernel = "__global__ void k() {}\nextern \"C\" int __tvm_ffi_run(void*, const void*, int, void*) { k<<<1, 1>>>(); return 0; }\n";
            first.submission("first", &[("kernel.cu", kernel)]);
            run(first.first_builder().args(["build", "first"])).expect(0);
            first.cache.join("v2").join(FILE_NAME)
        });
        let own = self.cache.join("v2");
        DirBuilder::new().mode(0o700).recursive(true).create(&own).expect("a new cache");
        fs::copy(known, own.join(FILE_NAME)).expect("the digests of a build before");
    }

    /// Lets this sandbox's cache begin with the objects of a submission that another test has compiled, for what looks at
    /// builds and not at compiling: they are linked again.
    pub fn with_objects_of(&self, submission: &str) {
        self.know_the_toolchain();
        let shared = places::shared_cache();
        run(self.first_builder().env("PROOFMARK_CACHE", shared).args(["build", submission])).expect(0);
        let (units, own) = (shared.join("v2/units"), self.cache.join("v2/units"));
        for entry in walkdir::WalkDir::new(&units).into_iter().flatten() {
            let place = own.join(entry.path().strip_prefix(&units).expect("inside"));
            if entry.file_type().is_dir() {
                DirBuilder::new().mode(0o700).recursive(true).create(&place).expect("a folder");
            } else {
                fs::copy(entry.path(), &place).expect("an object");
            }
        }
    }

    /// Runs the binary with the pinned toolchain at hand.
    pub fn build<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Outcome {
        run(self.builder().args(arguments))
    }
}
