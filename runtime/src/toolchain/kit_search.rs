//! Brings in the kits that a build asks for.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use proofmark_packager::DigestBuilder;

use super::data_folder::DataFolder;
use super::file_digests::FileDigests;
use super::install::{Existing, InstallError, InstallRequest, Progress, WheelSource, install};
use super::kit::Kit;
use super::kit_name::KitName;
use super::lock_file::ComponentName;
use crate::process_tree::RunLimits;
use crate::sandbox;

/// Asking Python where its headers are takes a tenth of a second.
const ASKING: RunLimits = RunLimits { time: Duration::from_secs(30), log_bytes: 4096 };

/// Python's own words for the folder of its headers and for its version.
const QUESTION: &str = "import sys, sysconfig; print(sysconfig.get_path('include')); \
    print('.'.join(map(str, sys.version_info[:3])))";

/// Where kits come from.
#[derive(Debug, Clone, Copy)]
pub struct KitSearch<'a> {
    /// The folder of pinned components, if a home folder is known.
    pub data: Option<&'a DataFolder>,
    /// The kind of machine.
    pub machine: &'a str,
    /// The CUDA installation, which may have the headers itself.
    pub cuda_home: &'a Path,
    /// The Python that will load what is built, and whose pip fetches.
    pub python: &'a Path,
}

impl KitSearch<'_> {
    /// Finds the kits of these names, and installs what is missing where that is allowed. What is not there in the
    /// end is left out: the compilers then say which header they miss.
    pub fn find(
        &self,
        names: &BTreeSet<KitName>,
        digests: &mut FileDigests,
        may_fetch: bool,
        progress: &mut dyn Progress,
    ) -> Result<Vec<Kit>, InstallError> {
        let wanted = names.iter().copied().filter(|name| !name.is_in_toolkit(self.cuda_home));
        let mut kits = Vec::new();
        for name in wanted {
            let found = match (name, self.data) {
                (KitName::Python, _) => self.python_headers(digests),
                (_, None) => None,
                (_, Some(data)) => {
                    let installed = || Kit::installed(name, data, self.machine);
                    if installed().is_none() && may_fetch {
                        self.install(name, data, progress)?;
                    }
                    installed()
                }
            };
            kits.extend(found);
        }
        Ok(kits)
    }

    fn install(
        &self,
        name: KitName,
        data: &DataFolder,
        progress: &mut dyn Progress,
    ) -> Result<(), InstallError> {
        let request = InstallRequest {
            data: data.clone(),
            machine: self.machine.to_owned(),
            components: vec![ComponentName::Kit(name)],
            wheels: WheelSource::Pip { python: self.python.to_owned() },
            existing: Existing::Keep,
        };
        install(&request, progress).map(drop)
    }

    /// The headers of the Python that is there; `None` if it has none.
    fn python_headers(&self, digests: &mut FileDigests) -> Option<Kit> {
        let mut command = Command::new(self.python);
        command.args(["-I", "-c", QUESTION]);
        let run = sandbox::supervise(command, ASKING, &mut |_| ()).ok()?;
        let (home, version) = run.log.trim().split_once('\n').filter(|_| run.ending.is_success())?;
        let home = PathBuf::from(home);
        // These two say which Python and how it was built; every header that is read is a dependency besides.
        let files = ["patchlevel.h", "pyconfig.h"].map(|name| digests.digest(&home.join(name)).ok());
        let [Some(level), Some(config)] = files else { return None };
        home.join("Python.h").is_file().then_some(())?;
        let digest = DigestBuilder::new("proofmark/python-headers/1").digest(&level).digest(&config).finish();
        Some(Kit { name: KitName::Python, version: version.trim().to_owned(), home, digest })
    }
}
