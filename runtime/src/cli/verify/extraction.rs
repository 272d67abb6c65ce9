//! Writes every image of a path into a folder, decompressed, under names that no stranger chose.
//!
//! ```text
//! FOLDER/
//!   index.json                            proofmark.extraction, one element an image
//!   0001-libk.so-sm_100a.cubin            number, file, architecture
//!   0002-libk.so-sm_90.ptx
//! ```

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use proofmark_packager::{Digest, escape};
use serde_json::{Value, json};

use super::lines::unread_lines;
use crate::cli::console::Console;
use crate::cli::failure::Failure;
use crate::proof::gate::doubts;
use crate::proof::{Entry, EntryKind, Examination, Specimen, Unread, image_of};

/// Most images that are written.
const IMAGES: usize = 1_000_000;
/// Letters of a file's name that an image's name repeats.
const NAME_LETTERS: usize = 60;

/// The images written so far.
pub(super) struct Extraction {
    folder: PathBuf,
    written: usize,
    index: Vec<Value>,
    size_bytes: u64,
    /// What was not written, as far as it could be told.
    unread: Vec<Unread>,
}

impl Extraction {
    /// Into a folder that is new or empty.
    pub(super) fn into_folder(folder: &Path) -> Result<Self, Failure> {
        let fail = |error: std::io::Error| {
            Failure::could_not_judge(format!("cannot write into {}: {error}", folder.display()))
        };
        fs::create_dir_all(folder).map_err(fail)?;
        if fs::read_dir(folder).map_err(fail)?.next().is_some() {
            let text = format!("{} is not empty: expected a new or empty folder", folder.display());
            return Err(Failure::request(text).hint("name another folder with --extract"));
        }
        Ok(Self {
            folder: folder.to_owned(),
            written: 0,
            index: Vec::new(),
            size_bytes: 0,
            unread: Vec::new(),
        })
    }

    /// Writes the images of one file.
    pub(super) fn take(&mut self, specimen: &Specimen<'_>, examination: &Examination) -> Result<(), Failure> {
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
            let path = self.folder.join(&name);
            let opened = OpenOptions::new().write(true).create_new(true).open(&path);
            opened.and_then(|mut file| file.write_all(&image)).map_err(|error| {
                Failure::could_not_judge(format!("cannot write {}: {error}", path.display()))
            })?;
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
        let path = self.folder.join("index.json");
        let document = json!({ "schema": "proofmark.extraction", "schema_version": 1, "images": self.index,
            "unread": self.unread });
        let text = serde_json::to_string_pretty(&document).map_err(Failure::could_not_judge)?;
        fs::write(&path, text + "\n")
            .map_err(|error| Failure::could_not_judge(format!("cannot write {}: {error}", path.display())))?;
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
