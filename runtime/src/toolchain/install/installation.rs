//! An installation of several components, under one lock.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use rustix::fs::statvfs;

use super::component::install_one;
use super::error::{InstallError, ObtainError, cannot_write};
use super::request::{Existing, InstallRequest, Progress, Step, WheelSource};
use crate::regular_file;
use crate::toolchain::data_folder::{DataFolder, MARKER};
use crate::toolchain::file_digests::FileDigests;
use crate::toolchain::lock_file::{Component, ComponentName};
use crate::toolchain::search::{Search, Toolchain, ToolchainError, find};

/// Unpacked, wheels grow to three times their size; beside them the wheels themselves stay until
/// the end.
const SPACE_FACTOR: u64 = 5;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toolchain::install::Unwatched;
    use crate::toolchain::lock_file::PinnedWheel;
    use proofmark_packager::Digest;

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
