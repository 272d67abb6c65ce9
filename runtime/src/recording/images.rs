//! The machine code of a proven library: its images, and what each has.

use std::collections::{BTreeMap, BTreeSet};

use object::elf;
use object::read::elf::{FileHeader as _, Sym as _};
use proofmark_packager::Digest;

use crate::proof::{Entry, Examination, examine, image_of};

/// What a kernel calls on the device that no recording carries, and why not.
const NOT_CARRIED: [(&str, &str); 5] = [
    ("malloc", "a kernel allocates on the device's heap, which outlives a call"),
    ("free", "a kernel gives back memory of the device's heap, which outlives a call"),
    ("vprintf", "a kernel prints, through memory of the host"),
    ("cudaGraphLaunch", "a kernel launches graphs"),
    ("__cuda_syscall_cnpv2", "a kernel launches kernels"),
];

/// One image.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeviceImage {
    bytes: Vec<u8>,
    /// The kernels, as linked.
    kernels: BTreeSet<String>,
    /// Names and sizes in bytes of the variables.
    variables: BTreeMap<String, u64>,
    /// What it calls and does not hold.
    missing: BTreeSet<String>,
}

/// The proven images of a library by their digests.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeviceImages(BTreeMap<Digest, DeviceImage>);

impl DeviceImages {
    /// Takes the images with these digests out of a library.
    pub fn of(library: &[u8], proven: &[Digest]) -> Self {
        let examination = examine(library);
        let mut images = Self::default();
        for entry in &examination.entries {
            let Some(digest) = entry.digest.filter(|digest| proven.contains(digest)) else { continue };
            images.take(digest, library, &examination, entry);
        }
        images
    }

    /// Adds the image that some bytes are.
    pub(super) fn add(&mut self, bytes: &[u8], examination: &Examination) {
        for entry in examination.entries.iter().filter(|entry| entry.is_machine_code()) {
            self.take(Digest::of_bytes(bytes), bytes, examination, entry);
        }
    }

    fn take(&mut self, digest: Digest, file: &[u8], examination: &Examination, entry: &Entry) {
        let (Some(bytes), Some(cubin)) = (image_of(file, examination, entry), &entry.cubin) else { return };
        let kernels = cubin.kernels.iter().map(|kernel| kernel.name.clone()).collect();
        // An image whose symbols do not read is none: what it keeps could not be put back.
        let Ok((variables, missing)) = symbols(&bytes) else { return };
        self.0.insert(digest, DeviceImage { bytes: bytes.into_owned(), kernels, variables, missing });
    }

    /// The digests of the images.
    pub fn digests(&self) -> Vec<Digest> {
        self.0.keys().copied().collect()
    }

    /// Takes other images in.
    pub fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// An image's bytes.
    pub fn code(&self, digest: Digest) -> Option<&[u8]> {
        self.0.get(&digest).map(|image| image.bytes.as_slice())
    }

    /// The names of all variables, each once.
    pub fn variables(&self) -> Vec<String> {
        let names: BTreeSet<&String> = self.0.values().flat_map(|image| image.variables.keys()).collect();
        names.into_iter().cloned().collect()
    }

    /// The images that have these kernels.
    pub(super) fn holding(&self, kernels: &BTreeSet<&str>) -> Vec<(Digest, &DeviceImage)> {
        let holds = |image: &DeviceImage| kernels.iter().all(|name| image.kernels.contains(*name));
        self.0.iter().filter(|(_, image)| holds(image)).map(|(digest, image)| (*digest, image)).collect()
    }
}

impl DeviceImage {
    /// Whether these are variables of it, by name and size in bytes.
    pub(super) fn has(&self, variables: &BTreeMap<&str, u64>) -> bool {
        variables.iter().all(|(name, size)| self.variables.get(*name) == Some(size))
    }

    /// The variables that are not among these.
    pub(super) fn others(&self, variables: &BTreeMap<&str, u64>) -> Vec<String> {
        self.variables.keys().filter(|name| !variables.contains_key(name.as_str())).cloned().collect()
    }

    /// Why its launches cannot be recorded, in words.
    pub(super) fn refusal(&self) -> Option<&'static str> {
        let calls = |prefix: &str| {
            self.missing
                .iter()
                .any(|name| name == prefix || (prefix.starts_with("__") && name.starts_with(prefix)))
        };
        NOT_CARRIED.iter().find(|(prefix, _)| calls(prefix)).map(|(_, reason)| *reason)
    }
}

type Symbols = (BTreeMap<String, u64>, BTreeSet<String>);

/// Variables with their sizes, and names that are called and not held.
fn symbols(bytes: &[u8]) -> object::Result<Symbols> {
    let endian = object::LittleEndian;
    let header = elf::FileHeader64::<object::LittleEndian>::parse(bytes)?;
    let sections = header.sections(endian, bytes)?;
    let table = sections.symbols(endian, bytes, elf::SHT_SYMTAB)?;
    let (mut variables, mut missing) = (BTreeMap::new(), BTreeSet::new());
    for symbol in table.iter() {
        let name = String::from_utf8_lossy(symbol.name(endian, table.strings())?).into_owned();
        let index = symbol.st_shndx(endian);
        if index == elf::SHN_UNDEF {
            missing.insert(name);
            continue;
        }
        if symbol.st_type() != elf::STT_OBJECT || symbol.st_size(endian) == 0 {
            continue;
        }
        let section = sections.section(object::SectionIndex(usize::from(index.0)))?;
        // Texts of the compiler's own, in initialised memory that no kernel can name.
        let section = sections.section_name(endian, section)?;
        let is_text = section == b".nv.global.init" && name.starts_with("$str");
        if is_variable_section(section) && !is_text {
            variables.insert(name, symbol.st_size(endian));
        }
    }
    Ok((variables, missing))
}

/// Where module variables lie: global memory, and the constant bank of `__constant__`.
fn is_variable_section(name: &[u8]) -> bool {
    name.starts_with(b".nv.global") || name == b".nv.constant3"
}
