//! Writes every image of a path into a folder, decompressed, under names that no stranger chose: all of them and
//! the index, or nothing.
//!
//! ```text
//! FOLDER/
//!   index.json                            proofmark.extraction, one element an image
//!   0001-libk.so-sm_100a.cubin            number, file, architecture
//!   0002-libk.so-sm_90.ptx
//! ```

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use proofmark_packager::{Digest, escape};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::lines::unread_lines;
use crate::cli::console::Console;
use crate::cli::failure::Failure;
use crate::interruption::Interruption;
use crate::proof::gate::doubts;
use crate::proof::{Entry, EntryKind, Examination, Specimen, Unread, image_of};

/// Most images that are written.
const IMAGES: usize = 1_000_000;
/// Letters of a file's name that an image's name repeats.
const NAME_LETTERS: usize = 60;
/// How the name of a folder starts in which images wait until all are there.
const STAGING_PREFIX: &str = ".proofmark-extract-";
/// What is written last.
const INDEX_NAME: &str = "index.json";

/// Where the images go, as it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Nothing stands there: the whole folder is moved there at the end.
    New,
    /// An empty folder, which may be a mount or a link: files are moved into it at the end.
    Empty,
}

/// The images written so far.
pub(super) struct Extraction {
    folder: PathBuf,
    place: Place,
    /// Removed with all that is in it, unless it was moved.
    staging: TempDir,
    /// The folder in the staging folder, which is private to the user itself.
    tree: PathBuf,
    interruption: Interruption,
    written: usize,
    index: Vec<Value>,
    size_bytes: u64,
    /// What was not written, as far as it could be told.
    unread: Vec<Unread>,
}

impl Extraction {
    /// Into a folder that is new or empty.
    pub(super) fn into_folder(folder: &Path) -> Result<Self, Failure> {
        let fail = |error: io::Error| cannot_write(folder, &error);
        let place = place(folder)?;
        let parent = match (place, folder.parent()) {
            (Place::Empty, _) => folder,
            (Place::New, Some(parent)) if !parent.as_os_str().is_empty() => parent,
            (Place::New, _) => Path::new("."),
        };
        fs::create_dir_all(parent).map_err(fail)?;
        let staging = tempfile::Builder::new().prefix(STAGING_PREFIX).tempdir_in(parent);
        // The kind alone: the temporary folder's name means nothing to anybody.
        let staging = staging.map_err(|error| fail(error.kind().into()))?;
        let tree = staging.path().join("tree");
        fs::create_dir(&tree).map_err(fail)?;
        Ok(Self {
            folder: folder.to_owned(),
            place,
            staging,
            tree,
            interruption: Interruption::guard(),
            written: 0,
            index: Vec::new(),
            size_bytes: 0,
            unread: Vec::new(),
        })
    }

    /// Writes the images of one file.
    pub(super) fn take(&mut self, specimen: &Specimen<'_>, examination: &Examination) -> Result<(), Failure> {
        if self.interruption.raised() {
            return Err(Failure::could_not_judge("interrupted: no image was written"));
        }
        let not_read = |reason| Unread { path: specimen.name.clone(), reason };
        self.unread.extend(doubts(examination).into_iter().map(not_read));
        for entry in examination.entries.iter().filter(|entry| entry.problems.is_empty()) {
            if self.written >= IMAGES {
                self.unread.push(not_read(format!("more than {IMAGES} images, which are not written")));
                return Ok(());
            }
            let Some(image) = image_of(specimen.bytes, examination, entry) else {
                self.unread
                    .push(not_read(format!("at {:#x}: an image that could not be taken out", entry.offset)));
                continue;
            };
            self.written += 1;
            let name = name_of(self.written, &specimen.name, entry);
            let opened = OpenOptions::new().write(true).create_new(true).open(self.tree.join(&name));
            let written = opened.and_then(|mut file| file.write_all(&image));
            written.map_err(|error| cannot_write(&self.folder.join(&name), &error))?;
            self.size_bytes += image.len() as u64;
            self.index.push(json!({
                "image": name,
                "file": specimen.name,
                "offset": entry.offset,
                "kind": entry.kind,
                "arch": entry.arch,
                "size_bytes": image.len(),
                "sha256": Digest::of_bytes(&image),
                "kernels": entry.cubin.as_ref().map(|cubin| cubin.kernels.iter().map(|one| &one.name).collect::<Vec<_>>()),
            }));
        }
        Ok(())
    }

    /// Writes the index and says what is not there; whether everything is.
    pub(super) fn finish<'a>(
        mut self,
        unread: impl Iterator<Item = &'a Unread>,
        console: &Console,
    ) -> Result<bool, Failure> {
        self.unread.extend(unread.cloned());
        let document = json!({ "schema": "proofmark.extraction", "schema_version": 1, "images": self.index,
            "unread": self.unread });
        let text = serde_json::to_string_pretty(&document).map_err(Failure::could_not_judge)?;
        fs::write(self.tree.join(INDEX_NAME), text + "\n")
            .map_err(|error| cannot_write(&self.folder.join(INDEX_NAME), &error))?;
        self.publish().map_err(|error| cannot_write(&self.folder, &error))?;
        let folder = self.folder.display().to_string();
        console.say(format!(
            "{} images of {} bytes in {}",
            self.written,
            self.size_bytes,
            escape::line(&folder)
        ));
        if !self.unread.is_empty() {
            console.say(unread_lines(&self.unread, "unreadable").trim_end());
        }
        Ok(self.unread.is_empty())
    }

    /// Moves everything to where it was asked for, the index last.
    fn publish(&self) -> io::Result<()> {
        match self.place {
            Place::New => fs::rename(&self.tree, &self.folder),
            Place::Empty => {
                let images = self.index.iter().filter_map(|image| image["image"].as_str());
                let names: Vec<&str> = images.chain([INDEX_NAME]).collect();
                let moved = |name: &&str| fs::rename(self.tree.join(name), self.folder.join(name));
                names.iter().try_for_each(moved).inspect_err(|_| {
                    for name in &names {
                        let _ = fs::remove_file(self.folder.join(name));
                    }
                })?;
                fs::remove_dir_all(self.staging.path())
            }
        }
    }
}

/// What stands at a folder's path; anything but an empty folder is refused.
fn place(folder: &Path) -> Result<Place, Failure> {
    let refuse = |what: &str| {
        let text = format!("{} {what}: expected a new or empty folder", folder.display());
        Err(Failure::request(text).hint("name another folder with --extract"))
    };
    match fs::metadata(folder) {
        Ok(found) if !found.is_dir() => refuse("is no folder"),
        Ok(_) => {
            let mut entries = fs::read_dir(folder).map_err(|error| cannot_write(folder, &error))?;
            if entries.next().is_some() { refuse("is not empty") } else { Ok(Place::Empty) }
        }
        Err(error) if error.kind() == ErrorKind::NotADirectory => refuse("lies below what is no folder"),
        Err(_) if folder.is_symlink() => refuse("is a link that leads nowhere"),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Place::New),
        Err(error) => Err(cannot_write(folder, &error)),
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::could_not_judge(format!("cannot write {}: {error}", path.display()))
        .hint("nothing was left there; name another folder with --extract")
}

fn name_of(number: usize, file: &str, entry: &Entry) -> String {
    let base = file.rsplit(['/', '!', '\\']).find(|part| !part.is_empty()).unwrap_or("file");
    let plain =
        |letter: char| if letter.is_ascii_alphanumeric() || "._-".contains(letter) { letter } else { '_' };
    let base: String = base.chars().map(plain).take(NAME_LETTERS).collect();
    let arch = entry.arch.map_or_else(|| "unknown".to_owned(), |arch| arch.to_string());
    let ending = match entry.kind {
        EntryKind::Elf | EntryKind::Cubin => "cubin",
        EntryKind::Ptx => "ptx",
        EntryKind::Lto => "ltoir",
        EntryKind::Concat | EntryKind::Unknown => "bin",
    };
    format!("{number:04}-{base}-{arch}.{ending}")
}
