//! Walks whatever path it is given, a file, a folder, a zip or wheel, and hands out each part that
//! may hold device code.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use proofmark_packager::escape;
use rayon::prelude::*;

use super::bytes::slice;
use super::depth::Depth;
use super::embedded::{self, Budget};
use super::examination::FileFormat;
use super::folder::{Listing, Unread, name_of_kind};
use super::mapped::{self, MappedFile};
use super::problem::Problem;
use super::runtime_jit;
use super::scan;
use super::signature::{format_of, is_tar, is_zip, packed};
use super::stream::{self, Unpacked};
use super::tar_file;
use super::task::chunks;
use super::thin_archive;
use super::zip_file::{self, ZipFile, ZipMember, ZipMethod};

/// How deep archives and streams may nest in each other.
const NESTING_LIMIT: u32 = 5;
/// What everything in one input may unpack to, in bytes: a floor for small ones, and a multiple for
/// large ones, several times what honest wheels reach.
const UNPACKED_FLOOR_BYTES: u64 = 256 << 20;
const UNPACKED_PER_BYTE: u64 = 64;
/// How much of a file decides whether it is text.
const PROBE_BYTES: usize = 8 << 10;
/// How much of a file is looked at before the next piece, and its memory given back.
const PIECE_BYTES: usize = 32 << 20;
/// Most things that are named as not read, before their number alone is.
const UNREAD_LIMIT: usize = 1000;

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
}

/// What a visit came across, beside what it handed out.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct VisitTally {
    /// Files and members met, those that were passed over included.
    pub files: u64,
    /// Their size together, in bytes.
    pub size_bytes: u64,
    /// What was not read.
    pub unread: Vec<Unread>,
}

/// Hands out every part of `path` that may hold device code, in the order of names: files of a folder,
/// members of zips and tars, what streams unpack to. Files among others in which nothing looks like
/// device code are passed over; a single file never is. A pipe is read to its end. What cannot be read
/// is noted, not an error, unless it is the path itself.
pub fn visit(path: &Path, look: impl FnMut(&Specimen<'_>)) -> Result<VisitTally, InputError> {
    visit_to(path, Depth::Facts, look)
}

/// The same, where files are only looked at so deep.
pub fn visit_to(
    path: &Path,
    depth: Depth,
    look: impl FnMut(&Specimen<'_>),
) -> Result<VisitTally, InputError> {
    let unreadable = |source| InputError::Unreadable { path: path.to_owned(), source };
    let kind = fs::metadata(path).map_err(unreadable)?.file_type();
    let mut visitor = Visitor { look, tally: VisitTally::default(), budget: 0, unnamed: 0, depth };
    if kind.is_dir() {
        visitor.folder(&Listing::of(path).map_err(unreadable)?);
    } else if kind.is_socket() || kind.is_block_device() {
        return Err(InputError::NotAFile { path: path.to_owned(), kind: name_of_kind(kind) });
    } else {
        let file = MappedFile::open(path).map_err(unreadable)?;
        visitor.file(&shown(path), &file, Company::Alone);
    }
    Ok(visitor.finish())
}

/// The same for bytes that are already in memory.
pub fn visit_bytes(name: &str, bytes: &[u8], look: impl FnMut(&Specimen<'_>)) -> VisitTally {
    let (budget, depth) = (budget_for(bytes), Depth::Facts);
    let mut visitor = Visitor { look, tally: VisitTally::default(), budget, unnamed: 0, depth };
    visitor.part(name, bytes, 0, Company::Alone);
    visitor.finish()
}

/// A path as it may be printed.
fn shown(path: &Path) -> String {
    escape::line(&path.display().to_string())
}

fn budget_for(bytes: &[u8]) -> u64 {
    UNPACKED_FLOOR_BYTES.saturating_add((bytes.len() as u64).saturating_mul(UNPACKED_PER_BYTE))
}

/// Whether something is the only thing asked about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Company {
    /// It is, so it is handed out whatever it is.
    Alone,
    /// It is one of many.
    Among,
}

struct Visitor<F> {
    look: F,
    tally: VisitTally,
    /// Bytes that may still be unpacked from the current file.
    budget: u64,
    /// How many things were not read beyond those that are named.
    unnamed: u64,
    /// How deep files are looked at.
    depth: Depth,
}

impl<F: FnMut(&Specimen<'_>)> Visitor<F> {
    fn folder(&mut self, listing: &Listing) {
        for one in &listing.unread {
            self.unread(&one.path, one.reason.as_str());
        }
        for path in &listing.files {
            let name = shown(path);
            match MappedFile::open(path) {
                Ok(file) if thin_archive::is_covered(path, &file, listing) => self.count(&file),
                Ok(file) => self.file(&name, &file, Company::Among),
                Err(error) => self.unread(&name, error.to_string()),
            }
        }
    }

    /// A file, which may change while it is looked at.
    fn file(&mut self, name: &str, file: &MappedFile, company: Company) {
        self.budget = budget_for(file);
        self.part(name, file, 0, company);
        if let Some(reason) = file.disturbance() {
            self.unread(name, reason);
        }
    }

    fn part(&mut self, name: &str, bytes: &[u8], depth: u32, company: Company) {
        let stream = packed(bytes);
        let holds_zip = is_zip(bytes) || zip_file::ends_at_the_end(bytes);
        if (stream.is_some() || holds_zip) && depth >= NESTING_LIMIT {
            return self.unread(name, "archives nest too deeply");
        }
        if holds_zip {
            self.zip(name, bytes, depth);
        } else if is_tar(bytes) {
            self.tar(name, bytes, depth);
        } else if let Some(kind) = stream {
            match stream::unpack(kind, bytes, self.budget) {
                Ok(content) => self.unpacked(&format!("{name}!"), &content, depth, company),
                Err(reason) => {
                    self.count(bytes);
                    self.unread(name, reason);
                }
            }
        } else {
            self.count(bytes);
            if company == Company::Alone || is_candidate(name, bytes, self.depth) {
                (self.look)(&Specimen { name: name.to_owned(), bytes });
            }
        }
    }

    fn unpacked(&mut self, name: &str, content: &Unpacked, depth: u32, company: Company) {
        self.budget = self.budget.saturating_sub(content.len() as u64);
        self.part(name, content, depth + 1, company);
    }

    fn count(&mut self, bytes: &[u8]) {
        self.tally.files += 1;
        self.tally.size_bytes += bytes.len() as u64;
    }

    fn unread(&mut self, name: &str, reason: impl Into<String>) {
        if self.tally.unread.len() < UNREAD_LIMIT {
            self.tally.unread.push(Unread { path: name.to_owned(), reason: reason.into() });
        } else {
            self.unnamed += 1;
        }
    }

    fn problems(&mut self, name: &str, problems: &[Problem]) {
        for problem in problems {
            self.unread(name, problem.to_string());
        }
    }

    fn finish(mut self) -> VisitTally {
        if self.unnamed > 0 {
            let reason = format!("and {} more that were not read", self.unnamed);
            self.tally.unread.push(Unread { path: "…".to_owned(), reason });
        }
        self.tally
    }

    /// Unpacks a zip member by member. Nothing is written but anonymous temporary files, so names in
    /// the zip, however hostile, are only ever printed. A member that calls itself a link is read
    /// like any other: there are unpackers that make a file of it.
    fn zip(&mut self, name: &str, bytes: &[u8], depth: u32) {
        let ZipFile { members, prefix_bytes, problems } = match zip_file::read(bytes) {
            Ok(zip) => zip,
            Err(problem) => {
                self.count(bytes);
                return self.unread(name, problem.to_string());
            }
        };
        self.problems(name, &problems);
        if let Some(prefix) = slice(bytes, 0, prefix_bytes).filter(|prefix| !prefix.is_empty()) {
            self.unread(name, format!("{prefix_bytes} bytes before the zip that it ends with"));
            self.part(&format!("{name}!"), prefix, depth + 1, Company::Among);
        }
        for member in members.iter().filter(|member| !member.is_folder()) {
            self.zip_member(&format!("{name}!{}", member.name), bytes, member, depth);
        }
    }

    fn zip_member(&mut self, name: &str, bytes: &[u8], member: &ZipMember, depth: u32) {
        let (at, stored) = member.content;
        let Some(content) = slice(bytes, at, stored) else { return self.unread(name, "is cut off") };
        match member.method {
            _ if member.encrypted => self.unread(name, "is encrypted"),
            _ if member.size > self.budget => {
                let reason =
                    format!("declares {} bytes, beyond what any honest zip of this size holds", member.size);
                self.unread(name, reason);
            }
            ZipMethod::Stored if member.size != stored => {
                self.unread(name, "is stored in another size than it declares");
            }
            ZipMethod::Stored => match stream::check_sum(content, member.crc) {
                Ok(()) => self.part(name, content, depth + 1, Company::Among),
                Err(reason) => self.unread(name, reason),
            },
            ZipMethod::Deflated => match stream::inflate(content, member.size, member.crc) {
                Ok(unpacked) => {
                    mapped::release(content);
                    self.unpacked(name, &unpacked, depth, Company::Among);
                }
                Err(reason) => self.unread(name, reason),
            },
            ZipMethod::Other(number) => {
                self.unread(name, format!("is compressed by method {number}, which is not read"));
            }
        }
    }

    fn tar(&mut self, name: &str, bytes: &[u8], depth: u32) {
        let tar = tar_file::read(bytes);
        self.problems(name, &tar.problems);
        for member in &tar.members {
            let (at, size) = member.content;
            if let Some(content) = slice(bytes, at, size) {
                self.part(&format!("{name}!{}", member.name), content, depth + 1, Company::Among);
            }
        }
    }
}

/// Whether any piece of some bytes is what is looked for; pieces overlap by more than any pattern takes.
fn in_pieces(bytes: &[u8], is_sought: impl Fn(&[u8]) -> bool) -> bool {
    (0..bytes.len()).step_by(PIECE_BYTES).any(|start| {
        let end = bytes.len().min(start + PIECE_BYTES);
        let from = start.saturating_sub(scan::LOOK_BEHIND_BYTES);
        let found = is_sought(&bytes[from..bytes.len().min(end + scan::REACH_BYTES)]);
        if bytes.len() > PIECE_BYTES {
            mapped::release(&bytes[start..end]);
        }
        found
    })
}

/// Whether any piece of some bytes is device code in another form.
fn holds_embedded(bytes: &[u8]) -> bool {
    let budget = Budget::of(bytes.len());
    chunks(bytes, &[(0, bytes.len() as u64)])
        .into_par_iter()
        .any(|range| embedded::holds_any(bytes, range, &budget))
}

/// Whether a file among others is worth a look: anything of a known format, anything that holds what
/// looks like device code or makes some, and PTX by its name. Texts count like all else: PTX is one.
fn is_candidate(name: &str, bytes: &[u8], depth: Depth) -> bool {
    let named = Path::new(name).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("ptx"));
    let is_python = Path::new(name).extension().is_some_and(|extension| extension == "py");
    let is_text = !bytes[..bytes.len().min(PROBE_BYTES)].contains(&0);
    named
        || format_of(bytes) != FileFormat::Other
        || in_pieces(bytes, |piece| {
            !scan::scan(piece).is_empty()
                || ((!is_text || is_python) && !runtime_jit::text_signs(piece).is_empty())
        })
        || (depth.is_whole() && holds_embedded(bytes))
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

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
        visit_bytes("p.whl", &bytes, |specimen| found.push(specimen.bytes.to_vec()));
        assert_eq!(found, [b"\x7FELF\0"]);
    }

    #[test]
    fn counts_what_it_passes_over() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.txt"), "text").unwrap();
        fs::write(folder.path().join("b.so"), b"\x7FELF\0\0").unwrap();
        let tally = visit(folder.path(), |_| ()).unwrap();
        assert_eq!(tally, VisitTally { files: 2, size_bytes: 10, unread: Vec::new() });
    }

    #[test]
    fn a_missing_path_is_an_error_that_names_it() {
        let error = visit(Path::new("/nowhere/at/all"), |_| ()).unwrap_err();
        assert!(error.to_string().contains("/nowhere/at/all"));
    }
}
