//! Questions every entry about the architecture it claims, and keeps each answer as found.

use std::borrow::Cow;
use std::cmp::Ordering;

use proofmark_packager::{Arch, Feature};
use serde::{Deserialize, Serialize};

use super::cubin::{Cubin, CubinLayout, E_FLAGS_OFFSET};
use super::examination::Entry;
use super::fatbin::{EntryHeader, EntryKind, flags};
use super::marker::MarkerSource;
use super::note::ToolNote;

/// What a witness says about the claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stance {
    /// It agrees.
    Confirms,
    /// It cannot tell.
    Silent,
    /// It disagrees.
    Contradicts,
}

/// One answer, as found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Witness {
    /// Who says it: `entry header`, `e_flags`, `.nv.compat[9]`, `tkinfo`, …
    pub name: Cow<'static, str>,
    /// Index of the entry it speaks about; `None` for the command and the whole file.
    pub entry: Option<usize>,
    /// Where it was read: in the file, or in the decompressed image of a compressed entry.
    pub offset: Option<u64>,
    /// The value as found.
    pub found: String,
    /// What that value means.
    pub meaning: Cow<'static, str>,
    /// What it says about the claim.
    pub stance: Stance,
}

/// Asks everything about one entry; the claim is its own declared architecture.
pub(super) fn question(index: usize, entry: &Entry) -> Vec<Witness> {
    let mut inquiry = Inquiry { index, base: entry_base(entry), witnesses: Vec::new() };
    let Some(arch) = entry.arch else {
        let several = entry.ptx.as_ref().map(|ptx| ptx.several_targets.join(" and "));
        let found = several.filter(|several| !several.is_empty()).unwrap_or_else(|| "none".to_owned());
        inquiry.say("architecture", entry.offset, found, "names no one architecture", Stance::Contradicts);
        return inquiry.witnesses;
    };
    if let Some(header) = &entry.header {
        inquiry.header(entry, header, arch);
    }
    if let Some(cubin) = &entry.cubin {
        inquiry.cubin(cubin, arch, entry.kind);
    }
    if let Some(ptx) = &entry.ptx {
        let found = match (ptx.target, ptx.several_targets.as_slice()) {
            (Some(target), _) => target.to_string(),
            (None, []) => "none".to_owned(),
            (None, several) => several.join(" and "),
        };
        let stance = agree(ptx.target == Some(arch));
        inquiry.say(".target", entry.payload_offset, found, "the PTX text names its target", stance);
    }
    inquiry.witnesses
}

/// What is added to offsets inside the image: nothing when the image had to be decompressed.
fn entry_base(entry: &Entry) -> u64 {
    let stored = entry.compression == Some(super::compression::Compression::None);
    if stored { entry.payload_offset } else { 0 }
}

fn agree(yes: bool) -> Stance {
    if yes { Stance::Confirms } else { Stance::Contradicts }
}

struct Inquiry {
    index: usize,
    base: u64,
    witnesses: Vec<Witness>,
}

impl Inquiry {
    fn say(
        &mut self,
        name: &'static str,
        offset: u64,
        found: impl Into<String>,
        meaning: impl Into<Cow<'static, str>>,
        stance: Stance,
    ) {
        self.witnesses.push(Witness {
            name: name.into(),
            entry: Some(self.index),
            offset: Some(offset),
            found: found.into(),
            meaning: meaning.into(),
            stance,
        });
    }

    fn header(&mut self, entry: &Entry, header: &EntryHeader, arch: Arch) {
        let both = header.flags & (flags::SPECIFIC | flags::FAMILY) == flags::SPECIFIC | flags::FAMILY;
        let meaning = if both {
            "both letter bits are set, which no tool writes".into()
        } else {
            Cow::Owned(format!("the entry header claims {arch}; the driver's first look"))
        };
        self.say(
            "entry header",
            entry.offset + 28,
            format!("{arch}, flags {:#x}", header.flags),
            meaning,
            agree(!both),
        );
        let scrambled = header.flags & flags::SCRAMBLED != 0;
        if scrambled != (entry.kind == EntryKind::Lto) {
            let meaning = "only LTO-IR is scrambled, and always";
            self.say(
                "entry header",
                entry.offset + 40,
                format!("{:#x}", header.flags),
                meaning,
                Stance::Contradicts,
            );
        }
        let Some(cubin) = &entry.cubin else { return };
        let stance = agree(header.version == (1, u16::from(cubin.abi_version)));
        let found = format!("{}.{}", header.version.0, header.version.1);
        self.say("entry version", entry.offset + 24, found, "repeats the ELF's ABI version", stance);
        self.compat_copy(entry, header, cubin);
    }

    /// The header of a Blackwell entry repeats `.nv.compat`.
    fn compat_copy(&mut self, entry: &Entry, header: &EntryHeader, cubin: &Cubin) {
        let declared = header.flags & flags::COMPAT_COPY != 0;
        let at = entry.offset + 20;
        match &header.compat_copy {
            Some(copy) if declared => {
                let whole = *copy == cubin.compat_bytes && cubin.compat_offset.is_some();
                let stance = agree(whole || is_early_copy(copy, cubin));
                let found = format!("{} bytes", copy.len());
                self.say(
                    "compat copy",
                    at,
                    found,
                    "the header's copy of .nv.compat equals the section",
                    stance,
                );
            }
            None if !declared => {}
            _ => {
                let meaning = "the flag for a compat copy and the copy itself come together";
                self.say("compat copy", at, format!("{:#x}", header.flags), meaning, Stance::Contradicts);
            }
        }
    }

    fn cubin(&mut self, cubin: &Cubin, arch: Arch, kind: EntryKind) {
        let flags_at = self.base + E_FLAGS_OFFSET;
        let found = format!("{:#x}", cubin.e_flags);
        let meaning = format!("e_flags hold the number {}", cubin.number);
        self.say("e_flags", flags_at, found, meaning, agree(cubin.number == arch.number));
        self.marker(cubin, arch);
        for problem in &cubin.problems {
            let meaning = "no toolkit writes this";
            self.say(
                "cubin",
                self.base + problem.offset,
                problem.reason.clone(),
                meaning,
                Stance::Contradicts,
            );
        }
        self.tools(cubin, arch, kind);
        self.arch_notes(cubin, arch);
        self.debug_ptx(cubin, arch, kind);
    }

    /// A build for debuggers repeats the PTX that it was made from.
    fn debug_ptx(&mut self, cubin: &Cubin, arch: Arch, kind: EntryKind) {
        for ptx in &cubin.debug_ptx {
            let found = ptx.target.map_or("none".to_owned(), |target| target.to_string());
            let (meaning, stance) = match ptx.target {
                Some(target) if target == arch => {
                    ("the PTX that it repeats for debuggers names the same target", Stance::Confirms)
                }
                Some(target) if target.number < arch.number => {
                    ("the front end compiled for an earlier architecture", Stance::Silent)
                }
                Some(target) if kind == EntryKind::Cubin && bare_family(cubin, arch) == Some(target) => (
                    "the PTX that it repeats for debuggers names the family, as its tool does",
                    Stance::Silent,
                ),
                _ => ("the PTX that it repeats for debuggers names another target", Stance::Contradicts),
            };
            self.say("debug PTX", self.base + ptx.offset, found, meaning, stance);
        }
    }

    fn marker(&mut self, cubin: &Cubin, arch: Arch) {
        let Some(marker) = cubin.marker else { return };
        let name = match marker.source {
            MarkerSource::EFlags800 => "e_flags & 0x800",
            MarkerSource::EFlags8 => "e_flags & 0x8",
            MarkerSource::Compat9 => ".nv.compat[9]",
            MarkerSource::TooOld => "no letter",
        };
        let meaning = match (marker.specific, arch.feature) {
            (true, _) => "machine code for this compute capability alone: the `a`",
            (false, Feature::Family) => "not the `a`; a family build looks like a plain one here",
            (false, _) => "not the `a`",
        };
        let stance = agree(marker.specific == (arch.feature == Feature::Specific));
        self.say(name, self.base + marker.offset, u8::from(marker.specific).to_string(), meaning, stance);
    }

    fn tools(&mut self, cubin: &Cubin, arch: Arch, kind: EntryKind) {
        let confirmed =
            cubin.tools.iter().any(|tool| tool.arch == Some(arch) || tool.is_assembler_without_arch());
        for tool in &cubin.tools {
            let found = format!("{} {}", tool.tool, tool.options.trim_end());
            let (meaning, stance) = hear_tool(tool, cubin, arch, kind);
            self.say("tkinfo", self.base + tool.options_offset, found, meaning, stance);
        }
        let bare_family = kind == EntryKind::Cubin && arch.feature == Feature::Plain;
        if !confirmed && cubin.layout == CubinLayout::Abi8 && !bare_family {
            let meaning =
                "every tool since 12.8 leaves its options in such a cubin; here none names this architecture";
            self.say("tkinfo", self.base, "no confirmation", meaning, Stance::Contradicts);
        }
    }

    fn arch_notes(&mut self, cubin: &Cubin, arch: Arch) {
        for note in &cubin.arch_notes {
            let (meaning, stance) = match note.number.cmp(&arch.number) {
                Ordering::Equal => ("the front end compiled for the same number", Stance::Confirms),
                Ordering::Less => ("the front end compiled for an earlier architecture", Stance::Silent),
                Ordering::Greater => ("the front end compiled for a later architecture", Stance::Contradicts),
            };
            let found = format!("compute_{}", note.number);
            self.say("architecture note", self.base + note.offset, found, meaning, stance);
        }
        if cubin.arch_notes.is_empty() && cubin.layout == CubinLayout::Abi8 {
            let meaning =
                "every tool since 12.8 leaves an architecture note in such a cubin; here it is missing";
            self.say("architecture note", self.base, "none", meaning, Stance::Contradicts);
        }
    }
}

/// What a tool's options say about the architecture of the whole cubin.
fn hear_tool(tool: &ToolNote, cubin: &Cubin, arch: Arch, kind: EntryKind) -> (&'static str, Stance) {
    let family = Arch { feature: Feature::Family, ..arch };
    match tool.arch {
        Some(named) if named == arch => ("the tool was asked for this architecture", Stance::Confirms),
        // Without a container nothing but this text tells `f` from plain.
        Some(named) if named == family && kind == EntryKind::Cubin && arch.feature == Feature::Plain => {
            ("the tool was asked for the family; a bare cubin shows that in this text alone", Stance::Silent)
        }
        Some(named)
            if is_linked(cubin) && !tool.links_objects() && could_be_linked_into(named.number, arch) =>
        {
            ("an object for another architecture was linked in", Stance::Silent)
        }
        Some(_) => ("the tool was asked for another architecture", Stance::Contradicts),
        None if !tool.chooses_arch() && !tool.names_arch() => {
            ("the tool was told no architecture", Stance::Silent)
        }
        None => ("the tool's options do not spell an architecture as the tools do", Stance::Contradicts),
    }
}

/// The family that a tool was asked for, where all else in a cubin is as for the plain architecture: outside of a
/// container nothing but the tool's text tells them apart.
pub(super) fn bare_family(cubin: &Cubin, arch: Arch) -> Option<Arch> {
    let family = Arch { feature: Feature::Family, ..arch };
    let is_named = cubin.tools.iter().any(|tool| tool.arch == Some(family));
    (arch.feature == Feature::Plain && is_named).then_some(family)
}

/// The patch of 12.8 that was released first; cuSPARSE and CUPTI hold code of 12.8.0 and 12.8.13.
const FIRST_RELEASED_PATCH: u32 = 61;

/// Whether a header's copy has the form that 12.8 wrote before its release.
fn is_early_copy(copy: &[u8], cubin: &Cubin) -> bool {
    let patch = |tool: &ToolNote| tool.release.rsplit_once(" V12.8.")?.1.parse::<u32>().ok();
    let early = cubin.tools.iter().filter_map(patch).any(|patch| patch < FIRST_RELEASED_PATCH);
    let mut records: Vec<_> = cubin.compat.iter().collect();
    records.sort_by_key(|record| record.attribute);
    let attributes: Vec<u8> = records.iter().map(|record| record.attribute).collect();
    let values: Vec<u16> = records.iter().map(|record| record.value).collect();
    early && attributes == [2, 3, 5] && values == copy.iter().map(|&value| value.into()).collect::<Vec<u16>>()
}

/// Whether the device linker, or the assembler that gathers objects, made it from several objects.
fn is_linked(cubin: &Cubin) -> bool {
    cubin.tools.iter().any(ToolNote::links_objects)
        || (cubin.tools.len() == 1 && cubin.tools[0].tool == "nvasm_internal")
}

/// The device linker takes objects for earlier minors of the same major (seen in NVSHMEM: `sm_80`
/// in an `sm_86` image), and plain ones into the `a`.
fn could_be_linked_into(number: u32, arch: Arch) -> bool {
    number / 10 == arch.number / 10 && number <= arch.number
}

/// The earlier virtual architecture that the front end compiled for, if it was not the entry's own.
pub(super) fn front_end(entry: &Entry) -> Option<u32> {
    let (cubin, arch) = (entry.cubin.as_ref()?, entry.arch?);
    // Legacy cubins keep the virtual number in bits 16-23 of e_flags (seen, 12.8 and 12.9).
    let legacy = (cubin.layout == CubinLayout::Abi7).then_some(cubin.e_flags >> 16 & 0xFF);
    let debug = cubin.debug_ptx.iter().filter_map(|ptx| ptx.target).map(|target| target.number);
    let numbers = cubin.arch_notes.iter().map(|note| note.number).chain(legacy).chain(debug);
    numbers.filter(|&number| number != arch.number).min()
}

/// Architectures of objects that were linked into an image for another one.
pub(super) fn linked_in(entry: &Entry) -> Vec<Arch> {
    let (Some(cubin), Some(arch)) = (&entry.cubin, entry.arch) else { return Vec::new() };
    let named = cubin.tools.iter().filter(|tool| !tool.links_objects()).filter_map(|tool| tool.arch);
    named.filter(|&named| is_linked(cubin) && named != arch).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CompatRecord, examine};

    fn entry(fixture: &[u8]) -> Entry {
        examine(fixture).entries.remove(0)
    }

    fn is_contradicted(entry: &Entry) -> bool {
        question(0, entry).iter().any(|witness| witness.stance == Stance::Contradicts)
    }

    fn edit(entry: &mut Entry, edit: impl FnOnce(&mut Cubin)) {
        edit(entry.cubin.as_mut().expect("the fixture is machine code"));
    }

    #[test]
    fn the_linker_as_a_library_takes_plain_objects_and_shows_them() {
        let mut entry = entry(include_bytes!("../../../tests/fixtures/proof/exact_12.9.cubin"));
        let plain: Arch = "sm_100".parse().unwrap();
        edit(&mut entry, |cubin| {
            let mut object = cubin.tools[0].clone();
            object.arch = Some(plain);
            cubin.tools.push(object);
        });
        assert!(is_contradicted(&entry), "two tools, but nothing that links");
        edit(&mut entry, |cubin| {
            let mut linker = cubin.tools[0].clone();
            linker.tool = "nvJIT API".to_owned();
            linker.options = "JIT API Command Line Options".to_owned();
            linker.arch = None;
            cubin.tools.insert(0, linker);
        });
        assert!(!is_contradicted(&entry), "{:?}", question(0, &entry));
        assert_eq!(linked_in(&entry), [plain]);
    }

    #[test]
    fn the_early_copy_of_compat_values_is_believed_of_its_release_alone() {
        let mut entry = entry(include_bytes!("../../../tests/fixtures/proof/exact_12.9.cubin"));
        edit(&mut entry, |cubin| {
            let record = |(attribute, value)| CompatRecord { offset: 0, format: 2, attribute, value };
            cubin.compat = [(2, 1), (5, 5), (3, 0)].map(record).to_vec();
            assert!(!is_early_copy(&[1, 0, 5], cubin), "the release wrote the whole section");
            cubin.tools[0].release = "Cuda compilation tools, release 12.8, V12.8.13".to_owned();
            assert!(is_early_copy(&[1, 0, 5], cubin));
            assert!(!is_early_copy(&[2, 0, 5], cubin), "another value");
            assert!(!is_early_copy(&[1, 0], cubin), "cut off");
        });
    }
}
