//! Whether device code runs on a GPU, and by what: NVIDIA's rules of compatibility (CUDA programming
//! guide, "Compute Capabilities", "Feature Availability").
//!
//! | code for | runs on |
//! |---|---|
//! | `sm_XYa`, machine code or PTX | compute capability X.Y alone |
//! | `sm_XYf` | X.Y and the later members of its family |
//! | `sm_XY`, machine code | X.Z with Z ≥ Y, but not between boards and systems on a chip |
//! | `sm_XY`, PTX | everything from X.Y on |

use proofmark_packager::{Arch, Feature};
use serde::Serialize;

use super::examination::Entry;
use super::fatbin::EntryKind;

/// By what code runs on a GPU, the strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// Machine code for this compute capability, or an earlier one that it takes.
    MachineCode,
    /// Machine code for its family.
    Family,
    /// PTX, which the driver compiles.
    Ptx,
}

/// Systems on a chip: machine code for others of their generation is not theirs.
const ON_CHIP: [u32; 6] = [53, 62, 72, 87, 101, 110];

/// The members of each family, by the number that names it (CUDA programming guide, "Family-Specific
/// Features").
const FAMILIES: [(u32, &[u32]); 6] =
    [(100, &[100, 103]), (101, &[101]), (103, &[103]), (110, &[110]), (120, &[120, 121]), (121, &[121])];

/// Every compute capability that a compiler of CUDA 7 to 13 makes code for, by number (nvcc's documentation, "GPU
/// Feature List", of each).
const KNOWN: [u32; 27] = [
    20, 21, 30, 32, 35, 37, 50, 52, 53, 60, 61, 62, 70, 72, 75, 80, 86, 87, 88, 89, 90, 100, 101, 103, 110,
    120, 121,
];

/// Every compute capability that is known here, by number. What runs on any other is not known either: families are
/// NVIDIA's to name.
pub fn known_gpus() -> &'static [u32] {
    &KNOWN
}

/// By what an entry runs on the GPU with this number, if it does.
pub fn reach(entry: &Entry, gpu: u32) -> Option<Reach> {
    let arch = entry.arch?;
    match entry.kind {
        EntryKind::Ptx => takes_ptx(arch, gpu).then_some(Reach::Ptx),
        EntryKind::Elf | EntryKind::Cubin => {
            let holds_kernels = entry.cubin.as_ref().is_none_or(|cubin| !cubin.kernels.is_empty());
            takes_machine_code(arch, gpu).filter(|_| holds_kernels)
        }
        EntryKind::Lto | EntryKind::Concat | EntryKind::Unknown => None,
    }
}

fn takes_machine_code(arch: Arch, gpu: u32) -> Option<Reach> {
    match arch.feature {
        Feature::Specific => (arch.number == gpu).then_some(Reach::MachineCode),
        Feature::Family => is_in_family(arch.number, gpu).then_some(Reach::Family),
        Feature::Plain => {
            let same_generation = arch.number / 10 == gpu / 10 && arch.number <= gpu;
            let either_on_chip = ON_CHIP.contains(&arch.number) || ON_CHIP.contains(&gpu);
            let takes = arch.number == gpu || (same_generation && !either_on_chip);
            takes.then_some(Reach::MachineCode)
        }
    }
}

fn takes_ptx(arch: Arch, gpu: u32) -> bool {
    match arch.feature {
        Feature::Specific => arch.number == gpu,
        Feature::Family => is_in_family(arch.number, gpu),
        Feature::Plain => arch.number <= gpu,
    }
}

fn is_in_family(family: u32, gpu: u32) -> bool {
    FAMILIES.iter().any(|(number, members)| *number == family && members.contains(&gpu))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(arch: &str, gpu: u32) -> Option<Reach> {
        takes_machine_code(arch.parse().unwrap(), gpu)
    }

    #[test]
    fn machine_code_runs_within_its_generation_unless_it_is_specific() {
        assert_eq!(machine("sm_80", 86), Some(Reach::MachineCode));
        assert_eq!(machine("sm_86", 80), None);
        assert_eq!(machine("sm_90a", 90), Some(Reach::MachineCode));
        assert_eq!(machine("sm_100a", 103), None);
        assert_eq!(machine("sm_100", 103), Some(Reach::MachineCode));
        assert_eq!(machine("sm_90", 100), None);
        assert_eq!(machine("sm_80", 87), None);
    }

    #[test]
    fn a_family_reaches_its_members() {
        assert_eq!(machine("sm_100f", 103), Some(Reach::Family));
        assert_eq!(machine("sm_103f", 100), None);
        assert_eq!(machine("sm_120f", 121), Some(Reach::Family));
    }

    #[test]
    fn ptx_reaches_everything_later_unless_it_is_specific() {
        let ptx = |arch: &str, gpu| takes_ptx(arch.parse().unwrap(), gpu);
        assert!(ptx("sm_80", 120) && !ptx("sm_90a", 100) && !ptx("sm_120", 100) && ptx("sm_100f", 103));
    }
}
