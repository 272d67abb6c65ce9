//! Reads the lock files that pin every wheel of the toolchain and of the kits.

use proofmark_packager::{Digest, DigestBuilder};
use toml_edit::{DocumentMut, Table};

use super::kit_name::KitName;

/// The toolchain's lock file as it was when this program was built.
const TOOLCHAIN: &str = include_str!("toolchain.lock.toml");

/// The kits' lock file.
const KITS: &str = include_str!("kits.lock.toml");

/// The machine of a wheel that does for each of them.
const ANY_MACHINE: &str = "any";

/// Grows when the folder that an installation leaves behind changes shape, so that an older
/// installation is not taken for a new one.
const LAYOUT_VERSION: u64 = 1;

/// One of the things that `toolchain install` installs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ComponentName {
    /// The CUDA compiler with its headers and runtime library.
    Cuda,
    /// TVM-FFI's headers and library.
    TvmFfi,
    /// Headers of a library that some submissions include.
    Kit(KitName),
}

impl ComponentName {
    /// What every build needs, in the order in which it is installed: the small one first.
    pub const TOOLCHAIN: [Self; 2] = [Self::TvmFfi, Self::Cuda];

    /// Everything that is pinned.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::TOOLCHAIN.into_iter().chain(KitName::PINNED.into_iter().map(Self::Kit))
    }

    /// The component of a name in the lock files.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|one| one.as_str() == name)
    }

    /// The version that is pinned for a machine such as `x86_64`; `None` where none is.
    pub fn pinned_version(self, machine: &str) -> Option<String> {
        Component::pinned(self, machine).map(|component| component.version)
    }

    /// The name in the lock file and in folder names.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cuda => "cuda",
            Self::TvmFfi => "tvm-ffi",
            Self::Kit(kit) => kit.as_str(),
        }
    }
}

/// One component with the wheels that make it up on one kind of machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Component {
    /// Which one.
    pub name: ComponentName,
    /// The version that people know it by.
    pub version: String,
    /// Every wheel of it, in the order of the lock file.
    pub wheels: Vec<PinnedWheel>,
}

/// One wheel, named exactly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinnedWheel {
    /// The project's name on the package index.
    pub project: String,
    /// Its version.
    pub version: String,
    /// The wheel's file name, tags included.
    pub file: String,
    /// Its length.
    pub size_bytes: u64,
    /// The SHA-256 of the file.
    pub sha256: Digest,
    /// What is taken out of it, where that is not decided by what the file holds.
    pub part: Option<WheelPart>,
}

/// The part of a wheel that a kit is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WheelPart {
    /// How the names of its files begin in the wheel, and in the kit.
    pub members: Vec<(String, String)>,
    /// The digest over the names and contents of what was placed.
    pub sha256: Digest,
    /// What of the wheel has to be read, in bytes.
    pub bytes: u64,
}

impl Component {
    /// The pinned component for a machine such as `x86_64`; `None` where no wheels are pinned.
    pub fn pinned(name: ComponentName, machine: &str) -> Option<Self> {
        let lock = if matches!(name, ComponentName::Kit(_)) { KITS } else { TOOLCHAIN };
        let document: DocumentMut = lock.parse().expect("the lock file is checked by a test");
        let table = components(&document).find(|table| text(table, "name") == name.as_str())?;
        let fits = |wheel: &&Table| [machine, ANY_MACHINE].contains(&text(wheel, "machine"));
        let wheels: Vec<_> = wheels(table).filter(fits).map(read_wheel).collect();
        let version = text(table, "version").to_owned();
        (!wheels.is_empty()).then_some(Self { name, version, wheels })
    }

    /// The folder name of the installation: it changes with every pinned byte.
    pub fn folder_name(&self) -> String {
        let digest = DigestBuilder::new("proofmark/toolchain-component/1")
            .number(LAYOUT_VERSION)
            .text(self.name.as_str())
            .list(self.wheels.iter(), |hash, wheel| {
                let hash = hash.text(&wheel.file).digest(&wheel.sha256);
                match &wheel.part {
                    Some(part) => hash.digest(&part.sha256),
                    None => hash,
                }
            })
            .finish();
        format!("{}-{}-{}", self.name.as_str(), self.version, digest.short())
    }

    /// What has to be fetched, in bytes: of parts what they are, although an index may give whole wheels alone.
    pub fn download_bytes(&self) -> u64 {
        let read = |wheel: &PinnedWheel| wheel.part.as_ref().map_or(wheel.size_bytes, |part| part.bytes);
        self.wheels.iter().map(read).sum()
    }
}

fn components(document: &DocumentMut) -> impl Iterator<Item = &Table> {
    document["component"].as_array_of_tables().into_iter().flatten()
}

fn wheels(component: &Table) -> impl Iterator<Item = &Table> {
    component["wheel"].as_array_of_tables().into_iter().flatten()
}

fn read_wheel(table: &Table) -> PinnedWheel {
    let size = table["size_bytes"].as_integer().and_then(|size| u64::try_from(size).ok());
    PinnedWheel {
        project: text(table, "project").to_owned(),
        version: text(table, "version").to_owned(),
        file: text(table, "file").to_owned(),
        size_bytes: size.expect("the lock file is checked by a test"),
        sha256: text(table, "sha256").parse().expect("the lock file is checked by a test"),
        part: read_part(table),
    }
}

fn read_part(wheel: &Table) -> Option<WheelPart> {
    let members = wheel.get("member")?.as_array_of_tables()?;
    let member = |table: &Table| (text(table, "from").to_owned(), text(table, "to").to_owned());
    let sha256 = text(wheel, "part_sha256").parse().expect("the lock file is checked by a test");
    let bytes = wheel["part_bytes"].as_integer().and_then(|size| u64::try_from(size).ok());
    let bytes = bytes.expect("the lock file is checked by a test");
    Some(WheelPart { members: members.iter().map(member).collect(), sha256, bytes })
}

fn text<'t>(table: &'t Table, key: &str) -> &'t str {
    table[key].as_str().expect("the lock file is checked by a test")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_the_same_projects_for_both_machines() {
        for name in ComponentName::TOOLCHAIN {
            let [intel, arm] = ["x86_64", "aarch64"].map(|machine| Component::pinned(name, machine).unwrap());
            let projects = |component: &Component| {
                component.wheels.iter().map(|w| (w.project.clone(), w.version.clone())).collect::<Vec<_>>()
            };
            assert_eq!(projects(&intel), projects(&arm));
            assert_ne!(intel.folder_name(), arm.folder_name());
            for wheel in intel.wheels.iter().chain(&arm.wheels) {
                let stem = format!("{}-{}-", wheel.project.replace('-', "_"), wheel.version);
                assert!(wheel.file.starts_with(&stem), "{}", wheel.file);
            }
        }
        assert_eq!(Component::pinned(ComponentName::Cuda, "riscv64"), None);
    }

    #[test]
    fn every_kit_is_a_part_of_one_wheel_for_every_machine() {
        for name in KitName::PINNED {
            let kit = Component::pinned(ComponentName::Kit(name), "riscv64").unwrap();
            assert_eq!(kit.wheels.len(), 1, "{}", name.as_str());
            let part = kit.wheels[0].part.as_ref().unwrap();
            assert!(part.members.iter().all(|(from, to)| from.ends_with('/') && to.ends_with('/')));
            assert_eq!(ComponentName::named(name.as_str()), Some(kit.name));
        }
    }
}
