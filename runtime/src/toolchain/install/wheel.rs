//! Unpacks the parts of a wheel that a toolchain needs.
//!
//! The wheel's digest is pinned, so its content is known. It is unpacked as if it were not: names
//! must stay inside, nothing may be a link, nothing may appear twice, and sizes are bounded while
//! they are read.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component as PathComponent, Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use zip::ZipArchive;
use zip::result::ZipError;

/// Twice the largest wheel's 2,100 files.
const MOST_ENTRIES: usize = 4_000;

/// Four times the largest wheel's 140 MB.
const MOST_BYTES: u64 = 600_000_000;

/// Every file gets this modification time, 1980-01-01: line tables record the times of headers.
const MODIFIED: Duration = Duration::from_secs(315_532_800);

/// Why a wheel cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum WheelError {
    /// It is not a zip file, or a broken one.
    #[error("not a readable zip file")]
    Zip(#[from] ZipError),
    /// An entry's name leads outside, is no text, or the entry is a link.
    #[error("entry `{name}` is not a plain file inside the wheel")]
    Entry {
        /// The name as found.
        name: String,
    },
    /// More than a toolchain's wheel can hold.
    #[error("it holds more than {MOST_ENTRIES} entries or {MOST_BYTES} bytes")]
    TooLarge,
    /// A file could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Unpacks what is needed into a folder that exists.
pub(super) fn unpack(wheel: &Path, into: &Path) -> Result<(), WheelError> {
    let file = File::open(wheel).map_err(|source| WheelError::Write { path: wheel.to_owned(), source })?;
    let mut archive = ZipArchive::new(io::BufReader::new(file))?;
    if archive.len() > MOST_ENTRIES {
        return Err(WheelError::TooLarge);
    }
    let mut budget = MOST_BYTES;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index)?;
        if entry.is_dir() {
            continue;
        }
        let name = entry.name()?.into_owned();
        if entry.is_symlink() || !is_inside(&name) {
            return Err(WheelError::Entry { name });
        }
        let Some(place) = place_of(&name) else { continue };
        let path = into.join(&place);
        let copied = write(&mut entry, &path, mode_of(&place), budget)
            .map_err(|source| WheelError::Write { path, source })?;
        budget = budget.checked_sub(copied).filter(|&left| left > 0).ok_or(WheelError::TooLarge)?;
    }
    Ok(())
}

pub(super) fn is_inside(name: &str) -> bool {
    !name.contains(['\\', '\0'])
        && Path::new(name).components().all(|part| matches!(part, PathComponent::Normal(_)))
}

/// Where a wheel's file goes; `None` for what no build needs: Python modules, build scripts, the
/// 63 MB of `libnvvm` that only programs with a compiler inside use.
fn place_of(name: &str) -> Option<PathBuf> {
    if let Some(rest) = name.strip_prefix("nvidia/cu13/") {
        let wanted = ["bin/", "include/", "nvvm/", "lib/libcudart", "lib/libcudadevrt"];
        return wanted.iter().any(|start| rest.starts_with(start)).then(|| PathBuf::from(rest));
    }
    if let Some(rest) = name.strip_prefix("tvm_ffi/") {
        let wanted = rest.starts_with("include/") || rest == "lib/libtvm_ffi.so";
        return wanted.then(|| PathBuf::from(rest));
    }
    license_place(name)
}

/// Where a licence goes; `None` for any other file.
pub(super) fn license_place(name: &str) -> Option<PathBuf> {
    let (distribution, rest) = name.split_once(".dist-info/")?;
    let license = rest.strip_prefix("licenses/")?;
    Some(Path::new("licenses").join(distribution).join(license))
}

/// Programs may be run by whoever may read them; the umask takes away what the user wants.
fn mode_of(place: &Path) -> u32 {
    let is_program =
        (place.starts_with("bin") && !place.starts_with("bin/crt")) || place.starts_with("nvvm/bin");
    if is_program && place.extension().is_none() { 0o777 } else { 0o666 }
}

pub(super) fn write(entry: &mut impl Read, path: &Path, mode: u32, budget: u64) -> io::Result<u64> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    // `create_new`: a second entry of one name is an error, not a replacement.
    let mut file = File::options().write(true).create_new(true).mode(mode).open(path)?;
    let copied = io::copy(&mut entry.take(budget), &mut file)?;
    file.set_modified(modified())?;
    Ok(copied)
}

fn modified() -> SystemTime {
    UNIX_EPOCH + MODIFIED
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;
    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    fn wheel(folder: &Path, names: &[&str]) -> PathBuf {
        let path = folder.join("some.whl");
        let mut zip = ZipWriter::new(File::create(&path).unwrap());
        for name in names {
            zip.start_file(*name, SimpleFileOptions::default()).unwrap();
            zip.write_all(name.as_bytes()).unwrap();
        }
        zip.finish().unwrap();
        path
    }

    #[test]
    fn takes_programs_headers_libraries_and_licences_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let names = [
            "nvidia/cu13/bin/nvcc",
            "nvidia/cu13/bin/nvcc.profile",
            "nvidia/cu13/include/crt/mma.h",
            "nvidia/cu13/lib/libcudart_static.a",
            "nvidia/cu13/lib/libnvvm.so.4",
            "tvm_ffi/__init__.py",
            "tvm_ffi/lib/libtvm_ffi.so",
            "some-1.0.dist-info/licenses/License.txt",
            "some-1.0.dist-info/RECORD",
        ];
        let into = folder.path().join("tree");
        fs::create_dir(&into).unwrap();
        unpack(&wheel(folder.path(), &names), &into).unwrap();
        let mut found: Vec<_> = walkdir::WalkDir::new(&into)
            .into_iter()
            .map(Result::unwrap)
            .filter(|entry| entry.file_type().is_file())
            .map(|entry| entry.path().strip_prefix(&into).unwrap().to_str().unwrap().to_owned())
            .collect();
        found.sort();
        let expected = [
            "bin/nvcc",
            "bin/nvcc.profile",
            "include/crt/mma.h",
            "lib/libcudart_static.a",
            "lib/libtvm_ffi.so",
            "licenses/some-1.0/License.txt",
        ];
        assert_eq!(found, expected);
        let mode = |name: &str| fs::metadata(into.join(name)).unwrap().permissions().mode();
        assert_ne!(mode("bin/nvcc") & 0o100, 0);
        assert_eq!(mode("bin/nvcc.profile") & 0o111, 0);
        let time = fs::metadata(into.join("include/crt/mma.h")).unwrap().modified().unwrap();
        assert_eq!(time, modified());
    }

    #[test]
    fn refuses_names_that_lead_outside() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["../x", "nvidia/cu13/bin/../../../../x", "/nvidia/cu13/bin/x", "nvidia/cu13/bin\\x"] {
            let into = folder.path().join("tree");
            fs::create_dir_all(&into).unwrap();
            let error = unpack(&wheel(folder.path(), &[name]), &into).unwrap_err();
            assert!(matches!(error, WheelError::Entry { .. }), "{name}: {error}");
            assert_eq!(fs::read_dir(&into).unwrap().count(), 0);
        }
    }
}
