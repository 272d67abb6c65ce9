//! Takes the part of a wheel that a kit is: headers and licences, with a digest over all of it.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use proofmark_packager::{Digest, DigestBuilder};
use zip::ZipArchive;

use super::super::lock_file::WheelPart;
use super::wheel::{WheelError, is_inside, license_place, write};

/// The largest kit has 9,700 files.
const MOST_ENTRIES: usize = 40_000;

/// The largest kit has 39 MB.
const MOST_BYTES: u64 = 400_000_000;

/// Unpacks the part into a folder that exists, and gives the digest over names and contents.
pub(super) fn unpack(wheel: &Path, part: &WheelPart, into: &Path) -> Result<Digest, WheelError> {
    let file = File::open(wheel).map_err(|source| WheelError::Write { path: wheel.to_owned(), source })?;
    let mut archive = ZipArchive::new(io::BufReader::new(file))?;
    if archive.len() > MOST_ENTRIES {
        return Err(WheelError::TooLarge);
    }
    let mut placed = Vec::new();
    let mut budget = MOST_BYTES;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index)?;
        if entry.is_dir() {
            continue;
        }
        let name = entry.name()?.into_owned();
        let Some(place) = place_of(&name, part) else { continue };
        if entry.is_symlink() || !is_inside(&name) {
            return Err(WheelError::Entry { name });
        }
        let path = into.join(&place);
        let failed = |source| WheelError::Write { path: path.clone(), source };
        let mut content = Vec::new();
        entry.by_ref().take(budget).read_to_end(&mut content).map_err(failed)?;
        write(&mut content.as_slice(), &path, 0o666, budget).map_err(failed)?;
        budget =
            budget.checked_sub(content.len() as u64).filter(|&left| left > 0).ok_or(WheelError::TooLarge)?;
        placed.push((place, Digest::of_bytes(&content)));
    }
    placed.sort();
    let hash = DigestBuilder::new("proofmark/wheel-part/1");
    Ok(hash.list(placed.iter(), |hash, (place, digest)| hash.text(place).digest(digest)).finish())
}

/// How the names of what is taken begin.
pub(super) fn starts<'a>(part: &'a WheelPart, licenses: &'a str) -> impl Iterator<Item = &'a str> {
    part.members.iter().map(|(from, _)| from.as_str()).chain([licenses])
}

fn place_of(name: &str, part: &WheelPart) -> Option<String> {
    let member = part.members.iter().find_map(|(from, to)| Some(format!("{to}{}", name.strip_prefix(from)?)));
    let license = || license_place(name).and_then(|place: PathBuf| Some(place.to_str()?.to_owned()));
    // What runs when Python is started, and what compilers made of it, is no header.
    member.filter(|place| !is_python(place)).or_else(license)
}

fn is_python(place: &str) -> bool {
    Path::new(place).extension().is_some_and(|ending| ending == "py" || ending == "pyc")
}

/// Removes what an attempt left, so that the next one finds an empty folder.
pub(super) fn clear(folder: &Path) -> io::Result<()> {
    fs::remove_dir_all(folder)?;
    fs::create_dir(folder)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    fn wheel(folder: &Path, files: &[(&str, &str)]) -> PathBuf {
        let path = folder.join("some.whl");
        let mut zip = ZipWriter::new(File::create(&path).unwrap());
        for (name, text) in files {
            zip.start_file(*name, SimpleFileOptions::default()).unwrap();
            zip.write_all(text.as_bytes()).unwrap();
        }
        zip.finish().unwrap();
        path
    }

    fn unpacked(files: &[(&str, &str)]) -> (Vec<String>, Result<Digest, WheelError>) {
        let folder = tempfile::tempdir().unwrap();
        let members = vec![("lib/include/".to_owned(), "include/".to_owned())];
        let part = WheelPart { members, sha256: Digest::of_bytes(b""), bytes: 0 };
        let into = folder.path().join("tree");
        fs::create_dir(&into).unwrap();
        let digest = unpack(&wheel(folder.path(), files), &part, &into);
        let walk = walkdir::WalkDir::new(&into).sort_by_file_name().into_iter().flatten();
        let files = walk.filter(|entry| entry.file_type().is_file());
        let names = files.map(|entry| entry.path().strip_prefix(&into).unwrap().to_str().unwrap().to_owned());
        (names.collect(), digest)
    }

    #[test]
    fn takes_headers_and_licences_and_names_them_by_their_content() {
        let files = [
            ("lib/include/a/b.h", "text"),
            ("lib/include/setup.py", "import os"),
            ("lib/lib/libbig.so", "big"),
            ("some-1.dist-info/licenses/LICENSE", "free"),
        ];
        let (names, digest) = unpacked(&files);
        assert_eq!(names, ["include/a/b.h", "licenses/some-1/LICENSE"]);
        let digest = digest.unwrap();
        let without: Vec<_> = files.iter().copied().filter(|(name, _)| !name.contains("libbig")).collect();
        assert_eq!(unpacked(&without).1.unwrap(), digest, "what is not taken does not count");
        assert_ne!(unpacked(&[("lib/include/a/b.h", "Text"), files[3]]).1.unwrap(), digest);
        assert_ne!(unpacked(&[("lib/include/a/c.h", "text"), files[3]]).1.unwrap(), digest);
    }

    #[test]
    fn refuses_a_member_that_leads_outside() {
        let (names, error) = unpacked(&[("lib/include/../../x.h", "text")]);
        assert!(matches!(error, Err(WheelError::Entry { .. })) && names.is_empty(), "{names:?}");
    }
}
