//! Where installed components live.
//!
//! ```text
//! $PROOFMARK_DATA, else $XDG_DATA_HOME/proofmark, else ~/.local/share/proofmark
//! └── toolchains/
//!     ├── .lock                               held by the one process that installs
//!     ├── .partial-XXXXXX/                    an installation under way, or what a killed one left
//!     ├── cuda-13.0.88-<digest12>/
//!     │   ├── component.json                  written last: without it the folder counts for nothing
//!     │   ├── bin/ nvvm/ include/ lib/        as CUDA_HOME has them
//!     │   ├── lib64 -> lib
//!     │   └── licenses/<wheel>/
//!     └── tvm-ffi-0.1.15.post2-<digest12>/
//!         ├── component.json
//!         ├── include/ lib/
//!         └── licenses/<wheel>/
//! ```
//!
//! A component appears by one rename, so it is there whole or not at all.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::lock_file::{Component, ComponentName};

/// Written last into a component; names the format and the wheels.
pub(crate) const MARKER: &str = "component.json";
/// The folder of all components inside the data folder.
const TOOLCHAINS: &str = "toolchains";
/// Held while installing.
const LOCK: &str = ".lock";
/// How the name of an unfinished installation starts.
pub(crate) const PARTIAL_PREFIX: &str = ".partial-";

/// The folder for what Proofmark installs: unlike the cache, it is not free to vanish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataFolder(PathBuf);

impl DataFolder {
    /// A given folder; a relative one is below the current folder.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self(std::path::absolute(&path).unwrap_or(path))
    }

    /// The folder that these environment variables name; `None` if none of them is set.
    /// Relative values of the XDG variable are ignored, as its specification asks.
    pub fn from_environment(
        proofmark_data: Option<OsString>,
        xdg_data_home: Option<OsString>,
        home: Option<OsString>,
    ) -> Option<Self> {
        let set = |value: Option<OsString>| value.filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(path) = set(proofmark_data) {
            return Some(Self::at(path));
        }
        let xdg = set(xdg_data_home).filter(|path| path.is_absolute());
        let base = xdg.or_else(|| set(home).map(|home| home.join(".local/share")))?;
        Some(Self::at(base.join("proofmark")))
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The folder that holds every installed component.
    pub fn toolchains(&self) -> PathBuf {
        self.0.join(TOOLCHAINS)
    }

    /// Where a component stands once it is installed.
    pub fn component(&self, component: &Component) -> PathBuf {
        self.toolchains().join(component.folder_name())
    }

    /// The folder of this machine's pinned component, if it is installed.
    pub fn installed(&self, name: ComponentName, machine: &str) -> Option<PathBuf> {
        let folder = self.component(&Component::pinned(name, machine)?);
        folder.join(MARKER).is_file().then_some(folder)
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.toolchains().join(LOCK)
    }

    /// Folders of installations that did not finish, or are still under way.
    pub fn partial(&self) -> io::Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(self.toolchains()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(PARTIAL_PREFIX) {
                found.push(entry.path());
            }
        }
        found.sort();
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_variable_goes_before_the_desktop_ones() {
        let of = |own: &str, xdg: &str, home: &str| {
            let value = |text: &str| (!text.is_empty()).then(|| OsString::from(text));
            DataFolder::from_environment(value(own), value(xdg), value(home))
                .map(|folder| folder.path().to_str().unwrap().to_owned())
        };
        assert_eq!(of("/own", "/xdg", "/home/a").unwrap(), "/own");
        assert_eq!(of("", "/xdg", "/home/a").unwrap(), "/xdg/proofmark");
        assert_eq!(of("", "relative", "/home/a").unwrap(), "/home/a/.local/share/proofmark");
        assert_eq!(of("", "", ""), None);
    }
}
