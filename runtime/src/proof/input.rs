//! Walks whatever path it is given, a file, a folder, a zip or wheel, and hands out each part that
//! may hold device code.

use std::fs;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use walkdir::WalkDir;
use zip::ZipArchive;

use super::mapped::MappedFile;

/// Members up to this size are unpacked in memory, in bytes; larger ones into a temporary file.
const IN_MEMORY_BYTES: u64 = 16 << 20;
/// Most that one member may unpack to, in bytes: several times the largest library released.
const MEMBER_LIMIT_BYTES: u64 = 16 << 30;
/// How deep zips may nest in each other.
const NESTING_LIMIT: u32 = 3;
/// How much of a file decides whether it is text.
const PROBE_BYTES: usize = 8 << 10;

/// One file or member, and where it came from.
pub struct Specimen<'a> {
    /// Its path; behind `!` the path inside a zip.
    pub name: String,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// Why a path could not be walked.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// A file or folder could not be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// The path.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A zip is broken, or grows beyond every honest size.
    #[error("cannot unpack {name}: {reason}")]
    Zip {
        /// Name of the zip or its member.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Hands out every part of `path` that may hold device code, in the order of names. Text files in
/// folders and zips are passed over unless their name says PTX; a single file never is.
pub fn visit(path: &Path, mut look: impl FnMut(&Specimen<'_>)) -> Result<(), InputError> {
    let unreadable = |path: &Path, source| InputError::Unreadable { path: path.to_owned(), source };
    let kind = fs::metadata(path).map_err(|source| unreadable(path, source))?;
    if !kind.is_dir() {
        let file = MappedFile::open(path).map_err(|source| unreadable(path, source))?;
        return part(&path.display().to_string(), &file, 0, &mut look);
    }
    for item in WalkDir::new(path).sort_by_file_name() {
        let item = item.map_err(|error| {
            let at = error.path().unwrap_or(path).to_owned();
            unreadable(&at, error.into())
        })?;
        if !item.file_type().is_file() {
            continue;
        }
        let file = MappedFile::open(item.path()).map_err(|source| unreadable(item.path(), source))?;
        let name = item.path().display().to_string();
        if is_candidate(&name, &file) {
            part(&name, &file, 0, &mut look)?;
        }
    }
    Ok(())
}

/// The same for bytes that are already in memory.
pub fn visit_bytes(name: &str, bytes: &[u8], mut look: impl FnMut(&Specimen<'_>)) -> Result<(), InputError> {
    part(name, bytes, 0, &mut look)
}

fn part(
    name: &str,
    bytes: &[u8],
    depth: u32,
    look: &mut impl FnMut(&Specimen<'_>),
) -> Result<(), InputError> {
    let is_zip = bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06");
    if is_zip && depth < NESTING_LIMIT {
        return members(name, bytes, depth, look);
    }
    look(&Specimen { name: name.to_owned(), bytes });
    Ok(())
}

/// Unpacks a zip member by member. Nothing is written but anonymous temporary files, so names in
/// the zip, however hostile, are only ever printed.
fn members(
    name: &str,
    bytes: &[u8],
    depth: u32,
    look: &mut impl FnMut(&Specimen<'_>),
) -> Result<(), InputError> {
    let refuse = |name: &str, reason: String| InputError::Zip { name: name.to_owned(), reason };
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|error| refuse(name, error.to_string()))?;
    for index in 0..archive.len() {
        let mut member = archive.by_index(index).map_err(|error| refuse(name, error.to_string()))?;
        if !member.is_file() {
            continue;
        }
        let inner = format!("{name}!{}", String::from_utf8_lossy(member.name_raw()));
        let size = member.size();
        if size > MEMBER_LIMIT_BYTES {
            return Err(refuse(&inner, format!("declares {size} bytes")));
        }
        // One byte more than declared shows a member that is longer than it says.
        let mut reader = member.by_ref().take(size + 1);
        if size <= IN_MEMORY_BYTES {
            let mut content = Vec::new();
            reader.read_to_end(&mut content).map_err(|error| refuse(&inner, error.to_string()))?;
            offer(&inner, &content, size, depth, look)?;
        } else {
            let mut spill = || -> io::Result<MappedFile> {
                let mut file = tempfile::NamedTempFile::new()?;
                io::copy(&mut reader, &mut file)?;
                file.seek(SeekFrom::Start(0))?;
                MappedFile::open(file.path())
            };
            let content = spill().map_err(|error| refuse(&inner, error.to_string()))?;
            offer(&inner, &content, size, depth, look)?;
        }
    }
    Ok(())
}

fn offer(
    name: &str,
    content: &[u8],
    declared: u64,
    depth: u32,
    look: &mut impl FnMut(&Specimen<'_>),
) -> Result<(), InputError> {
    if content.len() as u64 != declared {
        let reason = format!("holds another number of bytes than the {declared} it declares");
        return Err(InputError::Zip { name: name.to_owned(), reason });
    }
    if is_candidate(name, content) { part(name, content, depth + 1, look) } else { Ok(()) }
}

/// Whether a file among others is worth a look: anything binary, and PTX by its name.
fn is_candidate(name: &str, bytes: &[u8]) -> bool {
    let named = Path::new(name).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("ptx"));
    named || bytes[..bytes.len().min(PROBE_BYTES)].contains(&0)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    fn names(path: &Path) -> Vec<String> {
        let mut names = Vec::new();
        visit(path, |specimen| names.push(specimen.name.clone())).unwrap();
        names
    }

    #[test]
    fn hands_out_what_is_binary_or_called_ptx() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.txt"), "text").unwrap();
        fs::write(folder.path().join("b.so"), b"\x7FELF\0\0").unwrap();
        fs::write(folder.path().join("c.ptx"), ".version 9.0").unwrap();
        let found = names(folder.path());
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].ends_with("b.so") && found[1].ends_with("c.ptx"));
    }

    #[test]
    fn looks_into_a_zip_in_a_zip() {
        let zip = |name: &str, content: &[u8]| {
            let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
            writer.start_file(name, SimpleFileOptions::default()).unwrap();
            writer.write_all(content).unwrap();
            writer.finish().unwrap().into_inner()
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("outer.whl");
        fs::write(&path, zip("inner.zip", &zip("lib/k.cubin", b"\x7FELF\0"))).unwrap();
        let found = names(&path);
        assert_eq!(found.len(), 1);
        assert!(found[0].ends_with("outer.whl!inner.zip!lib/k.cubin"), "{found:?}");
    }

    #[test]
    fn a_missing_path_is_an_error_that_names_it() {
        let error = visit(Path::new("/nowhere/at/all"), |_| ()).unwrap_err();
        assert!(error.to_string().contains("/nowhere/at/all"));
    }
}
