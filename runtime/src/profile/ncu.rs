//! Where Nsight Compute is, and how it is asked.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Serialize;

/// The program.
const PROGRAM: &str = "ncu";
/// Where its installers put it, beside the CUDA toolkits: a folder a version.
const INSTALLED: [&str; 2] = ["/opt/nvidia/nsight-compute", "/usr/local/NVIDIA-Nsight-Compute"];
/// The toolkit's usual place.
const TOOLKIT: &str = "/usr/local/cuda";
/// The one figure that is asked for.
pub const DURATION: &str = "gpu__time_duration.sum";

/// What is done to the GPU's clocks while it profiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum ClockControl {
    /// They stay as they are: durations as they are elsewhere.
    #[default]
    None,
    /// They are locked to the base clock: durations that repeat, and are longer.
    Base,
}

impl ClockControl {
    fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Base => "base",
        }
    }
}

/// Nsight Compute, found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NsightCompute {
    /// The program.
    pub program: PathBuf,
}

/// It is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Nsight Compute (`{PROGRAM}`) is not there; looked in {}", looked_in(places))]
pub struct NoNsightCompute {
    /// Where it was looked for.
    pub places: Vec<PathBuf>,
}

fn looked_in(places: &[PathBuf]) -> String {
    places.iter().map(|place| place.display().to_string()).collect::<Vec<_>>().join(", ")
}

impl NsightCompute {
    /// Finds it: as named, else in the search path's folders, in the toolkit, and where its installers put it.
    pub fn find(
        named: Option<&Path>,
        search_path: &[PathBuf],
        cuda_home: Option<&Path>,
    ) -> Result<Self, NoNsightCompute> {
        let places: Vec<PathBuf> = if let Some(named) = named {
            vec![named.to_owned()]
        } else {
            let toolkit = cuda_home.unwrap_or(Path::new(TOOLKIT)).join("bin");
            let beside = INSTALLED.iter().flat_map(|root| versions(Path::new(root)));
            let folders = search_path.iter().cloned().chain([toolkit]).chain(beside);
            folders.map(|folder| folder.join(PROGRAM)).collect()
        };
        match places.iter().find(|place| place.is_file()) {
            Some(program) => Ok(Self { program: program.clone() }),
            None => Err(NoNsightCompute { places }),
        }
    }

    /// The command that profiles a program: one figure a kernel, base units, names as linked, nothing before the
    /// program asks for it. What it writes goes to a file.
    pub fn command(&self, target: &[OsString], clocks: ClockControl, page: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(["--clock-control", clocks.word(), "--csv", "--page", "raw", "--metrics", DURATION])
            .args(["--print-units", "base", "--print-kernel-base", "mangled"])
            .args(["--profile-from-start", "off", "--target-processes", "application-only", "--log-file"])
            .arg(page)
            .args(target);
        command
    }
}

/// The folders of a place, newest name first.
fn versions(root: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> =
        std::fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    folders.sort();
    folders.reverse();
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_is_named_then_the_search_path_then_the_toolkit_and_says_where_it_looked() {
        let folder = tempfile::tempdir().unwrap();
        let (path, home) = (folder.path().join("path"), folder.path().join("cuda"));
        let find = |named: Option<&Path>| {
            NsightCompute::find(named, std::slice::from_ref(&path), Some(&home)).map(|found| found.program)
        };
        let missing = find(Some(&folder.path().join("nowhere/ncu"))).unwrap_err();
        assert!(missing.to_string().contains("nowhere/ncu"), "{missing}");
        for place in [home.join("bin"), path.clone()] {
            std::fs::create_dir_all(&place).unwrap();
            std::fs::write(place.join("ncu"), "").unwrap();
            assert_eq!(find(None), Ok(place.join("ncu")));
        }
        assert_eq!(find(Some(&home.join("bin/ncu"))), Ok(home.join("bin/ncu")));
    }
}
