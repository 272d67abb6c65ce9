//! What is to be installed, and what there is to see meanwhile.

use std::path::PathBuf;

use crate::toolchain::data_folder::DataFolder;
use crate::toolchain::lock_file::ComponentName;

/// What to install, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallRequest {
    /// The data folder to install into.
    pub data: DataFolder,
    /// The kind of machine: `x86_64`, `aarch64`.
    pub machine: String,
    /// Which components.
    pub components: Vec<ComponentName>,
    /// Where wheels come from.
    pub wheels: WheelSource,
    /// What to do with a component that is there.
    pub existing: Existing,
}

/// Where wheels come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WheelSource {
    /// The package index that the user's pip is set up for, through this Python.
    Pip {
        /// The Python to run pip with, by name or path.
        python: PathBuf,
    },
    /// A folder with the wheel files, for machines without a network.
    Folder(PathBuf),
}

/// What to do with a component that is installed already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Leave it.
    Keep,
    /// Install it again and put the new one in its place.
    Replace,
}

/// One moment of an installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Another process installs; we wait for it.
    Waiting,
    /// A component is there already.
    Present {
        /// Which one.
        component: String,
    },
    /// A component's wheels are being fetched.
    Fetching {
        /// Which one.
        component: String,
        /// All of its wheels together, in bytes.
        bytes: u64,
    },
    /// pip says something.
    Said {
        /// One line of it.
        line: String,
    },
    /// A wheel has arrived and has the pinned digest.
    Checked {
        /// Its file name.
        wheel: String,
    },
    /// A component is in its place.
    Installed {
        /// Which one.
        component: String,
        /// Where.
        folder: PathBuf,
    },
}

/// Who watches an installation.
pub trait Progress {
    /// Called at each step, in order.
    fn step(&mut self, step: &Step);
}

/// Nobody watches.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unwatched;

impl Progress for Unwatched {
    fn step(&mut self, _: &Step) {}
}
