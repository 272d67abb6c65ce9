//! What appeared and what went between two releases.

use std::collections::BTreeSet;

use proofmark_packager::{Arch, Digest};
use serde::Serialize;

use super::inventory::{FileInventory, Form, Images, Inventory};

/// Sizes before and after, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Sizes {
    /// Before.
    pub old_bytes: u64,
    /// After.
    pub new_bytes: u64,
}

/// The images of one form for one architecture, before and after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImageDifference {
    /// The architecture.
    pub arch: Option<Arch>,
    /// The form.
    pub form: Form,
    /// How many images there were and are.
    pub images: (u64, u64),
    /// Their sizes together, decompressed.
    #[serde(flatten)]
    pub sizes: Sizes,
    /// Kernels that are new.
    pub kernels_appeared: Vec<String>,
    /// Kernels that are gone.
    pub kernels_gone: Vec<String>,
    /// Kernels of both whose machine code differs.
    pub kernels_changed: Vec<String>,
    /// How many of the new images are none of the old, byte for byte.
    pub images_changed: u64,
}

/// One file, before and after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileDifference {
    /// The file, from the root.
    pub file: String,
    /// `appeared`, `gone` or `changed`; `not_known` where one of the two was not read whole.
    pub change: &'static str,
    /// The file's own size.
    #[serde(flatten)]
    pub sizes: Sizes,
    /// What changed in it.
    pub images: Vec<ImageDifference>,
}

/// What a comparison comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    /// Both were read whole, and nothing differs.
    Same,
    /// Both were read whole, and neither holds any device code: there is nothing that could be the same.
    NoDeviceCode,
    /// Something differs, whatever else is not known.
    Different,
    /// Nothing differs in what was read, and something was not.
    NotKnown,
}

/// Everything that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What it comes to.
    pub answer: Comparison,
    /// Architectures with machine code that the old one did not have in any file; none are named where the
    /// old one was not read whole.
    pub archs_appeared: Vec<Arch>,
    /// Those that no file has any more; none are named where the new one was not read whole.
    pub archs_gone: Vec<Arch>,
    /// Size of all images together.
    pub device_code: Sizes,
    /// The files that differ.
    pub files: Vec<FileDifference>,
}

/// What a file is called that was not read whole, before or after.
const NOT_KNOWN: &str = "not_known";

impl Difference {
    /// Compares two inventories.
    pub fn between(old: &Inventory, new: &Inventory) -> Self {
        let old_files = old.files_as_in(new);
        let names: BTreeSet<&String> = old_files.keys().chain(new.files.keys()).collect();
        let files = names.into_iter().filter_map(|name| {
            let (before, after) = (old_files.get(name), new.files.get(name));
            let nothing = FileInventory::default();
            let half_read = [before, after].into_iter().flatten().any(|file| !file.doubts.is_empty());
            // A file that is not there may be in what was not read.
            let change = match (before, after) {
                _ if half_read => NOT_KNOWN,
                (None, _) if !old.unread.is_empty() => NOT_KNOWN,
                (_, None) if !new.unread.is_empty() => NOT_KNOWN,
                (None, _) => "appeared",
                (_, None) => "gone",
                _ => "changed",
            };
            let (before, after) = (before.unwrap_or(&nothing), after.unwrap_or(&nothing));
            let images = images_between(before, after);
            let sizes = Sizes { old_bytes: before.size_bytes, new_bytes: after.size_bytes };
            (half_read || !images.is_empty()).then(|| FileDifference {
                file: name.clone(),
                change,
                sizes,
                images,
            })
        });
        let archs = |inventory: &Inventory| inventory.kernels_by_arch().into_keys().collect::<BTreeSet<_>>();
        let (before, after) = (archs(old), archs(new));
        let size = |inventory: &Inventory| {
            inventory
                .files
                .values()
                .flat_map(|file| file.images.values())
                .map(|images| images.size_bytes)
                .sum()
        };
        let files: Vec<FileDifference> = files.collect();
        let (old_is_whole, new_is_whole) = (old.not_known().is_empty(), new.not_known().is_empty());
        let answer = if files.iter().any(|file| file.change != NOT_KNOWN) {
            Comparison::Different
        } else if old_is_whole && new_is_whole {
            let is_there = old.holds_device_code() || new.holds_device_code();
            if is_there { Comparison::Same } else { Comparison::NoDeviceCode }
        } else {
            Comparison::NotKnown
        };
        Self {
            answer,
            archs_appeared: after.difference(&before).copied().filter(|_| old_is_whole).collect(),
            archs_gone: before.difference(&after).copied().filter(|_| new_is_whole).collect(),
            device_code: Sizes { old_bytes: size(old), new_bytes: size(new) },
            files,
        }
    }
}

fn images_between(before: &FileInventory, after: &FileInventory) -> Vec<ImageDifference> {
    let keys: BTreeSet<_> = before.images.keys().chain(after.images.keys()).collect();
    let nothing = Images::default();
    let differences = keys.into_iter().filter_map(|key| {
        let old = before.images.get(key).unwrap_or(&nothing);
        let new = after.images.get(key).unwrap_or(&nothing);
        let names = |one: &Images, other: &Images| {
            let names = one.kernels.keys().filter(|name| !other.kernels.contains_key(*name));
            names.map(ToString::to_string).collect::<Vec<_>>()
        };
        let changed = new
            .kernels
            .iter()
            .filter(|(name, code)| old.kernels.get(*name).is_some_and(|before| before != *code));
        let is_new = |(digest, count): (&Digest, &u64)| {
            count.saturating_sub(old.digests.get(digest).copied().unwrap_or_default())
        };
        (old != new).then(|| ImageDifference {
            arch: key.0,
            form: key.1,
            images: (old.count, new.count),
            sizes: Sizes { old_bytes: old.size_bytes, new_bytes: new.size_bytes },
            kernels_appeared: names(new, old),
            kernels_gone: names(old, new),
            kernels_changed: changed.map(|(name, _)| name.to_string()).collect(),
            images_changed: new.digests.iter().map(is_new).sum(),
        })
    });
    differences.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Depth, examine_to};

    fn inventory(files: &[(&str, &[u8])]) -> Inventory {
        let mut inventory = Inventory::default();
        for (name, bytes) in files {
            inventory.add(name, &examine_to(bytes, Depth::Code));
        }
        inventory
    }

    const EXACT: &[u8] = include_bytes!("../../../../tests/fixtures/proof/exact_13.0.so");
    const HOPPER: &[u8] = include_bytes!("../../../../tests/fixtures/proof/hopper_12.9.cubin");

    #[test]
    fn the_same_device_code_does_not_differ() {
        let (old, new) = (inventory(&[("k.so", EXACT)]), inventory(&[("k.so", EXACT)]));
        assert_eq!(Difference::between(&old, &new).answer, Comparison::Same);
    }

    #[test]
    fn code_that_changes_is_named_by_its_kernel_and_other_bytes_are_counted() {
        let image = crate::examine(EXACT).entries.remove(0);
        let kernel = &image.cubin.as_ref().unwrap().kernels[0];
        let start = image.payload_offset;
        let changed = |at: u64| {
            let mut bytes = EXACT.to_vec();
            bytes[usize::try_from(start + at).unwrap()] ^= 1;
            let difference =
                Difference::between(&inventory(&[("k.so", EXACT)]), &inventory(&[("k.so", &bytes)]));
            assert_eq!(difference.answer, Comparison::Different, "at {at:#x}");
            let [file] = &difference.files[..] else { panic!("{difference:#?}") };
            (file.images[0].kernels_changed.clone(), file.images[0].images_changed)
        };
        // A bit of the number in the first instruction, and the number of a build in a note.
        assert_eq!(changed(kernel.code_offset + 5), (vec![kernel.name.clone()], 1));
        let bytes = &EXACT[usize::try_from(start).unwrap()..];
        let word = b"/compiler.";
        let note = bytes.windows(word.len()).position(|window| window == word).unwrap() + word.len();
        assert_eq!(changed(note as u64), (Vec::new(), 1));
    }

    #[test]
    fn what_was_not_read_whole_is_neither_the_same_nor_gone() {
        let cut = &EXACT[..EXACT.len() / 2];
        let (old, new) = (inventory(&[("k.so", EXACT), ("l.so", EXACT)]), inventory(&[("k.so", cut)]));
        let difference = Difference::between(&old, &new);
        assert!(difference.archs_gone.is_empty(), "{difference:#?}");
        let changes: Vec<_> = difference.files.iter().map(|file| (&file.file[..], file.change)).collect();
        assert_eq!(changes, [("k.so", "not_known"), ("l.so", "gone")]);
        let (half, whole) = (inventory(&[("k.so", cut)]), inventory(&[("k.so", EXACT)]));
        for (old, new) in [(&half, &half), (&half, &whole), (&whole, &half)] {
            assert_eq!(Difference::between(old, new).answer, Comparison::NotKnown);
        }
    }

    #[test]
    fn architectures_and_kernels_that_appear_and_go_are_named() {
        let (old, new) = (inventory(&[("k", HOPPER)]), inventory(&[("k", EXACT), ("l", EXACT)]));
        let difference = Difference::between(&old, &new);
        assert_eq!(difference.archs_appeared, [Arch::SM_100A]);
        assert_eq!(difference.archs_gone, ["sm_90a".parse().unwrap()]);
        let [changed, appeared] = &difference.files[..] else { panic!("{difference:#?}") };
        assert_eq!((changed.change, appeared.change), ("changed", "appeared"));
        assert_eq!(changed.images.len(), 2);
        assert!(!changed.images[0].kernels_gone.is_empty() && !changed.images[1].kernels_appeared.is_empty());
    }
}
