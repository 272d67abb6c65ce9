//! One component: fetched, checked, unpacked beside its place, and put there by one rename.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use proofmark_packager::Digest;
use rustix::fs::syncfs;
use serde_json::json;

use super::error::{InstallError, cannot_write};
use super::request::{InstallRequest, Progress, Step, WheelSource};
use super::{part, pip, ranges, wheel};
use crate::toolchain::data_folder::{MARKER, PARTIAL_PREFIX};
use crate::toolchain::lock_file::{Component, ComponentName, PinnedWheel, WheelPart};

/// Installs one component; who calls holds the lock.
pub(super) fn install_one(
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
