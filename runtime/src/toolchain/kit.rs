//! Kits: headers of libraries that some submissions include, brought in only for those.
//!
//! A kit is pinned like the compiler and installed beside it; Python's headers alone are those of the Python
//! that will load what is built. A kit that a build uses is a part of the toolchain's fingerprint, and each of
//! its headers that is read is among the build's dependencies. Where the CUDA installation has the headers
//! itself, as a whole toolkit does, they are taken from there.

use std::path::PathBuf;

use proofmark_packager::Digest;
use serde::Serialize;

use super::data_folder::DataFolder;
use super::kit_name::KitName;
use super::lock_file::{Component, ComponentName};

/// A kit that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kit {
    /// Which one.
    pub name: KitName,
    /// The version that people know it by.
    pub version: String,
    /// Its folder.
    pub home: PathBuf,
    /// What identifies its content.
    pub digest: Digest,
}

impl Kit {
    /// A pinned kit, if it is installed.
    pub fn installed(name: KitName, data: &DataFolder, machine: &str) -> Option<Self> {
        let component = Component::pinned(ComponentName::Kit(name), machine)?;
        let home = data.installed(component.name, machine)?;
        let digest = component.wheels[0].part.as_ref()?.sha256;
        Some(Self { name, version: component.version, home, digest })
    }

    /// The folders to search, relative to its home.
    pub fn include_folders(&self) -> &'static [&'static str] {
        self.name.include_folders()
    }
}
