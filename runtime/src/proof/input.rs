//! Walks whatever path it is given, a file, a folder, a zip or wheel, and hands out each part that
//! may hold device code.

use std::fs;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use zip::ZipArchive;

use super::folder::{Listing, Unread, name_of_kind};
use super::mapped::MappedFile;
use super::runtime_jit;

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
    /// It holds no bytes that could be read to an end.
    #[error("cannot read {path}: it is {kind}")]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What it is instead.
        kind: &'static str,
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

/// What a visit came across, beside what it handed out.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Tally {
    /// Files and members met, those that were passed over included.
    pub files: u64,
    /// Their size together, in bytes.
    pub size_bytes: u64,
    /// What was not read.
    pub unread: Vec<Unread>,
}

/// Hands out every part of `path` that may hold device code, in the order of names. Text files in
/// folders and zips are passed over unless their name says PTX; a single file never is. A pipe is
/// read to its end. What cannot be read in a folder is noted, not an error.
pub fn visit(path: &Path, look: impl FnMut(&Specimen<'_>)) -> Result<Tally, InputError> {
    let unreadable = |source| InputError::Unreadable { path: path.to_owned(), source };
    let kind = fs::metadata(path).map_err(unreadable)?.file_type();
    let mut visitor = Visitor { look, tally: Tally::default() };
    if kind.is_dir() {
        visitor.folder(Listing::of(path).map_err(unreadable)?)?;
    } else if kind.is_socket() || kind.is_block_device() {
        return Err(InputError::NotAFile { path: path.to_owned(), kind: name_of_kind(kind) });
    } else {
        let file = MappedFile::open(path).map_err(unreadable)?;
        visitor.part(&path.display().to_string(), &file, 0)?;
    }
    Ok(visitor.tally)
}

/// The same for bytes that are already in memory.
pub fn visit_bytes(name: &str, bytes: &[u8], look: impl FnMut(&Specimen<'_>)) -> Result<Tally, InputError> {
    let mut visitor = Visitor { look, tally: Tally::default() };
    visitor.part(name, bytes, 0)?;
    Ok(visitor.tally)
}

struct Visitor<F> {
    look: F,
    tally: Tally,
}

impl<F: FnMut(&Specimen<'_>)> Visitor<F> {
    fn folder(&mut self, listing: Listing) -> Result<(), InputError> {
        self.tally.unread = listing.unread;
        for path in listing.files {
            match MappedFile::open(&path) {
                Ok(file) => self.one_of_many(&path.display().to_string(), &file, 0)?,
                Err(error) => self.tally.unread.push(Unread::new(&path, error.to_string())),
            }
        }
        Ok(())
    }

    fn one_of_many(&mut self, name: &str, bytes: &[u8], depth: u32) -> Result<(), InputError> {
        if is_candidate(name, bytes) {
            return self.part(name, bytes, depth);
        }
        self.count(bytes);
        Ok(())
    }

    fn part(&mut self, name: &str, bytes: &[u8], depth: u32) -> Result<(), InputError> {
        let is_zip = bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06");
        if is_zip && depth < NESTING_LIMIT {
            return self.members(name, bytes, depth);
        }
        self.count(bytes);
        (self.look)(&Specimen { name: name.to_owned(), bytes });
        Ok(())
    }

    fn count(&mut self, bytes: &[u8]) {
        self.tally.files += 1;
        self.tally.size_bytes += bytes.len() as u64;
    }

    /// Unpacks a zip member by member. Nothing is written but anonymous temporary files, so names in
    /// the zip, however hostile, are only ever printed. A member that calls itself a link is read
    /// like any other: there are unpackers that make a file of it.
    fn members(&mut self, name: &str, bytes: &[u8], depth: u32) -> Result<(), InputError> {
        let refuse = |name: &str, reason: String| InputError::Zip { name: name.to_owned(), reason };
        let mut archive =
            ZipArchive::new(Cursor::new(bytes)).map_err(|error| refuse(name, error.to_string()))?;
        for index in 0..archive.len() {
            let mut member = archive.by_index(index).map_err(|error| refuse(name, error.to_string()))?;
            if member.is_dir() {
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
                self.member(&inner, &content, size, depth)?;
            } else {
                let mut spill = || -> io::Result<MappedFile> {
                    let mut file = tempfile::NamedTempFile::new()?;
                    io::copy(&mut reader, &mut file)?;
                    file.seek(SeekFrom::Start(0))?;
                    MappedFile::open(file.path())
                };
                let content = spill().map_err(|error| refuse(&inner, error.to_string()))?;
                self.member(&inner, &content, size, depth)?;
            }
        }
        Ok(())
    }

    fn member(&mut self, name: &str, content: &[u8], declared: u64, depth: u32) -> Result<(), InputError> {
        if content.len() as u64 != declared {
            let reason = format!("holds another number of bytes than the {declared} it declares");
            return Err(InputError::Zip { name: name.to_owned(), reason });
        }
        self.one_of_many(name, content, depth + 1)
    }
}

/// Whether a file among others is worth a look: anything binary, PTX by its name, Python that compiles.
fn is_candidate(name: &str, bytes: &[u8]) -> bool {
    let named = Path::new(name).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("ptx"));
    let is_python = Path::new(name).extension().is_some_and(|extension| extension == "py");
    named
        || bytes[..bytes.len().min(PROBE_BYTES)].contains(&0)
        || (is_python && !runtime_jit::text_signs(bytes).is_empty())
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
    fn a_member_that_calls_itself_a_link_is_read_all_the_same() {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        writer.add_symlink("k.so", "\x7FELF\0", SimpleFileOptions::default()).unwrap();
        let bytes = writer.finish().unwrap().into_inner();
        let mut found = Vec::new();
        visit_bytes("p.whl", &bytes, |specimen| found.push(specimen.bytes.to_vec())).unwrap();
        assert_eq!(found, [b"\x7FELF\0"]);
    }

    #[test]
    fn counts_what_it_passes_over() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.txt"), "text").unwrap();
        fs::write(folder.path().join("b.so"), b"\x7FELF\0\0").unwrap();
        let tally = visit(folder.path(), |_| ()).unwrap();
        assert_eq!(tally, Tally { files: 2, size_bytes: 10, unread: Vec::new() });
    }

    #[test]
    fn a_missing_path_is_an_error_that_names_it() {
        let error = visit(Path::new("/nowhere/at/all"), |_| ()).unwrap_err();
        assert!(error.to_string().contains("/nowhere/at/all"));
    }
}
