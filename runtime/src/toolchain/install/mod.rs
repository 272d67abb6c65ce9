//! Installs pinned components: fetch, check, unpack, one rename.
//!
//! Everything happens in a fresh folder beside the place of the component, under one lock. Killed
//! at any moment, it leaves a folder named `.partial-…`, which the next installation removes, and
//! nothing that looks installed.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use proofmark_packager::Digest;
use rustix::fs::{statvfs, syncfs};
use serde_json::json;

use super::data_folder::{DataFolder, MARKER, PARTIAL_PREFIX};
use super::file_digests::FileDigests;
use super::lock_file::{Component, ComponentName, PinnedWheel, WheelPart};
use super::search::{Search, Toolchain, ToolchainError, find};
use crate::regular_file;

mod part;
mod pip;
mod ranges;
mod wheel;

pub use pip::PipError;
pub use wheel::WheelError;

/// Unpacked, wheels grow to three times their size; beside them the wheels themselves stay until
/// the end.
const SPACE_FACTOR: u64 = 5;

/// What to install, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallRequest {
    /// The data folder to install into.
    pub data: DataFolder,
    /// The kind of machine: `x86_64`, `aarch64`.
    pub machine: String,
    /// Which components.
    pub components: Vec<ComponentName>,
    /// Where wheels come from.
    pub wheels: WheelSource,
    /// What to do with a component that is there.
    pub existing: Existing,
}

/// Where wheels come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WheelSource {
    /// The package index that the user's pip is set up for, through this Python.
    Pip {
        /// The Python to run pip with, by name or path.
        python: PathBuf,
    },
    /// A folder with the wheel files, for machines without a network.
    Folder(PathBuf),
}

/// What to do with a component that is installed already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Leave it.
    Keep,
    /// Install it again and put the new one in its place.
    Replace,
}

/// One moment of an installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Another process installs; we wait for it.
    Waiting,
    /// A component is there already.
    Present {
        /// Which one.
        component: String,
    },
    /// A component's wheels are being fetched.
    Fetching {
        /// Which one.
        component: String,
        /// All of its wheels together, in bytes.
        bytes: u64,
    },
    /// pip says something.
    Said {
        /// One line of it.
        line: String,
    },
    /// A wheel has arrived and has the pinned digest.
    Checked {
        /// Its file name.
        wheel: String,
    },
    /// A component is in its place.
    Installed {
        /// Which one.
        component: String,
        /// Where.
        folder: PathBuf,
    },
}

/// Who watches an installation.
pub trait Progress {
    /// Called at each step, in order.
    fn step(&mut self, step: &Step);
}

/// Nobody watches.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unwatched;

impl Progress for Unwatched {
    fn step(&mut self, _: &Step) {}
}

/// Why an installation did not happen. Nothing is left in the place of the component.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// No wheels are pinned for this kind of machine.
    #[error("no {component} is pinned for {machine}: only for x86_64 and aarch64 Linux")]
    Machine {
        /// Which component.
        component: &'static str,
        /// The machine.
        machine: String,
    },
    /// The data folder cannot be written.
    #[error("cannot write {}", path.display())]
    Folder {
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Too little space for it.
    #[error("{} has {free_bytes} bytes free, and the installation needs {needed_bytes}", path.display())]
    Space {
        /// The data folder.
        path: PathBuf,
        /// What is free.
        free_bytes: u64,
        /// What is needed while installing.
        needed_bytes: u64,
    },
    /// Fetching failed.
    #[error(transparent)]
    Fetch(#[from] PipError),
    /// A wheel is not in the folder of wheels.
    #[error("no {file} in {}", folder.display())]
    NoWheel {
        /// The wheel's file name.
        file: String,
        /// Where it was expected.
        folder: PathBuf,
    },
    /// A wheel is not the pinned one.
    #[error("{file} has SHA-256 {found}, and {expected} is pinned")]
    WrongWheel {
        /// The wheel's file name.
        file: String,
        /// The pinned digest.
        expected: Digest,
        /// The digest of what came.
        found: Digest,
    },
    /// The part of a wheel that a kit is holds something else.
    #[error("what came of {file} has SHA-256 {found}, and {expected} is pinned")]
    WrongPart {
        /// The wheel's file name.
        file: String,
        /// The pinned digest over names and contents.
        expected: Digest,
        /// The digest of what came.
        found: Digest,
    },
    /// A wheel cannot be unpacked.
    #[error("cannot unpack {file}")]
    Wheel {
        /// The wheel's file name.
        file: String,
        /// Why not.
        source: WheelError,
    },
}

impl InstallError {
    /// The ways out, for people.
    pub fn ways_out(&self) -> Vec<String> {
        match self {
            Self::Machine { .. } => {
                vec!["install a CUDA toolkit yourself and name it in CUDA_HOME".to_owned()]
            }
            Self::Folder { .. } | Self::Space { .. } => {
                vec!["choose another place with --data-dir or PROOFMARK_DATA".to_owned()]
            }
            Self::Fetch(error) => error.ways_out(),
            Self::NoWheel { .. } => {
                vec!["`proofmark toolchain list` names the wheels that are needed".to_owned()]
            }
            Self::WrongWheel { .. } | Self::WrongPart { .. } => vec![
                "the index serves another file under this name; nothing of it was used".to_owned(),
                "try another index, or `proofmark toolchain install --wheels FOLDER`".to_owned(),
            ],
            Self::Wheel { .. } => Vec::new(),
        }
    }
}

/// Why a toolchain could be neither found nor installed.
#[derive(Debug, thiserror::Error)]
pub enum ObtainError {
    /// What is missing cannot be installed.
    #[error(transparent)]
    Search(#[from] ToolchainError),
    /// Installing what is missing failed.
    #[error(transparent)]
    Install(#[from] InstallError),
}

impl ObtainError {
    /// The ways out, for people.
    pub fn ways_out(&self) -> Vec<String> {
        match self {
            Self::Search(error) => error.ways_out(),
            Self::Install(error) => error.ways_out(),
        }
    }
}

/// Finds a toolchain; installs what is missing of it first, if that helps.
pub fn find_or_install(
    search: &Search,
    digests: &mut FileDigests,
    wheels: WheelSource,
    progress: &mut dyn Progress,
) -> Result<Toolchain, ObtainError> {
    let missing = match find(search, digests) {
        Err(error) if error.installable() => error,
        found => return Ok(found?),
    };
    let Some(data) = search.data.clone() else { return Err(missing.into()) };
    let components = match missing {
        ToolchainError::NoCompiler { .. } => ComponentName::TOOLCHAIN.to_vec(),
        _ => vec![ComponentName::TvmFfi],
    };
    let existing = match missing {
        ToolchainError::BrokenTvmFfi { .. } => Existing::Replace,
        _ => Existing::Keep,
    };
    let machine = search.machine.clone();
    install(&InstallRequest { data, machine, components, wheels, existing }, progress)?;
    Ok(find(search, digests)?)
}

/// Installs what is missing of the request and gives the folder of each component.
pub fn install(request: &InstallRequest, progress: &mut dyn Progress) -> Result<Vec<PathBuf>, InstallError> {
    let components = request.components.iter().map(|&name| pinned(name, &request.machine));
    let components: Vec<Component> = components.collect::<Result<_, _>>()?;
    // Looked at before the lock, so that a read-only data folder that has everything will do.
    if request.existing == Existing::Keep && missing(&components, &request.data).is_empty() {
        // What a killed installation left goes as soon as nobody installs.
        if request.data.partial().is_ok_and(|left| !left.is_empty())
            && let Ok(file) = regular_file::open(&request.data.lock(), File::options().write(true))
            && file.try_lock().is_ok()
        {
            let _ = remove_leftovers(&request.data);
        }
        return Ok(present(&components, &request.data, progress));
    }
    let toolchains = request.data.toolchains();
    fs::create_dir_all(&toolchains).map_err(cannot_write(&toolchains))?;
    let _lock = lock(&request.data, progress)?;
    remove_leftovers(&request.data)?;
    let wanted = match request.existing {
        Existing::Keep => missing(&components, &request.data),
        Existing::Replace => components.clone(),
    };
    check_space(&toolchains, &wanted)?;
    for component in &wanted {
        install_one(component, request, progress)?;
    }
    Ok(components.iter().map(|component| request.data.component(component)).collect())
}

fn pinned(name: ComponentName, machine: &str) -> Result<Component, InstallError> {
    Component::pinned(name, machine)
        .ok_or_else(|| InstallError::Machine { component: name.as_str(), machine: machine.to_owned() })
}

fn missing(components: &[Component], data: &DataFolder) -> Vec<Component> {
    let there = |component: &&Component| data.component(component).join(MARKER).is_file();
    components.iter().filter(|component| !there(component)).cloned().collect()
}

fn present(components: &[Component], data: &DataFolder, progress: &mut dyn Progress) -> Vec<PathBuf> {
    let folders = components.iter().map(|component| {
        progress.step(&Step::Present { component: component.folder_name() });
        data.component(component)
    });
    folders.collect()
}

/// Waits for the lock. The system frees it when its holder ends, however it ends.
fn lock(data: &DataFolder, progress: &mut dyn Progress) -> Result<File, InstallError> {
    let path = data.lock();
    let file = regular_file::open(&path, File::options().create(true).truncate(false).write(true));
    let file = file.map_err(cannot_write(&path))?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => progress.step(&Step::Waiting),
        Err(TryLockError::Error(error)) => return Err(cannot_write(&path)(error)),
    }
    file.lock().map_err(cannot_write(&path))?;
    Ok(file)
}

/// Only the holder of the lock makes such folders, so any that is there was left by a killed one.
fn remove_leftovers(data: &DataFolder) -> Result<(), InstallError> {
    for leftover in data.partial().map_err(cannot_write(&data.toolchains()))? {
        let is_folder = fs::symlink_metadata(&leftover).is_ok_and(|found| found.is_dir());
        let removed = if is_folder { fs::remove_dir_all(&leftover) } else { fs::remove_file(&leftover) };
        removed.map_err(cannot_write(&leftover))?;
    }
    Ok(())
}

fn check_space(folder: &Path, wanted: &[Component]) -> Result<(), InstallError> {
    let needed_bytes = SPACE_FACTOR * wanted.iter().map(Component::download_bytes).sum::<u64>();
    // A file system that does not tell is tried.
    let Ok(space) = statvfs(folder) else { return Ok(()) };
    let free_bytes = space.f_bavail.saturating_mul(space.f_frsize);
    if free_bytes >= needed_bytes {
        return Ok(());
    }
    Err(InstallError::Space { path: folder.to_owned(), free_bytes, needed_bytes })
}

fn install_one(
    component: &Component,
    request: &InstallRequest,
    progress: &mut dyn Progress,
) -> Result<(), InstallError> {
    let toolchains = request.data.toolchains();
    let partial = tempfile::Builder::new()
        .prefix(PARTIAL_PREFIX)
        .tempdir_in(&toolchains)
        .map_err(cannot_write(&toolchains))?;
    let bytes = component.download_bytes();
    progress.step(&Step::Fetching { component: component.folder_name(), bytes });
    let tree = partial.path().join("tree");
    fs::create_dir(&tree).map_err(cannot_write(&tree))?;
    if install_part(component, request, partial.path(), &tree)? {
        return put_finished(component, request, partial.path(), &tree, progress);
    }
    let wheels = fetch(component, request, partial.path(), progress)?;
    for (pinned, path) in component.wheels.iter().zip(&wheels) {
        check(pinned, path)?;
        progress.step(&Step::Checked { wheel: pinned.file.clone() });
        match &pinned.part {
            Some(part) => unpack_part(pinned, part, path, &tree)?,
            None => wheel::unpack(path, &tree)
                .map_err(|source| InstallError::Wheel { file: pinned.file.clone(), source })?,
        }
    }
    put_finished(component, request, partial.path(), &tree, progress)
}

fn put_finished(
    component: &Component,
    request: &InstallRequest,
    partial: &Path,
    tree: &Path,
    progress: &mut dyn Progress,
) -> Result<(), InstallError> {
    finish(component, tree).map_err(cannot_write(tree))?;
    let place = request.data.component(component);
    put_in_place(tree, &place, partial).map_err(cannot_write(&place))?;
    progress.step(&Step::Installed { component: component.folder_name(), folder: place });
    Ok(())
}

/// Installs a component that is parts of wheels by reading these parts alone; `false` where it is not, or where
/// the index does not give them: the whole wheels will do as well.
fn install_part(
    component: &Component,
    request: &InstallRequest,
    partial: &Path,
    tree: &Path,
) -> Result<bool, InstallError> {
    let WheelSource::Pip { python } = &request.wheels else { return Ok(false) };
    for wheel in &component.wheels {
        let Some(part) = &wheel.part else { return Ok(false) };
        let zip = partial.join("part.zip");
        if !ranges::read(python, wheel, part, &zip) || unpack_part(wheel, part, &zip, tree).is_err() {
            part::clear(tree).map_err(cannot_write(tree))?;
            return Ok(false);
        }
    }
    Ok(true)
}

fn unpack_part(pinned: &PinnedWheel, part: &WheelPart, path: &Path, tree: &Path) -> Result<(), InstallError> {
    let file = pinned.file.clone();
    let found = part::unpack(path, part, tree);
    let found = found.map_err(|source| InstallError::Wheel { file: file.clone(), source })?;
    if found == part.sha256 {
        return Ok(());
    }
    Err(InstallError::WrongPart { file, expected: part.sha256, found })
}

fn fetch(
    component: &Component,
    request: &InstallRequest,
    partial: &Path,
    progress: &mut dyn Progress,
) -> Result<Vec<PathBuf>, InstallError> {
    // A folder of our own: what is hashed there is what is unpacked.
    let folder = partial.join("wheels");
    fs::create_dir(&folder).map_err(cannot_write(&folder))?;
    let source = match &request.wheels {
        WheelSource::Folder(folder) => folder,
        WheelSource::Pip { python } => {
            pip::download(python, component, &request.machine, &folder, progress)?;
            &folder
        }
    };
    let found = component.wheels.iter().map(|wheel| {
        let path = source.join(&wheel.file);
        if !path.is_file() {
            return Err(InstallError::NoWheel { file: wheel.file.clone(), folder: source.clone() });
        }
        if source == &folder {
            return Ok(path);
        }
        let copy = folder.join(&wheel.file);
        copy_wheel(&path, &copy, wheel.size_bytes).map_err(cannot_write(&copy))?;
        Ok(copy)
    });
    found.collect()
}

/// Copies at most one byte more than the pinned wheel has: a longer file is not it.
fn copy_wheel(path: &Path, copy: &Path, size_bytes: u64) -> io::Result<()> {
    let mut source = File::open(path)?.take(size_bytes.saturating_add(1));
    io::copy(&mut source, &mut File::create_new(copy)?).map(drop)
}

fn check(pinned: &PinnedWheel, path: &Path) -> Result<(), InstallError> {
    let found = File::open(path).and_then(Digest::of_reader).map_err(cannot_write(path))?;
    if found == pinned.sha256 {
        return Ok(());
    }
    Err(InstallError::WrongWheel { file: pinned.file.clone(), expected: pinned.sha256, found })
}

/// Adds what the wheels leave out, then the marker, and waits until all of it is on the disk.
fn finish(component: &Component, tree: &Path) -> io::Result<()> {
    if component.name == ComponentName::Cuda {
        // The wheels have `lib`; nvcc's profile and CUDA's users look in `lib64`, and `-lcudart`
        // looks for a name without a version.
        symlink("lib", tree.join("lib64"))?;
        symlink("libcudart.so.13", tree.join("lib/libcudart.so"))?;
    }
    let wheels = component.wheels.iter().map(|wheel| json!({ "file": wheel.file, "sha256": wheel.sha256 }));
    let marker = json!({
        "schema": "proofmark.component",
        "schema_version": 1,
        "name": component.name.as_str(),
        "version": component.version,
        "wheels": wheels.collect::<Vec<_>>(),
    });
    fs::write(tree.join(MARKER), format!("{marker:#}\n"))?;
    // Two thousand files: one call for the file system is cheaper than one for each file.
    syncfs(File::open(tree)?)?;
    Ok(())
}

fn put_in_place(tree: &Path, place: &Path, partial: &Path) -> io::Result<()> {
    if place.exists() {
        fs::rename(place, partial.join("replaced"))?;
    }
    fs::rename(tree, place)?;
    File::open(place.parent().unwrap_or(place))?.sync_all()
}

fn cannot_write(path: &Path) -> impl FnOnce(io::Error) -> InstallError {
    let path = path.to_owned();
    move |source| InstallError::Folder { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(data: &Path, wheels: &Path) -> InstallRequest {
        InstallRequest {
            data: DataFolder::at(data),
            machine: "x86_64".to_owned(),
            components: vec![ComponentName::TvmFfi],
            wheels: WheelSource::Folder(wheels.to_owned()),
            existing: Existing::Keep,
        }
    }

    fn is_empty(data: &DataFolder) -> bool {
        let mut names = fs::read_dir(data.toolchains()).unwrap().map(|entry| entry.unwrap().file_name());
        names.all(|name| name == ".lock")
    }

    #[test]
    fn refuses_a_wheel_with_another_digest_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let request = request(folder.path(), folder.path());
        let component = Component::pinned(ComponentName::TvmFfi, "x86_64").unwrap();
        fs::write(folder.path().join(&component.wheels[0].file), "not a wheel").unwrap();
        let error = install(&request, &mut Unwatched).unwrap_err();
        assert!(matches!(error, InstallError::WrongWheel { .. }), "{error}");
        assert!(is_empty(&request.data));
    }

    #[test]
    fn what_is_hashed_is_a_copy_of_our_own_and_no_longer_than_what_is_pinned() {
        let folder = tempfile::tempdir().unwrap();
        let [wheel, copy] = ["wheel", "copy"].map(|name| folder.path().join(name));
        fs::write(&wheel, "0123456789").unwrap();
        copy_wheel(&wheel, &copy, 4).unwrap();
        fs::write(&wheel, "changed").unwrap();
        assert_eq!(fs::read(&copy).unwrap(), b"01234");
        assert!(copy_wheel(&wheel, &copy, 4).is_err(), "a copy replaces nothing");
    }

    #[test]
    fn names_the_wheel_that_is_missing_and_clears_away_what_a_killed_one_left() {
        let folder = tempfile::tempdir().unwrap();
        let request = request(folder.path(), folder.path());
        let leftover = request.data.toolchains().join(".partial-killed");
        fs::create_dir_all(leftover.join("tree/bin")).unwrap();
        assert_eq!(request.data.partial().unwrap(), [leftover]);
        let error = install(&request, &mut Unwatched).unwrap_err();
        assert!(matches!(error, InstallError::NoWheel { .. }), "{error}");
        assert!(is_empty(&request.data));
    }

    #[test]
    fn a_machine_without_wheels_is_told_so() {
        let folder = tempfile::tempdir().unwrap();
        let request = InstallRequest { machine: "s390x".to_owned(), ..request(folder.path(), folder.path()) };
        let error = install(&request, &mut Unwatched).unwrap_err();
        assert!(error.to_string().contains("s390x"), "{error}");
    }

    #[test]
    fn asks_for_space_before_it_fetches() {
        let component = Component {
            wheels: vec![PinnedWheel {
                project: "huge".to_owned(),
                version: "1".to_owned(),
                file: "huge.whl".to_owned(),
                size_bytes: 1 << 58,
                sha256: Digest::of_bytes(b""),
                part: None,
            }],
            ..Component::pinned(ComponentName::Cuda, "x86_64").unwrap()
        };
        let error = check_space(Path::new("/"), &[component]).unwrap_err();
        assert!(matches!(error, InstallError::Space { .. }), "{error}");
    }
}
