//! Reads the lock file that pins every wheel of the toolchain.

use proofmark_packager::{Digest, DigestBuilder};
use toml_edit::{DocumentMut, Table};

/// The lock file as it was when this program was built.
const TEXT: &str = include_str!("toolchain.lock.toml");

/// Grows when the folder that an installation leaves behind changes shape, so that an older
/// installation is not taken for a new one.
const LAYOUT_VERSION: u64 = 1;

/// One of the two things that `toolchain install` installs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ComponentName {
    /// The CUDA compiler with its headers and runtime library.
    Cuda,
    /// TVM-FFI's headers and library.
    TvmFfi,
}

impl ComponentName {
    /// Both, in the order in which they are installed: the small one first.
    pub const ALL: [Self; 2] = [Self::TvmFfi, Self::Cuda];

    /// The name in the lock file and in folder names.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cuda => "cuda",
            Self::TvmFfi => "tvm-ffi",
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
}

impl Component {
    /// The pinned component for a machine such as `x86_64`; `None` where no wheels are pinned.
    pub fn pinned(name: ComponentName, machine: &str) -> Option<Self> {
        let document: DocumentMut = TEXT.parse().expect("the lock file is checked by a test");
        let table = components(&document).find(|table| text(table, "name") == name.as_str())?;
        let wheels: Vec<_> =
            wheels(table).filter(|wheel| text(wheel, "machine") == machine).map(read_wheel).collect();
        (!wheels.is_empty()).then(|| Self { name, version: text(table, "version").to_owned(), wheels })
    }

    /// The folder name of the installation: it changes with every pinned byte.
    pub fn folder_name(&self) -> String {
        let digest = DigestBuilder::new("proofmark/toolchain-component/1")
            .number(LAYOUT_VERSION)
            .text(self.name.as_str())
            .list(self.wheels.iter(), |hash, wheel| hash.text(&wheel.file).digest(&wheel.sha256))
            .finish();
        format!("{}-{}-{}", self.name.as_str(), self.version, digest.short())
    }

    /// What has to be fetched, in bytes.
    pub fn download_bytes(&self) -> u64 {
        self.wheels.iter().map(|wheel| wheel.size_bytes).sum()
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
    }
}

fn text<'t>(table: &'t Table, key: &str) -> &'t str {
    table[key].as_str().expect("the lock file is checked by a test")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_the_same_projects_for_both_machines() {
        for name in ComponentName::ALL {
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
}
