//! What is in it by architecture and form, and the kernels: sums over all files.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use proofmark_packager::Arch;

use super::examined::Examined;
use crate::proof::{Compression, Entry, EntryKind, Kernel};

/// Most reasons that a list keeps of what is not accounted for.
const UNACCOUNTED: usize = 13;

/// One row an architecture and kind.
#[derive(Default)]
pub(super) struct Row {
    pub(super) images: usize,
    pub(super) stubs: usize,
    /// Kernels, each name once, by a hash of it: only their number is shown.
    pub(super) kernels: HashSet<u64>,
    /// Whether some images were not read, so that the number of kernels is not known.
    pub(super) unlooked: bool,
    pub(super) image_bytes: u64,
    pub(super) stored_bytes: u64,
    pub(super) compressions: BTreeSet<&'static str>,
    pub(super) toolkits: BTreeSet<String>,
    pub(super) special: bool,
    pub(super) text_archs: BTreeSet<Arch>,
}

/// Sums over all files.
#[derive(Default)]
pub(super) struct Contents {
    pub(super) rows: BTreeMap<(Option<Arch>, &'static str), Row>,
    /// Kernels by name, for a list.
    pub(super) kernels: BTreeMap<String, (Kernel, BTreeSet<Arch>)>,
    /// Machine code and PTX that stayed packed.
    pub(super) packed: usize,
    pub(super) unaccounted: Vec<String>,
    pub(super) more_unaccounted: usize,
}

impl Row {
    /// How many kernels there are, if all of it was read.
    pub(super) fn kernel_count(&self) -> Option<usize> {
        (!self.unlooked).then_some(self.kernels.len())
    }
}

impl Contents {
    /// Takes in one file.
    pub(super) fn add(&mut self, one: &Examined<'_>, names_kernels: bool) {
        for entry in &one.examination.entries {
            add(self.rows.entry((entry.arch, kind(entry))).or_default(), entry);
            self.packed += usize::from(is_packed(entry));
            if names_kernels {
                self.name_kernels(entry);
            }
        }
        for problem in &one.examination.unaccounted {
            if self.unaccounted.len() < UNACCOUNTED {
                self.unaccounted.push(format!("{}: at {:#x}: {}", one.name, problem.offset, problem.reason));
            } else {
                self.more_unaccounted += 1;
            }
        }
    }

    fn name_kernels(&mut self, entry: &Entry) {
        for kernel in entry.cubin.iter().flat_map(|cubin| &cubin.kernels) {
            if let Some((_, archs)) = self.kernels.get_mut(&kernel.name) {
                archs.extend(entry.arch);
            } else {
                let archs = entry.arch.into_iter().collect();
                self.kernels.insert(kernel.name.clone(), (kernel.clone(), archs));
            }
        }
    }
}

fn is_packed(entry: &Entry) -> bool {
    let names_kernels = entry.is_machine_code() || entry.kind == EntryKind::Ptx;
    names_kernels && entry.cubin.is_none() && entry.ptx.is_none() && entry.problems.is_empty()
}

fn hash_of(name: &str) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

fn add(row: &mut Row, entry: &Entry) {
    if entry.is_stub() {
        row.stubs += 1;
    } else {
        row.images += 1;
    }
    row.unlooked |= entry.cubin.is_none() && entry.ptx.is_none();
    row.image_bytes += entry.image_bytes;
    row.stored_bytes += match &entry.header {
        Some(header) if header.compressed_bytes != 0 => u64::from(header.compressed_bytes),
        _ => entry.image_bytes,
    };
    row.compressions.extend(match entry.compression {
        Some(Compression::Lz4) => Some("lz4"),
        Some(Compression::Zstd) => Some("zstd"),
        Some(Compression::None) => Some("plain"),
        None => None,
    });
    if let Some(cubin) = &entry.cubin {
        row.kernels.extend(cubin.kernels.iter().map(|kernel| hash_of(&kernel.name)));
        row.toolkits.extend(cubin.toolkit());
        row.special |= !cubin.special.is_empty();
        let named = cubin.tools.iter().filter_map(|tool| tool.arch);
        row.text_archs.extend(named.filter(|&named| Some(named) != entry.arch));
    }
    if let Some(ptx) = &entry.ptx {
        row.kernels.extend(ptx.kernels.iter().map(|name| hash_of(name)));
        row.toolkits.extend(ptx.version.as_ref().map(|version| format!("PTX {version}")));
    }
}

fn kind(entry: &Entry) -> &'static str {
    match entry.kind {
        EntryKind::Elf | EntryKind::Cubin if entry.place.loose => "machine code (loose)",
        EntryKind::Elf | EntryKind::Cubin => "machine code",
        EntryKind::Ptx if entry.place.loose => "PTX (loose)",
        EntryKind::Ptx => "PTX",
        EntryKind::Lto => "LTO-IR",
        EntryKind::Concat => "concatenated",
        EntryKind::Unknown => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::{Depth, examine_to};

    /// What a list says of the kernels of each kind, and how many images stayed packed.
    fn listed(depth: Depth) -> (Vec<(&'static str, Option<usize>)>, usize) {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/proof/");
        let bytes = std::fs::read(format!("{folder}with_ptx_13.0.fatbin")).unwrap();
        let examination = examine_to(&bytes, depth);
        let one = Examined { name: "k", examination: &examination, judgement: None, claim: None };
        let mut contents = Contents::default();
        contents.add(&one, true);
        let rows = contents.rows.iter().map(|((_, kind), row)| (*kind, row.kernel_count())).collect();
        (rows, contents.packed)
    }

    #[test]
    fn kernels_of_images_that_stay_packed_are_not_counted_as_none() {
        let (read, packed) = listed(Depth::Facts);
        assert!(read.iter().all(|(_, kernels)| kernels.is_some_and(|count| count > 0)), "{read:?}");
        assert_eq!(packed, 0);
        let (unread, packed) = listed(Depth::Headers);
        let ptx: Vec<_> = unread.iter().filter(|(kind, _)| *kind == "PTX").collect();
        assert!(!ptx.is_empty() && ptx.iter().all(|(_, kernels)| kernels.is_none()), "{unread:?}");
        assert!(packed > 0);
    }
}
