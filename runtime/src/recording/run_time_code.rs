//! Machine code that Python loads while it runs: taken from its recording, and proven like any other.
//!
//! A recorder says for each module what the driver was given. That is a claim, and it need not be believed: the
//! stage launches these very bytes, so they are what is proven. Text that the driver would compile itself is in no
//! proof's reach, and is refused. Code that a library of the interpreter brings, such as torch's own kernels, is
//! rarely for the one architecture that was asked for; it is launched and named as that library's, where the
//! library's file holds the image, packed or as it is. What a library makes while it runs is in no file: such are the
//! kernels `nvjet_…`, which cuBLASLt puts together itself. Where the definition's own reference, in a
//! process that runs nothing of the submission's, launches the same image, it is launched too, and named so.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;

use proofmark_packager::{Arch, Digest, escape};
use proofmark_player::device::context::GpuFacts;
use proofmark_player::recording::{Module, Recording};
use serde::{Deserialize, Serialize};

use super::images::DeviceImages;
use crate::proof::{
    Entry, EntryKind, Examination, HeldImages, Policy, ProofVerdict, examine, image_of, judge,
};

/// One image that is launched, and what its bytes say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchedCode {
    /// SHA-256 of the image.
    pub image: Digest,
    /// What it is for.
    pub arch: Option<Arch>,
    /// Its kernels that are launched, as linked.
    pub kernels: Vec<String>,
    /// Whether its bytes hold the architecture that was asked for.
    pub proof: ProofVerdict,
    /// The library of the interpreter that brings it, or what else does; absent for the submission's own.
    pub library: Option<String>,
    /// The library that holds it and was built and proven before it was loaded; absent for what was compiled by
    /// others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub built: Option<String>,
}

/// The libraries of an interpreter that bring machine code, by file.
#[derive(Debug, Default)]
pub struct CodeLibraries {
    files: Vec<HeldImages>,
    /// What was looked for, and where it stands.
    known: Mutex<BTreeMap<Digest, Option<String>>>,
}

/// Beginnings of the names of libraries whose code an entry may use.
const NAMES: [&str; 6] = ["libtorch_cuda", "libcublas", "libcudnn", "libcufft", "libcusparse", "libcusolver"];
/// Where they lie below a folder of modules.
const FOLDERS: [&str; 2] = ["torch/lib", "nvidia/cu13/lib"];

impl CodeLibraries {
    /// Finds them below an interpreter's folders of modules.
    pub fn below(paths: &[PathBuf]) -> Self {
        let mut files = Vec::new();
        for folder in paths.iter().flat_map(|path| FOLDERS.map(|folder| path.join(folder))) {
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            files.extend(entries.map(|entry| entry.path()).filter(|path| {
                let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
                name.is_some_and(|name| NAMES.iter().any(|beginning| name.starts_with(beginning)))
            }));
        }
        files.sort();
        Self { files: files.into_iter().map(HeldImages::of).collect(), known: Mutex::default() }
    }

    /// The library whose file holds an image, by name. A file that cannot be read, or that changes meanwhile, holds
    /// none.
    fn holding(&self, image: &[u8], digest: Digest) -> Option<String> {
        let mut known = self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(found) = known.get(&digest) {
            return found.clone();
        }
        let found = self.files.iter().find(|file| file.holds(image).unwrap_or(false));
        let name = found.and_then(|file| file.path().file_name());
        let name = name.map(|name| name.to_string_lossy().into_owned());
        known.insert(digest, name.clone());
        name
    }
}

/// Whose code a submission may launch that is not proven.
#[derive(Debug, Clone, Copy)]
pub struct Origins<'a> {
    /// The interpreter's libraries.
    pub libraries: &'a CodeLibraries,
    /// Images that are proven already, and the library of each.
    pub built: &'a BTreeMap<Digest, String>,
    /// Images that the definition's own reference launches.
    pub reference: &'a BTreeSet<Digest>,
}

impl Origins<'_> {
    /// Whose an image is that is not proven, in words.
    fn owner(&self, image: &[u8], digest: Digest) -> Option<String> {
        let in_reference = || self.reference.contains(&digest).then(|| REFERENCE.to_owned());
        self.libraries.holding(image, digest).or_else(in_reference)
    }
}

/// What brings code that no file holds.
const REFERENCE: &str = "the definition's own reference";

/// What a recording launches: the images, and what each of them is.
#[derive(Debug, Clone, Default)]
pub struct RunTimeCode {
    /// The machine code.
    pub images: DeviceImages,
    /// What is said of it, one for each image.
    pub launched: Vec<LaunchedCode>,
}

impl RunTimeCode {
    /// Takes the images that a recording launches out of what the driver was given, one for each module; or says why
    /// there is none to launch.
    pub fn of(
        recording: &Recording,
        code: &[Vec<u8>],
        gpu: &GpuFacts,
        arch: Arch,
        origins: Origins<'_>,
    ) -> Result<Self, String> {
        if code.len() != recording.modules.len() {
            return Err("the recording does not say what its modules were loaded from".to_owned());
        }
        let mut taken = Self::default();
        for (module, given) in recording.modules.iter().zip(code) {
            let kernels: BTreeSet<&str> = module.kernels.iter().map(|kernel| kernel.name.as_str()).collect();
            let named = escape::line(kernels.first().copied().unwrap_or_default());
            let examination = examine(given);
            let entry =
                runnable(&examination, &kernels, gpu).ok_or_else(|| unusable(&named, given, &examination))?;
            let image = image_of(given, &examination, entry)
                .ok_or_else(|| format!("the code of kernel `{named}` does not read"))?;
            let (alone, digest) = (examine(&image), Digest::of_bytes(&image));
            let judgement = judge(&alone, None, &Policy::for_file(arch));
            let built = origins.built.get(&digest).cloned();
            let proof = if built.is_some() { ProofVerdict::Exact } else { judgement.verdict() };
            let library = if proof == ProofVerdict::Exact { None } else { origins.owner(&image, digest) };
            if proof != ProofVerdict::Exact && library.is_none() {
                let reasons = judgement.reasons().join("; ");
                return Err(format!("the code of kernel `{named}` is not proven to be {arch}: {reasons}"));
            }
            taken.images.add(&image, &alone);
            taken.note(LaunchedCode {
                image: digest,
                arch: entry.arch,
                kernels: kernels.iter().map(|name| (*name).to_owned()).collect(),
                proof,
                library,
                built,
            });
        }
        Ok(taken)
    }

    /// The images that a recording launches, whatever they are; none where one of them does not read.
    pub fn images(recording: &Recording, code: &[Vec<u8>], gpu: &GpuFacts) -> BTreeSet<Digest> {
        let image = |(module, given): (&Module, &Vec<u8>)| {
            let kernels = module.kernels.iter().map(|kernel| kernel.name.as_str()).collect();
            let examination = examine(given);
            let image = image_of(given, &examination, runnable(&examination, &kernels, gpu)?)?;
            Some(Digest::of_bytes(&image))
        };
        recording.modules.iter().zip(code).map(image).collect::<Option<_>>().unwrap_or_default()
    }

    /// Several modules may be loaded from one image.
    fn note(&mut self, code: LaunchedCode) {
        match self.launched.iter_mut().find(|known| known.image == code.image) {
            Some(known) => {
                known.kernels.extend(code.kernels);
                known.kernels.sort();
                known.kernels.dedup();
            }
            None => self.launched.push(code),
        }
    }

    /// Why the recording is not one of proven code alone, in words; `None` where it is.
    pub fn foreign(&self, arch: Arch) -> Option<String> {
        let mut libraries: BTreeMap<&str, BTreeSet<Option<Arch>>> = BTreeMap::new();
        for code in &self.launched {
            if let Some(library) = &code.library {
                libraries.entry(library).or_default().insert(code.arch);
            }
        }
        let named = |arch: Option<Arch>| {
            arch.map_or_else(|| "an unknown architecture".to_owned(), |arch| arch.to_string())
        };
        let words = |(library, archs): (&str, BTreeSet<Option<Arch>>)| {
            format!("{library} ({})", archs.into_iter().map(named).collect::<Vec<_>>().join(", "))
        };
        let words: Vec<String> = libraries.into_iter().map(words).collect();
        (!words.is_empty()).then(|| {
            format!(
                "executed: code of {}, not the submission's and not proven to be {arch}",
                words.join(", ")
            )
        })
    }
}

/// The entry that a GPU would run: machine code that has the kernels, the newest that runs there.
fn runnable<'a>(examination: &'a Examination, kernels: &BTreeSet<&str>, gpu: &GpuFacts) -> Option<&'a Entry> {
    let holds = |entry: &&Entry| {
        let cubin = entry.cubin.as_ref().filter(|_| entry.is_machine_code());
        cubin.is_some_and(|cubin| {
            let own: BTreeSet<&str> = cubin.kernels.iter().map(|kernel| kernel.name.as_str()).collect();
            kernels.is_subset(&own)
        })
    };
    let runs = |entry: &&Entry| entry.arch.is_some_and(|arch| gpu.runs(arch));
    let order = |entry: &&Entry| entry.arch.map(|arch| (arch.number, arch.feature as u8));
    examination.entries.iter().filter(runs).filter(holds).max_by_key(order)
}

/// Why there is no machine code for a kernel.
fn unusable(kernel: &str, given: &[u8], examination: &Examination) -> String {
    if given.is_empty() {
        return format!("nobody saw what kernel `{kernel}` was loaded from");
    }
    let is_ptx = |entry: &Entry| entry.kind == EntryKind::Ptx;
    if examination.entries.iter().any(is_ptx) {
        return format!("kernel `{kernel}` is PTX that the driver compiles: its machine code is not proven");
    }
    format!("what kernel `{kernel}` was loaded from holds no machine code of it for this GPU")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proofmark_player::recording::{RecordedKernel, VERSION};

    const CUBIN: &[u8] = include_bytes!("../../../tests/fixtures/proof/exact_13.0.cubin");

    fn gpu(capability: (u32, u32)) -> GpuFacts {
        GpuFacts {
            name: String::new(),
            uuid: String::new(),
            capability,
            multiprocessors: 1,
            shared_bytes: 0,
            l2_bytes: 0,
            persisting_l2_bytes: 0,
            memory_bytes: 0,
            peak_bandwidth: 0.0,
            driver_interface: 13_000,
        }
    }

    fn launching(kernel: &str) -> Recording {
        let kernel = RecordedKernel {
            name: kernel.to_owned(),
            max_dynamic_shared_bytes: 0,
            shared_carveout: -1,
            non_portable_clusters: false,
            parameters: Vec::new(),
        };
        let module = Module { image: None, kernels: vec![kernel], variables: Vec::new(), unread: Vec::new() };
        Recording { version: VERSION, modules: vec![module], memory: Vec::new(), calls: Vec::new() }
    }

    fn kernel_of(cubin: &[u8]) -> String {
        let examination = examine(cubin);
        examination.entries[0].cubin.as_ref().unwrap().kernels[0].name.clone()
    }

    fn taken(code: &[u8], arch: &str, libraries: &CodeLibraries) -> Result<RunTimeCode, String> {
        taken_of(code, arch, libraries, &BTreeMap::new())
    }

    fn taken_of(
        code: &[u8],
        arch: &str,
        libraries: &CodeLibraries,
        built: &BTreeMap<Digest, String>,
    ) -> Result<RunTimeCode, String> {
        let origins = Origins { libraries, built, reference: &BTreeSet::new() };
        taken_with(code, arch, origins)
    }

    fn taken_with(code: &[u8], arch: &str, origins: Origins<'_>) -> Result<RunTimeCode, String> {
        let recording = launching(&kernel_of(CUBIN));
        RunTimeCode::of(&recording, &[code.to_vec()], &gpu((10, 0)), arch.parse().unwrap(), origins)
    }

    #[test]
    fn code_of_a_library_that_was_built_beforehand_is_proven_already_and_named() {
        let built = BTreeMap::from([(Digest::of_bytes(CUBIN), "kernels".to_owned())]);
        let found = taken_of(CUBIN, "sm_100f", &CodeLibraries::default(), &built).unwrap();
        let launched = &found.launched[0];
        assert_eq!((launched.proof, launched.built.as_deref()), (ProofVerdict::Exact, Some("kernels")));
        assert!(taken(CUBIN, "sm_100f", &CodeLibraries::default()).is_err());
    }

    #[test]
    fn code_that_is_exact_is_taken_and_proven() {
        let found = taken(CUBIN, "sm_100a", &CodeLibraries::default()).unwrap();
        assert_eq!(found.launched[0].proof, ProofVerdict::Exact);
        assert_eq!(found.images.code(found.launched[0].image), Some(CUBIN));
        assert_eq!(found.foreign("sm_100a".parse().unwrap()), None);
    }

    #[test]
    fn code_for_another_architecture_is_refused_unless_a_library_brings_it() {
        let refused = taken(CUBIN, "sm_103a", &CodeLibraries::default()).unwrap_err();
        assert!(refused.contains("is not proven to be sm_103a"), "{refused}");
        let (_folder, libraries) = interpreter(&[b"before", CUBIN, b"behind"].concat());
        let found = taken(CUBIN, "sm_103a", &libraries).unwrap();
        assert_eq!(found.launched[0].library.as_deref(), Some("libtorch_cuda.so"));
        let words = found.foreign("sm_103a".parse().unwrap()).unwrap();
        assert!(words.contains("libtorch_cuda.so (sm_100a)"), "{words}");
    }

    /// A folder of modules with torch's library, of these bytes.
    fn interpreter(library: &[u8]) -> (tempfile::TempDir, CodeLibraries) {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("torch/lib");
        fs::create_dir_all(&place).unwrap();
        fs::write(place.join("libtorch_cuda.so"), library).unwrap();
        let libraries = CodeLibraries::below(&[folder.path().to_owned()]);
        (folder, libraries)
    }

    #[test]
    fn code_that_a_library_keeps_packed_and_hands_over_unpacked_is_that_library_s() {
        let container: &[u8] = include_bytes!("../../../tests/fixtures/proof/exact_compressed_13.0.fatbin");
        let examination = examine(container);
        let image = image_of(container, &examination, &examination.entries[0]).unwrap();
        let stream = zstd::bulk::compress(&image, 3).unwrap();
        for library in [container, &[b"before", container].concat(), &[b"before", &stream[..]].concat()] {
            let (_folder, libraries) = interpreter(library);
            for given in [&image[..], container] {
                let found = taken(given, "sm_103a", &libraries).unwrap();
                assert_eq!(found.launched[0].library.as_deref(), Some("libtorch_cuda.so"));
                assert_eq!(found.launched[0].image, Digest::of_bytes(&image));
            }
        }
    }

    #[test]
    fn code_that_the_definition_s_own_reference_launches_too_is_launched_and_named_so() {
        let (none, built) = (CodeLibraries::default(), BTreeMap::new());
        let container: &[u8] = include_bytes!("../../../tests/fixtures/proof/exact_compressed_13.0.fatbin");
        let recording = launching(&kernel_of(container));
        let code = [container.to_vec()];
        let reference = RunTimeCode::images(&recording, &code, &gpu((10, 0)));
        assert_eq!(reference.len(), 1);
        assert!(RunTimeCode::images(&recording, &code, &gpu((9, 0))).is_empty());
        let origins = Origins { libraries: &none, built: &built, reference: &reference };
        let found =
            RunTimeCode::of(&recording, &code, &gpu((10, 0)), "sm_103a".parse().unwrap(), origins).unwrap();
        assert_eq!(found.launched[0].library.as_deref(), Some(REFERENCE));
        let words = found.foreign("sm_103a".parse().unwrap()).unwrap();
        assert!(words.contains("the definition's own reference (sm_100a), not the submission's"), "{words}");
        let refused = taken_with(CUBIN, "sm_103a", Origins { reference: &BTreeSet::new(), ..origins });
        assert!(refused.unwrap_err().contains("is not proven to be sm_103a"));
    }

    #[test]
    fn code_that_a_library_made_while_it_ran_is_nobody_s() {
        let (_folder, libraries) = interpreter(&[b"before", CUBIN].concat());
        let mut made = CUBIN.to_vec();
        let at = made.windows(6).position(|text| text == b"-arch ").unwrap();
        made[at] ^= 1;
        let refused = taken(&made, "sm_103a", &libraries).unwrap_err();
        assert!(refused.contains("is not proven to be sm_103a"), "{refused}");
    }

    #[test]
    fn what_is_no_machine_code_is_refused_in_words() {
        let none = CodeLibraries::default();
        let ptx = b".version 8.6\n.target sm_100a\n.address_size 64\n.visible .entry k() { ret; }\n";
        let refused = taken(ptx, "sm_100a", &none).unwrap_err();
        assert!(refused.contains("PTX that the driver compiles"), "{refused}");
        assert!(taken(b"", "sm_100a", &none).unwrap_err().contains("nobody saw"));
        assert!(taken(b"nonsense", "sm_100a", &none).unwrap_err().contains("no machine code"));
        let recording = launching("another");
        let origins = Origins { libraries: &none, built: &BTreeMap::new(), reference: &BTreeSet::new() };
        let other = RunTimeCode::of(&recording, &[CUBIN.to_vec()], &gpu((10, 0)), Arch::SM_100A, origins);
        assert!(other.unwrap_err().contains("no machine code of it"));
    }
}
