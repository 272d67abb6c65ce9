//! Where things are that tests share: the repository, the binary, the toolchain, the suite's cache.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use proofmark_packager::Digest;

use super::run;

/// The repository's root.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("runtime/ has a parent").to_owned()
}

/// The binary under test. `PROOFMARK_PROGRAM` names it where the suite was built elsewhere.
pub fn program() -> OsString {
    std::env::var_os("PROOFMARK_PROGRAM").unwrap_or_else(|| env!("CARGO_BIN_EXE_proofmark").into())
}

/// A folder of the suite below `target/`, made if it is not there.
fn below_target(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    folder
}

/// The data folder with the pinned toolchain: the user's where both components are installed, which no
/// test writes; else one below `target/`, filled on first use.
pub fn data_folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let found = run(Command::new(program()).args(["toolchain", "list", "--json"])).expect(0).json();
        let folders = found["pinned"].as_array().expect("a list").iter().map(|one| one["folder"].as_str());
        if let Some(folders) = folders.collect::<Option<Vec<_>>>() {
            // <data>/toolchains/<component>
            let data = Path::new(folders[0]).parent().and_then(Path::parent);
            return data.expect("a component lies two folders deep").to_owned();
        }
        let folder = below_target("data");
        run(Command::new(program()).args(["toolchain", "install", "--data-dir"]).arg(&folder)).expect(0);
        folder
    })
}

/// The cache that sandboxes share: what `PROOFMARK_SUITE_CACHE` names, where this very binary has built
/// before; else one below `target/`. That outlives the suite, but not the binary: what another build of the
/// tool put in says nothing about this one.
pub fn shared_cache() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        if let Some(named) = std::env::var_os("PROOFMARK_SUITE_CACHE") {
            return named.into();
        }
        let caches = below_target("builds");
        let binary = Digest::of_reader(File::open(program()).expect("the binary")).expect("readable");
        let own = caches.join(binary.short());
        for other in fs::read_dir(&caches).expect("readable").flatten().filter(|entry| entry.path() != own) {
            // Another suite may be removing it too.
            let _ = fs::remove_dir_all(other.path());
        }
        own
    })
}
