//! The device code of a wheel or folder, by file: what a release ships.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;
use std::rc::Rc;

use proofmark_packager::{Arch, Digest};
use serde::Serialize;

use super::survey::{doubts, inner_name, survey};
use crate::{Depth, EntryKind, Examination, InputError, Unread};

/// In what form device code is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// Machine code.
    MachineCode,
    /// PTX.
    Ptx,
    /// LTO-IR.
    LtoIr,
    /// Something else.
    Unknown,
}

impl Form {
    fn of(kind: EntryKind) -> Self {
        match kind {
            EntryKind::Elf | EntryKind::Cubin => Self::MachineCode,
            EntryKind::Ptx => Self::Ptx,
            EntryKind::Lto => Self::LtoIr,
            EntryKind::Concat | EntryKind::Unknown => Self::Unknown,
        }
    }

    /// What to call it.
    pub fn word(self) -> &'static str {
        match self {
            Self::MachineCode => "machine code",
            Self::Ptx => "PTX",
            Self::LtoIr => "LTO-IR",
            Self::Unknown => "unknown",
        }
    }
}

/// The images of one form for one architecture in one file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Images {
    /// How many, empty ones aside.
    pub count: u64,
    /// Their size together, decompressed.
    pub size_bytes: u64,
    /// Their kernels, each with a number for its code: equal numbers tell of equal code, where it was digested.
    pub kernels: BTreeMap<Rc<str>, u64>,
    /// How many images there are of each digest, where they were digested.
    pub digests: BTreeMap<Digest, u64>,
}

/// One file with device code.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileInventory {
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Its images by architecture and form.
    pub images: BTreeMap<(Option<Arch>, Form), Images>,
    /// Why its images are not all that it holds, or cannot be believed.
    pub doubts: Vec<String>,
    /// Whether it may make more while it runs.
    pub runtime_jit: bool,
}

impl FileInventory {
    /// The kernels of each architecture's machine code in it.
    pub fn kernels_by_arch(&self) -> BTreeMap<Arch, BTreeSet<Rc<str>>> {
        let machine_code = self.images.iter().filter(|((_, form), _)| *form == Form::MachineCode);
        machine_code
            .filter_map(|((arch, _), images)| Some(((*arch)?, images.kernels.keys().cloned().collect())))
            .collect()
    }
}

/// What a release ships.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    /// Files with device code, or with something that could be some, by their path from the root.
    pub files: BTreeMap<String, FileInventory>,
    /// What was not read at all.
    pub unread: Vec<Unread>,
    /// The name of the only file, where it is not one of a wheel or folder.
    single: Option<String>,
    names: HashSet<Rc<str>>,
}

impl Inventory {
    /// Reads a wheel, a folder or a single file, only as deep as needed.
    pub fn of(path: &Path, depth: Depth) -> Result<Self, InputError> {
        let mut inventory = Self::default();
        let unread = survey(path, depth, |one| {
            inventory.take(one.name, one.examination, one.doubts.clone());
        })?;
        inventory.unread = unread;
        let own = inner_name(path, &path.display().to_string());
        let is_single = !path.is_dir() && inventory.files.keys().all(|name| *name == own);
        inventory.single = is_single.then_some(own);
        Ok(inventory)
    }

    /// The files by the names that they have in another: where each is of a single file, that file's name says nothing.
    pub(super) fn files_as_in(&self, other: &Self) -> Cow<'_, BTreeMap<String, FileInventory>> {
        match (&self.single, &other.single) {
            (Some(own), Some(name)) if own != name => {
                let renamed = self.files.get(own).map(|file| (name.clone(), file.clone()));
                Cow::Owned(renamed.into_iter().collect())
            }
            _ => Cow::Borrowed(&self.files),
        }
    }

    /// Takes in one file.
    pub fn add(&mut self, name: &str, examination: &Examination) {
        self.take(name, examination, doubts(examination));
    }

    /// Whatever is not known of it: files and what lies in them, each with the reason.
    pub fn not_known(&self) -> Vec<Unread> {
        let of = |name: &str, reason: &str| Unread { path: name.to_owned(), reason: reason.to_owned() };
        let inside =
            self.files.iter().flat_map(|(name, file)| file.doubts.iter().map(move |why| of(name, why)));
        self.unread.iter().cloned().chain(inside).collect()
    }

    /// Whether any file holds device code, as far as it was read.
    pub fn holds_device_code(&self) -> bool {
        self.files.values().any(|file| !file.images.is_empty())
    }

    fn take(&mut self, name: &str, examination: &Examination, doubts: Vec<String>) {
        let mut file = FileInventory {
            size_bytes: examination.size_bytes,
            doubts,
            runtime_jit: !examination.runtime_jit.is_empty(),
            images: BTreeMap::new(),
        };
        for entry in examination.entries.iter().filter(|entry| !entry.is_stub()) {
            let images = file.images.entry((entry.arch, Form::of(entry.kind))).or_default();
            images.count += 1;
            images.size_bytes += entry.image_bytes;
            if let Some(digest) = entry.digest {
                *images.digests.entry(digest).or_default() += 1;
            }
            let kernels = entry.cubin.iter().flat_map(|cubin| &cubin.kernels);
            let machine = kernels.map(|kernel| (&kernel.name, kernel.code.map_or(0, number_of)));
            let ptx = entry.ptx.iter().flat_map(|ptx| &ptx.kernels).map(|name| (name, 0));
            for (kernel, code) in machine.chain(ptx) {
                // Kernels of one name in several images are told apart by none of them: their order says nothing.
                let all = images.kernels.entry(shared(&mut self.names, kernel)).or_default();
                *all = all.wrapping_add(code);
            }
        }
        if self.files.contains_key(name) {
            file.doubts.push("another file has this name too".to_owned());
        }
        if !file.images.is_empty() || !file.doubts.is_empty() || file.runtime_jit {
            self.files.insert(name.to_owned(), file);
        }
    }

    /// The kernels of each architecture's machine code, all files together.
    pub fn kernels_by_arch(&self) -> BTreeMap<Arch, BTreeSet<Rc<str>>> {
        let mut by_arch: BTreeMap<Arch, BTreeSet<Rc<str>>> = BTreeMap::new();
        for (arch, kernels) in self.files.values().flat_map(FileInventory::kernels_by_arch) {
            by_arch.entry(arch).or_default().extend(kernels);
        }
        by_arch
    }
}

/// The first bytes of a digest.
fn number_of(digest: Digest) -> u64 {
    digest.as_bytes().iter().take(8).fold(0, |number, &byte| number << 8 | u64::from(byte))
}

fn shared(names: &mut HashSet<Rc<str>>, name: &str) -> Rc<str> {
    if let Some(known) = names.get(name) {
        return known.clone();
    }
    let name: Rc<str> = name.into();
    names.insert(name.clone());
    name
}
